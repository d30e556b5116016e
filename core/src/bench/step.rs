//! Timing the training step.

use burn::tensor::Device;
use serde::Serialize;

use super::{peak_gflops, peak_memory, training_operations};
use crate::error::Result;
use crate::job::Job;
use crate::settings::{Backbone, Precision};
use crate::timing::{self, NetworkRequest};

/// How fast training steps are. A step takes a batch of bytes to the device, normalises it, and
/// does forward, backward and SGD with momentum and weight decay.
#[derive(Clone, Debug, Serialize)]
pub struct StepReport {
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
/// [`crate::Error::Stopped`], or [`crate::Error::Device`] if the device cannot finish its work.
pub fn train(
    request: &NetworkRequest,
    loader: bool,
    device: &Device,
    device_name: &str,
    job: Job<'_>,
) -> Result<StepReport> {
    let &NetworkRequest { backbone, batch_size, input_size, steps, .. } = request;
    // Before the device's threads have work, and while the processor is as cool as it will be.
    let peak_gflop_per_s =
        (device_name == "cpu").then(|| peak_gflops(rayon::current_num_threads()));
    let (times, network) = timing::training_step(request, loader, device, job)?;
    let median = times.median();
    let operations = training_operations(&network, &request.config()) * batch_size as u64;
    Ok(StepReport {
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
