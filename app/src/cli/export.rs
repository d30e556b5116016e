//! `counterweight export`: a checked ONNX file.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::ValueEnum;
use counterweight_core::export::{ExportReport, Onnx, OnnxOutputs, Refit, Variant};
use counterweight_core::job::Job;
use counterweight_core::pipeline::{self, DEFAULT_MAX_LOSS, Exported, VariantRequest};
use counterweight_core::run::Run;
use counterweight_core::source::Split;

use super::train::quoted;
use super::{Context, PartialFailure, tables};
use crate::gui::widgets::numbers;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The run folder
    run: PathBuf,
    /// The file to write
    #[arg(long, value_name = "FILE.onnx", required_unless_present_any = ["bundle", "weights"])]
    out: Option<PathBuf>,
    /// A folder to write with everything that whoever deploys the model needs: labels, a model card,
    /// reference images with the answers expected, settings for servers, examples
    #[arg(long, value_name = "FOLDER", conflicts_with = "out")]
    bundle: Option<PathBuf>,
    /// A file to write with the weights alone, for PyTorch: torchvision's names, loaded with
    /// `strict=True`
    #[arg(long, value_name = "FILE.safetensors", conflicts_with_all = ["out", "bundle", "variants", "outputs"])]
    weights: Option<PathBuf>,
    /// What the file gives
    #[arg(long, value_enum, default_value_t = Outputs::Both, conflicts_with = "bundle")]
    outputs: Outputs,
    /// The form of the model: float32, uint8-nchw, uint8-nhwc, any-size, batch-1, float16, int8 or
    /// calibrated. With --bundle also several, beside the usual one, or `all`
    #[arg(long = "variant", value_name = "FORM", value_delimiter = ',')]
    variants: Vec<String>,
    /// Per cent of the images of any group or class that a form may get wrong more than the network;
    /// one that loses more is refused
    #[arg(long, value_name = "PERCENT", default_value_t = 100.0 * DEFAULT_MAX_LOSS, value_parser = percent)]
    max_loss: f64,
    /// The checkpoint: last, best or balanced [default: balanced, else best, else last]
    #[arg(long, value_name = "NAME")]
    checkpoint: Option<String>,
    /// Have the classifier learn once more before, in the same way, from all images, those that the
    /// program held out among them; what was measured stays as it was measured [default: as the run
    /// was made: yes by `make`, else no]
    #[arg(long, conflicts_with = "no_refit")]
    refit: bool,
    /// Export the classifier as it was measured
    #[arg(long)]
    no_refit: bool,
    /// Export the probabilities that the network gives by itself. Otherwise they are made to fit: its
    /// logits are divided before by one number, the temperature, found on held-out images
    #[arg(long)]
    uncalibrated: bool,
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
    let what = Exported {
        checkpoint: arguments.checkpoint.as_deref(),
        refit: (arguments.refit || arguments.no_refit).then_some(arguments.refit),
        uncalibrated: arguments.uncalibrated,
    };
    if let Some(path) = &arguments.weights {
        let report = pipeline::export_weights(&run, what, path, job)?;
        return context.console.result(&report, || {
            format!(
                "{}: {} tensors of {}, {}{}",
                report.path.display(),
                report.tensors,
                report.backbone,
                numbers::bytes(report.bytes),
                report.refit.map_or_else(String::new, |refit| format!("\n{}", again(refit, None)))
            )
        });
    }
    let variants = variants(arguments)?;
    if let Some(folder) = &arguments.bundle {
        let report = pipeline::bundle(&run, what, folder, &variants, job)?;
        context.console.result(&report, || {
            format!(
                "{}\n{}\n{}\n\nnext: give {} to whoever runs the model; its README.md says how",
                tables::bundle(&report),
                tables::variants(&report.variants),
                summary(&report.export),
                quoted(folder)
            )
        })?;
        let refused: Vec<&str> = report
            .variants
            .iter()
            .filter(|form| form.refused.is_some())
            .map(|form| form.variant.name())
            .chain(report.impossible.iter().map(|(form, _)| form.name()))
            .collect();
        return match refused.is_empty() {
            true => Ok(()),
            false => Err(PartialFailure(format!("left out: {}", refused.join(", "))).into()),
        };
    }
    let Some(out) = &arguments.out else { bail!("name a file or a folder to write") };
    let next = || format!("next: counterweight predict {} IMAGE", quoted(out));
    let [form] = &variants[..] else {
        let target = Onnx { outputs: arguments.outputs.into(), ..Onnx::BOTH };
        let report = pipeline::export_as(&run, what, &target, out, job)?;
        return context.console.result(&report, || format!("{}\n{}", summary(&report), next()));
    };
    let report = pipeline::export_variant(&run, what, form, out, job)?;
    if let Some(reason) = &report.refused {
        context.console.result(&report, || tables::variants(std::slice::from_ref(&report)))?;
        bail!("{} was not written: {reason}; --max-loss allows more", out.display());
    }
    context.console.result(&report, || {
        let table = tables::variants(std::slice::from_ref(&report));
        format!("{table}\n{}\n{}", summary(&report.export), next())
    })
}

/// The forms that are asked for, apart from the usual one.
fn variants(arguments: &Arguments) -> Result<Vec<VariantRequest>> {
    let mut forms: Vec<Variant> = Vec::new();
    for name in &arguments.variants {
        match Variant::named(name) {
            _ if name == "all" && arguments.bundle.is_some() => forms.extend(Variant::ALL),
            Some(form) => forms.push(form),
            None => {
                let names: Vec<&str> = Variant::ALL.iter().map(|form| form.name()).collect();
                bail!("there is no form `{name}`; there are {}", names.join(", "));
            }
        }
    }
    forms.retain(|form| *form != Variant::Float32);
    if arguments.bundle.is_none() && forms.len() > 1 {
        bail!("a file has one form; --bundle writes several");
    }
    let (outputs, max_loss) = (arguments.outputs.into(), arguments.max_loss / 100.0);
    Ok(forms.into_iter().map(|variant| VariantRequest { variant, outputs, max_loss }).collect())
}

fn percent(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if (0.0..=100.0).contains(&value) => Ok(value),
        _ => Err("a share lies between 0 and 100 per cent".into()),
    }
}

/// The file and its check, and apart from them what the network is worth.
fn summary(report: &ExportReport) -> String {
    format!("{}\n{}", checked(report), tables::and_verdict(report.verdict.as_ref()).trim_end())
}

/// That a classifier learned once more after it was measured on a split.
fn again(refit: Refit, measured_on: Option<Split>) -> String {
    match measured_on.is_none_or(|split| refit.includes(split)) {
        true => format!(
            "it learned from {} images before it was written, the {} held out among them; how good it is was measured before, on some of those: as a rule it is some points better now",
            refit.images, refit.held_out
        ),
        false => format!(
            "it learned from {} images before it was written, {} that had been held out among them; how good it is was measured before, on others that stayed unseen",
            refit.images, refit.held_out
        ),
    }
}

/// The file, its check, and how good the network is, in one line each: that file and network agree
/// says nothing of the latter.
pub fn checked(report: &ExportReport) -> String {
    let measured_on = report.verdict.as_ref().map(|verdict| verdict.split);
    let learned =
        report.refit.map_or_else(String::new, |refit| format!("\n{}", again(refit, measured_on)));
    let believed = report
        .calibration
        .as_ref()
        .map_or_else(String::new, |found| format!("\n{}", tables::calibrated(found)));
    format!(
        "{}: {:.1} MB, opset {}, {} classes, input {side}×{side}\n\
         file check passed: the file agrees with the trained network on {} of {} images, largest difference of logits {:.1e}\n\
         how good it is: {}{learned}{believed}",
        report.path.display(),
        report.bytes as f64 / 1e6,
        report.opset,
        report.classes,
        report.agreeing(),
        report.images,
        report.max_abs_diff,
        match &report.verdict {
            Some(found) => found.worth(),
            None => "not known, this checkpoint was never evaluated; see `counterweight evaluate --help`".into(),
        },
        side = report.input_size,
    )
}
