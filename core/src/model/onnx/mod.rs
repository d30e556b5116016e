//! Feature extractors out of ONNX files: networks that others trained, used as they are, run by
//! tract.
//!
//! A run keeps a copy of the file. Its checkpoint says by a hash which file that has to be and how
//! features are taken of it ([`OnnxBackbone`]), and holds no more than the classifier's weights.

mod backbone;
mod engine;
mod file;
mod graph;
mod input;
mod normalisation;
mod output;
#[cfg(feature = "onnxruntime")]
mod runtime;
#[cfg(test)]
pub(crate) mod test_files;
#[cfg(test)]
mod tests;
mod trial;

pub use backbone::{OnnxBackbone, Taken};
pub use file::{FeatureChoice, OnnxFile, OnnxFound};
pub use graph::FeatureGraph;
pub(crate) use input::SIDES;
pub(crate) use trial::try_backbone;
