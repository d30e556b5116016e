//! Which of the candidates that a search has tried is taken, and why.

use super::tune::{Candidate, Tried, Tuning};
use super::tune_report::{describe, reason, standard_error};
use crate::eval::error_of_mean;
use crate::settings::{Auto, BalanceSettings, Balancer};

/// Better first: balanced accuracy, then fewer balancers, then no training.
pub(super) fn order(a: &Tried, b: &Tried) -> std::cmp::Ordering {
    let simplicity = |trial: &Tried| (trial.settings.balancers.len(), trial.settings.trains());
    b.scores
        .balanced_accuracy
        .total_cmp(&a.scores.balanced_accuracy)
        .then(simplicity(a).cmp(&simplicity(b)))
}

pub(super) fn better(a: &Tried, b: &Tried) -> bool {
    order(a, b).is_lt()
}

/// `trials` begin with the unbalanced classifier; `given` are the settings that were asked for. `is_split`
/// says that a split was held out, of which rare classes have next to nothing, and not every image in turn.
pub(super) fn conclude(
    mut trials: Vec<Tried>,
    given: &BalanceSettings,
    labels: &[u32],
    train_counts: &[usize],
    is_split: bool,
) -> Tuning {
    let classes = train_counts.len();
    let start = trials
        .first()
        .map_or((0.0, Vec::new()), |trial| (trial.scores.balanced_accuracy, trial.hits.clone()));
    let unheard = unheard(labels, train_counts, 0);
    let is_deaf = unheard.is_some();
    // The sort is stable, so of equal candidates the one tried first stays first.
    trials.sort_by(order);
    let given_at = trials.iter().position(|trial| trial.settings == *given);
    let is_bearable =
        |at: &usize| *at > 0 && trials[*at].scores.balanced_accuracy >= BEARABLE * start.0;
    let prefers = given_at.filter(|&at| {
        let own = &trials[at];
        let is_surely_better = |trial: &Tried| {
            let gap = trial.scores.balanced_accuracy - own.scores.balanced_accuracy;
            gap > standard_error(&trial.hits, &own.hits, labels, classes)
        };
        let score = own.scores.balanced_accuracy;
        match is_deaf {
            true => is_bearable(&at),
            false => at > 0 && score > start.0 && !trials[..at].iter().any(is_surely_better),
        }
    });
    // That nothing does better on next to no image of rare classes is no reason against what is for them.
    let hardly_heard = self::unheard(labels, train_counts, FEW)
        .filter(|_| is_split && !is_deaf && prefers.is_none())
        .filter(|_| trials[0].settings.balancers.is_empty())
        .filter(|_| !given.balancers.is_empty() && given_at.as_ref().is_some_and(is_bearable));
    let prefers = prefers.or(given_at.filter(|_| hardly_heard.is_some()));
    if let Some(at) = prefers {
        let preferred = trials.remove(at);
        trials.insert(0, preferred);
    }
    // Of classes that nothing is held out of it is not known what that would cost them.
    let cheaper = match is_deaf || hardly_heard.is_some() {
        true => None,
        false => cheaper(&trials, (start.0, &start.1), labels, train_counts),
    };
    if let Some(Cheaper { at, .. }) = cheaper {
        let taken = trials.remove(at);
        trials.insert(0, taken);
    }
    let cheaper = cheaper.map(|found| found.right);
    let start_of = (&start.1[..], start.0);
    let silent = match (unheard.filter(|_| prefers.is_some()), hardly_heard) {
        (Some(count), _) => Some((count, 0)),
        (None, few) => few.map(|count| (count, FEW)),
    };
    let (reason, conclusive) = reason(&trials, start_of, labels, classes, cheaper, silent);
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

/// Part of the classes of which nothing, or next to nothing, may be held out for what is held out to
/// decide.
const UNHEARD: f64 = 1.0 / 3.0;

/// Held-out images of a class that are next to nothing: all of them are right, or none, by luck.
const FEW: usize = 2;

/// Share of the balanced accuracy without balancing that is to be left then: what favours classes that
/// nothing is held out of costs the others.
const BEARABLE: f64 = 0.8;

/// How many classes there are of which `few` images or fewer are held out, if these are so many that what
/// does best on the others says little of what is best: they are the rare ones, and balancing is for them.
fn unheard(labels: &[u32], train_counts: &[usize], few: usize) -> Option<usize> {
    let held = by_class(&vec![false; labels.len()], labels, train_counts.len());
    let unheard =
        held.iter().zip(train_counts).filter(|([_, held], count)| **count > 0 && *held <= few);
    Some(unheard.count())
        .filter(|&count| count > 0 && count as f64 >= UNHEARD * train_counts.len() as f64)
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
