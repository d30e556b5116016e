//! The operations residual networks are made of: our own on the CPU, burn's everywhere else.
//!
//! Our own ([`crate::kernels`]) keep images channels last in memory, behind strides, so that tensors have the same shape whoever computes.
//! They reach burn as a backend extension, with their own backward passes.

mod backward;
#[cfg(any(feature = "wgpu", feature = "cuda"))]
mod device_images;
#[cfg(not(any(feature = "wgpu", feature = "cuda")))]
#[path = "no_device_images.rs"]
mod device_images;
mod extension;
mod fork;
mod plain;
mod storage;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};

use burn::backend::{Dispatch, DispatchDevice};
use burn::tensor::activation::relu as burn_relu;
use burn::tensor::module as burn_ops;
use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use burn::tensor::{DType, Device, Tensor};

pub(crate) use crate::kernels::release_memory;
pub(crate) use device_images::DeviceImages;
use extension::ResidualOps;
pub(crate) use fork::Fork;
pub(crate) use plain::{FoldedConv, images, sgd};

/// Who computes on the CPU. Other devices always use burn's operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernels {
    /// The operations of this crate.
    Own,
    /// burn's, for comparison.
    Burn,
}

static BURN_CHOSEN: AtomicBool = AtomicBool::new(false);

impl Kernels {
    /// Has networks and optimisers made from now on use these. Meant for comparing the two in a whole run; nothing but
    /// [`Network::new`](crate::model::Network::new) and [`Sgd::new`](crate::train::Sgd::new) look at it.
    pub fn choose(self) {
        BURN_CHOSEN.store(self == Kernels::Burn, Ordering::Relaxed);
    }

    /// What was chosen last; [`Kernels::Own`] if nothing was.
    pub fn chosen() -> Self {
        if BURN_CHOSEN.load(Ordering::Relaxed) { Kernels::Burn } else { Kernels::Own }
    }

    /// Whether our own operations compute with this tensor.
    pub(crate) fn own<const D: usize>(self, tensor: &Tensor<D>) -> bool {
        self == Kernels::Own && tensor.dtype() == DType::F32 && is_cpu(&tensor.device())
    }
}

/// Whether the device is the CPU backend, with or without autodiff.
pub(crate) fn is_cpu(device: &Device) -> bool {
    matches!(device.as_dispatch().clone().inner(), DispatchDevice::Flex(_))
}

/// What batch norm gives in training.
pub(crate) struct Normalised {
    pub output: Tensor<4>,
    /// The batch's means, `[channels]`, without gradient.
    pub mean: Tensor<1>,
    /// The batch's biased variances, `[channels]`, without gradient.
    pub variance: Tensor<1>,
}

/// What is added to a block's output.
pub(crate) struct Residual {
    pub tensor: Tensor<4>,
    /// Where its gradient is left, if the tensor is the block's input.
    pub fork: Option<Fork>,
}

/// A convolution without bias: `[batch, in, h, w]` and `[out, in, k, k]` to `[batch, out, h', w']`. With a fork, `x` is the block's input.
pub(crate) fn conv2d(x: Tensor<4>, weight: Tensor<4>, stride: usize, padding: usize, fork: Option<Fork>, kernels: Kernels) -> Tensor<4> {
    if kernels.own(&x) {
        return Tensor::from_dispatch(Dispatch::conv2d(x.into_dispatch(), weight.into_dispatch(), stride, padding, fork));
    }
    burn_ops::conv2d(x, weight, None, ConvOptions::new([stride; 2], [padding; 2], [1; 2], 1))
}

/// Batch norm with the batch's statistics, then the residual sum, then ReLU. `scale` is γ and `bias` β, `[channels]`.
pub(crate) fn batch_norm_train(
    x: Tensor<4>,
    scale: Tensor<1>,
    bias: Tensor<1>,
    epsilon: f64,
    residual: Option<Residual>,
    relu: bool,
    kernels: Kernels,
) -> Normalised {
    if !kernels.own(&x) {
        let result = burn_ops::batch_norm_train(x, scale, bias, epsilon);
        let output = finish(result.output, residual.map(|residual| residual.tensor), relu);
        return Normalised { output, mean: result.mean, variance: result.variance };
    }
    let (x, scale, bias) = (x.into_dispatch(), scale.into_dispatch(), bias.into_dispatch());
    let (output, mean, variance) = match residual {
        None => Dispatch::batch_norm(x, scale, bias, epsilon, relu),
        Some(Residual { tensor, fork }) => Dispatch::batch_norm_residual(x, scale, bias, tensor.into_dispatch(), epsilon, relu, fork),
    };
    Normalised { output: Tensor::from_dispatch(output), mean: Tensor::from_dispatch(mean), variance: Tensor::from_dispatch(variance) }
}

/// The residual sum and ReLU by burn.
pub(crate) fn finish(y: Tensor<4>, residual: Option<Tensor<4>>, relu: bool) -> Tensor<4> {
    let y = match residual {
        Some(residual) => y + residual,
        None => y,
    };
    if relu { burn_relu(y) } else { y }
}

/// The largest value of each 3×3 window, two pixels apart, with a border of one.
pub(crate) fn max_pool(x: Tensor<4>, kernels: Kernels) -> Tensor<4> {
    if kernels.own(&x) {
        return Tensor::from_dispatch(Dispatch::max_pool(x.into_dispatch(), 3, 2, 1));
    }
    burn_ops::max_pool2d(x, MaxPoolOptions::new([3, 3]).with_stride([2, 2]).with_padding([1, 1]))
}

/// The mean over pixels: `[batch, channels, h, w]` to `[batch, channels]`.
pub(crate) fn average_pool(x: Tensor<4>, kernels: Kernels) -> Tensor<2> {
    if kernels.own(&x) {
        return Tensor::from_dispatch(Dispatch::average_pool(x.into_dispatch()));
    }
    let [batch, channels, _, _] = x.dims();
    burn_ops::adaptive_avg_pool2d(x, [1, 1]).reshape([batch, channels])
}
