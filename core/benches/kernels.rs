//! Convolutions as residual networks have them, forward and backward: this crate's kernels beside burn's operations on the CPU.
//!
//! `cargo bench --bench kernels` from the repository root. Items are floating-point operations as the direct sum counts them.

use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Distribution, Tensor};
use counterweight_core::kernels::{ConvShape, Epilogue, conv_forward, conv_input_gradient, conv_weight_gradient};
use divan::Bencher;
use divan::counter::ItemsCount;

fn main() {
    divan::main();
}

/// Side, input channels, output channels and stride of 3×3 convolutions; batch 64.
const SHAPES: [[usize; 4]; 8] = [
    [32, 3, 16, 1],
    [32, 16, 16, 1],
    [16, 32, 32, 1],
    [8, 64, 64, 1],
    [32, 64, 64, 1],
    [32, 64, 128, 2],
    [8, 256, 256, 1],
    [4, 512, 512, 1],
];

fn shape([side, input, output, stride]: [usize; 4]) -> ConvShape {
    ConvShape { batch: 64, height: side, width: side, input, output, kernel: 3, stride, padding: 1 }
}

fn numbers(len: usize) -> Vec<f32> {
    (0..len).map(|i| (i * 7919 % 1009) as f32 / 504.5 - 1.0).collect()
}

fn operations(shape: &ConvShape) -> ItemsCount {
    ItemsCount::new(2 * shape.multiply_adds())
}

#[divan::bench(args = SHAPES, sample_count = 10)]
fn forward(bencher: Bencher<'_, '_>, [side, input, output, stride]: [usize; 4]) {
    let shape = shape([side, input, output, stride]);
    let (x, weight) = (numbers(shape.input_len()), numbers(shape.weight_len()));
    let mut y = vec![0.0; shape.output_len()];
    bencher.counter(operations(&shape)).bench_local(|| conv_forward(&shape, &x, &weight, Epilogue::default(), &mut y));
}

#[divan::bench(args = SHAPES, sample_count = 10)]
fn input_gradient(bencher: Bencher<'_, '_>, [side, input, output, stride]: [usize; 4]) {
    let shape = shape([side, input, output, stride]);
    let (dy, weight) = (numbers(shape.output_len()), numbers(shape.weight_len()));
    let mut dx = vec![0.0; shape.input_len()];
    bencher.counter(operations(&shape)).bench_local(|| conv_input_gradient(&shape, &dy, &weight, Epilogue::default(), &mut dx));
}

#[divan::bench(args = SHAPES, sample_count = 10)]
fn weight_gradient(bencher: Bencher<'_, '_>, [side, input, output, stride]: [usize; 4]) {
    let shape = shape([side, input, output, stride]);
    let (x, dy) = (numbers(shape.input_len()), numbers(shape.output_len()));
    let mut dw = vec![0.0; shape.weight_len()];
    bencher.counter(operations(&shape)).bench_local(|| conv_weight_gradient(&shape, &x, &dy, &mut dw));
}

/// burn's convolution, for comparison.
#[divan::bench(args = SHAPES, sample_count = 5)]
fn forward_by_burn(bencher: Bencher<'_, '_>, [side, input, output, stride]: [usize; 4]) {
    let shape = shape([side, input, output, stride]);
    let device = Device::flex();
    let x = Tensor::<4>::random([64, input, side, side], Distribution::Uniform(-1.0, 1.0), &device);
    let weight = Tensor::<4>::random([output, input, 3, 3], Distribution::Uniform(-1.0, 1.0), &device);
    let options = || ConvOptions::new([stride; 2], [1; 2], [1; 2], 1);
    bencher.counter(operations(&shape)).bench_local(|| conv2d(x.clone(), weight.clone(), None, options()));
}
