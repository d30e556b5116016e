//! The gradient of a convolution with respect to its weights: rows are taps and channels of the
//! input, columns channels of the output, and pixels are summed over.

#![expect(unsafe_code, reason = "CubeCL does not check that a kernel stays inside its buffers")]

use cubecl::client::Client;
use cubecl::prelude::*;
use cubecl::std::FastDivmod;

use super::gather::load;
use super::places::first_tap;
use crate::gpu::buffer::{Buffer, cubes, units, width};
use crate::kernels::ConvShape;

/// Pixels summed up between two barriers.
const DEPTH: usize = 16;
/// Pixels that are worth a cube of their own.
const FEWEST: usize = 256;

#[derive(CubeType, CubeLaunch)]
struct Sizes {
    height: u32,
    width: u32,
    input: u32,
    /// Channels of the input in fours.
    fours: FastDivmod<u32>,
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
}

/// `[out, in, k, k]`.
pub fn weight_gradient(client: &Client, shape: &ConvShape, x: &Buffer, dy: &Buffer) -> Buffer {
    let (across, down, rows) = match shape.output {
        49.. => (16, 16, 4),
        17..=48 => (8, 32, 4),
        _ => (4, 32, 4),
    };
    let (height, row) = (shape.out_height(), shape.out_width());
    let pixels = shape.batch * height * row;
    let taps = shape.kernel * shape.kernel;
    let (fours, columns) = (shape.input.div_ceil(4), shape.output.div_ceil(4));
    let tiles = (taps * fours * 4).div_ceil(down * rows) * columns.div_ceil(across);
    let parts = Parts::new(pixels, tiles, DEPTH);
    let partial = Buffer::floats(client, parts.count * taps * fours * 4 * columns * 4);
    let (narrow, wide) = (width(shape.input), width(shape.output));
    let count = CubeCount::new_3d(
        (taps * fours * 4).div_ceil(down * rows) as u32,
        columns.div_ceil(across) as u32,
        parts.count as u32,
    );
    // SAFETY: rows, columns and pixels past the last are neither read nor written, and places
    // outside of an image count as zeros.
    unsafe {
        partial_kernel::launch_unchecked(
            client,
            count,
            CubeDim::new_2d(across as u32, down as u32),
            narrow,
            wide,
            x.arg(narrow),
            dy.arg(wide),
            partial.arg(4),
            SizesLaunch::new(
                shape.height as u32,
                shape.width as u32,
                shape.input as u32,
                fours as u32,
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
            ),
            across,
            down,
            rows,
        );
    }
    add_parts(client, shape, &partial, parts.count, [fours * 4, taps * fours * 4, columns * 4])
}

/// How pixels are divided among cubes.
pub struct Parts {
    pub count: usize,
    /// Pixels of each but the last.
    pub share: usize,
}

impl Parts {
    /// As many cubes as keep a large GPU busy; the number depends on the shape alone, so that sums
    /// are the same everywhere.
    pub fn new(pixels: usize, tiles: usize, depth: usize) -> Self {
        let wanted = 512usize.div_ceil(tiles).min(pixels.div_ceil(FEWEST)).max(1);
        let share = pixels.div_ceil(wanted).next_multiple_of(depth);
        Self { count: pixels.div_ceil(share).max(1), share }
    }
}

/// The sum of so many parts, `[part, rows, columns]`, as `[out, in, k, k]`. Columns are outputs,
/// rows taps with this many inputs each; those past the last are left out.
pub fn add_parts(
    client: &Client,
    shape: &ConvShape,
    partial: &Buffer,
    count: usize,
    [inputs, rows, columns]: [usize; 3],
) -> Buffer {
    let gradient = Buffer::floats(client, shape.weight_len());
    // SAFETY: units past the weights stop.
    unsafe {
        sum_kernel::launch_unchecked(
            client,
            cubes(shape.weight_len()),
            units(),
            partial.arg(1),
            gradient.arg(1),
            shape.input as u32,
            shape.output as u32,
            (shape.kernel * shape.kernel) as u32,
            count as u32,
            inputs as u32,
            rows as u32,
            columns as u32,
        );
    }
    gradient
}

#[cube(launch_unchecked)]
fn partial_kernel<S: Size, T: Size>(
    x: &[Vector<f32, S>],
    dy: &[Vector<f32, T>],
    partial: &mut [Vector<f32, Const<4>>],
    sizes: Sizes,
    #[comptime] across: usize,
    #[comptime] down: usize,
    #[comptime] rows: usize,
) {
    let units = comptime!(across * down);
    // Rows in fours.
    let height = comptime!(down * rows / 4);
    let gathers = comptime!((DEPTH * height).div_ceil(units));
    let reads = comptime!((DEPTH * across).div_ceil(units));
    let unit = UNIT_POS as usize;
    let columns = (sizes.output + 3) / 4;
    let fours = (sizes.input + 3) / 4;
    let first_row = CUBE_POS_X * comptime!(height as u32);
    let first_column = CUBE_POS_Y * comptime!(across as u32);
    let first_pixel = CUBE_POS_Z * sizes.share;
    let end = min(first_pixel + sizes.share, sizes.pixels);

    let mut inputs = Shared::<[Vector<f32, Const<4>>]>::new_slice(comptime!(DEPTH * height));
    let mut gradients = Shared::<[Vector<f32, Const<4>>]>::new_slice(comptime!(DEPTH * across));
    let mut sums = Array::<Vector<f32, Const<4>>>::new(rows);
    #[unroll]
    for i in 0..rows {
        sums[i] = Vector::new(0.0f32);
    }

    let mut down_by = Array::<u32>::new(gathers);
    let mut right_by = Array::<u32>::new(gathers);
    let mut channel = Array::<u32>::new(gathers);
    let mut wanted = Array::<bool>::new(gathers);
    #[unroll]
    for i in 0..gathers {
        let index = unit + comptime!(i * units);
        let (tap, four) = sizes.fours.div_mod(first_row + (index % height) as u32);
        let (tap_y, tap_x) = sizes.kernel.div_mod(tap);
        wanted[i] = tap < sizes.taps && index < comptime!(DEPTH * height);
        down_by[i] = tap_y - sizes.above;
        right_by[i] = tap_x - sizes.before;
        channel[i] = four;
    }

    let mut start = first_pixel;
    while start < end {
        #[unroll]
        for i in 0..gathers {
            let index = unit + comptime!(i * units);
            if index < comptime!(DEPTH * height) {
                let mut value = Vector::<f32, Const<4>>::new(0.0f32);
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
                    value = load::<S>(
                        x,
                        (n * sizes.height + y) * sizes.width + x_at,
                        channel[i],
                        sizes.input,
                    );
                }
                inputs[index] = value;
            }
        }
        #[unroll]
        for i in 0..reads {
            let index = unit + comptime!(i * units);
            if index < comptime!(DEPTH * across) {
                let mut value = Vector::<f32, Const<4>>::new(0.0f32);
                let pixel = start + (index / across) as u32;
                let column = first_column + (index % across) as u32;
                if pixel < end && column < columns {
                    value = load::<T>(dy, pixel, column, sizes.output);
                }
                gradients[index] = value;
            }
        }
        sync_cube();
        #[unroll]
        for k in 0..DEPTH {
            let factor = gradients[comptime!(k * across) + UNIT_POS_X as usize];
            #[unroll]
            for four in 0..comptime!(rows / 4) {
                let values = inputs
                    [comptime!(k * height) + UNIT_POS_Y as usize * comptime!(rows / 4) + four];
                #[unroll]
                for lane in 0..4usize {
                    sums[comptime!(four * 4 + lane)] += Vector::new(values.extract(lane)) * factor;
                }
            }
        }
        sync_cube();
        start += comptime!(DEPTH as u32);
    }

    let column = first_column + UNIT_POS_X;
    let all = sizes.taps * fours * 4;
    #[unroll]
    for i in 0..rows {
        let row = first_row * 4 + UNIT_POS_Y * comptime!(rows as u32) + comptime!(i as u32);
        if row < all && column < columns {
            partial[((CUBE_POS_Z * all + row) * columns + column) as usize] = sums[i];
        }
    }
}

#[cube(launch_unchecked)]
#[expect(clippy::too_many_arguments, reason = "a kernel takes its buffers and sizes one by one")]
fn sum_kernel(
    partial: &[f32],
    gradient: &mut [f32],
    input: u32,
    output: u32,
    taps: u32,
    parts: u32,
    inputs: u32,
    rows: u32,
    columns: u32,
) {
    let index = ABSOLUTE_POS as u32;
    let out = index % output;
    let inp = index / output % input;
    let tap = index / (output * input);
    if tap >= taps {
        terminate!();
    }
    let mut sum = 0.0f32;
    for part in 0..parts {
        sum += partial[((part * rows + tap * inputs + inp) * columns + out) as usize];
    }
    gradient[((out * input + inp) * taps + tap) as usize] = sum;
}
