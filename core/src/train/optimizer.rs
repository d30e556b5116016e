//! Stochastic gradient descent with momentum and weight decay over a whole network.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::container::TensorContainer;
use burn::tensor::{Gradients, Tensor, TensorData};

use super::clip::clip;
use crate::model::{Kernels, ModulePath, NamedTensor, is_of_classifier};
use crate::ops::{Descended, Descent, Rates};

/// SGD as PyTorch computes it: g ← g + λ w, v ← μ v + g (v = g on the first step, no dampening), w
/// ← w − lr · v.
///
/// Weight decay acts on every parameter, batch norm and biases included, as in the authors' code.
/// Velocities are kept by parameter name so that a checkpoint can hold them.
pub struct Sgd {
    momentum: f64,
    weight_decay: f64,
    velocity: TensorContainer<String>,
    names: BTreeSet<String>,
    /// Velocities of a checkpoint, until their parameter is met and its device and rank are known.
    restored: BTreeMap<String, NamedTensor>,
    kernels: Kernels,
    /// Factor of the learning rate for all that is not the classifier.
    backbone_rate: f64,
    /// Largest norm of all gradients together, if there is one.
    longest: Option<f64>,
}

impl Sgd {
    /// An optimiser without velocity.
    pub fn new(momentum: f64, weight_decay: f64) -> Self {
        Self {
            momentum,
            weight_decay,
            velocity: TensorContainer::new(),
            names: BTreeSet::new(),
            restored: BTreeMap::new(),
            kernels: Kernels::chosen(),
            backbone_rate: 1.0,
            longest: None,
        }
    }

    /// An optimiser that goes on with the velocities of a checkpoint; see [`Sgd::velocities`].
    pub fn restore(momentum: f64, weight_decay: f64, velocities: Vec<NamedTensor>) -> Self {
        let restored = velocities.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect();
        Self { restored, ..Self::new(momentum, weight_decay) }
    }

    /// The same optimiser, computing on the CPU with these instead of [`Kernels::chosen`].
    pub fn with_kernels(self, kernels: Kernels) -> Self {
        Self { kernels, ..self }
    }

    /// The same optimiser, with this factor of the learning rate for all parameters that are not
    /// the classifier's.
    pub fn with_backbone_rate(self, backbone_rate: f64) -> Self {
        Self { backbone_rate, ..self }
    }

    /// The same optimiser, which scales gradients down to this norm, that of all parameters
    /// together, where they are longer. Weight decay comes after, as in PyTorch.
    pub fn with_clipping(self, longest: Option<f64>) -> Self {
        Self { longest, ..self }
    }

    /// One step along `gradients` at `learning_rate`. Parameters without a gradient stay as they
    /// are. A parameter that is not shared is changed in place.
    pub fn step<M: Module>(&mut self, module: M, gradients: Gradients, learning_rate: f64) -> M {
        let gradients = GradientsParams::from_grads(gradients, &module);
        self.step_along(module, gradients, learning_rate)
    }

    /// [`Sgd::step`] along gradients that are sorted by parameter already, such as sums of several.
    pub fn step_along<M: Module>(
        &mut self,
        module: M,
        gradients: GradientsParams,
        learning_rate: f64,
    ) -> M {
        let gradients = match self.longest {
            Some(longest) => clip(&module, gradients, longest),
            None => gradients,
        };
        let groups = [learning_rate, learning_rate * self.backbone_rate].map(Group::new);
        let mut step = Step { optimizer: self, gradients, groups, path: ModulePath::default() };
        let mut module = module.map(&mut step);
        for Group { learning_rate, descent, waiting } in step.groups {
            if !waiting.is_empty() {
                let rates = Rates {
                    learning_rate,
                    momentum: self.momentum,
                    weight_decay: self.weight_decay,
                };
                module = module.map(&mut Return {
                    optimizer: self,
                    moved: descent.step(rates),
                    waiting,
                });
            }
        }
        module
    }

    /// Every velocity by its parameter's name, on the host.
    pub fn velocities<M: Module>(&self, module: &M) -> Vec<NamedTensor> {
        struct Collect<'a> {
            optimizer: &'a Sgd,
            path: ModulePath,
            found: Vec<NamedTensor>,
        }
        impl burn::module::ModuleVisitor for Collect<'_> {
            fn enter_module(&mut self, name: &str, _container: &str) {
                self.path.enter(name);
            }
            fn exit_module(&mut self, _name: &str, _container: &str) {
                self.path.exit();
            }
            fn visit_float<const D: usize>(&mut self, _param: &Param<Tensor<D>>) {
                let name = self.path.name();
                if let Some(tensor) = self.optimizer.restored.get(&name) {
                    self.found.push(tensor.clone());
                } else if self.optimizer.names.contains(&name)
                    && let Some(velocity) = self.optimizer.velocity.get::<Tensor<D>>(&name)
                {
                    self.found.push(crate::model::named(name, velocity));
                }
            }
        }
        let mut collect =
            Collect { optimizer: self, path: ModulePath::default(), found: Vec::new() };
        module.visit(&mut collect);
        collect.found
    }
}

impl Sgd {
    /// A step by burn's operations.
    fn update<const D: usize>(
        &self,
        weight: Tensor<D>,
        gradient: Tensor<D>,
        velocity: Option<Tensor<D>>,
        learning_rate: f64,
    ) -> (Tensor<D>, Tensor<D>) {
        let mut step = gradient;
        if self.weight_decay != 0.0 {
            step = step + weight.clone() * self.weight_decay;
        }
        let velocity = match velocity {
            Some(velocity) => velocity * self.momentum + step,
            None => step,
        };
        (weight - velocity.clone() * learning_rate, velocity)
    }

    /// The velocity of a parameter, if it has one.
    fn take_velocity<const D: usize>(
        &mut self,
        name: &str,
        weight: &Tensor<D>,
    ) -> Option<Tensor<D>> {
        match self.restored.remove(name) {
            Some(tensor) if tensor.shape == weight.dims() => Some(Tensor::from_data(
                TensorData::new(tensor.values, tensor.shape),
                &weight.device(),
            )),
            Some(tensor) => {
                tracing::warn!(
                    "the checkpoint's momentum of {name} has the shape {:?} and not {:?}; it begins anew",
                    tensor.shape,
                    weight.dims()
                );
                None
            }
            None => self.velocity.remove::<Tensor<D>>(&name.to_string()),
        }
    }

    fn keep_velocity<const D: usize>(&mut self, name: String, velocity: Tensor<D>) {
        self.names.insert(name.clone());
        self.velocity.register(name, velocity);
    }
}

/// Parameters that take a step together.
struct Group {
    learning_rate: f64,
    descent: Descent,
    /// Who takes part in it, in this order.
    waiting: VecDeque<(ParamId, String)>,
}

impl Group {
    fn new(learning_rate: f64) -> Self {
        Self { learning_rate, descent: Descent::default(), waiting: VecDeque::new() }
    }
}

/// Gives every parameter to burn's operations, or to the descent of its group.
struct Step<'a> {
    optimizer: &'a mut Sgd,
    gradients: GradientsParams,
    /// Those of the classifier, and all others if their learning rate is another.
    groups: [Group; 2],
    path: ModulePath,
}

impl ModuleMapper for Step<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(gradient) = self.gradients.remove::<D>(param.id) else { return param };
        let name = self.path.name();
        let optimizer = &mut *self.optimizer;
        let group = &mut self.groups
            [usize::from(optimizer.backbone_rate != 1.0 && !is_of_classifier(&name))];
        let (id, weight, _) = param.consume();
        let (weight, gradient) = (weight.inner(), gradient.inner());
        let velocity = optimizer.take_velocity(&name, &weight);
        if !optimizer.kernels.supports(&weight) {
            let (weight, velocity) =
                optimizer.update(weight, gradient, velocity, group.learning_rate);
            optimizer.keep_velocity(name, velocity);
            return moved(id, weight);
        }
        let (device, shape) = (weight.device(), weight.shape());
        let velocity = velocity.unwrap_or_else(|| {
            device
                .memory_persistent_allocations(shape.clone(), |shape| Tensor::zeros(shape, &device))
        });
        group.descent.add(weight, gradient, velocity);
        group.waiting.push_back((id, name));
        // Only the descent may hold the weight, or it could not change it in place.
        Param::uninitialized(
            id,
            |_, _| unreachable!("the step returns it before it is used"),
            device,
            true,
            shape,
        )
    }
}

/// Puts parameters back that took part in a descent.
struct Return<'a> {
    optimizer: &'a mut Sgd,
    moved: Descended,
    waiting: VecDeque<(ParamId, String)>,
}

impl ModuleMapper for Return<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some((id, name)) = self.waiting.pop_front_if(|(id, _)| *id == param.id) else {
            return param;
        };
        let (weight, velocity) = self.moved.next().expect("as many come back as took part");
        self.optimizer.keep_velocity(name, velocity);
        moved(id, weight)
    }
}

/// A parameter after a step, from its weight without autodiff.
fn moved<const D: usize>(id: ParamId, weight: Tensor<D>) -> Param<Tensor<D>> {
    Param::initialized(id, Tensor::from_inner(weight).require_grad())
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::balance;
    use crate::model::{load_weights, weights};

    #[derive(Module, Debug)]
    struct Two {
        matrix: Param<Tensor<2>>,
        vector: Param<Tensor<1>>,
    }

    fn two() -> Two {
        let device = Device::flex().autodiff();
        Two {
            matrix: Param::from_tensor(Tensor::from_floats([[0.5, -1.0], [2.0, 0.25]], &device)),
            vector: Param::from_tensor(Tensor::from_floats([1.0, -3.0], &device)),
        }
    }

    /// A loss whose gradient with respect to every parameter is that parameter times `factor`.
    fn gradients(module: &Two, factor: f64) -> Gradients {
        let squares =
            module.matrix.val().powi_scalar(2).sum() + module.vector.val().powi_scalar(2).sum();
        (squares * (factor / 2.0)).backward()
    }

    fn flat(module: &Two) -> Vec<f32> {
        weights(module).into_iter().flat_map(|tensor| tensor.values).collect()
    }

    /// The step over slices is itself compared with PyTorch's.
    #[test]
    fn steps_are_those_of_the_step_over_slices() {
        let mut module = two();
        let mut ours = Sgd::new(0.9, 0.05);
        let mut expected = flat(&module);
        let mut reference = balance::ClassifierSgd::new(expected.len(), 0.9, 0.05);
        for (factor, rate) in [(1.0, 0.1), (-0.5, 0.2), (2.0, 0.05), (0.0, 0.1), (1.0, 0.3)] {
            let gradient: Vec<f32> = expected.iter().map(|weight| factor as f32 * weight).collect();
            reference.step(&mut expected, &gradient, rate);
            let gradients = gradients(&module, factor);
            module = ours.step(module, gradients, rate);
            for (a, b) in flat(&module).iter().zip(&expected) {
                assert!((a - b).abs() <= 1e-5 * b.abs().max(1.0), "{a} and not {b}");
            }
        }
    }

    /// With a factor, what is not the classifier takes steps so much shorter; the classifier's are
    /// the same.
    #[test]
    fn the_backbone_can_learn_more_slowly() {
        #[derive(Module, Debug)]
        struct Split {
            fc: Half,
            layer: Half,
        }
        #[derive(Module, Debug)]
        struct Half {
            weight: Param<Tensor<1>>,
        }
        for kernels in [Kernels::Own, Kernels::Burn] {
            let device = Device::flex().autodiff();
            let half =
                || Half { weight: Param::from_tensor(Tensor::from_floats([1.0, -3.0], &device)) };
            let mut module = Split { fc: half(), layer: half() };
            let mut optimizer = Sgd::new(0.9, 0.5).with_kernels(kernels).with_backbone_rate(0.1);
            // By hand: v = g + λ w, then v = 0.9 v + g + λ w; g is 2 w.
            let expected = |rate: f32| {
                let (mut weights, mut velocities) = ([1.0_f32, -3.0], [0.0_f32; 2]);
                for _ in 0..2 {
                    for (weight, velocity) in weights.iter_mut().zip(&mut velocities) {
                        *velocity = 0.9 * *velocity + 2.0 * *weight + 0.5 * *weight;
                        *weight -= rate * *velocity;
                    }
                }
                weights.to_vec()
            };
            for _ in 0..2 {
                let loss = module.fc.weight.val().powi_scalar(2).sum()
                    + module.layer.weight.val().powi_scalar(2).sum();
                let gradients = loss.backward();
                module = optimizer.step(module, gradients, 0.1);
            }
            for (tensor, rate) in weights(&module).into_iter().zip([0.1, 0.01]) {
                for (found, expected) in tensor.values.iter().zip(expected(rate)) {
                    assert!(
                        (found - expected).abs() < 1e-5,
                        "{}: {found} and not {expected}",
                        tensor.name
                    );
                }
            }
            assert_eq!(optimizer.velocities(&module).len(), 2);
        }
    }

    /// The gradients of both parameters are the parameters times a factor, so their norm is that of
    /// all weights.
    #[test]
    fn long_gradients_are_shortened_together_and_short_ones_are_left_alone() {
        for kernels in [Kernels::Own, Kernels::Burn] {
            let moved = |factor: f64, longest: Option<f64>| {
                let module = two();
                let mut optimizer = Sgd::new(0.9, 0.5).with_kernels(kernels).with_clipping(longest);
                let gradients = gradients(&module, factor);
                flat(&optimizer.step(module, gradients, 0.1))
            };
            // 0.25 + 1 + 4 + 0.0625 + 1 + 9: a norm of 3.913.
            let start = flat(&two());
            let norm = start.iter().map(|weight| weight * weight).sum::<f32>().sqrt();
            assert!((norm - 3.913).abs() < 1e-3);
            for (weight, found) in start.iter().zip(moved(2.0, Some(1.0))) {
                // The gradient is 2 w, of norm 7.83; clipped it is w / 3.913. Decay adds 0.5 w.
                let expected = weight - 0.1 * (weight / norm + 0.5 * weight);
                assert!((found - expected).abs() < 1e-6, "{found} and not {expected}");
            }
            assert_eq!(moved(0.2, Some(1.0)), moved(0.2, None));
            assert_eq!(moved(0.0, Some(1.0)), moved(0.0, None));
        }
    }

    #[test]
    fn restored_velocities_go_on_bit_for_bit() {
        let step = |module: Two, optimizer: &mut Sgd| {
            let gradients = gradients(&module, 0.7);
            optimizer.step(module, gradients, 0.1)
        };
        let mut whole = Sgd::new(0.9, 0.01);
        let halfway = step(step(two(), &mut whole), &mut whole);
        let (saved, velocities) = (weights(&halfway), whole.velocities(&halfway));
        assert_eq!(velocities.len(), 2);
        let mut restored = Sgd::restore(0.9, 0.01, velocities.clone());
        let again = load_weights(two(), saved).unwrap();
        // Velocities that have not been used yet are not lost if the run is stopped at once.
        assert_eq!(restored.velocities(&again), velocities);
        let (one, two) = (step(halfway, &mut whole), step(again, &mut restored));
        assert_eq!(flat(&one), flat(&two));
        assert_eq!(whole.velocities(&one), restored.velocities(&two));
    }
}
