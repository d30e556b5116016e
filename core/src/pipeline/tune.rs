//! Searching for the balancer that suits a run's validation split.

use burn::tensor::Device;

use super::balance::{NoBatches, training_features};
use super::features::Features;
use super::folds::{Part, needed, part, places_of, rule_out};
use super::train_classifier::fit_on;
use crate::balance::{self, CachedBatches, Effort, FeatureBatches, Fold, Tuning};
use crate::classifier::{Classifier, FeatureSet};
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

/// A fold with what it is made of.
struct Held {
    start: Classifier,
    train: FeatureSet,
    train_counts: Vec<usize>,
    held_out: FeatureSet,
}

impl Held {
    fn fold(&self) -> Fold<'_> {
        Fold {
            start: &self.start,
            train: &self.train,
            train_counts: &self.train_counts,
            held_out: &self.held_out,
        }
    }
}

/// Training and validation images together, cut into parts of which each is judged by classifiers
/// that learned from the others: as many parts as are needed to judge by.
fn cross_validation(
    train: FeatureSet,
    validation: Option<FeatureSet>,
    groups: &[Option<u32>],
    classes: usize,
    settings: &Settings,
    job: Job<'_>,
) -> Result<Vec<Held>> {
    let mut all = train;
    if let Some(validation) = validation {
        all.features.extend(validation.features);
        all.labels.extend(validation.labels);
    }
    let places = places_of(&all.labels, groups, classes);
    let needed = needed(all.len());
    let mut folds = Vec::with_capacity(needed);
    for fold in 0..needed {
        job.check()?;
        let Part { train, train_counts, learned, held_out } =
            part(&all, &places, fold, classes).of_known_classes();
        let quiet = Job::new(job.control, &Silent);
        // Features are standardised as the run has them; standardising them once more changes next
        // to nothing.
        let (mut start, standardiser, _) =
            fit_on(settings, train.clone(), classes, &train_counts, None, quiet)?;
        rule_out(&mut start, &learned);
        let standardised = |mut set: FeatureSet| {
            standardiser.apply(&mut set.features);
            set
        };
        folds.push(Held {
            start,
            train: standardised(train),
            train_counts,
            held_out: standardised(held_out),
        });
    }
    Ok(folds)
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
    let mut tuning = if frozen {
        let known = features.with_positions(Split::Train, evaluation.flip, job)?;
        let mut samples = known.samples(run.dataset(), Split::Train);
        let validation = match run.dataset().split(Split::Validation).is_empty() {
            true => None,
            false => {
                let found = features.with_positions(Split::Validation, evaluation.flip, job)?;
                samples.extend(found.samples(run.dataset(), Split::Validation));
                Some(found.set)
            }
        };
        // Of both splits together: copies belong together wherever they are.
        let groups = run.dataset().series_of(&samples);
        let folds =
            cross_validation(known.set, validation, &groups, counts.len(), run.settings(), job)?;
        let folds: Vec<Fold<'_>> = folds.iter().map(Held::fold).collect();
        balance::tune(&folds, counts, settings, thresholds, start.seed, effort, job)?
    } else {
        let classifier = classifier_of(&start)?;
        let train = training_features(&features, settings.augmented_views, job)?;
        let validation = features.of(Split::Validation, evaluation.flip, job)?;
        let fold =
            Fold { start: &classifier, train: &train, train_counts: counts, held_out: &validation };
        balance::tune(&[fold], counts, &all.balance, thresholds, start.seed, effort, job)?
    };
    tuning.verdict = judged(
        run,
        &start,
        &features,
        &Settings { balance: tuning.best.clone(), ..all.clone() },
        job,
    )?;
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
    let validation = features.of(Split::Validation, evaluation.flip, job)?;
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
    Ok(Some(eval::verdict(&Evidence {
        history: run.history(),
        pretrained: run.settings().stage1.is_frozen(),
        before: Some(&before),
        ..Evidence::of(&after, Split::Validation)
    })))
}
