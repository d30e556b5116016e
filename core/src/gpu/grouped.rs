//! Convolutions of channels in groups, each from those of its group alone, and their gradients. A
//! unit computes a few channels of a pixel; there is too little to multiply for tiles in shared
//! memory.

#![expect(unsafe_code, reason = "CubeCL does not check that a kernel stays inside its buffers")]

use cubecl::client::Client;
use cubecl::prelude::*;
use cubecl::std::FastDivmod;

use super::activation::activate;
use super::buffer::{Buffer, cubes, units, width};
use super::conv::{Epilogue, Target, TargetLaunch, add_parts, at_tap, first_tap};
use super::depthwise::depthwise;
use crate::kernels::{Activation, ConvShape};

/// What is read, and how channels are grouped.
#[derive(CubeType, CubeLaunch)]
struct Source {
    height: u32,
    width: u32,
    channels: u32,
    /// Channels of a group that are read, and that are written.
    depth: u32,
    group: FastDivmod<u32>,
    /// Vectors of a pixel that is written.
    vectors: FastDivmod<u32>,
    stride: u32,
    /// Rows and columns of zeros before the image.
    above: u32,
    before: u32,
}

/// `[batch, height, width, input]` to `[batch, out height, out width, output]`; `weight` is
/// `[output, input / groups, k, k]`, and those of every output are multiplied by its scale if there
/// are any.
pub fn convolve(
    client: &Client,
    shape: &ConvShape,
    x: &Buffer,
    weight: &Buffer,
    scale: Option<&Buffer>,
    epilogue: Epilogue<'_>,
) -> Buffer {
    if shape.is_depthwise() {
        return depthwise(client, shape, x, weight, scale, epilogue);
    }
    launch(client, shape, x, weight, scale, epilogue, false)
}

/// `[batch, out height, out width, output]`, the gradient of the result, to that of the input, to
/// which `residual` is added.
pub fn input_gradient(
    client: &Client,
    shape: &ConvShape,
    dy: &Buffer,
    weight: &Buffer,
    residual: Option<&Buffer>,
) -> Buffer {
    launch(client, shape, dy, weight, None, Epilogue { residual, ..Epilogue::default() }, true)
}

fn launch(
    client: &Client,
    shape: &ConvShape,
    source: &Buffer,
    weight: &Buffer,
    scale: Option<&Buffer>,
    epilogue: Epilogue<'_>,
    transposed: bool,
) -> Buffer {
    let input = [shape.height, shape.width, shape.input];
    let output = [shape.out_height(), shape.out_width(), shape.output];
    let ([source_height, source_width, source_channels], [height, row, channels]) =
        if transposed { (output, input) } else { (input, output) };
    let pixels = shape.batch * height * row;
    let result = Buffer::floats(client, pixels * channels);
    let wide = width(channels / shape.groups);
    let optional = |buffer: Option<&Buffer>| {
        buffer.map_or(ComptimeOptionArgs::None, |buffer| ComptimeOptionArgs::Some(buffer.arg(wide)))
    };
    // SAFETY: units past the result stop, and places outside of an image are not read.
    unsafe {
        grouped_kernel::launch_unchecked(
            client,
            cubes(pixels * channels / wide),
            units(),
            wide,
            source.arg(1),
            weight.arg(1),
            optional(scale),
            optional(epilogue.bias),
            optional(epilogue.residual),
            result.arg(wide),
            SourceLaunch::new(
                source_height as u32,
                source_width as u32,
                source_channels as u32,
                (source_channels / shape.groups) as u32,
                (channels / shape.groups) as u32,
                (channels / wide) as u32,
                shape.stride as u32,
                shape.padding.rows.0 as u32,
                shape.padding.columns.0 as u32,
            ),
            TargetLaunch::new(pixels as u32, channels as u32, (height * row) as u32, row as u32),
            shape.kernel,
            transposed,
            epilogue.activation,
        );
    }
    result
}

#[cube(launch_unchecked)]
#[expect(clippy::too_many_arguments, reason = "a kernel takes its buffers and sizes one by one")]
fn grouped_kernel<W: Size>(
    source: &[f32],
    weight: &[f32],
    scale: ComptimeOption<&[Vector<f32, W>]>,
    bias: ComptimeOption<&[Vector<f32, W>]>,
    residual: ComptimeOption<&[Vector<f32, W>]>,
    result: &mut [Vector<f32, W>],
    from: Source,
    to: Target,
    #[comptime] kernel: usize,
    #[comptime] transposed: bool,
    #[comptime] activation: Activation,
) {
    let wide = W::value();
    let taps = comptime!((kernel * kernel) as u32);
    let at = ABSOLUTE_POS as u32;
    let (pixel, vector) = from.vectors.div_mod(at);
    if pixel >= to.pixels {
        terminate!();
    }
    let channel = vector * comptime!(wide as u32);
    let (group, within) = from.group.div_mod(channel);
    let (n, top, left) = first_tap(
        pixel,
        true,
        &to.plane,
        &to.row,
        from.stride,
        from.above,
        from.before,
        transposed,
    );
    // Weights are [output, inputs of a group, tap]. The first weight of the first channel, and
    // steps to the next channel that is read and written.
    let mut first = channel * from.depth * taps;
    let mut deeper = taps.runtime();
    let mut wider = from.depth * taps;
    if comptime!(transposed) {
        let inputs = to.channels / (from.channels / from.depth);
        first = (group * from.depth * inputs + within) * taps;
        deeper = inputs * taps;
        wider = taps.runtime();
    }
    let mut sum = Vector::<f32, W>::new(0.0f32);
    for tap_y in 0..comptime!(kernel as u32) {
        for tap_x in 0..comptime!(kernel as u32) {
            let (y, x, hit) = at_tap(top, left, tap_y, tap_x, from.stride, transposed);
            if hit && y < from.height && x < from.width {
                let place =
                    ((n * from.height + y) * from.width + x) * from.channels + group * from.depth;
                let mut factors = first + tap_y * comptime!(kernel as u32) + tap_x;
                for d in 0..from.depth {
                    let mut factor = Vector::<f32, W>::empty();
                    #[unroll]
                    for lane in 0..wide {
                        factor.insert(
                            lane,
                            weight[(factors + comptime!(lane as u32) * wider) as usize],
                        );
                    }
                    sum += Vector::new(source[(place + d) as usize]) * factor;
                    factors += deeper;
                }
            }
        }
    }
    #[comptime]
    match &scale {
        ComptimeOption::Some(scale) => sum *= scale[vector as usize],
        ComptimeOption::None => {}
    }
    #[comptime]
    match &bias {
        ComptimeOption::Some(bias) => sum += bias[vector as usize],
        ComptimeOption::None => {}
    }
    #[comptime]
    match &residual {
        ComptimeOption::Some(residual) => sum += residual[at as usize],
        ComptimeOption::None => {}
    }
    result[at as usize] = activate(sum, activation);
}

#[derive(CubeType, CubeLaunch)]
struct Sizes {
    height: u32,
    width: u32,
    input: u32,
    output: FastDivmod<u32>,
    channels: u32,
    /// Channels of a group of the input, and of the output.
    depth: FastDivmod<u32>,
    group: u32,
    /// Weights of all outputs.
    weights: FastDivmod<u32>,
    stride: u32,
    above: u32,
    before: u32,
    /// Pixels that one unit sums up.
    share: u32,
    parts: u32,
    plane: FastDivmod<u32>,
    row: FastDivmod<u32>,
    pixels: u32,
}

/// `[out, in / groups, k, k]`. A unit sums up a share of the pixels for one weight; shares are
/// added up in order.
pub fn weight_gradient(client: &Client, shape: &ConvShape, x: &Buffer, dy: &Buffer) -> Buffer {
    /// Units that keep a large GPU busy.
    const BUSY: usize = 1 << 17;
    /// Pixels that are worth a unit.
    const FEWEST: usize = 64;
    let (height, row, inputs) = (shape.out_height(), shape.out_width(), shape.inputs_of_group());
    let (pixels, taps, weights) =
        (shape.batch * height * row, shape.kernel * shape.kernel, shape.weight_len());
    let share = pixels.div_ceil(BUSY.div_ceil(weights).min(pixels.div_ceil(FEWEST)).max(1)).max(1);
    let parts = pixels.div_ceil(share).max(1);
    let partial = Buffer::floats(client, parts * weights);
    // SAFETY: units past the last part stop, pixels past the last are left out, and places outside
    // of an image are not read.
    unsafe {
        partial_kernel::launch_unchecked(
            client,
            cubes(parts * weights),
            units(),
            x.arg(1),
            dy.arg(1),
            partial.arg(1),
            SizesLaunch::new(
                shape.height as u32,
                shape.width as u32,
                shape.input as u32,
                shape.output as u32,
                shape.output as u32,
                inputs as u32,
                (shape.output / shape.groups) as u32,
                weights as u32,
                shape.stride as u32,
                shape.padding.rows.0 as u32,
                shape.padding.columns.0 as u32,
                share as u32,
                parts as u32,
                (height * row) as u32,
                row as u32,
                pixels as u32,
            ),
            shape.kernel,
        );
    }
    let of_group = ConvShape { input: inputs, groups: 1, ..*shape };
    add_parts(client, &of_group, &partial, parts, [inputs, taps * inputs, shape.output])
}

#[cube(launch_unchecked)]
fn partial_kernel(
    x: &[f32],
    dy: &[f32],
    partial: &mut [f32],
    sizes: Sizes,
    #[comptime] kernel: usize,
) {
    // Neighbouring units have neighbouring outputs, whose gradients lie next to each other.
    let at = ABSOLUTE_POS as u32;
    let (part, weight) = sizes.weights.div_mod(at);
    if part >= sizes.parts {
        terminate!();
    }
    let (rest, out) = sizes.output.div_mod(weight);
    let (tap, inp) = sizes.depth.div_mod(rest);
    let channel = out / sizes.group * (sizes.input / (sizes.channels / sizes.group)) + inp;
    let tap_y = tap / comptime!(kernel as u32);
    let tap_x = tap % comptime!(kernel as u32);
    let mut pixel = part * sizes.share;
    let end = min(pixel + sizes.share, sizes.pixels);
    let mut sum = 0.0f32;
    while pixel < end {
        let (n, top, left) = first_tap(
            pixel,
            true,
            &sizes.plane,
            &sizes.row,
            sizes.stride,
            sizes.above,
            sizes.before,
            false,
        );
        let y = top + tap_y;
        let column = left + tap_x;
        if y < sizes.height && column < sizes.width {
            let place = ((n * sizes.height + y) * sizes.width + column) * sizes.input + channel;
            sum += x[place as usize] * dy[(pixel * sizes.channels + out) as usize];
        }
        pixel += 1;
    }
    partial[at as usize] = sum;
}
