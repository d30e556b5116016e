//! Names for classes whose labels are numbers, out of a text file.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use crate::error::DataError;
use crate::files;

/// The name of each number, out of `file`, for labels `numbers`. Lines that all begin with a number
/// say themselves whose name follows; otherwise the first line is the name of class 0, or of class
/// 1 where the numbers are those from 1 to the number of lines.
///
/// # Errors
/// [`DataError`] naming the file: unreadable, or without a name for some of the numbers.
pub(super) fn read(
    file: &Path,
    numbers: &BTreeSet<i64>,
) -> Result<HashMap<i64, String>, DataError> {
    let text = files::read_text(file, files::LARGEST_TEXT).map_err(|e| DataError::file(file, e))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let numbered: Option<HashMap<i64, String>> = lines.iter().map(|line| numbered(line)).collect();
    let names = match numbered {
        Some(names) if !names.is_empty() => names,
        _ => {
            let from_one = numbers.first().is_some_and(|first| *first >= 1)
                && numbers.last().is_some_and(|last| usize::try_from(*last) == Ok(lines.len()));
            (i64::from(from_one)..).zip(lines.iter().map(|line| line.to_string())).collect()
        }
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

/// `3 owl`, `3,owl`, `3;owl`, `3: owl` or `3<tab>owl`.
fn numbered(line: &str) -> Option<(i64, String)> {
    let end = line.find(|c: char| !c.is_ascii_digit())?;
    let rest = line[end..].trim_start_matches([' ', '\t', ',', ';', ':']);
    (rest.len() < line.len() - end && !rest.is_empty())
        .then(|| Some((line[..end].parse().ok()?, rest.trim_matches('"').to_string())))
        .flatten()
}
