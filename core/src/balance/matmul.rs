//! The two matrix products of a linear layer, on row-major slices and on one thread: logits, and a step of SGD along the weight's gradient.
//!
//! Sums are kept in registers, a tile of the result at a time, in the widest vectors that the processor has: AVX-512, AVX2 with FMA, or
//! whatever the build was compiled for. Nothing is allocated and nothing is copied into another layout. The order of the sums depends on
//! the shapes and on the vectors alone.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// How a step of SGD changes a weight p with velocity v and gradient g: g ← g + λ p; v ← μ v + g; p ← p − lr · v.
#[derive(Clone, Copy, Debug)]
pub(super) struct Update {
    /// μ.
    pub momentum: f32,
    /// λ.
    pub weight_decay: f32,
    /// lr.
    pub learning_rate: f32,
}

/// `out = x · wᵀ + bias` with `x` of shape [n, dim], `w` [classes, dim], `bias` [classes] and `out` [n, classes].
///
/// # Panics
/// If the lengths do not fit.
pub(super) fn logits(x: &[f32], w: &[f32], bias: &[f32], out: &mut [f32]) {
    let classes = bias.len();
    if out.is_empty() {
        return;
    }
    let n = out.len() / classes;
    let dim = w.len() / classes;
    assert!(w.len() == classes * dim && out.len() == n * classes && x.len() == n * dim, "callers pass whole rows");
    let shape = Shape { n, classes, dim };
    let (x, w, bias, out) = (x.as_ptr(), w.as_ptr(), bias.as_ptr(), out.as_mut_ptr());
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has AVX-512, and the lengths were compared with the shape.
            return unsafe { logits_avx512(shape, x, w, bias, out) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the processor has AVX2 and FMA, and the lengths were compared with the shape.
            return unsafe { logits_avx2(shape, x, w, bias, out) };
        }
    }
    // SAFETY: the lengths were compared with the shape.
    unsafe { logits_in::<[f32; 4], 3, 4>(shape, x, w, bias, out) }
}

/// One step of SGD on `w`, [classes, dim], along the gradient `dᵀ · x` with `d` of shape [n, classes] and `x` [n, dim]. The gradient is never
/// stored. `velocity` has the shape of `w`.
///
/// # Panics
/// If the lengths do not fit.
pub(super) fn descend(d: &[f32], x: &[f32], w: &mut [f32], velocity: &mut [f32], classes: usize, update: Update) {
    let (n, dim) = (d.len() / classes, w.len() / classes);
    assert!(d.len() == n * classes && w.len() == classes * dim, "callers pass whole rows");
    assert!(x.len() == n * dim && velocity.len() == w.len(), "callers pass whole rows");
    let shape = Shape { n, classes, dim };
    let (d, x, w, velocity) = (d.as_ptr(), x.as_ptr(), w.as_mut_ptr(), velocity.as_mut_ptr());
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has AVX-512, and the lengths were compared with the shape.
            return unsafe { descend_avx512(shape, d, x, w, velocity, update) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the processor has AVX2 and FMA, and the lengths were compared with the shape.
            return unsafe { descend_avx2(shape, d, x, w, velocity, update) };
        }
    }
    // SAFETY: the lengths were compared with the shape.
    unsafe { descend_in::<[f32; 4], 4, 2>(shape, d, x, w, velocity, update) }
}

/// Samples, classes and features.
#[derive(Clone, Copy)]
struct Shape {
    n: usize,
    classes: usize,
    dim: usize,
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn logits_avx512(shape: Shape, x: *const f32, w: *const f32, bias: *const f32, out: *mut f32) {
    // SAFETY: the caller's.
    unsafe { logits_in::<__m512, 4, 5>(shape, x, w, bias, out) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn logits_avx2(shape: Shape, x: *const f32, w: *const f32, bias: *const f32, out: *mut f32) {
    // SAFETY: the caller's.
    unsafe { logits_in::<__m256, 2, 5>(shape, x, w, bias, out) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn descend_avx512(shape: Shape, d: *const f32, x: *const f32, w: *mut f32, velocity: *mut f32, update: Update) {
    // SAFETY: the caller's.
    unsafe { descend_in::<__m512, 5, 4>(shape, d, x, w, velocity, update) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn descend_avx2(shape: Shape, d: *const f32, x: *const f32, w: *mut f32, velocity: *mut f32, update: Update) {
    // SAFETY: the caller's.
    unsafe { descend_in::<__m256, 5, 2>(shape, d, x, w, velocity, update) }
}

/// A vector of [`Lanes::LEN`] numbers. The processor must have the instructions that its methods stand for.
trait Lanes: Copy {
    const LEN: usize;
    unsafe fn splat(value: f32) -> Self;
    /// Reads LEN numbers.
    unsafe fn load(from: *const f32) -> Self;
    /// Writes LEN numbers.
    unsafe fn store(self, to: *mut f32);
    /// self · factor + addend.
    unsafe fn times_plus(self, factor: Self, addend: Self) -> Self;
    unsafe fn sum(self) -> f32;
}

/// Reads `len` numbers, fewer than a vector holds; the rest is zero.
#[inline(always)]
unsafe fn load_first<L: Lanes>(from: *const f32, len: usize) -> L {
    let mut part = [0.0_f32; 16];
    // SAFETY: the caller's; no vector is longer than 16.
    unsafe {
        part.as_mut_ptr().copy_from_nonoverlapping(from, len);
        L::load(part.as_ptr())
    }
}

/// Writes the first `len` numbers, fewer than a vector holds.
#[inline(always)]
unsafe fn store_first<L: Lanes>(vector: L, to: *mut f32, len: usize) {
    let mut part = [0.0_f32; 16];
    // SAFETY: the caller's; no vector is longer than 16.
    unsafe {
        vector.store(part.as_mut_ptr());
        to.copy_from_nonoverlapping(part.as_ptr(), len);
    }
}

/// [`logits`] in tiles of R samples by C classes.
///
/// # Safety
/// The pointers must be good for the shape.
#[inline(always)]
unsafe fn logits_in<L: Lanes, const R: usize, const C: usize>(shape: Shape, x: *const f32, w: *const f32, bias: *const f32, out: *mut f32) {
    let Shape { n, classes, dim } = shape;
    let mut class = 0;
    while class < classes {
        let wide = classes - class >= C;
        let mut row = 0;
        while row < n {
            let tall = n - row >= R;
            // SAFETY: row and class stay inside the shape, and each tile stays inside what is left of it.
            unsafe {
                let (x, w, bias, out) = (x.add(row * dim), w.add(class * dim), bias.add(class), out.add(row * classes + class));
                match (tall, wide) {
                    (true, true) => dots::<L, R, C>(dim, classes, x, w, bias, out),
                    (true, false) => dots::<L, R, 1>(dim, classes, x, w, bias, out),
                    (false, true) => dots::<L, 1, C>(dim, classes, x, w, bias, out),
                    (false, false) => dots::<L, 1, 1>(dim, classes, x, w, bias, out),
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
/// `x` must hold R rows of `dim`, `w` C rows, `bias` C numbers and `out` R rows, `classes` apart.
#[inline(always)]
unsafe fn dots<L: Lanes, const R: usize, const C: usize>(
    dim: usize,
    classes: usize,
    x: *const f32,
    w: *const f32,
    bias: *const f32,
    out: *mut f32,
) {
    // SAFETY: the caller's; `at` stays below `dim`.
    unsafe {
        let mut sums = [[L::splat(0.0); C]; R];
        let mut at = 0;
        while at + L::LEN <= dim {
            let columns: [L; C] = std::array::from_fn(|c| L::load(w.add(c * dim + at)));
            for (r, sums) in sums.iter_mut().enumerate() {
                let row = L::load(x.add(r * dim + at));
                for (sum, column) in sums.iter_mut().zip(columns) {
                    *sum = row.times_plus(column, *sum);
                }
            }
            at += L::LEN;
        }
        if at < dim {
            for (r, sums) in sums.iter_mut().enumerate() {
                let row: L = load_first(x.add(r * dim + at), dim - at);
                for (c, sum) in sums.iter_mut().enumerate() {
                    *sum = row.times_plus(load_first(w.add(c * dim + at), dim - at), *sum);
                }
            }
        }
        for (r, sums) in sums.into_iter().enumerate() {
            for (c, sum) in sums.into_iter().enumerate() {
                *out.add(r * classes + c) = *bias.add(c) + sum.sum();
            }
        }
    }
}

/// [`descend`] in tiles of C classes by V vectors of features.
///
/// # Safety
/// The pointers must be good for the shape.
#[inline(always)]
unsafe fn descend_in<L: Lanes, const C: usize, const V: usize>(
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
        let wide = left >= V * L::LEN;
        let mut class = 0;
        while class < classes {
            let tall = classes - class >= C;
            // SAFETY: class and feature stay inside the shape, and each tile stays inside what is left of it.
            unsafe {
                let (d, x) = (d.add(class), x.add(at));
                let (w, velocity) = (w.add(class * dim + at), velocity.add(class * dim + at));
                match (tall, wide) {
                    (true, true) => descend_tile::<L, C, V>(shape, left, d, x, w, velocity, update),
                    (true, false) => descend_tile::<L, C, 1>(shape, left, d, x, w, velocity, update),
                    (false, true) => descend_tile::<L, 1, V>(shape, left, d, x, w, velocity, update),
                    (false, false) => descend_tile::<L, 1, 1>(shape, left, d, x, w, velocity, update),
                }
            }
            class += if tall { C } else { 1 };
        }
        at += if wide { V * L::LEN } else { L::LEN };
    }
}

/// The gradient of C rows of `w` by V vectors of features, and the step along it. A tile of one vector may reach past the `left` features of
/// a row; what lies there is neither read nor written.
///
/// # Safety
/// The pointers must be good for the shape from the tile's class and feature on; `left` features must be left, at least V vectors of them
/// unless V is one.
#[inline(always)]
unsafe fn descend_tile<L: Lanes, const C: usize, const V: usize>(
    shape: Shape,
    left: usize,
    d: *const f32,
    x: *const f32,
    w: *mut f32,
    velocity: *mut f32,
    update: Update,
) {
    let Shape { n, classes, dim } = shape;
    let whole = left >= L::LEN;
    // SAFETY: the caller's.
    unsafe {
        let mut gradient = [[L::splat(0.0); V]; C];
        for sample in 0..n {
            let row: [L; V] = std::array::from_fn(|v| {
                let from = x.add(sample * dim + v * L::LEN);
                if whole { L::load(from) } else { load_first(from, left) }
            });
            for (c, gradient) in gradient.iter_mut().enumerate() {
                let factor = L::splat(*d.add(sample * classes + c));
                for (sum, x) in gradient.iter_mut().zip(row) {
                    *sum = factor.times_plus(x, *sum);
                }
            }
        }
        let (momentum, decay) = (L::splat(update.momentum), L::splat(update.weight_decay));
        let rate = L::splat(-update.learning_rate);
        for (c, gradient) in gradient.into_iter().enumerate() {
            for (v, gradient) in gradient.into_iter().enumerate() {
                let (w, velocity) = (w.add(c * dim + v * L::LEN), velocity.add(c * dim + v * L::LEN));
                if whole {
                    let weight = L::load(w);
                    let speed = momentum.times_plus(L::load(velocity), decay.times_plus(weight, gradient));
                    speed.store(velocity);
                    rate.times_plus(speed, weight).store(w);
                } else {
                    let weight: L = load_first(w, left);
                    let speed = momentum.times_plus(load_first(velocity, left), decay.times_plus(weight, gradient));
                    store_first(speed, velocity, left);
                    store_first(rate.times_plus(speed, weight), w, left);
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
impl Lanes for __m512 {
    const LEN: usize = 16;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: the caller's, here and below.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { _mm512_storeu_ps(to, self) }
    }

    #[inline(always)]
    unsafe fn times_plus(self, factor: Self, addend: Self) -> Self {
        unsafe { _mm512_fmadd_ps(self, factor, addend) }
    }

    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        unsafe { _mm512_reduce_add_ps(self) }
    }
}

#[cfg(target_arch = "x86_64")]
impl Lanes for __m256 {
    const LEN: usize = 8;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: the caller's, here and below.
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        unsafe { _mm256_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { _mm256_storeu_ps(to, self) }
    }

    #[inline(always)]
    unsafe fn times_plus(self, factor: Self, addend: Self) -> Self {
        unsafe { _mm256_fmadd_ps(self, factor, addend) }
    }

    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        unsafe {
            let half = _mm_add_ps(_mm256_castps256_ps128(self), _mm256_extractf128_ps(self, 1));
            let pair = _mm_add_ps(half, _mm_movehl_ps(half, half));
            _mm_cvtss_f32(_mm_add_ss(pair, _mm_movehdup_ps(pair)))
        }
    }
}

impl Lanes for [f32; 4] {
    const LEN: usize = 4;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        [value; 4]
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's; an array asks for no more alignment than its numbers.
        unsafe { from.cast::<Self>().read() }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as above.
        unsafe { to.cast::<Self>().write(self) }
    }

    #[inline(always)]
    unsafe fn times_plus(self, factor: Self, addend: Self) -> Self {
        // A fused operation that the processor lacks is a call of a slow function.
        let one = |i: usize| match cfg!(any(target_feature = "fma", target_arch = "aarch64")) {
            true => self[i].mul_add(factor[i], addend[i]),
            false => self[i] * factor[i] + addend[i],
        };
        [one(0), one(1), one(2), one(3)]
    }

    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        (self[0] + self[2]) + (self[1] + self[3])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples, classes and features that are no multiples of any tile or vector, and some that are.
    const SHAPES: [[usize; 3]; 6] = [[64, 100, 512], [1, 2, 1], [7, 11, 37], [5, 3, 9], [4, 5, 16], [33, 13, 70]];

    fn numbers(count: usize, step: f32) -> Vec<f32> {
        (0..count).map(|i| (i as f32 * step).sin()).collect()
    }

    type Logits = unsafe fn(Shape, *const f32, *const f32, *const f32, *mut f32);
    type Descend = unsafe fn(Shape, *const f32, *const f32, *mut f32, *mut f32, Update);

    /// Every version that this processor can run.
    fn versions() -> Vec<(Logits, Descend)> {
        let mut versions: Vec<(Logits, Descend)> = vec![(logits_in::<[f32; 4], 3, 4>, descend_in::<[f32; 4], 4, 2>)];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                versions.push((logits_avx512, descend_avx512));
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                versions.push((logits_avx2, descend_avx2));
            }
        }
        versions
    }

    #[test]
    fn logits_equal_the_sums_written_out() {
        for [n, classes, dim] in SHAPES {
            let (x, w, bias) = (numbers(n * dim, 0.7), numbers(classes * dim, 0.3), numbers(classes, 1.1));
            let expected = |row: usize, class: usize| {
                let products = (0..dim).map(|j| f64::from(x[row * dim + j]) * f64::from(w[class * dim + j]));
                products.sum::<f64>() + f64::from(bias[class])
            };
            for (version, _) in versions() {
                let mut out = vec![f32::NAN; n * classes];
                // SAFETY: the vectors have the shape.
                unsafe { version(Shape { n, classes, dim }, x.as_ptr(), w.as_ptr(), bias.as_ptr(), out.as_mut_ptr()) };
                for (i, value) in out.iter().enumerate() {
                    let expected = expected(i / classes, i % classes);
                    assert!((expected - f64::from(*value)).abs() < 1e-4, "{n} {classes} {dim}: {expected} {value}");
                }
            }
            let mut out = vec![f32::NAN; n * classes];
            logits(&x, &w, &bias, &mut out);
            assert!((f64::from(out[n * classes - 1]) - expected(n - 1, classes - 1)).abs() < 1e-4);
        }
        logits(&[], &[1.0, 2.0], &[0.0, 0.0], &mut []);
    }

    #[test]
    fn a_step_follows_the_gradient_written_out() {
        let update = Update { momentum: 0.9, weight_decay: 0.1, learning_rate: 0.01 };
        for [n, classes, dim] in SHAPES {
            let (d, x) = (numbers(n * classes, 0.9), numbers(n * dim, 0.7));
            let (w, v) = (numbers(classes * dim, 0.3), numbers(classes * dim, 1.3));
            for (_, version) in versions() {
                let (mut moved, mut speed) = (w.clone(), v.clone());
                // SAFETY: the vectors have the shape.
                unsafe { version(Shape { n, classes, dim }, d.as_ptr(), x.as_ptr(), moved.as_mut_ptr(), speed.as_mut_ptr(), update) };
                for i in 0..classes * dim {
                    let (class, j) = (i / dim, i % dim);
                    let products = (0..n).map(|row| f64::from(d[row * classes + class]) * f64::from(x[row * dim + j]));
                    let expected = 0.9 * f64::from(v[i]) + products.sum::<f64>() + 0.1 * f64::from(w[i]);
                    assert!((expected - f64::from(speed[i])).abs() < 1e-4, "{n} {classes} {dim}: {expected} {}", speed[i]);
                    assert!((f64::from(w[i]) - 0.01 * expected - f64::from(moved[i])).abs() < 1e-5);
                }
            }
        }
    }
}
