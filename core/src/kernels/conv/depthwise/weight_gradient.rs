//! The gradient of the weight. Parts of the images' lines are summed on their own and then in
//! order.
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

use super::super::super::scratch::with_scratch;
use super::super::super::simd::{InstructionSet, Kernel, Simd, Single, dispatch};
use super::super::shape::{ConvShape, Direction};
use super::{Reach, inside};

/// Parts of the lines of all images, at most.
const PARTS: usize = 32;
/// Pixels that are added up in registers, where there are so many.
const MANY: usize = 8;
/// And where there are fewer.
const FEW: usize = 4;

/// dw from the input and the gradient of the output.
pub(in super::super) fn weight_gradient(
    set: InstructionSet,
    shape: &ConvShape,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
) {
    let channels = shape.input;
    let taps = shape.kernel * shape.kernel;
    let reach = Reach::new(shape, Direction::Forward);
    let lines = shape.batch * reach.rows.len();
    let of_part = lines.div_ceil(PARTS).max(1);
    let parts = lines.div_ceil(of_part);
    with_scratch(parts * taps * channels, |sums| {
        sums.par_chunks_exact_mut(taps * channels).enumerate().for_each(|(part, sums)| {
            sums.fill(0.0);
            let lines = part * of_part..((part + 1) * of_part).min(lines);
            dispatch(set, Part { shape, reach: &reach, x, dy, lines, sums });
        });
        let (first, others) = sums.split_at_mut(taps * channels);
        for part in others.chunks_exact(taps * channels) {
            first.iter_mut().zip(part).for_each(|(sum, value)| *sum += value);
        }
        for (channel, kernel) in dw.chunks_exact_mut(taps).enumerate() {
            kernel
                .iter_mut()
                .enumerate()
                .for_each(|(tap, to)| *to = first[tap * channels + channel]);
        }
    });
}

/// Some lines of the output, counted over all images.
struct Part<'a> {
    shape: &'a ConvShape,
    reach: &'a Reach,
    x: &'a [f32],
    dy: &'a [f32],
    lines: Range<usize>,
    /// `[tap][channel]`.
    sums: &'a mut [f32],
}

impl Kernel for Part<'_> {
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

/// The sums of some channels, whole vectors.
#[inline(always)]
unsafe fn of_channels<S: Simd>(task: &mut Part<'_>, channels: Range<usize>) {
    if channels.is_empty() {
        return;
    }
    // SAFETY: the caller's.
    unsafe {
        match (task.shape.kernel, task.shape.stride) {
            (3, 1) => add_lines::<S, 3, 1>(task, channels),
            (3, 2) => add_lines::<S, 3, 2>(task, channels),
            (5, 1) => add_lines::<S, 5, 1>(task, channels),
            (5, 2) => add_lines::<S, 5, 2>(task, channels),
            // Of other kernels every pixel takes the way of those at the edges.
            _ => add_lines::<S, 0, 1>(task, channels),
        }
    }
}

/// Of a K×K kernel, or of any if K is 0.
#[inline(always)]
unsafe fn add_lines<S: Simd, const K: usize, const STRIDE: usize>(
    task: &mut Part<'_>,
    range: Range<usize>,
) {
    let &mut Part { shape, reach, x, dy, .. } = task;
    let (channels, kernel) = (shape.input, shape.kernel);
    let (height, width) = (reach.rows.len(), reach.columns.len());
    let inside = if K > 0 { inside::<K, STRIDE, false>(shape, reach) } else { 0..0 };
    assert!(range.end <= channels && task.sums.len() == kernel * kernel * channels);
    assert_eq!([x.len(), dy.len()], [shape.input_len(), shape.output_len()]);
    let sums = task.sums.as_mut_ptr();
    for line in task.lines.clone() {
        let (image, row) = (line / height, line % height);
        let dy = &dy[line * width * channels..][..width * channels];
        for down in &reach.rows[row] {
            let x = &x[(image * shape.height + down.source) * shape.width * channels..]
                [..shape.width * channels];
            // SAFETY: taps are in the images and in the kernel, pixels inside have all K columns,
            // and a pixel has whole vectors of the range's channels.
            unsafe {
                let sums = sums.add(down.kernel * kernel * channels);
                for column in (0..inside.start).chain(inside.end..width) {
                    for across in &reach.columns[column] {
                        let (dy, x) = (
                            dy.as_ptr().add(column * channels),
                            x.as_ptr().add(across.source * channels),
                        );
                        let sums = sums.add(across.kernel * channels);
                        for channel in range.clone().step_by(S::LANES) {
                            let sum = S::fma(
                                S::load(x.add(channel)),
                                S::load(dy.add(channel)),
                                S::load(sums.add(channel)),
                            );
                            S::store(sums.add(channel), sum);
                        }
                    }
                }
                let mut column = inside.start;
                while column < inside.end {
                    let (dy, x) = (
                        dy.as_ptr().add(column * channels),
                        x.as_ptr().add((column * STRIDE - shape.padding.columns.0) * channels),
                    );
                    column += match inside.end - column {
                        MANY.. => add_pixels::<S, K, STRIDE, MANY>(x, dy, sums, channels, &range),
                        FEW.. => add_pixels::<S, K, STRIDE, FEW>(x, dy, sums, channels, &range),
                        _ => add_pixels::<S, K, STRIDE, 1>(x, dy, sums, channels, &range),
                    };
                }
            }
        }
    }
}

/// Adds P pixels of a row to the sums of a row of the kernel. Returns P.
///
/// # Safety
/// `x` must be at the first column under the first pixel's kernel, with all columns up to the last
/// one's after it, `dy` at the first of P pixels.
#[inline(always)]
unsafe fn add_pixels<S: Simd, const K: usize, const STRIDE: usize, const P: usize>(
    x: *const f32,
    dy: *const f32,
    sums: *mut f32,
    channels: usize,
    range: &Range<usize>,
) -> usize {
    for channel in range.clone().step_by(S::LANES) {
        // SAFETY: the caller's.
        unsafe {
            let mut of_row = [S::splat(0.0); K];
            for k in 0..K {
                of_row[k] = S::load(sums.add(k * channels + channel));
            }
            for p in 0..P {
                let gradient = S::load(dy.add(p * channels + channel));
                for k in 0..K {
                    of_row[k] = S::fma(
                        S::load(x.add((p * STRIDE + k) * channels + channel)),
                        gradient,
                        of_row[k],
                    );
                }
            }
            for k in 0..K {
                S::store(sums.add(k * channels + channel), of_row[k]);
            }
        }
    }
    P
}
