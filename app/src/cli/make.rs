//! `counterweight make`: from a folder to a checked model.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use counterweight_core::Error;
use counterweight_core::device;
use counterweight_core::job::Job;
use counterweight_core::pipeline::{self, MakeReport, MakeRequest};
use counterweight_core::settings::{Preset, Settings};

use super::export::checked;
use super::options::{BuildingOption, DeviceOption, SeedOption, SetOption};
use super::source::SourceOption;
use super::train::quoted;
use super::{Context, tables};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A folder with a subfolder for each class, or anything else that `inspect` reads
    source: PathBuf,
    #[command(flatten)]
    building: BuildingOption,
    /// The model's file
    #[arg(long, value_name = "FILE", default_value = "model.onnx")]
    out: PathBuf,
    /// The run folder [default: beside the model, named after it]
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,
    /// Settings to start from: auto, fine-tune, quick, paper or strong
    #[arg(long, value_name = "PRESET", default_value_t = Preset::Auto)]
    preset: Preset,
    #[command(flatten)]
    set: SetOption,
    #[command(flatten)]
    seed: SeedOption,
    #[command(flatten)]
    device: DeviceOption,
    #[command(flatten)]
    reading: SourceOption,
    /// Replace an earlier run and model of another source, or a model without its run
    #[arg(long)]
    force: bool,
    /// Export the classifier as it was measured, instead of having it learn once more, from the
    /// held-out images as well
    #[arg(long)]
    no_refit: bool,
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<()> {
    context.console.stream_events();
    let mut settings = Settings::preset(arguments.preset);
    arguments.set.apply(&mut settings)?;
    arguments.seed.apply(&mut settings);
    let (device, _) = device::open(arguments.device.device)?;
    let request = MakeRequest {
        source: &arguments.source,
        build: arguments.building.options()?,
        scan: arguments.reading.scan_options(),
        out: &arguments.out,
        run: arguments.run.as_deref(),
        replace: arguments.force,
        settings,
        refit: !arguments.no_refit,
    };
    let report =
        match pipeline::make(&request, &device, Job::new(&context.control, context.console)) {
            Err(Error::Stopped) => {
                bail!("stopped; nothing was changed, and the features that were computed are kept")
            }
            other => other?,
        };
    let reading = arguments.reading.typed();
    context.console.result(&report, || text(&report, &arguments.source, &reading))
}

fn text(report: &MakeReport, source: &Path, reading: &str) -> String {
    let choices: Vec<String> = report
        .choices
        .iter()
        .map(|choice| {
            format!(
                "  {}: {}\n    {}; to change it: {}",
                choice.setting, choice.value, choice.reason, choice.option
            )
        })
        .collect();
    let offer = report.offer.as_ref().map_or_else(String::new, |offer| {
        format!("\nmay do better, as said above: {}, {}\n", offer.option(), offer.estimate.words())
    });
    format!(
        "{}\n\n{}\n\nchosen for you:\n{}\n{offer}made in {:.0} s; everything is in {}\nlabels that look wrong: counterweight inspect {}{} --labels\ntry it: counterweight predict {} IMAGE",
        tables::balance(&report.balance).trim_end(),
        checked(&report.export),
        choices.join("\n"),
        report.seconds,
        report.run.display(),
        quoted(source),
        reading,
        quoted(&report.model),
    )
}
