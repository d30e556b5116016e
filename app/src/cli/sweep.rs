//! `counterweight sweep`: several values of a setting, one run each.

use std::path::PathBuf;

use anyhow::{Result, bail};
use counterweight_core::Error;
use counterweight_core::dataset::Dataset;
use counterweight_core::device::{self, DeviceChoice};
use counterweight_core::job::Job;
use counterweight_core::pipeline::{self, SweepRequest};
use counterweight_core::run::Sweep;
use counterweight_core::settings::{Preset, Settings};

use super::options::{BuildingOption, SeedOption, SetOption};
use super::source::SourceOption;
use super::train::quoted;
use super::{Context, tables};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A dataset file, or any source that `inspect` reads; not needed to go on with a sweep
    dataset: Option<PathBuf>,
    #[command(flatten)]
    building: BuildingOption,
    /// The setting and its values; without values, a tenth of the preset's to ten times as much
    #[arg(long, value_name = "KEY=VALUE,VALUE,…", default_value = "stage1.weight_decay")]
    over: String,
    /// The folder of the sweep, which gets a run folder for each value; one that was interrupted
    /// there goes on
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Settings to start from: auto, fine-tune, quick, paper or strong
    #[arg(long, value_name = "PRESET", default_value_t = Preset::Auto)]
    preset: Preset,
    #[command(flatten)]
    set: SetOption,
    #[command(flatten)]
    seed: SeedOption,
    /// Where to compute: auto, cpu, cuda, wgpu:1; several trains as many runs at a time, for
    /// example cuda:0,cuda:1
    #[arg(long, value_name = "DEVICE,…", value_delimiter = ',', default_value = "auto")]
    device: Vec<DeviceChoice>,
    #[command(flatten)]
    reading: SourceOption,
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<()> {
    context.console.stream_events();
    let mut settings = Settings::preset(arguments.preset);
    arguments.set.apply(&mut settings)?;
    arguments.seed.apply(&mut settings);
    let (key, values) = match arguments.over.split_once('=') {
        Some((key, values)) => (
            key.trim(),
            values
                .split(',')
                .map(|value| value.trim().to_string())
                .filter(|value| !value.is_empty())
                .collect(),
        ),
        None => (arguments.over.trim(), Vec::new()),
    };
    let devices = arguments
        .device
        .iter()
        .map(|&choice| device::open(choice).map(|(device, _)| device))
        .collect::<Result<Vec<_>, _>>()?;
    let job = Job::new(&context.control, context.console);
    // A sweep that goes on has its dataset.
    let dataset = match &arguments.dataset {
        Some(source) if !Sweep::is_sweep(&arguments.out) => {
            let (scan, build) = (arguments.reading.scan_options(), arguments.building.options()?);
            Some(Dataset::open_with(source, &scan, &build, job)?)
        }
        _ => None,
    };
    let request = SweepRequest {
        dataset,
        source: arguments.dataset.as_deref(),
        folder: &arguments.out,
        settings,
        key,
        values,
    };
    let report = match pipeline::sweep(&request, &devices, job) {
        Err(Error::Stopped) if Sweep::is_sweep(&arguments.out) => {
            bail!("stopped; the same command goes on")
        }
        other => other?,
    };
    context.console.result(&report, || {
        let next = report
            .best()
            .map(|best| format!("\n\nnext: counterweight balance {}", quoted(&best.run)))
            .unwrap_or_default();
        format!("{}{next}", tables::sweep(&report))
    })
}
