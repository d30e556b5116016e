//! A run small enough for tests to train one each.

use std::path::{Path, PathBuf};

use burn::tensor::Device;

use super::{TrainRequest, train};
use crate::dataset;
use crate::dataset::{BuildOptions, Profile};
use crate::job::{Control, Job, Silent};
use crate::run::Run;
use crate::settings::{Auto, Preset, Settings};
use crate::source;
use crate::source::{ScanOptions, unpack_sample};

/// The dataset file of a long tail of the built-in sample, with validation and test, in `folder`,
/// and settings for two epochs on it.
pub fn digits(folder: &Path) -> (PathBuf, Settings) {
    let control = Control::new();
    let job = Job::new(&control, &Silent);
    let sample = unpack_sample(folder).unwrap();
    let catalog = source::scan(&sample, &ScanOptions::default(), job).unwrap();
    let options =
        BuildOptions { profile: Profile::Exponential { factor: 20.0 }, ..BuildOptions::default() };
    let dataset_file = folder.join("digits.toml");
    dataset::build(&catalog, &options).unwrap().dataset.save(&dataset_file).unwrap();
    let mut settings = Settings::preset(Preset::Quick);
    settings.stage1.epochs = Auto::Value(2);
    settings.augmentation.pad_crop = 1;
    settings.augmentation.flip = Auto::Value(false);
    (dataset_file, settings)
}

/// Two epochs on [`digits`] in `folder`.
pub fn trained(folder: &Path) -> Run {
    let control = Control::new();
    let (dataset_file, settings) = digits(folder);
    let run = folder.join("run");
    let request = TrainRequest {
        dataset: Some(&dataset_file),
        build: BuildOptions::default(),
        scan: ScanOptions::default(),
        run: &run,
        settings: Some(settings),
        resume: false,
    };
    train(&request, &Device::flex(), "cpu", Job::new(&control, &Silent)).unwrap();
    Run::open(&run).unwrap()
}
