//! The whole job on the built-in sample.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use serde::Serialize;

use super::balance::{BalanceReport, balance};
use super::export::{Exported, export};
use super::train::{TrainRequest, train};
use crate::dataset;
use crate::dataset::{BuildOptions, Dataset, Profile};
use crate::error::Result;
use crate::export::ExportReport;
use crate::job::Job;
use crate::run::Run;
use crate::settings::{Auto, Preset, Settings};
use crate::source;
use crate::source::{Location, ScanOptions, Split, unpack_sample};

/// What the demonstration ends with.
#[derive(Debug, Serialize)]
pub struct DemoReport {
    /// The exported model.
    pub model: PathBuf,
    /// The dataset file.
    pub dataset: PathBuf,
    /// The run folder.
    pub run: PathBuf,
    /// A test image of the rarest class, to try the model on.
    pub example: PathBuf,
    /// Training samples of each class.
    pub train_counts: Vec<usize>,
    /// Before and after balancing.
    pub balance: BalanceReport,
    /// The exported file's check.
    pub export: ExportReport,
}

/// Imbalance factor of the sample's training split, where nothing else is asked for.
pub const SAMPLE_FACTOR: f64 = 50.0;

/// Makes a long-tailed dataset of the sample, trains both stages, balances, exports and checks, all
/// under `out`. What an earlier demonstration left there is used again.
///
/// # Errors
/// Whatever the steps meet; a run in `out` that is not the demonstration's.
pub fn demo(out: &Path, device: &Device, device_name: &str, job: Job<'_>) -> Result<DemoReport> {
    let sample = unpack_sample(&out.join("sample"))?;
    let catalog = source::scan(&sample, &ScanOptions::default(), job)?;
    let options = BuildOptions {
        profile: Profile::Exponential { factor: SAMPLE_FACTOR },
        ..BuildOptions::default()
    };
    let dataset = dataset::build(&catalog, &options)?.dataset;
    let train_counts = dataset.counts(Split::Train);
    let example = example(&dataset);
    let dataset_file = out.join("dataset.toml");
    dataset.save(&dataset_file)?;
    let folder = out.join("run");
    let request = TrainRequest {
        dataset: Some(&dataset_file),
        build: BuildOptions::default(),
        scan: ScanOptions::default(),
        run: &folder,
        settings: Some(sample_settings()),
        resume: true,
    };
    train(&request, device, device_name, job)?;
    let mut run = Run::open(&folder)?;
    let settings = run.settings().clone();
    let balance = balance(&mut run, &settings, device, job)?;
    let model = out.join("model.onnx");
    let export = export(&run, Exported::default(), &model, job)?;
    Ok(DemoReport {
        model,
        dataset: dataset_file,
        run: folder,
        example,
        train_counts,
        balance,
        export,
    })
}

/// The last test image: classes are in order, the rarest last.
fn example(dataset: &Dataset) -> PathBuf {
    match dataset.split(Split::Test).last().map(|sample| &sample.location) {
        Some(Location::File(path) | Location::Record { file: path, .. }) => dataset.root.join(path),
        None => dataset.root.clone(),
    }
}

/// The quick preset for digits of 8 × 8 pixels: a mirrored digit is no longer a digit, and four
/// pixels are half of one.
pub fn sample_settings() -> Settings {
    let mut settings = Settings::preset(Preset::Quick);
    settings.stage1.epochs = Auto::Value(40);
    settings.augmentation.pad_crop = 1;
    settings.augmentation.flip = Auto::Value(false);
    settings
}
