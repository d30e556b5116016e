//! Weights in the order in which the kernels read them.

use std::ops::Deref;

use super::super::conv::FoldedConv;
use super::super::simd::InstructionSet;

/// Floats in a cache line.
const LINE: usize = 64 / size_of::<f32>();

/// Floats that start at a cache line.
pub(super) struct Aligned {
    values: Vec<f32>,
    start: usize,
    len: usize,
}

impl Aligned {
    /// `len` zeros, and what `fill` makes of them.
    pub fn filled(len: usize, fill: impl FnOnce(&mut [f32])) -> Self {
        let mut values = vec![0.0; len + LINE];
        let start = values.as_ptr().align_offset(64).min(LINE);
        fill(&mut values[start..start + len]);
        Self { values, start, len }
    }
}

impl Deref for Aligned {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.values[self.start..self.start + self.len]
    }
}

/// Vectors of output channels that are computed together.
#[derive(Clone, Copy)]
pub(super) struct Columns {
    /// The first vector.
    pub first: usize,
    /// How many vectors, 4 at most.
    pub vectors: usize,
}

/// A matrix of weights `[output, input]` and a bias: for every block of columns the weights lie as
/// `[input][vectors][lanes]`, one block after the other. Channels that fill up the last vector have
/// zeros.
pub(super) struct PackedMatrix {
    pub input: usize,
    pub output: usize,
    /// Output channels with those that fill up the last vector.
    pub width: usize,
    pub columns: Vec<Columns>,
    pub weight: Aligned,
    /// `[width]`.
    pub bias: Aligned,
}

impl PackedMatrix {
    pub fn new(set: InstructionSet, weight: &[f32], bias: &[f32]) -> Self {
        let (lanes, output) = (set.lanes(), bias.len());
        let input = weight.len() / output.max(1);
        assert!(
            input > 0 && weight.len() == output * input,
            "a weight must have as many rows as the bias has values"
        );
        let vectors = output.div_ceil(lanes);
        let columns = columns(set, vectors);
        let width = vectors * lanes;
        let packed = Aligned::filled(width * input, |packed| {
            for block in &columns {
                let (first, across) = (block.first * lanes, block.vectors * lanes);
                let to = &mut packed[first * input..][..across * input];
                for (n, row) in weight.chunks(input).skip(first).take(across).enumerate() {
                    row.iter().enumerate().for_each(|(d, weight)| to[d * across + n] = *weight);
                }
            }
        });
        let bias = Aligned::filled(width, |to| to[..output].copy_from_slice(bias));
        Self { input, output, width, columns, weight: packed, bias }
    }

    /// The stem: a 3×3 convolution of colours, its depth ordered as pixels lie in memory.
    pub fn of_stem(set: InstructionSet, stem: &FoldedConv) -> Self {
        const TAPS: usize = 9;
        const COLOURS: usize = 3;
        assert_eq!(
            stem.weight.len(),
            stem.bias.len() * COLOURS * TAPS,
            "the stem is a 3×3 convolution of three colours"
        );
        let filters = stem.weight.chunks(COLOURS * TAPS);
        let weight: Vec<f32> = filters
            .flat_map(|filter| {
                (0..TAPS * COLOURS).map(|d| filter[d % COLOURS * TAPS + d / COLOURS])
            })
            .collect();
        Self::new(set, &weight, &stem.bias)
    }
}

/// Divides vectors into blocks, as few and as even as registers allow.
fn columns(set: InstructionSet, vectors: usize) -> Vec<Columns> {
    let many = set.registers() >= 32;
    let mut columns = Vec::new();
    let mut first = 0;
    while first < vectors {
        let vectors = match (many, vectors - first) {
            (true, left @ (1 | 2 | 4)) => left,
            (true, _) => 3,
            (false, left @ (1 | 3)) => left,
            (false, _) => 2,
        };
        columns.push(Columns { first, vectors });
        first += vectors;
    }
    columns
}

/// A depthwise convolution: for every vector of channels the weights lie as
/// `[kernel][kernel][lanes]`.
pub(super) struct PackedDepthwise {
    pub kernel: usize,
    pub channels: usize,
    pub weight: Aligned,
    /// As many as channels with those that fill up the last vector.
    pub bias: Aligned,
}

impl PackedDepthwise {
    pub fn new(set: InstructionSet, kernel: usize, conv: &FoldedConv) -> Self {
        let (lanes, channels, taps) = (set.lanes(), conv.bias.len(), kernel * kernel);
        assert_eq!(
            conv.weight.len(),
            channels * taps,
            "a depthwise convolution has one filter a channel"
        );
        let width = channels.next_multiple_of(lanes);
        let weight = Aligned::filled(width * taps, |packed| {
            for (channel, filter) in conv.weight.chunks(taps).enumerate() {
                let (vector, lane) = (channel / lanes, channel % lanes);
                filter.iter().enumerate().for_each(|(tap, weight)| {
                    packed[(vector * taps + tap) * lanes + lane] = *weight
                });
            }
        });
        let bias = Aligned::filled(width, |to| to[..channels].copy_from_slice(&conv.bias));
        Self { kernel, channels, weight, bias }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_columns_cover_every_vector_once() {
        for set in InstructionSet::available() {
            for vectors in 1..50 {
                let columns = columns(set, vectors);
                let mut next = 0;
                for block in columns {
                    assert!(block.first == next && (1..=4).contains(&block.vectors));
                    next += block.vectors;
                }
                assert_eq!(next, vectors);
            }
        }
    }

    #[test]
    fn packed_weights_start_at_a_line_and_are_filled_up_with_zeros() {
        for set in InstructionSet::available() {
            let weight: Vec<f32> = (0..35 * 7).map(|index| index as f32 + 1.0).collect();
            let packed = PackedMatrix::new(set, &weight, &[2.0; 35]);
            assert_eq!(
                (packed.weight.as_ptr() as usize % 64, packed.input, packed.width % set.lanes()),
                (0, 7, 0)
            );
            assert_eq!(
                packed.weight.iter().filter(|value| **value == 0.0).count(),
                (packed.width - 35) * 7
            );
            let block = packed.columns[0];
            assert_eq!(packed.weight[block.vectors * set.lanes() + 1], weight[7 + 1]);
        }
    }
}
