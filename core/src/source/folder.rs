//! Image folders: one folder a class, optionally below folders for the splits.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use super::filter::FileFilter;
use super::scan::Candidate;
use crate::error::{DataError, Result};
use crate::files;
use crate::job::Job;
use crate::source::{Problem, Skipped, Split};

/// Names that claim to be images. Those of formats that cannot be read are listed too, so that
/// their files are reported rather than passed over.
pub(super) const EXTENSIONS: [&str; 40] = [
    "jpg", "jpeg", "jpe", "jfif", "png", "apng", "webp", "bmp", "dib", "gif", "tif", "tiff", "pnm",
    "pbm", "pgm", "ppm", "pam", "avif", "heic", "heif", "jxl", "jp2", "j2k", "tga", "psd", "ico",
    "dng", "cr2", "cr3", "nef", "nrw", "arw", "orf", "rw2", "raf", "pef", "srw", "hif", "exr",
    "hdr",
];

/// What other programs leave beside images.
const CLUTTER: [&str; 7] = [
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "__macosx",
    "@eadir",
    "$recycle.bin",
    "system volume information",
];

/// Files that lie where a class folder's images lie.
pub(super) struct Found {
    pub classes: Vec<String>,
    pub candidates: Vec<Candidate>,
    pub problems: Vec<Problem>,
    pub skipped: Skipped,
    /// Classes whose folder holds nothing at all.
    pub empty: Vec<String>,
}

/// The images below a folder, and what cannot be read there. Reads no image.
///
/// # Errors
/// [`DataError`] if the folder cannot be read, [`crate::Error::Stopped`].
pub fn images_below(root: &Path, job: Job<'_>) -> Result<(Vec<PathBuf>, Vec<Problem>)> {
    let mut walk = Walk::default();
    walk.run(root, &FileFilter::default(), job)?;
    let Walk { mut files, problems, .. } = walk;
    files.sort_by_cached_key(|file| components(file));
    Ok((files.into_iter().map(|file| root.join(file)).collect(), problems))
}

/// Lists the images below `root` with their classes and splits. Reads no image.
///
/// # Errors
/// [`DataError`] if the folder cannot be read or nothing in it is an image.
pub(super) fn list(root: &Path, filter: &FileFilter, job: Job<'_>) -> Result<Found> {
    let mut walk = Walk::default();
    walk.run(root, filter, job)?;
    let Walk { mut files, folders, mut problems, skipped } = walk;
    if files.is_empty() && problems.is_empty() {
        let reason = match skipped.left_out {
            0 => "no image lies in this folder or below it",
            _ => "all images in this folder and below it are left out",
        };
        return Err(DataError::source(root, reason).into());
    }
    files.sort_by_cached_key(|file| components(file));
    let layout = SplitLayout::of(&files);
    let mut by_class: BTreeMap<String, Vec<(PathBuf, Option<Split>)>> = BTreeMap::new();
    for file in files {
        let parts = components(&file);
        match layout.place(&parts[..parts.len() - 1]) {
            Ok((class, split)) => by_class.entry(class).or_default().push((file, split)),
            Err(reason) => problems.push(Problem { path: root.join(&file), reason: reason.into() }),
        }
    }
    if by_class.is_empty() {
        return Err(flat(root, &problems).into());
    }
    let empty: BTreeSet<String> = folders
        .iter()
        .filter_map(|folder| layout.place(&components(folder)).ok())
        .map(|(class, _)| class)
        .filter(|class| !by_class.contains_key(class))
        .collect();
    let classes: Vec<String> = by_class.keys().cloned().collect();
    let candidates = by_class.into_values().enumerate().flat_map(|(class, files)| {
        files.into_iter().map(move |(path, split)| Candidate { path, class, split, group: None })
    });
    Ok(Found {
        classes,
        candidates: candidates.collect(),
        problems,
        skipped,
        empty: empty.into_iter().collect(),
    })
}

/// What is said of a folder without class folders: why, once, and how it should look.
fn flat(root: &Path, problems: &[Problem]) -> DataError {
    let loose = problems.iter().filter(|problem| problem.reason == NO_CLASS_FOLDER).count();
    let name = root
        .file_name()
        .map_or_else(|| root.display().to_string(), |name| name.to_string_lossy().into_owned());
    let example = problems.iter().find_map(|problem| problem.path.file_name());
    let example =
        example.map_or_else(|| "1.jpg".into(), |name| name.to_string_lossy().into_owned());
    let images = match loose {
        0 => "no image lies in a class folder".to_string(),
        1 => "its one image lies in no class folder".to_string(),
        _ => format!("its {loose} images lie in no class folder"),
    };
    DataError::source(
        root,
        format!(
            "{images}; each class needs a folder of its own, whose name is the class:\n\
             {name}/\n\
             ├── first class/\n\
             │   ├── {example}\n\
             │   └── …\n\
             └── second class/\n    \
                 └── …\n\
             A list that names the class of each image (CSV) will do as well"
        ),
    )
}

/// Why an image right below the source belongs to no class.
const NO_CLASS_FOLDER: &str = "lies in no class folder";

/// The names a relative path is made of. The walk only lets valid Unicode through.
fn components(path: &Path) -> Vec<String> {
    path.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect()
}

/// Whether the folders right below the root are splits rather than classes.
pub(super) enum SplitLayout {
    Splits,
    Classes,
}

impl SplitLayout {
    /// Splits, where every folder that holds images is named like one, or where at least two are
    /// and none of those holds images directly. A class may be called "train"; so a single such
    /// folder among others is one.
    pub fn of(files: &[PathBuf]) -> Self {
        // For each folder below the root, whether images lie directly in it.
        let mut tops: BTreeMap<String, bool> = BTreeMap::new();
        for parts in files.iter().map(|file| components(file)).filter(|parts| parts.len() > 1) {
            *tops.entry(parts[0].clone()).or_default() |= parts.len() == 2;
        }
        let named: Vec<bool> = tops
            .iter()
            .filter(|(name, _)| name.parse::<Split>().is_ok())
            .map(|(_, direct)| *direct)
            .collect();
        let all = !named.is_empty() && named.len() == tops.len();
        let most = named.len() >= 2 && !named.contains(&true);
        if all || most { SplitLayout::Splits } else { SplitLayout::Classes }
    }

    /// The class and split of what lies in `folder`, or why it belongs to none.
    pub fn place(
        &self,
        folder: &[String],
    ) -> std::result::Result<(String, Option<Split>), &'static str> {
        match (self, folder) {
            (_, []) => Err(NO_CLASS_FOLDER),
            (SplitLayout::Classes, class) => Ok((class.join("/"), None)),
            (SplitLayout::Splits, [split, class @ ..]) => {
                let split = split
                    .parse()
                    .map_err(|_| "lies outside the folders for train, validation and test")?;
                if class.is_empty() {
                    Err(NO_CLASS_FOLDER)
                } else {
                    Ok((class.join("/"), Some(split)))
                }
            }
        }
    }
}

#[derive(Default)]
struct Walk {
    /// Files that claim to be images, relative to the root.
    files: Vec<PathBuf>,
    /// Folders that hold nothing, relative to the root.
    folders: Vec<PathBuf>,
    problems: Vec<Problem>,
    skipped: Skipped,
}

impl Walk {
    fn run(&mut self, root: &Path, filter: &FileFilter, job: Job<'_>) -> Result<()> {
        job.phase("looking for images", None, "files");
        let mut seen = 0u64;
        // Folders with anything in them, hidden files apart.
        let mut filled: BTreeSet<PathBuf> = BTreeSet::new();
        let mut entries = WalkDir::new(root).follow_links(true).into_iter();
        while let Some(entry) = entries.next() {
            seen += 1;
            if seen.is_multiple_of(256) {
                job.check()?;
                job.progress(seen);
            }
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) if error.loop_ancestor().is_some() => {
                    self.skipped.link_loops += 1;
                    continue;
                }
                Err(error) if error.depth() == 0 => {
                    return Err(DataError::source(root, io_reason(&error)).into());
                }
                Err(error) => {
                    self.unreadable(root, &error);
                    continue;
                }
            };
            if entry.depth() == 0 {
                continue;
            }
            if is_hidden(&entry) {
                self.skipped.hidden += 1;
                if entry.file_type().is_dir() {
                    entries.skip_current_dir();
                }
                continue;
            }
            let Ok(relative) = entry.path().strip_prefix(root) else { continue };
            if let Some(parent) = relative.parent() {
                filled.insert(parent.to_path_buf());
            }
            if entry.file_name().to_str().is_none() {
                self.problems.push(Problem {
                    path: entry.path().to_path_buf(),
                    reason: "its name is not valid Unicode; rename it".into(),
                });
                if entry.file_type().is_dir() {
                    entries.skip_current_dir();
                }
            } else if entry.file_type().is_dir() {
                self.folders.push(relative.to_path_buf());
            } else if entry.file_type().is_file() && claims_image(entry.path()) {
                if !filter.takes(relative) {
                    self.skipped.left_out += 1;
                    continue;
                }
                self.files.push(relative.to_path_buf());
            } else {
                self.skipped.not_images += 1;
            }
        }
        self.folders.retain(|folder| !filled.contains(folder));
        Ok(())
    }

    fn unreadable(&mut self, root: &Path, error: &walkdir::Error) {
        let path = error.path().unwrap_or(root);
        let link = path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink());
        // The system stops following a chain of links after some forty.
        if error.io_error().is_some_and(is_link_loop) {
            self.skipped.link_loops += 1;
        } else if link && !has_image_extension(path) {
            self.skipped.not_images += 1;
        } else {
            let reason = if link {
                "a link to a file that does not exist".to_string()
            } else {
                io_reason(error)
            };
            self.problems.push(Problem { path: path.to_path_buf(), reason });
        }
    }
}

/// ELOOP, for which the standard library has no stable name.
fn is_link_loop(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(if cfg!(target_os = "linux") { 40 } else { 62 })
}

fn io_reason(error: &walkdir::Error) -> String {
    error.io_error().map_or_else(|| error.to_string(), |e| e.to_string())
}

fn is_hidden(entry: &DirEntry) -> bool {
    let name = entry.file_name().to_string_lossy();
    name.starts_with('.') || CLUTTER.contains(&name.to_lowercase().as_str())
}

pub(super) fn has_image_extension(path: &Path) -> bool {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    extension.is_some_and(|extension| EXTENSIONS.contains(&extension.as_str()))
}

/// Whether a file is meant as an image: by its extension, or where it has none by its first bytes.
fn claims_image(path: &Path) -> bool {
    if path.extension().is_some() {
        return has_image_extension(path);
    }
    let mut start = Vec::new();
    let read = files::open(path, u64::MAX).and_then(|file| file.take(16).read_to_end(&mut start));
    // Text may begin with the two letters of PNM by chance.
    read.is_ok()
        && !matches!(
            image::guess_format(&start),
            Err(_) | Ok(image::ImageFormat::Pnm | image::ImageFormat::Bmp)
        )
}
