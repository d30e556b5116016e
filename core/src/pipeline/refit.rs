//! Learning once more, from all images: those that were held out have said by then how good the way
//! is, and where images are few a classifier is better for every one of them.

use burn::tensor::Device;

use super::balance::NoBatches;
use super::features::Features;
use super::train_classifier::fit_on;
use crate::balance::{self, CachedBatches};
use crate::classifier::{Classifier, FeatureSet};
use crate::error::{Result, TrainError};
use crate::eval::GroupThresholds;
use crate::export::Refit;
use crate::job::{Job, Silent};
use crate::pipeline::BalanceReport;
use crate::run::{Checkpoint, Run};
use crate::settings::{BalanceSettings, Settings};
use crate::source::Split;
use crate::train::{classifier_of, put_classifier};

/// The result of a run whose exports have learned from the held-out images, too, unless something
/// else is asked for.
pub const REFIT: &str = "refit";

/// Balanced accuracy on the held-out images that learning from them may cost, in 0..1: it should
/// bring some, and a classifier that loses more has gone astray.
const TOLERATED: f64 = 0.02;

/// Why a run's classifier cannot learn once more from the images that were held out, as a sentence;
/// nothing if it can: where it alone was trained, and the program itself held images out. A split
/// that the source brought is somebody's, and stays unseen.
pub fn no_refit(run: &Run) -> Option<String> {
    let reason = if !run.settings().stage1.is_frozen() {
        "the network itself was trained, which takes as long a second time"
    } else if held_out(run).is_empty() {
        "no image was held out by the program, as far as the dataset says; splits that the images came with stay as they are"
    } else if run
        .read_result::<BalanceReport>("balance")
        .is_ok_and(|report| report.settings.trains() && report.settings.augmented_views > 0)
    {
        "stage 2 learned from augmented views of the training images"
    } else {
        return None;
    };
    Some(reason.into())
}

/// The splits that were held out by the program, as far as they hold images.
fn held_out(run: &Run) -> Vec<Split> {
    let dataset = run.dataset();
    let drawn = dataset.provenance.drawn.iter().copied();
    drawn.filter(|split| !dataset.split(*split).is_empty()).collect()
}

/// The classifier of a checkpoint, trained and balanced in the same way on the held-out images as
/// well; nothing, and a warning, if it came to know them less well by that.
///
/// # Errors
/// [`TrainError::Request`] as [`no_refit`] says; images that have changed or cannot be read;
/// [`crate::Error::Stopped`].
pub(super) fn refit(
    run: &Run,
    (name, measured): (&str, &Checkpoint),
    job: Job<'_>,
) -> Result<Option<(Checkpoint, Refit)>> {
    if let Some(reason) = no_refit(run) {
        let reason = format!("the classifier cannot learn from the held-out images: {reason}");
        return Err(TrainError::Request(reason).into());
    }
    job.phase("learning from all images", None, "");
    let settings = run.settings();
    // As the backbone gives them: they are standardised anew.
    let plain = Checkpoint { standardiser: None, ..measured.clone() };
    let device = Device::flex();
    let features = Features::new(run, &plain, &device);
    let mut all = features.of(Split::Train, false, job)?;
    let trained_on = all.len();
    for split in held_out(run) {
        let more = features.of(split, false, job)?;
        all.features.extend_from_slice(&more.features);
        all.labels.extend(more.labels);
    }
    let held: Vec<usize> = (trained_on..all.len()).collect();
    let held = all.part(&held);
    let mut counts = vec![0; measured.classes.len()];
    all.labels.iter().for_each(|&label| counts[label as usize] += 1);

    let balancing = match name {
        "balanced" => Some(run.read_result::<BalanceReport>("balance")?.settings),
        _ => None,
    };
    let images = all.len();
    let (mut result, classifier) = learned(settings, &plain, all, &counts, balancing, job)?;
    put_classifier(&mut result, &classifier);

    let score = |of: &Checkpoint| -> Result<f64> {
        let mut seen = held.clone();
        if let Some(standardiser) = &of.standardiser {
            standardiser.apply(&mut seen.features);
        }
        let thresholds = GroupThresholds::from(&settings.evaluation);
        Ok(classifier_of(of)?.scores(&seen, &counts, thresholds)?.balanced_accuracy)
    };
    let (before, after) = (score(measured)?, score(&result)?);
    if after + TOLERATED < before {
        job.warn(format!(
            "learning from the held-out images, too, made the classifier worse on them ({:.1} instead of {:.1} %); it stays as it was measured",
            100.0 * after,
            100.0 * before
        ));
        return Ok(None);
    }
    let learned = held_out(run);
    let [validation, test] = [Split::Validation, Split::Test].map(|split| learned.contains(&split));
    Ok(Some((result, Refit { images, held_out: held.len(), validation, test })))
}

/// A classifier on features as the backbone gives them, and the checkpoint that it belongs in.
fn learned(
    settings: &Settings,
    plain: &Checkpoint,
    mut all: FeatureSet,
    counts: &[usize],
    balancing: Option<BalanceSettings>,
    job: Job<'_>,
) -> Result<(Checkpoint, Classifier)> {
    let quiet = Job::new(job.control, &Silent);
    let classes = plain.classes.len();
    let (classifier, standardiser, epochs) =
        fit_on(settings, all.clone(), classes, counts, None, quiet)?;
    let classifier = match balancing {
        None => classifier,
        Some(balancing) => {
            standardiser.apply(&mut all.features);
            let thresholds = GroupThresholds::from(&settings.evaluation);
            let mut none = NoBatches;
            let mut cached;
            let batches: &mut dyn balance::FeatureBatches = match balancing.trains() {
                true => {
                    cached = CachedBatches::new(&all, balancing.batch_size, plain.seed)?;
                    &mut cached
                }
                false => &mut none,
            };
            balance::balance(&classifier, batches, counts, None, &balancing, thresholds, quiet)?
                .classifier
        }
    };
    let mut checkpoint = Checkpoint {
        standardiser: Some(standardiser),
        train_counts: counts.to_vec(),
        velocities: Vec::new(),
        ..plain.clone()
    };
    checkpoint.progress.epoch = epochs.len();
    Ok((checkpoint, classifier))
}
