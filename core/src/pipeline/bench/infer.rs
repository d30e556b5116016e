//! Timing inference.

use std::time::Instant;

use burn::module::Module;
use burn::tensor::Device;
use rand::Rng;
use rayon::prelude::*;
use serde::Serialize;

use super::step::NetworkRequest;
use super::{median, multiply_adds, peak_memory};
use crate::device::attempt;
use crate::error::Result;
use crate::job::Job;
use crate::model::{FeatureGraph, Network, Prepared};
use crate::random;
use crate::train::{Normaliser, host};

/// How fast features are computed. A batch is taken to the device as bytes, normalised there, and
/// its features are brought back.
#[derive(Clone, Debug, Serialize)]
pub struct InferReport {
    /// The device, as `--device` names it.
    pub device: String,
    /// The network, or the file that it comes out of.
    pub backbone: String,
    /// What runs a file's graph: [`FeatureGraph::engine`]. Nothing for the program's own networks.
    pub engine: Option<&'static str>,
    /// Images a batch.
    pub batch_size: usize,
    /// Side of the square input in pixels.
    pub input_size: usize,
    /// Batches timed.
    pub steps: usize,
    /// Threads the CPU device works with.
    pub threads: usize,
    /// Median time of a batch in milliseconds.
    pub ms_per_step: f64,
    /// Images over the median time.
    pub images_per_s: f64,
    /// Floating-point operations of convolutions and classifier a second, in billions; see
    /// [`multiply_adds`]. Not counted in a file.
    pub gflop_per_s: Option<f64>,
    /// See [`peak_memory`].
    pub peak_memory_bytes: Option<u64>,
}

/// Times [`Prepared::features`] on random images.
///
/// # Errors
/// [`crate::Error::Stopped`]; a device that cannot return its numbers.
pub fn infer(
    request: &NetworkRequest,
    device: &Device,
    device_name: &str,
    job: Job<'_>,
) -> Result<InferReport> {
    let &NetworkRequest { backbone, batch_size, input_size, warm_up, steps, .. } = request;
    let device = device.clone().without_autodiff();
    let config = request.config();
    let network =
        Prepared::new(Network::new(&config, 0, &device).with_kernels(request.kernels).valid());
    let normaliser = Normaliser::new([0.5; 3], [0.25; 3]);
    let mut images = vec![0; batch_size * 3 * input_size * input_size];
    random::stream(0, "bench", &[]).fill_bytes(&mut images);
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
    let median = median(times);
    Ok(InferReport {
        device: device_name.to_string(),
        backbone: backbone.to_string(),
        engine: None,
        batch_size,
        input_size,
        steps,
        threads: rayon::current_num_threads(),
        ms_per_step: median * 1e3,
        images_per_s: batch_size as f64 / median,
        gflop_per_s: Some(
            2.0 * (multiply_adds(network.network(), &config) * batch_size as u64) as f64
                / median
                / 1e9,
        ),
        peak_memory_bytes: peak_memory(),
    })
}

/// Times [`FeatureGraph::features`] on random images, those of a batch side by side on all threads,
/// as features of a run are computed.
///
/// # Errors
/// [`crate::Error::Stopped`]; a graph that fails.
pub fn infer_graph(
    graph: &FeatureGraph,
    name: &str,
    batch_size: usize,
    steps: usize,
    job: Job<'_>,
) -> Result<InferReport> {
    let side = graph.side();
    let size = 3 * side * side;
    let normaliser = Normaliser::new([0.5; 3], [0.25; 3]);
    let mut images = vec![0; batch_size * size];
    random::stream(0, "bench", &[]).fill_bytes(&mut images);
    job.phase(format!("timing {name}"), Some(steps as u64 + 1), "batches");
    let mut times = Vec::with_capacity(steps);
    // The first fills caches.
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
    let median = median(times);
    Ok(InferReport {
        device: "cpu".into(),
        backbone: name.to_string(),
        engine: Some(graph.engine()),
        batch_size,
        input_size: side,
        steps,
        threads: rayon::current_num_threads(),
        ms_per_step: median * 1e3,
        images_per_s: batch_size as f64 / median,
        gflop_per_s: None,
        peak_memory_bytes: peak_memory(),
    })
}
