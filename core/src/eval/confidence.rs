//! How far a classifier's probabilities can be believed, and from which on to answer at all.

use serde::{Deserialize, Serialize};

use super::answer::{Answer, answers};
use crate::error::Result;

/// Temperatures that are looked at.
const TEMPERATURES: [f64; 2] = [0.05, 20.0];
/// Share of the errors that may be left among the answers above the threshold.
const ERRORS_LEFT: f64 = 0.5;

/// How far probabilities can be believed on some samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Confidence {
    /// T, by which logits are to be divided so that probabilities fit best: the one of the smallest
    /// cross-entropy (Guo et al., *On Calibration of Modern Neural Networks*, ICML 2017). Above 1
    /// the classifier is surer than it should be.
    pub temperature: f64,
    /// Cross-entropy as it is, and with that temperature.
    pub loss: [f64; 2],
    /// A probability below which it is better to say "not sure"; `None` where there is no error to
    /// be avoided, or none can be.
    pub threshold: Option<Threshold>,
    /// Samples that it was found on.
    pub samples: usize,
}

/// A probability of the best class from which on there is an answer, and what it costs and brings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// The probability, without temperature.
    pub probability: f64,
    /// Share of the samples that get an answer.
    pub answered: f64,
    /// Accuracy of the answers.
    pub accuracy: f64,
    /// Accuracy if all are answered.
    pub accuracy_of_all: f64,
}

impl Threshold {
    /// The probability in as many digits as tell it from the probabilities of other samples, rounded
    /// down, so that whoever types it in gets the answers that are counted here.
    ///
    /// ```
    /// use counterweight_core::eval::Threshold;
    /// let of = |probability| Threshold { probability, answered: 0.7, accuracy: 0.9, accuracy_of_all: 0.8 };
    /// assert_eq!(of(0.8976).shown(), "0.897");
    /// assert_eq!(of(0.999268).shown(), "0.99926");
    /// ```
    pub fn shown(&self) -> String {
        // Many classifiers are nearly sure of most of what they say.
        let nines = (-(1.0 - self.probability).max(1e-9).log10()).floor() as usize;
        let digits = nines.max(1) + 2;
        let scale = 10.0_f64.powi(digits as i32);
        format!("{:.digits$}", (self.probability * scale).floor() / scale)
    }
}

/// Finds temperature and threshold on samples that the classifier was not trained on. The threshold
/// is the smallest that leaves half of the share of errors.
///
/// # Shapes
/// - `logits`: `[n, classes]`, row-major
/// - `labels`: `[n]`
///
/// ```
/// use counterweight_core::eval::confidence;
/// // Three of four right, and as sure of the wrong one as of the others.
/// let logits = [4.0, 0.0, 4.0, 0.0, 4.0, 0.0, 4.0, 0.0];
/// let found = confidence(&logits, &[0, 0, 0, 1], 2).unwrap();
/// // p = 0.75 fits best: 4 / T = ln 3.
/// assert!((found.temperature - 4.0 / 3.0_f64.ln()).abs() < 1e-3);
/// assert_eq!(found.threshold, None);
/// ```
///
/// # Errors
/// [`TrainError::Request`](crate::error::TrainError::Request) if there is no sample, the shapes do
/// not fit, or a label names no class.
pub fn confidence(logits: &[f32], labels: &[u32], classes: usize) -> Result<Confidence> {
    let answers = answers(logits, labels, classes)?;
    let loss = |temperature: f64| {
        let rows = logits.chunks_exact(classes).zip(labels);
        rows.map(|(row, label)| cross_entropy(row, *label as usize, temperature)).sum::<f64>()
            / labels.len() as f64
    };
    let temperature = golden_section(|log| loss(log.exp()), TEMPERATURES.map(f64::ln)).exp();
    Ok(Confidence {
        temperature,
        loss: [loss(1.0), loss(temperature)],
        threshold: threshold(&answers),
        samples: labels.len(),
    })
}

fn cross_entropy(logits: &[f32], label: usize, temperature: f64) -> f64 {
    let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 =
        logits.iter().map(|logit| ((f64::from(*logit) - largest) / temperature).exp()).sum();
    sum.ln() - (f64::from(logits[label]) - largest) / temperature
}

/// Where a function that falls and then rises is smallest.
fn golden_section(of: impl Fn(f64) -> f64, [mut low, mut high]: [f64; 2]) -> f64 {
    /// Enough for six digits of the interval.
    const STEPS: usize = 32;
    let part = (5.0_f64.sqrt() - 1.0) / 2.0;
    let (mut left, mut right) = (high - part * (high - low), low + part * (high - low));
    let (mut at_left, mut at_right) = (of(left), of(right));
    for _ in 0..STEPS {
        if at_left <= at_right {
            (high, right, at_right) = (right, left, at_left);
            left = high - part * (high - low);
            at_left = of(left);
        } else {
            (low, left, at_left) = (left, right, at_right);
            right = low + part * (high - low);
            at_right = of(right);
        }
    }
    f64::midpoint(low, high)
}

fn threshold(answers: &[Answer]) -> Option<Threshold> {
    let n = answers.len() as f64;
    let wrong = answers.iter().filter(|answer| !answer.is_right()).count();
    let mut sorted: Vec<(f64, bool)> =
        answers.iter().map(|answer| (answer.probability(), answer.is_right())).collect();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut answered, mut errors) = (answers.len(), wrong);
    for (index, (probability, is_right)) in sorted.iter().enumerate() {
        let is_new = index == 0 || sorted[index - 1].0 < *probability;
        let share = errors as f64 / answered as f64;
        if is_new && index > 0 && share <= ERRORS_LEFT * wrong as f64 / n {
            return (wrong > 0).then_some(Threshold {
                probability: *probability,
                answered: answered as f64 / n,
                accuracy: 1.0 - share,
                accuracy_of_all: 1.0 - wrong as f64 / n,
            });
        }
        answered -= 1;
        errors -= usize::from(!is_right);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threshold_halves_the_errors_and_says_what_it_costs() {
        // Two classes; the gap is how sure it is. Wrong are the two least sure and one in between.
        let gaps = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0];
        let wrong = [0, 1, 5];
        let logits: Vec<f32> = gaps.iter().flat_map(|gap| [*gap, 0.0]).collect();
        let labels: Vec<u32> = (0..10).map(|sample| u32::from(wrong.contains(&sample))).collect();
        let found = confidence(&logits, &labels, 2).unwrap();
        let threshold = found.threshold.unwrap();
        // Of ten 30 % are wrong, of the eight most sure 12.5 %.
        assert!((threshold.probability - 1.0 / (1.0 + (-0.3_f64).exp())).abs() < 1e-6);
        assert_eq!((threshold.answered, threshold.accuracy), (0.8, 0.875));
        assert_eq!(threshold.accuracy_of_all, 0.7);
        assert!(found.loss[1] <= found.loss[0]);
    }

    #[test]
    fn without_errors_or_where_they_cannot_be_told_apart_there_is_no_threshold() {
        let right = confidence(&[2.0, 0.0, 0.0, 2.0], &[0, 1], 2).unwrap();
        assert_eq!(right.threshold, None);
        // Right about everything, it could be surer still.
        assert!(right.temperature < 0.06);
        assert_eq!(confidence(&[1.0, 0.0, 1.0, 0.0], &[0, 1], 2).unwrap().threshold, None);
        assert!(confidence(&[], &[], 2).is_err());
    }
}
