//! The gradient of a convolution's weight.
//!
//! For every tap of the kernel it is a matrix product over output pixels: input channels by output channels. A block of it is kept in
//! registers while some rows of pixels are walked. Parts of the batch are summed on their own and then in order.
#![allow(unsafe_code)]
// Blocks of registers are written as loops with constant bounds over small arrays, all alike.
#![allow(clippy::needless_range_loop)]

use std::ops::Range;

use rayon::prelude::*;

use super::super::scratch::{split, with_scratch};
use super::super::simd::{InstructionSet, Kernel, Simd, dispatch};
use super::direct::widest;
use super::shape::{Block, ConvShape, Direction};

/// Output pixels walked before the next block is begun: their channels stay in the first-level cache.
const PIXELS: usize = 64;
/// Parts of the batch, at most.
const PARTS: usize = 16;
/// Floats that all parts together may hold.
const HELD: usize = 4 << 20;

/// Output channels whose sums are gathered together: a cache line of them.
const GROUP: usize = 16;

/// dw from the input and the gradient of the output.
pub(super) fn weight_gradient(set: InstructionSet, shape: &ConvShape, x: &[f32], dy: &[f32], dw: &mut [f32]) {
    assert_eq!(x.len(), shape.input_len());
    assert_eq!(dy.len(), shape.output_len());
    assert_eq!(dw.len(), shape.weight_len());
    let lanes = set.lanes();
    let blocks = shape.blocks(Direction::Forward, lanes, widest(set));
    let taps = shape.kernel * shape.kernel;
    let parts = PARTS.min(HELD / shape.weight_len().max(1)).clamp(1, shape.batch);
    let images = shape.batch.div_ceil(parts);
    let parts = shape.batch.div_ceil(images);
    let tasks: Vec<(&Block, usize)> = blocks.iter().flat_map(|block| (0..parts).map(move |part| (block, part))).collect();
    let size = |block: &Block| taps * block.depth.len() * block.vectors * lanes;
    let sizes: Vec<usize> = tasks.iter().map(|(block, _)| size(block)).collect();
    with_scratch(sizes.iter().sum(), |scratch| {
        let sums = split(scratch, sizes.iter().copied());
        tasks.par_iter().zip(sums).for_each(|(&(block, part), sum)| {
            sum.fill(0.0);
            let width = block.vectors * lanes;
            let images = part * images..((part + 1) * images).min(shape.batch);
            // Channels beyond the last are zeros in a copy.
            let copy = if block.first + width <= shape.output {
                0
            } else {
                images_at_once(shape) * rows_at_once(shape) * shape.out_width() * width
            };
            with_scratch(copy, |copy| dispatch(set, Task { shape, x, dy, images, block, copy, sum }));
        });
        let scratch = &*scratch;
        // [output][input][tap] from [tap][depth][width], summed over the parts in order.
        let out_len = shape.inputs_of_group() * taps;
        let mut start = 0;
        for block in &blocks {
            let (size, width, depth) = (size(block), block.vectors * lanes, block.depth.len());
            let last = (block.first + width).min(shape.output);
            let of_block = &scratch[start..start + parts * size];
            start += parts * size;
            dw[block.first * out_len..last * out_len].par_chunks_mut(GROUP * out_len).enumerate().for_each(|(group, to)| {
                let columns = to.len() / out_len;
                let depths: Vec<Range<usize>> = (0..columns)
                    .map(|n| shape.dependence(Direction::Forward, block.first + group * GROUP + n).depth)
                    .map(|of_column| of_column.start - block.depth.start..of_column.end - block.depth.start)
                    .collect();
                for d in depths[0].start..depths[columns - 1].end {
                    for tap in 0..taps {
                        let at = (tap * depth + d) * width + group * GROUP;
                        let mut total = [0.0; GROUP];
                        for part in of_block.chunks_exact(size) {
                            for (total, value) in total.iter_mut().zip(&part[at..at + GROUP.min(width)]) {
                                *total += value;
                            }
                        }
                        for (n, (total, of_column)) in total.iter().zip(&depths).enumerate() {
                            if of_column.contains(&d) {
                                to[n * out_len + (d - of_column.start) * taps + tap] = *total;
                            }
                        }
                    }
                }
            });
        }
    });
}

/// Some images and one block of output channels.
struct Task<'a> {
    shape: &'a ConvShape,
    x: &'a [f32],
    dy: &'a [f32],
    images: Range<usize>,
    block: &'a Block,
    /// Room for the gradient of some rows, if the last channel falls into this block.
    copy: &'a mut [f32],
    /// `[tap][depth][width]`.
    sum: &'a mut [f32],
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: `dispatch` entered a function for S.
        unsafe {
            match self.block.vectors {
                4 => walk::<S, 4>(self),
                2 => walk::<S, 2>(self),
                _ => walk::<S, 1>(self),
            }
        }
    }
}

fn rows_at_once(shape: &ConvShape) -> usize {
    (PIXELS / shape.out_width()).clamp(1, shape.out_height())
}

fn images_at_once(shape: &ConvShape) -> usize {
    (PIXELS / (shape.out_height() * shape.out_width())).max(1)
}

/// The output rows or columns whose window has kernel row or column `k` inside the input.
fn inside(size: usize, out: usize, k: usize, stride: usize, padding: usize) -> Range<usize> {
    let first = padding.saturating_sub(k).div_ceil(stride);
    let last = match (size + padding).checked_sub(k + 1) {
        Some(room) => (room / stride + 1).min(out),
        None => 0,
    };
    first..last.max(first)
}

#[inline(always)]
unsafe fn walk<S: Simd, const N: usize>(task: Task<'_>) {
    let Task { shape, x, dy, images, block, copy, sum } = task;
    let (first, depth) = (block.first, block.depth.len());
    let &ConvShape { height, width, input, output, kernel, stride, padding, .. } = shape;
    let (out_height, out_width) = (shape.out_height(), shape.out_width());
    let lanes = N * S::LANES;
    let rows_at_once = rows_at_once(shape);
    let whole = first + lanes <= output;
    let (x_image, y_image) = (height * width * input, out_height * out_width * output);
    let at_once = images_at_once(shape);
    for start in images.clone().step_by(at_once) {
        let count = at_once.min(images.end - start);
        let x = &x[start * x_image..][..count * x_image];
        let dy = &dy[start * y_image..][..count * y_image];
        for top in (0..out_height).step_by(rows_at_once) {
            let bottom = (top + rows_at_once).min(out_height);
            let pixels = (bottom - top) * out_width;
            let (gradient, y_step, y_image) = match whole {
                true => (&dy[top * out_width * output + first..], output, y_image),
                false => {
                    for (pixel, to) in copy.chunks_exact_mut(lanes).take(count * pixels).enumerate() {
                        let at = pixel / pixels * y_image + (top * out_width + pixel % pixels) * output + first;
                        let from = &dy[at..][..output - first];
                        to[..from.len()].copy_from_slice(from);
                        to[from.len()..].fill(0.0);
                    }
                    (&*copy, lanes, pixels * lanes)
                }
            };
            for tap in 0..kernel * kernel {
                let (kr, kc) = (tap / kernel, tap % kernel);
                let rows = inside(height, out_height, kr, stride, padding.rows.0);
                let columns = inside(width, out_width, kc, stride, padding.columns.0);
                let rows = rows.start.max(top)..rows.end.min(bottom);
                if rows.is_empty() || columns.is_empty() {
                    continue;
                }
                let x_row = rows.start * stride + kr - padding.rows.0;
                let x_column = columns.start * stride + kc - padding.columns.0;
                let lines = Lines {
                    images: count,
                    x_image,
                    y_image,
                    count: rows.len(),
                    len: columns.len(),
                    x_line: stride * width * input,
                    x_step: stride * input,
                    y_line: out_width * y_step,
                    y_step,
                };
                let x = &x[(x_row * width + x_column) * input + block.depth.start..];
                let y = &gradient[((rows.start - top) * out_width + columns.start) * y_step..];
                // The last address read of each.
                let last = |image: usize, line: usize, step: usize| (count - 1) * image + (lines.count - 1) * line + (lines.len - 1) * step;
                assert!(last(lines.x_image, lines.x_line, lines.x_step) + depth <= x.len());
                assert!(last(lines.y_image, lines.y_line, lines.y_step) + lanes <= y.len());
                let sum = &mut sum[tap * depth * lanes..][..depth * lanes];
                // SAFETY: the addresses were checked above.
                unsafe { rows_of_inputs::<S, N>(&lines, x.as_ptr(), y.as_ptr(), depth, sum.as_mut_ptr()) };
            }
        }
    }
}

/// Rows of pixels of some images: how many, their length, and the steps between images, between rows and along them.
pub(super) struct Lines {
    pub images: usize,
    pub x_image: usize,
    pub y_image: usize,
    pub count: usize,
    pub len: usize,
    pub x_line: usize,
    pub x_step: usize,
    pub y_line: usize,
    pub y_step: usize,
}

#[inline(always)]
pub(super) unsafe fn rows_of_inputs<S: Simd, const N: usize>(lines: &Lines, x: *const f32, y: *const f32, input: usize, sum: *mut f32) {
    let mut at = 0;
    while at < input {
        let left = input - at;
        // SAFETY: `at + M` stays within the input channels, whose last was checked by the caller.
        unsafe {
            let (x, sum) = (x.add(at), sum.add(at * N * S::LANES));
            let budget = if S::REGISTERS >= 32 { 26 } else { 12 };
            let most = budget / N;
            at += match left.min(most) {
                16.. => product::<S, 16, N>(lines, x, y, sum),
                12.. => product::<S, 12, N>(lines, x, y, sum),
                8.. => product::<S, 8, N>(lines, x, y, sum),
                6.. => product::<S, 6, N>(lines, x, y, sum),
                4.. => product::<S, 4, N>(lines, x, y, sum),
                3 => product::<S, 3, N>(lines, x, y, sum),
                2 => product::<S, 2, N>(lines, x, y, sum),
                _ => product::<S, 1, N>(lines, x, y, sum),
            };
        }
    }
}

/// sum[m][n] += Σ over pixels of x[m] · y[n]. Returns M.
#[inline(always)]
unsafe fn product<S: Simd, const M: usize, const N: usize>(lines: &Lines, x: *const f32, y: *const f32, sum: *mut f32) -> usize {
    // SAFETY: the caller has checked every address that the lines reach.
    unsafe {
        let mut sums = [[S::splat(0.0); N]; M];
        for image in 0..lines.images {
            for line in 0..lines.count {
                let mut x = x.add(image * lines.x_image + line * lines.x_line);
                let mut y = y.add(image * lines.y_image + line * lines.y_line);
                for _ in 0..lines.len {
                    let mut yv = [S::splat(0.0); N];
                    for n in 0..N {
                        yv[n] = S::load(y.add(n * S::LANES));
                    }
                    for m in 0..M {
                        let xv = S::splat(*x.add(m));
                        for n in 0..N {
                            sums[m][n] = S::fma(xv, yv[n], sums[m][n]);
                        }
                    }
                    x = x.wrapping_add(lines.x_step);
                    y = y.wrapping_add(lines.y_step);
                }
            }
        }
        for m in 0..M {
            for n in 0..N {
                let to = sum.add((m * N + n) * S::LANES);
                S::store(to, S::add(S::load(to), sums[m][n]));
            }
        }
    }
    M
}
