//! Searching for the balancer that suits a run's validation split.

use burn::tensor::Device;

use super::balance::{NoBatches, training_features};
use super::evaluate::{drawn, expected};
use super::features::Features;
use super::in_turn::{Purpose, Turns, judge_in_turn};
use crate::balance::{self, CachedBatches, Effort, FeatureBatches, Fold, Tuning};
use crate::classifier::Classifier;
use crate::error::{Result, TrainError};
use crate::eval::{self, Evidence, GroupThresholds, Verdict};
use crate::job::{Job, Silent};
use crate::run::{Checkpoint, Run};
use crate::settings::Settings;
use crate::source::Split;
use crate::train::classifier_of;

/// Tries ways of balancing stage 1's classifier on cached features, as many as `effort` allows, chooses on
/// validation (where the classifier alone was trained, on training and validation images held out
/// in turn), and stores the results `tune` (everything that was tried) and `tuned` (the settings
/// that were chosen, for [`super::balance`]).
///
/// # Errors
/// An untrained run, a dataset without a validation split, unreadable images,
/// [`crate::Error::Stopped`].
pub fn tune(
    run: &Run,
    settings: &Settings,
    effort: Effort,
    device: &Device,
    job: Job<'_>,
) -> Result<Tuning> {
    let _lock = run.lock()?;
    search(run, settings, effort, device, job)
}

/// [`tune`] for who holds the run's lock.
pub(super) fn search(
    run: &Run,
    settings: &Settings,
    effort: Effort,
    device: &Device,
    job: Job<'_>,
) -> Result<Tuning> {
    let all = settings;
    let Settings { balance: settings, evaluation, .. } = settings;
    let frozen = run.settings().stage1.is_frozen();
    if !frozen && run.dataset().split(Split::Validation).is_empty() {
        let reason = "tuning needs a validation split, and this dataset has none; build it with --validation 0.1 and train on that";
        return Err(TrainError::Request(reason.into()).into());
    }
    let start = run.checkpoint(run.stage1_checkpoint())?;
    let thresholds = GroupThresholds::from(evaluation);
    let features = Features::new(run, &start, device);
    let counts = &start.train_counts;
    let mut turns = None;
    let mut tuning = if frozen {
        let held = Turns::new(run, &start, &features, Purpose::Choose, evaluation.flip, job)?;
        let (folds, seed) = (held.folds(), start.seed);
        let mut tuning = balance::tune(&folds, counts, settings, thresholds, seed, effort, job)?;
        tuning.reason += &held.of_classes_never_held_out();
        // What it is worth is judged as it is learned.
        turns = Some(held).filter(|held| !evaluation.flip && !held.has_stand_ins());
        tuning
    } else {
        let classifier = classifier_of(&start)?;
        let train = training_features(&features, settings.augmented_views, job)?;
        let validation = features.of(Split::Validation, evaluation.flip, job)?;
        let fold = Fold {
            start: &classifier,
            train: &train,
            train_counts: counts,
            held_out: &validation,
            counted_as: &validation.labels,
        };
        balance::tune(&[fold], counts, &all.balance, thresholds, start.seed, effort, job)?
    };
    let chosen = Settings { balance: tuning.best.clone(), ..all.clone() };
    judge_in_turn(run, &start, &features, &chosen, turns, job)?;
    tuning.verdict = judged(run, &start, &features, &chosen, job)?;
    // What was found is to be used directly, not searched for again.
    tuning.best.tune_candidates = 0;
    run.keep_result("tune", &tuning, job);
    run.keep_result("tuned", &tuning.best, job);
    Ok(tuning)
}

/// What the run would be worth with the balancer that was chosen, by its validation split if it has
/// one. The classifier is made once more: while candidates are compared nothing is kept of what
/// they take for what.
fn judged(
    run: &Run,
    start: &Checkpoint,
    features: &Features<'_>,
    chosen: &Settings,
    job: Job<'_>,
) -> Result<Option<Verdict>> {
    if run.dataset().split(Split::Validation).is_empty() {
        return Ok(None);
    }
    let Settings { balance: settings, evaluation, .. } = chosen;
    let thresholds = GroupThresholds::from(evaluation);
    let classifier = classifier_of(start)?;
    let found = features.with_positions(Split::Validation, evaluation.flip, job)?;
    let copies = run.dataset().copies_in_training(&found.samples(run.dataset(), Split::Validation));
    let others: Vec<usize> = (0..found.set.len()).filter(|&at| !copies[at]).collect();
    // Copies of training images are no part of a verdict, unless there is nothing else.
    let validation = if others.is_empty() { found.set } else { found.set.part(&others) };
    let balance = |batches: &mut dyn FeatureBatches| {
        let quiet = Job::new(job.control, &Silent);
        balance::balance(
            &classifier,
            batches,
            &start.train_counts,
            None,
            settings,
            thresholds,
            quiet,
        )
    };
    let balanced = match settings.trains() {
        true => {
            let train = training_features(features, settings.augmented_views, job)?;
            balance(&mut CachedBatches::new(&train, settings.batch_size, start.seed)?)?
        }
        false => balance(&mut NoBatches)?,
    };
    let evaluate =
        |of: &Classifier| of.evaluate(&validation, &start.classes, &start.train_counts, thresholds);
    let (before, after) = (evaluate(&classifier)?, evaluate(&balanced.classifier)?);
    let expected = expected(run, Some(settings));
    let (is_drawn, is_grown) = drawn(run, Split::Validation);
    Ok(Some(eval::verdict(&Evidence {
        history: run.history(),
        pretrained: run.settings().stage1.is_frozen(),
        before: Some(&before),
        expected: expected.as_ref(),
        is_drawn,
        is_grown,
        ..Evidence::of(&after, Split::Validation)
    })))
}
