//! Convolutions of every channel by itself, of images `[batch, height, width, channels]`.

#![allow(unsafe_code)] // Launching a kernel is unsafe: CubeCL does not check that it stays inside its buffers.

use cubecl::client::Client;
use cubecl::prelude::*;
use cubecl::std::FastDivmod;

use super::activation::activate;
use super::buffer::{Buffer, cubes, units, width};
use super::conv::{Layout, pack_one};
use crate::kernels::{Activation, Grid};

/// Neighbouring pixels of a row that one unit computes: most of what it reads for one it needs for the next as well, and the weights for all.
const PIXELS: usize = 4;

#[derive(CubeType, CubeLaunch)]
struct Sizes {
    batch: u32,
    height: u32,
    width: u32,
    /// Vectors of a pixel's channels.
    vectors: u32,
    by_vectors: FastDivmod<u32>,
    /// Divides by the units of a row.
    by_strips: FastDivmod<u32>,
    by_out_height: FastDivmod<u32>,
    out_width: u32,
    /// Rows and columns of zeros before the image.
    above: u32,
    before: u32,
}

/// The convolution with weights `[channels, 1, k, k]`, those of every channel times its scale, then its bias and the activation. Gives
/// `[batch, out height, out width, channels]`.
pub fn depthwise(client: &Client, grid: &Grid, x: &Buffer, [weight, scale, bias]: [&Buffer; 3], activation: Activation) -> Buffer {
    let channels = bias.length;
    let (out_height, out_width) = (grid.out_height(), grid.out_width());
    let y = Buffer::floats(client, grid.batch * out_height * out_width * channels);
    let wide = width(channels);
    // Tap by tap, so that a unit reads the factors of its channels together.
    let packed = pack_one(client, &grid.padded_conv(1, channels), weight, Some(scale), false, Layout::rows_of(wide, x.elem));
    let (vectors, strips) = (channels / wide, out_width.div_ceil(PIXELS));
    // SAFETY: units past the images stop, places outside of an image count as zeros, and pixels past a row are not written.
    unsafe {
        depthwise_kernel::launch_unchecked(
            client,
            cubes(grid.batch * out_height * strips * vectors),
            units(),
            wide,
            x.arg(wide),
            packed.arg(wide),
            bias.arg(wide),
            y.arg(wide),
            SizesLaunch::new(
                grid.batch as u32,
                grid.height as u32,
                grid.width as u32,
                vectors as u32,
                vectors as u32,
                strips as u32,
                out_height as u32,
                out_width as u32,
                grid.rows.0 as u32,
                grid.columns.0 as u32,
            ),
            grid.kernel,
            grid.stride,
            activation,
        );
    }
    y
}

#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
fn depthwise_kernel<W: Size>(
    x: &[Vector<f32, W>],
    weight: &[Vector<f32, W>],
    bias: &[Vector<f32, W>],
    y: &mut [Vector<f32, W>],
    sizes: Sizes,
    #[comptime] kernel: usize,
    #[comptime] stride: usize,
    #[comptime] activation: Activation,
) {
    let pixels = comptime!(PIXELS);
    // Columns of the image that the unit's pixels need.
    let reach = comptime!((PIXELS - 1) * stride + kernel);
    let (rest, vector) = sizes.by_vectors.div_mod(ABSOLUTE_POS as u32);
    let (line, strip) = sizes.by_strips.div_mod(rest);
    let (image, row) = sizes.by_out_height.div_mod(line);
    if image >= sizes.batch {
        terminate!();
    }
    let first = strip * comptime!(PIXELS as u32);
    // A place before the first row or column wraps round to a very large number.
    let top = row * comptime!(stride as u32) - sizes.above;
    let left = first * comptime!(stride as u32) - sizes.before;
    let mut sums = Array::<Vector<f32, W>>::new(pixels);
    #[unroll]
    for i in 0..pixels {
        sums[i] = bias[vector as usize];
    }
    #[unroll]
    for tap_y in 0..kernel {
        let from_row = top + comptime!(tap_y as u32);
        if from_row < sizes.height {
            let start = (image * sizes.height + from_row) * sizes.width;
            let mut values = Array::<Vector<f32, W>>::new(reach);
            #[unroll]
            for i in 0..reach {
                let column = left + comptime!(i as u32);
                let mut value = Vector::<f32, W>::new(0.0f32);
                if column < sizes.width {
                    value = x[((start + column) * sizes.vectors + vector) as usize];
                }
                values[i] = value;
            }
            #[unroll]
            for tap_x in 0..kernel {
                let factor = weight[(comptime!((tap_y * kernel + tap_x) as u32) * sizes.vectors + vector) as usize];
                #[unroll]
                for i in 0..pixels {
                    sums[i] += values[comptime!(i * stride + tap_x)] * factor;
                }
            }
        }
    }
    #[unroll]
    for i in 0..pixels {
        let column = first + comptime!(i as u32);
        if column < sizes.out_width {
            y[((line * sizes.out_width + column) * sizes.vectors + vector) as usize] = activate(sums[i], activation);
        }
    }
}
