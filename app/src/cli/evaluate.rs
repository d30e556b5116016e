//! `counterweight evaluate`: a checkpoint's numbers.

use std::path::PathBuf;

use anyhow::Result;
use counterweight_core::device;
use counterweight_core::job::Job;
use counterweight_core::pipeline;
use counterweight_core::run::Run;
use counterweight_core::source::Split;

use super::options::{DeviceOption, SetOption};
use super::{Context, tables};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The run folder
    run: PathBuf,
    /// The checkpoint: last, best or balanced [default: balanced, else best, else last]
    #[arg(long, value_name = "NAME")]
    checkpoint: Option<String>,
    /// The split: train, validation or test [default: test, else validation]
    #[arg(long, value_name = "SPLIT")]
    split: Option<Split>,
    /// Average the logits of each image and its mirror image
    #[arg(long)]
    flip: bool,
    /// Also print every class
    #[arg(long)]
    classes: bool,
    #[command(flatten)]
    set: SetOption,
    #[command(flatten)]
    device: DeviceOption,
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<()> {
    let run = Run::open(&arguments.run)?;
    let (device, _) = device::open(arguments.device.device)?;
    let job = Job::new(&context.control, context.console);
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
    context.console.result(&result, || {
        let text = tables::evaluation(&result);
        match arguments.classes {
            true => format!("{}\n\n{text}", tables::per_class(&result.evaluation)),
            false => text,
        }
    })
}
