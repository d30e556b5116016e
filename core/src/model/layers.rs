//! The layers backbones are made of. They are our own so that their names, their running statistics and their kernels are.

use std::collections::HashMap;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::module as op;
use burn::tensor::{Device, Tensor};

use super::initial::Initial;
use super::running::Running;
use super::weights::{NamedTensor, named};
use crate::ops::{self, Computing, ConvWeight, FoldedConv, Fork, Kernels, NormLayer, Packed, Residual};

/// PyTorch's defaults.
const EPSILON: f64 = 1e-5;
const MOMENTUM: f64 = 0.1;

/// Whether batch norm normalises with the batch's statistics and moves its running ones, or uses the running ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The batch's statistics; the running ones move.
    Train,
    /// The running statistics, which stay.
    Evaluate,
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
    /// `[out, in, k, k]`.
    weight: Param<Tensor<4>>,
    #[module(skip)]
    stride: usize,
    #[module(skip)]
    padding: usize,
}

impl Conv2d {
    pub fn new(weight: Param<Tensor<4>>, stride: usize) -> Self {
        let kernel = weight.dims()[3];
        Self { weight, stride, padding: kernel / 2 }
    }

    /// A convolution inside a block: Kaiming normal.
    pub fn kaiming(initial: &Initial<'_>, name: &str, [input, output]: [usize; 2], kernel: usize, stride: usize) -> Self {
        Self::new(initial.kaiming_normal(name, [output, input, kernel, kernel]), stride)
    }

    /// The convolution, batch norm, the residual sum and ReLU if `relu`: `[batch, in, h, w]` to `[batch, out, h', w']`. With `fork`, `x` is
    /// a block's input, and that fork's residual is added later in the block.
    pub fn with_norm(
        &self,
        norm: &BatchNorm,
        x: Tensor<4>,
        fork: Option<Fork>,
        residual: Option<Residual>,
        relu: bool,
        pass: Pass<'_>,
    ) -> Tensor<4> {
        let weight = self.weight.val();
        let plain = !x.is_autodiff() && !weight.is_autodiff();
        if pass.mode == Mode::Evaluate && plain && pass.computing.kernels.own(&x) {
            let conv = FoldedConv {
                weight,
                stride: self.stride,
                padding: self.padding,
                scale: norm.weight.val(),
                bias: norm.bias.val(),
                mean: norm.running_mean.value().without_autodiff(),
                variance: norm.running_var.value().without_autodiff(),
                epsilon: EPSILON,
            };
            return conv.forward(x, residual.map(|residual| residual.tensor), relu);
        }
        let packed = pass.packed.get(&self.weight.id).cloned().unwrap_or_default();
        let y = ops::conv2d(x, ConvWeight { tensor: weight, packed }, self.stride, self.padding, fork, pass.computing);
        norm.forward(y, residual, relu, pass)
    }
}

/// Batch normalisation (Ioffe and Szegedy, 2015) as PyTorch keeps its books: the running variance is the unbiased one.
#[derive(Module, Debug)]
pub(super) struct BatchNorm {
    weight: Param<Tensor<1>>,
    bias: Param<Tensor<1>>,
    running_mean: Running,
    running_var: Running,
}

impl BatchNorm {
    pub fn new(initial: &Initial<'_>, channels: usize) -> Self {
        let device: &Device = &initial.device.clone().without_autodiff();
        Self {
            weight: initial.constant(channels, 1.0),
            bias: initial.constant(channels, 0.0),
            running_mean: Running::new(Tensor::zeros([channels], device)),
            running_var: Running::new(Tensor::ones([channels], device)),
        }
    }

    /// `[batch, channels, h, w]` to the same shape.
    fn forward(&self, x: Tensor<4>, residual: Option<Residual>, relu: bool, pass: Pass<'_>) -> Tensor<4> {
        match pass.mode {
            Mode::Train => self.forward_train(x, residual, relu, pass.computing.kernels),
            Mode::Evaluate => {
                let (mean, variance) = (self.running_mean.value(), self.running_var.value());
                let (mean, variance) = match x.is_autodiff() {
                    true => (mean.autodiff(), variance.autodiff()),
                    false => (mean.without_autodiff(), variance.without_autodiff()),
                };
                let y = op::batch_norm(x, self.weight.val(), self.bias.val(), mean, variance, EPSILON);
                ops::finish(y, residual.map(|residual| residual.tensor), relu)
            }
        }
    }

    fn forward_train(&self, x: Tensor<4>, residual: Option<Residual>, relu: bool, kernels: Kernels) -> Tensor<4> {
        let states = [&self.running_mean, &self.running_var];
        let layer = NormLayer {
            scale: self.weight.val(),
            bias: self.bias.val(),
            epsilon: EPSILON,
            running: states.map(|state| state.value().without_autodiff()),
            share: MOMENTUM,
        };
        let result = ops::batch_norm_train(x, layer, residual, relu, kernels);
        for (state, next) in states.into_iter().zip(result.running) {
            state.set(next);
        }
        result.output
    }
}

/// The classifier: weight W `[classes, features]` and a bias, as PyTorch's `Linear`.
#[derive(Module, Debug)]
pub(super) struct Linear {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

impl Linear {
    pub fn new(initial: &Initial<'_>, name: &str, features: usize, classes: usize) -> Self {
        Self {
            weight: initial.layer_default(&format!("{name}.weight"), [classes, features], features),
            bias: initial.layer_default(&format!("{name}.bias"), [classes], features),
        }
    }

    /// Weight and bias on the host.
    pub fn on_host(&self) -> [NamedTensor; 2] {
        [named("weight".into(), self.weight.val()), named("bias".into(), self.bias.val())]
    }

    pub fn device(&self) -> Device {
        self.weight.device()
    }

    /// Features `[batch, features]` to logits `[batch, classes]`.
    pub fn forward(&self, features: Tensor<2>, kernels: Kernels) -> Tensor<2> {
        ops::linear(features, self.weight.val(), self.bias.val(), kernels)
    }
}
