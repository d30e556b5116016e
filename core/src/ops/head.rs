//! What follows the features, on GPUs: the classifier and its loss. The CPU uses burn's operations
//! there.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{
    Autodiff, AutodiffBackend, Backend, Dispatch, TensorMetadata, backend_extension,
};
use burn::tensor::{Int, Shape, Tensor};

/// What the labels of a batch say: the share `lambda` of every sample belongs to its first label,
/// the rest to its second, and `smoothing` is taken from both and spread over all classes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Shares {
    pub lambda: f64,
    pub smoothing: f64,
}

/// What gradients flow through.
#[backend_extension(Autodiff, Cube)]
pub(super) trait HeadOps: Backend {
    /// `[batch, features]` times the transpose of `weight`, `[classes, features]`, plus `bias`,
    /// `[classes]`.
    fn linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    /// The mean loss of `logits`, `[batch, classes]`, with labels `[batch]` of int32; its gradient
    /// with respect to the logits; and the number of samples whose largest logit is the first
    /// label's. Loss and number have the shape `[1]`; only the loss has a gradient.
    fn cross_entropy(
        logits: FloatTensor<Self>,
        first: IntTensor<Self>,
        second: IntTensor<Self>,
        shares: Shares,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

/// Their gradients.
#[backend_extension(Cube)]
pub(super) trait HeadGradients: Backend {
    /// The gradient of the input of `linear`.
    fn linear_input_gradient(dy: FloatTensor<Self>, weight: FloatTensor<Self>)
    -> FloatTensor<Self>;

    /// The gradient of the weight of `linear`.
    fn linear_weight_gradient(x: FloatTensor<Self>, dy: FloatTensor<Self>) -> FloatTensor<Self>;

    /// The gradient of the bias of `linear`: the sums of the columns.
    fn column_sums(dy: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// See [`HeadOps::linear`]. For tensors on a GPU.
pub(crate) fn linear(x: Tensor<2>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::linear(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
    ))
}

/// The sum of all values, `[1]`. It is added in the same order every time, where a GPU's usual sum
/// leaves that to chance. For tensors on a GPU, without autodiff.
pub(crate) fn ordered_sum<const D: usize>(values: Tensor<D>) -> Tensor<1> {
    let (rows, count) = (values.dims()[0].max(1), values.shape().num_elements());
    let of_columns = |values: Tensor<2>| {
        Tensor::<1>::from_dispatch(Dispatch::column_sums(values.into_dispatch()))
    };
    let columns = count / rows;
    let sums = of_columns(values.reshape([rows, columns]));
    of_columns(sums.reshape([columns, 1]))
}

/// The mean loss, `[1]`, and the number of hits, `[1]`, without gradient; see
/// [`HeadOps::cross_entropy`]. For tensors on a GPU.
pub(crate) fn cross_entropy(
    logits: Tensor<2>,
    first: Tensor<1, Int>,
    second: Tensor<1, Int>,
    shares: Shares,
) -> (Tensor<1>, Tensor<1>) {
    let (loss, _, hits) = Dispatch::cross_entropy(
        logits.into_dispatch(),
        first.into_dispatch(),
        second.into_dispatch(),
        shares,
    );
    (Tensor::from_dispatch(loss), Tensor::from_dispatch(hits).inner())
}

impl<B: HeadOps + HeadGradients, C: CheckpointStrategy> HeadOps for Autodiff<B, C> {
    fn linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let ((x, of_x), (weight, of_weight), (bias, of_bias)) =
            (x.into_parts(), weight.into_parts(), bias.into_parts());
        let y = <B as HeadOps>::linear(x.clone(), weight.clone(), bias);
        match LinearBackward.prepare::<C>([of_x, of_weight, of_bias]).compute_bound().stateful() {
            OpsKind::Tracked(step) => step.finish((x, weight), y),
            OpsKind::UnTracked(step) => step.finish(y),
        }
    }

    fn cross_entropy(
        logits: FloatTensor<Self>,
        first: IntTensor<Self>,
        second: IntTensor<Self>,
        shares: Shares,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let (logits, of_logits) = logits.into_parts();
        let (loss, gradient, hits) = B::cross_entropy(logits, first, second, shares);
        let loss = match EntropyBackward.prepare::<C>([of_logits]).compute_bound().stateful() {
            OpsKind::Tracked(step) => step.finish(gradient.clone(), loss),
            OpsKind::UnTracked(step) => step.finish(loss),
        };
        (loss, Self::from_inner(gradient), Self::from_inner(hits))
    }
}

#[derive(Debug)]
struct LinearBackward;

impl<B: HeadGradients> Backward<B, 3> for LinearBackward {
    /// Input and weight.
    type State = (FloatTensor<B>, FloatTensor<B>);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (x, weight) = ops.state;
        let dy = grads.consume::<B>(&ops.node);
        let [of_x, of_weight, of_bias] = ops.parents;
        if let Some(node) = of_bias {
            grads.register::<B>(node.id, B::column_sums(dy.clone()));
        }
        if let Some(node) = of_weight {
            grads.register::<B>(node.id, B::linear_weight_gradient(x, dy.clone()));
        }
        if let Some(node) = of_x {
            grads.register::<B>(node.id, B::linear_input_gradient(dy, weight));
        }
    }
}

#[derive(Debug)]
struct EntropyBackward;

impl<B: Backend> Backward<B, 1> for EntropyBackward {
    /// The gradient of the loss.
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = ops.state;
        let dy = grads.consume::<B>(&ops.node);
        let [of_logits] = ops.parents;
        if let Some(node) = of_logits {
            let dy = B::float_reshape(dy, Shape::from([1, 1]));
            debug_assert_eq!(gradient.shape().num_dims(), 2);
            grads.register::<B>(node.id, B::float_mul(gradient, dy));
        }
    }
}
