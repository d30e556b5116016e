//! How long a tail is: groups of classes by their number of training samples, and the imbalance
//! factor.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::settings::EvaluationSettings;

/// Classes with more training samples than this are in the many group, unless set otherwise.
pub const MANY_ABOVE: usize = 100;

/// Classes with fewer training samples than this are in the few group, unless set otherwise.
pub const FEW_BELOW: usize = 20;

/// A group of classes (Liu et al., *Large-Scale Long-Tailed Recognition in an Open World*, CVPR
/// 2019).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// Many training samples.
    Many,
    /// Neither many nor few.
    Medium,
    /// Few training samples.
    Few,
}

impl Group {
    /// All groups, in the order they are shown.
    pub const ALL: [Group; 3] = [Group::Many, Group::Medium, Group::Few];

    /// The group's name: `many`, `medium` or `few`.
    pub fn name(self) -> &'static str {
        match self {
            Group::Many => "many",
            Group::Medium => "medium",
            Group::Few => "few",
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where the groups begin and end, in training samples of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupThresholds {
    /// Classes with more training samples than this are many.
    pub many_above: usize,
    /// Classes with fewer training samples than this are few.
    pub few_below: usize,
}

impl Default for GroupThresholds {
    /// Many above 100, few below 20, as the literature has it.
    fn default() -> Self {
        Self { many_above: MANY_ABOVE, few_below: FEW_BELOW }
    }
}

impl From<&EvaluationSettings> for GroupThresholds {
    fn from(settings: &EvaluationSettings) -> Self {
        Self { many_above: settings.many_above, few_below: settings.few_below }
    }
}

impl GroupThresholds {
    /// The group of a class with this many training samples.
    ///
    /// ```
    /// use counterweight_core::eval::{Group, GroupThresholds};
    /// let groups = [101, 100, 20, 19].map(|count| GroupThresholds::default().group(count));
    /// assert_eq!(groups, [Group::Many, Group::Medium, Group::Medium, Group::Few]);
    /// ```
    pub fn group(&self, train_count: usize) -> Group {
        if train_count > self.many_above {
            Group::Many
        } else if train_count < self.few_below {
            Group::Few
        } else {
            Group::Medium
        }
    }

    /// The number of classes in each group.
    pub fn sizes(&self, train_counts: &[usize]) -> GroupSizes {
        let mut sizes = GroupSizes::default();
        for &count in train_counts {
            match self.group(count) {
                Group::Many => sizes.many += 1,
                Group::Medium => sizes.medium += 1,
                Group::Few => sizes.few += 1,
            }
        }
        sizes
    }

    /// [`GroupThresholds::sizes`] with the thresholds beside them.
    pub fn summary(self, train_counts: &[usize]) -> GroupSummary {
        GroupSummary { sizes: self.sizes(train_counts), thresholds: self }
    }
}

/// Numbers of classes in the groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupSizes {
    /// Classes in the many group.
    pub many: usize,
    /// Classes in the medium group.
    pub medium: usize,
    /// Classes in the few group.
    pub few: usize,
}

impl GroupSizes {
    /// How many groups hold a class.
    pub fn occupied(&self) -> usize {
        [self.many, self.medium, self.few].iter().filter(|size| **size > 0).count()
    }
}

/// Numbers of classes in the groups, and where the groups begin and end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupSummary {
    /// The numbers.
    #[serde(flatten)]
    pub sizes: GroupSizes,
    /// Where the groups begin and end.
    #[serde(flatten)]
    pub thresholds: GroupThresholds,
}

/// Largest class count over smallest; `None` where there is no class or one is empty.
pub fn imbalance_factor(counts: &[usize]) -> Option<f64> {
    let smallest = *counts.iter().min()?;
    let largest = *counts.iter().max()?;
    (smallest > 0).then(|| largest as f64 / smallest as f64)
}

/// Thresholds that split the classes into thirds by training count, offered where `thresholds` put
/// every class into one group. Ties can make the thirds uneven. `None` if the groups already differ
/// or all classes have the same count.
///
/// ```
/// use counterweight_core::eval::{GroupSizes, GroupThresholds, suggested_thirds};
/// let counts = [90, 80, 70, 60, 50, 40];
/// let thirds = suggested_thirds(&counts, GroupThresholds::default()).unwrap();
/// assert_eq!(thirds.sizes(&counts), GroupSizes { many: 2, medium: 2, few: 2 });
/// assert_eq!(suggested_thirds(&[500, 5], GroupThresholds::default()), None);
/// ```
pub fn suggested_thirds(
    train_counts: &[usize],
    thresholds: GroupThresholds,
) -> Option<GroupThresholds> {
    if thresholds.sizes(train_counts).occupied() != 1 {
        return None;
    }
    let mut counts = train_counts.to_vec();
    counts.sort_unstable_by(|a, b| b.cmp(a));
    let classes = counts.len();
    let third = (classes / 3).max(1);
    let many_above = *counts.get(third)?;
    let few_below = counts[classes - 1 - third].min(many_above + 1);
    let thirds = GroupThresholds { many_above, few_below };
    (thirds.sizes(train_counts).occupied() > 1).then_some(thirds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_thresholds_belong_to_the_medium_group() {
        let sizes = GroupThresholds::default().sizes(&[101, 100, 20, 19, 0]);
        assert_eq!((sizes.many, sizes.medium, sizes.few), (1, 2, 2));
    }

    #[test]
    fn an_empty_class_has_no_imbalance_factor() {
        assert_eq!(imbalance_factor(&[500, 5]), Some(100.0));
        assert_eq!(imbalance_factor(&[500, 0]), None);
        assert_eq!(imbalance_factor(&[]), None);
    }

    #[test]
    fn thirds_are_offered_only_where_they_tell_classes_apart() {
        let default = GroupThresholds::default();
        assert_eq!(suggested_thirds(&[50; 9], default), None);
        assert_eq!(suggested_thirds(&[50], default), None);
        assert_eq!(suggested_thirds(&[], default), None);
        let two = suggested_thirds(&[50, 40], default).unwrap();
        assert_eq!(two.sizes(&[50, 40]), GroupSizes { many: 1, medium: 0, few: 1 });
        for counts in
            [vec![50, 50, 50, 50, 30, 30], vec![60, 50, 50, 50, 50, 50], vec![900, 800, 700, 600]]
        {
            let thirds = suggested_thirds(&counts, default).unwrap();
            assert!(thirds.few_below <= thirds.many_above + 1);
            assert!(thirds.sizes(&counts).occupied() > 1, "{counts:?} {thirds:?}");
        }
    }
}
