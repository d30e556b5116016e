//! ONNX files from any source: read, checked, and made ready to be run by tract.
//!
//! [`crate::infer`] runs classifiers with it and [`crate::model`] feature extractors.

mod digest;
mod file;
pub(crate) mod fit;
mod half;
mod interface;
pub(crate) mod labels;
mod operations;
mod sizes;
mod unused;

pub(crate) use digest::{DIGEST, digest};
pub(crate) use file::{metadata, parse, read_bytes, shown};
pub(crate) use interface::{INPUT, LOGITS, PROBABILITIES, TEMPERATURE, temperature};
pub(crate) use sizes::{MAX_VALUES, largest, runnable, typed};
pub(crate) use unused::remove_unused;

use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::{InferenceModel, TractError};

/// The graph of a file that was checked, before anything is known of its sizes.
///
/// # Errors
/// A sentence, if an operation has attributes that it cannot have.
pub(crate) fn graph(file: &ModelProto) -> Result<InferenceModel, String> {
    // What a file says about the values inside it may be wrong, and is only true for the batch that
    // it was made with.
    let tract = tract_onnx::onnx().with_ignore_value_info(true).with_ignore_output_shapes(true);
    tract.parse(&half::widened(file), None).map(|parsed| parsed.model).map_err(reason)
}

/// The innermost reason of a tract error: the outer ones repeat whole operations.
pub(crate) fn reason(error: TractError) -> String {
    first_line(&error.root_cause().to_string())
}

/// The first line of what a runtime says, of a length that can be read.
pub(crate) fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(300).collect()
}
