//! The folder that weights are kept in which were downloaded or added: for each backbone a
//! safetensors file, and a JSON document that says what it is.
//!
//! The document names the file and its hash, and the file's name has that hash in it. So a backbone
//! has its old weights or its new ones, and never a document of the one and the file of the other.

use std::collections::HashMap;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use safetensors::serialize;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};

use super::{Facts, Origin, Place, Pretrained, read_tensors};
use crate::error::{Result, WeightsError};
use crate::files::{self, cache_folder, write_atomically};
use crate::model::Backbone;
use crate::model::weights::NamedTensor;

const FORMAT: u32 = 1;
/// Digits of the hash in a file's name.
const DIGITS: usize = 16;
/// The largest document, in bytes.
const LARGEST_DOCUMENT: u64 = 1 << 16;

/// The weights that were downloaded or added.
#[derive(Clone, Debug)]
pub struct WeightsFolder {
    folder: PathBuf,
}

/// What is written of a set of weights.
#[derive(Debug, Serialize, Deserialize)]
struct Document {
    format: u32,
    backbone: Backbone,
    file: String,
    blake3: String,
    bytes: u64,
    origin: Origin,
    #[serde(flatten)]
    facts: Facts,
}

impl WeightsFolder {
    /// The folder of this user: `backbones` in [`cache_folder`]. `None` if there is no folder for
    /// caches.
    pub fn standard() -> Option<Self> {
        cache_folder().map(|folder| Self::in_folder(folder.join("backbones")))
    }

    /// The weights in that folder, which is made when there is something to keep.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The weights of a backbone, if there are any. Their file is looked at when they are
    /// [read](Pretrained::weights).
    ///
    /// # Errors
    /// [`WeightsError::File`] naming what is there and damaged.
    pub fn find(&self, backbone: Backbone) -> Result<Option<Pretrained>> {
        let path = self.document(backbone);
        let damaged = |reason: String| {
            WeightsError::file(&path, format!("{reason}; get or add the weights again"))
        };
        let length = match std::fs::metadata(&path) {
            Ok(about) => about.len(),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(damaged(error.to_string()).into()),
        };
        if length > LARGEST_DOCUMENT {
            return Err(damaged("it is too long to be what it should be".into()).into());
        }
        let text = files::read_text(&path, LARGEST_DOCUMENT)
            .map_err(|error| damaged(error.to_string()))?;
        let found: Document = serde_json::from_str(&text)
            .map_err(|error| damaged(format!("it is damaged: {error}")))?;
        if found.format != FORMAT {
            return Err(damaged(format!(
                "its format {} is newer than this program knows",
                found.format
            ))
            .into());
        }
        if found.backbone != backbone || found.file != file_name(backbone, &found.blake3) {
            return Err(
                damaged("it is damaged: it is not about the weights beside it".into()).into()
            );
        }
        found.facts.check(backbone).map_err(damaged)?;
        let place = Place::File {
            path: self.folder.join(&found.file),
            blake3: found.blake3,
            bytes: found.bytes,
        };
        Ok(Some(Pretrained { origin: found.origin, facts: found.facts, place }))
    }

    /// Keeps weights of a backbone in place of those that there were.
    ///
    /// # Errors
    /// [`WeightsError::File`] if they cannot be written; what was there is then still there.
    pub fn keep(
        &self,
        backbone: Backbone,
        tensors: &[NamedTensor],
        origin: Origin,
        facts: Facts,
    ) -> Result<Pretrained> {
        let failed = |reason: String| {
            WeightsError::file(&self.folder, format!("the weights cannot be kept: {reason}"))
        };
        facts.check(backbone).map_err(failed)?;
        let bytes: Vec<(&NamedTensor, Vec<u8>)> = tensors
            .iter()
            .map(|tensor| {
                (tensor, tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect())
            })
            .collect();
        let views = bytes.iter().map(|(tensor, bytes)| {
            Ok((tensor.name.as_str(), TensorView::new(Dtype::F32, tensor.shape.clone(), bytes)?))
        });
        let views = views
            .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
            .map_err(|error| failed(error.to_string()))?;
        let metadata = HashMap::from([("backbone".to_string(), backbone.name().to_string())]);
        let file = serialize(views, Some(metadata)).map_err(|error| failed(error.to_string()))?;
        drop(bytes);
        let blake3 = blake3::hash(&file).to_hex().to_string();
        let path = self.folder.join(file_name(backbone, &blake3));
        write_atomically(&path, |out| out.write_all(&file))
            .map_err(|error| failed(error.to_string()))?;
        let document = Document {
            format: FORMAT,
            backbone,
            file: file_name(backbone, &blake3),
            blake3,
            bytes: file.len() as u64,
            origin,
            facts,
        };
        let text =
            serde_json::to_string_pretty(&document).map_err(|error| failed(error.to_string()))?;
        write_atomically(&self.document(backbone), |out| out.write_all(text.as_bytes()))
            .map_err(|error| failed(error.to_string()))?;
        self.remove_others(backbone, &path);
        let place = Place::File { path, blake3: document.blake3, bytes: document.bytes };
        Ok(Pretrained { origin, facts: document.facts, place })
    }

    /// Where a download is put until it is whole.
    pub(super) fn part(&self, file: &str) -> PathBuf {
        self.folder.join("downloads").join(format!("{file}.part"))
    }

    fn document(&self, backbone: Backbone) -> PathBuf {
        self.folder.join(format!("{backbone}.json"))
    }

    /// Removes files of earlier weights of a backbone.
    fn remove_others(&self, backbone: Backbone, kept: &Path) {
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return };
        let is_weights = |name: &str| {
            let hash = name
                .strip_prefix(backbone.name())
                .and_then(|rest| rest.strip_prefix('-'))
                .and_then(|rest| rest.strip_suffix(".safetensors"));
            hash.is_some_and(|hash| {
                hash.len() == DIGITS && hash.bytes().all(|digit| digit.is_ascii_hexdigit())
            })
        };
        for entry in entries.flatten().filter(|entry| {
            entry.path() != kept && entry.file_name().to_str().is_some_and(is_weights)
        }) {
            // It only takes room.
            drop(std::fs::remove_file(entry.path()));
        }
    }
}

/// The name of the file of weights with that hash.
fn file_name(backbone: Backbone, blake3: &str) -> String {
    format!("{backbone}-{}.safetensors", blake3.get(..DIGITS).unwrap_or(blake3))
}

/// Reads a file that [`WeightsFolder::keep`] wrote. An error is a sentence that names it.
pub(super) fn read(path: &Path, blake3: &str) -> Result<Vec<NamedTensor>, String> {
    let damaged =
        |reason: String| format!("{}: {reason}; get or add the weights again", path.display());
    let bytes = files::read(path, u64::MAX).map_err(|error| damaged(error.to_string()))?;
    if blake3::hash(&bytes).to_hex().as_str() != blake3 {
        return Err(damaged(
            "the weights are damaged: they are not the ones that were kept".into(),
        ));
    }
    read_tensors(&bytes).map_err(damaged)
}

impl Facts {
    /// Whether weights can be used as this says. An error is a sentence.
    fn check(&self, backbone: Backbone) -> Result<(), String> {
        let info = backbone.info();
        if !info.sides.contains(&self.side) {
            return Err(format!(
                "{backbone} takes inputs of {} to {} pixels a side and not of {}",
                info.sides.start(),
                info.sides.end(),
                self.side
            ));
        }
        if !self.mean.iter().all(|mean| mean.is_finite())
            || !self.std.iter().all(|std| std.is_finite() && *std > 0.0)
        {
            return Err("means must be finite, and standard deviations above 0".into());
        }
        if self.stem.is_some() != info.has_stems {
            return Err(format!("{backbone} leaves no such choice of a stem"));
        }
        Ok(())
    }
}
