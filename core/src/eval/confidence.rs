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
/// Samples from which on there is a threshold: it is the luckiest of as many as there are samples,
/// and on 33 of a hard problem promised 70 % right answers where 44 % were.
const ENOUGH_FOR_A_THRESHOLD: usize = 100;
/// Samples that say as much of a temperature as is known of it without any: that it is 1.
const KNOWN_BEFORE: f64 = 30.0;
/// A temperature that is nearer to 1 on a scale of logarithms changes nothing that could be noticed.
const LEAST_CHANGE: f64 = 0.02;

/// How far probabilities can be believed on some samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Confidence {
    /// T, by which logits are to be divided (Guo et al., *On Calibration of Modern Neural Networks*,
    /// ICML 2017) so that probabilities fit: that with which answers are as likely on average as they
    /// are right (Clarté et al., *Expectation consistency for calibration of neural networks*, UAI
    /// 2023), if one sample more had been of any class, and the nearer to 1 the fewer samples say so.
    /// That of the smallest cross-entropy is up to a few samples that are wrong for certain. Above 1
    /// the classifier is surer than it should be.
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
    /// fits better than none by how sure answers are on average.
    pub fn reliable(&self) -> Option<&Calibrated> {
        let is_known = self.samples >= ENOUGH && self.temperature.ln().abs() >= LEAST_CHANGE;
        let is_nearer = |found: &&Calibrated| {
            let [before, after] = found.mean.map(|mean| (mean - found.accuracy).abs());
            after < before
        };
        self.calibrated.as_ref().filter(is_nearer).filter(|_| is_known)
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
/// is the smallest that leaves half of the share of errors; there is none of fewer than 100 samples.
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
/// // And a fifth that is half of each: 0.7 on average, by 4 / T = ln (7 / 3). Four samples say little.
/// let fitting = 4.0 / (7.0_f64 / 3.0).ln();
/// assert!((found.temperature - fitting.powf(4.0 / 34.0)).abs() < 1e-6);
/// assert_eq!(found.threshold, None);
/// ```
///
/// # Errors
/// [`TrainError::Request`](crate::error::TrainError::Request) if there is no sample, the shapes do
/// not fit, or a label names no class.
pub fn confidence(logits: &[f32], labels: &[u32], classes: usize) -> Result<Confidence> {
    let answers_as_they_are = answers(logits, labels, classes)?;
    let rows = || logits.chunks_exact(classes).zip(labels);
    let n = labels.len() as f64;
    let loss = |temperature: f64| {
        rows().map(|(row, label)| cross_entropy(row, *label as usize, temperature)).sum::<f64>() / n
    };
    let mean = |temperature: f64| {
        rows().map(|(row, _)| largest_probability(row, temperature)).sum::<f64>() / n
    };
    let right = answers_as_they_are.iter().filter(|answer| answer.is_right()).count();
    let wanted = (right as f64 + 1.0 / classes as f64) / (n + 1.0);
    let found = meets(|log| mean(log.exp()), wanted, TEMPERATURES.map(f64::ln));
    let temperature = (found * n / (n + KNOWN_BEFORE)).exp();
    let divided: Vec<f32> = logits.iter().map(|logit| logit / temperature as f32).collect();
    let divided = answers(&divided, labels, classes)?;
    Ok(Confidence {
        temperature,
        loss: [1.0, temperature].map(loss),
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

/// Cross-entropy of a sample whose logits are divided.
fn cross_entropy(logits: &[f32], label: usize, temperature: f64) -> f64 {
    let (largest, sum) = largest_and_sum(logits, temperature);
    sum.ln() - (f64::from(logits[label]) - largest) / temperature
}

/// The probability of the answer by logits that are divided.
fn largest_probability(logits: &[f32], temperature: f64) -> f64 {
    largest_and_sum(logits, temperature).1.recip()
}

/// The largest logit, and the sum of exp((z − largest) / T).
fn largest_and_sum(logits: &[f32], temperature: f64) -> (f64, f64) {
    let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let below = |logit: &f32| ((f64::from(*logit) - largest) / temperature).exp();
    (largest, logits.iter().map(below).sum())
}

/// Where a function that falls meets a value, or the end of the interval that is nearer to it.
fn meets(of: impl Fn(f64) -> f64, value: f64, [mut low, mut high]: [f64; 2]) -> f64 {
    /// Enough for twelve digits of the interval.
    const STEPS: usize = 40;
    for _ in 0..STEPS {
        let middle = f64::midpoint(low, high);
        if of(middle) > value { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

fn threshold(answers: &[Answer]) -> Option<Threshold> {
    if answers.len() < ENOUGH_FOR_A_THRESHOLD {
        return None;
    }
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
        // Two classes; the gap is how sure it is. Wrong are the two least sure and one in between, of ten
        // each.
        let gaps = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0];
        let wrong = [0, 1, 5];
        let logits: Vec<f32> = gaps.iter().flat_map(|gap| [*gap, 0.0]).collect();
        let labels: Vec<u32> = (0..10).map(|sample| u32::from(wrong.contains(&sample))).collect();
        // Of so few it would be luck.
        assert_eq!(confidence(&logits, &labels, 2).unwrap().threshold, None);
        let (logits, labels) = (logits.repeat(10), labels.repeat(10));
        let found = confidence(&logits, &labels, 2).unwrap();
        let threshold = found.threshold.unwrap();
        // Of ten 30 % are wrong, of the eight most sure 12.5 %.
        assert!((threshold.probability - 1.0 / (1.0 + (-0.3_f64).exp())).abs() < 1e-6);
        assert_eq!((threshold.answered, threshold.accuracy), (0.8, 0.875));
        assert_eq!(threshold.accuracy_of_all, 0.7);
    }

    #[test]
    fn a_temperature_makes_timid_probabilities_fit() {
        // Nine of ten right, by a gap of 1: as sure as 73 %.
        let labels: Vec<u32> = (0..100).map(|sample| u32::from(sample % 10 == 0)).collect();
        let logits = [1.0, 0.0].repeat(100);
        let found = confidence(&logits, &labels, 2).unwrap();
        let share = (90.0 + 0.5) / 101.0_f64;
        let fitting = 1.0 / (share / (1.0 - share)).ln();
        assert!((found.temperature - fitting.powf(100.0 / 130.0)).abs() < 1e-6);
        let Calibrated { ece: [before, after], mean, accuracy, .. } = *found.reliable().unwrap();
        let sure = |gap: f64| 1.0 / (1.0 + (-gap).exp());
        assert!((mean[1] - sure(1.0 / found.temperature)).abs() < 1e-5 && accuracy == 0.9);
        assert!((before - (0.9 - sure(1.0))).abs() < 1e-6);
        assert!((after - (0.9 - mean[1])).abs() < 1e-6 && after < before / 2.0, "{after}");
        // What an older version stored says nothing of it.
        let older = serde_json::json!({
            "temperature": 0.5, "loss": [1.0, 0.5], "threshold": null, "samples": 100
        });
        let older: Confidence = serde_json::from_value(older).unwrap();
        assert_eq!(older.reliable(), None);
    }

    #[test]
    fn a_few_that_are_wrong_for_certain_do_not_decide() {
        // 194 of 200 right by a gap of 2, as sure as 88 %; six wrong by one of 40.
        let labels: Vec<u32> = (0..200).map(|sample| u32::from(sample >= 194)).collect();
        let gap = |sample| if sample >= 194 { 40.0 } else { 2.0 };
        let logits: Vec<f32> = (0..200).flat_map(|sample| [gap(sample), 0.0]).collect();
        let found = confidence(&logits, &labels, 2).unwrap();
        // By cross-entropy it would have to be 4.
        assert!((0.5..0.7).contains(&found.temperature), "{}", found.temperature);
        let [before, after] = found.reliable().unwrap().mean;
        assert!(before < 0.89 && (0.94..0.98).contains(&after), "{before} {after}");
        assert!(found.loss[1] > found.loss[0]);
    }

    #[test]
    fn a_temperature_stays_within_bounds_whatever_is_right() {
        // All right, and none.
        for (label, bounds) in [(0, 0.05..1.0), (1, 1.0..20.0)] {
            let found = confidence(&[1.0, 0.0].repeat(3000), &[label].repeat(3000), 2).unwrap();
            assert!(bounds.contains(&found.temperature), "{}", found.temperature);
        }
        // Nothing tells one class from another.
        let same = confidence(&[0.0; 300], &[0; 100], 3).unwrap();
        assert!(same.temperature.is_finite() && same.loss[0].is_finite());
    }

    #[test]
    fn without_errors_or_where_they_cannot_be_told_apart_there_is_no_threshold() {
        let right = confidence(&[2.0, 0.0, 0.0, 2.0], &[0, 1], 2).unwrap();
        assert_eq!(right.threshold, None);
        // Right about everything, and about no more than two: 2 / T = ln 5, as if one of six halves
        // were wrong, and two of 32 samples say so.
        assert!((right.temperature - (2.0 / 5.0_f64.ln()).powf(2.0 / 32.0)).abs() < 1e-6);
        assert_eq!(right.reliable(), None, "of two samples");
        assert_eq!(confidence(&[1.0, 0.0, 1.0, 0.0], &[0, 1], 2).unwrap().threshold, None);
        assert!(confidence(&[], &[], 2).is_err());
    }
}
