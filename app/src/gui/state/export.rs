//! The export page: writing the model, and trying what was written.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use counterweight_core::Result;
use counterweight_core::export::{ExportReport, Variant};
use counterweight_core::images::{
    DEFAULT_MAX_PIXELS, Detail, RgbPixels, read_image_for, thumbnail, to_input,
};
use counterweight_core::infer::{InputOptions, OnnxClassifier, Prediction};
use counterweight_core::pipeline::{
    self, ActivationMaps, ActivationScale, BundleReport, VariantRequest, activation_overlay,
};
use counterweight_core::run::Run;
use egui::{ColorImage, TextureHandle, TextureOptions};

use super::data::reveal;
use super::run::OpenRun;
use super::shell::{Dialog, ErrorReport, Shell};
use super::source::read_pixels;
use crate::gui::command::{Command, ExportCommand};
use crate::gui::dialogs::{Asked, Question};
use crate::gui::paths::typed_path;
use crate::gui::worker::{Failure, Progress, Worker};

/// Predictions that are shown of an image.
const SHOWN: usize = 5;
/// Longest side of the picture beside them.
const PICTURE: u32 = 320;

/// An image that was tried on the exported model.
pub struct TriedImage {
    /// Where it comes from.
    pub name: String,
    /// What it shows, if that is known.
    pub truth: Option<String>,
    /// The image.
    pub picture: TextureHandle,
    /// The most probable classes.
    pub predictions: Vec<Prediction>,
    /// What running the model took, in milliseconds.
    pub milliseconds: f64,
    /// Where the network of the exported checkpoint looked, for the class that it answers and for
    /// the true one if that is another; or why that cannot be said.
    pub looked: Result<Vec<LookedFor>, String>,
}

/// Where a network looked for a class.
pub struct LookedFor {
    /// The class.
    pub class: String,
    /// The map over the image.
    pub picture: TextureHandle,
}

struct Answer {
    name: String,
    truth: Option<String>,
    pixels: RgbPixels,
    predictions: Vec<Prediction>,
    milliseconds: f64,
    looked: Result<Vec<(String, RgbPixels)>, String>,
    model: (PathBuf, Arc<OnnxClassifier>),
    maps: Option<Arc<ActivationMaps>>,
}

/// What was written.
enum Exported {
    File(Box<ExportReport>),
    Bundle(Box<BundleReport>),
}

/// The export page.
#[derive(Default)]
pub struct ExportState {
    /// Where the model is to be written.
    pub path_text: String,
    /// Whether a bundle is to be written, a folder, instead of one file.
    pub is_bundle: bool,
    /// Where the bundle is to be written.
    pub folder_text: String,
    /// The forms of the model that a bundle has besides the usual one.
    pub forms: Vec<Variant>,
    /// The bundle that was written last.
    pub bundled: Option<BundleReport>,
    /// The image field.
    pub image_text: String,
    /// The checkpoint; the run's final one without.
    pub checkpoint: Option<String>,
    /// Whether the classifier is exported as it was measured, and does not learn from the held-out
    /// images before.
    pub as_measured: bool,
    /// The sample of the test split that is tried next.
    pub sample: usize,
    /// Whether it is shown where in it the network looked.
    pub looks: bool,
    /// The last image that was tried.
    pub tried: Option<TriedImage>,
    /// Why the last image could not be tried.
    pub trouble: Option<String>,
    /// Why the last export failed.
    pub failure: Option<String>,
    /// The exported model, once it was loaded.
    model: Option<(PathBuf, Arc<OnnxClassifier>)>,
    /// The network that it was made of, once it was read.
    maps: Option<Arc<ActivationMaps>>,
    exporting: Option<Worker<Exported>>,
    trying: Option<Worker<Answer>>,
}

impl ExportState {
    /// Whether a model is being written.
    pub fn is_exporting(&self) -> bool {
        self.exporting.is_some()
    }

    /// Whether an image is being classified.
    pub fn is_trying(&self) -> bool {
        self.trying.is_some()
    }

    /// How far exporting is.
    pub fn progress(&self) -> Option<&Progress> {
        self.exporting.as_ref().map(|worker| &worker.progress)
    }

    /// Begins anew for a run that was opened.
    pub fn open(&mut self, run: &OpenRun) {
        // Beside the run and not in it: the model outlives the run when that is deleted.
        let path = run.folder.with_file_name(format!("{}.onnx", run.name()));
        let folder = run.folder.with_file_name(format!("{}-bundle", run.name()));
        *self = Self {
            path_text: path.display().to_string(),
            folder_text: folder.display().to_string(),
            ..Self::default()
        };
    }

    /// Forgets the loaded model: its file is another one now, or belongs to a checkpoint that is
    /// gone.
    pub fn forget_model(&mut self) {
        self.model = None;
        self.maps = None;
        self.tried = None;
        self.trouble = None;
    }

    /// Does what was asked.
    pub fn apply(&mut self, command: ExportCommand, run: Option<&OpenRun>, shell: &mut Shell) {
        match command {
            ExportCommand::PickPath if self.is_bundle => {
                let then = |path| Command::Export(ExportCommand::SetPath(path));
                let title = "Choose an empty folder for the bundle";
                shell.asked = Some(Asked::new(&shell.ctx, title, None, Question::Folder, then));
            }
            ExportCommand::PickPath => {
                let path = typed_path(&self.path_text);
                let name = path.file_name().map_or_else(
                    || "model.onnx".into(),
                    |name| name.to_string_lossy().into_owned(),
                );
                let question = Question::Save(name, "ONNX model", &["onnx"]);
                let start = path.parent().map(Path::to_path_buf);
                // The field shows what was chosen; exporting is another click.
                let then = |path: PathBuf| Command::Export(ExportCommand::SetPath(path));
                shell.asked =
                    Some(Asked::new(&shell.ctx, "Export the model", start, question, then));
            }
            ExportCommand::SetPath(path) if self.is_bundle => {
                self.folder_text = path.display().to_string()
            }
            ExportCommand::SetPath(path) => self.path_text = path.display().to_string(),
            // A folder is only ever replaced if it is an older bundle.
            ExportCommand::Export if self.is_bundle => self.export(run, shell),
            ExportCommand::Export => {
                let path = typed_path(&self.path_text);
                let own = run
                    .and_then(|run| run.exported.as_ref())
                    .is_some_and(|report| report.path == path);
                match path.is_file() && !own {
                    true => shell.dialog = Some(Dialog::ReplaceFile(path)),
                    false => self.export(run, shell),
                }
            }
            ExportCommand::Replace => self.export(run, shell),
            ExportCommand::Stop => {
                if let Some(worker) = &self.exporting {
                    worker.stop();
                }
            }
            ExportCommand::Reveal => {
                if let Some(report) = run.and_then(|run| run.exported.as_ref()) {
                    reveal(report.path.clone(), shell);
                }
            }
            ExportCommand::PickImage => {
                let question = Question::File(
                    "Images",
                    &["png", "jpg", "jpeg", "webp", "bmp", "gif", "tif", "tiff"],
                );
                let then = |path| Command::Export(ExportCommand::TryImage(path));
                shell.asked = Some(Asked::new(&shell.ctx, "Try an image", None, question, then));
            }
            ExportCommand::TryImage(path) => {
                self.image_text = path.display().to_string();
                if path.is_dir() {
                    self.tried = None;
                    self.trouble = Some(
                        "This is a folder. The page Predict classifies all images of a folder"
                            .into(),
                    );
                    return;
                }
                let name = path.display().to_string();
                self.try_pixels(run, name, None, shell, move |detail| {
                    Ok(read_image_for(&path, DEFAULT_MAX_PIXELS, detail)?)
                });
            }
            ExportCommand::TrySample(index) => {
                let Some(run) = run else { return };
                let Some(sample) = run.examples.get(index) else { return };
                self.sample = index;
                let (root, kind, location) = (run.root.clone(), run.kind, sample.location.clone());
                let name = location.to_text();
                let truth = run.classes.get(sample.class).cloned();
                self.try_pixels(Some(run), name, truth, shell, move |detail| {
                    read_pixels(&root, kind, &location, detail)
                });
            }
        }
    }

    fn export(&mut self, run: Option<&OpenRun>, shell: &mut Shell) {
        let Some(run) = run.filter(|run| run.has_checkpoint() && self.exporting.is_none()) else {
            return;
        };
        let text = if self.is_bundle { self.folder_text.trim() } else { self.path_text.trim() };
        if text.is_empty() {
            self.failure = Some("Name a file to write, such as model.onnx".into());
            return;
        }
        self.failure = None;
        let (folder, path, checkpoint) =
            (run.folder.clone(), typed_path(text), self.checkpoint.clone());
        let refit = Some(run.can_refit && !self.as_measured);
        let forms: Option<Vec<VariantRequest>> =
            self.is_bundle.then(|| self.forms.iter().copied().map(VariantRequest::new).collect());
        self.exporting = Some(Worker::spawn("export", &shell.ctx, move |job| {
            let run = Run::open(&folder)?;
            let what = pipeline::Exported {
                checkpoint: checkpoint.as_deref(),
                refit,
                uncalibrated: false,
            };
            Ok(match forms {
                Some(forms) => {
                    Exported::Bundle(Box::new(pipeline::bundle(&run, what, &path, &forms, job)?))
                }
                None => Exported::File(Box::new(pipeline::export(&run, what, &path, job)?)),
            })
        }));
    }

    fn try_pixels(
        &mut self,
        run: Option<&OpenRun>,
        name: String,
        truth: Option<String>,
        shell: &Shell,
        read: impl Fn(Detail) -> Result<RgbPixels> + Send + 'static,
    ) {
        let Some(report) = run.and_then(|run| run.exported.as_ref()) else { return };
        let path = report.path.clone();
        let (folder, checkpoint) = (run.map(|run| run.folder.clone()), report.checkpoint.clone());
        let maps = self.maps.clone();
        let loaded = self.model.clone().filter(|(loaded, _)| *loaded == path);
        self.trouble = None;
        self.trying = Some(Worker::spawn("try", &shell.ctx, move |_| {
            let model = match loaded {
                Some((_, model)) => model,
                None => Arc::new(OnnxClassifier::open(&path, &InputOptions::default())?),
            };
            // What `predict` would see.
            let pixels = read(Detail::Side(model.input_size() as u32))?;
            let started = std::time::Instant::now();
            let probabilities = model
                .classify(&[to_input(&pixels, model.input_shape())])?
                .pop()
                .unwrap_or_default();
            let milliseconds = started.elapsed().as_secs_f64() * 1e3;
            let predictions = model.top_k(&probabilities, SHOWN);
            // A small network needs less of a photo than is shown of it.
            let shown = if pixels.width.max(pixels.height) < PICTURE {
                read(Detail::Side(PICTURE))?
            } else {
                pixels
            };
            let picture = thumbnail(&shown, PICTURE);
            let (maps, looked) = match maps.map_or_else(|| open_maps(folder, &checkpoint), Ok) {
                Ok(maps) => {
                    let classes =
                        [predictions.first().map(|best| best.class.clone()), truth.clone()];
                    let looked = look(&maps, &read(maps.detail())?, &picture, classes);
                    (Some(maps), looked.map_err(|error| error.to_string()))
                }
                Err(error) => (None, Err(error.to_string())),
            };
            Ok(Answer {
                name,
                truth,
                pixels: picture,
                predictions,
                milliseconds,
                looked,
                maps,
                model: (path, model),
            })
        }));
    }

    /// Takes what the jobs have done. Returns whether the run's folder has changed.
    pub fn poll(&mut self, shell: &mut Shell) -> bool {
        if let Some(worker) = &mut self.trying
            && let Some(done) = worker.poll().done
        {
            self.trying = None;
            match done {
                Ok(answer) => {
                    let size = [answer.pixels.width as usize, answer.pixels.height as usize];
                    let image = ColorImage::from_rgb(size, &answer.pixels.data);
                    let picture =
                        shell.ctx.load_texture("tried image", image, TextureOptions::NEAREST);
                    let Answer {
                        name, truth, predictions, milliseconds, looked, model, maps, ..
                    } = answer;
                    (self.model, self.maps) = (Some(model), maps);
                    let looked = looked.map(|found| {
                        let shown = |(class, pixels): (String, RgbPixels)| {
                            let size = [pixels.width as usize, pixels.height as usize];
                            let image = ColorImage::from_rgb(size, &pixels.data);
                            let name = format!("map of {class}");
                            let picture =
                                shell.ctx.load_texture(name, image, TextureOptions::NEAREST);
                            LookedFor { class, picture }
                        };
                        found.into_iter().map(shown).collect()
                    });
                    self.tried = Some(TriedImage {
                        name,
                        truth,
                        picture,
                        predictions,
                        milliseconds,
                        looked,
                    });
                }
                Err(Failure::Stopped) => {}
                Err(Failure::Failed(error)) => {
                    let reason = error.to_string();
                    shell.info(format!("The image could not be tried: {reason}"));
                    self.trouble = Some(reason);
                }
            }
        }
        let Some(worker) = &mut self.exporting else { return false };
        let news = worker.poll();
        shell.messages(news.messages);
        let Some(done) = news.done else { return false };
        self.exporting = None;
        match done {
            Ok(exported) => {
                self.forget_model();
                let (what, path) = match &exported {
                    Exported::File(report) => ("Exported", &report.path),
                    Exported::Bundle(report) => ("The bundle is written", &report.folder),
                };
                shell.notice(format!("{what}, and the file check passed: {}", path.display()));
                self.bundled = match exported {
                    Exported::File(_) => None,
                    Exported::Bundle(report) => Some(*report),
                };
                true
            }
            Err(Failure::Stopped) => {
                shell.notice("Exporting was stopped; no file was written");
                false
            }
            Err(Failure::Failed(error)) => {
                let reason = error.to_string();
                self.failure = Some(reason.clone());
                shell.failed(ErrorReport {
                    title: "The model could not be exported".into(),
                    reason,
                    kept: "Nothing half-written is left, and the run is as it was.".into(),
                    advice: "Choose a place you may write to and that has room, then export again."
                        .into(),
                });
                false
            }
        }
    }

    /// Ends the export and waits for it.
    pub fn finish(&mut self) {
        if let Some(worker) = self.exporting.take() {
            worker.stop_and_wait();
        }
    }
}

/// The network of a checkpoint, which says where it looks.
fn open_maps(folder: Option<PathBuf>, checkpoint: &str) -> Result<Arc<ActivationMaps>> {
    let run = Run::open(&folder.unwrap_or_default())?;
    let name = Some(checkpoint).filter(|name| !name.is_empty());
    Ok(Arc::new(ActivationMaps::open(&run, name)?))
}

/// Maps of some classes over a picture of the image; a class that is named twice has one.
fn look(
    maps: &ActivationMaps,
    image: &RgbPixels,
    picture: &RgbPixels,
    classes: [Option<String>; 2],
) -> Result<Vec<(String, RgbPixels)>> {
    let looked = maps.look(image)?;
    let mut places: Vec<usize> = Vec::new();
    for class in classes.iter().flatten() {
        let place = maps.classes().iter().position(|name| name == class);
        places.extend(place.filter(|place| !places.contains(place)));
    }
    let found: Vec<_> = places.iter().map(|&class| maps.map(&looked, class)).collect();
    let scale = ActivationScale::of(&found);
    let drawn = |map| activation_overlay(picture, map, scale);
    Ok(found.iter().map(|map| (maps.classes()[map.class].clone(), drawn(map))).collect())
}
