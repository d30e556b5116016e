//! How far the probabilities of an exported file can be believed.

use burn::tensor::Device;

use super::evaluate::{
    Known, RunEvaluation, evaluate_checkpoint, reporting_split, stored_evaluation,
};
use crate::error::{Error, Result};
use crate::eval::{Calibrated, Confidence};
use crate::export::Calibration;
use crate::job::Job;
use crate::run::{Checkpoint, Run};
use crate::settings::EvaluationSettings;
use crate::source::Split;

/// How far a checkpoint's own probabilities can be believed, as validation images say, or those that
/// results are reported on where there are none; nothing where no image was held out, or none can be
/// read any more. What is chosen on test flatters itself there.
///
/// # Errors
/// [`Error::Stopped`].
pub(super) fn confidence_of(
    run: &Run,
    (name, checkpoint): (&str, &Checkpoint),
    job: Job<'_>,
) -> Result<Option<(Confidence, Split)>> {
    let split = match run.dataset().split(Split::Validation).is_empty() {
        true => reporting_split(run).ok(),
        false => Some(Split::Validation),
    };
    let Some(split) = split else { return Ok(None) };
    let stored = stored_evaluation(run, (name, checkpoint.progress.epoch), split);
    let known = |found: RunEvaluation| found.confidence.filter(|c| c.calibrated.is_some());
    if let Some(confidence) = stored.and_then(known) {
        return Ok(Some((confidence, split)));
    }
    let settings = EvaluationSettings { flip: false, ..run.settings().evaluation.clone() };
    let (what, known) = ((name, checkpoint), Known::default());
    match evaluate_checkpoint(run, what, split, known, &settings, &Device::flex(), job) {
        Ok(found) => Ok(found.confidence.map(|confidence| (confidence, split))),
        Err(Error::Stopped) => Err(Error::Stopped),
        Err(error) => {
            job.warn(format!("probabilities are exported as they are: {error}"));
            Ok(None)
        }
    }
}

/// What is said of a file, with the temperature inside or without it; nothing where it is not known.
pub(super) fn calibration(
    confidence: &Confidence,
    split: Split,
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
