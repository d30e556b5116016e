//! The page that classifies folders of images with an exported model.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use counterweight_core::error::Result;
use counterweight_core::infer::{
    InputOptions, Inputs, OnnxClassifier, Placing, Prediction, PredictionRow, PredictionTable,
    SORTED, Sorter,
};
use counterweight_core::source::{ImageReader, SourceKind};

use super::data::reveal;
use super::shell::{ErrorReport, Shell};
use super::{OpenRun, Thumbnails, next_revision};
use crate::gui::command::{Command, PredictCommand};
use crate::gui::dialogs::{Asked, Question};
use crate::gui::paths::typed_path;
use crate::gui::widgets::TableState;
use crate::gui::worker::{Failure, Progress, Worker};

/// Classes that are kept of each image.
const TOP: usize = 3;
/// Folders above an image that may be named after its class, and parts of such a name, at most.
const DEPTH: usize = 4;

/// What the model says of one image.
pub struct PredictedImage {
    /// The image.
    pub file: PathBuf,
    /// Its most probable classes; none if it could not be classified.
    pub top: Vec<Prediction>,
    /// The place of the best class in label order.
    pub class: Option<usize>,
    /// That of the class that a folder it lies in is named after.
    pub folder: Option<usize>,
    /// Why it could not be classified.
    pub error: Option<String>,
}

/// What folders that are named after classes say of a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ByFolders {
    /// Images in such folders that were classified.
    pub images: usize,
    /// Those that were taken for the class of their folder.
    pub right: usize,
    /// The mean of the shares of the classes, each in 0..1.
    pub balanced: f64,
    /// The classes that have such a folder.
    pub classes: usize,
}

impl ByFolders {
    /// Of nothing that could be said so where most images lie elsewhere, or all in one class.
    fn of(images: &[PredictedImage], classes: usize) -> Option<Self> {
        let mut counts = vec![[0_usize; 2]; classes];
        let classified = || images.iter().filter(|image| image.class.is_some());
        for image in classified() {
            let Some(folder) = image.folder else { continue };
            counts[folder][0] += usize::from(image.class == Some(folder));
            counts[folder][1] += 1;
        }
        let present: Vec<[usize; 2]> = counts.into_iter().filter(|[_, all]| *all > 0).collect();
        let all: usize = present.iter().map(|[_, all]| all).sum();
        let share = |[right, all]: &[usize; 2]| *right as f64 / *all as f64;
        (present.len() > 1 && 2 * all > classified().count()).then(|| Self {
            images: all,
            right: present.iter().map(|[right, _]| right).sum(),
            balanced: present.iter().map(share).sum::<f64>() / present.len() as f64,
            classes: present.len(),
        })
    }
}

/// The class that the nearest folder of a file is named after, which may be several folders one below
/// the other.
fn class_of_folder(file: &Path, classes: &HashMap<String, usize>) -> Option<usize> {
    let folder = file.parent()?;
    let parts: Vec<Cow<'_, str>> =
        folder.components().rev().map(|part| part.as_os_str().to_string_lossy()).collect();
    (0..parts.len().min(DEPTH)).find_map(|first| {
        (first..parts.len().min(first + DEPTH)).rev().find_map(|last| {
            let name: Vec<&str> = parts[first..=last].iter().rev().map(AsRef::as_ref).collect();
            classes.get(&name.join("/")).copied()
        })
    })
}

/// What came of a folder.
pub struct Predicted {
    /// The model.
    pub model: PathBuf,
    /// Class names, in label order.
    pub classes: Vec<String>,
    /// Every image, in the order of their names.
    pub images: Arc<Vec<PredictedImage>>,
    /// The folder that all of them are in or below.
    folder: PathBuf,
    /// Whether it was stopped before all were classified.
    pub is_partial: bool,
    /// Images that could not be read or classified.
    pub unreadable: usize,
    /// What folders named after classes say of it, if most images lie in such.
    pub by_folders: Option<ByFolders>,
    /// Another one for every result.
    pub revision: u64,
    reader: Arc<ImageReader>,
}

/// Which images are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shown {
    /// All of them.
    #[default]
    All,
    /// Those that are taken for a class.
    Class(usize),
    /// Those whose best class is less probable than the threshold.
    Unsure,
    /// Those that are taken for another class than that of their folder.
    Elsewhere,
    /// Those that could not be classified.
    Unreadable,
}

/// The page.
pub struct PredictState {
    /// The model's file.
    pub model_text: String,
    /// The model that was offered last.
    offered: String,
    /// The folder of images, or one image.
    pub images_text: String,
    /// Probability of the best class below which an image is called unsure; 0 for never.
    pub threshold: f32,
    /// That which the model that was offered names itself.
    usual_threshold: Option<f32>,
    /// How images come into the folders they are sorted into.
    pub placing: Placing,
    /// What was found.
    pub found: Option<Predicted>,
    /// Which of it is shown.
    pub shown: Shown,
    /// How the table is sorted and searched.
    pub table: TableState,
    /// Why nothing could be classified.
    pub failure: Option<String>,
    /// What was last written of it, for people.
    pub written: Option<String>,
    /// Small pictures of the images.
    pub thumbnails: Option<Thumbnails>,
    classifying: Option<Worker<Predicted>>,
    writing: Option<Worker<String>>,
}

impl Default for PredictState {
    fn default() -> Self {
        Self {
            model_text: String::new(),
            offered: String::new(),
            images_text: String::new(),
            threshold: 0.0,
            usual_threshold: None,
            placing: Placing::Copy,
            found: None,
            shown: Shown::All,
            // The least sure first: those are the ones to look at.
            table: TableState::sorted_by(2, false),
            failure: None,
            written: None,
            thumbnails: None,
            classifying: None,
            writing: None,
        }
    }
}

impl PredictedImage {
    /// The probability of the best class.
    pub fn probability(&self) -> f32 {
        self.top.first().map_or(0.0, |best| best.probability)
    }

    /// Whether it is taken for another class than that of its folder.
    pub fn is_elsewhere(&self) -> bool {
        self.class.is_some() && self.folder.is_some_and(|folder| self.class != Some(folder))
    }

    /// Whether its best class is less probable than the threshold.
    pub fn is_unsure(&self, threshold: f32) -> bool {
        self.class.is_some() && self.probability() < threshold
    }
}

impl Predicted {
    /// How an image is told from the others: its path below the folder that all are in.
    pub fn name<'a>(&self, image: &'a PredictedImage) -> Cow<'a, str> {
        image.file.strip_prefix(&self.folder).unwrap_or(&image.file).to_string_lossy()
    }

    /// How many images are taken for each class, and how many are unsure.
    pub fn counts(&self, threshold: f32) -> (Vec<usize>, usize) {
        let (mut counts, mut unsure) = (vec![0; self.classes.len()], 0);
        for image in self.images.iter() {
            match image.class {
                Some(_) if image.is_unsure(threshold) => unsure += 1,
                Some(class) => counts[class] += 1,
                None => {}
            }
        }
        (counts, unsure)
    }

    /// The numbers of the images that are shown.
    pub fn chosen(&self, shown: Shown, threshold: f32) -> Vec<usize> {
        let is_shown = |image: &PredictedImage| match shown {
            Shown::All => true,
            Shown::Class(class) => image.class == Some(class) && !image.is_unsure(threshold),
            Shown::Unsure => image.is_unsure(threshold),
            Shown::Elsewhere => image.is_elsewhere(),
            Shown::Unreadable => image.class.is_none(),
        };
        (0..self.images.len()).filter(|&index| is_shown(&self.images[index])).collect()
    }
}

/// The deepest folder that all files are in or below.
fn common_folder<'a>(files: impl Iterator<Item = &'a Path>) -> PathBuf {
    let folders = files.map(|file| file.parent().unwrap_or(Path::new("")).to_path_buf());
    let shared = folders.reduce(|shared, folder| {
        shared
            .components()
            .zip(folder.components())
            .take_while(|(a, b)| a == b)
            .map(|(a, _)| a)
            .collect()
    });
    shared.unwrap_or_default()
}

impl PredictState {
    /// Whether images are being classified, or what was found is being written.
    pub fn is_busy(&self) -> bool {
        self.classifying.is_some() || self.writing.is_some()
    }

    /// Whether files are being written or moved, which is not to be cut short.
    pub fn is_writing(&self) -> bool {
        self.writing.is_some()
    }

    /// How far it is.
    pub fn progress(&self) -> Option<&Progress> {
        let writing = self.writing.as_ref().map(|worker| &worker.progress);
        writing.or_else(|| self.classifying.as_ref().map(|worker| &worker.progress))
    }

    /// Offers the model that a run was exported as, if no other was named.
    pub fn offer(&mut self, run: &OpenRun) {
        if let Some(report) = &run.exported
            && (self.model_text.trim().is_empty() || self.model_text == self.offered)
        {
            let threshold = report.calibration.as_ref().and_then(|found| found.threshold.as_ref());
            self.usual_threshold = threshold.map(|threshold| threshold.probability as f32);
            self.offered = report.path.display().to_string();
            self.model_text.clone_from(&self.offered);
        }
    }

    /// The threshold that the model names itself, unless it is the one that is taken.
    pub fn usual_threshold(&self) -> Option<f32> {
        let is_offered = self.model_text == self.offered;
        self.usual_threshold.filter(|usual| is_offered && *usual != self.threshold)
    }

    /// Does what was asked.
    pub fn apply(&mut self, command: PredictCommand, shell: &mut Shell) {
        match command {
            PredictCommand::PickModel => {
                let question = Question::File("ONNX model", &["onnx"]);
                let then = |path| Command::Predict(PredictCommand::SetModel(path));
                shell.asked = Some(Asked::new(&shell.ctx, "Choose a model", None, question, then));
            }
            PredictCommand::SetModel(path) => self.model_text = path.display().to_string(),
            PredictCommand::PickImages => {
                let then = |path| Command::Predict(PredictCommand::SetImages(path));
                let asked = Asked::new(&shell.ctx, "Choose a folder", None, Question::Folder, then);
                shell.asked = Some(asked);
            }
            PredictCommand::SetImages(path) => self.images_text = path.display().to_string(),
            PredictCommand::Start => self.start(shell),
            PredictCommand::Stop => {
                self.classifying.iter().for_each(Worker::stop);
                self.writing.iter().for_each(Worker::stop);
            }
            PredictCommand::PickTable => {
                let question = Question::Save("predictions.csv".into(), "CSV table", &["csv"]);
                let then = |path| Command::Predict(PredictCommand::SaveTable(path));
                shell.asked = Some(Asked::new(&shell.ctx, "Save a table", None, question, then));
            }
            PredictCommand::SaveTable(path) => self.save_table(path, shell),
            PredictCommand::PickSorted => {
                let then = |path| Command::Predict(PredictCommand::SortInto(path));
                let title = "Choose a folder to sort into";
                shell.asked = Some(Asked::new(&shell.ctx, title, None, Question::Folder, then));
            }
            PredictCommand::SortInto(folder) => self.sort_into(folder, shell),
            PredictCommand::Reveal(path) => reveal(path, shell),
        }
    }

    fn start(&mut self, shell: &Shell) {
        let (model, images) = (self.model_text.trim(), self.images_text.trim());
        if model.is_empty() || images.is_empty() || self.is_busy() {
            return;
        }
        let (model, images) = (typed_path(model), typed_path(images));
        (self.failure, self.written, self.found, self.shown) = (None, None, None, Shown::All);
        self.classifying = Some(Worker::spawn("predict", &shell.ctx, move |job| {
            let classifier = OnnxClassifier::open(&model, &InputOptions::default())?;
            if !classifier.is_normalisation_known() {
                job.warn(
                    "The model does not say how images are normalised, so they go in as RGB in 0..1. If it was trained otherwise, its answers are wrong.",
                );
            }
            let inputs = Inputs::find(&[images], job)?;
            let names = classifier.classes().iter().enumerate();
            let names: HashMap<String, usize> =
                names.map(|(class, name)| (name.clone(), class)).collect();
            let mut found = Vec::with_capacity(inputs.files.len());
            let mut each = |file: &Path, outcome: Result<Vec<f32>>| {
                let folder = class_of_folder(file, &names);
                found.push(match outcome {
                    Ok(probabilities) => {
                        let top = classifier.top_k(&probabilities, TOP);
                        let class =
                            top.first().and_then(|best| classifier.class_index(&best.class));
                        PredictedImage { file: file.to_path_buf(), top, class, folder, error: None }
                    }
                    Err(error) => PredictedImage {
                        file: file.to_path_buf(),
                        top: Vec::new(),
                        class: None,
                        folder,
                        error: Some(error.to_string()),
                    },
                });
                Ok(())
            };
            let is_partial = match classifier.classify_all(&inputs.files, &mut each, job) {
                Ok(()) => false,
                // What is there by then is of use.
                Err(counterweight_core::Error::Stopped) => true,
                Err(error) => return Err(error),
            };
            found.extend(inputs.problems.into_iter().map(|problem| PredictedImage {
                error: Some(problem.reason.to_string()),
                file: problem.path,
                top: Vec::new(),
                class: None,
                folder: None,
            }));
            Ok(Predicted {
                folder: common_folder(found.iter().map(|image| image.file.as_path())),
                model,
                classes: classifier.classes().to_vec(),
                by_folders: ByFolders::of(&found, classifier.classes().len()),
                unreadable: found.iter().filter(|image| image.class.is_none()).count(),
                images: Arc::new(found),
                is_partial,
                revision: next_revision(),
                reader: Arc::new(ImageReader::open(Path::new("."), SourceKind::Folder, job)?),
            })
        }));
    }

    fn save_table(&mut self, path: PathBuf, shell: &Shell) {
        let Some(found) = self.found.as_ref().filter(|_| self.writing.is_none()) else { return };
        let (images, threshold) = (Arc::clone(&found.images), self.threshold);
        self.writing = Some(Worker::spawn("write a table", &shell.ctx, move |job| {
            let failed =
                |error: std::io::Error| counterweight_core::error::ModelError::file(&path, error);
            let mut table = PredictionTable::create(&path, TOP, false)?;
            job.phase("writing", Some(images.len() as u64), "rows");
            for (done, image) in images.iter().enumerate() {
                job.check()?;
                let unsure =
                    (threshold > 0.0 && image.class.is_some()).then(|| image.is_unsure(threshold));
                table
                    .write(&PredictionRow {
                        file: &image.file,
                        top: &image.top,
                        unsure,
                        sorted: None,
                        error: image.error.as_deref(),
                    })
                    .map_err(failed)?;
                job.progress(done as u64 + 1);
            }
            Ok(format!("{} rows are in {}", images.len(), path.display()))
        }));
    }

    fn sort_into(&mut self, folder: PathBuf, shell: &Shell) {
        let Some(found) = self.found.as_ref().filter(|_| self.writing.is_none()) else { return };
        let (images, classes) = (Arc::clone(&found.images), found.classes.clone());
        let (threshold, placing) = (self.threshold, self.placing);
        self.writing = Some(Worker::spawn("sort images", &shell.ctx, move |job| {
            let mut sorter = Sorter::open(&folder, &classes, placing)?;
            job.phase("sorting", Some(images.len() as u64), "images");
            let (mut placed, mut left) = (0, 0);
            for (done, image) in images.iter().enumerate() {
                job.check()?;
                let Some(class) = image.class else { continue };
                let class = (!image.is_unsure(threshold)).then_some(class);
                match sorter.place(&image.file, class) {
                    Ok(_) => placed += 1,
                    Err(error) => {
                        left += 1;
                        job.warn(error.to_string());
                    }
                }
                job.progress(done as u64 + 1);
            }
            let left = match left {
                0 => String::new(),
                left => format!("; {left} could not be, see the log"),
            };
            Ok(format!(
                "{placed} images are sorted into {}{left}. What was done is in {SORTED} there; `counterweight predict --undo` takes it back",
                folder.display()
            ))
        }));
    }

    /// Takes what the jobs have done.
    pub fn poll(&mut self, shell: &mut Shell) {
        if let Some(thumbnails) = &mut self.thumbnails {
            thumbnails.poll(&shell.ctx);
        }
        if let Some(worker) = &mut self.classifying {
            let news = worker.poll();
            shell.messages(news.messages);
            if let Some(done) = news.done {
                self.classifying = None;
                match done {
                    Ok(found) => {
                        let thumbnails =
                            self.thumbnails.get_or_insert_with(|| Thumbnails::new(&shell.ctx));
                        thumbnails.reset(Some(Arc::clone(&found.reader)));
                        self.found = Some(found);
                    }
                    Err(Failure::Stopped) => {}
                    Err(Failure::Failed(error)) => self.failure = Some(error.to_string()),
                }
            }
        }
        let Some(worker) = &mut self.writing else { return };
        let news = worker.poll();
        shell.messages(news.messages);
        let Some(done) = news.done else { return };
        self.writing = None;
        match done {
            Ok(text) => {
                shell.notice(text.clone());
                self.written = Some(text);
            }
            Err(Failure::Stopped) => shell.notice("Stopped; what was written stays"),
            Err(Failure::Failed(error)) => shell.failed(ErrorReport {
                title: "The predictions could not be written".into(),
                reason: error.to_string(),
                kept: "The images are as they were, or as the file sorted.jsonl says.".into(),
                advice: "Choose a place you may write to and that has room, and try again.".into(),
            }),
        }
    }

    /// Ends what is running and waits for it.
    pub fn finish(&mut self) {
        if let Some(worker) = self.writing.take() {
            worker.stop_and_wait();
        }
        self.classifying = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_that_are_named_after_classes_tell_how_good_a_model_is() {
        let names = ["fox", "red fox", "site 1/hare"].map(String::from);
        let names: HashMap<String, usize> =
            names.into_iter().enumerate().map(|(class, name)| (name, class)).collect();
        let class = |file: &str| class_of_folder(Path::new(file), &names);
        assert_eq!(class("/photos/red fox/1.png"), Some(1));
        assert_eq!(class("/photos/fox/spring/1.png"), Some(0));
        assert_eq!(class("photos/site 1/hare/1.png"), Some(2));
        assert_eq!(class("/photos/hare/1.png"), None);
        let image = |taken: usize, folder: Option<usize>| PredictedImage {
            file: PathBuf::new(),
            top: Vec::new(),
            class: Some(taken),
            folder,
            error: None,
        };
        let mut images = vec![image(0, Some(0)), image(1, Some(0)), image(1, Some(1))];
        let found = ByFolders { images: 3, right: 2, balanced: 0.75, classes: 2 };
        assert_eq!(ByFolders::of(&images, 3), Some(found));
        assert_eq!(images.iter().filter(|image| image.is_elsewhere()).count(), 1);
        // Most lie elsewhere, or all in one folder.
        images.extend((0..4).map(|_| image(0, None)));
        assert_eq!(ByFolders::of(&images, 3), None);
        assert_eq!(ByFolders::of(&images[..2], 3), None);
    }

    #[test]
    fn images_are_told_apart_by_what_their_paths_do_not_share() {
        let of = |files: &[&str]| common_folder(files.iter().map(Path::new));
        assert_eq!(of(&["/a/b/x/1.png", "/a/b/y/1.png", "/a/b/x/z/1.png"]), Path::new("/a/b"));
        assert_eq!(of(&["photos/1.png"]), Path::new("photos"));
        assert_eq!(of(&["/a/1.png", "b/1.png"]), Path::new(""));
        assert_eq!(of(&[]), Path::new(""));
    }
}
