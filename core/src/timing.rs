//! How long a training step takes here, and the features of a batch: measured on random images, for
//! estimates before training and for benchmarks.

use std::time::Instant;

use burn::module::Module;
use burn::tensor::Device;
use rand::Rng;
use rayon::prelude::*;

use crate::augment::Augmentation;
use crate::batches::{Batch, Batches, EpochPlan, Images};
use crate::device::{attempt, finish_work, host};
use crate::error::Result;
use crate::job::Job;
use crate::model::{FeatureGraph, Kernels, Mode, Network, NetworkConfig, Normaliser, Prepared};
use crate::random;
use crate::settings::{Backbone, Precision, Preset, Settings};
use crate::train::{Loader, Sgd, cross_entropy};

/// Steps before the timed ones: the first compile kernels and fill caches.
pub const WARM_UP: usize = 3;

/// Batches of an epoch, where they come from the loader.
const EPOCH: usize = 16;

/// Which network to time, and how.
#[derive(Clone, Copy, Debug)]
pub struct NetworkRequest {
    /// The network.
    pub backbone: Backbone,
    /// Samples a step.
    pub batch_size: usize,
    /// Side of the square input in pixels.
    pub input_size: usize,
    /// Classes of the classifier.
    pub classes: usize,
    /// Steps before those, which fill caches; see [`WARM_UP`].
    pub warm_up: usize,
    /// Steps timed.
    pub steps: usize,
    /// Who computes.
    pub kernels: Kernels,
    /// What convolutions compute with in training, where the device can.
    pub precision: Precision,
}

impl NetworkRequest {
    pub(crate) fn config(&self) -> NetworkConfig {
        let Self { backbone, input_size, classes, .. } = *self;
        NetworkConfig { backbone, stem: NetworkConfig::stem_for(input_size), input_size, classes }
    }
}

/// Seconds of training steps on random images: on one batch again and again or, with
/// `loader`, on batches made as training makes them. A step takes a batch of bytes to the device,
/// normalises it, and does forward, backward and SGD with momentum and weight decay. The network
/// comes back as the last step left it.
///
/// # Errors
/// [`crate::Error::Stopped`], or [`crate::Error::Device`] if the device cannot finish its work.
pub(crate) fn training_step(
    request: &NetworkRequest,
    loader: bool,
    device: &Device,
    job: Job<'_>,
) -> Result<(Times, Network)> {
    let &NetworkRequest { backbone, warm_up, steps, .. } = request;
    let device = device.clone().autodiff();
    let mut network = Network::new(&request.config(), 0, &device)
        .with_kernels(request.kernels)
        .with_precision(request.precision);
    let mut optimizer = Sgd::new(0.9, 5e-3).with_kernels(request.kernels);
    let mut source = Source::new(request, loader, &device)?;
    job.phase(format!("timing {backbone}"), Some((warm_up + steps) as u64), "steps");
    let mut times = Vec::with_capacity(steps);
    for step in 0..warm_up + steps.max(1) {
        job.check()?;
        let started = Instant::now();
        let batch = source.next()?;
        let input = source.loader.input(&batch);
        network = attempt(&device, || {
            let loss = cross_entropy(network.forward(input, Mode::Train), &batch, 0.0);
            let gradients = loss.backward();
            let stepped = optimizer.step(network, gradients, 1e-3);
            host(loss.inner())?;
            finish_work(&device)?;
            Ok(stepped)
        })?;
        source.give_back(batch);
        if step >= warm_up {
            times.push(started.elapsed().as_secs_f64());
        }
        job.progress(step as u64 + 1);
    }
    Ok((Times(times), network))
}

/// Seconds of [`Prepared::features`] on a batch of random images, which is taken to the
/// device as bytes, normalised there, and whose features are brought back; with the network.
///
/// # Errors
/// [`crate::Error::Stopped`]; a device that cannot return its numbers.
pub(crate) fn features_of_batch(
    request: &NetworkRequest,
    device: &Device,
    job: Job<'_>,
) -> Result<(Times, Network)> {
    let &NetworkRequest { backbone, batch_size, input_size, warm_up, steps, .. } = request;
    let device = device.clone().without_autodiff();
    let network = Network::new(&request.config(), 0, &device).with_kernels(request.kernels);
    let network = Prepared::new(network.valid());
    let normaliser = Normaliser::new([0.5; 3], [0.25; 3]);
    let images = random_bytes(batch_size * 3 * input_size * input_size);
    job.phase(format!("timing {backbone}"), Some((warm_up + steps) as u64), "batches");
    let mut times = Vec::with_capacity(steps);
    for step in 0..warm_up + steps.max(1) {
        job.check()?;
        let started = Instant::now();
        let input = normaliser.tensor(&images, input_size, &device);
        attempt(&device, || host(network.features(input)))?;
        if step >= warm_up {
            times.push(started.elapsed().as_secs_f64());
        }
        job.progress(step as u64 + 1);
    }
    Ok((Times(times), network.network().clone()))
}

/// Seconds of [`FeatureGraph::features`] on random images, those of a batch side by side on
/// all threads, as features of a run are computed. The first batch fills caches.
///
/// # Errors
/// [`crate::Error::Stopped`]; a graph that fails.
pub(crate) fn features_by_graph(
    graph: &FeatureGraph,
    name: &str,
    batch_size: usize,
    steps: usize,
    job: Job<'_>,
) -> Result<Times> {
    let side = graph.side();
    let size = 3 * side * side;
    let normaliser = Normaliser::new([0.5; 3], [0.25; 3]);
    let images = random_bytes(batch_size * size);
    job.phase(format!("timing {name}"), Some(steps as u64 + 1), "batches");
    let mut times = Vec::with_capacity(steps);
    for step in 0..=steps.max(1) {
        let started = Instant::now();
        images.par_chunks_exact(size).try_for_each(|bytes| {
            job.check()?;
            let mut values = vec![0.0; size];
            normaliser.fill(bytes, side, graph.layout(), &mut values);
            graph.features(&values).map(drop)
        })?;
        if step > 0 {
            times.push(started.elapsed().as_secs_f64());
        }
        job.progress(step as u64 + 1);
    }
    Ok(Times(times))
}

/// How long each of some steps took, in seconds. There is at least one.
pub(crate) struct Times(Vec<f64>);

impl Times {
    /// What is usual.
    pub fn median(self) -> f64 {
        median(self.0)
    }

    /// What it takes where nothing else holds it up.
    pub fn least(self) -> f64 {
        self.0.into_iter().fold(f64::INFINITY, f64::min)
    }
}

/// The middle one of some times in seconds, of an even number the later. There must be at least
/// one.
pub(crate) fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

fn random_bytes(count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    random::stream(0, "bench", &[]).fill_bytes(&mut bytes);
    bytes
}

/// Where the batches come from.
struct Source {
    loader: Loader,
    augmentation: Augmentation,
    plan: EpochPlan,
    batches: Option<Batches>,
    /// The one batch, while it is not in use, if it is to be used in every step.
    same: Option<Batch>,
}

impl Source {
    fn new(request: &NetworkRequest, fresh: bool, device: &Device) -> Result<Self> {
        let &NetworkRequest { batch_size, input_size, classes, .. } = request;
        let count = if fresh { EPOCH * batch_size } else { batch_size };
        let bytes = random_bytes(count * 3 * input_size * input_size);
        let labels = (0..count).map(|sample| (sample % classes) as u32).collect();
        let images = Images::from_bytes(input_size, classes, labels, bytes)?;
        let augmentation =
            Augmentation::new(&Settings::preset(Preset::Paper).augmentation, [0.5; 3]);
        let plan = EpochPlan { batch_size, seed: 0, epoch: 0, from_step: 0 };
        let loader = Loader::new(images, Normaliser::new([0.5; 3], [0.25; 3]), device);
        let (batches, same) = match fresh {
            true => (Some(loader.train_batches(&augmentation, plan)), None),
            false => (None, loader.eval_batches(batch_size, false).next().transpose()?),
        };
        Ok(Self { loader, augmentation, plan, batches, same })
    }

    fn next(&mut self) -> Result<Batch> {
        let Some(batches) = &mut self.batches else {
            return Ok(self.same.take().unwrap_or_default());
        };
        loop {
            if let Some(batch) = batches.next() {
                return batch;
            }
            self.plan.epoch += 1;
            *batches = self.loader.train_batches(&self.augmentation, self.plan);
        }
    }

    fn give_back(&mut self, batch: Batch) {
        match &self.batches {
            None => self.same = Some(batch),
            Some(batches) => batches.reuse(batch),
        }
    }
}
