//! How long a tail is: the imbalance factor, and how many classes are many, medium and few.

use serde::{Deserialize, Serialize};

use crate::eval::GroupThresholds;

/// Classes with more training samples than this are in the many group, unless set otherwise.
pub const MANY_ABOVE: usize = 100;

/// Classes with fewer training samples than this are in the few group, unless set otherwise.
pub const FEW_BELOW: usize = 20;

/// Numbers of classes in each group (Liu et al., *Large-Scale Long-Tailed Recognition in an Open
/// World*, CVPR 2019).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupSizes {
    /// Classes with more than [`GroupSizes::many_above`] training samples.
    pub many: usize,
    /// Classes between the two thresholds, both included.
    pub medium: usize,
    /// Classes with fewer than [`GroupSizes::few_below`] training samples.
    pub few: usize,
    /// The upper threshold.
    pub many_above: usize,
    /// The lower threshold.
    pub few_below: usize,
}

impl GroupSizes {
    /// Sorts classes into groups by their training counts.
    pub fn of(counts: &[usize], many_above: usize, few_below: usize) -> Self {
        let sizes = GroupThresholds { many_above, few_below }.sizes(counts);
        Self { many: sizes.many, medium: sizes.medium, few: sizes.few, many_above, few_below }
    }
}

/// Largest class count over smallest; `None` where there is no class or one is empty.
pub fn imbalance_factor(counts: &[usize]) -> Option<f64> {
    let smallest = *counts.iter().min()?;
    let largest = *counts.iter().max()?;
    (smallest > 0).then(|| largest as f64 / smallest as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_thresholds_belong_to_the_medium_group() {
        let sizes = GroupSizes::of(&[101, 100, 20, 19, 0], MANY_ABOVE, FEW_BELOW);
        assert_eq!((sizes.many, sizes.medium, sizes.few), (1, 2, 2));
    }

    #[test]
    fn an_empty_class_has_no_imbalance_factor() {
        assert_eq!(imbalance_factor(&[500, 5]), Some(100.0));
        assert_eq!(imbalance_factor(&[500, 0]), None);
        assert_eq!(imbalance_factor(&[]), None);
    }
}
