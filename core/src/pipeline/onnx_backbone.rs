//! Runs whose features come out of an ONNX file.

use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;

use crate::dataset::Dataset;
use crate::error::{Result, RunError};
use crate::job::Job;
use crate::model::{
    Backbone, CLASSIFIER_BIAS, CLASSIFIER_WEIGHT, FeatureGraph, NamedTensor, NetworkConfig,
    OnnxFile, OnnxFound,
};
use crate::run::{Checkpoint, Run, StageProgress};
use crate::settings::{BackboneChoice, ModelSettings, Settings};
use crate::source::Split;
use crate::train::Extractor;

/// What computes a checkpoint's features, and the device that images are made on for it: a graph
/// out of a file computes on the processor.
///
/// # Errors
/// [`RunError::Mismatch`] if the checkpoint's features come out of a file and its run has none; a
/// file that is another one, or cannot be run.
pub(super) fn extractor_of(
    checkpoint: &Checkpoint,
    file: Option<&Path>,
    device: &Device,
) -> Result<(Extractor, Device)> {
    match checkpoint.config.backbone {
        Backbone::Onnx(_) => {
            Ok((Extractor::of_graph(Arc::new(graph_of(checkpoint, file)?)), Device::flex()))
        }
        _ => Ok((Extractor::from_checkpoint(checkpoint, device)?, device.clone())),
    }
}

/// The graph that a checkpoint's features come out of, from its run's file.
///
/// # Errors
/// As [`extractor_of`].
pub(super) fn graph_of(checkpoint: &Checkpoint, file: Option<&Path>) -> Result<FeatureGraph> {
    let (Some(backbone), Some(file)) = (checkpoint.config.backbone.onnx(), file) else {
        let reason =
            "its features come out of an ONNX file, and the settings of its run name none".into();
        return Err(RunError::Mismatch { path: checkpoint.source.clone(), reason }.into());
    };
    OnnxFile::read(file)?.graph(backbone, checkpoint.config.input_size)
}

/// What is found in the file that these settings name.
///
/// # Errors
/// A file that features cannot be taken of.
pub(super) fn found(model: &ModelSettings) -> Result<OnnxFound> {
    OnnxFile::read(model.backbone.file().unwrap_or(Path::new("")))?.choose(model.feature_choice())
}

/// Says what is taken of the file that these settings name.
///
/// # Errors
/// A file that features cannot be taken of.
pub(super) fn tell_of_file(model: &ModelSettings, job: Job<'_>) -> Result<()> {
    let OnnxFound { graph, mean, std, source } = found(model)?;
    job.info(format!(
        "{}: {}; mean {mean:?} and standard deviation {std:?} are those of {source}",
        model.backbone.name(),
        graph.words()
    ));
    if graph.takes_one() {
        job.info("its graph takes one image at a time; what is exported will do so, too");
    }
    Ok(())
}

/// A run's settings with its own copy of the file in the place of the one that it was made of.
pub(super) fn with_own_file(run: &Run) -> Settings {
    let mut settings = run.settings().clone();
    if let Some(file) = run.backbone_file() {
        settings.model.backbone = BackboneChoice::Onnx(file);
    }
    settings
}

/// A feature extractor out of a file with a classifier that has not learned anything.
pub(super) fn untrained_on_file(
    settings: &Settings,
    dataset: &Dataset,
    found: &OnnxFound,
) -> Checkpoint {
    let (backbone, side, classes) =
        (found.graph.backbone(), found.graph.side(), dataset.classes.len());
    let tensor = |name: &str, shape: Vec<usize>| NamedTensor {
        name: name.into(),
        values: vec![0.0; shape.iter().product()],
        shape,
    };
    Checkpoint {
        source: Default::default(),
        config: NetworkConfig {
            backbone: Backbone::Onnx(backbone),
            stem: NetworkConfig::stem_for(side),
            input_size: side,
            classes,
        },
        mean: found.mean,
        std: found.std,
        fit: settings.model.fit(),
        classes: dataset.classes.clone(),
        train_counts: dataset.counts(Split::Train),
        seed: settings.seed,
        progress: StageProgress::default(),
        balancers: Vec::new(),
        weights: vec![
            tensor(CLASSIFIER_BIAS, vec![classes]),
            tensor(CLASSIFIER_WEIGHT, vec![classes, backbone.features as usize]),
        ],
        velocities: Vec::new(),
        standardiser: None,
    }
}

#[cfg(test)]
#[path = "onnx_backbone_tests.rs"]
mod tests;
