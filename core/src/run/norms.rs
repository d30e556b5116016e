//! The table of class weight norms: `norms.csv`, to which every epoch appends a line.

use std::path::Path;

use super::log::{append_line, ends_whole, unless_held};
use super::{LARGEST_LOG, NORMS, Run};
use crate::error::{Result, RunError};
use crate::files::{self, write_table};

/// Class weight norms after one epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct NormsRecord {
    /// 1 for learning features, 2 for balancing the classifier.
    pub stage: u8,
    /// Epoch, from 1.
    pub epoch: usize,
    /// ‖W_k‖₂, one a class in label order.
    pub norms: Vec<f32>,
}

impl Run {
    /// The class weight norms of every finished epoch, as logged; empty if there is no log. A line
    /// that was torn when the program was killed is left out.
    ///
    /// # Errors
    /// [`RunError::File`] if the log cannot be read.
    pub fn norms_history(&self) -> Result<Vec<NormsRecord>> {
        let parse = |line: &csv::ByteRecord| -> Option<NormsRecord> {
            let (stage, epoch) = place(line)?;
            let norms = line
                .iter()
                .skip(2)
                .map(|norm| std::str::from_utf8(norm).ok()?.parse::<f32>().ok())
                .collect::<Option<Vec<_>>>()?;
            Some(NormsRecord { stage, epoch, norms })
        };
        Ok(whole_lines(&self.folder.join(NORMS), self.norms_header().len())?
            .iter()
            .filter_map(parse)
            .collect())
    }

    fn norms_header(&self) -> csv::StringRecord {
        ["stage", "epoch"]
            .into_iter()
            .chain(self.dataset.classes.iter().map(String::as_str))
            .collect()
    }

    pub(super) fn append_norms(&self, stage: u8, epoch: usize, norms: &[f32]) -> Result<()> {
        let path = self.folder.join(NORMS);
        let is_new = !path.exists();
        if !is_new && !ends_whole(&path) {
            self.rewind_norms(|_, _| true)?;
        }
        let lines = || -> std::io::Result<Vec<u8>> {
            let mut csv = csv::Writer::from_writer(Vec::new());
            if is_new {
                csv.write_record(&self.norms_header())?;
            }
            csv.write_record(
                [stage.to_string(), epoch.to_string()]
                    .into_iter()
                    .chain(norms.iter().map(f32::to_string)),
            )?;
            csv.into_inner().map_err(|error| error.into_error())
        };
        let appended = lines().and_then(|lines| append_line(&path, &lines));
        // No table of one epoch is worth a training.
        let follows = format!("norms of epoch {epoch} are not in it");
        unless_held(&path, appended, &follows).map(drop)
    }

    /// Keeps the whole lines of kept epochs, under a new header: a kill can tear any line that was
    /// being written, the header too.
    pub(super) fn rewind_norms(&self, kept: impl Fn(u8, usize) -> bool) -> Result<()> {
        let path = self.folder.join(NORMS);
        if !path.exists() {
            return Ok(());
        }
        let header = self.norms_header();
        let mut lines = whole_lines(&path, header.len())?;
        lines.retain(|line| place(line).is_some_and(|(stage, epoch)| kept(stage, epoch)));
        let written = write_table(&path, |table| {
            table.write_record(&header)?;
            lines.iter().try_for_each(|line| table.write_byte_record(line))
        });
        unless_held(&path, written, "it may hold epochs that are made again").map(drop)
    }
}

/// Stage and epoch of a line; none of the header.
fn place(line: &csv::ByteRecord) -> Option<(u8, usize)> {
    let text = |index: usize| std::str::from_utf8(line.get(index)?).ok();
    Some((text(0)?.parse().ok()?, text(1)?.parse().ok()?))
}

/// The lines of the table at `path` that have `length` fields and an end; none if there is no
/// table.
fn whole_lines(path: &Path, length: usize) -> Result<Vec<csv::ByteRecord>> {
    let bytes = match files::read(path, LARGEST_LOG) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(RunError::file(path, error).into()),
    };
    // A line torn within its last number has all its fields, but no end.
    let torn = bytes.last().is_some_and(|last| *last != b'\n');
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes.as_slice());
    let mut lines = reader
        .byte_records()
        .collect::<Result<Vec<_>, csv::Error>>()
        .map_err(|e| RunError::file(path, e))?;
    if torn {
        lines.pop();
    }
    lines.retain(|line| line.len() == length);
    Ok(lines)
}
