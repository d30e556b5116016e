//! Convolutions on the units that GPUs have for products of small matrices: factors are rounded to
//! bfloat16, half precision or TensorFloat-32, sums are float32. Their kernels are those of the
//! modules above, with a plane of 32 units computing what there one unit does.

mod gather;
mod multiply;
mod weight_gradient;

pub use gather::{convolve, input_gradient};
pub use weight_gradient::weight_gradient;

use cubecl::client::Client;
use cubecl::ir::features::MmaConfig;
use cubecl::ir::{ElemType, FloatKind};

use super::pack::Layout;
use crate::gpu::buffer::holds;

/// Sides of the matrices that a plane multiplies at a time.
const SIDE: usize = 16;
/// Units of a plane.
const PLANE: usize = 32;
/// Planes of a cube.
const PLANES: usize = 8;
/// Channels or pixels summed up between two barriers.
const DEPTH: usize = 32;

/// What factors are rounded to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rounding {
    /// What images are made of.
    pub images: ElemType,
    /// What the units multiply.
    pub factors: ElemType,
}

impl Rounding {
    /// Images in bfloat16 or half precision, which are multiplied as they are.
    pub fn none(images: ElemType) -> Self {
        Self { images, factors: images }
    }

    /// Images in float32 and factors in TensorFloat-32.
    pub fn tf32() -> Self {
        Self { images: ElemType::Float(FloatKind::F32), factors: ElemType::Float(FloatKind::TF32) }
    }

    /// Whether the GPU has units for such products, and keeps such images.
    pub fn is_possible(self, client: &Client) -> bool {
        let properties = client.properties();
        let hardware = &properties.hardware;
        let config = MmaConfig {
            a_type: self.factors,
            b_type: self.factors,
            cd_type: ElemType::Float(FloatKind::F32),
            m: SIDE as u32,
            n: SIDE as u32,
            k: self.depth() as u32,
        };
        properties.features.matmul.cmma.contains(&config)
            && holds(client, self.images)
            && hardware.plane_size_min as usize == PLANE
            && hardware.plane_size_max as usize == PLANE
            && hardware.max_units_per_cube as usize >= PLANE * PLANES
            && hardware.max_shared_memory_size >= 96 << 10
    }

    /// Values of an image that are read at a time, 16 bytes.
    fn width(self) -> usize {
        16 / self.images.size()
    }

    /// Values of a row of so many that can be read or written at a time.
    fn fits(self, channels: usize) -> usize {
        if channels.is_multiple_of(self.width()) { self.width() } else { 1 }
    }

    /// The layout of weights for such products.
    pub fn layout(self) -> Layout {
        Layout::rows_of(self.width(), self.factors)
    }

    /// Columns of the left and rows of the right one of two matrices that are multiplied at a time.
    fn depth(self) -> usize {
        if self.factors == ElemType::Float(FloatKind::TF32) { 8 } else { 16 }
    }
}

/// What a cube computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Tile {
    rows: usize,
    columns: usize,
    /// Planes that share the rows; the others share the columns.
    down: usize,
}

impl Tile {
    /// Tiles that are large, as few of them as keep a large GPU busy.
    fn new(rows: usize, columns: usize, parts: usize) -> Self {
        const BUSY: usize = 192;
        let tiles = |tile: &Tile| rows.div_ceil(tile.rows) * columns.div_ceil(tile.columns) * parts;
        let choices: &[Tile] = match columns {
            0..=16 => &[Tile { rows: 128, columns: 16, down: 8 }],
            17..=32 => &[Tile { rows: 128, columns: 32, down: 8 }],
            33..=64 => {
                &[Tile { rows: 128, columns: 64, down: 4 }, Tile { rows: 64, columns: 64, down: 4 }]
            }
            _ => &[
                Tile { rows: 128, columns: 128, down: 2 },
                Tile { rows: 128, columns: 64, down: 4 },
                Tile { rows: 64, columns: 64, down: 4 },
            ],
        };
        *choices.iter().find(|tile| tiles(tile) >= BUSY).unwrap_or(&choices[choices.len() - 1])
    }

    /// Planes that share the columns.
    fn across(self) -> usize {
        PLANES / self.down
    }

    /// Matrices of a plane, one under another.
    fn matrices_down(self) -> usize {
        self.rows / self.down / SIDE
    }

    /// Matrices of a plane, side by side.
    fn matrices_across(self) -> usize {
        self.columns / self.across() / SIDE
    }
}
