//! `counterweight train`: stage 1.

use std::path::PathBuf;

use anyhow::{Result, bail};
use counterweight_core::Error;
use counterweight_core::device;
use counterweight_core::job::Job;
use counterweight_core::pipeline::{self, TrainRequest};
use counterweight_core::run::Run;
use counterweight_core::settings::{Preset, Settings};

use super::options::{BuildingOption, DeviceOption, SeedOption, SetOption};
use super::source::SourceOption;
use super::{Context, tables};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A dataset file made by `build`, or any source; not needed with --resume once the run exists
    dataset: Option<PathBuf>,
    #[command(flatten)]
    building: BuildingOption,
    /// The run folder, made if it does not exist
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    /// Settings to start from: auto, fine-tune, quick, paper or strong [default: auto]
    #[arg(long, value_name = "PRESET", conflicts_with = "settings")]
    preset: Option<Preset>,
    /// A settings file to start from, such as another run's settings.toml
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    #[command(flatten)]
    set: SetOption,
    #[command(flatten)]
    seed: SeedOption,
    #[command(flatten)]
    device: DeviceOption,
    #[command(flatten)]
    reading: SourceOption,
    /// Go on where the run was interrupted
    #[arg(long)]
    resume: bool,
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<()> {
    context.console.stream_events();
    let asked_for_settings =
        arguments.preset.is_some() || arguments.settings.is_some() || !arguments.set.set.is_empty();
    // A run that exists brings its own settings; new ones are only made for a new run, or to be
    // compared with those.
    let exists = Run::is_run(&arguments.run);
    let settings = match asked_for_settings || !exists {
        true => Some(settings(arguments, exists)?),
        false => None,
    };
    let (device, name) = device::open(arguments.device.device)?;
    let request = TrainRequest {
        dataset: arguments.dataset.as_deref(),
        build: arguments.building.options()?,
        scan: arguments.reading.scan_options(),
        run: &arguments.run,
        settings,
        resume: arguments.resume,
    };
    let report = match pipeline::train(
        &request,
        &device,
        &name,
        Job::new(&context.control, context.console),
    ) {
        Err(Error::Stopped) if Run::is_run(&arguments.run) => {
            bail!(
                "stopped, nothing is lost; go on with: counterweight train --run {} --resume",
                quoted(&arguments.run)
            )
        }
        other => other?,
    };
    context.console.result(&report, || match &report.evaluation {
        Some(evaluation) => {
            format!(
                "{}\n\nnext: counterweight balance {}",
                tables::evaluation(evaluation, None).trim_end(),
                quoted(&arguments.run)
            )
        }
        None => format!("trained {}", arguments.run.display()),
    })
}

fn settings(arguments: &Arguments, exists: bool) -> Result<Settings> {
    let mut settings = match (&arguments.settings, arguments.preset) {
        (Some(file), _) => Settings::load(file)?,
        (None, None) if exists => Run::open(&arguments.run)?.settings().clone(),
        (None, preset) => Settings::preset(preset.unwrap_or(Preset::Auto)),
    };
    arguments.set.apply(&mut settings)?;
    arguments.seed.apply(&mut settings);
    Ok(settings)
}

/// A path as it can be pasted into a shell.
pub fn quoted(path: &std::path::Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| {
        c.is_alphanumeric() || "/._-+".contains(c) || (cfg!(windows) && "\\:".contains(c))
    };
    match (text.chars().all(plain), cfg!(windows)) {
        (true, _) => text,
        (false, true) => format!("\"{text}\""),
        (false, false) => format!("'{}'", text.replace('\'', r"'\''")),
    }
}
