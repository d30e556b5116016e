//! `counterweight suggest`: which images to label next.

use std::path::PathBuf;

use anyhow::{Result, bail};
use comfy_table::CellAlignment;
use counterweight_core::device;
use counterweight_core::error::ModelError;
use counterweight_core::files;
use counterweight_core::infer::Inputs;
use counterweight_core::job::Job;
use counterweight_core::pipeline::{self, Suggestions};
use counterweight_core::run::Run;

use super::options::DeviceOption;
use super::{Context, tables};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The run folder
    run: PathBuf,
    /// Images without a label: files, folders and all below them, or patterns such as
    /// 'new/**/*.jpg'
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// How many to suggest
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    count: u32,
    /// Write them to this image list (path, label), with the class that is proposed for each as its
    /// label; once those are corrected, `grow` takes it
    #[arg(long, value_name = "FILE.csv")]
    out: Option<PathBuf>,
    /// Replace the file of --out, whatever was corrected in it
    #[arg(long, requires = "out")]
    force: bool,
    /// The checkpoint: last, best or balanced [default: balanced, else best, else last]
    #[arg(long, value_name = "NAME")]
    checkpoint: Option<String>,
    #[command(flatten)]
    device: DeviceOption,
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<()> {
    let job = Job::new(&context.control, context.console);
    super::refuse_corrected(arguments.out.as_deref(), arguments.force)?;
    let run = Run::open(&arguments.run)?;
    let Inputs { files, problems } = Inputs::find(&arguments.images, job)?;
    for problem in problems {
        job.warn(format!("{}: {}", problem.path.display(), problem.reason));
    }
    if files.is_empty() {
        bail!("there is no image among what is named");
    }
    let (device, _) = device::open(arguments.device.device)?;
    let (name, count) = (arguments.checkpoint.as_deref(), arguments.count as usize);
    let found = pipeline::suggest(&run, &files, name, count, &device, job)?;
    if let Some(out) = &arguments.out {
        let out = &files::destination(out)
            .map_err(|error| counterweight_core::Error::from(ModelError::file(out, error)))?;
        pipeline::write_suggestions(&found, out)?;
    }
    context.console.result(&found, || human(&found, arguments))
}

fn human(found: &Suggestions, arguments: &Arguments) -> String {
    let mut table =
        tables::table(&["image", "looks like", "surely", "or", "surely", "of it so far"]);
    for column in [1, 3] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Left);
        }
    }
    let percent = |share: f64| format!("{:.0} %", 100.0 * share);
    for suggestion in &found.suggestions {
        table.add_row([
            suggestion.path.display().to_string(),
            suggestion.class.clone(),
            percent(suggestion.probability),
            suggestion.second.clone(),
            percent(suggestion.second_probability),
            suggestion.train_count.to_string(),
        ]);
    }
    let known = match found.known {
        0 => String::new(),
        known => format!(" ({known} more are in the run's dataset already, or twice)"),
    };
    let next = match &arguments.out {
        Some(out) => format!(
            "Correct the labels in {}; then: counterweight grow {} {0} (--as-proposed if all are right as they are)",
            out.display(),
            arguments.run.display()
        ),
        None => "--out FILE.csv writes them as an image list to correct the labels in.".into(),
    };
    format!(
        "{} of {} images{known}, those first that teach most by the checkpoint {}: it is unsure of them, they may be of rare classes, and they are unlike each other\n\n{}\n\n{next}",
        found.suggestions.len(),
        found.images,
        found.checkpoint,
        tables::render(&table)
    )
}
