//! The gradient of the weight.
#![expect(
    unsafe_code,
    reason = "vector instructions, and addresses checked before a loop instead of in it"
)]
#![expect(
    clippy::needless_range_loop,
    reason = "loops with constant bounds over small arrays become registers"
)]

use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use super::super::super::scratch::{split, with_scratch};
use super::super::super::simd::{InstructionSet, Kernel, Simd, dispatch};
use super::super::direct::{Source, widest};
use super::super::gradient::{Lines, rows_of_inputs};
use super::super::shape::{Block, ConvShape, Dependence, Direction};
use super::transforms::{transform_gradient, transform_input, weights_3_of_6};
use super::{GAP, IN, OUT, POINTS, Tiles};

/// Floats of transformed tiles that the gradient of the weight holds at a time.
const HELD: usize = 4 << 20;

/// dw from x and dy. Returns whether every result is finite.
pub(in super::super) fn weight_gradient(
    set: InstructionSet,
    shape: &ConvShape,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
) -> bool {
    let lanes = set.lanes();
    let &ConvShape { input, output, .. } = shape;
    let tiles = Tiles::of(shape);
    let source = tiles.source(shape, input);
    let images = (HELD / (POINTS * tiles.count() * (input + output))).clamp(1, shape.batch);
    let groups = shape.batch.div_ceil(images);
    let images = shape.batch.div_ceil(groups);
    let held = images * tiles.count();
    let blocks = shape.blocks(Direction::Forward, lanes, widest(set));
    // Sums of a block and a point follow each other by blocks, so that those of a block are as far
    // apart as all of a point together.
    let size = |block: &Block| block.depth.len() * block.vectors * lanes;
    let point_step: usize = blocks.iter().map(size).sum();
    let (input_step, gradient_step) = (held * input + GAP, held * output + GAP);
    with_scratch(POINTS * (input_step + gradient_step + point_step), |scratch| {
        let (inputs, rest) = scratch.split_at_mut(POINTS * input_step);
        let (gradients, sums) = rest.split_at_mut(POINTS * gradient_step);
        sums.fill(0.0);
        for first in (0..shape.batch).step_by(images) {
            let last = (first + images).min(shape.batch);
            let held = (last - first) * tiles.count();
            let shared = Shared {
                inputs: inputs.as_mut_ptr(),
                input_step,
                gradients: gradients.as_mut_ptr(),
                gradient_step,
                held,
            };
            (first..last).into_par_iter().for_each(|image| {
                with_scratch(source.len(), |padded| {
                    let pixels = shape.height * shape.width;
                    source.pad(&x[image * pixels * input..][..pixels * input], padded);
                    let dy = &dy[image * pixels * output..][..pixels * output];
                    dispatch(
                        set,
                        TransformImage {
                            shape,
                            source: &source,
                            tiles: &tiles,
                            padded,
                            dy,
                            shared: &shared,
                            first: (image - first) * tiles.count(),
                        },
                    );
                });
            });
            let (inputs, gradients) = (&*inputs, &*gradients);
            let tasks: Vec<(usize, &Block)> = (0..POINTS)
                .flat_map(|point| blocks.iter().map(move |block| (point, block)))
                .collect();
            let sums = split(sums, tasks.iter().map(|(_, block)| size(block)));
            tasks.into_par_iter().zip(sums).for_each(|((point, block), sum)| {
                let x = &inputs[point * input_step..][..held * input];
                let y = &gradients[point * gradient_step..][..held * output];
                dispatch(set, SumTiles { x, y, input, output, block, sum });
            });
        }
        let finite = AtomicBool::new(true);
        dw.par_chunks_mut(lanes * shape.inputs_of_group() * 9).enumerate().for_each(
            |(index, dw)| {
                let column = index * lanes;
                let place = blocks
                    .iter()
                    .rposition(|block| block.first <= column)
                    .expect("the first block starts at 0");
                let block = &blocks[place];
                let start = blocks[..place].iter().map(size).sum::<usize>() + column - block.first;
                if !dispatch(
                    set,
                    FinishWeights { shape, block, column, sums: &sums[start..], point_step, dw },
                ) {
                    finite.store(false, Ordering::Relaxed);
                }
            },
        );
        finite.into_inner()
    })
}

/// Gᵀ u G for as many output channels as a vector has, from `column` on.
struct FinishWeights<'a> {
    shape: &'a ConvShape,
    block: &'a Block,
    column: usize,
    /// From these channels on.
    sums: &'a [f32],
    point_step: usize,
    /// `[lane][inputs of its group][9]`.
    dw: &'a mut [f32],
}

impl Kernel for FinishWeights<'_> {
    type Output = bool;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> bool {
        let Self { shape, block, column, sums, point_step, dw } = self;
        let (inputs, line) = (shape.inputs_of_group(), block.vectors * S::LANES);
        assert!(
            sums.len() >= (POINTS - 1) * point_step + (block.depth.len() - 1) * line + S::LANES
        );
        let columns: Vec<Dependence> = (column..column + S::LANES)
            .map(|column| shape.dependence(Direction::Forward, column))
            .collect();
        let mut doubt = 0.0;
        for (i, channel) in block.depth.clone().enumerate() {
            let mut taps = [[0.0f32; 16]; 9];
            // SAFETY: `dispatch` entered a function for S, and the last address read was checked.
            unsafe {
                let mut columns = [[S::splat(0.0); IN]; 3];
                for c in 0..IN {
                    let u = [0, 1, 2, 3, 4, 5]
                        .map(|r| S::load(sums.as_ptr().add((r * IN + c) * point_step + i * line)));
                    let t = weights_3_of_6::<S>(u);
                    for r in 0..3 {
                        columns[r][c] = t[r];
                    }
                }
                for r in 0..3 {
                    let t = weights_3_of_6::<S>(columns[r]);
                    for c in 0..3 {
                        S::store(taps[r * 3 + c].as_mut_ptr(), t[c]);
                    }
                }
            }
            for (lane, column) in columns.iter().enumerate() {
                if !column.depth.contains(&channel) {
                    continue;
                }
                let at = lane * inputs + channel - column.depth.start;
                for (tap, to) in dw[at * 9..][..9].iter_mut().enumerate() {
                    *to = taps[tap][lane];
                    doubt += *to * 0.0;
                }
            }
        }
        doubt == 0.0
    }
}

/// Transformed tiles of several images, each of which is written by one task:
/// `[point][tile][channel]`.
struct Shared {
    inputs: *mut f32,
    input_step: usize,
    gradients: *mut f32,
    gradient_step: usize,
    held: usize,
}

// SAFETY: tasks write disjoint tiles, and no thread reads before all are done.
unsafe impl Sync for Shared {}

struct TransformImage<'a> {
    shape: &'a ConvShape,
    source: &'a Source,
    tiles: &'a Tiles,
    padded: &'a [f32],
    dy: &'a [f32],
    shared: &'a Shared,
    /// The image's first tile among those held.
    first: usize,
}

impl Kernel for TransformImage<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { shape, source, tiles, padded, dy, shared, first } = self;
        let &ConvShape { height, width, input, output, .. } = shape;
        assert!(first + tiles.count() <= shared.held);
        for tile in 0..tiles.count() {
            let (row, column) = (tile / tiles.columns * OUT, tile % tiles.columns * OUT);
            let x = &padded[source.at(row, column)..][..source.at(IN - 1, IN - 1) + input];
            let size = [OUT.min(height - row), OUT.min(width - column)];
            let y = &dy[(row * width + column) * output..]
                [..((size[0] - 1) * width + size[1]) * output];
            // SAFETY: the slices hold the whole tiles, and tile `first + tile` is below `held` and
            // this task's own.
            unsafe {
                let slot = first + tile;
                transform_input::<S>(
                    x.as_ptr(),
                    source.columns * input,
                    input,
                    shared.inputs.add(slot * input),
                    shared.input_step,
                );
                transform_gradient::<S>(
                    y.as_ptr(),
                    width * output,
                    size,
                    output,
                    shared.gradients.add(slot * output),
                    shared.gradient_step,
                );
            }
        }
    }
}

/// sum `[depth][width]` += xᵀ y over tiles, for one point and one block of output channels.
struct SumTiles<'a> {
    x: &'a [f32],
    y: &'a [f32],
    input: usize,
    output: usize,
    block: &'a Block,
    sum: &'a mut [f32],
}

impl Kernel for SumTiles<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        /// So many tiles that their channels stay in the first-level cache.
        const AT_ONCE: usize = 96;
        let Self { x, y, input, output, block, sum } = self;
        let (tiles, depth, width) = (x.len() / input, block.depth.len(), block.vectors * S::LANES);
        assert!(
            y.len() >= tiles * output
                && sum.len() >= depth * width
                && block.first + width <= output
                && block.depth.end <= input
        );
        for first in (0..tiles).step_by(AT_ONCE) {
            let len = AT_ONCE.min(tiles - first);
            let lines = Lines {
                images: 1,
                x_image: 0,
                y_image: 0,
                count: 1,
                len,
                x_line: 0,
                x_step: input,
                y_line: 0,
                y_step: output,
            };
            // SAFETY: `dispatch` entered a function for S, and the lengths were checked.
            unsafe {
                let x = x.as_ptr().add(first * input + block.depth.start);
                let (y, sum) = (y.as_ptr().add(first * output + block.first), sum.as_mut_ptr());
                match block.vectors {
                    4 => rows_of_inputs::<S, 4>(&lines, x, y, depth, sum, || ()),
                    2 => rows_of_inputs::<S, 2>(&lines, x, y, depth, sum, || ()),
                    _ => rows_of_inputs::<S, 1>(&lines, x, y, depth, sum, || ()),
                }
            }
        }
    }
}
