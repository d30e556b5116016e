//! Timing inference.

use burn::tensor::Device;
use serde::Serialize;

use super::{multiply_adds, peak_memory};
use crate::error::Result;
use crate::job::Job;
use crate::model::FeatureGraph;
use crate::timing::{self, NetworkRequest};

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

/// Times [`Prepared::features`](crate::model::Prepared::features) on random images.
///
/// # Errors
/// [`crate::Error::Stopped`]; a device that cannot return its numbers.
pub fn infer(
    request: &NetworkRequest,
    device: &Device,
    device_name: &str,
    job: Job<'_>,
) -> Result<InferReport> {
    let &NetworkRequest { backbone, batch_size, input_size, steps, .. } = request;
    let (times, network) = timing::features_of_batch(request, device, job)?;
    let median = times.median();
    let operations = 2 * multiply_adds(&network, &request.config()) * batch_size as u64;
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
        gflop_per_s: Some(operations as f64 / median / 1e9),
        peak_memory_bytes: peak_memory(),
    })
}

/// Times [`FeatureGraph::features`] on random images, those of a batch side by side on all threads.
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
    let median = timing::features_by_graph(graph, name, batch_size, steps, job)?.median();
    Ok(InferReport {
        device: "cpu".into(),
        backbone: name.to_string(),
        engine: Some(graph.engine()),
        batch_size,
        input_size: graph.side(),
        steps,
        threads: rayon::current_num_threads(),
        ms_per_step: median * 1e3,
        images_per_s: batch_size as f64 / median,
        gflop_per_s: None,
        peak_memory_bytes: peak_memory(),
    })
}
