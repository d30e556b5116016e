//! `counterweight inspect`: what a source holds, before anything is trained on it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use counterweight_core::dataset;
use counterweight_core::dataset::{
    ClassReport, GroupBy, Grouped, NameDoubt, ScanReport, SplitCounts,
};
use counterweight_core::error::SettingsError;
use counterweight_core::eval::{FEW_BELOW, MANY_ABOVE};
use counterweight_core::images::DEFAULT_MAX_PIXELS;
use counterweight_core::job::Job;
use counterweight_core::source;
use counterweight_core::source::{ScanOptions, SourceKind};
use serde::Serialize;

use super::options::DeviceOption;
use super::source::SourceOption;
use super::{Context, groups, labels, more_images, transforms};

#[derive(Debug, Args)]
pub struct Arguments {
    /// An image folder (one folder a class), CIFAR-10 or CIFAR-100 (folder or .tar.gz), or an image
    /// list (CSV and the like, JSON such as COCO, or lines of a path and a label)
    source: PathBuf,
    /// Report images of more pixels as too large instead of decoding them
    #[arg(long, value_name = "N", default_value_t = DEFAULT_MAX_PIXELS)]
    max_pixels: u64,
    /// Classes with more training samples are in the many group
    #[arg(long, value_name = "N", default_value_t = MANY_ABOVE, conflicts_with_all = ["transforms", "labels", "more"])]
    many_above: usize,
    /// Classes with fewer training samples are in the few group
    #[arg(long, value_name = "N", default_value_t = FEW_BELOW, conflicts_with_all = ["transforms", "labels", "more"])]
    few_below: usize,
    /// List every class, or every doubtful label, however many there are
    #[arg(long)]
    all: bool,
    /// Ask instead what mirroring, turning, cutting and colours do to the classes: which stay what
    /// they are, and which turn into each other. It takes seconds, on some of the images
    #[arg(long)]
    transforms: bool,
    /// Ask instead which labels are probably wrong: images that are taken for another class by what
    /// the others teach, rare classes judged as fairly as frequent ones
    #[arg(long, conflicts_with = "transforms")]
    labels: bool,
    /// With --labels: look at test images, too. Who relabels those that a model gets wrong makes its
    /// result look better than it is
    #[arg(long, requires = "labels")]
    test: bool,
    /// With --labels: write the doubtful ones to this table, for `edit apply`
    #[arg(long, value_name = "FILE", requires = "labels")]
    out: Option<PathBuf>,
    /// Replace the table of --out, whatever was taken out of it
    #[arg(long, requires = "out")]
    force: bool,
    /// Ask instead what more images of each class would bring: accuracy by count, fitted to what
    /// classifiers come to that learn from fewer images
    #[arg(long, conflicts_with_all = ["transforms", "labels"])]
    more: bool,
    #[command(flatten)]
    device: DeviceOption,
    /// Show which images belong together, and how many of validation and test have a sibling in
    /// training if they are held out one by one: by one way of `build --group-by`, or compare the
    /// ways
    #[arg(long, value_name = "WAY", num_args = 0..=1)]
    groups: Option<Option<GroupBy>>,
    #[command(flatten)]
    reading: SourceOption,
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<()> {
    let options =
        ScanOptions { max_pixels: arguments.max_pixels, ..arguments.reading.scan_options() };
    let (source, device) = (&arguments.source, arguments.device.device);
    if arguments.transforms || arguments.more || arguments.labels {
        if arguments.groups == Some(None) {
            bail!(
                "--groups needs a way here, as in --groups name: ways are compared without the rest"
            );
        }
        let reading = (&options, arguments.groups.as_ref().and_then(Option::as_ref));
        if arguments.transforms {
            return transforms::run(source, reading, device, context);
        }
        if arguments.more {
            return more_images::run(source, reading, arguments.all, device, context);
        }
        super::refuse_corrected(arguments.out.as_deref(), arguments.force)?;
        let (out, which) = (arguments.out.as_ref(), (arguments.all, arguments.test));
        let typed = arguments.reading.typed();
        let reading = (&options, reading.1, typed.as_str());
        return labels::run(source, reading, out, which, device, context);
    }
    if arguments.few_below > arguments.many_above.saturating_add(1) {
        let reason = "must be at most --many-above + 1".to_string();
        return Err(counterweight_core::Error::from(SettingsError::Value {
            key: "--few-below".to_string(),
            reason: reason.into(),
        })
        .into());
    }
    let job = Job::new(&context.control, context.console);
    let catalog = dataset::edited_catalog(source::scan(&arguments.source, &options, job)?, job)?;
    if let Some(question) =
        arguments.groups.is_none().then(|| dataset::crossed_subfolders(&catalog.classes)).flatten()
    {
        job.warn(question);
    }
    let report = dataset::report(&catalog, arguments.many_above, arguments.few_below);
    let groups = match &arguments.groups {
        None => Vec::new(),
        Some(Some(by)) => vec![groups::of(&catalog, by, job)?],
        Some(None) => groups::compare(&catalog, job)?,
    };
    let outcome = Outcome { report: &report, kept_together: &groups };
    context.console.result(&outcome, || {
        let text = human(&report, arguments.all);
        match &arguments.groups {
            None => text,
            Some(Some(_)) => format!("{text}\n\n{}", groups::in_full(&groups)),
            Some(None) => format!("{text}\n\n{}", groups::side_by_side(&groups)),
        }
    })
}

#[derive(Serialize)]
struct Outcome<'a> {
    #[serde(flatten)]
    report: &'a ScanReport,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    kept_together: &'a [Grouped],
}

fn human(report: &ScanReport, all: bool) -> String {
    let parts = [
        headline(report),
        classes(report, all),
        balance(report),
        images(report),
        problems(report),
        doubtful_names(report),
        twins(report),
        duplicates(report),
        series(report),
        skipped(report),
    ];
    let parts: Vec<&str> =
        parts.iter().map(|part| part.trim_end()).filter(|part| !part.is_empty()).collect();
    parts.join("\n\n")
}

fn headline(report: &ScanReport) -> String {
    let kind = match report.kind {
        SourceKind::Folder => "image folder",
        SourceKind::List => "image list",
        SourceKind::Cifar10 => "CIFAR-10",
        SourceKind::Cifar100 => "CIFAR-100",
    };
    let mut text = format!(
        "{}: {kind}, {}, {}",
        shown(&report.source),
        count(report.classes.len(), "class"),
        count(report.samples, "image")
    );
    if has_splits(report) {
        let splits = report.splits;
        let _ = write!(
            text,
            " (train {}, validation {}, test {})",
            splits.train, splits.validation, splits.test
        );
    }
    if report.source_groups > 0 {
        let _ = write!(text, ", in {}", count(report.source_groups, "group"));
    }
    text
}

fn has_splits(report: &ScanReport) -> bool {
    report.splits.validation + report.splits.test > 0
}

/// A column of counts: its heading and what it shows of a class.
type CountColumn = (&'static str, fn(SplitCounts) -> usize);

/// The table's columns of counts: those of the splits that have any images.
fn count_columns(report: &ScanReport) -> Vec<CountColumn> {
    let mut columns: Vec<CountColumn> =
        vec![(if has_splits(report) { "train" } else { "images" }, |counts| counts.train)];
    if report.splits.validation > 0 {
        columns.push(("validation", |counts| counts.validation));
    }
    if report.splits.test > 0 {
        columns.push(("test", |counts| counts.test));
    }
    columns
}

/// The classes by size, the largest first; of very many only both ends.
fn classes(report: &ScanReport, all: bool) -> String {
    const SHOWN: usize = 60;
    const END: usize = 20;
    let mut classes: Vec<&ClassReport> = report.classes.iter().collect();
    classes.sort_by(|a, b| {
        (b.counts.train, b.total, &a.name).cmp(&(a.counts.train, a.total, &b.name))
    });
    let largest = classes.first().map_or(0, |class| class.counts.train);
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let columns = count_columns(report);
    table.set_header(
        [
            &["class"],
            columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().as_slice(),
            &["group", ""],
        ]
        .concat(),
    );
    let hidden = if all || classes.len() <= SHOWN { 0..0 } else { END..classes.len() - END };
    for (row, class) in classes.iter().enumerate() {
        if hidden.contains(&row) {
            if row == hidden.start {
                table.add_row([format!("… {} more (--all lists them)", hidden.len())]);
            }
            continue;
        }
        let mut cells = vec![shortened(&shown(&class.name))];
        cells.extend(columns.iter().map(|(_, count)| count(class.counts).to_string()));
        cells.extend([class.group.to_string(), bar(class.counts.train, largest)]);
        table.add_row(cells);
    }
    for column in 1..=columns.len() {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let text = table.to_string();
    // Without lines the table still pads its left edge.
    let lines: Vec<&str> =
        text.lines().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end()).collect();
    lines.join("\n")
}

/// A bar of up to 24 characters, in eighths; whatever is not nothing shows.
fn bar(value: usize, largest: usize) -> String {
    const WIDTH: usize = 24;
    if value == 0 || largest == 0 {
        return String::new();
    }
    let eighths = (value * WIDTH * 8).div_ceil(largest);
    let rest = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8];
    "█".repeat(eighths / 8) + rest
}

fn balance(report: &ScanReport) -> String {
    let factor = match report.imbalance_factor {
        Some(factor) => {
            let counts =
                report.classes.iter().map(|class| class.counts.train).filter(|&count| count > 0);
            let (smallest, largest) =
                (counts.clone().min().unwrap_or(0), counts.max().unwrap_or(0));
            let samples = if largest == 1 { "sample" } else { "samples" };
            format!(
                "imbalance factor {factor:.1} (the largest class has {largest} training {samples}, the smallest {smallest})"
            )
        }
        None => "imbalance factor n/a (no training samples)".to_string(),
    };
    let (groups, thresholds) = (report.groups.sizes, report.groups.thresholds);
    let (above, below) = (thresholds.many_above, thresholds.few_below);
    format!(
        "{factor}\ngroups: {} many (> {above}), {} medium, {} few (< {below} training samples)",
        groups.many, groups.medium, groups.few
    )
}

fn images(report: &ScanReport) -> String {
    let Some(sizes) = report.sizes else { return String::new() };
    let size = if sizes.distinct == 1 {
        format!("all images are {} × {} pixels", sizes.width.min, sizes.height.min)
    } else {
        let (w, h) = (sizes.width, sizes.height);
        format!(
            "{} sizes: width {} to {} (median {}), height {} to {} (median {}) pixels",
            sizes.distinct, w.min, w.max, w.median, h.min, h.max, h.median
        )
    };
    let modes: BTreeMap<_, _> =
        report.modes.iter().map(|(mode, count)| ((usize::MAX - count, mode), count)).collect();
    let modes: Vec<String> =
        modes.into_iter().map(|((_, mode), count)| format!("{mode} {count}")).collect();
    format!("{size}\ncolour modes: {}", modes.join(", "))
}

fn problems(report: &ScanReport) -> String {
    if report.problems.is_empty() {
        return "problems: none".into();
    }
    let mut text = format!("problems ({}):\n", report.problems.len());
    for problem in &report.problems {
        let _ = writeln!(text, "  {}: {}", shown(&problem.path), problem.reason);
    }
    text
}

fn doubtful_names(report: &ScanReport) -> String {
    let line = |NameDoubt { sentence, remedy }: &NameDoubt| {
        format!("names: {} ({} of make, train or build)\n", shown(sentence), remedy.option())
    };
    report.doubtful_names.iter().map(line).collect()
}

fn twins(report: &ScanReport) -> String {
    report
        .twins
        .iter()
        .map(|twins| format!("beside others: {}\n", shown(&twins.to_string())))
        .collect()
}

fn duplicates(report: &ScanReport) -> String {
    const SHOWN: usize = 10;
    let found = &report.duplicates;
    if found.groups.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "exact duplicates: {} of {} images repeat another",
        found.redundant, report.samples
    );
    if found.across_splits > 0 {
        let _ = write!(
            text,
            "; {} in more than one split, so that what is tested was learned",
            count(found.across_splits, "group")
        );
    }
    if found.labels_differ > 0 {
        let _ = write!(text, "; {} with different labels", count(found.labels_differ, "group"));
    }
    text.push('\n');
    // The harmful ones first.
    let mut groups: Vec<_> = found.groups.iter().collect();
    groups.sort_by_key(|group| !(group.across_splits || group.labels_differ));
    for group in groups.iter().take(SHOWN) {
        let labels = if group.labels_differ {
            format!(" (labelled {})", shown(&group.classes.join(", ")))
        } else {
            String::new()
        };
        let _ = writeln!(text, "  {}{labels}", shown(&group.paths.join(" = ")));
    }
    if groups.len() > SHOWN {
        let _ = writeln!(text, "  … {} more groups (--json lists them)", groups.len() - SHOWN);
    }
    text
}

fn series(report: &ScanReport) -> String {
    report
        .series
        .as_ref()
        .map_or_else(String::new, |series| format!("note: {}", shown(&series.sentences())))
}

fn skipped(report: &ScanReport) -> String {
    let skipped = report.skipped;
    let parts = [
        (skipped.hidden, "hidden", "hidden"),
        (skipped.not_images, "other file", "other files"),
        (skipped.left_out, "file as asked", "files as asked"),
        (
            skipped.link_loops,
            "link that leads in a circle, or where others have led",
            "links that lead in a circle, or where others have led",
        ),
    ];
    let parts = parts.iter().filter(|(count, ..)| *count > 0);
    let parts: Vec<String> = parts
        .map(|(count, one, more)| format!("{count} {}", if *count == 1 { one } else { more }))
        .collect();
    if parts.is_empty() { String::new() } else { format!("passed over: {}", parts.join(", ")) }
}

/// A name of the source's without what would move the cursor or colour the terminal.
fn shown(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// A name that leaves room for the table's other columns.
fn shortened(name: &str) -> String {
    const LONGEST: usize = 40;
    if name.chars().count() <= LONGEST {
        name.into()
    } else {
        name.chars().take(LONGEST - 1).chain(['…']).collect()
    }
}

fn count(number: usize, noun: &str) -> String {
    let plural = match (number, noun) {
        (1, _) => "",
        (_, "class") => "es",
        _ => "s",
    };
    format!("{number} {noun}{plural}")
}
