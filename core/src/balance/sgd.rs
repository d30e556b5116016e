//! Stochastic gradient descent on slices, as PyTorch's `torch.optim.SGD` with momentum and weight
//! decay.

use crate::kernels::matmul::{Update, descend};

/// SGD with momentum, without dampening, and with weight decay added to the gradient: g ← g + λ p;
/// v ← μ v + g; p ← p − lr · v. The first step starts from v = 0, which is PyTorch's v ← g.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassifierSgd {
    momentum: f32,
    weight_decay: f32,
    /// A velocity for each parameter, after [`ClassifierSgd::start`] numbers that are not used.
    velocity: Vec<f32>,
    start: usize,
}

/// Bytes after which processors take two addresses for the same when they look for what was
/// written last, and caches put them into one place.
const APART: usize = 4096;

impl ClassifierSgd {
    /// An optimiser for a slice of `len` parameters.
    ///
    /// ```
    /// use counterweight_core::balance::ClassifierSgd;
    /// let mut parameters = [1.0_f32];
    /// let mut sgd = ClassifierSgd::new(1, 0.9, 0.0);
    /// sgd.step(&mut parameters, &[1.0], 0.5);
    /// sgd.step(&mut parameters, &[1.0], 0.5);
    /// assert!((parameters[0] - (1.0 - 0.5 - 0.5 * 1.9)).abs() < 1e-6);
    /// ```
    pub fn new(len: usize, momentum: f64, weight_decay: f64) -> Self {
        Self {
            momentum: momentum as f32,
            weight_decay: weight_decay as f32,
            velocity: vec![0.0; len],
            start: 0,
        }
    }

    /// As [`ClassifierSgd::new`], with velocities that lie well beside those parameters: half of
    /// [`APART`] from where they would get in their way. Large slices tend to begin at the same
    /// place of a page, and with rows of a power of two a step takes a third longer for it.
    pub(super) fn beside(parameters: &[f32], momentum: f64, weight_decay: f64) -> Self {
        let number = size_of::<f32>();
        let mut sgd = Self::new(parameters.len() + APART / number, momentum, weight_decay);
        let ahead = sgd.velocity.as_ptr().addr().wrapping_sub(parameters.as_ptr().addr());
        sgd.start = (APART / 2).wrapping_sub(ahead) % APART / number;
        sgd.velocity.truncate(sgd.start + parameters.len());
        sgd
    }

    /// One step. `parameters` and `gradient` have the length the optimiser was made for; anything
    /// beyond it is left alone.
    pub fn step(&mut self, parameters: &mut [f32], gradient: &[f32], learning_rate: f64) {
        let rate = learning_rate as f32;
        let (momentum, decay) = (self.momentum, self.weight_decay);
        for ((parameter, gradient), velocity) in
            parameters.iter_mut().zip(gradient).zip(&mut self.velocity[self.start..])
        {
            *velocity = momentum * *velocity + (gradient + decay * *parameter);
            *parameter -= rate * *velocity;
        }
    }

    /// One step along the gradient dᵀ · x, which is not stored: `weight` is W of a linear layer,
    /// shape [classes, dim], `gradient` d the gradient of its outputs, shape [n, classes], and
    /// `features` x its inputs, shape [n, dim].
    ///
    /// ```
    /// use counterweight_core::balance::ClassifierSgd;
    /// let mut weight = [6.0, 12.0, 3.0, 4.0];
    /// // One sample, two classes, two features.
    /// ClassifierSgd::new(4, 0.9, 0.0).step_along_product(&mut weight, &[1.0, 0.0], &[10.0, 20.0],
    /// 2, 0.5); assert_eq!(weight, [1.0, 2.0, 3.0, 4.0]);
    /// ```
    ///
    /// # Panics
    /// If the lengths do not fit each other, `classes`, or what the optimiser was made for.
    pub fn step_along_product(
        &mut self,
        weight: &mut [f32],
        gradient: &[f32],
        features: &[f32],
        classes: usize,
        learning_rate: f64,
    ) {
        let update = self.update(learning_rate);
        descend(gradient, features, weight, self.velocity(), classes, update);
    }

    /// How a step with this learning rate changes a parameter.
    pub(super) fn update(&self, learning_rate: f64) -> Update {
        let Self { momentum, weight_decay, .. } = *self;
        Update { momentum, weight_decay, learning_rate: learning_rate as f32 }
    }

    /// The velocity of every parameter.
    pub(super) fn velocity(&mut self) -> &mut [f32] {
        &mut self.velocity[self.start..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn velocities_lie_half_a_page_from_their_parameters_and_work_as_any() {
        let parameters: Vec<f32> = (0..5000).map(|i| (i as f32 * 0.3).sin()).collect();
        // As slices do, from wherever they start.
        for from in [0, 1, 7, 1024, 1500] {
            let mut here = parameters[from..].to_vec();
            let mut there = here.clone();
            let gradient: Vec<f32> = here.iter().map(|p| p * p).collect();
            let mut beside = ClassifierSgd::beside(&here, 0.9, 0.1);
            let mut plain = ClassifierSgd::new(here.len(), 0.9, 0.1);
            let apart = beside.velocity().as_ptr().addr().abs_diff(here.as_ptr().addr()) % APART;
            assert!(apart.abs_diff(APART / 2) < size_of::<f32>(), "{apart}");
            assert_eq!(beside.velocity().len(), here.len());
            for _ in 0..3 {
                beside.step(&mut here, &gradient, 0.1);
                plain.step(&mut there, &gradient, 0.1);
            }
            assert_eq!(here, there);
        }
    }
}
