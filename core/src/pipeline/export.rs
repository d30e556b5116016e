//! Exporting a checkpoint of a run.

use std::path::Path;

use burn::tensor::Device;

use super::evaluate::{reporting_split, stored_evaluation};
use super::export_facts::says;
use super::onnx_backbone::graph_of;
use super::spread::spread;
use crate::batches::{DEFAULT_BUDGET, Images};
use crate::dataset::{Dataset, DatasetSample};
use crate::error::Result;
use crate::eval::Verdict;
use crate::export::{self, ExportReport, ExportSource, ExportTarget, JoinedSource, Onnx};
use crate::job::Job;
use crate::model::OnnxFile;
use crate::run::Run;
use crate::source::Split;
use crate::train::{classifier_in_file, network_of};

/// Real images the exported file is checked on: one by itself, and a batch.
const CHECKED: usize = 33;

/// Exports a checkpoint of a run (its final one without a name) as ONNX, checks the file on images
/// of the run's dataset, and stores the outcome as the result `export`.
///
/// # Errors
/// No such checkpoint, no readable image to check on, and whatever [`export::export`] meets.
pub fn export(
    run: &Run,
    checkpoint: Option<&str>,
    path: &Path,
    job: Job<'_>,
) -> Result<ExportReport> {
    export_as(run, checkpoint, &Onnx::BOTH, path, job)
}

/// [`export()`] in the form of `target`.
///
/// # Errors
/// As there.
pub fn export_as(
    run: &Run,
    checkpoint: Option<&str>,
    target: &dyn ExportTarget,
    path: &Path,
    job: Job<'_>,
) -> Result<ExportReport> {
    let name = checkpoint.unwrap_or_else(|| run.final_checkpoint());
    let checkpoint = run.checkpoint(name)?;
    let split = reporting_split(run).unwrap_or(Split::Train);
    let images = Images::open(
        &some_of(run.dataset(), split),
        Split::Test,
        checkpoint.config.input_size,
        DEFAULT_BUDGET,
        job,
    )?;
    let size = 3 * checkpoint.config.input_size.pow(2);
    let mut checks = Vec::with_capacity(CHECKED);
    for batch in images.eval_batches(CHECKED, false) {
        checks.extend(batch?.images.chunks_exact(size).map(<[u8]>::to_vec));
    }
    images.warn_of_problems(job);
    let evaluation = stored_evaluation(run, name, split);
    let verdict = run.verdict_on(name, split).or_else(|| run.verdict(name));
    let says = says(run, &checkpoint, name, evaluation.as_ref(), verdict.as_ref());
    let settings = run.settings();
    if let Some(file) = run.backbone_file() {
        let graph = graph_of(&checkpoint, Some(&file))?;
        if graph.takes_one() {
            job.info(
                "the file takes one image at a time, as the one does that its features come out of",
            );
        }
        let source = JoinedSource {
            file: &OnnxFile::read(&file)?,
            graph,
            classifier: classifier_in_file(&checkpoint)?,
            name: settings.model.backbone.name(),
            config: checkpoint.config,
            mean: checkpoint.mean,
            std: checkpoint.std,
            classes: checkpoint.classes,
            says,
        };
        let report = export::export(&source, target, path, &checks, job)?;
        return finish(run, name, verdict, report);
    }
    let source = ExportSource {
        network: network_of(&checkpoint, &Device::flex())?,
        config: checkpoint.config,
        mean: checkpoint.mean,
        std: checkpoint.std,
        classes: checkpoint.classes,
        says,
    };
    let report = export::export(&source, target, path, &checks, job)?;
    finish(run, name, verdict, report)
}

/// Stores the outcome with what the checkpoint is worth.
fn finish(
    run: &Run,
    name: &str,
    verdict: Option<Verdict>,
    mut report: ExportReport,
) -> Result<ExportReport> {
    (report.checkpoint, report.verdict) = (name.to_string(), verdict);
    run.write_result("export", &report)?;
    Ok(report)
}

/// The dataset with only [`CHECKED`] samples of `split`, spread evenly so that many classes are
/// among them. They stand as test samples, of which no class needs any.
fn some_of(dataset: &Dataset, split: Split) -> Dataset {
    let samples = dataset.split(split);
    let chosen = spread(samples.len(), CHECKED)
        .map(|index| DatasetSample { split: Split::Test, ..samples[index].clone() })
        .collect();
    Dataset { samples: chosen, ..dataset.clone() }
}
