//! Memory that is used again.
//!
//! A training step asks for the same sizes in every round. Fresh memory costs a page fault for
//! every page, which is as much work as the arithmetic on it; so buffers go back to a pool when
//! they are dropped, and the pool gives up those it has not needed for a while.

#![expect(unsafe_code, reason = "memory of the pool is lent as floats and as bytes")]

use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};

use burn::tensor::{AllocationProperty, Bytes};
use burn_std::{AccessError, AccessPolicy, AllocationController};

/// A cache line, and the widest vector.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

/// Values in a line.
const LINE: usize = 16;
/// Smaller buffers, in lines, are left to the allocator: it is quick with them.
const POOLED: usize = 64;
/// A buffer is given up once so many others have been taken since it came back. A step of the
/// largest network takes a few hundred.
const KEPT_FOR: u64 = 2048;
/// Taking buffers between two looks for those to give up.
const LOOK_EVERY: u64 = 64;

/// Unused buffers, by their size in lines.
struct Pool {
    /// The last to come back is the first to go: it may still be in the cache.
    free: BTreeMap<usize, Vec<Free>>,
    /// Buffers taken since the program began.
    taken: u64,
}

struct Free {
    lines: Vec<Line>,
    /// [`Pool::taken`] when it came back.
    since: u64,
}

static POOL: Mutex<Pool> = Mutex::new(Pool { free: BTreeMap::new(), taken: 0 });

fn pool() -> MutexGuard<'static, Pool> {
    // Nothing done under the lock can leave the pool half changed.
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    fn take(&mut self, lines: usize) -> (Option<Vec<Line>>, Vec<Free>) {
        self.taken += 1;
        let found = self.free.get_mut(&lines).and_then(Vec::pop).map(|free| free.lines);
        let mut given_up = Vec::new();
        if self.taken.is_multiple_of(LOOK_EVERY) {
            let oldest = self.taken.saturating_sub(KEPT_FOR);
            for free in self.free.values_mut() {
                // They are in the order in which they came back.
                let stale = free.partition_point(|free| free.since < oldest);
                given_up.extend(free.drain(..stale));
            }
            self.free.retain(|_, free| !free.is_empty());
        }
        (found, given_up)
    }
}

/// Gives the memory of unused buffers back to the system.
pub fn release_memory() {
    let free = std::mem::take(&mut pool().free);
    // Unmapping takes time; other threads should not wait for the pool meanwhile.
    drop(free);
}

/// A float32 slice in memory that is used again, aligned to a cache line.
pub struct Buffer {
    lines: Vec<Line>,
    len: usize,
}

impl Buffer {
    /// A buffer of `len` values. They are whatever was there before: numbers of some earlier
    /// computation, or zeros.
    pub fn take(len: usize) -> Self {
        let lines = size(len.div_ceil(LINE));
        let (found, given_up) = match lines < POOLED {
            true => (None, Vec::new()),
            false => pool().take(lines),
        };
        drop(given_up);
        Self { lines: found.unwrap_or_else(|| vec![Line([0.0; LINE]); lines]), len }
    }

    /// A copy of `values`.
    pub fn copy_of(values: &[f32]) -> Self {
        let mut buffer = Self::take(values.len());
        buffer.copy_from_slice(values);
        buffer
    }

    /// The values as bytes of a tensor. The memory goes back to the pool when the tensor is
    /// dropped.
    pub fn into_bytes(self) -> Bytes {
        let len = self.len * size_of::<f32>();
        // SAFETY: the controller holds at least `len` bytes, all of them initialised.
        unsafe { Bytes::from_controller(Box::new(self), len) }
    }
}

/// Lines given to who asks for `lines`: a little more for the larger ones, so that the last batch
/// of an epoch finds what the others left.
fn size(lines: usize) -> usize {
    match lines < POOLED {
        true => lines,
        false => lines.next_multiple_of(1 << (lines.ilog2() - 3)),
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        if lines.len() >= POOLED {
            let mut pool = pool();
            let since = pool.taken;
            pool.free.entry(lines.len()).or_default().push(Free { lines, since });
        }
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: lines are nothing but initialised floats without gaps, and there are at least
        // `len` of these.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as in `deref`, and the lines are borrowed for as long as the slice.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

impl AllocationController for Buffer {
    /// Less than what it really has: bytes are copied with this alignment, and burn knows none
    /// above this one.
    fn alloc_align(&self) -> usize {
        align_of::<u128>()
    }

    fn property(&self) -> AllocationProperty {
        AllocationProperty::Other
    }

    unsafe fn memory_mut(
        &mut self,
        _policy: AccessPolicy,
    ) -> Result<&mut [MaybeUninit<u8>], AccessError> {
        let bytes = size_of_val(self.lines.as_slice());
        // SAFETY: the lines are so many bytes, borrowed for as long as the slice; the caller writes
        // only initialised ones.
        Ok(unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), bytes) })
    }

    fn memory(&self, _policy: AccessPolicy) -> Result<&[MaybeUninit<u8>], AccessError> {
        let bytes = size_of_val(self.lines.as_slice());
        // SAFETY: the lines are so many bytes, borrowed for as long as the slice.
        Ok(unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), bytes) })
    }

    fn duplicate(&self) -> Option<Box<dyn AllocationController>> {
        Some(Box::new(Self::copy_of(self)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No other test takes so many.
    const MANY: usize = 3_333_333;

    #[test]
    fn memory_comes_back_and_is_given_up_when_it_is_not_needed() {
        let mut buffer = Buffer::take(MANY);
        assert_eq!((buffer.len(), buffer.as_ptr() as usize % 64), (MANY, 0));
        buffer.fill(7.0);
        let place = buffer.as_ptr();
        drop(buffer.into_bytes());
        let again = Buffer::take(MANY - 5);
        assert_eq!((again.as_ptr(), again.len()), (place, MANY - 5));
        drop(again);
        let size = size(MANY.div_ceil(LINE));
        let waiting = || pool().free.get(&size).map_or(0, Vec::len);
        assert_eq!(waiting(), 1);
        for _ in 0..KEPT_FOR + LOOK_EVERY {
            drop(Buffer::take(POOLED * LINE));
        }
        assert_eq!(waiting(), 0);
    }

    #[test]
    fn bytes_are_the_values_and_copies_are_their_own() {
        for len in [0, 1, 1000, 5000] {
            let values: Vec<f32> = (0..len).map(|index| index as f32).collect();
            let bytes = Buffer::copy_of(&values).into_bytes();
            let mut copy = bytes.clone();
            assert_eq!((bytes.len(), &bytes), (4 * len, &copy));
            copy.fill(1);
            assert_eq!(
                bytes.iter().copied().collect::<Vec<u8>>(),
                values.iter().flat_map(|value| value.to_ne_bytes()).collect::<Vec<u8>>()
            );
            // What asks for a vector gets a copy, not the pool's memory.
            assert!(bytes.try_into_vec::<f32>().is_err());
        }
    }

    #[test]
    fn sizes_waste_little() {
        for lines in (1..5000).chain([123_456, 7_654_321]) {
            assert!((lines..=lines + lines / 8).contains(&size(lines)), "{lines}");
        }
    }
}
