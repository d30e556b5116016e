//! The backbones there are, each with the weights that are here and those that could be.

use serde::Serialize;

use super::{Pretrained, Published, WeightsFolder};
use crate::model::Backbone;

/// A backbone and the weights that there are of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Listed {
    /// The backbone.
    #[serde(skip)]
    pub backbone: Backbone,
    /// The name used in settings.
    pub name: &'static str,
    /// What it is, in a few words.
    pub summary: &'static str,
    /// Length F of its feature vector.
    pub features: usize,
    /// `built in`, `downloaded`, `added` or `none`.
    pub weights: &'static str,
    /// Size of the weights that are here, in bytes.
    pub bytes: Option<u64>,
    /// Share of ImageNet's validation images that they classify correctly, in 0..1, where that is
    /// known.
    pub top1: Option<f64>,
    /// Their licence.
    pub licence: Option<String>,
    /// Where they come from: an address or a file.
    pub source: Option<String>,
    /// SHA-256 of the file that they come from, where that is known.
    pub sha256: Option<String>,
    /// Weights that can be downloaded, the recommended ones first.
    pub published: Vec<Offered>,
    /// What is wrong with the weights that are here, in a sentence.
    pub problem: Option<String>,
}

/// Weights that can be downloaded.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Offered {
    /// What tells them from others of the same backbone.
    pub version: &'static str,
    /// Where they are.
    pub address: String,
    /// Size of the file, in bytes, where that is known.
    pub bytes: Option<u64>,
    /// Share of ImageNet's validation images that they classify correctly, in 0..1.
    pub top1: f64,
    /// Their licence.
    pub licence: &'static str,
    /// SHA-256 of the file, or as many of its first digits as are known.
    pub sha256: &'static str,
}

impl Listed {
    /// Every backbone of the program's own, with the weights that were downloaded or added in a
    /// folder, or come with the program.
    pub fn all(folder: Option<&WeightsFolder>) -> Vec<Self> {
        Backbone::ALL.into_iter().map(|backbone| Self::of(backbone, folder)).collect()
    }

    /// Whether its weights are here, and sound as far as can be told without reading them.
    pub fn has_weights(&self) -> bool {
        self.bytes.is_some()
    }

    /// Weights that can be downloaded and are not those that are here.
    pub fn others(&self) -> impl Iterator<Item = &Offered> {
        self.published.iter().filter(|offered| {
            self.sha256.as_deref().is_none_or(|own| !own.starts_with(offered.sha256))
        })
    }

    fn of(backbone: Backbone, folder: Option<&WeightsFolder>) -> Self {
        let info = backbone.info();
        let (problem, found) = match folder.map_or(Ok(None), |folder| folder.find(backbone)) {
            Err(error) => (Some(error.to_string()), None),
            Ok(_) => (None, backbone.pretrained_in(folder).ok()),
        };
        let facts = found.as_ref().map(|found| &found.facts);
        Self {
            backbone,
            name: info.name,
            summary: info.summary,
            features: info.features,
            weights: found.as_ref().map_or("none", |found| found.origin.name()),
            bytes: found.as_ref().map(Pretrained::bytes),
            top1: facts.and_then(|facts| facts.top1),
            licence: facts.map(|facts| facts.licence_words().to_string()),
            source: facts.map(|facts| facts.source.to_string()),
            sha256: facts.and_then(|facts| facts.sha256.as_ref()).map(ToString::to_string),
            published: info.published.iter().map(Offered::of).collect(),
            problem,
        }
    }
}

impl Offered {
    fn of(published: &Published) -> Self {
        Self {
            version: published.version,
            address: published.address(),
            bytes: published.bytes,
            top1: published.top1,
            licence: published.licence,
            sha256: published.sha256,
        }
    }
}
