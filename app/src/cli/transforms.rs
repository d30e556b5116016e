//! `counterweight inspect --transforms`: what changes of images do to their classes.

use std::fmt::Write;
use std::path::Path;

use anyhow::Result;
use counterweight_core::dataset::{Dataset, GroupBy};
use counterweight_core::device::{self, DeviceChoice};
use counterweight_core::job::Job;
use counterweight_core::pipeline::{self, TransformCheck, TransformVerdict};
use counterweight_core::source::ScanOptions;

use super::Context;
use super::options::building;

/// Pairs of classes that are listed of a transformation.
const PAIRS: usize = 12;

/// Asks it of a dataset file, a folder or an archive.
pub fn run(
    source: &Path,
    (scan, by): (&ScanOptions, Option<&GroupBy>),
    choice: DeviceChoice,
    context: &Context,
) -> Result<()> {
    let job = Job::new(&context.control, context.console);
    let dataset = Dataset::open_with(source, scan, &building(by), job)?;
    let (device, _) = device::open(choice)?;
    let found = pipeline::transform_check(&dataset, 0, &device, job)?;
    context.console.result(&found, || human(&found))
}

fn human(found: &TransformCheck) -> String {
    let mut text = format!(
        "{} training images were looked at; as they are, {:.1} % are recognised (mean of the classes)\n",
        found.images,
        100.0 * found.accuracy
    );
    for report in &found.transforms {
        let mark = match report.verdict {
            TransformVerdict::Keeps => "keeps classes  ",
            TransformVerdict::Changes => "CHANGES CLASSES",
            TransformVerdict::Harder => "harder         ",
            TransformVerdict::Unknown => "unknown        ",
        };
        let _ = write!(text, "\n{mark}  {:<20} {}", report.transform.words(), report.sentence);
        if let (Some(setting), Some(value)) = (&report.setting, &report.value) {
            let _ = write!(text, " --set {setting}={value}");
        }
        for pair in report.pairs.iter().take(PAIRS) {
            let _ = write!(
                text,
                "\n{:17}{} → {} ({:.0} %; back {:.0} %)",
                "",
                pair.first,
                pair.second,
                100.0 * pair.share,
                100.0 * pair.back
            );
        }
        if report.pairs.len() > PAIRS {
            let more = report.pairs.len() - PAIRS;
            let _ = write!(text, "\n{:17}… {more} more (--json lists them)", "");
        }
    }
    text
}
