//! Convolution without transforms: every output pixel is a matrix product over the input pixels
//! under its window.
//!
//! A block of a few output pixels by a few vectors of output channels is kept in registers, while
//! the window is walked; weights are packed so that they are read in order. The input gradient is
//! the same sum with other weights: for stride 2, one for each parity of row and column.
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

use super::super::buffer::Buffer;
use super::super::scratch::{split, with_scratch};
use super::super::simd::{InstructionSet, Kernel, Simd, dispatch};
use super::block::accumulate;
use super::epilogue::{Epilogue, Finish};
use super::packed::{Weight, pieces};
use super::prefetch::{Ahead, Region};
use super::shape::{Block, ConvShape, Direction};

/// Depth walked before the block is written back, so that the weights of this depth stay in the
/// second-level cache.
const DEPTH: usize = 576;
/// Packed weights, in floats, that the second-level cache does not hold beside all else.
const MANY: usize = 256 << 10;
/// Output pixels of a task, at least, where there are so many, with few weights and with many: each
/// weight is used that often when it is read.
const PIXELS: (usize, usize) = (192, 384);
/// Floats that are read and written for the pixels that all blocks of channels are computed for
/// before the next, with few weights, which stay in the second-level cache beside these, and with
/// many, which are read again for every such tile.
const TILE: (usize, usize) = (192 << 10, 512 << 10);
/// Output pixels of a tile are a multiple of this, so that most blocks of registers fill it.
const HEIGHTS: usize = 24;
/// Pixels of the usual block of registers.
const BLOCK: usize = 6;

/// y = x ∗ w, with what `epilogue` asks for.
pub(super) fn forward(
    set: InstructionSet,
    shape: &ConvShape,
    x: &[f32],
    weight: Weight<'_>,
    epilogue: Epilogue<'_>,
    y: &mut [f32],
) {
    let &ConvShape { height, width, input, output, kernel, stride, padding, .. } = shape;
    let (out_height, out_width) = (shape.out_height(), shape.out_width());
    let (top, left) = (padding.rows.0, padding.columns.0);
    let source = Source {
        height,
        width,
        channels: input,
        top,
        left,
        rows: ((out_height - 1) * stride + kernel).max(height + top),
        columns: ((out_width - 1) * stride + kernel).max(width + left),
    };
    let part = Part {
        taps: window(kernel),
        from: (0..out_height * out_width)
            .map(|p| source.at(p / out_width * stride, p % out_width * stride))
            .collect(),
        to: (0..out_height * out_width).map(|p| p * output).collect(),
    };
    let target = Target { image: out_height * out_width * output, channels: output };
    sum_windows(set, shape, Direction::Forward, &source, &[part], weight, target, x, epilogue, y);
}

/// The whole window.
fn window(kernel: usize) -> Vec<Tap> {
    (0..kernel * kernel)
        .map(|tap| Tap { row: tap / kernel, column: tap % kernel, weight: tap })
        .collect()
}

/// The weight in the order in which [`forward`] reads it.
pub(super) fn packed(set: InstructionSet, shape: &ConvShape, weight: &[f32]) -> Buffer {
    let (blocks, window) =
        (shape.blocks(Direction::Forward, set.lanes(), widest(set)), window(shape.kernel));
    let mut packed = Buffer::take(sizes(set, &[&window], &blocks).iter().sum());
    pack_all(set, shape, Direction::Forward, weight, &[&window], &blocks, &mut packed);
    packed
}

/// The gradient of the input from that of the output: dx = dy ∗ᵀ w.
pub(super) fn input_gradient(
    set: InstructionSet,
    shape: &ConvShape,
    dy: &[f32],
    weight: &[f32],
    epilogue: Epilogue<'_>,
    dx: &mut [f32],
) {
    let &ConvShape { height, width, input, output, kernel, stride, padding, .. } = shape;
    // Input row s·q + r meets, through kernel row k, output row q + (r + padding − k) / s where
    // that division has no remainder.
    let shifts = |r: usize, padding: usize| {
        let all = (0..kernel).map(move |k| (k, (r + padding) as isize - k as isize));
        all.filter(|(_, d)| d.rem_euclid(stride as isize) == 0)
            .map(|(k, d)| (k, d / stride as isize))
            .collect::<Vec<_>>()
    };
    // Zeros that windows reach before the output, and how far they reach beyond the first place.
    let reach = |padding: usize| {
        let every: Vec<isize> =
            (0..stride).flat_map(|r| shifts(r, padding)).map(|(_, d)| d).collect();
        let before = every.iter().min().map_or(0, |d| (-d).max(0)) as usize;
        (before, before + every.iter().max().map_or(0, |d| (*d).max(0)) as usize)
    };
    let ((top, rows), (left, columns)) = (reach(padding.rows.0), reach(padding.columns.0));
    let (out_height, out_width) = (shape.out_height(), shape.out_width());
    let source = Source {
        height: out_height,
        width: out_width,
        channels: output,
        top,
        left,
        rows: (height.div_ceil(stride) + rows).max(out_height + top),
        columns: (width.div_ceil(stride) + columns).max(out_width + left),
    };
    let mut parts = Vec::new();
    for (row, column) in (0..stride).flat_map(|row| (0..stride).map(move |column| (row, column))) {
        let (rows, columns) = (shifts(row, padding.rows.0), shifts(column, padding.columns.0));
        let mut taps = Vec::new();
        for (kr, dr) in &rows {
            for (kc, dc) in &columns {
                let (row, column) = ((dr + top as isize) as usize, (dc + left as isize) as usize);
                taps.push(Tap { row, column, weight: kr * kernel + kc });
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
    let target = Target { image: height * width * input, channels: input };
    sum_windows(
        set,
        shape,
        Direction::Backward,
        &source,
        &parts,
        Weight::Plain(weight),
        target,
        dy,
        epilogue,
        dx,
    );
}

/// The tensor that windows are taken from, and the zeros put around it.
pub(super) struct Source {
    pub height: usize,
    pub width: usize,
    pub channels: usize,
    /// Zero rows above.
    pub top: usize,
    /// Zero columns to the left.
    pub left: usize,
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

    /// Whether there are no zeros.
    fn is_plain(&self) -> bool {
        [self.rows, self.columns] == [self.height, self.width]
    }

    /// Copies an image between its zeros.
    pub fn pad(&self, image: &[f32], to: &mut [f32]) {
        let (from_line, to_line) = (self.width * self.channels, self.columns * self.channels);
        let left = self.left * self.channels;
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

/// A place in the window, relative to the pixel's address in the padded source, and which of the
/// kernel's weights belongs to it.
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

/// The runs of some channels of every tap.
fn runs(source: &Source, taps: &[Tap], depth: &Range<usize>) -> (Vec<Run>, Vec<Chunk>) {
    let mut merged: Vec<Run> = Vec::new();
    for tap in taps {
        let offset = source.at(tap.row, tap.column) + depth.start;
        match merged.last_mut() {
            Some(last) if last.offset + last.len == offset => last.len += depth.len(),
            _ => merged.push(Run { offset, len: depth.len() }),
        }
    }
    let mut split = Vec::new();
    for run in merged {
        let pieces = run.len.div_ceil(DEPTH);
        let piece = run.len.div_ceil(pieces);
        split.extend(
            (0..run.len)
                .step_by(piece)
                .map(|at| Run { offset: run.offset + at, len: piece.min(run.len - at) }),
        );
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

/// The most vectors of a block of output channels.
pub(super) fn widest(set: InstructionSet) -> usize {
    if set.registers() >= 32 { 4 } else { 2 }
}

#[expect(clippy::too_many_arguments, reason = "a kernel takes its buffers and sizes one by one")]
fn sum_windows(
    set: InstructionSet,
    shape: &ConvShape,
    direction: Direction,
    source: &Source,
    parts: &[Part],
    weight: Weight<'_>,
    target: Target,
    x: &[f32],
    epilogue: Epilogue<'_>,
    y: &mut [f32],
) {
    let batch = shape.batch;
    assert_eq!(y.len(), batch * target.image);
    assert_eq!(x.len(), batch * source.height * source.width * source.channels);
    let lanes = set.lanes();
    let blocks = shape.blocks(direction, lanes, widest(set));
    // For each part one for each block.
    let plans: Vec<Plan> = parts
        .iter()
        .flat_map(|part| blocks.iter().map(|block| Plan::new(source, part, block)))
        .collect();
    let windows: Vec<&[Tap]> = parts.iter().map(|part| part.taps.as_slice()).collect();
    let sizes = sizes(set, &windows, &blocks);
    let mut run = |packed: &[f32]| {
        let pieces = pieces(packed, &sizes);
        let pixels = target.image / target.channels;
        let (least, tile) =
            if packed.len() > MANY { (PIXELS.1, TILE.1) } else { (PIXELS.0, TILE.0) };
        let images =
            least.div_ceil(pixels).min(batch.div_ceil(rayon::current_num_threads())).max(1);
        let in_image = source.height * source.width * source.channels;
        let task = |(index, y): (usize, &mut [f32])| {
            let count = y.len() / target.image;
            let x = &x[index * images * in_image..][..count * in_image];
            let first = index * images * target.image;
            let epilogue = epilogue.part(first, y.len());
            let mut run = |padded: &[f32]| {
                let group = Group {
                    padded,
                    source_len: source.len(),
                    y: &mut *y,
                    image: target.image,
                    channels: target.channels,
                    epilogue,
                };
                dispatch(
                    set,
                    Task { group, plans: &plans, packed: &pieces, parts, blocks: &blocks, tile },
                );
            };
            if source.is_plain() {
                return run(x);
            }
            with_scratch(count * source.len(), |padded| {
                for (image, to) in
                    x.chunks_exact(in_image).zip(padded.chunks_exact_mut(source.len()))
                {
                    source.pad(image, to);
                }
                run(padded);
            });
        };
        y.par_chunks_mut(images * target.image).enumerate().for_each(task);
    };
    match weight {
        Weight::Packed(packed) => run(packed),
        Weight::Plain(weight) => with_scratch(sizes.iter().sum(), |packed| {
            pack_all(set, shape, direction, weight, &windows, &blocks, packed);
            run(packed);
        }),
    }
}

/// How a part's windows are walked for a block of output channels.
struct Plan {
    runs: Vec<Run>,
    chunks: Vec<Chunk>,
    depth: usize,
}

impl Plan {
    fn new(source: &Source, part: &Part, block: &Block) -> Self {
        let (runs, chunks) = runs(source, &part.taps, &block.depth);
        // The kernel reads from every pixel's start along every run, unchecked.
        let reach = runs.iter().map(|run| run.offset + run.len).max().unwrap_or(0);
        let farthest = part.from.last().copied().unwrap_or(0);
        assert!(
            farthest + reach <= source.len()
                && part.from.is_sorted()
                && part.from.len() == part.to.len()
        );
        Self { runs, chunks, depth: part.taps.len() * block.depth.len() }
    }
}

/// Values of each block's packed weights, for each window.
fn sizes(set: InstructionSet, windows: &[&[Tap]], blocks: &[Block]) -> Vec<usize> {
    let of_window = |window: &&[Tap]| {
        let taps = window.len();
        blocks.iter().map(move |block| taps * block.depth.len() * block.vectors * set.lanes())
    };
    windows.iter().flat_map(of_window).collect()
}

/// Packs the weights of every block, for each window.
fn pack_all(
    set: InstructionSet,
    shape: &ConvShape,
    direction: Direction,
    weight: &[f32],
    windows: &[&[Tap]],
    blocks: &[Block],
    to: &mut [f32],
) {
    let mut pieces = split(to, sizes(set, windows, blocks).into_iter());
    pieces.par_iter_mut().enumerate().for_each(|(index, to)| {
        let (window, block) = (windows[index / blocks.len()], &blocks[index % blocks.len()]);
        pack(shape, direction, weight, window, block, block.vectors * set.lanes(), to);
    });
}

/// Channels whose weights are packed together.
const CHANNELS: usize = 16;

/// Weights of a block's channels in the order they are read in, `[depth][width]`, with zeros for
/// channels there are not and for those of other groups.
fn pack(
    shape: &ConvShape,
    direction: Direction,
    weight: &[f32],
    window: &[Tap],
    block: &Block,
    width: usize,
    to: &mut [f32],
) {
    let (taps, depth) = (shape.kernel * shape.kernel, block.depth.len());
    let last = shape.channels(direction).1;
    if shape.groups > 1 || block.first + width > last {
        to.fill(0.0);
    }
    // A few channels of all columns at a time: what is written then stays in the cache, and so do
    // the lines that are read.
    for start in block.depth.clone().step_by(CHANNELS) {
        let some = start..(start + CHANNELS).min(block.depth.end);
        for (n, column) in (block.first..last.min(block.first + width)).enumerate() {
            let of_column = shape.dependence(direction, column);
            for channel in some.start.max(of_column.depth.start)..some.end.min(of_column.depth.end)
            {
                let from = &weight[of_column.kernel(channel) * taps..][..taps];
                let d = channel - block.depth.start;
                for (t, tap) in window.iter().enumerate() {
                    to[(t * depth + d) * width + n] = from[tap.weight];
                }
            }
        }
    }
}

/// Some images between their zeros; where there are zeros, these are copies in the cache.
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
    /// For each part, each block's.
    plans: &'a [Plan],
    /// For each part, each block's weights.
    packed: &'a [&'a [f32]],
    parts: &'a [Part],
    blocks: &'a [Block],
    /// One of [`TILE`].
    tile: usize,
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(mut self) {
        let of_parts =
            self.plans.chunks(self.blocks.len()).zip(self.packed.chunks(self.blocks.len()));
        for (part, (plans, packed)) in self.parts.iter().zip(of_parts) {
            let total = self.group.y.len() / self.group.image * part.from.len();
            let depth =
                plans.iter().map(|plan| plan.depth).max().unwrap_or(0) / part.taps.len().max(1);
            let tiles = (total * (depth + self.group.channels) / self.tile).max(1);
            let tile = total.div_ceil(tiles).next_multiple_of(HEIGHTS).max(1);
            for start in (0..total).step_by(tile) {
                let pixels = start..(start + tile).min(total);
                let mut ahead = self.ahead(
                    part,
                    depth,
                    pixels.end..(pixels.end + tile).min(total),
                    pixels.len(),
                );
                for (&Block { first, vectors, .. }, (plan, packed)) in
                    self.blocks.iter().zip(plans.iter().zip(packed))
                {
                    let columns = Columns {
                        part,
                        plan,
                        packed,
                        first,
                        pixels: pixels.clone(),
                        ahead: &mut ahead,
                    };
                    // SAFETY: `dispatch` entered a function for S.
                    unsafe {
                        match (S::REGISTERS >= 32, vectors) {
                            (true, 4) => columns.run::<S, 6, 4>(&mut self.group),
                            (true, 2) => columns.run::<S, 8, 2>(&mut self.group),
                            (true, _) => columns.run::<S, 14, 1>(&mut self.group),
                            (false, 2) => columns.run::<S, 6, 2>(&mut self.group),
                            (false, _) => columns.run::<S, 12, 1>(&mut self.group),
                        }
                    }
                }
            }
        }
    }
}

impl Task<'_> {
    /// The next tile's pixels, where those that are read and written follow each other in memory,
    /// while so many are computed.
    fn ahead(&self, part: &Part, depth: usize, next: Range<usize>, now: usize) -> Ahead {
        let Group { padded, source_len, y, channels, .. } = &self.group;
        let row = |follow: bool, channels: usize| match follow {
            true => Region::row(next.start * channels, next.len() * channels),
            false => Region::default(),
        };
        // One part has all pixels of the output, in their order.
        let one = self.parts.len() == 1;
        let x = row(one && part.taps.len() == 1 && part.from.len() * depth == *source_len, depth);
        Ahead::new(
            [(padded.as_ptr(), x), (y.as_ptr(), row(one, *channels))],
            self.blocks.len() * now.div_ceil(BLOCK),
        )
    }
}

/// Some pixels of the group, for one block of output channels.
struct Columns<'a> {
    part: &'a Part,
    plan: &'a Plan,
    packed: &'a [f32],
    /// The first channel.
    first: usize,
    /// Counted over the images of the group.
    pixels: Range<usize>,
    ahead: &'a mut Ahead,
}

impl Columns<'_> {
    /// # Safety
    /// The processor must have S.
    #[inline(always)]
    unsafe fn run<S: Simd, const M: usize, const N: usize>(self, group: &mut Group<'_>) {
        let Self { part, plan, packed, first, pixels, ahead } = self;
        let width = N * S::LANES;
        let inside = width.min(group.channels - first);
        let last_chunk = plan.chunks.len().saturating_sub(1);
        let epilogue_needed = group.epilogue.is_needed();
        let registers = Finish::new(group.epilogue, group.channels);
        assert!(group.epilogue.residual.is_none_or(|residual| residual.len() == group.y.len()));
        let adds = group.epilogue.adds;
        let y = &mut *group.y;
        assert_eq!(packed.len(), plan.depth * width);
        if plan.chunks.is_empty() {
            // No weight meets these pixels, as between the windows of a 1×1 kernel with stride 2.
            for pixel in pixels {
                let at =
                    pixel / part.to.len() * group.image + part.to[pixel % part.to.len()] + first;
                let channels = &mut y[at..][..inside];
                if !adds {
                    channels.fill(0.0);
                }
                group.epilogue.part(at, channels.len()).apply(first, channels);
            }
            return;
        }
        for (index, chunk) in plan.chunks.iter().enumerate() {
            let runs = &plan.runs[chunk.runs.clone()];
            let adds = adds || index > 0;
            let mut pixel = pixels.start;
            let (mut image, mut within) = (pixel / part.from.len(), pixel % part.from.len());
            while pixel < pixels.end {
                ahead.fetch();
                let valid = M.min(pixels.end - pixel);
                let mut from = [std::ptr::null::<f32>(); M];
                let mut to = [0; M];
                for m in 0..M {
                    if m < valid {
                        from[m] =
                            group.padded[image * group.source_len + part.from[within]..].as_ptr();
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
                // SAFETY: windows end inside the padded image, as `Plan::new` has checked, and
                // packed weights are as deep as all runs are long.
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
                    if inside == width && valid == M && !finish {
                        for m in 0..M {
                            let target = y[to[m]..][..width].as_mut_ptr();
                            for n in 0..N {
                                let to = target.add(n * S::LANES);
                                let value =
                                    if adds { S::add(sums[m][n], S::load(to)) } else { sums[m][n] };
                                S::store(to, value);
                            }
                        }
                    } else if inside == width && valid == M {
                        for m in 0..M {
                            let target = y[to[m]..][..width].as_mut_ptr();
                            for n in 0..N {
                                let at = target.add(n * S::LANES);
                                let value =
                                    if adds { S::add(sums[m][n], S::load(at)) } else { sums[m][n] };
                                S::store(
                                    at,
                                    registers.apply::<S>(
                                        value,
                                        to[m] + n * S::LANES,
                                        first + n * S::LANES,
                                    ),
                                );
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
                            let target = &mut y[to..][..inside];
                            let whole = inside / S::LANES * S::LANES;
                            for n in (0..whole).step_by(S::LANES) {
                                let at = target.as_mut_ptr().add(n);
                                let value = S::load(values.as_ptr().add(n));
                                S::store(at, if adds { S::add(value, S::load(at)) } else { value });
                            }
                            for (target, value) in target[whole..].iter_mut().zip(&values[whole..])
                            {
                                *target = if adds { *target + value } else { *value };
                            }
                            epilogue.part(to, inside).apply(first, target);
                        }
                    }
                }
                pixel += valid;
            }
        }
    }
}
