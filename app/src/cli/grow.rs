//! `counterweight grow`: more images or classes for a finished run.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use counterweight_core::dataset;
use counterweight_core::device;
use counterweight_core::eval::HeldInTurn;
use counterweight_core::job::Job;
use counterweight_core::pipeline::{self, GrowReport, GrownClass};
use counterweight_core::run::Run;
use counterweight_core::source::{self, ScanOptions};

use super::options::DeviceOption;
use super::source::SourceOption;
use super::train::quoted;
use super::{Context, tables};

/// Classes that are listed, unless all are asked for.
const LISTED: usize = 40;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The run folder
    run: PathBuf,
    /// Image folders with one folder a class, or image lists (path, label). Classes the run does not
    /// have are new ones [default: what the run's own source has got since]
    sources: Vec<PathBuf>,
    /// The folder of the new run [default: the run's name with -grown behind it]
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
    /// Take the labels that `suggest` proposed as they are: somebody has looked at them and all are
    /// right
    #[arg(long)]
    as_proposed: bool,
    /// List every class, however many there are
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    device: DeviceOption,
    #[command(flatten)]
    reading: SourceOption,
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<()> {
    context.console.stream_events();
    let job = Job::new(&context.control, context.console);
    let run = Run::open(&arguments.run)?;
    for source in arguments.sources.iter().filter(|_| !arguments.as_proposed) {
        if let Some(labels) = pipeline::untouched_proposals(source) {
            bail!(
                "{}: all {labels} labels are still those that were proposed, and a run that learns from its own guesses learns its own mistakes; correct those that are wrong, or say --as-proposed if somebody has looked at them and all that are left are right",
                source.display()
            );
        }
    }
    let options = ScanOptions { one_class: true, ..arguments.reading.scan_options() };
    let scanned = match arguments.sources.as_slice() {
        [] if !arguments.reading.scan_options().is_plain() => bail!(
            "the run's own source is read as it was when the run was made; options of reading go with sources that are named"
        ),
        [] => vec![run.dataset().source_now(&run.origin().path, job)?],
        sources => sources
            .iter()
            .map(|source| dataset::edited_catalog(source::scan(source, &options, job)?, job))
            .collect::<Result<Vec<_>, _>>()?,
    };
    let (device, _) = device::open(arguments.device.device)?;
    let folder = arguments.to.clone().unwrap_or_else(|| beside(&arguments.run));
    let report = pipeline::grow(&run, &scanned, &folder, &device, job)?;
    context.console.result(&report, || human(&report, arguments.all))
}

/// `photos` becomes `photos-grown`, or `photos-grown-2` where that is taken.
fn beside(run: &Path) -> PathBuf {
    let named = |suffix: String| {
        let mut name = run.file_name().unwrap_or_default().to_os_string();
        name.push(suffix);
        run.with_file_name(name)
    };
    let numbered = (2..).map(|number| named(format!("-grown-{number}")));
    std::iter::once(named("-grown".into()))
        .chain(numbered)
        .find(|folder| folder.symlink_metadata().is_err())
        .unwrap_or_default()
}

fn human(report: &GrowReport, all: bool) -> String {
    let percent = |share: Option<f64>| {
        share.map_or("–".to_string(), |share| format!("{:.1}", 100.0 * share))
    };
    let judged_on = match report.in_turn {
        Some(_) => "held out in turn",
        None => "judged on",
    };
    let mut table = tables::table(&["class", "training images", "", judged_on, "before", "after"]);
    // Those first that have grown.
    let mut classes: Vec<&GrownClass> = report.classes.iter().collect();
    classes.sort_by_key(|class| class.train_counts[0] == class.train_counts[1]);
    let listed = if all { classes.len() } else { LISTED };
    for class in classes.iter().take(listed) {
        let [before, after] = class.train_counts;
        table.add_row([
            if class.is_new { format!("{} (new)", class.class) } else { class.class.clone() },
            before.to_string(),
            if after == before { String::new() } else { format!("→ {after}") },
            class.images.to_string(),
            percent(class.accuracy[0]),
            percent(class.accuracy[1]),
        ]);
    }
    let mut verdict = String::new();
    let mut text = format!("{} training images were added", report.added);
    if report.known > 0 {
        text += &format!("; the dataset has {} others already", report.known);
    }
    match (&report.evaluations, report.split) {
        (Some([before, after]), Some(split)) => {
            let [before, after] =
                [before, after].map(|found| Some(found.judged().balanced_accuracy));
            text += &format!(
                "\nbalanced accuracy on the same {split} images: {} % before, {} % after",
                percent(before),
                percent(after)
            );
            verdict = tables::and_verdict(
                report.evaluations.as_ref().and_then(|[_, after]| after.verdict.as_ref()),
            );
        }
        _ => text += "\nno image was held out, so nothing says what that brought",
    }
    if let Some([before, after]) = &report.in_turn {
        let of = |found: &HeldInTurn| percent(Some(found.balanced_accuracy));
        text += &format!(
            "\non the images that the run had, held out in turn: {} % without the new images, {} % with them",
            of(before),
            of(after)
        );
    }
    text += &format!("\n\n{}", tables::render(&table));
    if let more @ 1.. = classes.len().saturating_sub(listed) {
        text += &format!("\n… and {more} more (--all lists them)");
    }
    let dataset = Path::new(&report.run).join("dataset.toml");
    text + &format!(
        "\n{verdict}\n{}\nits model: counterweight export {} --out MODEL.onnx\n\
         the folder that the run was made of has no part in this: for all of it anew, counterweight make {} --out MODEL.onnx",
        report.run,
        quoted(Path::new(&report.run)),
        quoted(&dataset)
    )
}
