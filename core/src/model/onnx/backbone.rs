//! Which file a run's features come from, and how they are taken of it.

use std::fmt;
use std::str::FromStr;

/// How the features of an image are taken of what a graph gives for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Taken {
    /// `[1, F]`, as they are.
    Vector,
    /// `[1, F, h, w]`, the mean over its pixels.
    Pixels,
    /// `[1, h, w, F]`, the mean over its pixels.
    PixelsLast,
    /// `[1, T, F]`, the first token.
    ClassToken,
    /// `[1, T, F]`, the mean over all tokens.
    TokenMean,
}

impl Taken {
    const ALL: [Taken; 5] =
        [Taken::Vector, Taken::Pixels, Taken::PixelsLast, Taken::ClassToken, Taken::TokenMean];

    fn name(self) -> &'static str {
        match self {
            Taken::Vector => "vector",
            Taken::Pixels => "pixels",
            Taken::PixelsLast => "pixels-last",
            Taken::ClassToken => "class",
            Taken::TokenMean => "mean",
        }
    }

    /// What is taken, in words that follow "features are".
    pub fn words(self) -> &'static str {
        match self {
            Taken::Vector => "the values",
            Taken::Pixels | Taken::PixelsLast => "the mean over the pixels",
            Taken::ClassToken => "the first token (the class token)",
            Taken::TokenMean => "the mean over the tokens",
        }
    }
}

/// A feature extractor out of an ONNX file, as checkpoints name it. Its text is
/// `onnx:1280:57.0:vector:…` with the number of features, the value of the graph that they are
/// taken of, how they are, and the file's hash.
///
/// ```
/// use counterweight_core::model::{OnnxBackbone, Taken};
/// let backbone = OnnxBackbone { features: 768, node: 57, slot: 0, taken: Taken::ClassToken, blake3: [0x2a; 32] };
/// assert!(backbone.to_string().starts_with("onnx:768:57.0:class:2a2a"));
/// assert_eq!(backbone.to_string().parse(), Ok(backbone));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OnnxBackbone {
    /// Length F of the feature vector.
    pub features: u32,
    /// The operation whose result features are taken of, by its place in the graph.
    pub node: u32,
    /// Which of its results.
    pub slot: u16,
    /// How they are taken.
    pub taken: Taken,
    /// BLAKE3 of the file.
    pub blake3: [u8; 32],
}

impl fmt::Display for OnnxBackbone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { features, node, slot, taken, blake3 } = self;
        write!(
            f,
            "onnx:{features}:{node}.{slot}:{}:{}",
            taken.name(),
            blake3::Hash::from_bytes(*blake3).to_hex()
        )
    }
}

impl FromStr for OnnxBackbone {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(':').collect();
        let read = || -> Option<Self> {
            let ["onnx", features, place, taken, hash] = parts[..] else { return None };
            let (node, slot) = place.split_once('.')?;
            Some(Self {
                features: features.parse().ok().filter(|&features| features > 0)?,
                node: node.parse().ok()?,
                slot: slot.parse().ok()?,
                taken: Taken::ALL.into_iter().find(|known| known.name() == taken)?,
                blake3: *blake3::Hash::from_hex(hash).ok()?.as_bytes(),
            })
        };
        read().ok_or_else(|| format!("`{text}` names no feature extractor out of an ONNX file"))
    }
}
