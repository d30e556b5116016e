//! A step of SGD and the logits that come after it, on one way through the weights.

use rayon::prelude::*;

use super::super::InstructionSet;
use super::CLASSES;
use super::descend::{Step, Update};
use super::logits::{Columns, Product};
use super::samples::Panels;

/// A step of SGD that is still to be taken: along `dᵀ · x`.
#[derive(Clone, Copy)]
pub(crate) struct Descent<'a> {
    /// Gradient of the outputs, [n, classes].
    pub d: &'a [f32],
    /// Inputs, [n, dim].
    pub x: &'a Panels,
    /// How the weights move.
    pub update: Update,
}

/// [`super::descend`] and then [`super::logits`] of the next batch, to the last bit. Where there
/// are many classes, weights and velocities come from memory and go back there, which takes longer
/// than either product; here the logits find the weights where the step has left them, near.
///
/// `w` and `velocity` have the shape [classes, dim], `bias` `[classes]`; `next` is a batch with
/// room for its logits, [next n, classes], or nothing if no batch follows.
///
/// # Panics
/// If the lengths do not fit.
pub(crate) fn descend_then_logits(
    descent: Descent<'_>,
    w: &mut [f32],
    velocity: &mut [f32],
    bias: &[f32],
    next: Option<(&Panels, &mut [f32])>,
) {
    let Descent { d, x, update } = descent;
    let classes = bias.len();
    let shape = x.shape(classes);
    assert!(w.len() == classes * shape.dim && velocity.len() == w.len(), "whole rows");
    assert!(d.len() == shape.n * classes, "a row for every sample");
    let set = InstructionSet::best();
    let step = Step { set, shape, d, x: &[], panels: Some(x), update };
    let product = next.map(|(x, out)| {
        let after = x.shape(classes);
        assert!(after.dim == shape.dim && out.len() == after.n * classes, "of the same layer");
        Product { set, shape: after, x: &[], panels: Some(x), out: Columns::of(out) }
    });
    let blocks = |(block, Weights { w, velocity, bias }): (usize, Weights<'_>)| {
        step.block(block, w, velocity);
        if let Some(product) = product {
            // SAFETY: `out` has the shape's columns, and no two blocks are the same.
            unsafe { product.block(block, w, bias) };
        }
    };
    let size = (CLASSES * shape.dim).max(1);
    if shape.is_spread() {
        let weights = w.par_chunks_mut(size).zip(velocity.par_chunks_mut(size));
        weights.zip(bias.par_chunks(CLASSES)).map(Weights::from).enumerate().for_each(blocks);
    } else {
        let weights = w.chunks_mut(size).zip(velocity.chunks_mut(size));
        weights.zip(bias.chunks(CLASSES)).map(Weights::from).enumerate().for_each(blocks);
    }
}

/// What belongs to a block of classes.
struct Weights<'a> {
    w: &'a mut [f32],
    velocity: &'a mut [f32],
    bias: &'a [f32],
}

impl<'a> From<((&'a mut [f32], &'a mut [f32]), &'a [f32])> for Weights<'a> {
    fn from(((w, velocity), bias): ((&'a mut [f32], &'a mut [f32]), &'a [f32])) -> Self {
        Self { w, velocity, bias }
    }
}
