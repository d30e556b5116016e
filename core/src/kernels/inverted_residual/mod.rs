//! Features of images by a network of inverted residual blocks: EfficientNet-Lite, at inference.
//!
//! A task takes an image or two through the whole network, so that nothing waits between layers.
//! Inside a block the expanded image is never whole in memory: a strip of rows is expanded, or some
//! channels of small images, then convolved, then projected, all in the second-level cache.

mod depthwise;
mod pack;
mod plan;
mod planes;
mod pointwise;
#[cfg(test)]
mod tests;

use rayon::prelude::*;

use super::conv::FoldedConv;
use super::network::PackedNetwork;
use super::scratch::{split, with_scratch};
use super::simd::{InstructionSet, dispatch};
use pack::{PackedDepthwise, PackedMatrix};
use plan::{Memory, Plan, Work};
use pointwise::{Head, Pixels};

/// Images that a task takes through the network together: late blocks have many weights and few
/// pixels, and read each weight for all.
const TOGETHER: usize = 2;

/// An inverted residual block (Sandler et al. 2018) with batch norm folded into its convolutions.
/// ReLU6 follows the first two; the input is added to the output where they are of one shape.
#[derive(Clone, Debug)]
pub struct FoldedBlock {
    /// The 1×1 convolution that expands the channels, `[expanded, input, 1, 1]`.
    pub expand: Option<FoldedConv>,
    /// The depthwise convolution, `[expanded, 1, kernel, kernel]`.
    pub depthwise: FoldedConv,
    /// The 1×1 convolution to the block's output channels, `[output, expanded, 1, 1]`.
    pub project: FoldedConv,
    /// Side of the depthwise convolution's kernel: 3 or 5.
    pub kernel: usize,
    /// Pixels between the depthwise convolution's windows: 1 or 2.
    pub stride: usize,
}

/// A block's weights as the kernels read them.
struct PackedBlock {
    /// For the first block, this is the network's stem.
    expand: PackedMatrix,
    depthwise: PackedDepthwise,
    project: PackedMatrix,
    stride: usize,
    residual: bool,
}

/// An EfficientNet-Lite without its classifier, its weights packed for an instruction set.
pub struct PackedInvertedResiduals {
    set: InstructionSet,
    blocks: Vec<PackedBlock>,
    head: PackedMatrix,
}

impl PackedInvertedResiduals {
    /// Packs a network: a 3×3 stem with stride 2 for three colours, blocks, and a 1×1 head; ReLU6
    /// follows stem and head.
    ///
    /// # Panics
    /// If the shapes do not fit each other, or if the first block expands or another does not: the
    /// stem's output is not kept in memory, but goes into the first block as another block's
    /// expanded image does.
    pub fn new(
        set: InstructionSet,
        stem: &FoldedConv,
        blocks: &[FoldedBlock],
        head: &FoldedConv,
    ) -> Self {
        assert!(!blocks.is_empty(), "a network has blocks");
        let mut packed: Vec<PackedBlock> = Vec::with_capacity(blocks.len());
        for block in blocks {
            assert!(
                [3, 5].contains(&block.kernel) && [1, 2].contains(&block.stride),
                "kernels are 3 or 5, strides 1 or 2"
            );
            let input = packed.last().map(|previous| previous.project.output);
            let expand = match (input, &block.expand) {
                (None, None) => PackedMatrix::of_stem(set, stem),
                (Some(input), Some(expand)) => {
                    let expand = PackedMatrix::new(set, &expand.weight, &expand.bias);
                    assert_eq!(expand.input, input, "a block takes what the one before gives");
                    expand
                }
                _ => panic!("all blocks but the first expand"),
            };
            let depthwise = PackedDepthwise::new(set, block.kernel, &block.depthwise);
            let project = PackedMatrix::new(set, &block.project.weight, &block.project.bias);
            assert_eq!(
                [expand.output, project.input],
                [depthwise.channels; 2],
                "the convolutions of a block fit each other"
            );
            // The first block's input is the stem's output.
            let residual = block.stride == 1 && input.unwrap_or(expand.output) == project.output;
            assert!(!residual || input.is_some(), "the first block changes the number of channels");
            packed.push(PackedBlock { expand, depthwise, project, stride: block.stride, residual });
        }
        let head = PackedMatrix::new(set, &head.weight, &head.bias);
        assert_eq!(
            packed.last().map(|block| block.project.output),
            Some(head.input),
            "the head takes what the last block gives"
        );
        Self { set, blocks: packed, head }
    }

    /// The features of the images of one task.
    fn task(&self, plan: &Plan, images: &[f32], features: &mut [f32], scratch: &mut [f32]) {
        let count = features.len() / self.features_len();
        let pieces: Result<[&mut [f32]; 6], _> =
            split(scratch, plan.lengths().into_iter()).try_into();
        let [first, second, joined, planes, convolved, padded] =
            pieces.expect("there is a piece for each length");
        let mut memory = Memory { planes, convolved, padded };
        let (large, small) = self.blocks.split_at(plan.large);
        let (large_shapes, small_shapes) = plan.blocks.split_at(plan.large);
        for (image, joined) in
            images.chunks_exact(images.len() / count).zip(joined.chunks_exact_mut(plan.joined))
        {
            let (mut source, mut to) = (&mut *first, &mut *second);
            for (index, (block, shape)) in large.iter().zip(large_shapes).enumerate() {
                let from = if index == 0 { image } else { &*source };
                let into = if index + 1 == large.len() { &mut *joined } else { &mut *to };
                Work { set: self.set, block, shape, memory: &mut memory }.strips(from, into);
                std::mem::swap(&mut source, &mut to);
            }
        }
        let (mut source, mut to) = (joined, first);
        for (block, shape) in small.iter().zip(small_shapes) {
            Work { set: self.set, block, shape, memory: &mut memory }.whole(source, count, to);
            std::mem::swap(&mut source, &mut to);
        }
        let source = Pixels {
            values: source,
            width: self.blocks.last().map_or(0, |block| block.project.width),
        };
        dispatch(self.set, Head { weights: &self.head, source, pixels: plan.pixels, features });
    }
}

impl PackedNetwork for PackedInvertedResiduals {
    fn features_len(&self) -> usize {
        self.head.output
    }

    fn features(&self, images: &[f32], side: usize, features: &mut [f32]) {
        let (batch, image) = (self.images(images, side, features), side * side * 3);
        let together = TOGETHER.min(batch.div_ceil(rayon::current_num_threads())).max(1);
        let plan = Plan::new(self, side, together);
        let tasks = features
            .par_chunks_mut(together * self.features_len())
            .zip(images.par_chunks(together * image));
        tasks.for_each(|(features, images)| {
            with_scratch(plan.lengths().iter().sum(), |scratch| {
                self.task(&plan, images, features, scratch)
            })
        });
    }
}
