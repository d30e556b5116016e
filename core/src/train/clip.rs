//! Gradient clipping: a step is never longer than a gradient of a given length would make it.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

#[cfg(feature = "gpu")]
use crate::ops;

/// What keeps the factor finite where all gradients are zero, as in PyTorch's `clip_grad_norm_`.
const TINY: f64 = 1e-6;

/// The gradients of `module`'s parameters, scaled by one factor so that the Euclidean norm of all
/// of them together is at most `longest` (Pascanu et al., 2013). Shorter ones stay as they are. The
/// factor stays on the device: nothing is waited for.
pub(super) fn clip<M: Module>(
    module: &M,
    gradients: GradientsParams,
    longest: f64,
) -> GradientsParams {
    let mut squares = Squares { gradients: &gradients, sum: None };
    module.visit(&mut squares);
    let Some(sum) = squares.sum else { return gradients };
    let factor = ((sum.sqrt() + TINY).recip() * longest).clamp_max(1.0);
    let mut scaled = Scaled { gradients, factor, scaled: GradientsParams::new() };
    module.visit(&mut scaled);
    scaled.scaled
}

/// Adds up the squares of all gradients.
struct Squares<'a> {
    gradients: &'a GradientsParams,
    sum: Option<Tensor<1>>,
}

impl ModuleVisitor for Squares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(gradient) = self.gradients.get::<D>(param.id) else { return };
        let gradient = gradient.inner();
        let squares = sum(gradient.clone() * gradient);
        self.sum = Some(match self.sum.take() {
            Some(sum) => sum + squares,
            None => squares,
        });
    }
}

/// The sum of all values, added in the same order every time, so that the same seed gives the same
/// weights.
fn sum<const D: usize>(values: Tensor<D>) -> Tensor<1> {
    #[cfg(feature = "gpu")]
    if ops::is_gpu(&values.device()) {
        return ops::ordered_sum(values);
    }
    /// From so many values on, burn's CPU threads add up pieces in the order in which they are done.
    const SHARED: usize = 1 << 20;
    let count = values.shape().num_elements();
    match count < SHARED {
        true => values.sum(),
        false => {
            let rows = values.dims()[0].max(1);
            values.reshape([rows, count / rows]).sum_dim(1).sum()
        }
    }
}

/// Multiplies every gradient by the factor.
struct Scaled {
    gradients: GradientsParams,
    factor: Tensor<1>,
    scaled: GradientsParams,
}

impl ModuleVisitor for Scaled {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(gradient) = self.gradients.remove::<D>(param.id) else { return };
        let factor = self.factor.clone().reshape([1; D]);
        self.scaled.register(param.id, gradient.inner() * factor);
    }
}
