//! How long training will take here, before it is started: from a few measured steps.

use std::time::{Duration, Instant};

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::estimate_classifier::{OnFeatures, on_features};
use super::image_fit::asked;
use super::measured_times::{JUST_NOW, known_or};
use super::onnx_backbone::found;
use crate::batches::DEFAULT_BUDGET;
use crate::dataset::Dataset;
use crate::device::release_memory;
use crate::error::Result;
use crate::images::Detail;
use crate::job::{Job, Silent};
use crate::model::Kernels;
use crate::ops;
use crate::settings::{Auto, Settings, Training};
use crate::source::{ImageReader, Location, Split};
use crate::timing::{self, NetworkRequest};
use crate::train::choose_input;

/// Steps or batches measured, of which the quickest counts, since something else may hold one up; and
/// those before that fill caches.
const MEASURED: usize = 2;
const WARM_UP: usize = 1;
/// Samples of a measured step, at most: time grows with the batch.
const MEASURED_SAMPLES: usize = 16;
/// Images that are decoded to see how long that takes.
const DECODED: usize = 8;
/// Batch of images whose features are computed.
const BATCH: usize = 32;
/// What a classifier on features takes besides what is counted, in seconds.
const CLASSIFIER: f64 = 3.0;
/// Seconds that balancing takes at least to be spoken of.
const WORTH_A_WORD: f64 = 30.0;

/// How long training will take.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Seconds, roughly.
    pub seconds: f64,
    /// Steps of SGD, where the network learns.
    pub steps: usize,
    /// Milliseconds of one of them.
    pub ms_per_step: f64,
    /// Seconds of balancing afterwards, which are not in [`Estimate::seconds`]; 0 in runs of older
    /// versions.
    #[serde(default)]
    pub balancing: f64,
}

impl Estimate {
    /// The time in words: `about 40 seconds`, `about 3 minutes`, `about 2 hours`.
    ///
    /// ```
    /// use counterweight_core::pipeline::Estimate;
    /// let words = |seconds| Estimate { seconds, steps: 0, ms_per_step: 0.0, balancing: 0.0 }.words();
    /// assert_eq!([words(3.0), words(44.0), words(170.0), words(9000.0)], ["a few seconds", "about 45 seconds", "about 3 minutes", "about 2½ hours"]);
    /// ```
    pub fn words(&self) -> String {
        in_words(self.seconds)
    }

    /// The time of looking for the best balance afterwards, where it is worth a word.
    pub fn balancing_words(&self) -> Option<String> {
        (self.balancing >= WORTH_A_WORD).then(|| in_words(self.balancing))
    }
}

pub(super) fn in_words(seconds: f64) -> String {
    match seconds {
        s if s < 8.0 => "a few seconds".into(),
        s if s < 90.0 => format!("about {} seconds", 5 * (s / 5.0).round() as u64),
        s if s < 5400.0 => format!("about {} minutes", (s / 60.0).round() as u64),
        s if s < 48.0 * 3600.0 => {
            let halves = (s / 1800.0).round() as u64;
            format!("about {}{} hours", halves / 2, if halves % 2 == 1 { "½" } else { "" })
        }
        s => format!("about {} days", (s / 86400.0).round() as u64),
    }
}

/// Measures how long stage 1 will take with these settings on this device. Where the classifier
/// alone learns, features that are known already are not counted off, so it can be quicker. Takes a
/// few seconds at most.
///
/// # Errors
/// A source that cannot be opened; a device that fails; [`crate::Error::Stopped`].
pub fn estimate(
    settings: &Settings,
    dataset: &Dataset,
    device: &Device,
    job: Job<'_>,
) -> Result<Estimate> {
    estimate_by(JUST_NOW, settings, dataset, device, job)
}

/// [`estimate`] by what was measured here at most so long ago.
///
/// # Errors
/// As there.
pub(super) fn estimate_by(
    oldest: Duration,
    settings: &Settings,
    dataset: &Dataset,
    device: &Device,
    job: Job<'_>,
) -> Result<Estimate> {
    let found = measured(oldest, settings, dataset, device, job);
    // What a GPU's library keeps for this thread no other thread can use.
    release_memory(device);
    found
}

fn measured(
    oldest: Duration,
    settings: &Settings,
    dataset: &Dataset,
    device: &Device,
    job: Job<'_>,
) -> Result<Estimate> {
    let quiet = Job::new(job.control, &Silent);
    let training = dataset.split(Split::Train).len();
    let pretrained = settings.stage1.train != Auto::Value(Training::Scratch);
    let frozen = pretrained && !settings.stage1.is_fine_tuning();
    let mut trained = settings.clone();
    if frozen {
        trained.stage1.train = Auto::Value(Training::Classifier);
    }
    let settings = &trained.clone().for_samples(training);
    let Some(backbone) = settings.model.backbone.named() else {
        let graph = found(&settings.model)?.graph;
        let known = on_features(&trained, dataset, graph.backbone().features as usize, quiet)?;
        let batch = rayon::current_num_threads();
        let found = timing::features_by_graph(&graph, "", batch, MEASURED, quiet)?.least();
        let decoding = decoding(dataset, graph.side(), quiet)?;
        let seconds = dataset.samples.len() as f64 * (found / batch as f64 + decoding)
            + CLASSIFIER
            + known.training;
        let balancing = known.balancing;
        return Ok(Estimate { seconds, steps: 0, ms_per_step: found * 1e3, balancing });
    };
    let input_size = match (settings.model.input_size.value(), backbone.pretrained()) {
        (Some(side), _) => side,
        (None, Ok(weights)) if pretrained => weights.facts.side,
        _ => choose_input(settings, dataset, quiet)?,
    };
    let mut request = NetworkRequest {
        backbone,
        batch_size: BATCH,
        input_size,
        classes: dataset.classes.len(),
        warm_up: WARM_UP,
        steps: MEASURED,
        kernels: Kernels::chosen(),
        precision: settings.stage1.precision,
    };
    let decoding = decoding(dataset, input_size, quiet)?;
    let OnFeatures { training: fitting, balancing } =
        on_features(&trained, dataset, request.config().features(), quiet)?;
    let mut before = 0.0;
    if pretrained {
        let found =
            known_or(&what("features", &request, device), oldest, ops::is_cpu(device), || {
                timing::features_of_batch(&request, device, quiet).map(|(times, _)| times.least())
            })?;
        let images = dataset.samples.len() as f64;
        let twice = match settings.model.fit == Auto::AUTO {
            true => asked(dataset, quiet)? as f64,
            false => 0.0,
        };
        before = (images + twice) * (found / BATCH as f64 + decoding) + CLASSIFIER + fitting;
        if frozen {
            return Ok(Estimate { seconds: before, steps: 0, ms_per_step: found * 1e3, balancing });
        }
    }
    let s = &settings.stage1;
    // A GPU compiles kernels for the batch it will train with, or the parts of it.
    request.batch_size = match ops::is_gpu(device) {
        true => s.batch_size.div_ceil(s.accumulation.max(1)).max(2),
        false => s.batch_size.clamp(2, MEASURED_SAMPLES),
    };
    let found = known_or(&what("step", &request, device), oldest, ops::is_cpu(device), || {
        timing::training_step(&request, false, device, quiet).map(|(times, _)| times.least())
    })?;
    let steps = training.div_ceil(s.batch_size) * s.epochs();
    let ms_per_step = 1e3 * found * s.batch_size as f64 / request.batch_size as f64;
    // Validation is a forward pass, about a third of a step's work.
    let validated = dataset.split(Split::Validation).len() as f64 / s.batch_size as f64
        * (s.epochs() as f64 / s.validate_every as f64)
        / 3.0;
    // What does not fit into memory is decoded in every epoch.
    let is_kept = (3 * input_size * input_size * training) as u64 <= DEFAULT_BUDGET;
    let decoded_again = if is_kept { 0 } else { training * s.epochs().saturating_sub(1) };
    let seconds = before
        + (steps as f64 + validated) * ms_per_step / 1e3
        + (dataset.samples.len() + decoded_again) as f64 * decoding;
    Ok(Estimate { seconds, steps, ms_per_step, balancing })
}

/// Names what is measured.
fn what(what: &str, request: &NetworkRequest, device: &Device) -> String {
    // The classifier is the least of it.
    let request = NetworkRequest { classes: request.classes.next_power_of_two(), ..*request };
    format!("{what} {request:?} {device:?}")
}

/// Seconds that decoding one image for an input of this side takes with all threads busy.
fn decoding(dataset: &Dataset, side: usize, job: Job<'_>) -> Result<f64> {
    let reader = ImageReader::open(&dataset.root, dataset.kind, job)?;
    let apart = dataset.samples.len().div_ceil(DECODED).max(1);
    let chosen: Vec<&Location> =
        dataset.samples.iter().step_by(apart).map(|sample| &sample.location).collect();
    let started = Instant::now();
    // What cannot be read takes no time either.
    chosen.iter().for_each(|location| drop(reader.read_for(location, Detail::Side(side as u32))));
    Ok(started.elapsed().as_secs_f64()
        / chosen.len().max(1) as f64
        / rayon::current_num_threads() as f64)
}
