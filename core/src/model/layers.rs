//! The layers backbones are made of. They are our own so that their names, their running statistics
//! and their kernels are.

use std::collections::HashMap;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::module as op;
use burn::tensor::{Device, Tensor};

use super::initial::Initial;
use super::running::Running;
use super::weights::named;
use crate::kernels::{
    self, FoldedConv as FoldedWeights, InstructionSet, Normalisation, PackedConv,
};
use crate::ops::{
    self, Activation, Computing, ConvWeight, FoldedConv, Fork, Geometry, NormLayer, Packed,
    Padding, Residual, StatisticsOf,
};

/// PyTorch's defaults.
const EPSILON: f64 = 1e-5;
const MOMENTUM: f64 = 0.1;

/// What a network computes for, and so which statistics batch norm normalises with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Training with the batch's statistics; the running ones move.
    Train,
    /// Training with the running statistics, which stay as they are; every weight still learns, γ
    /// and β of batch norm as well. For fine-tuning with few images, whose statistics would say
    /// little.
    TrainFrozenNorm,
    /// Answers, with the running statistics.
    Evaluate,
}

impl Mode {
    /// Whether gradients are asked for.
    pub fn trains(self) -> bool {
        self != Mode::Evaluate
    }
}

/// How a network computes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pass<'a> {
    pub mode: Mode,
    pub computing: Computing,
    /// Weights of convolutions that were packed beforehand.
    pub packed: &'a PackedWeights,
}

/// Packed weights by their parameter.
pub(super) type PackedWeights = HashMap<ParamId, Packed>;

/// Packs the weights of all convolutions of a network, where the device reads them packed.
pub(super) fn packed_weights(network: &impl Module, computing: Computing) -> PackedWeights {
    #[derive(Default)]
    struct Weights {
        ids: Vec<ParamId>,
        weights: Vec<Tensor<4>>,
    }
    impl ModuleVisitor for Weights {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if D == 4 {
                self.ids.push(param.id);
                self.weights.push(Tensor::from_dispatch(param.val().into_dispatch()));
            }
        }
    }
    let mut found = Weights::default();
    network.visit(&mut found);
    found.ids.into_iter().zip(ops::pack(found.weights, computing)).collect()
}

/// A square convolution without bias, padded so that stride 1 keeps the size.
#[derive(Module, Debug)]
pub(super) struct Conv2d {
    /// `[out, in / groups, k, k]`.
    weight: Param<Tensor<4>>,
    #[module(skip)]
    geometry: Geometry,
}

impl Conv2d {
    pub fn new(weight: Param<Tensor<4>>, stride: usize) -> Self {
        let geometry =
            Geometry { stride, padding: Padding::Symmetric(weight.dims()[3] / 2), groups: 1 };
        Self { weight, geometry }
    }

    /// A convolution inside a block: Kaiming normal.
    pub fn kaiming(
        initial: &Initial<'_>,
        name: &str,
        channels: [usize; 2],
        kernel: usize,
        stride: usize,
    ) -> Self {
        Self::grouped(initial, name, channels, 1, kernel, stride)
    }

    /// A convolution of channels in groups, each from those of its group alone: Kaiming normal, as
    /// torchvision's, which counts the outputs of all groups.
    pub fn grouped(
        initial: &Initial<'_>,
        name: &str,
        [input, output]: [usize; 2],
        groups: usize,
        kernel: usize,
        stride: usize,
    ) -> Self {
        Self::in_groups(initial, name, [input, output], groups, [kernel, stride], output)
    }

    fn in_groups(
        initial: &Initial<'_>,
        name: &str,
        [input, output]: [usize; 2],
        groups: usize,
        [kernel, stride]: [usize; 2],
        fan: usize,
    ) -> Self {
        let weight = initial.kaiming_normal(
            name,
            [output, input / groups, kernel, kernel],
            fan * kernel * kernel,
        );
        let conv = Self::new(weight, stride);
        Self { geometry: Geometry { groups, ..conv.geometry }, ..conv }
    }

    /// A convolution padded as TensorFlow's SAME does, Kaiming normal.
    pub fn same(
        initial: &Initial<'_>,
        name: &str,
        channels: [usize; 2],
        kernel: usize,
        stride: usize,
    ) -> Self {
        Self::kaiming(initial, name, channels, kernel, stride).padded_same()
    }

    /// A convolution of every channel by itself, padded as TensorFlow's SAME does: Kaiming normal,
    /// as there, with one output for each input.
    pub fn depthwise(
        initial: &Initial<'_>,
        name: &str,
        channels: usize,
        kernel: usize,
        stride: usize,
    ) -> Self {
        Self::in_groups(initial, name, [channels; 2], channels, [kernel, stride], 1).padded_same()
    }

    fn padded_same(self) -> Self {
        Self { geometry: Geometry { padding: Padding::Same, ..self.geometry }, ..self }
    }

    /// Side of the kernel.
    pub fn kernel(&self) -> usize {
        self.weight.dims()[3]
    }

    /// Pixels between the places where the kernel is applied.
    pub fn stride(&self) -> usize {
        self.geometry.stride
    }

    /// The convolution that does what this one and the batch norm after it do in evaluation, on the
    /// host.
    pub fn folded(&self, norm: &BatchNorm) -> FoldedWeights {
        let host = |tensor: Tensor<1>| named(String::new(), tensor).values;
        let (scale, bias) = (host(norm.weight.val()), host(norm.bias.val()));
        let (mean, variance) = (host(norm.running_mean.value()), host(norm.running_var.value()));
        let normalisation = Normalisation {
            mean: &mean,
            variance: &variance,
            weight: &scale,
            bias: &bias,
            epsilon: norm.epsilon,
        };
        let (weight, bias) =
            kernels::fold(&named(String::new(), self.weight.val()).values, &normalisation);
        FoldedWeights { weight: weight.to_vec(), bias }
    }

    /// The same for the CPU's kernels. For a convolution that is padded by half of its kernel all
    /// around.
    pub fn packed(&self, norm: &BatchNorm) -> PackedConv {
        let Geometry { stride, groups, .. } = self.geometry;
        let [_, of_group, _, kernel] = self.weight.dims();
        PackedConv::new(
            InstructionSet::best(),
            self.folded(norm),
            [of_group * groups, groups],
            [kernel, stride],
        )
    }

    /// Adds its multiply-adds for one image of this side; returns the side of its output.
    pub fn count(&self, side: usize, counted: &mut Vec<u64>) -> usize {
        let output = side.div_ceil(self.geometry.stride);
        counted.push((self.weight.shape().num_elements() * output * output) as u64);
        output
    }

    /// The convolution, batch norm, the residual sum and the activation: `[batch, in, h, w]` to
    /// `[batch, out, h', w']`. With `fork`, `x` is a block's input, and that fork's residual is
    /// added later in the block.
    pub fn with_norm(
        &self,
        norm: &BatchNorm,
        x: Tensor<4>,
        fork: Option<Fork>,
        residual: Option<Residual>,
        activation: Activation,
        pass: Pass<'_>,
    ) -> Tensor<4> {
        let weight = self.weight.val();
        let plain = !x.is_autodiff() && !weight.is_autodiff();
        if pass.mode == Mode::Evaluate && plain && pass.computing.kernels.supports(&x) {
            let conv = FoldedConv {
                weight,
                geometry: self.geometry,
                scale: norm.weight.val(),
                bias: norm.bias.val(),
                mean: norm.running_mean.value().without_autodiff(),
                variance: norm.running_var.value().without_autodiff(),
                epsilon: norm.epsilon,
            };
            return conv.forward(x, residual.map(|residual| residual.tensor), activation);
        }
        let packed = pass.packed.get(&self.weight.id).cloned().unwrap_or_default();
        let y = ops::conv2d(
            x,
            ConvWeight { tensor: weight, packed },
            self.geometry,
            fork,
            pass.computing,
        );
        norm.forward(y, residual, activation, pass)
    }
}

/// Batch normalisation (Ioffe and Szegedy, 2015) as PyTorch keeps its books: the running variance
/// is the unbiased one.
#[derive(Module, Debug)]
pub(super) struct BatchNorm {
    weight: Param<Tensor<1>>,
    bias: Param<Tensor<1>>,
    running_mean: Running,
    running_var: Running,
    #[module(skip)]
    epsilon: f64,
}

impl BatchNorm {
    pub fn new(initial: &Initial<'_>, channels: usize) -> Self {
        Self::with_epsilon(initial, channels, EPSILON)
    }

    pub fn with_epsilon(initial: &Initial<'_>, channels: usize, epsilon: f64) -> Self {
        let device: &Device = &initial.device.clone().without_autodiff();
        Self {
            weight: initial.constant(channels, 1.0),
            bias: initial.constant(channels, 0.0),
            running_mean: Running::new(Tensor::zeros([channels], device)),
            running_var: Running::new(Tensor::ones([channels], device)),
            epsilon,
        }
    }

    /// `[batch, channels, h, w]` to the same shape.
    fn forward(
        &self,
        x: Tensor<4>,
        residual: Option<Residual>,
        activation: Activation,
        pass: Pass<'_>,
    ) -> Tensor<4> {
        let statistics = match pass.mode {
            Mode::Train => StatisticsOf::Batch,
            Mode::TrainFrozenNorm => StatisticsOf::Past,
            Mode::Evaluate => {
                let (mean, variance) = (self.running_mean.value(), self.running_var.value());
                let (mean, variance) = match x.is_autodiff() {
                    true => (mean.autodiff(), variance.autodiff()),
                    false => (mean.without_autodiff(), variance.without_autodiff()),
                };
                let y = op::batch_norm(
                    x,
                    self.weight.val(),
                    self.bias.val(),
                    mean,
                    variance,
                    self.epsilon,
                );
                return ops::finish(y, residual.map(|residual| residual.tensor), activation);
            }
        };
        let states = [&self.running_mean, &self.running_var];
        let layer = NormLayer {
            scale: self.weight.val(),
            bias: self.bias.val(),
            epsilon: self.epsilon,
            running: states.map(|state| state.value().without_autodiff()),
            momentum: MOMENTUM,
            statistics,
        };
        let result = ops::batch_norm_train(x, layer, residual, activation, pass.computing.kernels);
        if statistics == StatisticsOf::Batch {
            states.into_iter().zip(result.running).for_each(|(state, next)| state.set(next));
        }
        result.output
    }
}
