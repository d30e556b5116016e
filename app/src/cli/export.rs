//! `counterweight export`: a checked ONNX file.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::ValueEnum;
use counterweight_core::export::{ExportReport, Onnx, OnnxOutputs};
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
    #[arg(long, value_name = "FILE.onnx", required_unless_present = "bundle")]
    out: Option<PathBuf>,
    /// A folder to write with everything that whoever deploys the model needs: labels, a model card,
    /// reference images with the answers expected, settings for servers, examples
    #[arg(long, value_name = "FOLDER", conflicts_with = "out")]
    bundle: Option<PathBuf>,
    /// What the file gives
    #[arg(long, value_enum, default_value_t = Outputs::Both, conflicts_with = "bundle")]
    outputs: Outputs,
    /// The checkpoint: last, best or balanced [default: balanced, else best, else last]
    #[arg(long, value_name = "NAME")]
    checkpoint: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Outputs {
    /// Probabilities, then logits
    Both,
    /// Probabilities alone: for programs that take the last output, as OpenCV 4 if none is named
    Probabilities,
    /// Logits alone
    Logits,
}

impl From<Outputs> for OnnxOutputs {
    fn from(outputs: Outputs) -> Self {
        match outputs {
            Outputs::Both => OnnxOutputs::Both,
            Outputs::Probabilities => OnnxOutputs::Probabilities,
            Outputs::Logits => OnnxOutputs::Logits,
        }
    }
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<()> {
    let run = Run::open(&arguments.run)?;
    let job = Job::new(&context.control, context.console);
    let checkpoint = arguments.checkpoint.as_deref();
    if let Some(folder) = &arguments.bundle {
        let report = pipeline::bundle(&run, checkpoint, folder, job)?;
        return context.console.result(&report, || {
            format!(
                "{}\n\n{}\n\nnext: give {} to whoever runs the model; its README.md says how",
                tables::bundle(&report),
                summary(&report.export),
                quoted(folder)
            )
        });
    }
    let Some(out) = &arguments.out else { bail!("name a file or a folder to write") };
    let target = Onnx { outputs: arguments.outputs.into() };
    let report = pipeline::export_as(&run, checkpoint, &target, out, job)?;
    context.console.result(&report, || {
        format!("{}\n\nnext: counterweight predict {} IMAGE", summary(&report), quoted(out))
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
