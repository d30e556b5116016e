//! A batch of features as both products like to find it.

use super::super::Buffer;
use super::{CLASSES, Shape};

/// Features of a panel: a multiple of every tile's.
pub(super) const PANEL: usize = 64;
/// Numbers of a batch that the nearest cache holds beside other things.
const NEAR: usize = 1 << 13;

/// A batch of features, [n, dim], as panels of [`PANEL`] features, [panels, n, PANEL], aligned to
/// cache lines and padded with zeros.
///
/// Row after row, as batches come, the same features of many samples are a power of two apart more
/// often than not, and a cache holds a dozen places that far apart and no more.
pub(crate) struct Panels {
    values: Buffer,
    n: usize,
    dim: usize,
}

impl Panels {
    /// Copies a batch of `dim` features a sample for a layer of `classes`, if its products are so
    /// large that it pays.
    ///
    /// # Panics
    /// If the batch has no whole rows.
    pub(crate) fn new(x: &[f32], classes: usize, dim: usize) -> Option<Self> {
        let n = x.len() / dim.max(1);
        assert!(x.len() == n * dim, "callers pass whole rows");
        Self::of(x, Shape { n, classes, dim, of: classes })
    }

    /// [`Panels::new`], of a batch of that shape.
    pub(super) fn of(x: &[f32], shape: Shape) -> Option<Self> {
        let Shape { n, classes, dim, .. } = shape;
        if classes <= CLASSES || dim < 2 * PANEL || n * dim <= NEAR {
            return None;
        }
        let mut values = Buffer::take(n * dim.next_multiple_of(PANEL));
        for (panel, from) in values.chunks_exact_mut(n * PANEL).zip((0..dim).step_by(PANEL)) {
            for (to, row) in panel.chunks_exact_mut(PANEL).zip(x.chunks_exact(dim)) {
                let part = &row[from..dim.min(from + PANEL)];
                to[..part.len()].copy_from_slice(part);
                to[part.len()..].fill(0.0);
            }
        }
        Some(Self { values, n, dim })
    }

    /// The shape of products with a layer of `classes`.
    pub(super) fn shape(&self, classes: usize) -> Shape {
        Shape { n: self.n, classes, dim: self.dim, of: classes }
    }

    /// All samples' features of the panel that begins with feature `from`, [n, PANEL].
    pub(super) fn panel(&self, from: usize) -> &[f32] {
        debug_assert!(from.is_multiple_of(PANEL));
        &self.values[from * self.n..(from + PANEL) * self.n]
    }
}
