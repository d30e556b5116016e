//! What each unit does.

use cubecl::ir::ElemType;
use cubecl::prelude::*;

use crate::gpu::activation::{activate, let_through};
use crate::gpu::buffer::UNITS;
use crate::gpu::columns::{add_down, add_vectors_down};
use crate::kernels::Activation;

/// Means and sums of squared deviations of each share, `[share, 2, channels]`. Channels are taken
/// `W` at a time.
#[cube(launch_unchecked)]
pub fn moments_kernel<E: Float, W: Size>(
    x: &[Vector<E, W>],
    partial: &mut [Vector<f32, W>],
    pixels: u32,
    vectors: u32,
    share: u32,
    #[comptime] lanes: usize,
    #[define(E)] _elem: ElemType,
) {
    let down = comptime!((UNITS / lanes) as u32);
    let mut shared = Shared::<[Vector<f32, W>]>::new_slice(UNITS);
    let vector = CUBE_POS_X * comptime!(lanes as u32) + UNIT_POS_X;
    let first = CUBE_POS_Y * share;
    let end = min(first + share, pixels);
    let mut sum = Vector::<f32, W>::new(0.0f32);
    let mut squares = Vector::<f32, W>::new(0.0f32);
    let mut near = Vector::<f32, W>::new(0.0f32);
    if vector < vectors {
        // A value of the share lies near its mean, so that no digits are lost when the mean is far
        // from zero.
        near = Vector::cast_from(x[(first * vectors + vector) as usize]);
        let mut pixel = first + UNIT_POS_Y;
        while pixel < end {
            let deviation =
                Vector::<f32, W>::cast_from(x[(pixel * vectors + vector) as usize]) - near;
            sum += deviation;
            squares += deviation * deviation;
            pixel += down;
        }
    }
    let sum = add_vectors_down(sum, &mut shared, lanes);
    let squares = add_vectors_down(squares, &mut shared, lanes);
    if vector < vectors && UNIT_POS_Y == 0 {
        let apart = sum / Vector::new(f32::cast_from(end - first));
        partial[(CUBE_POS_Y * 2 * vectors + vector) as usize] = near + apart;
        partial[((CUBE_POS_Y * 2 + 1) * vectors + vector) as usize] = squares - sum * apart;
    }
}

/// The mean and variance of the whole from those of its shares (Chan, Golub and LeVeque, 1983), and
/// running ones that follow them.
#[cube(launch_unchecked)]
#[expect(clippy::too_many_arguments, reason = "a kernel takes its buffers and sizes one by one")]
pub fn join_moments_kernel(
    partial: &[f32],
    running_mean: &[f32],
    running_variance: &[f32],
    mean: &mut [f32],
    variance: &mut [f32],
    next_mean: &mut [f32],
    next_variance: &mut [f32],
    pixels: u32,
    channels: u32,
    share: u32,
    count: u32,
    follow: f32,
    unbiased: f32,
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
            squares +=
                partial[((at * 2 + 1) * channels + channel) as usize] + of_share * apart * apart;
            at += down;
        }
    }
    let squares = add_down(squares, &mut shared, lanes);
    if inside && UNIT_POS_Y == 0 {
        let c = channel as usize;
        let biased = squares / all;
        mean[c] = middle;
        variance[c] = biased;
        next_mean[c] = running_mean[c] * (1.0f32 - follow) + middle * follow;
        next_variance[c] = running_variance[c] * (1.0f32 - follow) + biased * (follow * unbiased);
    }
}

#[cube(launch_unchecked)]
pub fn normalise_kernel<E: Float, W: Size>(
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
    #[comptime] activation: Activation,
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
    y[index] = Vector::cast_from(activate(value, activation));
}

#[cube(launch_unchecked)]
#[expect(clippy::too_many_arguments, reason = "a kernel takes its buffers and sizes one by one")]
pub fn fold_kernel(
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

/// Sums of the gradients, and of the gradients times the deviations from the mean, of each share,
/// `[share, 2, channels]`. Channels are taken `W` at a time.
#[cube(launch_unchecked)]
#[expect(clippy::too_many_arguments, reason = "a kernel takes its buffers and sizes one by one")]
pub fn gradient_sums_kernel<E: Float, W: Size>(
    x: &[Vector<E, W>],
    dy: &[Vector<E, W>],
    mean: &[Vector<f32, W>],
    variance: &[Vector<f32, W>],
    weight: &[Vector<f32, W>],
    bias: &[Vector<f32, W>],
    output: ComptimeOption<&[Vector<E, W>]>,
    partial: &mut [Vector<f32, W>],
    pixels: u32,
    vectors: u32,
    share: u32,
    epsilon: f32,
    #[comptime] lanes: usize,
    #[comptime] activation: Activation,
    #[define(E)] _elem: ElemType,
) {
    let down = comptime!((UNITS / lanes) as u32);
    let mut shared = Shared::<[Vector<f32, W>]>::new_slice(UNITS);
    let vector = CUBE_POS_X * comptime!(lanes as u32) + UNIT_POS_X;
    let first = CUBE_POS_Y * share;
    let end = min(first + share, pixels);
    let mut sum = Vector::<f32, W>::new(0.0f32);
    let mut product = Vector::<f32, W>::new(0.0f32);
    if vector < vectors {
        let c = vector as usize;
        let middle = mean[c];
        let scale = weight[c] * (variance[c] + Vector::new(epsilon)).sqrt().recip();
        let mut pixel = first + UNIT_POS_Y;
        while pixel < end {
            let at = (pixel * vectors + vector) as usize;
            let deviation = Vector::<f32, W>::cast_from(x[at]) - middle;
            let mut gradient = Vector::<f32, W>::cast_from(dy[at]);
            #[comptime]
            match &output {
                ComptimeOption::Some(output) => {
                    gradient = let_through(gradient, Vector::cast_from(output[at]), activation)
                }
                ComptimeOption::None => {
                    gradient = let_through(gradient, deviation * scale + bias[c], activation)
                }
            }
            sum += gradient;
            product += gradient * deviation;
            pixel += down;
        }
    }
    let sum = add_vectors_down(sum, &mut shared, lanes);
    let product = add_vectors_down(product, &mut shared, lanes);
    if vector < vectors && UNIT_POS_Y == 0 {
        partial[(CUBE_POS_Y * 2 * vectors + vector) as usize] = sum;
        partial[((CUBE_POS_Y * 2 + 1) * vectors + vector) as usize] = product;
    }
}

/// Gradients of γ and β, and a table of what the gradient of the input needs, `[5, channels]`: the
/// mean, γ / √(σ² + ε), β, the mean gradient and the slope of the gradient that goes with the
/// input. The last two are 0 where the statistics are `constant`.
#[cube(launch_unchecked)]
#[expect(clippy::too_many_arguments, reason = "a kernel takes its buffers and sizes one by one")]
pub fn join_sums_kernel(
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
    #[comptime] constant: bool,
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
        let mut of_mean = 0.0f32;
        let mut of_variance = 0.0f32;
        if comptime!(!constant) {
            of_mean = sum / all;
            of_variance = product * inverse * inverse / all;
        }
        table[3 * n + c] = of_mean;
        table[4 * n + c] = of_variance;
    }
}

#[cube(launch_unchecked)]
#[expect(clippy::too_many_arguments, reason = "a kernel takes its buffers and sizes one by one")]
pub fn gradient_kernel<E: Float, W: Size>(
    x: &[Vector<E, W>],
    dy: &[Vector<E, W>],
    table: &[Vector<f32, W>],
    output: ComptimeOption<&[Vector<E, W>]>,
    dx: &mut [Vector<E, W>],
    dresidual: ComptimeOption<&mut [Vector<E, W>]>,
    length: u32,
    channels: u32,
    #[comptime] activation: Activation,
    #[define(E)] _elem: ElemType,
) {
    let index = ABSOLUTE_POS;
    if index >= length as usize {
        terminate!();
    }
    let n = channels as usize;
    let channel = index % n;
    let deviation = Vector::<f32, W>::cast_from(x[index]) - table[channel];
    let scale = table[n + channel];
    let mut gradient = Vector::<f32, W>::cast_from(dy[index]);
    #[comptime]
    match output {
        ComptimeOption::Some(output) => {
            gradient = let_through(gradient, Vector::cast_from(output[index]), activation)
        }
        ComptimeOption::None => {
            gradient = let_through(gradient, deviation * scale + table[2 * n + channel], activation)
        }
    }
    #[comptime]
    match dresidual {
        ComptimeOption::Some(dresidual) => dresidual[index] = Vector::cast_from(gradient),
        ComptimeOption::None => {}
    }
    dx[index] = Vector::cast_from(
        scale * (gradient - table[3 * n + channel] - deviation * table[4 * n + channel]),
    );
}
