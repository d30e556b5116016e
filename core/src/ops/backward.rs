//! The operations under autodiff, with their backward passes.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, AutodiffBackend, Backend, TensorMetadata};
use burn::tensor::DType;

use super::extension::{
    BatchNormed, Norm, NormVectors, Pool, ResidualGradients, ResidualOps, Window,
};
use super::fork::Fork;
use super::tensors::Tensors;
use crate::kernels::Activation;
use crate::words::Precision;

impl<B: ResidualOps + ResidualGradients, C: CheckpointStrategy> ResidualOps for Autodiff<B, C> {
    fn conv2d(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        packed: Tensors<Self>,
        window: Window,
        precision: Precision,
        fork: Option<Fork>,
    ) -> FloatTensor<Self> {
        let ((x, of_x), (weight, of_weight)) = (x.into_parts(), weight.into_parts());
        let packed = Tensors(packed.0.into_iter().map(Self::inner).collect());
        let y = <B as ResidualOps>::conv2d(
            x.clone(),
            weight.clone(),
            packed.clone(),
            window,
            precision,
            None,
        );
        match ConvBackward.prepare::<C>([of_x, of_weight]).compute_bound().stateful() {
            OpsKind::Tracked(step) => {
                step.finish(ConvState { x, weight, packed, window, precision, fork }, y)
            }
            OpsKind::UnTracked(step) => step.finish(y),
        }
    }

    fn batch_norm(
        x: FloatTensor<Self>,
        vectors: NormVectors<Self>,
        momentum: f64,
        norm: Norm,
    ) -> BatchNormed<Self> {
        let ((x, of_x), plain) = (x.into_parts(), vectors.plain());
        let ((_, of_weight), (_, of_bias)) =
            (vectors.weight.into_parts(), vectors.bias.into_parts());
        let found = <B as ResidualOps>::batch_norm(x.clone(), plain.clone(), momentum, norm);
        let state = BatchNormState { x, vectors: found.vectors_of_batch(plain), norm };
        found.tracked(|y| {
            match BatchNormBackward
                .prepare::<C>([of_x, of_weight, of_bias])
                .compute_bound()
                .stateful()
            {
                OpsKind::Tracked(step) => step.finish(state, y),
                OpsKind::UnTracked(step) => step.finish(y),
            }
        })
    }

    fn batch_norm_residual(
        x: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        vectors: NormVectors<Self>,
        momentum: f64,
        norm: Norm,
        fork: Option<Fork>,
    ) -> BatchNormed<Self> {
        let ((x, of_x), plain) = (x.into_parts(), vectors.plain());
        let ((_, of_weight), (_, of_bias)) =
            (vectors.weight.into_parts(), vectors.bias.into_parts());
        let (residual, of_residual) = residual.into_parts();
        let found = <B as ResidualOps>::batch_norm_residual(
            x.clone(),
            residual,
            plain.clone(),
            momentum,
            norm,
            None,
        );
        let state = BatchNormState { x, vectors: found.vectors_of_batch(plain), norm };
        found.tracked(|y| {
            match ResidualBackward
                .prepare::<C>([of_x, of_weight, of_bias, of_residual])
                .compute_bound()
                .stateful()
            {
                OpsKind::Tracked(step) => {
                    let output = (norm.activation != Activation::None).then(|| y.clone());
                    step.finish(ResidualState { norm: state, output, fork }, y)
                }
                OpsKind::UnTracked(step) => step.finish(y),
            }
        })
    }

    fn max_pool(x: FloatTensor<Self>, pool: Pool) -> (FloatTensor<Self>, IntTensor<Self>) {
        let (x, of_x) = x.into_parts();
        let size = size(&x);
        let (y, chosen) = B::max_pool(x, pool);
        let y = match MaxPoolBackward.prepare::<C>([of_x]).compute_bound().stateful() {
            OpsKind::Tracked(step) => {
                step.finish(MaxPoolState { chosen: chosen.clone(), size, pool }, y)
            }
            OpsKind::UnTracked(step) => step.finish(y),
        };
        (y, chosen)
    }

    fn average_pool(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let (x, of_x) = x.into_parts();
        let state = (size(&x), x.dtype());
        let y = B::average_pool(x);
        match AveragePoolBackward.prepare::<C>([of_x]).compute_bound().stateful() {
            OpsKind::Tracked(step) => step.finish(state, y),
            OpsKind::UnTracked(step) => step.finish(y),
        }
    }
}

impl<B: Backend, C: CheckpointStrategy> NormVectors<Autodiff<B, C>> {
    /// The same without autodiff.
    fn plain(&self) -> NormVectors<B> {
        let [weight, bias, mean, variance] = [&self.weight, &self.bias, &self.mean, &self.variance]
            .map(|vector| Autodiff::<B, C>::inner(vector.clone()));
        NormVectors { weight, bias, mean, variance }
    }
}

impl<B: Backend> BatchNormed<B> {
    /// γ and β of these vectors with the batch's statistics.
    fn vectors_of_batch(&self, vectors: NormVectors<B>) -> NormVectors<B> {
        NormVectors { mean: self.mean.clone(), variance: self.variance.clone(), ..vectors }
    }

    /// The same under autodiff, with what `track` makes of the output.
    fn tracked<C: CheckpointStrategy>(
        self,
        track: impl FnOnce(FloatTensor<B>) -> FloatTensor<Autodiff<B, C>>,
    ) -> BatchNormed<Autodiff<B, C>> {
        let Self { output, mean, variance, next_mean, next_variance } = self;
        let [mean, variance, next_mean, next_variance] =
            [mean, variance, next_mean, next_variance].map(Autodiff::<B, C>::from_inner);
        BatchNormed { output: track(output), mean, variance, next_mean, next_variance }
    }
}

/// Rows and columns of images.
fn size(images: &impl TensorMetadata) -> [usize; 2] {
    let shape = images.shape();
    [shape[2], shape[3]]
}

#[derive(Debug)]
struct ConvBackward;

#[derive(Clone, Debug)]
struct ConvState<B: Backend> {
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    packed: Tensors<B>,
    window: Window,
    precision: Precision,
    fork: Option<Fork>,
}

impl<B: ResidualGradients> Backward<B, 2> for ConvBackward {
    type State = ConvState<B>;

    fn backward(self, ops: Ops<ConvState<B>, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let ConvState { x, weight, packed, window, precision, fork } = ops.state;
        let dy = grads.consume::<B>(&ops.node);
        let [of_x, of_weight] = ops.parents;
        let size = size(&x);
        if let Some(node) = of_weight {
            grads.register::<B>(
                node.id,
                B::conv2d_weight_gradient(x, dy.clone(), window, precision),
            );
        }
        let other = fork.as_ref().and_then(Fork::take::<B>);
        let Some(node) = of_x else { return };
        match (other, fork) {
            (Some(other), _) => grads.register::<B>(
                node.id,
                B::conv2d_input_gradient_and(dy, weight, packed, other, window, precision),
            ),
            (None, Some(fork)) if fork.awaits_another() => {
                fork.leave::<B>(B::conv2d_input_gradient(
                    dy, weight, packed, size, window, precision,
                ));
            }
            (None, _) => grads.register::<B>(
                node.id,
                B::conv2d_input_gradient(dy, weight, packed, size, window, precision),
            ),
        }
    }
}

#[derive(Debug)]
struct BatchNormBackward;

#[derive(Clone, Debug)]
struct BatchNormState<B: Backend> {
    x: FloatTensor<B>,
    /// With the statistics that it normalised with.
    vectors: NormVectors<B>,
    norm: Norm,
}

impl<B: ResidualGradients> Backward<B, 3> for BatchNormBackward {
    type State = BatchNormState<B>;

    fn backward(self, ops: Ops<BatchNormState<B>, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let BatchNormState { x, vectors, norm } = ops.state;
        let dy = grads.consume::<B>(&ops.node);
        let (dx, dweight, dbias) = B::batch_norm_gradient(x, dy, vectors, norm);
        for (node, gradient) in ops.parents.into_iter().zip([dx, dweight, dbias]) {
            if let Some(node) = node {
                grads.register::<B>(node.id, gradient);
            }
        }
    }
}

#[derive(Debug)]
struct ResidualBackward;

#[derive(Clone, Debug)]
struct ResidualState<B: Backend> {
    norm: BatchNormState<B>,
    /// The output, if it went through an activation.
    output: Option<FloatTensor<B>>,
    fork: Option<Fork>,
}

impl<B: ResidualGradients> Backward<B, 4> for ResidualBackward {
    type State = ResidualState<B>;

    fn backward(self, ops: Ops<ResidualState<B>, 4>, grads: &mut Gradients, _: &mut Checkpointer) {
        let ResidualState { norm: BatchNormState { x, vectors, norm }, output, fork } = ops.state;
        let dy = grads.consume::<B>(&ops.node);
        let (dx, dweight, dbias, dresidual) = match output {
            Some(y) => B::batch_norm_residual_gradient(x, dy, y, vectors, norm),
            None => {
                let (dx, dweight, dbias) = B::batch_norm_gradient(x, dy.clone(), vectors, norm);
                (dx, dweight, dbias, dy)
            }
        };
        let [of_x, of_weight, of_bias, of_residual] = ops.parents;
        for (node, gradient) in [(of_x, dx), (of_weight, dweight), (of_bias, dbias)] {
            if let Some(node) = node {
                grads.register::<B>(node.id, gradient);
            }
        }
        match (fork, of_residual) {
            (Some(fork), Some(_)) => fork.leave::<B>(dresidual),
            (None, Some(node)) => grads.register::<B>(node.id, dresidual),
            (_, None) => {}
        }
    }
}

#[derive(Debug)]
struct MaxPoolBackward;

#[derive(Clone, Debug)]
struct MaxPoolState<B: Backend> {
    chosen: IntTensor<B>,
    size: [usize; 2],
    pool: Pool,
}

impl<B: ResidualGradients> Backward<B, 1> for MaxPoolBackward {
    type State = MaxPoolState<B>;

    fn backward(self, ops: Ops<MaxPoolState<B>, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let MaxPoolState { chosen, size, pool } = ops.state;
        let dy = grads.consume::<B>(&ops.node);
        let [of_x] = ops.parents;
        if let Some(node) = of_x {
            grads.register::<B>(node.id, B::max_pool_gradient(dy, chosen, size, pool));
        }
    }
}

#[derive(Debug)]
struct AveragePoolBackward;

impl<B: ResidualGradients> Backward<B, 1> for AveragePoolBackward {
    /// Rows and columns of the input, and the sort of its values.
    type State = ([usize; 2], DType);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (size, dtype) = ops.state;
        let dy = grads.consume::<B>(&ops.node);
        let [of_x] = ops.parents;
        if let Some(node) = of_x {
            grads.register::<B>(node.id, B::average_pool_gradient(dy, size, dtype));
        }
    }
}
