//! The operations as an extension of burn's backends, and what they compute on the CPU backend.

use burn::backend::backend_extension;
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Flex};

use super::fork::Fork;
use super::storage::{Dense, Images};
use crate::kernels::{self, Buffer, ConvShape, Epilogue, Normalisation, PoolShape, Statistics};

/// Operations of residual networks. Images are `[batch, channels, height, width]` with any strides; results lie channels last in memory.
#[backend_extension(Flex, Autodiff)]
pub(super) trait ResidualOps: Backend {
    /// A convolution without bias; `weight` is `[out, in, k, k]`. In the backward pass, a gradient left in `fork` is added to the input's.
    fn conv2d(x: FloatTensor<Self>, weight: FloatTensor<Self>, stride: usize, padding: usize, fork: Option<Fork>) -> FloatTensor<Self>;

    /// Batch norm in training, with ReLU if `relu`. Gives the output and, without gradient, the batch's means and biased variances.
    fn batch_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f64,
        relu: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// As `batch_norm`, with `residual` added before ReLU. The residual's gradient is left in `fork` if there is one.
    fn batch_norm_residual(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        epsilon: f64,
        relu: bool,
        fork: Option<Fork>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// The largest value of each window.
    fn max_pool(x: FloatTensor<Self>, kernel: usize, stride: usize, padding: usize) -> FloatTensor<Self>;

    /// The mean of every channel of every image, `[batch, channels]`.
    fn average_pool(x: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl ResidualOps for Flex {
    fn conv2d(x: FlexTensor, weight: FlexTensor, stride: usize, padding: usize, _fork: Option<Fork>) -> FlexTensor {
        conv2d(&Images::new(x), &Dense::new(weight), stride, padding).1.tensor()
    }

    fn batch_norm(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, epsilon: f64, relu: bool) -> (FlexTensor, FlexTensor, FlexTensor) {
        let (y, statistics) = batch_norm(&Images::new(x), &Affine::new(weight, bias, epsilon), None, relu);
        (y.tensor(), Dense::from_vec(statistics.mean).tensor(), Dense::from_vec(statistics.variance).tensor())
    }

    fn batch_norm_residual(
        x: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        residual: FlexTensor,
        epsilon: f64,
        relu: bool,
        _fork: Option<Fork>,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let residual = Images::new(residual);
        let (y, statistics) = batch_norm(&Images::new(x), &Affine::new(weight, bias, epsilon), Some(&residual), relu);
        (y.tensor(), Dense::from_vec(statistics.mean).tensor(), Dense::from_vec(statistics.variance).tensor())
    }

    fn max_pool(x: FlexTensor, kernel: usize, stride: usize, padding: usize) -> FlexTensor {
        max_pool(&Images::new(x), kernel, stride, padding).1.tensor()
    }

    fn average_pool(x: FlexTensor) -> FlexTensor {
        average_pool(&Images::new(x)).tensor()
    }
}

/// The shape of a convolution, and its output.
pub(super) fn conv2d(x: &Images, weight: &Dense, stride: usize, padding: usize) -> (ConvShape, Images) {
    let shape = conv_shape(x, weight, stride, padding);
    let mut y = Buffer::take(shape.output_len());
    kernels::conv_forward(&shape, x.values(), weight.values(), Epilogue::default(), &mut y);
    (shape, Images::from_buffer(y, [shape.batch, shape.output, shape.out_height(), shape.out_width()]))
}

pub(super) fn conv_shape(x: &Images, weight: &Dense, stride: usize, padding: usize) -> ConvShape {
    let [batch, input, height, width] = x.dims();
    let of_weight = weight.shape();
    let (output, kernel) = (of_weight[0], of_weight[3]);
    assert_eq!([input, kernel], [of_weight[1], of_weight[2]], "a weight of shape {of_weight:?} does not fit {input} channels");
    assert!(kernel <= height.min(width) + 2 * padding, "a kernel of side {kernel} does not fit an image of {height}×{width}");
    ConvShape { batch, height, width, input, output, kernel, stride, padding }
}

/// The parameters of batch norm.
#[derive(Clone, Debug)]
pub(super) struct Affine {
    weight: Dense,
    bias: Dense,
    epsilon: f64,
}

impl Affine {
    pub fn new(weight: FlexTensor, bias: FlexTensor, epsilon: f64) -> Self {
        Self { weight: Dense::new(weight), bias: Dense::new(bias), epsilon }
    }

    pub fn with<'a>(&'a self, mean: &'a [f32], variance: &'a [f32]) -> Normalisation<'a> {
        Normalisation { mean, variance, weight: self.weight.values(), bias: self.bias.values(), epsilon: self.epsilon }
    }
}

pub(super) fn batch_norm(x: &Images, affine: &Affine, residual: Option<&Images>, relu: bool) -> (Images, Statistics) {
    let dims = x.dims();
    assert!(residual.is_none_or(|residual| residual.dims() == dims), "a residual must have the shape of what it is added to");
    let statistics = Statistics::of(x.values(), dims[1]);
    let mut y = Buffer::take(x.values().len());
    affine.with(&statistics.mean, &statistics.variance).forward(x.values(), residual.map(Images::values), relu, &mut y);
    (Images::from_buffer(y, dims), statistics)
}

/// The shape of the pooling, its output, and the chosen position of every window.
pub(super) fn max_pool(x: &Images, kernel: usize, stride: usize, padding: usize) -> (PoolShape, Images, Vec<u8>) {
    let [batch, channels, height, width] = x.dims();
    assert!(kernel <= 16 && padding < kernel && kernel <= height.min(width) + 2 * padding, "no window of side {kernel} fits");
    let shape = PoolShape { batch, height, width, channels, kernel, stride, padding };
    let dims = [batch, channels, shape.out_height(), shape.out_width()];
    let mut y = Buffer::take(dims.iter().product());
    let mut chosen = vec![0; y.len()];
    kernels::max_pool(&shape, x.values(), &mut y, &mut chosen);
    (shape, Images::from_buffer(y, dims), chosen)
}

pub(super) fn average_pool(x: &Images) -> Dense {
    let [batch, channels, height, width] = x.dims();
    let mut y = Buffer::take(batch * channels);
    kernels::average_pool(x.values(), height * width, channels, &mut y);
    Dense::from_buffer(y, [batch, channels])
}
