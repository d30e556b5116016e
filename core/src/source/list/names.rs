//! Names for classes whose labels are numbers, out of a text file.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use serde::Deserialize;

use crate::error::DataError;
use crate::files;

/// The name of each number, out of `file`, for labels `numbers`. Lines that all begin with a number
/// say themselves whose name follows, and so does an object in JSON whose names are numbers, or its
/// values; otherwise the first line, or entry of an array, is the name of class 0, or of class 1 where
/// the numbers are those from 1 to the number of lines.
///
/// # Errors
/// [`DataError`] naming the file: unreadable, or without a name for some of the numbers.
pub(super) fn read(
    file: &Path,
    numbers: &BTreeSet<i64>,
) -> Result<HashMap<i64, String>, DataError> {
    let text = files::read_text(file, files::LARGEST_TEXT).map_err(|e| DataError::file(file, e))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    let numbered = || lines().map(numbered).collect::<Option<HashMap<i64, String>>>();
    let in_order = |names: Vec<String>| -> HashMap<i64, String> {
        let from_one = numbers.first().is_some_and(|first| *first >= 1)
            && numbers.last().is_some_and(|last| usize::try_from(*last) == Ok(names.len()));
        (i64::from(from_one)..).zip(names).collect()
    };
    let names = match (serde_json::from_str(text), numbered()) {
        (Ok(Json::Names(names)), _) => in_order(names),
        (Ok(Json::ByNumber(names)), _) => {
            names.into_iter().filter_map(|(key, name)| Some((key.parse().ok()?, name))).collect()
        }
        (Ok(Json::ByName(names)), _) => {
            names.into_iter().map(|(name, number)| (number, name)).collect()
        }
        (Err(_), Some(names)) if !names.is_empty() => names,
        (Err(_), _) => in_order(lines().map(str::to_string).collect()),
    };
    let without: Vec<String> = numbers
        .iter()
        .filter(|number| !names.contains_key(number))
        .map(ToString::to_string)
        .collect();
    if !without.is_empty() {
        let summary = format!("{} has no name for these classes", file.display());
        return Err(DataError::Many { summary, items: without });
    }
    Ok(names)
}

/// The ways in which JSON names classes.
#[derive(Deserialize)]
#[serde(untagged)]
enum Json {
    /// `["owl", "wren"]`
    Names(Vec<String>),
    /// `{"0": "owl", "1": "wren"}`
    ByNumber(BTreeMap<String, String>),
    /// `{"owl": 0, "wren": 1}`
    ByName(BTreeMap<String, i64>),
}

/// `3 owl`, `3,owl`, `3;owl`, `3: owl` or `3<tab>owl`.
fn numbered(line: &str) -> Option<(i64, String)> {
    let end = line.find(|c: char| !c.is_ascii_digit())?;
    let rest = line[end..].trim_start_matches([' ', '\t', ',', ';', ':']);
    (rest.len() < line.len() - end && !rest.is_empty())
        .then(|| Some((line[..end].parse().ok()?, rest.trim_matches('"').to_string())))
        .flatten()
}
