//! From a source to a checked model in one go.

use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::tensor::Device;
use serde::Serialize;

use super::auto::{Choice, Chosen, Offer};
use super::balance::{BalanceReport, balance};
use super::export::{Exported, export};
use super::refit::{REFIT, no_refit};
use super::train::{CHOICES, finish, new_run};
use super::workshop::Workshop;
use crate::balance::Tuning;
use crate::dataset::{BuildOptions, Dataset};
use crate::error::{ModelError, Result, RunError};
use crate::export::{ExportReport, Refit};
use crate::files;
use crate::job::Job;
use crate::run::{Place, Run};
use crate::settings::{Auto, Settings};
use crate::source::{ScanOptions, Split};

/// What to make a model of.
#[derive(Clone, Debug)]
pub struct MakeRequest<'a> {
    /// A folder of images, or anything else that can be trained on.
    pub source: &'a Path,
    /// What a dataset is built of a source with: new names of its classes, and what makes images belong
    /// together, so that they are held out together.
    pub build: BuildOptions,
    /// How the source is read.
    pub scan: ScanOptions,
    /// The model's file.
    pub out: &'a Path,
    /// The run folder; without it, one beside the model that is named after it. What an earlier
    /// `make` left there is replaced once the new run is finished.
    pub run: Option<&'a Path>,
    /// Whether a run of another source, or a model without its run, may be replaced.
    pub replace: bool,
    /// The settings.
    pub settings: Settings,
    /// Whether the classifier learns once more, from the held-out images as well, before it is
    /// exported, where that is possible.
    pub refit: bool,
}

/// What was made.
#[derive(Debug, Serialize)]
pub struct MakeReport {
    /// The model.
    pub model: PathBuf,
    /// The run it was made in.
    pub run: PathBuf,
    /// Every choice that was made in place of the person.
    pub choices: Vec<Choice>,
    /// What may be better and was not done.
    pub offer: Option<Offer>,
    /// Training samples of each class, n_k.
    pub train_counts: Vec<usize>,
    /// Before and after balancing.
    pub balance: BalanceReport,
    /// The file's check.
    pub export: ExportReport,
    /// Wall time in seconds.
    pub seconds: f64,
}

/// The file that says that a run was made by [`make`] and may be replaced by it.
const MARK: &str = "make";

/// The setting that says what of an image is seen.
const FIT: &str = "model.fit";
/// What was found of images holds until this part of them is new: a quarter.
const NEW_PART: usize = 4;

/// Scans the source, holds out validation and test, trains, balances, compares before with after,
/// exports and checks the file: what `inspect`, `build`, `train`, `balance` and `export` do with
/// what they take by default.
///
/// # Errors
/// Whatever the steps meet; a run folder that holds something else.
pub fn make(request: &MakeRequest<'_>, device: &Device, job: Job<'_>) -> Result<MakeReport> {
    let started = Instant::now();
    let folder = request.run.map_or_else(|| beside(request.out), Path::to_path_buf);
    let folder_error =
        |reason: &str| RunError::Folder { path: folder.clone(), reason: reason.into() };
    let earlier = Run::is_run(&folder);
    if earlier && !is_marked(&folder) {
        return Err(folder_error(
            "holds a run that `make` did not make; choose another folder with --run",
        )
        .into());
    }
    // What cannot be put there in the end is said before the work.
    let place = Place::hold(&folder)?;
    files::destination(request.out).map_err(|error| ModelError::file(request.out, error))?;
    let dataset = Dataset::open_with(request.source, &request.scan, &request.build, job)?;
    let mut settings = request.settings.clone();
    let mut known = None;
    if earlier {
        let run = Run::open(&folder)?;
        let is_same = is_of_the_same(&run, request.source, &dataset);
        if is_same && settings.model.fit == Auto::AUTO {
            known = known_fit(&run, &dataset);
            settings.model.fit = known.as_ref().map_or(Auto::AUTO, |_| run.settings().model.fit);
        }
        if !is_same && !request.replace {
            return Err(folder_error(&format!(
                "holds a run of another source, {}; choose another model file with --out or another folder with --run, or have it replaced with --force",
                run.origin().path.display()
            ))
            .into());
        }
    }
    if !earlier && !request.replace && request.out.exists() {
        let reason = "is there already, and not of a run in the folder that this one goes to; choose another file, or have it replaced with --force";
        return Err(ModelError::file(request.out, reason).into());
    }
    let train_counts = dataset.counts(Split::Train);
    let mut choices = splits(&dataset);
    choices.extend(known);
    // The new run is made beside the old one, which is lost only when there is something better in
    // its place.
    let workshop = Workshop::beside(place, &folder)?;
    let mut run = new_run(workshop.folder(), settings, dataset, device, job)?;
    finish(&mut run, device, job)?;
    let chosen = run.read_result::<Chosen>(CHOICES).ok();
    choices.extend(chosen.iter().flat_map(|chosen| chosen.choices.clone()));
    let settings = run.settings().clone();
    let balance = balance(&mut run, &settings, device, job)?;
    choices.push(balancer(&balance, run.read_result("tune").ok()));
    let refit = request.refit && no_refit(&run).is_none();
    let what = Exported { refit: Some(refit), ..Exported::default() };
    let export = export(&run, what, request.out, job)?;
    if let Some(refit) = &export.refit {
        run.keep_result(REFIT, refit, job);
        choices.push(learned_in_the_end(refit));
    }
    run.keep_result(MARK, &choices, job);
    drop(run);
    let run = workshop.put(job);
    Ok(MakeReport {
        model: request.out.to_path_buf(),
        run,
        choices,
        offer: chosen.and_then(|chosen| chosen.offer),
        train_counts,
        balance,
        export,
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// `photos.onnx` is made in `photos-run`.
fn beside(out: &Path) -> PathBuf {
    let mut name = out.file_stem().unwrap_or_default().to_os_string();
    name.push("-run");
    out.with_file_name(name)
}

/// What was found of images that are not square when this was made before, unless much has come since:
/// it takes as long as all the rest where features are known.
fn known_fit(earlier: &Run, dataset: &Dataset) -> Option<Choice> {
    let images = earlier.dataset().samples.len();
    if dataset.samples.len().abs_diff(images) > images / NEW_PART {
        return None;
    }
    let chosen = earlier.read_result::<Chosen>(CHOICES).ok()?;
    let made = earlier.read_result::<Vec<Choice>>(MARK).ok()?;
    chosen.choices.into_iter().chain(made).find(|choice| choice.setting == FIT)
}

/// Whether a run was made of this source, or of the same images below another name.
fn is_of_the_same(run: &Run, source: &Path, dataset: &Dataset) -> bool {
    let hashes = [&run.dataset().provenance.source_hash, &dataset.provenance.source_hash];
    run.is_made_of(source)
        || run.is_made_of(&dataset.root)
        || (hashes[0] == hashes[1] && !hashes[0].is_empty())
}

fn is_marked(folder: &Path) -> bool {
    Run::open(folder).is_ok_and(|run| run.read_result::<Vec<Choice>>(MARK).is_ok())
}

/// What was held out, and the option that changes it.
fn splits(dataset: &Dataset) -> Vec<Choice> {
    let [train, validation, test] = Split::ALL.map(|split| dataset.split(split).len());
    let to_choose_by = match validation {
        0 => "none to choose by (parts of those are held out in turn)".to_string(),
        images => format!("{images} to choose by"),
    };
    let drawn: Vec<String> = dataset
        .provenance
        .drawn
        .iter()
        .map(|split| match split {
            // Of which a mean over classes is known alike.
            Split::Test => {
                let most = dataset.counts(*split).into_iter().max().unwrap_or_default();
                format!("up to {most} of each class for test, frequent or rare")
            }
            _ => format!("a share of each class for {split}"),
        })
        .collect();
    let how = match drawn.as_slice() {
        [] => "as the source says".to_string(),
        drawn => drawn.join(", and "),
    };
    let together = match dataset.provenance.options.group_by {
        Some(_) => "",
        None => "--group-by to keep images together; ",
    };
    vec![Choice {
        setting: "splits".into(),
        value: format!("{train} images to train on, {to_choose_by}, {test} to report on"),
        reason: match dataset.provenance.notes.first() {
            Some(note) => format!("{how}; {note}"),
            None => how,
        },
        option: format!(
            "{together}for other shares, or another draw (build --seed), counterweight build, then make of the file it writes"
        ),
    }]
}

fn learned_in_the_end(refit: &Refit) -> Choice {
    Choice {
        setting: "the file".into(),
        value: format!(
            "learned from {} images in the end, the {} held out among them",
            refit.images, refit.held_out
        ),
        reason: "once they had told how good the way is: a classifier is better for every image, of rare classes above all".into(),
        option: "--no-refit".into(),
    }
}

fn balancer(report: &BalanceReport, tuning: Option<Tuning>) -> Choice {
    Choice {
        setting: "balance".into(),
        value: crate::balance::describe(&report.settings),
        reason: tuning.map_or_else(
            || "as the settings say".into(),
            |tuning| tuning.reason.trim_end_matches('.').to_string(),
        ),
        option: "--set balance.balancers=…".into(),
    }
}
