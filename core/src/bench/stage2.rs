//! Timing stage 2.

use std::time::Instant;

use serde::Serialize;

use super::example::{FeatureExample, FeatureShape};
use super::{median, peak_gflops, peak_memory};
use crate::balance::{CachedBatches, balance};
use crate::classifier::FeatureSet;
use crate::error::Result;
use crate::eval::GroupThresholds;
use crate::job::{Job, Silent};
use crate::settings::{Balancer, ClassifierLoss, Preset, Settings};

/// What to time.
#[derive(Clone, Debug)]
pub struct Stage2Request {
    /// The features.
    pub shape: FeatureShape,
    /// Samples a step.
    pub batch_size: usize,
    /// Epochs of one training.
    pub epochs: usize,
    /// Trainings timed for each loss; a short one is done before them.
    pub repeats: usize,
    /// The losses.
    pub losses: Vec<ClassifierLoss>,
}

/// Samples of the training before those that are timed.
const WARM_UP_SAMPLES: usize = 1024;

/// How long stage 2 with weight decay and MaxNorm takes on features in memory.
#[derive(Clone, Debug, Serialize)]
pub struct Stage2Report {
    /// Training samples.
    pub samples: usize,
    /// Features of each.
    pub features: usize,
    /// Classes.
    pub classes: usize,
    /// Samples a step.
    pub batch_size: usize,
    /// Epochs of one training.
    pub epochs: usize,
    /// Trainings timed for each loss.
    pub repeats: usize,
    /// The time with each of the losses.
    pub losses: Vec<LossTime>,
    /// What the processor's threads can do at most in billions of floating-point operations a
    /// second, as measured: see [`peak_gflops`].
    pub peak_gflop_per_s: f64,
    /// See [`peak_memory`].
    pub peak_memory_bytes: Option<u64>,
}

/// How long stage 2 takes with one loss.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct LossTime {
    /// The loss.
    pub loss: ClassifierLoss,
    /// Median time of a training in seconds.
    pub seconds: f64,
    /// Samples of all epochs over that time.
    pub samples_per_s: f64,
    /// Billions of floating-point operations a second of the two matrix products, two a
    /// multiply-add, over all of that time.
    pub gflop_per_s: f64,
}

/// Times stage 2. It runs on one thread, and on all cores where steps are large enough.
///
/// # Errors
/// [`crate::Error::Stopped`]; a shape without classes, features or samples, or a batch size, epochs
/// or repeats of 0.
pub fn stage2(request: &Stage2Request, job: Job<'_>) -> Result<Stage2Report> {
    let &Stage2Request { shape, batch_size, epochs, repeats, .. } = request;
    let example = FeatureExample::new(FeatureShape { validation: 0, ..shape })?;
    let warm_up = first(&example.train, WARM_UP_SAMPLES)?;
    let mut settings = Settings::preset(Preset::Paper).balance;
    settings.batch_size = batch_size;
    settings.balancers = vec![Balancer::WeightDecay, Balancer::MaxNorm];
    let repeats = repeats.max(1);
    let trainings = (request.losses.len() * (repeats + 1)) as u64;
    job.phase("timing stage 2", Some(trainings), "trainings");
    let peak_gflop_per_s = peak_gflops(rayon::current_num_threads());
    let (mut losses, mut done) = (Vec::new(), 0);
    for &loss in &request.losses {
        settings.loss = loss;
        let mut times = Vec::with_capacity(repeats);
        for repeat in 0..=repeats {
            let started = Instant::now();
            let (set, epochs) = match repeat {
                0 => (&warm_up, 1),
                _ => (&example.train, epochs),
            };
            settings.epochs = epochs;
            let mut batches = CachedBatches::new(set, batch_size, 0)?;
            let quiet = Job::new(job.control, &Silent);
            balance(
                &example.classifier,
                &mut batches,
                &example.train_counts,
                None,
                &settings,
                GroupThresholds::default(),
                quiet,
            )?;
            if repeat > 0 {
                times.push(started.elapsed().as_secs_f64());
            }
            done += 1;
            job.progress(done);
        }
        let seconds = median(times);
        let samples = (example.train.len() * epochs) as f64;
        // Logits and the gradient of the weight, a multiply-add for each weight.
        let operations = 4.0 * (shape.classes * shape.features) as f64;
        losses.push(LossTime {
            loss,
            seconds,
            samples_per_s: samples / seconds,
            gflop_per_s: samples * operations / seconds / 1e9,
        });
    }
    Ok(Stage2Report {
        samples: example.train.len(),
        features: shape.features,
        classes: shape.classes,
        batch_size,
        epochs,
        repeats,
        losses,
        peak_gflop_per_s,
        peak_memory_bytes: peak_memory(),
    })
}

/// The first `samples` of a set, or all of them.
fn first(set: &FeatureSet, samples: usize) -> Result<FeatureSet> {
    let samples = samples.min(set.len());
    FeatureSet::new(
        set.dim,
        set.features[..samples * set.dim].to_vec(),
        set.labels[..samples].to_vec(),
    )
}
