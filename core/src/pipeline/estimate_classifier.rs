//! How long classifiers on known features will take here: seconds for a thousand photos, and hours
//! for a hundred thousand of a thousand classes.

use std::time::Instant;

use rand::RngExt;

use super::folds::{self, FOLDS};
use super::weight_decay;
use crate::balance::{CachedBatches, Effort, learn, work, work_of_search};
use crate::classifier::{Classifier, FeatureSet};
use crate::dataset::Dataset;
use crate::error::Result;
use crate::eval::GroupThresholds;
use crate::job::Job;
use crate::random::stream;
use crate::settings::{Auto, Settings};
use crate::source::Split;

/// Steps that are measured, twice: the first time fills caches.
const MEASURED: usize = 4;

/// Seconds of what is done with features.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct OnFeatures {
    /// Training the classifier alone, its weight decay included where the data decides about it.
    pub training: f64,
    /// Looking for the best balance, as far as the settings ask for it, and balancing.
    pub balancing: f64,
}

/// What classifiers on so many `features` will take. `settings` are those before `auto` became
/// numbers, so that what has to be searched for is counted.
///
/// # Errors
/// [`crate::Error::Stopped`].
pub(super) fn on_features(
    settings: &Settings,
    dataset: &Dataset,
    features: usize,
    job: Job<'_>,
) -> Result<OnFeatures> {
    let size = (dataset.classes.len(), features);
    let [train, validation] = [Split::Train, Split::Validation].map(|s| dataset.split(s).len());
    let per_work = seconds_per_work(settings, size, job)?;
    let mut training = 0.0;
    if settings.stage1.is_frozen() {
        training = fitting(settings, train, size);
        if settings.stage1.weight_decay == Auto::AUTO {
            training += weight_decay::trainings(train)
                .map(|samples| fitting(settings, samples, size))
                .sum::<f64>();
        }
    }
    let balancing = balancing(settings, (train, validation), size);
    Ok(OnFeatures { training: training * per_work, balancing: balancing * per_work })
}

/// Multiplications and additions of stage 1 on so many samples' features.
fn fitting(settings: &Settings, samples: usize, size: (usize, usize)) -> f64 {
    work(samples, size, settings.clone().for_samples(samples).stage1.epochs())
}

/// Multiplications and additions of looking for the best balance and taking it.
fn balancing(
    settings: &Settings,
    (train, validation): (usize, usize),
    size @ (classes, features): (usize, usize),
) -> f64 {
    let balance = &settings.balance;
    let viewed = train * (1 + balance.augmented_views);
    let once = work(viewed, size, if balance.trains() { balance.epochs } else { 0 });
    let frozen = settings.stage1.is_frozen();
    if balance.tune_candidates == 0 || (validation == 0 && !frozen) {
        return once;
    }
    let effort = Effort::within_reason(balance.tune_candidates);
    let (learned, held_out, fitted) = match frozen {
        true => {
            let parts = folds::needed(train + validation);
            let held_out = (train + validation) * parts / FOLDS;
            let learned = (train + validation) * (FOLDS - 1) / FOLDS;
            (parts * learned, held_out, parts as f64 * fitting(settings, learned, size))
        }
        false => (viewed, validation, 0.0),
    };
    let judged = (balance.tune_candidates * held_out * classes) as f64 * features as f64;
    once + fitted + judged + work_of_search(effort, learned, size, balance)
}

/// Seconds of a multiplication and addition in training a classifier of so many (classes, features)
/// on all threads: measured on random features.
fn seconds_per_work(
    settings: &Settings,
    size @ (classes, dim): (usize, usize),
    job: Job<'_>,
) -> Result<f64> {
    let mut stage1 = settings.stage1.clone();
    (stage1.epochs, stage1.warmup_epochs) = (Auto::Value(1), 0);
    let samples = MEASURED * stage1.batch_size.max(1);
    let mut random = stream(settings.seed, "features to be timed on", &[]);
    let features = (0..samples * dim).map(|_| random.random_range(-1.0..1.0)).collect();
    let labels = (0..samples).map(|sample| (sample % classes) as u32).collect();
    let set = FeatureSet::new(dim, features, labels)?;
    let zero = Classifier::new(classes, dim, vec![0.0; classes * dim], vec![0.0; classes])?;
    let counts = vec![1; classes];
    let mut seconds = 0.0;
    for _ in 0..2 {
        let mut batches = CachedBatches::new(&set, stage1.batch_size, settings.seed)?;
        let started = Instant::now();
        let quiet = Job::new(job.control, &crate::job::Silent);
        learn(&zero, &mut batches, &counts, None, &stage1, GroupThresholds::default(), quiet)?;
        seconds = started.elapsed().as_secs_f64();
    }
    Ok(seconds / work(samples, size, 1).max(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Preset, Training};

    fn frozen() -> Settings {
        let mut settings = Settings::preset(Preset::Auto);
        settings.set("stage1.train", "classifier").unwrap();
        settings
    }

    #[test]
    fn work_is_counted_as_it_is_done() {
        // Two products of 100 samples with 7 classes of 5 features in each epoch.
        let mut settings = frozen();
        settings.set("stage1.epochs", "3").unwrap();
        assert_eq!(fitting(&settings, 100, (7, 5)), 2.0 * 3.0 * 100.0 * 35.0);
        settings.set("balance.tune_candidates", "0").unwrap();
        settings.set("balance.epochs", "2").unwrap();
        assert_eq!(balancing(&settings, (100, 0), (7, 5)), 2.0 * 2.0 * 100.0 * 35.0);
        // Ten candidates: three parts of 66 samples to learn from are fitted and one training tried,
        // and ten classifiers judge all hundred.
        settings.set("balance.tune_candidates", "10").unwrap();
        let fitted = 2.0 * 3.0 * (3.0 * 66.0) * 35.0;
        let trained = 2.0 * 2.0 * (3.0 * 66.0) * 35.0;
        let judged = 10.0 * 100.0 * 35.0;
        let all = 2.0 * 2.0 * 100.0 * 35.0 + fitted + trained + judged;
        assert_eq!(balancing(&settings, (100, 0), (7, 5)), all);
        // Without validation there is nothing to look for on a network that was trained.
        settings.stage1.train = Auto::Value(Training::Scratch);
        assert_eq!(balancing(&settings, (100, 0), (7, 5)), 2.0 * 2.0 * 100.0 * 35.0);
    }

    #[test]
    fn a_search_on_a_hundred_thousand_images_is_bounded() {
        let of = |images| balancing(&frozen(), (images, 0), (1000, 1280));
        assert!(of(115_846) < 2e14, "{:e}", of(115_846));
        assert!(of(1_000) < 0.05 * of(115_846));
    }
}
