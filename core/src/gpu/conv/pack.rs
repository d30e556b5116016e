//! Weights in the order in which convolutions read them.

#![allow(unsafe_code)] // Launching a kernel is unsafe: CubeCL does not check that it stays inside its buffers.

use cubecl::client::Client;
use cubecl::prelude::*;

use crate::gpu::buffer::{Buffer, cubes};
use crate::kernels::ConvShape;

const UNITS: usize = 256;

/// Weights as `[tap, rows, columns]`, a tap being a position of the kernel, with zeros up to multiples of four in the last two axes.
pub struct Packed {
    pub buffer: Buffer,
    /// Fours of rows.
    pub rows: usize,
    /// Fours of columns.
    pub columns: usize,
}

/// Packs weights `[out, in, k, k]` with rows of inputs and columns of outputs, or the other way round if `transposed`. With `scale`, `[out]`, the weights
/// of every output are multiplied by its.
pub fn pack(client: &Client, shape: &ConvShape, weight: &Buffer, scale: Option<&Buffer>, transposed: bool) -> Packed {
    let (rows, columns) = if transposed { (shape.output, shape.input) } else { (shape.input, shape.output) };
    let taps = shape.kernel * shape.kernel;
    let (rows4, columns4) = (rows.div_ceil(4), columns.div_ceil(4));
    let length = taps * rows4 * columns4 * 16;
    let buffer = Buffer::floats(client, length);
    let scale = match scale {
        Some(scale) => ComptimeOptionArgs::Some(scale.arg(1)),
        None => ComptimeOptionArgs::None,
    };
    // SAFETY: units past the packed weights stop, and the others read the weight that their position names.
    unsafe {
        pack_kernel::launch_unchecked(
            client,
            cubes(length, UNITS),
            CubeDim::new_1d(UNITS as u32),
            weight.arg(1),
            scale,
            buffer.arg(1),
            shape.input as u32,
            shape.output as u32,
            taps as u32,
            transposed,
        );
    }
    Packed { buffer, rows: rows4, columns: columns4 }
}

#[cube(launch_unchecked)]
fn pack_kernel(
    weight: &[f32],
    scale: ComptimeOption<&[f32]>,
    packed: &mut [f32],
    input: u32,
    output: u32,
    taps: u32,
    #[comptime] transposed: bool,
) {
    let rows = if comptime!(transposed) { output } else { input };
    let columns = if comptime!(transposed) { input } else { output };
    let rows_padded = (rows + 3) / 4 * 4;
    let columns_padded = (columns + 3) / 4 * 4;
    let index = ABSOLUTE_POS as u32;
    let column = index % columns_padded;
    let row = index / columns_padded % rows_padded;
    let tap = index / (columns_padded * rows_padded);
    if tap >= taps {
        terminate!();
    }
    let mut value = 0.0f32;
    if row < rows && column < columns {
        let out = if comptime!(transposed) { row } else { column };
        let inp = if comptime!(transposed) { column } else { row };
        value = weight[((out * input + inp) * taps + tap) as usize];
        #[comptime]
        match scale {
            ComptimeOption::Some(scale) => value *= scale[out as usize],
            ComptimeOption::None => {}
        }
    }
    packed[index as usize] = value;
}
