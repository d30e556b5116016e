//! The lines of an image list, read by columns that are known.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use csv::StringRecord;

use super::super::names::composed;
use super::columns::{Columns, Head, Label, flag};
use super::format::ListFormat;
use super::table::{ListText, Origin, each_record, read_text};
use crate::error::DataError;
use crate::source::Split;

/// Rows of an unknown list that its error shows.
const SHOWN: usize = 4;

/// Bytes of a label, at most: the name of a column can be that of every row.
const LONGEST_LABEL: usize = 1024;
/// Lines that cannot be read and are told of, each in so many bytes.
const TOLD: usize = 1000;
const TOLD_OF_ONE: usize = 1024;

/// A line of an image list.
#[derive(Clone)]
pub(super) struct Row {
    pub path: String,
    /// Without one, the class folder in the path is the label.
    pub label: Option<String>,
    pub split: Option<Split>,
    pub group: Option<Arc<str>>,
}

impl Row {
    /// Whether the list leaves its label empty, or says in the way of tables that there is none.
    pub fn is_unlabelled(&self) -> bool {
        const NONE: [&str; 7] = ["", "NA", "N/A", "<NA>", "NaN", "nan", "null"];
        self.label.as_deref().is_some_and(|label| NONE.contains(&label))
    }
}

/// What is read of a list.
pub(super) struct Rows {
    pub rows: Vec<Row>,
    /// How they were read, in full.
    pub format: ListFormat,
    pub origin: Origin,
    /// The column that labels were taken from by a rule, and others that they may be in.
    pub labels: Option<(String, Vec<String>)>,
}

/// The rows of `list`.
///
/// # Errors
/// [`DataError::UnknownList`] if it cannot be told which column holds what, and [`DataError`]
/// naming the lines that cannot be read.
pub(super) fn read(list: &Path, format: &ListFormat) -> Result<Rows, DataError> {
    let text = read_text(list)?;
    if text.text.trim().is_empty() {
        return Err(DataError::file(list, "is empty"));
    }
    let head = Head::of(&text.text, format);
    let columns = match &head.columns {
        Ok(columns) => columns,
        Err(reason) => return Err(unknown(list, &head, reason)),
    };
    let rows = all(list, &text, &head, columns)?;
    let labels = match columns.label {
        Label::Column(column) if format.label.is_none() => {
            Some((head.names[column].clone(), head.other_labels(columns)))
        }
        _ => None,
    };
    Ok(Rows { rows, format: head.format(columns, format), origin: text.origin, labels })
}

fn unknown(list: &Path, head: &Head, reason: &str) -> DataError {
    DataError::UnknownList {
        path: list.to_path_buf(),
        reason: format!(
            "is not an image folder, CIFAR archive or image list that explains itself: {reason}"
        ),
        separator: head.fields.separator().name(),
        columns: head.names.clone(),
        rows: head
            .rows
            .iter()
            .take(SHOWN)
            .map(|row| row.iter().map(str::to_string).collect())
            .collect(),
    }
}

/// Every row of a text.
pub(super) fn all(
    list: &Path,
    text: &ListText,
    head: &Head,
    columns: &Columns,
) -> Result<Vec<Row>, DataError> {
    let mut rows = Vec::new();
    let mut wrong = Vec::new();
    let mut groups: HashMap<String, Arc<str>> = HashMap::new();
    let mut header = head.header;
    let mut records = 0u64;
    let read = each_record(&text.text, head.fields, |line, record| {
        if !std::mem::take(&mut header) {
            records += 1;
            match row(&record, columns, head, &mut groups) {
                Ok(row) => rows.push(row),
                Err(reason) => {
                    let number = if text.origin == Origin::Json { records } else { line };
                    let mut told = format!("{} {number}: {reason}", text.origin.line());
                    told.truncate(told.floor_char_boundary(TOLD_OF_ONE));
                    wrong.push(told);
                }
            }
        }
        wrong.len() < TOLD
    });
    read.map_err(|reason| DataError::file(list, reason))?;
    if wrong.is_empty() {
        return Ok(rows);
    }
    Err(DataError::Many {
        summary: match wrong.len() {
            TOLD => {
                format!("{}: {TOLD} lines that cannot be read, and perhaps more", list.display())
            }
            _ => format!("{}: lines that cannot be read", list.display()),
        },
        items: wrong,
    })
}

fn row(
    record: &StringRecord,
    columns: &Columns,
    head: &Head,
    groups: &mut HashMap<String, Arc<str>>,
) -> Result<Row, String> {
    let field = |column: usize| record.get(column).filter(|field| !field.is_empty());
    let path = field(columns.path).ok_or("the path is missing")?;
    let label = match &columns.label {
        Label::Column(column) => Some(composed(field(*column).unwrap_or_default()).into_owned()),
        Label::OneHot(classes) => Some(one_hot(record, classes, &head.names)?),
        Label::Folder => None,
    };
    if let Some(length) = label.as_ref().map(String::len).filter(|length| *length > LONGEST_LABEL) {
        return Err(format!("the label has {length} bytes, and {LONGEST_LABEL} are the most"));
    }
    let split = columns.split.and_then(field).map(str::parse).transpose()?;
    let group = columns.group.and_then(field).map(|name| {
        let name = groups.entry(name.to_string()).or_insert_with(|| Arc::from(name));
        Arc::clone(name)
    });
    Ok(Row { path: path.to_string(), label, split, group })
}

/// The name of the one column that holds a 1.
fn one_hot(record: &StringRecord, classes: &[usize], names: &[String]) -> Result<String, String> {
    let mut ones = Vec::new();
    for class in classes {
        let field = record.get(*class).unwrap_or_default();
        match flag(field) {
            Some(true) => ones.push(names[*class].as_str()),
            Some(false) => {}
            None => return Err(format!("`{field}` in `{}` is neither 0 nor 1", names[*class])),
        }
    }
    match ones.as_slice() {
        [one] => Ok((*one).to_string()),
        [] => Err("none of the classes' columns holds a 1".into()),
        several => Err(format!("it has several labels: {}", several.join(", "))),
    }
}
