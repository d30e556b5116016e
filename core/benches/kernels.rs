//! What a training step is made of, forward and backward: this crate's kernels beside burn's
//! operations on the CPU.
//!
//! `cargo bench --bench kernels` from the repository root. Items of convolutions are floating-point
//! operations as the direct sum counts them.

use burn::tensor::activation::relu;
use burn::tensor::module::{batch_norm_train, conv2d};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Distribution, Tensor};
use counterweight_core::kernels::{
    Activation, ConvShape, Epilogue, Normalisation, SgdStep, Statistics, StatisticsOf, Zeros,
    conv_forward, conv_input_gradient, conv_weight_gradient,
};
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};

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
    ConvShape {
        batch: 64,
        height: side,
        width: side,
        input,
        output,
        kernel: 3,
        stride,
        padding: Zeros::around(1),
        groups: 1,
    }
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
    bencher
        .counter(operations(&shape))
        .bench_local(|| conv_forward(&shape, &x, &weight, Epilogue::default(), &mut y));
}

#[divan::bench(args = SHAPES, sample_count = 10)]
fn input_gradient(bencher: Bencher<'_, '_>, [side, input, output, stride]: [usize; 4]) {
    let shape = shape([side, input, output, stride]);
    let (dy, weight) = (numbers(shape.output_len()), numbers(shape.weight_len()));
    let mut dx = vec![0.0; shape.input_len()];
    bencher
        .counter(operations(&shape))
        .bench_local(|| conv_input_gradient(&shape, &dy, &weight, Epilogue::default(), &mut dx));
}

#[divan::bench(args = SHAPES, sample_count = 10)]
fn weight_gradient(bencher: Bencher<'_, '_>, [side, input, output, stride]: [usize; 4]) {
    let shape = shape([side, input, output, stride]);
    let (x, dy) = (numbers(shape.input_len()), numbers(shape.output_len()));
    let mut dw = vec![0.0; shape.weight_len()];
    bencher
        .counter(operations(&shape))
        .bench_local(|| conv_weight_gradient(&shape, &x, &dy, &mut dw));
}

/// burn's convolution, for comparison.
#[divan::bench(args = SHAPES, sample_count = 5)]
fn forward_by_burn(bencher: Bencher<'_, '_>, [side, input, output, stride]: [usize; 4]) {
    let shape = shape([side, input, output, stride]);
    let device = Device::flex();
    let x = Tensor::<4>::random([64, input, side, side], Distribution::Uniform(-1.0, 1.0), &device);
    let weight =
        Tensor::<4>::random([output, input, 3, 3], Distribution::Uniform(-1.0, 1.0), &device);
    let options = || ConvOptions::new([stride; 2], [1; 2], [1; 2], 1);
    bencher
        .counter(operations(&shape))
        .bench_local(|| conv2d(x.clone(), weight.clone(), None, options()));
}

/// Side and channels of batch norm's input; batch 64.
const NORMALISED: [[usize; 2]; 3] = [[32, 16], [32, 64], [4, 512]];

/// Statistics, normalisation and ReLU: what follows a convolution. Bytes are those of the input.
#[divan::bench(args = NORMALISED, sample_count = 20)]
fn batch_norm_forward(bencher: Bencher<'_, '_>, [side, channels]: [usize; 2]) {
    let x = numbers(64 * side * side * channels);
    let (weight, bias) = (vec![1.0; channels], vec![0.0; channels]);
    let mut y = vec![0.0; x.len()];
    bencher.counter(BytesCount::of_slice(&x)).bench_local(|| {
        let Statistics { mean, variance } = Statistics::of(&x, channels);
        let norm = Normalisation {
            mean: &mean,
            variance: &variance,
            weight: &weight,
            bias: &bias,
            epsilon: 1e-5,
        };
        norm.forward(&x, None, Activation::Relu, &mut y);
    });
}

/// The same by burn.
#[divan::bench(args = NORMALISED, sample_count = 5)]
fn batch_norm_forward_by_burn(bencher: Bencher<'_, '_>, [side, channels]: [usize; 2]) {
    let device = Device::flex();
    let x =
        Tensor::<4>::random([64, channels, side, side], Distribution::Uniform(-1.0, 1.0), &device);
    let (weight, bias) = (Tensor::ones([channels], &device), Tensor::zeros([channels], &device));
    let bytes = BytesCount::of_many::<f32>(64 * side * side * channels);
    bencher.counter(bytes).bench_local(|| {
        relu(batch_norm_train(x.clone(), weight.clone(), bias.clone(), 1e-5).output)
    });
}

/// Gradients of the input, γ and β through ReLU. Bytes are those of the input.
#[divan::bench(args = NORMALISED, sample_count = 20)]
fn batch_norm_backward(bencher: Bencher<'_, '_>, [side, channels]: [usize; 2]) {
    let x = numbers(64 * side * side * channels);
    let (weight, bias) = (vec![1.0; channels], vec![0.0; channels]);
    let Statistics { mean, variance } = Statistics::of(&x, channels);
    let norm = Normalisation {
        mean: &mean,
        variance: &variance,
        weight: &weight,
        bias: &bias,
        epsilon: 1e-5,
    };
    let mut gradient = x.clone();
    bencher
        .counter(BytesCount::of_slice(&x))
        .bench_local(|| norm.backward(&x, StatisticsOf::Batch, Activation::Relu, &mut gradient));
}

/// A step of SGD with momentum and weight decay over as many weights as ResNet-34 has. Bytes are
/// those of the weights.
#[divan::bench(sample_count = 10)]
fn sgd_step(bencher: Bencher<'_, '_>) {
    let mut weight = numbers(21_300_000);
    let (mut velocity, gradient) = (vec![0.0; weight.len()], weight.clone());
    let step = SgdStep { learning_rate: 0.01, momentum: 0.9, weight_decay: 5e-3 };
    bencher
        .counter(BytesCount::of_slice(&gradient))
        .bench_local(|| step.apply(&mut weight, &mut velocity, &gradient));
}
