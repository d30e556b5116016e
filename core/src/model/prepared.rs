//! Networks made ready to compute the features of many images.

use burn::tensor::Tensor;

use super::layers::Mode;
use super::network::Network;
use crate::kernels::PackedNetwork;
use crate::ops;

/// A network whose weights do not change any more: what its features take can be made ready once
/// instead of for each batch.
pub struct Prepared {
    network: Network,
    /// For the CPU, where the family has kernels for whole networks: weights with batch norm folded
    /// in, in the order they are read in.
    packed: Option<Box<dyn PackedNetwork>>,
}

impl Prepared {
    /// From a network without autodiff; weights that change afterwards are not seen.
    pub fn new(network: Network) -> Self {
        let packed = network.packed();
        Self { network, packed }
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Features in evaluation: normalised images `[batch, 3, side, side]` to `[batch, features]`.
    pub fn features(&self, images: Tensor<4>) -> Tensor<2> {
        match &self.packed {
            Some(packed) => ops::packed_features(packed.as_ref(), images),
            None => self.network.features(images, Mode::Evaluate),
        }
    }
}
