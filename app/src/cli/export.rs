//! `counterweight export`: a checked ONNX file.

use std::path::PathBuf;

use anyhow::Result;
use counterweight_core::export::ExportReport;
use counterweight_core::job::Job;
use counterweight_core::pipeline;
use counterweight_core::run::Run;

use super::Context;
use super::train::quoted;

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
    let job = Job::new(&context.control, &context.console);
    let report = pipeline::export(&run, arguments.checkpoint.as_deref(), &arguments.out, job)?;
    context.console.result(&report, || format!("{}\nnext: counterweight predict {} IMAGE", summary(&report), quoted(&arguments.out)))
}

/// The file and its check, in one line each.
pub fn summary(report: &ExportReport) -> String {
    format!(
        "{}: {:.1} MB, opset {}, {} classes, input {side}×{side}\nchecked on {} images: top-1 agrees on {:.1} %, largest difference of logits {:.1e}",
        report.path.display(),
        report.bytes as f64 / 1e6,
        report.opset,
        report.classes,
        report.images,
        100.0 * report.top1_agreement,
        report.max_abs_diff,
        side = report.input_size,
    )
}
