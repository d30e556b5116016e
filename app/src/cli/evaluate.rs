//! `counterweight evaluate`: a checkpoint's numbers.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use counterweight_core::dataset::{BuildOptions, Dataset};
use counterweight_core::device::{self, DeviceChoice};
use counterweight_core::error::Reason;
use counterweight_core::eval::GroupThresholds;
use counterweight_core::job::Job;
use counterweight_core::pipeline::{self, EvaluatedOn, FileEvaluation};
use counterweight_core::run::Run;
use counterweight_core::settings::{Preset, Settings};
use counterweight_core::source::Split;

use super::foreign::ForeignOption;
use super::options::{DeviceOption, RenameOption, SetOption};
use super::source::SourceOption;
use super::{Context, tables};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The run folder, or with DATASET a classifier in an ONNX file from anywhere
    run: PathBuf,
    /// What to evaluate a file on: a dataset file, a folder, an image list, an archive of CIFAR
    #[arg(value_name = "DATASET", group = "on")]
    dataset: Option<PathBuf>,
    /// The same as DATASET
    #[arg(long, value_name = "DATASET", group = "on")]
    data: Option<PathBuf>,
    /// Every image of DATASET, whatever its split
    #[arg(long, requires = "on", conflicts_with = "split")]
    all: bool,
    /// A run to compare the file with, on the same images; its checkpoint is that of --checkpoint
    #[arg(long, value_name = "RUN", requires = "on", conflicts_with = "all")]
    beside: Option<PathBuf>,
    /// The checkpoint: last, best or balanced [default: balanced, else best, else last]
    #[arg(long, value_name = "NAME")]
    checkpoint: Option<String>,
    /// The split: train, validation or test [default: test, else validation; of a folder or list
    /// without a test split that a file did not learn from, every image]
    #[arg(long, value_name = "SPLIT")]
    split: Option<Split>,
    /// Average the logits of each image and its mirror image; of a run
    #[arg(long, conflicts_with = "on")]
    flip: bool,
    /// Also print every class
    #[arg(long)]
    classes: bool,
    #[command(flatten)]
    set: SetOption,
    #[command(flatten)]
    device: DeviceOption,
    #[command(flatten)]
    reading: SourceOption,
    #[command(flatten)]
    rename: RenameOption,
    #[command(flatten)]
    foreign: ForeignOption,
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<()> {
    if let Some(data) = arguments.dataset.as_ref().or(arguments.data.as_ref()) {
        return file(arguments, data, context);
    }
    if !arguments.reading.scan_options().is_plain() {
        bail!("a run is evaluated on its own images; how a source is read goes with DATASET");
    }
    if !arguments.foreign.is_empty() {
        bail!("a run knows its input and its classes; what a file does not say goes with DATASET");
    }
    if arguments.run.is_file() {
        bail!(
            "{} is a file; name behind it what to evaluate it on, or name a run folder",
            arguments.run.display()
        );
    }
    let run = Run::open(&arguments.run)?;
    let (device, _) = device::open(arguments.device.device)?;
    let job = Job::new(&context.control, context.console);
    if let Some(words) = run.edited_since() {
        job.warn(words);
    }
    let mut settings = run.settings().clone();
    arguments.set.apply_to_trained(&mut settings, false)?;
    settings.evaluation.flip |= arguments.flip;
    let result = pipeline::evaluate(
        &run,
        arguments.checkpoint.as_deref(),
        arguments.split,
        &settings.evaluation,
        &device,
        job,
    )?;
    let calibration = pipeline::known_calibration(&run, &result.checkpoint)?;
    context.console.result(&result, || {
        let text = tables::evaluation(&result, calibration.as_ref());
        match arguments.classes {
            true => format!("{}\n\n{text}", tables::per_class(result.judged())),
            false => text,
        }
    })
}

/// Evaluates an ONNX file.
fn file(arguments: &Arguments, data: &Path, context: &Context) -> Result<()> {
    if arguments.checkpoint.is_some() && arguments.beside.is_none() {
        bail!("a file has one network; --checkpoint goes with --beside RUN");
    }
    if !matches!(arguments.device.device, DeviceChoice::Auto | DeviceChoice::Cpu) {
        bail!("a file is run on the processor; --device is for runs");
    }
    // Before the images are looked through, which may take minutes.
    if let Err(error) = std::fs::metadata(&arguments.run) {
        bail!("{}: {}", arguments.run.display(), Reason::from(error));
    }
    let job = Job::new(&context.control, context.console);
    let mut settings = Settings::preset(Preset::Auto);
    arguments.set.apply_to_trained(&mut settings, false)?;
    let build = BuildOptions { rename: arguments.rename.names()?, ..BuildOptions::default() };
    let dataset = Dataset::open_with(data, &arguments.reading.scan_options(), &build, job)?;
    let on = match (arguments.all, arguments.split) {
        (true, _) => EvaluatedOn::All,
        (false, None) if !Dataset::is_file(data) => EvaluatedOn::Source,
        (false, split) => EvaluatedOn::Split(split),
    };
    let run = arguments.beside.as_deref().map(Run::open).transpose()?;
    let result = pipeline::evaluate_file(
        &arguments.run,
        &arguments.foreign.input()?,
        &dataset,
        on,
        run.as_ref().map(|run| (run, arguments.checkpoint.as_deref())),
        GroupThresholds::from(&settings.evaluation),
        job,
    )?;
    context.console.result(&result, || text_of(&result, arguments.classes))
}

fn text_of(result: &FileEvaluation, with_classes: bool) -> String {
    let images = result.evaluation.samples;
    let on = match result.split {
        None => format!("all {images} images"),
        Some(split) => format!("{images} {split} images"),
    };
    let mut text = String::new();
    if with_classes {
        text += &format!("{}\n\n", tables::per_class(&result.evaluation));
    }
    text += &format!("{} on {on}\n", result.file.display());
    text += &tables::numbers_of(&result.evaluation);
    if let (Some(beside), Some(other)) = (&result.beside, &result.other) {
        text += &format!("\n\n{beside} on the same images\n{}", tables::numbers_of(other));
        text += &format!("\n\n{}", tables::differences(&result.differences));
    }
    text + "\n" + &tables::and_verdict(Some(&result.verdict))
}
