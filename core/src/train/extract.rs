//! Features of many images, computed once.

use burn::module::Module;
use burn::tensor::Device;

use super::checkpoint::Checkpoint;
use super::input::Normaliser;
use crate::balance::{Classifier, FeatureSet};
use crate::data::{Batch, Images};
use crate::error::{Result, RunError, TrainError};
use crate::job::Job;
use crate::model::{Mode, Network, load_weights};

/// Samples a step where nothing is learned.
const BATCH: usize = 128;

/// A network ready to compute features.
pub struct Extractor {
    network: Network,
    normaliser: Normaliser,
    side: usize,
    device: Device,
}

impl Extractor {
    /// From a network in training or not; its weights are copied.
    pub fn new(network: &Network, normaliser: Normaliser, side: usize, device: &Device) -> Self {
        Self { network: network.valid(), normaliser, side, device: device.clone().without_autodiff() }
    }

    /// From a checkpoint.
    ///
    /// # Errors
    /// [`RunError::Mismatch`] naming the tensor that is missing or has another shape.
    pub fn from_checkpoint(checkpoint: &Checkpoint, device: &Device) -> Result<Self> {
        let network = network_of(checkpoint, &device.clone().without_autodiff())?;
        Ok(Self::new(&network, Normaliser::new(checkpoint.mean, checkpoint.std), checkpoint.config.input_size, device))
    }

    /// Features of every image, in order. With `flip`, the mean of an image's and its mirror image's: the classifier is linear, so
    /// logits of the mean are the mean of the logits.
    ///
    /// # Errors
    /// [`Error::Stopped`](crate::Error::Stopped); reading images.
    pub fn features(&self, images: &Images, flip: bool, job: Job<'_>) -> Result<FeatureSet> {
        let passes = if flip { 2 } else { 1 };
        job.phase("computing features", Some((images.len() * passes) as u64), "images");
        let mut done = 0;
        let mut plain = self.collect(images.eval_batches(BATCH, false), &mut done, job)?;
        if flip {
            let mirrored = self.collect(images.eval_batches(BATCH, true), &mut done, job)?;
            for (value, other) in plain.features.iter_mut().zip(&mirrored.features) {
                *value = (*value + other) / 2.0;
            }
        }
        Ok(plain)
    }

    /// Features of the images of these batches, in order.
    ///
    /// # Errors
    /// [`Error::Stopped`](crate::Error::Stopped); reading images.
    pub fn collect(&self, batches: impl Iterator<Item = Result<Batch>>, done: &mut u64, job: Job<'_>) -> Result<FeatureSet> {
        let mut set = FeatureSet { dim: 0, features: Vec::new(), labels: Vec::new() };
        for batch in batches {
            job.check()?;
            let batch = batch?;
            let input = self.normaliser.tensor(&batch.images, self.side, &self.device);
            let features = self.network.features(input, Mode::Evaluate);
            set.dim = features.dims()[1];
            set.features.extend(host(features)?);
            *done += batch.labels.len() as u64;
            set.labels.extend(batch.labels);
            job.progress(*done);
        }
        Ok(set)
    }
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
