//! Sums of columns.

#![expect(unsafe_code, reason = "CubeCL does not check that a kernel stays inside its buffers")]

use cubecl::client::Client;
use cubecl::prelude::*;

use super::buffer::{Buffer, UNITS};

/// The sums of the columns of `[rows, columns]`.
pub fn column_sums(client: &Client, x: &Buffer, columns: usize) -> Buffer {
    let sums = Buffer::floats(client, columns);
    let lanes = 32;
    // SAFETY: lanes past the columns are left out.
    unsafe {
        column_sums_kernel::launch_unchecked(
            client,
            CubeCount::new_1d(columns.div_ceil(lanes) as u32),
            CubeDim::new_2d(lanes as u32, (UNITS / lanes) as u32),
            x.arg(1),
            sums.arg(1),
            (x.length / columns) as u32,
            columns as u32,
            lanes,
        );
    }
    sums
}

/// Adds up what the units of a column of the cube hold, in order; every unit gets the sum. A cube
/// has [`UNITS`] units, `lanes` of them in a row.
#[cube]
pub fn add_down(value: f32, shared: &mut Shared<[f32]>, #[comptime] lanes: usize) -> f32 {
    let rows = comptime!(UNITS / lanes);
    sync_cube();
    shared[UNIT_POS as usize] = value;
    sync_cube();
    let mut sum = 0.0f32;
    #[unroll]
    for row in 0..rows {
        sum += shared[comptime!(row * lanes) + UNIT_POS_X as usize];
    }
    sum
}

/// As [`add_down`] for several columns a unit, with the sums for the first row of units alone.
#[cube]
pub fn add_vectors_down<W: Size>(
    value: Vector<f32, W>,
    shared: &mut Shared<[Vector<f32, W>]>,
    #[comptime] lanes: usize,
) -> Vector<f32, W> {
    let rows = comptime!(UNITS / lanes);
    sync_cube();
    shared[UNIT_POS as usize] = value;
    sync_cube();
    let mut sum = Vector::<f32, W>::new(0.0f32);
    if UNIT_POS_Y == 0 {
        for row in 0..rows {
            sum += shared[row * lanes + UNIT_POS_X as usize];
        }
    }
    sum
}

#[cube(launch_unchecked)]
fn column_sums_kernel(
    x: &[f32],
    sums: &mut [f32],
    rows: u32,
    columns: u32,
    #[comptime] lanes: usize,
) {
    let down = comptime!((UNITS / lanes) as u32);
    let mut shared = Shared::<[f32]>::new_slice(UNITS);
    let column = CUBE_POS_X * comptime!(lanes as u32) + UNIT_POS_X;
    let mut sum = 0.0f32;
    if column < columns {
        let mut row = UNIT_POS_Y;
        while row < rows {
            sum += x[(row * columns + column) as usize];
            row += down;
        }
    }
    let whole = add_down(sum, &mut shared, lanes);
    if column < columns && UNIT_POS_Y == 0 {
        sums[column as usize] = whole;
    }
}
