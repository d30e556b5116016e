//! The operations on CubeCL's backend: CUDA and wgpu.

use burn::backend::cubecl::dtype_to_elem_type;
use burn::tensor::{DType, Shape};
use burn_cubecl::kernel::{cast, into_contiguous};
use burn_cubecl::ops::{permute_nchw_to_nhwc, permute_nhwc_to_nchw};
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{CubeBackend, CubeDevice};
use cubecl::client::Client;
use cubecl::ir::{ElemType, FloatKind};

use super::extension::{
    BatchNormed, Folded, Norm, NormVectors, PlainOps, Pool, Rates, ResidualGradients, ResidualOps,
    Window,
};
use super::fork::Fork;
use super::head::{HeadGradients, HeadOps, Shares};
use super::packing::packed_values;
use super::tensors::Tensors;
use super::{rounded, unbiased};
use crate::gpu::batch_norm::{Affine, Following, Gradients, Statistics, Through};
use crate::gpu::buffer::Buffer;
use crate::gpu::columns::column_sums;
use crate::gpu::conv::matrix::Rounding;
use crate::gpu::conv::{Epilogue, Layout, Packed, convolve, input_gradient, pack, weight_gradient};
use crate::gpu::cross_entropy::{Targets, cross_entropy};
use crate::gpu::{grouped, pooling, sgd};
use crate::kernels::{ConvShape, StatisticsOf, Zeros};
use crate::words::Precision;

impl ResidualOps for CubeBackend {
    fn conv2d(
        x: CubeTensor,
        weight: CubeTensor,
        packed: Tensors<Self>,
        window: Window,
        precision: Precision,
        _fork: Option<Fork>,
    ) -> CubeTensor {
        if is_rounded(&x, precision) {
            return rounded::conv2d(x, weight, packed, window);
        }
        let place = Place::of(&x);
        let (x, weight) = (ImageTensor::new(x), Dense::new(weight));
        let shape = conv_shape(&x, &weight, window);
        if shape.groups > 1 {
            let y = grouped::convolve(
                &place.client,
                &shape,
                &x.values,
                &weight.values,
                None,
                Epilogue::default(),
            );
            return place.images(y, out_dims(&shape), DType::F32);
        }
        let packed =
            packed_values(&place.client, packed, &weight.values, &shape, false, Layout::fours());
        let packed = Packed::new(packed, &shape, false);
        place.images(
            convolve(&place.client, &shape, &x.values, &packed, Epilogue::default()),
            out_dims(&shape),
            DType::F32,
        )
    }

    fn batch_norm(
        x: CubeTensor,
        vectors: NormVectors<Self>,
        momentum: f64,
        norm: Norm,
    ) -> BatchNormed<Self> {
        batch_norm(x, None, vectors, momentum, norm)
    }

    fn batch_norm_residual(
        x: CubeTensor,
        residual: CubeTensor,
        vectors: NormVectors<Self>,
        momentum: f64,
        norm: Norm,
        _fork: Option<Fork>,
    ) -> BatchNormed<Self> {
        batch_norm(x, Some(residual), vectors, momentum, norm)
    }

    fn max_pool(x: CubeTensor, pool: Pool) -> (CubeTensor, CubeTensor) {
        let (place, dtype) = (Place::of(&x), x.dtype);
        let x = ImageTensor::new(x);
        let shape = pool.shape(x.dims);
        let (y, chosen) = pooling::max_pool(&place.client, &shape, &x.values);
        let dims = [shape.batch, shape.channels, shape.out_height(), shape.out_width()];
        (place.images(y, dims, dtype), place.chosen(chosen, dims))
    }

    fn average_pool(x: CubeTensor) -> CubeTensor {
        let place = Place::of(&x);
        let ImageTensor { values, dims: [batch, channels, height, width] } = ImageTensor::new(x);
        place.dense(
            pooling::average_pool(&place.client, &values, height * width, channels),
            Shape::from([batch, channels]),
        )
    }
}

impl ResidualGradients for CubeBackend {
    fn conv2d_input_gradient(
        dy: CubeTensor,
        weight: CubeTensor,
        packed: Tensors<Self>,
        size: [usize; 2],
        window: Window,
        precision: Precision,
    ) -> CubeTensor {
        if is_rounded(&dy, precision) {
            return rounded::conv2d_input_gradient(dy, weight, packed, size, None, window);
        }
        conv_input_gradient(dy, weight, packed, size, None, window)
    }

    fn conv2d_input_gradient_and(
        dy: CubeTensor,
        weight: CubeTensor,
        packed: Tensors<Self>,
        around: CubeTensor,
        window: Window,
        precision: Precision,
    ) -> CubeTensor {
        if is_rounded(&dy, precision) {
            let size = [around.meta.shape()[2], around.meta.shape()[3]];
            return rounded::conv2d_input_gradient(dy, weight, packed, size, Some(around), window);
        }
        let around = ImageTensor::new(around);
        let [_, _, height, width] = around.dims;
        conv_input_gradient(dy, weight, packed, [height, width], Some(&around.values), window)
    }

    fn conv2d_weight_gradient(
        x: CubeTensor,
        dy: CubeTensor,
        window: Window,
        precision: Precision,
    ) -> CubeTensor {
        if is_rounded(&dy, precision) {
            return rounded::conv2d_weight_gradient(x, dy, window);
        }
        let place = Place::of(&x);
        let (x, dy) = (ImageTensor::new(x), ImageTensor::new(dy));
        let shape = window.conv(x.dims, dy.dims[1]);
        let dw = match shape.groups {
            1 => weight_gradient(&place.client, &shape, &x.values, &dy.values),
            _ => grouped::weight_gradient(&place.client, &shape, &x.values, &dy.values),
        };
        place.weights(dw, &shape)
    }

    fn batch_norm_gradient(
        x: CubeTensor,
        dy: CubeTensor,
        vectors: NormVectors<Self>,
        norm: Norm,
    ) -> (CubeTensor, CubeTensor, CubeTensor) {
        let ([dx, dweight, dbias], _) = gradients(x, dy, vectors, None, norm);
        (dx, dweight, dbias)
    }

    fn batch_norm_residual_gradient(
        x: CubeTensor,
        dy: CubeTensor,
        y: CubeTensor,
        vectors: NormVectors<Self>,
        norm: Norm,
    ) -> (CubeTensor, CubeTensor, CubeTensor, CubeTensor) {
        let y = ImageTensor::new(y);
        let ([dx, dweight, dbias], residual) = gradients(x, dy, vectors, Some(&y.values), norm);
        (dx, dweight, dbias, residual.expect("it comes with an output"))
    }

    fn max_pool_gradient(
        dy: CubeTensor,
        chosen: CubeTensor,
        [height, width]: [usize; 2],
        pool: Pool,
    ) -> CubeTensor {
        let (place, dtype) = (Place::of(&dy), dy.dtype);
        let (dy, chosen) = (ImageTensor::new(dy), ImageTensor::new(chosen));
        let [batch, channels, _, _] = dy.dims;
        let dims = [batch, channels, height, width];
        place.images(
            pooling::max_pool_gradient(
                &place.client,
                &pool.shape(dims),
                &dy.values,
                &chosen.values,
            ),
            dims,
            dtype,
        )
    }

    fn average_pool_gradient(
        dy: CubeTensor,
        [height, width]: [usize; 2],
        dtype: DType,
    ) -> CubeTensor {
        let place = Place::of(&dy);
        let Dense { values, shape } = Dense::new(dy);
        let (batch, channels) = (shape[0], shape[1]);
        let dx = pooling::average_pool_gradient(
            &place.client,
            &values,
            height * width,
            channels,
            dtype_to_elem_type(dtype),
        );
        place.images(dx, [batch, channels, height, width], dtype)
    }
}

impl PlainOps for CubeBackend {
    fn folded_conv2d(
        x: CubeTensor,
        conv: CubeTensor,
        vectors: NormVectors<Self>,
        folded: Folded,
    ) -> CubeTensor {
        folded_conv2d(x, conv, vectors, None, folded)
    }

    fn folded_conv2d_residual(
        x: CubeTensor,
        conv: CubeTensor,
        vectors: NormVectors<Self>,
        residual: CubeTensor,
        folded: Folded,
    ) -> CubeTensor {
        folded_conv2d(x, conv, vectors, Some(residual), folded)
    }

    fn sgd(
        weights: Tensors<Self>,
        gradients: Tensors<Self>,
        velocities: Tensors<Self>,
        rates: Rates,
    ) -> (Tensors<Self>, Tensors<Self>) {
        let Some(first) = weights.0.first() else { return (weights, velocities) };
        let place = Place::of(first);
        let (weights, velocities): (Vec<_>, Vec<_>) =
            (weights.0.into_iter().map(own).collect(), velocities.0.into_iter().map(own).collect());
        let gradients = gradients.0.into_iter().map(|gradient| Dense::new(gradient).values);
        let of = |tensor: &CubeTensor| Dense::new(tensor.clone()).values;
        let parameters = weights.iter().zip(&velocities).zip(gradients);
        let parameters: Vec<_> = parameters
            .map(|((weight, velocity), gradient)| sgd::Parameter {
                weight: of(weight),
                gradient,
                velocity: of(velocity),
            })
            .collect();
        sgd::sgd(
            &place.client,
            &parameters,
            [rates.learning_rate as f32, rates.momentum as f32, rates.weight_decay as f32],
        );
        (Tensors(weights), Tensors(velocities))
    }
}

impl HeadOps for CubeBackend {
    fn linear(x: CubeTensor, weight: CubeTensor, bias: CubeTensor) -> CubeTensor {
        let place = Place::of(&x);
        let (x, weight, bias) = (Dense::new(x), Dense::new(weight), Dense::new(bias));
        let shape = product(&x.shape, weight.shape[0]);
        let packed = pack(&place.client, &shape, &weight.values, None, false);
        let epilogue = Epilogue { bias: Some(&bias.values), ..Epilogue::default() };
        place.dense(
            convolve(&place.client, &shape, &x.values, &packed, epilogue),
            Shape::from([shape.batch, shape.output]),
        )
    }

    fn cross_entropy(
        logits: CubeTensor,
        first: CubeTensor,
        second: CubeTensor,
        shares: Shares,
    ) -> (CubeTensor, CubeTensor, CubeTensor) {
        let place = Place::of(&logits);
        let labels = |tensor| Dense::new(cast(tensor, DType::I32)).values;
        let (logits, first, second) = (Dense::new(logits), labels(first), labels(second));
        let targets = Targets {
            first: &first,
            second: &second,
            lambda: shares.lambda as f32,
            smoothing: shares.smoothing as f32,
        };
        let found = cross_entropy(&place.client, &logits.values, logits.shape[1], targets);
        (
            place.vector(found.loss),
            place.dense(found.gradient, logits.shape),
            place.vector(found.correct),
        )
    }
}

impl HeadGradients for CubeBackend {
    fn linear_input_gradient(dy: CubeTensor, weight: CubeTensor) -> CubeTensor {
        let place = Place::of(&dy);
        let (dy, weight) = (Dense::new(dy), Dense::new(weight));
        let (classes, features) = (weight.shape[0], weight.shape[1]);
        let shape = product(&Shape::from([dy.shape[0], features]), classes);
        let packed = pack(&place.client, &shape, &weight.values, None, true);
        place.dense(
            input_gradient(&place.client, &shape, &dy.values, &packed, None),
            Shape::from([shape.batch, features]),
        )
    }

    fn linear_weight_gradient(x: CubeTensor, dy: CubeTensor) -> CubeTensor {
        let place = Place::of(&x);
        let (x, dy) = (Dense::new(x), Dense::new(dy));
        let shape = product(&x.shape, dy.shape[1]);
        place.dense(
            weight_gradient(&place.client, &shape, &x.values, &dy.values),
            Shape::from([shape.output, shape.input]),
        )
    }

    fn column_sums(dy: CubeTensor) -> CubeTensor {
        let place = Place::of(&dy);
        let dy = Dense::new(dy);
        place.vector(column_sums(&place.client, &dy.values, dy.shape[1]))
    }
}

/// The product of `[rows, inputs]` and a matrix of this many outputs, as a convolution of images of
/// one pixel.
fn product(x: &Shape, output: usize) -> ConvShape {
    let padding = Zeros::around(0);
    ConvShape {
        batch: x[0],
        height: 1,
        width: 1,
        input: x[1],
        output,
        kernel: 1,
        stride: 1,
        padding,
        groups: 1,
    }
}

/// Whether the GPU has units for products of matrices of this precision.
pub fn can_compute(device: &CubeDevice, precision: Precision) -> bool {
    let rounding = match precision {
        Precision::Float32 => return true,
        Precision::Tf32 => Rounding::tf32(),
        Precision::BFloat16 => Rounding::none(ElemType::Float(FloatKind::BF16)),
    };
    rounding.is_possible(&device.client())
}

/// Whether a convolution of these images, or of gradients of images, is left to kernels that round
/// factors.
fn is_rounded(images: &CubeTensor, precision: Precision) -> bool {
    images.dtype != DType::F32 || precision == Precision::Tf32
}

/// Where tensors are.
pub(super) struct Place {
    pub client: Client,
    device: CubeDevice,
}

impl Place {
    pub fn of(tensor: &CubeTensor) -> Self {
        Self { client: tensor.client.clone(), device: tensor.device.clone() }
    }

    pub fn tensor(&self, buffer: Buffer, shape: Shape, dtype: DType) -> CubeTensor {
        CubeTensor::new_contiguous(
            self.client.clone(),
            self.device.clone(),
            shape,
            buffer.handle,
            dtype,
        )
    }

    fn dense(&self, buffer: Buffer, shape: Shape) -> CubeTensor {
        self.tensor(buffer, shape, DType::F32)
    }

    fn vector(&self, buffer: Buffer) -> CubeTensor {
        let shape = Shape::from([buffer.length]);
        self.dense(buffer, shape)
    }

    /// Values in the order `[batch, height, width, channels]` as a tensor of `dims`,
    /// `[batch, channels, height, width]`.
    pub fn images(
        &self,
        buffer: Buffer,
        [batch, channels, height, width]: [usize; 4],
        dtype: DType,
    ) -> CubeTensor {
        permute_nhwc_to_nchw(self.tensor(
            buffer,
            Shape::from([batch, height, width, channels]),
            dtype,
        ))
    }

    /// Weights of a convolution.
    pub fn weights(&self, buffer: Buffer, shape: &ConvShape) -> CubeTensor {
        self.dense(buffer, Shape::from(shape.weight_dims()))
    }

    /// Positions in windows, as images.
    fn chosen(&self, buffer: Buffer, dims: [usize; 4]) -> CubeTensor {
        self.images(buffer, dims, DType::U32)
    }
}

/// ImageTensor whose values lie in memory as `[batch, height, width, channels]`; those that do
/// already are not copied.
pub(super) struct ImageTensor {
    pub values: Buffer,
    /// `[batch, channels, height, width]`.
    pub dims: [usize; 4],
}

impl ImageTensor {
    pub fn new(tensor: CubeTensor) -> Self {
        let Dense { values, shape } = Dense::new(permute_nchw_to_nhwc(tensor));
        Self { values, dims: [shape[0], shape[3], shape[1], shape[2]] }
    }
}

/// Row-major values; those that are so already are not copied.
pub(super) struct Dense {
    pub values: Buffer,
    pub shape: Shape,
}

impl Dense {
    pub fn new(tensor: CubeTensor) -> Self {
        let tensor = into_contiguous(tensor);
        let shape = tensor.meta.shape().clone();
        let elem = dtype_to_elem_type(tensor.dtype);
        Self { values: Buffer { handle: tensor.handle, length: shape.num_elements(), elem }, shape }
    }
}

pub(super) fn conv_shape(x: &ImageTensor, weight: &Dense, window: Window) -> ConvShape {
    let shape = window.conv(x.dims, weight.shape[0]);
    assert_eq!(
        weight.shape,
        Shape::from(shape.weight_dims()),
        "the weight does not fit {} channels",
        shape.input
    );
    shape
}

pub(super) fn out_dims(shape: &ConvShape) -> [usize; 4] {
    [shape.batch, shape.output, shape.out_height(), shape.out_width()]
}

/// The vectors of batch norm.
struct Vectors {
    weight: Buffer,
    bias: Buffer,
    statistics: Statistics,
}

impl Vectors {
    fn new(vectors: NormVectors<CubeBackend>) -> Self {
        let NormVectors { weight, bias, mean, variance } = vectors;
        let [weight, bias, mean, variance] =
            [weight, bias, mean, variance].map(|vector| Dense::new(vector).values);
        Self { weight, bias, statistics: Statistics { mean, variance } }
    }

    fn affine(&self, epsilon: f64) -> Affine<'_> {
        Affine { weight: &self.weight, bias: &self.bias, epsilon: epsilon as f32 }
    }
}

fn batch_norm(
    x: CubeTensor,
    residual: Option<CubeTensor>,
    vectors: NormVectors<CubeBackend>,
    momentum: f64,
    norm: Norm,
) -> BatchNormed<CubeBackend> {
    let (place, dtype) = (Place::of(&x), x.dtype);
    let (x, residual) = (ImageTensor::new(x), residual.map(ImageTensor::new));
    let vectors = Vectors::new(vectors);
    let (statistics, next) = match norm.statistics {
        StatisticsOf::Batch => {
            let following = Following {
                running: &vectors.statistics,
                momentum: momentum as f32,
                unbiased: unbiased(x.dims) as f32,
            };
            Statistics::of(&place.client, &x.values, x.dims[1], following)
        }
        StatisticsOf::Past => (vectors.statistics.clone(), vectors.statistics.clone()),
    };
    let residual = residual.as_ref().map(|residual| &residual.values);
    let y = statistics.normalise(
        &place.client,
        &x.values,
        vectors.affine(norm.epsilon),
        residual,
        norm.activation,
    );
    let vector = |buffer| place.vector(buffer);
    BatchNormed {
        output: place.images(y, x.dims, dtype),
        mean: vector(statistics.mean),
        variance: vector(statistics.variance),
        next_mean: vector(next.mean),
        next_variance: vector(next.variance),
    }
}

/// The gradients of `x`, γ and β, and that of the residual if there is an output.
fn gradients(
    x: CubeTensor,
    dy: CubeTensor,
    vectors: NormVectors<CubeBackend>,
    output: Option<&Buffer>,
    norm: Norm,
) -> ([CubeTensor; 3], Option<CubeTensor>) {
    let (place, dtype) = (Place::of(&x), x.dtype);
    let (x, dy) = (ImageTensor::new(x), ImageTensor::new(dy));
    let vectors = Vectors::new(vectors);
    let through = Through { activation: norm.activation, output };
    let found = vectors.statistics.gradients(
        &place.client,
        &x.values,
        &dy.values,
        vectors.affine(norm.epsilon),
        norm.statistics,
        through,
    );
    let Gradients { x: dx, weight, bias, residual } = found;
    let residual = residual.map(|residual| place.images(residual, x.dims, dtype));
    ([place.images(dx, x.dims, dtype), place.vector(weight), place.vector(bias)], residual)
}

fn conv_input_gradient(
    dy: CubeTensor,
    weight: CubeTensor,
    packed: Tensors<CubeBackend>,
    size: [usize; 2],
    around: Option<&Buffer>,
    window: Window,
) -> CubeTensor {
    let place = Place::of(&dy);
    let (dy, weight) = (ImageTensor::new(dy), Dense::new(weight));
    let [batch, output, _, _] = dy.dims;
    let dims = [batch, weight.shape[1] * window.groups, size[0], size[1]];
    let shape = window.conv(dims, output);
    if shape.groups > 1 {
        return place.images(
            grouped::input_gradient(&place.client, &shape, &dy.values, &weight.values, around),
            dims,
            DType::F32,
        );
    }
    let packed =
        packed_values(&place.client, packed, &weight.values, &shape, true, Layout::fours());
    let packed = Packed::new(packed, &shape, true);
    place.images(
        input_gradient(&place.client, &shape, &dy.values, &packed, around),
        dims,
        DType::F32,
    )
}

fn folded_conv2d(
    x: CubeTensor,
    conv: CubeTensor,
    vectors: NormVectors<CubeBackend>,
    residual: Option<CubeTensor>,
    folded: Folded,
) -> CubeTensor {
    let place = Place::of(&x);
    let (x, conv, residual) =
        (ImageTensor::new(x), Dense::new(conv), residual.map(ImageTensor::new));
    let vectors = Vectors::new(vectors);
    let shape = conv_shape(&x, &conv, folded.window);
    let dims = out_dims(&shape);
    assert!(
        residual.as_ref().is_none_or(|residual| residual.dims == dims),
        "a residual must have the shape of what it is added to"
    );
    let (scale, bias) = vectors.statistics.fold(&place.client, vectors.affine(folded.epsilon));
    let residual = residual.as_ref().map(|residual| &residual.values);
    let epilogue = Epilogue { bias: Some(&bias), residual, activation: folded.activation };
    let y = match shape.groups {
        1 => {
            let packed = pack(&place.client, &shape, &conv.values, Some(&scale), false);
            convolve(&place.client, &shape, &x.values, &packed, epilogue)
        }
        _ => grouped::convolve(
            &place.client,
            &shape,
            &x.values,
            &conv.values,
            Some(&scale),
            epilogue,
        ),
    };
    place.images(y, dims, DType::F32)
}

/// The tensor, row-major and not shared; otherwise a copy.
fn own(tensor: CubeTensor) -> CubeTensor {
    let tensor = into_contiguous(tensor);
    if tensor.can_mut() { tensor } else { tensor.copy() }
}
