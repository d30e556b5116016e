//! A step of SGD along `dᵀ · x`.

use rayon::prelude::*;

use super::super::InstructionSet;
use super::super::scratch::with_scratch;
use super::super::simd::{Kernel, Simd, dispatch, prefetch};
use super::samples::{PANEL, Panels};
use super::{CLASSES, Shape, load_first, store_first};

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

pub(super) fn descend_on(
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
    let panels = Panels::of(x, shape);
    let step = Step { set, shape, d, x, panels: panels.as_ref(), update };
    let size = (CLASSES * dim).max(1);
    let blocks = |(block, (w, velocity)): (_, (&mut [f32], &mut [f32]))| {
        step.block(block, w, velocity);
    };
    if shape.is_spread() {
        w.par_chunks_mut(size).zip(velocity.par_chunks_mut(size)).enumerate().for_each(blocks);
    } else {
        w.chunks_mut(size).zip(velocity.chunks_mut(size)).enumerate().for_each(blocks);
    }
}

/// A step of SGD, a block of [`CLASSES`] after the other. The lengths were compared with the shape.
#[derive(Clone, Copy)]
pub(super) struct Step<'a> {
    pub set: InstructionSet,
    pub shape: Shape,
    /// [n, classes].
    pub d: &'a [f32],
    /// [n, dim]; empty if there are panels.
    pub x: &'a [f32],
    pub panels: Option<&'a Panels>,
    pub update: Update,
}

impl Step<'_> {
    /// The step of block `block`, whose weights and velocities these are.
    pub(super) fn block(&self, block: usize, w: &mut [f32], velocity: &mut [f32]) {
        let Self { set, shape, d, x, panels, update } = *self;
        let shape = Shape { classes: w.len() / shape.dim, ..shape };
        let d = &d[(block * CLASSES).min(d.len())..];
        // As for logits, taken out here.
        let len = if panels.is_some() { shape.n * shape.classes } else { 0 };
        with_scratch(len, |scratch| {
            dispatch(set, Descend { shape, d, x, panels, w, velocity, update, scratch });
        });
    }
}

/// [`descend`], with lengths that were compared with the shape.
struct Descend<'a> {
    shape: Shape,
    d: &'a [f32],
    x: &'a [f32],
    panels: Option<&'a Panels>,
    w: &'a mut [f32],
    velocity: &'a mut [f32],
    update: Update,
    /// Working memory; none is needed without panels.
    scratch: &'a mut [f32],
}

impl Kernel for Descend<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: `dispatch` entered a function for S, and the lengths fit the shape. Tiles are as
        // large as the registers allow.
        unsafe {
            match S::REGISTERS {
                32.. => in_tiles::<S, 5, 4>(self),
                _ => in_tiles::<S, 6, 2>(self),
            }
        }
    }
}

/// [`descend`] in tiles of C classes by V vectors of features.
///
/// # Safety
/// As of [`Simd`]; the lengths must fit the shape.
#[inline(always)]
unsafe fn in_tiles<S: Simd, const C: usize, const V: usize>(block: Descend<'_>) {
    let Descend { shape, d, x, panels, w, velocity, update, scratch } = block;
    let Shape { n, classes, dim, of } = shape;
    let (w, velocity) = (w.as_mut_ptr(), velocity.as_mut_ptr());
    if panels.is_some() {
        // Here, too, what lies together is quicker to reach.
        let mut class = 0;
        while class < classes {
            let width = if classes - class >= C { C } else { 1 };
            let tile = scratch[class * n..].chunks_exact_mut(width);
            for (tile, row) in tile.zip(d.chunks(of)) {
                tile.copy_from_slice(&row[class..class + width]);
            }
            class += width;
        }
    }
    for panel in (0..dim).step_by(PANEL) {
        let end = dim.min(panel + PANEL);
        let (x, x_row) = match panels {
            Some(panels) => (panels.panel(panel), PANEL),
            None => (&x[panel.min(x.len())..], dim),
        };
        let mut class = 0;
        while class < classes {
            let tall = classes - class >= C;
            let width = if tall { C } else { 1 };
            let (d, d_row) = match panels {
                Some(_) => (&scratch[class * n..], width),
                None => (&d[class.min(d.len())..], of),
            };
            // All of the panel for these classes: what lies together in their rows is fetched
            // together.
            let mut at = panel;
            while at < end {
                let left = dim - at;
                let wide = left >= V * S::LANES;
                let x = &x[(at - panel).min(x.len())..];
                // SAFETY: class and feature stay inside the shape, and each tile stays inside what
                // is left of it.
                unsafe {
                    let tile = Tile {
                        n,
                        dim,
                        left,
                        d: d.as_ptr(),
                        d_row,
                        x: x.as_ptr(),
                        x_row,
                        w: w.add(class * dim + at),
                        velocity: velocity.add(class * dim + at),
                        update,
                    };
                    match (tall, wide) {
                        (true, true) => tile.descend::<S, C, V>(),
                        (true, false) => tile.descend::<S, C, 1>(),
                        (false, true) => tile.descend::<S, 1, V>(),
                        (false, false) => tile.descend::<S, 1, 1>(),
                    }
                }
                at += if wide { V * S::LANES } else { S::LANES };
            }
            class += width;
        }
    }
}

/// Some classes by some features of a row.
struct Tile {
    n: usize,
    dim: usize,
    /// Features of a row from the tile's first on.
    left: usize,
    d: *const f32,
    /// How far rows of `d` are apart.
    d_row: usize,
    x: *const f32,
    /// How far rows of `x` are apart.
    x_row: usize,
    w: *mut f32,
    velocity: *mut f32,
    update: Update,
}

impl Tile {
    /// The gradient of C rows of `w` by V vectors of features, and the step along it. A tile of one
    /// vector may reach past the features of a row; what lies there is neither read nor written.
    ///
    /// # Safety
    /// The pointers must be good from the tile's class and feature on; at least V vectors of
    /// features must be left unless V is one.
    #[inline(always)]
    unsafe fn descend<S: Simd, const C: usize, const V: usize>(self) {
        let Self { n, dim, left, d, d_row, x, x_row, w, velocity, update } = self;
        let whole = left >= S::LANES;
        // SAFETY: the caller's.
        unsafe {
            // Both are needed when the sums are done, and lie far away.
            for c in 0..C {
                for v in 0..V {
                    prefetch(w.add(c * dim + v * S::LANES));
                    prefetch(velocity.add(c * dim + v * S::LANES));
                }
            }
            let mut gradient = [[S::splat(0.0); V]; C];
            let mut add = |sample: usize| {
                let row: [S::V; V] = std::array::from_fn(|v| {
                    let from = x.add(sample * x_row + v * S::LANES);
                    if whole { S::load(from) } else { load_first::<S>(from, left) }
                });
                for (c, gradient) in gradient.iter_mut().enumerate() {
                    let factor = S::splat(*d.add(sample * d_row + c));
                    for (sum, x) in gradient.iter_mut().zip(row) {
                        *sum = S::fma(factor, x, *sum);
                    }
                }
            };
            for sample in 0..n {
                add(sample);
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
}
