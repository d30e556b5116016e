//! What inference does to the output of a convolution.
#![expect(
    unsafe_code,
    reason = "vector instructions, and addresses checked before a loop instead of in it"
)]

use super::super::activation::{Activation, SIX};
use super::super::simd::Simd;

/// Bias, residual and activation, in this order: what is left of batch norm, and of the end of a
/// residual block, once it is folded into the weight.
#[derive(Clone, Copy, Debug, Default)]
pub struct Epilogue<'a> {
    /// One value an output channel.
    pub bias: Option<&'a [f32]>,
    /// Added to the output; has the same length.
    pub residual: Option<&'a [f32]>,
    /// The output holds something already that is added to, a residual for one: see
    /// [`ConvShape::adds`](super::ConvShape::adds).
    pub adds: bool,
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
            Activation::Relu => {
                channels.iter_mut().for_each(|channel| *channel = Activation::Relu.apply(*channel))
            }
            Activation::Relu6 => {
                channels.iter_mut().for_each(|channel| *channel = Activation::Relu6.apply(*channel))
            }
        }
    }
}

/// The same for vectors of sums.
pub(super) struct Finish<'a> {
    bias: Option<&'a [f32]>,
    residual: Option<&'a [f32]>,
    low: f32,
    high: f32,
}

impl<'a> Finish<'a> {
    /// For pixels of so many channels.
    #[inline(always)]
    pub fn new(epilogue: Epilogue<'a>, channels: usize) -> Self {
        assert!(epilogue.bias.is_none_or(|bias| bias.len() >= channels));
        let (low, high) = match epilogue.activation {
            Activation::None => (f32::NEG_INFINITY, f32::INFINITY),
            Activation::Relu => (0.0, f32::INFINITY),
            Activation::Relu6 => (0.0, SIX),
        };
        Self { bias: epilogue.bias, residual: epilogue.residual, low, high }
    }

    /// Finishes a vector of sums, in the order of [`Epilogue::apply`].
    ///
    /// # Safety
    /// There must be a vector of the output at `at`, as of the residual, and of the bias at
    /// `channel`.
    #[inline(always)]
    pub unsafe fn apply<S: Simd>(&self, sum: S::V, at: usize, channel: usize) -> S::V {
        let mut sum = sum;
        // SAFETY: the caller's.
        unsafe {
            if let Some(bias) = self.bias {
                sum = S::add(sum, S::load(bias.as_ptr().add(channel)));
            }
            if let Some(residual) = self.residual {
                sum = S::add(sum, S::load(residual.as_ptr().add(at)));
            }
            S::min(S::splat(self.high), S::max(S::splat(self.low), sum))
        }
    }
}
