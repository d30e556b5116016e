//! What an image list would give, before it is opened.

use std::collections::BTreeSet;
use std::path::Path;

use super::super::filter::FileFilter;
use super::columns::{Columns, Head, Label};
use super::find;
use super::format::{ListFormat, Separator};
use super::table::{ListText, read_text};
use super::{in_folders, root, rows};
use crate::error::Result;
use crate::job::Job;
use crate::source::ScanOptions;

/// Rows that are shown.
const ROWS: usize = 8;

/// The beginning of an image list and what is understood of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListPreview {
    /// What separates the fields.
    pub separator: Option<Separator>,
    /// Whether the first line names the columns.
    pub header: bool,
    /// The columns' names, or `column 1` and so on.
    pub columns: Vec<String>,
    /// How [`ListFormat`] names each of the columns: by its name, or by its number where others have
    /// the same name.
    pub keys: Vec<String>,
    /// The first rows, as many fields each as there are columns.
    pub rows: Vec<Vec<String>>,
    /// The format in full, if it is known which column holds what.
    pub format: Option<ListFormat>,
    /// Lines that name an image.
    pub listed: usize,
    /// How many of those are there.
    pub found: usize,
    /// How many classes they have.
    pub classes: usize,
    /// How many groups they have.
    pub groups: usize,
    /// Why the list cannot be opened like this, if it cannot.
    pub problem: Option<String>,
}

/// Reads an image list as `options` say, as far as to count its images and classes. What cannot be
/// understood of it is in [`ListPreview::problem`].
///
/// # Errors
/// [`crate::error::DataError`] if the file cannot be read or is no text, [`crate::Error::Stopped`].
pub fn preview_list(list: &Path, options: &ScanOptions, job: Job<'_>) -> Result<ListPreview> {
    let text = read_text(list)?;
    let head = Head::of(&text.text, &options.list);
    let field = |row: &csv::StringRecord, column| row.get(column).unwrap_or_default().to_string();
    let mut preview = ListPreview {
        separator: Some(head.fields.separator()),
        header: head.header,
        columns: head.names.clone(),
        keys: (0..head.names.len()).map(|column| head.key(column)).collect(),
        rows: head
            .rows
            .iter()
            .take(ROWS)
            .map(|row| (0..head.names.len()).map(|column| field(row, column)).collect())
            .collect(),
        ..ListPreview::default()
    };
    match &head.columns {
        Ok(columns) => {
            preview.format = Some(head.format(columns, &options.list));
            match count(list, &text, &head, columns, options, job) {
                Ok(counted) => {
                    preview.listed = counted.listed;
                    preview.found = counted.found;
                    preview.classes = counted.classes;
                    preview.groups = counted.groups;
                    preview.problem = counted.problem();
                }
                Err(crate::Error::Stopped) => return Err(crate::Error::Stopped),
                Err(error) => preview.problem = Some(error.to_string()),
            }
        }
        Err(reason) => {
            let mut letters = reason.chars();
            let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
            preview.problem = Some(first + letters.as_str());
        }
    }
    Ok(preview)
}

struct Counted {
    listed: usize,
    found: usize,
    classes: usize,
    groups: usize,
}

impl Counted {
    fn problem(&self) -> Option<String> {
        if self.listed == 0 {
            return Some("The list names no image".into());
        }
        if self.found == 0 {
            return Some("None of the images are in this folder".into());
        }
        if self.found * 2 < self.listed {
            return Some("Most of the images are not in this folder".into());
        }
        (self.classes < 2)
            .then(|| "There is one class only; telling classes apart needs two".into())
    }
}

fn count(
    list: &Path,
    text: &ListText,
    head: &Head,
    columns: &Columns,
    options: &ScanOptions,
    job: Job<'_>,
) -> Result<Counted> {
    let mut rows = rows::all(list, text, head, columns)?;
    rows.retain(|row| !row.is_unlabelled());
    let root = root(list, options);
    let named: Vec<&str> = rows.iter().map(|row| row.path.as_str()).collect();
    let filter = FileFilter::of(&options.only, &options.skip)?;
    let found = find::find(&root, &named, &filter, job)?;
    let classes: BTreeSet<String> = match columns.label {
        Label::Folder => {
            let paths: Vec<_> = found.paths.iter().flatten().cloned().collect();
            in_folders(&paths).into_iter().filter_map(|place| Some(place.ok()?.0)).collect()
        }
        _ => {
            let there = rows.iter().zip(&found.paths).filter(|(_, path)| path.is_some());
            there.filter_map(|(row, _)| row.label.clone()).collect()
        }
    };
    let groups: BTreeSet<&str> = rows.iter().filter_map(|row| row.group.as_deref()).collect();
    Ok(Counted {
        listed: rows.len(),
        found: found.paths.iter().flatten().count(),
        classes: classes.len(),
        groups: groups.len(),
    })
}
