//! Loops over `[pixels, channels]` that suit vector registers whatever the number of channels.
//!
//! As many pixels as needed are taken together as one row of lanes, so that narrow and odd numbers
//! of channels fill registers, too. Numbers that belong to channels are repeated to the length of a
//! row.

use super::vectorised::vectorised;

/// A row has at least so many lanes: sums in memory take turns, and one vector's addition need not
/// wait for the one before.
const LEAST: usize = 128;
/// Rows are whole numbers of the widest vectors.
const VECTOR: usize = 16;
/// A tensor is cut into no more parts than these, each of one or more pieces: every part has sums
/// of its own.
const PARTS: usize = 256;
/// Values a thread takes at a time: a piece and its like from two more tensors stay in the
/// second-level cache.
const PIECE: usize = 16 * 1024;

/// How `[pixels, channels]` is cut into rows and pieces. It depends on the number of channels
/// alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lanes {
    /// Channels C.
    pub channels: usize,
    /// Values in a row, a multiple of C.
    pub row: usize,
    /// Values in a piece, a multiple of a row.
    pub piece: usize,
}

impl Lanes {
    pub fn new(channels: usize) -> Self {
        let channels = channels.max(1);
        let mut fitting = channels;
        while !fitting.is_multiple_of(VECTOR) {
            fitting *= 2;
        }
        let row = fitting * LEAST.div_ceil(fitting);
        Self { channels, row, piece: row * (PIECE / row).max(1) }
    }

    /// Values of a part of a tensor of `len` values, a multiple of a piece.
    pub fn part(&self, len: usize) -> usize {
        self.piece * len.div_ceil(self.piece).div_ceil(PARTS).max(1)
    }

    /// `values` of the channels, repeated to a row.
    pub fn spread(&self, values: &[f32]) -> Vec<f32> {
        values.iter().copied().cycle().take(self.row).collect()
    }

    /// The sums of the lanes of each channel.
    pub fn gather(&self, lanes: &[f32]) -> Vec<f64> {
        let mut sums = vec![0.0; self.channels];
        self.gather_into(lanes, &mut sums);
        sums
    }

    /// Adds the sums of the lanes of each channel to `sums` `[channels]`.
    pub fn gather_into(&self, lanes: &[f32], sums: &mut [f64]) {
        for pixel in lanes.chunks(self.channels) {
            sums.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += f64::from(*value));
        }
    }
}

vectorised! {
    /// Adds the rows of `x` to `sums` `[row]`.
    pub(super) fn add_rows(x: &[f32], sums: &mut [f32]) {
        for row in x.chunks(sums.len()) {
            for (sum, x) in sums.iter_mut().zip(row) {
                *sum += x;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_hold_whole_pixels_and_whole_vectors() {
        for channels in (1..70).chain([96, 127, 128, 256, 511, 512, 2048]) {
            let lanes = Lanes::new(channels);
            assert_eq!(
                (lanes.row % channels, lanes.row % VECTOR, lanes.piece % lanes.row),
                (0, 0, 0),
                "{channels}"
            );
            assert!(lanes.row >= LEAST);
            let ones = lanes.gather(&lanes.spread(&vec![1.0; channels]));
            assert_eq!(ones, vec![(lanes.row / channels) as f64; channels]);
        }
    }
}
