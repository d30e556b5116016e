//! `x · wᵀ + bias`.

use rayon::prelude::*;

use super::super::InstructionSet;
use super::super::scratch::with_scratch;
use super::super::simd::{Kernel, Simd, dispatch, prefetch_near};
use super::samples::{PANEL, Panels};
use super::{CLASSES, Shape, load_first};

/// Features taken at a time where a batch lies in panels: the weights of a tile's classes stay in
/// the nearest cache for so many.
const DEPTH: usize = 16 * PANEL;
/// Samples whose sums wait while other features are taken.
const WAITING: usize = 64;
/// Classes of a tile.
const WIDE: usize = 5;
/// Floats of the longest vector.
const LONGEST: usize = 16;

/// `out = x · wᵀ + bias` with `x` of shape [n, dim], `w` [classes, dim], `bias` [classes] and `out`
/// [n, classes].
///
/// # Panics
/// If the lengths do not fit.
pub(crate) fn logits(x: &[f32], w: &[f32], bias: &[f32], out: &mut [f32]) {
    logits_on(InstructionSet::best(), x, w, bias, out);
}

pub(super) fn logits_on(set: InstructionSet, x: &[f32], w: &[f32], bias: &[f32], out: &mut [f32]) {
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
    let panels = Panels::of(x, shape);
    let product = Product { set, shape, x, panels: panels.as_ref(), out: Columns::of(out) };
    // SAFETY: `out` has the shape's columns, and no two blocks are the same.
    let blocks = |(block, (w, bias)): (_, (&[f32], &[f32]))| unsafe {
        product.block(block, w, bias);
    };
    let size = (CLASSES * dim).max(1);
    if shape.is_spread() {
        w.par_chunks(size).zip(bias.par_chunks(CLASSES)).enumerate().for_each(blocks);
    } else {
        w.chunks(size).zip(bias.chunks(CLASSES)).enumerate().for_each(blocks);
    }
}

/// Logits, a block of [`CLASSES`] after the other. The lengths were compared with the shape.
#[derive(Clone, Copy)]
pub(super) struct Product<'a> {
    pub set: InstructionSet,
    pub shape: Shape,
    /// [n, dim]; empty if there are panels.
    pub x: &'a [f32],
    pub panels: Option<&'a Panels>,
    /// [n, classes].
    pub out: Columns,
}

impl Product<'_> {
    /// The logits of block `block`, whose weights and biases these are.
    ///
    /// # Safety
    /// `out` must have the block's columns, and nothing else may touch them meanwhile.
    pub(super) unsafe fn block(&self, block: usize, w: &[f32], bias: &[f32]) {
        let Self { set, shape, x, panels, out } = *self;
        let shape = Shape { classes: bias.len(), ..shape };
        // SAFETY: the caller's.
        let out = unsafe { out.from(block * CLASSES) };
        // What runs inside of `with_scratch` but is not called by `dispatch` would not be compiled
        // for the instruction set.
        let len = if panels.is_some() { WIDE * (DEPTH + WAITING * LONGEST) } else { 0 };
        with_scratch(len, |scratch| {
            dispatch(set, Logits { shape, x, panels, w, bias, out, scratch });
        });
    }
}

/// Where a matrix begins of which every block writes columns of its own.
#[derive(Clone, Copy)]
pub(super) struct Columns(*mut f32);

// SAFETY: no two blocks touch the same number.
unsafe impl Send for Columns {}
// SAFETY: as above.
unsafe impl Sync for Columns {}

impl Columns {
    /// A matrix, row after row.
    pub(super) fn of(matrix: &mut [f32]) -> Self {
        Self(matrix.as_mut_ptr())
    }

    /// The matrix from column `column` on.
    ///
    /// # Safety
    /// There must be such a column.
    unsafe fn from(self, column: usize) -> Self {
        // SAFETY: the caller's.
        Self(unsafe { self.0.add(column) })
    }
}

/// [`logits`], with lengths that were compared with the shape.
struct Logits<'a> {
    shape: Shape,
    x: &'a [f32],
    panels: Option<&'a Panels>,
    w: &'a [f32],
    bias: &'a [f32],
    out: Columns,
    /// Working memory; none is needed without panels.
    scratch: &'a mut [f32],
}

impl Kernel for Logits<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { shape, x, panels, w, bias, out, scratch } = self;
        // SAFETY: `dispatch` entered a function for S, and the lengths fit the shape. Tiles are as
        // large as the registers allow.
        unsafe {
            match (panels, S::REGISTERS) {
                (Some(x), 32..) => from_panels::<S, 4>(shape, x, w, bias, out, scratch),
                (Some(x), _) => from_panels::<S, 2>(shape, x, w, bias, out, scratch),
                (None, 32..) => from_rows::<S, 4>(shape, x, w, bias, out),
                (None, _) => from_rows::<S, 2>(shape, x, w, bias, out),
            }
        }
    }
}

/// [`logits`] in tiles of R samples by [`WIDE`] classes.
///
/// # Safety
/// The lengths must fit the shape.
#[inline(always)]
unsafe fn from_rows<S: Simd, const R: usize>(
    shape: Shape,
    x: &[f32],
    w: &[f32],
    bias: &[f32],
    out: Columns,
) {
    let Shape { n, classes, dim, of } = shape;
    let (x, w, bias, out) = (x.as_ptr(), w.as_ptr(), bias.as_ptr(), out.0);
    let mut class = 0;
    while class < classes {
        let wide = classes - class >= WIDE;
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
                    (true, true) => dots::<S, R, WIDE>(dim, of, x, w, bias, out),
                    (true, false) => dots::<S, R, 1>(dim, of, x, w, bias, out),
                    (false, true) => dots::<S, 1, WIDE>(dim, of, x, w, bias, out),
                    (false, false) => dots::<S, 1, 1>(dim, of, x, w, bias, out),
                }
            }
            row += if tall { R } else { 1 };
        }
        class += if wide { WIDE } else { 1 };
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
        write::<S, R, C>(sums, bias, apart, out);
    }
}

/// As [`from_rows`], and with the same sums, from a batch in panels.
///
/// # Safety
/// The lengths must fit the shape.
#[inline(always)]
unsafe fn from_panels<S: Simd, const R: usize>(
    shape: Shape,
    x: &Panels,
    w: &[f32],
    bias: &[f32],
    out: Columns,
    scratch: &mut [f32],
) {
    let Shape { n, classes, dim, of } = shape;
    let (taken, waiting) = scratch.split_at_mut(WIDE * DEPTH);
    for row in (0..n).step_by(WAITING) {
        let mut tiles = Tiles { x, rows: row..n.min(row + WAITING), dim, taken, waiting };
        let mut class = 0;
        while class < classes {
            let wide = classes - class >= WIDE;
            // SAFETY: row and class stay inside the shape, and so does each tile.
            unsafe {
                let w = w.as_ptr().add(class * dim);
                let (bias, out) = (bias.as_ptr().add(class), out.0.add(row * of + class));
                match wide {
                    true => tiles.dots::<S, R, WIDE>(of, w, bias, out),
                    false => tiles.dots::<S, R, 1>(of, w, bias, out),
                }
            }
            class += if wide { WIDE } else { 1 };
        }
    }
}

/// Up to [`WAITING`] samples, and working memory.
struct Tiles<'a> {
    x: &'a Panels,
    rows: std::ops::Range<usize>,
    dim: usize,
    /// Weights of the features taken, [features / LANES, C, LANES].
    taken: &'a mut [f32],
    /// Sums, [rows, C, LANES].
    waiting: &'a mut [f32],
}

impl Tiles<'_> {
    /// The inner products of the samples with C rows of `w`, plus the biases.
    ///
    /// # Safety
    /// `w` must hold C rows, `bias` C numbers and `out` the samples' rows, `apart` apart.
    #[inline(always)]
    unsafe fn dots<S: Simd, const R: usize, const C: usize>(
        &mut self,
        apart: usize,
        w: *const f32,
        bias: *const f32,
        out: *mut f32,
    ) {
        let (count, dim) = (self.rows.len(), self.dim);
        let mut from = 0;
        while from < dim {
            let to = dim.min(from + DEPTH);
            let ends = Ends { first: from == 0, last: to == dim };
            // SAFETY: the caller's; features stay below `dim`.
            unsafe {
                self.take::<S, C>(w, from..to);
                let mut row = 0;
                while row < count {
                    let tall = count - row >= R;
                    let out = out.add(row * apart);
                    match tall {
                        true => self.add::<S, R, C>(row, from..to, ends, apart, bias, out),
                        false => self.add::<S, 1, C>(row, from..to, ends, apart, bias, out),
                    }
                    row += if tall { R } else { 1 };
                }
            }
            from = to;
        }
    }

    /// Copies C rows of `w` into the working memory, vector by vector.
    ///
    /// # Safety
    /// There must be as many rows with those features.
    #[inline(always)]
    unsafe fn take<S: Simd, const C: usize>(
        &mut self,
        w: *const f32,
        features: std::ops::Range<usize>,
    ) {
        let mut to = self.taken.as_mut_ptr();
        for at in features.clone().step_by(S::LANES) {
            let left = features.end - at;
            for c in 0..C {
                // SAFETY: the caller's; there is room for DEPTH features of WIDE rows.
                unsafe {
                    let from = w.add(c * self.dim + at);
                    let vector = match left >= S::LANES {
                        true => S::load(from),
                        false => load_first::<S>(from, left),
                    };
                    S::store(to, vector);
                    to = to.add(S::LANES);
                }
            }
        }
    }

    /// Adds the products of R samples, from `row` on, and the features taken to the samples' sums.
    ///
    /// # Safety
    /// As of [`Self::dots`]; `out` is that of the first of the samples.
    #[inline(always)]
    unsafe fn add<S: Simd, const R: usize, const C: usize>(
        &mut self,
        row: usize,
        features: std::ops::Range<usize>,
        ends: Ends,
        apart: usize,
        bias: *const f32,
        out: *mut f32,
    ) {
        // SAFETY: the caller's; the panels hold the samples, and zeros after the last feature.
        unsafe {
            let waiting = self.waiting.as_mut_ptr().add(row * C * S::LANES);
            let place = |r: usize, c: usize| waiting.add((r * C + c) * S::LANES);
            let mut sums = [[S::splat(0.0); C]; R];
            if !ends.first {
                for (r, sums) in sums.iter_mut().enumerate() {
                    for (c, sum) in sums.iter_mut().enumerate() {
                        *sum = S::load(place(r, c));
                    }
                }
            }
            let mut w = self.taken.as_ptr();
            let ahead = self.x.panel(0).len();
            for panel in features.clone().step_by(PANEL) {
                let mut x = self.x.panel(panel).as_ptr().add((self.rows.start + row) * PANEL);
                let vectors = PANEL.min(features.end - panel).div_ceil(S::LANES);
                for _ in 0..vectors {
                    let rows: [S::V; R] = std::array::from_fn(|r| {
                        prefetch_near(x.wrapping_add(ahead + r * PANEL));
                        S::load(x.add(r * PANEL))
                    });
                    for c in 0..C {
                        let column = S::load(w.add(c * S::LANES));
                        for (sums, row) in sums.iter_mut().zip(rows) {
                            sums[c] = S::fma(row, column, sums[c]);
                        }
                    }
                    w = w.add(C * S::LANES);
                    x = x.add(S::LANES);
                }
            }
            if ends.last {
                write::<S, R, C>(sums, bias, apart, out);
                return;
            }
            for (r, sums) in sums.into_iter().enumerate() {
                for (c, sum) in sums.into_iter().enumerate() {
                    S::store(place(r, c), sum);
                }
            }
        }
    }
}

/// Whether the first features are taken, and whether the last.
#[derive(Clone, Copy)]
struct Ends {
    first: bool,
    last: bool,
}

/// Writes R rows of C logits.
///
/// # Safety
/// There must be room for them, and C biases.
#[inline(always)]
unsafe fn write<S: Simd, const R: usize, const C: usize>(
    sums: [[S::V; C]; R],
    bias: *const f32,
    apart: usize,
    out: *mut f32,
) {
    for (r, sums) in sums.into_iter().enumerate() {
        for (c, sum) in sums.into_iter().enumerate() {
            // SAFETY: the caller's.
            unsafe { *out.add(r * apart + c) = *bias.add(c) + S::sum(sum) };
        }
    }
}
