//! The few numbers training and tuning look at.

use serde::{Deserialize, Serialize};

use super::answer::{Answer, answers, check};
use super::groups::{Group, GroupThresholds};
use crate::error::Result;

/// Accuracies of the groups, in 0..1: the mean of the accuracies of a group's classes. `None` where
/// no class of the group has a sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GroupAccuracies {
    /// Of the many group.
    pub many: Option<f64>,
    /// Of the medium group.
    pub medium: Option<f64>,
    /// Of the few group.
    pub few: Option<f64>,
}

impl GroupAccuracies {
    /// The accuracy of one group.
    pub fn of(&self, group: Group) -> Option<f64> {
        match group {
            Group::Many => self.many,
            Group::Medium => self.medium,
            Group::Few => self.few,
        }
    }
}

/// Accuracies in 0..1 and the cross-entropy of a set of samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Mean of the accuracies of the classes that have samples.
    pub balanced_accuracy: f64,
    /// Share of samples whose largest logit is their class's.
    pub top1: f64,
    /// Mean cross-entropy.
    pub loss: f64,
    /// Accuracy by group.
    pub groups: GroupAccuracies,
}

/// Balanced accuracy, top-1, loss and accuracy by group of `logits`, shape [n, C], for `labels`,
/// shape `[n]`. Of equal logits the one of the lowest class counts as the largest.
///
/// ```
/// use counterweight_core::eval::{GroupThresholds, scores};
/// let scores = scores(&[2.0, 1.0, 2.0, 1.0, 0.0, 3.0], &[0, 1, 1], &[200, 5], GroupThresholds::default()).unwrap();
/// assert_eq!((scores.groups.many, scores.groups.medium, scores.groups.few), (Some(1.0), None, Some(0.5)));
/// assert_eq!(scores.balanced_accuracy, 0.75);
/// ```
///
/// # Errors
/// [`crate::error::TrainError::Request`] if there is no sample, the shapes do not fit, a label
/// names no class, or a logit is not finite.
pub fn scores(
    logits: &[f32],
    labels: &[u32],
    train_counts: &[usize],
    thresholds: GroupThresholds,
) -> Result<Scores> {
    Scores::of(&answers(logits, labels, train_counts.len())?, train_counts, thresholds)
}

impl Scores {
    /// Scores of a set of samples by what was said about each. `train_counts` are the training
    /// samples of each class.
    ///
    /// # Errors
    /// [`crate::error::TrainError::Request`] if there is no sample, an answer names no class, or a
    /// logit was not finite.
    pub fn of(
        answers: &[Answer],
        train_counts: &[usize],
        thresholds: GroupThresholds,
    ) -> Result<Self> {
        Self::from(answers, answers.iter().map(|answer| answer.label), train_counts, thresholds)
    }

    /// [`Scores::of`] where each answer counts for a class of `counted_as`, shape [answers], instead of
    /// the sample's own.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn counted(
        answers: &[Answer],
        counted_as: &[u32],
        train_counts: &[usize],
        thresholds: GroupThresholds,
    ) -> Result<Self> {
        Self::from(answers, counted_as.iter().copied(), train_counts, thresholds)
    }

    fn from(
        answers: &[Answer],
        counted_as: impl Iterator<Item = u32>,
        train_counts: &[usize],
        thresholds: GroupThresholds,
    ) -> Result<Self> {
        check(answers, train_counts.len())?;
        let tally = tally(answers.iter().zip(counted_as), train_counts.len());
        let correct = tally.iter().map(|class| class.correct).sum::<usize>();
        Ok(Self {
            balanced_accuracy: mean(tally.iter().filter_map(ClassTally::accuracy))
                .unwrap_or_default(),
            top1: correct as f64 / answers.len() as f64,
            loss: answers.iter().map(Answer::loss).fold(0.0, |sum, loss| sum + loss)
                / answers.len() as f64,
            groups: group_accuracies(&tally, train_counts, thresholds),
        })
    }
}

/// The accuracy of each of so many classes, in 0..1; `None` for those without a sample. Answers
/// about other classes are left out.
pub fn class_accuracies(answers: &[Answer], classes: usize) -> Vec<Option<f64>> {
    let own = answers.iter().map(|answer| (answer, answer.label));
    tally(own, classes).iter().map(ClassTally::accuracy).collect()
}

/// Answers by the class that each counts for.
fn tally<'a>(answers: impl Iterator<Item = (&'a Answer, u32)>, classes: usize) -> Vec<ClassTally> {
    let mut tally = vec![ClassTally::default(); classes];
    for (answer, class) in answers {
        if let Some(class) = tally.get_mut(class as usize) {
            class.samples += 1;
            class.correct += usize::from(answer.is_right());
        }
    }
    tally
}

/// Samples of one class.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ClassTally {
    pub samples: usize,
    pub correct: usize,
}

impl ClassTally {
    pub fn accuracy(&self) -> Option<f64> {
        (self.samples > 0).then(|| self.correct as f64 / self.samples as f64)
    }
}

pub(super) fn group_accuracies(
    tally: &[ClassTally],
    train_counts: &[usize],
    thresholds: GroupThresholds,
) -> GroupAccuracies {
    let of = |group| {
        let members =
            tally.iter().zip(train_counts).filter(|(_, count)| thresholds.group(**count) == group);
        mean(members.filter_map(|(class, _)| class.accuracy()))
    };
    GroupAccuracies { many: of(Group::Many), medium: of(Group::Medium), few: of(Group::Few) }
}

/// The mean, if there is anything to take it of.
pub(super) fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, n) = values.fold((0.0, 0_usize), |(sum, n), value| (sum + value, n + 1));
    (n > 0).then(|| sum / n as f64)
}

/// Index of the largest value, the lowest of equal ones.
pub(crate) fn argmax(row: &[f32]) -> usize {
    let mut best = 0;
    for (index, value) in row.iter().enumerate().skip(1) {
        if *value > row[best] {
            best = index;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_scored_is_an_error_with_its_reason() {
        let scores = |logits: &[f32], labels: &[u32]| {
            scores(logits, labels, &[1, 1], GroupThresholds::default())
        };
        assert!(scores(&[], &[]).unwrap_err().to_string().contains("no sample"));
        assert!(scores(&[0.0; 3], &[0]).unwrap_err().to_string().contains("3 logits"));
        assert!(scores(&[0.0; 2], &[2]).unwrap_err().to_string().contains("label 2"));
        assert!(
            scores(&[0.0, 0.0, 0.0, f32::NAN], &[0, 1])
                .unwrap_err()
                .to_string()
                .contains("sample 1 for class 1 is NaN")
        );
    }

    #[test]
    fn equal_logits_count_for_the_lowest_class() {
        let scores =
            scores(&[1.0, 1.0, 1.0, 1.0], &[0, 1], &[1, 1], GroupThresholds::default()).unwrap();
        assert_eq!(scores.top1, 0.5);
        assert!((scores.loss - 2.0_f64.ln()).abs() < 1e-7);
    }
}
