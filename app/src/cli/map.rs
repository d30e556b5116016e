//! `counterweight map`: the images of a run in a plane.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::ValueEnum;
use counterweight_core::device;
use counterweight_core::error::ModelError;
use counterweight_core::files;
use counterweight_core::job::Job;
use counterweight_core::pipeline::{self, MapColours};
use counterweight_core::run::Run;
use serde::Serialize;

use super::Context;
use super::options::DeviceOption;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The run folder
    run: PathBuf,
    /// The file to write: a table (.csv) or a picture (.png); may be given several times
    #[arg(long, value_name = "FILE", required = true)]
    out: Vec<PathBuf>,
    /// What the colours of a picture say
    #[arg(long, value_enum, default_value_t = By::Class)]
    color: By,
    /// The checkpoint: last, best or balanced [default: balanced, else best, else last]
    #[arg(long, value_name = "NAME")]
    checkpoint: Option<String>,
    /// Another seed gives another map that is as true
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    device: DeviceOption,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum By {
    Class,
    Group,
    Mistake,
    Split,
}

impl From<By> for MapColours {
    fn from(by: By) -> Self {
        match by {
            By::Class => MapColours::Class,
            By::Group => MapColours::Group,
            By::Mistake => MapColours::Mistake,
            By::Split => MapColours::Split,
        }
    }
}

/// What is said of the map.
#[derive(Serialize)]
struct Said {
    checkpoint: String,
    images: usize,
    left_out: usize,
    mistakes: usize,
    files: Vec<PathBuf>,
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<()> {
    let kind = |path: &PathBuf| {
        path.extension().map(|kind| kind.to_string_lossy().to_lowercase()).unwrap_or_default()
    };
    // Before minutes are spent.
    for path in &arguments.out {
        if !["csv", "png"].contains(&kind(path).as_str()) {
            bail!("{}: a map is written as .csv or .png", path.display());
        }
    }
    context.console.stream_events();
    let run = Run::open(&arguments.run)?;
    let (device, _) = device::open(arguments.device.device)?;
    let job = Job::new(&context.control, context.console);
    let map =
        pipeline::image_map(&run, arguments.checkpoint.as_deref(), arguments.seed, &device, job)?;
    for path in &arguments.out {
        let path = &files::destination(path)
            .map_err(|error| counterweight_core::Error::from(ModelError::file(path, error)))?;
        match kind(path).as_str() {
            "csv" => pipeline::write_map_table(&map, path)?,
            _ => {
                let png = pipeline::map_picture(&map, arguments.color.into())?;
                files::write_atomically(path, |out| out.write_all(&png)).map_err(|error| {
                    counterweight_core::Error::from(ModelError::file(path, error))
                })?;
            }
        }
    }
    let said = Said {
        checkpoint: map.checkpoint.clone(),
        images: map.points.len(),
        left_out: map.left_out,
        mistakes: map.points.iter().filter(|point| point.is_mistake()).count(),
        files: arguments.out.clone(),
    };
    context.console.result(&said, || {
        let files: Vec<String> = said.files.iter().map(|path| path.display().to_string()).collect();
        let left_out = match said.left_out {
            0 => String::new(),
            left_out => format!("; {left_out} are not on it"),
        };
        format!(
            "{} images by the features of the checkpoint {}, {} of them taken for another class{left_out}\n{}",
            said.images,
            said.checkpoint,
            said.mistakes,
            files.join("\n")
        )
    })
}
