//! The gradient of a convolution's weight.
//!
//! For every tap of the kernel it is a matrix product over output pixels: input channels by output
//! channels. A block of it is kept in registers while some rows of pixels are walked. Parts of the
//! batch are summed on their own and then in order.
#![expect(
    unsafe_code,
    reason = "vector instructions, and addresses checked before a loop instead of in it"
)]
#![expect(
    clippy::needless_range_loop,
    reason = "loops with constant bounds over small arrays become registers"
)]

use std::ops::Range;

use rayon::prelude::*;

use super::super::scratch::{split, with_scratch};
use super::super::simd::{InstructionSet, Kernel, Simd, dispatch};
use super::direct::widest;
use super::prefetch::{Ahead, Region};
use super::shape::{Block, ConvShape, Direction};

/// Output pixels walked before the next block is begun: their channels stay in the first-level
/// cache.
const PIXELS: usize = 64;
/// Parts of the batch, at most.
const PARTS: usize = 16;
/// Floats that all parts together may hold.
const HELD: usize = 4 << 20;
/// Input channels times vectors of output channels of a block of registers, at most, where there
/// are 32 of these.
const ROWS: usize = 26;
/// Floats of the widest vector.
const WIDEST: usize = 16;
/// Input channels of a task, at most, with 1×1 kernels, and at least with larger ones: its sums
/// stay in the second-level cache.
const DEPTH: (usize, usize) = (240, 48);
/// Floats of the sums of a task: blocks of the same depth whose sums are fewer go through the
/// images together, so that these are read once for them.
const SUMS: usize = 160 * 1024;
/// Tasks that are enough, so that a processor with many cores has work for all of them: the batch
/// is not cut into more parts for more.
const TASKS: usize = 24;

/// dw from the input and the gradient of the output.
pub(super) fn weight_gradient(
    set: InstructionSet,
    shape: &ConvShape,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
) {
    assert_eq!(x.len(), shape.input_len());
    assert_eq!(dy.len(), shape.output_len());
    assert_eq!(dw.len(), shape.weight_len());
    let lanes = set.lanes();
    let blocks = shape.blocks(Direction::Forward, lanes, widest(set));
    let taps = shape.kernel * shape.kernel;
    let mut blocks: Vec<Block> = blocks.iter().flat_map(|block| pieces(block, taps)).collect();
    blocks.sort_by_key(|block| (block.depth.start, block.first));
    let size = |block: &Block| taps * block.depth.len() * block.vectors * lanes;
    let groups = groups(&blocks, size);
    let parts = PARTS
        .min(HELD / shape.weight_len().max(1))
        .min(TASKS.div_ceil(groups.len()))
        .clamp(1, shape.batch);
    let images = shape.batch.div_ceil(parts);
    let parts = shape.batch.div_ceil(images);
    let tasks: Vec<(&[Block], usize)> =
        groups.iter().flat_map(|group| (0..parts).map(move |part| (*group, part))).collect();
    let sizes: Vec<usize> = tasks.iter().map(|(group, _)| group.iter().map(size).sum()).collect();
    with_scratch(sizes.iter().sum(), |scratch| {
        let sums = split(scratch, sizes.iter().copied());
        tasks.par_iter().zip(sums).for_each(|(&(blocks, part), sums)| {
            sums.fill(0.0);
            let images = part * images..((part + 1) * images).min(shape.batch);
            let pixels = images_at_once(shape) * rows_at_once(shape) * shape.out_width();
            let widest = blocks.iter().map(|block| block.vectors * lanes).max().unwrap_or(0);
            with_scratch(pixels * widest, |copy| {
                dispatch(set, Task { shape, x, dy, images, blocks, copy, sums })
            });
        });
        let scratch = &*scratch;
        // [output][input][tap] from [tap][depth][width], summed over the parts in order.
        let out_len = shape.inputs_of_group() * taps;
        let mut start = 0;
        let places = groups.iter().flat_map(|group| {
            let all: usize = group.iter().map(size).sum();
            let first = start;
            start += parts * all;
            let mut within = 0;
            group.iter().map(move |block| {
                let at = first + within;
                within += size(block);
                (block, at, all)
            })
        });
        let places: Vec<(&Block, usize, usize)> = places.collect();
        dw.par_chunks_mut(lanes * out_len).enumerate().for_each(|(index, to)| {
            let column = index * lanes;
            let depths: Vec<Range<usize>> = (column..column + to.len() / out_len)
                .map(|column| shape.dependence(Direction::Forward, column).depth)
                .collect();
            for (block, at, step) in &places {
                let width = block.vectors * lanes;
                let Some(first) = column.checked_sub(block.first).filter(|first| *first < width)
                else {
                    continue;
                };
                for (d, channel) in block.depth.clone().enumerate() {
                    for tap in 0..taps {
                        let at = at + (tap * block.depth.len() + d) * width + first;
                        let mut total = [0.0; WIDEST];
                        let total = &mut total[..lanes];
                        for part in 0..parts {
                            let sums = &scratch[at + part * step..][..lanes];
                            total.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
                        }
                        for (n, (total, of_column)) in total.iter().zip(&depths).enumerate() {
                            if of_column.contains(&channel) {
                                to[n * out_len + (channel - of_column.start) * taps + tap] = *total;
                            }
                        }
                    }
                }
            }
        });
    });
}

/// Blocks that follow each other, together as long as their sums are few.
fn groups(blocks: &[Block], size: impl Fn(&Block) -> usize) -> Vec<&[Block]> {
    let mut groups = Vec::new();
    let (mut first, mut sums) = (0, 0);
    for (index, block) in blocks.iter().enumerate() {
        if index > first && sums + size(block) > SUMS {
            groups.push(&blocks[first..index]);
            (first, sums) = (index, 0);
        }
        sums += size(block);
    }
    groups.push(&blocks[first..]);
    groups
}

/// The same block with parts of its depth.
fn pieces(block: &Block, taps: usize) -> impl Iterator<Item = Block> {
    let most = (2 * DEPTH.0 / taps).clamp(DEPTH.1, DEPTH.0);
    let (depth, count) = (block.depth.clone(), block.depth.len().div_ceil(most));
    // Whole blocks of registers, as far as there are enough.
    let piece = block.depth.len().div_ceil(count).next_multiple_of(12);
    let (first, vectors) = (block.first, block.vectors);
    depth.clone().step_by(piece).map(move |start| Block {
        first,
        vectors,
        depth: start..(start + piece).min(depth.end),
    })
}

/// Some images and some blocks of output channels.
struct Task<'a> {
    shape: &'a ConvShape,
    x: &'a [f32],
    dy: &'a [f32],
    images: Range<usize>,
    blocks: &'a [Block],
    /// Room for the gradient of some rows, where pixels follow each other closely; channels beyond
    /// the last are zeros there.
    copy: &'a mut [f32],
    /// `[tap][depth][width]` for each block.
    sums: &'a mut [f32],
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(mut self) {
        let (shape, images) = (self.shape, self.images.clone());
        let (at_once, rows_at_once) = (images_at_once(shape), rows_at_once(shape));
        for start in images.clone().step_by(at_once) {
            let some = start..(start + at_once).min(images.end);
            for top in (0..shape.out_height()).step_by(rows_at_once) {
                let rows = top..(top + rows_at_once).min(shape.out_height());
                let mut ahead = self.ahead(&some, &rows, S::LANES);
                let mut done = 0;
                for block in self.blocks {
                    let size =
                        shape.kernel * shape.kernel * block.depth.len() * block.vectors * S::LANES;
                    // SAFETY: `dispatch` entered a function for S.
                    unsafe {
                        match block.vectors {
                            4 => add_rows::<S, 4>(
                                &mut self,
                                block,
                                done..done + size,
                                &some,
                                &rows,
                                &mut ahead,
                            ),
                            2 => add_rows::<S, 2>(
                                &mut self,
                                block,
                                done..done + size,
                                &some,
                                &rows,
                                &mut ahead,
                            ),
                            _ => add_rows::<S, 1>(
                                &mut self,
                                block,
                                done..done + size,
                                &some,
                                &rows,
                                &mut ahead,
                            ),
                        }
                    }
                    done += size;
                }
            }
        }
    }
}

impl Task<'_> {
    /// What is walked after these rows of these images.
    fn ahead(&self, images: &Range<usize>, rows: &Range<usize>, lanes: usize) -> Ahead {
        let shape = self.shape;
        let (image, top) = match rows.end < shape.out_height() {
            true => (images.start, rows.end),
            false => (images.end, 0),
        };
        if image >= self.images.end {
            return Ahead::nothing();
        }
        let (out_height, out_width) = (shape.out_height(), shape.out_width());
        let count = images_at_once(shape).min(self.images.end - image);
        let rows = rows_at_once(shape).min(out_height - top);
        let all = |of: fn(&Block, usize) -> Range<usize>| {
            let ranges = self.blocks.iter().map(|block| of(block, lanes));
            ranges.reduce(|all, one| all.start.min(one.start)..all.end.max(one.end)).unwrap_or(0..0)
        };
        let depth = all(|block, _| block.depth.clone());
        let columns = all(|block, lanes| block.first..block.first + block.vectors * lanes);
        // Windows that do not touch leave pixels out.
        let skip = if shape.kernel < shape.stride { shape.stride } else { 1 };
        let above = shape.padding.rows.0;
        let inputs = match count {
            1 => {
                (top * shape.stride).saturating_sub(above)
                    ..((top + rows - 1) * shape.stride + shape.kernel)
                        .saturating_sub(above)
                        .min(shape.height)
            }
            _ => 0..count * shape.height,
        };
        let x = Region {
            start: (image * shape.height + inputs.start) * shape.width * shape.input + depth.start,
            channels: depth.len(),
            columns: shape.width.div_ceil(skip),
            rows: inputs.len().div_ceil(skip),
            step: skip * shape.input,
            row_step: skip * shape.width * shape.input,
        };
        let y = Region {
            start: (image * out_height + top) * out_width * shape.output + columns.start,
            channels: columns.end.min(shape.output) - columns.start,
            columns: out_width,
            rows: if count > 1 { count * out_height } else { rows },
            step: shape.output,
            row_step: out_width * shape.output,
        };
        let products = |block: &Block| {
            shape.kernel * shape.kernel * block.depth.len().div_ceil(ROWS / block.vectors)
        };
        Ahead::new(
            [(self.x.as_ptr(), x), (self.dy.as_ptr(), y)],
            self.blocks.iter().map(products).sum(),
        )
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

/// Adds some rows of the output of some images to the sums of a block.
#[inline(always)]
unsafe fn add_rows<S: Simd, const N: usize>(
    task: &mut Task<'_>,
    block: &Block,
    sums: Range<usize>,
    images: &Range<usize>,
    rows: &Range<usize>,
    ahead: &mut Ahead,
) {
    let Task { shape, x, dy, copy, .. } = task;
    let sum = &mut task.sums[sums];
    let (first, depth) = (block.first, block.depth.len());
    let &mut &ConvShape { height, width, input, output, kernel, stride, padding, .. } = shape;
    let (out_height, out_width) = (shape.out_height(), shape.out_width());
    let (lanes, count, top, bottom) = (N * S::LANES, images.len(), rows.start, rows.end);
    let (x_image, y_image) = (height * width * input, out_height * out_width * output);
    let x = &x[images.start * x_image..][..count * x_image];
    let dy = &dy[images.start * y_image..][..count * y_image];
    let pixels = rows.len() * out_width;
    // Where channels are many, the same ones of neighbouring pixels would all compete for a few
    // places in the first-level cache.
    for (pixel, to) in copy.chunks_exact_mut(lanes).take(count * pixels).enumerate() {
        let at = pixel / pixels * y_image + (top * out_width + pixel % pixels) * output + first;
        let inside = lanes.min(output - first);
        // SAFETY: the caller's.
        unsafe { copy_channels::<S>(&dy[at..][..inside], to) };
        to[inside..].fill(0.0);
    }
    let (gradient, y_step, y_image) = (&**copy, lanes, pixels * lanes);
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
        let last = |image: usize, line: usize, step: usize| {
            (count - 1) * image + (lines.count - 1) * line + (lines.len - 1) * step
        };
        assert!(last(lines.x_image, lines.x_line, lines.x_step) + depth <= x.len());
        assert!(last(lines.y_image, lines.y_line, lines.y_step) + lanes <= y.len());
        let sum = &mut sum[tap * depth * lanes..][..depth * lanes];
        // SAFETY: the addresses were checked above.
        unsafe {
            rows_of_inputs::<S, N>(&lines, x.as_ptr(), y.as_ptr(), depth, sum.as_mut_ptr(), || {
                ahead.fetch()
            })
        };
    }
}

/// Copies channels to the beginning of `to`.
#[inline(always)]
unsafe fn copy_channels<S: Simd>(from: &[f32], to: &mut [f32]) {
    let whole = from.len() / S::LANES * S::LANES;
    let to = &mut to[..from.len()];
    for at in (0..whole).step_by(S::LANES) {
        // SAFETY: the vector ends within both.
        unsafe { S::store(to.as_mut_ptr().add(at), S::load(from.as_ptr().add(at))) };
    }
    to[whole..].iter_mut().zip(&from[whole..]).for_each(|(to, from)| *to = *from);
}

/// Rows of pixels of some images: how many, their length, and the steps between images, between
/// rows and along them.
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

/// Adds the products of input and output channels over some pixels to sums `[input][N vectors]`, a
/// block of registers after the other.
///
/// # Safety
/// Every address that the lines reach must lie in the images, for `input` channels of x and N
/// vectors of y.
#[inline(always)]
pub(super) unsafe fn rows_of_inputs<S: Simd, const N: usize>(
    lines: &Lines,
    x: *const f32,
    y: *const f32,
    input: usize,
    sum: *mut f32,
    mut before_each: impl FnMut(),
) {
    let mut at = 0;
    while at < input {
        let left = input - at;
        before_each();
        // SAFETY: `at + M` stays within the input channels, whose last was checked by the caller.
        unsafe {
            let (x, sum) = (x.add(at), sum.add(at * N * S::LANES));
            let budget = if S::REGISTERS >= 32 { ROWS } else { 12 };
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
unsafe fn product<S: Simd, const M: usize, const N: usize>(
    lines: &Lines,
    x: *const f32,
    y: *const f32,
    sum: *mut f32,
) -> usize {
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
