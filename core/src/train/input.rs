//! From bytes to the network's normalised input.

use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;

use crate::kernels::Buffer;
use crate::ops;

/// Turns planar RGB bytes into normalised tensors: (x / 255 − mean) / std per channel.
#[derive(Clone, Debug)]
pub struct Normaliser {
    table: [[f32; 256]; 3],
}

impl Normaliser {
    /// For the given per-channel mean and standard deviation, in 0..1.
    pub fn new(mean: [f32; 3], std: [f32; 3]) -> Self {
        let row = |channel: usize| std::array::from_fn(|byte| (byte as f32 / 255.0 - mean[channel]) / std[channel]);
        Self { table: std::array::from_fn(row) }
    }

    /// Bytes of `[batch, 3, side, side]`, row-major, to a float tensor of that shape on `device`. On the CPU its values lie channels last,
    /// as the networks' operations want them.
    pub fn tensor(&self, bytes: &[u8], side: usize, device: &Device) -> Tensor<4> {
        let plane = side * side;
        if ops::is_cpu(device) {
            let mut values = Buffer::take(bytes.len());
            let images = values.par_chunks_mut((3 * plane).max(1)).zip(bytes.par_chunks((3 * plane).max(1)));
            images.for_each(|(values, bytes)| self.channels_last(bytes, plane, values));
            return ops::images(values, [bytes.len() / (3 * plane), 3, side, side], device);
        }
        let mut values = Vec::with_capacity(bytes.len());
        for (index, channel) in bytes.chunks_exact(plane).enumerate() {
            let table = &self.table[index % 3];
            values.extend(channel.iter().map(|byte| table[*byte as usize]));
        }
        Tensor::from_data(TensorData::new(values, [bytes.len() / (3 * plane), 3, side, side]), device)
    }

    /// One image, from `[3, plane]` to `[plane, 3]`.
    fn channels_last(&self, bytes: &[u8], plane: usize, values: &mut [f32]) {
        let (red, rest) = bytes.split_at(plane);
        let (green, blue) = rest.split_at(plane);
        for (((pixel, red), green), blue) in values.chunks_exact_mut(3).zip(red).zip(green).zip(blue) {
            pixel.copy_from_slice(&[self.table[0][*red as usize], self.table[1][*green as usize], self.table[2][*blue as usize]]);
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
        assert_eq!(tensor.into_data().try_into_vec::<f32>().unwrap(), [0.0, 1.0, -0.5, 1.0, -1.0, 0.0]);
    }
}
