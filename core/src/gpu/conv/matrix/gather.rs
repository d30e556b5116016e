//! The convolution and its gradient with respect to the input: rows are pixels, columns channels of
//! the result.

#![expect(unsafe_code, reason = "CubeCL does not check that a kernel stays inside its buffers")]

use cubecl::client::Client;
use cubecl::ir::ElemType;
use cubecl::prelude::*;
use cubecl::std::FastDivmod;

use super::multiply::{multiply, part, zeros};
use super::{DEPTH, PLANE, PLANES, Rounding, SIDE, Tile};
use crate::gpu::buffer::Buffer;
use crate::gpu::conv::places::{Target, TargetLaunch, at_tap, first_tap};
use crate::kernels::ConvShape;

/// The images that are read, and where.
#[derive(CubeType, CubeLaunch)]
struct Source {
    height: u32,
    width: u32,
    channels: u32,
    /// Values that follow each other in memory and are summed up for a tap: channels, or channels
    /// of a whole row of the kernel.
    run: u32,
    taps: u32,
    kernel: FastDivmod<u32>,
    chunks: FastDivmod<u32>,
    stride: u32,
    /// Rows and columns of zeros before the image.
    above: u32,
    before: u32,
}

/// `[batch, height, width, input]` to `[batch, out height, out width, output]`; `weight` is packed
/// in the layout of the rounding.
pub fn convolve(
    client: &Client,
    rounding: Rounding,
    shape: &ConvShape,
    x: &Buffer,
    weight: &Buffer,
) -> Buffer {
    let source = [shape.height, shape.width, shape.input];
    let target = [shape.out_height(), shape.out_width(), shape.output];
    launch(client, rounding, shape, x, source, weight, target, None, false)
}

/// `[batch, out height, out width, output]`, the gradient of the result, to that of the input, to
/// which `residual` is added; `weight` is packed transposed.
pub fn input_gradient(
    client: &Client,
    rounding: Rounding,
    shape: &ConvShape,
    dy: &Buffer,
    weight: &Buffer,
    residual: Option<&Buffer>,
) -> Buffer {
    let source = [shape.out_height(), shape.out_width(), shape.output];
    let target = [shape.height, shape.width, shape.input];
    launch(client, rounding, shape, dy, source, weight, target, residual, true)
}

#[expect(clippy::too_many_arguments, reason = "a kernel takes its buffers and sizes one by one")]
fn launch(
    client: &Client,
    rounding: Rounding,
    shape: &ConvShape,
    source: &Buffer,
    [source_height, source_width, source_channels]: [usize; 3],
    weight: &Buffer,
    [height, row, channels]: [usize; 3],
    residual: Option<&Buffer>,
    transposed: bool,
) -> Buffer {
    let pixels = shape.batch * height * row;
    let result = Buffer::new(client, pixels * channels, rounding.images);
    let tile = Tile::new(pixels, channels, 1);
    let wide = rounding.width();
    let (narrow, out) = (rounding.fits(source_channels), rounding.fits(channels));
    // Few channels: what a row of the kernel covers is one run of values.
    let flat = if source_channels < wide && !transposed { source_channels } else { 0 };
    let (run, taps, kernel) = match flat {
        0 => (source_channels, shape.kernel * shape.kernel, shape.kernel),
        channels => (shape.kernel * channels, shape.kernel, 1),
    };
    let down = pixels.div_ceil(tile.rows);
    let apart = down.div_ceil(1 << 15);
    let count = CubeCount::new_3d(
        down.div_ceil(apart) as u32,
        channels.div_ceil(tile.columns) as u32,
        apart as u32,
    );
    // SAFETY: rows and columns past the result are neither read nor written, and places outside of
    // an image count as zeros.
    unsafe {
        gather_kernel::launch_unchecked(
            client,
            count,
            CubeDim::new_2d(PLANE as u32, PLANES as u32),
            narrow,
            wide,
            out,
            source.arg(narrow),
            weight.arg(wide),
            residual.map_or(ComptimeOptionArgs::None, |residual| {
                ComptimeOptionArgs::Some(residual.arg(out))
            }),
            result.arg(out),
            SourceLaunch::new(
                source_height as u32,
                source_width as u32,
                source_channels as u32,
                run as u32,
                taps as u32,
                kernel as u32,
                run.div_ceil(DEPTH) as u32,
                shape.stride as u32,
                shape.padding.rows.0 as u32,
                shape.padding.columns.0 as u32,
            ),
            TargetLaunch::new(pixels as u32, channels as u32, (height * row) as u32, row as u32),
            tile,
            rounding.depth(),
            flat,
            transposed,
            rounding.images,
            rounding.factors,
        );
    }
    result
}

#[cube(launch_unchecked)]
#[expect(clippy::too_many_arguments, reason = "a kernel takes its buffers and sizes one by one")]
fn gather_kernel<I: Float, F: Float, S: Size, W: Size, T: Size>(
    source: &[Vector<I, S>],
    weight: &[Vector<F, W>],
    residual: ComptimeOption<&[Vector<I, T>]>,
    result: &mut [Vector<I, T>],
    from: Source,
    to: Target,
    #[comptime] tile: Tile,
    #[comptime] depth: usize,
    #[comptime] flat: usize,
    #[comptime] transposed: bool,
    #[define(I)] _images: ElemType,
    #[define(F)] _factors: ElemType,
) {
    let wide = W::value();
    let units = comptime!(PLANE * PLANES);
    // Vectors of a row, and between two rows, which keeps them in different banks.
    let vectors = comptime!(DEPTH / wide);
    let pitch = comptime!(vectors + 1);
    let across = comptime!(tile.columns / wide);
    let weight_pitch = comptime!(across + 1);
    let gathers = comptime!((tile.rows * vectors).div_ceil(units));
    let reads = comptime!((DEPTH * across).div_ceil(units));
    let unit = UNIT_POS as usize;
    let columns = (to.channels + comptime!(wide as u32 - 1)) / comptime!(wide as u32);
    let first_row = (CUBE_POS_Z * CUBE_COUNT_X + CUBE_POS_X) * comptime!(tile.rows as u32);
    let first_column = CUBE_POS_Y * comptime!(across as u32);

    let pixels_length = comptime!(tile.rows * pitch);
    let weights_length = comptime!(DEPTH * weight_pitch);
    let mut pixels = Shared::<[Vector<F, W>]>::new_slice(comptime!(2 * pixels_length));
    let mut weights = Shared::<[Vector<F, W>]>::new_slice(comptime!(2 * weights_length));

    // Where the kernel's first tap falls for every row that this unit gathers.
    let mut image = Array::<u32>::new(gathers);
    let mut top = Array::<u32>::new(gathers);
    let mut left = Array::<u32>::new(gathers);
    #[unroll]
    for i in 0..gathers {
        let row = first_row + ((unit + comptime!(i * units)) / vectors) as u32;
        let (n, y, x) = first_tap(
            row,
            row < to.pixels,
            &to.plane,
            &to.row,
            from.stride,
            from.above,
            from.before,
            transposed,
        );
        image[i] = n;
        top[i] = y;
        left[i] = x;
    }

    let mut next_pixels = Array::<Vector<F, W>>::new(gathers);
    let mut next_weights = Array::<Vector<F, W>>::new(reads);
    let sums = zeros(tile, depth);
    let mine = part(tile);

    let steps = from.taps * ((from.run + comptime!(DEPTH as u32 - 1)) / comptime!(DEPTH as u32));
    // The values of the next step are on their way while this one's are multiplied.
    for step in 0..steps + 1 {
        if step < steps {
            let (tap, chunk) = from.chunks.div_mod(step);
            let (tap_y, tap_x) = from.kernel.div_mod(tap);
            let first = chunk * comptime!(DEPTH as u32);
            #[unroll]
            for i in 0..gathers {
                let index = unit + comptime!(i * units);
                let at = first + (index % vectors * wide) as u32;
                let mut value = Vector::<F, W>::new(F::from_int(0));
                let (y, x, hit) = at_tap(top[i], left[i], tap_y, tap_x, from.stride, transposed);
                if comptime!(flat > 0) {
                    if y < from.height {
                        #[unroll]
                        for lane in 0..wide {
                            let place = at + comptime!(lane as u32);
                            let column = x + place / comptime!(flat as u32);
                            if place < from.run && column < from.width {
                                let pixel = (image[i] * from.height + y) * from.width + column;
                                let value_at =
                                    pixel * comptime!(flat as u32) + place % comptime!(flat as u32);
                                value.insert(
                                    lane,
                                    F::cast_from(source[value_at as usize].extract(0usize)),
                                );
                            }
                        }
                    }
                } else if hit && y < from.height && x < from.width {
                    let place =
                        ((image[i] * from.height + y) * from.width + x) * from.channels + at;
                    value = load::<I, F, S, W>(source, place, at, from.channels);
                }
                next_pixels[i] = value;
            }
            #[unroll]
            for i in 0..reads {
                let index = unit + comptime!(i * units);
                let at = first + (index / across) as u32;
                let column = first_column + (index % across) as u32;
                let mut value = Vector::<F, W>::new(F::from_int(0));
                if at < from.run && column < columns && index < comptime!(DEPTH * across) {
                    value = weight[((tap * from.run + at) * columns + column) as usize];
                }
                next_weights[i] = value;
            }
        }
        if step > 0 {
            let stage = (step - 1) as usize % 2;
            multiply::<F, W>(
                &pixels,
                stage * pixels_length,
                pitch,
                cmma::MatrixLayout::RowMajor,
                &weights,
                stage * weights_length,
                weight_pitch,
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
                if index < comptime!(tile.rows * vectors) {
                    pixels[stage * pixels_length + index / vectors * pitch + index % vectors] =
                        next_pixels[i];
                }
            }
            #[unroll]
            for i in 0..reads {
                let index = unit + comptime!(i * units);
                if index < comptime!(DEPTH * across) {
                    weights
                        [stage * weights_length + index / across * weight_pitch + index % across] =
                        next_weights[i];
                }
            }
        }
        sync_cube();
    }

    let (matrices_down, matrices_across) =
        comptime!((tile.matrices_down(), tile.matrices_across()));
    // Every plane writes rows of its matrices through memory of its own.
    let narrow = T::value();
    let own_columns = comptime!(matrices_across * SIDE);
    let own_pitch = comptime!(own_columns + 4);
    let own_length = comptime!(SIDE * own_pitch);
    let mut written = Shared::<[f32]>::new_slice(comptime!(PLANES * own_length));
    let own = UNIT_POS_Y as usize * own_length;
    #[unroll]
    for i in 0..matrices_down {
        #[unroll]
        for j in 0..matrices_across {
            let at = own + comptime!(j * SIDE);
            cmma::store(
                &mut written[at..at + 1],
                sums.index(comptime!(i * matrices_across + j)),
                comptime!(own_pitch as u32),
                cmma::MatrixLayout::RowMajor,
            );
        }
        sync_plane();
        let per_row = comptime!(own_columns / narrow);
        #[unroll]
        for part in 0..comptime!((SIDE * per_row).div_ceil(PLANE)) {
            let index = UNIT_POS_X as usize + comptime!(part * PLANE);
            let row_here = index / per_row;
            let column_here = index % per_row * narrow;
            let row = first_row + (mine.row + comptime!(i * SIDE) + row_here) as u32;
            let channel =
                first_column * comptime!(wide as u32) + (mine.column + column_here) as u32;
            if row < to.pixels && channel < to.channels {
                let at = ((row * to.channels + channel) / comptime!(narrow as u32)) as usize;
                let mut value = Vector::<f32, T>::empty();
                #[unroll]
                for lane in 0..narrow {
                    value.insert(lane, written[own + row_here * own_pitch + column_here + lane]);
                }
                #[comptime]
                match &residual {
                    ComptimeOption::Some(residual) => {
                        value += Vector::<f32, T>::cast_from(residual[at])
                    }
                    ComptimeOption::None => {}
                }
                result[at] = Vector::cast_from(value);
            }
        }
        sync_plane();
    }
}

/// The channels from `channel` on of the pixel whose channel this is at `place`, rounded, with
/// zeros past the last.
#[cube]
pub fn load<I: Float, F: Float, S: Size, W: Size>(
    source: &[Vector<I, S>],
    place: u32,
    channel: u32,
    channels: u32,
) -> Vector<F, W> {
    let wide = W::value();
    let narrow = S::value();
    let mut value = Vector::<F, W>::new(F::from_int(0));
    if comptime!(narrow == wide) {
        if channel < channels {
            let read = source[(place / comptime!(wide as u32)) as usize];
            #[unroll]
            for lane in 0..wide {
                value.insert(lane, F::cast_from(read.extract(lane)));
            }
        }
    } else {
        #[unroll]
        for lane in 0..wide {
            if channel + comptime!(lane as u32) < channels {
                value.insert(
                    lane,
                    F::cast_from(source[(place + comptime!(lane as u32)) as usize].extract(0usize)),
                );
            }
        }
    }
    value
}
