//! Our operations against burn's, against finite differences, and against themselves on other
//! numbers of threads.

#[cfg(feature = "wgpu")]
mod gpu;
mod networks;

use burn::tensor::{Device, Tensor, TensorData};
use rand::{Rng, RngExt};

use super::*;
use crate::kernels::ConvShape;
use crate::random;

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
    with_gradients_on(&Device::flex(), inputs, probe, function)
}

fn with_gradients_on<const N: usize>(
    device: &Device,
    inputs: [(&[f32], [usize; 4]); N],
    probe: &[f32],
    function: impl Fn([Tensor<4>; N]) -> Tensor<4>,
) -> Vec<Vec<f32>> {
    let device = device.clone().autodiff();
    let inputs = inputs.map(|(values, shape)| tensor(values, shape, &device).require_grad());
    let output = function(inputs.clone());
    let probe = tensor(&probe[..output.shape().num_elements()], output.dims(), &device);
    // A sum would be tried out in several ways on a GPU; the gradient of this one is the same.
    let gradients = match is_gpu(&device) {
        true => (output.clone() * probe).backward(),
        false => (output.clone() * probe).sum().backward(),
    };
    let mut results = vec![host(output.inner())];
    results.extend(inputs.iter().map(|input| host(input.grad(&gradients).unwrap())));
    results
}

/// A channel's parameter as a tensor of four axes, so that all inputs have the same rank.
fn channel(tensor: Tensor<4>) -> Tensor<1> {
    let channels = tensor.dims()[1];
    tensor.reshape([channels])
}

/// A layer whose running means are 0.5 and whose running variances are 2.
fn layer(scale: Tensor<1>, bias: Tensor<1>) -> NormLayer {
    let (channels, device) = (scale.dims(), scale.device().without_autodiff());
    let running = [Tensor::full(channels, 0.5, &device), Tensor::full(channels, 2.0, &device)];
    NormLayer {
        scale,
        bias,
        epsilon: 1e-5,
        running,
        momentum: 0.4,
        statistics: StatisticsOf::Batch,
    }
}

/// Of a convolution of all channels with all, padded by as much on every side.
fn ordinary(stride: usize, padding: usize) -> Geometry {
    Geometry { stride, padding: Padding::Symmetric(padding), groups: 1 }
}

/// A convolution with batch norm folded into it, of any sort, and what it is applied to.
#[derive(Debug)]
struct Folding {
    dims: [usize; 4],
    weights: [usize; 4],
    outputs: [usize; 4],
    geometry: Geometry,
    residual: bool,
    activation: Activation,
    seed: u64,
}

impl Folding {
    fn random(seed: u64) -> Self {
        let mut rng = random::stream(seed, "folded convolutions", &[]);
        let kernel = [1, 3, 5][rng.random_range(0..3)];
        let [batch, height, width] =
            [1, kernel, kernel].map(|least| least + rng.random_range(0..9));
        let stride = rng.random_range(1..=2);
        let padding = if rng.random() { Padding::Same } else { Padding::Symmetric(kernel / 2) };
        let input = [3, 16, 20, 33][rng.random_range(0..4)];
        let (input, output, groups) = match seed % 3 {
            0 => (input, input, input),
            1 => (input, [5, 16, 32, 70][rng.random_range(0..4)], 1),
            _ => (
                [16, 24, 64][rng.random_range(0..3)],
                [8, 32, 40][rng.random_range(0..3)],
                [2, 4, 8][rng.random_range(0..3)],
            ),
        };
        Self {
            dims: [batch, input, height, width],
            weights: [output, input / groups, kernel, kernel],
            outputs: [batch, output, height.div_ceil(stride), width.div_ceil(stride)],
            geometry: Geometry { stride, padding, groups },
            residual: rng.random(),
            activation: [Activation::None, Activation::Relu, Activation::Relu6]
                [rng.random_range(0..3)],
            seed,
        }
    }

    /// Weights are so large that some outputs pass 6.
    fn run(&self, device: &Device, kernels: Kernels) -> Vec<f32> {
        let mut rng = random::stream(self.seed, "folded values", &[]);
        let mut values =
            |dims: [usize; 4]| tensor::<4>(&numbers(&mut rng, dims.iter().product()), dims, device);
        let x = values(self.dims);
        let weight = values(self.weights) * 4.0;
        let vector = |tensor: Tensor<4>| tensor.reshape([self.weights[0]]);
        let [scale, bias, mean, spread] =
            std::array::from_fn(|_| vector(values([1, self.weights[0], 1, 1])));
        let (variance, epsilon) = (spread + 1.5, 1e-3);
        let residual = self.residual.then(|| values(self.outputs));
        let &Self { geometry, activation, .. } = self;
        host(match kernels {
            Kernels::Own => FoldedConv { weight, geometry, scale, bias, mean, variance, epsilon }
                .forward(x, residual, activation),
            Kernels::Burn => {
                let y = conv2d(x, weight, geometry, None, Kernels::Burn.into());
                finish(
                    burn_ops::batch_norm(y, scale, bias, mean, variance, epsilon),
                    residual,
                    activation,
                )
            }
        })
    }
}

#[test]
fn folded_convolutions_are_burns() {
    for folding in (0..80).map(Folding::random) {
        let run = |kernels| vec![folding.run(&Device::flex(), kernels)];
        // Up to 825 products a sum, or Winograd's transforms, and ReLU6 cuts off the largest
        // values, against which rounding is measured.
        assert_close(&run(Kernels::Own), &run(Kernels::Burn), 6e-5, &format!("{folding:?}"));
    }
}

/// A convolution without batch norm, of any sort, and what it is applied to.
struct Convolving {
    x: Vec<f32>,
    dims: [usize; 4],
    weight: Vec<f32>,
    weights: [usize; 4],
    probe: Vec<f32>,
    geometry: Geometry,
}

impl Convolving {
    fn random(seed: u64) -> Self {
        let mut rng = random::stream(seed, "convolutions", &[]);
        let kernel = [1, 3, 7, 2, 5][rng.random_range(0..5)];
        let stride = rng.random_range(1..=2);
        let padding = match seed % 3 {
            0 => Padding::Same,
            _ => Padding::Symmetric(rng.random_range(0..=kernel / 2)),
        };
        let (input, output, groups) = match seed % 4 {
            0 => [1, 3, 16, 17, 48].map(|channels| (channels, channels, channels))
                [rng.random_range(0..5)],
            1 => {
                let groups = [2, 4, 32][rng.random_range(0..3)];
                (
                    groups * [1, 4, 8][rng.random_range(0..3)],
                    groups * [1, 2, 4][rng.random_range(0..3)],
                    groups,
                )
            }
            _ => ([1, 3, 8, 16, 17][rng.random_range(0..5)], rng.random_range(1..20), 1),
        };
        let [batch, height, width] =
            [1, kernel, kernel].map(|least| least + rng.random_range(0..8));
        let (dims, weights) =
            ([batch.min(4), input, height, width], [output, input / groups, kernel, kernel]);
        let [x, weight] =
            [dims, weights].map(|shape| numbers(&mut rng, shape.into_iter().product()));
        let probe = numbers(&mut rng, batch * output * (height + 6) * (width + 6));
        Self { x, dims, weight, weights, probe, geometry: Geometry { stride, padding, groups } }
    }

    /// The output and both gradients.
    fn run(&self, device: &Device, kernels: Kernels) -> Vec<Vec<f32>> {
        with_gradients_on(
            device,
            [(&self.x, self.dims), (&self.weight, self.weights)],
            &self.probe,
            |[x, weight]| conv2d(x, weight, self.geometry, None, kernels.into()),
        )
    }

    fn describe(&self) -> String {
        format!("{:?} with {:?}, {:?}", self.dims, self.weights, self.geometry)
    }
}

#[test]
fn convolutions_are_burns() {
    for convolving in (0..120).map(Convolving::random) {
        let run = |kernels| convolving.run(&Device::flex(), kernels);
        assert_close(&run(Kernels::Own), &run(Kernels::Burn), 5e-6, &convolving.describe());
    }
}

/// Batch norm in training, with what may follow it.
#[derive(Debug)]
struct Norming {
    seed: u64,
    dims: [usize; 4],
    activation: Activation,
    residual: bool,
    statistics: StatisticsOf,
}

impl Norming {
    fn random(seed: u64, channels: &[usize]) -> Self {
        let mut rng = random::stream(seed, "batch norm", &[]);
        let channels = channels[rng.random_range(0..channels.len())];
        Self {
            seed,
            dims: [
                rng.random_range(1..6),
                channels,
                rng.random_range(2..12),
                rng.random_range(2..12),
            ],
            activation: [Activation::None, Activation::Relu, Activation::Relu6]
                [rng.random_range(0..3)],
            residual: rng.random(),
            statistics: if seed.is_multiple_of(3) {
                StatisticsOf::Past
            } else {
                StatisticsOf::Batch
            },
        }
    }

    /// The output, the gradients and, computed once more without autodiff, the output and the
    /// running statistics. Values lie around `far`, and some pass 6.
    fn run(&self, device: &Device, far: f32, kernels: Kernels) -> Vec<Vec<f32>> {
        let &Self { seed, dims, activation, residual: has_residual, statistics } = self;
        let mut rng = random::stream(seed, "batch norm's values", &[]);
        let (channels, len) = (dims[1], dims.into_iter().product());
        let x: Vec<f32> = numbers(&mut rng, len).iter().map(|value| value + far).collect();
        let (residual, probe) = (numbers(&mut rng, len), numbers(&mut rng, len));
        let [scale, bias] = [6.0, 4.0].map(|most| {
            numbers(&mut rng, channels).iter().map(|value| value * most).collect::<Vec<f32>>()
        });
        let of_channels = [1, channels, 1, 1];
        let layer = |scale, bias| NormLayer { statistics, ..layer(scale, bias) };
        let norm = |x, scale, bias, residual| {
            batch_norm_train(x, layer(channel(scale), channel(bias)), residual, activation, kernels)
                .output
        };
        let (x, scale, bias) =
            ((x.as_slice(), dims), (scale.as_slice(), of_channels), (bias.as_slice(), of_channels));
        let mut results = match has_residual {
            true => with_gradients_on(
                device,
                [x, scale, bias, (&residual, dims)],
                &probe,
                |[x, scale, bias, residual]| {
                    norm(x, scale, bias, Some(Residual { tensor: residual, fork: None }))
                },
            ),
            false => with_gradients_on(device, [x, scale, bias], &probe, |[x, scale, bias]| {
                norm(x, scale, bias, None)
            }),
        };
        let (scale, bias) =
            (tensor(scale.0, [channels], device), tensor(bias.0, [channels], device));
        let plain = batch_norm_train(
            tensor(x.0, dims, device),
            layer(scale, bias),
            None,
            activation,
            kernels,
        );
        results.push(host(plain.output));
        results.extend(plain.running.map(host));
        results
    }
}

#[test]
fn batch_norm_is_burns() {
    let mut passed = 0;
    for norming in (0..120).map(|seed| Norming::random(seed, &[1, 3, 16, 17, 32, 64, 128, 200])) {
        let run = |kernels| norming.run(&Device::flex(), 0.0, kernels);
        let own = run(Kernels::Own);
        assert_close(&own, &run(Kernels::Burn), 3e-4, &format!("{norming:?}"));
        passed += own[0].iter().filter(|value| **value == 6.0).count();
    }
    assert!(passed > 1000, "only {passed} values were cut off");
}

#[test]
fn pooling_is_burns() {
    for seed in 0..30 {
        let mut rng = random::stream(seed, "pooling", &[]);
        let dims = [
            rng.random_range(1..5),
            [1, 3, 16, 17, 64][rng.random_range(0..5)],
            rng.random_range(1..12),
            rng.random_range(1..12),
        ];
        let len = dims.iter().product();
        let (x, probe) = (numbers(&mut rng, len), numbers(&mut rng, len));
        let run = |kernels| {
            let mut results =
                with_gradients([(x.as_slice(), dims)], &probe, |[x]| max_pool(x, kernels));
            results.extend(with_gradients([(x.as_slice(), dims)], &probe, |[x]| {
                average_pool(x, kernels).unsqueeze_dims(&[2, 3])
            }));
            results
        };
        assert_close(&run(Kernels::Own), &run(Kernels::Burn), 1e-6, &format!("{dims:?}"));
    }
}

/// What central differences are taken of: convolution, batch norm, residual sum and activation.
struct Layer {
    shape: ConvShape,
    geometry: Geometry,
    activation: Activation,
    statistics: StatisticsOf,
}

impl Layer {
    /// Each kind of convolution with each activation.
    fn of(seed: usize) -> Self {
        let (input, output, groups) = [(3, 5, 1), (4, 4, 4), (4, 6, 2)][seed % 3];
        // Batch norm takes away what a 1×1 kernel does to a channel by itself.
        let (kernel, stride) =
            ([if groups == input { 5 } else { 1 }, 3, 5, 3, 7][seed % 5], 1 + seed % 2);
        let padding =
            if seed.is_multiple_of(4) { Padding::Symmetric(kernel / 2) } else { Padding::Same };
        let geometry = Geometry { stride, padding, groups };
        Self {
            shape: geometry.window([2, input, 6, 4], kernel).conv([2, input, 6, 4], output),
            geometry,
            activation: [Activation::Relu, Activation::Relu6, Activation::None][seed / 3 % 3],
            statistics: if seed % 7 < 3 { StatisticsOf::Past } else { StatisticsOf::Batch },
        }
    }

    /// A loss in float64, from what [`layer`] has for running statistics.
    fn loss(&self, [x, weight, scale, bias, residual]: [&[f64]; 5], probe: &[f64]) -> f64 {
        let shape = &self.shape;
        let (out_height, out_width, inputs) =
            (shape.out_height(), shape.out_width(), shape.inputs_of_group());
        let mut y = vec![0.0; shape.output_len()];
        let at = |n: usize, c: usize, row: usize, column: usize| {
            ((n * shape.output + c) * out_height + row) * out_width + column
        };
        for (n, c) in (0..shape.batch).flat_map(|n| (0..shape.output).map(move |c| (n, c))) {
            for (row, column) in
                (0..out_height).flat_map(|row| (0..out_width).map(move |column| (row, column)))
            {
                for (i, ky, kx) in (0..inputs).flat_map(|i| {
                    (0..shape.kernel)
                        .flat_map(move |ky| (0..shape.kernel).map(move |kx| (i, ky, kx)))
                }) {
                    let iy = (row * shape.stride + ky).wrapping_sub(shape.padding.rows.0);
                    let ix = (column * shape.stride + kx).wrapping_sub(shape.padding.columns.0);
                    let channel = c / (shape.output / shape.groups) * inputs + i;
                    if iy < shape.height && ix < shape.width {
                        y[at(n, c, row, column)] += x
                            [((n * shape.input + channel) * shape.height + iy) * shape.width + ix]
                            * weight[((c * inputs + i) * shape.kernel + ky) * shape.kernel + kx];
                    }
                }
            }
        }
        let pixels = out_height * out_width;
        let mut loss = 0.0;
        for c in 0..shape.output {
            let of_channel = || {
                (0..shape.batch).flat_map(|n| {
                    (0..pixels).map(move |pixel| (n * shape.output + c) * pixels + pixel)
                })
            };
            let count = (shape.batch * pixels) as f64;
            let (mean, variance) = match self.statistics {
                StatisticsOf::Past => (0.5, 2.0),
                StatisticsOf::Batch => {
                    let mean = of_channel().map(|index| y[index]).sum::<f64>() / count;
                    (mean, of_channel().map(|index| (y[index] - mean).powi(2)).sum::<f64>() / count)
                }
            };
            for index in of_channel() {
                let value = (y[index] - mean) / (variance + 1e-5).sqrt() * scale[c]
                    + bias[c]
                    + residual[index];
                let value = match self.activation {
                    Activation::None => value,
                    Activation::Relu => value.max(0.0),
                    Activation::Relu6 => value.clamp(0.0, 6.0),
                };
                loss += value * probe[index];
            }
        }
        loss
    }
}

#[test]
fn gradients_are_central_differences() {
    for seed in 0..21 {
        let mut rng = random::stream(seed, "central differences", &[]);
        let case = Layer::of(seed as usize);
        let Layer { shape, geometry, activation, statistics } = case;
        let of_channels = [1, shape.output, 1, 1];
        let outputs = [shape.batch, shape.output, shape.out_height(), shape.out_width()];
        let shapes = [
            [shape.batch, shape.input, shape.height, shape.width],
            shape.weight_dims(),
            of_channels,
            of_channels,
            outputs,
        ];
        let mut inputs = shapes.map(|shape| numbers(&mut rng, shape.iter().product()));
        // Some values pass 6.
        inputs[2..4].iter_mut().flatten().for_each(|value| *value *= 4.0);
        let probe = numbers(&mut rng, shape.output_len());
        let given =
            std::array::from_fn::<_, 5, _>(|index| (inputs[index].as_slice(), shapes[index]));
        let found = with_gradients(given, &probe, |[x, weight, scale, bias, residual]| {
            let y = conv2d(x, weight, geometry, None, Kernels::Own.into());
            let residual = Residual { tensor: residual, fork: None };
            let layer = NormLayer { statistics, ..layer(channel(scale), channel(bias)) };
            batch_norm_train(y, layer, Some(residual), activation, Kernels::Own).output
        });
        let wide =
            |values: &[f32]| values.iter().map(|value| f64::from(*value)).collect::<Vec<_>>();
        let (exact, probe) = (inputs.each_ref().map(|values| wide(values)), wide(&probe));
        let loss = |inputs: &[Vec<f64>; 5]| case.loss(inputs.each_ref().map(Vec::as_slice), &probe);
        for (input, gradient) in found[1..].iter().enumerate() {
            let differences: Vec<f32> = (0..gradient.len())
                .map(|index| {
                    let [above, below] = [1e-6, -1e-6].map(|step| {
                        let mut moved = exact.clone();
                        moved[input][index] += step;
                        loss(&moved)
                    });
                    ((above - below) / 2e-6) as f32
                })
                .collect();
            let apart = apart(gradient, &differences);
            assert!(
                apart < 1e-4,
                "input {input} of {shape:?}, {activation:?}, {statistics:?}: {apart} apart"
            );
        }
    }
}

#[test]
fn what_is_no_number_spreads_as_in_pytorch() {
    let device = Device::flex();
    let (one, zero) = (|| Tensor::<1>::ones([2], &device), || Tensor::<1>::zeros([2], &device));
    for wrong in [f32::NAN, f32::INFINITY] {
        // Channel 0 of the first of two images holds it, in the middle of 4×4 pixels.
        let mut values = numbers(&mut random::stream(0, "wrong", &[]), 2 * 2 * 16);
        values[5] = wrong;
        let x = || tensor(&values, [2, 2, 4, 4], &device);
        let normalised =
            batch_norm_train(x(), layer(one(), zero()), None, Activation::Relu, Kernels::Own);
        let y = host(normalised.output);
        let channels: Vec<bool> =
            y.chunks(16).map(|plane| plane.iter().all(|value| value.is_nan())).collect();
        assert_eq!(channels, [true, false, true, false], "{wrong}");
        assert!(y[16..32].iter().all(|value| value.is_finite()));
        let [mean, variance] = normalised.running.map(host);
        assert!(
            variance[0].is_nan()
                && !mean[0].is_finite()
                && variance[1].is_finite()
                && mean[1].is_finite()
        );
        // The same with the residual instead: only that pixel.
        let plain = || Tensor::<4>::ones([2, 2, 4, 4], &device);
        let residual = Residual { tensor: x(), fork: None };
        let y = host(
            batch_norm_train(
                plain(),
                layer(one(), zero()),
                Some(residual),
                Activation::Relu,
                Kernels::Own,
            )
            .output,
        );
        assert!(
            y[5].is_nan() == wrong.is_nan()
                && y[5] != 0.0
                && y.iter().filter(|value| !value.is_finite()).count() == 1
        );
        // A 3×3 kernel of ones spreads it to the nine pixels around it, in every output channel of
        // that image.
        let y = host(conv2d(
            x(),
            Tensor::ones([3, 2, 3, 3], &device),
            ordinary(1, 1),
            None,
            Kernels::Own.into(),
        ));
        assert_eq!(
            y.iter().map(|value| !value.is_finite()).filter(|wrong| *wrong).count(),
            27,
            "{wrong}"
        );
        assert!(y[48..].iter().all(|value| value.is_finite()));
        // It lies in all four windows of its image's channel.
        let y = host(max_pool(x(), Kernels::Own));
        assert!(
            y[..4].iter().all(|value| !value.is_finite())
                && y[4..].iter().all(|value| value.is_finite())
        );
        assert!(!host(average_pool(x(), Kernels::Own))[0].is_finite());
    }
}

#[test]
fn a_gradient_that_is_no_number_passes_relu_where_the_value_did() {
    let device = Device::flex().autodiff();
    let x = tensor(&[3.0, -3.0, 1.0, -1.0], [1, 1, 2, 2], &device).require_grad();
    let residual = tensor(&[0.0, 0.0, f32::NAN, -9.0], [1, 1, 2, 2], &device).require_grad();
    let (scale, bias) = (Tensor::<1>::ones([1], &device), Tensor::<1>::zeros([1], &device));
    let added = Residual { tensor: residual.clone(), fork: None };
    let y =
        batch_norm_train(x, layer(scale, bias), Some(added), Activation::Relu, Kernels::Own).output;
    let gradients = (y * tensor(&[1.0, 2.0, 3.0, 4.0], [1, 1, 2, 2], &device)).sum().backward();
    // The sums are positive, negative, no number and negative.
    assert_eq!(host(residual.grad(&gradients).unwrap()), [1.0, 0.0, 3.0, 0.0]);
}

#[test]
fn strides_do_not_matter() {
    let device = Device::flex();
    let mut rng = random::stream(0, "strides", &[]);
    let values = numbers(&mut rng, 3 * 20 * 7 * 6);
    let whole = || tensor(&values, [3, 20, 7, 6], &device);
    let views: Vec<Tensor<4>> = vec![
        whole(),
        whole().slice([1..3, 2..19, 1..6, 0..5]),
        whole().permute([0, 1, 3, 2]),
        whole().permute([3, 2, 1, 0]),
        whole().flip([2, 3]),
        // Channels last already, whole and in part.
        Tensor::<4>::from_data(TensorData::new(values.clone(), [3, 7, 6, 20]), &device)
            .permute([0, 3, 1, 2]),
        Tensor::<4>::from_data(TensorData::new(values.clone(), [3, 7, 6, 20]), &device)
            .permute([0, 3, 1, 2])
            .slice([1..2, 0..20, 0..7, 0..6]),
        whole().slice([0..1, 0..1, 0..7, 0..6]).expand([2, 4, 7, 6]),
    ];
    for (index, view) in views.into_iter().enumerate() {
        let dims @ [_, channels, _, _] = view.dims();
        let copy: Tensor<4> = tensor(&host(view.clone()), dims, &device);
        let weight: Tensor<4> =
            tensor(&numbers(&mut rng, 4 * channels * 9), [4, channels, 3, 3], &device);
        let run = |x: Tensor<4>, weight: Tensor<4>| {
            let (one, zero) =
                (Tensor::ones([channels], &device), Tensor::zeros([channels], &device));
            let residual = Residual { tensor: x.clone(), fork: None };
            let normalised = batch_norm_train(
                x.clone(),
                layer(one, zero),
                Some(residual),
                Activation::Relu,
                Kernels::Own,
            );
            [
                host(conv2d(x.clone(), weight, ordinary(2, 1), None, Kernels::Own.into())),
                host(normalised.output),
                host(max_pool(x.clone(), Kernels::Own)),
                host(average_pool(x, Kernels::Own)),
            ]
        };
        let turned = weight.clone().permute([0, 1, 3, 2]).slice([0..4, 0..channels, 0..3, 0..3]);
        let expected = run(copy.clone(), weight.clone());
        assert_eq!(run(view.clone(), weight), expected, "view {index}");
        let turned_copy = tensor(&host(turned.clone()), [4, channels, 3, 3], &device);
        assert_eq!(run(view, turned), run(copy, turned_copy), "view {index}");
    }
}

#[test]
fn inputs_are_left_as_they_were() {
    let device = Device::flex().autodiff();
    let values = numbers(&mut random::stream(0, "inputs", &[]), 2 * 16 * 5 * 5);
    let x: Tensor<4> = tensor(&values, [2, 16, 5, 5], &device).require_grad();
    let gradient = tensor(&values, [2, 16, 5, 5], &device);
    let (one, zero) = (Tensor::ones([16], &device).require_grad(), Tensor::zeros([16], &device));
    let y =
        batch_norm_train(x.clone(), layer(one, zero), None, Activation::Relu, Kernels::Own).output;
    // Both terms see the same output; the gradient of one is asked for while the other's tensors
    // live on.
    let gradients =
        ((y.clone() * gradient.clone()).sum() + (y.clone() * gradient.clone()).sum()).backward();
    assert_eq!(host(gradient.inner()), values);
    assert_eq!(host(x.clone().inner()), values);
    assert!(x.grad(&gradients).is_some());
    assert!(host(y.inner()).iter().all(|value| *value >= 0.0));
}
