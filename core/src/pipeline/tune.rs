//! Searching for the balancer that suits a run's validation split.

use burn::tensor::Device;

use super::balance::training_features;
use super::features::Features;
use crate::balance::{self, Tuning};
use crate::data::Split;
use crate::error::{Result, TrainError};
use crate::eval::GroupThresholds;
use crate::job::Job;
use crate::run::Run;
use crate::settings::Settings;
use crate::train::classifier_of;

/// Tries up to `candidates` ways of balancing stage 1's classifier on cached features, chooses on validation, and stores the results `tune`
/// (everything that was tried) and `tuned` (the settings that were chosen, for [`super::balance`]).
///
/// # Errors
/// An untrained run, a dataset without a validation split, unreadable images, [`crate::Error::Stopped`].
pub fn tune(run: &Run, settings: &Settings, candidates: usize, device: &Device, job: Job<'_>) -> Result<Tuning> {
    let _lock = run.lock()?;
    search(run, settings, candidates, device, job)
}

/// [`tune`] for who holds the run's lock.
pub(super) fn search(run: &Run, settings: &Settings, candidates: usize, device: &Device, job: Job<'_>) -> Result<Tuning> {
    let Settings { balance: settings, evaluation, .. } = settings;
    if run.dataset().split(Split::Validation).is_empty() {
        let reason = "tuning needs a validation split, and this dataset has none; build it with --validation 0.1 and train on that";
        return Err(TrainError::Request(reason.into()).into());
    }
    let start = run.checkpoint(run.stage1_checkpoint())?;
    let classifier = classifier_of(&start)?;
    let thresholds = GroupThresholds::from(evaluation);
    let features = Features::new(run, &start, device);
    let train = training_features(&features, settings.augmented_views, job)?;
    let validation = features.of(Split::Validation, evaluation.flip, job)?;
    let counts = &start.train_counts;
    let mut tuning = balance::tune(&classifier, &train, &validation, counts, settings, thresholds, start.seed, candidates, job)?;
    // What was found is to be used as it is, not searched for again.
    tuning.best.tune_candidates = 0;
    run.write_result("tune", &tuning)?;
    run.write_result("tuned", &tuning.best)?;
    Ok(tuning)
}
