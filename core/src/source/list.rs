//! Image lists: tables with a path and a label, and the `path label` lists that long-tailed
//! benchmarks come with.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Read;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::hint;
use super::scan::{Candidate, ScanOptions};
use crate::error::{DataError, Result};
use crate::files;
use crate::job::Job;
use crate::source::Split;

const PATH_COLUMNS: [&str; 20] = [
    "path",
    "filepath",
    "file_path",
    "filename",
    "file_name",
    "file",
    "image",
    "image_path",
    "imagepath",
    "image_file",
    "image_filename",
    "image_name",
    "img",
    "img_path",
    "img_name",
    "relative_path",
    "rel_path",
    "image_id",
    "id",
    "name",
];

/// Names before numbers: where a table has both, people want to read the names.
const LABEL_COLUMNS: [&str; 20] = [
    "class_name",
    "classname",
    "label_name",
    "category_name",
    "label",
    "labels",
    "class",
    "category",
    "species",
    "target",
    "y",
    "class_label",
    "tag",
    "scientific_name",
    "common_name",
    "class_id",
    "label_id",
    "category_id",
    "class_index",
    "target_id",
];

const SPLIT_COLUMNS: [&str; 8] =
    ["split", "set", "subset", "partition", "dataset", "data_set", "phase", "usage"];

/// A list of ten million images has a few hundred MB; anything larger is refused.
const LARGEST: u64 = 1 << 30;

/// What the image lists of a source hold.
pub(super) struct Listed {
    pub root: PathBuf,
    pub classes: Vec<String>,
    pub candidates: Vec<Candidate>,
}

/// A line of an image list.
struct Row {
    path: String,
    label: String,
    split: Option<Split>,
}

/// Reads the image list `source` and those that go with it, and requires every file they name. An
/// image that is listed more than once with the same label and split counts once.
///
/// # Errors
/// [`DataError`] naming the image list and the line, or listing the absent files, or the images
/// with more than one label or split.
pub(super) fn read(source: &Path, options: &ScanOptions, job: Job<'_>) -> Result<Listed> {
    job.phase("reading the image list", None, "lines");
    let mut rows = Vec::new();
    let several = !options.lists.is_empty();
    for list in std::iter::once(source).chain(options.lists.iter().map(PathBuf::as_path)) {
        job.check()?;
        let mut table = read_table(list)?;
        let named = if several { split_in_name(list) } else { None };
        for row in &mut table {
            row.split = row.split.or(named);
        }
        rows.extend(table);
    }
    if rows.is_empty() {
        return Err(DataError::source(source, "lists no image").into());
    }
    let root = options.root.clone().unwrap_or_else(|| match source.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    });
    if !root.is_dir() {
        return Err(DataError::source(&root, "there is no such folder").into());
    }
    let (classes, labels) = classes(&rows);
    let paths: Vec<PathBuf> = rows.par_iter().map(|row| resolve(&root, &row.path)).collect();
    let mut absent: Vec<String> = paths
        .par_iter()
        .filter(|path| !root.join(path).exists())
        .map(|path| path.display().to_string())
        .collect();
    if !absent.is_empty() {
        absent.sort();
        absent.dedup();
        let files = if absent.len() == 1 { "a file that is" } else { "files that are" };
        let summary = format!(
            "{} names {} {files} not in {}",
            source.display(),
            absent.len(),
            root.display()
        );
        return Err(DataError::Many { summary, items: absent }.into());
    }
    let mut candidates: Vec<Candidate> = paths
        .into_iter()
        .zip(labels)
        .zip(&rows)
        .map(|((path, class), row)| Candidate { path, class, split: row.split, group: None })
        .collect();
    let repeated = merge_repeated(source, &mut candidates, &classes)?;
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
    Ok(Listed { root, classes, candidates })
}

/// Keeps the first of the candidates that are the same image with the same label and split, and
/// returns how many are gone. Lines that contradict each other are an error: no training could tell
/// which of them is meant.
fn merge_repeated(
    source: &Path,
    candidates: &mut Vec<Candidate>,
    classes: &[String],
) -> Result<usize, DataError> {
    let before = candidates.len();
    let mut first: HashMap<PathBuf, (usize, Option<Split>)> = HashMap::with_capacity(before);
    let mut wrong = Vec::new();
    candidates.retain(|candidate| {
        let this = (candidate.class, candidate.split);
        match first.get(&candidate.path) {
            None => {
                first.insert(candidate.path.clone(), this);
                true
            }
            Some(other) => {
                if *other != this {
                    let named = |(class, split): (usize, Option<Split>)| match split {
                        Some(split) => format!("{} in {split}", classes[class]),
                        None => format!("{} in no split", classes[class]),
                    };
                    wrong.push(format!(
                        "{}: {} and {}",
                        candidate.path.display(),
                        named(*other),
                        named(this)
                    ));
                }
                false
            }
        }
    });
    if wrong.is_empty() {
        return Ok(before - candidates.len());
    }
    Err(DataError::Many {
        summary: format!("{}: images listed with different labels or splits", source.display()),
        items: wrong,
    })
}

/// Class names in order, and the class of each row.
fn classes(rows: &[Row]) -> (Vec<String>, Vec<usize>) {
    let numbers: Option<Vec<i64>> = rows.iter().map(|row| row.label.parse().ok()).collect();
    match numbers {
        Some(numbers) => {
            let distinct: BTreeSet<i64> = numbers.iter().copied().collect();
            let place: BTreeMap<i64, usize> =
                distinct.iter().enumerate().map(|(i, number)| (*number, i)).collect();
            (
                distinct.iter().map(ToString::to_string).collect(),
                numbers.iter().map(|number| place[number]).collect(),
            )
        }
        None => {
            let distinct: BTreeSet<&str> = rows.iter().map(|row| row.label.as_str()).collect();
            let place: BTreeMap<&str, usize> =
                distinct.iter().enumerate().map(|(i, name)| (*name, i)).collect();
            (
                distinct.iter().map(ToString::to_string).collect(),
                rows.iter().map(|row| place[row.label.as_str()]).collect(),
            )
        }
    }
}

/// The path of a row relative to the root where it lies below it.
fn resolve(root: &Path, text: &str) -> PathBuf {
    let tidy = |text: &str| -> PathBuf {
        let path: PathBuf = Path::new(text)
            .components()
            .filter(|part| !matches!(part, std::path::Component::CurDir))
            .collect();
        path.strip_prefix(root).map(Path::to_path_buf).unwrap_or(path)
    };
    let path = tidy(text);
    // Tables written on Windows have backslashes, which are part of a name elsewhere.
    if cfg!(not(windows)) && text.contains('\\') && !root.join(&path).exists() {
        return tidy(&text.replace('\\', "/"));
    }
    path
}

/// The split that a word of a file name names, as in `ImageNet_LT_train.txt`.
fn split_in_name(path: &Path) -> Option<Split> {
    let stem = path.file_stem()?.to_str()?;
    stem.split(|c: char| !c.is_alphanumeric()).rev().find_map(|word| word.parse().ok())
}

fn read_table(list: &Path) -> Result<Vec<Row>, DataError> {
    let fail = |reason: &str| DataError::file(list, reason);
    let text = read_text(list)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    if let Some((number, length)) = files::too_long_line(text) {
        let reason = format!(
            "line {number} has {length} bytes, and {} are the most a line may have",
            files::LONGEST_LINE
        );
        return Err(fail(&reason));
    }
    let first =
        text.lines().find(|line| !line.trim().is_empty()).ok_or_else(|| fail("is empty"))?;
    // A header decides, then what separates the fields of the first line; a list separated by
    // spaces has neither.
    let separators = [b'\t', b',', b';'];
    for separator in separators {
        let fields: Vec<&str> = first.split(char::from(separator)).collect();
        if let Some(columns) = Columns::from_header(&fields) {
            return delimited(list, text, separator, true, &columns);
        }
    }
    for separator in separators {
        let fields: Vec<&str> = first
            .split(char::from(separator))
            .map(|field| field.trim().trim_matches('"'))
            .collect();
        if (2..=3).contains(&fields.len()) && looks_like_path(fields[0]) {
            let split = (fields.len() == 3).then_some(2);
            return delimited(list, text, separator, false, &Columns { path: 0, label: 1, split });
        }
    }
    if first.contains(',') && !looks_like_path(first.split_whitespace().next().unwrap_or_default())
    {
        let reason = format!(
            "its header `{}` names no path or no label column; call them `path` and `label`",
            shortened(first.trim())
        );
        return Err(fail(&reason));
    }
    path_label_lines(list, text)
}

/// The text of a file that may be an image list. One that is no text is found out by its first bytes.
fn read_text(list: &Path) -> Result<String, DataError> {
    const START: u64 = 4096;
    let fail = |reason: std::io::Error| DataError::file(list, reason);
    if let Some(reason) = hint::of_name(list) {
        return Err(DataError::source(list, reason));
    }
    let mut file = files::open(list, LARGEST).map_err(fail)?;
    let mut bytes = Vec::new();
    file.by_ref().take(START).read_to_end(&mut bytes).map_err(fail)?;
    if !bytes.contains(&0) {
        file.take(LARGEST + 1 - START).read_to_end(&mut bytes).map_err(fail)?;
    }
    if bytes.len() as u64 > LARGEST {
        return Err(DataError::file(
            list,
            "has more than 1 GiB, which is too much for an image list",
        ));
    }
    let no_text = |bytes: &[u8]| {
        let unknown =
            "is not an image folder, CIFAR archive or image list; an image list is UTF-8 text";
        DataError::source(list, hint::of_content(bytes).unwrap_or(unknown))
    };
    if bytes.contains(&0) {
        return Err(no_text(&bytes));
    }
    String::from_utf8(bytes).map_err(|error| no_text(error.as_bytes()))
}

/// Whether a field reads like the name of a file: it has an extension of up to five letters.
fn looks_like_path(text: &str) -> bool {
    Path::new(text).extension().is_some_and(|extension| {
        let extension = extension.to_string_lossy();
        extension.len() <= 5
            && extension.chars().any(char::is_alphabetic)
            && extension.chars().all(char::is_alphanumeric)
    })
}

/// Which field is what.
struct Columns {
    path: usize,
    label: usize,
    split: Option<usize>,
}

impl Columns {
    fn from_header(fields: &[&str]) -> Option<Self> {
        let names: Vec<String> = fields
            .iter()
            .map(|field| {
                field.trim().trim_matches('"').trim().to_lowercase().replace([' ', '-'], "_")
            })
            .collect();
        let find = |known: &[&str]| {
            known.iter().find_map(|name| names.iter().position(|field| field == name))
        };
        Some(Self {
            path: find(&PATH_COLUMNS)?,
            label: find(&LABEL_COLUMNS)?,
            split: find(&SPLIT_COLUMNS),
        })
    }
}

fn delimited(
    list: &Path,
    text: &str,
    separator: u8,
    header: bool,
    columns: &Columns,
) -> Result<Vec<Row>, DataError> {
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(separator)
        .has_headers(header)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let mut rows = Vec::new();
    let mut wrong = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|reason| DataError::file(list, reason))?;
        let line = record.position().map_or(0, csv::Position::line);
        if record.iter().all(str::is_empty) {
            continue;
        }
        let field = |column: usize| record.get(column).filter(|field| !field.is_empty());
        let split = columns.split.and_then(field).map(str::parse::<Split>).transpose();
        match (field(columns.path), field(columns.label), split) {
            (Some(path), Some(label), Ok(split)) => {
                rows.push(Row { path: path.into(), label: label.into(), split })
            }
            (None, _, _) => wrong.push(format!("line {line}: the path is missing")),
            (_, None, _) => wrong.push(format!("line {line}: the label is missing")),
            (_, _, Err(reason)) => wrong.push(format!("line {line}: {reason}")),
        }
    }
    require_none(list, wrong)?;
    Ok(rows)
}

/// Lines of a path, white space and a label. Paths may hold spaces, labels may not.
fn path_label_lines(list: &Path, text: &str) -> Result<Vec<Row>, DataError> {
    let mut rows = Vec::new();
    let mut wrong = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        match line.trim().rsplit_once(char::is_whitespace) {
            Some((path, label)) => {
                rows.push(Row { path: path.trim_end().into(), label: label.into(), split: None })
            }
            None => wrong.push(format!(
                "line {}: expected a path and a label, not `{}`",
                number + 1,
                shortened(line.trim())
            )),
        }
    }
    if rows.is_empty() || !rows.iter().any(|row| looks_like_path(&row.path)) {
        let reason = "is not an image folder, CIFAR archive or image list; an image list has a header with `path` and `label`, or lines of a path and a label";
        return Err(DataError::source(list, reason));
    }
    require_none(list, wrong)?;
    Ok(rows)
}

fn require_none(list: &Path, wrong: Vec<String>) -> Result<(), DataError> {
    if wrong.is_empty() {
        return Ok(());
    }
    Err(DataError::Many {
        summary: format!("{}: lines that cannot be read", list.display()),
        items: wrong,
    })
}

fn shortened(text: &str) -> String {
    const SHOWN: usize = 60;
    if text.chars().count() <= SHOWN {
        text.into()
    } else {
        text.chars().take(SHOWN).chain(['…']).collect()
    }
}
