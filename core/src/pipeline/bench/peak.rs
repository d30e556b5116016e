//! The most floating-point operations a second that this processor can do.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;
use std::hint::black_box;
use std::sync::Barrier;
use std::time::Instant;

/// Independent sums: enough to keep two units of four to five cycles' latency busy, and few enough for sixteen registers.
const SUMS: usize = 12;
/// Multiply-adds of vectors in each of the sums between two looks at the clock: some milliseconds.
const ROUNDS: usize = 1 << 21;
/// Times measured, of which the fastest counts: a peak is what nothing else gets in the way of.
const REPEATS: usize = 5;

/// Floating-point operations a second in billions, two a multiply-add, that `threads` threads reach together in single precision when they do
/// nothing else: no memory is touched. It takes a few dozen milliseconds.
///
/// ```
/// use counterweight_core::pipeline::bench::peak_gflops;
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
            lanes = rounds();
            seconds = seconds.min(started.elapsed().as_secs_f64());
        }
        2.0 * (ROUNDS * SUMS * lanes) as f64 / seconds / 1e9
    };
    let fastest = &fastest;
    std::thread::scope(|scope| {
        let workers: Vec<_> = (1..threads).map(|thread| scope.spawn(move || fastest(thread))).collect();
        fastest(0) + workers.into_iter().map(|worker| worker.join().unwrap_or(0.0)).sum::<f64>()
    })
}

/// Does [`ROUNDS`] multiply-adds in each of [`SUMS`] vectors, and says how many numbers a vector has.
fn rounds() -> usize {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has AVX-512.
            unsafe { rounds_avx512() };
            return 16;
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the processor has AVX2 and FMA.
            unsafe { rounds_avx2() };
            return 8;
        }
    }
    rounds_portable();
    4
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn rounds_avx512() {
    let (factor, addend) = (_mm512_set1_ps(black_box(0.999)), _mm512_set1_ps(black_box(0.001)));
    let mut sums = [addend; SUMS];
    for _ in 0..ROUNDS {
        for sum in &mut sums {
            *sum = _mm512_fmadd_ps(*sum, factor, addend);
        }
    }
    black_box(sums);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn rounds_avx2() {
    let (factor, addend) = (_mm256_set1_ps(black_box(0.999)), _mm256_set1_ps(black_box(0.001)));
    let mut sums = [addend; SUMS];
    for _ in 0..ROUNDS {
        for sum in &mut sums {
            *sum = _mm256_fmadd_ps(*sum, factor, addend);
        }
    }
    black_box(sums);
}

fn rounds_portable() {
    let (factor, addend) = (black_box(0.999_f32), black_box(0.001_f32));
    let mut sums = [[addend; 4]; SUMS];
    for _ in 0..ROUNDS {
        for number in sums.as_flattened_mut() {
            // A fused operation that the processor lacks is a call of a slow function.
            *number = match cfg!(any(target_feature = "fma", target_arch = "aarch64")) {
                true => number.mul_add(factor, addend),
                false => *number * factor + addend,
            };
        }
    }
    black_box(sums);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_runs_and_a_processor_does_a_billion_a_second() {
        rounds_portable();
        assert!(peak_gflops(1) > 1.0);
        assert!(peak_gflops(3) > 1.0);
    }
}
