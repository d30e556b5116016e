//! Features of a run's splits, computed once per backbone and kept in the run's folder.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};

use super::balance::unmixed;
use crate::balance::FeatureSet;
use crate::data::{DEFAULT_BUDGET, Images, Split};
use crate::error::Result;
use crate::files::write_atomically;
use crate::job::Job;
use crate::run::Run;
use crate::train::{Checkpoint, Extractor};

/// Computes and remembers the features a checkpoint's backbone gives a run's images.
pub(super) struct Features<'a> {
    run: &'a Run,
    checkpoint: &'a Checkpoint,
    device: &'a Device,
    key: String,
}

impl<'a> Features<'a> {
    pub fn new(run: &'a Run, checkpoint: &'a Checkpoint, device: &'a Device) -> Self {
        Self { run, checkpoint, device, key: backbone_key(checkpoint) }
    }

    /// Features of a split, un-augmented; with `flip`, averaged with those of the mirror images.
    pub fn of(&self, split: Split, flip: bool, job: Job<'_>) -> Result<FeatureSet> {
        let name = format!("{split}{}", if flip { "-flip" } else { "" });
        self.cached(&name, split, job, |extractor, images| extractor.features(images, flip, job))
    }

    /// Features of one augmented copy of the training split.
    pub fn augmented_view(&self, view: usize, job: Job<'_>) -> Result<FeatureSet> {
        let settings = self.run.settings();
        self.cached(&format!("train-view-{}", view + 1), Split::Train, job, |extractor, images| {
            job.phase(format!("computing features of augmented view {}", view + 1), Some(images.len() as u64), "images");
            let augmentation = unmixed(settings, self.checkpoint.mean);
            let batches = images.augmented_view(&augmentation, settings.stage1.batch_size, self.checkpoint.seed, view);
            extractor.collect(batches, &mut 0, job)
        })
    }

    fn cached(
        &self,
        name: &str,
        split: Split,
        job: Job<'_>,
        compute: impl FnOnce(&Extractor, &Images) -> Result<FeatureSet>,
    ) -> Result<FeatureSet> {
        let path = self.run.folder().join("features").join(format!("{name}.safetensors"));
        if let Some(found) = read(&path, &self.key) {
            return Ok(found);
        }
        let images = Images::open(self.run.dataset(), split, self.checkpoint.config.input_size, DEFAULT_BUDGET, job)?;
        let features = compute(&Extractor::from_checkpoint(self.checkpoint, self.device)?, &images)?;
        images.warn_of_problems(job);
        if let Err(error) = write(&path, &self.key, &features) {
            job.warn(format!("the features could not be kept for the next time: {}: {error}", path.display()));
        }
        Ok(features)
    }
}

/// Equal for checkpoints whose features are equal: the same weights before the classifier, the same input.
fn backbone_key(checkpoint: &Checkpoint) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(format!("{:?} {:?} {:?}", checkpoint.config, checkpoint.mean, checkpoint.std).as_bytes());
    for tensor in checkpoint.weights.iter().filter(|tensor| !tensor.name.starts_with("fc.")) {
        hasher.update(tensor.name.as_bytes());
        for value in &tensor.values {
            hasher.update(&value.to_le_bytes());
        }
    }
    hasher.finalize().to_hex().to_string()
}

/// The stored features, unless there are none, they are damaged or belong to another backbone: then they are computed again.
fn read(path: &PathBuf, key: &str) -> Option<FeatureSet> {
    let file = std::fs::read(path).ok()?;
    let (_, header) = SafeTensors::read_metadata(&file).ok()?;
    if header.metadata().as_ref()?.get("backbone")? != key {
        return None;
    }
    let tensors = SafeTensors::deserialize(&file).ok()?;
    let (features, labels) = (tensors.tensor("features").ok()?, tensors.tensor("labels").ok()?);
    let (&[rows, dim], &[count]) = (features.shape(), labels.shape()) else { return None };
    if rows != count || features.dtype() != Dtype::F32 || labels.dtype() != Dtype::U32 {
        return None;
    }
    let word = |b: &[u8]| [b[0], b[1], b[2], b[3]];
    Some(FeatureSet {
        dim,
        features: features.data().chunks_exact(4).map(|b| f32::from_le_bytes(word(b))).collect(),
        labels: labels.data().chunks_exact(4).map(|b| u32::from_le_bytes(word(b))).collect(),
    })
}

fn write(path: &Path, key: &str, set: &FeatureSet) -> std::io::Result<()> {
    let features: Vec<u8> = set.features.iter().flat_map(|v| v.to_le_bytes()).collect();
    let labels: Vec<u8> = set.labels.iter().flat_map(|v| v.to_le_bytes()).collect();
    let file = || {
        let views = [
            ("features", TensorView::new(Dtype::F32, vec![set.labels.len(), set.dim], &features)?),
            ("labels", TensorView::new(Dtype::U32, vec![set.labels.len()], &labels)?),
        ];
        serialize(views, Some(HashMap::from([("backbone".to_string(), key.to_string())])))
    };
    let file = file().map_err(std::io::Error::other)?;
    write_atomically(path, |out| out.write_all(&file))
}
