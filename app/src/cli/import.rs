//! `counterweight import`: a run of a network that somebody else trained.

use std::path::PathBuf;

use anyhow::Result;
use counterweight_core::device;
use counterweight_core::job::Job;
use counterweight_core::model::Backbone;
use counterweight_core::pipeline::{self, ImportRequest};
use counterweight_core::settings::{Preset, Settings};

use super::options::{DeviceOption, SetOption};
use super::source::SourceOption;
use super::train::quoted;
use super::{Context, tables};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A file of weights, classifier included: PyTorch's (.pth, .pt or without an ending) or
    /// safetensors; nothing in it is executed
    file: PathBuf,
    /// A dataset file made by `build`, or any source, with the classes that the network knows, in
    /// its order
    #[arg(long, value_name = "DATASET")]
    dataset: PathBuf,
    /// The run folder, made if it does not exist
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    /// The network [default: the one whose tensors the file has]
    #[arg(long, value_name = "NAME")]
    backbone: Option<Backbone>,
    /// Settings to start from. The paper's have the input normalised as its authors do it; --set
    /// model.normalisation=imagenet changes that
    #[arg(long, value_name = "PRESET", default_value_t = Preset::Paper)]
    preset: Preset,
    #[command(flatten)]
    set: SetOption,
    #[command(flatten)]
    device: DeviceOption,
    #[command(flatten)]
    reading: SourceOption,
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<()> {
    context.console.stream_events();
    let mut settings = Settings::preset(arguments.preset);
    arguments.set.apply(&mut settings)?;
    let (device, _) = device::open(arguments.device.device)?;
    let Arguments { file, dataset, run, backbone, .. } = arguments;
    let request = ImportRequest {
        file,
        backbone: *backbone,
        dataset,
        scan: arguments.reading.scan_options(),
        run,
        settings,
    };
    let report = pipeline::import(&request, &device, Job::new(&context.control, context.console))?;
    context.console.result(&report, || {
        let evaluation = report.evaluation.as_ref().map_or_else(
            || format!("imported into {}", run.display()),
            |found| tables::evaluation(found, None),
        );
        format!("{}\n\nnext: counterweight balance {}", evaluation.trim_end(), quoted(run))
    })
}
