//! Two ways from one tensor.

use std::sync::{Arc, Mutex, PoisonError};

use super::storage::Images;

/// In a residual block without downsampling, a tensor goes through the convolutions and around them. Its gradient is the sum of both ways'.
/// The way around comes first in the backward pass; it leaves its gradient here, and the first convolution adds its own to it in place, in
/// parallel, before autodiff sees either.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fork(Arc<Mutex<Option<Images>>>);

impl Fork {
    pub(super) fn leave(&self, gradient: Images) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(gradient);
    }

    pub(super) fn take(&self) -> Option<Images> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
