//! Operations on the CPU backend that no gradient flows through.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::{Device, Tensor};

use super::extension::{Affine, conv_shape};
use super::storage::{Dense, Images};
use crate::kernels::{self, Buffer, Epilogue, SgdStep};

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
    /// Convolution, batch norm with running statistics, residual sum and ReLU in one pass over the output.
    pub fn forward(self, x: Tensor<4>, residual: Option<Tensor<4>>, relu: bool) -> Tensor<4> {
        let x = Images::new(flex(x));
        let weight = Dense::new(flex(self.weight));
        let shape = conv_shape(&x, &weight, self.stride, self.padding);
        let dims = [shape.batch, shape.output, shape.out_height(), shape.out_width()];
        let residual = residual.map(|residual| Images::new(flex(residual)));
        assert!(residual.as_ref().is_none_or(|residual| residual.dims() == dims), "a residual must have the shape of what it is added to");
        let affine = Affine::new(flex(self.scale), flex(self.bias), self.epsilon);
        let (mean, variance) = (Dense::new(flex(self.mean)), Dense::new(flex(self.variance)));
        let (weight, bias) = kernels::fold(weight.values(), &affine.with(mean.values(), variance.values()));
        let mut y = Buffer::take(shape.output_len());
        let epilogue = Epilogue { bias: Some(&bias), residual: residual.as_ref().map(Images::values), relu };
        kernels::conv_forward(&shape, x.values(), &weight, epilogue, &mut y);
        Tensor::from_primitive::<Flex>(Images::from_buffer(y, dims).tensor())
    }
}

/// One step of SGD; gives the weight and the velocity. Tensors that nobody else holds are changed in place.
pub(crate) fn sgd<const D: usize>(
    step: SgdStep,
    weight: Tensor<D>,
    gradient: Tensor<D>,
    velocity: Option<Tensor<D>>,
) -> (Tensor<D>, Tensor<D>) {
    let (mut weight, gradient) = (Dense::new(flex(weight)), Dense::new(flex(gradient)));
    let first = velocity.is_none();
    let mut velocity = match velocity {
        Some(velocity) => Dense::new(flex(velocity)),
        None => Dense::from_buffer(Buffer::take(gradient.values().len()), gradient.shape()),
    };
    step.apply(weight.values_mut(), velocity.values_mut(), gradient.values(), first);
    (Tensor::from_primitive::<Flex>(weight.tensor()), Tensor::from_primitive::<Flex>(velocity.tensor()))
}

/// A tensor `[batch, channels, height, width]` on a CPU device, of values in the order `[batch, height, width, channels]`.
pub(crate) fn images(values: Buffer, dims: [usize; 4], device: &Device) -> Tensor<4> {
    let tensor = Tensor::from_primitive::<Flex>(Images::from_buffer(values, dims).tensor());
    if device.is_autodiff() { tensor.autodiff() } else { tensor }
}

fn flex<const D: usize>(tensor: Tensor<D>) -> FlexTensor {
    tensor.try_into_primitive::<Flex>().expect("only tensors of the CPU backend without autodiff come here")
}
