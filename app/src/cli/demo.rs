//! `counterweight demo`: the whole job on the built-in sample.

use std::path::PathBuf;

use anyhow::{Result, bail};
use counterweight_core::Error;
use counterweight_core::device;
use counterweight_core::job::Job;
use counterweight_core::pipeline;

use super::export::checked;
use super::options::DeviceOption;
use super::train::quoted;
use super::{Context, tables};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Where to put everything the demonstration makes
    #[arg(long, value_name = "DIR", default_value = "counterweight-demo")]
    out: PathBuf,
    #[command(flatten)]
    device: DeviceOption,
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<()> {
    context.console.stream_events();
    let (device, name) = device::open(arguments.device.device)?;
    let report = match pipeline::demo(
        &arguments.out,
        &device,
        &name,
        Job::new(&context.control, context.console),
    ) {
        Err(Error::Stopped) => bail!("stopped, nothing is lost; the same command goes on"),
        other => other?,
    };
    context.console.result(&report, || {
        let counts: Vec<String> = report.train_counts.iter().map(usize::to_string).collect();
        format!(
            "handwritten digits, long-tailed: {} training images of each digit\n{}\n\n{}\n\ntry it: counterweight predict {} {}",
            counts.join(", "),
            tables::balance(&report.balance).trim_end(),
            checked(&report.export),
            quoted(&report.model),
            quoted(&report.example),
        )
    })
}
