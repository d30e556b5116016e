//! Convolution written so that it can be seen to be right.

use rayon::prelude::*;

use super::shape::ConvShape;

/// Calls `visit` with every output pixel, kernel position and input pixel that belong together, in one image.
fn for_each_tap(shape: &ConvShape, mut visit: impl FnMut(usize, usize, usize)) {
    for out_y in 0..shape.out_height() {
        for out_x in 0..shape.out_width() {
            for kernel_y in 0..shape.kernel {
                for kernel_x in 0..shape.kernel {
                    let (y, x) = (out_y * shape.stride + kernel_y, out_x * shape.stride + kernel_x);
                    let inside = |at: usize, length: usize| (shape.padding..shape.padding + length).contains(&at);
                    if inside(y, shape.height) && inside(x, shape.width) {
                        let input = (y - shape.padding) * shape.width + x - shape.padding;
                        visit(out_y * shape.out_width() + out_x, kernel_y * shape.kernel + kernel_x, input);
                    }
                }
            }
        }
    }
}

/// `[out, in, kernel, kernel]` as `[kernel · kernel, out, in]`, so that what is multiplied with a pixel lies together.
fn by_tap(shape: &ConvShape, weight: &[f32]) -> Vec<f32> {
    let taps = shape.kernel * shape.kernel;
    let pairs = shape.output * shape.input;
    (0..taps * pairs).map(|index| weight[index % pairs * taps + index / pairs]).collect()
}

/// Convolution as networks compute it (the kernel is not mirrored).
///
/// # Shapes
/// - `x`: `[batch, height, width, in]`
/// - `weight`: `[out, in, kernel, kernel]`
/// - `y`: `[batch, height', width', out]`, overwritten
pub fn conv_forward(shape: &ConvShape, x: &[f32], weight: &[f32], y: &mut [f32]) {
    let weight = by_tap(shape, weight);
    y.par_chunks_mut(shape.output_len().max(1)).zip(x.par_chunks(shape.input_len().max(1))).for_each(|(y, x)| {
        y.fill(0.0);
        for_each_tap(shape, |out, tap, at| {
            let x = &x[at * shape.input..(at + 1) * shape.input];
            let weight = &weight[tap * shape.output * shape.input..];
            for (o, weight) in weight.chunks(shape.input).take(shape.output).enumerate() {
                y[out * shape.output + o] += x.iter().zip(weight).map(|(x, weight)| x * weight).sum::<f32>();
            }
        });
    });
}

/// Convolution, bias, residual sum and ReLU in one: what is left of a layer once batch norm has been folded into its weight.
///
/// # Shapes
/// As [`conv_forward`], with `bias`: `[out]` and `residual`: as `y`.
pub fn conv_forward_fused(shape: &ConvShape, x: &[f32], weight: &[f32], bias: &[f32], residual: Option<&[f32]>, relu: bool, y: &mut [f32]) {
    conv_forward(shape, x, weight, y);
    y.par_chunks_mut(shape.output.max(1)).enumerate().for_each(|(pixel, y)| {
        for (channel, y) in y.iter_mut().enumerate() {
            let sum = *y + bias[channel] + residual.map_or(0.0, |residual| residual[pixel * shape.output + channel]);
            *y = if relu && sum < 0.0 { 0.0 } else { sum };
        }
    });
}

/// The gradient with respect to the input.
///
/// # Shapes
/// - `dy`: `[batch, height', width', out]`
/// - `weight`: `[out, in, kernel, kernel]`
/// - `dx`: `[batch, height, width, in]`, overwritten
pub fn conv_input_gradient(shape: &ConvShape, dy: &[f32], weight: &[f32], dx: &mut [f32]) {
    let weight = by_tap(shape, weight);
    dx.par_chunks_mut(shape.input_len().max(1)).zip(dy.par_chunks(shape.output_len().max(1))).for_each(|(dx, dy)| {
        dx.fill(0.0);
        for_each_tap(shape, |out, tap, at| {
            let dx = &mut dx[at * shape.input..(at + 1) * shape.input];
            let weight = &weight[tap * shape.output * shape.input..];
            for (o, weight) in weight.chunks(shape.input).take(shape.output).enumerate() {
                let dy = dy[out * shape.output + o];
                dx.iter_mut().zip(weight).for_each(|(dx, weight)| *dx += dy * weight);
            }
        });
    });
}

/// The gradient with respect to the weight.
///
/// # Shapes
/// - `x`: `[batch, height, width, in]`
/// - `dy`: `[batch, height', width', out]`
/// - `dw`: `[out, in, kernel, kernel]`, overwritten
pub fn conv_weight_gradient(shape: &ConvShape, x: &[f32], dy: &[f32], dw: &mut [f32]) {
    let taps = shape.kernel * shape.kernel;
    let images = x.par_chunks(shape.input_len().max(1)).zip(dy.par_chunks(shape.output_len().max(1)));
    let of_images: Vec<Vec<f32>> = images
        .map(|(x, dy)| {
            let mut dw = vec![0.0; shape.weight_len()];
            for_each_tap(shape, |out, tap, at| {
                let x = &x[at * shape.input..(at + 1) * shape.input];
                let dw = &mut dw[tap * shape.output * shape.input..];
                for (o, dw) in dw.chunks_mut(shape.input).take(shape.output).enumerate() {
                    let dy = dy[out * shape.output + o];
                    dw.iter_mut().zip(x).for_each(|(dw, x)| *dw += dy * x);
                }
            });
            dw
        })
        .collect();
    dw.fill(0.0);
    let pairs = shape.output * shape.input;
    for of_image in of_images {
        for (index, value) in of_image.into_iter().enumerate() {
            dw[index % pairs * taps + index / pairs] += value;
        }
    }
}
