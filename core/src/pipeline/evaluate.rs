//! Evaluating a checkpoint of a run.

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::features::Features;
use super::in_turn::known_in_turn;
use super::spread::spread;
use crate::balance::Tuning;
use crate::classifier::{Classifier, FeatureSet};
use crate::error::{Result, TrainError};
use crate::eval::{self, Confidence, Evaluation, Evidence, GroupThresholds, HeldInTurn, Verdict};
use crate::job::Job;
use crate::run::{Checkpoint, Run};
use crate::settings::{BalanceSettings, EvaluationSettings};
use crate::source::Split;
use crate::train::classifier_of;

/// An evaluation with what was evaluated.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunEvaluation {
    /// Name of the checkpoint: `last`, `best` or `balanced`.
    pub checkpoint: String,
    /// How stage 1's epoch was chosen: `validation` or `last epoch`.
    pub chosen_by: String,
    /// Finished epochs of stage 1 at that checkpoint.
    pub epoch: usize,
    /// Balancers applied to the classifier.
    pub balancers: Vec<String>,
    /// The split evaluated.
    pub split: Split,
    /// Whether logits of each image and its mirror image were averaged.
    pub flip: bool,
    /// What it is worth. Missing in results of older versions; [`Run::verdict`] judges those when
    /// it reads them.
    #[serde(default)]
    pub verdict: Option<Verdict>,
    /// The numbers without those images that have an exact copy in training, where there are such:
    /// the verdict is by these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without_copies: Option<Box<Evaluation>>,
    /// How far its probabilities can be believed. Missing in results of older versions.
    #[serde(default)]
    pub confidence: Option<Confidence>,
    /// The numbers.
    #[serde(flatten)]
    pub evaluation: Evaluation,
}

impl RunEvaluation {
    /// The numbers that say what it is worth: those without exact copies of training images, where
    /// there are such.
    pub fn judged(&self) -> &Evaluation {
        self.without_copies.as_deref().unwrap_or(&self.evaluation)
    }
}

/// Samples that temperature and threshold are found on, at most; evenly spread. Their logits are
/// held all at once.
pub(super) const JUDGED: usize = 4000;
/// Logits that are held for it, at most.
pub(super) const LOGITS: usize = 1 << 24;

/// Evaluates a checkpoint on a split of the run's dataset and stores the result as
/// `results/<checkpoint>-<split>.json`.
///
/// Without a checkpoint name it is the run's final one, without a split it is test, or validation
/// where there is no test split.
///
/// # Errors
/// No such checkpoint, no images in that split, unreadable images.
pub fn evaluate(
    run: &Run,
    checkpoint: Option<&str>,
    split: Option<Split>,
    settings: &EvaluationSettings,
    device: &Device,
    job: Job<'_>,
) -> Result<RunEvaluation> {
    let name = checkpoint.unwrap_or_else(|| run.final_checkpoint());
    let checkpoint = run.checkpoint(name)?;
    let split = match split {
        Some(split) => split,
        None => reporting_split(run)?,
    };
    let before = match name {
        "balanced" => run
            .read_result::<RunEvaluation>(&result_name(
                run.stage1_checkpoint(),
                split,
                settings.flip,
            ))
            .ok(),
        _ => None,
    };
    let expected = expected_of(run, name);
    let known = Known { before: before.as_ref(), expected: expected.as_ref() };
    let what = (name, &checkpoint);
    let result = evaluate_checkpoint(run, what, split, known, settings, device, job)?;
    run.keep_result(&result_name(name, split, settings.flip), &result, job);
    Ok(result)
}

/// The name under which the evaluation of a checkpoint is stored.
pub(super) fn result_name(checkpoint: &str, split: Split, flip: bool) -> String {
    format!("{checkpoint}-{split}{}", if flip { "-flip" } else { "" })
}

/// The stored evaluation of a checkpoint, as it is after this epoch, on a split as an exported file
/// does it: without mirror images.
pub(super) fn stored_evaluation(
    run: &Run,
    (checkpoint, epoch): (&str, usize),
    split: Split,
) -> Option<RunEvaluation> {
    let stored: Option<RunEvaluation> =
        run.read_result(&result_name(checkpoint, split, false)).ok();
    // It may have been trained further since.
    stored.filter(|stored| stored.epoch == epoch)
}

/// [`stored_evaluation`]. Where a checkpoint was evaluated with mirror images alone, it is evaluated
/// without them: a file does not average, and is neither as accurate nor as sure as if it did.
///
/// # Errors
/// What evaluating it meets.
pub(super) fn evaluation_of_file(
    run: &Run,
    (name, checkpoint): (&str, &Checkpoint),
    split: Split,
    job: Job<'_>,
) -> Result<Option<RunEvaluation>> {
    let epoch = checkpoint.progress.epoch;
    if let Some(stored) = stored_evaluation(run, (name, epoch), split) {
        return Ok(Some(stored));
    }
    if run.read_result::<RunEvaluation>(&result_name(name, split, true)).is_err() {
        return Ok(None);
    }
    let settings = EvaluationSettings { flip: false, ..run.settings().evaluation.clone() };
    let before = match name {
        "balanced" => stored_evaluation(run, (run.stage1_checkpoint(), epoch), split),
        _ => None,
    };
    let what = (name, checkpoint);
    let expected = expected_of(run, name);
    let known = Known { before: before.as_ref(), expected: expected.as_ref() };
    let found = evaluate_checkpoint(run, what, split, known, &settings, &Device::flex(), job)?;
    run.keep_result(&result_name(name, split, false), &found, job);
    Ok(Some(found))
}

/// The split results are reported on: test, or validation where there is no test split.
///
/// # Errors
/// [`TrainError::Request`] if the dataset has neither.
pub(super) fn reporting_split(run: &Run) -> Result<Split> {
    [Split::Test, Split::Validation].into_iter().find(|split| !run.dataset().split(*split).is_empty()).ok_or_else(|| {
        TrainError::Request(
            "the dataset has neither a test nor a validation split to evaluate on; build it with --validation 0.1 --test 0.2".into(),
        )
        .into()
    })
}

/// What is known already of a checkpoint that is evaluated.
#[derive(Clone, Copy, Default)]
pub(super) struct Known<'a> {
    /// Of a balanced one: what it was before.
    pub before: Option<&'a RunEvaluation>,
    /// As [`expected`].
    pub expected: Option<&'a HeldInTurn>,
}

/// Evaluates a checkpoint by its name, and judges it by what is `known` of it, too.
pub(super) fn evaluate_checkpoint(
    run: &Run,
    (name, checkpoint): (&str, &Checkpoint),
    split: Split,
    known: Known<'_>,
    settings: &EvaluationSettings,
    device: &Device,
    job: Job<'_>,
) -> Result<RunEvaluation> {
    if run.dataset().split(split).is_empty() {
        return Err(TrainError::Request(format!("the dataset has no {split} split")).into());
    }
    let found = Features::new(run, checkpoint, device).with_positions(split, settings.flip, job)?;
    let copies = run.dataset().copies_in_training(&found.samples(run.dataset(), split));
    let features = found.set;
    let thresholds = GroupThresholds::from(settings);
    let classifier = classifier_of(checkpoint)?;
    let evaluate = |features: &FeatureSet| {
        classifier.evaluate(features, &checkpoint.classes, &checkpoint.train_counts, thresholds)
    };
    let evaluation = evaluate(&features)?;
    let others: Vec<usize> = (0..features.len()).filter(|&at| !copies[at]).collect();
    let unseen = match others.len() {
        0 => None,
        all if all == features.len() => None,
        _ => Some(features.part(&others)),
    };
    let without_copies = unseen.as_ref().map(evaluate).transpose()?.map(Box::new);
    let judged = without_copies.as_deref().unwrap_or(&evaluation);
    // Of an older version, which knew nothing of copies, it is of other images.
    let before =
        known.before.filter(|found| without_copies.is_none() || found.without_copies.is_some());
    let before = before.map(RunEvaluation::judged);
    let (is_drawn, is_grown) = drawn(run, split);
    let verdict = eval::verdict(&Evidence {
        history: run.history(),
        pretrained: run.settings().stage1.is_frozen(),
        before,
        copies: evaluation.samples - judged.samples,
        all_copies: others.is_empty(),
        expected: known.expected,
        is_drawn,
        is_grown,
        ..Evidence::of(judged, split)
    });
    Ok(RunEvaluation {
        checkpoint: name.to_string(),
        chosen_by: if run.checkpoint_path("best").is_file() && name != "last" {
            "validation"
        } else {
            "last epoch"
        }
        .into(),
        epoch: checkpoint.progress.epoch,
        balancers: checkpoint.balancers.clone(),
        split,
        flip: settings.flip,
        verdict: Some(verdict),
        without_copies,
        confidence: Some(confidence_of(&classifier, unseen.as_ref().unwrap_or(&features))?),
        evaluation,
    })
}

/// Whether chance drew a split from the same images as training has, or did before others were added to
/// these.
pub(super) fn drawn(run: &Run, split: Split) -> (bool, bool) {
    let provenance = &run.dataset().provenance;
    let is_drawn = provenance.drawn.contains(&split);
    let is_grown = provenance.source_hash.is_empty();
    (is_drawn && !is_grown, is_drawn && is_grown)
}

/// The settings that a run's balanced checkpoint was made with.
pub(super) fn balanced_by(run: &Run) -> Option<BalanceSettings> {
    /// The rest of the document is passed over.
    #[derive(Deserialize)]
    struct Used {
        settings: BalanceSettings,
    }
    run.read_result("balance").ok().map(|Used { settings }| settings)
}

/// [`expected`] of a checkpoint by its name.
fn expected_of(run: &Run, name: &str) -> Option<HeldInTurn> {
    match name {
        "balanced" => expected(run, Some(&balanced_by(run)?)),
        _ => expected(run, None),
    }
}

/// The balanced accuracy that a classifier on frozen features had on images that were held out in
/// turn, with its standard error: of the checkpoint as trained, or balanced by `settings`, if that is
/// known.
pub(super) fn expected(run: &Run, settings: Option<&BalanceSettings>) -> Option<HeldInTurn> {
    if !run.settings().stage1.is_frozen() {
        return None;
    }
    if let Some(known) = known_in_turn(run, settings) {
        return Some(known.held);
    }
    // Older versions kept what the search found alone.
    let tuning: Tuning = run.read_result("tune").ok()?;
    let [best, start] = tuning.errors;
    let of = |balanced_accuracy, error| HeldInTurn { balanced_accuracy, error, right: Vec::new() };
    match settings {
        None => Some(of(tuning.start_score, start)),
        Some(used) => {
            let used = BalanceSettings { tune_candidates: 0, ..used.clone() };
            (used == tuning.best).then(|| of(tuning.best_score, best))
        }
    }
}

/// How far the classifier's probabilities can be believed, on some of the samples.
fn confidence_of(classifier: &Classifier, set: &FeatureSet) -> Result<Confidence> {
    let most = JUDGED.min(LOGITS / classifier.classes.max(1)).max(1);
    let count = set.len().min(most);
    let mut features = Vec::with_capacity(count * set.dim);
    let mut labels = Vec::with_capacity(count);
    for index in spread(set.len(), most) {
        features.extend_from_slice(&set.features[index * set.dim..][..set.dim]);
        labels.push(set.labels[index]);
    }
    eval::confidence(&classifier.logits(&features)?, &labels, classifier.classes)
}
