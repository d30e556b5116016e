//! Backbones and the classifier behind them.
//!
//! Parameters are named as those who published the network name them (torchvision: `conv1.weight`,
//! `layer1.0.bn1.running_mean`, …), and the classifier `fc`, so that weights can be exchanged by
//! name.

mod backbones;
mod classifier;
mod initial;
mod input;
mod layers;
mod names;
mod network;
mod onnx;
mod prepared;
mod pretrained;
mod running;
mod weights;

pub use crate::ops::Kernels;
pub use backbones::{Backbone, BackboneInfo};
pub use classifier::{CLASSIFIER_BIAS, CLASSIFIER_WEIGHT, is_of_classifier};
pub use input::{InputLayout, Normaliser};
pub use layers::Mode;
pub(crate) use names::{ModulePath, parameter_name};
pub use network::{Network, NetworkConfig};
pub(crate) use onnx::SIDES as ONNX_SIDES;
#[cfg(test)]
pub(crate) use onnx::test_files;
pub(crate) use onnx::try_backbone;
pub use onnx::{FeatureChoice, FeatureGraph, OnnxBackbone, OnnxFile, OnnxFound, Taken};
pub use prepared::Prepared;
pub use pretrained::{
    Addition, BuiltIn, Facts, Fit, Kept, Listed, Offered, Origin, Pretrained, Published,
    WeightsFile, WeightsFolder, downloads,
};
pub(crate) use weights::named;
pub use weights::{NamedTensor, load_weights, weights};
