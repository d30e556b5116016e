//! The weights of a network's convolutions in the orders in which its GPU reads them.

use burn::backend::DispatchTensor;
use burn::tensor::Tensor;

use super::Computing;

/// What a weight looks like to a GPU's convolutions, or nothing, and then each packs it for itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Packed(pub(super) Vec<DispatchTensor>);

/// A convolution's weight.
pub(crate) struct ConvWeight {
    /// `[out, in, k, k]`.
    pub tensor: Tensor<4>,
    /// Made from the same values by [`pack`].
    pub packed: Packed,
}

impl From<Tensor<4>> for ConvWeight {
    fn from(tensor: Tensor<4>) -> Self {
        Self { tensor, packed: Packed::default() }
    }
}

/// Packs weights, `[out, in, k, k]` each, for convolutions that compute so, in few launches. On
/// devices that read weights as they are, nothing is packed, and the list is empty.
pub(crate) fn pack(weights: Vec<Tensor<4>>, computing: Computing) -> Vec<Packed> {
    #[cfg(feature = "gpu")]
    if weights.first().is_some_and(|first| computing.kernels.supports_on_gpu(first)) {
        return super::packing::pack(weights, computing.precision);
    }
    let _ = (weights, computing);
    Vec::new()
}
