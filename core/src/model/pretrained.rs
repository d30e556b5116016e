//! Pretrained weights that come with the program.

use safetensors::SafeTensors;
use safetensors::tensor::Dtype;

use super::weights::NamedTensor;

/// A backbone's pretrained weights, and what has to be known to use them.
#[derive(Debug)]
pub struct Pretrained {
    /// The file's name, for error messages.
    pub file: &'static str,
    /// A safetensors file of float16 and float32 tensors under the family's names, without a classifier.
    pub bytes: &'static [u8],
    /// BLAKE3 of the file, hexadecimal.
    pub blake3: &'static str,
    /// What they were trained on.
    pub data: &'static str,
    /// Share of ImageNet's validation images that the weights classify correctly with their own classifier, in 0..1.
    pub top1: f64,
    /// Where they come from.
    pub source: &'static str,
    /// Their licence.
    pub licence: &'static str,
    /// Side of the square input they were trained with, in pixels.
    pub side: usize,
    /// Mean of the input's normalisation, of channels in 0..1.
    pub mean: [f32; 3],
    /// Standard deviation of the input's normalisation.
    pub std: [f32; 3],
}

impl Pretrained {
    /// The weights, in float32.
    ///
    /// # Errors
    /// A sentence that names the file, if it is not the one it should be.
    pub fn weights(&self) -> Result<Vec<NamedTensor>, String> {
        let damaged = |reason: String| format!("the pretrained weights {} are damaged: {reason}", self.file);
        if blake3::hash(self.bytes).to_hex().as_str() != self.blake3 {
            return Err(damaged("they are not the ones this program was made with".into()));
        }
        let tensors = SafeTensors::deserialize(self.bytes).map_err(|error| damaged(error.to_string()))?;
        let read = |(name, view): (&str, safetensors::tensor::TensorView<'_>)| {
            let values = match view.dtype() {
                Dtype::F16 => view.data().as_chunks().0.iter().map(|bytes| half(u16::from_le_bytes(*bytes))).collect(),
                Dtype::F32 => view.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
                other => return Err(damaged(format!("`{name}` holds {other:?}"))),
            };
            Ok(NamedTensor { name: name.to_string(), shape: view.shape().to_vec(), values })
        };
        tensors.iter().map(read).collect()
    }
}

/// A float16 in float32.
fn half(bits: u16) -> f32 {
    let sign = u32::from(bits >> 15) << 31;
    let (exponent, fraction) = (u32::from(bits >> 10) & 31, u32::from(bits) & 0x3ff);
    let magnitude = match exponent {
        // Subnormal numbers, in steps of 2⁻²⁴.
        0 => fraction as f32 * (-24_f32).exp2(),
        31 => f32::from_bits(0x7f80_0000 | fraction << 13),
        _ => f32::from_bits((exponent + 112) << 23 | fraction << 13),
    };
    f32::from_bits(sign | magnitude.to_bits())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Backbone;

    #[test]
    fn half_precision_is_read_exactly() {
        for (bits, value) in
            [(0x3c00, 1.0), (0xc000, -2.0), (0x7bff, 65504.0), (0x0001, 5.960_464_5e-8), (0x0400, 6.103_515_6e-5), (0x3555, 0.333_251_95)]
        {
            assert_eq!(half(bits), value);
        }
        assert_eq!(half(0x8000).to_bits(), (-0.0_f32).to_bits());
        assert!(half(0x7c00).is_infinite() && half(0x7e00).is_nan());
    }

    #[test]
    fn damaged_weights_are_refused_by_name() {
        for backbone in Backbone::ALL {
            let Some(pretrained) = backbone.info().pretrained else { continue };
            assert!(pretrained.weights().unwrap().iter().flat_map(|tensor| &tensor.values).all(|value| value.is_finite()));
            let mut bytes = pretrained.bytes.to_vec();
            let middle = bytes.len() / 2;
            for bytes in [
                {
                    bytes[middle] ^= 1;
                    bytes.clone()
                },
                bytes[..middle].to_vec(),
                Vec::new(),
            ] {
                let damaged = Pretrained { bytes: bytes.leak(), ..*pretrained };
                assert!(damaged.weights().unwrap_err().contains(pretrained.file));
            }
        }
    }
}
