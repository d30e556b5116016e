//! What a trained classifier can be exported as: what is written, and how it is read back to be
//! checked.

use std::path::Path;

use super::joined::{self, JoinedSource};
use super::{ExportSource, graph};
use crate::error::Result;
use crate::infer::{OnnxClassifier, Outputs};
use crate::model::weights;

/// A classifier to export.
#[derive(Clone, Copy, Debug)]
pub enum ExportModel<'a> {
    /// One of the program's networks.
    Network(&'a ExportSource),
    /// A feature extractor out of an ONNX file, and the classifier behind it. The new file has the
    /// operator set of the old one.
    Joined(&'a JoinedSource<'a>),
}

impl<'a> From<&'a ExportSource> for ExportModel<'a> {
    fn from(source: &'a ExportSource) -> Self {
        ExportModel::Network(source)
    }
}

impl<'a> From<&'a JoinedSource<'a>> for ExportModel<'a> {
    fn from(source: &'a JoinedSource<'a>) -> Self {
        ExportModel::Joined(source)
    }
}

/// What is to be written.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// The file's bytes.
    pub bytes: Vec<u8>,
    /// ONNX operator set.
    pub opset: i64,
}

/// A form that classifiers are exported in. A new one is a struct with this trait and an entry in
/// [`TARGETS`]; writing, checking on real images, and replacing what was there only by what passed
/// are the same for all.
pub trait ExportTarget: Sync {
    /// Its name: `onnx`.
    fn name(&self) -> &'static str;

    /// What file names end in, without a dot.
    fn extension(&self) -> &'static str;

    /// Makes the file.
    ///
    /// # Errors
    /// A sentence that says why the classifier cannot be written so.
    fn make(&self, model: ExportModel<'_>) -> Result<Artifact, String>;

    /// Reads a written file in a runtime that had no part in writing it.
    ///
    /// # Errors
    /// [`ModelError::File`](crate::error::ModelError::File) if it cannot be run.
    fn read_back(&self, path: &Path) -> Result<Box<dyn ReadBack>>;
}

/// An exported file that was read back.
pub trait ReadBack: Sync {
    /// Logits and probabilities of images as [`crate::images::to_input`] makes them, one row an
    /// image.
    ///
    /// # Errors
    /// [`ModelError::File`](crate::error::ModelError::File) if the runtime fails.
    fn run(&self, images: &[Vec<u8>]) -> Result<Outputs>;
}

/// Every form.
pub static TARGETS: [&dyn ExportTarget; 1] = [&Onnx];

/// One ONNX file that holds its preprocessing and its labels. It is read back by tract.
#[derive(Clone, Copy, Debug)]
pub struct Onnx;

impl ExportTarget for Onnx {
    fn name(&self) -> &'static str {
        "onnx"
    }

    fn extension(&self) -> &'static str {
        "onnx"
    }

    fn make(&self, model: ExportModel<'_>) -> Result<Artifact, String> {
        let (bytes, opset) = match model {
            ExportModel::Network(source) => graph::build(source, weights(&source.network))?,
            ExportModel::Joined(source) => joined::build(source)?,
        };
        Ok(Artifact { bytes, opset })
    }

    fn read_back(&self, path: &Path) -> Result<Box<dyn ReadBack>> {
        Ok(Box::new(OnnxClassifier::load(path)?))
    }
}

impl ReadBack for OnnxClassifier {
    fn run(&self, images: &[Vec<u8>]) -> Result<Outputs> {
        OnnxClassifier::run(self, images)
    }
}
