//! Running statistics of batch norm on GPUs. The CPU uses burn's operations for them.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, backend_extension};
use burn::tensor::Tensor;

use super::spec;

/// How running statistics follow those of a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Following {
    /// The share of the batch's in the next.
    pub share: f64,
    /// What makes biased variances unbiased.
    pub unbiased: f64,
}

/// One kernel for both statistics of a layer.
#[backend_extension(Cube, Fusion)]
pub(super) trait RunningOps: Backend {
    /// The next running means and variances, from the running ones and the batch's.
    #[fusion(meta = spec::follow)]
    fn follow(
        running_mean: FloatTensor<Self>,
        running_variance: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        following: Following,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

/// The next running means and variances, all `[channels]`. For tensors on a GPU, without autodiff.
pub(crate) fn follow(running: [Tensor<1>; 2], batch: [Tensor<1>; 2], following: Following) -> [Tensor<1>; 2] {
    let [running_mean, running_variance] = running.map(Tensor::into_dispatch);
    let [mean, variance] = batch.map(Tensor::into_dispatch);
    let (mean, variance) = Dispatch::follow(running_mean, running_variance, mean, variance, following);
    [mean, variance].map(Tensor::from_dispatch)
}
