//! A finished run with more images or classes: only features of new images are computed, and only
//! the classifier learns and is balanced again.

use std::path::Path;

use burn::tensor::Device;
use serde::Serialize;

use super::balance::balance;
use super::evaluate::{RunEvaluation, evaluate, reporting_split};
use super::frozen::{FrozenBackbone, View};
use super::halves::teaching;
use super::onnx_backbone::with_own_file;
use super::refit::REFIT;
use super::train::{evaluate_stage1, finish};
use super::train_classifier::{Fitted, fit_classifier};
use super::workshop::Workshop;
use crate::dataset::Grown;
use crate::error::{Result, TrainError};
use crate::eval::ClassResult;
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
    /// Images of the split that both are judged on.
    pub images: usize,
    /// Share of them that is classified correctly before and after, in 0..1; nothing where there is
    /// no image or the class was not there.
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
    let results = |at: usize, class: usize| -> Option<&ClassResult> {
        evaluations.as_ref()?[at].judged().per_class.get(class)
    };
    let classes = run.dataset().classes.iter().enumerate();
    let classes = classes.map(|(class, name)| {
        let is_new = class >= old.dataset().classes.len();
        let after = results(1, class);
        GrownClass {
            class: name.clone(),
            is_new,
            train_counts: [counts[0].get(class).copied().unwrap_or_default(), counts[1][class]],
            images: after.map_or(0, |class| class.samples),
            accuracy: [
                results(0, class).and_then(|class| class.accuracy),
                after.and_then(|class| class.accuracy),
            ],
        }
    });
    let classes = classes.collect();
    drop(run);
    Ok(GrowReport {
        run: workshop.put(job).display().to_string(),
        added: total,
        known,
        split,
        classes,
        evaluations,
    })
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
