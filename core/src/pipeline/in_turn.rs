//! What a classifier on frozen features is worth on images that are held out in turn: while each
//! part of training and validation images is held out, the same is learned and balanced on the
//! others. That is many more images to judge by than a validation split has.

use std::collections::HashSet;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::evaluate::{JUDGED, LOGITS};
use super::features::Features;
use super::folds::{FOLDS, Part, needed, part, places_of, rule_out};
use super::spread::spread;
use super::stand_ins::StandIns;
use super::train_classifier::fit_on;
use crate::balance::{self, CachedBatches, Fold};
use crate::classifier::{Classifier, FeatureSet};
use crate::dataset::{Dataset, DatasetSample};
use crate::error::{Error, Result};
use crate::eval::{self, Confidence, GroupThresholds, HeldInTurn};
use crate::job::{Job, Silent};
use crate::run::{Checkpoint, IN_TURN, Run};
use crate::settings::{BalanceSettings, FeatureSource, Settings};
use crate::source::{Location, Split};

/// Validation images from which on they tell enough by themselves.
const ENOUGH: usize = 1000;
/// Images times classes times features from which on learning three times more takes minutes.
const MOST_WORK: f64 = 4e9;
/// Ways to balance that are kept, the last ones.
const KEPT: usize = 32;

/// A way to make a classifier, judged by images that were held out in turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct InTurn {
    /// How it was balanced; nothing for the classifier as it was trained.
    pub settings: Option<BalanceSettings>,
    /// What it was right about.
    #[serde(flatten)]
    pub held: HeldInTurn,
    /// How far its probabilities can be believed.
    pub confidence: Confidence,
}

impl InTurn {
    /// Whether it was balanced by these settings.
    pub fn is_of(&self, settings: &BalanceSettings) -> bool {
        match &self.settings {
            // No balancer leaves the classifier as it was trained.
            None => settings.balancers.is_empty(),
            Some(own) => *own == without_tuning(settings),
        }
    }
}

/// All that is known of ways to make a run's classifier.
pub(super) fn all_in_turn(run: &Run) -> Vec<InTurn> {
    match run.settings().stage1.is_frozen() {
        true => run.read_result(IN_TURN).unwrap_or_default(),
        false => Vec::new(),
    }
}

/// What is known of a run's classifier as trained, or balanced by `settings`.
pub(super) fn known_in_turn(run: &Run, settings: Option<&BalanceSettings>) -> Option<InTurn> {
    let all: Vec<InTurn> = run.read_result(IN_TURN).ok()?;
    let settings = settings.map(without_tuning);
    all.into_iter().find(|found| found.settings == settings)
}

/// What a run's classifier was right about on images that were held out in turn, as trained and as the
/// run was balanced last, as far as that was found out.
pub fn held_in_turn(run: &Run, balanced: Option<&BalanceSettings>) -> [Option<HeldInTurn>; 2] {
    let of = |settings| known_in_turn(run, settings).map(|known| known.held);
    [of(None), balanced.and_then(|settings| of(Some(settings)))]
}

/// How often something else was tried before does not matter.
fn without_tuning(settings: &BalanceSettings) -> BalanceSettings {
    BalanceSettings { tune_candidates: 0, ..settings.clone() }
}

/// Judges the classifier of a run as trained and balanced by `settings`, unless that is known, its
/// validation split is large enough to tell by itself, it would take long, or it is balanced on other
/// features than those that are kept. `turns` are those without mirrored images, if they are there.
///
/// # Errors
/// Unreadable images, [`Error::Stopped`].
pub(super) fn judge_in_turn(
    run: &Run,
    start: &Checkpoint,
    features: &Features<'_>,
    settings: &Settings,
    turns: Option<Turns>,
    job: Job<'_>,
) -> Result<()> {
    if run.dataset().split(Split::Validation).len() >= ENOUGH
        || !can_judge(run, start, &settings.balance)
        || known_in_turn(run, Some(&settings.balance)).is_some()
    {
        return Ok(());
    }
    job.phase("judging by images held out in turn", None, "");
    let turns = match turns {
        Some(turns) => turns,
        // A file averages no logits with those of a mirrored image.
        None => Turns::new(run, start, features, Purpose::Judge, false, job)?,
    };
    turns.keep(run, settings, job)
}

/// Whether a run's classifier, balanced so, can be learned again without some of the images, in a time
/// that nobody minds.
fn can_judge(run: &Run, start: &Checkpoint, settings: &BalanceSettings) -> bool {
    let has_other_features =
        settings.augmented_views > 0 || settings.features == FeatureSource::Network;
    let train: usize = start.train_counts.iter().sum();
    let work = train as f64 * (start.classes.len() * start.config.features()) as f64;
    run.settings().stage1.is_frozen()
        && !(settings.trains() && has_other_features)
        && work <= MOST_WORK
}

/// What images of a grown run bring the others: these are held out in turn, and recognised by what was
/// learned from the rest of them, and from the rest and all that the dataset `before` did not have. `None` where that would take long. Images that are of one series with those held out teach
/// nothing: they would tell of these.
///
/// # Errors
/// Unreadable images, [`Error::Stopped`], what balancing meets.
pub(super) fn gain(
    run: &Run,
    start: &Checkpoint,
    before: &Dataset,
    balance: Option<&BalanceSettings>,
    device: &Device,
    job: Job<'_>,
) -> Result<Option<[HeldInTurn; 2]>> {
    if !can_judge(run, start, balance.unwrap_or(&run.settings().balance)) {
        return Ok(None);
    }
    job.phase("comparing by images held out in turn", None, "");
    let Samples { all, samples, groups } =
        Samples::of(run, &Features::new(run, start, device), false, job)?;
    let had: HashSet<&Location> = before.samples.iter().map(|sample| &sample.location).collect();
    let (own, more): (Vec<usize>, Vec<usize>) =
        (0..all.len()).partition(|&row| had.contains(&samples[row].location));
    let known: HashSet<u32> = own.iter().filter_map(|&row| groups[row]).collect();
    let is_apart = |row: &usize| groups[*row].is_none_or(|group| !known.contains(&group));
    let with: Vec<usize> = own.iter().copied().chain(more.into_iter().filter(is_apart)).collect();
    let of = |rows: &[usize]| -> Vec<Option<u32>> { rows.iter().map(|&row| groups[row]).collect() };
    let before = all.part(&own);
    let mut places = places_of(&before.labels, &of(&own), start.classes.len());
    let thresholds = GroupThresholds::from(&run.settings().evaluation);
    let judge = |set: &FeatureSet, places: &[usize]| -> Result<HeldInTurn> {
        let turns = Turns::cut(run, start, set, places, needed(own.len()), None, job)?;
        Ok(turns.judge(balance, thresholds, job)?.held)
    };
    let without_them = judge(&before, &places)?;
    // Never held out.
    places.resize(with.len(), FOLDS);
    Ok(Some([without_them, judge(&all.part(&with), &places)?]))
}

/// What images are held out in turn for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To judge what is learned as the run learns it.
    Judge,
    /// To choose between ways: classes of more images stand in for those that are never held out.
    Choose,
}

/// The training and validation images of a run.
struct Samples<'r> {
    samples: Vec<&'r DatasetSample>,
    /// Their features.
    all: FeatureSet,
    /// What each belongs to.
    groups: Vec<Option<u32>>,
}

impl<'r> Samples<'r> {
    fn of(run: &'r Run, features: &Features<'_>, flip: bool, job: Job<'_>) -> Result<Self> {
        let known = features.with_positions(Split::Train, flip, job)?;
        let mut samples = known.samples(run.dataset(), Split::Train);
        let mut all = known.set;
        if !run.dataset().split(Split::Validation).is_empty() {
            let found = features.with_positions(Split::Validation, flip, job)?;
            samples.extend(found.samples(run.dataset(), Split::Validation));
            all.features.extend_from_slice(&found.set.features);
            all.labels.extend(found.set.labels);
        }
        // Of both splits together: copies belong together wherever they are.
        let groups = run.dataset().series_of(&samples);
        Ok(Self { samples, all, groups })
    }
}

/// Classifiers of which each learned without one part of the training and validation images.
pub(super) struct Turns {
    parts: Vec<Held>,
    /// Classes that are never held out, and those that stand in for them.
    never: [usize; 2],
    /// Training images of each class of the run, which say to which group it belongs.
    counts: Vec<usize>,
    seed: u64,
}

/// A classifier, what it learned from, and what was held out meanwhile.
struct Held {
    start: Classifier,
    train: FeatureSet,
    train_counts: Vec<usize>,
    /// Which classes it has learned from samples of.
    learned: Vec<bool>,
    held_out: FeatureSet,
    /// The class that each held-out sample counts for.
    counted_as: Vec<u32>,
}

impl Held {
    /// Learns from a part's samples what a run of these settings learns from all.
    fn learn(
        part: Part,
        counted_as: Vec<u32>,
        classes: usize,
        settings: &Settings,
        job: Job<'_>,
    ) -> Result<Self> {
        let Part { train, train_counts, learned, held_out } = part;
        let quiet = Job::new(job.control, &Silent);
        // Features are standardised as the run has them; standardising them once more changes next
        // to nothing.
        let (mut start, standardiser, _) =
            fit_on(settings, train.clone(), classes, &train_counts, None, quiet)?;
        rule_out(&mut start, &learned);
        let standardised = |mut set: FeatureSet| {
            standardiser.apply(&mut set.features);
            set
        };
        let (train, held_out) = (standardised(train), standardised(held_out));
        Ok(Self { start, train, train_counts, learned, held_out, counted_as })
    }

    fn fold(&self) -> Fold<'_> {
        Fold {
            start: &self.start,
            train: &self.train,
            train_counts: &self.train_counts,
            held_out: &self.held_out,
            counted_as: &self.counted_as,
        }
    }

    /// The classifier balanced by `settings`.
    fn balanced(
        &self,
        settings: &BalanceSettings,
        thresholds: GroupThresholds,
        seed: u64,
        job: Job<'_>,
    ) -> Result<Classifier> {
        let mut batches = CachedBatches::new(&self.train, settings.batch_size, seed)?;
        let quiet = Job::new(job.control, &Silent);
        let counts = &self.train_counts;
        balance::balance(&self.start, &mut batches, counts, None, settings, thresholds, quiet)
            .map(|balanced| balanced.classifier)
    }

    /// Logits of some of the samples that were held out, and their labels. A class that nothing was
    /// learned of is as likely as the least likely of the others.
    fn logits(&self, classifier: &Classifier, most: usize) -> Result<(Vec<f32>, Vec<u32>)> {
        let rows: Vec<usize> = spread(self.held_out.len(), most).collect();
        let some = self.held_out.part(&rows);
        let mut logits = classifier.logits(&some.features)?;
        if !self.learned.iter().all(|learned| *learned) {
            for row in logits.chunks_exact_mut(classifier.classes) {
                let known = row.iter().zip(&self.learned).filter(|(_, learned)| **learned);
                let least = known.map(|(logit, _)| *logit).fold(f32::INFINITY, f32::min);
                let unknown = row.iter_mut().zip(&self.learned).filter(|(_, learned)| !**learned);
                unknown.for_each(|(logit, _)| *logit = least);
            }
        }
        Ok((logits, some.labels))
    }
}

impl Turns {
    /// Cuts training and validation images of a run whose backbone stays as it is into parts, and
    /// learns without each that is needed to judge by. Copies and series are held out together.
    ///
    /// # Errors
    /// Unreadable images, [`Error::Stopped`].
    pub fn new(
        run: &Run,
        start: &Checkpoint,
        features: &Features<'_>,
        purpose: Purpose,
        flip: bool,
        job: Job<'_>,
    ) -> Result<Self> {
        let Samples { all, groups, .. } = Samples::of(run, features, flip, job)?;
        let places = places_of(&all.labels, &groups, start.classes.len());
        let needed = needed(all.len());
        let stand_ins = (purpose == Purpose::Choose)
            .then(|| StandIns::choose(&all.labels, &places, start.classes.len(), needed));
        Self::cut(run, start, &all, &places, needed, stand_ins, job)
    }

    /// Learns without each of the first parts, of samples that are held out in these places.
    fn cut(
        run: &Run,
        start: &Checkpoint,
        all: &FeatureSet,
        places: &[usize],
        needed: usize,
        stand_ins: Option<StandIns>,
        job: Job<'_>,
    ) -> Result<Self> {
        let (counts, seed) = (start.train_counts.clone(), start.seed);
        let never = stand_ins.as_ref().map_or([0, 0], |found| [found.alone(), found.chosen()]);
        let parts = (0..needed)
            .map(|number| {
                job.check()?;
                let mut part = part(all, places, number, counts.len()).of_known_classes();
                let counted_as = match &stand_ins {
                    Some(stand_ins) => stand_ins.apply(&mut part, number, seed),
                    None => part.held_out.labels.clone(),
                };
                Held::learn(part, counted_as, counts.len(), run.settings(), job)
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Self { parts, never, counts, seed })
    }

    /// Whether classes stand in for others.
    pub fn has_stand_ins(&self) -> bool {
        self.never[1] > 0
    }

    /// What was done about classes that cannot be held out, as further sentences; empty if there are
    /// none.
    pub fn of_classes_never_held_out(&self) -> String {
        let [alone, stand_ins] = self.never;
        let have = match alone {
            0 => return String::new(),
            1 => "One class has too few images or series to be held out".to_string(),
            alone => format!("{alone} classes have too few images or series to be held out"),
        };
        match stand_ins {
            0 => format!(" {have}, and had no say."),
            _ => format!(
                " {have}: {stand_ins} with more images stood in for {}, learned from one image each.",
                if alone == 1 { "it" } else { "them" }
            ),
        }
    }

    /// The parts, to tune on.
    pub fn folds(&self) -> Vec<Fold<'_>> {
        self.parts.iter().map(Held::fold).collect()
    }

    /// Judges the classifier as trained and balanced by `settings`, and keeps both with the run, beside
    /// what is known of other ways. What cannot be balanced is left out.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    fn keep(&self, run: &Run, settings: &Settings, job: Job<'_>) -> Result<()> {
        let thresholds = GroupThresholds::from(&settings.evaluation);
        let mut found = Vec::new();
        for settings in [None, Some(&settings.balance)] {
            match self.judge(settings, thresholds, job) {
                Ok(judged) => found.push(judged),
                Err(Error::Train(error)) => {
                    tracing::debug!("not judged by images held out in turn: {error}");
                }
                Err(error) => return Err(error),
            }
        }
        let known: Vec<InTurn> = run.read_result(IN_TURN).unwrap_or_default();
        let is_new = |known: &InTurn| found.iter().all(|found| found.settings != known.settings);
        let others: Vec<InTurn> = known.into_iter().filter(is_new).take(KEPT).collect();
        found.extend(others);
        run.keep_result(IN_TURN, &found, job);
        Ok(())
    }

    fn judge(
        &self,
        settings: Option<&BalanceSettings>,
        thresholds: GroupThresholds,
        job: Job<'_>,
    ) -> Result<InTurn> {
        let classes = self.counts.len();
        let most = JUDGED.min(LOGITS / classes.max(1)) / self.parts.len().max(1);
        let (mut answers, mut logits, mut labels) = (Vec::new(), Vec::new(), Vec::new());
        for held in &self.parts {
            job.check()?;
            let classifier = match settings {
                Some(settings) => held.balanced(settings, thresholds, self.seed, job)?,
                None => held.start.clone(),
            };
            answers.extend(classifier.answers(&held.held_out)?);
            let (more, of) = held.logits(&classifier, most.max(1))?;
            logits.extend(more);
            labels.extend(of);
        }
        let held_out = self.parts.iter().flat_map(|held| &held.held_out.labels);
        let mut right = vec![[0; 2]; classes];
        for (answer, &label) in answers.iter().zip(held_out) {
            right[label as usize][0] += usize::from(answer.is_right());
            right[label as usize][1] += 1;
        }
        Ok(InTurn {
            settings: settings.map(without_tuning),
            held: HeldInTurn::of(right),
            confidence: eval::confidence(&logits, &labels, classes)?,
        })
    }
}
