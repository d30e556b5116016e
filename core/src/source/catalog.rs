//! What a scan found: classes, readable samples, and everything that is wrong with the source.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Reading, Twins};
use crate::images::ImageFacts;

/// Which part of the data a sample belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Learned from.
    Train,
    /// Used to choose: the best checkpoint, the balancer's parameters.
    Validation,
    /// Only ever reported on.
    Test,
}

impl Split {
    /// All splits, in the order they are shown.
    pub const ALL: [Split; 3] = [Split::Train, Split::Validation, Split::Test];

    /// The split's name: `train`, `validation` or `test`.
    pub fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Validation => "validation",
            Split::Test => "test",
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Split {
    type Err = String;

    /// Reads the names datasets use: `train`/`training`, `val`/`valid`/`validation`/`eval`/`dev`,
    /// `test`/`testing`, in any case.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim().to_lowercase().as_str() {
            "train" | "training" => Ok(Split::Train),
            "val" | "valid" | "validation" | "eval" | "evaluation" | "dev" => Ok(Split::Validation),
            "test" | "testing" => Ok(Split::Test),
            other => Err(format!("`{other}` is no split; use train, validation or test")),
        }
    }
}

/// What kind of source a catalog was read from. It decides how a [`Location`] is written and
/// decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    /// One folder a class; locations are image files.
    Folder,
    /// A CSV, TSV or `path label` list; locations are image files. Files and JSON call it
    /// `manifest`, as they always did.
    #[serde(rename = "manifest", alias = "list")]
    List,
    /// CIFAR-10 in either distributed layout; locations are records of its files.
    Cifar10,
    /// CIFAR-100 in either distributed layout; locations are records of its files.
    Cifar100,
}

impl SourceKind {
    /// Whether samples are records inside larger files, rather than image files.
    pub fn has_records(self) -> bool {
        matches!(self, SourceKind::Cifar10 | SourceKind::Cifar100)
    }
}

/// Where the pixels of a sample are, relative to the catalog's root.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Location {
    /// An image file.
    File(PathBuf),
    /// A fixed-size record of a CIFAR file.
    Record {
        /// The file; inside an archive, the member's name.
        file: PathBuf,
        /// Record number, from 0.
        index: u32,
    },
}

impl Location {
    /// The text that a dataset file holds: the path with `/` between parts, and `#index` after it
    /// for a record.
    pub fn to_text(&self) -> String {
        let slashed = |path: &Path| {
            let text = path.to_string_lossy();
            if std::path::MAIN_SEPARATOR == '/' {
                text.into_owned()
            } else {
                text.replace(std::path::MAIN_SEPARATOR, "/")
            }
        };
        match self {
            Location::File(path) => slashed(path),
            Location::Record { file, index } => format!("{}#{index}", slashed(file)),
        }
    }

    /// Reads back [`Location::to_text`]; `records` says which form to expect.
    ///
    /// # Errors
    /// A sentence, if a record has no number.
    pub fn from_text(text: &str, records: bool) -> Result<Self, String> {
        if !records {
            return Ok(Location::File(PathBuf::from(text)));
        }
        let (file, index) = text
            .rsplit_once('#')
            .ok_or_else(|| format!("`{text}` names no record (expected `file#number`)"))?;
        let index =
            index.parse().map_err(|_| format!("`{index}` in `{text}` is no record number"))?;
        Ok(Location::Record { file: PathBuf::from(file), index })
    }
}

/// One readable labelled image.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Where its pixels are.
    pub location: Location,
    /// Index into [`Catalog::classes`].
    pub class: usize,
    /// The split the source puts it in, if the source has splits.
    pub split: Option<Split>,
    /// What the source says it belongs to, such as a track, a patient or a place: samples of one
    /// name can be kept in one split. Only image lists say so.
    pub group: Option<Arc<str>>,
}

/// A file that was meant to be a sample and cannot be used.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Problem {
    /// The file, as the person would find it.
    pub path: PathBuf,
    /// Why it cannot be used.
    pub reason: String,
}

/// Files that were passed over because they do not claim to be images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Hidden files and folders, and the like of `Thumbs.db`.
    pub hidden: usize,
    /// Files whose name has no image extension.
    pub not_images: usize,
    /// Files that were left out as asked; see [`ScanOptions::skip`](super::ScanOptions::skip).
    pub left_out: usize,
    /// Symbolic links that lead back to a folder above them.
    pub link_loops: usize,
}

/// The result of scanning a source.
#[derive(Clone, Debug)]
pub struct Catalog {
    /// What locations are relative to: a folder, or an archive.
    pub root: PathBuf,
    /// What the person pointed at.
    pub source: PathBuf,
    /// The kind of source.
    pub kind: SourceKind,
    /// Class names, in label order.
    pub classes: Vec<String>,
    /// Every readable sample, in the source's order within its class.
    pub samples: Vec<Sample>,
    /// What was seen of each sample, parallel to `samples`.
    pub facts: Vec<ImageFacts>,
    /// Every unusable file.
    pub problems: Vec<Problem>,
    /// What was passed over.
    pub skipped: Skipped,
    /// Kinds of files that lie beside others of the same name. Only looked for in image folders.
    pub twins: Vec<Twins>,
    /// How it was read.
    pub reading: Reading,
}

impl Catalog {
    /// Number of samples per class, of one split or (with `None`) of all. Samples without a split
    /// count as training samples.
    pub fn counts(&self, split: Option<Split>) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        for sample in &self.samples {
            if split.is_none_or(|s| sample.split.unwrap_or(Split::Train) == s) {
                counts[sample.class] += 1;
            }
        }
        counts
    }

    /// Whether the source says which samples are for what.
    pub fn has_splits(&self) -> bool {
        self.samples.iter().any(|sample| sample.split.is_some())
    }
}
