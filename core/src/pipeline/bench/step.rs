//! Timing the training step.

use std::time::Instant;

use burn::tensor::Device;
use rand::Rng;
use serde::Serialize;

use super::{median, peak_gflops, peak_memory, training_operations};
use crate::augment::Augmentation;
use crate::batches::{Batch, Batches, EpochPlan, Images};
use crate::device::{Failure, attempt};
use crate::error::Result;
use crate::job::Job;
use crate::model::{Kernels, Mode, Network, NetworkConfig};
use crate::random;
use crate::settings::{Backbone, Precision, Preset, Settings};
use crate::train::{Loader, Normaliser, Sgd, cross_entropy, host};

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
    pub(super) fn config(&self) -> NetworkConfig {
        let Self { backbone, input_size, classes, .. } = *self;
        NetworkConfig { backbone, stem: NetworkConfig::stem_for(input_size), input_size, classes }
    }
}

/// How fast training steps are. A step takes a batch of bytes to the device, normalises it, and
/// does forward, backward and SGD with momentum and weight decay.
#[derive(Clone, Debug, Serialize)]
pub struct TrainReport {
    /// The device, as `--device` names it.
    pub device: String,
    /// The network.
    pub backbone: Backbone,
    /// Samples a step.
    pub batch_size: usize,
    /// Side of the square input in pixels.
    pub input_size: usize,
    /// What convolutions computed with.
    pub precision: Precision,
    /// Steps timed.
    pub steps: usize,
    /// Whether batches were cropped and flipped on a thread beside the steps, rather than one and
    /// the same used in each.
    pub loader: bool,
    /// Threads the CPU device works with.
    pub threads: usize,
    /// Median time of a step in milliseconds.
    pub ms_per_step: f64,
    /// Samples over the median time.
    pub images_per_s: f64,
    /// Floating-point operations of convolutions and classifier a second, in billions; see
    /// [`training_operations`].
    pub gflop_per_s: f64,
    /// What the processor's threads can do at most, as measured: see [`peak_gflops`]. `None` where
    /// another device computes.
    pub peak_gflop_per_s: Option<f64>,
    /// See [`peak_memory`].
    pub peak_memory_bytes: Option<u64>,
}

/// Times training steps on random images: on one batch again and again or, with `loader`, on
/// batches made as training makes them.
///
/// # Errors
/// [`Error::Stopped`], or [`Error::Device`] if the device cannot finish its work.
pub fn train(
    request: &NetworkRequest,
    loader: bool,
    device: &Device,
    device_name: &str,
    job: Job<'_>,
) -> Result<TrainReport> {
    let &NetworkRequest { backbone, batch_size, input_size, warm_up, steps, .. } = request;
    // Before the device's threads have work, and while the processor is as cool as it will be.
    let peak_gflop_per_s =
        (device_name == "cpu").then(|| peak_gflops(rayon::current_num_threads()));
    let device = device.clone().autodiff();
    let config = request.config();
    let mut network = Network::new(&config, 0, &device)
        .with_kernels(request.kernels)
        .with_precision(request.precision);
    let operations = training_operations(&network, &config) * batch_size as u64;
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
            device.sync().map_err(|error| Failure::from(error.to_string()))?;
            Ok(stepped)
        })?;
        source.give_back(batch);
        if step >= warm_up {
            times.push(started.elapsed().as_secs_f64());
        }
        job.progress(step as u64 + 1);
    }
    let median = median(times);
    Ok(TrainReport {
        device: device_name.to_string(),
        backbone,
        batch_size,
        input_size,
        precision: network.precision(),
        steps,
        loader,
        threads: rayon::current_num_threads(),
        ms_per_step: median * 1e3,
        images_per_s: batch_size as f64 / median,
        gflop_per_s: operations as f64 / median / 1e9,
        peak_gflop_per_s,
        peak_memory_bytes: peak_memory(),
    })
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
        let mut bytes = vec![0; count * 3 * input_size * input_size];
        random::stream(0, "bench", &[]).fill_bytes(&mut bytes);
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
