//! Convolutions whose factors are rounded, on a GPU's units for products of matrices. A GPU without
//! such units computes them in float32 and rounds the results.

use burn::backend::cubecl::dtype_to_elem_type;
use burn::tensor::DType;
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::cast;
use burn_cubecl::tensor::CubeTensor;
use cubecl::client::Client;

use super::extension::{ResidualGradients, ResidualOps, Window};
use super::gpu::{Dense, ImageTensor, Place, conv_shape, out_dims};
use super::packing::packed_values;
use super::tensors::Tensors;
use crate::gpu::conv::matrix::{self, Rounding};
use crate::words::Precision;

/// What the factors of images of this sort are rounded to, or `None` if the GPU cannot.
pub fn rounding(images: DType, client: &Client) -> Option<Rounding> {
    let rounding = match images {
        DType::F32 => Rounding::tf32(),
        half => Rounding::none(dtype_to_elem_type(half)),
    };
    rounding.is_possible(client).then_some(rounding)
}

/// The same for a convolution. Those in groups are computed in float32: the units' matrices are
/// larger than theirs.
fn rounding_of(window: Window, images: DType, client: &Client) -> Option<Rounding> {
    if window.groups > 1 { None } else { rounding(images, client) }
}

/// A convolution with images as precise as `x`.
pub fn conv2d(
    x: CubeTensor,
    weight: CubeTensor,
    packed: Tensors<CubeBackend>,
    window: Window,
) -> CubeTensor {
    let (place, dtype) = (Place::of(&x), x.dtype);
    let Some(rounding) = rounding_of(window, x.dtype, &x.client) else {
        return cast(
            CubeBackend::conv2d(
                cast(x, DType::F32),
                weight,
                packed,
                window,
                Precision::Float32,
                None,
            ),
            dtype,
        );
    };
    let (x, weight) = (ImageTensor::new(x), Dense::new(weight));
    let shape = conv_shape(&x, &weight, window);
    let packed =
        packed_values(&place.client, packed, &weight.values, &shape, false, rounding.layout());
    place.images(
        matrix::convolve(&place.client, rounding, &shape, &x.values, &packed),
        out_dims(&shape),
        dtype,
    )
}

/// The gradient of its input, of these rows and columns, as precise as `dy`, plus that of another
/// way.
pub fn conv2d_input_gradient(
    dy: CubeTensor,
    weight: CubeTensor,
    packed: Tensors<CubeBackend>,
    size: [usize; 2],
    around: Option<CubeTensor>,
    window: Window,
) -> CubeTensor {
    let (place, dtype) = (Place::of(&dy), dy.dtype);
    let Some(rounding) = rounding_of(window, dy.dtype, &dy.client) else {
        let dy = cast(dy, DType::F32);
        let dx = match around {
            Some(around) => CubeBackend::conv2d_input_gradient_and(
                dy,
                weight,
                packed,
                cast(around, DType::F32),
                window,
                Precision::Float32,
            ),
            None => CubeBackend::conv2d_input_gradient(
                dy,
                weight,
                packed,
                size,
                window,
                Precision::Float32,
            ),
        };
        return cast(dx, dtype);
    };
    let (dy, weight, around) =
        (ImageTensor::new(dy), Dense::new(weight), around.map(ImageTensor::new));
    let [batch, output, _, _] = dy.dims;
    let dims = [batch, weight.shape[1], size[0], size[1]];
    let around = around.as_ref().map(|around| &around.values);
    let shape = window.conv(dims, output);
    let packed =
        packed_values(&place.client, packed, &weight.values, &shape, true, rounding.layout());
    place.images(
        matrix::input_gradient(&place.client, rounding, &shape, &dy.values, &packed, around),
        dims,
        dtype,
    )
}

/// The gradient of its weight, in float32.
pub fn conv2d_weight_gradient(x: CubeTensor, dy: CubeTensor, window: Window) -> CubeTensor {
    let place = Place::of(&x);
    let Some(rounding) = rounding_of(window, x.dtype, &x.client) else {
        return CubeBackend::conv2d_weight_gradient(
            cast(x, DType::F32),
            cast(dy, DType::F32),
            window,
            Precision::Float32,
        );
    };
    let (x, dy) = (ImageTensor::new(x), ImageTensor::new(dy));
    let shape = window.conv(x.dims, dy.dims[1]);
    let gradient = matrix::weight_gradient(&place.client, rounding, &shape, &x.values, &dy.values);
    place.weights(gradient, &shape)
}
