//! `counterweight inspect --more`: what more images of each class would bring.

use std::fmt::Write;
use std::path::Path;

use anyhow::Result;
use counterweight_core::dataset::{EditSession, GroupBy};
use counterweight_core::device::{self, DeviceChoice};
use counterweight_core::job::Job;
use counterweight_core::pipeline::{self, FACTORS, MoreImages, Outlook};
use counterweight_core::source::ScanOptions;

use super::options::building;
use super::{Context, tables};

/// Classes that are listed, unless all are asked for.
const LISTED: usize = 40;

/// Asks it of a dataset file, a folder or an archive, with the edits beside it.
pub fn run(
    source: &Path,
    (scan, by): (&ScanOptions, Option<&GroupBy>),
    all: bool,
    choice: DeviceChoice,
    context: &Context,
) -> Result<()> {
    let job = Job::new(&context.control, context.console);
    let session = EditSession::open_with(source, scan, &building(by), job)?;
    let (device, _) = device::open(choice)?;
    let found = pipeline::more_images(&session.dataset()?, 0, &device, job)?;
    context.console.result(&found, || human(&found, all))
}

fn human(found: &MoreImages, all: bool) -> String {
    let mut text = format!(
        "{}\n{} images were classified by what shares of the others taught\n",
        found.sentence, found.images
    );
    let percent = |share: f64| format!("{:.0}", 100.0 * share);
    let outlook = |outlook: &Option<Outlook>| match outlook {
        Some(Outlook { accuracy, low, high }) => {
            format!("{} ({} to {})", percent(*accuracy), percent(*low), percent(*high))
        }
        None => "–".to_string(),
    };
    let factors = FACTORS.map(|factor| format!("with {factor} times as many"));
    let titles = ["class", "images", "right now, %", &factors[0], &factors[1]];
    let mut table = tables::table(&titles);
    let listed = if all { found.classes.len() } else { LISTED };
    for class in found.classes.iter().take(listed) {
        table.add_row([
            class.class.clone(),
            class.images.to_string(),
            outlook(&class.now),
            outlook(&class.with_more[0]),
            outlook(&class.with_more[1]),
        ]);
    }
    let _ = write!(text, "\n{}", tables::render(&table));
    if let more @ 1.. = found.classes.len().saturating_sub(listed) {
        let _ =
            write!(text, "\n… and {more} more, of which there are more images (--all lists them)");
    }
    text += "\n\nWhat is expected, and in brackets what eight of ten draws of images come to.";
    text
}
