//! Two classifiers on the same samples.

use serde::{Deserialize, Serialize};

use super::answer::Answer;
use super::groups::{Group, GroupThresholds};
use crate::error::{Result, TrainError};

/// How two classifiers differ on the same samples, of all classes or of a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairedDifference {
    /// The group; `None` for all classes.
    pub group: Option<Group>,
    /// Samples.
    pub samples: usize,
    /// Samples that the first gets right, and that the second does.
    pub right: [usize; 2],
    /// Samples that only the first gets right.
    pub only_first: usize,
    /// Samples that only the second gets right.
    pub only_second: usize,
    /// Accuracy of the second less that of the first.
    pub difference: f64,
    /// Its interval at 95 %, by Agresti and Min (*Statistics in Medicine*, 2005).
    pub interval: [f64; 2],
    /// How probable a difference as large is by chance: McNemar's test (1947), exact and two-sided.
    pub p_value: f64,
}

/// Compares two classifiers' answers for the same samples, in the same order: over all classes, then
/// by group, as far as there are samples.
///
/// # Errors
/// [`TrainError::Request`] if the answers are of different samples, or there are none.
pub fn paired_differences(
    first: &[Answer],
    second: &[Answer],
    train_counts: &[usize],
    thresholds: GroupThresholds,
) -> Result<Vec<PairedDifference>> {
    let same = first.len() == second.len()
        && first.iter().zip(second).all(|(first, second)| first.label == second.label);
    if !same || first.is_empty() {
        let reason =
            format!("{} and {} answers are not of the same samples", first.len(), second.len());
        return Err(TrainError::Request(reason).into());
    }
    let of = |group: Option<Group>| {
        let belongs = |answer: &Answer| {
            let count = train_counts.get(answer.label as usize).copied().unwrap_or_default();
            group.is_none_or(|group| thresholds.group(count) == group)
        };
        let pairs = first.iter().zip(second).filter(|(first, _)| belongs(first));
        let (mut samples, mut both, mut only_first, mut only_second) = (0, 0, 0, 0);
        for (first, second) in pairs {
            samples += 1;
            both += usize::from(first.is_right() && second.is_right());
            only_first += usize::from(first.is_right() && !second.is_right());
            only_second += usize::from(second.is_right() && !first.is_right());
        }
        PairedDifference::of(group, samples, both, [only_first, only_second])
    };
    let all = [None].into_iter().chain(Group::ALL.map(Some)).map(of);
    Ok(all.filter(|difference| difference.samples > 0).collect())
}

impl PairedDifference {
    /// Whether a difference like this is hardly chance: less probable than one in twenty.
    pub fn is_certain(&self) -> bool {
        self.p_value < 0.05
    }

    /// Accuracies of the first and of the second.
    pub fn accuracies(&self) -> [f64; 2] {
        self.right.map(|right| right as f64 / self.samples.max(1) as f64)
    }

    fn of(group: Option<Group>, samples: usize, both: usize, only: [usize; 2]) -> Self {
        let [only_first, only_second] = only;
        const Z: f64 = 1.959_963_984_540_054;
        let (b, c) = (only_first as f64 + 0.5, only_second as f64 + 0.5);
        let n = samples as f64 + 2.0;
        let centre = (c - b) / n;
        let half = Z * (b + c - (c - b).powi(2) / n).sqrt() / n;
        Self {
            group,
            samples,
            right: only.map(|only| both + only),
            only_first,
            only_second,
            difference: (only_second as f64 - only_first as f64) / samples.max(1) as f64,
            interval: [(centre - half).max(-1.0), (centre + half).min(1.0)],
            p_value: mcnemar(only_first, only_second),
        }
    }
}

/// Twice the probability of as few of the rarer kind among all pairs that differ, if both kinds are
/// equally likely.
fn mcnemar(first: usize, second: usize) -> f64 {
    let n = (first + second) as f64;
    // Of logarithms, so that thousands of pairs do not end at 0 / 0.
    let mut log_choose = 0.0_f64;
    let mut sum = 0.0;
    for k in 0..=first.min(second) {
        if k > 0 {
            log_choose += (n - k as f64 + 1.0).ln() - (k as f64).ln();
        }
        sum += (log_choose - n * 2.0_f64.ln()).exp();
    }
    (2.0 * sum).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_gives_what_tables_give() {
        // scipy.stats.binomtest(3, 15).pvalue, (1, 9), (40, 60), (2000, 2200), and none at all.
        for (first, second, p) in [
            (3, 12, 0.035_156_25),
            (9, 1, 0.021_484_375),
            (40, 60, 0.056_887_933_640_981_01),
            (2000, 2200, 0.002_132_355_671_995_2),
            (0, 0, 1.0),
            (5, 5, 1.0),
        ] {
            let found = mcnemar(first, second);
            assert!((found - p).abs() < 2e-6, "{first} {second}: {found}");
        }
    }

    #[test]
    fn answers_are_compared_in_all_and_by_group() {
        let answers = |rows: [[f32; 2]; 4]| {
            let labels = [0, 0, 0, 1];
            rows.iter().zip(labels).map(|(row, label)| Answer::of(row, label)).collect::<Vec<_>>()
        };
        let first = answers([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]);
        let second = answers([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]]);
        let thresholds = GroupThresholds::default();
        let found = paired_differences(&first, &second, &[500, 3], thresholds).unwrap();
        let [all, many, few] = &found[..] else { panic!("{found:?}") };
        assert_eq!((all.group, all.samples, all.only_first, all.only_second), (None, 4, 1, 1));
        assert_eq!((all.difference, all.p_value, all.is_certain()), (0.0, 1.0, false));
        assert_eq!((all.right, many.right, few.right), ([2, 2], [2, 1], [0, 1]));
        assert_eq!(all.accuracies(), [0.5, 0.5]);
        assert_eq!((many.group, many.samples, many.only_first), (Some(Group::Many), 3, 1));
        assert_eq!((few.group, few.difference), (Some(Group::Few), 1.0));
        assert!(few.interval[0] < 1.0 && few.interval[1] <= 1.0);
        assert!(paired_differences(&first, &second[1..], &[500, 3], thresholds).is_err());
        assert!(paired_differences(&[], &[], &[500, 3], thresholds).is_err());
    }
}
