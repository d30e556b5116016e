//! Searching the balancers' parameters on the validation split.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::batches::CachedBatches;
use super::effort::Effort;
use super::stage2::{balance, post_hoc};
use super::tune_candidates::{
    VARIANTS, asked, drawn_training, near_post_hoc, near_training, post_hoc_grid, variants,
    without_post_hoc,
};
use super::tune_choice::{better, conclude, order};
use super::tune_report::describe;
use crate::classifier::{Classifier, FeatureSet};
use crate::error::{Error, Result, TrainError};
use crate::eval::{Answer, GroupAccuracies, GroupThresholds, Scores, Verdict};
use crate::job::{Job, Silent};
use crate::settings::{BalanceSettings, Balancer, FeatureSource};

/// What a search found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tuning {
    /// The settings to balance with.
    pub best: BalanceSettings,
    /// Balanced accuracy of [`Tuning::best`] on validation, in 0..1. It is the best of many and
    /// therefore flatters.
    pub best_score: f64,
    /// Balanced accuracy of the classifier without balancing.
    pub start_score: f64,
    /// Whether validation tells the best from the unbalanced classifier: by more than two standard
    /// errors of their difference.
    pub conclusive: bool,
    /// What was chosen, how it compares with doing nothing and with the runner-up, and whether the
    /// validation split can tell them apart.
    pub reason: String,
    /// What the classifier is worth that [`Tuning::best`] gives, by validation; missing in results
    /// of older versions.
    #[serde(default)]
    pub verdict: Option<Verdict>,
    /// Standard errors of [`Tuning::best_score`] and [`Tuning::start_score`]; 0 in results of older
    /// versions.
    #[serde(default)]
    pub errors: [f64; 2],
    /// Everything that was tried: what was taken, and then best first. Candidates that failed are
    /// missing.
    pub candidates: Vec<Candidate>,
    /// How many candidates failed: their training diverged, or the classifier overflowed.
    #[serde(default)]
    pub failed: usize,
}

/// One way of balancing that was tried. Accuracies are on validation, in 0..1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The balancers and their parameters in words.
    pub summary: String,
    /// The balancers.
    pub balancers: Vec<Balancer>,
    /// λ, if weight decay is among them.
    pub weight_decay: Option<f64>,
    /// δ, if MaxNorm with an automatic radius is among them.
    pub max_norm_delta: Option<f32>,
    /// η, if MaxNorm with a given radius is among them.
    pub max_norm_radius: Option<f32>,
    /// τ of τ-normalisation, if it is among them.
    pub tau: Option<f32>,
    /// γ of multiplicative logit adjustment, if it is among them.
    #[serde(default)]
    pub gamma: Option<f32>,
    /// Strength of logit adjustment, post-hoc or in the loss.
    pub logit_adjustment: Option<f32>,
    /// Mean of the per-class accuracies.
    pub balanced_accuracy: f64,
    /// Accuracy by group.
    #[serde(flatten)]
    pub groups: GroupAccuracies,
}

/// A candidate with what is needed to compare it.
pub(super) struct Tried {
    pub settings: BalanceSettings,
    pub scores: Scores,
    /// Which validation samples it classifies correctly.
    pub hits: Vec<bool>,
}

/// A classifier with the samples it learned from, and others that it is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Fold<'a> {
    /// The classifier.
    pub start: &'a Classifier,
    /// What it learned from, and what stage 2 learns from.
    pub train: &'a FeatureSet,
    /// Samples of each class in it, n_k.
    pub train_counts: &'a [usize],
    /// What it is judged by.
    pub held_out: &'a FeatureSet,
    /// The class that each held-out sample counts for, shape [held out]: its own, unless that stands in
    /// for a class that cannot be held out.
    pub counted_as: &'a [u32],
}

impl Fold<'_> {
    fn check_counted(&self) -> Result<()> {
        let Self { start, held_out, counted_as, .. } = self;
        if counted_as.len() == held_out.len()
            && counted_as.iter().all(|class| (*class as usize) < start.classes)
        {
            return Ok(());
        }
        let reason = format!(
            "{} held-out samples of {} classes cannot count for {} classes, of which the last is {}",
            held_out.len(),
            start.classes,
            counted_as.len(),
            counted_as.iter().max().copied().unwrap_or_default()
        );
        Err(TrainError::Request(reason).into())
    }
}

/// Searches weight decay λ, MaxNorm's δ (η, if `settings` give a radius), τ, γ and the strength of
/// logit adjustment for the best balanced accuracy on held-out samples, trying as many candidates
/// as `effort` allows: the unbalanced classifier, post-hoc balancers on a grid and then around the best of
/// it, and stage 2 drawn at random over the whole range and then around the best three, each with
/// and without post-hoc balancers on top. Of equal candidates the one with fewer balancers, and of
/// these the one without training, is taken. What `settings` say themselves is taken before all
/// others unless one does better by more than the standard error of the difference: the best of
/// many on few samples is the luckiest. They are taken, too, where nothing is held out of a third of the
/// classes, or no more than two images of a split while nothing does better than no balancing, unless that
/// costs a fifth of the balanced accuracy. Of candidates whose balanced accuracy is half a point below
/// that at most, the one is taken in the end that costs the frequent classes least: that is right
/// most often where classes are as frequent as in training. The remaining settings (loss, learning
/// rate, epochs and so on) are left as they are, except that stage 2 is made to run on cached features as it did here.
///
/// Candidates are tried on all cores; for one `seed` the outcome is the same for any number of
/// them. [`balance`] with the best settings on
/// [`CachedBatches`] of the same `seed` gives the classifier that was scored.
///
/// Candidates are tried on every fold and judged by all held-out samples together. With one fold
/// that is the validation split; with folds of one training set every sample of it is held out
/// once, which tells candidates apart far better than a small validation split does. `train_counts`
/// say which group a class belongs to.
///
/// # Errors
/// [`TrainError::Request`] if there is no validation sample or the shapes do not fit,
/// [`Error::Stopped`] on request.
pub fn tune(
    folds: &[Fold<'_>],
    train_counts: &[usize],
    settings: &BalanceSettings,
    thresholds: GroupThresholds,
    seed: u64,
    effort: Effort,
    job: Job<'_>,
) -> Result<Tuning> {
    for fold in folds {
        fold.train.check(fold.start)?;
        fold.held_out.check(fold.start)?;
        fold.start.check_counts(fold.train_counts)?;
        fold.start.check_counts(train_counts)?;
        fold.check_counted()?;
    }
    let labels: Vec<u32> = folds.iter().flat_map(|fold| fold.counted_as).copied().collect();
    if labels.is_empty() {
        return Err(TrainError::Request(
            "tuning needs a validation split, and this dataset has none".into(),
        )
        .into());
    }
    let budget = effort.candidates();
    job.phase("tuning", Some(budget as u64), "candidates");
    let base = BalanceSettings {
        balancers: Vec::new(),
        features: FeatureSource::Cached,
        ..settings.clone()
    };
    let mut search = Search {
        folds,
        labels: &labels,
        train_counts,
        thresholds,
        seed,
        base: &base,
        job,
        budget: budget as u64,
        done: AtomicU64::new(0),
        failed: AtomicU64::new(0),
    };

    let starts: Vec<Classifier> = folds.iter().map(|fold| fold.start.clone()).collect();
    let mut trials = search.score(&starts, &base, std::slice::from_ref(&base))?;
    if trials.is_empty() {
        return Err(TrainError::Request(
            "the classifier cannot be evaluated on the validation split".into(),
        )
        .into());
    }
    let asked = asked(&base, settings);
    let mut coarse = post_hoc_grid(&base);
    if !asked.trains() {
        coarse.retain(|candidate| *candidate != asked);
        coarse.insert(0, asked.clone());
    }
    trials.extend(
        search.without_training(&starts, &coarse[..coarse.len().min((budget - 1) * 3 / 10)])?,
    );
    let around = search.around_best_post_hoc(&trials, budget / 10);
    trials.extend(search.without_training(&starts, &around)?);

    let (trainings, wanted) =
        effort.trainings(budget.saturating_sub(trials.len()), folds, settings);
    if trainings < wanted {
        search.budget = (trials.len() + trainings * VARIANTS) as u64;
        job.phase("tuning", Some(search.budget), "candidates");
        job.progress(trials.len() as u64);
    }
    let coarse = search.draw(trainings - trainings * 2 / 5, settings);
    trials.extend(search.with_training(&coarse)?);
    let fine = search.around_best_training(&trials, trainings * 2 / 5);
    trials.extend(search.with_training(&fine)?);
    job.progress(search.budget);
    let failed = search.failed.into_inner();
    if failed > 0 {
        let are = if failed == 1 { "candidate is" } else { "candidates are" };
        job.warn(format!("{failed} {are} left out: their training diverged, or they overflowed"));
    }
    let mut found = conclude(trials, &asked, &labels, train_counts, folds.len() == 1);
    found.failed = failed as usize;
    if trainings < wanted {
        let times = if trainings == 1 { "once".into() } else { format!("{trainings} times") };
        found.reason += &format!(
            " Stage 2 was trained {times} instead of {wanted} times: with so many images and classes it takes long."
        );
    }
    Ok(found)
}

/// What every part of the search needs.
struct Search<'a> {
    folds: &'a [Fold<'a>],
    /// The classes that held-out samples of all folds count for, one fold after the other.
    labels: &'a [u32],
    train_counts: &'a [usize],
    thresholds: GroupThresholds,
    seed: u64,
    /// The settings with no balancer.
    base: &'a BalanceSettings,
    job: Job<'a>,
    budget: u64,
    done: AtomicU64,
    /// Candidates that diverged or overflowed.
    failed: AtomicU64,
}

impl Search<'_> {
    /// Scores the folds' classifiers under the post-hoc balancers of each of `variants`; `trained`
    /// are the settings they were made with. Variants that overflow are left out.
    fn score(
        &self,
        classifiers: &[Classifier],
        trained: &BalanceSettings,
        variants: &[BalanceSettings],
    ) -> Result<Vec<Tried>> {
        let mut trials = Vec::with_capacity(variants.len());
        for variant in variants {
            self.job.check()?;
            let Some(answers) = self.answers(classifiers, trained, variant)? else {
                self.failed.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            let scores = Scores::counted(&answers, self.labels, self.train_counts, self.thresholds);
            if let Ok(scores) = scores {
                let hits = answers.iter().map(Answer::is_right).collect();
                trials.push(Tried { settings: variant.clone(), scores, hits });
            }
        }
        let done =
            self.done.fetch_add(variants.len() as u64, Ordering::Relaxed) + variants.len() as u64;
        self.job.progress(done.min(self.budget));
        Ok(trials)
    }

    /// What is said about the held-out samples of all folds; `None` if a classifier overflows. On
    /// this thread alone: a thread that waits for others takes up another candidate meanwhile, and
    /// what it needs for each would add up.
    fn answers(
        &self,
        classifiers: &[Classifier],
        trained: &BalanceSettings,
        variant: &BalanceSettings,
    ) -> Result<Option<Vec<Answer>>> {
        let mut all = Vec::with_capacity(self.labels.len());
        for (fold, classifier) in self.folds.iter().zip(classifiers) {
            let mut classifier = classifier.clone();
            if !trained.trains() && variant.balancers.contains(&Balancer::MaxNorm) {
                // The projection alone: `balance` without training.
                let only =
                    BalanceSettings { balancers: vec![Balancer::MaxNorm], ..variant.clone() };
                match self.run(fold, &classifier, &only)? {
                    Some(projected) => classifier = projected,
                    None => return Ok(None),
                }
            }
            if post_hoc(&mut classifier, variant, fold.train_counts).is_err() {
                return Ok(None);
            }
            all.extend(classifier.answers_here(fold.held_out)?);
        }
        Ok(Some(all))
    }

    /// Balances quietly; `None` if it diverges or its settings have no meaning for this classifier.
    fn run(
        &self,
        fold: &Fold<'_>,
        start: &Classifier,
        settings: &BalanceSettings,
    ) -> Result<Option<Classifier>> {
        let mut batches = CachedBatches::new(fold.train, settings.batch_size, self.seed)?;
        let job = Job::new(self.job.control, &Silent);
        match balance(start, &mut batches, fold.train_counts, None, settings, self.thresholds, job)
        {
            Ok(balanced) => Ok(Some(balanced.classifier)),
            Err(Error::Train(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn without_training(
        &self,
        starts: &[Classifier],
        candidates: &[BalanceSettings],
    ) -> Result<Vec<Tried>> {
        let scored = candidates
            .par_iter()
            .map(|candidate| self.score(starts, self.base, std::slice::from_ref(candidate)));
        Ok(scored.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    fn with_training(&self, candidates: &[BalanceSettings]) -> Result<Vec<Tried>> {
        let scored = candidates.par_iter().map(|candidate| {
            let trained: Option<Vec<Classifier>> = self
                .folds
                .iter()
                .map(|fold| self.run(fold, fold.start, candidate))
                .collect::<Result<Vec<_>>>()?
                .into_iter()
                .collect();
            match trained {
                Some(trained) => self.score(&trained, candidate, &variants(candidate)),
                None => {
                    self.failed.fetch_add(VARIANTS as u64, Ordering::Relaxed);
                    Ok(Vec::new())
                }
            }
        });
        Ok(scored.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    /// Candidates of the same kind as the best one without training, with parameters close to it.
    fn around_best_post_hoc(&self, trials: &[Tried], n: usize) -> Vec<BalanceSettings> {
        let candidates = trials.iter().filter(|trial| {
            !trial.settings.balancers.is_empty() && trial.settings.balancers != [Balancer::L2]
        });
        let Some(best) =
            candidates.reduce(|best, trial| if better(trial, best) { trial } else { best })
        else {
            return Vec::new();
        };
        let mut seen: HashSet<String> =
            trials.iter().map(|trial| describe(&trial.settings)).collect();
        let near = (0..n as u64).map(|index| near_post_hoc(&best.settings, self.seed, index));
        near.filter(|near| seen.insert(describe(near))).collect()
    }

    /// Trainings over the whole range.
    fn draw(&self, n: usize, settings: &BalanceSettings) -> Vec<BalanceSettings> {
        (0..n).map(|index| drawn_training(self.base, settings, self.seed, index, n)).collect()
    }

    /// Trainings close to the three best so far.
    fn around_best_training(&self, trials: &[Tried], n: usize) -> Vec<BalanceSettings> {
        let mut trained: Vec<&Tried> =
            trials.iter().filter(|trial| trial.settings.trains()).collect();
        trained.sort_by(|a, b| order(a, b));
        let mut parents: Vec<BalanceSettings> = Vec::new();
        for trial in trained {
            let parent = without_post_hoc(&trial.settings);
            if parents.len() < 3 && !parents.contains(&parent) {
                parents.push(parent);
            }
        }
        if parents.is_empty() {
            return Vec::new();
        }
        let near = |index| near_training(&parents[index % parents.len()], self.seed, index);
        (0..n).map(near).collect()
    }
}

#[cfg(test)]
#[path = "tune_tests.rs"]
mod tests;
