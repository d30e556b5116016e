//! Weights in the order in which convolutions read them.

#![expect(unsafe_code, reason = "CubeCL does not check that a kernel stays inside its buffers")]

use cubecl::client::Client;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use crate::gpu::buffer::{Buffer, UNITS, cubes, spread, units};
use crate::kernels::ConvShape;

/// Weights as `[tap, rows, columns]`, a tap being a position of the kernel, with zeros up to
/// multiples of four in the last two axes.
pub struct Packed {
    pub buffer: Buffer,
    /// Fours of rows.
    pub rows: usize,
    /// Fours of columns.
    pub columns: usize,
}

impl Packed {
    /// From weights that were packed in [`Layout::fours`].
    pub fn new(buffer: Buffer, shape: &ConvShape, transposed: bool) -> Self {
        let [rows, columns] = Layout::fours().extents(shape.input, shape.output, transposed);
        Self { buffer, rows: rows / 4, columns: columns / 4 }
    }
}

/// How packed weights lie in memory, and what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    groups: Groups,
    pub elem: ElemType,
}

/// How rows and columns are filled up with zeros: to multiples of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Groups {
    rows: usize,
    columns: usize,
}

impl Layout {
    /// What [`Packed`] holds: float32, filled up to multiples of four.
    pub fn fours() -> Self {
        Self { groups: Groups { rows: 4, columns: 4 }, elem: f32::elem_type_native() }
    }

    /// Rounded to `elem`, with rows filled up to multiples of `width`.
    pub fn rows_of(width: usize, elem: ElemType) -> Self {
        Self { groups: Groups { rows: 1, columns: width }, elem }
    }

    /// Rows and columns.
    fn extents(self, input: usize, output: usize, transposed: bool) -> [usize; 2] {
        let (rows, columns) = if transposed { (output, input) } else { (input, output) };
        [rows.next_multiple_of(self.groups.rows), columns.next_multiple_of(self.groups.columns)]
    }
}

/// Packs weights `[out, in, k, k]` with rows of inputs and columns of outputs, or the other way
/// round if `transposed`. With `scale`, `[out]`, the weights of every output are multiplied by its.
pub fn pack(
    client: &Client,
    shape: &ConvShape,
    weight: &Buffer,
    scale: Option<&Buffer>,
    transposed: bool,
) -> Packed {
    Packed::new(
        pack_one(client, shape, weight, scale, transposed, Layout::fours()),
        shape,
        transposed,
    )
}

/// The same in another layout.
pub fn pack_one(
    client: &Client,
    shape: &ConvShape,
    weight: &Buffer,
    scale: Option<&Buffer>,
    transposed: bool,
    layout: Layout,
) -> Buffer {
    let [rows, columns] = layout.extents(shape.input, shape.output, transposed);
    let taps = shape.kernel * shape.kernel;
    let buffer = Buffer::new(client, taps * rows * columns, layout.elem);
    // SAFETY: units past the packed weights stop, and the others read the weight that their
    // position names.
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
            layout.groups,
            layout.elem,
        );
    }
    buffer
}

/// Weights of a convolution, `[out, in, k, k]`.
pub struct Weight {
    pub values: Buffer,
    pub output: usize,
    pub input: usize,
    pub kernel: usize,
}

/// Packs the weights of many convolutions in few launches. Gives each both untransposed and
/// transposed.
pub fn pack_all(client: &Client, weights: &[Weight], layout: Layout) -> Vec<[Buffer; 2]> {
    let lengths = weights.iter().flat_map(|weight| {
        [false, true].map(|transposed| {
            let [rows, columns] = layout.extents(weight.input, weight.output, transposed);
            weight.kernel * weight.kernel * rows * columns
        })
    });
    let lengths: Vec<usize> = lengths.collect();
    let packed: Vec<[Buffer; 2]> =
        Buffer::together(client, &lengths, layout.elem).as_chunks().0.to_vec();
    let mut kernels: Vec<usize> = weights.iter().map(|weight| weight.kernel).collect();
    kernels.sort_unstable();
    kernels.dedup();
    for kernel in kernels {
        let alike: Vec<(&Weight, &[Buffer; 2])> =
            weights.iter().zip(&packed).filter(|(weight, _)| weight.kernel == kernel).collect();
        for together in alike.chunks(at_once(client)) {
            launch_all(client, together, kernel * kernel, layout);
        }
    }
    packed
}

fn launch_all(client: &Client, together: &[(&Weight, &[Buffer; 2])], taps: usize, layout: Layout) {
    let mut cubes = 0;
    let starts = together.iter().map(|(_, packed)| {
        let start = cubes;
        let longest = packed.iter().map(|buffer| buffer.length / taps).max().unwrap_or(0);
        cubes += longest.div_ceil(UNITS) as u32;
        start
    });
    let starts: Vec<u32> = starts.collect();
    // SAFETY: units past the packed weights do nothing, and the others read the weight that their
    // position names.
    unsafe {
        pack_all_kernel::launch_unchecked(
            client,
            spread(cubes as usize),
            units(),
            together.iter().map(|(weight, _)| weight.values.arg(1)).collect(),
            together.iter().map(|(_, packed)| packed[0].arg(1)).collect(),
            together.iter().map(|(_, packed)| packed[1].arg(1)).collect(),
            starts.into_iter().collect(),
            together.iter().map(|(weight, _)| weight.input as u32).collect(),
            together.iter().map(|(weight, _)| weight.output as u32).collect(),
            together.len(),
            taps,
            layout.groups,
            layout.elem,
        );
    }
}

/// Weights one launch can take: of three buffers each, and one buffer for numbers.
fn at_once(client: &Client) -> usize {
    /// Enough for the 3×3 convolutions of a ResNet-34.
    const MOST: usize = 36;
    let buffers = client.properties().hardware.max_bindings as usize;
    (buffers.saturating_sub(1) / 3).clamp(1, MOST)
}

/// What a unit packs: all taps of a row and a column. They lie next to each other in the weights,
/// and those of its neighbours lie apart from them, so that what the GPU reads at once would
/// otherwise be read again for every tap. Gives whether there is a weight and not a zero, its
/// output, where its first tap is, and how far apart packed taps are.
#[cube]
fn place(
    index: u32,
    input: u32,
    output: u32,
    #[comptime] taps: usize,
    #[comptime] transposed: bool,
    #[comptime] groups: Groups,
) -> (bool, u32, u32, u32) {
    let rows = if comptime!(transposed) { output } else { input };
    let columns = if comptime!(transposed) { input } else { output };
    let (by_rows, by_columns) = comptime!((groups.rows as u32, groups.columns as u32));
    let rows_padded = (rows + by_rows - 1) / by_rows * by_rows;
    let columns_padded = (columns + by_columns - 1) / by_columns * by_columns;
    let column = index % columns_padded;
    let row = index / columns_padded;
    let out = if comptime!(transposed) { row } else { column };
    let inp = if comptime!(transposed) { column } else { row };
    (
        row < rows && column < columns,
        out,
        (out * input + inp) * comptime!(taps as u32),
        rows_padded * columns_padded,
    )
}

#[cube(launch_unchecked)]
#[expect(clippy::too_many_arguments, reason = "a kernel takes its buffers and sizes one by one")]
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
    let index = ABSOLUTE_POS as u32;
    let (inside, out, first, apart) = place(index, input, output, taps, transposed, groups);
    if index >= apart {
        terminate!();
    }
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
    copy_taps::<F>(weight, packed, inside, first, factor, index, apart, taps);
}

#[cube(launch_unchecked)]
#[expect(clippy::too_many_arguments, reason = "a kernel takes its buffers and sizes one by one")]
fn pack_all_kernel<F: Float>(
    weights: &Sequence<Box<[f32]>>,
    straight: &mut Sequence<Box<[F]>>,
    transposed: &mut Sequence<Box<[F]>>,
    starts: &Sequence<u32>,
    inputs: &Sequence<u32>,
    outputs: &Sequence<u32>,
    #[comptime] count: usize,
    #[comptime] taps: usize,
    #[comptime] groups: Groups,
    #[define(F)] _elem: ElemType,
) {
    #[unroll]
    for i in 0..count {
        if CUBE_POS as u32 >= starts[i] {
            let index = (CUBE_POS as u32 - starts[i]) * comptime!(UNITS as u32) + UNIT_POS;
            pack_taps::<F>(
                weights.index(i),
                straight.index_mut(i),
                index,
                inputs[i],
                outputs[i],
                taps,
                false,
                groups,
            );
            pack_taps::<F>(
                weights.index(i),
                transposed.index_mut(i),
                index,
                inputs[i],
                outputs[i],
                taps,
                true,
                groups,
            );
        }
    }
}

/// What a unit packs of one weight, if there is anything left for it.
#[cube]
#[expect(clippy::too_many_arguments, reason = "a kernel takes its buffers and sizes one by one")]
fn pack_taps<F: Float>(
    weight: &[f32],
    packed: &mut [F],
    index: u32,
    input: u32,
    output: u32,
    #[comptime] taps: usize,
    #[comptime] transposed: bool,
    #[comptime] groups: Groups,
) {
    let (inside, _, first, apart) = place(index, input, output, taps, transposed, groups);
    if index < apart {
        copy_taps::<F>(weight, packed, inside, first, 1.0f32, index, apart, taps);
    }
}

/// Writes the taps of one place, which [`place`] has found, times `factor`.
#[cube]
#[expect(clippy::too_many_arguments, reason = "a kernel takes its buffers and sizes one by one")]
fn copy_taps<F: Float>(
    weight: &[f32],
    packed: &mut [F],
    inside: bool,
    first: u32,
    factor: f32,
    index: u32,
    apart: u32,
    #[comptime] taps: usize,
) {
    for tap in 0..taps {
        let mut value = 0.0f32;
        if inside {
            value = weight[first as usize + tap] * factor;
        }
        packed[tap * apart as usize + index as usize] = F::cast_from(value);
    }
}
