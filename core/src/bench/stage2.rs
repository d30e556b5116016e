//! Timing stage 2.

use std::time::Instant;

use serde::Serialize;

use super::example::{FeatureExample, FeatureShape};
use super::{median, peak_memory};
use crate::balance::{CachedBatches, balance};
use crate::error::Result;
use crate::eval::GroupThresholds;
use crate::job::{Job, Silent};
use crate::settings::{Balancer, ClassifierLoss, Preset, Settings};

/// What to time.
#[derive(Clone, Copy, Debug)]
pub struct Stage2Request {
    /// The features.
    pub shape: FeatureShape,
    /// Samples a step.
    pub batch_size: usize,
    /// Epochs of one training.
    pub epochs: usize,
    /// Trainings timed for each loss; one more is done before them.
    pub repeats: usize,
}

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
}

/// Times stage 2 with the class-balanced loss and with the authors' form of it. It runs on one
/// thread, and on all cores where steps are large enough.
///
/// # Errors
/// [`crate::Error::Stopped`]; a shape without classes, features or samples, or a batch size, epochs
/// or repeats of 0.
pub fn stage2(request: &Stage2Request, job: Job<'_>) -> Result<Stage2Report> {
    let &Stage2Request { shape, batch_size, epochs, repeats } = request;
    let example = FeatureExample::new(shape)?;
    let mut settings = Settings::preset(Preset::Paper).balance;
    (settings.batch_size, settings.epochs) = (batch_size, epochs);
    settings.balancers = vec![Balancer::WeightDecay, Balancer::MaxNorm];
    let kinds = [ClassifierLoss::ClassBalanced, ClassifierLoss::ClassBalancedBce];
    let repeats = repeats.max(1);
    job.phase("timing stage 2", Some((kinds.len() * (repeats + 1)) as u64), "trainings");
    let (mut losses, mut done) = (Vec::new(), 0);
    for loss in kinds {
        settings.loss = loss;
        let mut times = Vec::with_capacity(repeats);
        for repeat in 0..=repeats {
            let started = Instant::now();
            let mut batches = CachedBatches::new(&example.train, batch_size, 0)?;
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
        losses.push(LossTime {
            loss,
            seconds,
            samples_per_s: (example.train.len() * epochs) as f64 / seconds,
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
        peak_memory_bytes: peak_memory(),
    })
}
