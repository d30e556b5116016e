//! The command line: one file per subcommand, each a thin front over `counterweight-core`.

mod backbones;
mod balance;
mod bench;
mod build;
mod cache;
mod console;
mod demo;
mod devices;
mod edit;
mod edit_rows;
mod evaluate;
mod explain;
mod export;
mod foreign;
mod groups;
mod grow;
mod import;
mod inspect;
mod labels;
mod make;
mod map;
mod more_images;
mod options;
mod plain;
mod predict;
mod session;
mod source;
mod suggest;
mod sweep;
mod tables;
mod train;
mod transforms;
mod tune;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub use console::Console;
use counterweight_core::infer;
use counterweight_core::job::Control;
use counterweight_core::model::Kernels;

use crate::logging::{self, LogLevel};

/// The first argument of a process that runs a model for another one of this program.
const RUN_MODEL: &str = "run-model";

/// Train, balance and export image classifiers for long-tailed data. Without a command the window
/// opens; with nothing but a folder, list, run or model, that opens in it.
#[derive(Debug, Parser)]
#[command(name = "counterweight", version, propagate_version = true, max_term_width = 100)]
struct Arguments {
    /// Print JSON on standard output: one document, or JSON Lines whose last line is the result.
    /// Messages go to standard error.
    #[arg(long, global = true)]
    json: bool,
    /// Write the log to standard error as well, from this level on. A run has its own beside it
    #[arg(long, global = true, value_name = "LEVEL")]
    log: Option<LogLevel>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Do the whole job on the built-in sample: long-tailed handwritten digits, both stages, a
    /// checked model.onnx.
    #[command(after_help = "Example:\n  counterweight demo --out demo")]
    Demo(demo::Arguments),
    /// Make a model of a folder of images: scan, splits, features, classifier, tuned balancer,
    /// report and checked export, with nothing to set.
    #[command(
        after_help = "Examples:\n  counterweight make photos/ --out photos.onnx\n  counterweight make photos/ --out photos.onnx --preset quick"
    )]
    Make(make::Arguments),
    /// Show what a source holds: classes, sizes, unreadable files with their reasons, duplicates.
    #[command(
        after_help = "Examples:\n  counterweight inspect photos/\n  counterweight inspect ImageNet_LT_train.txt --root /data/imagenet\n  counterweight inspect photos/ --transforms\n  counterweight inspect photos/ --more"
    )]
    Inspect(inspect::Arguments),
    /// Build a long-tailed dataset of a source: choose classes and training images by a profile,
    /// hold out validation and test.
    #[command(after_help = "Examples:\n  counterweight build photos/ --out photos.toml\n  \
                            counterweight build cifar-100-python.tar.gz --out cifar-100-lt.toml --factor 100 --validation 0.05")]
    Build(build::Arguments),
    /// Correct a dataset image by image: move to another class, exclude, mark as checked, with undo.
    /// The images and the dataset file stay as they are; everything that opens the dataset takes
    /// the edits beside it.
    #[command(
        after_help = "Examples:\n  counterweight edit photos.toml move frog/0007.jpg frog/0012.jpg --to newt\n  \
                            counterweight edit photos/ apply corrections.csv --dry-run\n  \
                            counterweight edit photos/ undo\n  counterweight edit photos/ write corrected/"
    )]
    Edit(edit::Arguments),
    /// Stage 1: learn features with cross-entropy and tuned weight decay.
    #[command(after_help = "Examples:\n  counterweight train photos.toml --run runs/photos\n  \
                            counterweight train cifar-100-lt.toml --run runs/paper --preset paper --device cuda\n  \
                            counterweight train --run runs/paper --resume")]
    Train(train::Arguments),
    /// Try several values of a setting of stage 1, weight decay first of all: a run for each, of
    /// which the better half is trained on.
    #[command(after_help = "Examples:\n  counterweight sweep photos.toml --out runs/decay\n  \
                            counterweight sweep photos.toml --over stage1.weight_decay=1e-4,1e-3,1e-2 --out runs/decay --preset quick\n  \
                            counterweight sweep photos.toml --over seed=0,1,2 --out runs/seeds")]
    Sweep(sweep::Arguments),
    /// Make a run of a network that was trained elsewhere, classifier included, to balance,
    /// evaluate and export it.
    #[command(
        after_help = "Example:\n  counterweight import naive_best.pth --dataset cifar-100-lt.toml --run runs/authors"
    )]
    Import(import::Arguments),
    /// Stage 2: balance the classifier, by training it or after the fact, and compare before with
    /// after.
    #[command(after_help = "Examples:\n  counterweight balance runs/photos\n  \
                            counterweight balance runs/photos --balancer tau --set balance.tau=1.5\n  \
                            counterweight balance runs/photos --balancer weight-decay --balancer max-norm")]
    Balance(balance::Arguments),
    /// Try hundreds of ways of balancing on held-out images, and choose one.
    #[command(
        after_help = "Example:\n  counterweight tune runs/photos && counterweight balance runs/photos --tuned"
    )]
    Tune(tune::Arguments),
    /// Evaluate a checkpoint: accuracy of many, medium and few classes, calibration, worst class.
    #[command(
        after_help = "Example:\n  counterweight evaluate runs/photos --checkpoint best --classes"
    )]
    Evaluate(evaluate::Arguments),
    /// Export a checkpoint as one ONNX file and check it on real images.
    #[command(after_help = "Examples:\n  counterweight export runs/photos --out photos.onnx\n  \
                            counterweight export runs/photos --bundle photos-model")]
    Export(export::Arguments),
    /// Classify images with an exported model.
    #[command(after_help = "Examples:\n  counterweight predict photos.onnx new/ --top 3\n  \
                            counterweight predict photos.onnx new/ --csv new.csv --threshold 0.6\n  \
                            counterweight predict photos.onnx new/ --sort-into sorted --by move\n  \
                            counterweight predict --undo sorted\n\n\
                            Exit codes: 0 all were classified, 3 some were not, 1 none was.")]
    Predict(predict::Arguments),
    /// Show where in images a run looked for a class: maps in colours beside each image, as PNG.
    #[command(
        after_help = "Examples:\n  counterweight explain runs/photos new/fox.jpg --out maps\n  \
                            counterweight explain runs/photos photos/test/lynx --class lynx --class fox --out maps\n\n\
                            Exit codes: 0 all were explained, 3 some were not, 1 none was."
    )]
    Explain(explain::Arguments),
    /// Lay out all images of a run in a plane, those that its network finds alike beside each other:
    /// a table of places, or a picture.
    #[command(after_help = "Examples:\n  counterweight map runs/photos --out map.png\n  \
                            counterweight map runs/photos --out map.png --color mistake\n  \
                            counterweight map runs/photos --out map.csv")]
    Map(map::Arguments),
    /// Say which of many images without a label to label next: those that a run is unsure of, that may
    /// be of rare classes, and that are unlike each other.
    #[command(
        after_help = "Example:\n  counterweight suggest runs/photos unlabelled/ --count 100 --out next.csv"
    )]
    Suggest(suggest::Arguments),
    /// Add images or classes to a finished run: only new features are computed, only the classifier
    /// learns and is balanced again, and every class is compared before and after.
    #[command(
        after_help = "Examples:\n  counterweight grow runs/photos\n  counterweight grow runs/photos new/ --to runs/more\n  \
                            counterweight grow runs/photos next.csv"
    )]
    Grow(grow::Arguments),
    /// List the devices that can train here, and why others cannot.
    #[command(after_help = "Example:\n  counterweight devices")]
    Devices,
    /// List the backbones and their pretrained weights, download weights, or add them from a file.
    #[command(
        after_help = "Examples:\n  counterweight backbones\n  counterweight backbones get resnet50\n  \
                            counterweight backbones add resnet34 resnet34.pth --licence MIT\n\n\
                            They are kept in the folder `backbones` of the cache folder, which COUNTERWEIGHT_CACHE names if it is to be another. \
                            COUNTERWEIGHT_DOWNLOADS names the address of a folder to download from instead of the publishers'."
    )]
    Backbones(backbones::Arguments),
    /// Show what is kept of pretrained backbones' features, which are computed once an image, or
    /// remove it.
    #[command(after_help = "Examples:\n  counterweight cache\n  counterweight cache clear\n\n\
                            COUNTERWEIGHT_CACHE names another folder to keep them in, COUNTERWEIGHT_CACHE_LIMIT the size it may have, \
                            10GB for example.")]
    Cache(cache::Arguments),
    /// Time this machine: the training step, inference, stage 2, tuning, decoding.
    #[command(
        after_help = "Examples:\n  counterweight bench --model resnet34 --batch 64\n  counterweight bench infer --size 224\n  \
                            counterweight bench decode photos/"
    )]
    Bench(bench::Arguments),
}

/// What every subcommand is given besides its own arguments.
pub struct Context {
    /// Where results and progress are printed.
    pub console: &'static Console,
    /// Stops the job on Ctrl-C.
    pub control: Control,
}

/// Some of the work failed and the rest is done, which has an exit code of its own.
#[derive(Debug)]
struct PartialFailure(String);

impl std::fmt::Display for PartialFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PartialFailure {}

/// Parses the arguments, runs the subcommand and turns its outcome into an exit code: 0 done, 1 the
/// work failed, 2 wrong usage, 3 a part of the work failed and the rest is done, and 141 if whoever
/// read the output had enough of it.
pub fn run() -> ExitCode {
    // Before anything else is set up: that process is only to run a model.
    if std::env::args_os().nth(1).is_some_and(|first| first == RUN_MODEL) {
        return match infer::serve() {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    run_models_apart();
    let opened = path_alone();
    let matches = match opened {
        Some(_) => Arguments::command().get_matches_from(std::env::args_os().take(1)),
        None => signed(Arguments::command()).get_matches(),
    };
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    // Dialogs of the window look into that folder for what serves them.
    match arguments.command {
        Some(_) => session::quiet_drivers(),
        None => session::draw_by_one_thread(),
    }
    // It lives as long as the program: warnings are shown on it from any thread.
    let console: &'static Console = Box::leak(Box::new(Console::new(arguments.json)));
    // What the log shows on standard error anyway is not shown twice.
    if arguments.log.is_none_or(|level| level == LogLevel::Error) {
        logging::show_warnings(|text| console.line(&format!("warning: {text}")));
    }
    logging::start(arguments.log);
    choose_kernels();
    let control = Control::new();
    if arguments.command.is_some() {
        stop_on_interrupt(&control);
    }
    let context = Context { console, control };
    let Some(command) = arguments.command else {
        return match arguments.log.is_none() && opened_apart() {
            true => ExitCode::SUCCESS,
            false => window(opened.as_deref(), &context),
        };
    };
    let outcome: anyhow::Result<()> = match command {
        Command::Demo(arguments) => demo::run(&arguments, &context),
        Command::Make(arguments) => make::run(&arguments, &context),
        Command::Inspect(arguments) => inspect::run(&arguments, &context),
        Command::Build(arguments) => build::run(&arguments, &context),
        Command::Edit(arguments) => edit::run(&arguments, &context),
        Command::Train(arguments) => train::run(&arguments, &context),
        Command::Sweep(arguments) => sweep::run(&arguments, &context),
        Command::Import(arguments) => import::run(&arguments, &context),
        Command::Balance(arguments) => balance::run(&arguments, &context),
        Command::Tune(arguments) => tune::run(&arguments, &context),
        Command::Evaluate(arguments) => evaluate::run(&arguments, &context),
        Command::Export(arguments) => export::run(&arguments, &context),
        Command::Predict(arguments) => predict::run(&context, &arguments),
        Command::Explain(arguments) => explain::run(&arguments, &context),
        Command::Map(arguments) => map::run(&arguments, &context),
        Command::Suggest(arguments) => suggest::run(&arguments, &context),
        Command::Grow(arguments) => grow::run(&arguments, &context),
        Command::Devices => devices::run(&context),
        Command::Backbones(arguments) => backbones::run(&arguments, &context),
        Command::Cache(arguments) => cache::run(&arguments, &context),
        Command::Bench(arguments) => bench::run(&arguments, &context),
    };
    context.console.finish();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit_code(context.console, &error),
    }
}

/// What the program was started with, if that is nothing but a file or folder that there is, as a file
/// manager starts it with what was dropped on it.
fn path_alone() -> Option<PathBuf> {
    let mut given = std::env::args_os().skip(1);
    let (first, None) = (given.next()?, given.next()) else { return None };
    let is_command = first.to_str().is_some_and(|name| {
        name.starts_with('-') || Arguments::command().find_subcommand(name).is_some()
    });
    let path = PathBuf::from(first);
    (!is_command && path.exists()).then_some(path)
}

/// Has values be negative numbers: one that is out of range is then told what the range is, instead
/// of being taken for an option that there is not.
fn signed(command: clap::Command) -> clap::Command {
    let takes_value = |argument: &clap::Arg| {
        argument.get_long().is_some() && argument.get_action().takes_values()
    };
    command
        .mut_args(|argument| match takes_value(&argument) {
            true => argument.allow_negative_numbers(true),
            false => argument,
        })
        .mut_subcommands(signed)
}

fn exit_code(console: &Console, error: &anyhow::Error) -> ExitCode {
    /// What a shell says of a program that ended because nobody read its output any more.
    const BROKEN_PIPE: u8 = 141;
    let broken = |cause: &(dyn std::error::Error + 'static)| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    };
    if error.chain().any(broken) {
        return ExitCode::from(BROKEN_PIPE);
    }
    console.error(error);
    ExitCode::from(match () {
        () if is_usage(error) => 2,
        () if error.is::<PartialFailure>() => 3,
        () => 1,
    })
}

/// Files from anywhere are run in a process of their own.
fn run_models_apart() {
    // Of the same program even if its file was replaced since it was started.
    let program = match cfg!(target_os = "linux") {
        true => Ok("/proc/self/exe".into()),
        false => std::env::current_exe(),
    };
    if let Ok(program) = program {
        infer::isolate_by(program, vec![RUN_MODEL.into()]);
    }
}

/// `COUNTERWEIGHT_KERNELS=burn` trains and evaluates on the CPU with the tensor library's
/// operations, to compare them in a whole run.
fn choose_kernels() {
    if std::env::var_os("COUNTERWEIGHT_KERNELS").is_some_and(|whose| whose == "burn") {
        Kernels::Burn.choose();
    }
}

/// Refuses to write a list or table over one that is there: they are made to be corrected by hand,
/// which a repeated command must not undo.
fn refuse_corrected(out: Option<&Path>, force: bool) -> anyhow::Result<()> {
    match out {
        Some(out) if !force && out.is_file() => anyhow::bail!(
            "{} is there already, and may have been corrected by hand; choose another name, or replace it with --force",
            out.display()
        ),
        _ => Ok(()),
    }
}

/// Whether another process of this program opens the window. On Windows a program for the command
/// line comes with a console, which would stand behind the window and end everything where somebody
/// closes it; a process can be started without one.
#[cfg(windows)]
fn opened_apart() -> bool {
    use std::os::windows::process::CommandExt;
    use std::process::{Command, Stdio};

    const DETACHED_PROCESS: u32 = 0x0000_0008;
    const MARK: &str = "COUNTERWEIGHT_WINDOW";
    if std::env::var_os(MARK).is_some() {
        return false;
    }
    let Ok(program) = std::env::current_exe() else { return false };
    let mut command = Command::new(program);
    command.args(std::env::args_os().skip(1)).env(MARK, "1").creation_flags(DETACHED_PROCESS);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().is_ok()
}

/// Elsewhere a window has nothing to do with a terminal.
#[cfg(not(windows))]
fn opened_apart() -> bool {
    false
}

/// Opens the window, and waits until it is closed.
fn window(path: Option<&Path>, context: &Context) -> ExitCode {
    match crate::gui::open(path) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            // Without a console nobody would read it.
            #[cfg(windows)]
            rfd::MessageDialog::new()
                .set_level(rfd::MessageLevel::Error)
                .set_title("Counterweight")
                .set_description(&reason)
                .show();
            context.console.error(&anyhow::anyhow!(
                "{reason}; every job can be done without one, see `counterweight --help`"
            ));
            ExitCode::FAILURE
        }
    }
}

/// The first Ctrl-C asks the job to stop at its next safe point; a second one ends the process at
/// once.
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

/// Whether a failure lies in what was asked rather than in the work: a wrong setting is as wrong as
/// a wrong flag.
fn is_usage(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref::<counterweight_core::Error>(),
        Some(counterweight_core::Error::Settings(_))
    ) || error.downcast_ref::<clap::Error>().is_some()
}
