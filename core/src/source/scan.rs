//! Reading a source: an image folder, CIFAR in any of its distributed forms, or an image list.
//!
//! A scan decodes every image once, so that what it lists can be trained on: as far as a small
//! picture needs, which is kept for the next use. Files that were scanned before and have not
//! changed since are not even read. An image that cannot be read never stops it; a source that is
//! wrong as a whole does, with everything that is wrong listed.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use super::filter::FileFilter;
use super::no_classes::no_class_folders;
use super::{Catalog, ListFormat, Location, Problem, Reading, Sample, Skipped, SourceKind, Split};
use super::{cifar, folder, hint, list, twins};
use crate::error::{DataError, Error, Result};
use crate::files::cache_folder;
use crate::images::{
    DEFAULT_MAX_PIXELS, Detail, ImageFacts, ImageFile, KEPT, KnownFiles, decode_for, look, taken,
};
use crate::job::Job;

/// How a source is read.
#[derive(Clone, Debug)]
pub struct ScanOptions {
    /// What the paths of an image list are relative to; if not given, the list's own folder, or the one
    /// above it where further lists lie in others of its folders.
    pub root: Option<PathBuf>,
    /// Further image lists of the same data set, such as the validation and test lists that belong
    /// to a training list. Where there are several, a list without a split column is one split,
    /// named by its file name or folder.
    pub lists: Vec<PathBuf>,
    /// What is known of the columns of image lists; the rest is found out.
    pub list: ListFormat,
    /// Of an image folder or list, only files with one of these endings (`jpg`) or patterns
    /// (`photos/*`) of their paths below the source are read; all without any. `*` stands for
    /// anything, folders included, and case does not matter.
    pub only: Vec<String>,
    /// Files with one of these endings or patterns are left out, even if [`ScanOptions::only`]
    /// names them.
    pub skip: Vec<String>,
    /// Whether the class of an image in a folder is what its file name begins with
    /// (`Abyssinian_12.jpg`, `cat.0.jpg`), and not the folder it lies in.
    pub class_in_name: bool,
    /// Images of more pixels are reported as too large and never decoded.
    pub max_pixels: u64,
    /// Whether a source of a single class will do: where its images are added to others.
    pub one_class: bool,
    /// The folder that holds the index of files scanned before; [`cache_folder`] if not told
    /// otherwise. Without one, every file is read.
    pub cache: Option<PathBuf>,
}

impl Default for ScanOptions {
    fn default() -> Self {
        Self {
            root: None,
            lists: Vec::new(),
            list: ListFormat::default(),
            only: Vec::new(),
            skip: Vec::new(),
            class_in_name: false,
            max_pixels: DEFAULT_MAX_PIXELS,
            one_class: false,
            cache: cache_folder(),
        }
    }
}

impl ScanOptions {
    /// Why a source of another kind cannot be read with these options: only image lists have
    /// columns, and only files can be left out.
    fn unfit_for(&self, is_list: bool, has_files: bool) -> Option<&'static str> {
        if !is_list && (self.root.is_some() || !self.lists.is_empty()) {
            return Some(
                "is not an image list; a root folder and further lists can only be given for one",
            );
        }
        if !is_list && self.list != ListFormat::default() {
            return Some("is not an image list; only those have columns");
        }
        if self.class_in_name && (is_list || !has_files) {
            return Some("is not an image folder; only there classes can be taken from file names");
        }
        let chooses = !self.only.is_empty() || !self.skip.is_empty();
        (chooses && !has_files)
            .then_some("is CIFAR, whose images are no files that could be left out")
    }

    /// Whether anything is asked for that depends on the source.
    pub fn is_plain(&self) -> bool {
        self.unfit_for(false, false).is_none()
    }
}

/// A file that may become a sample.
pub(super) struct Candidate {
    /// Relative to the catalog's root, or absolute.
    pub path: PathBuf,
    pub class: usize,
    pub split: Option<Split>,
    /// What the source says it belongs to; see [`Sample::group`].
    pub group: Option<Arc<str>>,
}

/// Reads `source` and checks every image in it, on all cores.
///
/// - A folder with CIFAR's files in it, or in one of its folders, and a `.tar` or `.tar.gz` of
///   them, are CIFAR. Classes are in label order, for CIFAR-100 those of the fine labels.
/// - Any other folder is an image folder: each folder that directly holds images is a class, nested
///   ones with `/` in their name. Folders `train`, `val` and `test` (or their longer names, in any
///   case) above the classes are splits. With [`ScanOptions::class_in_name`] the class is what the
///   file name begins with, whatever folder it lies in. Classes are ordered by name, by Unicode code points,
///   samples by path. Files without an extension count as images if they begin like one.
/// - Any other file is an image list: a table in which each line names an image, with a header or
///   without, its fields separated by commas, semicolons, tabs, bars or blanks. What
///   [`ScanOptions::list`] does not say of its columns follows from the first lines: paths are where
///   image file names stand; labels are in a column with a usual name, in columns of zeros and ones
///   of which each line has a single one, in the only column that is left, or else in the class
///   folder that the path goes through. Files are looked for where the list says, then by their
///   names below the root, with any ending of images where the list names none. Where all labels are
///   integers, classes are ordered and named by them. An image that is listed again with the same
///   label and split counts once.
///
/// ```
/// # fn main() -> counterweight_core::Result<()> {
/// use counterweight_core::source::{ScanOptions, scan};
/// use counterweight_core::job::{Control, Job, Silent};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # for class in ["cat", "dog"] {
/// #     std::fs::create_dir(folder.path().join(class)).unwrap();
/// #     std::fs::write(folder.path().join(class).join("1.ppm"), b"P6 1 1 255 abc").unwrap();
/// # }
/// # let folder = folder.path();
/// let catalog = scan(folder, &ScanOptions::default(), Job::new(&Control::new(), &Silent))?;
/// assert_eq!(catalog.classes, ["cat", "dog"]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`DataError`] if the source is missing or of no known kind, has fewer than two classes, has
/// classes left without a readable image, or is an image list of which it cannot be told which
/// column holds what, of whose files more than half are absent, or that names an image with
/// different labels or splits; each is listed. [`SettingsError`](crate::error::SettingsError) for a
/// pattern of files that is none. [`crate::Error::Stopped`] if the job was stopped.
pub fn scan(source: &Path, options: &ScanOptions, job: Job<'_>) -> Result<Catalog> {
    let metadata = std::fs::metadata(source).map_err(|error| {
        let missing = error.kind() == std::io::ErrorKind::NotFound;
        DataError::source(
            source,
            if missing { "there is no such file or folder".to_string() } else { error.to_string() },
        )
    })?;
    let archive = metadata.is_file() && cifar::is_archive(source);
    let is_list = metadata.is_file() && !archive;
    let is_cifar = archive || metadata.is_dir() && cifar::is_in_folder(source);
    if let Some(reason) = options.unfit_for(is_list, !is_cifar) {
        return Err(DataError::source(source, reason).into());
    }
    let catalog = if is_cifar {
        scan_cifar(source, job)?
    } else if metadata.is_dir() {
        scan_folder(source, options, job)?
    } else {
        scan_list(source, options, job)?
    };
    Ok(catalog)
}

fn scan_folder(source: &Path, options: &ScanOptions, job: Job<'_>) -> Result<Catalog> {
    let filter = FileFilter::of(&options.only, &options.skip)?;
    let found =
        folder::list(source, &filter, options.class_in_name, job).map_err(|error| match error {
            Error::Data(_) if hint::is_run(source) => DataError::source(
                source,
                "is a run, made by `train`, and holds no images; name the folder of its images",
            )
            .into(),
            other => other,
        })?;
    let files: Vec<PathBuf> =
        found.candidates.iter().map(|candidate| candidate.path.clone()).collect();
    let mut catalog = Catalog {
        root: source.to_path_buf(),
        source: source.to_path_buf(),
        kind: SourceKind::Folder,
        classes: found.classes,
        samples: Vec::new(),
        facts: Vec::new(),
        problems: [found.problems, empty_folders(source, &found.empty)].concat(),
        skipped: found.skipped,
        twins: twins::find(&files),
        reading: Reading::of(options),
    };
    let unreadable = check_images(&mut catalog, found.candidates, options, job)?;
    check_classes(&catalog, &unreadable, options.one_class)?;
    Ok(catalog)
}

/// What is said of a class folder in which nothing lies.
pub(crate) const NO_IMAGE: &str = "no image lies in this folder, so there is no such class";

/// Class folders in which nothing lies.
fn empty_folders(source: &Path, folders: &[PathBuf]) -> Vec<Problem> {
    let problem = |folder: &PathBuf| Problem { path: source.join(folder), reason: NO_IMAGE.into() };
    folders.iter().map(problem).collect()
}

fn scan_list(source: &Path, options: &ScanOptions, job: Job<'_>) -> Result<Catalog> {
    let listed = list::read(source, options, job)?;
    let mut catalog = Catalog {
        root: listed.root,
        source: source.to_path_buf(),
        kind: SourceKind::List,
        classes: listed.classes,
        samples: Vec::new(),
        facts: Vec::new(),
        problems: listed.problems,
        skipped: Skipped { left_out: listed.left_out, ..Skipped::default() },
        twins: Vec::new(),
        reading: listed.reading,
    };
    let unreadable = check_images(&mut catalog, listed.candidates, options, job)?;
    check_classes(&catalog, &unreadable, options.one_class)?;
    Ok(catalog)
}

fn scan_cifar(source: &Path, job: Job<'_>) -> Result<Catalog> {
    job.phase("reading CIFAR", None, "files");
    let cifar = cifar::load(source, job)?;
    let mut samples = Vec::new();
    let mut facts = Vec::new();
    for file in cifar.files {
        let side = cifar::SIDE as u32;
        let images = file.pixels.par_chunks_exact(cifar::PIXELS);
        facts.par_extend(images.map(|pixels| ImageFacts {
            width: side,
            height: side,
            mode: "RGB",
            hash: *blake3::hash(pixels).as_bytes(),
            look: look(&cifar::rgb(pixels)),
            taken: None,
        }));
        samples.extend(file.labels.iter().enumerate().map(|(index, label)| Sample {
            location: Location::Record { file: file.file.clone(), index: index as u32 },
            class: usize::from(*label),
            split: Some(file.split),
            group: None,
        }));
    }
    let catalog = Catalog {
        root: source.to_path_buf(),
        source: source.to_path_buf(),
        kind: cifar.kind,
        classes: cifar.classes,
        samples,
        facts,
        problems: cifar.problems,
        skipped: Skipped::default(),
        twins: Vec::new(),
        reading: Reading::default(),
    };
    check_classes(&catalog, &Unreadable::new(), false)?;
    Ok(catalog)
}

/// The first file that cannot be read of each class that has one, and why.
type Unreadable = HashMap<usize, String>;

/// Finds out of every candidate whether it can be read, and adds it to the catalog's samples or
/// problems.
fn check_images(
    catalog: &mut Catalog,
    candidates: Vec<Candidate>,
    options: &ScanOptions,
    job: Job<'_>,
) -> Result<Unreadable> {
    /// Events between which so many images pass.
    const STRIDE: u64 = 64;
    job.phase("checking images", Some(candidates.len() as u64), "images");
    let known = KnownFiles::open(options.cache.as_deref());
    let (done, met_before) = (AtomicU64::new(0), AtomicU64::new(0));
    let root = &catalog.root;
    let check = |candidate: &Candidate| -> Result<std::result::Result<ImageFacts, String>> {
        job.check()?;
        let facts = image_facts(&root.join(&candidate.path), options.max_pixels, &known);
        met_before.fetch_add(u64::from(matches!(facts, Ok((_, true)))), Ordering::Relaxed);
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        if done.is_multiple_of(STRIDE) {
            job.progress(done);
        }
        Ok(facts.map(|(facts, _)| facts))
    };
    let checked: Result<Vec<_>> = candidates.par_iter().map(check).collect();
    // A scan that was stopped has learned something, too.
    known.save();
    let checked = checked?;
    job.progress(candidates.len() as u64);
    let met_before = met_before.into_inner();
    if met_before > 0 {
        job.info(format!(
            "{} of {} images were known",
            grouped(met_before),
            grouped(candidates.len() as u64)
        ));
    }
    let mut unreadable = Unreadable::new();
    for (candidate, facts) in candidates.into_iter().zip(checked) {
        match facts {
            Ok(facts) => {
                let Candidate { path, class, split, group } = candidate;
                catalog.samples.push(Sample {
                    location: Location::File(path),
                    class,
                    split,
                    group,
                });
                catalog.facts.push(facts);
            }
            Err(reason) => {
                unreadable
                    .entry(candidate.class)
                    .or_insert_with(|| format!("{}: {reason}", candidate.path.display()));
                catalog.problems.push(Problem { path: catalog.root.join(&candidate.path), reason });
            }
        }
    }
    catalog.problems.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(unreadable)
}

/// The facts of an image file, and whether it was known from an earlier scan.
fn image_facts(
    path: &Path,
    max_pixels: u64,
    known: &KnownFiles,
) -> std::result::Result<(ImageFacts, bool), String> {
    let file = ImageFile::find(path)?;
    // What was read before may be too large this time.
    if let Some(facts) = known
        .facts(&file)
        .filter(|facts| u64::from(facts.width) * u64::from(facts.height) <= max_pixels)
    {
        return Ok((facts, true));
    }
    let bytes = file.read(max_pixels)?;
    let decoded =
        decode_for(&bytes, max_pixels, Detail::SMALL).map_err(|reason| reason.to_string())?;
    let (width, height) = decoded.size;
    let facts = ImageFacts {
        width,
        height,
        mode: decoded.mode,
        hash: *blake3::hash(&bytes).as_bytes(),
        look: look(&decoded.pixels),
        taken: taken(&bytes),
    };
    known.learn(&file, &facts);
    KEPT.keep(file, decoded);
    Ok((facts, false))
}

/// `12345` as `12,345`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .filter_map(|group| std::str::from_utf8(group).ok())
        .collect();
    groups.join(",")
}

/// Refuses a catalog in which a class has no image, or, unless one class will do, which has nothing
/// to tell apart.
fn check_classes(
    catalog: &Catalog,
    unreadable: &Unreadable,
    one_class: bool,
) -> Result<(), DataError> {
    /// Enough to see what is wrong with a source of which no image can be read.
    const SHOWN: usize = 3;
    let counts = catalog.counts(None);
    if counts.iter().all(|&count| count == 0) {
        let first: Vec<String> = catalog
            .problems
            .iter()
            .take(SHOWN)
            .map(|problem| format!("{}: {}", problem.path.display(), problem.reason))
            .collect();
        return Err(DataError::Many {
            summary: format!("{}: no image can be read", catalog.source.display()),
            items: first,
        });
    }
    let mut empty = Vec::new();
    for (class, name) in catalog.classes.iter().enumerate().filter(|(class, _)| counts[*class] == 0)
    {
        let first = unreadable
            .get(&class)
            .map(|first| format!("; the first is {first}"))
            .unwrap_or_default();
        empty.push(format!("{name}: none of its images can be read{first}"));
    }
    if !empty.is_empty() {
        empty.sort();
        let without = catalog.classes.iter().zip(&counts).filter(|(_, count)| **count == 0);
        let patterns = |(name, _): (&String, _)| {
            let name = glob::Pattern::escape(name);
            [format!("{name}/*"), format!("*/{name}/*")]
        };
        return Err(DataError::EmptyClasses {
            skip: match catalog.kind {
                SourceKind::Folder => without.flat_map(patterns).collect(),
                _ => Vec::new(),
            },
            summary: format!(
                "{}: classes without a readable image{}",
                catalog.source.display(),
                match catalog.kind {
                    SourceKind::Folder => " (on the command line --skip '*CLASS/*' leaves one out)",
                    _ => "",
                }
            ),
            items: empty,
        });
    }
    if let [only] = catalog.classes.as_slice()
        && !one_class
    {
        let reason = format!("holds one class only, `{only}`; telling classes apart needs two");
        let is_by_folder = catalog.kind == SourceKind::Folder && !catalog.reading.class_in_name;
        return Err(match is_by_folder {
            true => {
                let file = |sample: &'_ Sample| match &sample.location {
                    Location::File(path) => Some(path.clone()),
                    Location::Record { .. } => None,
                };
                let files: Vec<PathBuf> = catalog.samples.iter().filter_map(file).collect();
                no_class_folders(&catalog.source, reason, &files)
            }
            false => DataError::source(&catalog.source, reason),
        });
    }
    Ok(())
}
