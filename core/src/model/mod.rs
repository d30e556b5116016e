//! Backbones and the classifier head.
//!
//! Parameters are named as torchvision names them (`conv1.weight`, `layer1.0.bn1.running_mean`, `fc.bias`, …), so that weights can be
//! exchanged by name.

mod block;
mod initial;
mod layers;
mod resnet;
mod running;
mod weights;

pub use crate::ops::Kernels;
pub use layers::Mode;
pub use resnet::{Network, NetworkConfig};
pub(crate) use weights::named;
pub use weights::{NamedTensor, load_weights, weights};
