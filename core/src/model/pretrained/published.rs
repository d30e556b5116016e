//! Weights that their publisher offers for download.

use std::borrow::Cow;

use super::Facts;
use crate::words::Stem;

/// A file of weights at the address of its publisher.
#[derive(Clone, Copy, Debug)]
pub struct Published {
    /// What tells it from others of the same backbone: `v1`.
    pub version: &'static str,
    /// Who offers it.
    pub publisher: &'static str,
    /// The address of the folder it lies in, with a slash at the end.
    pub folder: &'static str,
    /// The file's name.
    pub file: &'static str,
    /// Its size in bytes, where that is known.
    pub bytes: Option<u64>,
    /// Its SHA-256, hexadecimal: all 64 digits or, where only those are known, as many as its name
    /// tells. What was found on the first download has to be found on every later one.
    pub sha256: &'static str,
    /// Its SHA-512, hexadecimal, where no more of the other is known than its name tells and others
    /// who use the file have published this one.
    pub sha512: Option<&'static str>,
    /// Share of ImageNet's validation images that it classifies correctly with its own classifier,
    /// in 0..1.
    pub top1: f64,
    /// What is known of its licence.
    pub licence: &'static str,
    /// The stem that it has, where the backbone leaves a choice.
    pub stem: Option<Stem>,
}

impl Published {
    /// Where it lies.
    pub fn address(&self) -> String {
        format!("{}{}", self.folder, self.file)
    }

    /// What has to be known to use it. All there are were trained on ImageNet, and with its
    /// normalisation.
    pub(super) fn facts(&self, sha256: String) -> Facts {
        Facts {
            data: Some(Cow::Borrowed("ImageNet")),
            top1: Some(self.top1),
            sha256: Some(Cow::Owned(sha256)),
            licence: Some(Cow::Borrowed(self.licence)),
            stem: self.stem,
            ..Facts::imagenet(self.address())
        }
    }
}
