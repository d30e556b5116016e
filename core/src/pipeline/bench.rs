//! Timing the training step.

use std::time::Instant;

use burn::tensor::Device;
use rand::Rng;
use serde::Serialize;

use crate::data::Batch;
use crate::error::{Error, Result};
use crate::job::Job;
use crate::model::{Kernels, Mode, Network, NetworkConfig};
use crate::random;
use crate::settings::Backbone;
use crate::train::{Normaliser, Sgd, cross_entropy, host};

/// Steps before the timed ones: the first compile kernels and fill caches.
const WARM_UP: usize = 3;

/// What to time.
#[derive(Clone, Copy, Debug)]
pub struct BenchRequest {
    /// The network.
    pub backbone: Backbone,
    /// Samples a step.
    pub batch_size: usize,
    /// Side of the square input in pixels.
    pub input_size: usize,
    /// Classes of the classifier.
    pub classes: usize,
    /// Steps timed.
    pub steps: usize,
    /// Who computes on the CPU.
    pub kernels: Kernels,
}

/// How fast training steps are. A step takes a batch of bytes to the device, normalises it, and does forward, backward and SGD with
/// momentum and weight decay.
#[derive(Clone, Debug, Serialize)]
pub struct BenchReport {
    /// The device, as `--device` names it.
    pub device: String,
    /// The network.
    pub backbone: Backbone,
    /// Samples a step.
    pub batch_size: usize,
    /// Side of the square input in pixels.
    pub input_size: usize,
    /// Steps timed.
    pub steps: usize,
    /// Median time of a step in milliseconds.
    pub ms_per_step: f64,
    /// Samples over the median time.
    pub images_per_s: f64,
}

/// Times training steps on random images.
///
/// # Errors
/// [`Error::Stopped`], or [`Error::Device`] if the device cannot finish its work.
pub fn bench(request: &BenchRequest, device: &Device, device_name: &str, job: Job<'_>) -> Result<BenchReport> {
    let BenchRequest { backbone, batch_size, input_size, classes, steps, kernels } = *request;
    let device = device.clone().autodiff();
    let stem = NetworkConfig::stem_for(input_size);
    let mut network = Network::new(&NetworkConfig { backbone, stem, input_size, classes }, 0, &device).with_kernels(kernels);
    let mut optimizer = Sgd::new(0.9, 5e-3).with_kernels(kernels);
    let normaliser = Normaliser::new([0.5; 3], [0.25; 3]);
    let mut images = vec![0; batch_size * 3 * input_size * input_size];
    random::stream(0, "bench", &[]).fill_bytes(&mut images);
    let labels = (0..batch_size).map(|sample| (sample % classes) as u32).collect();
    let batch = Batch { images, labels, mixed: None, indices: (0..batch_size).collect() };

    job.phase(format!("timing {backbone}"), Some((WARM_UP + steps) as u64), "steps");
    let mut times = Vec::with_capacity(steps);
    for step in 0..WARM_UP + steps {
        job.check()?;
        let started = Instant::now();
        let input = normaliser.tensor(&batch.images, input_size, &device);
        let loss = cross_entropy(network.forward(input, Mode::Train), &batch, 0.0);
        let gradients = loss.backward();
        network = optimizer.step(network, gradients, 1e-3);
        host(loss.inner())?;
        device.sync().map_err(|e| Error::Device { name: device_name.to_string(), reason: e.to_string() })?;
        if step >= WARM_UP {
            times.push(started.elapsed().as_secs_f64());
        }
        job.progress(step as u64 + 1);
    }
    times.sort_by(f64::total_cmp);
    let median = times[times.len() / 2];
    Ok(BenchReport {
        device: device_name.to_string(),
        backbone,
        batch_size,
        input_size,
        steps,
        ms_per_step: median * 1e3,
        images_per_s: batch_size as f64 / median,
    })
}
