//! What validation and test know from training: images that have a sibling there.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use super::{GroupBy, Grouping, GroupingSizes};
use crate::dataset::build::build_with;
use crate::dataset::holdout::DEFAULT_VALIDATION;
use crate::dataset::{BuildOptions, Dataset};
use crate::error::Result;
use crate::eval::{Group, GroupThresholds};
use crate::source::{Catalog, Location, Split};

/// Images, and those of them that belong to a group of which there are training images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LeakCount {
    /// Images.
    pub images: usize,
    /// Images with a sibling in training.
    pub with_sibling: usize,
}

impl LeakCount {
    /// The share with a sibling in training, 0 to 1; none of no image.
    pub fn share(self) -> Option<f64> {
        (self.images > 0).then(|| self.with_sibling as f64 / self.images as f64)
    }

    fn add(&mut self, with_sibling: bool) {
        self.images += 1;
        self.with_sibling += usize::from(with_sibling);
    }
}

/// The leak of one split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SplitLeak {
    /// Of all classes.
    pub all: LeakCount,
    /// Of classes with few training samples.
    pub few: LeakCount,
    /// Of those with neither few nor many.
    pub medium: LeakCount,
    /// Of classes with many.
    pub many: LeakCount,
}

impl SplitLeak {
    /// The leak of the classes of a group.
    pub fn of(&self, group: Group) -> LeakCount {
        match group {
            Group::Few => self.few,
            Group::Medium => self.medium,
            Group::Many => self.many,
        }
    }
}

/// How many images of validation and test have a sibling in training: what is said of those flatters
/// the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Leak {
    /// Of the validation split.
    pub validation: SplitLeak,
    /// Of the test split.
    pub test: SplitLeak,
}

impl Leak {
    /// The leak of a dataset whose samples are of a catalog; those that the catalog does not have are
    /// alone. Groups of classes are by the usual thresholds.
    pub fn of(dataset: &Dataset, catalog: &Catalog, grouping: &Grouping) -> Self {
        Self::of_classes(dataset, &class_groups(dataset), catalog, grouping)
    }

    fn of_classes(
        dataset: &Dataset,
        class_groups: &[Group],
        catalog: &Catalog,
        grouping: &Grouping,
    ) -> Self {
        let places: HashMap<&Location, usize> =
            catalog.samples.iter().enumerate().map(|(i, sample)| (&sample.location, i)).collect();
        let group = |location: &Location| places.get(location).map(|&i| grouping.group(i));
        let learned: HashSet<u32> = dataset
            .samples
            .iter()
            .filter(|sample| sample.split == Split::Train)
            .filter_map(|sample| group(&sample.location))
            .collect();
        let mut leak = Self::default();
        for sample in &dataset.samples {
            let split = match sample.split {
                Split::Train => continue,
                Split::Validation => &mut leak.validation,
                Split::Test => &mut leak.test,
            };
            let has_sibling = group(&sample.location).is_some_and(|group| learned.contains(&group));
            split.all.add(has_sibling);
            match class_groups[sample.class] {
                Group::Few => &mut split.few,
                Group::Medium => &mut split.medium,
                Group::Many => &mut split.many,
            }
            .add(has_sibling);
        }
        leak
    }
}

fn class_groups(dataset: &Dataset) -> Vec<Group> {
    let thresholds = GroupThresholds::default();
    dataset.counts(Split::Train).into_iter().map(|n| thresholds.group(n)).collect()
}

/// What keeping together what belongs together does to a build.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Grouped {
    /// How images belong together, as [`GroupBy`] is written.
    pub by: String,
    /// How large the groups are.
    #[serde(flatten)]
    pub sizes: GroupingSizes,
    /// The share of validation that was assumed for the comparison, where the build would hold none
    /// out.
    pub assumed_validation: Option<f64>,
    /// The leak where every image is held out by itself.
    pub before: Leak,
    /// The leak where groups are kept together.
    pub after: Leak,
    /// Classes without a validation image, where there are any in others.
    pub without_validation: Vec<String>,
}

/// Compares a build that holds out image by image with one that keeps the groups together.
///
/// # Errors
/// As [`build`](crate::dataset::build).
pub fn grouped(
    catalog: &Catalog,
    options: &BuildOptions,
    by: &GroupBy,
    grouping: &Grouping,
) -> Result<Grouped> {
    let mut options = BuildOptions { group_by: None, ..options.clone() };
    let mut before = build_with(catalog, &options, None)?.dataset;
    let has_validation = before.samples.iter().any(|sample| sample.split == Split::Validation);
    let assumed_validation =
        (!has_validation && options.validation.is_none()).then_some(DEFAULT_VALIDATION);
    if assumed_validation.is_some() {
        options.validation = assumed_validation;
        before = build_with(catalog, &options, None)?.dataset;
    }
    options.group_by = Some(by.clone());
    let after = build_with(catalog, &options, Some(grouping))?.dataset;
    let validation = after.counts(Split::Validation);
    let without = after.classes.iter().zip(&validation).filter(|(_, n)| **n == 0);
    Ok(Grouped {
        by: by.to_string(),
        sizes: grouping.sizes(catalog),
        assumed_validation,
        // Classes stay in their groups, though whole series leave them a few images more or less.
        before: Leak::of(&before, catalog, grouping),
        after: Leak::of_classes(&after, &class_groups(&before), catalog, grouping),
        without_validation: match validation.iter().any(|n| *n > 0) {
            true => without.map(|(name, _)| name.clone()).collect(),
            false => Vec::new(),
        },
    })
}
