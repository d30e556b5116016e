//! Stochastic gradient descent on slices, as PyTorch's `torch.optim.SGD` with momentum and weight decay.

/// SGD with momentum, without dampening, and with weight decay added to the gradient:
/// g ← g + λ p; v ← μ v + g; p ← p − lr · v. The first step starts from v = 0, which is PyTorch's v ← g.
#[derive(Clone, Debug, PartialEq)]
pub struct Sgd {
    momentum: f32,
    weight_decay: f32,
    velocity: Vec<f32>,
}

impl Sgd {
    /// An optimiser for a slice of `len` parameters.
    ///
    /// ```
    /// use counterweight_core::balance::Sgd;
    /// let mut parameters = [1.0_f32];
    /// let mut sgd = Sgd::new(1, 0.9, 0.0);
    /// sgd.step(&mut parameters, &[1.0], 0.5);
    /// sgd.step(&mut parameters, &[1.0], 0.5);
    /// assert!((parameters[0] - (1.0 - 0.5 - 0.5 * 1.9)).abs() < 1e-6);
    /// ```
    pub fn new(len: usize, momentum: f64, weight_decay: f64) -> Self {
        Self { momentum: momentum as f32, weight_decay: weight_decay as f32, velocity: vec![0.0; len] }
    }

    /// One step. `parameters` and `gradient` have the length the optimiser was made for; anything beyond it is left alone.
    pub fn step(&mut self, parameters: &mut [f32], gradient: &[f32], learning_rate: f64) {
        let rate = learning_rate as f32;
        let (momentum, decay) = (self.momentum, self.weight_decay);
        for ((parameter, gradient), velocity) in parameters.iter_mut().zip(gradient).zip(&mut self.velocity) {
            *velocity = momentum * *velocity + (gradient + decay * *parameter);
            *parameter -= rate * *velocity;
        }
    }
}
