//! Stage 1 where everything learns on from pretrained weights.
//!
//! The classifier begins at zero: random weights would disturb the backbone before their gradients
//! mean anything, and one that was trained on its features first knows the training images so well
//! that next to nothing is left to learn from (on a thousand photos, 98 % of them after the first
//! epoch).

use burn::tensor::Device;

use super::features::Features;
use super::train_classifier::untrained;
use crate::classifier::Standardiser;
use crate::error::Result;
use crate::job::Job;
use crate::model::is_of_classifier;
use crate::run::Run;
use crate::source::Split;
use crate::train::{self};

/// Trains everything of a run whose settings let a pretrained backbone learn on, from where it is,
/// until so many epochs are finished.
///
/// # Errors
/// As [`train::train`]; a backbone without pretrained weights, or damaged ones.
pub(super) fn fine_tune(run: &mut Run, epochs: usize, device: &Device, job: Job<'_>) -> Result<()> {
    if !run.checkpoint_path("last").is_file() {
        begin(run)?;
    }
    train::train_until(run, epochs, device, job)?;
    if epochs < run.settings().stage1.epochs() {
        return Ok(());
    }
    ["last", "best"].into_iter().try_for_each(|name| standardise(run, name, device, job))
}

/// Writes the checkpoint that training goes on from: pretrained weights, and a classifier that
/// prefers no class.
fn begin(run: &mut Run) -> Result<()> {
    let _lock = run.lock()?;
    let mut checkpoint = untrained(run.settings(), run.dataset())?;
    checkpoint
        .weights
        .iter_mut()
        .filter(|tensor| is_of_classifier(&tensor.name))
        .for_each(|tensor| tensor.values.fill(0.0));
    checkpoint.save(&run.checkpoint_path("last"))
}

/// Has the balancers of a trained checkpoint see standardised features, as those of a frozen
/// backbone do, so that the same settings suit them. Leaves one alone that is there no more or has
/// been done.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Dataset;
    use crate::job::{Control, Event, Silent};
    use crate::pipeline::test_run::digits;
    use crate::pipeline::{balance, train::new_run};
    use crate::settings::{Auto, Preset, Settings};

    #[test]
    fn everything_learns_on_and_an_interrupted_run_ends_with_the_same_weights() {
        let folder = tempfile::tempdir().unwrap();
        let (dataset_file, _) = digits(folder.path());
        let dataset = Dataset::load(&dataset_file).unwrap();
        let mut settings = Settings::preset(Preset::FineTune);
        settings.model.input_size = Auto::Value(32);
        settings.stage1.epochs = Auto::Value(2);
        settings.augmentation.pad_crop = 2;
        settings.augmentation.flip = Auto::Value(false);
        let device = Device::flex();
        let quiet = Control::new();
        let run_in = |name: &str| {
            new_run(
                &folder.path().join(name),
                settings.clone(),
                dataset.clone(),
                &device,
                Job::new(&quiet, &Silent),
            )
            .unwrap()
        };

        let mut whole = run_in("whole");
        fine_tune(&mut whole, usize::MAX, &device, Job::new(&quiet, &Silent)).unwrap();
        let start = untrained(&settings, &dataset).unwrap();
        let end = whole.checkpoint("last").unwrap();
        let of = |weights: &[crate::model::NamedTensor], name: &str| {
            weights.iter().find(|tensor| tensor.name == name).unwrap().values.clone()
        };
        for name in ["conv_stem.weight", "blocks.5.depthwise_conv.weight", "bn1.weight"] {
            assert_ne!(of(&start.weights, name), of(&end.weights, name), "{name} learns");
        }
        // The preset leaves the statistics as they were.
        assert_eq!(of(&start.weights, "bn0.running_mean"), of(&end.weights, "bn0.running_mean"));
        let losses: Vec<f64> = whole.history().iter().map(|epoch| epoch.train_loss).collect();
        assert!(losses[1] < losses[0], "{losses:?}");

        let mut broken = run_in("broken");
        let control = Control::new();
        let stop = |event: Event| {
            if let Event::Epoch(_) = event {
                control.stop();
            }
        };
        assert!(matches!(
            fine_tune(&mut broken, usize::MAX, &device, Job::new(&control, &stop)),
            Err(crate::Error::Stopped)
        ));
        fine_tune(&mut broken, usize::MAX, &device, Job::new(&quiet, &Silent)).unwrap();
        assert_eq!(broken.checkpoint("last").unwrap().weights, end.weights);

        // Balancers see standardised features, and leave the backbone alone.
        assert!(end.standardiser.is_some());
        let balanced = balance(&mut whole, &settings, &device, Job::new(&quiet, &Silent)).unwrap();
        assert!(!balanced.settings.balancers.is_empty());
        let after = whole.checkpoint("balanced").unwrap();
        assert_eq!(of(&end.weights, "conv_head.weight"), of(&after.weights, "conv_head.weight"));
    }
}
