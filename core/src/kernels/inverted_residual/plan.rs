//! How a block is cut into strips of rows or into parts of its channels, and the walk over them.

use super::super::simd::{InstructionSet, dispatch};
use super::depthwise::Depthwise;
use super::planes::Planes;
use super::pointwise::{Expand, Pixels, Project};
use super::{PackedBlock, PackedInvertedResiduals};

/// An image with no more output pixels than these is one strip, and is walked channels by channels.
const SMALL: usize = 256;
/// Output pixels of a strip, at least, where images are larger.
const STRIP: usize = 96;
/// Floats of expanded channels, before and after the depthwise convolution, that the second-level
/// cache keeps beside all else.
const KEPT: usize = 48 * 1024;

/// Padding as TensorFlow's SAME: pixels of the output, and zeros before the input.
fn same(input: usize, kernel: usize, stride: usize) -> (usize, usize) {
    let output = input.div_ceil(stride);
    (output, ((output - 1) * stride + kernel).saturating_sub(input) / 2)
}

/// The stem's kernel and stride.
const STEM: (usize, usize) = (3, 2);
const COLOURS: usize = 3;

/// A block's shape for images of some side.
pub(super) struct BlockShape {
    /// The stem's input, if this is the first block.
    stem: Option<usize>,
    /// Side of the depthwise convolution's input and output.
    input: usize,
    output: usize,
    /// Zeros before the depthwise convolution's input.
    before: usize,
    /// Output rows of a strip.
    strip: usize,
    /// Whether an image is one strip; then the task's images are walked together.
    whole: bool,
    /// Blocks of columns of the expansion that are kept at a time; all of them, unless images are
    /// whole.
    columns: usize,
    layout: Planes,
}

/// How a network walks images of some side.
pub(super) struct Plan {
    pub blocks: Vec<BlockShape>,
    /// The first blocks, as many as these, take one image at a time; the others all of a task.
    pub large: usize,
    /// Floats of an image between the two.
    pub joined: usize,
    /// Pixels of an image for the head.
    pub pixels: usize,
    lengths: [usize; 6],
}

impl Plan {
    pub fn new(network: &PackedInvertedResiduals, side: usize, together: usize) -> Self {
        let lanes = network.set.lanes();
        let mut plan = Self { blocks: Vec::new(), large: 0, joined: 0, pixels: 0, lengths: [0; 6] };
        let (mut image, mut shared, mut planes, mut convolved) = (0, 0, 0, 0);
        let mut input = same(side, STEM.0, STEM.1).0;
        for block in &network.blocks {
            let stem = plan.blocks.is_empty().then_some(side);
            let shape = BlockShape::new(block, stem, input, lanes, together);
            let vectors = shape.vectors(block, lanes);
            let len = shape.output * shape.output * block.project.width;
            let images = if shape.whole { together } else { 1 };
            planes = planes.max(vectors * shape.layout.plane());
            convolved = convolved.max(images * shape.strip * shape.output * vectors * lanes);
            if shape.whole {
                shared = shared.max(together * len);
            } else {
                // Images never grow, so these are the first blocks.
                (plan.large, plan.joined) = (plan.blocks.len() + 1, len);
                image = image.max(len);
            }
            input = shape.output;
            plan.blocks.push(shape);
        }
        let shared = shared.max(together * plan.joined);
        let image = image.max(shared);
        // Everything starts at a cache line.
        plan.lengths = [image, image, shared, planes, convolved, STEM.0 * padded_row(side)]
            .map(|len| len.next_multiple_of(16));
        plan.pixels = input * input;
        plan
    }

    /// Floats of a task's working memory: two images to go from one to the other, the images of a
    /// task, and what [`Memory`] has.
    pub fn lengths(&self) -> [usize; 6] {
        self.lengths
    }
}

/// Floats of a row of the stem's input with zeros around it.
fn padded_row(side: usize) -> usize {
    (side + STEM.0) * COLOURS
}

impl BlockShape {
    fn new(
        block: &PackedBlock,
        stem: Option<usize>,
        input: usize,
        lanes: usize,
        together: usize,
    ) -> Self {
        let kernel = block.depthwise.kernel;
        let (output, before) = same(input, kernel, block.stride);
        let columns = ((output - 1) * block.stride + kernel).max(before + input);
        let whole = stem.is_none() && output * output <= SMALL;
        let strip = if whole { output } else { STRIP.div_ceil(output).min(output) };
        let rows =
            if whole { together * input } else { ((strip - 1) * block.stride + kernel).min(input) };
        let layout = Planes { rows, columns, left: before, width: input, lanes };
        let all = &block.expand.columns;
        let mut kept = all.len();
        if whole {
            let vector = layout.plane() + together * output * output * lanes;
            let widest = all.iter().map(|columns| columns.vectors).max().unwrap_or(1);
            kept = (KEPT / (vector * widest)).clamp(1, all.len());
            // No more parts, but even ones.
            kept = all.len().div_ceil(all.len().div_ceil(kept));
        }
        Self { stem, input, output, before, strip, whole, columns: kept, layout }
    }

    /// Vectors of channels that are kept at a time, at most.
    fn vectors(&self, block: &PackedBlock, lanes: usize) -> usize {
        let parts = block.expand.columns.chunks(self.columns);
        let most = parts.map(|part| part.iter().map(|columns| columns.vectors).sum()).max();
        most.unwrap_or(0).min(block.expand.width / lanes)
    }
}

/// Working memory of blocks.
pub(super) struct Memory<'a> {
    /// Expanded channels.
    pub planes: &'a mut [f32],
    /// What the depthwise convolution makes of them.
    pub convolved: &'a mut [f32],
    /// The stem's input rows, as many as its kernel has, with zeros around them: row r in the place
    /// of row r − 3.
    pub padded: &'a mut [f32],
}

/// A block at work.
pub(super) struct Work<'a, 'm> {
    pub set: InstructionSet,
    pub block: &'a PackedBlock,
    pub shape: &'a BlockShape,
    pub memory: &'a mut Memory<'m>,
}

impl Work<'_, '_> {
    fn clear_borders(&mut self) {
        let vectors = self.shape.vectors(self.block, self.shape.layout.lanes);
        self.shape
            .layout
            .clear_borders(&mut self.memory.planes[..vectors * self.shape.layout.plane()]);
    }

    /// Where the rows under the windows of an output row start in a plane.
    fn rows(&self, out_row: usize, image: usize) -> [usize; 5] {
        let first = (out_row * self.block.stride) as isize - self.shape.before as isize;
        std::array::from_fn(|k| {
            self.shape.layout.start(first + k as isize, self.shape.input, image)
        })
    }

    /// The block's output `[count, output, output, width]` of `count` small images, one part of the
    /// channels after the other.
    pub fn whole(&mut self, source: &[f32], count: usize, to: &mut [f32]) {
        self.clear_borders();
        let BlockShape { input, output, layout, .. } = *self.shape;
        let block = self.block;
        let source =
            Pixels { values: source, width: block.expand.input.next_multiple_of(layout.lanes) };
        let rows: Vec<[usize; 5]> =
            (0..count * output).map(|row| self.rows(row % output, row / output)).collect();
        for columns in block.expand.columns.chunks(self.shape.columns) {
            let (weights, pixels, planes) =
                (&block.expand, count * input * input, &mut *self.memory.planes);
            dispatch(
                self.set,
                Expand { weights, columns, sources: [source], pixels, row: 0, layout, planes },
            );
            let last = columns.last().map_or(0, |columns| columns.first + columns.vectors);
            self.finish(columns[0].first..last, &rows, block.residual.then_some(source.values), to);
        }
    }

    /// The block's output `[output, output, width]` of a large image, strip by strip. The first
    /// block takes the network's input.
    pub fn strips(&mut self, source: &[f32], to: &mut [f32]) {
        self.clear_borders();
        let BlockShape { input, output, before, strip, layout, .. } = *self.shape;
        let block = self.block;
        let width = block.expand.input.next_multiple_of(layout.lanes);
        let into = output * block.project.width;
        // Rows of the expanded image, and of the stem's padded input, that are there.
        let (mut done, mut padded) = (0, 0);
        for (index, to) in to[..output * into].chunks_mut(strip * into).enumerate() {
            let first = index * strip;
            let last = first + to.len() / into;
            let needed = ((last - 1) * block.stride + block.depthwise.kernel - before).min(input);
            if let Some(side) = self.shape.stem {
                (done..needed).for_each(|row| self.stem(source, side, row, &mut padded));
            } else if needed > done {
                let sources = [Pixels { values: &source[done * input * width..], width }];
                let (weights, pixels) = (&block.expand, (needed - done) * input);
                let (columns, planes) = (&weights.columns[..], &mut *self.memory.planes);
                dispatch(
                    self.set,
                    Expand { weights, columns, sources, pixels, row: done, layout, planes },
                );
            }
            done = needed;
            let rows: Vec<[usize; 5]> = (first..last).map(|row| self.rows(row, 0)).collect();
            let skip = block.residual.then(|| &source[first * into..]);
            self.finish(0..block.expand.width / layout.lanes, &rows, skip, to);
        }
    }

    /// The stem's output row `row`; `padded` rows of its padded input have been there.
    fn stem(&mut self, image: &[f32], side: usize, row: usize, padded: &mut usize) {
        let left = same(side, STEM.0, STEM.1).1;
        let (line, len) = (side * COLOURS, padded_row(side));
        let first = row * STEM.1;
        for from in *padded..first + STEM.0 {
            let to = &mut self.memory.padded[from % STEM.0 * len..][..len];
            to.fill(0.0);
            if (left..left + side).contains(&from) {
                to[left * COLOURS..][..line]
                    .copy_from_slice(&image[(from - left) * line..][..line]);
            }
        }
        *padded = first + STEM.0;
        let padded: &[f32] = self.memory.padded;
        let sources: [_; STEM.0] = std::array::from_fn(|k| Pixels {
            values: &padded[(first + k) % STEM.0 * len..][..len],
            width: STEM.1 * COLOURS,
        });
        let (weights, layout) = (&self.block.expand, self.shape.layout);
        let (columns, pixels, planes) =
            (&weights.columns[..], layout.width, &mut *self.memory.planes);
        dispatch(self.set, Expand { weights, columns, sources, pixels, row, layout, planes });
    }

    /// What follows the expansion, for some vectors of channels and the output rows whose windows
    /// start at `rows`.
    fn finish(
        &mut self,
        vectors: std::ops::Range<usize>,
        rows: &[[usize; 5]],
        skip: Option<&[f32]>,
        to: &mut [f32],
    ) {
        let BlockShape { output, layout, .. } = *self.shape;
        let PackedBlock { depthwise, project, stride, .. } = self.block;
        let width = vectors.len() * layout.lanes;
        let depth = vectors.start * layout.lanes..(vectors.end * layout.lanes).min(project.input);
        let (planes, convolved) = (&*self.memory.planes, &mut *self.memory.convolved);
        dispatch(
            self.set,
            Depthwise {
                weights: depthwise,
                vectors,
                layout,
                planes,
                rows,
                stride: *stride,
                width: output,
                to: convolved,
            },
        );
        let source = Pixels { values: convolved, width };
        dispatch(
            self.set,
            Project { weights: project, depth, source, pixels: rows.len() * output, skip, to },
        );
    }
}
