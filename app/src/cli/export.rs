//! `counterweight export`: a checked ONNX file.

use std::path::PathBuf;

use anyhow::Result;
use counterweight_core::export::ExportReport;
use counterweight_core::job::Job;
use counterweight_core::pipeline;
use counterweight_core::run::Run;

use super::train::quoted;
use super::{Context, tables};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The run folder
    run: PathBuf,
    /// The file to write
    #[arg(long, value_name = "FILE.onnx")]
    out: PathBuf,
    /// The checkpoint: last, best or balanced [default: balanced, else best, else last]
    #[arg(long, value_name = "NAME")]
    checkpoint: Option<String>,
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<()> {
    let run = Run::open(&arguments.run)?;
    let job = Job::new(&context.control, context.console);
    let report = pipeline::export(&run, arguments.checkpoint.as_deref(), &arguments.out, job)?;
    context.console.result(&report, || {
        format!(
            "{}\n\nnext: counterweight predict {} IMAGE",
            summary(&report),
            quoted(&arguments.out)
        )
    })
}

/// The file and its check, and apart from them what the network is worth.
fn summary(report: &ExportReport) -> String {
    format!("{}\n{}", checked(report), tables::and_verdict(report.verdict.as_ref()).trim_end())
}

/// The file, its check, and how good the network is, in one line each: that file and network agree
/// says nothing of the latter.
pub fn checked(report: &ExportReport) -> String {
    format!(
        "{}: {:.1} MB, opset {}, {} classes, input {side}×{side}\n\
         file check passed: the file agrees with the trained network on {} of {} images, largest difference of logits {:.1e}\n\
         how good it is: {}",
        report.path.display(),
        report.bytes as f64 / 1e6,
        report.opset,
        report.classes,
        report.agreeing(),
        report.images,
        report.max_abs_diff,
        match &report.verdict {
            Some(found) => found.against_guessing(),
            None => "not known, this checkpoint was never evaluated; see `counterweight evaluate --help`".into(),
        },
        side = report.input_size,
    )
}
