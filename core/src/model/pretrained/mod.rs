//! Pretrained weights: in the program, downloaded from their publisher, or added by hand.

mod archive;
mod download;
mod file;
mod fit;
mod get;
mod listed;
mod published;
mod store;
#[cfg(test)]
mod tests;
mod torch;

use std::borrow::Cow;
use std::path::PathBuf;

use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use serde::{Deserialize, Serialize};

use super::Backbone;
use super::weights::NamedTensor;
use crate::words::Stem;

pub use file::WeightsFile;
pub use fit::Fit;
pub use get::{Addition, Kept, downloads};
pub use listed::{Listed, Offered};
pub use published::Published;
pub use store::WeightsFolder;

/// Mean of ImageNet's normalisation, of channels in 0..1.
const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
/// Standard deviation of ImageNet's normalisation.
const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];
/// Side of the square input that networks are mostly trained with on ImageNet.
const IMAGENET_SIDE: usize = 224;

/// Weights that come with the program.
#[derive(Debug)]
pub struct BuiltIn {
    /// The file's name, for error messages.
    pub file: &'static str,
    /// A safetensors file of float16 and float32 tensors under the family's names, without a
    /// classifier.
    pub bytes: &'static [u8],
    /// BLAKE3 of the file, hexadecimal.
    pub blake3: &'static str,
    /// What has to be known to use them.
    pub facts: Facts,
}

/// What is known of a set of weights, and has to be known to use it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// What they were trained on, where that is known.
    pub data: Option<Cow<'static, str>>,
    /// Share of ImageNet's validation images that the weights classify correctly with their own
    /// classifier, in 0..1, where that is known.
    pub top1: Option<f64>,
    /// Where they come from: an address or a file.
    pub source: Cow<'static, str>,
    /// SHA-256 of the file that they come from, hexadecimal.
    pub sha256: Option<Cow<'static, str>>,
    /// Their licence, where that is known.
    pub licence: Option<Cow<'static, str>>,
    /// The layers before the first stage that they have, where the backbone leaves a choice.
    pub stem: Option<Stem>,
    /// Side of the square input that they are used with, in pixels, unless another is asked for.
    pub side: usize,
    /// Mean of the input's normalisation, of channels in 0..1.
    pub mean: [f32; 3],
    /// Standard deviation of the input's normalisation.
    pub std: [f32; 3],
}

impl Facts {
    /// With ImageNet's normalisation and side, and no more known than that.
    pub fn imagenet(source: impl Into<Cow<'static, str>>) -> Self {
        Self {
            data: None,
            top1: None,
            source: source.into(),
            sha256: None,
            licence: None,
            stem: None,
            side: IMAGENET_SIDE,
            mean: IMAGENET_MEAN,
            std: IMAGENET_STD,
        }
    }

    /// The licence as people are shown it.
    pub fn licence_words(&self) -> &str {
        self.licence.as_deref().unwrap_or("unknown")
    }
}

/// How weights came here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// With the program.
    BuiltIn,
    /// From the address of their publisher.
    Downloaded,
    /// By hand, out of a file.
    Added,
}

impl Origin {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Origin::BuiltIn => "built in",
            Origin::Downloaded => "downloaded",
            Origin::Added => "added",
        }
    }
}

/// A backbone's pretrained weights that are here, wherever they lie, and what has to be known to
/// use them.
#[derive(Clone, Debug)]
pub struct Pretrained {
    /// How they came here.
    pub origin: Origin,
    /// What has to be known to use them.
    pub facts: Facts,
    place: Place,
}

/// Where weights lie.
#[derive(Clone, Debug)]
enum Place {
    Program(&'static BuiltIn),
    File { path: PathBuf, blake3: String, bytes: u64 },
}

impl Pretrained {
    /// Those that come with the program.
    fn built_in(built_in: &'static BuiltIn) -> Self {
        Self {
            origin: Origin::BuiltIn,
            facts: built_in.facts.clone(),
            place: Place::Program(built_in),
        }
    }

    /// The weights, in float32, under the family's names and without a classifier.
    ///
    /// # Errors
    /// A sentence that names the file, if it is not the one it should be.
    pub fn weights(&self) -> Result<Vec<NamedTensor>, String> {
        match &self.place {
            Place::Program(built_in) => built_in.weights(),
            Place::File { path, blake3, .. } => store::read(path, blake3),
        }
    }

    /// Size of the file they lie in, in bytes.
    pub fn bytes(&self) -> u64 {
        match &self.place {
            Place::Program(built_in) => built_in.bytes.len() as u64,
            Place::File { bytes, .. } => *bytes,
        }
    }
}

impl BuiltIn {
    fn weights(&self) -> Result<Vec<NamedTensor>, String> {
        let damaged =
            |reason: String| format!("the pretrained weights {} are damaged: {reason}", self.file);
        if blake3::hash(self.bytes).to_hex().as_str() != self.blake3 {
            return Err(damaged("they are not the ones this program was made with".into()));
        }
        read_tensors(self.bytes).map_err(damaged)
    }
}

impl Backbone {
    /// Its pretrained weights: those that were downloaded or added, or else those that come with
    /// the program.
    ///
    /// # Errors
    /// A sentence: the weights are missing, and how to get them; or they are damaged.
    pub fn pretrained(self) -> Result<Pretrained, String> {
        self.pretrained_in(WeightsFolder::standard().as_ref())
    }

    /// [`Backbone::pretrained`] with those that were downloaded or added in this folder.
    ///
    /// # Errors
    /// As there.
    pub fn pretrained_in(self, folder: Option<&WeightsFolder>) -> Result<Pretrained, String> {
        let info = self.info();
        let kept = folder
            .map(|folder| folder.find(self))
            .transpose()
            .map_err(|error| error.to_string())?
            .flatten();
        if let Some(found) = kept.or_else(|| info.built_in.map(Pretrained::built_in)) {
            return Ok(found);
        }
        let none = format!("there are no pretrained weights for {self} here");
        Err(match info.published.first() {
            Some(published) => format!(
                "{none}; `counterweight backbones get {self}` downloads those of {}",
                published.publisher
            ),
            None => format!(
                "{none}; `counterweight backbones add {self} FILE` takes them from a file of PyTorch or safetensors"
            ),
        })
    }
}

/// Tensors of one of our own files, which hold float16 and float32. An error is a sentence.
fn read_tensors(bytes: &[u8]) -> Result<Vec<NamedTensor>, String> {
    let tensors = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let read = |(name, view): (&str, safetensors::tensor::TensorView<'_>)| {
        let values = match view.dtype() {
            Dtype::F16 => view
                .data()
                .as_chunks()
                .0
                .iter()
                .map(|bytes| file::half(u16::from_le_bytes(*bytes)))
                .collect(),
            Dtype::F32 => {
                view.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
            }
            other => return Err(format!("`{name}` holds {other:?}")),
        };
        Ok(NamedTensor { name: name.to_string(), shape: view.shape().to_vec(), values })
    };
    tensors.iter().map(read).collect()
}
