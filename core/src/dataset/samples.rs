//! A dataset: chosen samples with their labels and splits, as the dataset file holds them.

use std::path::PathBuf;

use super::digests::Digests;
use super::edits::Origin;
use super::options::BuildOptions;
use crate::eval::{GroupSummary, GroupThresholds, imbalance_factor};
use crate::source::{Location, Reading, SourceKind, Split};

/// One chosen sample.
#[derive(Clone, Debug, PartialEq)]
pub struct DatasetSample {
    /// Where its pixels are, relative to [`Dataset::root`].
    pub location: Location,
    /// Index into [`Dataset::classes`].
    pub class: usize,
    /// What it is used for.
    pub split: Split,
    /// Samples of one number belong together, where the dataset was built to keep those together.
    pub group: Option<u32>,
}

/// What training takes: classes and samples, every sample with its split.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// What locations are relative to: a folder, or an archive.
    pub root: PathBuf,
    /// The kind of source the samples come from.
    pub kind: SourceKind,
    /// Class names, in label order.
    pub classes: Vec<String>,
    /// The samples, ordered by split, then class, then as in the source.
    pub samples: Vec<DatasetSample>,
    /// Where the choice comes from.
    pub provenance: Provenance,
}

/// How a dataset was made of its source. Nothing in training depends on it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Provenance {
    /// What was asked for, seed included.
    pub options: BuildOptions,
    /// How the source was read: columns of image lists, files that were left out.
    pub reading: Reading,
    /// BLAKE3, in hexadecimal, over the source's sorted (location, class name, BLAKE3 of the stored
    /// bytes); empty where unknown.
    pub source_hash: String,
    /// What that was before images of other sources were added; empty of a dataset that has not grown.
    pub grown_of: String,
    /// What the person should know: classes too small for what was asked, fractions that were not
    /// used.
    pub notes: Vec<String>,
    /// Splits that were held out of the source's images here, and not brought by the source; unknown
    /// of files of older versions.
    pub drawn: Vec<Split>,
    /// What the images were, as far as that is known.
    pub digests: Digests,
    /// What it was opened from, with which edits; unknown of a dataset that was built and not opened,
    /// and not part of the dataset file.
    pub origin: Option<Origin>,
}

impl Dataset {
    /// Whether the other dataset has the same classes and samples, wherever it was read from.
    pub fn same_samples(&self, other: &Self) -> bool {
        self.classes == other.classes && self.samples == other.samples
    }

    /// Number of samples of each class in a split: n_k for [`Split::Train`].
    pub fn counts(&self, split: Split) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        for sample in self.samples.iter().filter(|sample| sample.split == split) {
            counts[sample.class] += 1;
        }
        counts
    }

    /// The samples of a split, in order.
    pub fn split(&self, split: Split) -> Vec<&DatasetSample> {
        self.samples.iter().filter(|sample| sample.split == split).collect()
    }

    /// Largest training class over smallest.
    pub fn imbalance_factor(&self) -> Option<f64> {
        imbalance_factor(&self.counts(Split::Train))
    }

    /// Numbers of classes in the many, medium and few groups by training counts, at the usual
    /// thresholds.
    pub fn group_sizes(&self) -> GroupSummary {
        GroupThresholds::default().summary(&self.counts(Split::Train))
    }
}
