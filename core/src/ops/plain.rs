//! Operations that no gradient flows through.

use burn::backend::{Dispatch, Flex};
use burn::tensor::{Device, Tensor};

use super::extension::{Norm, PlainOps, Window};
use super::storage::Images;
use crate::kernels::Buffer;

pub(crate) use super::extension::Rates;

/// A convolution with the batch norm after it.
pub(crate) struct FoldedConv {
    /// `[out, in, k, k]`.
    pub weight: Tensor<4>,
    /// Pixels between the places where the kernel is applied.
    pub stride: usize,
    /// Pixels of zeros around the input.
    pub padding: usize,
    /// γ, `[out]`.
    pub scale: Tensor<1>,
    /// β, `[out]`.
    pub bias: Tensor<1>,
    /// Running means, `[out]`.
    pub mean: Tensor<1>,
    /// Running variances, `[out]`.
    pub variance: Tensor<1>,
    /// ε.
    pub epsilon: f64,
}

impl FoldedConv {
    /// Convolution, batch norm with running statistics, residual sum and ReLU in one pass over the output. For tensors that
    /// [`Kernels::own`](super::Kernels::own) accepts, without autodiff.
    pub fn forward(self, x: Tensor<4>, residual: Option<Tensor<4>>, relu: bool) -> Tensor<4> {
        let window = Window { kernel: self.weight.dims()[3], stride: self.stride, padding: self.padding };
        let norm = Norm { epsilon: self.epsilon, relu };
        let (x, conv) = (x.into_dispatch(), self.weight.into_dispatch());
        let [scale, bias, mean, variance] = [self.scale, self.bias, self.mean, self.variance].map(Tensor::into_dispatch);
        Tensor::from_dispatch(match residual {
            None => Dispatch::folded_conv2d(x, conv, scale, bias, mean, variance, window, norm),
            Some(residual) => {
                Dispatch::folded_conv2d_residual(x, conv, scale, bias, mean, variance, residual.into_dispatch(), window, norm)
            }
        })
    }
}

/// One step of SGD; gives the weight and the velocity. Tensors that nobody else holds may be changed in place. For tensors that
/// [`Kernels::own`](super::Kernels::own) accepts, without autodiff.
pub(crate) fn sgd<const D: usize>(
    rates: Rates,
    weight: Tensor<D>,
    gradient: Tensor<D>,
    velocity: Option<Tensor<D>>,
) -> (Tensor<D>, Tensor<D>) {
    let (weight, gradient) = (weight.into_dispatch(), gradient.into_dispatch());
    let (weight, velocity) = match velocity {
        None => Dispatch::first_sgd(weight, gradient, rates),
        Some(velocity) => Dispatch::sgd(weight, gradient, velocity.into_dispatch(), rates),
    };
    (Tensor::from_dispatch(weight), Tensor::from_dispatch(velocity))
}

/// A tensor `[batch, channels, height, width]` on a CPU device, of values in the order `[batch, height, width, channels]`.
pub(crate) fn images(values: Buffer, dims: [usize; 4], device: &Device) -> Tensor<4> {
    let tensor = Tensor::from_primitive::<Flex>(Images::from_buffer(values, dims).tensor());
    if device.is_autodiff() { tensor.autodiff() } else { tensor }
}
