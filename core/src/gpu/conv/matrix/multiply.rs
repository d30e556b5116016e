//! What the planes of a cube do with two matrices that lie in its memory.

#![expect(unsafe_code, reason = "a matrix holds nothing until it is loaded, which happens at once")]

use cubecl::prelude::*;

use super::{DEPTH, SIDE, Tile};

/// Where a plane's part of a tile begins.
#[derive(CubeType)]
pub struct Part {
    pub row: usize,
    pub column: usize,
}

/// The part of this unit's plane.
#[cube]
pub fn part(#[comptime] tile: Tile) -> Part {
    let (rows, columns) = comptime!((tile.matrices_down() * SIDE, tile.matrices_across() * SIDE));
    let plane = UNIT_POS_Y as usize;
    Part {
        row: plane / comptime!(tile.across()) * rows,
        column: plane % comptime!(tile.across()) * columns,
    }
}

/// The sums of a plane, row by row, which are zeros.
#[cube]
pub fn zeros(#[comptime] tile: Tile, #[comptime] depth: usize) -> Sequence<cmma::Matrix<f32>> {
    let mut sums = Sequence::<cmma::Matrix<f32>>::new();
    #[unroll]
    for _ in 0..comptime!(tile.matrices_down() * tile.matrices_across()) {
        sums.push(cmma::Matrix::<f32>::from_value(
            cmma::MatrixIdent::Accumulator,
            SIDE,
            SIDE,
            depth,
            cmma::MatrixLayout::Undefined,
            0.0,
        ));
    }
    sums
}

/// Adds the product of a plane's rows of `left`, `[rows, DEPTH]` or, if it is stored by columns,
/// `[DEPTH, rows]`, and its columns of `right`, `[DEPTH, columns]`. They begin `left_at` and
/// `right_at` vectors into the memory, with as many vectors as the pitch between two rows.
#[cube]
#[expect(clippy::too_many_arguments, reason = "a kernel takes its buffers and sizes one by one")]
pub fn multiply<F: Float, W: Size>(
    left: &[Vector<F, W>],
    left_at: usize,
    #[comptime] left_pitch: usize,
    #[comptime] layout: cmma::MatrixLayout,
    right: &[Vector<F, W>],
    right_at: usize,
    #[comptime] right_pitch: usize,
    part: &Part,
    sums: &Sequence<cmma::Matrix<f32>>,
    #[comptime] tile: Tile,
    #[comptime] depth: usize,
) {
    let wide = W::value();
    let across = comptime!(tile.matrices_across());
    #[unroll]
    for k in 0..comptime!(DEPTH / depth) {
        let mut columns = Sequence::<cmma::Matrix<F>>::new();
        #[unroll]
        for j in 0..across {
            let at = right_at
                + comptime!(k * depth * right_pitch)
                + (part.column + comptime!(j * SIDE)) / wide;
            columns.push(factor::<F, W>(
                &right[at..at + 1],
                right_pitch,
                cmma::MatrixIdent::B,
                cmma::MatrixLayout::RowMajor,
                depth,
            ));
        }
        #[unroll]
        for i in 0..comptime!(tile.matrices_down()) {
            let row = part.row + comptime!(i * SIDE);
            let at = if comptime!(layout == cmma::MatrixLayout::RowMajor) {
                left_at + row * left_pitch + comptime!(k * depth / wide)
            } else {
                left_at + comptime!(k * depth * left_pitch) + row / wide
            };
            let rows =
                factor::<F, W>(&left[at..at + 1], left_pitch, cmma::MatrixIdent::A, layout, depth);
            #[unroll]
            for j in 0..across {
                let sum = sums.index(comptime!(i * across + j));
                cmma::execute(&rows, columns.index(j), sum, sum);
            }
        }
    }
}

/// The factor of a product that begins at the first of these values.
#[cube]
fn factor<F: Float, W: Size>(
    values: &[Vector<F, W>],
    #[comptime] pitch: usize,
    #[comptime] side: cmma::MatrixIdent,
    #[comptime] layout: cmma::MatrixLayout,
    #[comptime] depth: usize,
) -> cmma::Matrix<F> {
    let wide = W::value();
    let mut matrix = unsafe { cmma::Matrix::<F>::uninitialized(side, SIDE, SIDE, depth, layout) };
    cmma::load(&mut matrix, values, comptime!((pitch * wide) as u32));
    matrix
}
