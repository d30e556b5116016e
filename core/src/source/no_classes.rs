//! Folders whose folders are no classes, and what is offered instead: classes in file names, and image
//! lists that lie beside the images.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::class_in_name;
use super::folder::{has_image_extension, split_of_folder};
use crate::error::DataError;
use crate::source::Split;

/// Lists that are offered.
const OFFERED: usize = 3;

/// An error for a folder whose folders are no classes, of which `reason` says why: with what can be
/// done where file names begin with classes, or lists lie beside the images.
pub(super) fn no_class_folders(
    folder: &Path,
    reason: String,
    files: &[impl AsRef<Path>],
) -> DataError {
    DataError::NoClassFolders {
        path: folder.to_path_buf(),
        reason,
        in_names: class_in_name::offer(files),
        lists: lists_beside(folder),
    }
}

/// What may be image lists in a folder or its folders for training, validation and test: each with those
/// of the same name in the others of these.
fn lists_beside(folder: &Path) -> Vec<Vec<PathBuf>> {
    let entries = |folder: &Path| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<PathBuf>>()
    };
    let here = entries(folder);
    let single =
        |kinds: &[&str]| of_kinds(&here, kinds).into_iter().map(|list| vec![list]).collect();
    let in_splits = || {
        let mut folders: Vec<(Split, &PathBuf)> = here
            .iter()
            .filter_map(|path| {
                let split = split_of_folder(&path.file_name()?.to_string_lossy())?;
                path.is_dir().then_some((split, path))
            })
            .collect();
        folders.sort_by_key(|(split, path)| (*split as usize, *path));
        let mut sets: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
        for (_, path) in folders {
            for list in of_kinds(&entries(path), &["csv", "tsv", "json", "jsonl"]) {
                let name = list.file_name().unwrap_or_default().to_string_lossy().into_owned();
                sets.entry(name).or_default().push(list);
            }
        }
        sets.into_values().collect()
    };
    let ways: [&dyn Fn() -> Vec<Vec<PathBuf>>; 4] =
        [&|| single(&["csv", "tsv"]), &|| single(&["json", "jsonl"]), &in_splits, &|| {
            single(&["txt"])
        }];
    let mut lists = ways.into_iter().map(|way| way()).find(|lists| !lists.is_empty());
    lists.iter_mut().for_each(|lists| lists.truncate(OFFERED));
    lists.unwrap_or_default()
}

/// Those of some paths that are files with one of these endings, in the order of their names; what tells
/// about a set is no list.
fn of_kinds(paths: &[PathBuf], kinds: &[&str]) -> Vec<PathBuf> {
    // What is called like an image is about that one alone: boxes, as a rule.
    let images: HashSet<&OsStr> = paths
        .iter()
        .filter(|path| has_image_extension(path))
        .filter_map(|path| path.file_stem())
        .collect();
    let is_of = |path: &&PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let tells = ["readme", "license", "requirements", "sample_submission", "classes"]
            .iter()
            .any(|start| name.starts_with(start));
        let is_of_one = path.file_stem().is_some_and(|stem| images.contains(stem));
        !tells
            && !is_of_one
            && kinds.iter().any(|kind| name.ends_with(&format!(".{kind}")))
            && path.is_file()
    };
    let mut lists: Vec<PathBuf> = paths.iter().filter(is_of).cloned().collect();
    lists.sort();
    lists
}
