//! The operations residual networks are made of: our own on the CPU and on GPUs, burn's where a
//! network is captured for export.
//!
//! Our own (`crate::kernels` and `crate::gpu`) keep images channels last in memory, behind strides,
//! so that tensors have the same shape on every device. They reach burn as a backend extension,
//! with their own backward passes.

mod backward;
mod cpu;
#[cfg(feature = "gpu")]
mod device_images;
#[cfg(not(feature = "gpu"))]
#[path = "no_device_images.rs"]
mod device_images;
mod extension;
mod fork;
#[cfg(feature = "gpu")]
mod gpu;
#[cfg(feature = "gpu")]
mod head;
mod packed;
#[cfg(feature = "gpu")]
mod packing;
mod plain;
#[cfg(feature = "gpu")]
mod rounded;
mod storage;
mod tensors;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};

use burn::backend::{Dispatch, DispatchDevice};
use burn::tensor::activation::relu as burn_relu;
use burn::tensor::module as burn_ops;
use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use burn::tensor::{DType, Device, Tensor};

use crate::kernels::Zeros;
pub(crate) use crate::kernels::{Activation, SIX, StatisticsOf, release_memory};
use crate::words::Precision;
pub(crate) use device_images::DeviceImages;
use extension::{BatchNormed, Norm, NormVectors, Pool, ResidualOps, Window};
pub(crate) use fork::Fork;
#[cfg(feature = "gpu")]
pub(crate) use head::{Shares, cross_entropy, ordered_sum};
pub(crate) use packed::{ConvWeight, Packed, pack};
pub(crate) use plain::{Descended, Descent, FoldedConv, Rates, images, packed_features};
use tensors::Tensors;

/// Who computes, on the CPU as on GPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernels {
    /// The operations of this crate.
    Own,
    /// burn's, for comparison.
    Burn,
}

static BURN_CHOSEN: AtomicBool = AtomicBool::new(false);

impl Kernels {
    /// Has networks and optimisers made from now on use these. Meant for comparing the two in a
    /// whole run; nothing but
    /// [`Network::new`](crate::model::Network::new) and [`Sgd::new`](crate::train::Sgd::new) look
    /// at it.
    pub fn choose(self) {
        BURN_CHOSEN.store(self == Kernels::Burn, Ordering::Relaxed);
    }

    /// What was chosen last; [`Kernels::Own`] if nothing was.
    pub fn chosen() -> Self {
        if BURN_CHOSEN.load(Ordering::Relaxed) { Kernels::Burn } else { Kernels::Own }
    }

    /// Whether our own operations compute with this tensor.
    pub(crate) fn supports<const D: usize>(self, tensor: &Tensor<D>) -> bool {
        let (device, dtype) = (tensor.device(), tensor.dtype());
        let known = match is_gpu(&device) {
            true => matches!(dtype, DType::F32 | DType::BF16 | DType::F16),
            false => is_cpu(&device) && dtype == DType::F32,
        };
        self == Kernels::Own && known
    }

    /// Whether our own operations compute with this tensor on a GPU.
    #[cfg(feature = "gpu")]
    fn supports_on_gpu<const D: usize>(self, tensor: &Tensor<D>) -> bool {
        self.supports(tensor) && is_gpu(&tensor.device())
    }
}

/// Who computes, and with what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Computing {
    pub kernels: Kernels,
    pub precision: Precision,
}

impl From<Kernels> for Computing {
    fn from(kernels: Kernels) -> Self {
        Self { kernels, precision: Precision::Float32 }
    }
}

/// Zeros around the input of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Padding {
    /// So many pixels on each side.
    Symmetric(usize),
    /// As few as give ⌈side / stride⌉ pixels, the larger half of an odd number right and below:
    /// TensorFlow's SAME.
    Same,
}

impl Padding {
    /// Zeros before and after `side` pixels.
    fn of(self, side: usize, kernel: usize, stride: usize) -> (usize, usize) {
        match self {
            Padding::Symmetric(padding) => (padding, padding),
            Padding::Same => {
                let all = ((side.div_ceil(stride) - 1) * stride + kernel).saturating_sub(side);
                (all / 2, all - all / 2)
            }
        }
    }
}

/// How the square kernel of a convolution is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// Pixels between the places where it is applied.
    pub stride: usize,
    pub padding: Padding,
    /// Groups that channels are divided into; as many as channels if each is convolved by itself.
    pub groups: usize,
}

impl Geometry {
    /// Over images `[batch, channels, height, width]`.
    fn window(self, [_, _, height, width]: [usize; 4], kernel: usize) -> Window {
        let Self { stride, padding, groups } = self;
        let [rows, columns] = [height, width].map(|side| padding.of(side, kernel, stride));
        Window { kernel, stride, padding: Zeros { rows, columns }, groups }
    }
}

/// Whether convolutions can be computed in this precision on the device, by units made for it.
pub(crate) fn can_compute(device: &Device, precision: Precision) -> bool {
    #[cfg(feature = "gpu")]
    if let DispatchDevice::Cube(gpu) = device.as_dispatch().clone().inner() {
        return gpu::can_compute(&gpu, precision);
    }
    let _ = device;
    precision == Precision::Float32
}

/// Whether the device is the CPU backend, with or without autodiff.
pub(crate) fn is_cpu(device: &Device) -> bool {
    matches!(device.as_dispatch().clone().inner(), DispatchDevice::Flex(_))
}

/// Whether the device is a GPU, with or without autodiff.
pub(crate) fn is_gpu(device: &Device) -> bool {
    #[cfg(feature = "gpu")]
    return matches!(device.as_dispatch().clone().inner(), DispatchDevice::Cube(_));
    #[cfg(not(feature = "gpu"))]
    {
        let _ = device;
        false
    }
}

/// A layer of batch norm.
pub(crate) struct NormLayer {
    /// γ, `[channels]`.
    pub scale: Tensor<1>,
    /// β, `[channels]`.
    pub bias: Tensor<1>,
    pub epsilon: f64,
    /// Running means and variances, `[channels]` each, without autodiff.
    pub running: [Tensor<1>; 2],
    /// How far the running statistics move to those of a batch, as PyTorch counts momentum.
    pub momentum: f64,
    /// Which statistics it normalises with: the batch's, or the running ones, which stay then.
    pub statistics: StatisticsOf,
}

/// What batch norm gives in training.
pub(crate) struct Normalised {
    pub output: Tensor<4>,
    /// The next running means and variances, those of the batch being unbiased in them; without
    /// autodiff.
    pub running: [Tensor<1>; 2],
}

/// What is added to a block's output.
pub(crate) struct Residual {
    pub tensor: Tensor<4>,
    /// Where its gradient is left, if the tensor is the block's input.
    pub fork: Option<Fork>,
}

/// A convolution without bias: `[batch, in, h, w]` and `[out, in / groups, k, k]` to
/// `[batch, out, h', w']`. With a fork, `x` is the block's input.
pub(crate) fn conv2d(
    x: Tensor<4>,
    weight: impl Into<ConvWeight>,
    geometry: Geometry,
    fork: Option<Fork>,
    computing: Computing,
) -> Tensor<4> {
    let ConvWeight { tensor: weight, packed } = weight.into();
    let window = geometry.window(x.dims(), weight.dims()[3]);
    if computing.kernels.supports(&x) {
        let (x, weight, packed) = (x.into_dispatch(), weight.into_dispatch(), Tensors(packed.0));
        return Tensor::from_dispatch(Dispatch::conv2d(
            x,
            weight,
            packed,
            window,
            computing.precision,
            fork,
        ));
    }
    let Window { stride, padding: Zeros { rows, columns }, groups, .. } = window;
    let options = match geometry.padding {
        Padding::Symmetric(padding) => ConvOptions::new([stride; 2], [padding; 2], [1; 2], groups),
        Padding::Same => {
            ConvOptions::new_with_padding([stride; 2], [rows, columns], [1; 2], groups)
        }
    };
    burn_ops::conv2d(x, weight, None, options)
}

/// Batch norm in training, then the residual sum, then the activation.
pub(crate) fn batch_norm_train(
    x: Tensor<4>,
    layer: NormLayer,
    residual: Option<Residual>,
    activation: Activation,
    kernels: Kernels,
) -> Normalised {
    let NormLayer { scale, bias, epsilon, running, momentum, statistics } = layer;
    let plain = |tensor: Tensor<1>| tensor.detach().without_autodiff();
    if !kernels.supports(&x) {
        let residual = residual.map(|residual| residual.tensor);
        if statistics == StatisticsOf::Past {
            let [mean, variance] = running
                .clone()
                .map(|vector| if x.is_autodiff() { vector.autodiff() } else { vector });
            let output = burn_ops::batch_norm(x, scale, bias, mean, variance, epsilon);
            return Normalised { output: finish(output, residual, activation), running };
        }
        let unbiased = unbiased(x.dims());
        let result = burn_ops::batch_norm_train(x, scale, bias, epsilon);
        let output = finish(result.output, residual, activation);
        let ([running_mean, running_variance], mean, variance) =
            (running, plain(result.mean), plain(result.variance));
        let running = [
            running_mean * (1.0 - momentum) + mean * momentum,
            running_variance * (1.0 - momentum) + variance * (momentum * unbiased),
        ];
        return Normalised { output, running };
    }
    let [mean, variance] = running;
    let [weight, bias, mean, variance] = [scale, bias, mean, variance].map(Tensor::into_dispatch);
    let (x, vectors, norm) = (
        x.into_dispatch(),
        NormVectors { weight, bias, mean, variance },
        Norm { epsilon, activation, statistics },
    );
    let BatchNormed { output, next_mean, next_variance, .. } = match residual {
        None => Dispatch::batch_norm(x, vectors, momentum, norm),
        Some(Residual { tensor, fork }) => {
            Dispatch::batch_norm_residual(x, tensor.into_dispatch(), vectors, momentum, norm, fork)
        }
    };
    Normalised {
        output: Tensor::from_dispatch(output),
        running: [next_mean, next_variance].map(|next| plain(Tensor::from_dispatch(next))),
    }
}

/// What makes biased variances over the batch and the pixels of `[batch, channels, height, width]`
/// unbiased.
fn unbiased([batch, _, height, width]: [usize; 4]) -> f64 {
    let n = (batch * height * width) as f64;
    n / (n - 1.0).max(1.0)
}

/// The residual sum and the activation by burn.
pub(crate) fn finish(
    y: Tensor<4>,
    residual: Option<Tensor<4>>,
    activation: Activation,
) -> Tensor<4> {
    let y = match residual {
        Some(residual) => y + residual,
        None => y,
    };
    match activation {
        Activation::None => y,
        Activation::Relu => burn_relu(y),
        Activation::Relu6 => relu6(y),
    }
}

/// min(max(x, 0), 6) by burn. Said with ReLU alone, since the exporter cannot write a clamp;
/// exported graphs have one `Clip` in its place.
fn relu6(x: Tensor<4>) -> Tensor<4> {
    burn_relu(burn_relu(x).neg().add_scalar(SIX)).neg().add_scalar(SIX)
}

/// The largest value of each 3×3 window, two pixels apart, with a border of one.
pub(crate) fn max_pool(x: Tensor<4>, kernels: Kernels) -> Tensor<4> {
    if kernels.supports(&x) {
        let pool = Pool { kernel: 3, stride: 2, padding: 1 };
        return Tensor::from_dispatch(Dispatch::max_pool(x.into_dispatch(), pool).0);
    }
    burn_ops::max_pool2d(x, MaxPoolOptions::new([3, 3]).with_stride([2, 2]).with_padding([1, 1]))
}

/// The mean over pixels: `[batch, channels, h, w]` to `[batch, channels]`.
pub(crate) fn average_pool(x: Tensor<4>, kernels: Kernels) -> Tensor<2> {
    if kernels.supports(&x) {
        return Tensor::from_dispatch(Dispatch::average_pool(x.into_dispatch()));
    }
    let [batch, channels, _, _] = x.dims();
    burn_ops::adaptive_avg_pool2d(x, [1, 1]).reshape([batch, channels])
}

/// `[batch, features]` times the transpose of `weight`, `[classes, features]`, plus `bias`,
/// `[classes]`.
pub(crate) fn linear(
    x: Tensor<2>,
    weight: Tensor<2>,
    bias: Tensor<1>,
    kernels: Kernels,
) -> Tensor<2> {
    #[cfg(feature = "gpu")]
    if kernels.supports_on_gpu(&x) {
        return head::linear(x, weight, bias);
    }
    let _ = kernels;
    x.matmul(weight.transpose()) + bias.unsqueeze()
}
