//! The gradient of a convolution with respect to its weights: rows are taps and channels of the
//! input, columns channels of the output, and pixels are summed over.

#![expect(unsafe_code, reason = "CubeCL does not check that a kernel stays inside its buffers")]

use cubecl::client::Client;
use cubecl::ir::ElemType;
use cubecl::prelude::*;
use cubecl::std::FastDivmod;

use super::gather::load;
use super::multiply::{multiply, part, zeros};
use super::{DEPTH, PLANE, PLANES, Rounding, SIDE, Tile};
use crate::gpu::buffer::Buffer;
use crate::gpu::conv::places::first_tap;
use crate::gpu::conv::weight_gradient::{Parts, add_parts};
use crate::kernels::ConvShape;

#[derive(CubeType, CubeLaunch)]
struct Sizes {
    height: u32,
    width: u32,
    input: u32,
    /// Vectors that hold a pixel's channels of the input.
    vectors: FastDivmod<u32>,
    taps: u32,
    kernel: FastDivmod<u32>,
    stride: u32,
    /// Rows and columns of zeros before the image.
    above: u32,
    before: u32,
    output: u32,
    pixels: u32,
    plane: FastDivmod<u32>,
    row: FastDivmod<u32>,
    /// Pixels that one cube sums up.
    share: u32,
    /// Rows of the whole result.
    rows: u32,
    columns: u32,
}

/// `[out, in, k, k]`, in float32.
pub fn weight_gradient(
    client: &Client,
    rounding: Rounding,
    shape: &ConvShape,
    x: &Buffer,
    dy: &Buffer,
) -> Buffer {
    let (height, row) = (shape.out_height(), shape.out_width());
    let pixels = shape.batch * height * row;
    let taps = shape.kernel * shape.kernel;
    let wide = rounding.width();
    let vectors = shape.input.div_ceil(wide);
    let tile = Tile::new(taps * vectors * wide, shape.output, pixels.div_ceil(1024));
    let (down, across) =
        ((taps * vectors * wide).div_ceil(tile.rows), shape.output.div_ceil(tile.columns));
    let parts = Parts::new(pixels, down * across, DEPTH);
    let (rows, columns) = (down * tile.rows, across * tile.columns);
    let partial = Buffer::floats(client, parts.count * rows * columns);
    let (narrow, out) = (rounding.fits(shape.input), rounding.fits(shape.output));
    // SAFETY: pixels past the last are not read, places outside of an image count as zeros, and
    // what is written has room for whole tiles.
    unsafe {
        partial_kernel::launch_unchecked(
            client,
            CubeCount::new_3d(down as u32, across as u32, parts.count as u32),
            CubeDim::new_2d(PLANE as u32, PLANES as u32),
            narrow,
            out,
            wide,
            x.arg(narrow),
            dy.arg(out),
            partial.arg(1),
            SizesLaunch::new(
                shape.height as u32,
                shape.width as u32,
                shape.input as u32,
                vectors as u32,
                taps as u32,
                shape.kernel as u32,
                shape.stride as u32,
                shape.padding.rows.0 as u32,
                shape.padding.columns.0 as u32,
                shape.output as u32,
                pixels as u32,
                (height * row) as u32,
                row as u32,
                parts.share as u32,
                rows as u32,
                columns as u32,
            ),
            tile,
            rounding.depth(),
            rounding.images,
            rounding.factors,
        );
    }
    add_parts(client, shape, &partial, parts.count, [vectors * wide, rows, columns])
}

#[cube(launch_unchecked)]
#[expect(clippy::too_many_arguments, reason = "a kernel takes its buffers and sizes one by one")]
fn partial_kernel<I: Float, F: Float, S: Size, T: Size, W: Size>(
    x: &[Vector<I, S>],
    dy: &[Vector<I, T>],
    partial: &mut [f32],
    sizes: Sizes,
    #[comptime] tile: Tile,
    #[comptime] depth: usize,
    #[define(I)] _images: ElemType,
    #[define(F)] _factors: ElemType,
) {
    let wide = W::value();
    let units = comptime!(PLANE * PLANES);
    let height = comptime!(tile.rows / wide);
    let across = comptime!(tile.columns / wide);
    // Between two pixels, which keeps them in different banks.
    let (input_pitch, gradient_pitch) = comptime!((height + 1, across + 1));
    let gathers = comptime!((DEPTH * height).div_ceil(units));
    let reads = comptime!((DEPTH * across).div_ceil(units));
    let unit = UNIT_POS as usize;
    let first_row = CUBE_POS_X * comptime!(height as u32);
    let first_column = CUBE_POS_Y * comptime!(across as u32);
    let first_pixel = CUBE_POS_Z * sizes.share;
    let end = min(first_pixel + sizes.share, sizes.pixels);

    let inputs_length = comptime!(DEPTH * input_pitch);
    let gradients_length = comptime!(DEPTH * gradient_pitch);
    let mut inputs = Shared::<[Vector<F, W>]>::new_slice(comptime!(2 * inputs_length));
    let mut gradients = Shared::<[Vector<F, W>]>::new_slice(comptime!(2 * gradients_length));

    let mut down_by = Array::<u32>::new(gathers);
    let mut right_by = Array::<u32>::new(gathers);
    let mut channel = Array::<u32>::new(gathers);
    let mut wanted = Array::<bool>::new(gathers);
    #[unroll]
    for i in 0..gathers {
        let index = unit + comptime!(i * units);
        let (tap, vector) = sizes.vectors.div_mod(first_row + (index % height) as u32);
        let (tap_y, tap_x) = sizes.kernel.div_mod(tap);
        wanted[i] = tap < sizes.taps && index < comptime!(DEPTH * height);
        down_by[i] = tap_y - sizes.above;
        right_by[i] = tap_x - sizes.before;
        channel[i] = vector * comptime!(wide as u32);
    }

    let mut next_inputs = Array::<Vector<F, W>>::new(gathers);
    let mut next_gradients = Array::<Vector<F, W>>::new(reads);
    let sums = zeros(tile, depth);
    let mine = part(tile);

    let steps = (end - first_pixel + comptime!(DEPTH as u32 - 1)) / comptime!(DEPTH as u32);
    // The values of the next step are on their way while this one's are multiplied.
    for step in 0..steps + 1 {
        if step < steps {
            let start = first_pixel + step * comptime!(DEPTH as u32);
            #[unroll]
            for i in 0..gathers {
                let index = unit + comptime!(i * units);
                let mut value = Vector::<F, W>::new(F::from_int(0));
                let pixel = start + (index / height) as u32;
                // The padding is already in what is added.
                let (n, top, left) = first_tap(
                    pixel,
                    wanted[i] && pixel < end,
                    &sizes.plane,
                    &sizes.row,
                    sizes.stride,
                    0u32,
                    0u32,
                    false,
                );
                let y = top + down_by[i];
                let x_at = left + right_by[i];
                if y < sizes.height && x_at < sizes.width {
                    let place =
                        ((n * sizes.height + y) * sizes.width + x_at) * sizes.input + channel[i];
                    value = load::<I, F, S, W>(x, place, channel[i], sizes.input);
                }
                next_inputs[i] = value;
            }
            #[unroll]
            for i in 0..reads {
                let index = unit + comptime!(i * units);
                let mut value = Vector::<F, W>::new(F::from_int(0));
                let pixel = start + (index / across) as u32;
                let at = (first_column + (index % across) as u32) * comptime!(wide as u32);
                if pixel < end && index < comptime!(DEPTH * across) {
                    value = load::<I, F, T, W>(dy, pixel * sizes.output + at, at, sizes.output);
                }
                next_gradients[i] = value;
            }
        }
        if step > 0 {
            let stage = (step - 1) as usize % 2;
            multiply::<F, W>(
                &inputs,
                stage * inputs_length,
                input_pitch,
                cmma::MatrixLayout::ColMajor,
                &gradients,
                stage * gradients_length,
                gradient_pitch,
                &mine,
                &sums,
                tile,
                depth,
            );
        }
        if step < steps {
            let stage = step as usize % 2;
            #[unroll]
            for i in 0..gathers {
                let index = unit + comptime!(i * units);
                if index < comptime!(DEPTH * height) {
                    inputs[stage * inputs_length + index / height * input_pitch + index % height] =
                        next_inputs[i];
                }
            }
            #[unroll]
            for i in 0..reads {
                let index = unit + comptime!(i * units);
                if index < comptime!(DEPTH * across) {
                    gradients[stage * gradients_length
                        + index / across * gradient_pitch
                        + index % across] = next_gradients[i];
                }
            }
        }
        sync_cube();
    }

    let (matrices_down, matrices_across) =
        comptime!((tile.matrices_down(), tile.matrices_across()));
    #[unroll]
    for i in 0..matrices_down {
        #[unroll]
        for j in 0..matrices_across {
            let row = first_row as usize * wide + mine.row + comptime!(i * SIDE);
            let column = first_column as usize * wide + mine.column + comptime!(j * SIDE);
            let at = (CUBE_POS_Z * sizes.rows) as usize * sizes.columns as usize
                + row * sizes.columns as usize
                + column;
            cmma::store(
                &mut partial[at..at + 1],
                sums.index(comptime!(i * matrices_across + j)),
                sizes.columns,
                cmma::MatrixLayout::RowMajor,
            );
        }
    }
}
