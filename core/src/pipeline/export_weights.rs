//! A network's weights by themselves, for PyTorch.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use safetensors::serialize;
use safetensors::tensor::{Dtype, TensorView};
use serde::Serialize;

use super::export::{Exported, learned};
use crate::error::{ModelError, Result};
use crate::export::Refit;
use crate::files::{destination, write_atomically};
use crate::job::Job;
use crate::onnx::fit::FIT;
use crate::run::Run;

/// What was written.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WeightsReport {
    /// The file.
    pub path: PathBuf,
    /// The name of the backbone.
    pub backbone: String,
    /// Tensors in it.
    pub tensors: usize,
    /// Its size.
    pub bytes: u64,
    /// What the classifier learned from once more before, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refit: Option<Refit>,
}

/// Writes the weights of a checkpoint of a run (its final one without a name) as a safetensors file
/// under the names that torchvision gives them, with the running statistics, so that
/// `load_state_dict(…, strict=True)` takes them; those of EfficientNet-Lite are its PyTorch package's
/// without the underscores in front. Where the backbone
/// is an ONNX file they are those of the classifier alone, `fc.weight` and `fc.bias`. The metadata
/// holds class names, the normalisation of images and, where it is not their largest centred square,
/// what of them goes in (`fit`).
///
/// # Errors
/// No such checkpoint, or a `path` that cannot be written.
pub fn export_weights(
    run: &Run,
    what: Exported<'_>,
    path: &Path,
    job: Job<'_>,
) -> Result<WeightsReport> {
    let name = what.checkpoint.unwrap_or_else(|| run.final_checkpoint());
    let (checkpoint, refit) = learned(run, what, (name, run.checkpoint(name)?), job)?;
    job.phase("exporting", None, "files");
    let backbone = run.settings().model.backbone.name();
    let failed = |reason: String| ModelError::file(path, reason);
    let mut tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
    for tensor in checkpoint.weights {
        // PyTorch counts the batches of every batch norm, and misses the count where it is not.
        if let Some(of) = tensor.name.strip_suffix(".running_var") {
            let none = 0i64.to_le_bytes().to_vec();
            tensors.push((format!("{of}.num_batches_tracked"), Dtype::I64, Vec::new(), none));
        }
        let bytes = tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect();
        tensors.push((tensor.name, Dtype::F32, tensor.shape, bytes));
    }
    let views = tensors
        .iter()
        .map(|(name, kind, shape, bytes)| {
            Ok((name.as_str(), TensorView::new(*kind, shape.clone(), bytes)?))
        })
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
        .map_err(|error| failed(error.to_string()))?;
    let mut metadata = HashMap::from([
        ("format".to_string(), "pt".to_string()),
        ("backbone".into(), backbone.clone()),
        ("checkpoint".into(), name.to_string()),
        ("class_names".into(), serde_json::json!(checkpoint.classes).to_string()),
        ("mean".into(), serde_json::json!(checkpoint.mean).to_string()),
        ("std".into(), serde_json::json!(checkpoint.std).to_string()),
    ]);
    if !checkpoint.fit.is_usual() {
        metadata.insert(FIT.into(), checkpoint.fit.name().into());
    }
    if let Some(refit) = refit {
        metadata.insert("refit".into(), serde_json::json!(refit).to_string());
    }
    let file = serialize(views, Some(metadata)).map_err(|error| failed(error.to_string()))?;
    let file = with_sorted_header(&file).ok_or_else(|| failed("its header is damaged".into()))?;
    destination(path)
        .and_then(|place| write_atomically(&place, |out| out.write_all(&file)))
        .map_err(|error| failed(error.to_string()))?;
    Ok(WeightsReport {
        path: path.to_path_buf(),
        backbone,
        tensors: tensors.len(),
        bytes: file.len() as u64,
        refit,
    })
}

/// A safetensors file whose metadata stand in order: the same weights are the same bytes.
fn with_sorted_header(file: &[u8]) -> Option<Vec<u8>> {
    let (length, rest) = file.split_first_chunk::<8>()?;
    let (header, tensors) =
        rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    let header: serde_json::Value = serde_json::from_slice(header).ok()?;
    let mut header = header.to_string().into_bytes();
    // Tensors begin at a multiple of eight.
    header.resize(header.len().next_multiple_of(8), b' ');
    Some([&(header.len() as u64).to_le_bytes(), header.as_slice(), tensors].concat())
}
