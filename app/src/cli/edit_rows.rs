//! What `counterweight edit` reads: names of images, and tables of edits.

use std::io::Read;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use counterweight_core::dataset::EditAction;
use counterweight_core::error::DataError;
use counterweight_core::files;

/// A row of a table of edits.
#[derive(Debug, PartialEq)]
pub struct Row {
    /// The image.
    pub path: String,
    /// What to do to it.
    pub action: EditAction,
}

/// All of a file, or of standard input for `-`.
fn text_of(file: &Path) -> Result<String> {
    if file != Path::new("-") {
        let read = files::read_text(file, files::LARGEST_TEXT);
        return read.with_context(|| format!("{} cannot be read", file.display()));
    }
    let mut bytes = Vec::new();
    std::io::stdin().lock().take(files::LARGEST_TEXT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > files::LARGEST_TEXT {
        let most = files::LARGEST_TEXT >> 20;
        return Err(anyhow!("standard input has more than {most} MB; split it up"));
    }
    let text = String::from_utf8(bytes).map_err(|_| anyhow!("standard input is not UTF-8 text"))?;
    Ok(text.strip_prefix(files::BYTE_ORDER_MARK).unwrap_or(&text).to_string())
}

/// The images that are named, where `-` stands for the lines of standard input.
///
/// # Errors
/// Standard input that cannot be read.
pub fn images(named: &[String]) -> Result<Vec<String>> {
    let mut images = Vec::new();
    for name in named {
        match name.as_str() {
            "-" => {
                let text = text_of(Path::new("-"))?;
                let lines = text.lines().map(|line| line.trim_end_matches('\r'));
                images.extend(lines.filter(|line| !line.trim().is_empty()).map(str::to_string));
            }
            _ => images.push(name.clone()),
        }
    }
    Ok(images)
}

/// Reads rows of path, action and class, the class only where images are moved. A first row of
/// `path,action` and so on is a heading; lines that begin with `#` are left out.
///
/// # Errors
/// A file that cannot be read; [`DataError::Many`] with every wrong row.
pub fn read(file: &Path) -> Result<Vec<Row>> {
    let text = text_of(file)?;
    let name =
        if file == Path::new("-") { "standard input".into() } else { file.display().to_string() };
    parse(&text, &name)
}

fn parse(text: &str, name: &str) -> Result<Vec<Row>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // As spreadsheets write it where numbers have a decimal comma.
    let first = text.lines().find(|line| !line.starts_with('#')).unwrap_or_default();
    let separator = match first.contains(';') && !first.contains(',') {
        true => b';',
        false => b',',
    };
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(separator)
        .has_headers(false)
        .flexible(true)
        .comment(Some(b'#'))
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let (mut rows, mut wrong) = (Vec::new(), Vec::new());
    for (at, record) in reader.records().enumerate() {
        let record = record.with_context(|| format!("{name} cannot be read"))?;
        let line = record.position().map_or(at as u64 + 1, csv::Position::line);
        let cell = |column: usize| record.get(column).filter(|cell| !cell.is_empty());
        let is = |column, name: &str| {
            cell(column).is_some_and(|cell: &str| cell.eq_ignore_ascii_case(name))
        };
        if at == 0 && is(0, "path") && is(1, "action") {
            continue;
        }
        match row(cell(0), cell(1), cell(2)) {
            Ok(row) => rows.push(row),
            Err(reason) => wrong.push(format!("line {line}: {reason}")),
        }
    }
    if wrong.is_empty() {
        return Ok(rows);
    }
    let summary = format!("{name}: rows that cannot be used");
    Err(counterweight_core::Error::from(DataError::Many { summary, items: wrong }).into())
}

fn row(path: Option<&str>, action: Option<&str>, class: Option<&str>) -> Result<Row, String> {
    let path = path.ok_or("the path is missing")?.to_string();
    let action = action.ok_or("the action is missing: move, exclude, check or restore")?;
    let action = match (action.to_lowercase().as_str(), class) {
        ("move", Some(class)) => EditAction::Move { to: class.to_string() },
        ("move", None) => return Err("the class to move to is missing".into()),
        ("exclude", _) => EditAction::Exclude,
        ("check", _) => EditAction::Check,
        ("restore", _) => EditAction::Restore,
        (other, _) => {
            return Err(format!("`{other}` is no action; use move, exclude, check or restore"));
        }
    };
    Ok(Row { path, action })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_with_and_without_a_heading_and_every_wrong_one_is_named() {
        let to = |to: &str| EditAction::Move { to: to.into() };
        let expected = [
            Row { path: "a/1.png".into(), action: to("b, c") },
            Row { path: "a/2.png".into(), action: EditAction::Exclude },
            Row { path: "a/3.png".into(), action: EditAction::Check },
        ];
        let rows = "a/1.png,move,\"b, c\"\n# a note\na/2.png, Exclude\na/3.png,check,\n";
        assert_eq!(parse(rows, "x").unwrap(), expected);
        assert_eq!(parse(&format!("\u{feff}path,action,class\n{rows}"), "x").unwrap(), expected);
        let error = parse("a/1.png,move\na/2.png,burn\n,check\na/4.png\n", "x").unwrap_err();
        let error = error.to_string();
        for part in ["line 1", "class to move to", "line 2", "`burn`", "line 3", "line 4"] {
            assert!(error.contains(part), "{part} in {error}");
        }
        assert!(parse("", "x").unwrap().is_empty());
    }
}
