//! `counterweight backbones`: the networks there are and their pretrained weights, which can be
//! downloaded or added.

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Result, anyhow, bail};
use counterweight_core::Error;
use counterweight_core::job::Job;
use counterweight_core::model::{Addition, Backbone, Kept, Listed, WeightsFolder, downloads};

use super::{Context, tables};
use crate::gui::widgets::numbers;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Download weights from the address of their publisher; a download that was interrupted
    /// continues where it ended
    Get {
        /// The backbone, resnet50 for example
        name: Backbone,
        /// Which of several weights; `counterweight backbones` lists them, the recommended ones
        /// first
        #[arg(long, value_name = "VERSION")]
        weights: Option<String>,
    },
    /// Take weights from a file of PyTorch (.pth, .pt) or safetensors; nothing in it is executed
    #[command(override_usage = "counterweight backbones add [OPTIONS] [NAME] <FILE>")]
    Add {
        /// The backbone, which may be left out where the tensors tell it, and the file
        #[arg(required = true, num_args = 1..=2, value_name = "NAME FILE")]
        what: Vec<OsString>,
        /// The weights' licence, to be shown with them
        #[arg(long, value_name = "TEXT")]
        licence: Option<String>,
        /// Side of the input they were trained with, in pixels [default: 224]
        #[arg(long, value_name = "PIXELS")]
        side: Option<usize>,
        /// Mean of the input's normalisation, red, green, blue in 0..1 [default: ImageNet's]
        #[arg(long, value_name = "R,G,B", value_parser = three, requires = "std")]
        mean: Option<[f32; 3]>,
        /// Standard deviation of the input's normalisation [default: ImageNet's]
        #[arg(long, value_name = "R,G,B", value_parser = three, requires = "mean")]
        std: Option<[f32; 3]>,
    },
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<()> {
    match &arguments.action {
        None => list(context),
        Some(Action::Get { name, weights }) => get(*name, weights.as_deref(), context),
        Some(Action::Add { what, licence, side, mean, std }) => add(
            what,
            &Addition { licence: licence.clone(), side: *side, normalisation: mean.zip(*std) },
            context,
        ),
    }
}

/// Numbers of red, green and blue.
fn three(text: &str) -> Result<[f32; 3], String> {
    let numbers: Option<Vec<f32>> =
        text.split(',').map(|number| number.trim().parse().ok()).collect();
    numbers
        .and_then(|numbers| numbers.try_into().ok())
        .ok_or_else(|| "three numbers are needed, as in 0.485,0.456,0.406".into())
}

fn folder() -> Result<WeightsFolder> {
    WeightsFolder::standard()
        .ok_or_else(|| anyhow!("this system has no folder for caches; COUNTERWEIGHT_CACHE can name one to keep weights in"))
}

fn list(context: &Context) -> Result<()> {
    let folder = WeightsFolder::standard();
    let all = Listed::all(folder.as_ref());
    context.console.result(&all, || text(&all))
}

fn text(all: &[Listed]) -> String {
    let mut table = tables::table(&["backbone", "weights", "size", "ImageNet top-1, %", "licence"]);
    // What is said of a licence may be long: it is said once.
    let mut notes: Vec<&str> = Vec::new();
    let mut short = |licence: &'static str| {
        let at = notes.iter().position(|note| *note == licence).unwrap_or_else(|| {
            notes.push(licence);
            notes.len() - 1
        });
        format!("not stated [{}]", at + 1)
    };
    for listed in all {
        let top1 = |top1: Option<f64>| tables::percent(top1);
        let bytes = listed.bytes.map_or_else(String::new, numbers::bytes);
        let known = listed
            .published
            .iter()
            .find(|offered| Some(offered.licence) == listed.licence.as_deref());
        let licence = match known {
            Some(offered) => short(offered.licence),
            None => listed.licence.clone().unwrap_or_default(),
        };
        table.add_row([
            listed.name.to_string(),
            listed.weights.to_string(),
            bytes,
            top1(listed.top1),
            licence,
        ]);
        for offered in listed.others() {
            let what = format!("  {} can be downloaded", offered.version);
            let bytes = offered.bytes.map_or_else(String::new, numbers::bytes);
            table.add_row([
                String::new(),
                what,
                bytes,
                top1(Some(offered.top1)),
                short(offered.licence),
            ]);
        }
    }
    let mut text = tables::render(&table);
    for (at, note) in notes.iter().enumerate() {
        text += &format!("\n\n[{}] {note}", at + 1);
    }
    for problem in all.iter().filter_map(|listed| listed.problem.as_ref()) {
        text += &format!("\n\nnot usable: {problem}");
    }
    text + "\n\nto download: counterweight backbones get NAME; to take from a file: counterweight backbones add NAME FILE"
}

fn get(backbone: Backbone, version: Option<&str>, context: &Context) -> Result<()> {
    context.console.stream_events();
    let published = backbone.info().published;
    let Some(first) = published.first() else {
        bail!(
            "there are no weights of {backbone} to download; `counterweight backbones add {backbone} FILE` takes them from a file"
        )
    };
    let chosen = match version {
        None => first,
        Some(version) => {
            published.iter().find(|published| published.version == version).ok_or_else(|| {
                let versions: Vec<&str> =
                    published.iter().map(|published| published.version).collect();
                anyhow!(
                    "there are no weights `{version}` for {backbone}; there are {}",
                    versions.join(", ")
                )
            })?
        }
    };
    let job = Job::new(&context.control, context.console);
    let mirror = downloads();
    job.info(format!("{} has {}; licence: {}", chosen.publisher, chosen.address(), chosen.licence));
    if let Some(mirror) = &mirror {
        job.info(format!("COUNTERWEIGHT_DOWNLOADS: it is taken from {mirror} instead"));
    }
    let kept = match folder()?.get(backbone, chosen, mirror.as_deref(), job) {
        Err(Error::Stopped) => bail!("stopped, nothing is lost; the same command goes on"),
        other => other?,
    };
    context.console.result(&kept, || told(&kept))
}

fn add(what: &[OsString], addition: &Addition, context: &Context) -> Result<()> {
    let (backbone, file) = match what {
        [file] => (None, file),
        [name, file] => {
            let name = name.to_string_lossy();
            (Some(name.parse::<Backbone>().map_err(|reason| anyhow!(reason))?), file)
        }
        _ => bail!("a backbone and a file are needed"),
    };
    let kept = folder()?.add(backbone, Path::new(file), addition)?;
    for call in &kept.calls {
        context
            .console
            .line(&format!("warning: the file asks to call `{call}`, which was not done"));
    }
    context.console.result(&kept, || told(&kept))
}

fn told(kept: &Kept) -> String {
    let name = kept.fit.backbone;
    format!(
        "{}\n{name} has weights now: {} from {}\nlicence: {}\n\nto use them: counterweight train DATASET --run RUN --set model.backbone={name} --set stage1.train=classifier",
        kept.fit.words(),
        numbers::bytes(kept.bytes),
        kept.facts.source,
        kept.facts.licence_words(),
    )
}
