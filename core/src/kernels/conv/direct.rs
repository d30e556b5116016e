//! Convolution without transforms: every output pixel is a matrix product over the input pixels under its window.
//!
//! A block of a few output pixels by a few vectors of output channels is kept in registers, while the window is walked; weights are packed
//! so that they are read in order. The input gradient is the same sum with other weights: for stride 2, one for each parity of row and column.
#![allow(unsafe_code)]
// Blocks of registers are written as loops with constant bounds over small arrays, all alike.
#![allow(clippy::needless_range_loop)]

use rayon::prelude::*;

use super::super::scratch::{split, with_scratch};
use super::super::simd::{InstructionSet, Kernel, Simd, dispatch};
use super::block::accumulate;
use super::epilogue::Epilogue;
use super::shape::ConvShape;

/// Depth walked before the block is written back, so that the weights of this depth stay in the second-level cache.
const DEPTH: usize = 576;
/// Output pixels of a task, at least, where there are so many: each packed weight is used that often while it is in the cache.
const PIXELS: usize = 192;

/// y = x ∗ w, with what `epilogue` asks for.
pub(super) fn forward(set: InstructionSet, shape: &ConvShape, x: &[f32], weight: &[f32], epilogue: Epilogue<'_>, y: &mut [f32]) {
    let &ConvShape { height, width, input, output, kernel, stride, padding, .. } = shape;
    let (out_height, out_width) = (shape.out_height(), shape.out_width());
    let source = Source {
        height,
        width,
        channels: input,
        top: padding,
        rows: ((out_height - 1) * stride + kernel).max(height + padding),
        columns: ((out_width - 1) * stride + kernel).max(width + padding),
    };
    let taps = (0..kernel * kernel).map(|tap| Tap { row: tap / kernel, column: tap % kernel, weight: tap }).collect();
    let part = Part {
        taps,
        from: (0..out_height * out_width).map(|p| source.at(p / out_width * stride, p % out_width * stride)).collect(),
        to: (0..out_height * out_width).map(|p| p * output).collect(),
    };
    let weights = Weights { values: weight, taps: kernel * kernel, depth_step: 1, width_step: input };
    let target = Target { image: out_height * out_width * output, channels: output };
    sum_windows(set, shape.batch, &source, &[part], &weights, target, x, epilogue, y);
}

/// The gradient of the input from that of the output: dx = dy ∗ᵀ w.
pub(super) fn input_gradient(set: InstructionSet, shape: &ConvShape, dy: &[f32], weight: &[f32], epilogue: Epilogue<'_>, dx: &mut [f32]) {
    let &ConvShape { height, width, input, output, kernel, stride, padding, .. } = shape;
    // Input row s·q + r meets, through kernel row k, output row q + (r + padding − k) / s where that division has no remainder.
    let shifts = |r: usize| {
        let all = (0..kernel).map(move |k| (k, (r + padding) as isize - k as isize));
        all.filter(|(_, d)| d.rem_euclid(stride as isize) == 0).map(|(k, d)| (k, d / stride as isize)).collect::<Vec<_>>()
    };
    let every: Vec<isize> = (0..stride).flat_map(shifts).map(|(_, d)| d).collect();
    let top = every.iter().min().map_or(0, |d| (-d).max(0)) as usize;
    let bottom = every.iter().max().map_or(0, |d| (*d).max(0)) as usize;
    let (out_height, out_width) = (shape.out_height(), shape.out_width());
    let source = Source {
        height: out_height,
        width: out_width,
        channels: output,
        top,
        rows: (height.div_ceil(stride) + top + bottom).max(out_height + top),
        columns: (width.div_ceil(stride) + top + bottom).max(out_width + top),
    };
    let mut parts = Vec::new();
    for (row, column) in (0..stride).flat_map(|row| (0..stride).map(move |column| (row, column))) {
        let (rows, columns) = (shifts(row), shifts(column));
        let mut taps = Vec::new();
        for (kr, dr) in &rows {
            for (kc, dc) in &columns {
                let place = |d: &isize| (d + top as isize) as usize;
                taps.push(Tap { row: place(dr), column: place(dc), weight: kr * kernel + kc });
            }
        }
        taps.sort_by_key(|tap| (tap.row, tap.column));
        let (mut from, mut to) = (Vec::new(), Vec::new());
        for (q, ih) in (row..height).step_by(stride).enumerate() {
            for (p, iw) in (column..width).step_by(stride).enumerate() {
                from.push(source.at(q, p));
                to.push((ih * width + iw) * input);
            }
        }
        parts.push(Part { taps, from, to });
    }
    let weights = Weights { values: weight, taps: kernel * kernel, depth_step: input, width_step: 1 };
    sum_windows(set, shape.batch, &source, &parts, &weights, Target { image: height * width * input, channels: input }, dy, epilogue, dx);
}

/// The tensor that windows are taken from, and the zeros put around it.
pub(super) struct Source {
    pub height: usize,
    pub width: usize,
    pub channels: usize,
    /// Zero rows above and zero columns to the left.
    pub top: usize,
    /// With the zeros.
    pub rows: usize,
    pub columns: usize,
}

impl Source {
    pub fn at(&self, row: usize, column: usize) -> usize {
        (row * self.columns + column) * self.channels
    }

    pub fn len(&self) -> usize {
        self.rows * self.columns * self.channels
    }

    /// Copies an image between its zeros.
    pub fn pad(&self, image: &[f32], to: &mut [f32]) {
        let (from_line, to_line) = (self.width * self.channels, self.columns * self.channels);
        let left = self.top * self.channels;
        to[..self.top * to_line].fill(0.0);
        for row in 0..self.height {
            let line = &mut to[(self.top + row) * to_line..][..to_line];
            line[..left].fill(0.0);
            line[left..left + from_line].copy_from_slice(&image[row * from_line..][..from_line]);
            line[left + from_line..].fill(0.0);
        }
        to[(self.top + self.height) * to_line..].fill(0.0);
    }
}

/// A place in the window, relative to the pixel's address in the padded source, and which of the kernel's weights belongs to it.
struct Tap {
    row: usize,
    column: usize,
    weight: usize,
}

/// Output pixels that are computed with the same taps.
struct Part {
    taps: Vec<Tap>,
    /// For each pixel, where its window starts in the padded image.
    from: Vec<usize>,
    /// For each pixel, where it is in the output image.
    to: Vec<usize>,
}

struct Target {
    image: usize,
    channels: usize,
}

/// Weights as they come: of depth d, width n and tap t at `(d · depth_step + n · width_step) · taps + t`.
struct Weights<'a> {
    values: &'a [f32],
    taps: usize,
    depth_step: usize,
    width_step: usize,
}

/// Floats that follow each other in the padded source and in the packed weights.
#[derive(Clone, Copy)]
struct Run {
    offset: usize,
    len: usize,
}

/// Runs that are walked in one go.
struct Chunk {
    runs: std::ops::Range<usize>,
    /// Depth before it.
    start: usize,
}

fn runs(source: &Source, taps: &[Tap]) -> (Vec<Run>, Vec<Chunk>) {
    let mut merged: Vec<Run> = Vec::new();
    for tap in taps {
        let offset = source.at(tap.row, tap.column);
        match merged.last_mut() {
            Some(last) if last.offset + last.len == offset => last.len += source.channels,
            _ => merged.push(Run { offset, len: source.channels }),
        }
    }
    let mut split = Vec::new();
    for run in merged {
        let pieces = run.len.div_ceil(DEPTH);
        let piece = run.len.div_ceil(pieces);
        split.extend((0..run.len).step_by(piece).map(|at| Run { offset: run.offset + at, len: piece.min(run.len - at) }));
    }
    let mut chunks: Vec<Chunk> = Vec::new();
    let (mut depth, mut in_chunk) = (0, usize::MAX);
    for (index, run) in split.iter().enumerate() {
        if in_chunk.saturating_add(run.len) > DEPTH {
            chunks.push(Chunk { runs: index..index, start: depth });
            in_chunk = 0;
        }
        chunks.last_mut().expect("the first run starts a chunk").runs.end = index + 1;
        in_chunk += run.len;
        depth += run.len;
    }
    (split, chunks)
}

/// Divides `channels` into blocks of 4, 2 or 1 vectors: first channel and vectors of each.
pub(super) fn column_blocks(channels: usize, set: InstructionSet) -> Vec<(usize, usize)> {
    let widest = if set.registers() >= 32 { 4 } else { 2 };
    let mut blocks = Vec::new();
    let mut at = 0;
    while at < channels {
        let left = (channels - at).div_ceil(set.lanes());
        let vectors = [4, 2, 1].into_iter().find(|v| *v <= left && *v <= widest).unwrap_or(1);
        blocks.push((at, vectors));
        at += vectors * set.lanes();
    }
    blocks
}

#[allow(clippy::too_many_arguments)]
fn sum_windows(
    set: InstructionSet,
    batch: usize,
    source: &Source,
    parts: &[Part],
    weights: &Weights<'_>,
    target: Target,
    x: &[f32],
    epilogue: Epilogue<'_>,
    y: &mut [f32],
) {
    assert_eq!(y.len(), batch * target.image);
    assert_eq!(x.len(), batch * source.height * source.width * source.channels);
    let lanes = set.lanes();
    let blocks = column_blocks(target.channels, set);
    let plans: Vec<Plan> = parts.iter().map(|part| Plan::new(source, part)).collect();
    let sizes: Vec<usize> = plans.iter().flat_map(|plan| blocks.iter().map(|(_, vectors)| plan.depth * vectors * lanes)).collect();
    with_scratch(sizes.iter().sum(), |packed| {
        let mut pieces = split(packed, sizes.iter().copied());
        pieces.par_iter_mut().enumerate().for_each(|(index, to)| {
            let (part, (first, vectors)) = (&parts[index / blocks.len()], blocks[index % blocks.len()]);
            pack(weights, part, source.channels, first..target.channels.min(first + vectors * lanes), vectors * lanes, to);
        });
        let pieces: Vec<&[f32]> = pieces.into_iter().map(|piece| &*piece).collect();
        let pixels = target.image / target.channels;
        let images = PIXELS.div_ceil(pixels).min(batch.div_ceil(rayon::current_num_threads())).max(1);
        let in_image = source.height * source.width * source.channels;
        let task = |(index, y): (usize, &mut [f32])| {
            let count = y.len() / target.image;
            with_scratch(count * source.len(), |padded| {
                for (image, to) in padded.chunks_exact_mut(source.len()).enumerate() {
                    source.pad(&x[(index * images + image) * in_image..][..in_image], to);
                }
                let first = index * images * target.image;
                let epilogue = epilogue.part(first, y.len());
                let group = Group { padded, source_len: source.len(), y, image: target.image, channels: target.channels, epilogue };
                dispatch(set, Task { group, plans: &plans, packed: &pieces, parts, blocks: &blocks });
            });
        };
        y.par_chunks_mut(images * target.image).enumerate().for_each(task);
    });
}

/// How a part's windows are walked.
struct Plan {
    runs: Vec<Run>,
    chunks: Vec<Chunk>,
    depth: usize,
}

impl Plan {
    fn new(source: &Source, part: &Part) -> Self {
        let (runs, chunks) = runs(source, &part.taps);
        // The kernel reads from every pixel's start along every run, unchecked.
        let reach = runs.iter().map(|run| run.offset + run.len).max().unwrap_or(0);
        assert!(part.from.iter().all(|from| from + reach <= source.len()) && part.from.len() == part.to.len());
        Self { runs, chunks, depth: part.taps.len() * source.channels }
    }
}

/// Weights of some output channels in the order they are read in, `[depth][width]`, with zeros for channels there are not.
fn pack(weights: &Weights<'_>, part: &Part, channels: usize, columns: std::ops::Range<usize>, width: usize, to: &mut [f32]) {
    if columns.len() < width {
        to.fill(0.0);
    }
    for (n, column) in columns.enumerate() {
        for d in 0..channels {
            let from = &weights.values[(d * weights.depth_step + column * weights.width_step) * weights.taps..][..weights.taps];
            for (t, tap) in part.taps.iter().enumerate() {
                to[(t * channels + d) * width + n] = from[tap.weight];
            }
        }
    }
}

/// Some images whose padded copies are in the cache.
struct Group<'a> {
    padded: &'a [f32],
    source_len: usize,
    y: &'a mut [f32],
    image: usize,
    channels: usize,
    epilogue: Epilogue<'a>,
}

struct Task<'a> {
    group: Group<'a>,
    plans: &'a [Plan],
    /// For each part, each block's weights.
    packed: &'a [&'a [f32]],
    parts: &'a [Part],
    blocks: &'a [(usize, usize)],
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(mut self) {
        for ((part, plan), packed) in self.parts.iter().zip(self.plans).zip(self.packed.chunks(self.blocks.len())) {
            for (&(first, vectors), packed) in self.blocks.iter().zip(packed) {
                // SAFETY: `dispatch` entered a function for S.
                unsafe {
                    match (S::REGISTERS >= 32, vectors) {
                        (true, 4) => columns::<S, 6, 4>(&mut self.group, part, plan, packed, first),
                        (true, 2) => columns::<S, 8, 2>(&mut self.group, part, plan, packed, first),
                        (true, _) => columns::<S, 14, 1>(&mut self.group, part, plan, packed, first),
                        (false, 2) => columns::<S, 6, 2>(&mut self.group, part, plan, packed, first),
                        (false, _) => columns::<S, 12, 1>(&mut self.group, part, plan, packed, first),
                    }
                }
            }
        }
    }
}

/// All pixels of the group, for one block of output channels.
#[inline(always)]
unsafe fn columns<S: Simd, const M: usize, const N: usize>(group: &mut Group<'_>, part: &Part, plan: &Plan, packed: &[f32], first: usize) {
    let width = N * S::LANES;
    let whole = first + width <= group.channels;
    let images = group.y.len() / group.image;
    let total = images * part.from.len();
    let last_chunk = plan.chunks.len().saturating_sub(1);
    let epilogue_needed = group.epilogue.is_needed();
    let y = &mut *group.y;
    assert_eq!(packed.len(), plan.depth * width);
    if plan.chunks.is_empty() {
        // No weight meets these pixels, as between the windows of a 1×1 kernel with stride 2.
        for image in 0..images {
            for to in &part.to {
                let at = image * group.image + to + first;
                let channels = &mut y[at..][..width.min(group.channels - first)];
                channels.fill(0.0);
                group.epilogue.part(at, channels.len()).apply(first, channels);
            }
        }
        return;
    }
    for (index, chunk) in plan.chunks.iter().enumerate() {
        let runs = &plan.runs[chunk.runs.clone()];
        let mut pixel = 0;
        let (mut image, mut within) = (0, 0);
        while pixel < total {
            let valid = M.min(total - pixel);
            let mut from = [std::ptr::null::<f32>(); M];
            let mut to = [0; M];
            for m in 0..M {
                if m < valid {
                    from[m] = group.padded[image * group.source_len + part.from[within]..].as_ptr();
                    to[m] = image * group.image + part.to[within] + first;
                    within += 1;
                    if within == part.from.len() {
                        within = 0;
                        image += 1;
                    }
                } else {
                    from[m] = from[m - 1];
                    to[m] = to[m - 1];
                }
            }
            // SAFETY: windows end inside the padded image, as `Plan::new` has checked, and packed weights are as deep as all runs are long.
            unsafe {
                let mut sums = [[S::splat(0.0); N]; M];
                let mut w = packed.as_ptr().add(chunk.start * width);
                for run in runs {
                    let mut at = from;
                    for a in &mut at {
                        *a = a.add(run.offset);
                    }
                    accumulate::<S, M, N>(&mut sums, at, run.len, w);
                    w = w.add(run.len * width);
                }
                let finish = index == last_chunk && epilogue_needed;
                if whole && valid == M && !finish {
                    for m in 0..M {
                        let target = y[to[m]..][..width].as_mut_ptr();
                        for n in 0..N {
                            let to = target.add(n * S::LANES);
                            let value = if index > 0 { S::add(sums[m][n], S::load(to)) } else { sums[m][n] };
                            S::store(to, value);
                        }
                    }
                } else {
                    let mut values = [[0.0f32; 64]; M];
                    for m in 0..M {
                        for n in 0..N {
                            S::store(values[m].as_mut_ptr().add(n * S::LANES), sums[m][n]);
                        }
                    }
                    let epilogue = if finish { group.epilogue } else { Epilogue::default() };
                    for (values, &to) in values.iter().zip(&to).take(valid) {
                        let values = &values[..width.min(group.channels - first)];
                        let target = &mut y[to..][..values.len()];
                        match index {
                            0 => target.copy_from_slice(values),
                            _ => target.iter_mut().zip(values).for_each(|(target, value)| *target += value),
                        }
                        epilogue.part(to, values.len()).apply(first, target);
                    }
                }
            }
            pixel += valid;
        }
    }
}
