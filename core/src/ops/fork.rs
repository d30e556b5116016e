//! Two ways from one tensor.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use burn::backend::Backend;
use burn::backend::tensor::FloatTensor;

/// In a residual block without downsampling, a tensor goes through the convolutions and around them. Its gradient is the sum of both ways'.
/// The way around comes first in the backward pass; it leaves its gradient here, and the first convolution adds its own to it in place, in
/// parallel, before autodiff sees either.
#[derive(Clone, Default)]
pub(crate) struct Fork(Arc<Mutex<Option<Box<dyn Any + Send>>>>);

impl Fork {
    pub(super) fn leave<B: Backend>(&self, gradient: FloatTensor<B>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(gradient));
    }

    pub(super) fn take<B: Backend>(&self) -> Option<FloatTensor<B>> {
        let left = self.0.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some(*left.downcast().expect("both ways are computed by one backend"))
    }
}

impl fmt::Debug for Fork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fork")
    }
}
