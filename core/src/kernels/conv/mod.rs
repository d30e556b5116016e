//! Convolutions of images stored channels-last, and their gradients.
//!
//! Those of every channel by itself take [`depthwise`], 3×3 convolutions with stride 1 [`grouped`]
//! if their groups are narrow and else [`winograd`], all others [`direct`] and [`gradient`]. Where
//! groups have fewer channels than a vector otherwise, a vector of outputs is computed from all of
//! its groups, with zeros for weights between them.

pub(super) mod block;
mod depthwise;
mod direct;
mod epilogue;
mod gradient;
mod grouped;
mod packed;
mod prefetch;
mod shape;
#[cfg(test)]
mod tests;
mod winograd;

pub use epilogue::Epilogue;
pub use packed::{FoldedConv, PackedConv};
pub use shape::{ConvShape, Zeros};

use super::simd::InstructionSet;
use packed::{Orders, Weight};
use shape::Direction;

/// The convolution y = x ∗ w, finished as `epilogue` asks for.
///
/// `x` is `[batch, height, width, input]`, `weight` `[output, input / groups, kernel, kernel]` and
/// `y`, which is overwritten, `[batch, out_height, out_width, output]`.
///
/// # Panics
/// If a length does not fit the shape; so do the other functions here.
pub fn conv_forward(
    shape: &ConvShape,
    x: &[f32],
    weight: &[f32],
    epilogue: Epilogue<'_>,
    y: &mut [f32],
) {
    conv_forward_on(InstructionSet::best(), shape, x, weight, epilogue, y);
}

impl ConvShape {
    /// Whether the convolution and the gradient of its input can be added to what their outputs
    /// hold ([`Epilogue::adds`]), so that no third piece of memory passes through the caches.
    /// Transforms that may have to begin anew, and channels by themselves, overwrite theirs.
    pub fn adds(&self, set: InstructionSet) -> bool {
        !self.is_depthwise() && !grouped::fits_forward(set, self) && !winograd::fits(set, self)
    }
}

/// The gradient of a convolution's input from that of its output, finished as `epilogue` asks for:
/// `dx`, which is overwritten, as
/// [`conv_forward`]'s x, `dy` as its y.
pub fn conv_input_gradient(
    shape: &ConvShape,
    dy: &[f32],
    weight: &[f32],
    epilogue: Epilogue<'_>,
    dx: &mut [f32],
) {
    conv_input_gradient_on(InstructionSet::best(), shape, dy, weight, epilogue, dx);
}

/// The gradient of a convolution's weight from its input and the gradient of its output; `dw`,
/// which is overwritten, as the weight.
pub fn conv_weight_gradient(shape: &ConvShape, x: &[f32], dy: &[f32], dw: &mut [f32]) {
    conv_weight_gradient_on(InstructionSet::best(), shape, x, dy, dw);
}

/// [`conv_forward`] with a chosen instruction set, which the processor must have.
pub fn conv_forward_on(
    set: InstructionSet,
    shape: &ConvShape,
    x: &[f32],
    weight: &[f32],
    epilogue: Epilogue<'_>,
    y: &mut [f32],
) {
    shape.check_lengths(x, weight, y);
    forward(set, shape, x, &weight, epilogue, y);
}

/// [`conv_forward_on`] with a weight in whatever orders there are of it.
fn forward(
    set: InstructionSet,
    shape: &ConvShape,
    x: &[f32],
    weight: &impl Orders,
    epilogue: Epilogue<'_>,
    y: &mut [f32],
) {
    assert!(!epilogue.adds || shape.adds(set), "this convolution overwrites its output");
    if shape.is_depthwise() {
        depthwise::convolve(set, shape, Direction::Forward, x, weight.plain(), epilogue, y);
    } else if grouped::fits_forward(set, shape) {
        grouped::convolve(set, shape, Direction::Forward, x, weight.plain(), epilogue, y);
    } else if !(winograd::fits(set, shape)
        && winograd::convolve(set, shape, Direction::Forward, x, weight.winograd(), epilogue, y))
    {
        direct::forward(set, shape, x, weight.direct(), epilogue, y);
    }
}

/// [`conv_input_gradient`] with a chosen instruction set.
pub fn conv_input_gradient_on(
    set: InstructionSet,
    shape: &ConvShape,
    dy: &[f32],
    weight: &[f32],
    epilogue: Epilogue<'_>,
    dx: &mut [f32],
) {
    shape.check_lengths(dx, weight, dy);
    assert!(!epilogue.adds || shape.adds(set), "this gradient overwrites its output");
    let plain = Weight::Plain(weight);
    if shape.is_depthwise() {
        depthwise::convolve(set, shape, Direction::Backward, dy, weight, epilogue, dx);
    } else if grouped::fits(set, shape) {
        grouped::convolve(set, shape, Direction::Backward, dy, weight, epilogue, dx);
    } else if !(winograd::fits(set, shape)
        && winograd::convolve(set, shape, Direction::Backward, dy, plain, epilogue, dx))
    {
        direct::input_gradient(set, shape, dy, weight, epilogue, dx);
    }
}

/// [`conv_weight_gradient`] with a chosen instruction set.
pub fn conv_weight_gradient_on(
    set: InstructionSet,
    shape: &ConvShape,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
) {
    shape.check_lengths(x, dw, dy);
    if shape.is_depthwise() {
        depthwise::weight_gradient(set, shape, x, dy, dw);
    } else if grouped::fits(set, shape) {
        grouped::weight_gradient(set, shape, x, dy, dw);
    } else if !(winograd::fits(set, shape) && winograd::weight_gradient(set, shape, x, dy, dw)) {
        gradient::weight_gradient(set, shape, x, dy, dw);
    }
}
