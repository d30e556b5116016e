//! Operations that no gradient flows through.

use std::iter::Zip;
use std::vec::IntoIter;

use burn::backend::{Dispatch, DispatchTensor, Flex};
use burn::tensor::{Device, Tensor};

use super::extension::{Folded, NormVectors, PlainOps};
use super::storage::{Dense, ImageTensor};
use super::tensors::Tensors;
use super::{Activation, Geometry};
use crate::kernels::{Buffer, PackedNetwork};

pub(crate) use super::extension::Rates;

/// A convolution with the batch norm after it.
pub(crate) struct FoldedConv {
    /// `[out, in / groups, k, k]`.
    pub weight: Tensor<4>,
    pub geometry: Geometry,
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
    /// Convolution, batch norm with running statistics, residual sum and activation, in one pass
    /// over the output. For tensors that
    /// [`Kernels::own`](super::Kernels::own) accepts, without autodiff.
    pub fn forward(
        self,
        x: Tensor<4>,
        residual: Option<Tensor<4>>,
        activation: Activation,
    ) -> Tensor<4> {
        let window = self.geometry.window(x.dims(), self.weight.dims()[3]);
        let folded = Folded { window, epsilon: self.epsilon, activation };
        let (x, conv) = (x.into_dispatch(), self.weight.into_dispatch());
        let [weight, bias, mean, variance] =
            [self.scale, self.bias, self.mean, self.variance].map(Tensor::into_dispatch);
        let vectors = NormVectors { weight, bias, mean, variance };
        Tensor::from_dispatch(match residual {
            None => Dispatch::folded_conv2d(x, conv, vectors, folded),
            Some(residual) => {
                Dispatch::folded_conv2d_residual(x, conv, vectors, residual.into_dispatch(), folded)
            }
        })
    }
}

/// Parameters of any rank that take a step of SGD together. For tensors that
/// [`Kernels::own`](super::Kernels::own) accepts, without autodiff.
#[derive(Default)]
pub(crate) struct Descent {
    weights: Vec<DispatchTensor>,
    gradients: Vec<DispatchTensor>,
    velocities: Vec<DispatchTensor>,
}

impl Descent {
    pub fn add<const D: usize>(
        &mut self,
        weight: Tensor<D>,
        gradient: Tensor<D>,
        velocity: Tensor<D>,
    ) {
        self.weights.push(weight.into_dispatch());
        self.gradients.push(gradient.into_dispatch());
        self.velocities.push(velocity.into_dispatch());
    }

    /// Takes the step; there must be a parameter. Weights and velocities that are not shared are
    /// changed in place.
    pub fn step(self, rates: Rates) -> Descended {
        let (weights, velocities) = Dispatch::sgd(
            Tensors(self.weights),
            Tensors(self.gradients),
            Tensors(self.velocities),
            rates,
        );
        Descended(weights.0.into_iter().zip(velocities.0))
    }
}

/// Parameters after a step.
pub(crate) struct Descended(Zip<IntoIter<DispatchTensor>, IntoIter<DispatchTensor>>);

impl Descended {
    /// The next weight and its velocity, in the order in which they were added.
    pub fn next<const D: usize>(&mut self) -> Option<(Tensor<D>, Tensor<D>)> {
        self.0.next().map(|(weight, velocity)| {
            (Tensor::from_dispatch(weight), Tensor::from_dispatch(velocity))
        })
    }
}

/// A tensor `[batch, channels, height, width]` on a CPU device, of values in the order
/// `[batch, height, width, channels]`.
pub(crate) fn images(values: Buffer, dims: [usize; 4], device: &Device) -> Tensor<4> {
    let tensor = Tensor::from_primitive::<Flex>(ImageTensor::from_buffer(values, dims).tensor());
    if device.is_autodiff() { tensor.autodiff() } else { tensor }
}

/// The features of normalised images `[batch, 3, side, side]` on a CPU device without autodiff,
/// `[batch, features]`.
pub(crate) fn packed_features(packed: &dyn PackedNetwork, images: Tensor<4>) -> Tensor<2> {
    let images = ImageTensor::new(
        images.try_into_primitive::<Flex>().expect("the network was packed for the CPU"),
    );
    let [batch, _, side, _] = images.dims();
    let mut features = Buffer::take(batch * packed.features_len());
    packed.features(images.values(), side, &mut features);
    Tensor::from_primitive::<Flex>(
        Dense::from_buffer(features, [batch, packed.features_len()]).tensor(),
    )
}
