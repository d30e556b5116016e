//! The operations as extensions of burn's backends. What they compute is in `cpu` and `gpu`, their
//! gradients are put together in `backward`.
//!
//! Images are `[batch, channels, height, width]` with any strides; results lie channels last in
//! memory. On GPUs images can be of half precision, and then so are the gradients of images; all
//! else is float32.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, ExtensionType, backend_extension};
use burn::tensor::DType;

use super::fork::Fork;
use super::tensors::Tensors;
use crate::kernels::{Activation, ConvShape, PoolShape, StatisticsOf, Zeros};
use crate::words::Precision;

/// Where the square kernel of a convolution is applied, and to what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// Its side.
    pub kernel: usize,
    /// Pixels between the places where it is applied.
    pub stride: usize,
    /// Zeros around the input.
    pub padding: Zeros,
    /// Groups that channels are divided into.
    pub groups: usize,
}

impl Window {
    /// The convolution of images `[batch, channels, height, width]` to this many channels.
    pub fn conv(self, [batch, input, height, width]: [usize; 4], output: usize) -> ConvShape {
        let Self { kernel, stride, padding, groups } = self;
        let shape =
            ConvShape { batch, height, width, input, output, kernel, stride, padding, groups };
        shape.check();
        shape
    }
}

/// Where a square window of pooling is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pool {
    /// Its side.
    pub kernel: usize,
    /// Pixels between two of them.
    pub stride: usize,
    /// Pixels around the input.
    pub padding: usize,
}

impl Pool {
    /// Pooling of images `[batch, channels, height, width]`.
    pub fn shape(self, [batch, channels, height, width]: [usize; 4]) -> PoolShape {
        let Self { kernel, stride, padding } = self;
        assert!(
            kernel <= 16 && padding < kernel && kernel <= height.min(width) + 2 * padding,
            "no window of side {kernel} fits"
        );
        PoolShape { batch, height, width, channels, kernel, stride, padding }
    }
}

/// Batch norm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Norm {
    /// ε.
    pub epsilon: f64,
    /// What follows.
    pub activation: Activation,
    /// Which statistics it normalises with: the batch's, which move the running ones, or the
    /// running ones, which stay.
    pub statistics: StatisticsOf,
}

/// A convolution that the batch norm after it is folded into, and what follows both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Folded {
    pub window: Window,
    /// ε.
    pub epsilon: f64,
    /// Applied last.
    pub activation: Activation,
}

/// Learning rate, momentum and weight decay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rates {
    pub learning_rate: f64,
    pub momentum: f64,
    pub weight_decay: f64,
}

/// The vectors of batch norm, `[channels]` each.
#[derive(ExtensionType, Clone, Debug)]
pub(super) struct NormVectors<B: Backend> {
    /// γ.
    pub weight: FloatTensor<B>,
    /// β.
    pub bias: FloatTensor<B>,
    /// Means: the running ones, or those of the batch where its gradients are asked for.
    pub mean: FloatTensor<B>,
    /// Biased variances of the same sort; the running ones follow the unbiased ones.
    pub variance: FloatTensor<B>,
}

/// What batch norm gives in training; vectors are `[channels]`. Where it normalised with the
/// running statistics, they are these and stay so.
#[derive(ExtensionType)]
pub(super) struct BatchNormed<B: Backend> {
    /// `[batch, channels, height, width]`.
    pub output: FloatTensor<B>,
    /// The batch's means.
    pub mean: FloatTensor<B>,
    /// The batch's variances, the biased ones.
    pub variance: FloatTensor<B>,
    /// The next running means.
    pub next_mean: FloatTensor<B>,
    /// The next running variances, which follow the unbiased ones.
    pub next_variance: FloatTensor<B>,
}

/// What gradients flow through.
#[backend_extension(Flex, Autodiff, Cube: cfg(feature = "gpu"))]
pub(super) trait ResidualOps: Backend {
    /// A convolution without bias; `weight` is `[out, in / groups, k, k]`, and `packed` is empty or
    /// holds what `pack_weights` made of it. In the backward pass, a gradient left in `fork` is
    /// added to the input's.
    fn conv2d(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        #[extension_type] packed: Tensors<Self>,
        window: Window,
        precision: Precision,
        fork: Option<Fork>,
    ) -> FloatTensor<Self>;

    /// Batch norm in training. Running statistics move to the batch's by `momentum`, as PyTorch
    /// counts it. Gradients flow from the output alone.
    fn batch_norm(
        x: FloatTensor<Self>,
        #[extension_type] vectors: NormVectors<Self>,
        momentum: f64,
        norm: Norm,
    ) -> BatchNormed<Self>;

    /// As `batch_norm`, with `residual` added before the activation. The residual's gradient is
    /// left in `fork` if there is one.
    fn batch_norm_residual(
        x: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        #[extension_type] vectors: NormVectors<Self>,
        momentum: f64,
        norm: Norm,
        fork: Option<Fork>,
    ) -> BatchNormed<Self>;

    /// The largest value of each window, and its position there, which only the backward pass
    /// understands.
    fn max_pool(x: FloatTensor<Self>, pool: Pool) -> (FloatTensor<Self>, IntTensor<Self>);

    /// The mean of every channel of every image, `[batch, channels]`, in float32.
    fn average_pool(x: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// Their gradients. `dy` is the gradient of an output.
#[backend_extension(Flex, Cube: cfg(feature = "gpu"))]
pub(super) trait ResidualGradients: Backend {
    /// The gradient of a convolution's input, which has these numbers of rows and columns.
    fn conv2d_input_gradient(
        dy: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        #[extension_type] packed: Tensors<Self>,
        size: [usize; 2],
        window: Window,
        precision: Precision,
    ) -> FloatTensor<Self>;

    /// The same plus `around`, another gradient of the same input.
    fn conv2d_input_gradient_and(
        dy: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        #[extension_type] packed: Tensors<Self>,
        around: FloatTensor<Self>,
        window: Window,
        precision: Precision,
    ) -> FloatTensor<Self>;

    /// The gradient of a convolution's weight, in float32.
    fn conv2d_weight_gradient(
        x: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        window: Window,
        precision: Precision,
    ) -> FloatTensor<Self>;

    /// The gradients of `x`, γ and β through batch norm and the activation. With `vectors` are the
    /// statistics that it normalised with.
    fn batch_norm_gradient(
        x: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        #[extension_type] vectors: NormVectors<Self>,
        norm: Norm,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// The gradients of `x`, γ, β and the residual through batch norm, the residual sum and the
    /// activation, whose output is `y`.
    fn batch_norm_residual_gradient(
        x: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        y: FloatTensor<Self>,
        #[extension_type] vectors: NormVectors<Self>,
        norm: Norm,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// The gradient of the input of max-pooling, which has these numbers of rows and columns.
    fn max_pool_gradient(
        dy: FloatTensor<Self>,
        chosen: IntTensor<Self>,
        size: [usize; 2],
        pool: Pool,
    ) -> FloatTensor<Self>;

    /// The gradient of the input of average pooling, which has these numbers of rows and columns
    /// and values of this sort.
    fn average_pool_gradient(
        dy: FloatTensor<Self>,
        size: [usize; 2],
        dtype: DType,
    ) -> FloatTensor<Self>;
}

/// What no gradient flows through.
#[backend_extension(Flex, Cube: cfg(feature = "gpu"))]
pub(super) trait PlainOps: Backend {
    /// A convolution, the batch norm after it with running statistics, and the activation, in one
    /// pass over the output.
    fn folded_conv2d(
        x: FloatTensor<Self>,
        conv: FloatTensor<Self>,
        #[extension_type] vectors: NormVectors<Self>,
        folded: Folded,
    ) -> FloatTensor<Self>;

    /// As `folded_conv2d`, with `residual` added before the activation.
    fn folded_conv2d_residual(
        x: FloatTensor<Self>,
        conv: FloatTensor<Self>,
        #[extension_type] vectors: NormVectors<Self>,
        residual: FloatTensor<Self>,
        folded: Folded,
    ) -> FloatTensor<Self>;

    /// A step of SGD over as many parameters as there are in each list. Gives the weights and the
    /// velocities. Tensors that are not shared are changed in place.
    fn sgd(
        #[extension_type] weights: Tensors<Self>,
        #[extension_type] gradients: Tensors<Self>,
        #[extension_type] velocities: Tensors<Self>,
        rates: Rates,
    ) -> (Tensors<Self>, Tensors<Self>);
}
