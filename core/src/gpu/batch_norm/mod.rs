//! Batch normalisation (Ioffe and Szegedy, 2015) in training, fused with the residual sum and the
//! activation around it.
//!
//! Images are `[pixels, channels]`. Sums over pixels are taken in two steps: cubes sum up their
//! share, then one more launch adds the shares up in a fixed order. Images can be of half
//! precision; everything is computed in float32.

#![expect(unsafe_code, reason = "CubeCL does not check that a kernel stays inside its buffers")]

mod kernels;

use cubecl::client::Client;
use cubecl::prelude::*;

use super::buffer::{Buffer, UNITS, cubes, units};
use crate::kernels::{Activation, StatisticsOf};
use kernels::{
    fold_kernel, gradient_kernel, gradient_sums_kernel, join_moments_kernel, join_sums_kernel,
    moments_kernel, normalise_kernel,
};

/// How pixels are shared between cubes of [`UNITS`] units, each of which looks at `lanes` vectors
/// of channels.
#[derive(Clone, Copy, Debug)]
struct Shares {
    pixels: usize,
    channels: usize,
    /// Channels of a vector.
    width: usize,
    lanes: usize,
    /// Pixels a cube.
    share: usize,
    count: usize,
}

impl Shares {
    fn new(client: &Client, x: &Buffer, channels: usize) -> Self {
        /// Cubes that keep a large GPU busy.
        const CUBES: usize = 1024;
        /// Pixels that are worth a cube.
        const FEWEST: usize = 64;
        let (pixels, width) = (x.length / channels, x.width(client, channels));
        let vectors = channels / width;
        let lanes = vectors.next_power_of_two().min(16);
        let wanted = (CUBES / vectors.div_ceil(lanes)).clamp(1, pixels.div_ceil(FEWEST).max(1));
        let share = pixels.div_ceil(wanted).max(1);
        Self { pixels, channels, width, lanes, share, count: pixels.div_ceil(share) }
    }

    fn vectors(&self) -> usize {
        self.channels / self.width
    }

    fn dim(&self) -> CubeDim {
        CubeDim::new_2d(self.lanes as u32, (UNITS / self.lanes) as u32)
    }

    fn cubes(&self) -> CubeCount {
        CubeCount::new_2d(self.vectors().div_ceil(self.lanes) as u32, self.count as u32)
    }

    fn partial(&self, client: &Client) -> Buffer {
        Buffer::floats(client, self.count * 2 * self.channels)
    }
}

/// Channels that one cube joins the shares of.
const JOINED: usize = 32;

/// The cubes that join shares, and their units.
fn joining(channels: usize) -> (CubeCount, CubeDim) {
    (
        CubeCount::new_1d(channels.div_ceil(JOINED) as u32),
        CubeDim::new_2d(JOINED as u32, (UNITS / JOINED) as u32),
    )
}

/// The parameters of batch norm, `[channels]` each.
#[derive(Clone, Copy)]
pub struct Affine<'a> {
    /// γ.
    pub weight: &'a Buffer,
    /// β.
    pub bias: &'a Buffer,
    /// ε.
    pub epsilon: f32,
}

/// A batch's statistics by channel, `[channels]` each.
#[derive(Clone)]
pub struct Statistics {
    pub mean: Buffer,
    /// The biased ones.
    pub variance: Buffer,
}

/// How running statistics follow those of a batch.
#[derive(Clone, Copy)]
pub struct Following<'a> {
    pub running: &'a Statistics,
    /// How far they move to the batch's.
    pub momentum: f32,
    /// What makes biased variances unbiased.
    pub unbiased: f32,
}

/// Which gradients of the output reach batch norm: those that the activation let through.
#[derive(Clone, Copy)]
pub struct Through<'a> {
    pub activation: Activation,
    /// The activation's output, where there was a residual under it; otherwise it is computed
    /// again.
    pub output: Option<&'a Buffer>,
}

/// Gradients of batch norm.
pub struct Gradients {
    pub x: Buffer,
    /// Of γ, `[channels]`.
    pub weight: Buffer,
    /// Of β, `[channels]`.
    pub bias: Buffer,
    /// Of what was added, if an output was given.
    pub residual: Option<Buffer>,
}

impl Statistics {
    /// Means and biased variances of `x`, `[pixels, channels]`, and the next running ones.
    pub fn of(
        client: &Client,
        x: &Buffer,
        channels: usize,
        following: Following<'_>,
    ) -> (Self, Self) {
        let shares = Shares::new(client, x, channels);
        let wide = shares.width;
        let (cubes_joining, units_joining) = joining(channels);
        let partial = shares.partial(client);
        let [mean, variance, next_mean, next_variance] = Buffer::vectors(client, [channels; 4]);
        let (statistics, next) =
            (Self { mean, variance }, Self { mean: next_mean, variance: next_variance });
        let Following { running, momentum, unbiased } = following;
        // SAFETY: lanes past the channels and pixels past a share are left out.
        unsafe {
            moments_kernel::launch_unchecked(
                client,
                shares.cubes(),
                shares.dim(),
                wide,
                x.arg(wide),
                partial.arg(wide),
                shares.pixels as u32,
                shares.vectors() as u32,
                shares.share as u32,
                shares.lanes,
                x.elem,
            );
            join_moments_kernel::launch_unchecked(
                client,
                cubes_joining,
                units_joining,
                partial.arg(1),
                running.mean.arg(1),
                running.variance.arg(1),
                statistics.mean.arg(1),
                statistics.variance.arg(1),
                next.mean.arg(1),
                next.variance.arg(1),
                shares.pixels as u32,
                channels as u32,
                shares.share as u32,
                shares.count as u32,
                momentum,
                unbiased,
                JOINED,
            );
        }
        (statistics, next)
    }

    /// γ (x − μ) / √(σ² + ε) + β, plus the residual, through the activation.
    pub fn normalise(
        &self,
        client: &Client,
        x: &Buffer,
        affine: Affine<'_>,
        residual: Option<&Buffer>,
        activation: Activation,
    ) -> Buffer {
        let channels = self.mean.length;
        let wide = x.width(client, channels);
        let y = Buffer::like(client, x);
        // SAFETY: units past the values stop.
        unsafe {
            normalise_kernel::launch_unchecked(
                client,
                cubes(x.length / wide),
                units(),
                wide,
                x.arg(wide),
                self.mean.arg(wide),
                self.variance.arg(wide),
                affine.weight.arg(wide),
                affine.bias.arg(wide),
                residual.map_or(ComptimeOptionArgs::None, |residual| {
                    ComptimeOptionArgs::Some(residual.arg(wide))
                }),
                y.arg(wide),
                (x.length / wide) as u32,
                (channels / wide) as u32,
                affine.epsilon,
                activation,
                x.elem,
            );
        }
        y
    }

    /// What batch norm with these statistics multiplies with and adds: γ / √(σ² + ε) and β − μ γ /
    /// √(σ² + ε).
    pub fn fold(&self, client: &Client, affine: Affine<'_>) -> (Buffer, Buffer) {
        let channels = self.mean.length;
        let [scale, bias] = Buffer::vectors(client, [channels; 2]);
        // SAFETY: units past the channels stop.
        unsafe {
            fold_kernel::launch_unchecked(
                client,
                cubes(channels),
                units(),
                self.mean.arg(1),
                self.variance.arg(1),
                affine.weight.arg(1),
                affine.bias.arg(1),
                scale.arg(1),
                bias.arg(1),
                channels as u32,
                affine.epsilon,
            );
        }
        (scale, bias)
    }

    /// Gradients from `dy`, the gradient of the output. That of the residual is given if the output
    /// is.
    pub fn gradients(
        &self,
        client: &Client,
        x: &Buffer,
        dy: &Buffer,
        affine: Affine<'_>,
        of: StatisticsOf,
        through: Through<'_>,
    ) -> Gradients {
        let channels = self.mean.length;
        let shares = Shares::new(client, x, channels);
        let wide = shares.width;
        let (cubes_joining, units_joining) = joining(channels);
        let partial = shares.partial(client);
        // Five numbers a channel in the table, so that the last kernel reads it instead of six
        // vectors.
        let [weight, bias, table] = Buffer::vectors(client, [channels, channels, 5 * channels]);
        let Through { activation, output } = through;
        // SAFETY: lanes past the channels and pixels past a share are left out.
        unsafe {
            gradient_sums_kernel::launch_unchecked(
                client,
                shares.cubes(),
                shares.dim(),
                wide,
                x.arg(wide),
                dy.arg(wide),
                self.mean.arg(wide),
                self.variance.arg(wide),
                affine.weight.arg(wide),
                affine.bias.arg(wide),
                output.map_or(ComptimeOptionArgs::None, |output| {
                    ComptimeOptionArgs::Some(output.arg(wide))
                }),
                partial.arg(wide),
                shares.pixels as u32,
                shares.vectors() as u32,
                shares.share as u32,
                affine.epsilon,
                shares.lanes,
                activation,
                x.elem,
            );
            join_sums_kernel::launch_unchecked(
                client,
                cubes_joining,
                units_joining,
                partial.arg(1),
                self.mean.arg(1),
                self.variance.arg(1),
                affine.weight.arg(1),
                affine.bias.arg(1),
                weight.arg(1),
                bias.arg(1),
                table.arg(1),
                shares.pixels as u32,
                channels as u32,
                shares.count as u32,
                affine.epsilon,
                of == StatisticsOf::Past,
                JOINED,
            );
        }
        let dx = Buffer::like(client, x);
        let dresidual = output.map(|_| Buffer::like(client, x));
        // SAFETY: units past the values stop.
        unsafe {
            gradient_kernel::launch_unchecked(
                client,
                cubes(x.length / wide),
                units(),
                wide,
                x.arg(wide),
                dy.arg(wide),
                table.arg(wide),
                output.map_or(ComptimeOptionArgs::None, |output| {
                    ComptimeOptionArgs::Some(output.arg(wide))
                }),
                dx.arg(wide),
                dresidual.as_ref().map_or(ComptimeOptionArgs::None, |residual| {
                    ComptimeOptionArgs::Some(residual.arg(wide))
                }),
                (x.length / wide) as u32,
                (channels / wide) as u32,
                activation,
                x.elem,
            );
        }
        Gradients { x: dx, weight, bias, residual: dresidual }
    }
}
