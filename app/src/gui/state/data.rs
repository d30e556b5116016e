//! The data page: what is open, how it is built, and the jobs that read and write it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use counterweight_core::dataset;
use counterweight_core::dataset::{BuildOptions, Dataset, Profile, ScanReport, write_images};
use counterweight_core::error::DataError;
use counterweight_core::eval;
use counterweight_core::eval::{Group, GroupThresholds};
use counterweight_core::files;
use counterweight_core::images;
use counterweight_core::images::Detail;
use counterweight_core::job::{Control, Job, Silent};
use counterweight_core::run::Run;
use counterweight_core::source;
use counterweight_core::source::{
    Catalog, ImageReader, Location, ScanOptions, Split, unpack_sample,
};
use counterweight_core::{Error, Result, pipeline};

use super::dataset_source::DatasetSource;
use super::mapper::{Mapper, ask_for_root};
use super::shell::{ErrorReport, Shell};
use super::{Builder, ImagesView, KeepTogether, Thumbnails, next_revision};
use crate::gui::command::{Command, DataCommand, ListCommand, RunsCommand};
use crate::gui::dialogs::{Asked, Question};
use crate::gui::widgets::TableState;
use crate::gui::worker::{Failure, Worker};

/// What a source was opened as.
pub enum Origin {
    /// A folder, archive or list: a dataset is built of it.
    Catalog {
        /// What the scan found.
        catalog: Arc<Catalog>,
        /// The scan's report: counts, sizes, problems.
        report: Arc<ScanReport>,
        /// How the dataset is built.
        builder: Box<Builder>,
    },
    /// A dataset file: it is trained on without changes.
    DatasetFile {
        /// What it holds.
        dataset: Arc<Dataset>,
    },
}

/// One class, as the page shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassRow {
    /// Its name in the dataset.
    pub name: String,
    /// Images that could be trained on.
    pub original: usize,
    /// Training images in the dataset, n_k.
    pub train: usize,
    /// Validation images in the dataset.
    pub validation: usize,
    /// Test images in the dataset.
    pub test: usize,
    /// Whether it is part of the dataset.
    pub included: bool,
    /// Its group, by its training images.
    pub group: Group,
}

/// What the page shows of a source: classes with their counts.
#[derive(Clone, Debug, Default)]
pub struct DataView {
    /// The classes.
    pub classes: Vec<ClassRow>,
    /// Numbers of the samples of each class: indices into the catalog's or the dataset's samples.
    pub samples: Vec<Vec<u32>>,
    /// Largest over smallest training count.
    pub imbalance_factor: Option<f64>,
    /// Changes whenever the rest does.
    pub revision: u64,
}

impl DataView {
    /// Training, validation and test images in all.
    pub fn totals(&self) -> [usize; 3] {
        let sum = |of: fn(&ClassRow) -> usize| {
            self.classes.iter().filter(|class| class.included).map(of).sum()
        };
        [sum(|class| class.train), sum(|class| class.validation), sum(|class| class.test)]
    }
}

/// A source that is open.
pub struct Source {
    /// What was opened.
    pub path: PathBuf,
    /// The name for a run that is trained on it.
    pub name: String,
    /// Whether it is the built-in sample.
    pub is_sample: bool,
    /// How it is read.
    pub scan: ScanOptions,
    /// As what.
    pub origin: Origin,
    /// What is shown of it.
    pub view: DataView,
    /// Another number for every other dataset, whatever its edits.
    pub edition: u64,
}

impl Source {
    /// What is to be trained on.
    pub fn recipe(&self) -> DatasetSource {
        match &self.origin {
            Origin::Catalog { catalog, builder, .. } => {
                DatasetSource::Build(Arc::clone(catalog), Box::new(builder.options().clone()))
            }
            Origin::DatasetFile { dataset } => {
                DatasetSource::Ready(Arc::clone(dataset), self.path.clone())
            }
        }
    }

    /// Why it cannot be trained on, if it cannot.
    pub fn problem(&self) -> Option<&str> {
        match &self.origin {
            Origin::Catalog { builder, .. } => builder.preview.as_ref().err().map(String::as_str),
            Origin::DatasetFile { .. } => None,
        }
    }

    /// What it is called on the page.
    pub fn title(&self) -> &str {
        if self.is_sample { "Built-in sample" } else { &self.name }
    }

    /// Where a sample's pixels are, by its number in `DataView::samples`.
    pub fn location(&self, sample: u32) -> Option<&Location> {
        match &self.origin {
            Origin::Catalog { catalog, .. } => {
                catalog.samples.get(sample as usize).map(|sample| &sample.location)
            }
            Origin::DatasetFile { dataset } => {
                dataset.samples.get(sample as usize).map(|sample| &sample.location)
            }
        }
    }

    /// What locations are relative to.
    pub fn root(&self) -> &Path {
        match &self.origin {
            Origin::Catalog { catalog, .. } => &catalog.root,
            Origin::DatasetFile { dataset } => &dataset.root,
        }
    }

    pub(super) fn refresh(&mut self) {
        self.view = match &self.origin {
            Origin::Catalog { catalog, builder, .. } => catalog_view(catalog, builder),
            Origin::DatasetFile { dataset } => dataset_view(dataset),
        };
        self.view.revision = next_revision();
    }

    /// Shows what edits make of the dataset.
    fn show_edits(&mut self, edits: &ImagesView) {
        self.refresh();
        if !edits.edited.changes() {
            return;
        }
        let rows = &mut self.view.classes;
        let places: HashMap<String, usize> =
            rows.iter().enumerate().map(|(at, row)| (row.name.clone(), at)).collect();
        for (class, name) in edits.edited.classes.iter().enumerate() {
            let at = places.get(name).copied().unwrap_or_else(|| {
                self.view.samples.push(Vec::new());
                rows.push(ClassRow {
                    name: name.clone(),
                    original: 0,
                    train: 0,
                    validation: 0,
                    test: 0,
                    included: true,
                    group: Group::Few,
                });
                rows.len() - 1
            });
            let row = &mut rows[at];
            [row.train, row.validation, row.test] = edits.counts[class];
            row.group = edits.groups[class];
        }
        let train: Vec<usize> =
            edits.counts.iter().map(|of| of[Split::Train as usize]).filter(|n| *n > 0).collect();
        self.view.imbalance_factor = eval::imbalance_factor(&train);
    }
}

fn catalog_view(catalog: &Catalog, builder: &Builder) -> DataView {
    let mut index: HashMap<&str, usize> = HashMap::new();
    let mut names: Vec<String> = Vec::new();
    let mut places = Vec::with_capacity(catalog.classes.len());
    for original in &catalog.classes {
        let name = builder.present_name(original);
        places.push(*index.entry(name).or_insert_with(|| {
            names.push(name.to_string());
            names.len() - 1
        }));
    }
    let mut samples = vec![Vec::new(); names.len()];
    let mut original = vec![0; names.len()];
    for (number, sample) in catalog.samples.iter().enumerate() {
        let class = places[sample.class];
        samples[class].push(number as u32);
        original[class] += usize::from(sample.split.unwrap_or(Split::Train) == Split::Train);
    }
    let thresholds = GroupThresholds::default();
    let preview = builder.preview.as_ref().ok();
    let built: HashMap<&str, usize> = preview
        .iter()
        .flat_map(|p| p.classes.iter().enumerate().map(|(i, name)| (name.as_str(), i)))
        .collect();
    let all = names.clone();
    let chosen = if preview.is_none() { builder.included(&all) } else { None };
    let is_chosen = |name: &str| chosen.as_ref().is_none_or(|chosen| chosen.contains(name));
    let row = |(class, name): (usize, String)| {
        let place = built.get(name.as_str()).copied();
        let count = |of: fn(&dataset::CountsPreview) -> &Vec<usize>| {
            place.zip(preview).map_or(0, |(place, preview)| of(preview)[place])
        };
        let train = count(|p| &p.train);
        let included = place.is_some() || (preview.is_none() && is_chosen(&name));
        let group = thresholds.group(if included { train } else { original[class] });
        ClassRow {
            original: original[class],
            train,
            validation: count(|p| &p.validation),
            test: count(|p| &p.test),
            included,
            group,
            name,
        }
    };
    let classes: Vec<ClassRow> = names.into_iter().enumerate().map(row).collect();
    let imbalance_factor = preview.and_then(|preview| eval::imbalance_factor(&preview.train));
    DataView { classes, samples, imbalance_factor, revision: 0 }
}

fn dataset_view(dataset: &Dataset) -> DataView {
    let [train, validation, test] = Split::ALL.map(|split| dataset.counts(split));
    let mut samples = vec![Vec::new(); dataset.classes.len()];
    for (number, sample) in dataset.samples.iter().enumerate() {
        samples[sample.class].push(number as u32);
    }
    let thresholds = GroupThresholds::default();
    let row = |(k, name): (usize, &String)| ClassRow {
        name: name.clone(),
        original: train[k],
        train: train[k],
        validation: validation[k],
        test: test[k],
        included: true,
        group: thresholds.group(train[k]),
    };
    let classes = dataset.classes.iter().enumerate().map(row).collect();
    DataView { classes, samples, imbalance_factor: dataset.imbalance_factor(), revision: 0 }
}

fn name_of(source: &Path, is_sample: bool) -> String {
    if is_sample {
        return "digits".into();
    }
    let name = if source.is_dir() { source.file_name() } else { source.file_stem() };
    name.map_or_else(
        || "run".into(),
        |name| name.to_string_lossy().trim_end_matches(".tar").to_string(),
    )
}

/// What opening found.
enum Opened {
    Source {
        origin: Box<Origin>,
        reader: Arc<ImageReader>,
        is_sample: bool,
    },
    /// It is a run, and belongs on another page.
    Run(PathBuf),
}

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
            mapper: None,
            opening: None,
            writing: None,
            thumbnails: Thumbnails::new(ctx),
            path_text: String::new(),
            selected: None,
            log_scale: false,
            by_name: false,
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
                    &["toml", "csv", "tsv", "txt", "gz", "tgz", "tar", "bin"],
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
        if *builder.options() != before {
            source.edition = next_revision();
        }
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
                if !is_sample {
                    self.path_text = path.display().to_string();
                    shell.preferences.remember(&path);
                }
                self.source = Some(source);
            }
            Err(Failure::Stopped) => shell.notice("The scan was cancelled"),
            Err(Failure::Failed(error)) => {
                let reason = error.to_string();
                shell.info(format!("{} could not be opened: {reason}", path.display()));
                let unknown =
                    matches!(error, counterweight_core::Error::Data(DataError::UnknownList { .. }));
                if unknown {
                    self.mapper = Some(Mapper::new(path, scan, shell));
                    return;
                }
                self.failed_list = is_list_name(&path);
                self.failure = Some((path, reason));
            }
        }
    }
}

/// Whether a file's name is that of a table or text.
fn is_list_name(path: &Path) -> bool {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    extension.is_some_and(|own| ["csv", "tsv", "txt", "tab", "lst"].contains(&own.as_str()))
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

fn open(path: &Path, is_sample: bool, scan: &ScanOptions, job: Job<'_>) -> Result<Opened> {
    if Run::is_run(path) {
        return Ok(Opened::Run(path.to_path_buf()));
    }
    let is_dataset_file =
        path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"))
            && path.is_file();
    if is_dataset_file {
        let dataset = Dataset::load(path)?;
        // Images that were excluded may be gone. What is wrong with the edits is said on the page of
        // images, where it can be mended.
        match dataset::edited(dataset.clone(), path, None, job) {
            Ok(edited) => edited.verify_files()?,
            Err(Error::Stopped) => return Err(Error::Stopped),
            Err(_) => dataset.verify_files()?,
        }
        let reader = Arc::new(ImageReader::open(&dataset.root, dataset.kind, job)?);
        return Ok(Opened::Source {
            origin: Box::new(Origin::DatasetFile { dataset: Arc::new(dataset) }),
            reader,
            is_sample: false,
        });
    }
    let unpacked = if is_sample { unpack_sample(path)? } else { path.to_path_buf() };
    let catalog = source::scan(&unpacked, scan, job)?;
    let thresholds = GroupThresholds::default();
    job.phase("looking for duplicates and series", None, "images");
    let report = dataset::report(&catalog, thresholds.many_above, thresholds.few_below);
    let reader = Arc::new(ImageReader::open(&catalog.root, catalog.kind, job)?);
    let options = match is_sample {
        true => BuildOptions {
            profile: Profile::Exponential { factor: pipeline::SAMPLE_FACTOR },
            ..BuildOptions::default()
        },
        false => BuildOptions::default(),
    };
    let builder = Box::new(Builder::new(&catalog, options));
    let origin = Origin::Catalog { catalog: Arc::new(catalog), report: Arc::new(report), builder };
    Ok(Opened::Source { origin: Box::new(origin), reader, is_sample })
}

/// Reads one image with the detail asked for.
pub(super) fn read_pixels(
    root: &Path,
    kind: source::SourceKind,
    location: &Location,
    detail: Detail,
) -> Result<images::RgbPixels> {
    let control = Control::new();
    Ok(ImageReader::open(root, kind, Job::new(&control, &Silent))?.read_for(location, detail)?)
}
