//! Stochastic gradient descent on slices, as PyTorch's `torch.optim.SGD` with momentum and weight
//! decay.

use crate::kernels::matmul::{Update, descend};

/// SGD with momentum, without dampening, and with weight decay added to the gradient: g ← g + λ p;
/// v ← μ v + g; p ← p − lr · v. The first step starts from v = 0, which is PyTorch's v ← g.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassifierSgd {
    momentum: f32,
    weight_decay: f32,
    velocity: Vec<f32>,
}

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
        }
    }

    /// One step. `parameters` and `gradient` have the length the optimiser was made for; anything
    /// beyond it is left alone.
    pub fn step(&mut self, parameters: &mut [f32], gradient: &[f32], learning_rate: f64) {
        let rate = learning_rate as f32;
        let (momentum, decay) = (self.momentum, self.weight_decay);
        for ((parameter, gradient), velocity) in
            parameters.iter_mut().zip(gradient).zip(&mut self.velocity)
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
        let Self { momentum, weight_decay, velocity } = self;
        let update = Update {
            momentum: *momentum,
            weight_decay: *weight_decay,
            learning_rate: learning_rate as f32,
        };
        descend(gradient, features, weight, velocity, classes, update);
    }
}
