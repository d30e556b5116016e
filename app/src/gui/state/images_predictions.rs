//! What the open run takes the images of the open dataset for.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use counterweight_core::Result;
use counterweight_core::dataset::Dataset;
use counterweight_core::device::{self, DeviceChoice};
use counterweight_core::job::Job;
use counterweight_core::pipeline;
use counterweight_core::run::Run;
use counterweight_core::source::{Location, Split};

/// What was predicted for one image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ImagePrediction {
    /// The class predicted: an index into the run's classes.
    pub class: usize,
    /// Its probability.
    pub probability: f32,
}

/// A run's predictions of a dataset's images. The test split has none: who relabels those test
/// images that a model gets wrong makes its result look better than it is.
#[derive(Clone, Debug)]
pub struct ImagePredictions {
    /// The run's folder.
    pub run: PathBuf,
    /// The run's classes.
    pub classes: Vec<String>,
    /// The dataset they are of.
    pub(super) dataset_revision: u64,
    samples: HashMap<u32, ImagePrediction>,
}

impl ImagePredictions {
    /// What a sample was taken for.
    pub fn of(&self, sample: u32) -> Option<ImagePrediction> {
        self.samples.get(&sample).copied()
    }

    /// The class that a sample was taken for.
    pub fn class(&self, sample: u32) -> Option<&str> {
        self.of(sample).map(|found| self.classes[found.class].as_str())
    }

    /// Whether a sample was taken for another class than this one.
    pub fn is_wrong(&self, sample: u32, class: &str) -> bool {
        self.class(sample).is_some_and(|predicted| predicted != class)
    }

    /// How many images have one.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether no image has one.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }
}

/// Predicts the training and validation images of a run that the dataset has, too.
pub(super) fn predict(
    folder: &Path,
    base: &Arc<Dataset>,
    dataset_revision: u64,
    choice: DeviceChoice,
    job: Job<'_>,
) -> Result<ImagePredictions> {
    let run = Run::open(folder)?;
    let (device, _) = device::open(choice)?;
    let places: HashMap<&Location, u32> =
        base.samples.iter().enumerate().map(|(at, sample)| (&sample.location, at as u32)).collect();
    let mut samples = HashMap::new();
    let flip = run.settings().evaluation.flip;
    for split in [Split::Train, Split::Validation] {
        if run.dataset().split(split).is_empty() {
            continue;
        }
        let found = pipeline::predictions(&run, None, split, flip, &device, job)?;
        samples.extend(found.samples.iter().filter_map(|sample| {
            let place = *places.get(&sample.location)?;
            // The run may have been made of another split of the same images.
            let is_test = base.samples[place as usize].split == Split::Test;
            let own = ImagePrediction { class: sample.predicted, probability: sample.probability };
            (!is_test).then_some((place, own))
        }));
    }
    Ok(ImagePredictions {
        run: folder.to_path_buf(),
        classes: run.dataset().classes.clone(),
        dataset_revision,
        samples,
    })
}
