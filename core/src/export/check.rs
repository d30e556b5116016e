//! The self-check: an exported file, read back, against what it was made of.

use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use super::{ExportTarget, ReadBack, Reference};
use crate::error::{ModelError, Result};
use crate::infer::{TOLERANCE, softmax};
use crate::job::Job;

/// Images run at once. The runtime computes on one thread, so that batches are run side by side.
const BATCH: usize = 16;

/// How far the file and the network are apart.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Agreement {
    /// Share of images with the same most probable class.
    pub top1: f64,
    pub logits: f32,
    pub probabilities: f32,
}

/// Runs both on the same images and compares every value; of a file that gives no logits, its
/// probabilities, which are the softmax of the reference's logits divided by the temperature.
///
/// # Errors
/// [`ModelError::Disagrees`] with what differs, and whatever running the file fails with.
pub(super) fn compare(
    file: &dyn ReadBack,
    target: &dyn ExportTarget,
    (reference, temperature): (&dyn Reference, f32),
    images: &[Vec<u8>],
    job: Job<'_>,
) -> Result<Agreement> {
    let gives_logits = target.gives_logits();
    job.phase("checking the export", Some(images.len() as u64), "images");
    let mut agreement = Agreement::default();
    let (mut same, mut scale) = (0usize, 1.0f32);
    let mut changed = Vec::new();
    // A single image is run twice more as a pair, or nothing would show that the batch axis is
    // free.
    let pair = if let [image] = images { vec![image.clone(); 2] } else { Vec::new() };
    let batches: Vec<&[Vec<u8>]> = batches(images).chain(pair.chunks(2)).collect();
    let done = AtomicUsize::new(0);
    let run = |batch: &&[Vec<u8>]| {
        job.check()?;
        let found = file.run(batch)?;
        let done = done.fetch_add(batch.len(), Ordering::Relaxed) + batch.len();
        job.progress(done.min(images.len()) as u64);
        Ok(found)
    };
    let found = batches.par_iter().map(run).collect::<Result<Vec<_>>>()?;
    for (batch, found) in batches.into_iter().zip(found) {
        let expected = reference.logits(batch)?;
        if found.logits.is_some() != gives_logits {
            return Err(disagrees("the file gives no logits, or some that it should not"));
        }
        // Without logits the most probable class is that of the largest probability.
        let scores = found.logits.as_ref().unwrap_or(&found.probabilities);
        if expected.iter().flatten().any(|logit| !logit.is_finite()) {
            return Err(disagrees("the network's own logits are not finite numbers"));
        }
        scale = expected.iter().flatten().fold(scale, |scale, logit| scale.max(logit.abs()));
        for ((expected, found), probabilities) in
            expected.iter().zip(scores).zip(&found.probabilities)
        {
            if gives_logits {
                agreement.logits = agreement.logits.max(difference(expected, found)?);
            }
            let expected_probabilities = softmax(expected, temperature);
            agreement.probabilities =
                agreement.probabilities.max(difference(&expected_probabilities, probabilities)?);
            let (ours, theirs) = (largest(expected), largest(found));
            if ours == theirs {
                same += 1;
            } else {
                changed.push(expected[ours] - expected[theirs]);
            }
        }
    }
    let done = done.into_inner();
    agreement.top1 = same as f64 / done as f64;
    let allowed = TOLERANCE * scale;
    let close = agreement.logits <= allowed && agreement.probabilities <= TOLERANCE;
    let ties = changed.iter().all(|&margin| margin <= 2.0 * allowed);
    if (close && ties) || !target.is_exact() {
        return Ok(agreement);
    }
    Err(disagrees(format!(
        "logits differ by up to {:.2e} ({allowed:.2e} is allowed), probabilities by up to {:.2e}, and {} of {done} images get another class",
        agreement.logits,
        agreement.probabilities,
        changed.len(),
    )))
}

/// The first image alone, then the others many at a time, so that the batch axis is seen to be
/// free.
fn batches(images: &[Vec<u8>]) -> impl Iterator<Item = &[Vec<u8>]> {
    let (first, rest) = images.split_at(images.len().min(1));
    std::iter::once(first).chain(rest.chunks(BATCH))
}

/// The largest absolute difference of two rows of finite numbers.
fn difference(expected: &[f32], found: &[f32]) -> Result<f32> {
    if expected.len() != found.len() || !found.iter().all(|value| value.is_finite()) {
        return Err(disagrees("the file gives values that are not finite numbers, or too few"));
    }
    Ok(expected.iter().zip(found).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max))
}

fn largest(values: &[f32]) -> usize {
    (0..values.len()).max_by(|&a, &b| values[a].total_cmp(&values[b]).then(b.cmp(&a))).unwrap_or(0)
}

fn disagrees(reason: impl Into<String>) -> crate::Error {
    ModelError::Disagrees(reason.into()).into()
}
