//! A dataset: chosen samples with their labels and splits, as the manifest file holds them.

use std::path::PathBuf;

use super::catalog::{Location, SourceKind, Split};

/// One chosen sample.
#[derive(Clone, Debug, PartialEq)]
pub struct DatasetSample {
    /// Where its pixels are, relative to [`Dataset::root`].
    pub location: Location,
    /// Index into [`Dataset::classes`].
    pub class: usize,
    /// What it is used for.
    pub split: Split,
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
    /// The samples, ordered by split, then class, then as picked.
    pub samples: Vec<DatasetSample>,
}

impl Dataset {
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
}
