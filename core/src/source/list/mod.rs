//! Image lists: tables in which each line names an image and its label, however they are written.

mod columns;
mod find;
mod format;
mod json;
mod names;
mod preview;
mod rows;
mod table;
mod usual_names;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::filter::FileFilter;
use super::folder::{SplitLayout, has_image_extension, split_of_folder};
use super::names::composed;
use super::reading::Reading;
use super::scan::{Candidate, ScanOptions};
use crate::error::{DataError, Result};
use crate::files;
use crate::job::Job;
use crate::source::{Problem, Split};

use find::Found;
pub use format::{ListFormat, Separator};
pub use preview::{ListPreview, preview_list};
use rows::{Row, Rows};
use table::Origin;

/// What the image lists of a source hold.
pub(super) struct Listed {
    pub root: PathBuf,
    pub classes: Vec<String>,
    pub candidates: Vec<Candidate>,
    /// Files that are listed and not there.
    pub problems: Vec<Problem>,
    /// Lines that were left out as asked.
    pub left_out: usize,
    pub reading: Reading,
}

/// Reads the image list `source` and those that go with it, and looks for the files they name. An
/// image that is listed more than once with the same label and split counts once.
///
/// # Errors
/// [`DataError`] naming the image list and the line, or listing the absent files where they are more
/// than half of all, or the images with more than one label or split.
pub(super) fn read(source: &Path, options: &ScanOptions, job: Job<'_>) -> Result<Listed> {
    job.phase("reading the image list", None, "lines");
    let filter = FileFilter::of(&options.only, &options.skip)?;
    let mut rows = Vec::new();
    let mut format = None;
    let several = !options.lists.is_empty();
    let root = root(source, options);
    if !root.is_dir() {
        return Err(DataError::source(&root, "there is no such folder").into());
    }
    let lists = || std::iter::once(source).chain(options.lists.iter().map(PathBuf::as_path));
    for list in lists() {
        job.check()?;
        let Rows { rows: mut table, format: found, origin, labels } =
            rows::read(list, &options.list)?;
        if origin == Origin::Windows {
            job.info(format!(
                "{} is not UTF-8 and is read as spreadsheets of western languages save it on Windows; look whether names with marks on letters are right",
                list.display()
            ));
        }
        if let Some((column, others)) = labels.filter(|(_, others)| !others.is_empty()) {
            job.info(format!(
                "{}: `{column}` is taken as the label, and not {} (--label names another column)",
                list.display(),
                others.iter().map(|other| format!("`{other}`")).collect::<Vec<_>>().join(" or ")
            ));
        }
        let named = if several { split_in_name(list) } else { None };
        let own = own_folder(list, &root);
        for row in &mut table {
            row.split = row.split.or(named);
            if let Some(path) = own.as_ref().map(|own| own.join(&row.path))
                && let Some(path) = path.to_str()
                && root.join(path).is_file()
            {
                row.path = path.to_string();
            }
        }
        rows.extend(table);
        format.get_or_insert(found);
    }
    if rows.is_empty() {
        return Err(DataError::source(source, "lists no image").into());
    }
    let unlabelled = unlabelled(source, &mut rows)?;
    if !unlabelled.is_empty() {
        let have = if unlabelled.len() == 1 { "image has" } else { "images have" };
        job.warn(format!(
            "{}: {} {have} no label there and are left out",
            source.display(),
            unlabelled.len()
        ));
    }
    let mut rows = each_label_alone(rows);
    let named: Vec<&str> = rows.iter().map(|row| row.path.as_str()).collect();
    let mut found = find::find(&root, &named, &filter, job)?;
    refuse_several(source, &found.several)?;
    if found.elsewhere > 0 {
        let images = if found.elsewhere == 1 { "image was" } else { "images were" };
        job.info(format!(
            "{}: {} {images} found by name: the list does not name the folder, the ending or zeros in front",
            source.display(),
            found.elsewhere
        ));
    }
    // Patterns are about the files, of which the list may not name the ending.
    let takes = |row: &Row, path: &Option<PathBuf>| {
        let text = find::slashed(&row.path);
        let named = Path::new(&text);
        path.as_ref().map_or_else(
            || !has_image_extension(named) || filter.takes(named),
            |path| filter.takes(path),
        )
    };
    let kept: Vec<bool> =
        rows.iter().zip(&found.paths).map(|(row, path)| takes(row, path)).collect();
    let left_out = kept.iter().filter(|kept| !**kept).count();
    if left_out == rows.len() {
        return Err(DataError::source(source, "lists only images that are left out").into());
    }
    if left_out > 0 {
        let mut each = kept.iter();
        rows.retain(|_| each.next() == Some(&true));
        let mut each = kept.iter();
        found.paths.retain(|_| each.next() == Some(&true));
    }
    let mut problems = absent(source, &root, &rows, &found)?;
    problems.extend(unlabelled.into_iter().map(|path| Problem {
        path: root.join(find::tidy(&root, &path)),
        reason: "is in the list without a label".into(),
    }));
    let Labelled { classes, labels, splits } = label(source, &rows, &found.paths, options)?;
    let all = rows.into_iter().zip(found.paths).zip(labels).zip(splits);
    let mut candidates: Vec<Candidate> = all
        .filter_map(|(((row, path), class), split)| {
            Some(Candidate { path: path?, class, split, group: row.group })
        })
        .collect();
    let Merged { repeated, contradictory } = merge_repeated(source, &mut candidates, &classes)?;
    if !contradictory.is_empty() {
        let have = if contradictory.len() == 1 { "image has" } else { "images have" };
        job.warn(format!(
            "{}: {} {have} several labels there and are left out",
            source.display(),
            contradictory.len()
        ));
    }
    problems.extend(
        contradictory.into_iter().map(|(path, reason)| Problem { path: root.join(path), reason }),
    );
    if repeated > 0 {
        let lines = if repeated == 1 {
            "1 line repeats an image that is".to_string()
        } else {
            format!("{repeated} lines repeat images that are")
        };
        job.info(format!("{}: {lines} listed already; each image counts once", source.display()));
    }
    // In the list's order within a class.
    candidates.sort_by_key(|candidate| candidate.class);
    let reading = Reading {
        lists: lists().map(|list| relative(list, &root)).collect(),
        format: format.unwrap_or_default(),
        ..Reading::of(options)
    };
    Ok(Listed { root, classes, candidates, problems, left_out, reading })
}

/// Takes out the rows without a label and returns what they name.
///
/// # Errors
/// If they are half of all, or more: then the labels are elsewhere.
fn unlabelled(source: &Path, rows: &mut Vec<Row>) -> Result<Vec<String>, DataError> {
    let count = rows.iter().filter(|row| row.is_unlabelled()).count();
    if 2 * count >= rows.len() {
        let reason = format!("has no label in {count} of {} lines", rows.len());
        return Err(DataError::source(source, reason));
    }
    Ok(rows.extract_if(.., |row| row.is_unlabelled()).map(|row| row.path).collect())
}

/// Rows whose label is several of the others' in one field (`owl; wren`) as a row for each of these.
fn each_label_alone(rows: Vec<Row>) -> Vec<Row> {
    const BETWEEN: [char; 3] = [',', ';', '|'];
    let all: HashSet<String> = rows.iter().filter_map(|row| row.label.clone()).collect();
    if !all.iter().any(|label| label.contains(BETWEEN)) {
        return rows;
    }
    let several = |label: &str| -> Option<Vec<String>> {
        let parts: Vec<String> = label.split(BETWEEN).map(|part| part.trim().to_string()).collect();
        (parts.len() > 1 && parts.iter().all(|part| all.contains(part))).then_some(parts)
    };
    let alone = |row: Row| -> Vec<Row> {
        match row.label.as_deref().and_then(several) {
            Some(parts) => {
                parts.into_iter().map(|part| Row { label: Some(part), ..row.clone() }).collect()
            }
            None => vec![row],
        }
    };
    rows.into_iter().flat_map(alone).collect()
}

/// What the paths of a list and those that go with it are relative to: what is asked for, or the first list's
/// folder, or that above it, where all the lists lie.
fn root(source: &Path, options: &ScanOptions) -> PathBuf {
    let parent = |list: &Path| match list.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    options.root.clone().unwrap_or_else(|| {
        let all = options.lists.iter().map(|list| files::real(&parent(list)));
        let own = parent(source);
        let real = files::real(&own);
        let above = |folder: &&Path| all.clone().all(|other| other.starts_with(folder));
        match real.ancestors().take(2).find(above) {
            // As it was given, where that will do.
            Some(folder) if folder == real => own,
            Some(folder) if folder.parent().is_some() => folder.to_path_buf(),
            _ => own,
        }
    })
}

/// The folder below the root that a list lies in, if it is another.
fn own_folder(list: &Path, root: &Path) -> Option<PathBuf> {
    let (list, root) = (files::real(list), files::real(root));
    let folder = list.strip_prefix(&root).ok()?.parent()?;
    (!folder.as_os_str().is_empty()).then(|| folder.to_path_buf())
}

/// A list as a dataset file names it.
fn relative(list: &Path, root: &Path) -> String {
    let (list, root) = (files::real(list), files::real(root));
    find::slashed(&list.strip_prefix(&root).unwrap_or(&list).to_string_lossy())
}

/// Names that could be several files in one folder are refused: which of them is the image only the
/// person knows, and all images of the list might be others than were meant.
fn refuse_several(source: &Path, several: &[(String, [PathBuf; 2])]) -> Result<(), DataError> {
    let in_one_folder =
        |(_, [one, other]): &&(String, [PathBuf; 2])| one.parent() == other.parent();
    let several: Vec<_> = several.iter().filter(in_one_folder).collect();
    let Some((_, two)) = several.first() else { return Ok(()) };
    let [one, other] = two.each_ref().map(|path| {
        path.extension().map_or(String::new(), |ending| ending.to_string_lossy().into_owned())
    });
    let names = if several.len() == 1 { "name" } else { "names" };
    let summary = format!(
        "{}: {} {names} could be several files each; say which, with --only {one} or --only {other}",
        source.display(),
        several.len()
    );
    let words = |(name, [one, other]): &&(String, [PathBuf; 2])| {
        format!("{name}: {} or {}", one.display(), other.display())
    };
    Err(DataError::Many { summary, items: several.iter().map(words).collect() })
}

/// The files that are listed and not there.
///
/// # Errors
/// If they are more than half: then the list goes with another folder.
fn absent(
    source: &Path,
    root: &Path,
    rows: &[Row],
    found: &Found,
) -> Result<Vec<Problem>, DataError> {
    let missing: BTreeSet<PathBuf> = rows
        .iter()
        .zip(&found.paths)
        .filter(|(_, path)| path.is_none())
        .map(|(row, _)| find::tidy(root, &row.path))
        .collect();
    let several: BTreeMap<PathBuf, &[PathBuf; 2]> =
        found.several.iter().map(|(name, two)| (find::tidy(root, name), two)).collect();
    if missing.len() * 2 > rows.len() {
        let files = if missing.len() == 1 { "a file that is" } else { "files that are" };
        let summary = format!(
            "{} names {} {files} not in {}",
            source.display(),
            missing.len(),
            root.display()
        );
        let item = |path: &PathBuf| match several.get(path) {
            Some([one, other]) => {
                format!("{}: {} or {}", path.display(), one.display(), other.display())
            }
            None => path.display().to_string(),
        };
        let summary = match several.len() {
            0 => summary,
            several => format!("{summary}, {several} of them because they could be several files"),
        };
        return Err(DataError::Many { summary, items: missing.iter().map(item).collect() });
    }
    let reason = |path: &PathBuf| match several.get(path) {
        Some([one, other]) => {
            format!("is in the list and could be {} or {}", one.display(), other.display())
        }
        None => "is in the list and not in its folder".to_string(),
    };
    let problem = |path| Problem { reason: reason(path), path: root.join(path) };
    Ok(missing.iter().map(problem).collect())
}

/// Class names in order, and the class and split of each row.
struct Labelled {
    classes: Vec<String>,
    labels: Vec<usize>,
    splits: Vec<Option<Split>>,
}

/// What each row belongs to. Of a list without labels they are the
/// folders that its paths go through, as in an image folder.
fn label(
    source: &Path,
    rows: &[Row],
    paths: &[Option<PathBuf>],
    options: &ScanOptions,
) -> Result<Labelled, DataError> {
    let mut splits: Vec<Option<Split>> = rows.iter().map(|row| row.split).collect();
    let mut labels: Vec<String> = Vec::with_capacity(rows.len());
    if rows.iter().any(|row| row.label.is_none()) {
        let path = |(row, path): (&Row, &Option<PathBuf>)| {
            path.clone().unwrap_or_else(|| find::slashed(&row.path).into())
        };
        let paths: Vec<PathBuf> = rows.iter().zip(paths).map(path).collect();
        let folders = in_folders(&paths);
        let mut outside = Vec::new();
        for ((row, folder), (split, path)) in
            rows.iter().zip(folders).zip(splits.iter_mut().zip(&paths))
        {
            match (&row.label, folder) {
                (Some(label), _) => labels.push(label.clone()),
                (None, Ok((class, own))) => {
                    labels.push(class);
                    *split = split.or(own);
                }
                (None, Err(reason)) => outside.push(format!("{}: {reason}", path.display())),
            }
        }
        if !outside.is_empty() {
            let summary = format!(
                "{}: the label is the folder of the image, and some are in none",
                source.display()
            );
            return Err(DataError::Many { summary, items: outside });
        }
    } else {
        labels.extend(rows.iter().filter_map(|row| row.label.clone()));
    }
    let (classes, labels) = classes(&labels, options)?;
    Ok(Labelled { classes, labels, splits })
}

/// The class and split of each path by the folders it goes through. Those that all paths go through
/// say nothing.
fn in_folders(paths: &[PathBuf]) -> Vec<Result<(String, Option<Split>), &'static str>> {
    let parts: Vec<Vec<String>> = paths
        .iter()
        .map(|path| {
            let names = path.parent().into_iter().flat_map(Path::components);
            names.map(|name| composed(&name.as_os_str().to_string_lossy()).into_owned()).collect()
        })
        .collect();
    let first = parts.first().cloned().unwrap_or_default();
    let common = parts.iter().fold(first.len(), |common, names| {
        names.iter().zip(&first).take(common).take_while(|(a, b)| a == b).count()
    });
    let below: Vec<PathBuf> = parts
        .iter()
        .map(|names| names[common..].iter().collect::<PathBuf>().join("image"))
        .collect();
    let layout = SplitLayout::of(&below);
    parts.iter().map(|names| layout.place(&names[common..])).collect()
}

/// Class names in order, and the class of each label. Where all labels are numbers, their order is
/// that of the numbers, and the file of class names says what they are called.
fn classes(
    labels: &[String],
    options: &ScanOptions,
) -> Result<(Vec<String>, Vec<usize>), DataError> {
    // `007` and `7` are two names, unless a file says what numbers are called.
    let is_named = options.list.class_names.is_some();
    let number = |label: &String| {
        label.parse().ok().filter(|number: &i64| is_named || number.to_string() == *label)
    };
    let numbers: Option<Vec<i64>> = labels.iter().map(number).collect();
    match (numbers, &options.list.class_names) {
        (Some(numbers), file) => {
            let distinct: BTreeSet<i64> = numbers.iter().copied().collect();
            let place: BTreeMap<i64, usize> =
                distinct.iter().enumerate().map(|(i, number)| (*number, i)).collect();
            let names = match file {
                None => distinct.iter().map(ToString::to_string).collect(),
                Some(file) => {
                    let names = names::read(file, &distinct)?;
                    let named: Vec<String> =
                        distinct.iter().filter_map(|number| names.get(number).cloned()).collect();
                    let mut seen = BTreeSet::new();
                    let twice: Vec<String> =
                        named.iter().filter(|name| !seen.insert(*name)).cloned().collect();
                    if !twice.is_empty() {
                        let summary =
                            format!("{} has several classes of these names", file.display());
                        return Err(DataError::Many { summary, items: twice });
                    }
                    named
                }
            };
            Ok((names, numbers.iter().map(|number| place[number]).collect()))
        }
        (None, Some(file)) => {
            let reason = "names classes by their numbers, and the labels are names already";
            Err(DataError::file(file, reason))
        }
        (None, None) => {
            let distinct: BTreeSet<&str> = labels.iter().map(String::as_str).collect();
            let place: BTreeMap<&str, usize> =
                distinct.iter().enumerate().map(|(i, name)| (*name, i)).collect();
            Ok((
                distinct.iter().map(ToString::to_string).collect(),
                labels.iter().map(|label| place[label.as_str()]).collect(),
            ))
        }
    }
}

/// What is found of images that several lines name.
struct Merged {
    /// Lines that say the same again.
    repeated: usize,
    /// Images with different labels, which are gone: no training could tell which of them is meant.
    contradictory: Vec<(PathBuf, String)>,
}

/// Keeps the first of the candidates that are the same image with the same label and split.
///
/// # Errors
/// [`DataError`] if an image is in several splits, or half of them have several labels: then an image
/// shows several things, or the labels are in another column.
fn merge_repeated(
    source: &Path,
    candidates: &mut Vec<Candidate>,
    classes: &[String],
) -> Result<Merged, DataError> {
    let before = candidates.len();
    let mut first: HashMap<PathBuf, (usize, Option<Split>)> = HashMap::with_capacity(before);
    let mut in_splits = Vec::new();
    // The classes of each image that has several, in the order of the list.
    let mut labels: BTreeMap<PathBuf, Vec<usize>> = BTreeMap::new();
    candidates.retain(|candidate| {
        let Some(&(class, split)) = first.get(&candidate.path) else {
            first.insert(candidate.path.clone(), (candidate.class, candidate.split));
            return true;
        };
        if split != candidate.split {
            let named = |split: Option<Split>| match split {
                Some(split) => format!("in {split}"),
                None => "in no split".into(),
            };
            let (one, other) = (named(split), named(candidate.split));
            in_splits.push(format!("{}: {one} and {other}", candidate.path.display()));
        }
        if class != candidate.class {
            let all = labels.entry(candidate.path.clone()).or_insert_with(|| vec![class]);
            if !all.contains(&candidate.class) {
                all.push(candidate.class);
            }
        }
        false
    });
    if !in_splits.is_empty() {
        let summary = format!("{}: images listed in different splits", source.display());
        return Err(DataError::Many { summary, items: in_splits });
    }
    let repeated =
        before - candidates.len() - labels.values().map(|all| all.len() - 1).sum::<usize>();
    let mentioned: BTreeSet<usize> = labels.values().flatten().copied().collect();
    let contradictory: Vec<(PathBuf, String)> = labels
        .into_iter()
        .map(|(path, all)| {
            let names: Vec<&str> = all.iter().map(|class| classes[*class].as_str()).collect();
            (path, format!("is listed as {}", names.join(" and ")))
        })
        .collect();
    if 2 * contradictory.len() >= first.len().max(1) {
        let summary = format!(
            "{}: {} of {} images are listed with several labels, and an image can be of one class only; of images that show several things, cut these out and make a folder of each class",
            source.display(),
            contradictory.len(),
            first.len()
        );
        let item = |(path, reason): &(PathBuf, String)| format!("{} {reason}", path.display());
        return Err(DataError::Many { summary, items: contradictory.iter().map(item).collect() });
    }
    let gone: HashSet<&PathBuf> = contradictory.iter().map(|(path, _)| path).collect();
    candidates.retain(|candidate| !gone.contains(&candidate.path));
    let left: BTreeSet<usize> = candidates.iter().map(|candidate| candidate.class).collect();
    let emptied: Vec<String> =
        mentioned.difference(&left).map(|class| classes[*class].clone()).collect();
    if !emptied.is_empty() {
        let summary = format!(
            "{}: an image can be of one class only, and of these classes every image is listed with others, too; of images that show several things, cut these out and make a folder of each class",
            source.display()
        );
        return Err(DataError::Many { summary, items: emptied });
    }
    Ok(Merged { repeated, contradictory })
}

/// The split that a word of a file name names, as in `ImageNet_LT_train.txt` and `train2018.json`, or the
/// folder it lies in.
fn split_in_name(path: &Path) -> Option<Split> {
    let stem = path.file_stem()?.to_str()?;
    let word = |word: &str| word.trim_end_matches(|c: char| c.is_ascii_digit()).parse().ok();
    let by_name = stem.split(|c: char| !c.is_alphanumeric()).rev().find_map(word);
    by_name.or_else(|| split_of_folder(files::real(path).parent()?.file_name()?.to_str()?))
}

#[cfg(test)]
mod json_tests;
#[cfg(test)]
mod tests;
