//! Our operations against burn's, against finite differences, and against themselves on other numbers of threads.

use burn::tensor::{Device, Tensor, TensorData};
use rand::{Rng, RngExt};

use super::*;
use crate::data::Batch;
use crate::model::{Mode, Network, NetworkConfig, weights};
use crate::random;
use crate::settings::{Backbone, Stem};
use crate::train::{Sgd, cross_entropy};

fn numbers(rng: &mut impl Rng, len: usize) -> Vec<f32> {
    (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn tensor<const D: usize>(values: &[f32], shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
}

fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

/// The largest difference over the largest value.
fn apart(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let largest = b.iter().fold(1e-3f32, |largest, b| largest.max(b.abs()));
    a.iter().zip(b).map(|(a, b)| (a - b).abs() / largest).fold(0.0, f32::max)
}

fn assert_close(own: &[Vec<f32>], burn: &[Vec<f32>], tolerance: f32, what: &str) {
    assert_eq!(own.len(), burn.len());
    for (index, (own, burn)) in own.iter().zip(burn).enumerate() {
        let apart = apart(own, burn);
        assert!(apart <= tolerance, "{what}: result {index} is {apart} apart");
    }
}

/// The output and, for the sum of the output times `probe`, the gradients of `inputs`.
fn with_gradients<const N: usize>(
    inputs: [(&[f32], [usize; 4]); N],
    probe: &[f32],
    function: impl Fn([Tensor<4>; N]) -> Tensor<4>,
) -> Vec<Vec<f32>> {
    let device = Device::flex().autodiff();
    let inputs = inputs.map(|(values, shape)| tensor(values, shape, &device).require_grad());
    let output = function(inputs.clone());
    let probe = tensor(&probe[..output.shape().num_elements()], output.dims(), &device);
    let gradients = (output.clone() * probe).sum().backward();
    let mut results = vec![host(output.inner())];
    results.extend(inputs.iter().map(|input| host(input.grad(&gradients).unwrap())));
    results
}

/// A channel's parameter as a tensor of four axes, so that all inputs have the same rank.
fn channel(tensor: Tensor<4>) -> Tensor<1> {
    let channels = tensor.dims()[1];
    tensor.reshape([channels])
}

#[test]
fn convolutions_are_burns() {
    for seed in 0..60 {
        let mut rng = random::stream(seed, "convolutions", &[]);
        let kernel = [1, 3, 7, 2, 5][rng.random_range(0..5)];
        let (stride, padding) = (rng.random_range(1..=2), rng.random_range(0..=kernel / 2));
        let [batch, output] = [rng.random_range(1..5), rng.random_range(1..20)];
        let input = [1, 3, 8, 16, 17][rng.random_range(0..5)];
        let side = |rng: &mut dyn Rng| kernel + (rng.next_u32() % 8) as usize;
        let (height, width) = (side(&mut rng), side(&mut rng));
        let x = numbers(&mut rng, batch * input * height * width);
        let weight = numbers(&mut rng, output * input * kernel * kernel);
        let probe = numbers(&mut rng, batch * output * (height + 6) * (width + 6));
        let run = |kernels| {
            let inputs = [(x.as_slice(), [batch, input, height, width]), (weight.as_slice(), [output, input, kernel, kernel])];
            with_gradients(inputs, &probe, |[x, weight]| conv2d(x, weight, stride, padding, None, kernels))
        };
        let what = format!("[{batch}, {input}, {height}, {width}] to {output} with kernel {kernel}, stride {stride}, padding {padding}");
        assert_close(&run(Kernels::Own), &run(Kernels::Burn), 2e-6, &what);
    }
}

#[test]
fn batch_norm_is_burns() {
    for seed in 0..60 {
        let mut rng = random::stream(seed, "batch norm", &[]);
        let channels = [1, 3, 16, 17, 32, 64, 128, 200][rng.random_range(0..8)];
        let dims @ [batch, _, height, width] = [rng.random_range(1..6), channels, rng.random_range(2..9), rng.random_range(2..9)];
        let len = batch * channels * height * width;
        let (relu, has_residual) = (rng.random(), rng.random());
        let (x, residual, probe) = (numbers(&mut rng, len), numbers(&mut rng, len), numbers(&mut rng, len));
        let (scale, bias) = (numbers(&mut rng, channels), numbers(&mut rng, channels));
        let run = |kernels| {
            let of_channels = [1, channels, 1, 1];
            let norm = |x, scale, bias, residual| batch_norm_train(x, channel(scale), channel(bias), 1e-5, residual, relu, kernels).output;
            let (x, scale, bias) = ((x.as_slice(), dims), (scale.as_slice(), of_channels), (bias.as_slice(), of_channels));
            let mut results = match has_residual {
                true => with_gradients([x, scale, bias, (&residual, dims)], &probe, |[x, scale, bias, residual]| {
                    norm(x, scale, bias, Some(Residual { tensor: residual, fork: None }))
                }),
                false => with_gradients([x, scale, bias], &probe, |[x, scale, bias]| norm(x, scale, bias, None)),
            };
            let device = Device::flex();
            let (scale, bias) = (tensor(scale.0, [channels], &device), tensor(bias.0, [channels], &device));
            let plain = batch_norm_train(tensor(x.0, dims, &device), scale, bias, 1e-5, None, relu, kernels);
            results.extend([host(plain.output), host(plain.mean), host(plain.variance)]);
            results
        };
        let what = format!("{dims:?}, ReLU {relu}, residual {has_residual}");
        assert_close(&run(Kernels::Own), &run(Kernels::Burn), 1e-4, &what);
    }
}

#[test]
fn pooling_is_burns() {
    for seed in 0..30 {
        let mut rng = random::stream(seed, "pooling", &[]);
        let dims = [rng.random_range(1..5), [1, 3, 16, 17, 64][rng.random_range(0..5)], rng.random_range(1..12), rng.random_range(1..12)];
        let len = dims.iter().product();
        let (x, probe) = (numbers(&mut rng, len), numbers(&mut rng, len));
        let run = |kernels| {
            let mut results = with_gradients([(x.as_slice(), dims)], &probe, |[x]| max_pool(x, kernels));
            results.extend(with_gradients([(x.as_slice(), dims)], &probe, |[x]| average_pool(x, kernels).unsqueeze_dims(&[2, 3])));
            results
        };
        assert_close(&run(Kernels::Own), &run(Kernels::Burn), 1e-6, &format!("{dims:?}"));
    }
}

/// Logits, gradients of all parameters and the weights after three steps of SGD.
fn train(config: &NetworkConfig, batch: usize, kernels: Kernels) -> (Vec<f32>, Vec<Vec<f32>>) {
    let device = Device::flex().autodiff();
    let mut network = Network::new(config, 3, &device).with_kernels(kernels);
    let mut optimizer = Sgd::new(0.9, 5e-3).with_kernels(kernels);
    let side = config.input_size;
    let mut first = None;
    for step in 0..3 {
        let images = numbers(&mut random::stream(step, "images", &[]), batch * 3 * side * side);
        let labels = (0..batch).map(|sample| (sample % config.classes) as u32).collect();
        let labels = Batch { images: Vec::new(), indices: (0..batch).collect(), labels, mixed: None };
        let logits = network.forward(tensor(&images, [batch, 3, side, side], &device), Mode::Train);
        first.get_or_insert_with(|| host(logits.clone().inner()));
        let gradients = cross_entropy(logits, &labels, 0.0).backward();
        network = optimizer.step(network, gradients, 0.05);
    }
    let images = numbers(&mut random::stream(9, "images", &[]), 2 * 3 * side * side);
    let plain = network.clone();
    let evaluated = plain.forward(tensor(&images, [2, 3, side, side], &Device::flex()), Mode::Evaluate);
    let mut results: Vec<Vec<f32>> = weights(&network).into_iter().map(|tensor| tensor.values).collect();
    results.push(host(evaluated.inner()));
    (first.unwrap(), results)
}

#[test]
fn whole_networks_train_as_with_burn() {
    for (backbone, stem, input_size) in
        [(Backbone::ResNet20, Stem::Small, 16), (Backbone::ResNet18, Stem::Imagenet, 33), (Backbone::ResNet50, Stem::Small, 9)]
    {
        let config = NetworkConfig { backbone, stem, input_size, classes: 7 };
        let (own, burn) = (train(&config, 6, Kernels::Own), train(&config, 6, Kernels::Burn));
        assert!(apart(&own.0, &burn.0) < 1e-5, "{backbone}: logits are {} apart", apart(&own.0, &burn.0));
        // Rounding grows from step to step, above all behind batch norm over few pixels.
        assert_close(&own.1, &burn.1, 2e-3, backbone.name());
    }
}
