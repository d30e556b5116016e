//! The two matrix products of a linear layer, on row-major slices: logits, and a step of SGD along
//! the weight's gradient.
//!
//! Sums are kept in registers, a tile of the result at a time. Nothing is copied into another
//! layout. The order of the sums depends on the shapes and on the length of the processor's vectors
//! alone: weights are taken a block of classes at a time, which stays near while it is worked on,
//! and large products have their blocks computed on all cores, but no sum is ever cut.
#![expect(
    unsafe_code,
    reason = "vector instructions, addresses checked before a loop instead of in it, and threads that write columns of their own"
)]

use rayon::prelude::*;

use crate::kernels::InstructionSet;
use crate::kernels::simd::{Kernel, Simd, dispatch};

/// Classes of a block: a multiple of every tile's, few enough for a core's own cache with a few
/// thousand features.
const CLASSES: usize = 40;
/// Multiply-adds from which on waking other threads costs next to nothing.
const SPREAD: usize = 1 << 24;

/// Whether a product is spread over all cores. Threads of rayon's pool do not spread it:
/// what put them to work keeps the others busy as well, and a thread that waits for others takes up
/// more of that work meanwhile, with all the memory it needs.
fn is_spread(shape: Shape) -> bool {
    let Shape { n, classes, dim, .. } = shape;
    n * classes * dim >= SPREAD && rayon::current_thread_index().is_none()
}

/// How a step of SGD changes a weight p with velocity v and gradient g: g ← g + λ p; v ← μ v + g; p
/// ← p − lr · v.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Update {
    /// μ.
    pub momentum: f32,
    /// λ.
    pub weight_decay: f32,
    /// lr.
    pub learning_rate: f32,
}

/// `out = x · wᵀ + bias` with `x` of shape [n, dim], `w` [classes, dim], `bias` [classes] and `out`
/// [n, classes].
///
/// # Panics
/// If the lengths do not fit.
pub(crate) fn logits(x: &[f32], w: &[f32], bias: &[f32], out: &mut [f32]) {
    logits_on(InstructionSet::best(), x, w, bias, out);
}

fn logits_on(set: InstructionSet, x: &[f32], w: &[f32], bias: &[f32], out: &mut [f32]) {
    if out.is_empty() {
        return;
    }
    let classes = bias.len();
    let (n, dim) = (out.len() / classes, w.len() / classes);
    assert!(
        w.len() == classes * dim && out.len() == n * classes && x.len() == n * dim,
        "callers pass whole rows"
    );
    let shape = Shape { n, classes, dim, of: classes };
    let out = Columns(out.as_mut_ptr());
    let block = |(block, (w, bias)): (usize, (&[f32], &[f32]))| {
        let shape = Shape { classes: bias.len(), ..shape };
        // SAFETY: the block's first column is one of `out`'s.
        let out = unsafe { out.from(block * CLASSES) };
        dispatch(set, Logits { shape, x, w, bias, out });
    };
    let size = (CLASSES * dim).max(1);
    if is_spread(shape) {
        w.par_chunks(size).zip(bias.par_chunks(CLASSES)).enumerate().for_each(block);
    } else {
        w.chunks(size).zip(bias.chunks(CLASSES)).enumerate().for_each(block);
    }
}

/// Where a matrix begins of which every block writes columns of its own.
#[derive(Clone, Copy)]
struct Columns(*mut f32);

// SAFETY: no two blocks touch the same number.
unsafe impl Send for Columns {}
// SAFETY: as above.
unsafe impl Sync for Columns {}

impl Columns {
    /// The matrix from column `column` on.
    ///
    /// # Safety
    /// There must be such a column.
    unsafe fn from(self, column: usize) -> Self {
        // SAFETY: the caller's.
        Self(unsafe { self.0.add(column) })
    }
}

/// One step of SGD on `w`, [classes, dim], along the gradient `dᵀ · x` with `d` of shape [n,
/// classes] and `x` [n, dim]. The gradient is never stored. `velocity` has the shape of `w`.
///
/// # Panics
/// If the lengths do not fit.
pub(crate) fn descend(
    d: &[f32],
    x: &[f32],
    w: &mut [f32],
    velocity: &mut [f32],
    classes: usize,
    update: Update,
) {
    descend_on(InstructionSet::best(), d, x, w, velocity, classes, update);
}

fn descend_on(
    set: InstructionSet,
    d: &[f32],
    x: &[f32],
    w: &mut [f32],
    velocity: &mut [f32],
    classes: usize,
    update: Update,
) {
    let (n, dim) = (d.len() / classes, w.len() / classes);
    assert!(d.len() == n * classes && w.len() == classes * dim, "callers pass whole rows");
    assert!(x.len() == n * dim && velocity.len() == w.len(), "callers pass whole rows");
    let shape = Shape { n, classes, dim, of: classes };
    let block = |(block, (w, velocity)): (usize, (&mut [f32], &mut [f32]))| {
        let shape = Shape { classes: w.len() / dim, ..shape };
        let d = &d[(block * CLASSES).min(d.len())..];
        dispatch(set, Descend { shape, d, x, w, velocity, update });
    };
    let size = (CLASSES * dim).max(1);
    if is_spread(shape) {
        w.par_chunks_mut(size).zip(velocity.par_chunks_mut(size)).enumerate().for_each(block);
    } else {
        w.chunks_mut(size).zip(velocity.chunks_mut(size)).enumerate().for_each(block);
    }
}

/// Samples, classes and features of a block.
#[derive(Clone, Copy)]
struct Shape {
    n: usize,
    classes: usize,
    dim: usize,
    /// Classes of all blocks: how far rows of a matrix [n, classes] are apart.
    of: usize,
}

/// [`logits`], with lengths that were compared with the shape.
struct Logits<'a> {
    shape: Shape,
    x: &'a [f32],
    w: &'a [f32],
    bias: &'a [f32],
    out: Columns,
}

impl Kernel for Logits<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { shape, x, w, bias, out } = self;
        let (x, w, bias, out) = (x.as_ptr(), w.as_ptr(), bias.as_ptr(), out.0);
        // SAFETY: `dispatch` entered a function for S, and the lengths fit the shape. Tiles are as
        // large as the registers allow.
        unsafe {
            match S::REGISTERS {
                32.. => logits_in::<S, 4, 5>(shape, x, w, bias, out),
                _ => logits_in::<S, 2, 5>(shape, x, w, bias, out),
            }
        }
    }
}

/// [`descend`], with lengths that were compared with the shape.
struct Descend<'a> {
    shape: Shape,
    d: &'a [f32],
    x: &'a [f32],
    w: &'a mut [f32],
    velocity: &'a mut [f32],
    update: Update,
}

impl Kernel for Descend<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { shape, d, x, w, velocity, update } = self;
        let (d, x, w, velocity) = (d.as_ptr(), x.as_ptr(), w.as_mut_ptr(), velocity.as_mut_ptr());
        // SAFETY: as above.
        unsafe {
            match S::REGISTERS {
                32.. => descend_in::<S, 5, 4>(shape, d, x, w, velocity, update),
                _ => descend_in::<S, 5, 2>(shape, d, x, w, velocity, update),
            }
        }
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

/// [`logits`] in tiles of R samples by C classes.
///
/// # Safety
/// The pointers must be good for the shape.
#[inline(always)]
unsafe fn logits_in<S: Simd, const R: usize, const C: usize>(
    shape: Shape,
    x: *const f32,
    w: *const f32,
    bias: *const f32,
    out: *mut f32,
) {
    let Shape { n, classes, dim, of } = shape;
    let mut class = 0;
    while class < classes {
        let wide = classes - class >= C;
        let mut row = 0;
        while row < n {
            let tall = n - row >= R;
            // SAFETY: row and class stay inside the shape, and each tile stays inside what is left
            // of it.
            unsafe {
                let (x, w, bias, out) = (
                    x.add(row * dim),
                    w.add(class * dim),
                    bias.add(class),
                    out.add(row * of + class),
                );
                match (tall, wide) {
                    (true, true) => dots::<S, R, C>(dim, of, x, w, bias, out),
                    (true, false) => dots::<S, R, 1>(dim, of, x, w, bias, out),
                    (false, true) => dots::<S, 1, C>(dim, of, x, w, bias, out),
                    (false, false) => dots::<S, 1, 1>(dim, of, x, w, bias, out),
                }
            }
            row += if tall { R } else { 1 };
        }
        class += if wide { C } else { 1 };
    }
}

/// The inner products of R rows of `x` with C rows of `w`, plus the biases.
///
/// # Safety
/// `x` must hold R rows of `dim`, `w` C rows, `bias` C numbers and `out` R rows, `apart` apart.
#[inline(always)]
unsafe fn dots<S: Simd, const R: usize, const C: usize>(
    dim: usize,
    apart: usize,
    x: *const f32,
    w: *const f32,
    bias: *const f32,
    out: *mut f32,
) {
    // SAFETY: the caller's; `at` stays below `dim`.
    unsafe {
        let mut sums = [[S::splat(0.0); C]; R];
        let mut at = 0;
        while at + S::LANES <= dim {
            let columns: [S::V; C] = std::array::from_fn(|c| S::load(w.add(c * dim + at)));
            for (r, sums) in sums.iter_mut().enumerate() {
                let row = S::load(x.add(r * dim + at));
                for (sum, column) in sums.iter_mut().zip(columns) {
                    *sum = S::fma(row, column, *sum);
                }
            }
            at += S::LANES;
        }
        if at < dim {
            for (r, sums) in sums.iter_mut().enumerate() {
                let row = load_first::<S>(x.add(r * dim + at), dim - at);
                for (c, sum) in sums.iter_mut().enumerate() {
                    *sum = S::fma(row, load_first::<S>(w.add(c * dim + at), dim - at), *sum);
                }
            }
        }
        for (r, sums) in sums.into_iter().enumerate() {
            for (c, sum) in sums.into_iter().enumerate() {
                *out.add(r * apart + c) = *bias.add(c) + S::sum(sum);
            }
        }
    }
}

/// [`descend`] in tiles of C classes by V vectors of features.
///
/// # Safety
/// The pointers must be good for the shape.
#[inline(always)]
unsafe fn descend_in<S: Simd, const C: usize, const V: usize>(
    shape: Shape,
    d: *const f32,
    x: *const f32,
    w: *mut f32,
    velocity: *mut f32,
    update: Update,
) {
    let Shape { classes, dim, .. } = shape;
    let mut at = 0;
    while at < dim {
        let left = dim - at;
        let wide = left >= V * S::LANES;
        let mut class = 0;
        while class < classes {
            let tall = classes - class >= C;
            // SAFETY: class and feature stay inside the shape, and each tile stays inside what is
            // left of it.
            unsafe {
                let (d, x) = (d.add(class), x.add(at));
                let (w, velocity) = (w.add(class * dim + at), velocity.add(class * dim + at));
                match (tall, wide) {
                    (true, true) => descend_tile::<S, C, V>(shape, left, d, x, w, velocity, update),
                    (true, false) => {
                        descend_tile::<S, C, 1>(shape, left, d, x, w, velocity, update)
                    }
                    (false, true) => {
                        descend_tile::<S, 1, V>(shape, left, d, x, w, velocity, update)
                    }
                    (false, false) => {
                        descend_tile::<S, 1, 1>(shape, left, d, x, w, velocity, update)
                    }
                }
            }
            class += if tall { C } else { 1 };
        }
        at += if wide { V * S::LANES } else { S::LANES };
    }
}

/// The gradient of C rows of `w` by V vectors of features, and the step along it. A tile of one
/// vector may reach past the `left` features of a row; what lies there is neither read nor written.
///
/// # Safety
/// The pointers must be good for the shape from the tile's class and feature on; `left` features
/// must be left, at least V vectors of them unless V is one.
#[inline(always)]
unsafe fn descend_tile<S: Simd, const C: usize, const V: usize>(
    shape: Shape,
    left: usize,
    d: *const f32,
    x: *const f32,
    w: *mut f32,
    velocity: *mut f32,
    update: Update,
) {
    let Shape { n, dim, of, .. } = shape;
    let whole = left >= S::LANES;
    // SAFETY: the caller's.
    unsafe {
        let mut gradient = [[S::splat(0.0); V]; C];
        for sample in 0..n {
            let row: [S::V; V] = std::array::from_fn(|v| {
                let from = x.add(sample * dim + v * S::LANES);
                if whole { S::load(from) } else { load_first::<S>(from, left) }
            });
            for (c, gradient) in gradient.iter_mut().enumerate() {
                let factor = S::splat(*d.add(sample * of + c));
                for (sum, x) in gradient.iter_mut().zip(row) {
                    *sum = S::fma(factor, x, *sum);
                }
            }
        }
        let (momentum, decay) = (S::splat(update.momentum), S::splat(update.weight_decay));
        let rate = S::splat(-update.learning_rate);
        for (c, gradient) in gradient.into_iter().enumerate() {
            for (v, gradient) in gradient.into_iter().enumerate() {
                let (w, velocity) =
                    (w.add(c * dim + v * S::LANES), velocity.add(c * dim + v * S::LANES));
                if whole {
                    let weight = S::load(w);
                    let speed =
                        S::fma(momentum, S::load(velocity), S::fma(decay, weight, gradient));
                    S::store(velocity, speed);
                    S::store(w, S::fma(rate, speed, weight));
                } else {
                    let weight = load_first::<S>(w, left);
                    let speed = S::fma(
                        momentum,
                        load_first::<S>(velocity, left),
                        S::fma(decay, weight, gradient),
                    );
                    store_first::<S>(speed, velocity, left);
                    store_first::<S>(S::fma(rate, speed, weight), w, left);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples, classes and features that are no multiples of any tile or vector, and some that
    /// are.
    const SHAPES: [[usize; 3]; 7] =
        [[64, 100, 512], [1, 2, 1], [7, 11, 37], [5, 3, 9], [4, 5, 16], [33, 13, 70], [3, 87, 9]];

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
        assert!(is_spread(Shape { n, classes, dim, of: classes }));
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
            assert!(!is_spread(Shape { n, classes, dim, of: classes }));
            both()
        });
        assert_eq!(both(), alone);
        // A block more or less of classes changes nothing either.
        let mut few = vec![0.0; n * 43];
        logits(&x, &w[..43 * dim], &bias[..43], &mut few);
        for (few, all) in few.chunks_exact(43).zip(alone[0].chunks_exact(classes)) {
            assert_eq!(few, &all[..43]);
        }
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
