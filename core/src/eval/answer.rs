//! What a classifier says about one sample, in a few numbers in the place of a logit a class.

use super::scores::argmax;
use crate::error::{Result, TrainError};
use crate::kernels::{largest, rank, sum_of_exponentials};

/// All that scores, evaluations and predictions need of the logits of one sample. Logits can be
/// computed a block of samples at a time and forgotten: what is kept of a sample does not grow with
/// the number of classes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer {
    /// The sample's class.
    pub label: u32,
    /// The class of the largest logit, the lowest of equal ones.
    pub predicted: u32,
    /// Whether fewer than five classes come before the label when sorted by logit, ties by index.
    pub in_top5: bool,
    /// Logit of the label less that of the prediction.
    gap: f64,
    /// log Σ exp(logit − largest logit); no number where a logit is not finite.
    log_sum: f64,
    /// The first class whose logit is not finite, and that logit.
    wrong: Option<(u32, f32)>,
}

impl Answer {
    /// Reads it off a sample's `logits`, shape `[classes]`.
    ///
    /// # Panics
    /// If `label` is none of the classes.
    pub fn of(logits: &[f32], label: u32) -> Self {
        let own = label as usize;
        let (best, log_sum, wrong) = match largest(logits) {
            Some(largest) => {
                let best = logits.iter().position(|logit| *logit == largest).unwrap_or_default();
                (best, sum_of_exponentials(logits, largest).ln(), None)
            }
            None => {
                let wrong = logits.iter().position(|logit| !logit.is_finite());
                let wrong = wrong.map(|class| (class as u32, logits[class]));
                (argmax(logits), f64::NAN, wrong)
            }
        };
        Self {
            label,
            predicted: best as u32,
            in_top5: rank(logits, own) < 5,
            gap: f64::from(logits[own]) - f64::from(logits[best]),
            log_sum,
            wrong,
        }
    }

    /// Whether the sample is classified correctly.
    pub fn is_right(&self) -> bool {
        self.predicted == self.label
    }

    /// Cross-entropy.
    pub fn loss(&self) -> f64 {
        self.log_sum - self.gap
    }

    /// Probability of the predicted class by softmax, which is also called confidence.
    pub fn probability(&self) -> f64 {
        (-self.log_sum).exp()
    }

    /// Probability of the sample's own class by softmax.
    pub fn label_probability(&self) -> f64 {
        (self.gap - self.log_sum).exp()
    }
}

/// Answers of whole `logits`, shape [n, C], for `labels`, shape [n].
///
/// # Errors
/// [`TrainError::Request`] if there is no sample, the shapes do not fit, or a label names no class.
pub(super) fn answers(logits: &[f32], labels: &[u32], classes: usize) -> Result<Vec<Answer>> {
    let fail = |reason: String| Err(TrainError::Request(reason).into());
    if labels.is_empty() {
        return fail("there is no sample to evaluate".into());
    }
    if classes == 0 || labels.len().checked_mul(classes) != Some(logits.len()) {
        return fail(format!(
            "{} logits do not fit {} samples of {classes} classes",
            logits.len(),
            labels.len()
        ));
    }
    check_labels(labels.iter().copied(), classes)?;
    Ok(logits
        .chunks_exact(classes)
        .zip(labels)
        .map(|(row, label)| Answer::of(row, *label))
        .collect())
}

/// Refuses answers that cannot be scored: none at all, of more classes than there are, or from
/// logits that are not finite.
///
/// # Errors
/// [`TrainError::Request`].
pub(crate) fn check(answers: &[Answer], classes: usize) -> Result<()> {
    if answers.is_empty() {
        return Err(TrainError::Request("there is no sample to evaluate".into()).into());
    }
    check_labels(answers.iter().map(|answer| answer.label.max(answer.predicted)), classes)?;
    let wrong = answers.iter().enumerate().find_map(|(i, answer)| Some((i, answer.wrong?)));
    match wrong {
        None => Ok(()),
        Some((sample, (class, logit))) => Err(TrainError::Request(format!(
            "the logit of sample {sample} for class {class} is {logit}; the model cannot be evaluated"
        ))
        .into()),
    }
}

fn check_labels(labels: impl Iterator<Item = u32>, classes: usize) -> Result<()> {
    let outside = labels.enumerate().find(|(_, label)| *label as usize >= classes);
    match outside {
        None => Ok(()),
        Some((sample, label)) => Err(TrainError::Request(format!(
            "sample {sample} has label {label}, which names none of the {classes} classes"
        ))
        .into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_holds_what_the_logits_say() {
        let answer = Answer::of(&[0.0, 2.0, 2.0], 2);
        assert_eq!((answer.predicted, answer.is_right(), answer.in_top5), (1, false, true));
        let p = 2.0_f64.exp() / (2.0 * 2.0_f64.exp() + 1.0);
        for found in [answer.probability(), answer.label_probability(), (-answer.loss()).exp()] {
            assert!((found - p).abs() < 1e-7, "{found} {p}");
        }
        assert!(check(&[answer], 3).is_ok() && check(&[answer], 2).is_err());
        assert!(check(&[], 3).is_err());
        let broken = Answer::of(&[f32::NAN, 0.0, f32::INFINITY], 1);
        let error = check(&[answer, broken], 3).unwrap_err().to_string();
        assert!(error.contains("sample 1 for class 0 is NaN"), "{error}");
    }
}
