//! Convolutions of every channel by itself, and their gradients. They move many values for few
//! products, so they walk over images in the order in which these lie in memory: a few pixels of a
//! row at a time, over all of their channels.
#![expect(
    unsafe_code,
    reason = "vector instructions, and addresses checked before a loop instead of in it"
)]
#![expect(
    clippy::needless_range_loop,
    reason = "loops with constant bounds over small arrays become registers"
)]

mod weight_gradient;

use std::ops::Range;

use rayon::prelude::*;

use super::super::scratch::with_scratch;
use super::super::simd::{InstructionSet, Kernel, Simd, Single, dispatch};
use super::epilogue::{Epilogue, Finish};
use super::shape::{ConvShape, Direction};
pub(super) use weight_gradient::weight_gradient;

/// Values of the rows that a task writes, about: what they are made from stays in the second-level
/// cache.
const VALUES: usize = 32 * 1024;
/// Pixels that are computed together.
const PIXELS: usize = 4;

/// Forward: y from x. Backward: dx from dy. With what `epilogue` asks for.
pub(super) fn convolve(
    set: InstructionSet,
    shape: &ConvShape,
    direction: Direction,
    x: &[f32],
    weight: &[f32],
    epilogue: Epilogue<'_>,
    y: &mut [f32],
) {
    let channels = shape.input;
    let reach = Reach::new(shape, direction);
    let width = reach.columns.len();
    if y.is_empty() {
        return;
    }
    with_scratch(weight.len(), |taps| {
        by_taps(weight, channels, taps);
        let taps = &*taps;
        let line = width * channels;
        let lines = (VALUES / line).max(1);
        y.par_chunks_mut(lines * line).enumerate().for_each(|(index, y)| {
            let epilogue = epilogue.part(index * lines * line, y.len());
            dispatch(
                set,
                Lines {
                    shape,
                    direction,
                    reach: &reach,
                    x,
                    taps,
                    first: index * lines,
                    epilogue,
                    y,
                },
            );
        });
    });
}

/// `[tap][channel]` from `[channel][tap]`, so that the channels of a tap lie next to each other as
/// those of a pixel do.
fn by_taps(weight: &[f32], channels: usize, to: &mut [f32]) {
    let taps = weight.len() / channels;
    for (channel, kernel) in weight.chunks_exact(taps).enumerate() {
        kernel.iter().enumerate().for_each(|(tap, value)| to[tap * channels + channel] = *value);
    }
}

/// A row or column of the kernel, and the row or column of the images that it meets.
#[derive(Clone, Copy)]
struct Tap {
    kernel: usize,
    source: usize,
}

/// What the rows and columns that are written are made from.
struct Reach {
    rows: Vec<Vec<Tap>>,
    columns: Vec<Vec<Tap>>,
    /// Rows and columns of what is read.
    height: usize,
    width: usize,
}

impl Reach {
    fn new(shape: &ConvShape, direction: Direction) -> Self {
        let outputs = (shape.out_height(), shape.out_width());
        let (above, left) = (shape.padding.rows.0, shape.padding.columns.0);
        match direction {
            Direction::Forward => Self {
                rows: (0..outputs.0).map(|row| forward(shape, row, above, shape.height)).collect(),
                columns: (0..outputs.1)
                    .map(|column| forward(shape, column, left, shape.width))
                    .collect(),
                height: shape.height,
                width: shape.width,
            },
            Direction::Backward => Self {
                rows: (0..shape.height).map(|row| backward(shape, row, above, outputs.0)).collect(),
                columns: (0..shape.width)
                    .map(|column| backward(shape, column, left, outputs.1))
                    .collect(),
                height: outputs.0,
                width: outputs.1,
            },
        }
    }
}

/// The places of the input, of which there are `size`, under the kernel at a place of the output.
fn forward(shape: &ConvShape, at: usize, padding: usize, size: usize) -> Vec<Tap> {
    let taps = (0..shape.kernel).filter_map(|kernel| {
        let source =
            (at * shape.stride + kernel).checked_sub(padding).filter(|source| *source < size)?;
        Some(Tap { kernel, source })
    });
    taps.collect()
}

/// The places of the output, of which there are `size`, whose kernels cover a place of the input.
fn backward(shape: &ConvShape, at: usize, padding: usize, size: usize) -> Vec<Tap> {
    let taps = (0..shape.kernel).filter_map(|kernel| {
        let from =
            (at + padding).checked_sub(kernel).filter(|from| from.is_multiple_of(shape.stride))?;
        Some(Tap { kernel, source: from / shape.stride }).filter(|tap| tap.source < size)
    });
    taps.collect()
}

/// Some lines of pixels.
struct Lines<'a> {
    shape: &'a ConvShape,
    direction: Direction,
    reach: &'a Reach,
    /// What is read, whole.
    x: &'a [f32],
    /// `[tap][channel]`.
    taps: &'a [f32],
    /// The first line, counted over all images.
    first: usize,
    epilogue: Epilogue<'a>,
    /// The lines.
    y: &'a mut [f32],
}

impl Kernel for Lines<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(mut self) {
        let channels = self.shape.input;
        let whole = channels / S::LANES * S::LANES;
        // SAFETY: `dispatch` entered a function for S; single floats need no instruction set.
        unsafe {
            of_channels::<S>(&mut self, 0..whole);
            of_channels::<Single>(&mut self, whole..channels);
        }
    }
}

/// Lines of some channels, whole vectors.
#[inline(always)]
unsafe fn of_channels<S: Simd>(task: &mut Lines<'_>, channels: Range<usize>) {
    if channels.is_empty() {
        return;
    }
    // SAFETY: the caller's.
    unsafe {
        match (task.shape.kernel, task.shape.stride, task.direction) {
            (3, 1, Direction::Forward) => lines::<S, 3, 1, { PIXELS + 2 }, false>(task, channels),
            (3, 2, Direction::Forward) => {
                lines::<S, 3, 2, { 2 * PIXELS + 1 }, false>(task, channels)
            }
            (5, 1, Direction::Forward) => lines::<S, 5, 1, { PIXELS + 4 }, false>(task, channels),
            (5, 2, Direction::Forward) => {
                lines::<S, 5, 2, { 2 * PIXELS + 3 }, false>(task, channels)
            }
            (3, 1, Direction::Backward) => lines::<S, 3, 1, { PIXELS + 2 }, true>(task, channels),
            (3, 2, Direction::Backward) => {
                lines::<S, 3, 2, { PIXELS / 2 + 1 }, true>(task, channels)
            }
            (5, 1, Direction::Backward) => lines::<S, 5, 1, { PIXELS + 4 }, true>(task, channels),
            (5, 2, Direction::Backward) => {
                lines::<S, 5, 2, { PIXELS / 2 + 2 }, true>(task, channels)
            }
            // Of other kernels every pixel takes the way of those at the edges.
            _ => lines::<S, 1, 1, 0, false>(task, channels),
        }
    }
}

/// Of a K×K kernel with stride `STRIDE`. [`PIXELS`] pixels in a row are made from J: those under
/// the kernel or, going `BACK`, those whose kernels cover them. J is 0 where there is no such way.
#[inline(always)]
unsafe fn lines<S: Simd, const K: usize, const STRIDE: usize, const J: usize, const BACK: bool>(
    task: &mut Lines<'_>,
    range: Range<usize>,
) {
    let &mut Lines { shape, reach, x, taps, first, epilogue, .. } = task;
    let (channels, kernel) = (shape.input, shape.kernel);
    let (height, width) = (reach.rows.len(), reach.columns.len());
    let inside = if J > 0 { inside::<K, STRIDE, BACK>(shape, reach) } else { 0..0 };
    assert!(
        range.end <= channels
            && taps.len() == kernel * kernel * channels
            && task.y.len().is_multiple_of(width * channels)
    );
    assert_eq!(x.len(), shape.batch * reach.height * reach.width * channels);
    for (index, y) in task.y.chunks_exact_mut(width * channels).enumerate() {
        let (image, row) = ((first + index) / height, (first + index) % height);
        let rows = reach.rows[row].as_slice();
        let finish = Finish::new(epilogue.part(index * y.len(), y.len()), channels);
        let source = |row: usize, column: usize| {
            ((image * reach.height + row) * reach.width + column) * channels
        };
        for column in (0..inside.start).chain(inside.end..width) {
            for channel in range.clone().step_by(S::LANES) {
                let at = column * channels + channel;
                // SAFETY: taps are in the images and in the kernel, and a pixel has whole vectors
                // of the range's channels.
                unsafe {
                    let mut sum = S::splat(0.0);
                    for down in rows {
                        for across in &reach.columns[column] {
                            let w = taps
                                .as_ptr()
                                .add((down.kernel * kernel + across.kernel) * channels + channel);
                            let from = x.as_ptr().add(source(down.source, across.source) + channel);
                            sum = S::fma(S::load(from), S::load(w), sum);
                        }
                    }
                    S::store(y.as_mut_ptr().add(at), finish.apply::<S>(sum, at, channel));
                }
            }
        }
        // The last group ends with the pixels inside: what it shares with the one before is
        // computed twice.
        for group in 0..inside.len().div_ceil(PIXELS) {
            let column = (inside.start + group * PIXELS).min(inside.end - PIXELS);
            let left = match BACK {
                false => column * STRIDE - shape.padding.columns.0,
                true => (column + shape.padding.columns.0) / STRIDE - (K - 1) / STRIDE,
            };
            debug_assert!(left + J <= reach.width);
            for channel in range.clone().step_by(S::LANES) {
                let at = column * channels + channel;
                // SAFETY: pixels inside have all of their J sources, and a pixel has whole vectors
                // of the range's channels.
                unsafe {
                    let mut sums = [S::splat(0.0); PIXELS];
                    for down in rows {
                        let w = taps.as_ptr().add(down.kernel * K * channels + channel);
                        let from = x.as_ptr().add(source(down.source, left) + channel);
                        for k in 0..K {
                            let w = S::load(w.add(k * channels));
                            // Going back, the pixels whose place leaves the remainder k when it is
                            // divided by the stride.
                            let (first, step, start) = match BACK {
                                false => (0, 1, k),
                                true => (k % STRIDE, STRIDE, (K - 1) / STRIDE - k / STRIDE),
                            };
                            for q in 0..PIXELS / step {
                                let j = start + if BACK { q } else { q * STRIDE };
                                sums[first + q * step] = S::fma(
                                    S::load(from.add(j * channels)),
                                    w,
                                    sums[first + q * step],
                                );
                            }
                        }
                    }
                    for p in 0..PIXELS {
                        let at = at + p * channels;
                        S::store(y.as_mut_ptr().add(at), finish.apply::<S>(sums[p], at, channel));
                    }
                }
            }
        }
    }
}

/// Columns that are written in groups of [`PIXELS`], each with all of its sources: none, or enough
/// for a group.
fn inside<const K: usize, const STRIDE: usize, const BACK: bool>(
    shape: &ConvShape,
    reach: &Reach,
) -> Range<usize> {
    let left = shape.padding.columns.0;
    let (first, last) = match BACK {
        // A column is made from K columns, the first of them at its own place times the stride.
        false => (
            left.div_ceil(STRIDE),
            (reach.width + left).checked_sub(K).map_or(0, |room| room / STRIDE + 1),
        ),
        // A column is made from those before its place over the stride. Groups start where that
        // division has no remainder.
        true => {
            let first = ((K - 1) / STRIDE * STRIDE).max(left.next_multiple_of(STRIDE)) - left;
            (first, (reach.width * STRIDE).saturating_sub(left))
        }
    };
    let len = last.min(reach.columns.len()).saturating_sub(first);
    let len = if BACK { len / STRIDE * STRIDE } else { len };
    if len >= PIXELS { first..first + len } else { 0..0 }
}
