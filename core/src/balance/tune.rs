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
use super::tune_report::{describe, reason, standard_error};
use crate::classifier::{Classifier, FeatureSet};
use crate::error::{Error, Result, TrainError};
use crate::eval::{Answer, GroupAccuracies, GroupThresholds, Scores, Verdict, error_of_mean};
use crate::job::{Job, Silent};
use crate::settings::{Auto, BalanceSettings, Balancer, FeatureSource};

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
/// many on few samples is the luckiest. Of candidates whose balanced accuracy is half a point below
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
    let mut found = conclude(trials, &asked, &labels, train_counts);
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

/// Better first: balanced accuracy, then fewer balancers, then no training.
fn order(a: &Tried, b: &Tried) -> std::cmp::Ordering {
    let simplicity = |trial: &Tried| (trial.settings.balancers.len(), trial.settings.trains());
    b.scores
        .balanced_accuracy
        .total_cmp(&a.scores.balanced_accuracy)
        .then(simplicity(a).cmp(&simplicity(b)))
}

fn better(a: &Tried, b: &Tried) -> bool {
    order(a, b).is_lt()
}

/// `trials` begin with the unbalanced classifier; `given` are the settings that were asked for.
fn conclude(
    mut trials: Vec<Tried>,
    given: &BalanceSettings,
    labels: &[u32],
    train_counts: &[usize],
) -> Tuning {
    let classes = train_counts.len();
    let start = trials
        .first()
        .map_or((0.0, Vec::new()), |trial| (trial.scores.balanced_accuracy, trial.hits.clone()));
    let is_deaf = is_deaf(labels, train_counts);
    // The sort is stable, so of equal candidates the one tried first stays first.
    trials.sort_by(order);
    let prefers = trials.iter().position(|trial| trial.settings == *given).filter(|&at| {
        let own = &trials[at];
        let is_surely_better = |trial: &Tried| {
            let gap = trial.scores.balanced_accuracy - own.scores.balanced_accuracy;
            gap > standard_error(&trial.hits, &own.hits, labels, classes)
        };
        let score = own.scores.balanced_accuracy;
        at > 0
            && match is_deaf {
                true => score >= BEARABLE * start.0,
                false => score > start.0 && !trials[..at].iter().any(is_surely_better),
            }
    });
    if let Some(at) = prefers {
        let preferred = trials.remove(at);
        trials.insert(0, preferred);
    }
    // Of classes that nothing is held out of it is not known what that would cost them.
    let cheaper = match is_deaf {
        true => None,
        false => cheaper(&trials, (start.0, &start.1), labels, train_counts),
    };
    if let Some(Cheaper { at, .. }) = cheaper {
        let taken = trials.remove(at);
        trials.insert(0, taken);
    }
    let cheaper = cheaper.map(|found| found.right);
    let start_of = (&start.1[..], start.0);
    let (reason, conclusive) =
        reason(&trials, start_of, labels, classes, cheaper, is_deaf && prefers.is_some());
    let best = &trials[0];
    Tuning {
        best: best.settings.clone(),
        best_score: best.scores.balanced_accuracy,
        start_score: start.0,
        conclusive,
        reason,
        errors: [&best.hits, &start.1].map(|hits| error_of_mean(&by_class(hits, labels, classes))),
        verdict: None,
        failed: 0,
        candidates: trials.iter().map(candidate).collect(),
    }
}

/// Part of the classes of which nothing may be held out for what is held out to decide.
const UNHEARD: f64 = 1.0 / 3.0;

/// Share of the balanced accuracy without balancing that is to be left then: what favours classes that
/// nothing is held out of costs the others.
const BEARABLE: f64 = 0.8;

/// Whether nothing is held out of so many classes that what does best on the others says little of
/// what is best: such classes are the rare ones, and balancing is for them.
fn is_deaf(labels: &[u32], train_counts: &[usize]) -> bool {
    let mut unheard: Vec<bool> = train_counts.iter().map(|count| *count > 0).collect();
    labels.iter().for_each(|&label| unheard[label as usize] = false);
    let count = unheard.iter().filter(|unheard| **unheard).count();
    count as f64 >= UNHEARD * train_counts.len() as f64 && count > 0
}

/// Balanced accuracy that is given for more right answers among frequent classes, at most.
const GIVEN: f64 = 0.005;
/// How much more of the samples must be right for that, with classes as frequent as in training.
const GAINED: f64 = 0.02;

/// A candidate that is about as good as the first one and costs frequent classes less.
struct Cheaper {
    at: usize,
    /// The share of samples that it, the first one and the start get right, with classes as frequent
    /// as in training.
    right: [f64; 3],
}

fn cheaper(
    trials: &[Tried],
    (start_score, start_hits): (f64, &[bool]),
    labels: &[u32],
    train_counts: &[usize],
) -> Option<Cheaper> {
    let first = &trials[0];
    let score = |trial: &Tried| trial.scores.balanced_accuracy;
    let right = |trial: &Tried| right_as_trained(&trial.hits, labels, train_counts);
    let is_as_good =
        |trial: &Tried| score(trial) + GIVEN >= score(first) && score(trial) > start_score;
    let others = trials.iter().enumerate().skip(1).filter(|(_, trial)| is_as_good(trial));
    let (at, most) = others
        .map(|(at, trial)| (at, right(trial)))
        .reduce(|best, other| if other.1 > best.1 { other } else { best })?;
    let own = right(first);
    (!first.settings.balancers.is_empty() && most > own + GAINED).then(|| Cheaper {
        at,
        right: [most, own, right_as_trained(start_hits, labels, train_counts)],
    })
}

/// Right samples and all samples of each class, shape [classes].
fn by_class(hits: &[bool], labels: &[u32], classes: usize) -> Vec<[usize; 2]> {
    let mut found = vec![[0; 2]; classes];
    for (hit, &label) in hits.iter().zip(labels) {
        found[label as usize][0] += usize::from(*hit);
        found[label as usize][1] += 1;
    }
    found
}

/// The share of samples that are right, with classes as frequent as in training.
fn right_as_trained(hits: &[bool], labels: &[u32], train_counts: &[usize]) -> f64 {
    let found = by_class(hits, labels, train_counts.len());
    let present = || found.iter().zip(train_counts).filter(|([_, samples], _)| *samples > 0);
    let right: f64 =
        present().map(|([hits, samples], n)| (n * hits) as f64 / *samples as f64).sum();
    right / present().map(|(_, n)| *n as f64).sum::<f64>().max(1.0)
}

fn candidate(trial: &Tried) -> Candidate {
    let settings = &trial.settings;
    let listed = |balancer| settings.balancers.contains(&balancer);
    let given = match settings.max_norm_radius {
        Auto::Auto(_) => None,
        Auto::Value(radius) => Some(radius),
    };
    let adjusts = listed(Balancer::LogitAdjustment)
        || (settings.trains() && settings.loss.info().takes_strength);
    Candidate {
        summary: describe(settings),
        balancers: settings.balancers.clone(),
        weight_decay: listed(Balancer::WeightDecay).then_some(settings.weight_decay),
        max_norm_delta: (listed(Balancer::MaxNorm) && given.is_none())
            .then_some(settings.max_norm_delta),
        max_norm_radius: given.filter(|_| listed(Balancer::MaxNorm)),
        tau: listed(Balancer::Tau).then_some(settings.tau),
        gamma: listed(Balancer::MultiplicativeAdjustment).then_some(settings.gamma),
        logit_adjustment: adjusts.then_some(settings.logit_adjustment),
        balanced_accuracy: trial.scores.balanced_accuracy,
        groups: trial.scores.groups,
    }
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;
    use crate::job::Control;
    use crate::random::stream;
    use crate::settings::ClassifierLoss;
    use crate::settings::{Preset, Settings};

    const CLASSES: usize = 5;
    const DIM: usize = 8;
    const COUNTS: [usize; CLASSES] = [200, 80, 30, 12, 4];

    /// Overlapping classes about axes of their own, `counts` samples each.
    fn set(counts: &[usize], purpose: &str) -> FeatureSet {
        let mut random = stream(5, purpose, &[]);
        let (mut features, mut labels) = (Vec::new(), Vec::new());
        for (class, &count) in counts.iter().enumerate() {
            for _ in 0..count {
                features.extend((0..DIM).map(|d| {
                    0.9 * f32::from(u8::from(d == class)) + random.random_range(-1.0..1.0_f32)
                }));
                labels.push(class as u32);
            }
        }
        FeatureSet::new(DIM, features, labels).unwrap()
    }

    /// A classifier trained without any balancing, so that it leans to the many.
    fn start(train: &FeatureSet) -> Classifier {
        let zero =
            Classifier::new(CLASSES, DIM, vec![0.01; CLASSES * DIM], vec![0.0; CLASSES]).unwrap();
        let mut settings = Settings::preset(Preset::Quick).balance;
        settings.balancers = vec![Balancer::Stage2];
        settings.loss = ClassifierLoss::CrossEntropy;
        let mut batches = CachedBatches::new(train, 16, 1).unwrap();
        let control = Control::new();
        let job = Job::new(&control, &Silent);
        balance(&zero, &mut batches, &COUNTS, None, &settings, GroupThresholds::default(), job)
            .unwrap()
            .classifier
    }

    fn fold<'a>(
        start: &'a Classifier,
        train: &'a FeatureSet,
        held_out: &'a FeatureSet,
    ) -> Fold<'a> {
        Fold { start, train, train_counts: &COUNTS, held_out, counted_as: &held_out.labels }
    }

    fn search(
        start: &Classifier,
        train: &FeatureSet,
        validation: &FeatureSet,
        settings: &BalanceSettings,
        budget: usize,
    ) -> Result<Tuning> {
        let control = Control::new();
        let job = Job::new(&control, &Silent);
        let fold = fold(start, train, validation);
        let effort = Effort::within_reason(budget);
        tune(&[fold], &COUNTS, settings, GroupThresholds::default(), 9, effort, job)
    }

    /// A trial that gets so many of ten samples of each class right.
    fn tried(right: [usize; 3], balancers: Vec<Balancer>) -> Tried {
        let base = Settings::preset(Preset::Quick).balance;
        let hits: Vec<bool> =
            right.iter().flat_map(|&right| (0..10).map(move |at| at < right)).collect();
        let scores = Scores {
            balanced_accuracy: right.iter().sum::<usize>() as f64 / 30.0,
            top1: 0.0,
            loss: 0.0,
            groups: GroupAccuracies::default(),
        };
        Tried { settings: BalanceSettings { balancers, ..base }, scores, hits }
    }

    #[test]
    fn of_candidates_that_are_as_good_the_one_is_taken_that_costs_the_many_least() {
        let labels: Vec<u32> = (0..3).flat_map(|class| [class; 10]).collect();
        let counts = [900, 90, 10];
        let given = BalanceSettings::clone(&tried([0; 3], vec![]).settings);
        let conclude = |others: &[([usize; 3], Balancer)]| {
            let start = tried([10, 5, 0], vec![]);
            let others = others.iter().map(|(right, balancer)| tried(*right, vec![*balancer]));
            let trials = std::iter::once(start).chain(others).collect();
            super::conclude(trials, &given, &labels, &counts)
        };
        // As many right in all, of the many class eight of ten instead of five.
        let found = conclude(&[([5, 8, 9], Balancer::Tau), ([8, 7, 7], Balancer::MaxNorm)]);
        assert_eq!(found.best.balancers, [Balancer::MaxNorm]);
        // (900 · 0.8 + 90 · 0.7 + 10 · 0.7) / 1000 and (900 · 0.5 + 90 · 0.8 + 10 · 0.9) / 1000
        // Without balancing it is (900 · 1 + 90 · 0.5) / 1000.
        let words = "it costs frequent classes least: with classes as frequent as in training 79.0 % of images are right, 53.1 % with the one that is best by a little, 94.5 % without balancing";
        assert!(found.reason.contains(words), "{}", found.reason);
        assert!(!found.reason.contains("runner-up"), "{}", found.reason);
        // One image in thirty is more than is given for it.
        let found = conclude(&[([5, 8, 9], Balancer::Tau), ([8, 7, 6], Balancer::MaxNorm)]);
        assert_eq!(found.best.balancers, [Balancer::Tau]);
        // And no balancing is no candidate for that: it is taken where nothing is better.
        let found = conclude(&[([4, 5, 6], Balancer::Tau)]);
        assert_eq!(found.best.balancers, [] as [Balancer; 0]);
    }

    #[test]
    fn what_is_held_out_does_not_decide_over_many_classes_that_it_has_nothing_of() {
        let counts = [900, 90, 10, 1, 1];
        let labels: Vec<u32> = (0..3).flat_map(|class| [class; 10]).collect();
        let asked = tried([5, 5, 5], vec![Balancer::Tau]);
        let trials = || {
            vec![
                tried([10, 5, 0], vec![]),
                tried([5, 5, 5], vec![Balancer::Tau]),
                tried([9, 9, 9], vec![Balancer::MaxNorm]),
            ]
        };
        let conclude = |counts: &[usize]| {
            super::conclude(trials(), &asked.settings, &labels, counts).best.balancers
        };
        assert_eq!(conclude(&counts), [Balancer::Tau]);
        // What takes more than a fifth of what there was is not taken.
        let far_below = |right: [usize; 3]| {
            let trials = vec![tried([10, 10, 0], vec![]), tried(right, vec![Balancer::Tau])];
            super::conclude(trials, &asked.settings, &labels, &counts).best.balancers
        };
        assert_eq!(far_below([9, 8, 0]), [Balancer::Tau]);
        assert_eq!(far_below([8, 7, 0]), [] as [Balancer; 0]);
        assert_eq!(conclude(&counts[..3]), [Balancer::MaxNorm]);
    }

    #[test]
    fn the_best_is_reproducible_better_than_nothing_and_explained() {
        let (train, validation) = (set(&COUNTS, "train"), set(&[40; CLASSES], "validation"));
        let start = start(&train);
        let settings = Settings::preset(Preset::Quick).balance;
        let tuning = search(&start, &train, &validation, &settings, 200).unwrap();
        assert!(
            tuning.conclusive && tuning.best_score > tuning.start_score + 0.03,
            "{}",
            tuning.reason
        );
        assert!((150..=200).contains(&tuning.candidates.len()), "{}", tuning.candidates.len());
        assert!(tuning.candidates.is_sorted_by(|a, b| a.balanced_accuracy >= b.balanced_accuracy));
        assert!(
            tuning.reason.contains("runner-up")
                && tuning.reason.contains(&tuning.candidates[0].summary)
        );
        let trained = tuning.candidates.iter().filter(|c| c.weight_decay.is_some()).count();
        assert!(
            trained > 80
                && tuning.candidates.iter().filter(|c| c.weight_decay.is_none()).count() > 50
        );

        // The settings found give the classifier that was scored, and a second search finds the
        // same.
        for tuning in [tuning.clone(), search(&start, &train, &validation, &settings, 200).unwrap()]
        {
            let mut batches = CachedBatches::new(&train, tuning.best.batch_size, 9).unwrap();
            let control = Control::new();
            let job = Job::new(&control, &Silent);
            let again = balance(
                &start,
                &mut batches,
                &COUNTS,
                None,
                &tuning.best,
                GroupThresholds::default(),
                job,
            )
            .unwrap();
            let scores =
                again.classifier.scores(&validation, &COUNTS, GroupThresholds::default()).unwrap();
            assert_eq!(scores.balanced_accuracy, tuning.best_score);
        }
        assert_eq!(
            search(&start, &train, &validation, &settings, 200).unwrap().candidates,
            tuning.candidates
        );
    }

    #[test]
    fn a_stored_result_is_read_back() {
        let (train, validation) = (set(&COUNTS, "train"), set(&[10; CLASSES], "validation"));
        let tuning = search(
            &start(&train),
            &train,
            &validation,
            &Settings::preset(Preset::Quick).balance,
            40,
        )
        .unwrap();
        let text = serde_json::to_string_pretty(&tuning).unwrap();
        let read: Tuning = serde_json::from_str(&text).unwrap();
        // A JSON reader may be off by the last bit of a decimal.
        assert_eq!(
            (&read.best, &read.reason, read.conclusive),
            (&tuning.best, &tuning.reason, tuning.conclusive)
        );
        assert_eq!(read.candidates.len(), tuning.candidates.len());
        for (read, tried) in read.candidates.iter().zip(&tuning.candidates) {
            assert_eq!((&read.summary, &read.balancers), (&tried.summary, &tried.balancers));
            assert!((read.balanced_accuracy - tried.balanced_accuracy).abs() < 1e-12);
            let (few, expected) = (read.groups.few.unwrap(), tried.groups.few.unwrap());
            assert!((few - expected).abs() < 1e-12);
        }
    }

    #[test]
    fn every_candidate_is_tried_once_and_reproducible_alone() {
        let (train, validation) = (set(&COUNTS, "train"), set(&[10; CLASSES], "validation"));
        let start = start(&train);
        let settings = BalanceSettings {
            loss: ClassifierLoss::LogitAdjusted,
            ..Settings::preset(Preset::Quick).balance
        };
        let tuning = search(&start, &train, &validation, &settings, 60).unwrap();
        let strengths: HashSet<String> = tuning
            .candidates
            .iter()
            .filter(|c| c.weight_decay.is_some())
            .map(|c| format!("{:?}", c.logit_adjustment))
            .collect();
        assert!(strengths.len() > 3, "{strengths:?}");
        assert!(
            tuning
                .candidates
                .iter()
                .all(|c| c.weight_decay.is_none()
                    || !c.balancers.contains(&Balancer::LogitAdjustment))
        );
    }

    #[test]
    fn a_validation_split_too_small_is_said_to_be() {
        let (train, validation) = (set(&COUNTS, "train"), set(&[1; CLASSES], "small validation"));
        let tuning = search(
            &start(&train),
            &train,
            &validation,
            &Settings::preset(Preset::Quick).balance,
            40,
        )
        .unwrap();
        assert!(
            tuning.best_score == tuning.start_score || tuning.reason.contains("too small"),
            "{}",
            tuning.reason
        );
    }

    #[test]
    fn nothing_to_gain_leaves_the_classifier_as_it_is() {
        let (train, validation) =
            (set(&COUNTS, "train"), FeatureSet::new(DIM, [1.0; DIM].to_vec(), vec![0]).unwrap());
        let tuning = search(
            &start(&train),
            &train,
            &validation,
            &Settings::preset(Preset::Quick).balance,
            30,
        )
        .unwrap();
        assert_eq!(tuning.best.balancers, []);
        assert!(tuning.reason.contains("none does better"), "{}", tuning.reason);
        let one = search(
            &start(&train),
            &train,
            &validation,
            &Settings::preset(Preset::Quick).balance,
            0,
        )
        .unwrap();
        assert_eq!(one.candidates.len(), 1);
    }

    #[test]
    fn no_validation_and_a_stop_end_it() {
        let train = set(&COUNTS, "train");
        let (start, settings) = (start(&train), Settings::preset(Preset::Quick).balance);
        let empty = FeatureSet::new(DIM, vec![], vec![]).unwrap();
        assert!(
            search(&start, &train, &empty, &settings, 30)
                .unwrap_err()
                .to_string()
                .contains("validation")
        );
        let control = Control::new();
        control.stop();
        let job = Job::new(&control, &Silent);
        let fold = fold(&start, &train, &train);
        let effort = Effort::within_reason(30);
        let stopped = tune(&[fold], &COUNTS, &settings, GroupThresholds::default(), 9, effort, job);
        assert!(matches!(stopped, Err(Error::Stopped)));
    }
}
