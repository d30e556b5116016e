//! Features of many images, computed once.

use burn::module::Module;
use burn::tensor::{Device, Tensor, Transaction};

use super::checkpoint::Checkpoint;
use super::loader::Loader;
use crate::balance::{Classifier, FeatureSet};
use crate::data::Batches;
use crate::error::{Result, RunError, TrainError};
use crate::job::Job;
use crate::model::{Mode, Network, load_weights};
use crate::ops;

/// Samples a step where nothing is learned.
const BATCH: usize = 128;

/// Batches whose features stay on a GPU until they are read together, since reading waits for it.
const READ_EVERY: usize = 32;

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
}

impl Extractor {
    /// From a network in training or not; its weights are copied.
    pub fn new(network: &Network) -> Self {
        Self { network: network.valid() }
    }

    /// From a checkpoint.
    ///
    /// # Errors
    /// [`RunError::Mismatch`] naming the tensor that is missing or has another shape.
    pub fn from_checkpoint(checkpoint: &Checkpoint, device: &Device) -> Result<Self> {
        Ok(Self::new(&network_of(checkpoint, &device.clone().without_autodiff())?))
    }

    /// Features of every readable image of `loader`, whose device must be the network's, in order. With `flip`, the mean of an image's and its
    /// mirror image's: the classifier is linear, so logits of the mean are the mean of the logits.
    ///
    /// # Errors
    /// [`Error::Stopped`](crate::Error::Stopped); reading images.
    pub fn features(&self, loader: &Loader, flip: bool, job: Job<'_>) -> Result<ImageFeatures> {
        let passes = if flip { 2 } else { 1 };
        job.phase("computing features", Some((loader.images().len() * passes) as u64), "images");
        let mut done = 0;
        let plain = self.collect(loader, loader.eval_batches(BATCH, false), &mut done, job)?;
        if !flip {
            return Ok(plain);
        }
        let mirrored = self.collect(loader, loader.eval_batches(BATCH, true), &mut done, job)?;
        Ok(mean(plain, &mirrored))
    }

    /// Features of the images of these batches of `loader`, in order.
    ///
    /// # Errors
    /// [`Error::Stopped`](crate::Error::Stopped); reading images.
    pub fn collect(&self, loader: &Loader, mut batches: Batches, done: &mut u64, job: Job<'_>) -> Result<ImageFeatures> {
        let mut found = ImageFeatures::default();
        let mut pending = Vec::new();
        while let Some(batch) = batches.next() {
            job.check()?;
            let batch = batch?;
            let input = loader.input(&batch).inner();
            let features = self.network.features(input, Mode::Evaluate);
            found.set.dim = features.dims()[1];
            *done += batch.labels.len() as u64;
            found.set.labels.extend(&batch.labels);
            found.indices.extend(&batch.indices);
            batches.reuse(batch);
            let read_every = if ops::is_cpu(&features.device()) { 1 } else { READ_EVERY };
            pending.push(features);
            if pending.len() >= read_every {
                found.read(&mut pending)?;
            }
            job.progress(*done);
        }
        found.read(&mut pending)?;
        Ok(found)
    }
}

impl ImageFeatures {
    /// Appends the features that are still on the device.
    fn read(&mut self, pending: &mut Vec<Tensor<2>>) -> Result<()> {
        for features in host_all(std::mem::take(pending))? {
            self.set.features.extend(features);
        }
        Ok(())
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
/// [`RunError::Mismatch`] naming the tensor that is missing or has another shape.
pub fn network_of(checkpoint: &Checkpoint, device: &Device) -> Result<Network> {
    let network = Network::new(&checkpoint.config, checkpoint.seed, device);
    let fits = load_weights(network, checkpoint.weights.clone());
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
pub(crate) fn host<const D: usize>(tensor: burn::tensor::Tensor<D>) -> Result<Vec<f32>> {
    Ok(tensor.into_data().try_into_vec_as::<f32>().map_err(|e| TrainError::Request(format!("the device returned no numbers: {e}")))?)
}

/// The values of many tensors on the host, waiting for the device once.
pub(crate) fn host_all<const D: usize>(tensors: Vec<Tensor<D>>) -> Result<Vec<Vec<f32>>> {
    if tensors.is_empty() {
        return Ok(Vec::new());
    }
    let failed = |reason: String| TrainError::Request(format!("the device returned no numbers: {reason}"));
    let all = tensors.into_iter().fold(Transaction::default(), |all, tensor| all.register(tensor));
    let all = all.try_execute().map_err(|e| failed(e.to_string()))?;
    let all: Result<Vec<Vec<f32>>, _> = all.into_iter().map(|data| data.try_into_vec_as::<f32>()).collect();
    Ok(all.map_err(|e| failed(e.to_string()))?)
}

#[cfg(test)]
mod tests {
    use super::*;

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
