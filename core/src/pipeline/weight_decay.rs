//! The weight decay of a classifier on features that stay, where the settings leave it to the data.
//!
//! The paper's first lesson is that weight decay in stage 1 has to be tuned. On features that are
//! known this takes seconds: a few values are tried on training images held out in turn.

use rayon::prelude::*;

use super::folds::{FOLDS, Part, part, places_of, rule_out, thinned};
use super::stand_ins::StandIns;
use super::train_classifier::fit_on;
use crate::balance::{adjust_logits, standard_error};
use crate::classifier::FeatureSet;
use crate::error::{Error, Result, TrainError};
use crate::eval::argmax;
use crate::job::{Job, Silent};
use crate::settings::{Auto, Settings};

/// One weight decay to the next larger that is tried, about.
const STEP: f64 = 3.2;
/// Steps up or down from the usual one, at most.
const MOST_STEPS: i32 = 4;
/// Samples that are looked at, at most: more of them do not change the answer, and take memory and
/// time.
const MOST_SAMPLES: usize = 20_000;
/// How strongly logits are corrected for how frequent classes are: what balances afterwards does it
/// by as much as suits, and a weight decay is worth what it is with that.
const STRENGTHS: [f32; 3] = [0.25, 0.5, 1.0];

/// A weight decay, and why it was chosen.
#[derive(Debug)]
pub(super) struct ChosenDecay {
    pub weight_decay: f64,
    pub reason: String,
}

/// Chooses the weight decay of a classifier on these features by balanced accuracy on held-out
/// samples, logits corrected for how frequent classes are by the best of [`STRENGTHS`] (what balances
/// afterwards does that or better): from the usual one three times up and down as long as it gets better. The usual one
/// stays where another is better by no more than the standard error of the difference. Samples of
/// one of the `groups` are held out together, where there are any.
///
/// # Errors
/// Features that no classifier can be trained on; [`Error::Stopped`].
pub(super) fn choose_weight_decay(
    settings: &Settings,
    train: &FeatureSet,
    groups: &[Option<u32>],
    classes: usize,
    job: Job<'_>,
) -> Result<ChosenDecay> {
    let usual = settings.stage1.weight_decay();
    let every = train.len().div_ceil(MOST_SAMPLES).max(1);
    let rows = thinned(&train.labels, classes, every);
    let few = train.part(&rows);
    let groups: Vec<Option<u32>> =
        rows.iter().filter_map(|&row| groups.get(row).copied()).collect();
    let places = places_of(&few.labels, &groups, classes);
    let stand_ins = StandIns::choose(&few.labels, &places, classes, FOLDS);
    let (mut parts, mut labels) = (Vec::with_capacity(FOLDS), Vec::with_capacity(few.len()));
    for fold in 0..FOLDS {
        let mut part = part(&few, &places, fold, classes).of_known_classes();
        labels.extend(stand_ins.apply(&mut part, fold, settings.seed));
        parts.push(part);
    }
    drop(few);
    job.phase("choosing the weight decay", None, "");
    let tried = |steps: &[i32]| -> Result<Vec<Tried>> {
        let value = |steps: i32| rounded(usual * STEP.powi(steps));
        let trainings: Vec<(f64, &Part)> = steps
            .iter()
            .flat_map(|&steps| parts.iter().map(move |part| (value(steps), part)))
            .collect();
        let hits = trainings
            .par_iter()
            .map(|(value, part)| hits(settings, *value, part, classes, job))
            .collect::<Result<Vec<_>>>()?;
        let tried = |(&steps, parts): (&i32, &[[Vec<bool>; STRENGTHS.len()]])| {
            let of_strength = |at: usize| {
                let hits: Vec<bool> = parts.iter().flat_map(|part| &part[at]).copied().collect();
                let score = balanced_accuracy(&hits, &labels, classes);
                Tried { steps, value: value(steps), score, hits }
            };
            let all = (0..STRENGTHS.len()).map(of_strength);
            all.reduce(|best, other| if other.score > best.score { other } else { best })
        };
        Ok(steps.iter().zip(hits.chunks(FOLDS)).filter_map(tried).collect())
    };
    let mut all = tried(&[0, -1, 1])?;
    let direction = if all[1].score > all[2].score { -1 } else { 1 };
    let (mut best, mut next) =
        (all[0].score, if direction < 0 { all[1].score } else { all[2].score });
    while next > best && all.len() < 2 + MOST_STEPS as usize {
        best = next;
        let further = direction * (all.len() as i32 - 1);
        all.extend(tried(&[further])?);
        next = all[all.len() - 1].score;
    }
    let usual = &all[0];
    let better = |other: &&Tried| {
        other.score - usual.score > standard_error(&other.hits, &usual.hits, &labels, classes)
    };
    let chosen = all[1..]
        .iter()
        .filter(better)
        .max_by(|a, b| a.score.total_cmp(&b.score).then(b.value.total_cmp(&a.value)));
    let why = match chosen {
        Some(_) => "the best",
        None => "none does better than the usual one by more than luck",
    };
    let weight_decay = chosen.unwrap_or(usual).value;
    all.sort_by_key(|tried| tried.steps);
    let scores: Vec<String> = all
        .iter()
        .map(|tried| format!("{:.1} % with {}", 100.0 * tried.score, tried.value))
        .collect();
    let reason = format!(
        "{why}, by balanced accuracy after logit adjustment of the best of three strengths, on training images held out in turn: {}",
        scores.join(", ")
    );
    Ok(ChosenDecay { weight_decay, reason })
}

/// Samples that each of the trainings learns from, as many as it usually takes to choose.
pub(super) fn trainings(samples: usize) -> impl Iterator<Item = usize> {
    const USUAL: usize = 4;
    let learned = samples.min(MOST_SAMPLES) * (FOLDS - 1) / FOLDS;
    std::iter::repeat_n(learned, USUAL * FOLDS)
}

/// A weight decay that was tried.
struct Tried {
    /// Steps from the usual one.
    steps: i32,
    value: f64,
    score: f64,
    /// Which held-out samples it was right about.
    hits: Vec<bool>,
}

/// Which held-out samples of a part a classifier is right about, with each of [`STRENGTHS`], that
/// learned from the others with this weight decay; none if its loss diverges.
fn hits(
    settings: &Settings,
    weight_decay: f64,
    part: &Part,
    classes: usize,
    job: Job<'_>,
) -> Result<[Vec<bool>; STRENGTHS.len()]> {
    job.check()?;
    let mut settings = settings.clone();
    settings.stage1.weight_decay = Auto::Value(weight_decay);
    let quiet = Job::new(job.control, &Silent);
    let (classifier, standardiser, _) =
        match fit_on(&settings, part.train.clone(), classes, &part.train_counts, None, quiet) {
            Err(Error::Train(TrainError::Diverged { .. })) => {
                return Ok(STRENGTHS.map(|_| vec![false; part.held_out.len()]));
            }
            other => other?,
        };
    let mut features = part.held_out.features.clone();
    standardiser.apply(&mut features);
    let labels = &part.held_out.labels;
    let mut found = STRENGTHS.map(|_| Vec::new());
    for (found, strength) in found.iter_mut().zip(STRENGTHS) {
        let mut adjusted = classifier.clone();
        adjust_logits(&mut adjusted, &part.train_counts, strength)?;
        rule_out(&mut adjusted, &part.learned);
        *found =
            adjusted.map_logits(&features, |row, logits| argmax(logits) == labels[row] as usize)?;
    }
    Ok(found)
}

/// Mean over the classes of the share that is right.
fn balanced_accuracy(hits: &[bool], labels: &[u32], classes: usize) -> f64 {
    let mut tally = vec![[0_usize; 2]; classes];
    for (hit, &label) in hits.iter().zip(labels) {
        tally[label as usize][0] += usize::from(*hit);
        tally[label as usize][1] += 1;
    }
    let shares: Vec<f64> = tally
        .iter()
        .filter(|[_, all]| *all > 0)
        .map(|[right, all]| *right as f64 / *all as f64)
        .collect();
    shares.iter().sum::<f64>() / shares.len().max(1) as f64
}

/// One digit of a number is enough.
fn rounded(value: f64) -> f64 {
    format!("{value:.0e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Control, Silent};
    use crate::settings::Preset;

    /// Samples whose class shows in few of their features, which differ by `noise` otherwise.
    fn features(per_class: usize, noise: f32) -> FeatureSet {
        let (classes, dim) = (4, 400);
        let mut state = 7_u64;
        let mut random = move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
        };
        let mut set = FeatureSet { dim, ..FeatureSet::default() };
        for sample in 0..per_class * classes {
            let class = sample % classes;
            set.features
                .extend((0..dim).map(|at| noise * random() + f32::from(u8::from(at == class))));
            set.labels.push(class as u32);
        }
        set
    }

    fn chosen(set: &FeatureSet) -> ChosenDecay {
        let mut settings = Settings::preset(Preset::Auto);
        settings.set("stage1.train", "classifier").unwrap();
        let control = Control::new();
        choose_weight_decay(&settings, set, &[], 4, Job::new(&control, &Silent)).unwrap()
    }

    #[test]
    fn the_usual_one_stays_where_nothing_is_better() {
        // Told apart by anything.
        let ChosenDecay { weight_decay, reason } = chosen(&features(30, 0.01));
        assert_eq!(weight_decay, 0.01);
        assert!(
            reason.starts_with("none does better") && reason.contains(" % with 0.003"),
            "{reason}"
        );
    }

    #[test]
    fn few_samples_of_many_loud_features_want_more_of_it() {
        let set = features(400, 2.0);
        let ChosenDecay { weight_decay, reason } = chosen(&set);
        assert!(weight_decay > 0.01, "{weight_decay}: {reason}");
        let again = chosen(&set);
        assert_eq!((again.weight_decay, again.reason), (weight_decay, reason));
    }
}
