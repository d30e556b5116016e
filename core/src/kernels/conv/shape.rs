//! The geometry of a convolution.

use std::ops::Range;

/// Zeros around images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Zeros {
    /// Above and below.
    pub rows: (usize, usize),
    /// Left and right.
    pub columns: (usize, usize),
}

impl Zeros {
    /// As many on every side.
    pub const fn around(pixels: usize) -> Self {
        Self { rows: (pixels, pixels), columns: (pixels, pixels) }
    }
}

/// A square two-dimensional convolution over tensors stored channels-last: input
/// `[batch, height, width, input]`, weight `[output, input / groups, kernel, kernel]` (PyTorch's
/// order), output `[batch, out_height, out_width, output]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvShape {
    /// Images.
    pub batch: usize,
    /// Rows of the input.
    pub height: usize,
    /// Columns of the input.
    pub width: usize,
    /// Channels of the input.
    pub input: usize,
    /// Channels of the output.
    pub output: usize,
    /// Side of the kernel.
    pub kernel: usize,
    /// Pixels between neighbouring windows.
    pub stride: usize,
    /// Zeros around the input.
    pub padding: Zeros,
    /// Groups that both numbers of channels are divided into; a channel of the output depends on
    /// those of the input in its group alone.
    pub groups: usize,
}

/// Which of the two products over channels is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// The output from the input.
    Forward,
    /// The gradient of the input from that of the output.
    Backward,
}

/// What one channel that is written depends on.
pub(super) struct Dependence {
    /// Channels that are read.
    pub depth: Range<usize>,
    /// Which of the weight's kernels belongs to the first of them.
    first: usize,
    /// Kernels from one of them to the next.
    step: usize,
}

impl Dependence {
    /// Where the kernel of a channel that is read starts, in kernels; for those of `depth`.
    pub fn kernel(&self, channel: usize) -> usize {
        self.first + (channel - self.depth.start) * self.step
    }
}

/// Channels that are computed together, and those that they depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// The first channel that is written.
    pub first: usize,
    /// How many vectors of them there are; the last may reach beyond the last channel.
    pub vectors: usize,
    /// Channels that are read, those of all groups in the block.
    pub depth: Range<usize>,
}

impl ConvShape {
    /// Rows of the output.
    pub fn out_height(&self) -> usize {
        (self.height + self.padding.rows.0 + self.padding.rows.1 - self.kernel) / self.stride + 1
    }

    /// Columns of the output.
    pub fn out_width(&self) -> usize {
        (self.width + self.padding.columns.0 + self.padding.columns.1 - self.kernel) / self.stride
            + 1
    }

    /// Values of the input.
    pub fn input_len(&self) -> usize {
        self.batch * self.height * self.width * self.input
    }

    /// Values of the output.
    pub fn output_len(&self) -> usize {
        self.batch * self.out_height() * self.out_width() * self.output
    }

    /// Channels of the input that one of the output depends on: the second axis of the weight.
    pub fn inputs_of_group(&self) -> usize {
        self.input / self.groups
    }

    /// The weight's shape.
    pub fn weight_dims(&self) -> [usize; 4] {
        [self.output, self.inputs_of_group(), self.kernel, self.kernel]
    }

    /// Values of the weight.
    pub fn weight_len(&self) -> usize {
        self.weight_dims().into_iter().product()
    }

    /// Multiply-adds of one pass.
    pub fn multiply_adds(&self) -> usize {
        self.output_len() * self.inputs_of_group() * self.kernel * self.kernel
    }

    /// Whether every channel is convolved by itself.
    pub fn is_depthwise(&self) -> bool {
        self.groups > 1 && self.groups == self.input && self.input == self.output
    }

    /// # Panics
    /// If the kernel does not fit the image with its zeros, or the groups do not divide the
    /// channels.
    pub(crate) fn check(&self) {
        let &Self { height, width, kernel, padding: Zeros { rows, columns }, groups, .. } = self;
        assert!(
            kernel > 0
                && self.stride > 0
                && kernel <= (height + rows.0 + rows.1).min(width + columns.0 + columns.1),
            "a kernel of side {kernel} does not fit an image of {height}×{width}"
        );
        assert!(
            groups > 0 && self.input.is_multiple_of(groups) && self.output.is_multiple_of(groups),
            "{groups} groups do not divide {} and {} channels",
            self.input,
            self.output
        );
    }

    pub(super) fn check_lengths(&self, x: &[f32], weight: &[f32], y: &[f32]) {
        self.check();
        assert_eq!(
            [x.len(), weight.len(), y.len()],
            [self.input_len(), self.weight_len(), self.output_len()]
        );
    }

    /// Channels that are read, and that are written.
    pub(super) fn channels(&self, direction: Direction) -> (usize, usize) {
        match direction {
            Direction::Forward => (self.input, self.output),
            Direction::Backward => (self.output, self.input),
        }
    }

    /// What a channel that is written depends on.
    pub(super) fn dependence(&self, direction: Direction, channel: usize) -> Dependence {
        let (inputs, outputs) = (self.inputs_of_group(), self.output / self.groups);
        match direction {
            Direction::Forward => {
                let group = channel / outputs;
                Dependence {
                    depth: group * inputs..(group + 1) * inputs,
                    first: channel * inputs,
                    step: 1,
                }
            }
            Direction::Backward => {
                let group = channel / inputs;
                let first = group * outputs * inputs + channel % inputs;
                Dependence { depth: group * outputs..(group + 1) * outputs, first, step: inputs }
            }
        }
    }

    /// Divides the channels that are written into blocks of 4, 2 or 1 vectors of so many `lanes`,
    /// of up to `widest`. Where a group has whole vectors, no block reaches over its end; otherwise
    /// a block is one vector and has to do with every group in it.
    pub(super) fn blocks(&self, direction: Direction, lanes: usize, widest: usize) -> Vec<Block> {
        let (from, to) = self.channels(direction);
        let (from_group, to_group) = (from / self.groups, to / self.groups);
        let (part, widest) = match self.groups {
            1 => (to, widest),
            _ if to_group.is_multiple_of(lanes) => (to_group, widest),
            _ => (to, 1),
        };
        let mut blocks = Vec::new();
        for start in (0..to).step_by(part.max(1)) {
            let mut at = start;
            while at < start + part {
                let left = (start + part - at).div_ceil(lanes);
                let vectors = [4, 2, 1]
                    .into_iter()
                    .find(|vectors| *vectors <= left && *vectors <= widest)
                    .unwrap_or(1);
                let end = (at + vectors * lanes).min(to);
                let depth = at / to_group * from_group..end.div_ceil(to_group) * from_group;
                blocks.push(Block { first: at, vectors, depth });
                at += vectors * lanes;
            }
        }
        blocks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every channel is in one block, whose depth is what its channels depend on.
    #[test]
    fn blocks_cover_channels_once_and_what_they_depend_on() {
        for (input, output, groups) in [
            (3, 70, 1),
            (128, 128, 32),
            (256, 256, 32),
            (12, 24, 4),
            (64, 96, 2),
            (10, 15, 5),
            (1024, 1024, 32),
        ] {
            let shape = ConvShape {
                batch: 1,
                height: 3,
                width: 3,
                input,
                output,
                kernel: 3,
                stride: 1,
                padding: Zeros::around(1),
                groups,
            };
            for direction in [Direction::Forward, Direction::Backward] {
                for (lanes, widest) in [(4, 2), (8, 2), (16, 4)] {
                    let mut next = 0;
                    for Block { first, vectors, depth } in shape.blocks(direction, lanes, widest) {
                        assert_eq!(first, next);
                        next = first + vectors * lanes;
                        let needed = |channel| shape.dependence(direction, channel).depth;
                        let last = next.min(shape.channels(direction).1) - 1;
                        assert_eq!(depth, needed(first).start..needed(last).end, "{shape:?}");
                    }
                    assert!(next >= shape.channels(direction).1);
                }
            }
        }
    }

    #[test]
    fn both_directions_name_the_same_kernels() {
        let shape = ConvShape {
            batch: 1,
            height: 3,
            width: 3,
            input: 12,
            output: 8,
            kernel: 3,
            stride: 1,
            padding: Zeros::around(1),
            groups: 4,
        };
        let mut seen = 0;
        for output in 0..8 {
            let forward = shape.dependence(Direction::Forward, output);
            for input in forward.depth.clone() {
                let backward = shape.dependence(Direction::Backward, input);
                assert!(backward.depth.contains(&output));
                assert_eq!(forward.kernel(input), output * 3 + input % 3);
                assert_eq!(forward.kernel(input), backward.kernel(output));
                seen += 1;
            }
        }
        assert_eq!(seen, 8 * 3);
    }
}
