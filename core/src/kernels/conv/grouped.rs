//! 3×3 convolutions in groups of 4 or 8 channels, as ResNeXt's first stages have them, and their
//! gradients, with stride 1; of groups of 4 also with stride 2.
//!
//! A vector holds the channels of a few groups. What the other kernels do with a group narrower
//! than a vector is mostly multiplying by zeros; here a channel of every group is spread over its
//! group's lanes, and meets the weights of all of these: four or eight products a tap instead of
//! sixteen.
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

use super::super::scratch::with_scratch;
use super::super::simd::{InstructionSet, Kernel, Simd, dispatch, places};
use super::epilogue::{Epilogue, Finish};
use super::prefetch::{Ahead, Region};
use super::shape::{ConvShape, Direction, Zeros};

/// Values of the rows that a task writes, about: they and what they are made from stay in the
/// second-level cache.
const VALUES: usize = 48 * 1024;
/// Parts of the batch in the gradient of the weight, at most.
const PARTS: usize = 16;
const TAPS: usize = 9;

/// Whether these kernels fit in all directions.
pub(super) fn fits(set: InstructionSet, shape: &ConvShape) -> bool {
    shape.stride == 1 && fits_forward(set, shape)
}

/// Whether the one for the way forward fits.
pub(super) fn fits_forward(set: InstructionSet, shape: &ConvShape) -> bool {
    let (group, lanes) = (shape.inputs_of_group(), set.lanes());
    let narrow = [4, 8].contains(&group) && shape.input == shape.output && shape.groups > 1;
    // With stride 2 a channel that was spread meets half as many pixels, which wider groups do not
    // make up for.
    let strides = shape.stride == 1 || (shape.stride == 2 && group == 4);
    let whole = lanes.is_multiple_of(group.max(1)) && shape.input.is_multiple_of(lanes);
    shape.kernel == 3 && strides && shape.padding == Zeros::around(1) && narrow && whole
}

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
    let group = shape.inputs_of_group();
    let (line, image) = (shape.out_width() * shape.input, shape.height * shape.width * shape.input);
    let out_image = shape.out_height() * line;
    assert!(direction == Direction::Forward || shape.stride == 1);
    assert_eq!([x.len(), y.len()], [shape.batch * image, shape.batch * out_image]);
    if y.is_empty() {
        return;
    }
    with_scratch(TAPS * group * shape.input, |packed| {
        pack(shape, direction, weight, set.lanes(), packed);
        let packed = &*packed;
        let rows = (VALUES / line).clamp(1, shape.out_height());
        y.par_chunks_mut(out_image).zip(x.par_chunks(image)).enumerate().for_each(
            |(image, (y, x))| {
                y.par_chunks_mut(rows * line).enumerate().for_each(|(index, y)| {
                    let epilogue = epilogue.part(image * out_image + index * rows * line, y.len());
                    dispatch(set, Rows { shape, x, packed, first: index * rows, epilogue, y });
                });
            },
        );
    });
}

/// The weight as `[vector of channels][tap][channel of its group][lane]`.
fn pack(shape: &ConvShape, direction: Direction, weight: &[f32], lanes: usize, to: &mut [f32]) {
    let group = shape.inputs_of_group();
    for (vector, to) in to.chunks_exact_mut(TAPS * group * lanes).enumerate() {
        for lane in 0..lanes {
            let column = vector * lanes + lane;
            let of_column = shape.dependence(direction, column);
            for (j, channel) in of_column.depth.clone().enumerate() {
                let kernel = &weight[of_column.kernel(channel) * TAPS..][..TAPS];
                for tap in 0..TAPS {
                    let turned = if direction == Direction::Forward { tap } else { TAPS - 1 - tap };
                    to[(tap * group + j) * lanes + lane] = kernel[turned];
                }
            }
        }
    }
}

/// For each channel of a group the lanes that it comes from.
#[inline(always)]
unsafe fn spreads<S: Simd, const G: usize>() -> [S::V; G] {
    let mut spreads = [unsafe { S::splat(0.0) }; G];
    for j in 0..G {
        let from = places(|lane| if lane < S::LANES { lane / G * G + j } else { 0 });
        // SAFETY: no vector has more lanes than there are places.
        spreads[j] = unsafe { S::load(from.as_ptr()) };
    }
    spreads
}

/// Some rows of an image.
struct Rows<'a> {
    shape: &'a ConvShape,
    /// The whole image.
    x: &'a [f32],
    packed: &'a [f32],
    /// The first row.
    first: usize,
    epilogue: Epilogue<'a>,
    y: &'a mut [f32],
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(mut self) {
        // SAFETY: `dispatch` entered a function for S.
        unsafe {
            match (self.shape.inputs_of_group(), self.shape.stride, S::REGISTERS >= 32) {
                (4, 1, true) => rows::<S, 4, 1, 8, 10>(&mut self),
                (4, 1, false) => rows::<S, 4, 1, 4, 6>(&mut self),
                (4, _, true) => rows::<S, 4, 2, 7, 15>(&mut self),
                (4, _, false) => rows::<S, 4, 2, 2, 5>(&mut self),
                (_, _, true) => rows::<S, 8, 1, 8, 10>(&mut self),
                (_, _, false) => rows::<S, 8, 1, 4, 6>(&mut self),
            }
        }
    }
}

/// Groups of G channels, M pixels at a time from the P around them, which are two more than M
/// strides reach.
#[inline(always)]
unsafe fn rows<S: Simd, const G: usize, const STRIDE: usize, const M: usize, const P: usize>(
    task: &mut Rows<'_>,
) {
    const { assert!(P == (M - 1) * STRIDE + 3) };
    let &mut Rows { shape, x, packed, first, epilogue, .. } = task;
    let &ConvShape { height, width, input: channels, .. } = shape;
    let (line, out_width) = (width * channels, shape.out_width());
    let out_line = out_width * channels;
    let finish = Finish::new(epilogue, channels);
    assert!(
        x.len() == height * line
            && packed.len() == TAPS * G * channels
            && channels.is_multiple_of(S::LANES)
            && STRIDE == shape.stride
    );
    // SAFETY: the caller's.
    let spreads = unsafe { spreads::<S, G>() };
    // A vector is a cache line, and those of a channel lie far apart. The next rows are most likely
    // the next task of this thread.
    let rows = task.y.len() / out_line;
    let (read, write) = (((first + rows) * STRIDE + 1) * line, task.y.len());
    let next = (rows * STRIDE * line).min(x.len().saturating_sub(read));
    let regions = [
        (x.as_ptr(), Region::row(read, next)),
        (task.y.as_ptr(), Region::row(write, next.min(write))),
    ];
    let mut ahead = Ahead::new(regions, channels / S::LANES * rows * out_width.div_ceil(M));
    for vector in 0..channels / S::LANES {
        let channel = vector * S::LANES;
        let weights = &packed[vector * TAPS * G * S::LANES..][..TAPS * G * S::LANES];
        for (index, y) in task.y.chunks_exact_mut(out_line).enumerate() {
            let row = (first + index) * STRIDE;
            for start in (0..out_width).step_by(M) {
                ahead.fetch();
                // SAFETY: rows and columns are checked to be in the image, channels end with a
                // vector.
                unsafe {
                    let mut sums = [S::splat(0.0); M];
                    for down in 0..3 {
                        let Some(source) =
                            (row + down).checked_sub(1).filter(|source| *source < height)
                        else {
                            continue;
                        };
                        let from = x.as_ptr().add(source * line + channel);
                        // At the edges a copy with zeros beyond them.
                        let mut edge = [[0.0f32; 16]; P];
                        let (from, step) = match start > 0 && start * STRIDE + P <= width + 1 {
                            true => (from.add((start * STRIDE - 1) * channels), channels),
                            false => {
                                for p in 0..P {
                                    if let Some(column) = (start * STRIDE + p)
                                        .checked_sub(1)
                                        .filter(|column| *column < width)
                                    {
                                        S::store(
                                            edge[p].as_mut_ptr(),
                                            S::load(from.add(column * channels)),
                                        );
                                    }
                                }
                                (edge.as_ptr().cast::<f32>(), 16)
                            }
                        };
                        for j in 0..G {
                            let w = [0, 1, 2].map(|across| {
                                S::load(
                                    weights.as_ptr().add(((down * 3 + across) * G + j) * S::LANES),
                                )
                            });
                            let mut values = [S::splat(0.0); P];
                            for p in 0..P {
                                values[p] = S::permute(S::load(from.add(p * step)), spreads[j]);
                            }
                            for across in 0..3 {
                                for m in 0..M {
                                    sums[m] =
                                        S::fma(values[m * STRIDE + across], w[across], sums[m]);
                                }
                            }
                        }
                    }
                    for m in 0..M.min(out_width - start) {
                        let at = (start + m) * channels + channel;
                        S::store(
                            y.as_mut_ptr().add(at),
                            finish.apply::<S>(sums[m], index * out_line + at, channel),
                        );
                    }
                }
            }
        }
    }
}

/// dw from the input and the gradient of the output.
pub(super) fn weight_gradient(
    set: InstructionSet,
    shape: &ConvShape,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
) {
    let (group, lanes) = (shape.inputs_of_group(), set.lanes());
    let image = shape.height * shape.width * shape.input;
    assert_eq!([x.len(), dy.len()], [shape.batch * image; 2]);
    if shape.batch == 0 {
        return dw.fill(0.0);
    }
    let size = TAPS * group * shape.input;
    let of_part = shape.batch.div_ceil(PARTS);
    let parts = shape.batch.div_ceil(of_part);
    with_scratch(parts * size, |sums| {
        sums.par_chunks_exact_mut(size).enumerate().for_each(|(part, sums)| {
            sums.fill(0.0);
            for index in part * of_part..((part + 1) * of_part).min(shape.batch) {
                let of_image = index * image..(index + 1) * image;
                dispatch(set, Sums { shape, x: &x[of_image.clone()], dy: &dy[of_image], sums });
            }
        });
        let (first, others) = sums.split_at_mut(size);
        for part in others.chunks_exact(size) {
            first.iter_mut().zip(part).for_each(|(sum, value)| *sum += value);
        }
        for (channel, kernels) in dw.chunks_exact_mut(group * TAPS).enumerate() {
            let (vector, lane) = (channel / lanes, channel % lanes);
            for (j, kernel) in kernels.chunks_exact_mut(TAPS).enumerate() {
                for (tap, to) in kernel.iter_mut().enumerate() {
                    *to = first[((vector * TAPS + tap) * group + j) * lanes + lane];
                }
            }
        }
    });
}

/// An image.
struct Sums<'a> {
    shape: &'a ConvShape,
    x: &'a [f32],
    dy: &'a [f32],
    /// `[vector of channels][tap][channel of its group][lane]`.
    sums: &'a mut [f32],
}

impl Kernel for Sums<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(mut self) {
        let rows = (VALUES / (self.shape.width * self.shape.input)).clamp(1, self.shape.height);
        for top in (0..self.shape.height).step_by(rows) {
            let rows = top..(top + rows).min(self.shape.height);
            // SAFETY: `dispatch` entered a function for S.
            unsafe {
                match self.shape.inputs_of_group() {
                    4 => add_rows::<S, 4>(&mut self, rows),
                    _ => add_rows::<S, 8>(&mut self, rows),
                }
            }
        }
    }
}

/// Adds what some rows of the output's gradient say.
#[inline(always)]
unsafe fn add_rows<S: Simd, const G: usize>(task: &mut Sums<'_>, rows: Range<usize>) {
    let &mut Sums { shape, x, dy, .. } = task;
    let &ConvShape { height, width, input: channels, .. } = shape;
    let line = width * channels;
    assert!(
        [x.len(), dy.len()] == [height * line; 2]
            && rows.end <= height
            && channels.is_multiple_of(S::LANES)
    );
    // SAFETY: the caller's.
    let spreads = unsafe { spreads::<S, G>() };
    for (vector, sums) in task.sums.chunks_exact_mut(TAPS * G * S::LANES).enumerate() {
        let channel = vector * S::LANES;
        for (down, sums) in sums.chunks_exact_mut(3 * G * S::LANES).enumerate() {
            // SAFETY: rows and columns are checked to be in the image, channels end with a vector,
            // and the sums are so many vectors.
            unsafe {
                let mut totals = [[S::splat(0.0); G]; 3];
                for across in 0..3 {
                    for j in 0..G {
                        totals[across][j] = S::load(sums.as_ptr().add((across * G + j) * S::LANES));
                    }
                }
                for row in rows.clone() {
                    let Some(source) =
                        (row + down).checked_sub(1).filter(|source| *source < height)
                    else {
                        continue;
                    };
                    let from = x.as_ptr().add(source * line + channel);
                    let of = dy.as_ptr().add(row * line + channel);
                    // The pixels of the output whose window has this pixel of the input in its
                    // last, middle and first column.
                    let (mut before, mut here) = (S::splat(0.0), S::load(of));
                    for column in 0..width {
                        let after = if column + 1 < width {
                            S::load(of.add((column + 1) * channels))
                        } else {
                            S::splat(0.0)
                        };
                        let value = S::load(from.add(column * channels));
                        for j in 0..G {
                            let value = S::permute(value, spreads[j]);
                            totals[0][j] = S::fma(value, after, totals[0][j]);
                            totals[1][j] = S::fma(value, here, totals[1][j]);
                            totals[2][j] = S::fma(value, before, totals[2][j]);
                        }
                        (before, here) = (here, after);
                    }
                }
                for across in 0..3 {
                    for j in 0..G {
                        S::store(
                            sums.as_mut_ptr().add((across * G + j) * S::LANES),
                            totals[across][j],
                        );
                    }
                }
            }
        }
    }
}
