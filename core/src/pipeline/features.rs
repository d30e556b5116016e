//! Features of a run's splits, computed once per backbone and kept in the run's folder.

use std::borrow::Cow;

use burn::tensor::Device;

use super::balance::unmixed;
use super::frozen::{FrozenBackbone, View};
use super::kept_features;
use super::onnx_backbone::extractor_of;
use crate::batches::{DEFAULT_BUDGET, Images};
use crate::classifier::FeatureSet;
use crate::dataset::{Dataset, DatasetSample};
use crate::device::release_memory;
use crate::error::Result;
use crate::job::Job;
use crate::model::{NamedTensor, NetworkConfig, Normaliser, is_of_classifier};
use crate::ops;
use crate::run::{Checkpoint, Run};
use crate::source::Split;
use crate::train::{Extractor, ImageFeatures, Loader, mean};

/// Computes and remembers the features a checkpoint's backbone gives a run's images.
pub(super) struct Features<'a> {
    run: &'a Run,
    checkpoint: &'a Checkpoint,
    device: &'a Device,
    key: String,
}

/// Features with the samples they belong to. They are kept together: which images can be read may
/// change after they were computed.
pub(super) struct SampleFeatures {
    pub set: FeatureSet,
    /// Place of each row's sample in [`Dataset::split`], shape [n].
    pub positions: Vec<u32>,
}

impl SampleFeatures {
    /// Each row's sample, for features of a split.
    pub fn samples<'d>(&self, dataset: &'d Dataset, split: Split) -> Vec<&'d DatasetSample> {
        let samples = dataset.split(split);
        self.positions.iter().map(|&at| samples[at as usize]).collect()
    }
}

impl<'a> Features<'a> {
    pub fn new(run: &'a Run, checkpoint: &'a Checkpoint, device: &'a Device) -> Self {
        Self { run, checkpoint, device, key: backbone_key(checkpoint).to_hex().to_string() }
    }

    /// Computes what is not known yet of the features of all splits, where the backbone is not
    /// trained.
    ///
    /// # Errors
    /// As [`FrozenBackbone::features`].
    pub fn remember(&self, job: Job<'_>) -> Result<()> {
        let backbone =
            FrozenBackbone::new(self.checkpoint, self.device).out_of(self.run.backbone_file());
        backbone.remember(self.run.dataset(), View::Plain, job)
    }

    /// Features of a split, un-augmented, as the checkpoint's classifier sees them; with `flip`,
    /// averaged with those of the mirror images.
    pub fn of(&self, split: Split, flip: bool, job: Job<'_>) -> Result<FeatureSet> {
        Ok(self.with_positions(split, flip, job)?.set)
    }

    /// [`Features::of`] with the samples they belong to.
    pub fn with_positions(&self, split: Split, flip: bool, job: Job<'_>) -> Result<SampleFeatures> {
        // Those that are kept go by names.
        self.run.dataset().verify_content(Some(split), job)?;
        if self.run.settings().stage1.is_frozen() {
            return self.of_frozen(split, flip, job).map(|found| self.standardised(found));
        }
        let name = format!("{split}{}", if flip { "-flip" } else { "" });
        let found = self
            .cached(&name, split, job, |extractor, loader| extractor.features(loader, flip, job))?;
        Ok(self.standardised(found))
    }

    /// Features of one augmented copy of the training split.
    pub fn augmented_view(&self, view: usize, job: Job<'_>) -> Result<FeatureSet> {
        let settings = self.run.settings();
        let found = self.cached(
            &format!("train-view-{}", view + 1),
            Split::Train,
            job,
            |extractor, loader| {
                job.phase(
                    format!("computing features of augmented view {}", view + 1),
                    Some(loader.images().len() as u64),
                    "images",
                );
                let augmentation = unmixed(settings, self.checkpoint.mean);
                let batches = || {
                    loader.augmented_view(
                        &augmentation,
                        settings.stage1.batch_size,
                        self.checkpoint.seed,
                        view,
                    )
                };
                extractor.collect(loader, batches, 0, job)
            },
        )?;
        Ok(self.standardised(found).set)
    }

    /// Features of a split by a backbone that stays unchanged.
    fn of_frozen(&self, split: Split, flip: bool, job: Job<'_>) -> Result<SampleFeatures> {
        let dataset = self.run.dataset();
        let samples = dataset.split(split);
        let backbone =
            FrozenBackbone::new(self.checkpoint, self.device).out_of(self.run.backbone_file());
        let plain = backbone.features(dataset, &samples, View::Plain, job)?;
        if !flip {
            return Ok(plain);
        }
        let mirrored = backbone.features(dataset, &samples, View::Mirrored, job)?;
        let named = |found: SampleFeatures| ImageFeatures {
            set: found.set,
            indices: found.positions.into_iter().map(|at| at as usize).collect(),
        };
        let ImageFeatures { set, indices } = mean(named(plain), &named(mirrored));
        Ok(SampleFeatures { set, positions: indices.into_iter().map(|at| at as u32).collect() })
    }

    /// What the checkpoint's classifier sees.
    fn standardised(&self, mut found: SampleFeatures) -> SampleFeatures {
        if let Some(standardiser) = &self.checkpoint.standardiser {
            standardiser.apply(&mut found.set.features);
        }
        found
    }

    fn cached(
        &self,
        name: &str,
        split: Split,
        job: Job<'_>,
        compute: impl FnOnce(&Extractor, &Loader) -> Result<ImageFeatures>,
    ) -> Result<SampleFeatures> {
        let path = self.run.folder().join("features").join(format!("{name}.safetensors"));
        let key = format!("{} {}", self.key, samples_key(self.run.dataset(), split));
        if let Some(found) = kept_features::read(&path, &key) {
            return Ok(found);
        }
        let images = Images::open(
            self.run.dataset(),
            split,
            self.checkpoint.input_shape(),
            DEFAULT_BUDGET,
            job,
        )?;
        let (extractor, device) =
            extractor_of(self.checkpoint, self.run.backbone_file().as_deref(), self.device)?;
        let loader = Loader::new(
            images,
            Normaliser::new(self.checkpoint.mean, self.checkpoint.std),
            &device,
        );
        let ImageFeatures { set, indices } = compute(&extractor, &loader)?;
        let images = loader.images();
        images.warn_of_problems(job);
        let positions = indices.into_iter().map(|index| images.positions()[index] as u32).collect();
        // Only what nothing holds is given back.
        drop((loader, extractor));
        ops::release_memory();
        release_memory(&device);
        let found = SampleFeatures { set, positions };
        if let Err(error) = kept_features::write(&path, &key, &found) {
            job.warn(format!(
                "the features could not be kept for the next time: {}: {error}",
                path.display()
            ));
        }
        Ok(found)
    }
}

/// Equal for splits of the same samples in the same order.
fn samples_key(dataset: &Dataset, split: Split) -> String {
    let mut hasher = blake3::Hasher::new();
    for sample in dataset.samples.iter().filter(|sample| sample.split == split) {
        hasher.update(sample.location.to_text().as_bytes());
        hasher.update(&[0]);
        hasher.update(&(sample.class as u64).to_le_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// Equal for checkpoints whose features are equal: the same weights before the classifier, the same
/// input.
pub(super) fn backbone_key(checkpoint: &Checkpoint) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    // The text of a backbone out of a file has the file's hash in it, and how features are taken.
    let NetworkConfig { backbone, stem, input_size, .. } = checkpoint.config;
    hasher.update(
        format!("{backbone} {stem:?} {input_size} {:?} {:?}", checkpoint.mean, checkpoint.std)
            .as_bytes(),
    );
    if !checkpoint.fit.is_usual() {
        hasher.update(checkpoint.fit.name().as_bytes());
    }
    // A checkpoint that was just made has its weights in another order than one that was read.
    let mut weights: Vec<&NamedTensor> =
        checkpoint.weights.iter().filter(|tensor| !is_of_classifier(&tensor.name)).collect();
    weights.sort_by(|a, b| a.name.cmp(&b.name));
    for tensor in weights {
        hasher.update(tensor.name.as_bytes());
        hasher.update(&bytes_of(&tensor.values));
    }
    hasher.finalize()
}

/// Numbers as files have them. There can be gigabytes of them, which are not copied where they lie in
/// memory like that.
fn bytes_of(values: &[f32]) -> Cow<'_, [u8]> {
    match cfg!(target_endian = "little") {
        true => bytemuck::cast_slice(values).into(),
        false => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
    }
}
