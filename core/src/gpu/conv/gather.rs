//! The convolution and its gradient with respect to the input: rows are pixels, columns channels of
//! the result.

#![expect(unsafe_code, reason = "CubeCL does not check that a kernel stays inside its buffers")]

use cubecl::client::Client;
use cubecl::prelude::*;

use super::pack::Packed;
use super::places::{Target, TargetLaunch, at_tap, first_tap};
use crate::gpu::activation::activate;
use crate::gpu::buffer::{Buffer, width};
use crate::kernels::{Activation, ConvShape};

/// Channels summed up between two barriers.
const DEPTH: usize = 16;

/// How results are divided: a unit computes `rows` rows of four columns, a cube is `down` by
/// `across` units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tile {
    pub across: usize,
    pub down: usize,
    pub rows: usize,
}

impl Tile {
    pub fn for_columns(columns: usize, pixels: usize) -> Self {
        match columns {
            // Enough rows to keep a large GPU busy with cubes of twice the size.
            49.. if pixels >= 1 << 15 => Self { across: 16, down: 16, rows: 8 },
            49.. => Self { across: 16, down: 16, rows: 4 },
            17..=48 => Self { across: 8, down: 32, rows: 4 },
            _ => Self { across: 4, down: 32, rows: 4 },
        }
    }
}

/// What is done to the sums before they are written.
#[derive(Clone, Copy, Default)]
pub struct Epilogue<'a> {
    /// Added to every pixel, `[channels]`.
    pub bias: Option<&'a Buffer>,
    /// Added, of the result's shape.
    pub residual: Option<&'a Buffer>,
    /// Applied last.
    pub activation: Activation,
}

/// The images that are read, and where.
#[derive(CubeType, CubeLaunch)]
struct Source {
    height: u32,
    width: u32,
    /// Channels in fours, the last one perhaps not full.
    fours: u32,
    channels: u32,
    kernel: u32,
    stride: u32,
    /// Rows and columns of zeros before the image; those after it need not be told.
    above: u32,
    before: u32,
}

/// `[batch, height, width, input]` to `[batch, out height, out width, output]`.
pub fn convolve(
    client: &Client,
    shape: &ConvShape,
    x: &Buffer,
    weight: &Packed,
    epilogue: Epilogue<'_>,
) -> Buffer {
    let source = [shape.height, shape.width, shape.input];
    let target = [shape.out_height(), shape.out_width(), shape.output];
    launch(client, shape, x, source, weight, target, epilogue, false)
}

/// `[batch, out height, out width, output]`, the gradient of the result, to that of the input;
/// `weight` is packed transposed.
pub fn input_gradient(
    client: &Client,
    shape: &ConvShape,
    dy: &Buffer,
    weight: &Packed,
    residual: Option<&Buffer>,
) -> Buffer {
    let source = [shape.out_height(), shape.out_width(), shape.output];
    let target = [shape.height, shape.width, shape.input];
    launch(
        client,
        shape,
        dy,
        source,
        weight,
        target,
        Epilogue { residual, ..Epilogue::default() },
        true,
    )
}

#[expect(clippy::too_many_arguments, reason = "a kernel takes its buffers and sizes one by one")]
fn launch(
    client: &Client,
    shape: &ConvShape,
    source: &Buffer,
    [source_height, source_width, source_channels]: [usize; 3],
    weight: &Packed,
    [height, row, channels]: [usize; 3],
    epilogue: Epilogue<'_>,
    transposed: bool,
) -> Buffer {
    let pixels = shape.batch * height * row;
    let result = Buffer::floats(client, pixels * channels);
    let tile = Tile::for_columns(channels, pixels);
    let (narrow, wide) = (width(source_channels), width(channels));
    let down = pixels.div_ceil(tile.down * tile.rows);
    let apart = down.div_ceil(1 << 15);
    let count = CubeCount::new_3d(
        down.div_ceil(apart) as u32,
        weight.columns.div_ceil(tile.across) as u32,
        apart as u32,
    );
    // SAFETY: rows and columns past the result are neither read nor written, and places outside of
    // an image count as zeros.
    unsafe {
        gather_kernel::launch_unchecked(
            client,
            count,
            CubeDim::new_2d(tile.across as u32, tile.down as u32),
            narrow,
            wide,
            source.arg(narrow),
            weight.buffer.arg(4),
            epilogue
                .bias
                .map_or(ComptimeOptionArgs::None, |bias| ComptimeOptionArgs::Some(bias.arg(1))),
            epilogue.residual.map_or(ComptimeOptionArgs::None, |residual| {
                ComptimeOptionArgs::Some(residual.arg(wide))
            }),
            result.arg(wide),
            SourceLaunch::new(
                source_height as u32,
                source_width as u32,
                weight.rows as u32,
                source_channels as u32,
                shape.kernel as u32,
                shape.stride as u32,
                shape.padding.rows.0 as u32,
                shape.padding.columns.0 as u32,
            ),
            TargetLaunch::new(pixels as u32, channels as u32, (height * row) as u32, row as u32),
            tile.across,
            tile.down,
            tile.rows,
            transposed,
            epilogue.activation,
        );
    }
    result
}

#[cube(launch_unchecked)]
#[expect(clippy::too_many_arguments, reason = "a kernel takes its buffers and sizes one by one")]
fn gather_kernel<S: Size, T: Size>(
    source: &[Vector<f32, S>],
    weight: &[Vector<f32, Const<4>>],
    bias: ComptimeOption<&[f32]>,
    residual: ComptimeOption<&[Vector<f32, T>]>,
    result: &mut [Vector<f32, T>],
    from: Source,
    to: Target,
    #[comptime] across: usize,
    #[comptime] down: usize,
    #[comptime] rows: usize,
    #[comptime] transposed: bool,
    #[comptime] activation: Activation,
) {
    let wide = T::value();
    let depth = comptime!(DEPTH / 4);
    let pitch = comptime!(DEPTH / 4 + 1);
    let units = comptime!(across * down);
    let height = comptime!(down * rows);
    let gathers = comptime!((height * depth).div_ceil(units));
    let reads = comptime!((DEPTH * across).div_ceil(units));
    let unit = UNIT_POS as usize;
    let columns = (to.channels + 3) / 4;
    let first_row = (CUBE_POS_Z * CUBE_COUNT_X + CUBE_POS_X) * comptime!(height as u32);
    let first_column = CUBE_POS_Y * comptime!(across as u32);

    let mut pixels = Shared::<[Vector<f32, Const<4>>]>::new_slice(comptime!(height * pitch));
    let mut weights = Shared::<[Vector<f32, Const<4>>]>::new_slice(comptime!(DEPTH * across));
    let mut sums = Array::<Vector<f32, Const<4>>>::new(rows);
    #[unroll]
    for i in 0..rows {
        sums[i] = Vector::new(0.0f32);
    }

    // Where the kernel's first tap falls for every row that this unit gathers.
    let mut image = Array::<u32>::new(gathers);
    let mut top = Array::<u32>::new(gathers);
    let mut left = Array::<u32>::new(gathers);
    #[unroll]
    for i in 0..gathers {
        let row = first_row + ((unit + comptime!(i * units)) / depth) as u32;
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

    for tap_y in 0..from.kernel {
        for tap_x in 0..from.kernel {
            let tap = tap_y * from.kernel + tap_x;
            let mut place = Array::<u32>::new(gathers);
            let mut inside = Array::<bool>::new(gathers);
            #[unroll]
            for i in 0..gathers {
                let (y, x, hit) = at_tap(top[i], left[i], tap_y, tap_x, from.stride, transposed);
                inside[i] = hit && y < from.height && x < from.width;
                place[i] = (image[i] * from.height + y) * from.width + x;
            }
            let mut four = 0u32.runtime();
            while four < from.fours {
                #[unroll]
                for i in 0..gathers {
                    let index = unit + comptime!(i * units);
                    let row = index / depth;
                    let at = index % depth;
                    if row < height {
                        let mut value = Vector::<f32, Const<4>>::new(0.0f32);
                        let chosen = four + at as u32;
                        if inside[i] && chosen < from.fours {
                            value = load::<S>(source, place[i], chosen, from.channels);
                        }
                        pixels[row * pitch + at] = value;
                    }
                }
                #[unroll]
                for i in 0..reads {
                    let index = unit + comptime!(i * units);
                    let row = index / across;
                    let column = first_column + (index % across) as u32;
                    if row < comptime!(DEPTH) {
                        let mut value = Vector::<f32, Const<4>>::new(0.0f32);
                        let channel = four * 4 + row as u32;
                        if channel < from.fours * 4 && column < columns {
                            value = weight
                                [((tap * from.fours * 4 + channel) * columns + column) as usize];
                        }
                        weights[row * across + index % across] = value;
                    }
                }
                sync_cube();
                let mine = UNIT_POS_Y as usize * rows;
                #[unroll]
                for k4 in 0..depth {
                    let mut values = Array::<Vector<f32, Const<4>>>::new(rows);
                    #[unroll]
                    for i in 0..rows {
                        values[i] = pixels[(mine + i) * pitch + k4];
                    }
                    #[unroll]
                    for k in 0..4usize {
                        let factor =
                            weights[comptime!((k4 * 4 + k) * across) + UNIT_POS_X as usize];
                        #[unroll]
                        for i in 0..rows {
                            sums[i] += Vector::new(values[i].extract(k)) * factor;
                        }
                    }
                }
                sync_cube();
                four += comptime!(depth as u32);
            }
        }
    }

    let column = first_column + UNIT_POS_X;
    #[unroll]
    for i in 0..rows {
        let row = first_row + UNIT_POS_Y * comptime!(rows as u32) + comptime!(i as u32);
        if row < to.pixels && column < columns {
            let per = comptime!(4 / wide);
            #[unroll]
            for part in 0..per {
                let channel = column * 4 + comptime!((part * wide) as u32);
                if channel < to.channels {
                    let at = ((row * to.channels + channel) / comptime!(wide as u32)) as usize;
                    let mut value = Vector::<f32, T>::empty();
                    #[unroll]
                    for lane in 0..wide {
                        let mut sum = sums[i].extract(comptime!(part * wide + lane));
                        #[comptime]
                        match &bias {
                            ComptimeOption::Some(bias) => sum += bias[channel as usize + lane],
                            ComptimeOption::None => {}
                        }
                        value.insert(lane, sum);
                    }
                    #[comptime]
                    match &residual {
                        ComptimeOption::Some(residual) => value += residual[at],
                        ComptimeOption::None => {}
                    }
                    result[at] = activate(value, activation);
                }
            }
        }
    }
}

/// Four channels of a pixel, with zeros past the last.
#[cube]
pub fn load<S: Size>(
    source: &[Vector<f32, S>],
    pixel: u32,
    four: u32,
    channels: u32,
) -> Vector<f32, Const<4>> {
    let mut value = Vector::<f32, Const<4>>::new(0.0f32);
    let narrow = S::value();
    if comptime!(narrow == 4) {
        let read = source[((pixel * channels) / 4 + four) as usize];
        #[unroll]
        for lane in 0..4usize {
            value.insert(lane, read.extract(lane));
        }
    } else {
        #[unroll]
        for lane in 0..4usize {
            let channel = four * 4 + comptime!(lane as u32);
            if channel < channels {
                value.insert(lane, source[(pixel * channels + channel) as usize].extract(0usize));
            }
        }
    }
    value
}
