//! From bytes to the network's normalised input.

use burn::tensor::{Device, Tensor, TensorData};

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

    /// Bytes of `[batch, 3, side, side]`, row-major, to a float tensor of that shape on `device`.
    pub fn tensor(&self, bytes: &[u8], side: usize, device: &Device) -> Tensor<4> {
        let plane = side * side;
        let mut values = Vec::with_capacity(bytes.len());
        for (index, channel) in bytes.chunks_exact(plane).enumerate() {
            let table = &self.table[index % 3];
            values.extend(channel.iter().map(|byte| table[*byte as usize]));
        }
        Tensor::from_data(TensorData::new(values, [bytes.len() / (3 * plane), 3, side, side]), device)
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
