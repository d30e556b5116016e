//! What inference does to the output of a convolution.

use super::super::activation::Activation;

/// Bias, residual and activation, in this order: what is left of batch norm, and of the end of a residual block, once it is folded into the weight.
#[derive(Clone, Copy, Debug, Default)]
pub struct Epilogue<'a> {
    /// One value an output channel.
    pub bias: Option<&'a [f32]>,
    /// Added to the output; as long as it is.
    pub residual: Option<&'a [f32]>,
    /// Applied last.
    pub activation: Activation,
}

impl<'a> Epilogue<'a> {
    pub(super) fn is_needed(&self) -> bool {
        self.bias.is_some() || self.residual.is_some() || self.activation != Activation::None
    }

    /// For a part of the output.
    #[inline(always)]
    pub(super) fn part(&self, start: usize, len: usize) -> Self {
        Self { residual: self.residual.map(|residual| &residual[start..][..len]), ..*self }
    }

    /// Finishes the channels of a pixel from `first` on. Residuals are this pixel's.
    #[inline(always)]
    pub(super) fn apply(&self, first: usize, channels: &mut [f32]) {
        if let Some(bias) = self.bias {
            channels.iter_mut().zip(&bias[first..]).for_each(|(channel, bias)| *channel += bias);
        }
        if let Some(residual) = self.residual {
            channels.iter_mut().zip(residual).for_each(|(channel, residual)| *channel += residual);
        }
        match self.activation {
            Activation::None => {}
            Activation::Relu => channels.iter_mut().for_each(|channel| *channel = Activation::Relu.apply(*channel)),
            Activation::Relu6 => channels.iter_mut().for_each(|channel| *channel = Activation::Relu6.apply(*channel)),
        }
    }
}
