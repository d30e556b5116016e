//! Balancing the classifier of a run.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand::Rng;
use serde::{Deserialize, Serialize, Serializer};

use super::evaluate::{
    Known, RunEvaluation, evaluate_checkpoint, expected, reporting_split, result_name,
};
use super::features::Features;
use super::in_turn::judge_in_turn;
use super::tune::search;
use crate::augment::Augmentation;
use crate::balance::{self, Balanced, CachedBatches, Effort, FeatureBatches, RadiusReport};
use crate::batches::{DEFAULT_BUDGET, EpochPlan, Images};
use crate::classifier::{FeatureSet, Standardiser};
use crate::device::{attempt, host_all, release_memory};
use crate::error::Result;
use crate::eval::GroupThresholds;
use crate::job::Job;
use crate::model::{Mode, Network, Normaliser, weights};
use crate::random;
use crate::run::{Checkpoint, Run};
use crate::settings::{
    AugmentationSettings, BalanceSettings, FeatureSource, NormStatistics, Settings,
};
use crate::source::Split;
use crate::train::{Loader, classifier_of, network_of, put_classifier};

/// Of more classes than this, a report holds each name once.
const NAMES_TWICE: usize = 1000;

/// A classifier before and after balancing, side by side.
///
/// As JSON, classes have no names in `before` where there are more than a thousand: they are those
/// of the result, in the same order.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "StoredReport")]
pub struct BalanceReport {
    /// The result: the balanced classifier's evaluation, and a verdict that knows what was before.
    /// Its fields stand at the top of the JSON document.
    #[serde(flatten)]
    pub after: RunEvaluation,
    /// The evaluation of stage 1's classifier on the same features.
    #[serde(serialize_with = "with_few_names")]
    pub before: RunEvaluation,
    /// The settings that were used.
    pub settings: BalanceSettings,
    /// Class weight norms before, one a class.
    pub norms_before: Vec<f32>,
    /// Class weight norms after, one a class.
    pub norms_after: Vec<f32>,
    /// The MaxNorm radius and how many classes it touched, if MaxNorm was used.
    pub radius: Option<RadiusReport>,
    /// Anything worth knowing about how it went.
    pub notes: Vec<String>,
}

/// A [`BalanceReport`] as it is read, with or without names in `before`.
#[derive(Deserialize)]
struct StoredReport {
    #[serde(flatten)]
    after: RunEvaluation,
    before: RunEvaluation,
    settings: BalanceSettings,
    norms_before: Vec<f32>,
    norms_after: Vec<f32>,
    radius: Option<RadiusReport>,
    notes: Vec<String>,
}

impl From<StoredReport> for BalanceReport {
    fn from(stored: StoredReport) -> Self {
        let StoredReport { after, mut before, settings, norms_before, norms_after, radius, notes } =
            stored;
        let classes = before.evaluation.per_class.iter_mut().zip(&after.evaluation.per_class);
        for (class, named) in classes.filter(|(class, _)| class.name.is_empty()) {
            class.name.clone_from(&named.name);
        }
        Self { after, before, settings, norms_before, norms_after, radius, notes }
    }
}

fn with_few_names<S: Serializer>(
    before: &RunEvaluation,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    if before.evaluation.per_class.len() <= NAMES_TWICE {
        return before.serialize(serializer);
    }
    let mut before = before.clone();
    before.evaluation.per_class.iter_mut().for_each(|class| class.name.clear());
    before.serialize(serializer)
}

/// Balances stage 1's classifier (after tuning, if the settings ask for it) as the sections
/// `balance` and `evaluation` of `settings` say, writes the checkpoint `balanced` and the result
/// `balance`, and reports before and after.
///
/// # Errors
/// An untrained run, a loss that diverges, unreadable images, [`crate::Error::Stopped`].
pub fn balance(
    run: &mut Run,
    settings: &Settings,
    device: &Device,
    job: Job<'_>,
) -> Result<BalanceReport> {
    let _lock = run.lock()?;
    // They may be those that tuning has left in a file.
    settings.validate()?;
    if let Some(words) = run.edited_since() {
        job.warn(words);
    }
    let all = settings;
    let evaluation = &settings.evaluation;
    let has_validation = !run.dataset().split(Split::Validation).is_empty();
    let settings = &match settings.balance.tune_candidates {
        candidates if candidates > 0 && (has_validation || run.settings().stage1.is_frozen()) => {
            let effort = Effort::within_reason(candidates);
            let tuning = search(run, settings, effort, device, job)?;
            job.info(tuning.reason);
            tuning.best
        }
        candidates => {
            if candidates > 0 {
                job.warn("there is no validation split to tune on; the balancer is taken as set");
            }
            settings.balance.clone()
        }
    };
    let name = run.stage1_checkpoint();
    let start = run.checkpoint(name)?;
    let wanted = Settings { balance: settings.clone(), ..all.clone() };
    judge_in_turn(run, &start, &Features::new(run, &start, device), &wanted, None, job)?;
    let split = reporting_split(run).unwrap_or_else(|_| {
        job.warn("there is neither a test nor a validation split; accuracies are those on the training images");
        Split::Train
    });
    let of_start = |split| {
        let expected = expected(run, None);
        let known = Known { before: None, expected: expected.as_ref() };
        evaluate_checkpoint(run, (name, &start), split, known, evaluation, device, job)
    };
    let before = of_start(split)?;
    // What is looked at while choosing is kept besides what is reported.
    let validated = if split == Split::Test && has_validation {
        Some(of_start(Split::Validation)?)
    } else {
        None
    };

    let classifier = classifier_of(&start)?;
    let thresholds = GroupThresholds::from(evaluation);
    let (balanced, network_weights) = if settings.trains()
        && settings.features == FeatureSource::Network
    {
        let device = device.clone().without_autodiff();
        let images =
            Images::open(run.dataset(), Split::Train, start.input_shape(), DEFAULT_BUDGET, job)?;
        let mut batches = NetworkBatches {
            network: network_of(&start, &device)?.valid(),
            images: Loader::new(images, Normaliser::new(start.mean, start.std), &device),
            augmentation: unmixed(run.settings(), start.mean),
            batch_size: settings.batch_size,
            dim: start.config.features(),
            standardiser: start.standardiser.clone(),
            mode: match run.settings().stage1.norm_statistics {
                NormStatistics::Moving => Mode::Train,
                NormStatistics::Frozen => Mode::Evaluate,
            },
            seed: start.seed,
        };
        // Batch-norm statistics move during this, so features of the validation split would be
        // out of date from the first step.
        let balanced = balance::balance(
            &classifier,
            &mut batches,
            &start.train_counts,
            None,
            settings,
            thresholds,
            job,
        )?;
        batches.images.images().warn_of_problems(job);
        let weights = attempt(batches.images.device(), || Ok(weights(&batches.network)))?;
        drop(batches);
        release_memory(&device);
        (balanced, Some(weights))
    } else {
        let features = Features::new(run, &start, device);
        let validation = match has_validation {
            true => Some(features.of(Split::Validation, evaluation.flip, job)?),
            false => None,
        };
        let validation = validation.as_ref();
        let balance = |batches: &mut dyn FeatureBatches| {
            balance::balance(
                &classifier,
                batches,
                &start.train_counts,
                validation,
                settings,
                thresholds,
                job,
            )
        };
        let balanced = if settings.trains() {
            let train = training_features(&features, settings.augmented_views, job)?;
            balance(&mut CachedBatches::new(&train, settings.batch_size, start.seed)?)?
        } else {
            balance(&mut NoBatches)?
        };
        (balanced, None)
    };

    let Balanced { classifier, norms_before, norms_after, radius, epochs, notes, .. } = balanced;
    let mut result = Checkpoint {
        balancers: settings.balancers.iter().map(|b| b.name().to_string()).collect(),
        ..start
    };
    if let Some(weights) = network_weights {
        result.weights = weights;
    }
    put_classifier(&mut result, &classifier);
    result.velocities.clear();
    let of_result = |split, before| {
        let expected = expected(run, Some(settings));
        let known = Known { before: Some(before), expected: expected.as_ref() };
        evaluate_checkpoint(run, ("balanced", &result), split, known, evaluation, device, job)
    };
    let after = of_result(split, &before)?;
    let validated =
        validated.as_ref().map(|before| of_result(Split::Validation, before)).transpose()?;
    // From here on nothing takes long: what an earlier balancing left is replaced as a whole.
    run.forget_balancing(false)?;
    result.save(&run.checkpoint_path("balanced"))?;
    run.rewind(1, usize::MAX)?;
    for epoch in epochs {
        run.record(epoch)?;
    }
    for result in std::iter::once(&after).chain(&validated) {
        run.keep_result(&result_name("balanced", result.split, evaluation.flip), result, job);
    }
    let report = BalanceReport {
        after,
        before,
        settings: settings.clone(),
        norms_before,
        norms_after,
        radius,
        notes,
    };
    run.keep_result("balance", &report, job);
    Ok(report)
}

/// Un-augmented features of the training split and of as many augmented copies as asked for.
pub(super) fn training_features(
    features: &Features<'_>,
    augmented_views: usize,
    job: Job<'_>,
) -> Result<FeatureSet> {
    let mut all = features.of(Split::Train, false, job)?;
    // Growing by doubling would take room for views that there are not.
    all.features.reserve_exact(augmented_views * all.features.len());
    for view in 0..augmented_views {
        let more = features.augmented_view(view, job)?;
        all.features.extend_from_slice(&more.features);
        all.labels.extend(more.labels);
    }
    Ok(all)
}

/// What post-hoc balancers are given in place of batches: they never ask.
pub(super) struct NoBatches;

impl FeatureBatches for NoBatches {
    fn epoch(
        &mut self,
        _epoch: usize,
        _step: &mut dyn FnMut(&[f32], &[u32]) -> Result<()>,
    ) -> Result<()> {
        Ok(())
    }

    fn samples(&self) -> usize {
        0
    }

    fn dim(&self) -> usize {
        0
    }
}

/// A run's augmentation without mixup and CutMix, since mixing images would mix labels and features
/// have one label each.
pub(super) fn unmixed(settings: &Settings, mean: [f32; 3]) -> Augmentation {
    Augmentation::new(
        &AugmentationSettings { mixup: 0.0, cutmix: 0.0, ..settings.augmentation.clone() },
        mean,
    )
}

/// Features as the authors' code has them in stage 2: from augmented images, by the network in
/// training mode, so that batch-norm statistics keep moving while only the classifier learns.
struct NetworkBatches {
    network: Network,
    images: Loader,
    augmentation: Augmentation,
    batch_size: usize,
    dim: usize,
    /// What the classifier's features are standardised by, if they are.
    standardiser: Option<Standardiser>,
    /// Whether the statistics of batch normalisation move, as they did in stage 1.
    mode: Mode,
    seed: u64,
}

impl FeatureBatches for NetworkBatches {
    fn epoch(
        &mut self,
        epoch: usize,
        step: &mut dyn FnMut(&[f32], &[u32]) -> Result<()>,
    ) -> Result<()> {
        // Stage 1's epochs have the same numbers, and would draw the same order and the same crops.
        let seed = random::stream(self.seed, "stage 2", &[]).next_u64();
        let plan = EpochPlan { batch_size: self.batch_size, seed, epoch, from_step: 0 };
        let mut batches = self.images.train_batches(&self.augmentation, plan);
        // Features do not wait for the classifier, so a GPU need not wait for the host either.
        let mut pending: Vec<Tensor<2>> = Vec::new();
        let mut labels: Vec<Vec<u32>> = Vec::new();
        let mut learn = |pending: &mut Vec<Tensor<2>>, labels: &mut Vec<Vec<u32>>| -> Result<()> {
            let features = attempt(self.images.device(), || host_all(std::mem::take(pending)))?;
            features.into_iter().zip(labels.drain(..)).try_for_each(|(mut features, labels)| {
                if let Some(standardiser) = &self.standardiser {
                    standardiser.apply(&mut features);
                }
                step(&features, &labels)
            })
        };
        while let Some(batch) = batches.next().transpose()? {
            let input = self.images.input(&batch);
            pending.push(attempt(self.images.device(), || {
                Ok(self.network.features(input, self.mode))
            })?);
            labels.push(batch.labels.clone());
            batches.reuse(batch);
            if pending.len() >= self.images.read_every() {
                learn(&mut pending, &mut labels)?;
            }
        }
        learn(&mut pending, &mut labels)
    }

    fn samples(&self) -> usize {
        self.images.images().len()
    }

    fn dim(&self) -> usize {
        self.dim
    }
}

#[cfg(test)]
#[path = "balance_tests.rs"]
mod tests;
