//! 3×3 convolutions with stride 1 in fewer multiplications (Winograd's minimal filtering as in
//! Lavin and Gray, *Fast Algorithms for Convolutional Neural Networks*, CVPR 2016).
//!
//! F(4×4, 3×3): a tile of 4×4 outputs needs 36 products a pair of channels instead of 144. With d a
//! 6×6 tile of the input, g the kernel and y a tile of the output, y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A,
//! where ⊙, summed over input channels, is 36 matrix products. The gradient of the weight is the
//! transposed of it: dg = Gᵀ [(Bᵀ d B) ⊙ (A dy Aᵀ)] G, summed over tiles.
//!
//! Sums of inputs that are infinite, or too large to be added, are no numbers where the convolution
//! itself still has a value. So these functions say whether every result was finite; if not, the
//! caller takes the direct way.

mod convolve;
mod transforms;
mod weight_gradient;

use super::super::simd::InstructionSet;
use super::direct::Source;
use super::shape::{ConvShape, Zeros};
pub(super) use convolve::{convolve, transformed};
pub(super) use weight_gradient::weight_gradient;

/// Outputs of a tile along one side, and inputs.
const OUT: usize = 4;
const IN: usize = 6;
/// Products of a tile.
const POINTS: usize = IN * IN;
/// Tiles from which on the transformed weights, which have four times as many values, are worth
/// making.
const ENOUGH: usize = 32;
/// Floats between the points of transformed tiles, so that the points of a tile do not all fall
/// into the same set of a cache.
const GAP: usize = 16;

/// Whether these kernels fit, and are the faster ones: whole vectors of channels, and enough tiles.
pub(super) fn fits(set: InstructionSet, shape: &ConvShape) -> bool {
    fits_some(set, shape) && shape.batch * Tiles::of(shape).count() >= ENOUGH
}

/// Whether these kernels fit where there are enough tiles. In a group there are too few products
/// for what the transforms cost.
pub(super) fn fits_some(set: InstructionSet, shape: &ConvShape) -> bool {
    let lanes = set.lanes();
    let whole = |channels: usize| channels.is_multiple_of(lanes) && channels >= 16;
    shape.groups == 1
        && shape.kernel == 3
        && shape.stride == 1
        && shape.padding == Zeros::around(1)
        && whole(shape.input)
        && whole(shape.output)
}

struct Tiles {
    rows: usize,
    columns: usize,
}

impl Tiles {
    fn of(shape: &ConvShape) -> Self {
        Self { rows: shape.height.div_ceil(OUT), columns: shape.width.div_ceil(OUT) }
    }

    fn count(&self) -> usize {
        self.rows * self.columns
    }

    /// The images with one zero around them and up to the last tile's end.
    fn source(&self, shape: &ConvShape, channels: usize) -> Source {
        Source {
            height: shape.height,
            width: shape.width,
            channels,
            top: 1,
            left: 1,
            rows: self.rows * OUT + 2,
            columns: self.columns * OUT + 2,
        }
    }
}
