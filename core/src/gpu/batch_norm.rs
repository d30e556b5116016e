//! Batch normalisation (Ioffe and Szegedy, 2015) in training, fused with the residual sum and ReLU around it.
//!
//! Images are `[pixels, channels]`. Sums over pixels are taken in two steps: cubes sum up their share, then one more launch adds the shares
//! up in a fixed order. Images can be of half precision; everything is computed in float32.

#![allow(unsafe_code)] // Launching a kernel is unsafe: CubeCL does not check that it stays inside its buffers.

use cubecl::client::Client;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::buffer::{Buffer, cubes, width};

const UNITS: usize = 256;

/// How pixels are shared between cubes of [`UNITS`] units, each of which looks at `lanes` channels.
#[derive(Clone, Copy, Debug)]
struct Shares {
    pixels: usize,
    channels: usize,
    lanes: usize,
    /// Pixels a cube.
    share: usize,
    count: usize,
}

impl Shares {
    fn new(pixels: usize, channels: usize) -> Self {
        /// Cubes that keep a large GPU busy.
        const CUBES: usize = 512;
        /// Pixels that are worth a cube.
        const FEWEST: usize = 64;
        let lanes = if channels > 16 { 32 } else { 16 };
        let wanted = (CUBES / channels.div_ceil(lanes)).clamp(1, pixels.div_ceil(FEWEST).max(1));
        let share = pixels.div_ceil(wanted).max(1);
        Self { pixels, channels, lanes, share, count: pixels.div_ceil(share) }
    }

    fn dim(&self) -> CubeDim {
        CubeDim::new_2d(self.lanes as u32, (UNITS / self.lanes) as u32)
    }

    fn cubes(&self) -> CubeCount {
        CubeCount::new_2d(self.channels.div_ceil(self.lanes) as u32, self.count as u32)
    }

    fn partial(&self, client: &Client) -> Buffer {
        Buffer::floats(client, self.count * 2 * self.channels)
    }
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

/// Which gradients of the output reach batch norm.
#[derive(Clone, Copy)]
pub enum Through<'a> {
    /// All.
    Everything,
    /// Those where ReLU let batch norm's result through.
    Relu,
    /// Those where this output of ReLU, with a residual under it, is not 0.
    Output(&'a Buffer),
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
    /// Means and biased variances of `x`, `[pixels, channels]`.
    pub fn of(client: &Client, x: &Buffer, channels: usize) -> Self {
        let shares = Shares::new(x.length / channels, channels);
        let partial = shares.partial(client);
        let (mean, variance) = (Buffer::floats(client, channels), Buffer::floats(client, channels));
        // SAFETY: lanes past the channels and pixels past a share are left out.
        unsafe {
            moments_kernel::launch_unchecked(
                client,
                shares.cubes(),
                shares.dim(),
                x.arg(1),
                partial.arg(1),
                shares.pixels as u32,
                channels as u32,
                shares.share as u32,
                shares.lanes,
                x.elem,
            );
            join_moments_kernel::launch_unchecked(
                client,
                CubeCount::new_1d(channels.div_ceil(shares.lanes) as u32),
                shares.dim(),
                partial.arg(1),
                mean.arg(1),
                variance.arg(1),
                shares.pixels as u32,
                channels as u32,
                shares.share as u32,
                shares.count as u32,
                shares.lanes,
            );
        }
        Self { mean, variance }
    }

    /// Running statistics a share of the way to these, whose variances are taken times `unbiased`.
    pub fn follow(&self, client: &Client, running: &Statistics, share: f32, unbiased: f32) -> Statistics {
        let channels = self.mean.length;
        let next = Self { mean: Buffer::floats(client, channels), variance: Buffer::floats(client, channels) };
        // SAFETY: units past the channels stop.
        unsafe {
            follow_kernel::launch_unchecked(
                client,
                cubes(channels, UNITS),
                CubeDim::new_1d(UNITS as u32),
                self.mean.arg(1),
                self.variance.arg(1),
                running.mean.arg(1),
                running.variance.arg(1),
                next.mean.arg(1),
                next.variance.arg(1),
                channels as u32,
                share,
                unbiased,
            );
        }
        next
    }

    /// γ (x − μ) / √(σ² + ε) + β, plus the residual, through ReLU if `relu`.
    pub fn normalise(&self, client: &Client, x: &Buffer, affine: Affine<'_>, residual: Option<&Buffer>, relu: bool) -> Buffer {
        let channels = self.mean.length;
        let wide = width(channels);
        let y = Buffer::like(client, x);
        // SAFETY: units past the values stop.
        unsafe {
            normalise_kernel::launch_unchecked(
                client,
                cubes(x.length / wide, UNITS),
                CubeDim::new_1d(UNITS as u32),
                wide,
                x.arg(wide),
                self.mean.arg(wide),
                self.variance.arg(wide),
                affine.weight.arg(wide),
                affine.bias.arg(wide),
                residual.map_or(ComptimeOptionArgs::None, |residual| ComptimeOptionArgs::Some(residual.arg(wide))),
                y.arg(wide),
                (x.length / wide) as u32,
                (channels / wide) as u32,
                affine.epsilon,
                relu,
                x.elem,
            );
        }
        y
    }

    /// What batch norm with these statistics multiplies with and adds: γ / √(σ² + ε) and β − μ γ / √(σ² + ε).
    pub fn fold(&self, client: &Client, affine: Affine<'_>) -> (Buffer, Buffer) {
        let channels = self.mean.length;
        let (scale, bias) = (Buffer::floats(client, channels), Buffer::floats(client, channels));
        // SAFETY: units past the channels stop.
        unsafe {
            fold_kernel::launch_unchecked(
                client,
                cubes(channels, UNITS),
                CubeDim::new_1d(UNITS as u32),
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

    /// Gradients from `dy`, the gradient of the output. That of the residual is given if the output is.
    pub fn gradients(&self, client: &Client, x: &Buffer, dy: &Buffer, affine: Affine<'_>, through: Through<'_>) -> Gradients {
        let channels = self.mean.length;
        let shares = Shares::new(x.length / channels, channels);
        let partial = shares.partial(client);
        let (weight, bias) = (Buffer::floats(client, channels), Buffer::floats(client, channels));
        let relu = matches!(through, Through::Relu);
        let output = match through {
            Through::Output(output) => Some(output),
            _ => None,
        };
        // Five numbers a channel, so that the last kernel reads one table instead of six vectors.
        let table = Buffer::floats(client, 5 * channels);
        // SAFETY: lanes past the channels and pixels past a share are left out.
        unsafe {
            gradient_sums_kernel::launch_unchecked(
                client,
                shares.cubes(),
                shares.dim(),
                x.arg(1),
                dy.arg(1),
                self.mean.arg(1),
                self.variance.arg(1),
                affine.weight.arg(1),
                affine.bias.arg(1),
                output.map_or(ComptimeOptionArgs::None, |output| ComptimeOptionArgs::Some(output.arg(1))),
                partial.arg(1),
                shares.pixels as u32,
                channels as u32,
                shares.share as u32,
                affine.epsilon,
                shares.lanes,
                relu,
                x.elem,
            );
            join_sums_kernel::launch_unchecked(
                client,
                CubeCount::new_1d(channels.div_ceil(shares.lanes) as u32),
                shares.dim(),
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
                shares.lanes,
            );
        }
        let wide = width(channels);
        let dx = Buffer::like(client, x);
        let dresidual = output.map(|_| Buffer::like(client, x));
        // SAFETY: units past the values stop.
        unsafe {
            gradient_kernel::launch_unchecked(
                client,
                cubes(x.length / wide, UNITS),
                CubeDim::new_1d(UNITS as u32),
                wide,
                x.arg(wide),
                dy.arg(wide),
                table.arg(wide),
                output.map_or(ComptimeOptionArgs::None, |output| ComptimeOptionArgs::Some(output.arg(wide))),
                dx.arg(wide),
                dresidual.as_ref().map_or(ComptimeOptionArgs::None, |residual| ComptimeOptionArgs::Some(residual.arg(wide))),
                (x.length / wide) as u32,
                (channels / wide) as u32,
                relu,
                x.elem,
            );
        }
        Gradients { x: dx, weight, bias, residual: dresidual }
    }
}

/// The sums of the columns of `[rows, columns]`.
pub fn column_sums(client: &Client, x: &Buffer, columns: usize) -> Buffer {
    let sums = Buffer::floats(client, columns);
    let lanes = 32;
    // SAFETY: lanes past the columns are left out.
    unsafe {
        column_sums_kernel::launch_unchecked(
            client,
            CubeCount::new_1d(columns.div_ceil(lanes) as u32),
            CubeDim::new_2d(lanes as u32, (UNITS / lanes) as u32),
            x.arg(1),
            sums.arg(1),
            (x.length / columns) as u32,
            columns as u32,
            lanes,
        );
    }
    sums
}

/// Adds up what the units of a column of the cube hold, in order; every unit gets the sum.
#[cube]
fn add_down(value: f32, shared: &mut Shared<[f32]>, #[comptime] lanes: usize) -> f32 {
    let rows = comptime!(UNITS / lanes);
    sync_cube();
    shared[UNIT_POS as usize] = value;
    sync_cube();
    let mut sum = 0.0f32;
    #[unroll]
    for row in 0..rows {
        sum += shared[comptime!(row * lanes) + UNIT_POS_X as usize];
    }
    sum
}

#[cube(launch_unchecked)]
fn column_sums_kernel(x: &[f32], sums: &mut [f32], rows: u32, columns: u32, #[comptime] lanes: usize) {
    let down = comptime!((UNITS / lanes) as u32);
    let mut shared = Shared::<[f32]>::new_slice(UNITS);
    let column = CUBE_POS_X * comptime!(lanes as u32) + UNIT_POS_X;
    let mut sum = 0.0f32;
    if column < columns {
        let mut row = UNIT_POS_Y;
        while row < rows {
            sum += x[(row * columns + column) as usize];
            row += down;
        }
    }
    let whole = add_down(sum, &mut shared, lanes);
    if column < columns && UNIT_POS_Y == 0 {
        sums[column as usize] = whole;
    }
}

/// Means and sums of squared deviations of each share, `[share, 2, channels]`.
#[cube(launch_unchecked)]
fn moments_kernel<E: Float>(
    x: &[E],
    partial: &mut [f32],
    pixels: u32,
    channels: u32,
    share: u32,
    #[comptime] lanes: usize,
    #[define(E)] _elem: ElemType,
) {
    let down = comptime!((UNITS / lanes) as u32);
    let mut shared = Shared::<[f32]>::new_slice(UNITS);
    let channel = CUBE_POS_X * comptime!(lanes as u32) + UNIT_POS_X;
    let first = CUBE_POS_Y * share;
    let end = min(first + share, pixels);
    let mut sum = 0.0f32;
    let mut squares = 0.0f32;
    let mut near = 0.0f32;
    if channel < channels {
        // A value of the share lies near its mean, so that no digits are lost when the mean is far from zero.
        near = f32::cast_from(x[(first * channels + channel) as usize]);
        let mut pixel = first + UNIT_POS_Y;
        while pixel < end {
            let deviation = f32::cast_from(x[(pixel * channels + channel) as usize]) - near;
            sum += deviation;
            squares += deviation * deviation;
            pixel += down;
        }
    }
    let sum = add_down(sum, &mut shared, lanes);
    let squares = add_down(squares, &mut shared, lanes);
    if channel < channels && UNIT_POS_Y == 0 {
        let apart = sum / f32::cast_from(end - first);
        partial[(CUBE_POS_Y * 2 * channels + channel) as usize] = near + apart;
        partial[((CUBE_POS_Y * 2 + 1) * channels + channel) as usize] = squares - sum * apart;
    }
}

/// The mean and variance of the whole from those of its shares (Chan, Golub and LeVeque, 1983).
#[cube(launch_unchecked)]
fn join_moments_kernel(
    partial: &[f32],
    mean: &mut [f32],
    variance: &mut [f32],
    pixels: u32,
    channels: u32,
    share: u32,
    count: u32,
    #[comptime] lanes: usize,
) {
    let down = comptime!((UNITS / lanes) as u32);
    let mut shared = Shared::<[f32]>::new_slice(UNITS);
    let channel = CUBE_POS_X * comptime!(lanes as u32) + UNIT_POS_X;
    let inside = channel < channels;
    let mut near = 0.0f32;
    let mut sum = 0.0f32;
    if inside {
        near = partial[channel as usize];
        let mut at = UNIT_POS_Y;
        while at < count {
            let of_share = f32::cast_from(min(share, pixels - at * share));
            sum += of_share * (partial[(at * 2 * channels + channel) as usize] - near);
            at += down;
        }
    }
    let all = f32::cast_from(pixels);
    let middle = near + add_down(sum, &mut shared, lanes) / all;
    let mut squares = 0.0f32;
    if inside {
        let mut at = UNIT_POS_Y;
        while at < count {
            let of_share = f32::cast_from(min(share, pixels - at * share));
            let apart = partial[(at * 2 * channels + channel) as usize] - middle;
            squares += partial[((at * 2 + 1) * channels + channel) as usize] + of_share * apart * apart;
            at += down;
        }
    }
    let squares = add_down(squares, &mut shared, lanes);
    if inside && UNIT_POS_Y == 0 {
        mean[channel as usize] = middle;
        variance[channel as usize] = squares / all;
    }
}

#[cube(launch_unchecked)]
fn normalise_kernel<E: Float, W: Size>(
    x: &[Vector<E, W>],
    mean: &[Vector<f32, W>],
    variance: &[Vector<f32, W>],
    weight: &[Vector<f32, W>],
    bias: &[Vector<f32, W>],
    residual: ComptimeOption<&[Vector<E, W>]>,
    y: &mut [Vector<E, W>],
    length: u32,
    channels: u32,
    epsilon: f32,
    #[comptime] relu: bool,
    #[define(E)] _elem: ElemType,
) {
    let index = ABSOLUTE_POS;
    if index >= length as usize {
        terminate!();
    }
    let channel = index % channels as usize;
    // The backward pass asks again whether this is more than 0, and must come to the same answer.
    let scale = weight[channel] * (variance[channel] + Vector::new(epsilon)).sqrt().recip();
    let mut value = (Vector::<f32, W>::cast_from(x[index]) - mean[channel]) * scale + bias[channel];
    #[comptime]
    match residual {
        ComptimeOption::Some(residual) => value += Vector::<f32, W>::cast_from(residual[index]),
        ComptimeOption::None => {}
    }
    if comptime!(relu) {
        // Not a number stays what it is.
        value = select_many(value.less_than(&Vector::new(0.0f32)), Vector::new(0.0f32), value);
    }
    y[index] = Vector::cast_from(value);
}

#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
fn follow_kernel(
    mean: &[f32],
    variance: &[f32],
    running_mean: &[f32],
    running_variance: &[f32],
    next_mean: &mut [f32],
    next_variance: &mut [f32],
    channels: u32,
    share: f32,
    unbiased: f32,
) {
    let channel = ABSOLUTE_POS;
    if channel >= channels as usize {
        terminate!();
    }
    next_mean[channel] = running_mean[channel] * (1.0f32 - share) + mean[channel] * share;
    next_variance[channel] = running_variance[channel] * (1.0f32 - share) + variance[channel] * (share * unbiased);
}

#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
fn fold_kernel(
    mean: &[f32],
    variance: &[f32],
    weight: &[f32],
    bias: &[f32],
    scale: &mut [f32],
    shift: &mut [f32],
    channels: u32,
    epsilon: f32,
) {
    let channel = ABSOLUTE_POS;
    if channel >= channels as usize {
        terminate!();
    }
    let factor = weight[channel] * (variance[channel] + epsilon).sqrt().recip();
    scale[channel] = factor;
    shift[channel] = bias[channel] - mean[channel] * factor;
}

/// Sums of the gradients, and of the gradients times the deviations from the mean, of each share, `[share, 2, channels]`.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
fn gradient_sums_kernel<E: Float>(
    x: &[E],
    dy: &[E],
    mean: &[f32],
    variance: &[f32],
    weight: &[f32],
    bias: &[f32],
    output: ComptimeOption<&[E]>,
    partial: &mut [f32],
    pixels: u32,
    channels: u32,
    share: u32,
    epsilon: f32,
    #[comptime] lanes: usize,
    #[comptime] relu: bool,
    #[define(E)] _elem: ElemType,
) {
    let down = comptime!((UNITS / lanes) as u32);
    let mut shared = Shared::<[f32]>::new_slice(UNITS);
    let channel = CUBE_POS_X * comptime!(lanes as u32) + UNIT_POS_X;
    let first = CUBE_POS_Y * share;
    let end = min(first + share, pixels);
    let mut sum = 0.0f32;
    let mut product = 0.0f32;
    if channel < channels {
        let c = channel as usize;
        let middle = mean[c];
        let scale = weight[c] * (variance[c] + epsilon).sqrt().recip();
        let mut pixel = first + UNIT_POS_Y;
        while pixel < end {
            let at = (pixel * channels + channel) as usize;
            let deviation = f32::cast_from(x[at]) - middle;
            let mut gradient = f32::cast_from(dy[at]);
            if comptime!(relu) {
                if deviation * scale + bias[c] <= 0.0f32 {
                    gradient = 0.0f32;
                }
            }
            #[comptime]
            match &output {
                ComptimeOption::Some(output) => {
                    if f32::cast_from(output[at]) <= 0.0f32 {
                        gradient = 0.0f32;
                    }
                }
                ComptimeOption::None => {}
            }
            sum += gradient;
            product += gradient * deviation;
            pixel += down;
        }
    }
    let sum = add_down(sum, &mut shared, lanes);
    let product = add_down(product, &mut shared, lanes);
    if channel < channels && UNIT_POS_Y == 0 {
        partial[(CUBE_POS_Y * 2 * channels + channel) as usize] = sum;
        partial[((CUBE_POS_Y * 2 + 1) * channels + channel) as usize] = product;
    }
}

/// Gradients of γ and β, and a table of what the gradient of the input needs, `[5, channels]`: the mean, γ / √(σ² + ε), β, the mean gradient
/// and the slope of the gradient that goes with the input.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
fn join_sums_kernel(
    partial: &[f32],
    mean: &[f32],
    variance: &[f32],
    weight: &[f32],
    bias: &[f32],
    of_weight: &mut [f32],
    of_bias: &mut [f32],
    table: &mut [f32],
    pixels: u32,
    channels: u32,
    count: u32,
    epsilon: f32,
    #[comptime] lanes: usize,
) {
    let down = comptime!((UNITS / lanes) as u32);
    let mut shared = Shared::<[f32]>::new_slice(UNITS);
    let channel = CUBE_POS_X * comptime!(lanes as u32) + UNIT_POS_X;
    let mut sum = 0.0f32;
    let mut product = 0.0f32;
    if channel < channels {
        let mut at = UNIT_POS_Y;
        while at < count {
            sum += partial[(at * 2 * channels + channel) as usize];
            product += partial[((at * 2 + 1) * channels + channel) as usize];
            at += down;
        }
    }
    let sum = add_down(sum, &mut shared, lanes);
    let product = add_down(product, &mut shared, lanes);
    if channel < channels && UNIT_POS_Y == 0 {
        let c = channel as usize;
        let n = channels as usize;
        let inverse = (variance[c] + epsilon).sqrt().recip();
        let all = f32::cast_from(pixels);
        of_bias[c] = sum;
        of_weight[c] = product * inverse;
        table[c] = mean[c];
        table[n + c] = weight[c] * inverse;
        table[2 * n + c] = bias[c];
        table[3 * n + c] = sum / all;
        table[4 * n + c] = product * inverse * inverse / all;
    }
}

#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
fn gradient_kernel<E: Float, W: Size>(
    x: &[Vector<E, W>],
    dy: &[Vector<E, W>],
    table: &[Vector<f32, W>],
    output: ComptimeOption<&[Vector<E, W>]>,
    dx: &mut [Vector<E, W>],
    dresidual: ComptimeOption<&mut [Vector<E, W>]>,
    length: u32,
    channels: u32,
    #[comptime] relu: bool,
    #[define(E)] _elem: ElemType,
) {
    let index = ABSOLUTE_POS;
    if index >= length as usize {
        terminate!();
    }
    let n = channels as usize;
    let channel = index % n;
    let zero = Vector::<f32, W>::new(0.0f32);
    let deviation = Vector::<f32, W>::cast_from(x[index]) - table[channel];
    let scale = table[n + channel];
    let mut gradient = Vector::<f32, W>::cast_from(dy[index]);
    if comptime!(relu) {
        let value = deviation * scale + table[2 * n + channel];
        gradient = select_many(value.less_equal(&zero), zero, gradient);
    }
    #[comptime]
    match output {
        ComptimeOption::Some(output) => {
            let output = Vector::<f32, W>::cast_from(output[index]);
            gradient = select_many(output.less_equal(&zero), zero, gradient);
        }
        ComptimeOption::None => {}
    }
    #[comptime]
    match dresidual {
        ComptimeOption::Some(dresidual) => dresidual[index] = Vector::cast_from(gradient),
        ComptimeOption::None => {}
    }
    dx[index] = Vector::cast_from(scale * (gradient - table[3 * n + channel] - deviation * table[4 * n + channel]));
}
