//! `counterweight balance`: stage 2 and the post-hoc balancers.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use counterweight_core::device;
use counterweight_core::job::Job;
use counterweight_core::pipeline;
use counterweight_core::run::Run;

use super::options::{DeviceOption, SetOption};
use super::train::quoted;
use super::{Context, tables};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The run folder
    run: PathBuf,
    /// What to apply, together: stage2, weight-decay, max-norm, l2, tau, multiplicative-adjustment,
    /// logit-adjustment, or none to keep the classifier as trained; may be given several times
    /// [default: the run's setting balance.balancers]
    #[arg(long = "balancer", value_name = "NAME", value_delimiter = ',')]
    balancers: Vec<String>,
    /// Use what `tune` chose
    #[arg(long, conflicts_with = "balancers")]
    tuned: bool,
    #[command(flatten)]
    set: SetOption,
    #[command(flatten)]
    device: DeviceOption,
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<()> {
    context.console.stream_events();
    let mut run = Run::claim(&arguments.run)?;
    let mut settings = run.settings().clone();
    if arguments.tuned {
        settings.balance = run
            .read_result("tuned")
            .context("there is nothing tuned yet; run `counterweight tune` first")?;
    }
    if arguments.balancers == ["none"] {
        settings.balance.balancers.clear();
        settings.balance.tune_candidates = 0;
    } else if !arguments.balancers.is_empty() {
        settings.set("balance.balancers", &arguments.balancers.join(","))?;
        // What is named is applied; tuning would look for something else.
        settings.balance.tune_candidates = 0;
    }
    arguments.set.apply_to_trained(&mut settings, true)?;
    let (device, _) = device::open(arguments.device.device)?;
    let report = pipeline::balance(
        &mut run,
        &settings,
        &device,
        Job::new(&context.control, context.console),
    )?;
    context.console.result(&report, || {
        format!(
            "{}\n\nnext: counterweight export {} --out model.onnx",
            tables::balance(&report).trim_end(),
            quoted(&arguments.run)
        )
    })
}
