//! Working memory of a thread, kept from one call to the next, so that the steady state of training
//! allocates nothing.

use std::cell::RefCell;

/// Floats in a cache line.
const LINE: usize = 64 / size_of::<f32>();

thread_local! {
    static KEPT: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Calls `work` with `len` floats that hold anything and start at a cache line. Nested calls get
/// memory of their own.
pub(super) fn with_scratch<R>(len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    if len == 0 {
        return work(&mut []);
    }
    let mut buffer = take(len + LINE);
    let start = buffer.as_ptr().align_offset(64).min(LINE);
    let result = work(&mut buffer[start..start + len]);
    KEPT.with_borrow_mut(|kept| kept.push(buffer));
    result
}

/// Cuts a slice into pieces of these lengths.
pub(super) fn split(mut rest: &mut [f32], lengths: impl Iterator<Item = usize>) -> Vec<&mut [f32]> {
    let mut pieces = Vec::new();
    for length in lengths {
        let (piece, left) = std::mem::take(&mut rest).split_at_mut(length);
        pieces.push(piece);
        rest = left;
    }
    pieces
}

/// The smallest kept buffer that is large enough, or the largest one made larger.
fn take(len: usize) -> Vec<f32> {
    let kept = KEPT.with_borrow_mut(|kept| {
        let fits = (0..kept.len()).filter(|i| kept[*i].len() >= len).min_by_key(|i| kept[*i].len());
        let chosen = fits.or_else(|| (0..kept.len()).max_by_key(|i| kept[*i].len()))?;
        Some(kept.swap_remove(chosen))
    });
    match kept {
        Some(buffer) if buffer.len() >= len => buffer,
        // What it held is of no use, so it is not copied.
        _ => vec![0.0; len],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_kept_and_nested_calls_do_not_share_it() {
        let address = |buffer: &[f32]| buffer.as_ptr() as usize;
        let first = with_scratch(100, |outer| {
            outer.fill(1.0);
            with_scratch(50, |inner| {
                inner.fill(2.0);
                assert_eq!(inner.len(), 50);
            });
            assert_eq!(outer, [1.0; 100]);
            address(outer)
        });
        assert_eq!(first % 64, 0);
        assert_eq!(with_scratch(100, |buffer| address(buffer)), first);
        assert!(with_scratch(0, |buffer| buffer.is_empty()));
        with_scratch(10_000, |buffer| assert_eq!(buffer.len(), 10_000));
    }
}
