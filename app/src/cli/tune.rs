//! `counterweight tune`: which balancer suits the validation split.

use std::path::PathBuf;

use anyhow::Result;
use counterweight_core::balance::Effort;
use counterweight_core::device;
use counterweight_core::job::Job;
use counterweight_core::pipeline;
use counterweight_core::run::Run;

use super::options::{DeviceOption, SetOption};
use super::train::quoted;
use super::{Context, tables};

/// Ways of balancing that are tried where nothing else is asked for.
const CANDIDATES: usize = 200;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The run folder
    run: PathBuf,
    /// How many ways of balancing to try [default: 200, and fewer trainings where each takes minutes]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    candidates: Option<u32>,
    #[command(flatten)]
    set: SetOption,
    #[command(flatten)]
    device: DeviceOption,
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<()> {
    context.console.stream_events();
    let run = Run::claim(&arguments.run)?;
    let mut settings = run.settings().clone();
    arguments.set.apply_to_trained(&mut settings, true)?;
    let (device, _) = device::open(arguments.device.device)?;
    let job = Job::new(&context.control, context.console);
    let effort = match arguments.candidates {
        Some(candidates) => Effort::all_of(candidates as usize),
        None => Effort::within_reason(CANDIDATES),
    };
    let tuning = pipeline::tune(&run, &settings, effort, &device, job)?;
    let run = quoted(&arguments.run);
    let next = match tuning.best.balancers.is_empty() {
        true => format!("counterweight export {run} --out model.onnx"),
        false => format!("counterweight balance {run} --tuned"),
    };
    context
        .console
        .result(&tuning, || format!("{}\n\nnext: {next}", tables::tuning(&tuning).trim_end()))
}
