//! What a person asks of a build. Recorded in the dataset file, so that it can be repeated.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::grouping::{GroupBy, last_folder_names, subfolder_names};
use super::profile::Profile;
use super::rename;
use crate::error::{DataError, Result};

/// How a catalog is built into a dataset.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BuildOptions {
    /// Seed of everything random: shuffled class order, random picks, held-out samples. At most 2⁶³
    /// − 1, the largest integer TOML holds.
    pub seed: u64,
    /// Training samples of the largest class, n_max. Without it, what the largest of the chosen
    /// classes has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_per_class: Option<usize>,
    /// Which classes to keep; all without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<ClassChoice>,
    /// Which class is the head and which the tail.
    pub order: ClassOrder,
    /// Which of a class's training samples are kept.
    pub pick: Pick,
    /// Share to hold out for validation. Without it: 0.1 where the source has no splits, else what
    /// the source has. 0 leaves validation out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<f64>,
    /// Share to hold out for testing. Without it: 0.2 where the source has no splits, else what the
    /// source has. 0 leaves the test out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<f64>,
    /// How many training samples each class keeps.
    pub profile: Profile,
    /// New names of classes, by the source's own; several classes with one new name become one
    /// class. Everything else here goes by the new names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rename: BTreeMap<String, String>,
    /// What makes images belong together: whole groups of them are held out. Without it, every image
    /// is held out by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_by: Option<GroupBy>,
}

impl BuildOptions {
    /// Asks for another way of keeping images together, of a source with these `classes`. Folders that
    /// are groups are no classes: [`subfolder_names`], or [`last_folder_names`], become part of the new
    /// names, and are taken back with another way; names that were given stay.
    pub fn keep_together(&mut self, by: Option<GroupBy>, classes: &[String]) {
        let names_by = |by: Option<&GroupBy>| match by {
            Some(GroupBy::Subfolder) => subfolder_names(classes),
            Some(GroupBy::FolderAbove) => last_folder_names(classes),
            _ => BTreeMap::new(),
        };
        let before = names_by(self.group_by.as_ref());
        self.rename.retain(|class, name| before.get(class) != Some(name));
        for (class, name) in names_by(by.as_ref()) {
            self.rename.entry(class).or_insert(name);
        }
        self.group_by = by;
    }

    /// Checks every value's range.
    ///
    /// # Errors
    /// [`DataError::Build`] for the first value outside its range.
    pub fn validate(&self) -> Result<()> {
        fn check(holds: bool, reason: &str) -> Result<()> {
            if holds { Ok(()) } else { Err(DataError::Build(reason.to_string()).into()) }
        }
        check(i64::try_from(self.seed).is_ok(), "the seed must be below 2^63")?;
        check(
            self.max_per_class != Some(0),
            "the largest class needs at least one training image",
        )?;
        check(
            !matches!(&self.classes, Some(ClassChoice::First(n)) if *n < 2),
            "a classifier needs at least two classes",
        )?;
        for (name, fraction) in [("validation", self.validation), ("test", self.test)] {
            let fraction = fraction.unwrap_or(0.0);
            check(
                (0.0..1.0).contains(&fraction),
                &format!("the {name} fraction must be at least 0 and below 1"),
            )?;
        }
        check(
            self.validation.unwrap_or(0.0) + self.test.unwrap_or(0.0) < 1.0,
            "the validation and test fractions together must be below 1, so that something is left to train on",
        )?;
        rename::check(&self.rename)?;
        self.group_by.as_ref().map_or(Ok(()), GroupBy::validate)?;
        self.profile.validate()
    }
}

/// Which of the source's classes to keep. The kept ones stay in the source's label order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ClassChoice {
    /// The first so many in label order.
    First(usize),
    /// These, by name.
    Named(Vec<String>),
}

impl FromStr for ClassChoice {
    type Err = String;

    /// Reads `10` or `cat,dog,newt`.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(first) = text.trim().parse() {
            return Ok(ClassChoice::First(first));
        }
        let names: Vec<String> = text
            .split(',')
            .map(|name| name.trim().to_string())
            .filter(|name| !name.is_empty())
            .collect();
        if names.is_empty() {
            Err("expected a number or class names with commas between them".to_string())
        } else {
            Ok(ClassChoice::Named(names))
        }
    }
}

/// The order in which a profile runs over the classes, head first. Labels keep the source's order
/// whatever this is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClassOrder {
    /// Label order, which is the order of names in image folders and of the authors in CIFAR.
    #[default]
    Name,
    /// The class with most training samples first; equal ones in label order.
    Size,
    /// Shuffled by the seed.
    Shuffle,
}

/// Which of a class's training samples are kept where the profile asks for fewer than there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pick {
    /// The first in the source's order, as the paper's CIFAR-LT does.
    #[default]
    First,
    /// At random, by the seed. A smaller pick of the same class and seed is part of a larger one.
    Random,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_of_classes_is_a_number_or_names() {
        assert_eq!("10".parse(), Ok(ClassChoice::First(10)));
        assert_eq!("cat, dog".parse(), Ok(ClassChoice::Named(vec!["cat".into(), "dog".into()])));
        assert!(" , ".parse::<ClassChoice>().is_err());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let wrong = [
            BuildOptions { seed: u64::MAX, ..BuildOptions::default() },
            BuildOptions { max_per_class: Some(0), ..BuildOptions::default() },
            BuildOptions { classes: Some(ClassChoice::First(1)), ..BuildOptions::default() },
            BuildOptions { validation: Some(1.0), ..BuildOptions::default() },
            BuildOptions { test: Some(f64::NAN), ..BuildOptions::default() },
            BuildOptions { validation: Some(0.5), test: Some(0.5), ..BuildOptions::default() },
            BuildOptions {
                profile: Profile::Exponential { factor: 0.5 },
                ..BuildOptions::default()
            },
            BuildOptions { rename: [("cat".into(), " ".into())].into(), ..BuildOptions::default() },
            BuildOptions {
                rename: [("cat".into(), "a/b".into())].into(),
                ..BuildOptions::default()
            },
            BuildOptions {
                rename: [("cat".into(), "a\\b".into())].into(),
                ..BuildOptions::default()
            },
            BuildOptions {
                rename: [("cat".into(), "a\0b".into())].into(),
                ..BuildOptions::default()
            },
        ];
        for options in wrong {
            assert!(options.validate().is_err(), "{options:?}");
        }
        assert!(BuildOptions::default().validate().is_ok());
    }
}
