//! Features of a pretrained backbone that stays unchanged. They belong to an image's content and to
//! nothing else, so they are kept by it: see [`crate::features`].

use std::collections::HashSet;
use std::path::PathBuf;

use burn::tensor::Device;
use rayon::prelude::*;

use super::features::{SampleFeatures, backbone_key};
use super::onnx_backbone::extractor_of;
use crate::augment::Transform;
use crate::batches::Images;
use crate::classifier::FeatureSet;
use crate::dataset::{Dataset, DatasetSample};
use crate::device::release_memory;
use crate::error::{Error, Result};
use crate::features::{CachedFeatures, FeatureCache, Key, Space};
use crate::images;
use crate::job::{Event, Job, Level};
use crate::model::Normaliser;
use crate::ops;
use crate::run::Checkpoint;
use crate::source::{ImageReader, Location, Split};
use crate::train::Loader;

/// Images whose features are computed before they are kept: little is lost when a job is stopped,
/// and few files are written.
const AT_ONCE: usize = 1024;
/// The same of images that are held in memory, changed.
const FEW_AT_ONCE: usize = 256;
/// Samples of a batch.
const BATCH: usize = 64;

/// How images are shown to the backbone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    /// As they are.
    Plain,
    /// Turned left to right.
    Mirrored,
    /// Changed in another way.
    Transformed(Transform),
}

impl View {
    /// After this was done to them.
    pub fn of(transform: Transform) -> Self {
        match transform {
            Transform::Mirrored => View::Mirrored,
            transform => View::Transformed(transform),
        }
    }
}

/// A checkpoint's backbone with the features that are known of it.
pub(super) struct FrozenBackbone<'a> {
    checkpoint: &'a Checkpoint,
    device: &'a Device,
    /// The file that it comes out of, if it does.
    file: Option<PathBuf>,
}

impl<'a> FrozenBackbone<'a> {
    pub fn new(checkpoint: &'a Checkpoint, device: &'a Device) -> Self {
        Self { checkpoint, device, file: None }
    }

    /// The same with the file that it comes out of, if it does.
    pub fn out_of(self, file: Option<PathBuf>) -> Self {
        Self { file, ..self }
    }

    /// Features of samples of a dataset, as the backbone gives them, with their places among the
    /// samples. Images that cannot be read are left out with a warning.
    ///
    /// # Errors
    /// A source that cannot be opened; nothing that can be read; a device that fails;
    /// [`Error::Stopped`].
    pub fn features(
        &self,
        dataset: &Dataset,
        samples: &[&DatasetSample],
        view: View,
        job: Job<'_>,
    ) -> Result<SampleFeatures> {
        let locations: Vec<Location> =
            samples.iter().map(|sample| sample.location.clone()).collect();
        let keys =
            ImageReader::open(&dataset.root, dataset.kind, job)?.content_hashes(&locations, job)?;
        let mut readable: Vec<(usize, Key)> = Vec::with_capacity(keys.len());
        for (place, key) in keys.into_iter().enumerate() {
            match key {
                Ok(key) => readable.push((place, key)),
                Err(error) => job.warn(format!("left out: {error}")),
            }
        }
        let (mut known, space) = self.known(dataset, samples, &readable, view, job)?;
        known.warnings().into_iter().for_each(|warning| job.warn(warning));
        let mut found = SampleFeatures {
            set: FeatureSet { dim: space.features, ..FeatureSet::default() },
            positions: Vec::new(),
        };
        found.set.features.reserve_exact(readable.len() * space.features);
        for (place, key) in readable {
            // What could not be decoded has been told of.
            let Some(row) = known.get(&key) else { continue };
            found.set.features.extend_from_slice(row);
            found.set.labels.push(samples[place].class as u32);
            found.positions.push(place as u32);
        }
        Ok(found)
    }

    /// Computes what is not known yet of the features of all samples of a dataset, where they can
    /// be kept: one job in place of one a split, while the pictures that a scan has decoded are
    /// still there. Of images that cannot be read nothing is said: that is for those who need their
    /// features.
    ///
    /// # Errors
    /// As [`FrozenBackbone::features`].
    pub fn remember(&self, dataset: &Dataset, view: View, job: Job<'_>) -> Result<()> {
        if FeatureCache::standard().is_none() {
            return Ok(());
        }
        let samples: Vec<&DatasetSample> = dataset.samples.iter().collect();
        let locations: Vec<Location> =
            samples.iter().map(|sample| sample.location.clone()).collect();
        let keys =
            ImageReader::open(&dataset.root, dataset.kind, job)?.content_hashes(&locations, job)?;
        let readable: Vec<(usize, Key)> = keys
            .into_iter()
            .enumerate()
            .filter_map(|(place, key)| Some((place, key.ok()?)))
            .collect();
        let without_warnings = |event| {
            if !matches!(event, Event::Message { level: Level::Warning, .. }) {
                job.sink.event(event);
            }
        };
        self.known(dataset, &samples, &readable, view, Job::new(job.control, &without_warnings))
            .map(drop)
    }

    /// The features of samples that can be read, with their places among the samples; those that
    /// were not known are computed.
    fn known(
        &self,
        dataset: &Dataset,
        samples: &[&DatasetSample],
        readable: &[(usize, Key)],
        view: View,
        job: Job<'_>,
    ) -> Result<(CachedFeatures, Space)> {
        let space = self.space(view);
        let mut known = FeatureCache::standard()
            .map_or_else(|| CachedFeatures::in_memory(&space), |cache| cache.open(&space));
        let keys: Vec<Key> = readable.iter().map(|(_, key)| *key).collect();
        let mut met = HashSet::new();
        let missing: Vec<(usize, Key)> = known
            .missing(&keys)
            .into_iter()
            .map(|at| readable[at])
            .filter(|(_, key)| met.insert(*key))
            .collect();
        if !missing.is_empty() {
            if missing.len() < keys.len() {
                job.info(format!(
                    "{} of {} images are known; their features are not computed again",
                    keys.len() - missing.len(),
                    keys.len()
                ));
            }
            self.compute(dataset, samples, &missing, view, &mut known, job)?;
        }
        Ok((known, space))
    }

    /// Computes the features of some of the samples and adds them to those that are known.
    fn compute(
        &self,
        dataset: &Dataset,
        samples: &[&DatasetSample],
        missing: &[(usize, Key)],
        view: View,
        known: &mut CachedFeatures,
        job: Job<'_>,
    ) -> Result<()> {
        let (extractor, device) = extractor_of(self.checkpoint, self.file.as_deref(), self.device)?;
        let normaliser = Normaliser::new(self.checkpoint.mean, self.checkpoint.std);
        job.phase("computing features", Some(missing.len() as u64), "images");
        let mut done = 0;
        let at_once = if matches!(view, View::Transformed(_)) { FEW_AT_ONCE } else { AT_ONCE };
        for part in missing.chunks(at_once) {
            // They stand as test samples, of which no class needs any.
            let chosen = part
                .iter()
                .map(|(place, _)| DatasetSample { split: Split::Test, ..samples[*place].clone() })
                .collect();
            let part_of = Dataset { samples: chosen, ..dataset.clone() };
            // Each is looked at once, so none is kept.
            let images =
                Images::open(&part_of, Split::Test, self.checkpoint.input_shape(), 0, job)?;
            let (images, positions) = match view {
                View::Transformed(transform) => match self.transformed(images, transform, job) {
                    // Not one of them can be read.
                    Err(Error::Data(_)) => continue,
                    changed => changed?,
                },
                View::Plain | View::Mirrored => {
                    let positions = images.positions().to_vec();
                    (images, positions)
                }
            };
            let loader = Loader::new(images, normaliser.clone(), &device);
            let found = extractor.collect(
                &loader,
                || loader.eval_batches(BATCH, view == View::Mirrored),
                done,
                job,
            );
            loader.images().warn_of_problems(job);
            done += part.len() as u64;
            let found = match found {
                // Not one of them can be read, which has been told of.
                Err(Error::Data(_)) => continue,
                found => found?,
            };
            let keys: Vec<Key> =
                found.indices.iter().map(|&index| part[positions[index]].1).collect();
            known.insert(&keys, &found.set.features)?;
        }
        drop(extractor);
        ops::release_memory();
        release_memory(self.device);
        Ok(())
    }

    /// The images that can be read after something was done to them, in memory, and the places of
    /// each among the samples that they were opened for.
    fn transformed(
        &self,
        images: Images,
        transform: Transform,
        job: Job<'_>,
    ) -> Result<(Images, Vec<usize>)> {
        let side = images.side();
        let size = 3 * side * side;
        let fill = self.checkpoint.mean.map(|mean| (mean * 255.0).round() as u8);
        let (mut bytes, mut labels, mut positions) = (Vec::new(), Vec::new(), Vec::new());
        bytes.reserve_exact(images.len() * size);
        for batch in images.eval_batches(BATCH, false) {
            job.check()?;
            let batch = batch?;
            let changed: Vec<Vec<u8>> = batch
                .images
                .par_chunks_exact(size)
                .map(|planes| transform.apply(planes, side, fill))
                .collect();
            changed.iter().for_each(|changed| bytes.extend_from_slice(changed));
            labels.extend_from_slice(&batch.labels);
            positions.extend(batch.indices.iter().map(|&index| images.positions()[index]));
        }
        images.warn_of_problems(job);
        let classes = self.checkpoint.config.classes;
        Ok((Images::from_bytes(side, classes, labels, bytes)?, positions))
    }

    fn space(&self, view: View) -> Space {
        let config = &self.checkpoint.config;
        // Devices round differently, and the same seed is to give the same result on the same
        // device.
        let view = match view {
            View::Plain => "plain",
            View::Mirrored => "mirrored",
            View::Transformed(transform) => transform.name(),
        };
        let device = if ops::is_gpu(self.device) && config.backbone.onnx().is_none() {
            " on a gpu"
        } else {
            ""
        };
        // Pixels that another version has decoded otherwise give other features.
        let mut key = blake3::Hasher::new();
        key.update(backbone_key(self.checkpoint).as_bytes()).update(&[images::DECODING]);
        Space {
            backbone: *key.finalize().as_bytes(),
            label: config.backbone.name().to_string(),
            side: config.input_size,
            view: format!("{view}{device}"),
            features: config.features(),
        }
    }
}
