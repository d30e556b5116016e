//! How far a checkpoint's probabilities can be believed, and those of a file that it is exported to.

use burn::tensor::Device;

use super::evaluate::{
    JUDGED, Known, RunEvaluation, balanced_by, evaluate_checkpoint, reporting_split,
    stored_evaluation,
};
use super::in_turn::known_in_turn;
use crate::error::{Error, Result};
use crate::eval::{Calibrated, Confidence};
use crate::export::Calibration;
use crate::job::Job;
use crate::run::{Checkpoint, Run};
use crate::settings::EvaluationSettings;
use crate::source::Split;

/// How far probabilities can be believed, and the split that says so; no split where training and
/// validation images were held out in turn.
pub(super) type Believed = (Confidence, Option<Split>);

/// How far a checkpoint's own probabilities can be believed: as images say that were held out in turn,
/// where these are more than those for validation; else as validation images say, or those that
/// results are reported on where there are none. Nothing where no image was held out, or none can be
/// read any more. What is chosen on test flatters itself there.
///
/// # Errors
/// [`Error::Stopped`].
pub(super) fn confidence_of(
    run: &Run,
    (name, checkpoint): (&str, &Checkpoint),
    job: Job<'_>,
) -> Result<Option<Believed>> {
    if let Some(known) = known_confidence(run, (name, checkpoint)) {
        return Ok(Some(known));
    }
    let Some(split) = telling_split(run) else { return Ok(None) };
    let settings = EvaluationSettings { flip: false, ..run.settings().evaluation.clone() };
    let (what, known) = ((name, checkpoint), Known::default());
    match evaluate_checkpoint(run, what, split, known, &settings, &Device::flex(), job) {
        Ok(found) => Ok(found.confidence.map(|confidence| (confidence, Some(split)))),
        Err(Error::Stopped) => Err(Error::Stopped),
        Err(error) => {
            job.warn(format!("probabilities are taken as they are: {error}"));
            Ok(None)
        }
    }
}

/// [`confidence_of`], where the network need not be run for it.
fn known_confidence(run: &Run, (name, checkpoint): (&str, &Checkpoint)) -> Option<Believed> {
    let validation = run.dataset().split(Split::Validation).len();
    let in_turn = in_turn(run, name).filter(|found| found.samples > validation.min(JUDGED));
    if let Some(confidence) = in_turn {
        return Some((confidence, None));
    }
    let split = telling_split(run)?;
    let stored = stored_evaluation(run, (name, checkpoint.progress.epoch), split);
    let known = |found: RunEvaluation| found.confidence.filter(|c| c.calibrated.is_some());
    stored.and_then(known).map(|confidence| (confidence, Some(split)))
}

/// The split that tells how far probabilities can be believed.
fn telling_split(run: &Run) -> Option<Split> {
    match run.dataset().split(Split::Validation).len() {
        0 => reporting_split(run).ok(),
        _ => Some(Split::Validation),
    }
}

/// What is said of the probabilities of the file that a checkpoint is exported to, where that is known
/// without running the network. What images of another split say of them is their own affair: chosen on
/// these, a threshold flatters itself.
///
/// # Errors
/// No such checkpoint.
pub fn known_calibration(run: &Run, name: &str) -> Result<Option<Calibration>> {
    let known = known_confidence(run, (name, &run.checkpoint(name)?));
    let of = |(confidence, split): Believed| {
        calibration(&confidence, split, confidence.reliable().is_some())
    };
    Ok(known.and_then(of))
}

/// What images held out in turn say of the classifier of a checkpoint.
fn in_turn(run: &Run, name: &str) -> Option<Confidence> {
    let found = match name {
        "balanced" => known_in_turn(run, Some(&balanced_by(run)?)),
        _ => known_in_turn(run, None),
    };
    found.map(|found| found.confidence)
}

/// What logits of a checkpoint are to be divided by for its probabilities; 1 where that is not known, or
/// nothing is better.
///
/// # Errors
/// [`Error::Stopped`].
pub(super) fn temperature_of(run: &Run, what: (&str, &Checkpoint), job: Job<'_>) -> Result<f32> {
    let found = confidence_of(run, what, job)?.map(|(confidence, _)| confidence);
    let reliable = found.filter(|confidence| confidence.reliable().is_some());
    Ok(reliable.map_or(1.0, |confidence| confidence.temperature as f32))
}

/// What is said of a file, with the temperature inside or without it; nothing where it is not known.
pub(super) fn calibration(
    confidence: &Confidence,
    split: Option<Split>,
    is_inside: bool,
) -> Option<Calibration> {
    let Calibrated { accuracy, mean, ece, threshold } = confidence.calibrated?;
    let of = |[without, with]: [f64; 2]| [without, if is_inside { with } else { without }];
    Some(Calibration {
        temperature: if is_inside { confidence.temperature } else { 1.0 },
        accuracy,
        mean: of(mean),
        error: of(ece),
        threshold: if is_inside { threshold } else { confidence.threshold },
        split,
        images: confidence.samples,
    })
}
