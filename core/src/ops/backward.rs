//! The operations under autodiff, with their backward passes.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Flex};

use super::extension::{Affine, ResidualOps, average_pool, batch_norm, conv2d, max_pool};
use super::fork::Fork;
use super::storage::{Dense, Images};
use crate::kernels::{self, BatchNormGradients, Buffer, ConvShape, Epilogue, PoolShape, Statistics};

impl<C: CheckpointStrategy> ResidualOps for Autodiff<Flex, C> {
    fn conv2d(x: FloatTensor<Self>, weight: FloatTensor<Self>, stride: usize, padding: usize, fork: Option<Fork>) -> FloatTensor<Self> {
        let ((x, of_x), (weight, of_weight)) = (x.into_parts(), weight.into_parts());
        let (x, weight) = (Images::new(x), Dense::new(weight));
        let (shape, y) = conv2d(&x, &weight, stride, padding);
        match ConvBackward.prepare::<C>([of_x, of_weight]).compute_bound().stateful() {
            OpsKind::Tracked(step) => step.finish(ConvState { x, weight, shape, fork }, y.tensor()),
            OpsKind::UnTracked(step) => step.finish(y.tensor()),
        }
    }

    fn batch_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f64,
        relu: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let ((x, of_x), (weight, of_weight), (bias, of_bias)) = (x.into_parts(), weight.into_parts(), bias.into_parts());
        let (x, affine) = (Images::new(x), Affine::new(weight, bias, epsilon));
        let (y, statistics) = batch_norm(&x, &affine, None, relu);
        let (mean, variance) = untracked(&statistics);
        let y = match BatchNormBackward.prepare::<C>([of_x, of_weight, of_bias]).compute_bound().stateful() {
            OpsKind::Tracked(step) => step.finish(BatchNormState { x, affine, statistics, relu }, y.tensor()),
            OpsKind::UnTracked(step) => step.finish(y.tensor()),
        };
        (y, Self::from_inner(mean), Self::from_inner(variance))
    }

    fn batch_norm_residual(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        epsilon: f64,
        relu: bool,
        fork: Option<Fork>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let ((x, of_x), (weight, of_weight), (bias, of_bias)) = (x.into_parts(), weight.into_parts(), bias.into_parts());
        let (residual, of_residual) = residual.into_parts();
        let (x, residual, affine) = (Images::new(x), Images::new(residual), Affine::new(weight, bias, epsilon));
        let (y, statistics) = batch_norm(&x, &affine, Some(&residual), relu);
        let (mean, variance) = untracked(&statistics);
        let y = match ResidualBackward.prepare::<C>([of_x, of_weight, of_bias, of_residual]).compute_bound().stateful() {
            OpsKind::Tracked(step) => {
                let output = relu.then(|| y.clone());
                let norm = BatchNormState { x, affine, statistics, relu };
                step.finish(ResidualState { norm, output, fork }, y.tensor())
            }
            OpsKind::UnTracked(step) => step.finish(y.tensor()),
        };
        (y, Self::from_inner(mean), Self::from_inner(variance))
    }

    fn max_pool(x: FloatTensor<Self>, kernel: usize, stride: usize, padding: usize) -> FloatTensor<Self> {
        let (x, of_x) = x.into_parts();
        let (shape, y, chosen) = max_pool(&Images::new(x), kernel, stride, padding);
        match MaxPoolBackward.prepare::<C>([of_x]).compute_bound().stateful() {
            OpsKind::Tracked(step) => step.finish(MaxPoolState { shape, chosen }, y.tensor()),
            OpsKind::UnTracked(step) => step.finish(y.tensor()),
        }
    }

    fn average_pool(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let (x, of_x) = x.into_parts();
        let x = Images::new(x);
        let (dims, y) = (x.dims(), average_pool(&x));
        match AveragePoolBackward.prepare::<C>([of_x]).compute_bound().stateful() {
            OpsKind::Tracked(step) => step.finish(dims, y.tensor()),
            OpsKind::UnTracked(step) => step.finish(y.tensor()),
        }
    }
}

fn untracked(statistics: &Statistics) -> (FloatTensor<Flex>, FloatTensor<Flex>) {
    (Dense::from_vec(statistics.mean.clone()).tensor(), Dense::from_vec(statistics.variance.clone()).tensor())
}

#[derive(Debug)]
struct ConvBackward;

#[derive(Clone, Debug)]
struct ConvState {
    x: Images,
    weight: Dense,
    shape: ConvShape,
    fork: Option<Fork>,
}

impl Backward<Flex, 2> for ConvBackward {
    type State = ConvState;

    fn backward(self, ops: Ops<ConvState, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let ConvState { x, weight, shape, fork } = ops.state;
        let dy = Images::new(grads.consume::<Flex>(&ops.node));
        let [of_x, of_weight] = ops.parents;
        if let Some(node) = of_weight {
            let mut dw = Buffer::take(shape.weight_len());
            kernels::conv_weight_gradient(&shape, x.values(), dy.values(), &mut dw);
            grads.register::<Flex>(node.id, Dense::from_buffer(dw, weight.shape()).tensor());
        }
        let around = fork.and_then(|fork| fork.take());
        if let Some(node) = of_x {
            let mut dx = Buffer::take(x.values().len());
            let epilogue = Epilogue { residual: around.as_ref().map(Images::values), ..Epilogue::default() };
            kernels::conv_input_gradient(&shape, dy.values(), weight.values(), epilogue, &mut dx);
            let dx = Images::from_buffer(dx, x.dims());
            grads.register::<Flex>(node.id, dx.tensor());
        }
    }
}

#[derive(Debug)]
struct BatchNormBackward;

#[derive(Clone, Debug)]
struct BatchNormState {
    x: Images,
    affine: Affine,
    statistics: Statistics,
    relu: bool,
}

impl Backward<Flex, 3> for BatchNormBackward {
    type State = BatchNormState;

    fn backward(self, ops: Ops<BatchNormState, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let BatchNormState { x, affine, statistics, relu } = ops.state;
        let mut gradient = Images::new(grads.consume::<Flex>(&ops.node));
        let norm = affine.with(&statistics.mean, &statistics.variance);
        let BatchNormGradients { weight, bias } = norm.backward(x.values(), relu, gradient.values_mut());
        let [of_x, of_weight, of_bias] = ops.parents;
        if let Some(node) = of_weight {
            grads.register::<Flex>(node.id, Dense::from_vec(weight).tensor());
        }
        if let Some(node) = of_bias {
            grads.register::<Flex>(node.id, Dense::from_vec(bias).tensor());
        }
        if let Some(node) = of_x {
            grads.register::<Flex>(node.id, gradient.tensor());
        }
    }
}

#[derive(Debug)]
struct ResidualBackward;

#[derive(Clone, Debug)]
struct ResidualState {
    norm: BatchNormState,
    /// The output, if it went through ReLU.
    output: Option<Images>,
    fork: Option<Fork>,
}

impl Backward<Flex, 4> for ResidualBackward {
    type State = ResidualState;

    fn backward(self, ops: Ops<ResidualState, 4>, grads: &mut Gradients, _: &mut Checkpointer) {
        let ResidualState { norm: BatchNormState { x, affine, statistics, .. }, output, fork } = ops.state;
        let mut gradient = Images::new(grads.consume::<Flex>(&ops.node));
        let mut dx = Buffer::take(x.values().len());
        let norm = affine.with(&statistics.mean, &statistics.variance);
        let output = output.as_ref().map(Images::values);
        let BatchNormGradients { weight, bias } = norm.backward_residual(x.values(), output, gradient.values_mut(), &mut dx);
        let [of_x, of_weight, of_bias, of_residual] = ops.parents;
        if let Some(node) = of_weight {
            grads.register::<Flex>(node.id, Dense::from_vec(weight).tensor());
        }
        if let Some(node) = of_bias {
            grads.register::<Flex>(node.id, Dense::from_vec(bias).tensor());
        }
        if let Some(node) = of_x {
            grads.register::<Flex>(node.id, Images::from_buffer(dx, x.dims()).tensor());
        }
        match (fork, of_residual) {
            (Some(fork), Some(_)) => fork.leave(gradient),
            (None, Some(node)) => grads.register::<Flex>(node.id, gradient.tensor()),
            (_, None) => {}
        }
    }
}

#[derive(Debug)]
struct MaxPoolBackward;

#[derive(Clone, Debug)]
struct MaxPoolState {
    shape: PoolShape,
    chosen: Vec<u8>,
}

impl Backward<Flex, 1> for MaxPoolBackward {
    type State = MaxPoolState;

    fn backward(self, ops: Ops<MaxPoolState, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let MaxPoolState { shape, chosen } = ops.state;
        let dy = Images::new(grads.consume::<Flex>(&ops.node));
        let [of_x] = ops.parents;
        if let Some(node) = of_x {
            let dims = [shape.batch, shape.channels, shape.height, shape.width];
            let mut dx = Buffer::take(dims.iter().product());
            kernels::max_pool_gradient(&shape, dy.values(), &chosen, &mut dx);
            grads.register::<Flex>(node.id, Images::from_buffer(dx, dims).tensor());
        }
    }
}

#[derive(Debug)]
struct AveragePoolBackward;

impl Backward<Flex, 1> for AveragePoolBackward {
    /// `[batch, channels, height, width]` of the input.
    type State = [usize; 4];

    fn backward(self, ops: Ops<[usize; 4], 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dims @ [_, channels, height, width] = ops.state;
        let dy = Dense::new(grads.consume::<Flex>(&ops.node));
        let [of_x] = ops.parents;
        if let Some(node) = of_x {
            let mut dx = Buffer::take(dims.iter().product());
            kernels::average_pool_gradient(dy.values(), height * width, channels, &mut dx);
            grads.register::<Flex>(node.id, Images::from_buffer(dx, dims).tensor());
        }
    }
}
