//! The operations on a GPU against those on the CPU. A software renderer will do.

use burn::tensor::Int;

use super::networks::{distance, train, train_on};
use super::*;
use crate::batches::Batch;
use crate::gpu::buffer::holds;
use crate::gpu::test_device::{client, device as gpu, skipped};
use crate::model::{Mode, Network, NetworkConfig, Prepared};
use crate::settings::{Backbone, Stem};
use crate::train::cross_entropy;

/// Runs the same on the CPU and on the GPU.
fn compare(what: &str, tolerance: f32, run: impl Fn(&Device) -> Vec<Vec<f32>>) {
    let Some(gpu) = gpu() else { return };
    assert_close(&run(&gpu), &run(&Device::flex()), tolerance, what);
}

/// Whether the GPU computes so; otherwise it is said what is left out.
fn can_do(gpu: &Device, precision: Precision) -> bool {
    let can = can_compute(gpu, precision);
    if !can {
        skipped(&format!("this GPU has no units for products of matrices in {precision}"));
    }
    can
}

#[test]
fn convolutions_are_those_of_the_cpu() {
    for seed in 0..24 {
        let mut rng = random::stream(seed, "convolutions on a gpu", &[]);
        let kernel = [1, 3, 7][rng.random_range(0..3)];
        let geometry = ordinary(rng.random_range(1..=2), rng.random_range(0..=kernel / 2));
        let [input, output] =
            [[3, 16, 20, 65][rng.random_range(0..4)], [5, 16, 32, 64, 70][rng.random_range(0..5)]];
        let batch = rng.random_range(1..4);
        let (height, width) = (kernel + rng.random_range(0..8), kernel + rng.random_range(0..8));
        let x = numbers(&mut rng, batch * input * height * width);
        let weight = numbers(&mut rng, output * input * kernel * kernel);
        let probe = numbers(&mut rng, batch * output * (height + 6) * (width + 6));
        let what = format!(
            "[{batch}, {input}, {height}, {width}] to {output} with kernel {kernel}, {geometry:?}"
        );
        compare(&what, 1e-5, |device| {
            let inputs = [
                (x.as_slice(), [batch, input, height, width]),
                (weight.as_slice(), [output, input, kernel, kernel]),
            ];
            with_gradients_on(device, inputs, &probe, |[x, weight]| {
                conv2d(x, weight, geometry, None, Kernels::Own.into())
            })
        });
    }
}

#[test]
fn convolutions_in_groups_and_with_uneven_padding_are_those_of_the_cpu() {
    for convolving in (0..60).map(Convolving::random) {
        compare(&convolving.describe(), 1e-5, |device| convolving.run(device, Kernels::Own));
    }
}

#[test]
fn folded_convolutions_are_those_of_the_cpu() {
    for folding in (0..40).map(Folding::random) {
        compare(&format!("{folding:?}"), 1e-5, |device| vec![folding.run(device, Kernels::Own)]);
    }
}

#[test]
fn batch_norm_is_that_of_the_cpu() {
    for norming in (0..32).map(|seed| Norming::random(seed, &[3, 16, 40, 64])) {
        // Far from zero, sums of squares would lose the variance. Activations make leaps where
        // rounding moves a value across their bounds.
        let plain = norming.activation == Activation::None;
        let (far, tolerance) = if plain && norming.statistics == StatisticsOf::Batch {
            (100.0, 5e-3)
        } else {
            (0.0, 3e-4)
        };
        compare(&format!("{norming:?}"), tolerance, |device| {
            norming.run(device, far, Kernels::Own)
        });
    }
}

#[test]
fn pooling_is_that_of_the_cpu() {
    for seed in 0..8 {
        let mut rng = random::stream(seed, "pooling on a gpu", &[]);
        let dims = [
            rng.random_range(1..5),
            [1, 3, 16, 17][rng.random_range(0..4)],
            rng.random_range(1..12),
            rng.random_range(1..12),
        ];
        let len = dims.iter().product();
        let (x, probe) = (numbers(&mut rng, len), numbers(&mut rng, len));
        compare(&format!("{dims:?}"), 1e-6, |device| {
            let mut results = with_gradients_on(device, [(x.as_slice(), dims)], &probe, |[x]| {
                max_pool(x, Kernels::Own)
            });
            let average =
                |[x]: [Tensor<4>; 1]| average_pool(x, Kernels::Own).unsqueeze_dims(&[2, 3]);
            results.extend(with_gradients_on(device, [(x.as_slice(), dims)], &probe, average));
            results
        });
    }
}

/// Values that bfloat16 and TensorFloat-32 hold exactly, so that only results are rounded.
#[test]
fn convolutions_on_units_for_matrices_are_those_of_the_cpu() {
    use burn::tensor::FloatDType;

    let Some(gpu) = gpu() else { return };
    for seed in 0..24 {
        let mut rng = random::stream(seed, "units for matrices", &[]);
        let precision = [Precision::Tf32, Precision::BFloat16][seed as usize % 2];
        if !can_do(&gpu, precision) {
            continue;
        }
        // The last two have pixels enough for the largest tiles.
        let large = seed >= 22;
        let kernel = if large { 1 } else { [1, 3, 7][rng.random_range(0..3)] };
        let geometry = if large {
            ordinary(1, 0)
        } else {
            ordinary(rng.random_range(1..=2), rng.random_range(0..=kernel / 2))
        };
        let [input, output] = match large {
            true => [136, 200],
            false => [
                [3, 16, 20, 136][rng.random_range(0..4)],
                [5, 16, 32, 64, 200][rng.random_range(0..5)],
            ],
        };
        let batch = if large { 200 } else { rng.random_range(1..4) };
        let (height, width) = if large {
            (8, 8)
        } else {
            (kernel + rng.random_range(0..8), kernel + rng.random_range(0..8))
        };
        let mut exact = |len| -> Vec<f32> {
            (0..len).map(|_| rng.random_range(-64..=64) as f32 / 64.0).collect()
        };
        let (x, weight) =
            (exact(batch * input * height * width), exact(output * input * kernel * kernel));
        let probe = exact(batch * output * (height + 6) * (width + 6));
        let what = format!(
            "{precision}, [{batch}, {input}, {height}, {width}] to {output} with kernel {kernel}, {geometry:?}"
        );
        let run = |device: &Device, precision| {
            let inputs = [
                (x.as_slice(), [batch, input, height, width]),
                (weight.as_slice(), [output, input, kernel, kernel]),
            ];
            let half = precision == Precision::BFloat16;
            with_gradients_on(device, inputs, &probe, |[x, weight]| {
                let x = if half { x.cast(FloatDType::BF16) } else { x };
                let y = conv2d(
                    x,
                    weight,
                    geometry,
                    None,
                    Computing { kernels: Kernels::Own, precision },
                );
                if half { y.cast(FloatDType::F32) } else { y }
            })
        };
        let tolerance = if precision == Precision::BFloat16 { 4e-3 } else { 1e-5 };
        assert_close(
            &run(&gpu, precision),
            &run(&Device::flex(), Precision::Float32),
            tolerance,
            &what,
        );
    }
}

#[test]
fn weights_packed_together_give_the_same_to_the_last_bit() {
    use burn::tensor::FloatDType;

    let Some(gpu) = gpu() else { return };
    let mut rng = random::stream(0, "packed weights", &[]);
    // Output, input and kernel; more of one kernel than one launch takes on GPUs that bind few
    // buffers.
    let mut shapes = vec![[5, 3, 7], [16, 3, 3], [40, 16, 1], [7, 65, 1]];
    shapes.extend((0..12).map(|i| [[16, 20, 70][i % 3], [16, 33, 20][i % 3], 3]));
    let weights: Vec<Vec<f32>> = shapes
        .iter()
        .map(|[output, input, kernel]| numbers(&mut rng, output * input * kernel * kernel))
        .collect();
    let (x, probe) = (numbers(&mut rng, 2 * 65 * 64), numbers(&mut rng, 2 * 70 * 64));
    for precision in Precision::ALL {
        if !can_do(&gpu, precision) {
            continue;
        }
        let computing = Computing { kernels: Kernels::Own, precision };
        let tensors = shapes.iter().zip(&weights).map(|([output, input, kernel], w)| {
            tensor(w, [*output, *input, *kernel, *kernel], &gpu)
        });
        let packed = pack(tensors.collect(), computing);
        assert_eq!(packed.len(), shapes.len());
        for (([output, input, kernel], values), packed) in shapes.iter().zip(&weights).zip(packed) {
            let run = |packed: Packed| {
                let inputs = [
                    (&x[..2 * input * 64], [2, *input, 8, 8]),
                    (values.as_slice(), [*output, *input, *kernel, *kernel]),
                ];
                with_gradients_on(&gpu, inputs, &probe, |[x, tensor]| {
                    let half = precision == Precision::BFloat16;
                    let x = if half { x.cast(FloatDType::BF16) } else { x };
                    let y = conv2d(
                        x,
                        ConvWeight { tensor, packed: packed.clone() },
                        ordinary(1, kernel / 2),
                        None,
                        computing,
                    );
                    if half { y.cast(FloatDType::F32) } else { y }
                })
            };
            assert!(
                run(packed) == run(Packed::default()),
                "{precision}, {input} to {output} with kernel {kernel}"
            );
        }
    }
}

/// What bfloat16 is to an NVIDIA GPU: images of half precision, everything else in float32.
#[test]
fn images_of_half_precision_are_rounded_and_no_more() {
    use burn::tensor::FloatDType;
    use cubecl::ir::{ElemType, FloatKind};

    let (Some(gpu), Some(client)) = (gpu(), client()) else { return };
    if !holds(&client, ElemType::Float(FloatKind::F16)) {
        return skipped("this GPU has no floats of 16 bits in shaders");
    }
    let mut rng = random::stream(0, "half precision on a gpu", &[]);
    let (dims, len) = ([3, 16, 6, 6], 3 * 16 * 36);
    let (x, residual, probe) =
        (numbers(&mut rng, len), numbers(&mut rng, len), numbers(&mut rng, len));
    let (scale, bias, weight) =
        (numbers(&mut rng, 16), numbers(&mut rng, 16), numbers(&mut rng, 16 * 16 * 9));
    let run = |device: &Device, half: bool| {
        let of_channels = [1, 16, 1, 1];
        let round = |x: Tensor<4>| if half { x.cast(FloatDType::F16) } else { x };
        let inputs = [
            (x.as_slice(), dims),
            (&weight, [16, 16, 3, 3]),
            (&scale, of_channels),
            (&bias, of_channels),
            (&residual, dims),
        ];
        with_gradients_on(device, inputs, &probe, |[x, weight, scale, bias, residual]| {
            let y = conv2d(round(x), weight, ordinary(1, 1), None, Kernels::Own.into());
            let residual = Residual { tensor: round(residual), fork: None };
            let y = batch_norm_train(
                y,
                layer(channel(scale), channel(bias)),
                Some(residual),
                Activation::Relu,
                Kernels::Own,
            )
            .output;
            assert_eq!(y.dtype() == DType::F16, half);
            let pooled = average_pool(max_pool(y.clone(), Kernels::Own), Kernels::Own)
                .unsqueeze_dims(&[2, 3]);
            y.cast(FloatDType::F32) + pooled
        })
    };
    let (rounded, exact) = (run(&gpu, true), run(&Device::flex(), false));
    let (outputs, all) = (distance(&rounded[..1], &exact[..1]), distance(&rounded, &exact));
    assert!((1e-5..5e-3).contains(&outputs), "outputs are {outputs} apart");
    // Rounding moves some values across ReLU's zero.
    assert!(all < 5e-2, "gradients are {all} apart");
}

#[test]
fn the_classifier_and_its_loss_are_those_of_the_cpu() {
    use crate::augment::Mixed;
    for (samples, features, classes, smoothing, lambda) in
        [(5, 64, 10, 0.0, 1.0), (70, 16, 100, 0.1, 1.0), (3, 30, 7, 0.2, 0.3)]
    {
        let mut rng = random::stream(samples as u64, "classifier on a gpu", &[]);
        let (x, weight, bias) = (
            numbers(&mut rng, samples * features),
            numbers(&mut rng, classes * features),
            numbers(&mut rng, classes),
        );
        let mut labels =
            || (0..samples).map(|_| rng.random_range(0..classes as u32)).collect::<Vec<_>>();
        let mixed = (lambda < 1.0).then(|| Mixed { other_labels: labels(), lambda: lambda as f32 });
        let batch =
            Batch { indices: (0..samples).collect(), labels: labels(), mixed, ..Batch::default() };
        compare(&format!("{samples} × {features}, {classes} classes"), 1e-5, |device| {
            let device = &device.clone().autodiff();
            let x = tensor::<2>(&x, [samples, features], device).require_grad();
            let weight = tensor::<2>(&weight, [classes, features], device).require_grad();
            let bias = tensor::<1>(&bias, [classes], device).require_grad();
            let logits = linear(x.clone(), weight.clone(), bias.clone(), Kernels::Own);
            let loss = cross_entropy(logits.clone(), &batch, smoothing);
            let gradients = (loss.clone() * 3.0).backward();
            vec![
                host(logits.inner()),
                host(loss.inner()),
                host(x.grad(&gradients).unwrap()),
                host(weight.grad(&gradients).unwrap()),
                host(bias.grad(&gradients).unwrap()),
            ]
        });
    }
}

#[test]
fn hits_are_counted_and_what_is_no_number_shows_in_the_loss() {
    let Some(device) = gpu() else { return };
    let labels = |labels: [i32; 3]| {
        Tensor::<1, Int>::from_data(TensorData::new(labels.to_vec(), [3]), &device)
    };
    let run = |logits: [f32; 9]| {
        let shares = head::Shares { lambda: 1.0, smoothing: 0.0 };
        let (loss, hits) = head::cross_entropy(
            tensor(&logits, [3, 3], &device),
            labels([1, 0, 2]),
            labels([1, 0, 2]),
            shares,
        );
        (host(loss)[0], host(hits)[0])
    };
    // Of equal logits the first counts.
    let (loss, hits) = run([0.0, 2.0, 1.0, 5.0, 5.0, 5.0, 3.0, 0.0, 1.0]);
    assert!(loss.is_finite() && hits == 2.0, "{loss} {hits}");
    for wrong in [f32::NAN, f32::INFINITY] {
        assert!(!run([0.0, 2.0, 1.0, wrong, 0.0, 0.0, 3.0, 0.0, 1.0]).0.is_finite());
    }
}

#[test]
fn features_of_the_pretrained_network_are_those_of_the_cpu() {
    let (Some(gpu), cpu) = (gpu(), Device::flex()) else { return };
    let config = NetworkConfig {
        backbone: Backbone::BUILT_IN,
        stem: Stem::Imagenet,
        input_size: 64,
        classes: 10,
    };
    let [there, here] = [&gpu, &cpu]
        .map(|device| Network::pretrained(&config, 0, device).unwrap().with_kernels(Kernels::Own));
    let prepared = Prepared::new(here.clone());
    // With the second, paddings are odd elsewhere.
    for side in [64, 47] {
        let values = numbers(
            &mut random::stream(side, "pretrained on a gpu", &[]),
            3 * 3 * (side * side) as usize,
        );
        let images = |device| tensor::<4>(&values, [3, 3, side as usize, side as usize], device);
        let found = host(there.features(images(&gpu), Mode::Evaluate));
        for (what, features) in [
            ("operation by operation", here.features(images(&cpu), Mode::Evaluate)),
            ("by kernels for the whole network", prepared.features(images(&cpu))),
        ] {
            let apart = apart(&found, &host(features));
            assert!(apart < 1e-4, "side {side}: features are {apart} from those of the CPU {what}");
        }
    }
}

/// Tolerances are those between our operations and burn's on the CPU; see there.
#[test]
fn whole_networks_train_as_on_the_cpu_and_twice_the_same() {
    let Some(gpu) = gpu() else { return };
    for (backbone, mode, stem, input_size, tolerance) in [
        (Backbone::ResNet20, Mode::Train, Stem::Small, 8, 5e-3),
        (Backbone::ResNeXt50, Mode::TrainFrozenNorm, Stem::Imagenet, 33, 1e-1),
        (Backbone::EfficientNetLite0, Mode::TrainFrozenNorm, Stem::Imagenet, 33, 1e-1),
    ] {
        let config = NetworkConfig { backbone, stem, input_size, classes: 10 };
        let found = train_on(&gpu, &config, mode, 4, Kernels::Own);
        let expected = train(&config, mode, 4, Kernels::Own);
        assert!(
            apart(&found.logits, &expected.logits) < 1e-3,
            "{backbone}: logits {}",
            apart(&found.logits, &expected.logits)
        );
        let gradients = distance(&found.gradients, &expected.gradients);
        assert!(gradients < tolerance, "{backbone}: gradients are {gradients} apart");
        let weights = distance(&found.weights, &expected.weights);
        assert!(weights < tolerance, "{backbone}: weights are {weights} apart");
        let answers = apart(&found.evaluated[0], &expected.evaluated[0]);
        // Of features that may be small, behind all layers.
        assert!(answers < 3.0 * tolerance as f32, "{backbone}: answers are {answers} apart");
        let again = train_on(&gpu, &config, mode, 4, Kernels::Own);
        assert!(
            again.weights == found.weights && again.evaluated == found.evaluated,
            "{backbone} gives something else the second time"
        );
    }
}
