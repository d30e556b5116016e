//! What a trained classifier can be exported as: what is written, and how it is read back to be
//! checked.

use std::path::Path;

use onnx_ir::ModelProto;
use protobuf::Message;
use serde_json::Value;

use super::joined::{self, JoinedSource};
use super::runtimes::say_zeros;
use super::variants::{Variant, to_half, to_int8};
use super::{ExportSource, graph};
use crate::error::Result;
use crate::infer::{OnnxClassifier, Outputs};
use crate::model::weights;
use crate::onnx::{DIGEST, LOGITS, PROBABILITIES, digest, remove_unused};

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

    /// Whether the file gives logits, which are compared more closely than probabilities can be.
    fn gives_logits(&self) -> bool {
        true
    }

    /// Whether the file computes what the network does, but for rounding in float32. Of the others it
    /// is only checked here that they give numbers; what they lose is measured by class.
    fn is_exact(&self) -> bool {
        true
    }

    /// What to write behind a file that was checked, for it to say so; nothing where there is no
    /// place for it.
    ///
    /// # Errors
    /// A sentence that says why it cannot be written.
    fn passed(&self, _check: &Value) -> Result<Vec<u8>, String> {
        Ok(Vec::new())
    }
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
pub static TARGETS: [&dyn ExportTarget; 1] = [&Onnx::BOTH];

/// What an exported file gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnnxOutputs {
    /// `probabilities`, then `logits`.
    #[default]
    Both,
    /// `probabilities` alone: for programs that take the last output if none is named, as OpenCV 4.
    Probabilities,
    /// `logits` alone.
    Logits,
}

/// One ONNX file that holds its preprocessing and its labels. It is read back by tract.
#[derive(Clone, Copy, Debug)]
pub struct Onnx<'a> {
    /// What it gives.
    pub outputs: OnnxOutputs,
    /// The form of its graph.
    pub variant: Variant,
    /// Images to measure the ranges of values on, `[3, side, side]` RGB bytes each; only for
    /// [`Variant::Int8`].
    pub calibration: &'a [Vec<u8>],
}

impl Onnx<'static> {
    /// In float32, with both outputs.
    pub const BOTH: Self =
        Self { outputs: OnnxOutputs::Both, variant: Variant::Float32, calibration: &[] };
}

impl ExportTarget for Onnx<'_> {
    fn name(&self) -> &'static str {
        "onnx"
    }

    fn extension(&self) -> &'static str {
        "onnx"
    }

    fn make(&self, model: ExportModel<'_>) -> Result<Artifact, String> {
        let (mut made, side) = match model {
            ExportModel::Network(source) => {
                let weights = weights(&source.network);
                (graph::build(source, weights, self.variant)?, source.config.input_size)
            }
            ExportModel::Joined(source) => {
                (joined::build(source, self.variant)?, source.config.input_size)
            }
        };
        match self.variant {
            Variant::Float16 => to_half(&mut made)?,
            Variant::Int8 => to_int8(&mut made, self.calibration, side)?,
            _ => {}
        }
        only(self.outputs, &mut made);
        sign(&mut made)?;
        say_zeros(made.graph.mut_or_insert_default());
        let opset = opset(&made);
        Ok(Artifact { bytes: made.write_to_bytes().map_err(|error| error.to_string())?, opset })
    }

    fn read_back(&self, path: &Path) -> Result<Box<dyn ReadBack>> {
        Ok(Box::new(OnnxClassifier::load(path)?))
    }

    fn gives_logits(&self) -> bool {
        self.outputs != OnnxOutputs::Probabilities
    }

    fn is_exact(&self) -> bool {
        self.variant.is_exact()
    }

    fn passed(&self, check: &Value) -> Result<Vec<u8>, String> {
        // Messages one behind the other are one message with the entries of all.
        let mut more = ModelProto::new();
        more.metadata_props.push(Default::default());
        more.metadata_props[0].key = "self_check".into();
        more.metadata_props[0].value = check.to_string();
        more.write_to_bytes().map_err(|error| error.to_string())
    }
}

/// The operator set of ONNX's own operations.
fn opset(model: &ModelProto) -> i64 {
    model.opset_import.first().map_or(0, |opset| opset.version)
}

/// Has a file say what its graph is, so that it is known whether it is still that.
fn sign(model: &mut ModelProto) -> Result<(), String> {
    model.metadata_props.push(Default::default());
    let last = model.metadata_props.len() - 1;
    model.metadata_props[last].value = digest(&model.graph)?;
    model.metadata_props[last].key = DIGEST.into();
    Ok(())
}

/// Leaves out the outputs that are not wanted, and what only they need.
fn only(outputs: OnnxOutputs, model: &mut ModelProto) {
    let wanted = match outputs {
        OnnxOutputs::Both => None,
        OnnxOutputs::Probabilities => Some(PROBABILITIES),
        OnnxOutputs::Logits => Some(LOGITS),
    };
    let graph = model.graph.mut_or_insert_default();
    graph.output.retain(|output| wanted.is_none_or(|wanted| output.name == wanted));
    remove_unused(graph);
}

impl ReadBack for OnnxClassifier {
    fn run(&self, images: &[Vec<u8>]) -> Result<Outputs> {
        OnnxClassifier::run(self, images)
    }
}
