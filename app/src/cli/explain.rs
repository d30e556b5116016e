//! `counterweight explain`: where in an image a run looked for a class.

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use counterweight_core::error::ModelError;
use counterweight_core::export::Refit;
use counterweight_core::files;
use counterweight_core::images::{DEFAULT_MAX_PIXELS, Detail, read_image_for, thumbnail};
use counterweight_core::infer::{Inputs, Prediction};
use counterweight_core::job::Job;
use counterweight_core::pipeline::{
    ActivationMap, ActivationMaps, Looked, REFIT, activation_sheet,
};
use counterweight_core::run::Run;
use counterweight_core::settings::ImageFit;
use serde::Serialize;

use super::{Context, PartialFailure};

/// Longest side of the picture that maps are laid over, in pixels.
const PICTURE: u32 = 640;
/// Classes that are listed of an image.
const TOP: usize = 5;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The run folder
    run: PathBuf,
    /// Images: files, folders and all below them, or patterns such as 'new/**/*.jpg'
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// A class to show the map of; may be given several times [default: the class predicted, and the
    /// one whose name the image's folder has]
    #[arg(long, value_name = "NAME")]
    class: Vec<String>,
    /// The checkpoint: last, best or balanced [default: balanced, else best, else last]
    #[arg(long, value_name = "NAME")]
    checkpoint: Option<String>,
    /// The folder that the pictures are written to
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
}

/// What is said of one image.
#[derive(Serialize)]
struct Line {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    picture: Option<PathBuf>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    top: Vec<Prediction>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    maps: Vec<MapLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// A map as numbers.
#[derive(Serialize)]
struct MapLine {
    class: String,
    /// The mean of the map plus the bias.
    logit: f32,
    bias: f32,
    /// What of the image the map covers: `crop`, its largest centred square, or `stretch`, all of it.
    fit: ImageFit,
    /// One row after the other, from the top.
    map: Vec<Vec<f32>>,
}

pub fn run(arguments: &Arguments, context: &Context) -> Result<()> {
    let job = Job::new(&context.control, context.console);
    let run = Run::open(&arguments.run)?;
    let maps = ActivationMaps::open(&run, arguments.checkpoint.as_deref())?;
    let chosen =
        arguments.class.iter().map(|name| place(&maps, name)).collect::<Result<Vec<_>>>()?;
    let inputs = Inputs::find(&arguments.images, job)?;
    let (files, mut failed) = (inputs.files, inputs.problems.len());
    let all = files.len() + failed;
    if all == 0 {
        bail!("there is no image among what is named");
    }
    if run.read_result::<Refit>(REFIT).is_ok() {
        job.info("shown is the classifier as it was measured; the exported one has learned once more, from all images, and may answer otherwise");
    }
    for problem in &inputs.problems {
        context.console.line(&format!("error: {}: {}", problem.path.display(), problem.reason));
    }
    let own: HashSet<PathBuf> = files.iter().filter_map(|file| file.canonicalize().ok()).collect();
    let mut names = HashSet::new();
    job.phase("explaining", Some(files.len() as u64), "images");
    for (done, file) in files.iter().enumerate() {
        job.check()?;
        let to = free_place(&arguments.out, file, &mut names, &own);
        let line = explain(&maps, file, &chosen, &to).unwrap_or_else(|error| Line {
            path: file.display().to_string(),
            picture: None,
            top: Vec::new(),
            maps: Vec::new(),
            error: Some(error.to_string()),
        });
        failed += usize::from(line.error.is_some());
        match context.console.is_json() {
            true => context.console.row(&serde_json::to_string(&line)?)?,
            false => print(context, &line)?,
        }
        job.progress(done as u64 + 1);
    }
    context.console.finish();
    match failed {
        0 => Ok(()),
        _ if failed >= all => bail!("none of {failed} images could be explained"),
        _ => Err(PartialFailure(format!("{failed} of {all} images could not be explained")).into()),
    }
}

fn place(maps: &ActivationMaps, name: &str) -> Result<usize> {
    let found = maps.classes().iter().position(|class| class == name);
    found.map_or_else(
        || {
            let most = 8;
            let some = maps.classes().iter().take(most).cloned().collect::<Vec<_>>().join(", ");
            let more = if maps.classes().len() > most { ", …" } else { "" };
            bail!("the run has no class `{name}`; there are {some}{more}")
        },
        Ok,
    )
}

/// A place in the folder `out` for the picture of a file, that no other file's picture has and where
/// none of the explained images lies. A picture of an earlier call is replaced.
fn free_place(
    out: &Path,
    file: &Path,
    names: &mut HashSet<String>,
    own: &HashSet<PathBuf>,
) -> PathBuf {
    let stem = file.file_stem().map_or_else(|| "image".into(), |stem| stem.to_string_lossy());
    let place = |number: usize| {
        let name = match number {
            1 => format!("{stem}-explained.png"),
            number => format!("{stem}-explained-{number}.png"),
        };
        (out.join(&name), name)
    };
    let is_own = |place: &Path| place.canonicalize().is_ok_and(|place| own.contains(&place));
    let free = (1..).map(place).find(|(to, name)| !is_own(to) && names.insert(name.clone()));
    free.map_or_else(|| out.join("explained.png"), |(to, _)| to)
}

fn explain(
    maps: &ActivationMaps,
    file: &Path,
    chosen: &[usize],
    to: &Path,
) -> counterweight_core::Result<Line> {
    // The network sees what evaluation and the exported file see.
    let looked = maps.look(&read_image_for(file, DEFAULT_MAX_PIXELS, maps.detail())?)?;
    let classes = if chosen.is_empty() { usual(maps, &looked, file) } else { chosen.to_vec() };
    let shown = read_image_for(file, DEFAULT_MAX_PIXELS, Detail::Side(PICTURE))?;
    let (width, height) = (shown.width, shown.height);
    let drawn: Vec<(ActivationMap, [String; 2])> = classes
        .iter()
        .map(|&class| {
            let map = maps.map(&looked, class);
            let first = if class == looked.predicted() { "predicted, " } else { "" };
            let share = 100.0 * looked.probabilities[class];
            let second = format!("{first}{share:.1} %, logit {:.2}", map.logit());
            (map, [maps.classes()[class].clone(), second])
        })
        .collect();
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let picture = thumbnail(&shown, PICTURE);
    let size = format!("{width} × {height} pixels");
    let png = activation_sheet(&picture, [name.as_ref(), size.as_str()], &drawn)?;
    files::write_atomically(to, |out| out.write_all(&png))
        .map_err(|error| ModelError::file(to, error))?;
    let prediction = |&class: &usize| Prediction {
        class: maps.classes()[class].clone(),
        probability: looked.probabilities[class],
    };
    let map = |(map, _): &(ActivationMap, [String; 2])| MapLine {
        class: maps.classes()[map.class].clone(),
        logit: map.logit(),
        bias: map.bias,
        fit: map.fit,
        map: map.values.chunks_exact(map.width).map(<[f32]>::to_vec).collect(),
    };
    Ok(Line {
        path: file.display().to_string(),
        picture: Some(to.to_path_buf()),
        top: looked.ranked().iter().take(TOP).map(prediction).collect(),
        maps: drawn.iter().map(map).collect(),
        error: None,
    })
}

/// The class predicted, and before it the one that the image is of, if its folder has the name of
/// another class.
fn usual(maps: &ActivationMaps, looked: &Looked, file: &Path) -> Vec<usize> {
    let folder = file.parent().and_then(Path::file_name).map(|name| name.to_string_lossy());
    let truth = maps.classes().iter().position(|class| Some(class.as_str()) == folder.as_deref());
    let truth = truth.filter(|&truth| truth != looked.predicted());
    truth.into_iter().chain([looked.predicted()]).collect()
}

fn print(context: &Context, line: &Line) -> Result<()> {
    if let Some(error) = &line.error {
        context.console.line(&format!("error: {error}"));
        return Ok(());
    }
    let best =
        line.top.iter().take(2).map(|prediction| {
            format!("{} {:.1} %", prediction.class, 100.0 * prediction.probability)
        });
    let best = best.collect::<Vec<_>>().join(", ");
    let picture = line.picture.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
    context.console.row(&format!("{}: {best}; {picture}", line.path))
}
