//! How far a classifier's probabilities can be believed, and from which on to answer at all.

use serde::{Deserialize, Serialize};

use super::answer::{Answer, answers};
use super::evaluation::reliability;
use crate::error::Result;

/// Temperatures that are looked at.
const TEMPERATURES: [f64; 2] = [0.05, 20.0];
/// Share of the errors that may be left among the answers above the threshold.
const ERRORS_LEFT: f64 = 0.5;
/// Share of the samples that have to get an answer, for a threshold to be of use.
const LEAST_ANSWERED: f64 = 0.25;
/// Samples from which on a temperature is relied on.
const ENOUGH: usize = 20;
/// A temperature that is nearer to 1 on a scale of logarithms changes nothing that could be noticed.
const LEAST_CHANGE: f64 = 0.02;

/// How far probabilities can be believed on some samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Confidence {
    /// T, by which logits are to be divided so that probabilities fit best: the one of the smallest
    /// cross-entropy (Guo et al., *On Calibration of Modern Neural Networks*, ICML 2017) if one sample
    /// more had been of any class: what never was wrong on a few samples is not sure of everything.
    /// Above 1 the classifier is surer than it should be.
    pub temperature: f64,
    /// Cross-entropy as it is, and with that temperature.
    pub loss: [f64; 2],
    /// A probability below which it is better to say "not sure"; `None` where there is no error to
    /// be avoided, or hardly an answer would be left.
    pub threshold: Option<Threshold>,
    /// What probabilities are with that temperature. Missing in results of older versions.
    #[serde(default)]
    pub calibrated: Option<Calibrated>,
    /// Samples that it was found on.
    pub samples: usize,
}

/// What a temperature makes of probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibrated {
    /// Share of the answers that are right.
    pub accuracy: f64,
    /// Mean probability of the answers as it is, and with the temperature: what accuracy should be.
    pub mean: [f64; 2],
    /// Expected calibration error as it is, and with the temperature. Of few samples it is mostly
    /// chance.
    pub ece: [f64; 2],
    /// The threshold of probabilities with the temperature.
    pub threshold: Option<Threshold>,
}

impl Confidence {
    /// What the temperature brings, where it was found on enough samples, is another than none, and
    /// fits better than none both by cross-entropy and by how sure answers are on average: a few
    /// errors that it is sure of outweigh all else in the one.
    pub fn reliable(&self) -> Option<&Calibrated> {
        let fits_better = self.samples >= ENOUGH
            && self.loss[1] < self.loss[0]
            && self.temperature.ln().abs() >= LEAST_CHANGE;
        let is_nearer = |found: &&Calibrated| {
            let [before, after] = found.mean.map(|mean| (mean - found.accuracy).abs());
            after < before
        };
        self.calibrated.as_ref().filter(is_nearer).filter(|_| fits_better)
    }
}

/// A probability of the best class from which on there is an answer, and what it costs and brings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// The probability.
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
/// // And a fifth that is half of each: p = 0.7 fits best, 4 / T = ln (7 / 3).
/// assert!((found.temperature - 4.0 / (7.0_f64 / 3.0).ln()).abs() < 1e-3);
/// assert_eq!(found.threshold, None);
/// ```
///
/// # Errors
/// [`TrainError::Request`](crate::error::TrainError::Request) if there is no sample, the shapes do
/// not fit, or a label names no class.
pub fn confidence(logits: &[f32], labels: &[u32], classes: usize) -> Result<Confidence> {
    let answers_as_they_are = answers(logits, labels, classes)?;
    let loss = |temperature: f64, any: f64| {
        let rows = logits.chunks_exact(classes).zip(labels);
        rows.map(|(row, label)| cross_entropy(row, *label as usize, temperature, any)).sum::<f64>()
            / labels.len() as f64
    };
    let any = 1.0 / (labels.len() + 1) as f64;
    let temperature = golden_section(|log| loss(log.exp(), any), TEMPERATURES.map(f64::ln)).exp();
    let divided: Vec<f32> = logits.iter().map(|logit| logit / temperature as f32).collect();
    let divided = answers(&divided, labels, classes)?;
    Ok(Confidence {
        temperature,
        loss: [loss(1.0, 0.0), loss(temperature, 0.0)],
        threshold: threshold(&answers_as_they_are),
        calibrated: Some(Calibrated {
            accuracy: share(&divided, |answer| f64::from(u8::from(answer.is_right()))),
            mean: [&answers_as_they_are, &divided]
                .map(|answers| share(answers, Answer::probability)),
            ece: [&answers_as_they_are, &divided].map(|answers| reliability(answers).1),
            threshold: threshold(&divided),
        }),
        samples: labels.len(),
    })
}

/// The mean over answers.
fn share(answers: &[Answer], of: impl Fn(&Answer) -> f64) -> f64 {
    answers.iter().map(of).sum::<f64>() / answers.len() as f64
}

/// Cross-entropy with a sample that is of its class but for `any`, which all classes share alike.
fn cross_entropy(logits: &[f32], label: usize, temperature: f64, any: f64) -> f64 {
    let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let below = |logit: f32| (f64::from(logit) - largest) / temperature;
    let sum: f64 = logits.iter().map(|logit| below(*logit).exp()).sum();
    let own = (1.0 - any) * below(logits[label]);
    let others = match any > 0.0 {
        true => any * logits.iter().map(|logit| below(*logit)).sum::<f64>() / logits.len() as f64,
        false => 0.0,
    };
    sum.ln() - own - others
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
        if (answered as f64) < LEAST_ANSWERED * n {
            return None;
        }
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
    fn a_temperature_makes_timid_probabilities_fit() {
        // Nine of ten right, by a gap of 1: as sure as 73 %.
        let labels: Vec<u32> = (0..100).map(|sample| u32::from(sample % 10 == 0)).collect();
        let logits = [1.0, 0.0].repeat(100);
        let found = confidence(&logits, &labels, 2).unwrap();
        let share = (90.0 + 0.5) / 101.0_f64;
        assert!((found.temperature - 1.0 / (share / (1.0 - share)).ln()).abs() < 1e-4);
        let Calibrated { ece: [before, after], mean, accuracy, .. } = *found.reliable().unwrap();
        assert!((mean[1] - share).abs() < 1e-5 && accuracy == 0.9, "{mean:?}");
        assert!((before - (0.9 - 1.0 / (1.0 + (-1.0_f64).exp()))).abs() < 1e-6);
        assert!((after - (0.9 - share)).abs() < 1e-5, "{after}");
        // What an older version stored says nothing of it.
        let older = serde_json::json!({
            "temperature": 0.5, "loss": [1.0, 0.5], "threshold": null, "samples": 100
        });
        let older: Confidence = serde_json::from_value(older).unwrap();
        assert_eq!(older.reliable(), None);
    }

    #[test]
    fn without_errors_or_where_they_cannot_be_told_apart_there_is_no_threshold() {
        let right = confidence(&[2.0, 0.0, 0.0, 2.0], &[0, 1], 2).unwrap();
        assert_eq!(right.threshold, None);
        // Right about everything, and about no more than two: 2 / T = ln 5, as if one of six halves
        // were wrong.
        assert!((right.temperature - 2.0 / 5.0_f64.ln()).abs() < 1e-4);
        assert_eq!(right.reliable(), None, "of two samples");
        assert_eq!(confidence(&[1.0, 0.0, 1.0, 0.0], &[0, 1], 2).unwrap().threshold, None);
        assert!(confidence(&[], &[], 2).is_err());
    }
}
