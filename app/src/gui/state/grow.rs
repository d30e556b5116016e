//! The page that grows a run: labels for the images that are worth one, and then a new run with
//! them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use counterweight_core::dataset;
use counterweight_core::device::{self, DeviceChoice};
use counterweight_core::error::{DataError, Error, Result, TrainError};
use counterweight_core::infer::Inputs;
use counterweight_core::pipeline::{self, GrowReport, Labelled, MoreImages};
use counterweight_core::run::Run;
use counterweight_core::source::{self, Catalog, ImageReader, ScanOptions, SourceKind};

pub use super::grow_labelling::{Given, Labelling};
use super::images_large::LargeImages;
use super::shell::{ErrorReport, Shell};
use super::{ClassChooser, OpenRun, RunsState, Thumbnails, next_revision};
use crate::gui::command::{Command, GrowCommand};
use crate::gui::dialogs::{Asked, Question};
use crate::gui::paths::typed_path;
use crate::gui::widgets::TableState;
use crate::gui::worker::{Failure, Progress, Worker};

/// Images that are suggested, unless another number is asked for.
const COUNT: usize = 50;

/// A run that has grown.
pub struct GrownRun {
    /// The folder of the new run.
    pub folder: PathBuf,
    /// The name of the run before.
    pub before: String,
    /// What that brought.
    pub report: GrowReport,
    /// Another one for every report.
    pub revision: u64,
}

/// The page.
pub struct GrowState {
    /// The folder of images without a label.
    pub images_text: String,
    /// How many of them are to be suggested.
    pub count: usize,
    /// The images that are being labelled, and the run that they are for.
    pub labelling: Option<Labelling>,
    /// A folder or list of labelled images to add besides.
    pub source_text: String,
    /// What came of growing.
    pub grown: Option<GrownRun>,
    /// Why images could not be suggested.
    pub failure: Option<String>,
    /// How the table of classes is sorted.
    pub table: TableState,
    /// What more images of each class would bring, and another number for every other answer.
    pub more: Option<(MoreImages, u64)>,
    /// How the table of that is sorted.
    pub more_table: TableState,
    /// The class being chosen for the image, if one is.
    pub chooser: Option<ClassChooser>,
    /// Small pictures of the images.
    pub thumbnails: Option<Thumbnails>,
    /// Reads the one that is shown.
    pub large: LargeImages,
    /// How many labels lie in the open run's folder, and the run they were counted for.
    waiting: Option<(PathBuf, usize)>,
    finding: Option<Worker<Labelling>>,
    saving: Option<Worker<()>>,
    /// Whether labels were given since they were last saved.
    unsaved: bool,
    counting: Option<(PathBuf, Worker<usize>)>,
    growing: Option<(String, Worker<(PathBuf, GrowReport)>)>,
    /// The run that it is asked of goes with it.
    looking_ahead: Option<(PathBuf, Worker<MoreImages>)>,
}

impl Default for GrowState {
    fn default() -> Self {
        Self {
            images_text: String::new(),
            count: COUNT,
            labelling: None,
            source_text: String::new(),
            grown: None,
            failure: None,
            table: TableState::default(),
            more: None,
            more_table: TableState::default(),
            chooser: None,
            thumbnails: None,
            large: LargeImages::default(),
            waiting: None,
            finding: None,
            saving: None,
            unsaved: false,
            counting: None,
            growing: None,
            looking_ahead: None,
        }
    }
}

impl GrowState {
    /// Whether something is being looked for, saved or grown.
    pub fn is_busy(&self) -> bool {
        self.finding.is_some()
            || self.saving.is_some()
            || self.unsaved
            || self.counting.is_some()
            || self.growing.is_some()
            || self.looking_ahead.is_some()
            || self.large.is_reading()
    }

    /// Whether a run is growing.
    pub fn is_growing(&self) -> bool {
        self.growing.is_some()
    }

    /// How far looking for images is.
    pub fn finding(&self) -> Option<&Progress> {
        self.finding.as_ref().map(|worker| &worker.progress)
    }

    /// How far growing is.
    pub fn growing(&self) -> Option<&Progress> {
        self.growing.as_ref().map(|(_, worker)| &worker.progress)
    }

    /// How far looking ahead is.
    pub fn looking_ahead(&self) -> Option<&Progress> {
        self.looking_ahead.as_ref().map(|(_, worker)| &worker.progress)
    }

    /// How many images with a label wait for the open run to grow by them.
    pub fn waiting(&self) -> usize {
        match &self.labelling {
            Some(labelling) => labelling.labels.len(),
            None => self.waiting.as_ref().map_or(0, |(_, count)| *count),
        }
    }

    /// Does what was asked.
    pub fn apply(
        &mut self,
        command: GrowCommand,
        run: Option<&OpenRun>,
        runs: &RunsState,
        device: DeviceChoice,
        shell: &mut Shell,
    ) {
        match command {
            GrowCommand::PickImages => pick_folder(shell, GrowCommand::SetImages),
            GrowCommand::SetImages(path) => self.images_text = path.display().to_string(),
            GrowCommand::Find => self.find(run, device, shell),
            GrowCommand::Stop => {
                self.finding.iter().for_each(Worker::stop);
                self.growing.iter().for_each(|(_, worker)| worker.stop());
                self.looking_ahead.iter().for_each(|(_, worker)| worker.stop());
            }
            GrowCommand::Label(class) => {
                self.change(|labelling| labelling.give(Given::Class(class)));
            }
            GrowCommand::Accept => self.change(Labelling::accept),
            GrowCommand::Skip => self.change(|labelling| labelling.give(Given::Skipped)),
            GrowCommand::TakeBack => self.change(Labelling::take_back),
            GrowCommand::Show(place) => {
                if let Some(labelling) = &mut self.labelling {
                    labelling.show(place);
                }
            }
            GrowCommand::ChooseClass => {
                self.chooser = self.labelling.is_some().then(ClassChooser::default);
            }
            GrowCommand::PickSource => pick_folder(shell, GrowCommand::SetSource),
            GrowCommand::SetSource(path) => self.source_text = path.display().to_string(),
            GrowCommand::Grow => self.grow(run, runs, device, shell),
            GrowCommand::LookAhead => {
                let Some(run) = run.filter(|_| self.looking_ahead.is_none()) else { return };
                let folder = run.folder.clone();
                let of = folder.clone();
                let work = move |job: counterweight_core::job::Job<'_>| {
                    let run = Run::open(&of)?;
                    let (device, _) = device::open(device)?;
                    pipeline::more_images(run.dataset(), 0, &device, job)
                };
                self.looking_ahead = Some((folder, Worker::spawn("look ahead", &shell.ctx, work)));
            }
        }
    }

    fn change(&mut self, change: impl FnOnce(&mut Labelling)) {
        if let Some(labelling) = &mut self.labelling {
            change(labelling);
            self.unsaved = true;
        }
    }

    /// The labels of a run as they are on the screen, also if they could not be saved.
    fn labels_of(&self, run: &OpenRun) -> Option<Labelled> {
        let own = self.labelling.as_ref().filter(|own| own.run == run.folder);
        own.map(|own| own.labels.clone())
    }

    fn find(&mut self, run: Option<&OpenRun>, device: DeviceChoice, shell: &Shell) {
        let images = self.images_text.trim();
        let Some(run) = run.filter(|run| run.has_checkpoint() && !images.is_empty()) else {
            return;
        };
        if self.finding.is_some() || self.growing.is_some() {
            return;
        }
        let (folder, images, count) = (run.folder.clone(), typed_path(images), self.count);
        let labels = self.labels_of(run);
        self.failure = None;
        self.finding = Some(Worker::spawn("suggest", &shell.ctx, move |job| {
            let run = Run::open(&folder)?;
            let labels = labels.map_or_else(|| Labelled::open(&folder), Ok)?;
            let inputs = Inputs::find(&[images], job)?;
            for problem in &inputs.problems {
                job.warn(format!("{}: {}", problem.path.display(), problem.reason));
            }
            let is_new = |file: &PathBuf| {
                std::path::absolute(file).map_or(true, |file| labels.get(&file).is_none())
            };
            let (new, labelled): (Vec<PathBuf>, Vec<PathBuf>) =
                inputs.files.into_iter().partition(is_new);
            if new.is_empty() && !labelled.is_empty() {
                return Err(
                    TrainError::Request("all images there have a label already".into()).into()
                );
            }
            let (device, _) = device::open(device)?;
            let found = pipeline::suggest(&run, &new, None, count, &device, job);
            let found = found.map_err(|error| match error {
                Error::Train(TrainError::Request(reason)) if !labelled.is_empty() => {
                    let labelled = labelled.len();
                    let reason =
                        format!("{labelled} there have a label already; of the others, {reason}");
                    TrainError::Request(reason).into()
                }
                other => other,
            })?;
            let reader = ImageReader::open(Path::new("."), SourceKind::Folder, job)?;
            Ok(Labelling::new(folder, found, run.dataset(), labels, Arc::new(reader)))
        }));
    }

    fn grow(
        &mut self,
        run: Option<&OpenRun>,
        runs: &RunsState,
        device: DeviceChoice,
        shell: &Shell,
    ) {
        let extra = self.source_text.trim();
        let extra = (!extra.is_empty()).then(|| typed_path(extra));
        let Some(run) = run.filter(|run| run.has_checkpoint()) else { return };
        if self.growing.is_some() || (self.waiting() == 0 && extra.is_none()) {
            return;
        }
        let labels = self.labels_of(run);
        let old = run.folder.clone();
        let name = runs.free_name(&format!("{} grown", run.name()));
        let to = shell.runs_folder().join(name);
        let work = move |job: counterweight_core::job::Job<'_>| {
            let run = Run::open(&old)?;
            let labels = labels.map_or_else(|| Labelled::open(&old), Ok)?;
            let mut sources: Vec<Catalog> = Vec::new();
            if !labels.is_empty() {
                labels.save()?;
                sources.push(scan(labels.file(), job)?);
            }
            if let Some(extra) = &extra {
                if let Some(labels) = pipeline::untouched_proposals(extra) {
                    return Err(DataError::file(
                        extra,
                        format!("all {labels} labels are still those that were proposed, and a run that learns from its own guesses learns its own mistakes; give them their labels here, image by image, or correct the file (where all are right, `counterweight grow --as-proposed` takes them)"),
                    )
                    .into());
                }
                sources.push(scan(extra, job)?);
            }
            let (device, _) = device::open(device)?;
            let report = pipeline::grow(&run, &sources, &to, &device, job)?;
            // Beside it, if its place could not be had.
            let at = if Run::is_run(&to) { to } else { PathBuf::from(&report.run) };
            Ok((at, report))
        };
        self.growing = Some((run.name(), Worker::spawn("grow", &shell.ctx, work)));
    }

    /// Takes what the jobs have done, and follows the open run. Returns the folder of a run that has
    /// been made.
    pub fn poll(
        &mut self,
        run: Option<&OpenRun>,
        is_shown: bool,
        shell: &mut Shell,
    ) -> Option<PathBuf> {
        if let Some(thumbnails) = &mut self.thumbnails {
            thumbnails.poll(&shell.ctx);
        }
        self.large.poll(&shell.ctx);
        if !is_shown {
            self.large.forget();
            self.chooser = None;
        }
        self.follow(run, is_shown, shell);
        self.poll_finding(shell);
        self.poll_saving(shell);
        let grown = self.poll_growing(shell);
        self.poll_looking_ahead(shell);
        grown
    }

    /// Labels are of one run: with another one the page begins anew.
    fn follow(&mut self, run: Option<&OpenRun>, is_shown: bool, shell: &Shell) {
        let folder = run.map(|run| run.folder.as_path());
        let others = self.labelling.as_ref().is_some_and(|own| Some(own.run.as_path()) != folder);
        if others && !self.unsaved && self.saving.is_none() {
            self.labelling = None;
        }
        if self.waiting.as_ref().is_some_and(|(of, _)| Some(of.as_path()) != folder) {
            self.waiting = None;
            self.more = None;
        }
        if self.looking_ahead.as_ref().is_some_and(|(of, _)| Some(of.as_path()) != folder) {
            self.looking_ahead = None;
        }
        if let Some((of, worker)) = &mut self.counting {
            if let Some(done) = worker.poll().done {
                let of = of.clone();
                self.counting = None;
                match done {
                    Ok(count) => self.waiting = Some((of, count)),
                    Err(Failure::Failed(error)) => {
                        self.waiting = Some((of, 0));
                        self.failure = Some(error.to_string());
                    }
                    Err(Failure::Stopped) => {}
                }
            }
        } else if let Some(folder) = folder.filter(|_| is_shown && self.waiting.is_none()) {
            let folder = folder.to_path_buf();
            let of = folder.clone();
            let work = move |_: counterweight_core::job::Job<'_>| Ok(Labelled::open(&of)?.len());
            self.counting = Some((folder, Worker::spawn("labels", &shell.ctx, work)));
        }
    }

    fn poll_finding(&mut self, shell: &mut Shell) {
        let Some(worker) = &mut self.finding else { return };
        let news = worker.poll();
        shell.messages(news.messages);
        let Some(done) = news.done else { return };
        self.finding = None;
        match done {
            Ok(mut labelling) => {
                if let Some(before) = self.labelling.take_if(|own| own.run == labelling.run) {
                    labelling.take_labels(before.labels);
                }
                let thumbnails = self.thumbnails.get_or_insert_with(|| Thumbnails::new(&shell.ctx));
                thumbnails.reset(Some(Arc::clone(&labelling.reader)));
                thumbnails.set_side(256);
                self.labelling = Some(labelling);
            }
            Err(Failure::Stopped) => {}
            Err(Failure::Failed(error)) => self.failure = Some(error.to_string()),
        }
    }

    /// Saves one state after the other, the newest last.
    fn poll_saving(&mut self, shell: &mut Shell) {
        if let Some(worker) = &mut self.saving {
            let Some(done) = worker.poll().done else { return };
            self.saving = None;
            if let Err(Failure::Failed(error)) = done {
                shell.failed(ErrorReport {
                    title: "The labels could not be saved".into(),
                    reason: error.to_string(),
                    kept: "They are kept as long as this window is open.".into(),
                    advice: "Make room, or make the run's folder writable, and give another label."
                        .into(),
                });
            }
        }
        if std::mem::take(&mut self.unsaved)
            && let Some(labelling) = &self.labelling
        {
            let labels = labelling.labels.clone();
            self.waiting = Some((labelling.run.clone(), labels.len()));
            self.saving = Some(Worker::spawn("labels", &shell.ctx, move |_| labels.save()));
        }
    }

    fn poll_growing(&mut self, shell: &mut Shell) -> Option<PathBuf> {
        let (before, worker) = self.growing.as_mut()?;
        let news = worker.poll();
        shell.messages(news.messages);
        let done = news.done?;
        let before = std::mem::take(before);
        self.growing = None;
        match done {
            Ok((folder, report)) => {
                let revision = next_revision();
                self.grown = Some(GrownRun { folder: folder.clone(), before, report, revision });
                self.source_text.clear();
                return Some(folder);
            }
            Err(Failure::Stopped) => shell.notice("Stopped; the run is as it was"),
            Err(Failure::Failed(error)) => shell.failed(ErrorReport {
                title: "The run could not grow".into(),
                reason: error.to_string(),
                kept: "The run and the labels are as they were.".into(),
                advice: "Name a folder with one folder a class, or an image list, whose images the run does not have.".into(),
            }),
        }
        None
    }

    fn poll_looking_ahead(&mut self, shell: &mut Shell) {
        let Some((_, worker)) = &mut self.looking_ahead else { return };
        let news = worker.poll();
        shell.messages(news.messages);
        let Some(done) = news.done else { return };
        self.looking_ahead = None;
        match done {
            Ok(more) => self.more = Some((more, next_revision())),
            Err(Failure::Stopped) => {}
            Err(Failure::Failed(error)) => shell.failed(ErrorReport {
                title: "What more images would bring could not be told".into(),
                reason: error.to_string(),
                kept: "The run is as it was.".into(),
                advice: "See that the run's images are where they were.".into(),
            }),
        }
    }

    /// Ends what is running and waits for what is being written.
    pub fn finish(&mut self) {
        (self.finding, self.counting, self.looking_ahead) = (None, None, None);
        if let Some((_, worker)) = self.growing.take() {
            worker.stop_and_wait();
        }
        if let Some(worker) = self.saving.take() {
            worker.stop_and_wait();
        }
        if std::mem::take(&mut self.unsaved)
            && let Some(labelling) = &self.labelling
        {
            // The window is gone; there is nobody left to tell.
            drop(labelling.labels.save());
        }
    }
}

/// Asks for a folder, and does with it what `then` says.
fn pick_folder(shell: &mut Shell, then: fn(PathBuf) -> GrowCommand) {
    let then = move |path| Command::Grow(then(path));
    let asked = Asked::new(&shell.ctx, "Choose a folder", None, Question::Folder, then);
    shell.asked = Some(asked);
}

/// Scans a folder or a list of labelled images, which may be of one class.
fn scan(source: &Path, job: counterweight_core::job::Job<'_>) -> Result<Catalog> {
    let options = ScanOptions { one_class: true, ..ScanOptions::default() };
    dataset::edited_catalog(source::scan(source, &options, job)?, job)
}
