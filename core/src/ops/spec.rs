//! What the operations give, for burn's fusion, which calls them later.

use burn::backend::fusion::custom::TensorSpec;
use burn::tensor::{DType, Shape};

use super::extension::{BatchNormedMetadata, Norm, Rates, Window};
use super::fork::Fork;
use super::head::Shares;
use crate::settings::Precision;

fn shaped<const D: usize>(like: &TensorSpec, shape: [usize; D]) -> TensorSpec {
    TensorSpec::new(Shape::from(shape), like.dtype)
}

/// `[batch, channels, height, width]` of what a window sees.
fn windows(x: &TensorSpec, channels: usize, window: &Window) -> [usize; 4] {
    let out = |side: usize| window.out(side);
    [x.shape[0], channels, out(x.shape[2]), out(x.shape[3])]
}

pub fn conv2d(x: &TensorSpec, weight: &TensorSpec, window: &Window, _precision: &Precision, _fork: &Option<Fork>) -> TensorSpec {
    shaped(x, windows(x, weight.shape[0], window))
}

type Three = (TensorSpec, TensorSpec, TensorSpec);

fn normalised(x: &TensorSpec, channel: &TensorSpec) -> BatchNormedMetadata {
    let vector = || channel.clone();
    BatchNormedMetadata { output: x.clone(), mean: vector(), variance: vector(), next_mean: vector(), next_variance: vector() }
}

pub fn batch_norm(
    x: &TensorSpec,
    weight: &TensorSpec,
    _bias: &TensorSpec,
    _running_mean: &TensorSpec,
    _running_variance: &TensorSpec,
    _share: &f64,
    _norm: &Norm,
) -> BatchNormedMetadata {
    normalised(x, weight)
}

#[expect(clippy::too_many_arguments, reason = "they are the operation's")]
pub fn batch_norm_residual(
    x: &TensorSpec,
    weight: &TensorSpec,
    _bias: &TensorSpec,
    _running_mean: &TensorSpec,
    _running_variance: &TensorSpec,
    _share: &f64,
    _residual: &TensorSpec,
    _norm: &Norm,
    _fork: &Option<Fork>,
) -> BatchNormedMetadata {
    normalised(x, weight)
}

pub fn max_pool(x: &TensorSpec, window: &Window) -> (TensorSpec, TensorSpec) {
    let shape = Shape::from(windows(x, x.shape[1], window));
    (TensorSpec::new(shape.clone(), x.dtype), TensorSpec::new(shape, DType::U32))
}

pub fn average_pool(x: &TensorSpec) -> TensorSpec {
    TensorSpec::new(Shape::from([x.shape[0], x.shape[1]]), DType::F32)
}

pub fn conv2d_input_gradient(
    dy: &TensorSpec,
    weight: &TensorSpec,
    size: &[usize; 2],
    _window: &Window,
    _precision: &Precision,
) -> TensorSpec {
    shaped(dy, [dy.shape[0], weight.shape[1], size[0], size[1]])
}

pub fn conv2d_input_gradient_and(
    _dy: &TensorSpec,
    _weight: &TensorSpec,
    around: &TensorSpec,
    _window: &Window,
    _precision: &Precision,
) -> TensorSpec {
    around.clone()
}

pub fn conv2d_weight_gradient(x: &TensorSpec, dy: &TensorSpec, window: &Window, _precision: &Precision) -> TensorSpec {
    TensorSpec::new(Shape::from([dy.shape[1], x.shape[1], window.kernel, window.kernel]), DType::F32)
}

pub fn batch_norm_gradient(
    x: &TensorSpec,
    _dy: &TensorSpec,
    _mean: &TensorSpec,
    _variance: &TensorSpec,
    weight: &TensorSpec,
    bias: &TensorSpec,
    _norm: &Norm,
) -> Three {
    (x.clone(), weight.clone(), bias.clone())
}

#[expect(clippy::too_many_arguments, reason = "they are the operation's")]
pub fn batch_norm_relu_gradient(
    x: &TensorSpec,
    _dy: &TensorSpec,
    y: &TensorSpec,
    _mean: &TensorSpec,
    _variance: &TensorSpec,
    weight: &TensorSpec,
    bias: &TensorSpec,
    _norm: &Norm,
) -> (TensorSpec, TensorSpec, TensorSpec, TensorSpec) {
    (x.clone(), weight.clone(), bias.clone(), y.clone())
}

pub fn max_pool_gradient(dy: &TensorSpec, _chosen: &TensorSpec, size: &[usize; 2], _window: &Window) -> TensorSpec {
    average_pool_gradient(dy, size, &dy.dtype)
}

pub fn average_pool_gradient(dy: &TensorSpec, size: &[usize; 2], dtype: &DType) -> TensorSpec {
    TensorSpec::new(Shape::from([dy.shape[0], dy.shape[1], size[0], size[1]]), *dtype)
}

#[expect(clippy::too_many_arguments, reason = "they are the operation's")]
pub fn folded_conv2d(
    x: &TensorSpec,
    conv: &TensorSpec,
    _weight: &TensorSpec,
    _bias: &TensorSpec,
    _mean: &TensorSpec,
    _variance: &TensorSpec,
    window: &Window,
    _norm: &Norm,
) -> TensorSpec {
    shaped(x, windows(x, conv.shape[0], window))
}

#[expect(clippy::too_many_arguments, reason = "they are the operation's")]
pub fn folded_conv2d_residual(
    _x: &TensorSpec,
    _conv: &TensorSpec,
    _weight: &TensorSpec,
    _bias: &TensorSpec,
    _mean: &TensorSpec,
    _variance: &TensorSpec,
    residual: &TensorSpec,
    _window: &Window,
    _norm: &Norm,
) -> TensorSpec {
    residual.clone()
}

type Specs = Vec<TensorSpec>;

pub fn sgd(weights: &Specs, _gradients: &Specs, _velocities: &Specs, _rates: &Rates) -> (Specs, Specs) {
    (weights.clone(), weights.clone())
}

pub fn linear(x: &TensorSpec, weight: &TensorSpec, _bias: &TensorSpec) -> TensorSpec {
    shaped(x, [x.shape[0], weight.shape[0]])
}

pub fn cross_entropy(logits: &TensorSpec, _first: &TensorSpec, _second: &TensorSpec, _shares: &Shares) -> Three {
    (shaped(logits, [1]), logits.clone(), shaped(logits, [1]))
}

pub fn linear_input_gradient(dy: &TensorSpec, weight: &TensorSpec) -> TensorSpec {
    shaped(dy, [dy.shape[0], weight.shape[1]])
}

pub fn linear_weight_gradient(x: &TensorSpec, dy: &TensorSpec) -> TensorSpec {
    shaped(x, [dy.shape[1], x.shape[1]])
}

pub fn column_sums(dy: &TensorSpec) -> TensorSpec {
    shaped(dy, [dy.shape[1]])
}
