//! Convolutions whose factors are rounded, on a GPU's units for products of matrices. These are burn's, which finds the fastest of its kernels for every
//! new shape by trying them out.

use burn::backend::ops::ConvOptions;
use burn::tensor::{DType, Shape};
use burn_cubecl::kernel::cast;
use burn_cubecl::kernel::conv::{ConvStrategy, conv_data_backward, conv_forward, conv_weight_backward};
use burn_cubecl::tensor::CubeTensor;

use super::extension::Window;

/// A convolution in the precision of `x`; float32 factors may be rounded to TensorFloat-32.
pub fn conv2d(x: CubeTensor, weight: CubeTensor, window: Window) -> CubeTensor {
    let weight = cast(weight, x.dtype);
    conv_forward(x, weight, None, options(window), ConvStrategy::default()).expect("a direct convolution is always possible")
}

/// The gradient of its input, of these rows and columns, in the precision of `dy`.
pub fn conv2d_input_gradient(dy: CubeTensor, weight: CubeTensor, [height, width]: [usize; 2], window: Window) -> CubeTensor {
    let shape = Shape::from([dy.meta.shape()[0], weight.meta.shape()[1], height, width]);
    let weight = cast(weight, dy.dtype);
    conv_data_backward(dy, weight, shape, options(window), ConvStrategy::default()).expect("a direct convolution is always possible")
}

/// The gradient of its weight, in float32.
pub fn conv2d_weight_gradient(x: CubeTensor, dy: CubeTensor, window: Window) -> CubeTensor {
    let shape = Shape::from([dy.meta.shape()[1], x.meta.shape()[1], window.kernel, window.kernel]);
    let gradient = conv_weight_backward(x, dy, shape, options(window), ConvStrategy::default());
    cast(gradient.expect("a direct convolution is always possible"), DType::F32)
}

fn options(Window { stride, padding, .. }: Window) -> ConvOptions<2> {
    ConvOptions::new([stride; 2], [padding; 2], [1; 2], 1)
}
