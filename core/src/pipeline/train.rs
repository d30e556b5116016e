//! Training a dataset into a run folder.

use std::path::Path;

use burn::tensor::Device;
use serde::Serialize;

use super::evaluate::{RunEvaluation, evaluate, reporting_split};
use crate::data::{Dataset, Split};
use crate::error::{Result, RunError};
use crate::job::Job;
use crate::run::Run;
use crate::settings::Settings;
use crate::train;

/// What to train, and where.
#[derive(Clone, Debug)]
pub struct TrainRequest<'a> {
    /// A dataset manifest or any source; needed unless the run exists.
    pub dataset: Option<&'a Path>,
    /// The run folder.
    pub run: &'a Path,
    /// The settings of a new run; for a run that exists they must be its own, apart from `stage1.parts`, or `None`.
    pub settings: Option<Settings>,
    /// Go on where the run was interrupted, or begin if there is nothing yet.
    pub resume: bool,
}

/// What training ended with.
#[derive(Clone, Debug, Serialize)]
pub struct TrainReport {
    /// The run folder.
    pub run: String,
    /// The device, as `--device` names it.
    pub device: String,
    /// The evaluation of the checkpoint stage 1 ends with, where there is a split to evaluate on.
    #[serde(flatten)]
    pub evaluation: Option<RunEvaluation>,
}

/// Trains stage 1 into a run folder, and evaluates the result.
///
/// # Errors
/// A run that exists without `resume`, other settings than the run's own, and whatever [`train::train`] meets.
pub fn train(request: &TrainRequest<'_>, device: &Device, device_name: &str, job: Job<'_>) -> Result<TrainReport> {
    let mut run = open(request, job)?;
    train::train(&mut run, device, job)?;
    let evaluation = match reporting_split(&run) {
        Ok(split) => {
            let settings = &run.settings().evaluation;
            let checkpoint = Some(run.stage1_checkpoint());
            // What is looked at while choosing is kept besides what is reported.
            if split != Split::Validation && !run.dataset().split(Split::Validation).is_empty() {
                evaluate(&run, checkpoint, Some(Split::Validation), settings, device, job)?;
            }
            Some(evaluate(&run, checkpoint, Some(split), settings, device, job)?)
        }
        Err(_) => {
            job.warn("the dataset has neither a test nor a validation split, so nothing was evaluated");
            None
        }
    };
    Ok(TrainReport { run: request.run.display().to_string(), device: device_name.to_string(), evaluation })
}

fn open(request: &TrainRequest<'_>, job: Job<'_>) -> Result<Run> {
    let folder_error = |reason: &str| RunError::Folder { path: request.run.to_path_buf(), reason: reason.into() };
    if Run::is_run(request.run) {
        if !request.resume {
            return Err(folder_error("already holds a run; resume it, or choose another folder").into());
        }
        let mut run = Run::open(request.run)?;
        if let Some(settings) = &request.settings {
            let mut known = run.settings().clone();
            known.stage1.parts = settings.stage1.parts;
            if *settings != known {
                return Err(folder_error("was made with other settings; resume without settings, or choose another folder").into());
            }
            if known != *run.settings() {
                run.compute_in_parts(known.stage1.parts)?;
            }
        }
        if let Some(source) = request.dataset {
            let is_manifest = source.is_file() && source.extension().is_some_and(|e| e.eq_ignore_ascii_case("toml"));
            if is_manifest && !Dataset::load(source)?.same_samples(run.dataset()) {
                return Err(folder_error("was made with another dataset; resume without one, or choose another folder").into());
            }
        }
        return Ok(run);
    }
    let Some(source) = request.dataset else {
        return Err(folder_error("holds no run, and no dataset was given to make one from").into());
    };
    let dataset = Dataset::open(source, job)?;
    let settings = request.settings.clone().unwrap_or_else(|| Settings::preset(crate::settings::Preset::Quick));
    Run::create(request.run, settings, dataset)
}
