//! Arithmetic on slices for training and inference on the processor: float32, channels last, spread
//! over rayon's threads.
//!
//! Images are `[batch, height, width, channels]`, row-major, so that the values of a pixel lie
//! together; a slice `[pixels, channels]` is such a batch with its first three axes taken as one.
//! Nothing here depends on the number of threads: work is cut by shape alone and partial sums are
//! added in a fixed order. Output slices are overwritten whole, whatever they held.

mod activation;
mod batch_norm;
mod buffer;
mod channels_last;
mod conv;
mod fold;
mod inverted_residual;
mod lanes;
mod logits_row;
pub(crate) mod matmul;
mod network;
mod pooling;
mod residual;
mod scratch;
mod sgd;
pub(crate) mod simd;
mod vectorised;

pub use activation::{Activation, SIX};
pub use batch_norm::{BatchNormGradients, Normalisation, Statistics, StatisticsOf};
pub use buffer::{Buffer, release_memory};
pub use channels_last::to_channels_last;
pub use conv::{
    ConvShape, Epilogue, FoldedConv, PackedConv, Zeros, conv_forward, conv_forward_on,
    conv_input_gradient, conv_input_gradient_on, conv_weight_gradient, conv_weight_gradient_on,
};
pub use fold::fold;
pub use inverted_residual::{FoldedBlock, PackedInvertedResiduals};
pub(crate) use logits_row::{largest, rank, sum_of_exponentials};
pub use network::PackedNetwork;
pub use pooling::{PoolShape, average_pool, average_pool_gradient, max_pool, max_pool_gradient};
pub use residual::{PackedBlock, PackedResiduals};
pub use sgd::SgdStep;
pub use simd::InstructionSet;
