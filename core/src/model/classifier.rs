//! The classifier: the last linear layer, which every backbone has the same.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

use super::initial::Initial;
use super::weights::{NamedTensor, named};
use crate::ops::{self, Kernels};

/// Name of the classifier's weight W, `[classes, features]`, in checkpoints and exported files.
pub const CLASSIFIER_WEIGHT: &str = "fc.weight";
/// Name of the classifier's bias, `[classes]`.
pub const CLASSIFIER_BIAS: &str = "fc.bias";

/// Whether a tensor of this name belongs to the classifier; all others are the backbone's.
pub fn is_of_classifier(name: &str) -> bool {
    [CLASSIFIER_WEIGHT, CLASSIFIER_BIAS].contains(&name)
}

/// The classifier: weight W `[classes, features]` and a bias, as PyTorch's `Linear`.
#[derive(Module, Debug)]
pub(super) struct Linear {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

impl Linear {
    /// PyTorch's initial weights.
    pub fn new(initial: &Initial<'_>, features: usize, classes: usize) -> Self {
        Self {
            weight: initial.layer_default(CLASSIFIER_WEIGHT, [classes, features], features),
            bias: initial.layer_default(CLASSIFIER_BIAS, [classes], features),
        }
    }

    /// Weight and bias on the host.
    pub fn on_host(&self) -> [NamedTensor; 2] {
        [
            named(CLASSIFIER_WEIGHT.into(), self.weight.val()),
            named(CLASSIFIER_BIAS.into(), self.bias.val()),
        ]
    }

    pub fn device(&self) -> Device {
        self.weight.device()
    }

    /// Features `[batch, features]` to logits `[batch, classes]`.
    pub fn forward(&self, features: Tensor<2>, kernels: Kernels) -> Tensor<2> {
        ops::linear(features, self.weight.val(), self.bias.val(), kernels)
    }
}
