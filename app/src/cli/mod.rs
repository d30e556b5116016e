//! The command line: one file per subcommand, each a thin front over `counterweight-core`.

mod build;
mod console;
mod devices;
mod inspect;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use console::Console;
use counterweight_core::job::Control;

/// Train, balance and export image classifiers for long-tailed data.
#[derive(Debug, Parser)]
#[command(name = "counterweight", version, propagate_version = true, max_term_width = 100)]
struct Arguments {
    /// Print JSON on standard output: one document, or JSON Lines whose last line is the result. Messages go to standard error.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the devices that can train here, and why others cannot.
    #[command(after_help = "Example:\n  counterweight devices")]
    Devices,
    /// Show what a source holds: classes, sizes, unreadable files with their reasons, duplicates.
    #[command(
        after_help = "Examples:\n  counterweight inspect photos/\n  counterweight inspect ImageNet_LT_train.txt --root /data/imagenet"
    )]
    Inspect(inspect::Arguments),
    /// Build a long-tailed dataset of a source: choose classes and training images by a profile, hold out validation and test.
    #[command(after_help = "Examples:\n  counterweight build photos/ --out photos.toml\n  \
                            counterweight build cifar-100-python.tar.gz --out cifar-100-lt.toml --factor 100 --validation 0.05")]
    Build(build::Arguments),
}

/// What every subcommand is given besides its own arguments.
pub struct Context {
    /// Where results and progress are printed.
    pub console: Console,
    /// Stops the job on Ctrl-C.
    pub control: Control,
}

/// Parses the arguments, runs the subcommand and turns its outcome into an exit code: 0 done, 1 the work failed, 2 wrong usage.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let control = Control::new();
    stop_on_interrupt(&control);
    let context = Context { console: Console::new(arguments.json), control };
    let outcome: anyhow::Result<()> = match arguments.command {
        Command::Devices => devices::run(&context),
        Command::Inspect(arguments) => inspect::run(&arguments, &context),
        Command::Build(arguments) => build::run(&arguments, &context),
    };
    context.console.finish();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            context.console.error(&error);
            ExitCode::from(if is_usage(&error) { 2 } else { 1 })
        }
    }
}

/// The first Ctrl-C asks the job to stop at its next safe point; a second one ends the process at once.
fn stop_on_interrupt(control: &Control) {
    let control = control.clone();
    let installed = ctrlc::set_handler(move || {
        if control.is_stopping() {
            std::process::exit(130);
        }
        control.stop();
    });
    // Without a handler Ctrl-C still ends the process, only less gently.
    drop(installed);
}

/// Whether a failure lies in what was asked rather than in the work: a wrong setting is as wrong as a wrong flag.
fn is_usage(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref::<counterweight_core::Error>(), Some(counterweight_core::Error::Settings(_)))
        || error.downcast_ref::<clap::Error>().is_some()
}
