//! The step of stochastic gradient descent.

use rayon::prelude::*;

use super::vectorised::vectorised;

/// Values a thread takes at a time.
const PIECE: usize = 16 * 1024;

/// g ← g + λ w, v ← μ v + g (v = 0 before the first step), w ← w − lr · v.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdStep {
    /// Learning rate lr.
    pub learning_rate: f32,
    /// Momentum μ.
    pub momentum: f32,
    /// Weight decay λ.
    pub weight_decay: f32,
}

impl SgdStep {
    /// Moves `weight` along `gradient`.
    ///
    /// # Shapes
    /// All slices have the same length.
    pub fn apply(&self, weight: &mut [f32], velocity: &mut [f32], gradient: &[f32]) {
        let pieces = weight
            .par_chunks_mut(PIECE)
            .zip(velocity.par_chunks_mut(PIECE))
            .zip(gradient.par_chunks(PIECE));
        pieces.for_each(|((weight, velocity), gradient)| {
            step(weight, velocity, gradient, self.learning_rate, self.momentum, self.weight_decay);
        });
    }
}

vectorised! {
    fn step(weight: &mut [f32], velocity: &mut [f32], gradient: &[f32], learning_rate: f32, momentum: f32, weight_decay: f32) {
        for ((weight, velocity), gradient) in weight.iter_mut().zip(velocity).zip(gradient) {
            *velocity = *velocity * momentum + (gradient + *weight * weight_decay);
            *weight -= *velocity * learning_rate;
        }
    }
}
