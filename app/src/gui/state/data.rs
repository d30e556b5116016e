//! The data page: what is open, how it is built, and the jobs that read and write it.

use std::path::{Path, PathBuf};

use counterweight_core::Result;
use counterweight_core::dataset::write_images;
use counterweight_core::error::DataError;
use counterweight_core::files;
use counterweight_core::job::Job;
use counterweight_core::source::{Catalog, ScanOptions};

use super::mapper::{Mapper, ask_for_root};
use super::other_ways::{OtherWay, reason_of};
use super::shell::{ErrorReport, Shell};
use super::source::{DataView, Opened, Origin, Source, name_of, open};
use super::{Builder, ImagesView, KeepTogether, Thumbnails, next_revision};
use crate::gui::command::{Command, DataCommand, ListCommand, RunsCommand};
use crate::gui::dialogs::{Asked, Question};
use crate::gui::widgets::TableState;
use crate::gui::worker::{Failure, Worker};

/// Where something was written.
struct Written {
    path: PathBuf,
    text: String,
}

/// The data page.
pub struct DataState {
    /// What is open.
    pub source: Option<Source>,
    /// Why the last source could not be opened: its path and the reason.
    pub failure: Option<(PathBuf, String)>,
    /// Whether that is an image list, whose columns can be chosen.
    pub failed_list: bool,
    /// How else it can be opened.
    other_ways: Vec<OtherWay>,
    /// The image list whose columns are being chosen.
    pub mapper: Option<Mapper>,
    opening: Option<(PathBuf, ScanOptions, Worker<Opened>)>,
    writing: Option<Worker<Written>>,
    /// Small pictures of the open source.
    pub thumbnails: Thumbnails,
    /// The text of the path field.
    pub path_text: String,
    /// The class whose images are shown.
    pub selected: Option<usize>,
    /// Whether counts are drawn on a logarithmic scale.
    pub log_scale: bool,
    /// Whether classes are drawn in the order of their names, not of their counts.
    pub by_name: bool,
    /// Whether the chart of the classes is to be scrolled into sight.
    pub show_classes: bool,
    /// How the table of classes is sorted and searched.
    pub table: TableState,
    /// Whether the list of problems is open.
    pub problems_open: bool,
    /// The new name being typed for the selected class.
    pub rename_text: String,
    /// Which images are kept together.
    pub keep_together: KeepTogether,
}

impl DataState {
    /// A page with nothing open.
    pub fn new(ctx: &egui::Context) -> Self {
        Self {
            source: None,
            failure: None,
            failed_list: false,
            other_ways: Vec::new(),
            mapper: None,
            opening: None,
            writing: None,
            thumbnails: Thumbnails::new(ctx),
            path_text: String::new(),
            selected: None,
            log_scale: false,
            by_name: false,
            show_classes: false,
            table: TableState::default(),
            problems_open: false,
            rename_text: String::new(),
            keep_together: KeepTogether::default(),
        }
    }

    /// Whether the open source has its images below this folder. Where none is open nothing
    /// contradicts it.
    pub fn is_of(&self, root: &Path) -> bool {
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        self.source.as_ref().is_none_or(|source| {
            let other = source.root();
            other == root || real(other) == real(root)
        })
    }

    /// The scan that is running: what is scanned, and how far it is.
    pub fn scanning(&self) -> Option<(&Path, &crate::gui::worker::Progress)> {
        self.opening.as_ref().map(|(path, _, worker)| (path.as_path(), &worker.progress))
    }

    /// Whether a source is being scanned.
    pub fn is_scanning(&self) -> bool {
        self.opening.is_some()
    }

    /// Whether the dataset is being written.
    pub fn is_writing(&self) -> bool {
        self.writing.is_some()
    }

    /// Ends writing, and waits until nothing half-written is there.
    pub fn finish(&mut self) {
        if let Some(worker) = self.writing.take() {
            worker.stop_and_wait();
        }
    }

    /// How far writing is.
    pub fn writing(&self) -> Option<&crate::gui::worker::Progress> {
        self.writing.as_ref().map(|worker| &worker.progress)
    }

    /// Does what was asked.
    pub fn apply(&mut self, command: DataCommand, shell: &mut Shell) {
        match command {
            DataCommand::PickFolder => {
                let start = shell
                    .preferences
                    .recent
                    .first()
                    .and_then(|path| path.parent().map(Path::to_path_buf));
                let then = |path| Command::Data(DataCommand::Open(path));
                shell.asked = Some(Asked::new(
                    &shell.ctx,
                    "Open a folder of images",
                    start,
                    Question::Folder,
                    then,
                ));
            }
            DataCommand::PickFile => {
                let question = Question::File(
                    "Archives, lists and datasets",
                    &["toml", "csv", "tsv", "txt", "json", "jsonl", "gz", "tgz", "tar", "bin"],
                );
                let then = |path| Command::Data(DataCommand::Open(path));
                shell.asked = Some(Asked::new(
                    &shell.ctx,
                    "Open an archive, a list or a dataset",
                    None,
                    question,
                    then,
                ));
            }
            DataCommand::Open(path) => self.open(path, false, ScanOptions::default(), shell),
            DataCommand::List(command) => self.apply_to_list(command, shell),
            DataCommand::Skip(pattern) => {
                self.open_again(shell, |scan| {
                    if !scan.skip.contains(&pattern) {
                        scan.skip.push(pattern);
                    }
                });
            }
            DataCommand::OpenOtherwise(way) => {
                if way < self.other_ways.len() {
                    let OtherWay { path, scan, .. } = self.other_ways.swap_remove(way);
                    self.open(path, false, scan, shell);
                }
            }
            DataCommand::ReadAll => self.open_again(shell, |scan| scan.skip.clear()),
            DataCommand::OpenSample => {
                let folder = shell.place.cache.join("sample");
                self.open(folder, true, ScanOptions::default(), shell);
            }
            DataCommand::CancelScan => {
                if let Some((_, _, worker)) = &self.opening {
                    worker.stop();
                }
            }
            DataCommand::Close => {
                self.source = None;
                self.failure = None;
                self.mapper = None;
                self.selected = None;
                self.thumbnails.reset(None);
            }
            DataCommand::SetOptions { options, drag } => {
                self.change(|builder, catalog| builder.set(catalog, *options, drag))
            }
            DataCommand::Settle => self.change(|builder, _| builder.settle()),
            DataCommand::KeepTogether(by) => {
                if let Some(source) = &mut self.source {
                    self.keep_together.ask(by, source, &shell.ctx);
                }
            }
            DataCommand::Undo => self.change(|builder, catalog| _ = builder.undo(catalog)),
            DataCommand::Redo => self.change(|builder, catalog| _ = builder.redo(catalog)),
            DataCommand::PickDatasetFile => {
                let Some(source) = &self.source else { return };
                let question =
                    Question::Save(format!("{}.toml", source.name), "Dataset file", &["toml"]);
                let then = |path| Command::Data(DataCommand::SaveDatasetFile(path));
                shell.asked =
                    Some(Asked::new(&shell.ctx, "Save the dataset file", None, question, then));
            }
            DataCommand::SaveDatasetFile(path) => {
                let Some(recipe) = self.source.as_ref().map(Source::recipe) else { return };
                self.write(shell, move |job| {
                    let place =
                        files::destination(&path).map_err(|error| DataError::file(&path, error))?;
                    recipe.make(job)?.0.save(&place)?;
                    Ok(Written { text: format!("Saved the dataset file {}", path.display()), path })
                });
            }
            DataCommand::PickImageFolder => {
                let then = |path| Command::Data(DataCommand::WriteImages(path));
                shell.asked = Some(Asked::new(
                    &shell.ctx,
                    "Write images into an empty folder",
                    None,
                    Question::Folder,
                    then,
                ));
            }
            DataCommand::WriteImages(path) => {
                let Some(recipe) = self.source.as_ref().map(Source::recipe) else { return };
                self.write(shell, move |job| {
                    let count = write_images(&recipe.make(job)?.0, &path, job)?;
                    Ok(Written {
                        text: format!("Wrote {count} images to {}", path.display()),
                        path,
                    })
                });
            }
            DataCommand::CancelWriting => {
                if let Some(worker) = &self.writing {
                    worker.stop();
                }
            }
            DataCommand::ShowFile(path) => reveal(path, shell),
            DataCommand::ForgetRecent => shell.preferences.recent.clear(),
        }
    }

    fn apply_to_list(&mut self, command: ListCommand, shell: &mut Shell) {
        match command {
            ListCommand::Map(path) => {
                // Of the open list the columns are known, of any other what can be found out.
                let known = self.source.as_ref().filter(|source| source.path == path);
                let scan = known.map_or_else(ScanOptions::default, |source| source.scan.clone());
                self.mapper = Some(Mapper::new(path, scan, shell));
            }
            ListCommand::Open => {
                if let Some(mapper) = self.mapper.take_if(|mapper| mapper.can_open()) {
                    self.open(mapper.path, false, mapper.scan, shell);
                }
            }
            ListCommand::Cancel => self.mapper = None,
            ListCommand::Set(_) | ListCommand::PickRoot | ListCommand::SetRoot(_) => {
                let Some(mapper) = &mut self.mapper else { return };
                match command {
                    ListCommand::Set(format) => mapper.set(*format, shell),
                    ListCommand::SetRoot(root) => mapper.set_root(root, shell),
                    _ => ask_for_root(mapper, shell),
                }
            }
        }
    }

    /// In which other ways what could not be opened can be.
    pub fn other_ways(&self) -> &[OtherWay] {
        &self.other_ways
    }

    /// Reads the open source again, in another way.
    fn open_again(&mut self, shell: &mut Shell, change: impl FnOnce(&mut ScanOptions)) {
        let Some(source) = &self.source else { return };
        let (path, mut scan) = (source.path.clone(), source.scan.clone());
        change(&mut scan);
        self.open(path, source.is_sample, scan, shell);
    }

    fn open(&mut self, path: PathBuf, is_sample: bool, scan: ScanOptions, shell: &mut Shell) {
        self.failure = None;
        self.mapper = None;
        shell.info(format!("Opening {}", path.display()));
        let (opened, options) = (path.clone(), scan.clone());
        let work = move |job: Job<'_>| open(&opened, is_sample, &options, job);
        self.opening = Some((path, scan, Worker::spawn("scan", &shell.ctx, work)));
    }

    fn write(
        &mut self,
        shell: &Shell,
        work: impl FnOnce(Job<'_>) -> Result<Written> + Send + 'static,
    ) {
        if self.writing.is_none() {
            self.writing = Some(Worker::spawn("write", &shell.ctx, work));
        }
    }

    fn change(&mut self, change: impl FnOnce(&mut Builder, &Catalog)) {
        let Some(source) = &mut self.source else { return };
        let Origin::Catalog { catalog, builder, .. } = &mut source.origin else { return };
        let before = builder.options().clone();
        change(builder, catalog);
        // What is shown holds the counts with edits, too, which nothing would count again.
        if *builder.options() == before {
            return;
        }
        source.edition = next_revision();
        source.refresh();
        self.selected = self.selected.filter(|class| *class < source.view.classes.len());
    }

    /// Shows the counts that the open dataset has with these edits.
    pub fn show_edits(&mut self, edits: &ImagesView) {
        if let Some(source) = &mut self.source {
            source.show_edits(edits);
        }
    }

    /// Takes what the jobs have done. Returns whether a source was opened.
    pub fn poll(&mut self, shell: &mut Shell) -> bool {
        self.thumbnails.poll(&shell.ctx);
        let mut is_new = false;
        self.keep_together.poll(self.source.as_mut(), &shell.ctx);
        if let Some(mapper) = &mut self.mapper {
            mapper.poll();
        }
        if let Some((path, scan, worker)) = &mut self.opening {
            let news = worker.poll();
            shell.messages(news.messages);
            if let Some(done) = news.done {
                let (path, scan) = (std::mem::take(path), std::mem::take(scan));
                self.opening = None;
                is_new = matches!(done, Ok(Opened::Source { .. }));
                self.opened(path, scan, done, shell);
            }
        }
        if let Some(worker) = &mut self.writing {
            let news = worker.poll();
            shell.messages(news.messages);
            if let Some(done) = news.done {
                self.writing = None;
                match done {
                    Ok(written) => {
                        shell.success(written.text);
                        shell.preferences.remember(&written.path);
                    }
                    Err(Failure::Stopped) => {
                        shell.notice("Writing was stopped; nothing half-written is left")
                    }
                    Err(Failure::Failed(error)) => shell.failed(ErrorReport {
                        title: "The dataset could not be written".into(),
                        reason: error.to_string(),
                        kept: "Nothing half-written is left, and the source is as it was.".into(),
                        advice:
                            "Choose a place you may write to and that has room, then write again."
                                .into(),
                    }),
                }
            }
        }
        is_new
    }

    fn opened(
        &mut self,
        path: PathBuf,
        scan: ScanOptions,
        done: Result<Opened, Failure>,
        shell: &mut Shell,
    ) {
        match done {
            Ok(Opened::Run(folder)) => shell.queue.push(Command::Runs(RunsCommand::Open(folder))),
            Ok(Opened::Source { origin, reader, is_sample }) => {
                self.thumbnails.reset(Some(reader));
                let mut source = Source {
                    name: name_of(&path, is_sample),
                    path: path.clone(),
                    is_sample,
                    scan,
                    origin: *origin,
                    view: DataView::default(),
                    edition: next_revision(),
                    shows_edits: false,
                };
                source.refresh();
                let images: usize = source.view.samples.iter().map(Vec::len).sum();
                shell.info(format!(
                    "Opened {}: {images} images of {} classes",
                    path.display(),
                    source.view.classes.len()
                ));
                self.problems_open = false;
                self.selected = Some(0);
                self.rename_text.clear();
                self.keep_together = KeepTogether::default();
                self.table = TableState::default();
                // Of the sample neither where it was unpacked to nor what was open before.
                self.path_text = match is_sample {
                    true => String::new(),
                    false => path.display().to_string(),
                };
                if !is_sample {
                    shell.preferences.remember(&path);
                }
                self.source = Some(source);
            }
            Err(Failure::Stopped) => shell.notice("The scan was cancelled"),
            Err(Failure::Failed(error)) => {
                let reason = reason_of(&error);
                shell.info(format!("{} could not be opened: {reason}", path.display()));
                let unknown =
                    matches!(error, counterweight_core::Error::Data(DataError::UnknownList { .. }));
                if unknown {
                    self.mapper = Some(Mapper::new(path, scan, shell));
                    return;
                }
                self.failed_list = is_list_name(&path);
                self.other_ways = match error {
                    counterweight_core::Error::Data(error) => OtherWay::all(&error, &path, &scan),
                    _ => Vec::new(),
                };
                self.failure = Some((path, reason));
            }
        }
    }
}

/// Whether a file's name is that of a table or text.
fn is_list_name(path: &Path) -> bool {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    extension.is_some_and(|own| {
        ["csv", "tsv", "txt", "tab", "lst", "json", "jsonl", "ndjson"].contains(&own.as_str())
    })
}

/// Shows a file in the system's file manager, which can take a while to answer.
pub(super) fn reveal(path: PathBuf, shell: &mut Shell) {
    shell.info(format!("Showing {}", path.display()));
    let thread = std::thread::Builder::new().name("reveal".into()).spawn(move || {
        // Where the file manager cannot point at a file, it can at least show the folder.
        if opener::reveal(&path).is_err()
            && let Some(folder) = path.parent()
        {
            drop(opener::open(folder));
        }
    });
    drop(thread);
}
