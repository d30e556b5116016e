//! What follows a layer.

use cubecl::prelude::*;

use crate::kernels::{Activation, SIX};

/// Applies the activation to every value. What is not a number stays so.
#[cube]
pub fn activate<W: Size>(
    value: Vector<f32, W>,
    #[comptime] activation: Activation,
) -> Vector<f32, W> {
    let mut result = value;
    if comptime!(activation != Activation::None) {
        result = select_many(result.less_than(&Vector::new(0.0f32)), Vector::new(0.0f32), result);
    }
    if comptime!(activation == Activation::Relu6) {
        let six = comptime!(SIX);
        result = select_many(result.greater_than(&Vector::new(six)), Vector::new(six), result);
    }
    result
}

/// The gradient where the activation let its input through, judged by the input or by the output,
/// otherwise 0. At a bound nothing goes through; what is not a number lets the gradient through.
#[cube]
pub fn let_through<W: Size>(
    gradient: Vector<f32, W>,
    value: Vector<f32, W>,
    #[comptime] activation: Activation,
) -> Vector<f32, W> {
    let mut result = gradient;
    let zero = Vector::<f32, W>::new(0.0f32);
    if comptime!(activation != Activation::None) {
        result = select_many(value.less_equal(&zero), zero, result);
    }
    if comptime!(activation == Activation::Relu6) {
        let six = comptime!(SIX);
        result = select_many(value.greater_equal(&Vector::new(six)), zero, result);
    }
    result
}
