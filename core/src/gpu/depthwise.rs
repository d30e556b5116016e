//! Convolutions of every channel by itself, of images `[batch, height, width, channels]`.

#![expect(unsafe_code, reason = "CubeCL does not check that a kernel stays inside its buffers")]

use cubecl::client::Client;
use cubecl::prelude::*;
use cubecl::std::FastDivmod;

use super::activation::activate;
use super::buffer::{Buffer, cubes, units, width};
use super::conv::{Epilogue, Layout, pack_one};
use crate::kernels::{Activation, ConvShape};

/// Neighbouring pixels of a row that one unit computes: most of what it reads for one it needs for
/// the next as well, and the weights for all.
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

/// The convolution with weights `[channels, 1, k, k]`, those of every channel times its scale if
/// there are any, finished as `epilogue` asks for. Gives
/// `[batch, out height, out width, channels]`.
pub fn depthwise(
    client: &Client,
    shape: &ConvShape,
    x: &Buffer,
    weight: &Buffer,
    scale: Option<&Buffer>,
    Epilogue { bias, residual, activation }: Epilogue<'_>,
) -> Buffer {
    let channels = shape.output;
    let (out_height, out_width) = (shape.out_height(), shape.out_width());
    let y = Buffer::floats(client, shape.output_len());
    let wide = width(channels);
    // Tap by tap, so that a unit reads the factors of its channels together.
    let of_one = ConvShape { input: 1, groups: 1, ..*shape };
    let packed = pack_one(client, &of_one, weight, scale, false, Layout::rows_of(wide, x.elem));
    let (vectors, strips) = (channels / wide, out_width.div_ceil(PIXELS));
    let optional = |buffer: Option<&Buffer>| {
        buffer.map_or(ComptimeOptionArgs::None, |buffer| ComptimeOptionArgs::Some(buffer.arg(wide)))
    };
    // SAFETY: units past the images stop, places outside of an image count as zeros, and pixels
    // past a row are not written.
    unsafe {
        depthwise_kernel::launch_unchecked(
            client,
            cubes(shape.batch * out_height * strips * vectors),
            units(),
            wide,
            x.arg(wide),
            packed.arg(wide),
            optional(bias),
            optional(residual),
            y.arg(wide),
            SizesLaunch::new(
                shape.batch as u32,
                shape.height as u32,
                shape.width as u32,
                vectors as u32,
                vectors as u32,
                strips as u32,
                out_height as u32,
                out_width as u32,
                shape.padding.rows.0 as u32,
                shape.padding.columns.0 as u32,
            ),
            shape.kernel,
            shape.stride,
            activation,
        );
    }
    y
}

#[cube(launch_unchecked)]
#[expect(clippy::too_many_arguments, reason = "a kernel takes its buffers and sizes one by one")]
fn depthwise_kernel<W: Size>(
    x: &[Vector<f32, W>],
    weight: &[Vector<f32, W>],
    bias: ComptimeOption<&[Vector<f32, W>]>,
    residual: ComptimeOption<&[Vector<f32, W>]>,
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
    let mut start = Vector::<f32, W>::new(0.0f32);
    #[comptime]
    match &bias {
        ComptimeOption::Some(bias) => start = bias[vector as usize],
        ComptimeOption::None => {}
    }
    let mut sums = Array::<Vector<f32, W>>::new(pixels);
    #[unroll]
    for i in 0..pixels {
        sums[i] = start;
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
                let factor = weight[(comptime!((tap_y * kernel + tap_x) as u32) * sizes.vectors
                    + vector) as usize];
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
            let at = ((line * sizes.out_width + column) * sizes.vectors + vector) as usize;
            let mut sum = sums[i];
            #[comptime]
            match &residual {
                ComptimeOption::Some(residual) => sum += residual[at],
                ComptimeOption::None => {}
            }
            y[at] = activate(sum, activation);
        }
    }
}
