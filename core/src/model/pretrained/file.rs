//! A file of weights that the user gives: PyTorch's in both of its kinds, or safetensors.
//!
//! It may be damaged or hostile. Lengths that it states are compared with what is there before
//! anything is made of them, and only those of its tensors are read that are asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use sha2::{Digest, Sha256};

use super::archive::is_archive;
use super::torch::{TorchFile, is_older, read_archive, read_older};
use crate::error::{Result, WeightsError};
use crate::model::weights::NamedTensor;

/// The largest file that is read, in bytes. The largest backbone has 100 MB of weights, and a
/// checkpoint may hold three times that for its optimiser.
pub(super) const LARGEST: u64 = 1 << 30;
/// The longest header of a safetensors file, in bytes. That of a network with a thousand tensors
/// has a hundred thousand.
const LONGEST_HEADER: u64 = 8 << 20;

/// What numbers are stored as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    F64,
    F32,
    F16,
    BF16,
    /// Of so many bytes, and no weight.
    Other(usize),
}

impl Element {
    /// The numbers in one of PyTorch's storages, and bytes of one.
    pub fn of_storage(name: &str) -> Option<(Self, usize)> {
        let element = match name {
            "DoubleStorage" => Self::F64,
            "FloatStorage" => Self::F32,
            "HalfStorage" => Self::F16,
            "BFloat16Storage" => Self::BF16,
            "LongStorage" => Self::Other(8),
            "IntStorage" => Self::Other(4),
            "ShortStorage" => Self::Other(2),
            "CharStorage" | "ByteStorage" | "BoolStorage" => Self::Other(1),
            _ => return None,
        };
        Some((element, element.size()))
    }

    fn size(self) -> usize {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
            Self::Other(size) => size,
        }
    }

    /// The number that these bytes are; `None` for what is no weight.
    fn value(self, bytes: &[u8]) -> Option<f32> {
        Some(match (self, bytes) {
            (Self::F64, &[a, b, c, d, e, f, g, h]) => {
                f64::from_le_bytes([a, b, c, d, e, f, g, h]) as f32
            }
            (Self::F32, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]),
            (Self::F16, &[a, b]) => half(u16::from_le_bytes([a, b])),
            (Self::BF16, &[a, b]) => f32::from_bits(u32::from(u16::from_le_bytes([a, b])) << 16),
            _ => return None,
        })
    }
}

/// Where a tensor lies in a file.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub element: Element,
    pub shape: Vec<usize>,
    /// Of each axis, in elements.
    pub strides: Vec<usize>,
    /// Its first element within its storage.
    pub offset: usize,
    /// Its storage. It holds every element that shape, strides and offset lead to.
    pub place: Range<usize>,
    /// Checksum of the storage; 0 where there is none.
    pub crc: u32,
}

/// A file of weights. Its tensors have been found and not been read.
pub struct WeightsFile {
    path: PathBuf,
    sha256: String,
    bytes: Vec<u8>,
    tensors: BTreeMap<String, Stored>,
    calls: BTreeSet<String>,
}

impl WeightsFile {
    /// Finds out what a file holds: `.pth` and `.pt` as `torch.save` writes them, and
    /// `.safetensors`. Nothing in it is executed.
    ///
    /// # Errors
    /// [`WeightsError::File`] naming it: it is missing, a folder, damaged, too large, of another
    /// kind.
    pub fn open(path: &Path) -> Result<Self> {
        let wrong = |reason: String| WeightsError::file(path, reason);
        let bytes = read_bounded(path).map_err(wrong)?;
        let TorchFile { tensors, calls } = if is_archive(&bytes) {
            read_archive(&bytes)
        } else if is_older(&bytes) {
            read_older(&bytes)
        } else {
            read_safetensors(&bytes)
        }
        .map_err(wrong)?;
        if tensors.is_empty() {
            return Err(wrong(
                "there are no tensors with names in it; save the network's `state_dict()`".into(),
            )
            .into());
        }
        let sha256 = hexadecimal(&Sha256::digest(&bytes));
        Ok(Self { path: path.to_path_buf(), sha256, bytes, tensors, calls })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// SHA-256 of all of it, hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// What a pickle in it asks to call besides what tensors are made of. None of it was called.
    pub fn calls(&self) -> impl Iterator<Item = &str> {
        self.calls.iter().map(String::as_str)
    }

    /// Names and shapes of the tensors. What was nested has the keys that lead to it joined by
    /// dots: `state_dict.conv1.weight`.
    pub fn names(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.shape.as_slice()))
    }

    /// Reads a tensor, in float32, under a name of the caller's.
    ///
    /// # Errors
    /// [`WeightsError::File`] naming file and tensor: it is missing, or holds integers, NaN or
    /// infinite numbers.
    pub fn read(&self, name: &str, called: &str) -> Result<NamedTensor> {
        let wrong = |reason: &str| WeightsError::file(&self.path, format!("`{name}` {reason}"));
        let tensor = self.tensors.get(name).ok_or_else(|| wrong("is missing"))?;
        let values = tensor.values(&self.bytes).ok_or_else(|| wrong("does not hold weights"))?;
        if !values.iter().all(|value| value.is_finite()) {
            return Err(wrong("holds numbers that are NaN or infinite").into());
        }
        Ok(NamedTensor { name: called.to_string(), shape: tensor.shape.clone(), values })
    }
}

impl Stored {
    /// The numbers, row-major; `None` if they are no weights.
    fn values(&self, file: &[u8]) -> Option<Vec<f32>> {
        let size = self.element.size();
        let storage = &file[self.place.clone()];
        let count =
            self.shape.iter().try_fold(1usize, |count, length| count.checked_mul(*length))?;
        // No two numbers share a byte, so that there are no more of them than bytes.
        if count > storage.len() {
            return None;
        }
        if count == 0 {
            return Some(Vec::new());
        }
        if self.is_dense() {
            let bytes =
                storage.get(self.offset.checked_mul(size)?..)?.get(..count.checked_mul(size)?)?;
            return bytes.chunks_exact(size).map(|bytes| self.element.value(bytes)).collect();
        }
        let mut values = Vec::with_capacity(count);
        for mut index in 0..count {
            let mut at = self.offset;
            for (&length, &stride) in self.shape.iter().zip(&self.strides).rev() {
                at += index % length * stride;
                index /= length;
            }
            values.push(self.element.value(storage.get(at * size..(at + 1) * size)?)?);
        }
        Some(values)
    }

    /// Whether its elements follow each other.
    fn is_dense(&self) -> bool {
        let mut next = 1;
        self.shape.iter().zip(&self.strides).rev().all(|(&length, &stride)| {
            let expected = next;
            next *= length;
            length == 1 || stride == expected
        })
    }
}

/// The bytes of a file that is not larger than [`LARGEST`].
fn read_bounded(path: &Path) -> Result<Vec<u8>, String> {
    let kind = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if kind.is_dir() {
        return Err("it is a folder, not a file".into());
    }
    // What is no file, such as a pipe, may never end.
    if !kind.is_file() {
        return Err("it is not a file".into());
    }
    if kind.len() > LARGEST {
        return Err(format!(
            "it has {} bytes; files of weights have {LARGEST} at most",
            kind.len()
        ));
    }
    let mut bytes = Vec::with_capacity(kind.len() as usize);
    let read = File::open(path).and_then(|file| file.take(LARGEST).read_to_end(&mut bytes));
    read.map_err(|error| error.to_string())?;
    if bytes.is_empty() {
        return Err("it is empty".into());
    }
    Ok(bytes)
}

/// Finds the tensors of a safetensors file. An error is a sentence saying what is wrong with it.
fn read_safetensors(bytes: &[u8]) -> Result<TorchFile, String> {
    const NEITHER: &str = "it is neither a file of PyTorch (version 1.6 or newer, or the older pickled kind) nor a safetensors file";
    let header = bytes.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)).ok_or(NEITHER)?;
    if bytes.get(8) != Some(&b'{') {
        return Err(NEITHER.into());
    }
    if header > LONGEST_HEADER {
        return Err(format!(
            "as a safetensors file, it says that its header has {header} bytes, and headers have {LONGEST_HEADER} at most"
        ));
    }
    let file = SafeTensors::deserialize(bytes)
        .map_err(|error| format!("it is no whole safetensors file: {error}"))?;
    let tensors = file.iter().map(|(name, view)| {
        let element = match view.dtype() {
            Dtype::F64 => Element::F64,
            Dtype::F32 => Element::F32,
            Dtype::F16 => Element::F16,
            Dtype::BF16 => Element::BF16,
            // Those of less than a byte are as little a weight.
            other => Element::Other((other.bitsize() / 8).max(1)),
        };
        let shape = view.shape().to_vec();
        let mut strides = vec![1; shape.len()];
        for axis in (1..shape.len()).rev() {
            strides[axis - 1] = usize::saturating_mul(strides[axis], shape[axis]);
        }
        let start = view.data().as_ptr().addr() - bytes.as_ptr().addr();
        (
            name.to_string(),
            Stored {
                element,
                shape,
                strides,
                offset: 0,
                place: start..start + view.data().len(),
                crc: 0,
            },
        )
    });
    Ok(TorchFile { tensors: tensors.collect(), calls: BTreeSet::new() })
}

/// Bytes in digits.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A float16 in float32.
pub(super) fn half(bits: u16) -> f32 {
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

    #[test]
    fn half_precision_is_read_exactly() {
        for (bits, value) in [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0001, 5.960_464_5e-8),
            (0x0400, 6.103_515_6e-5),
            (0x3555, 0.333_251_95),
        ] {
            assert_eq!(half(bits), value);
        }
        assert_eq!(half(0x8000).to_bits(), (-0.0_f32).to_bits());
        assert!(half(0x7c00).is_infinite() && half(0x7e00).is_nan());
    }
}
