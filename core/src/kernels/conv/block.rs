//! The innermost loop of matrix products: a block of the result in registers.
#![expect(
    unsafe_code,
    reason = "vector instructions, and addresses checked before a loop instead of in it"
)]
#![expect(
    clippy::needless_range_loop,
    reason = "loops with constant bounds over small arrays become registers"
)]

use super::super::simd::Simd;

/// Vectors of a block, M rows by N vectors of columns.
pub(in super::super) type Block<S, const M: usize, const N: usize> = [[<S as Simd>::V; N]; M];

/// sums[m] += Σ over `depth` of rows[m][d] · w[d], where w has N vectors a step.
///
/// # Safety
/// Every row must have `depth` floats and `w` that many times N vectors; see also [`Simd`].
#[inline(always)]
pub(in super::super) unsafe fn accumulate<S: Simd, const M: usize, const N: usize>(
    sums: &mut Block<S, M, N>,
    rows: [*const f32; M],
    depth: usize,
    w: *const f32,
) {
    let mut w = w;
    for d in 0..depth {
        // SAFETY: d is below `depth`; w has moved by d steps.
        unsafe {
            let mut wv = [S::splat(0.0); N];
            for n in 0..N {
                wv[n] = S::load(w.add(n * S::LANES));
            }
            for m in 0..M {
                let xv = S::splat(*rows[m].add(d));
                for n in 0..N {
                    sums[m][n] = S::fma(xv, wv[n], sums[m][n]);
                }
            }
            w = w.add(N * S::LANES);
        }
    }
}
