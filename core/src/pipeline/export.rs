//! Exporting a checkpoint of a run.

use std::path::Path;

use burn::tensor::Device;
use serde_json::{Value, json};

use super::calibration::{Believed, calibration, confidence_of};
use super::evaluate::{RunEvaluation, evaluation_of_file, reporting_split};
use super::export_facts::{calibrated, says};
use super::onnx_backbone::graph_of;
use super::refit::{REFIT, refit};
use super::spread::spread;
use crate::batches::{DEFAULT_BUDGET, Images};
use crate::dataset::{Dataset, DatasetSample};
use crate::error::{Error, Result, TrainError};
use crate::eval::Verdict;
use crate::export::{
    self, Calibration, ExportModel, ExportReport, ExportSource, ExportTarget, JoinedSource, Onnx,
    Refit,
};
use crate::images::InputShape;
use crate::job::Job;
use crate::model::{CLASSIFIER_BIAS, CLASSIFIER_WEIGHT, OnnxFile};
use crate::run::{Checkpoint, Run};
use crate::source::Split;
use crate::train::{classifier_in_file, network_of};

/// Real images the exported file is checked on: one by itself, and a batch.
const CHECKED: usize = 33;

/// What of a run is exported.
#[derive(Clone, Copy, Debug, Default)]
pub struct Exported<'a> {
    /// The checkpoint: `last`, `best` or `balanced`; without it the run's final one.
    pub checkpoint: Option<&'a str>,
    /// Whether the classifier learns once more before, from all images, those that were held out
    /// included, where that is possible; without it as the run was [made](super::make). See
    /// [`no_refit`](super::no_refit).
    pub refit: Option<bool>,
    /// Whether probabilities are the logits' own softmax. Otherwise logits are divided before by the
    /// temperature that makes probabilities fit on held-out images, where there are enough to find it.
    pub uncalibrated: bool,
}

/// Exports a checkpoint of a run as ONNX, checks the file on images of the run's dataset, and stores
/// the outcome as the result `export`.
///
/// # Errors
/// No such checkpoint, no readable image to check on, a classifier that cannot learn once more, and
/// whatever [`export::export`] meets.
pub fn export(run: &Run, what: Exported<'_>, path: &Path, job: Job<'_>) -> Result<ExportReport> {
    export_as(run, what, &Onnx::BOTH, path, job)
}

/// [`export()`] in the form of `target`.
///
/// # Errors
/// As there.
pub fn export_as(
    run: &Run,
    what: Exported<'_>,
    target: &dyn ExportTarget,
    path: &Path,
    job: Job<'_>,
) -> Result<ExportReport> {
    let report = Subject::of(run, what, job)?.write(target, path, job)?;
    run.keep_result("export", &report, job);
    Ok(report)
}

/// A checkpoint as it is exported: as it was measured, or having learned once more.
///
/// # Errors
/// A classifier that cannot learn once more and was asked to.
pub(super) fn learned(
    run: &Run,
    what: Exported<'_>,
    (name, measured): (&str, Checkpoint),
    job: Job<'_>,
) -> Result<(Checkpoint, Option<Refit>)> {
    if !what.refit.unwrap_or_else(|| run.read_result::<Refit>(REFIT).is_ok()) {
        return Ok((measured, None));
    }
    let again = match refit(run, (name, &measured), job) {
        // It was not asked for now.
        Err(error) if what.refit.is_none() && !matches!(error, Error::Stopped) => {
            job.warn(format!(
                "exported as it was measured, without learning from the held-out images: {error}"
            ));
            None
        }
        again => again?,
    };
    Ok(again.map_or((measured, None), |(again, from)| (again, Some(from))))
}

/// A checkpoint that is being exported, and what its files are checked on and say.
#[derive(Clone)]
pub(super) struct Subject<'a> {
    pub run: &'a Run,
    pub name: String,
    pub checkpoint: Checkpoint,
    /// How far its own probabilities can be believed, and the images that say so.
    confidence: Option<Believed>,
    /// Where the temperature goes.
    temperature: Temperature,
    checks: Vec<Vec<u8>>,
    pub evaluation: Option<RunEvaluation>,
    verdict: Option<Verdict>,
    /// What it learned from once more after it was measured, if it did, and what it was then.
    pub refit: Option<Refit>,
}

/// Where the temperature goes that makes probabilities fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Temperature {
    /// Nowhere.
    Nowhere,
    /// Between the logits and the probabilities.
    Probabilities,
    /// Into the classifier, so that logits are divided by it, too.
    Classifier,
}

impl<'a> Subject<'a> {
    /// Reads a checkpoint, the final one without a name, and images to check its files on.
    ///
    /// # Errors
    /// As [`export()`].
    pub fn of(run: &'a Run, what: Exported<'_>, job: Job<'_>) -> Result<Self> {
        let name = what.checkpoint.unwrap_or_else(|| run.final_checkpoint());
        let checkpoint = run.checkpoint(name)?;
        let split = reporting_split(run).unwrap_or(Split::Train);
        let samples = run.dataset().split(split);
        let some: Vec<&DatasetSample> =
            spread(samples.len(), CHECKED).map(|index| samples[index]).collect();
        let checks = inputs(run.dataset(), &some, checkpoint.input_shape(), job)?;
        let evaluation = evaluation_of_file(run, (name, &checkpoint), split, job)?;
        // Of what the file does, which may be less than what a run's results were averaged from.
        let verdict = evaluation.as_ref().and_then(|found| found.verdict.clone());
        let verdict = verdict.or_else(|| run.verdict_on(name, split)).or_else(|| run.verdict(name));
        // Images that it has learned from since would make it look surer than it is.
        let confidence = confidence_of(run, (name, &checkpoint), job)?;
        let is_fitting = confidence.as_ref().is_some_and(|(found, _)| found.reliable().is_some());
        let (checkpoint, refit) = learned(run, what, (name, checkpoint), job)?;
        Ok(Self {
            run,
            name: name.to_string(),
            checkpoint,
            temperature: match is_fitting && !what.uncalibrated {
                true => Temperature::Probabilities,
                false => Temperature::Nowhere,
            },
            confidence,
            checks,
            evaluation,
            verdict,
            refit,
        })
    }

    /// The same with the temperature in the classifier, whatever is known of how well it fits, so that
    /// logits are as sure as probabilities are.
    ///
    /// # Errors
    /// If it could not be found.
    pub fn calibrated(&self) -> Result<Self> {
        let (confidence, _) = self.confidence.as_ref().ok_or_else(|| {
            TrainError::Request("the temperature takes images that were held out".into())
        })?;
        let mut calibrated = self.clone();
        for tensor in &mut calibrated.checkpoint.weights {
            if [CLASSIFIER_WEIGHT, CLASSIFIER_BIAS].contains(&tensor.name.as_str()) {
                let divide = |value: &mut f32| *value /= confidence.temperature as f32;
                tensor.values.iter_mut().for_each(divide);
            }
        }
        calibrated.temperature = Temperature::Classifier;
        Ok(calibrated)
    }

    /// How far the file's probabilities can be believed.
    fn calibration(&self) -> Option<Calibration> {
        let (confidence, split) = self.confidence.as_ref()?;
        calibration(confidence, *split, self.temperature != Temperature::Nowhere)
    }

    /// Writes and checks a file.
    ///
    /// # Errors
    /// As [`export()`].
    pub fn write(
        &self,
        target: &dyn ExportTarget,
        path: &Path,
        job: Job<'_>,
    ) -> Result<ExportReport> {
        let temperature = match (self.temperature, &self.confidence) {
            (Temperature::Probabilities, Some((found, _))) => Some(found.temperature as f32),
            _ => None,
        };
        let mut report = match self.run.backbone_file() {
            None => {
                let source = ExportSource {
                    network: network_of(&self.checkpoint, &Device::flex())?,
                    config: self.checkpoint.config,
                    mean: self.checkpoint.mean,
                    std: self.checkpoint.std,
                    fit: self.checkpoint.fit,
                    temperature,
                    classes: self.checkpoint.classes.clone(),
                    says: self.says(),
                };
                export::export(&source, target, path, &self.checks, job)?
            }
            Some(file) => {
                let graph = graph_of(&self.checkpoint, Some(&file))?;
                if graph.takes_one() {
                    job.info(
                        "the file takes one image at a time, as the one does that its features come out of",
                    );
                }
                let source = JoinedSource {
                    file: &OnnxFile::read(&file)?,
                    graph,
                    classifier: classifier_in_file(&self.checkpoint)?,
                    name: self.run.settings().model.backbone.name(),
                    config: self.checkpoint.config,
                    mean: self.checkpoint.mean,
                    std: self.checkpoint.std,
                    fit: self.checkpoint.fit,
                    temperature,
                    classes: self.checkpoint.classes.clone(),
                    says: self.says(),
                };
                export::export(ExportModel::Joined(&source), target, path, &self.checks, job)?
            }
        };
        (report.checkpoint, report.verdict) = (self.name.clone(), self.verdict.clone());
        (report.refit, report.calibration) = (self.refit, self.calibration());
        Ok(report)
    }

    fn says(&self) -> Vec<(&'static str, Value)> {
        let evaluation = self.evaluation.as_ref();
        let (name, verdict) = (&self.name, self.verdict.as_ref());
        let mut says = says(self.run, &self.checkpoint, name, evaluation, verdict);
        if let Some(refit) = self.refit {
            says.push(("refit", json!(refit)));
        }
        if let Some(found) = self.calibration() {
            calibrated(&mut says, &found);
            if self.temperature == Temperature::Classifier {
                says.push(("temperature_inside", found.temperature.into()));
            }
        }
        says
    }
}

/// Samples of a dataset as the network's input takes them, those that can be read.
///
/// # Errors
/// If none can be read.
pub(super) fn inputs(
    dataset: &Dataset,
    samples: &[&DatasetSample],
    shape: InputShape,
    job: Job<'_>,
) -> Result<Vec<Vec<u8>>> {
    let chosen = only(dataset, samples);
    let images = Images::open(&chosen, Split::Test, shape, DEFAULT_BUDGET, job)?;
    let mut inputs = Vec::with_capacity(samples.len());
    for batch in images.eval_batches(CHECKED, false) {
        let size = 3 * shape.side * shape.side;
        inputs.extend(batch?.images.chunks_exact(size).map(<[u8]>::to_vec));
    }
    images.warn_of_problems(job);
    Ok(inputs)
}

/// The dataset with only these samples. They stand as test samples, of which no class needs any.
pub(super) fn only(dataset: &Dataset, samples: &[&DatasetSample]) -> Dataset {
    let chosen = samples
        .iter()
        .map(|sample| DatasetSample { split: Split::Test, ..(*sample).clone() })
        .collect();
    Dataset { samples: chosen, ..dataset.clone() }
}
