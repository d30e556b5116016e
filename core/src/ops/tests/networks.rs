//! Whole networks.

use burn::module::Module;

use super::*;
use crate::batches::Batch;
use crate::model::{Mode, NamedTensor, Network, NetworkConfig, load_weights, weights};
use crate::settings::{Backbone, Stem};
use crate::train::{Sgd, cross_entropy};

/// What comes of training: the first step's logits, its gradients, and after three steps the
/// weights and what the network then answers.
pub struct Trained {
    pub logits: Vec<f32>,
    pub gradients: Vec<Vec<f32>>,
    pub weights: Vec<Vec<f32>>,
    /// By our operations and by burn's.
    pub evaluated: [Vec<f32>; 2],
}

/// What training begins with: random weights where it is `None`, or as before fine-tuning.
fn start(config: &NetworkConfig, mode: Mode) -> Option<Vec<NamedTensor>> {
    (mode == Mode::TrainFrozenNorm).then(|| settled(config))
}

/// Weights whose running statistics are those of some images.
fn settled(config: &NetworkConfig) -> Vec<NamedTensor> {
    let (device, side) = (Device::flex(), config.input_size);
    let network = Network::new(config, 3, &device).with_kernels(Kernels::Own);
    let images = numbers(&mut random::stream(0, "settling", &[]), 6 * 3 * side * side);
    for _ in 0..30 {
        network.features(tensor(&images, [6, 3, side, side], &device), Mode::Train);
    }
    weights(&network)
}

/// On the CPU.
pub fn train(config: &NetworkConfig, mode: Mode, batch: usize, kernels: Kernels) -> Trained {
    train_on(&Device::flex(), config, mode, batch, kernels)
}

pub fn train_on(
    device: &Device,
    config: &NetworkConfig,
    mode: Mode,
    batch: usize,
    kernels: Kernels,
) -> Trained {
    train_from(start(config, mode), device, config, mode, batch, kernels)
}

fn train_from(
    start: Option<Vec<NamedTensor>>,
    plain_device: &Device,
    config: &NetworkConfig,
    mode: Mode,
    batch: usize,
    kernels: Kernels,
) -> Trained {
    let device = plain_device.clone().autodiff();
    let mut network = Network::new(config, 3, &device).with_kernels(kernels);
    if let Some(start) = start {
        network = load_weights(network, start).unwrap();
    }
    let mut optimizer = Sgd::new(0.9, 0.0).with_kernels(kernels);
    let side = config.input_size;
    let images = |index: u64, batch: usize| {
        numbers(&mut random::stream(index, "images", &[]), batch * 3 * side * side)
    };
    let values = |tensors: Vec<NamedTensor>| {
        tensors.into_iter().map(|tensor| tensor.values).collect::<Vec<_>>()
    };
    let (mut logits, mut gradients) = (Vec::new(), Vec::new());
    for step in 0..3 {
        let labels = (0..batch).map(|sample| (sample % config.classes) as u32).collect();
        let labels = Batch { indices: (0..batch).collect(), labels, ..Batch::default() };
        let output =
            network.forward(tensor(&images(step, batch), [batch, 3, side, side], &device), mode);
        let found = host(output.clone().inner());
        let loss = cross_entropy(output, &labels, 0.0);
        network = optimizer.step(network, loss.backward(), 1e-3);
        if step == 0 {
            // The first velocities are the gradients.
            (logits, gradients) = (found, values(optimizer.velocities(&network)));
        }
    }
    let plain = network.valid();
    // On a GPU, burn would try out all its ways first.
    let ways = if is_gpu(plain_device) { [kernels; 2] } else { [Kernels::Own, Kernels::Burn] };
    let evaluated = ways.map(|kernels| {
        let images = tensor(&images(9, 2), [2, 3, side, side], plain_device);
        host(plain.clone().with_kernels(kernels).forward(images, Mode::Evaluate))
    });
    Trained { logits, gradients, weights: values(weights(&network)), evaluated }
}

/// The length of the difference over the length.
pub fn distance(a: &[Vec<f32>], b: &[Vec<f32>]) -> f64 {
    let length = |values: &mut dyn Iterator<Item = f32>| {
        values.map(|value| f64::from(value).powi(2)).sum::<f64>().sqrt()
    };
    let difference = a.iter().flatten().zip(b.iter().flatten()).map(|(a, b)| a - b);
    length(&mut difference.into_iter()) / length(&mut b.iter().flatten().copied())
}

/// Rounding that moves one value across ReLU's zero moves all gradients by leaps, and does so in
/// burn's own networks as well. So gradients of the deeper networks agree less than those of single
/// operations.
#[test]
fn whole_networks_train_as_with_burn() {
    // One of each family's layers; the others have more of the same, and are trained in one way.
    const BOTH: [Backbone; 5] = [
        Backbone::ResNet20,
        Backbone::ResNet18,
        Backbone::ResNet50,
        Backbone::ResNeXt50,
        Backbone::EfficientNetLite0,
    ];
    for backbone in Backbone::ALL.into_iter().filter(|backbone| backbone.info().trains) {
        let modes = [(Mode::Train, Stem::Small), (Mode::TrainFrozenNorm, Stem::Imagenet)];
        for (mode, stem) in modes.into_iter().take(1 + usize::from(BOTH.contains(&backbone))) {
            // Every stage has a few pixels left.
            let input_size =
                (*backbone.info().sides.start()).max(if stem == Stem::Small { 16 } else { 33 });
            let config = NetworkConfig { backbone, stem, input_size, classes: 7 };
            let start = start(&config, mode);
            let with =
                |kernels| train_from(start.clone(), &Device::flex(), &config, mode, 6, kernels);
            let (own, burn) = (with(Kernels::Own), with(Kernels::Burn));
            let what = format!("{backbone}, {mode:?}");
            let found = [
                f64::from(apart(&own.logits, &burn.logits)),
                distance(&own.gradients, &burn.gradients),
                distance(&own.weights, &burn.weights),
                f64::from(apart(&own.evaluated[0], &own.evaluated[1])),
            ];
            // Winograd's transforms lose a digit, and so does batch norm over the few pixels at the
            // end of a small image.
            assert!(found[0] < 2e-3, "{what}: logits are {} apart", found[0]);
            assert!(found[1] < 2e-1, "{what}: gradients are {} apart", found[1]);
            assert!(found[2] < 2e-1, "{what}: weights are {} apart", found[2]);
            assert!(
                found[3] < 1e-3,
                "{what}: with batch norm folded, logits are {} apart",
                found[3]
            );
        }
    }
}

/// Running statistics stay, and everything that learns has a gradient.
#[test]
fn frozen_batch_norm_keeps_its_statistics_and_all_weights_learn() {
    for backbone in [Backbone::ResNet20, Backbone::EfficientNetLite0] {
        let config = NetworkConfig { backbone, stem: Stem::Small, input_size: 32, classes: 7 };
        let before = settled(&config);
        let trained = train(&config, Mode::TrainFrozenNorm, 6, Kernels::Own);
        assert_eq!(before.len(), trained.weights.len());
        for (before, after) in before.iter().zip(&trained.weights) {
            assert_eq!(
                before.values == *after,
                before.name.contains("running"),
                "{backbone}: {}",
                before.name
            );
        }
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let with = |backbone, input_size, threads: usize| {
        let config = NetworkConfig { backbone, stem: Stem::Small, input_size, classes: 5 };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let trained = pool.install(|| train(&config, Mode::Train, 6, Kernels::Own));
        (trained.logits, trained.gradients, trained.weights, trained.evaluated)
    };
    for (backbone, side) in
        [(Backbone::ResNet20, 17), (Backbone::ResNeXt50, 9), (Backbone::EfficientNetLite0, 35)]
    {
        let one = with(backbone, side, 1);
        for threads in [2, 3] {
            assert!(with(backbone, side, threads) == one, "{backbone} with {threads} threads");
        }
    }
}
