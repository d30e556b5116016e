//! Stage 1 where everything learns on from pretrained weights.
//!
//! The classifier begins as the one that was trained on the features as they are, and not with random weights, whose gradients would disturb the
//! backbone before they mean anything (Kumar et al., *Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution*, ICLR 2022).

use burn::tensor::Device;

use super::features::Features;
use super::frozen::{FrozenBackbone, View};
use super::train_classifier::{Fitted, fit_classifier, untrained};
use crate::data::Split;
use crate::error::Result;
use crate::job::{Job, Silent};
use crate::run::Run;
use crate::settings::{Auto, Preset, Settings, Stage1Settings, Training};
use crate::train::{self, Standardiser, put_classifier};

/// Trains everything of a run whose settings let a pretrained backbone learn on, from where it is, until so many epochs are finished.
///
/// # Errors
/// As [`train::train`]; a backbone without pretrained weights, or damaged ones.
pub(super) fn fine_tune(run: &mut Run, epochs: usize, device: &Device, job: Job<'_>) -> Result<()> {
    if !run.checkpoint_path("last").is_file() {
        begin(run, device, job)?;
    }
    train::train_until(run, epochs, device, job)?;
    if epochs < run.settings().stage1.epochs() {
        return Ok(());
    }
    ["last", "best"].into_iter().try_for_each(|name| standardise(run, name, device, job))
}

/// Writes the checkpoint that training goes on from: pretrained weights, and the classifier of their features.
fn begin(run: &mut Run, device: &Device, job: Job<'_>) -> Result<()> {
    let _lock = run.lock()?;
    let settings = of_classifier(run.settings());
    let dataset = run.dataset();
    let mut checkpoint = untrained(&settings, dataset)?;
    let features = FrozenBackbone::new(&checkpoint, device).features(dataset, &dataset.split(Split::Train), View::Plain, job)?.set;
    let Fitted { classifier, standardiser, counts, .. } =
        fit_classifier(&settings, features, dataset, None, Job::new(job.control, &Silent))?;
    checkpoint.train_counts = counts;
    checkpoint.standardiser = Some(standardiser);
    if std::env::var_os("CW_ZERO").is_none() {
    put_classifier(&mut checkpoint, &classifier);
    } else {
        for tensor in checkpoint.weights.iter_mut().filter(|tensor| crate::model::is_of_classifier(&tensor.name)) { tensor.values.fill(0.0); }
    }
    // Features will change, and their means with them.
    checkpoint.standardiser = None;
    checkpoint.save(&run.checkpoint_path("last"))
}

/// The settings of a classifier on the features that a run begins with.
fn of_classifier(settings: &Settings) -> Settings {
    let usual = Settings::preset(Preset::Auto).stage1;
    Settings { stage1: Stage1Settings { train: Auto::Value(Training::Classifier), ..usual }, ..settings.clone() }
}

/// Has the balancers of a trained checkpoint see standardised features, as those of a frozen backbone do, so that the same settings suit them. Leaves one
/// alone that is there no more or has been done.
fn standardise(run: &Run, name: &str, device: &Device, job: Job<'_>) -> Result<()> {
    let path = run.checkpoint_path(name);
    if !path.is_file() {
        return Ok(());
    }
    let mut checkpoint = run.checkpoint(name)?;
    if checkpoint.standardiser.is_some() {
        return Ok(());
    }
    let features = Features::new(run, &checkpoint, device).of(Split::Train, false, job)?;
    checkpoint.standardiser = Some(Standardiser::of(&features));
    checkpoint.save(&path)
}
