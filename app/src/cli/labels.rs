//! `counterweight inspect --labels`: labels that are probably wrong.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use comfy_table::CellAlignment;
use counterweight_core::dataset::{EditSession, GroupBy};
use counterweight_core::device::{self, DeviceChoice};
use counterweight_core::job::Job;
use counterweight_core::pipeline::{self, LabelCheck, NEIGHBOURS};
use counterweight_core::source::{ScanOptions, Split};
use serde::Serialize;

use super::options::building;
use super::train::quoted;
use super::{Context, tables};

/// Doubts that are listed, unless all are asked for.
const LISTED: usize = 25;

#[derive(Serialize)]
struct Outcome<'a> {
    #[serde(flatten)]
    found: &'a LabelCheck,
    /// The table that was written, if one was.
    #[serde(skip_serializing_if = "Option::is_none")]
    table: Option<&'a Path>,
    /// Images held out for testing, which were not looked at.
    test_images_left_out: usize,
}

/// Asks it of a dataset file, a folder or an archive, with the edits beside it. `typed` are the
/// options that say how it is read.
pub fn run(
    source: &Path,
    (scan, by, typed): (&ScanOptions, Option<&GroupBy>, &str),
    out: Option<&PathBuf>,
    (all, with_test): (bool, bool),
    choice: DeviceChoice,
    context: &Context,
) -> Result<()> {
    let job = Job::new(&context.control, context.console);
    let session = EditSession::open_with(source, scan, &building(by), job)?;
    let (device, _) = device::open(choice)?;
    let dataset = session.dataset()?;
    let found = pipeline::label_check(&dataset, &session.checked(), with_test, 0, &device, job)?;
    if let Some(out) = out {
        pipeline::write_label_table(&found, out)?;
    }
    let outcome = Outcome {
        found: &found,
        table: out.map(PathBuf::as_path),
        test_images_left_out: if with_test { 0 } else { dataset.split(Split::Test).len() },
    };
    let dataset = quoted(source) + typed;
    context.console.result(&outcome, || human(&outcome, &dataset, all))
}

fn human(outcome: &Outcome, dataset: &str, all: bool) -> String {
    let found = outcome.found;
    let mut text = format!(
        "{}\n{} images were classified by what others taught; {:.1} % are taken for what they are labelled (mean of the classes)\n",
        found.sentence,
        found.images,
        100.0 * found.accuracy
    );
    if outcome.test_images_left_out > 0 {
        let _ = writeln!(
            text,
            "the {} images held out for testing were not looked at; --test looks at them, too",
            outcome.test_images_left_out
        );
    }
    if found.doubts.is_empty() {
        return text;
    }
    let neighbours = format!("of {NEIGHBOURS} like it");
    let mut table =
        tables::table(&["image", "labelled", "looks like", "surely", "not labelled", &neighbours]);
    for column in 1..3 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Left);
        }
    }
    let listed = if all { found.doubts.len() } else { LISTED };
    for doubt in found.doubts.iter().take(listed) {
        table.add_row([
            doubt.path.clone(),
            doubt.class.clone(),
            doubt.suggested.clone(),
            format!("{:.0} %", 100.0 * doubt.suggested_probability),
            format!("{:.0} %", 100.0 * (1.0 - doubt.probability)),
            format!("{} : {}", doubt.neighbours[0], doubt.neighbours[1]),
        ]);
    }
    let _ = write!(text, "\n{}", tables::render(&table));
    if let more @ 1.. = found.doubts.len().saturating_sub(listed) {
        let _ = write!(text, "\n… and {more} more (--all lists them)");
    }
    let _ = match outcome.table.map(quoted) {
        Some(table) => write!(
            text,
            "\n\nTake out of {table} what you do not agree with; then: counterweight edit {dataset} apply {table}",
        ),
        None => write!(
            text,
            "\n\nWhat is right: counterweight edit {dataset} check IMAGE; what is wrong: counterweight edit {dataset} move IMAGE --to CLASS. --out FILE.csv writes a table of it for counterweight edit {dataset} apply."
        ),
    };
    text
}
