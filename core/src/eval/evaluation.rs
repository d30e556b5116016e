//! Everything there is to say about a classifier's results on a split.

use serde::{Deserialize, Serialize};

use super::answer::{Answer, answers, check};
use super::confusion::Confusion;
use super::groups::{Group, GroupSizes, GroupThresholds, suggested_thirds};
use super::scores::{ClassTally, GroupAccuracies, group_accuracies, mean};
use crate::error::{Result, TrainError};

/// Results on a split. Accuracies and the calibration error are in 0..1. Classes without a sample
/// in the split have no accuracy and are left out of every mean.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Mean of the per-class accuracies.
    pub balanced_accuracy: f64,
    /// Share of samples whose largest logit is their class's.
    pub top1: f64,
    /// Share of samples whose class is among the five largest logits; 1 with five classes or fewer.
    pub top5: f64,
    /// Mean of the per-class accuracies in each group.
    pub groups: GroupAccuracies,
    /// Expected calibration error: Σ over the bins of |accuracy − confidence| weighted by the bin's
    /// share of samples (Guo et al., ICML 2017).
    pub ece: f64,
    /// Mean of the per-class F1 scores.
    pub macro_f1: f64,
    /// Mean cross-entropy.
    pub loss: f64,
    /// Number of samples.
    pub samples: usize,
    /// The class of lowest accuracy, the first of equal ones.
    pub worst_class: WorstClass,
    /// Where the groups begin and end.
    pub thresholds: GroupThresholds,
    /// Number of classes in each group.
    pub group_sizes: GroupSizes,
    /// Thresholds that would split the classes into thirds, where the present ones put all into one
    /// group.
    pub suggested_thresholds: Option<GroupThresholds>,
    /// Each class, in label order.
    pub per_class: Vec<ClassResult>,
    /// Which classes the samples of each class were taken for.
    pub confusion: Confusion,
    /// The bins of the calibration error, equally wide, from confidence 0 to 1.
    pub calibration: Vec<CalibrationBin>,
}

/// The class that does worst.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorstClass {
    /// Its name.
    pub name: String,
    /// Its accuracy.
    pub accuracy: f64,
}

/// The results of one class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassResult {
    /// The class's name. Left out of files that say it elsewhere.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Training samples of the class, n_k.
    pub train_count: usize,
    /// The group that follows from it.
    pub group: Group,
    /// Samples of the class in the split.
    pub samples: usize,
    /// Of these, classified correctly.
    pub correct: usize,
    /// Share of these classified correctly.
    pub accuracy: Option<f64>,
    /// Wilson's 95 % interval of the accuracy.
    pub interval: Option<[f64; 2]>,
    /// Harmonic mean of precision and recall.
    pub f1: Option<f64>,
}

/// One bin of the reliability diagram: samples whose confidence (the largest probability) lies in
/// (lower, upper].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CalibrationBin {
    /// Lower edge, exclusive.
    pub lower: f64,
    /// Upper edge, inclusive.
    pub upper: f64,
    /// Samples in the bin.
    pub samples: usize,
    /// Their mean confidence; 0 in an empty bin.
    pub confidence: f64,
    /// Their accuracy; 0 in an empty bin.
    pub accuracy: f64,
}

/// Bins of the calibration error.
const BINS: usize = 15;

/// Evaluates `logits`, shape `[n, C]`, against `labels`, shape `[n]`. `train_counts` are the
/// training samples of each class, which its group follows from. Of equal logits the one of the
/// lowest class counts as larger.
///
/// ```
/// use counterweight_core::eval::{GroupThresholds, evaluate};
/// let names = ["cat".to_string(), "lynx".to_string()];
/// let logits = [3.0, 0.0, 2.0, 1.0, 0.0, 1.0];
/// let evaluation = evaluate(&logits, &[0, 1, 1], &names, &[500, 8], GroupThresholds::default()).unwrap();
/// assert_eq!(evaluation.balanced_accuracy, 0.75);
/// assert_eq!(evaluation.worst_class.name, "lynx");
/// assert_eq!(evaluation.confusion.row(1), [(0, 1), (1, 1)]);
/// ```
///
/// # Errors
/// [`TrainError::Request`] if there is no sample, the lengths do not fit each other, a label names
/// no class, or a logit is not finite.
pub fn evaluate(
    logits: &[f32],
    labels: &[u32],
    class_names: &[String],
    train_counts: &[usize],
    thresholds: GroupThresholds,
) -> Result<Evaluation> {
    check_counts(class_names, train_counts)?;
    let answers = answers(logits, labels, class_names.len())?;
    Evaluation::of(&answers, class_names, train_counts, thresholds)
}

impl Evaluation {
    /// Evaluates what was said about each of a set of samples. `train_counts` are the training
    /// samples of each class, which its group follows from.
    ///
    /// # Errors
    /// [`TrainError::Request`] if there is no sample, there is not a name and a count for each
    /// class, an answer names no class, or a logit was not finite.
    pub fn of(
        answers: &[Answer],
        class_names: &[String],
        train_counts: &[usize],
        thresholds: GroupThresholds,
    ) -> Result<Self> {
        check_counts(class_names, train_counts)?;
        check(answers, class_names.len())?;
        evaluated(answers, class_names, train_counts, thresholds)
    }
}

fn check_counts(class_names: &[String], train_counts: &[usize]) -> Result<()> {
    let (counts, classes) = (train_counts.len(), class_names.len());
    match counts == classes {
        true => Ok(()),
        false => Err(TrainError::Request(format!(
            "{counts} training counts do not fit {classes} classes"
        ))
        .into()),
    }
}

/// [`Evaluation::of`] what was checked.
fn evaluated(
    answers: &[Answer],
    class_names: &[String],
    train_counts: &[usize],
    thresholds: GroupThresholds,
) -> Result<Evaluation> {
    let classes = class_names.len();
    let n = answers.len() as f64;
    let loss: f64 = answers.iter().map(Answer::loss).sum();
    let in_top5 = answers.iter().filter(|answer| answer.in_top5).count();
    let (bins, ece) = reliability(answers);

    let confusion = Confusion::from_pairs(
        classes,
        answers.iter().map(|answer| (answer.label, answer.predicted)),
    )?;
    let tally: Vec<ClassTally> = (0..classes)
        .map(|class| ClassTally {
            samples: confusion.samples(class),
            correct: confusion.correct(class),
        })
        .collect();
    let predicted = confusion.predicted();
    let per_class: Vec<ClassResult> = tally
        .iter()
        .enumerate()
        .map(|(class, tally)| ClassResult {
            name: class_names[class].clone(),
            train_count: train_counts[class],
            group: thresholds.group(train_counts[class]),
            samples: tally.samples,
            correct: tally.correct,
            accuracy: tally.accuracy(),
            interval: (tally.samples > 0).then(|| wilson_interval(tally.correct, tally.samples)),
            f1: (tally.samples > 0)
                .then(|| 2.0 * tally.correct as f64 / (tally.samples + predicted[class]) as f64),
        })
        .collect();
    let worst_class = per_class
        .iter()
        .filter_map(|class| class.accuracy.map(|accuracy| (class, accuracy)))
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(class, accuracy)| WorstClass { name: class.name.clone(), accuracy })
        .expect("a sample belongs to a class");
    Ok(Evaluation {
        balanced_accuracy: mean(tally.iter().filter_map(ClassTally::accuracy)).unwrap_or_default(),
        top1: tally.iter().map(|class| class.correct).sum::<usize>() as f64 / n,
        top5: in_top5 as f64 / n,
        groups: group_accuracies(&tally, train_counts, thresholds),
        ece,
        macro_f1: mean(per_class.iter().filter_map(|class| class.f1)).unwrap_or_default(),
        loss: loss / n,
        samples: answers.len(),
        worst_class,
        thresholds,
        group_sizes: thresholds.sizes(train_counts),
        suggested_thresholds: suggested_thirds(train_counts, thresholds),
        per_class,
        confusion,
        calibration: bins.to_vec(),
    })
}

/// Wilson's score interval at 95 % (Wilson, JASA 1927) of `correct` out of `samples`, within 0..1.
///
/// ```
/// use counterweight_core::eval::wilson_interval;
/// let [low, high] = wilson_interval(5, 10);
/// assert!((low - 0.2366).abs() < 1e-4 && (high - 0.7634).abs() < 1e-4);
/// ```
pub fn wilson_interval(correct: usize, samples: usize) -> [f64; 2] {
    const Z: f64 = 1.959_963_984_540_054;
    if samples == 0 {
        return [0.0, 1.0];
    }
    let n = samples as f64;
    let p = correct as f64 / n;
    let center = p + Z * Z / (2.0 * n);
    let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    // At the ends the formula gives 0 and 1 but for rounding.
    let low = if correct == 0 { 0.0 } else { (center - half) / scale };
    let high = if correct == samples { 1.0 } else { (center + half) / scale };
    [low, high]
}

/// How sure answers are beside how often they are right, in bins of confidence, and the expected
/// calibration error: the mean of the differences, by the samples of each bin.
pub(super) fn reliability(answers: &[Answer]) -> ([CalibrationBin; BINS], f64) {
    let mut bins = [CalibrationBin::default(); BINS];
    for answer in answers {
        let confidence = answer.probability();
        let bin = ((confidence * BINS as f64).ceil() as usize).clamp(1, BINS) - 1;
        bins[bin].samples += 1;
        bins[bin].confidence += confidence;
        bins[bin].accuracy += f64::from(u8::from(answer.is_right()));
    }
    let n = answers.len() as f64;
    let mut ece = 0.0;
    for (index, bin) in bins.iter_mut().enumerate() {
        bin.lower = index as f64 / BINS as f64;
        bin.upper = (index + 1) as f64 / BINS as f64;
        if bin.samples > 0 {
            ece += (bin.accuracy - bin.confidence).abs() / n;
            bin.confidence /= bin.samples as f64;
            bin.accuracy /= bin.samples as f64;
        }
    }
    (bins, ece)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(classes: usize) -> Vec<String> {
        (0..classes).map(|class| format!("class {class}")).collect()
    }

    #[test]
    fn classes_without_samples_have_no_accuracy_and_enter_no_mean() {
        let logits = [1.0, 0.0, 0.0, 0.0, 0.0, 1.0];
        let evaluation =
            evaluate(&logits, &[0, 0], &names(3), &[200, 50, 5], GroupThresholds::default())
                .unwrap();
        assert_eq!(evaluation.balanced_accuracy, 0.5);
        assert_eq!(evaluation.groups, GroupAccuracies { many: Some(0.5), medium: None, few: None });
        assert_eq!(evaluation.per_class[1].accuracy, None);
        assert_eq!(evaluation.per_class[2].interval, None);
        assert_eq!(evaluation.worst_class.name, "class 0");
        let json = serde_json::to_value(&evaluation).unwrap();
        assert!(json["groups"]["few"].is_null());
        // Older files hold the confusion matrix with its zeros.
        let mut old = json.clone();
        old["confusion"] = serde_json::json!([[1, 0, 1], [0, 0, 0], [0, 0, 0]]);
        assert_eq!(serde_json::from_value::<Evaluation>(old).unwrap(), evaluation);
        assert_eq!(serde_json::from_value::<Evaluation>(json).unwrap(), evaluation);
    }

    #[test]
    fn top5_follows_the_order_of_logits_and_then_of_classes() {
        let flat = [0.0_f32; 7];
        let of = |logits: &[f32], label| {
            evaluate(
                logits,
                &[label],
                &names(logits.len()),
                &vec![30; logits.len()],
                GroupThresholds::default(),
            )
        };
        assert_eq!(of(&flat, 4).unwrap().top5, 1.0);
        assert_eq!(of(&flat, 5).unwrap().top5, 0.0);
        assert_eq!(of(&[3.0, 2.0, 1.0], 2).unwrap().top5, 1.0);
    }

    #[test]
    fn a_sure_and_correct_classifier_is_calibrated() {
        let evaluation = evaluate(
            &[200.0, 0.0, 0.0, 200.0],
            &[0, 1],
            &names(2),
            &[30, 30],
            GroupThresholds::default(),
        )
        .unwrap();
        assert_eq!(evaluation.ece, 0.0);
        assert_eq!(evaluation.calibration.len(), 15);
        assert_eq!(evaluation.calibration[14].samples, 2);
        let opposite = evaluate(
            &[200.0, 0.0, 0.0, 200.0],
            &[1, 0],
            &names(2),
            &[30, 30],
            GroupThresholds::default(),
        )
        .unwrap();
        assert_eq!(opposite.ece, 1.0);
    }

    #[test]
    fn intervals_stay_within_bounds() {
        assert_eq!(wilson_interval(0, 1)[0], 0.0);
        assert_eq!(wilson_interval(10, 10)[1], 1.0);
        assert_eq!(wilson_interval(0, 0), [0.0, 1.0]);
        let [low, high] = wilson_interval(0, 10);
        assert!(low == 0.0 && (high - 0.2775).abs() < 1e-4);
    }

    #[test]
    fn names_and_counts_must_agree() {
        assert!(evaluate(&[0.0; 2], &[0], &names(2), &[1], GroupThresholds::default()).is_err());
        assert!(
            evaluate(&[0.0, f32::INFINITY], &[0], &names(2), &[1, 1], GroupThresholds::default())
                .is_err()
        );
    }
}
