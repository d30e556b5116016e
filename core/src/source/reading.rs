//! How a source was read: what the dataset file keeps of it, so that it can be read again.

use serde::{Deserialize, Serialize};

use super::list::ListFormat;
use super::scan::ScanOptions;

/// How a source was read, where more was to be said than its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Reading {
    /// The image lists, relative to the images' folder where they lie in it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lists: Vec<String>,
    /// Patterns of the files that were read; all without any. See [`ScanOptions::only`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<String>,
    /// Patterns of the files that were left out. See [`ScanOptions::skip`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skip: Vec<String>,
    /// Whether classes were taken from the names of files. See [`ScanOptions::class_in_name`].
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub class_in_name: bool,
    /// The lists' separator and columns, as found out or given.
    #[serde(skip_serializing_if = "is_default")]
    pub format: ListFormat,
}

fn is_default(format: &ListFormat) -> bool {
    *format == ListFormat::default()
}

impl Reading {
    /// What there is to be said of a source that is no image list.
    pub(super) fn of(options: &ScanOptions) -> Self {
        Self {
            only: options.only.clone(),
            skip: options.skip.clone(),
            class_in_name: options.class_in_name,
            ..Self::default()
        }
    }

    /// Whether there is nothing to say.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}
