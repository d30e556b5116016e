//! From bytes to the network's normalised input.

use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;

use crate::kernels::Buffer;
use crate::ops;

/// How the numbers of a batch of images lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputLayout {
    /// `[batch, 3, side, side]`: the planes of an image one after the other.
    ChannelsFirst,
    /// `[batch, side, side, 3]`: the three numbers of a pixel side by side.
    ChannelsLast,
}

/// Turns planar RGB bytes into normalised tensors: (x / 255 − mean) / std per channel.
#[derive(Clone, Debug)]
pub struct Normaliser {
    table: [[f32; 256]; 3],
}

impl Normaliser {
    /// For the given per-channel mean and standard deviation, in 0..1.
    pub fn new(mean: [f32; 3], std: [f32; 3]) -> Self {
        let row = |channel: usize| {
            std::array::from_fn(|byte| (byte as f32 / 255.0 - mean[channel]) / std[channel])
        };
        Self { table: std::array::from_fn(row) }
    }

    /// The number that each byte becomes, by channel.
    pub(crate) fn values(&self) -> &[[f32; 256]; 3] {
        &self.table
    }

    /// Bytes of `[batch, 3, side, side]`, row-major, to a float tensor of that shape on `device`.
    /// On the CPU its values lie channels last, as the networks' operations want them.
    pub fn tensor(&self, bytes: &[u8], side: usize, device: &Device) -> Tensor<4> {
        let shape = [bytes.len() / (3 * side * side), 3, side, side];
        if ops::is_cpu(device) {
            let mut values = Buffer::take(bytes.len());
            self.fill(bytes, side, InputLayout::ChannelsLast, &mut values);
            return ops::images(values, shape, device);
        }
        let mut values = vec![0.0; bytes.len()];
        self.fill(bytes, side, InputLayout::ChannelsFirst, &mut values);
        Tensor::from_data(TensorData::new(values, shape), device)
    }

    /// Bytes of `[batch, 3, side, side]`, row-major, to as many floats in `layout`. Many images are
    /// spread over threads.
    ///
    /// ```
    /// use counterweight_core::model::{InputLayout, Normaliser};
    /// let normaliser = Normaliser::new([0.0; 3], [1.0; 3]);
    /// let mut values = [0.0; 12];
    /// let (red, green, blue) = ([255; 4], [0; 4], [51; 4]);
    /// normaliser.fill(&[red, green, blue].concat(), 2, InputLayout::ChannelsLast, &mut values);
    /// assert_eq!(values[..6], [1.0, 0.0, 0.2, 1.0, 0.0, 0.2]);
    /// ```
    ///
    /// # Panics
    /// If the bytes are no whole images of that side, or `values` has another length.
    pub fn fill(&self, bytes: &[u8], side: usize, layout: InputLayout, values: &mut [f32]) {
        /// Bytes below which a second thread costs more than it saves.
        const PART: usize = 1 << 20;
        let size = 3 * side * side;
        assert!(
            size > 0 && bytes.len().is_multiple_of(size) && values.len() == bytes.len(),
            "callers pass whole images"
        );
        let images = bytes.par_chunks_exact(size).zip(values.par_chunks_exact_mut(size));
        images.with_min_len(1 + PART / size).for_each(|(bytes, values)| match layout {
            InputLayout::ChannelsFirst => self.planes(bytes, values),
            InputLayout::ChannelsLast => self.pixels(bytes, values),
        });
    }

    fn planes(&self, bytes: &[u8], values: &mut [f32]) {
        let plane = bytes.len() / 3;
        for ((table, bytes), values) in
            self.table.iter().zip(bytes.chunks_exact(plane)).zip(values.chunks_exact_mut(plane))
        {
            values
                .iter_mut()
                .zip(bytes)
                .for_each(|(value, byte)| *value = table[usize::from(*byte)]);
        }
    }

    fn pixels(&self, bytes: &[u8], values: &mut [f32]) {
        let plane = bytes.len() / 3;
        let [red, green, blue] = &self.table;
        let (reds, rest) = bytes.split_at(plane);
        let (greens, blues) = rest.split_at(plane);
        for (((pixel, r), g), b) in
            values.as_chunks_mut::<3>().0.iter_mut().zip(reds).zip(greens).zip(blues)
        {
            *pixel = [red[usize::from(*r)], green[usize::from(*g)], blue[usize::from(*b)]];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_channel_is_normalised_with_its_own_numbers() {
        let normaliser = Normaliser::new([0.0, 0.5, 1.0], [1.0, 0.5, 2.0]);
        let tensor = normaliser.tensor(&[0, 255, 0, 255, 0, 255], 1, &Device::flex());
        assert_eq!(tensor.dims(), [2, 3, 1, 1]);
        assert_eq!(
            tensor.into_data().try_into_vec::<f32>().unwrap(),
            [0.0, 1.0, -0.5, 1.0, -1.0, 0.0]
        );
    }

    #[test]
    fn layouts_hold_the_same_numbers_whatever_the_batch() {
        let normaliser = Normaliser::new([0.1, 0.5, 0.9], [0.2, 0.3, 0.4]);
        // One image, and enough for several threads.
        for (batch, side) in [(1, 5), (40, 128)] {
            let plane = side * side;
            let bytes: Vec<u8> = (0..batch * 3 * plane).map(|i| (i * 31 % 256) as u8).collect();
            let (mut first, mut last) = (vec![f32::NAN; bytes.len()], vec![f32::NAN; bytes.len()]);
            normaliser.fill(&bytes, side, InputLayout::ChannelsFirst, &mut first);
            normaliser.fill(&bytes, side, InputLayout::ChannelsLast, &mut last);
            for (i, byte) in bytes.iter().enumerate() {
                let (image, channel, pixel) = (i / (3 * plane), i / plane % 3, i % plane);
                let expected = (f32::from(*byte) / 255.0 - [0.1, 0.5, 0.9][channel])
                    / [0.2, 0.3, 0.4][channel];
                assert_eq!(first[i], expected);
                assert_eq!(last[(image * plane + pixel) * 3 + channel], expected);
            }
        }
    }
}
