//! Residual networks with a linear classifier.

use burn::module::Module;
use burn::tensor::{Device, FloatDType, Tensor};
use serde::{Deserialize, Serialize};

use super::block::{Block, EXPANSION};
use super::initial::Initial;
use super::layers::{BatchNorm, Conv2d, Linear, Mode, PackedWeights, Pass, packed_weights};
use super::weights::NamedTensor;
use crate::ops::{self, Computing, Kernels};
use crate::settings::{Backbone, Precision, Stem};

/// Images up to this side get the small stem when the stem is chosen automatically.
const SMALL_SIDE: usize = 64;

/// What a network is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkConfig {
    /// The backbone.
    pub backbone: Backbone,
    /// The layers before the first stage.
    pub stem: Stem,
    /// Side of the square input in pixels. It shapes no weight; it says what the network was trained on.
    pub input_size: usize,
    /// Number of classes C.
    pub classes: usize,
}

impl NetworkConfig {
    /// The stem that suits an input of this side: the small one up to 64 pixels.
    pub fn stem_for(input_size: usize) -> Stem {
        if input_size <= SMALL_SIDE { Stem::Small } else { Stem::Imagenet }
    }

    /// Length F of the feature vector before the classifier.
    pub fn features(&self) -> usize {
        let plan = plan(self.backbone);
        plan.widths[plan.widths.len() - 1] * if plan.bottleneck { EXPANSION } else { 1 }
    }
}

struct Plan {
    widths: &'static [usize],
    blocks: &'static [usize],
    bottleneck: bool,
}

fn plan(backbone: Backbone) -> Plan {
    const NARROW: &[usize] = &[16, 32, 64];
    const WIDE: &[usize] = &[64, 128, 256, 512];
    let (widths, blocks, bottleneck): (_, &[usize], _) = match backbone {
        Backbone::ResNet20 => (NARROW, &[3, 3, 3], false),
        Backbone::ResNet32 => (NARROW, &[5, 5, 5], false),
        Backbone::ResNet44 => (NARROW, &[7, 7, 7], false),
        Backbone::ResNet56 => (NARROW, &[9, 9, 9], false),
        Backbone::ResNet18 => (WIDE, &[2, 2, 2, 2], false),
        Backbone::ResNet34 => (WIDE, &[3, 4, 6, 3], false),
        Backbone::ResNet50 => (WIDE, &[3, 4, 6, 3], true),
    };
    Plan { widths, blocks, bottleneck }
}

/// A residual network (He et al., *Deep Residual Learning for Image Recognition*, 2016) and its linear classifier.
///
/// Three-stage networks have no `layer4`. Inputs are normalised images `[batch, 3, side, side]`.
///
/// ```
/// use burn::tensor::{Device, FloatDType, Tensor};
/// use counterweight_core::model::{Mode, Network, NetworkConfig};
/// use counterweight_core::settings::{Backbone, Stem};
///
/// let config = NetworkConfig { backbone: Backbone::ResNet20, stem: Stem::Small, input_size: 16, classes: 10 };
/// let device = Device::flex();
/// let network = Network::new(&config, 0, &device);
/// let logits = network.forward(Tensor::<4>::zeros([2, 3, 16, 16], &device), Mode::Evaluate);
/// assert_eq!(logits.dims(), [2, 10]);
/// ```
#[derive(Module, Debug)]
pub struct Network {
    conv1: Conv2d,
    bn1: BatchNorm,
    layer1: Vec<Block>,
    layer2: Vec<Block>,
    layer3: Vec<Block>,
    layer4: Vec<Block>,
    fc: Linear,
    #[module(skip)]
    max_pool: bool,
    #[module(skip)]
    kernels: Kernels,
    #[module(skip)]
    precision: Precision,
}

impl Network {
    /// A network with initial weights as PyTorch's for the paper's networks: convolutions Kaiming normal with fan-out, batch norm 1 and 0,
    /// the replaced small stem and the classifier PyTorch's layer default. The same seed gives the same weights on every device.
    pub fn new(config: &NetworkConfig, seed: u64, device: &Device) -> Self {
        let initial = &Initial { seed, device };
        let plan = plan(config.backbone);
        let first = plan.widths[0];
        let conv1 = match config.stem {
            Stem::Small => Conv2d::new(initial.layer_default("conv1.weight", [first, 3, 3, 3], 3 * 9), 1),
            Stem::Imagenet => Conv2d::kaiming(initial, "conv1.weight", [3, first], 7, 2),
        };
        let mut channels = first;
        let mut layer = |stage: usize| -> Vec<Block> {
            let (Some(&width), Some(&count)) = (plan.widths.get(stage), plan.blocks.get(stage)) else { return Vec::new() };
            (0..count)
                .map(|index| {
                    let name = format!("layer{}.{index}", stage + 1);
                    let stride = if stage > 0 && index == 0 { 2 } else { 1 };
                    let input = channels;
                    channels = if plan.bottleneck { width * EXPANSION } else { width };
                    match plan.bottleneck {
                        true => Block::bottleneck(initial, &name, input, width, stride),
                        false => Block::basic(initial, &name, input, width, stride),
                    }
                })
                .collect()
        };
        let (layer1, layer2, layer3, layer4) = (layer(0), layer(1), layer(2), layer(3));
        Self {
            conv1,
            bn1: BatchNorm::new(initial, first),
            layer1,
            layer2,
            layer3,
            layer4,
            fc: Linear::new(initial, "fc", config.features(), config.classes),
            max_pool: config.stem == Stem::Imagenet,
            kernels: Kernels::chosen(),
            precision: Precision::Float32,
        }
    }

    /// The same network, computing with these instead of [`Kernels::chosen`].
    pub fn with_kernels(self, kernels: Kernels) -> Self {
        Self { kernels, ..self }
    }

    /// The same network, with convolutions computed in this precision in training where the device can, and otherwise in float32.
    pub fn with_precision(self, precision: Precision) -> Self {
        let precision = if ops::can_compute(&self.fc.device(), precision) { precision } else { Precision::Float32 };
        Self { precision, ..self }
    }

    /// What convolutions are computed with in training.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Features before the classifier: `[batch, 3, side, side]` to `[batch, features]`.
    pub fn features(&self, images: Tensor<4>, mode: Mode) -> Tensor<2> {
        let precision = if mode == Mode::Train { self.precision } else { Precision::Float32 };
        let computing = Computing { kernels: self.kernels, precision };
        // In evaluation batch norm is folded into the weights, which are packed then; the CPU reads them as they are.
        let packs = mode == Mode::Train && ops::is_gpu(&images.device());
        let packed = if packs { packed_weights(self, computing) } else { PackedWeights::new() };
        let pass = Pass { mode, computing, packed: &packed };
        let images = if precision == Precision::BFloat16 { images.cast(FloatDType::BF16) } else { images };
        let mut x = self.conv1.with_norm(&self.bn1, images, None, None, true, pass);
        if self.max_pool {
            x = ops::max_pool(x, self.kernels);
        }
        for block in self.layer1.iter().chain(&self.layer2).chain(&self.layer3).chain(&self.layer4) {
            x = block.forward(x, pass);
        }
        ops::average_pool(x, self.kernels)
    }

    /// The classifier's weight `[classes, features]` and bias `[classes]`, copied to the host.
    pub fn classifier(&self) -> [NamedTensor; 2] {
        self.fc.on_host()
    }

    /// Features `[batch, features]` to logits `[batch, classes]`.
    pub fn classify(&self, features: Tensor<2>) -> Tensor<2> {
        self.fc.forward(features, self.kernels)
    }

    /// `[batch, 3, side, side]` to logits `[batch, classes]`.
    pub fn forward(&self, images: Tensor<4>, mode: Mode) -> Tensor<2> {
        self.classify(self.features(images, mode))
    }
}
