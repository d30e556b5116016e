//! A table of predictions in a CSV file, a row an image.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use super::Prediction;
use crate::error::{ModelError, Result};
use crate::files;

/// What is known of one image.
#[derive(Clone, Copy, Debug)]
pub struct PredictionRow<'a> {
    /// The image. A name that is no Unicode still has a row, with what of it can be shown.
    pub file: &'a Path,
    /// Its most probable classes, most probable first; none if it could not be classified.
    pub top: &'a [Prediction],
    /// Whether the best class is less probable than the threshold, if there is one.
    pub unsure: Option<bool>,
    /// Where it was put, if it was.
    pub sorted: Option<&'a Path>,
    /// Why it could not be classified.
    pub error: Option<&'a str>,
}

/// The most bytes of a table that is gone on with.
const LARGEST_TABLE: u64 = 4 << 30;

/// A table of predictions that is being written.
pub struct PredictionTable {
    writer: csv::Writer<Box<dyn Write + Send>>,
    /// Images that an earlier call has written.
    known: HashSet<String>,
    top: usize,
}

impl PredictionTable {
    /// Begins a table with the `top` most probable classes of each image. With `resume` it goes on
    /// with the table that is there: a row that was cut short, or that says that an image could not
    /// be classified, is written again.
    ///
    /// # Errors
    /// [`ModelError::File`] if the file cannot be written, or what is there is no table.
    pub fn create(path: &Path, top: usize, resume: bool) -> Result<Self> {
        let failed = |error: io::Error| ModelError::file(path, error);
        let (mut known, mut goes_on) = (HashSet::new(), false);
        let file = if resume && path.exists() {
            let written = files::read(path, LARGEST_TABLE).map_err(failed)?;
            let whole = written.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            let mut rows = csv::ReaderBuilder::new()
                .flexible(true)
                .has_headers(false)
                .from_reader(&written[..whole])
                .into_records();
            let unreadable = |error: csv::Error| ModelError::file(path, error.to_string());
            let first = rows.next().transpose().map_err(unreadable)?;
            let is_ours = match &first {
                Some(first) => first.iter().eq(head(top)),
                // Its first line may have been cut short.
                None => head(top).join(",").as_bytes().starts_with(&written),
            };
            if !is_ours {
                let reason = format!(
                    "is no table of the {top} most probable classes of each image, so it is not gone on with; name another file"
                );
                return Err(ModelError::file(path, reason).into());
            }
            let mut kept: Vec<csv::StringRecord> = first.into_iter().collect();
            goes_on = !kept.is_empty();
            let mut again = written.len() > whole;
            for row in rows {
                let row = row.map_err(unreadable)?;
                if row.get(ERROR).is_some_and(|error| !error.is_empty()) {
                    again = true;
                    continue;
                }
                known.extend(row.get(0).map(str::to_string));
                kept.push(row);
            }
            if again {
                files::write_table(path, |table| {
                    kept.iter().try_for_each(|row| table.write_record(row))
                })
                .map_err(failed)?;
            }
            OpenOptions::new().append(true).open(path).map_err(failed)?
        } else {
            File::create(path).map_err(failed)?
        };
        let mut table = Self::on(Box::new(file), top, known);
        if !goes_on {
            table.head().map_err(failed)?;
        }
        Ok(table)
    }

    /// Refuses a path that holds something else than nothing or an earlier table, for where nobody
    /// was asked whether it may be replaced.
    ///
    /// # Errors
    /// [`ModelError::File`] if it does, or cannot be read.
    pub fn refuse_others(path: &Path) -> Result<()> {
        match may_be_replaced(path).map_err(|error| ModelError::file(path, error))? {
            true => Ok(()),
            false => {
                let reason = "holds something else than a table of predictions, which is not replaced; name another file";
                Err(ModelError::file(path, reason).into())
            }
        }
    }

    /// A table on a stream.
    ///
    /// # Errors
    /// If it cannot be written to.
    pub fn to(out: Box<dyn Write + Send>, top: usize) -> io::Result<Self> {
        let mut table = Self::on(out, top, HashSet::new());
        table.head()?;
        Ok(table)
    }

    /// Whether an earlier call has written a row for an image.
    pub fn has(&self, file: &Path) -> bool {
        self.known.contains(file.to_string_lossy().as_ref())
    }

    /// Writes a row.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&mut self, row: &PredictionRow<'_>) -> io::Result<()> {
        let best = |place: usize| match row.top.get(place) {
            Some(found) => [found.class.clone(), found.probability.to_string()],
            None => [String::new(), String::new()],
        };
        let mut cells = vec![row.file.to_string_lossy().into_owned()];
        cells.extend(best(0));
        cells.push(row.unsure.map_or_else(String::new, |unsure| unsure.to_string()));
        cells.push(row.sorted.map_or_else(String::new, |to| to.to_string_lossy().into_owned()));
        cells.push(row.error.unwrap_or_default().to_string());
        (1..self.top).for_each(|place| cells.extend(best(place)));
        self.writer.write_record(&cells).map_err(io::Error::from)?;
        self.writer.flush()
    }

    fn on(out: Box<dyn Write + Send>, top: usize, known: HashSet<String>) -> Self {
        Self { writer: csv::WriterBuilder::new().flexible(true).from_writer(out), known, top }
    }

    fn head(&mut self) -> io::Result<()> {
        self.writer.write_record(head(self.top)).map_err(io::Error::from)
    }
}

/// Whether nobody's work is lost with what a path holds: nothing, or an earlier table. A stream takes
/// what it is given.
fn may_be_replaced(path: &Path) -> io::Result<bool> {
    match path.metadata() {
        Ok(facts) if facts.is_file() && facts.len() > 0 => {}
        _ => return Ok(true),
    }
    let head = head(1).join(",");
    let mut start = vec![0; head.len()];
    let have = File::open(path)?.take(head.len() as u64).read(&mut start)?;
    // Its first line may have been cut short.
    Ok(head.as_bytes().starts_with(&start[..have]))
}

/// The column that says why an image could not be classified.
const ERROR: usize = 5;

/// The names of the columns.
fn head(top: usize) -> Vec<String> {
    let mut head = vec!["path".to_string(), "class".into(), "probability".into()];
    head.extend(["unsure", "sorted", "error"].map(String::from));
    for place in 2..=top {
        head.extend([format!("class {place}"), format!("probability {place}")]);
    }
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_takes_the_place_of_no_other_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.csv");
        let create = || {
            PredictionTable::refuse_others(&path)?;
            PredictionTable::create(&path, 3, false).map(drop)
        };
        std::fs::write(&path, "my precious table\n").unwrap();
        let error = create().unwrap_err().to_string();
        assert!(error.contains("table.csv") && error.contains("not replaced"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "my precious table\n");
        // Nothing, an earlier one, and one that was killed while it was begun.
        for was in ["", "path,class,probability,unsure,sorted,error\na,b,1,,,\n", "path,cla"] {
            std::fs::write(&path, was).unwrap();
            create().unwrap();
            assert!(std::fs::read_to_string(&path).unwrap().starts_with("path,class,probability"));
        }
        std::fs::write(&path, "path,class\n").unwrap();
        assert!(create().is_err());
    }
}
