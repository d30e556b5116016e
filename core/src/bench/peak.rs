//! The most floating-point operations a second that this processor can do.
#![expect(
    unsafe_code,
    reason = "vector instructions are called once the processor was found to have them"
)]

use std::hint::black_box;
use std::sync::Barrier;
use std::time::Instant;

use crate::kernels::InstructionSet;
use crate::kernels::simd::{Kernel, Simd, dispatch};

/// Independent sums: enough to keep two units of four to five cycles' latency busy, and few enough
/// for sixteen registers.
const SUMS: usize = 12;
/// Multiply-adds of vectors in each of the sums between two looks at the clock: some milliseconds.
const ROUNDS: usize = 1 << 21;
/// Times measured, of which the fastest counts: a peak is what nothing else gets in the way of.
const REPEATS: usize = 5;

/// Floating-point operations a second in billions, two a multiply-add, that `threads` threads reach
/// together in single precision when they do nothing else: no memory is touched. It takes a few
/// dozen milliseconds.
///
/// ```
/// use counterweight_core::bench::peak_gflops;
/// assert!(peak_gflops(1) > 0.1);
/// ```
pub fn peak_gflops(threads: usize) -> f64 {
    let threads = threads.max(1);
    let together = Barrier::new(threads);
    let fastest = |_| {
        let mut seconds = f64::INFINITY;
        let mut lanes = 0;
        for _ in 0..REPEATS {
            together.wait();
            let started = Instant::now();
            lanes = dispatch(InstructionSet::best(), Rounds);
            seconds = seconds.min(started.elapsed().as_secs_f64());
        }
        2.0 * (ROUNDS * SUMS * lanes) as f64 / seconds / 1e9
    };
    let fastest = &fastest;
    std::thread::scope(|scope| {
        let workers: Vec<_> =
            (1..threads).map(|thread| scope.spawn(move || fastest(thread))).collect();
        fastest(0) + workers.into_iter().map(|worker| worker.join().unwrap_or(0.0)).sum::<f64>()
    })
}

/// [`ROUNDS`] multiply-adds in each of [`SUMS`] vectors; gives the numbers a vector has.
struct Rounds;

impl Kernel for Rounds {
    type Output = usize;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> usize {
        // SAFETY: `dispatch` entered a function for S.
        unsafe {
            let (factor, addend) = (S::splat(black_box(0.999)), S::splat(black_box(0.001)));
            let mut sums = [addend; SUMS];
            for _ in 0..ROUNDS {
                for sum in &mut sums {
                    *sum = S::fma(*sum, factor, addend);
                }
            }
            black_box(sums.map(|sum| S::sum(sum)));
        }
        S::LANES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_runs_and_a_processor_does_a_billion_a_second() {
        for set in InstructionSet::available() {
            assert_eq!(dispatch(set, Rounds), set.lanes());
        }
        assert!(peak_gflops(1) > 1.0);
        assert!(peak_gflops(3) > 1.0);
    }
}
