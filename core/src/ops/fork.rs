//! Two ways from one tensor.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use burn::backend::Backend;
use burn::backend::tensor::FloatTensor;

/// In a residual block, a tensor goes through the convolutions and around them. Its gradient is the
/// sum of both ways'. The one that comes first in the backward pass leaves its gradient here, and a
/// convolution of the other adds its own to it in place, in parallel, before autodiff sees either.
#[derive(Clone)]
pub(crate) struct Fork {
    left: Arc<Mutex<Option<Box<dyn Any + Send>>>>,
    /// Whether both ways begin with a convolution. Otherwise one is the tensor itself, which always
    /// comes first.
    downsamples: bool,
}

impl Fork {
    /// Between the convolutions and the tensor itself.
    pub fn around() -> Self {
        Self { left: Arc::default(), downsamples: false }
    }

    /// Between the convolutions and another convolution.
    pub fn downsampling() -> Self {
        Self { left: Arc::default(), downsamples: true }
    }

    /// Whether a convolution that finds nothing here has to leave its gradient for another.
    pub(super) fn awaits_another(&self) -> bool {
        self.downsamples
    }

    pub(super) fn leave<B: Backend>(&self, gradient: FloatTensor<B>) {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(gradient));
    }

    pub(super) fn take<B: Backend>(&self) -> Option<FloatTensor<B>> {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some(*left.downcast().expect("both ways are computed by one backend"))
    }
}

impl fmt::Debug for Fork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fork")
    }
}
