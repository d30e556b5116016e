//! The feature extractor of a run, where its settings name an ONNX file.

use std::io::Write;
use std::path::Path;

use crate::error::{Result, RunError};
use crate::files::write_atomically;
use crate::model::{OnnxFile, Taken};
use crate::settings::{Auto, Normalisation, Settings, Tokens};

/// Reads the file that the settings name, if they do, and has them hold what it and what lies
/// beside it say, so that the run needs neither again.
///
/// # Errors
/// [`crate::error::ModelError::File`] if features cannot be taken of it.
pub(super) fn settle(settings: &mut Settings) -> Result<Option<OnnxFile>> {
    let model = &mut settings.model;
    let Some(path) = model.backbone.file() else { return Ok(None) };
    let file = OnnxFile::read(path)?;
    let found = file.choose(model.feature_choice())?;
    model.normalisation = Normalisation::Fixed { mean: found.mean, std: found.std };
    model.input_size = Auto::Value(found.graph.side());
    model.output = found.graph.output().to_string();
    match found.graph.backbone().taken {
        Taken::ClassToken => model.tokens = Tokens::Class,
        Taken::TokenMean => model.tokens = Tokens::Mean,
        Taken::Vector | Taken::Pixels | Taken::PixelsLast => {}
    }
    Ok(Some(file))
}

/// Keeps a copy of the file.
///
/// # Errors
/// [`RunError::File`] if it cannot be written; nothing of it is there then.
pub(super) fn keep(file: &OnnxFile, path: &Path) -> Result<()> {
    Ok(write_atomically(path, |out| out.write_all(file.bytes()))
        .map_err(|error| RunError::file(path, error))?)
}
