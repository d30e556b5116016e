//! Stochastic gradient descent with momentum and weight decay over a whole network.

use std::collections::{BTreeMap, BTreeSet};

use burn::module::{Module, ModuleMapper, Param};
use burn::optim::GradientsParams;
use burn::tensor::container::TensorContainer;
use burn::tensor::{Gradients, Tensor, TensorData};

use crate::model::NamedTensor;

/// SGD as PyTorch computes it: g ← g + λ w, v ← μ v + g (v = g on the first step, no dampening), w ← w − lr · v.
///
/// Weight decay acts on every parameter, batch norm and biases included, as in the authors' code. Velocities are kept by parameter name
/// so that a checkpoint can hold them.
pub struct Sgd {
    momentum: f64,
    weight_decay: f64,
    velocity: TensorContainer<String>,
    names: BTreeSet<String>,
    /// Velocities of a checkpoint, until their parameter is met and its device and rank are known.
    restored: BTreeMap<String, NamedTensor>,
}

impl Sgd {
    /// An optimiser without velocity.
    pub fn new(momentum: f64, weight_decay: f64) -> Self {
        Self { momentum, weight_decay, velocity: TensorContainer::new(), names: BTreeSet::new(), restored: BTreeMap::new() }
    }

    /// An optimiser that goes on with the velocities of a checkpoint; see [`Sgd::velocities`].
    pub fn restore(momentum: f64, weight_decay: f64, velocities: Vec<NamedTensor>) -> Self {
        let restored = velocities.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect();
        Self { restored, ..Self::new(momentum, weight_decay) }
    }

    /// One step along `gradients` at `learning_rate`. Parameters without a gradient stay as they are.
    pub fn step<M: Module>(&mut self, module: M, gradients: Gradients, learning_rate: f64) -> M {
        let gradients = GradientsParams::from_grads(gradients, &module);
        module.map(&mut Step { optimizer: self, gradients, learning_rate, path: Vec::new() })
    }

    /// Every velocity by its parameter's name, on the host.
    pub fn velocities<M: Module>(&self, module: &M) -> Vec<NamedTensor> {
        struct Collect<'a> {
            optimizer: &'a Sgd,
            path: Vec<String>,
            found: Vec<NamedTensor>,
        }
        impl burn::module::ModuleVisitor for Collect<'_> {
            fn enter_module(&mut self, name: &str, _container: &str) {
                self.path.push(name.to_string());
            }
            fn exit_module(&mut self, _name: &str, _container: &str) {
                self.path.pop();
            }
            fn visit_float<const D: usize>(&mut self, _param: &Param<Tensor<D>>) {
                let name = self.path.join(".");
                if let Some(tensor) = self.optimizer.restored.get(&name) {
                    self.found.push(tensor.clone());
                } else if self.optimizer.names.contains(&name)
                    && let Some(velocity) = self.optimizer.velocity.get::<Tensor<D>>(&name)
                {
                    self.found.push(crate::model::named(name, velocity));
                }
            }
        }
        let mut collect = Collect { optimizer: self, path: Vec::new(), found: Vec::new() };
        module.visit(&mut collect);
        collect.found
    }
}

struct Step<'a> {
    optimizer: &'a mut Sgd,
    gradients: GradientsParams,
    learning_rate: f64,
    path: Vec<String>,
}

impl ModuleMapper for Step<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(gradient) = self.gradients.remove::<D>(param.id) else { return param };
        let name = self.path.join(".");
        let optimizer = &mut *self.optimizer;
        let learning_rate = self.learning_rate;
        param.map(|weight| {
            let weight = weight.inner();
            let mut step = gradient.inner();
            if optimizer.weight_decay != 0.0 {
                step = step + weight.clone() * optimizer.weight_decay;
            }
            let velocity = match optimizer.restored.remove(&name) {
                Some(tensor) if tensor.shape == weight.dims() => {
                    Some(Tensor::from_data(TensorData::new(tensor.values, tensor.shape), &weight.device()))
                }
                _ => optimizer.velocity.remove::<Tensor<D>>(&name),
            };
            let velocity = match velocity {
                Some(velocity) => velocity * optimizer.momentum + step,
                None => step,
            };
            optimizer.names.insert(name.clone());
            optimizer.velocity.register(name, velocity.clone());
            Tensor::from_inner(weight - velocity * learning_rate).require_grad()
        })
    }
}
