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
    pub fn apply(self, x: f32) -> f32 {
        match self {
            Activation::None => x,
            Activation::Relu if x < 0.0 => 0.0,
            Activation::Relu => x,
            Activation::Relu6 => x.clamp(0.0, SIX),
        }
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
        assert!([None, Relu, Relu6].into_iter().all(|activation| activation.apply(f32::NAN).is_nan()));
    }
}
