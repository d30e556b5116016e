//! What follows a layer.

/// What ReLU6 ends at.
pub const SIX: f32 = 6.0;

/// What is applied to every value at the end of a layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Activation {
    /// Nothing.
    #[default]
    None,
    /// max(x, 0).
    Relu,
    /// min(max(x, 0), 6).
    Relu6,
}

impl Activation {
    /// Applies it. What is not a number stays so.
    #[inline(always)]
    pub fn apply(self, x: f32) -> f32 {
        self.bounds().apply(x)
    }

    /// What it cuts off.
    #[inline(always)]
    pub(super) fn bounds(self) -> Bounds {
        match self {
            Activation::None => Bounds { floor: f32::NAN, ceiling: f32::NAN },
            Activation::Relu => Bounds { floor: 0.0, ceiling: f32::NAN },
            Activation::Relu6 => Bounds { floor: 0.0, ceiling: SIX },
        }
    }
}

/// The least and the largest value that an activation gives. NaN stands for no bound: every
/// comparison with it fails.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    floor: f32,
    ceiling: f32,
}

impl Bounds {
    /// The value between the bounds. What is not a number stays so.
    #[inline(always)]
    pub fn apply(self, x: f32) -> f32 {
        let x = if x < self.floor { self.floor } else { x };
        if x > self.ceiling { self.ceiling } else { x }
    }

    /// The gradient where the activation let its input through, judged by the input or by the
    /// output, otherwise 0. At a bound nothing goes through; what is no number lets the gradient
    /// through.
    #[inline(always)]
    pub fn masked(self, gradient: f32, value: f32) -> f32 {
        if (value <= self.floor) | (value >= self.ceiling) { 0.0 } else { gradient }
    }
}

#[cfg(test)]
mod tests {
    use super::Activation::{None, Relu, Relu6};

    #[test]
    fn activations_end_where_they_should_and_keep_what_is_no_number() {
        let values = [-7.0, -0.5, 0.0, 5.5, 7.0, f32::INFINITY];
        assert_eq!(values.map(|x| None.apply(x)), values);
        assert_eq!(values.map(|x| Relu.apply(x)), [0.0, 0.0, 0.0, 5.5, 7.0, f32::INFINITY]);
        assert_eq!(values.map(|x| Relu6.apply(x)), [0.0, 0.0, 0.0, 5.5, 6.0, 6.0]);
        assert!(
            [None, Relu, Relu6].into_iter().all(|activation| activation.apply(f32::NAN).is_nan())
        );
    }

    #[test]
    fn gradients_go_through_between_the_bounds_only() {
        let values = [f32::NEG_INFINITY, -0.5, 0.0, 0.5, 6.0, 7.0, f32::INFINITY, f32::NAN];
        let masks = |activation: super::Activation| {
            values.map(|value| activation.bounds().masked(2.0, value))
        };
        assert_eq!(masks(None), [2.0; 8]);
        assert_eq!(masks(Relu), [0.0, 0.0, 0.0, 2.0, 2.0, 2.0, 2.0, 2.0]);
        assert_eq!(masks(Relu6), [0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 2.0]);
    }
}
