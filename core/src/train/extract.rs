//! Features of many images, computed once.

use std::sync::atomic::{AtomicUsize, Ordering};

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::checkpoint::Checkpoint;
use super::input::Normaliser;
use crate::balance::{Classifier, FeatureSet};
use crate::data::{Batches, Images};
use crate::device::{Failure, attempt, release_memory};
use crate::error::{Result, RunError};
use crate::job::Job;
use crate::model::{Mode, Network, load_weights};
use crate::panics::driver_said;

/// Samples a step where nothing is learned.
const BATCH: usize = 128;

/// Features with what they are features of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImageFeatures {
    /// The features and labels.
    pub set: FeatureSet,
    /// Which of the [`Images`] each row belongs to, shape [n].
    pub indices: Vec<usize>,
}

/// A network ready to compute features.
pub struct Extractor {
    network: Network,
    normaliser: Normaliser,
    side: usize,
    device: Device,
    /// Samples that are computed at once, at most: fewer from when the device's memory did not hold as many.
    at_once: AtomicUsize,
}

impl Extractor {
    /// From a network in training or not; its weights are copied.
    pub fn new(network: &Network, normaliser: Normaliser, side: usize, device: &Device) -> Self {
        let device = device.clone().without_autodiff();
        Self { network: network.valid(), normaliser, side, device, at_once: AtomicUsize::new(usize::MAX) }
    }

    /// From a checkpoint.
    ///
    /// # Errors
    /// [`RunError::Mismatch`] naming the tensor that is missing or has another shape.
    pub fn from_checkpoint(checkpoint: &Checkpoint, device: &Device) -> Result<Self> {
        let network = network_of(checkpoint, &device.clone().without_autodiff())?;
        Ok(Self::new(&network, Normaliser::new(checkpoint.mean, checkpoint.std), checkpoint.config.input_size, device))
    }

    /// Features of every readable image, in order. With `flip`, the mean of an image's and its mirror image's: the classifier is linear, so
    /// logits of the mean are the mean of the logits.
    ///
    /// # Errors
    /// [`Error::Stopped`](crate::Error::Stopped); reading images.
    pub fn features(&self, images: &Images, flip: bool, job: Job<'_>) -> Result<ImageFeatures> {
        let passes = if flip { 2 } else { 1 };
        job.phase("computing features", Some((images.len() * passes) as u64), "images");
        let mut done = 0;
        let plain = self.collect(images.eval_batches(BATCH, false), &mut done, job)?;
        if !flip {
            return Ok(plain);
        }
        let mirrored = self.collect(images.eval_batches(BATCH, true), &mut done, job)?;
        Ok(mean(plain, &mirrored))
    }

    /// Features of the images of these batches, in order. Batches that the device's memory does not hold are computed in parts, which changes
    /// no result.
    ///
    /// # Errors
    /// [`Error::Stopped`](crate::Error::Stopped); reading images; a device that fails.
    pub fn collect(&self, mut batches: Batches, done: &mut u64, job: Job<'_>) -> Result<ImageFeatures> {
        let mut found = ImageFeatures::default();
        while let Some(batch) = batches.next() {
            job.check()?;
            let batch = batch?;
            let input = self.normaliser.tensor(&batch.images, self.side, &self.device);
            found.set.dim = self.extend(&mut found.set.features, input, job)?;
            *done += batch.labels.len() as u64;
            found.set.labels.extend(&batch.labels);
            found.indices.extend(&batch.indices);
            batches.reuse(batch);
            job.progress(*done);
        }
        Ok(found)
    }

    /// Appends the features of a batch, of shape `[batch, features]`, and returns their number of columns.
    fn extend(&self, features: &mut Vec<f32>, input: Tensor<4>, job: Job<'_>) -> Result<usize> {
        let compute = |part: Tensor<4>| {
            attempt(&self.device, || {
                let features = self.network.features(part, Mode::Evaluate);
                Ok((features.dims()[1], host(features)?))
            })
        };
        self.in_parts(input, compute, features, job)
    }

    /// Appends what `compute` gives for parts of a batch, each as large as the device's memory lets it be.
    fn in_parts(
        &self,
        input: Tensor<4>,
        mut compute: impl FnMut(Tensor<4>) -> Result<(usize, Vec<f32>), Failure>,
        values: &mut Vec<f32>,
        job: Job<'_>,
    ) -> Result<usize> {
        let samples = input.dims()[0];
        let (mut done, mut dim) = (0, 0);
        while done < samples {
            let size = self.at_once.load(Ordering::Relaxed).min(samples - done);
            let part = if size == samples { input.clone() } else { input.clone().narrow(0, done, size) };
            match compute(part) {
                Ok((columns, found)) => {
                    dim = columns;
                    values.extend(found);
                    done += size;
                }
                Err(Failure::OutOfMemory) if size > 1 => {
                    self.at_once.store(size / 2, Ordering::Relaxed);
                    release_memory(&self.device);
                    job.info(format!("the device's memory does not hold {size} images at once; going on with {}", size / 2));
                }
                Err(failure) => return Err(failure.into()),
            }
        }
        Ok(dim)
    }
}

/// The mean of the features of each image and of its mirror image. A streamed image can become unreadable between the two passes; then its
/// one reading is left out, so that rows never mix two images.
fn mean(plain: ImageFeatures, mirrored: &ImageFeatures) -> ImageFeatures {
    fn row(set: &FeatureSet, at: usize) -> &[f32] {
        &set.features[at * set.dim..(at + 1) * set.dim]
    }
    let dim = plain.set.dim;
    let mut both = ImageFeatures { set: FeatureSet { dim, ..FeatureSet::default() }, indices: Vec::with_capacity(plain.indices.len()) };
    both.set.features.reserve(plain.set.features.len());
    let mut other = 0;
    for (at, &index) in plain.indices.iter().enumerate() {
        while mirrored.indices.get(other).is_some_and(|&found| found < index) {
            other += 1;
        }
        if mirrored.indices.get(other) == Some(&index) {
            both.set.features.extend(row(&plain.set, at).iter().zip(row(&mirrored.set, other)).map(|(a, b)| (a + b) / 2.0));
            both.set.labels.push(plain.set.labels[at]);
            both.indices.push(index);
        }
    }
    both
}

/// A network with the checkpoint's weights on `device`.
///
/// # Errors
/// [`RunError::Mismatch`] naming the tensor that is missing or has another shape; a device that fails.
pub fn network_of(checkpoint: &Checkpoint, device: &Device) -> Result<Network> {
    let fits = attempt(device, || {
        let network = Network::new(&checkpoint.config, checkpoint.seed, device);
        Ok(load_weights(network, checkpoint.weights.clone()))
    })?;
    fits.map_err(|reason| RunError::Mismatch { path: checkpoint.source.clone(), reason }.into())
}

/// The classifier of a checkpoint.
///
/// # Errors
/// [`RunError::Mismatch`] if the checkpoint has none of the right shape.
pub fn classifier_of(checkpoint: &Checkpoint) -> Result<Classifier> {
    let mismatch = |reason: String| RunError::Mismatch { path: checkpoint.source.clone(), reason };
    let tensor = |name: &str| checkpoint.weight(name).ok_or_else(|| mismatch(format!("there is no tensor `{name}`")));
    let (weight, bias) = (tensor("fc.weight")?, tensor("fc.bias")?);
    Classifier::new(checkpoint.config.classes, checkpoint.config.features(), weight.values.clone(), bias.values.clone())
}

/// A tensor's values on the host.
pub(crate) fn host<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, Failure> {
    let data = tensor.try_into_data().map_err(|error| Failure::from(error.to_string()))?;
    // What failed on the way here, such as a kernel that was only tried out, did no harm.
    driver_said();
    data.try_into_vec_as::<f32>().map_err(|error| Failure::from(format!("the device returned no numbers: {error}")))
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;
    use crate::job::{Control, Silent};
    use crate::model::NetworkConfig;
    use crate::settings::{Backbone, Stem};

    #[test]
    fn a_batch_that_does_not_fit_is_halved_until_it_does_and_nothing_else_changes() {
        let device = Device::flex();
        let config = NetworkConfig { backbone: Backbone::ResNet20, stem: Stem::Small, input_size: 8, classes: 2 };
        let network = Network::new(&config, 0, &device);
        let control = Control::new();
        let job = Job::new(&control, &Silent);
        let values: Vec<f32> = (0..11 * 3).map(|i| i as f32).collect();
        let input = || Tensor::<4>::from_data(TensorData::new(values.clone(), [11, 3, 1, 1]), &device);
        let mut asked = Vec::new();
        let mut run = |extractor: &Extractor, most: usize| {
            let mut found = Vec::new();
            let compute = |part: Tensor<4>| {
                asked.push(part.dims()[0]);
                if part.dims()[0] > most { Err(Failure::OutOfMemory) } else { Ok((3, host(part)?)) }
            };
            let dim = extractor.in_parts(input(), compute, &mut found, job);
            (dim.map_err(|error| error.to_string()), found, std::mem::take(&mut asked))
        };
        let extractor = || Extractor::new(&network, Normaliser::new([0.0; 3], [1.0; 3]), 8, &device);
        assert_eq!(run(&extractor(), 11), (Ok(3), values.clone(), vec![11]));
        let small = extractor();
        assert_eq!(run(&small, 3), (Ok(3), values.clone(), vec![11, 5, 2, 2, 2, 2, 2, 1]));
        // What was found out holds for the next batch.
        assert_eq!(run(&small, 3).2, [2, 2, 2, 2, 2, 1]);
        let (outcome, _, asked) = run(&extractor(), 0);
        assert_eq!(asked, [11, 5, 2, 1]);
        assert!(outcome.unwrap_err().contains("memory"));
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
