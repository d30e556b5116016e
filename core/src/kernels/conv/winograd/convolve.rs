//! The convolution itself and, with the kernel turned round, the gradient of its input.
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

use super::super::super::buffer::Buffer;
use super::super::super::scratch::{split, with_scratch};
use super::super::super::simd::{InstructionSet, Kernel, Simd, dispatch};
use super::super::block::accumulate;
use super::super::direct::{Source, widest};
use super::super::epilogue::Epilogue;
use super::super::packed::{Weight, pieces};
use super::super::shape::{Block, ConvShape, Dependence, Direction};
use super::transforms::{transform_input, transform_output, weights_6_of_3};
use super::{GAP, IN, OUT, POINTS, Tiles};

/// Tiles of a task, about, with few weights and with more than the second-level cache holds: each
/// transformed weight is used that often when it is read.
const TILES: (usize, usize) = (32, 64);
/// Transformed weights, in floats, that are no longer few.
const MANY: usize = 256 << 10;
/// Channels whose weights are transformed together.
const CHANNELS: usize = 16;

/// Forward: y from x. Backward: dx from dy. Returns whether every result is finite.
pub(in super::super) fn convolve(
    set: InstructionSet,
    shape: &ConvShape,
    direction: Direction,
    x: &[f32],
    weight: Weight<'_>,
    epilogue: Epilogue<'_>,
    y: &mut [f32],
) -> bool {
    let (from, to) = shape.channels(direction);
    let blocks = shape.blocks(direction, set.lanes(), widest(set));
    let sizes = sizes(set, &blocks);
    let tiles = Tiles::of(shape);
    let source = tiles.source(shape, from);
    let mut run = |transformed: &[f32]| {
        let weights = pieces(transformed, &sizes);
        let (in_image, out_image) =
            (shape.height * shape.width * from, shape.height * shape.width * to);
        let most = if transformed.len() > MANY { TILES.1 } else { TILES.0 };
        let images = most
            .div_ceil(tiles.count())
            .min(shape.batch.div_ceil(rayon::current_num_threads()))
            .max(1);
        // Of small images some are taken together, of large ones some rows of tiles.
        let held = match images {
            1 => most.min(tiles.count()),
            _ => images * tiles.count(),
        };
        let finite = AtomicBool::new(true);
        y.par_chunks_mut(images * out_image).enumerate().for_each(|(index, y)| {
            let count = y.len() / out_image;
            let sizes =
                [count * source.len(), POINTS * (held * from + GAP), POINTS * (held * to + GAP)];
            with_scratch(sizes.iter().sum(), |scratch| {
                let (padded, rest) = scratch.split_at_mut(sizes[0]);
                let (inputs, products) = rest.split_at_mut(sizes[1]);
                for (image, to) in padded.chunks_exact_mut(source.len()).enumerate() {
                    source.pad(&x[(index * images + image) * in_image..][..in_image], to);
                }
                let mut start = 0;
                while start < count * tiles.count() {
                    let end = (start + held).min(count * tiles.count());
                    let task = Task {
                        shape,
                        source: &source,
                        tiles: &tiles,
                        from,
                        to,
                        padded,
                        inputs,
                        products,
                        blocks: &blocks,
                        weights: &weights,
                        range: start..end,
                        y,
                    };
                    if !dispatch(set, task) {
                        finite.store(false, Ordering::Relaxed);
                    }
                    start = end;
                }
                if epilogue.is_needed() {
                    dispatch(
                        set,
                        Finish {
                            epilogue: epilogue.part(index * images * out_image, y.len()),
                            channels: to,
                            y,
                        },
                    );
                }
            });
        });
        finite.into_inner()
    };
    match weight {
        Weight::Packed(transformed) => run(transformed),
        Weight::Plain(weight) => with_scratch(sizes.iter().sum(), |transformed| {
            transform(set, shape, direction, weight, &blocks, transformed);
            run(transformed)
        }),
    }
}

/// G g Gᵀ of the weight as [`convolve`] reads it on the way forward.
pub(in super::super) fn transformed(
    set: InstructionSet,
    shape: &ConvShape,
    weight: &[f32],
) -> Buffer {
    let blocks = shape.blocks(Direction::Forward, set.lanes(), widest(set));
    let mut transformed = Buffer::take(sizes(set, &blocks).iter().sum());
    transform(set, shape, Direction::Forward, weight, &blocks, &mut transformed);
    transformed
}

/// Values of each block's transformed weights.
fn sizes(set: InstructionSet, blocks: &[Block]) -> Vec<usize> {
    blocks.iter().map(|block| POINTS * block.depth.len() * block.vectors * set.lanes()).collect()
}

fn transform(
    set: InstructionSet,
    shape: &ConvShape,
    direction: Direction,
    weight: &[f32],
    blocks: &[Block],
    to: &mut [f32],
) {
    let mut parts = split(to, sizes(set, blocks).into_iter());
    blocks.par_iter().zip(&mut parts).for_each(|(block, to)| {
        dispatch(set, TransformWeights { shape, direction, weight, block, to })
    });
}

/// The epilogue of whole images.
struct Finish<'a> {
    epilogue: Epilogue<'a>,
    channels: usize,
    y: &'a mut [f32],
}

impl Kernel for Finish<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        for (index, pixel) in self.y.chunks_exact_mut(self.channels).enumerate() {
            self.epilogue.part(index * self.channels, self.channels).apply(0, pixel);
        }
    }
}

/// G g Gᵀ for one block of output channels: `[point][depth][width]`.
struct TransformWeights<'a> {
    shape: &'a ConvShape,
    direction: Direction,
    weight: &'a [f32],
    block: &'a Block,
    to: &'a mut [f32],
}

impl Kernel for TransformWeights<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { shape, direction, weight, block, to } = self;
        let (depth, width) = (block.depth.len(), block.vectors * S::LANES);
        assert_eq!(to.len(), POINTS * depth * width);
        let columns: Vec<Dependence> = (block.first..block.first + width)
            .map(|column| shape.dependence(direction, column))
            .collect();
        // Some channels of all lanes at a time: the kernels of a lane lie far from those of the
        // next, and those of its channels follow each other.
        for start in block.depth.clone().step_by(CHANNELS) {
            let some = start..(start + CHANNELS).min(block.depth.end);
            for n in (0..width).step_by(S::LANES) {
                let mut kernels = [[[0.0f32; 16]; 9]; CHANNELS];
                for (lane, column) in columns[n..n + S::LANES].iter().enumerate() {
                    // A channel of another group has no weight.
                    for channel in
                        some.start.max(column.depth.start)..some.end.min(column.depth.end)
                    {
                        let values: &[f32; 9] = weight[column.kernel(channel) * 9..][..9]
                            .try_into()
                            .expect("there are nine");
                        let kernel = &mut kernels[channel - start];
                        for tap in 0..9 {
                            kernel[if direction == Direction::Forward { tap } else { 8 - tap }]
                                [lane] = values[tap];
                        }
                    }
                }
                for (channel, kernel) in some.clone().zip(&kernels) {
                    let d = channel - block.depth.start;
                    // SAFETY: `dispatch` entered a function for S; every store is inside `to`,
                    // whose length was checked.
                    unsafe {
                        let mut columns = [[S::splat(0.0); 3]; IN];
                        for c in 0..3 {
                            let g = [0, 1, 2].map(|r| S::load(kernel[r * 3 + c].as_ptr()));
                            let t = weights_6_of_3::<S>(g);
                            for r in 0..IN {
                                columns[r][c] = t[r];
                            }
                        }
                        for r in 0..IN {
                            let t = weights_6_of_3::<S>(columns[r]);
                            for c in 0..IN {
                                S::store(
                                    to.as_mut_ptr().add(((r * IN + c) * depth + d) * width + n),
                                    t[c],
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}

struct Task<'a> {
    shape: &'a ConvShape,
    source: &'a Source,
    tiles: &'a Tiles,
    from: usize,
    to: usize,
    padded: &'a [f32],
    /// `[point][tile][from]`.
    inputs: &'a mut [f32],
    /// `[point][tile][to]`.
    products: &'a mut [f32],
    blocks: &'a [Block],
    weights: &'a [&'a [f32]],
    /// Tiles, counted over the images of `padded`.
    range: std::ops::Range<usize>,
    /// The images' outputs.
    y: &'a mut [f32],
}

impl Kernel for Task<'_> {
    type Output = bool;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> bool {
        let Self {
            shape,
            source,
            tiles,
            from,
            to,
            padded,
            inputs,
            products,
            blocks,
            weights,
            range,
            y,
        } = self;
        let count = range.len();
        let (input_step, product_step) = (count * from + GAP, count * to + GAP);
        assert!(inputs.len() >= POINTS * input_step && products.len() >= POINTS * product_step);
        // SAFETY: `dispatch` entered a function for S. Tiles lie inside the padded images,
        // transformed tiles inside the two scratches (just checked), weights were made for these
        // blocks, and outputs are written row by row within the image's bounds.
        unsafe {
            for (slot, tile) in range.clone().enumerate() {
                let (image, within) = (tile / tiles.count(), tile % tiles.count());
                let at = source.at(within / tiles.columns * OUT, within % tiles.columns * OUT);
                let from_tile =
                    &padded[image * source.len() + at..][..source.at(IN - 1, IN - 1) + from];
                transform_input::<S>(
                    from_tile.as_ptr(),
                    source.columns * from,
                    from,
                    inputs.as_mut_ptr().add(slot * from),
                    input_step,
                );
            }
            for point in 0..POINTS {
                for (block, weights) in blocks.iter().zip(weights) {
                    let (width, depth) = (block.vectors * S::LANES, block.depth.len());
                    let w = weights[point * depth * width..][..depth * width].as_ptr();
                    let x = inputs.as_ptr().add(point * input_step + block.depth.start);
                    let z = products.as_mut_ptr().add(point * product_step + block.first);
                    match block.vectors {
                        4 => multiply::<S, 4>(count, depth, x, from, w, z, to),
                        2 => multiply::<S, 2>(count, depth, x, from, w, z, to),
                        _ => multiply::<S, 1>(count, depth, x, from, w, z, to),
                    }
                }
            }
            let mut doubt = S::splat(0.0);
            for (slot, tile) in range.enumerate() {
                let (image, within) = (tile / tiles.count(), tile % tiles.count());
                let (row, column) = (within / tiles.columns * OUT, within % tiles.columns * OUT);
                let (rows, columns) = (OUT.min(shape.height - row), OUT.min(shape.width - column));
                let at = ((image * shape.height + row) * shape.width + column) * to;
                let last = ((rows - 1) * shape.width + columns) * to;
                let target = &mut y[at..][..last];
                doubt = transform_output::<S>(
                    products.as_ptr().add(slot * to),
                    product_step,
                    to,
                    target.as_mut_ptr(),
                    shape.width * to,
                    [rows, columns],
                    doubt,
                );
            }
            let mut sums = [0.0f32; 16];
            S::store(sums.as_mut_ptr(), doubt);
            sums[..S::LANES].iter().all(|sum| *sum == 0.0)
        }
    }
}

/// z `[count][..]` = x `[count][depth]` · w `[depth][N vectors]`; rows of x and z are these steps
/// apart.
#[inline(always)]
unsafe fn multiply<S: Simd, const N: usize>(
    count: usize,
    depth: usize,
    x: *const f32,
    x_step: usize,
    w: *const f32,
    z: *mut f32,
    z_step: usize,
) {
    let most = match (S::REGISTERS >= 32, N) {
        (true, 4) => 6,
        (true, 2) => 10,
        (true, _) => 12,
        (false, 2) => 6,
        (false, _) => 10,
    };
    // Blocks of nearly the same height, so that none is left with a row or two.
    let blocks = count.div_ceil(most);
    let mut row = 0;
    for block in 0..blocks {
        let rows = (count - row).div_ceil(blocks - block);
        // SAFETY: the rows are inside x and z, as the caller has made sure.
        unsafe {
            let (x, z) = (x.add(row * x_step), z.add(row * z_step));
            match rows {
                12 => rows_by_columns::<S, 12, N>(depth, x, x_step, w, z, z_step),
                11 => rows_by_columns::<S, 11, N>(depth, x, x_step, w, z, z_step),
                10 => rows_by_columns::<S, 10, N>(depth, x, x_step, w, z, z_step),
                9 => rows_by_columns::<S, 9, N>(depth, x, x_step, w, z, z_step),
                8 => rows_by_columns::<S, 8, N>(depth, x, x_step, w, z, z_step),
                7 => rows_by_columns::<S, 7, N>(depth, x, x_step, w, z, z_step),
                6 => rows_by_columns::<S, 6, N>(depth, x, x_step, w, z, z_step),
                5 => rows_by_columns::<S, 5, N>(depth, x, x_step, w, z, z_step),
                4 => rows_by_columns::<S, 4, N>(depth, x, x_step, w, z, z_step),
                3 => rows_by_columns::<S, 3, N>(depth, x, x_step, w, z, z_step),
                2 => rows_by_columns::<S, 2, N>(depth, x, x_step, w, z, z_step),
                _ => rows_by_columns::<S, 1, N>(depth, x, x_step, w, z, z_step),
            }
        }
        row += rows;
    }
}

#[inline(always)]
unsafe fn rows_by_columns<S: Simd, const M: usize, const N: usize>(
    depth: usize,
    x: *const f32,
    x_step: usize,
    w: *const f32,
    z: *mut f32,
    z_step: usize,
) {
    // SAFETY: the caller passes M rows of x and z, and `depth` rows of w.
    unsafe {
        let mut sums = [[S::splat(0.0); N]; M];
        let mut rows = [x; M];
        for m in 0..M {
            rows[m] = x.add(m * x_step);
        }
        accumulate::<S, M, N>(&mut sums, rows, depth, w);
        for m in 0..M {
            for n in 0..N {
                S::store(z.add(m * z_step + n * S::LANES), sums[m][n]);
            }
        }
    }
}
