//! Between tiles and the points at which they are multiplied: B, A and G of the module's formula,
//! along one side and along both.
#![expect(
    unsafe_code,
    reason = "vector instructions, and addresses checked before a loop instead of in it"
)]
#![expect(
    clippy::needless_range_loop,
    reason = "loops with constant bounds over small arrays become registers"
)]

use super::super::super::simd::Simd;
use super::{IN, OUT};

/// Bᵀ d B of all channels of a tile, each point at its own step of `to`.
#[inline(always)]
pub(super) unsafe fn transform_input<S: Simd>(
    from: *const f32,
    line: usize,
    channels: usize,
    to: *mut f32,
    point_step: usize,
) {
    // SAFETY: the caller passes a whole tile, and room for every point.
    unsafe {
        for c in (0..channels).step_by(S::LANES) {
            let mut columns = [[S::splat(0.0); IN]; IN];
            for k in 0..IN {
                let d = [0, 1, 2, 3, 4, 5].map(|r| S::load(from.add(r * line + k * channels + c)));
                let t = inputs_6_of_6::<S>(d);
                for r in 0..IN {
                    columns[r][k] = t[r];
                }
            }
            for r in 0..IN {
                let t = inputs_6_of_6::<S>(columns[r]);
                for k in 0..IN {
                    S::store(to.add((r * IN + k) * point_step + c), t[k]);
                }
            }
        }
    }
}

/// Aᵀ m A of all channels of a tile. Adds zero times every result to `doubt`, which is no longer
/// zero once one was not finite.
#[inline(always)]
pub(super) unsafe fn transform_output<S: Simd>(
    from: *const f32,
    point_step: usize,
    channels: usize,
    to: *mut f32,
    line: usize,
    [rows, columns]: [usize; 2],
    mut doubt: S::V,
) -> S::V {
    // SAFETY: the caller passes every point, and `rows` by `columns` pixels of the output.
    unsafe {
        let zero = S::splat(0.0);
        for c in (0..channels).step_by(S::LANES) {
            let mut half = [[zero; IN]; OUT];
            for k in 0..IN {
                let m =
                    [0, 1, 2, 3, 4, 5].map(|r| S::load(from.add((r * IN + k) * point_step + c)));
                let t = outputs_4_of_6::<S>(m);
                for r in 0..OUT {
                    half[r][k] = t[r];
                }
            }
            for r in 0..OUT {
                let t = outputs_4_of_6::<S>(half[r]);
                if r < rows {
                    for k in 0..OUT {
                        if k < columns {
                            doubt = S::fma(t[k], zero, doubt);
                            S::store(to.add(r * line + k * channels + c), t[k]);
                        }
                    }
                }
            }
        }
        doubt
    }
}

/// A dy Aᵀ of all channels of a tile; pixels beyond the image count as zero.
#[inline(always)]
pub(super) unsafe fn transform_gradient<S: Simd>(
    from: *const f32,
    line: usize,
    [rows, columns]: [usize; 2],
    channels: usize,
    to: *mut f32,
    point_step: usize,
) {
    // SAFETY: the caller passes `rows` by `columns` pixels, and room for every point.
    unsafe {
        let zero = S::splat(0.0);
        for c in (0..channels).step_by(S::LANES) {
            let mut half = [[zero; OUT]; IN];
            for k in 0..OUT {
                let mut y = [zero; OUT];
                for r in 0..OUT {
                    if r < rows && k < columns {
                        y[r] = S::load(from.add(r * line + k * channels + c));
                    }
                }
                let t = gradients_6_of_4::<S>(y);
                for r in 0..IN {
                    half[r][k] = t[r];
                }
            }
            for r in 0..IN {
                let t = gradients_6_of_4::<S>(half[r]);
                for k in 0..IN {
                    S::store(to.add((r * IN + k) * point_step + c), t[k]);
                }
            }
        }
    }
}

/// Bᵀ d.
#[inline(always)]
pub(super) unsafe fn inputs_6_of_6<S: Simd>(d: [S::V; IN]) -> [S::V; IN] {
    // SAFETY: the caller runs inside a function for S.
    unsafe {
        let (two, four, minus_four, minus_five) =
            (S::splat(2.0), S::splat(4.0), S::splat(-4.0), S::splat(-5.0));
        let even = S::fma(d[2], minus_four, d[4]);
        let odd = S::fma(d[1], minus_four, d[3]);
        let even2 = S::sub(d[4], d[2]);
        let odd2 = S::mul(two, S::sub(d[3], d[1]));
        [
            S::fma(d[0], four, S::fma(d[2], minus_five, d[4])),
            S::add(even, odd),
            S::sub(even, odd),
            S::add(even2, odd2),
            S::sub(even2, odd2),
            S::fma(d[1], four, S::fma(d[3], minus_five, d[5])),
        ]
    }
}

/// Aᵀ m.
#[inline(always)]
pub(super) unsafe fn outputs_4_of_6<S: Simd>(m: [S::V; IN]) -> [S::V; OUT] {
    // SAFETY: the caller runs inside a function for S.
    unsafe {
        let (sum1, difference1) = (S::add(m[1], m[2]), S::sub(m[1], m[2]));
        let (sum2, difference2) = (S::add(m[3], m[4]), S::sub(m[3], m[4]));
        [
            S::add(m[0], S::add(sum1, sum2)),
            S::fma(difference2, S::splat(2.0), difference1),
            S::fma(sum2, S::splat(4.0), sum1),
            S::add(m[5], S::fma(difference2, S::splat(8.0), difference1)),
        ]
    }
}

/// A y.
#[inline(always)]
pub(super) unsafe fn gradients_6_of_4<S: Simd>(y: [S::V; OUT]) -> [S::V; IN] {
    // SAFETY: the caller runs inside a function for S.
    unsafe {
        let (even, odd) = (S::add(y[0], y[2]), S::add(y[1], y[3]));
        let even2 = S::fma(y[2], S::splat(4.0), y[0]);
        let odd2 = S::mul(S::splat(2.0), S::fma(y[3], S::splat(4.0), y[1]));
        [y[0], S::add(even, odd), S::sub(even, odd), S::add(even2, odd2), S::sub(even2, odd2), y[3]]
    }
}

/// G g.
#[inline(always)]
pub(super) unsafe fn weights_6_of_3<S: Simd>(g: [S::V; 3]) -> [S::V; IN] {
    // SAFETY: the caller runs inside a function for S.
    unsafe {
        let minus_sixth = S::splat(-1.0 / 6.0);
        let even = S::mul(minus_sixth, S::add(g[0], g[2]));
        let odd = S::mul(minus_sixth, g[1]);
        let even2 = S::fma(g[2], S::splat(1.0 / 6.0), S::mul(g[0], S::splat(1.0 / 24.0)));
        let odd2 = S::mul(g[1], S::splat(1.0 / 12.0));
        [
            S::mul(g[0], S::splat(0.25)),
            S::add(even, odd),
            S::sub(even, odd),
            S::add(even2, odd2),
            S::sub(even2, odd2),
            g[2],
        ]
    }
}

/// Gᵀ u.
#[inline(always)]
pub(super) unsafe fn weights_3_of_6<S: Simd>(u: [S::V; IN]) -> [S::V; 3] {
    // SAFETY: the caller runs inside a function for S.
    unsafe {
        let sixth = S::splat(1.0 / 6.0);
        let sum1 = S::mul(sixth, S::add(u[1], u[2]));
        let difference1 = S::mul(sixth, S::sub(u[2], u[1]));
        let (sum2, difference2) = (S::add(u[3], u[4]), S::sub(u[3], u[4]));
        [
            S::sub(S::fma(u[0], S::splat(0.25), S::mul(sum2, S::splat(1.0 / 24.0))), sum1),
            S::fma(difference2, S::splat(1.0 / 12.0), difference1),
            S::add(u[5], S::sub(S::mul(sum2, sixth), sum1)),
        ]
    }
}
