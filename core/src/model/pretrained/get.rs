//! Getting weights and adding them: from an address or a file into the folder that they are kept
//! in.

use std::borrow::Cow;
use std::path::Path;

use serde::Serialize;

use super::download::{Wanted, download};
use super::{Facts, Fit, Origin, Pretrained, Published, WeightsFile, WeightsFolder};
use crate::error::{Error, Result, WeightsError};
use crate::job::Job;
use crate::model::Backbone;

/// What to know of a file that is added by hand, besides what is in it.
#[derive(Clone, Debug, Default)]
pub struct Addition {
    /// Its licence.
    pub licence: Option<String>,
    /// Side of the input, in pixels; the backbone's usual one where it is not known.
    pub side: Option<usize>,
    /// Mean and standard deviation of the input's normalisation; the backbone's usual ones where
    /// they are not known: ImageNet's for most.
    pub normalisation: Option<([f32; 3], [f32; 3])>,
}

/// The address of a folder that files are downloaded from instead of their publishers': what the
/// environment variable `COUNTERWEIGHT_DOWNLOADS` names, a mirror for example. Hashes are checked
/// all the same.
pub fn downloads() -> Option<String> {
    std::env::var("COUNTERWEIGHT_DOWNLOADS").ok().filter(|address| !address.is_empty())
}

/// Weights that were kept, and what was taken of which file.
#[derive(Clone, Debug, Serialize)]
pub struct Kept {
    /// Which tensors were taken.
    #[serde(flatten)]
    pub fit: Fit,
    /// What was written down about them.
    #[serde(flatten)]
    pub facts: Facts,
    /// How they came here.
    pub origin: Origin,
    /// The size they are kept in, in bytes.
    pub bytes: u64,
    /// What a pickle in the file asks to call besides what tensors are made of, which was not done.
    pub calls: Vec<String>,
}

impl WeightsFolder {
    /// Downloads published weights and keeps them. `downloads` is the address of another folder
    /// that has the file: a mirror.
    ///
    /// # Errors
    /// [`WeightsError::Download`] and [`WeightsError::File`]; [`Error::Stopped`], after which the
    /// next call goes on with the download. The weights that there were stay where it fails.
    pub fn get(
        &self,
        backbone: Backbone,
        published: &Published,
        downloads: Option<&str>,
        job: Job<'_>,
    ) -> Result<Kept> {
        let address = match downloads {
            Some(folder) => format!("{}/{}", folder.trim_end_matches('/'), published.file),
            None => published.address(),
        };
        // What was found the first time has to be found again.
        let known = self
            .find(backbone)
            .ok()
            .flatten()
            .map(|known| known.facts)
            .filter(|known| known.source == published.address());
        let known = known
            .and_then(|known| known.sha256)
            .filter(|known| known.starts_with(published.sha256));
        let otherwise = format!(
            ". Where it can be reached, download it; then `counterweight backbones add {backbone} {}` takes it from the file",
            published.file
        );
        let wanted = Wanted {
            address: &address,
            sha256: known.as_deref().unwrap_or(published.sha256),
            sha512: published.sha512,
            bytes: published.bytes,
            otherwise: &otherwise,
        };
        let part = self.part(published.file);
        let sha256 = download(&wanted, &part, job)?;
        let kept = WeightsFile::open(&part).and_then(|file| {
            self.take(&file, Some(backbone), Origin::Downloaded, |_| published.facts(sha256))
        });
        // Either its weights are kept, or it is of no use.
        drop(std::fs::remove_file(&part));
        kept.map_err(|error| match error {
            Error::Weights(WeightsError::File { path, reason }) if path == part => {
                WeightsError::Download { address, reason }.into()
            }
            other => other,
        })
    }

    /// Keeps the weights of a file; without a backbone, of the one whose tensors it has.
    ///
    /// # Errors
    /// [`WeightsError::File`]: the file cannot be read or does not fit, or its weights cannot be
    /// kept. Those that there were stay then.
    pub fn add(
        &self,
        backbone: Option<Backbone>,
        path: &Path,
        addition: &Addition,
    ) -> Result<Kept> {
        let file = WeightsFile::open(path)?;
        let mut facts = Facts::imagenet(path.display().to_string());
        facts.sha256 = Some(Cow::Owned(file.sha256().to_string()));
        facts.licence = addition.licence.clone().map(Cow::Owned);
        self.take(&file, backbone, Origin::Added, |fit| {
            let (side, mean, std) = fit.backbone.usual_input();
            facts.side = addition.side.unwrap_or(side);
            (facts.mean, facts.std) = addition.normalisation.unwrap_or((mean, std));
            facts.stem = fit.stem;
            // The very file that could have been downloaded.
            if let Some(known) = published(fit.backbone, file.sha256()) {
                facts.licence = facts.licence.or(known.licence);
                (facts.data, facts.top1) = (known.data, known.top1);
            }
            facts
        })
    }

    /// Keeps those tensors of a file that are a backbone's.
    fn take(
        &self,
        file: &WeightsFile,
        backbone: Option<Backbone>,
        origin: Origin,
        facts: impl FnOnce(&Fit) -> Facts,
    ) -> Result<Kept> {
        let fit = Fit::of(file, backbone)?;
        let tensors = fit.read(file)?;
        let facts = facts(&fit);
        if facts.stem != fit.stem {
            return Err(
                WeightsError::file(file.path(), "it has another stem than it should have").into()
            );
        }
        let Pretrained { facts, origin, .. } = &self.keep(fit.backbone, &tensors, origin, facts)?;
        let bytes = tensors.iter().map(|tensor| 4 * tensor.values.len() as u64).sum();
        Ok(Kept {
            facts: facts.clone(),
            origin: *origin,
            bytes,
            calls: file.calls().map(str::to_string).collect(),
            fit,
        })
    }
}

/// What is known of a file that is published, if it is one.
fn published(backbone: Backbone, sha256: &str) -> Option<Facts> {
    let published = backbone
        .info()
        .published
        .iter()
        .find(|published| published.sha256.len() == 64 && published.sha256 == sha256)?;
    Some(published.facts(sha256.to_string()))
}
