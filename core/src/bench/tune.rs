//! Timing a search for the best balancer.

use std::time::Instant;

use serde::Serialize;

use super::example::{FeatureExample, FeatureShape};
use super::peak_memory;
use crate::balance::{self, Effort, Fold};
use crate::error::Result;
use crate::eval::GroupThresholds;
use crate::job::Job;
use crate::settings::{Balancer, Preset, Settings};

/// What to time.
#[derive(Clone, Copy, Debug)]
pub struct TuneRequest {
    /// The features.
    pub shape: FeatureShape,
    /// Candidates to try.
    pub candidates: usize,
}

/// How long a search takes on features in memory, on all threads.
#[derive(Clone, Debug, Serialize)]
pub struct TuneReport {
    /// Training samples.
    pub samples: usize,
    /// Validation samples.
    pub validation_samples: usize,
    /// Features of each.
    pub features: usize,
    /// Classes.
    pub classes: usize,
    /// Candidates tried.
    pub candidates: usize,
    /// Those of them for which the classifier was trained, or that are such a one changed
    /// afterwards.
    pub trained_candidates: usize,
    /// Threads that worked.
    pub threads: usize,
    /// Time in seconds.
    pub seconds: f64,
    /// See [`peak_memory`].
    pub peak_memory_bytes: Option<u64>,
}

/// Times one search as `tune` does it, with the preset `paper`'s stage 2.
///
/// # Errors
/// [`crate::Error::Stopped`]; a shape without classes, features or samples.
pub fn tune(request: &TuneRequest, job: Job<'_>) -> Result<TuneReport> {
    let example = FeatureExample::new(request.shape)?;
    let FeatureExample { classifier, train, train_counts, validation } = &example;
    let settings = Settings::preset(Preset::Paper).balance;
    let started = Instant::now();
    let thresholds = GroupThresholds::default();
    let counted_as = &validation.labels;
    let fold = Fold { start: classifier, train, train_counts, held_out: validation, counted_as };
    let effort = Effort::all_of(request.candidates);
    let found = balance::tune(&[fold], train_counts, &settings, thresholds, 0, effort, job)?;
    Ok(TuneReport {
        samples: train.len(),
        validation_samples: validation.len(),
        features: request.shape.features,
        classes: request.shape.classes,
        candidates: found.candidates.len(),
        trained_candidates: found
            .candidates
            .iter()
            .filter(|candidate| Balancer::any_trains(&candidate.balancers))
            .count(),
        threads: rayon::current_num_threads(),
        seconds: started.elapsed().as_secs_f64(),
        peak_memory_bytes: peak_memory(),
    })
}
