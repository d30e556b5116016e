//! Features of many images, computed once: by a network on its device, or by a graph out of a file
//! on the processor.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rayon::prelude::*;

use super::loader::Loader;
use crate::batches::Batches;
use crate::classifier::{Classifier, FeatureSet};
use crate::device::{Failure, attempt, host_all, release_memory};
use crate::error::{Result, RunError};
use crate::job::Job;
use crate::model::{
    CLASSIFIER_BIAS, CLASSIFIER_WEIGHT, FeatureGraph, Network, Prepared, load_weights,
};
use crate::run::Checkpoint;

/// Samples a step where nothing is learned.
const BATCH: usize = 128;

/// Features with what they are features of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImageFeatures {
    /// The features and labels.
    pub set: FeatureSet,
    /// Which of the `Images` each row belongs to, shape `[n]`.
    pub indices: Vec<usize>,
}

/// A network ready to compute features.
pub struct Extractor {
    network: Computing,
    /// Samples that are computed at once, at most: fewer from when the device's memory did not hold
    /// as many.
    at_once: AtomicUsize,
}

/// Who computes.
enum Computing {
    Network(Box<Prepared>),
    Graph(Arc<FeatureGraph>),
}

impl Extractor {
    /// From a network in training or not; its weights are copied.
    pub fn new(network: &Network) -> Self {
        Self {
            network: Computing::Network(Box::new(Prepared::new(network.valid()))),
            at_once: AtomicUsize::new(BATCH),
        }
    }

    /// From a graph out of a file. It computes on the processor, so loaders have to be of the CPU
    /// device.
    pub fn of_graph(graph: Arc<FeatureGraph>) -> Self {
        Self { network: Computing::Graph(graph), at_once: AtomicUsize::new(BATCH) }
    }

    /// From a checkpoint.
    ///
    /// # Errors
    /// [`RunError::Mismatch`] naming the tensor that is missing or has another shape.
    pub fn from_checkpoint(checkpoint: &Checkpoint, device: &Device) -> Result<Self> {
        Ok(Self::new(&network_of(checkpoint, &device.clone().without_autodiff())?))
    }

    /// Features of every readable image of `loader`, whose device must be the network's, in order.
    /// With `flip`, the mean of an image's and its mirror image's: the classifier is linear, so
    /// logits of the mean are the mean of the logits.
    ///
    /// # Errors
    /// [`Error::Stopped`](crate::Error::Stopped); reading images; a device that fails.
    pub fn features(&self, loader: &Loader, flip: bool, job: Job<'_>) -> Result<ImageFeatures> {
        let passes = if flip { 2 } else { 1 };
        job.phase("computing features", Some((loader.images().len() * passes) as u64), "images");
        let plain = self.collect(loader, || loader.eval_batches(BATCH, false), 0, job)?;
        if !flip {
            return Ok(plain);
        }
        let done = plain.set.labels.len() as u64;
        let mirrored = self.collect(loader, || loader.eval_batches(BATCH, true), done, job)?;
        Ok(mean(plain, &mirrored))
    }

    /// Features of the images of these batches of `loader`, in order, `done` images being done
    /// before. Batches that the device's memory does not hold are computed in parts, from the first
    /// one again, which changes no result.
    ///
    /// # Errors
    /// [`Error::Stopped`](crate::Error::Stopped); reading images; a device that fails.
    pub fn collect(
        &self,
        loader: &Loader,
        batches: impl Fn() -> Batches,
        done: u64,
        job: Job<'_>,
    ) -> Result<ImageFeatures> {
        match &self.network {
            Computing::Graph(graph) => one_by_one(graph, loader, batches(), done, job),
            Computing::Network(network) => self.in_parts(loader.device(), job, |at_once| {
                self.pass(network, loader, batches(), at_once, done, job)
            }),
        }
    }

    /// What `pass` gives when it computes so many samples at once, as many as the device's memory
    /// lets it.
    fn in_parts<T>(
        &self,
        device: &Device,
        job: Job<'_>,
        mut pass: impl FnMut(usize) -> Result<Result<T, Failure>>,
    ) -> Result<T> {
        loop {
            let at_once = self.at_once.load(Ordering::Relaxed);
            match pass(at_once)? {
                Ok(found) => return Ok(found),
                Err(Failure::OutOfMemory) if at_once > 1 => {
                    self.at_once.store(at_once / 2, Ordering::Relaxed);
                    release_memory(device);
                    job.info(format!("the device's memory does not hold {at_once} images at once; going on with {}", at_once / 2));
                }
                Err(failure) => return Err(failure.into()),
            }
        }
    }

    fn pass(
        &self,
        network: &Prepared,
        loader: &Loader,
        mut batches: Batches,
        at_once: usize,
        mut done: u64,
        job: Job<'_>,
    ) -> Result<Result<ImageFeatures, Failure>> {
        let device = loader.device();
        let mut found = ImageFeatures::default();
        let mut pending = Vec::new();
        while let Some(batch) = batches.next() {
            job.check()?;
            let batch = batch?;
            let computed = attempt(device, || {
                let input = loader.input(&batch).inner();
                let samples = input.dims()[0];
                for start in (0..samples).step_by(at_once) {
                    let size = at_once.min(samples - start);
                    let part = if size == samples {
                        input.clone()
                    } else {
                        input.clone().narrow(0, start, size)
                    };
                    pending.push(network.features(part));
                }
                if pending.len() >= loader.read_every() { found.read(&mut pending) } else { Ok(()) }
            });
            if let Err(failure) = computed {
                return Ok(Err(failure));
            }
            done += batch.labels.len() as u64;
            found.set.labels.extend(&batch.labels);
            found.indices.extend(&batch.indices);
            batches.reuse(batch);
            job.progress(done);
        }
        Ok(attempt(device, || found.read(&mut pending)).map(|()| found))
    }
}

/// The features of the images of these batches by a graph that computes one image on one thread.
fn one_by_one(
    graph: &FeatureGraph,
    loader: &Loader,
    mut batches: Batches,
    done: u64,
    job: Job<'_>,
) -> Result<ImageFeatures> {
    let mut found = ImageFeatures::default();
    found.set.dim = graph.backbone().features as usize;
    let done = AtomicU64::new(done);
    let side = loader.images().side();
    let size = 3 * side * side;
    while let Some(batch) = batches.next() {
        job.check()?;
        let batch = batch?;
        let features = |bytes: &[u8]| {
            // An image can take a second.
            job.check()?;
            let mut values = vec![0.0; size];
            loader.normaliser().fill(bytes, side, graph.layout(), &mut values);
            let features = graph.features(&values)?;
            job.progress(done.fetch_add(1, Ordering::Relaxed) + 1);
            Ok(features)
        };
        let rows = batch.images.par_chunks_exact(size).map(features).collect::<Result<Vec<_>>>()?;
        found.set.features.extend(rows.into_iter().flatten());
        found.set.labels.extend(&batch.labels);
        found.indices.extend(&batch.indices);
        batches.reuse(batch);
    }
    Ok(found)
}

impl ImageFeatures {
    /// Appends the features that are still on the device.
    fn read(&mut self, pending: &mut Vec<Tensor<2>>) -> Result<(), Failure> {
        if let Some(features) = pending.first() {
            self.set.dim = features.dims()[1];
        }
        for features in host_all(std::mem::take(pending))? {
            self.set.features.extend(features);
        }
        Ok(())
    }
}

/// The mean of the features of each image and of its mirror image. A streamed image can become
/// unreadable between the two passes; then its one reading is left out, so that rows never mix two
/// images.
pub(crate) fn mean(plain: ImageFeatures, mirrored: &ImageFeatures) -> ImageFeatures {
    fn row(set: &FeatureSet, at: usize) -> &[f32] {
        &set.features[at * set.dim..(at + 1) * set.dim]
    }
    let dim = plain.set.dim;
    let mut both = ImageFeatures {
        set: FeatureSet { dim, ..FeatureSet::default() },
        indices: Vec::with_capacity(plain.indices.len()),
    };
    both.set.features.reserve_exact(plain.set.features.len());
    let mut other = 0;
    for (at, &index) in plain.indices.iter().enumerate() {
        while mirrored.indices.get(other).is_some_and(|&found| found < index) {
            other += 1;
        }
        if mirrored.indices.get(other) == Some(&index) {
            both.set.features.extend(
                row(&plain.set, at)
                    .iter()
                    .zip(row(&mirrored.set, other))
                    .map(|(a, b)| (a + b) / 2.0),
            );
            both.set.labels.push(plain.set.labels[at]);
            both.indices.push(index);
        }
    }
    both
}

/// A network with the checkpoint's weights on `device`.
///
/// # Errors
/// [`RunError::Mismatch`] naming the tensor that is missing or has another shape; a device that
/// fails.
pub fn network_of(checkpoint: &Checkpoint, device: &Device) -> Result<Network> {
    if checkpoint.config.backbone.onnx().is_some() {
        let reason = "its features come out of an ONNX file; there is no network of it".into();
        return Err(RunError::Mismatch { path: checkpoint.source.clone(), reason }.into());
    }
    let fits = attempt(device, || {
        let network = Network::blank(&checkpoint.config, device);
        Ok(load_weights(network, checkpoint.weights.clone()))
    })?;
    fits.map_err(|reason| {
        RunError::Mismatch { path: checkpoint.source.clone(), reason: reason.into() }.into()
    })
}

/// The classifier of a checkpoint, for features as the checkpoint's run has them: standardised
/// where it has a standardiser.
///
/// # Errors
/// [`RunError::Mismatch`] if the checkpoint has none of the right shape.
pub fn classifier_of(checkpoint: &Checkpoint) -> Result<Classifier> {
    let classifier = classifier_in_file(checkpoint)?;
    Ok(match &checkpoint.standardiser {
        Some(standardiser) => standardiser.unfold(&classifier),
        None => classifier,
    })
}

/// The classifier of a checkpoint for features as its backbone gives them.
///
/// # Errors
/// As [`classifier_of`].
pub fn classifier_in_file(checkpoint: &Checkpoint) -> Result<Classifier> {
    let mismatch = |reason: String| RunError::Mismatch {
        path: checkpoint.source.clone(),
        reason: reason.into(),
    };
    let tensor = |name: &str| {
        checkpoint.weight(name).ok_or_else(|| mismatch(format!("there is no tensor `{name}`")))
    };
    let (weight, bias) = (tensor(CLASSIFIER_WEIGHT)?, tensor(CLASSIFIER_BIAS)?);
    Classifier::new(
        checkpoint.config.classes,
        checkpoint.config.features(),
        weight.values.clone(),
        bias.values.clone(),
    )
}

/// Puts a classifier of the same shape in the place of the checkpoint's own: what [`classifier_of`]
/// then gives.
pub fn put_classifier(checkpoint: &mut Checkpoint, classifier: &Classifier) {
    let classifier = match &checkpoint.standardiser {
        Some(standardiser) => &standardiser.fold(classifier),
        None => classifier,
    };
    for tensor in &mut checkpoint.weights {
        match tensor.name.as_str() {
            // There may be other classes than before.
            CLASSIFIER_WEIGHT => {
                tensor.shape = vec![classifier.classes, classifier.features];
                tensor.values.clone_from(&classifier.weight);
            }
            CLASSIFIER_BIAS => {
                tensor.shape = vec![classifier.classes];
                tensor.values.clone_from(&classifier.bias);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batches::Images;
    use crate::job::{Control, Silent};
    use crate::model::{NetworkConfig, Normaliser};
    use crate::settings::{Backbone, Stem};

    #[test]
    fn what_does_not_fit_is_computed_in_parts_and_nothing_else_changes() {
        let device = Device::flex();
        let config = NetworkConfig {
            backbone: Backbone::ResNet20,
            stem: Stem::Small,
            input_size: 8,
            classes: 2,
        };
        let network = Network::new(&config, 0, &device);
        let control = Control::new();
        let job = Job::new(&control, &Silent);
        let bytes = (0..11 * 3 * 64).map(|i| (i * 37 % 256) as u8).collect();
        let images = Images::from_bytes(8, 2, (0..11).map(|i| i % 2).collect(), bytes).unwrap();
        let loader = Loader::new(images, Normaliser::new([0.5; 3], [0.25; 3]), &device);
        let whole = Extractor::new(&network).features(&loader, true, job).unwrap();
        assert_eq!(
            (whole.set.dim, whole.set.labels.len(), whole.set.features.len()),
            (64, 11, 11 * 64)
        );

        let mut asked = Vec::new();
        let mut run = |extractor: &Extractor, most: usize| {
            let found = extractor.in_parts(&device, job, |at_once| {
                asked.push(at_once);
                if at_once > most {
                    return Ok(Err(Failure::OutOfMemory));
                }
                extractor.pass(
                    &Prepared::new(network.valid()),
                    &loader,
                    loader.eval_batches(BATCH, false),
                    at_once,
                    0,
                    job,
                )
            });
            (found.map_err(|error| error.to_string()), std::mem::take(&mut asked))
        };
        let plain = Extractor::new(&network).features(&loader, false, job).unwrap();
        let small = Extractor::new(&network);
        let (found, sizes) = run(&small, 5);
        let found = found.unwrap();
        assert_eq!(
            (sizes, &found.indices, &found.set.labels),
            (vec![128, 64, 32, 16, 8, 4], &plain.indices, &plain.set.labels)
        );
        // Few images are convolved in another way, which rounds differently.
        let apart = found
            .set
            .features
            .iter()
            .zip(plain.set.features.iter())
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max);
        assert!(found.set.features.len() == plain.set.features.len() && apart < 1e-4, "{apart}");
        // What was found out holds from then on.
        assert_eq!(run(&small, 5).1, [4]);
        let (found, sizes) = run(&Extractor::new(&network), 0);
        assert_eq!(sizes, [128, 64, 32, 16, 8, 4, 2, 1]);
        assert!(found.unwrap_err().contains("memory"));
    }

    #[test]
    fn the_mean_is_taken_of_images_that_were_read_twice() {
        let found = |indices: &[usize], scale: f32| ImageFeatures {
            set: FeatureSet {
                dim: 2,
                features: indices.iter().flat_map(|&i| [scale * i as f32, 1.0]).collect(),
                labels: indices.iter().map(|&i| i as u32 + 10).collect(),
            },
            indices: indices.to_vec(),
        };
        let both = mean(found(&[0, 1, 3, 4], 1.0), &found(&[1, 2, 3, 5], 3.0));
        assert_eq!(both.indices, [1, 3]);
        assert_eq!(both.set.labels, [11, 13]);
        assert_eq!(both.set.features, [2.0, 1.0, 6.0, 1.0]);
        assert_eq!(mean(found(&[0, 1], 1.0), &found(&[0, 1], 1.0)), found(&[0, 1], 1.0));
    }
}
