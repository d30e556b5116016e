//! A finished run with more images or classes: only features of new images are computed, and only
//! the classifier learns and is balanced again.

use std::path::Path;

use burn::tensor::Device;
use serde::Serialize;

use super::balance::balance;
use super::evaluate::{RunEvaluation, evaluate, reporting_split};
use super::frozen::{FrozenBackbone, View};
use super::halves::teaching;
use super::in_turn::{gain, known_in_turn};
use super::onnx_backbone::with_own_file;
use super::refit::REFIT;
use super::train::{evaluate_stage1, finish};
use super::train_classifier::{Fitted, fit_classifier};
use super::workshop::Workshop;
use crate::dataset::{Dataset, Grown};
use crate::error::{Error, Result, TrainError};
use crate::eval::HeldInTurn;
use crate::export::Refit;
use crate::job::Job;
use crate::run::{Checkpoint, Place, Run, StageProgress};
use crate::source::{Catalog, Split};
use crate::train::put_classifier;

/// What became of a class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GrownClass {
    /// The class.
    pub class: String,
    /// Whether the run did not have it before.
    pub is_new: bool,
    /// Training images before and after.
    pub train_counts: [usize; 2],
    /// Images that both are judged on: those that the run had, or all of a new class, held out in turn,
    /// where [`GrowReport::in_turn`] is there; else those of the split.
    pub images: usize,
    /// Share of them that is classified correctly before and after, in 0..1; nothing where there is
    /// no image or the class was not there, or nothing was learned of it.
    pub accuracy: [Option<f64>; 2],
}

/// What growing a run came to.
#[derive(Clone, Debug, Serialize)]
pub struct GrowReport {
    /// The new run.
    pub run: String,
    /// Training images that were added.
    pub added: usize,
    /// Images that were not: the dataset has them already.
    pub known: usize,
    /// The split that both runs are judged on, if there is one.
    pub split: Option<Split>,
    /// The final checkpoints of both on it.
    pub evaluations: Option<[RunEvaluation; 2]>,
    /// Training and validation images that the run had, held out in turn: what is recognised of them by
    /// what was learned without the new images, and with them, of classes that both have learned. Of
    /// rare classes these are many more than a split has.
    pub in_turn: Option<[HeldInTurn; 2]>,
    /// Every class.
    pub classes: Vec<GrownClass>,
}

/// Makes a new run in `folder` of a finished one with the images of `sources` that its dataset does
/// not have as more training images, balances it as the old one, and judges both on the images that
/// were held out from the first. The backbone stays what it is, also where it was trained: its
/// classifier learns again on its features.
///
/// # Errors
/// A run without a trained checkpoint, or with a folder that is taken; no new image; as
/// [`crate::dataset::Dataset::grown`], [`super::train`] and [`super::balance`].
pub fn grow(
    old: &Run,
    sources: &[Catalog],
    folder: &Path,
    device: &Device,
    job: Job<'_>,
) -> Result<GrowReport> {
    // It appears when it is finished: half of it would be in the way of whoever asks again.
    let place = Place::hold_free(folder)?;
    let trained = old.checkpoint(old.stage1_checkpoint())?;
    if let Some(words) = old.edited_since() {
        job.warn(words);
    }
    let Grown { dataset, added, known, otherwise, held_out, of_held_out_series } =
        old.dataset().grown(sources, job)?;
    if otherwise > 0 {
        job.warn(format!(
            "{otherwise} images have another class there than they have in the run already, and keep that; `counterweight edit` moves images to other classes, for a run that is made anew"
        ));
    }
    if of_held_out_series > 0 {
        job.warn(format!(
            "{of_held_out_series} new images belong to series that the run holds out and are left out: learning from them would flatter its results"
        ));
    }
    let total: usize = added.iter().sum();
    if total == 0 {
        let reason = match (known, held_out, of_held_out_series) {
            (0, 0, 0) => "there is no image to add".to_string(),
            (known, 0, 0) => format!("the run's dataset has all {known} images already"),
            (_, 0, _) => format!(
                "the run's dataset has {known} of the images already, and {of_held_out_series} belong to series that it holds out"
            ),
            _ => format!(
                "the run's dataset has {known} of the images already, and {held_out} lie in folders for validation or test, which are not trained on"
            ),
        };
        return Err(TrainError::Request(reason).into());
    }
    if held_out > 0 {
        job.warn(format!(
            "{held_out} new images lie in folders for validation or test and are left out: a run's held-out images stay what they are"
        ));
    }
    let mut settings = with_own_file(old);
    let balanced = old.read_result::<super::BalanceReport>("balance").ok();
    if let Some(balanced) = &balanced {
        // What was found by tuning is kept; the same would be found again, or luck would.
        settings.balance = balanced.settings.clone();
        settings.balance.tune_candidates = 0;
    }
    let workshop = Workshop::beside(place, folder)?;
    let mut run = Run::create(workshop.folder(), settings.clone(), dataset)?;
    if settings.stage1.is_frozen() {
        finish(&mut run, device, job)?;
    } else {
        learn_again(&run, trained, device, job)?;
        evaluate_stage1(&run, device, job)?;
    }
    if balanced.is_some() {
        balance(&mut run, &settings, device, job)?;
    }
    if let Ok(refit) = old.read_result::<Refit>(REFIT) {
        run.keep_result(REFIT, &refit, job);
    }
    let split = reporting_split(&run).ok();
    let evaluations = match split {
        Some(split) => {
            let of = |run: &Run| {
                let settings = &run.settings().evaluation;
                evaluate(run, None, Some(split), settings, device, job)
            };
            Some([of(old)?, of(&run)?])
        }
        None => None,
    };
    let counts = [old.dataset().counts(Split::Train), run.dataset().counts(Split::Train)];
    let gained = gain_in_turn(&run, old.dataset(), balanced.is_some(), device, job)?;
    let balanced_by = balanced.is_some().then_some(&run.settings().balance);
    let whole = known_in_turn(&run, balanced_by).map(|found| found.held);
    // Images, and the share that is right.
    let judged = |at: usize, class: usize| -> Option<(usize, f64)> {
        let Some(gained) = &gained else {
            let found = evaluations.as_ref()?[at].judged().per_class.get(class)?;
            return Some((found.samples, found.accuracy?));
        };
        // Of a new class the run had no image.
        let of_new = || whole.as_ref().filter(|_| at == 1)?.right.get(class);
        let held = gained[at].right.get(class).filter(|[_, all]| *all > 0).or_else(of_new)?;
        let [right, all] = *held;
        (all > 0).then(|| (all, right as f64 / all as f64))
    };
    let classes = run.dataset().classes.iter().enumerate();
    let classes = classes.map(|(class, name)| {
        let results = [0, 1].map(|at| judged(at, class));
        GrownClass {
            class: name.clone(),
            is_new: class >= old.dataset().classes.len(),
            train_counts: [counts[0].get(class).copied().unwrap_or_default(), counts[1][class]],
            images: results[1].map_or(0, |(images, _)| images),
            accuracy: results.map(|found| found.map(|(_, share)| share)),
        }
    });
    let classes = classes.collect();
    let in_turn = gained.map(|[before, after]| {
        let both = before.right.iter().zip(&after.right);
        let (before, after) = both.filter(|([_, was], [_, is])| was.min(is) > &0).unzip();
        [HeldInTurn::of(before), HeldInTurn::of(after)]
    });
    drop(run);
    Ok(GrowReport {
        run: workshop.put(job).display().to_string(),
        added: total,
        known,
        split,
        classes,
        evaluations,
        in_turn,
    })
}

/// What the new images bring those that the dataset had `before`. It is no part of the run: where it
/// fails that is said.
fn gain_in_turn(
    run: &Run,
    before: &Dataset,
    is_balanced: bool,
    device: &Device,
    job: Job<'_>,
) -> Result<Option<[HeldInTurn; 2]>> {
    let found = run.checkpoint(run.stage1_checkpoint()).and_then(|start| {
        let settings = is_balanced.then_some(&run.settings().balance);
        gain(run, &start, before, settings, device, job)
    });
    match found {
        Err(Error::Stopped) => Err(Error::Stopped),
        Err(error) => {
            job.warn(format!("what the new images bring the others cannot be told: {error}"));
            Ok(None)
        }
        found => found,
    }
}

/// The checkpoint `last` of a run whose backbone was trained before: its classifier is learned on
/// the features of all training images.
fn learn_again(run: &Run, trained: Checkpoint, device: &Device, job: Job<'_>) -> Result<()> {
    let _lock = run.lock()?;
    let dataset = run.dataset();
    let samples = dataset.split(Split::Train);
    let found =
        FrozenBackbone::new(&trained, device).features(dataset, &samples, View::Plain, job)?;
    let settings = teaching(run.settings().seed, run.settings().model.fit());
    let Fitted { classifier, standardiser, counts, .. } =
        fit_classifier(&settings, found.set, dataset, None, job)?;
    let mut checkpoint = trained;
    checkpoint.config.classes = dataset.classes.len();
    checkpoint.classes = dataset.classes.clone();
    checkpoint.train_counts = counts;
    checkpoint.standardiser = Some(standardiser);
    checkpoint.balancers = Vec::new();
    checkpoint.velocities = Vec::new();
    checkpoint.progress =
        StageProgress { epoch: run.settings().stage1.epochs(), ..StageProgress::default() };
    put_classifier(&mut checkpoint, &classifier);
    checkpoint.save(&run.checkpoint_path("last"))
}
