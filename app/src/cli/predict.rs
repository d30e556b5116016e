//! `counterweight predict`: what an exported model sees in images.

use std::borrow::Cow;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Result, bail};
use counterweight_core::infer::{OnnxClassifier, Prediction};
use serde::Serialize;

use super::Context;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The exported model.
    file: PathBuf,
    /// Image files.
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// How many classes to show for each image.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    top: u32,
}

/// Images after which results are shown.
const AT_ONCE: usize = 32;

/// One line of JSON output.
#[derive(Serialize)]
struct Line<'a> {
    /// A name that is no Unicode still has a line, with what of it can be shown.
    path: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top: Option<Vec<Prediction>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub fn run(context: &Context, arguments: &Arguments) -> Result<()> {
    let classifier = OnnxClassifier::load(&arguments.file)?;
    let mut failed = 0;
    for files in arguments.images.chunks(AT_ONCE) {
        context.control.check()?;
        for (file, outcome) in files.iter().zip(classifier.classify_files(files)) {
            let path = file.to_string_lossy();
            let line = match outcome {
                Ok(probabilities) => Line {
                    path,
                    top: Some(classifier.top_k(&probabilities, arguments.top as usize)),
                    error: None,
                },
                Err(error) => {
                    failed += 1;
                    Line { path, top: None, error: Some(error.to_string()) }
                }
            };
            print(context, &line)?;
        }
    }
    match failed {
        0 => Ok(()),
        _ => bail!("{failed} of {} images could not be read", arguments.images.len()),
    }
}

fn print(context: &Context, line: &Line<'_>) -> Result<()> {
    if context.console.is_json() {
        return context.console.result(line, String::new);
    }
    if let Some(error) = &line.error {
        context.console.line(&format!("error: {error}"));
        return Ok(());
    }
    let mut text = format!("{}\n", line.path);
    for prediction in line.top.iter().flatten() {
        text += &format!("  {:5.1} %  {}\n", 100.0 * prediction.probability, prediction.class);
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", text.trim_end())?;
    Ok(out.flush()?)
}
