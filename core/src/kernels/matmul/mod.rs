//! The two matrix products of a linear layer, on row-major slices: logits, and a step of SGD along
//! the weight's gradient.
//!
//! Sums are kept in registers, a tile of the result at a time. The order of the sums depends on the
//! shapes and on the length of the processor's vectors alone: weights are taken a block of classes
//! at a time, which stays near while it is worked on, and large products have their blocks computed
//! on all cores, but no sum is ever cut.
#![expect(
    unsafe_code,
    reason = "vector instructions, addresses checked before a loop instead of in it, and threads that write columns of their own"
)]

mod descend;
mod logits;
mod next;
mod samples;

pub(crate) use descend::{Update, descend};
pub(crate) use logits::logits;
pub(crate) use next::{Descent, descend_then_logits};
pub(crate) use samples::Panels;

use super::simd::Simd;

/// Classes of a block: a multiple of every tile's, few enough for a core's own cache with a few
/// thousand features.
const CLASSES: usize = 30;
/// Multiply-adds from which on waking other threads costs next to nothing.
const SPREAD: usize = 1 << 24;

/// Samples, classes and features of a block.
#[derive(Clone, Copy)]
struct Shape {
    n: usize,
    classes: usize,
    dim: usize,
    /// Classes of all blocks: how far rows of a matrix [n, classes] are apart.
    of: usize,
}

impl Shape {
    /// Whether a product is spread over all cores. Threads of rayon's pool do not spread it: what
    /// put them to work keeps the others busy as well, and a thread that waits for others takes up
    /// more of that work meanwhile, with all the memory it needs.
    fn is_spread(self) -> bool {
        let Self { n, classes, dim, .. } = self;
        n * classes * dim >= SPREAD && rayon::current_thread_index().is_none()
    }
}

/// Reads `len` numbers, fewer than a vector holds; the rest is zero.
#[inline(always)]
unsafe fn load_first<S: Simd>(from: *const f32, len: usize) -> S::V {
    let mut part = [0.0_f32; 16];
    // SAFETY: the caller's; no vector is longer than 16.
    unsafe {
        part.as_mut_ptr().copy_from_nonoverlapping(from, len);
        S::load(part.as_ptr())
    }
}

/// Writes the first `len` numbers, fewer than a vector holds.
#[inline(always)]
unsafe fn store_first<S: Simd>(vector: S::V, to: *mut f32, len: usize) {
    let mut part = [0.0_f32; 16];
    // SAFETY: the caller's; no vector is longer than 16.
    unsafe {
        S::store(part.as_mut_ptr(), vector);
        to.copy_from_nonoverlapping(part.as_ptr(), len);
    }
}

#[cfg(test)]
mod tests {
    use super::descend::descend_on;
    use super::logits::logits_on;
    use super::*;
    use crate::kernels::InstructionSet;

    /// Samples, classes and features that are no multiples of any tile or vector, and some that
    /// are.
    const SHAPES: [[usize; 3]; 8] = [
        [64, 100, 512],
        [1, 2, 1],
        [7, 11, 37],
        [5, 3, 9],
        [4, 5, 16],
        [33, 13, 70],
        [3, 87, 9],
        [67, 46, 1111],
    ];

    fn numbers(count: usize, step: f32) -> Vec<f32> {
        (0..count).map(|i| (i as f32 * step).sin()).collect()
    }

    #[test]
    fn logits_equal_the_sums_written_out() {
        for [n, classes, dim] in SHAPES {
            let (x, w, bias) =
                (numbers(n * dim, 0.7), numbers(classes * dim, 0.3), numbers(classes, 1.1));
            let expected = |row: usize, class: usize| {
                let products =
                    (0..dim).map(|j| f64::from(x[row * dim + j]) * f64::from(w[class * dim + j]));
                products.sum::<f64>() + f64::from(bias[class])
            };
            for set in InstructionSet::available() {
                let mut out = vec![f32::NAN; n * classes];
                logits_on(set, &x, &w, &bias, &mut out);
                for (i, value) in out.iter().enumerate() {
                    let expected = expected(i / classes, i % classes);
                    assert!(
                        (expected - f64::from(*value)).abs() < 1e-4,
                        "{n} {classes} {dim}: {expected} {value}"
                    );
                }
            }
            let mut out = vec![f32::NAN; n * classes];
            logits(&x, &w, &bias, &mut out);
            assert!((f64::from(out[n * classes - 1]) - expected(n - 1, classes - 1)).abs() < 1e-4);
        }
        logits(&[], &[1.0, 2.0], &[0.0, 0.0], &mut []);
    }

    #[test]
    fn all_cores_give_what_one_gives_to_the_last_bit() {
        let [n, classes, dim] = [64, 203, 1500];
        assert!(Shape { n, classes, dim, of: classes }.is_spread());
        let (x, w, bias) =
            (numbers(n * dim, 0.7), numbers(classes * dim, 0.3), numbers(classes, 1.1));
        let (d, v) = (numbers(n * classes, 0.9), numbers(classes * dim, 1.3));
        let update = Update { momentum: 0.9, weight_decay: 0.1, learning_rate: 0.01 };
        let both = || {
            let mut out = vec![f32::NAN; n * classes];
            logits(&x, &w, &bias, &mut out);
            let (mut moved, mut speed) = (w.clone(), v.clone());
            descend(&d, &x, &mut moved, &mut speed, classes, update);
            [out, moved, speed]
        };
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let alone = one.install(|| {
            assert!(!Shape { n, classes, dim, of: classes }.is_spread());
            both()
        });
        assert_eq!(both(), alone);
        // A block more or less of classes changes nothing either, nor do panels.
        for some in [43, CLASSES - 1] {
            let mut few = vec![0.0; n * some];
            logits(&x, &w[..some * dim], &bias[..some], &mut few);
            for (few, all) in few.chunks_exact(some).zip(alone[0].chunks_exact(classes)) {
                assert_eq!(few, &all[..some]);
            }
            let d: Vec<f32> =
                d.chunks_exact(classes).flat_map(|row| &row[..some]).copied().collect();
            let (mut moved, mut speed) = (w[..some * dim].to_vec(), v[..some * dim].to_vec());
            descend(&d, &x, &mut moved, &mut speed, some, update);
            assert_eq!(
                (&moved[..], &speed[..]),
                (&alone[1][..some * dim], &alone[2][..some * dim])
            );
        }
    }

    #[test]
    fn a_step_and_the_next_logits_are_those_one_after_the_other_to_the_last_bit() {
        let [before, after, classes, dim] = [64, 33, 203, 1500];
        let (x, next) = (numbers(before * dim, 0.7), numbers(after * dim, 0.4));
        let (w, v) = (numbers(classes * dim, 0.3), numbers(classes * dim, 1.3));
        let (d, bias) = (numbers(before * classes, 0.9), numbers(classes, 1.1));
        let update = Update { momentum: 0.9, weight_decay: 0.1, learning_rate: 0.01 };
        let mut expected = (w.clone(), v.clone(), vec![f32::NAN; after * classes]);
        descend(&d, &x, &mut expected.0, &mut expected.1, classes, update);
        logits(&next, &expected.0, &bias, &mut expected.2);
        let both = || {
            let mut found = (w.clone(), v.clone(), vec![f32::NAN; after * classes]);
            let x = Panels::new(&x, classes, dim).unwrap();
            let next = Panels::new(&next, classes, dim).unwrap();
            let descent = Descent { d: &d, x: &x, update };
            let following = Some((&next, &mut found.2[..]));
            descend_then_logits(descent, &mut found.0, &mut found.1, &bias, following);
            found
        };
        assert_eq!(both(), expected);
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert_eq!(one.install(both), expected);
    }

    #[test]
    fn a_step_follows_the_gradient_written_out() {
        let update = Update { momentum: 0.9, weight_decay: 0.1, learning_rate: 0.01 };
        for [n, classes, dim] in SHAPES {
            let (d, x) = (numbers(n * classes, 0.9), numbers(n * dim, 0.7));
            let (w, v) = (numbers(classes * dim, 0.3), numbers(classes * dim, 1.3));
            for set in InstructionSet::available() {
                let (mut moved, mut speed) = (w.clone(), v.clone());
                descend_on(set, &d, &x, &mut moved, &mut speed, classes, update);
                for i in 0..classes * dim {
                    let (class, j) = (i / dim, i % dim);
                    let products = (0..n).map(|row| {
                        f64::from(d[row * classes + class]) * f64::from(x[row * dim + j])
                    });
                    let expected =
                        0.9 * f64::from(v[i]) + products.sum::<f64>() + 0.1 * f64::from(w[i]);
                    assert!(
                        (expected - f64::from(speed[i])).abs() < 1e-4,
                        "{n} {classes} {dim}: {expected} {}",
                        speed[i]
                    );
                    assert!((f64::from(w[i]) - 0.01 * expected - f64::from(moved[i])).abs() < 1e-5);
                }
            }
        }
    }
}
