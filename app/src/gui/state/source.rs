//! A source that is open: what it was opened as, and its classes as the data page shows them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use counterweight_core::dataset;
use counterweight_core::dataset::{BuildOptions, Dataset, Profile, ScanReport};
use counterweight_core::eval;
use counterweight_core::eval::{Group, GroupThresholds};
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
use super::{Builder, ImagesView, next_revision};

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
    /// Whether the counts that are shown are those with edits.
    pub(super) shows_edits: bool,
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
    pub(super) fn show_edits(&mut self, edits: &ImagesView) {
        let changes = edits.edited.changes();
        if !changes && !self.shows_edits {
            return;
        }
        self.refresh();
        self.shows_edits = changes;
        if !changes {
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

/// What a source is called, and a run that is trained on it.
pub(super) fn name_of(source: &Path, is_sample: bool) -> String {
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
pub(super) enum Opened {
    Source {
        origin: Box<Origin>,
        reader: Arc<ImageReader>,
        is_sample: bool,
    },
    /// It is a run, and belongs on another page.
    Run(PathBuf),
}

/// Opens a folder, an archive, a list or a dataset file, or finds that it is a run.
pub(super) fn open(
    path: &Path,
    is_sample: bool,
    scan: &ScanOptions,
    job: Job<'_>,
) -> Result<Opened> {
    if Run::is_run(path) {
        return Ok(Opened::Run(path.to_path_buf()));
    }
    if Dataset::is_file(path) {
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
