//! A run made of a network that somebody else trained, classifier and all.

use std::path::Path;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::evaluate::RunEvaluation;
use super::train::evaluate_stage1;
use super::workshop::Workshop;
use crate::dataset::{BuildOptions, Dataset};
use crate::error::{Result, TrainError};
use crate::job::Job;
use crate::model::{Backbone, Fit, NetworkConfig, WeightsFile};
use crate::run::{Checkpoint, Place, Run, StageProgress};
use crate::settings::{Auto, Settings, Training};
use crate::source::{ScanOptions, Split};
use crate::train::choose_input;

/// What to make a run of, and where.
#[derive(Clone, Debug)]
pub struct ImportRequest<'a> {
    /// The file of weights: PyTorch's or safetensors.
    pub file: &'a Path,
    /// The network it is of; without one, the backbone whose tensors the file has.
    pub backbone: Option<Backbone>,
    /// A dataset file or any source, with the classes that the network knows, in its order.
    pub dataset: &'a Path,
    /// How the source is read, where it is no dataset file.
    pub scan: ScanOptions,
    /// The run folder.
    pub run: &'a Path,
    /// The settings of the run. Backbone and stem are the file's; the input's normalisation has to
    /// be the one that the network was trained with.
    pub settings: Settings,
}

/// What was taken of a file. Kept with the run as the result [`IMPORTED`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Imported {
    /// The file.
    pub file: String,
    /// Its SHA-256, hexadecimal.
    pub sha256: String,
    /// What stands before the backbone's names in it.
    pub prefix: String,
    /// Number of tensors that were taken, without the classifier's.
    pub taken: usize,
}

/// What importing ended with.
#[derive(Clone, Debug, Serialize)]
pub struct ImportReport {
    /// The run folder.
    pub run: String,
    /// What was taken.
    pub imported: Imported,
    /// The evaluation of the network, where there is a split to evaluate on.
    #[serde(flatten)]
    pub evaluation: Option<RunEvaluation>,
}

/// The result that holds what a run was imported from.
pub const IMPORTED: &str = "imported";

/// Makes a run whose stage 1 is over, with the network of a file as its checkpoint `last`, and
/// evaluates it. It can be balanced and exported as any other.
///
/// # Errors
/// A file that cannot be read or does not fit ([`crate::error::WeightsError`]), a classifier of
/// another number of classes, settings that do not say how the input is normalised, a run that
/// exists; images that cannot be read.
pub fn import(request: &ImportRequest<'_>, device: &Device, job: Job<'_>) -> Result<ImportReport> {
    // It appears when it is whole: half of it would be in the way of whoever asks again.
    let place = Place::hold_free(request.run)?;
    let mut settings = request.settings.clone();
    let Some((mean, std)) = settings.model.normalisation.numbers() else {
        let reason = "model.normalisation has to be what the network was trained with: cifar, imagenet, or mean and standard deviation";
        return Err(TrainError::Request(reason.into()).into());
    };
    let file = WeightsFile::open(request.file)?;
    let fit = Fit::of(&file, request.backbone)?;
    job.info(format!("{}, and the classifier behind them", fit.taken_words()));
    let dataset =
        Dataset::open_with(request.dataset, &request.scan, &BuildOptions::default(), job)?;
    let classifier = fit.read_classifier(&file, dataset.classes.len())?;
    settings.model.backbone = fit.backbone.into();
    settings.stage1.train = Auto::Value(Training::Scratch);
    settings.model.stem = fit.stem.map_or(settings.model.stem, Auto::Value);
    let side = choose_input(&settings, &dataset, job)?;
    settings.model.input_size = Auto::Value(side);
    if settings.model.fit == Auto::AUTO {
        // What was trained elsewhere cannot be asked.
        settings.model.fit = Auto::Value(settings.model.fit());
        job.info("model.fit: crop, as is usual; --set model.fit=stretch if it was trained on whole images, squeezed");
    }
    settings.validate()?;
    let stem = fit.stem.unwrap_or_else(|| NetworkConfig::stem_for(side));
    let mut weights = fit.read(&file)?;
    weights.extend(classifier);
    let workshop = Workshop::beside(place, request.run)?;
    let run = Run::create(workshop.folder(), settings, dataset)?;
    let lock = run.lock()?;
    let settings = run.settings();
    let checkpoint = Checkpoint {
        source: Default::default(),
        config: NetworkConfig {
            backbone: fit.backbone,
            stem,
            input_size: side,
            classes: run.dataset().classes.len(),
        },
        mean,
        std,
        fit: settings.model.fit(),
        classes: run.dataset().classes.clone(),
        train_counts: run.dataset().counts(Split::Train),
        seed: settings.seed,
        // Training is over, so nothing goes on with it.
        progress: StageProgress { epoch: settings.stage1.epochs(), ..StageProgress::default() },
        balancers: Vec::new(),
        weights,
        velocities: Vec::new(),
        standardiser: None,
    };
    let imported = Imported {
        file: request.file.display().to_string(),
        sha256: file.sha256().to_string(),
        prefix: fit.prefix.clone(),
        taken: fit.taken,
    };
    run.write_result(IMPORTED, &imported)?;
    checkpoint.save(&run.checkpoint_path("last"))?;
    drop(file);
    let classes = &run.dataset().classes;
    job.info(format!(
        "the classifier's classes are taken to be the dataset's, in its order, from {} to {}",
        classes[0],
        classes[classes.len() - 1]
    ));
    let evaluation = evaluate_stage1(&run, device, job)?;
    drop((lock, run));
    Ok(ImportReport { run: workshop.put(job).display().to_string(), imported, evaluation })
}
