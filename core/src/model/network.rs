//! A backbone with its classifier.

use burn::module::Module;
use burn::tensor::{Device, FloatDType, Tensor};
use serde::{Deserialize, Serialize};

use super::backbones::{Backbone, Layers};
use super::classifier::Linear;
use super::initial::Initial;
use super::layers::{Mode, PackedWeights, Pass, packed_weights};
use super::pretrained::Pretrained;
use super::weights::{NamedTensor, load_weights};
use crate::kernels::PackedNetwork;
use crate::ops::{self, Computing, Kernels};
use crate::words::{Precision, Stem};

/// Images up to this side get the small stem when the stem is chosen automatically.
const SMALL_SIDE: usize = 64;

/// What a network is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkConfig {
    /// The backbone.
    pub backbone: Backbone,
    /// The layers before the first stage, where the backbone leaves a choice.
    pub stem: Stem,
    /// Side of the square input in pixels. It shapes no weight; it says what the network was
    /// trained on.
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
        self.backbone.info().features
    }
}

/// A backbone and its linear classifier. Inputs are normalised images `[batch, 3, side, side]`.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use counterweight_core::model::{Backbone, Mode, Network, NetworkConfig};
/// use counterweight_core::settings::Stem;
///
/// let config = NetworkConfig { backbone: Backbone::ResNet20, stem: Stem::Small, input_size: 16, classes: 10 };
/// let device = Device::flex();
/// let network = Network::new(&config, 0, &device);
/// let logits = network.forward(Tensor::<4>::zeros([2, 3, 16, 16], &device), Mode::Evaluate);
/// assert_eq!(logits.dims(), [2, 10]);
/// ```
#[derive(Module, Debug)]
pub struct Network {
    backbone: Layers,
    fc: Linear,
    #[module(skip)]
    kernels: Kernels,
    #[module(skip)]
    precision: Precision,
}

impl Network {
    /// A network with initial weights: the backbone's as its family has them, the classifier's
    /// PyTorch's layer default. The same seed gives the same weights on every device.
    ///
    /// # Panics
    /// For [`Backbone::Onnx`], which has no layers: [`FeatureGraph`](super::FeatureGraph) computes
    /// what it does.
    pub fn new(config: &NetworkConfig, seed: u64, device: &Device) -> Self {
        let initial = Initial { seed: Some(seed), device };
        Self::of(config, [&initial; 2])
    }

    /// A network of zeros, for weights that are about to be [loaded](load_weights).
    ///
    /// # Panics
    /// As [`Network::new`].
    pub(crate) fn blank(config: &NetworkConfig, device: &Device) -> Self {
        Self::of(config, [&Initial { seed: None, device }; 2])
    }

    fn of(config: &NetworkConfig, [backbone, classifier]: [&Initial<'_>; 2]) -> Self {
        Self {
            backbone: Layers::new(config, backbone),
            fc: Linear::new(classifier, config.features(), config.classes),
            kernels: Kernels::chosen(),
            precision: Precision::Float32,
        }
    }

    /// A network whose backbone has its pretrained weights, wherever those lie; the classifier's
    /// are initial ones.
    ///
    /// # Errors
    /// A sentence, if the weights are missing here (and how to get them), they are damaged or have
    /// another stem.
    pub fn pretrained(config: &NetworkConfig, seed: u64, device: &Device) -> Result<Self, String> {
        Self::with_weights(config, &config.backbone.pretrained()?, seed, device)
    }

    /// [`Network::pretrained`] with weights that were looked up already, for callers who need what
    /// is known of them as well.
    ///
    /// # Errors
    /// A sentence, if they are damaged, another backbone's or have another stem.
    pub fn with_weights(
        config: &NetworkConfig,
        pretrained: &Pretrained,
        seed: u64,
        device: &Device,
    ) -> Result<Self, String> {
        let blank = Initial { seed: None, device };
        let network = Self::of(config, [&blank, &Initial { seed: Some(seed), device }]);
        let mut tensors = pretrained.weights()?;
        tensors.extend(network.classifier());
        load_weights(network, tensors)
    }

    /// The same network, computing with these instead of [`Kernels::chosen`].
    pub fn with_kernels(self, kernels: Kernels) -> Self {
        Self { kernels, ..self }
    }

    /// The same network, with convolutions computed in this precision in training where the device
    /// can, and otherwise in float32.
    pub fn with_precision(self, precision: Precision) -> Self {
        let precision = if ops::can_compute(&self.fc.device(), precision) {
            precision
        } else {
            Precision::Float32
        };
        Self { precision, ..self }
    }

    /// What convolutions are computed with in training.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Features before the classifier: `[batch, 3, side, side]` to `[batch, features]`.
    pub fn features(&self, images: Tensor<4>, mode: Mode) -> Tensor<2> {
        let precision = if mode.trains() { self.precision } else { Precision::Float32 };
        let computing = Computing { kernels: self.kernels, precision };
        // In evaluation batch norm is folded into the weights, which are packed then; the CPU reads
        // them as they are.
        let packs = mode.trains() && ops::is_gpu(&images.device());
        let packed = if packs { packed_weights(self, computing) } else { PackedWeights::new() };
        let pass = Pass { mode, computing, packed: &packed };
        let images =
            if precision == Precision::BFloat16 { images.cast(FloatDType::BF16) } else { images };
        self.backbone.features(images, pass)
    }

    /// The last feature map in evaluation, `[batch, 3, side, side]` to `[batch, features, h, w]`:
    /// [`Network::features`] are its mean over height and width.
    pub fn feature_map(&self, images: Tensor<4>) -> Tensor<4> {
        let computing = Computing { kernels: self.kernels, precision: Precision::Float32 };
        let packed = &PackedWeights::new();
        self.backbone.last_map(images, Pass { mode: Mode::Evaluate, computing, packed })
    }

    /// The backbone's weights for kernels that compute a whole network in evaluation, where there
    /// are such for its device.
    pub(super) fn packed(&self) -> Option<Box<dyn PackedNetwork>> {
        let on_cpu = ops::is_cpu(&self.fc.device())
            && !self.fc.device().is_autodiff()
            && self.kernels == Kernels::Own;
        on_cpu.then(|| self.backbone.packed()).flatten()
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

    /// Multiply-adds of each convolution for one image of this side, in the order in which they are
    /// computed.
    pub fn convolutions(&self, side: usize) -> Vec<u64> {
        self.backbone.convolutions(side)
    }
}
