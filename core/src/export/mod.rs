//! Export: one ONNX file that holds its preprocessing and its labels, checked before it takes its
//! name.

mod calibration;
mod check;
mod clip;
mod fold;
mod graph;
mod joined;
mod metadata;
mod nodes;
mod runtimes;
mod target;
#[cfg(test)]
mod tests;
mod variants;

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::error::{ModelError, Result};
use crate::eval::Verdict;
use crate::files;
use crate::job::Job;
use crate::model::{Network, NetworkConfig, weights};
use crate::source::Split;
use crate::words::ImageFit;
pub use calibration::Calibration;
use graph::Normalized;
pub use joined::JoinedSource;
pub use target::{Artifact, ExportModel, ExportTarget, Onnx, OnnxOutputs, ReadBack, TARGETS};
#[cfg(test)]
pub(crate) use tests::test_model;
pub use variants::Variant;

/// What is exported.
#[derive(Clone, Debug)]
pub struct ExportSource {
    /// The trained network, on any device. It is only read.
    pub network: Network,
    /// What the network was made from.
    pub config: NetworkConfig,
    /// Mean of the training images per channel, RGB in 0..1.
    pub mean: [f32; 3],
    /// Standard deviation of the training images per channel, RGB in 0..1.
    pub std: [f32; 3],
    /// How images become the square input.
    pub fit: ImageFit,
    /// What the logits are divided by for the probabilities, T of Guo et al., *On Calibration of
    /// Modern Neural Networks*, ICML 2017; nothing for the logits' own softmax.
    pub temperature: Option<f32>,
    /// Class names, in label order.
    pub classes: Vec<String>,
    /// What the file should say about its training, by key of its metadata. Null is left out, and
    /// what is no text becomes JSON.
    pub says: Vec<(&'static str, serde_json::Value)>,
}

/// What was written, and how well it agrees with the network it came from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExportReport {
    /// The file.
    pub path: PathBuf,
    /// Share of the check images to which the file gives the network's most probable class, in
    /// 0..1.
    pub top1_agreement: f64,
    /// Largest absolute difference of logits over the check images.
    pub max_abs_diff: f32,
    /// Largest absolute difference of probabilities over the check images.
    pub max_abs_diff_probabilities: f32,
    /// Number of images the check ran on.
    pub images: usize,
    /// Size of the file.
    pub bytes: u64,
    /// ONNX operator set.
    pub opset: i64,
    /// Side of the square input in pixels.
    pub input_size: usize,
    /// How images become it.
    #[serde(default, skip_serializing_if = "ImageFit::is_usual")]
    pub fit: ImageFit,
    /// Number of classes.
    pub classes: usize,
    /// The checkpoint that was exported: `last`, `best` or `balanced`; nothing in reports of older
    /// versions.
    #[serde(default)]
    pub checkpoint: String,
    /// What the checkpoint is worth that was exported, where it was ever evaluated. The check above
    /// says nothing of it: a file can agree with a network that knows nothing.
    #[serde(default)]
    pub verdict: Option<Verdict>,
    /// What the classifier learned from once more before it was exported, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refit: Option<Refit>,
    /// How far the file's probabilities can be believed, where that is known; nothing in reports of
    /// older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
}

/// A classifier that learned once more, from all images, after it was measured on those held out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refit {
    /// Images that it learned from in the end.
    pub images: usize,
    /// Those of them that had been held out before.
    pub held_out: usize,
    /// Whether validation images are among these.
    pub validation: bool,
    /// Whether test images are among these.
    pub test: bool,
}

impl Refit {
    /// Whether the classifier has learned from a split.
    pub fn includes(&self, split: Split) -> bool {
        match split {
            Split::Train => true,
            Split::Validation => self.validation,
            Split::Test => self.test,
        }
    }
}

impl ExportReport {
    /// The number of check images to which the file gives the network's most probable class.
    pub fn agreeing(&self) -> usize {
        (self.top1_agreement * self.images as f64).round() as usize
    }
}

/// Writes a classifier in the form of `target` and checks the file.
///
/// As [`Onnx`], the file takes `images`, float32 `[batch, 3, H, W]`, RGB in 0..1, any batch, or what
/// its [`Variant`] says; it normalises them itself and gives `probabilities` and `logits`, both `[batch, classes]`. Its
/// metadata holds the class names (`class_names` and Hugging Face's `id2label` as JSON, `names` in
/// Ultralytics' form), how an image becomes an input (`preprocess`), and what the source says.
///
/// It is then read back and run on `checks`, images as [`crate::images::to_input`] makes them
/// (`[3, side, side]`, RGB bytes), and compared with the network as the program computes it, in
/// float32 on the CPU: GPUs may round convolutions more coarsely than the check allows. Only a file
/// that passes replaces what `path` held before.
///
/// # Errors
/// [`ModelError::Disagrees`] if the file does not reproduce the network, [`ModelError::Export`] if
/// the network cannot be written so or the request makes no sense, [`ModelError::File`] if
/// `path` cannot be written, [`crate::Error::Stopped`] if asked to stop.
pub fn export<'a>(
    model: impl Into<ExportModel<'a>>,
    target: &dyn ExportTarget,
    path: &Path,
    checks: &[Vec<u8>],
    job: Job<'_>,
) -> Result<ExportReport> {
    let model = model.into();
    let (config, mean, std, fit, classes, temperature) = match model {
        ExportModel::Network(s) => (&s.config, s.mean, s.std, s.fit, &s.classes, s.temperature),
        ExportModel::Joined(s) => (&s.config, s.mean, s.std, s.fit, &s.classes, s.temperature),
    };
    validate(config, mean, std, classes, checks).map_err(ModelError::Export)?;
    let temperature = temperature.unwrap_or(1.0);
    if !(temperature.is_normal() && temperature > 0.0) {
        let reason = format!("a temperature of {temperature} is not usable");
        return Err(ModelError::Export(reason).into());
    }
    let place = files::destination(path).map_err(|error| ModelError::file(path, error))?;
    job.phase("exporting", None, "files");
    let artifact = target.make(model).map_err(ModelError::Export)?;
    job.check()?;
    let reference: &dyn Reference = match model {
        ExportModel::Network(source) => &Normalized::copy(source, weights(&source.network))
            .map_err(ModelError::Export)?
            .prepared(config.input_size),
        ExportModel::Joined(source) => source,
    };
    let write = |file: &mut std::io::BufWriter<&mut std::fs::File>| file.write_all(&artifact.bytes);
    let check = |temporary: &Path| {
        let file = target.read_back(temporary).map_err(Failure::Check)?;
        let agreement = check::compare(&*file, target, (reference, temperature), checks, job)
            .map_err(Failure::Check)?;
        let passed = json!({
            "images": checks.len(),
            "same_class": agreement.top1,
            "largest_difference_of_logits": agreement.logits,
            "compared_with": "the network it was made of",
        });
        let passed = target
            .passed(&passed)
            .map_err(|reason| Failure::Check(ModelError::Export(reason).into()))?;
        std::fs::OpenOptions::new().append(true).open(temporary)?.write_all(&passed)?;
        Ok((agreement, artifact.bytes.len() + passed.len()))
    };
    match files::write_if(&place, write, check) {
        Ok((agreement, bytes)) => Ok(ExportReport {
            path: path.to_path_buf(),
            top1_agreement: agreement.top1,
            max_abs_diff: agreement.logits,
            max_abs_diff_probabilities: agreement.probabilities,
            images: checks.len(),
            bytes: bytes as u64,
            opset: artifact.opset,
            input_size: config.input_size,
            fit,
            classes: classes.len(),
            checkpoint: String::new(),
            refit: None,
            calibration: None,
            verdict: None,
        }),
        Err(Failure::Write(error)) => Err(ModelError::file(path, error).into()),
        // The temporary file is gone by now; the person knows the file by the name it should have
        // got.
        Err(Failure::Check(crate::Error::Model(ModelError::File { reason, .. }))) => {
            Err(ModelError::Disagrees(format!("it cannot be run: {reason}")).into())
        }
        Err(Failure::Check(error)) => Err(error),
    }
}

/// What a file has to agree with.
trait Reference {
    /// Logits of images as [`crate::images::to_input`] makes them, one row an image.
    fn logits(&self, images: &[Vec<u8>]) -> Result<Vec<Vec<f32>>>;
}

/// Why a file was not kept.
enum Failure {
    Write(std::io::Error),
    Check(crate::Error),
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Failure::Write(error)
    }
}

fn validate(
    config: &NetworkConfig,
    mean: [f32; 3],
    std: [f32; 3],
    classes: &[String],
    checks: &[Vec<u8>],
) -> Result<(), String> {
    if classes.len() != config.classes {
        return Err(format!(
            "the network has {} classes and {} are named",
            config.classes,
            classes.len()
        ));
    }
    if !mean.iter().all(|mean| mean.is_finite())
        || !std.iter().all(|std| std.is_finite() && *std > 0.0)
    {
        return Err(format!(
            "the normalisation is not usable: mean {mean:?}, standard deviation {std:?}"
        ));
    }
    let length = 3 * config.input_size * config.input_size;
    match checks.iter().find(|image| image.len() != length) {
        Some(image) => {
            Err(format!("a check image has {} values and the input {length}", image.len()))
        }
        None if checks.is_empty() => Err("there is no image to check the export with".into()),
        None => Ok(()),
    }
}
