//! Finding the files that an image list names: where it says, with any ending of images where it
//! names none, and in folders between that it leaves out.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use rayon::prelude::*;
use walkdir::WalkDir;

use super::super::filter::FileFilter;
use super::super::folder::{EXTENSIONS, has_image_extension};
use super::super::names::composed;
use crate::error::Result;
use crate::job::Job;
use crate::source::Split;

/// Folders below each other that are looked through for files that are not where the list says.
const DEPTH: usize = 8;
/// Folders at the beginning of all paths of a list that are passed over, at most.
const DEEPEST: usize = 24;
/// Entries that are looked at there: a list in a person's home folder must not lead to a walk
/// through all of it.
const ENTRIES: usize = 2_000_000;

/// What was found of a list's files.
pub(super) struct Found {
    /// Where each is, relative to the root or absolute; `None` if it is nowhere.
    pub paths: Vec<Option<PathBuf>>,
    /// How many are somewhere else than the list says, or have an ending that it does not name.
    pub elsewhere: usize,
    /// Names that could be several files, with two of these.
    pub several: Vec<(String, [PathBuf; 2])>,
}

/// What one name leads to.
enum Place {
    Nowhere,
    At(PathBuf),
    Several([PathBuf; 2]),
}

/// Looks for files below `root`. Those that are not where `named` says are looked for by their
/// names: in folders below the root that end as the named one does, with the named ending, or with
/// that of any image where none is named, among the files that the filter takes. Where none is there, as
/// many folders that all paths begin with are passed over as it takes to find one. A number finds the file of that number,
/// with zeros before it or without. One that could be several files is not found.
///
/// # Errors
/// [`crate::Error::Stopped`].
pub(super) fn find(
    root: &Path,
    named: &[&str],
    filter: &FileFilter,
    job: Job<'_>,
) -> Result<Found> {
    let mut paths: Vec<Option<PathBuf>> = named
        .par_iter()
        .map(|text| {
            job.check()?;
            Ok(resolve(root, text))
        })
        .collect::<Result<_>>()?;
    if paths.iter().all(Option::is_some) {
        return Ok(Found { paths, elsewhere: 0, several: Vec::new() });
    }
    let index = Index::below(root, filter, job)?;
    let missing =
        || named.iter().zip(&paths).filter(|(_, path)| path.is_none()).map(|(name, _)| *name);
    let moved = match missing().count() == named.len() {
        true => index.moved(named),
        false => Vec::new(),
    };
    let (mut elsewhere, mut several) = (0, Vec::new());
    // A name may stand in many rows, and be that of many files.
    let mut known: HashMap<&str, Place> = HashMap::new();
    for (row, path) in paths.iter_mut().enumerate().filter(|(_, path)| path.is_none()) {
        job.check()?;
        match known.entry(named[row]).or_insert_with(|| index.find(named[row], &moved)) {
            Place::Nowhere => {}
            Place::At(found) => {
                *path = Some(found.clone());
                elsewhere += 1;
            }
            Place::Several(two) => several.push((named[row].to_string(), two.clone())),
        }
    }
    Ok(Found { paths, elsewhere, several })
}

/// Windows' separators as those of everybody.
pub(super) fn slashed(text: &str) -> String {
    text.replace('\\', "/")
}

/// The path relative to the root where it lies below it, without `.` in it.
pub(super) fn tidy(root: &Path, text: &str) -> PathBuf {
    let path: PathBuf =
        Path::new(text).components().filter(|part| !matches!(part, Component::CurDir)).collect();
    path.strip_prefix(root).map(Path::to_path_buf).unwrap_or(path)
}

/// The path, if there is such a file. Lists written on Windows have backslashes, which are part of a
/// name elsewhere.
fn resolve(root: &Path, text: &str) -> Option<PathBuf> {
    let there = |path: &PathBuf| root.join(path).is_file();
    let path = tidy(root, text);
    if there(&path) {
        return Some(path);
    }
    let other = text.contains('\\').then(|| tidy(root, &slashed(text)));
    other.filter(there)
}

/// A path of [`composed`] names.
fn all_composed(path: &Path) -> Cow<'_, Path> {
    match path.to_str().map(composed) {
        Some(Cow::Owned(text)) => Cow::Owned(PathBuf::from(text)),
        _ => Cow::Borrowed(path),
    }
}

/// The images below a folder by their names without the ending.
struct Index {
    by_stem: HashMap<String, Vec<PathBuf>>,
    /// Names that are numbers, by these without zeros in front.
    by_number: HashMap<String, Vec<String>>,
}

impl Index {
    fn below(root: &Path, filter: &FileFilter, job: Job<'_>) -> Result<Self> {
        job.phase("looking for the images of the list", None, "files");
        let mut by_stem: HashMap<String, Vec<PathBuf>> = HashMap::new();
        let walk = WalkDir::new(root).follow_links(true).max_depth(DEPTH).sort_by_file_name();
        for (seen, entry) in walk.into_iter().take(ENTRIES).enumerate() {
            if seen.is_multiple_of(256) {
                job.check()?;
                job.progress(seen as u64);
            }
            let Ok(entry) = entry else { continue };
            let path = entry.path();
            if !entry.file_type().is_file() || !has_image_extension(path) {
                continue;
            }
            if let (Some(stem), Ok(relative)) =
                (path.file_stem().and_then(|stem| stem.to_str()), path.strip_prefix(root))
            {
                if !filter.takes(relative) {
                    continue;
                }
                by_stem
                    .entry(composed(stem).into_owned())
                    .or_default()
                    .push(relative.to_path_buf());
            }
        }
        let mut by_number: HashMap<String, Vec<String>> = HashMap::new();
        for stem in by_stem.keys() {
            if let Some(number) = number(stem) {
                by_number.entry(number.to_string()).or_default().push(stem.clone());
            }
        }
        Ok(Self { by_stem, by_number })
    }

    /// As many folders at the beginning of all these paths as have to be passed over for any of them to be
    /// there: where the images lay when the list was written. Another split's images are others.
    fn moved(&self, named: &[&str]) -> Vec<String> {
        let mut common: Option<Vec<String>> = None;
        for text in named {
            let own = folders(&slashed(&composed(text)));
            match &mut common {
                None => common = Some(own),
                Some(common) => {
                    let alike = common.iter().zip(&own).take_while(|(a, b)| a == b).count();
                    common.truncate(alike);
                }
            }
        }
        let is_no_split = |name: &String| name.parse::<Split>().is_err();
        let common: Vec<String> =
            common.unwrap_or_default().into_iter().take_while(is_no_split).collect();
        let is_there = |passed: &[String]| {
            named.iter().any(|text| !matches!(self.find(text, passed), Place::Nowhere))
        };
        let all = (0..=common.len().min(DEEPEST)).map(|passed| &common[..passed]);
        all.filter(|passed| is_there(passed)).map(<[String]>::to_vec).next().unwrap_or_default()
    }

    fn find(&self, text: &str, moved: &[String]) -> Place {
        let text = slashed(&composed(text));
        let found = self.place(&text);
        let without = || {
            let mut rest = text.trim_start_matches(['.', '/']);
            for folder in moved {
                rest = rest.strip_prefix(folder.as_str())?.trim_start_matches('/');
            }
            (!moved.is_empty()).then(|| self.place(rest)).flatten()
        };
        found.or_else(without).unwrap_or(Place::Nowhere)
    }

    /// Where a path with the separators of everybody leads to.
    fn place(&self, named: &str) -> Option<Place> {
        let named = Path::new(named);
        let ending = has_image_extension(named).then(|| lower_extension(named)).flatten();
        let stem =
            if ending.is_some() { named.file_stem() } else { named.file_name() }?.to_str()?;
        let folder: PathBuf = named
            .parent()?
            .components()
            .filter(|part| matches!(part, Component::Normal(_)))
            .collect();
        let fits = |path: &&PathBuf| {
            path.parent().is_some_and(|own| all_composed(own).ends_with(&folder))
                && (ending.is_none() || lower_extension(path) == ending)
        };
        let of = |stem: &str| self.by_stem.get(stem).into_iter().flatten().filter(fits);
        let mut fitting: Vec<&PathBuf> = of(stem).collect();
        if fitting.is_empty() {
            // `7` of a table that has forgotten the zeros of `007.jpg`.
            let same = number(stem).and_then(|number| self.by_number.get(number));
            fitting.extend(same.into_iter().flatten().flat_map(|stem| of(stem)));
        }
        // Of a photo beside its raw file, the one that is read by most programs.
        fitting.sort_by_key(|path| {
            let own = lower_extension(path).unwrap_or_default();
            (EXTENSIONS.iter().position(|known| *known == own), *path)
        });
        let first = fitting.first()?;
        // A picture in two formats is one to look at and one that is something else, such as a mask.
        let other = fitting.iter().skip(1).find(|path| {
            path.parent() != first.parent() || [*first, **path].iter().all(|path| is_usual(path))
        });
        Some(match other {
            Some(other) => Place::Several([(*first).clone(), (*other).clone()]),
            None => Place::At((*first).clone()),
        })
    }
}

/// The names of the folders that a path goes through.
fn folders(path: &str) -> Vec<String> {
    let parent = Path::new(path).parent().unwrap_or(Path::new(""));
    let name = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
        _ => None,
    };
    parent.components().filter_map(name).collect()
}

/// A name that is a number, without the zeros in front.
fn number(stem: &str) -> Option<&str> {
    let digits = !stem.is_empty() && stem.bytes().all(|byte| byte.is_ascii_digit());
    let trimmed = stem.trim_start_matches('0');
    digits.then_some(if trimmed.is_empty() { "0" } else { trimmed })
}

/// Whether a file is in one of the formats that every program reads; cameras write others beside them.
fn is_usual(path: &Path) -> bool {
    const USUAL: [&str; 8] = ["jpg", "jpeg", "png", "bmp", "webp", "gif", "tif", "tiff"];
    lower_extension(path).is_some_and(|extension| USUAL.contains(&extension.as_str()))
}

fn lower_extension(path: &Path) -> Option<String> {
    path.extension().map(|extension| extension.to_string_lossy().to_lowercase())
}
