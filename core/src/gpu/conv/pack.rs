//! Weights in the order in which convolutions read them.

#![allow(unsafe_code)] // Launching a kernel is unsafe: CubeCL does not check that it stays inside its buffers.

use cubecl::client::Client;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use crate::gpu::buffer::{Buffer, cubes, units};
use crate::kernels::ConvShape;

/// Weights as `[tap, rows, columns]`, a tap being a position of the kernel, with zeros up to multiples of four in the last two axes.
pub struct Packed {
    pub buffer: Buffer,
    /// Fours of rows.
    pub rows: usize,
    /// Fours of columns.
    pub columns: usize,
}

/// How rows and columns are filled up with zeros: to multiples of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Groups {
    rows: usize,
    columns: usize,
}

/// Packs weights `[out, in, k, k]` with rows of inputs and columns of outputs, or the other way round if `transposed`. With `scale`, `[out]`, the weights
/// of every output are multiplied by its.
pub fn pack(client: &Client, shape: &ConvShape, weight: &Buffer, scale: Option<&Buffer>, transposed: bool) -> Packed {
    let groups = Groups { rows: 4, columns: 4 };
    let (buffer, [rows, columns]) = launch(client, shape, weight, scale, transposed, groups, f32::elem_type_native());
    Packed { buffer, rows: rows / 4, columns: columns / 4 }
}

/// Packs weights `[out, in, k, k]` in the same order, rounded to `elem`, with zeros up to multiples of `width` in the last axis alone.
pub fn pack_rounded(client: &Client, shape: &ConvShape, weight: &Buffer, transposed: bool, width: usize, elem: ElemType) -> Buffer {
    launch(client, shape, weight, None, transposed, Groups { rows: 1, columns: width }, elem).0
}

/// The packed weights, and their rows and columns.
fn launch(
    client: &Client,
    shape: &ConvShape,
    weight: &Buffer,
    scale: Option<&Buffer>,
    transposed: bool,
    groups: Groups,
    elem: ElemType,
) -> (Buffer, [usize; 2]) {
    let (rows, columns) = if transposed { (shape.output, shape.input) } else { (shape.input, shape.output) };
    let (rows, columns) = (rows.next_multiple_of(groups.rows), columns.next_multiple_of(groups.columns));
    let taps = shape.kernel * shape.kernel;
    let buffer = Buffer::new(client, taps * rows * columns, elem);
    // SAFETY: units past the packed weights stop, and the others read the weight that their position names.
    unsafe {
        pack_kernel::launch_unchecked(
            client,
            cubes(rows * columns),
            units(),
            weight.arg(1),
            scale.map_or(ComptimeOptionArgs::None, |scale| ComptimeOptionArgs::Some(scale.arg(1))),
            buffer.arg(1),
            shape.input as u32,
            shape.output as u32,
            taps,
            transposed,
            groups,
            elem,
        );
    }
    (buffer, [rows, columns])
}

/// A unit packs all taps of a row and a column. They lie next to each other in the weights, and those of its neighbours lie apart from them, so that
/// what the GPU reads at once would otherwise be read again for every tap.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
fn pack_kernel<F: Float>(
    weight: &[f32],
    scale: ComptimeOption<&[f32]>,
    packed: &mut [F],
    input: u32,
    output: u32,
    #[comptime] taps: usize,
    #[comptime] transposed: bool,
    #[comptime] groups: Groups,
    #[define(F)] _elem: ElemType,
) {
    let rows = if comptime!(transposed) { output } else { input };
    let columns = if comptime!(transposed) { input } else { output };
    let (by_rows, by_columns) = comptime!((groups.rows as u32, groups.columns as u32));
    let rows_padded = (rows + by_rows - 1) / by_rows * by_rows;
    let columns_padded = (columns + by_columns - 1) / by_columns * by_columns;
    let index = ABSOLUTE_POS as u32;
    let column = index % columns_padded;
    let row = index / columns_padded;
    if row >= rows_padded {
        terminate!();
    }
    let inside = row < rows && column < columns;
    let out = if comptime!(transposed) { row } else { column };
    let inp = if comptime!(transposed) { column } else { row };
    let mut factor = 1.0f32;
    #[comptime]
    match scale {
        ComptimeOption::Some(scale) => {
            if inside {
                factor = scale[out as usize];
            }
        }
        ComptimeOption::None => {}
    }
    let first = (out * input + inp) * comptime!(taps as u32);
    #[unroll(taps <= 9)]
    for tap in 0..taps {
        let mut value = 0.0f32;
        if inside {
            value = weight[first as usize + tap] * factor;
        }
        packed[tap * (rows_padded * columns_padded) as usize + index as usize] = F::cast_from(value);
    }
}
