//! The log of a run: `metrics.jsonl` and `metrics.csv`, to which every epoch appends a line.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::{LARGEST_LOG, METRICS, METRICS_CSV, Run};
use crate::error::{Result, RunError};
use crate::files::{self, write_atomically};
use crate::record::EpochRecord;

impl Run {
    /// Adds a finished epoch to the log; norms go to their own table. What was logged before is not
    /// written again, unless a kill has left half a line of it.
    ///
    /// # Errors
    /// [`RunError::File`].
    pub fn record(&mut self, mut epoch: EpochRecord) -> Result<()> {
        let norms = std::mem::take(&mut epoch.norms);
        if !norms.is_empty() {
            self.append_norms(epoch.stage, epoch.epoch, &norms)?;
        }
        let goes_on = !self.history.is_empty()
            && !self.table_is_behind
            && [METRICS, METRICS_CSV].iter().all(|name| ends_whole(&self.folder.join(name)));
        self.history.push(epoch);
        match self.history.last().cloned() {
            Some(last) if goes_on => self.append_history(&last),
            _ => self.write_history(),
        }
    }

    /// What came of writing the table of epochs, which is for people. A program that shows it, such as
    /// Excel on Windows, may not let it be written: training goes on, and the table is made anew when
    /// that is possible.
    fn told_table(&mut self, outcome: std::io::Result<()>) -> Result<()> {
        let path = self.folder.join(METRICS_CSV);
        self.table_is_behind = !unless_held(&path, outcome, "it is written again later")?;
        Ok(())
    }

    /// Forgets every logged epoch of `stage` after `epoch`, and everything of later stages: a
    /// resumed run makes them again.
    ///
    /// # Errors
    /// [`RunError::File`].
    pub fn rewind(&mut self, stage: u8, epoch: usize) -> Result<()> {
        let kept = |s: u8, e: usize| s < stage || (s == stage && e <= epoch);
        self.history.retain(|record| kept(record.stage, record.epoch));
        self.write_history()?;
        self.rewind_norms(kept)
    }

    /// Writes the whole log anew.
    fn write_history(&mut self) -> Result<()> {
        // What another version wrote and this one cannot read stays where it is found first.
        let unread = self.unread.iter().map(|line| Ok(format!("{line}\n").into_bytes()));
        let own = self.history.iter().map(json_line);
        let json = unread.chain(own).collect::<serde_json::Result<Vec<_>>>();
        let csv = || -> std::io::Result<Vec<u8>> {
            let mut csv = csv::Writer::from_writer(Vec::new());
            for (at, record) in self.history.iter().enumerate() {
                let (names, cells): (Vec<_>, Vec<_>) = record.cells()?.into_iter().unzip();
                if at == 0 {
                    csv.write_record(&names)?;
                }
                csv.write_record(&cells)?;
            }
            csv.into_inner().map_err(|error| error.into_error())
        };
        let path = self.folder.join(METRICS);
        json.map_err(std::io::Error::from)
            .and_then(|lines| write_atomically(&path, |out| out.write_all(&lines.concat())))
            .map_err(|e| RunError::file(&path, e))?;
        let path = self.folder.join(METRICS_CSV);
        let written = csv().and_then(|table| write_atomically(&path, |out| out.write_all(&table)));
        self.told_table(written)
    }

    /// Adds one line to each file of the log.
    fn append_history(&mut self, record: &EpochRecord) -> Result<()> {
        let csv = || -> std::io::Result<Vec<u8>> {
            let mut csv = csv::Writer::from_writer(Vec::new());
            csv.write_record(record.cells()?.iter().map(|(_, cell)| cell))?;
            csv.into_inner().map_err(|error| error.into_error())
        };
        let path = self.folder.join(METRICS);
        json_line(record)
            .map_err(std::io::Error::from)
            .and_then(|line| append_line(&path, &line))
            .map_err(|e| RunError::file(&path, e))?;
        let path = self.folder.join(METRICS_CSV);
        let written = csv().and_then(|line| append_line(&path, &line));
        self.told_table(written)
    }
}

/// Whether a table for people was written; otherwise another program has it open, and a warning says
/// what follows.
///
/// # Errors
/// [`RunError::File`] for any other failure.
pub(super) fn unless_held(
    path: &Path,
    outcome: std::io::Result<()>,
    what_follows: &str,
) -> Result<bool> {
    match outcome {
        Err(error) if files::is_held(&error) => {
            tracing::warn!("{}: another program has it open; {what_follows}", path.display());
            Ok(false)
        }
        outcome => Ok(outcome.map(|()| true).map_err(|error| RunError::file(path, error))?),
    }
}

fn json_line(record: &EpochRecord) -> serde_json::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(record)?;
    line.push(b'\n');
    Ok(line)
}

/// Adds a line, with its end, to a file that may not be there yet. Readers leave out a line without
/// an end, so they see all of it or nothing.
pub(super) fn append_line(path: &Path, line: &[u8]) -> std::io::Result<()> {
    let mut file = files::patiently(|| File::options().create(true).append(true).open(path))?;
    if let Err(full) = files::may_fail(path) {
        // As much as there was room for.
        file.write_all(&line[..line.len() / 2])?;
        return Err(full);
    }
    file.write_all(line)?;
    file.sync_data()
}

/// Whether there is such a file and its last line has an end.
pub(super) fn ends_whole(path: &Path) -> bool {
    let last = || -> std::io::Result<u8> {
        let mut file = files::open(path, LARGEST_LOG)?;
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last)?;
        Ok(last[0])
    };
    last().is_ok_and(|last| last == b'\n')
}

/// The epochs logged at `path`, and lines that cannot be read; nothing if there is no log. The last
/// line is torn where the program was killed while it wrote it, and is left out. Others were not
/// written by this version; they are no reason to refuse the run, and are kept.
pub(super) fn read_history(path: &Path) -> Result<(Vec<EpochRecord>, Vec<String>)> {
    let text = match files::read_text(path, LARGEST_LOG) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(RunError::file(path, error).into()),
    };
    let (mut read, mut unread) = (Vec::new(), Vec::new());
    for line in text.split_inclusive('\n') {
        match serde_json::from_str(line) {
            Ok(record) => read.push(record),
            Err(_) if !line.ends_with('\n') || line.trim().is_empty() => {}
            Err(_) => unread.push(line.trim_end().to_string()),
        }
    }
    if !unread.is_empty() {
        tracing::warn!(
            "{}: {} of its lines cannot be read, perhaps because a newer version wrote them; they are kept",
            path.display(),
            unread.len()
        );
    }
    Ok((read, unread))
}

#[cfg(test)]
mod tests {
    use super::super::NORMS;
    use super::super::tests::{new_run, record};
    use super::*;

    fn norms(folder: &Path) -> Vec<Vec<String>> {
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .from_path(folder.join(NORMS))
            .unwrap();
        reader.records().map(|line| line.unwrap().iter().map(str::to_string).collect()).collect()
    }

    #[test]
    fn a_rewound_log_forgets_what_will_be_done_again_and_torn_lines() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("run");
        let mut run = new_run(&folder);
        for (stage, epoch) in [(1, 1), (1, 2), (1, 3), (2, 1)] {
            run.record(record(stage, epoch)).unwrap();
        }
        let whole = norms(&folder);
        assert_eq!(whole.len(), 5);
        let logged = run.norms_history().unwrap();
        let places: Vec<_> = logged.iter().map(|r| (r.stage, r.epoch)).collect();
        assert_eq!(places, [(1, 1), (1, 2), (1, 3), (2, 1)]);
        assert_eq!(logged[2].norms, [3.0, 2.5]);
        assert_eq!(whole[0], ["stage", "epoch", "a,b", "line\nbreak"]);
        std::fs::OpenOptions::new()
            .append(true)
            .open(folder.join(NORMS))
            .unwrap()
            .write_all(b"1,2,0.")
            .unwrap();
        let mut run = Run::open(&folder).unwrap();
        assert_eq!(run.history().len(), 4);
        assert_eq!(run.norms_history().unwrap(), logged);
        run.rewind(1, 2).unwrap();
        assert_eq!(norms(&folder), whole[..3]);
        let again = Run::open(&folder).unwrap();
        assert_eq!(again.history(), run.history());
        let places: Vec<_> = again.history().iter().map(|r| (r.stage, r.epoch)).collect();
        assert_eq!(places, [(1, 1), (1, 2)]);
        assert_eq!(std::fs::read_to_string(folder.join(METRICS_CSV)).unwrap().lines().count(), 3);
    }

    #[test]
    fn numbers_come_back_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut run = new_run(&folder.path().join("run"));
        let mut bits = 0x1234_5678_9abc_def1_u64;
        let mut any = || {
            // Of any size; xorshift has no reason to hit what few digits write down.
            bits ^= bits << 13;
            bits ^= bits >> 7;
            bits ^= bits << 17;
            f64::from_bits(bits >> 2).min(1e300)
        };
        for epoch in 1..=200 {
            let (train_loss, learning_rate, seconds) = (any(), any(), any());
            let epoch = EpochRecord {
                train_loss,
                learning_rate,
                seconds,
                validation_loss: Some(any()),
                norms: vec![any() as f32, any() as f32],
                ..record(1, epoch)
            };
            run.record(epoch).unwrap();
        }
        let files = [METRICS, METRICS_CSV, NORMS].map(|name| run.folder().join(name));
        let read = || files.each_ref().map(|path| std::fs::read(path).unwrap());
        let written = read();
        Run::open(run.folder()).unwrap().rewind(1, 200).unwrap();
        assert!(read() == written);
    }

    #[test]
    fn lines_that_cannot_be_read_stay() {
        let folder = tempfile::tempdir().unwrap();
        let mut run = new_run(&folder.path().join("run"));
        run.record(record(1, 1)).unwrap();
        let path = run.folder().join(METRICS);
        let foreign = r#"{"stage": "three", "epoch": 1}"#;
        append_line(&path, format!("{foreign}\n").as_bytes()).unwrap();
        let mut run = Run::open(run.folder()).unwrap();
        assert_eq!(run.history().len(), 1);
        run.record(record(1, 2)).unwrap();
        run.rewind(1, 1).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().filter(|line| *line == foreign).count(), 1, "{text}");
        assert_eq!(Run::open(run.folder()).unwrap().history().len(), 1);
    }

    #[test]
    fn a_line_torn_within_its_last_number_is_no_record() {
        let folder = tempfile::tempdir().unwrap();
        let mut run = new_run(&folder.path().join("run"));
        assert_eq!(run.norms_history().unwrap(), []);
        run.record(record(1, 1)).unwrap();
        run.record(record(1, 2)).unwrap();
        let path = run.folder().join(NORMS);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        let epochs: Vec<usize> =
            run.norms_history().unwrap().iter().map(|record| record.epoch).collect();
        assert_eq!(epochs, [1]);
        std::fs::write(&path, &whole[..5]).unwrap();
        assert_eq!(run.norms_history().unwrap(), []);
    }

    #[test]
    fn epochs_are_appended_and_a_torn_line_is_mended() {
        let folder = tempfile::tempdir().unwrap();
        let mut run = new_run(&folder.path().join("run"));
        let files = [METRICS, METRICS_CSV].map(|name| run.folder().join(name));
        let read = || files.each_ref().map(|path| std::fs::read_to_string(path).unwrap());
        run.record(record(1, 1)).unwrap();
        let first = read();
        run.record(record(1, 2)).unwrap();
        let both = read();
        for (first, both) in first.iter().zip(&both) {
            assert!(both.starts_with(first.as_str()));
        }
        assert_eq!([both[0].lines().count(), both[1].lines().count()], [2, 3]);
        // What is appended is what would be written anew.
        run.write_history().unwrap();
        assert_eq!(read(), both);

        // Killed in the middle of the second line, of either file.
        for torn in 0..2 {
            for (at, (path, text)) in files.iter().zip(&both).enumerate() {
                let cut = if at == torn { first[at].len() + 20 } else { text.len() };
                std::fs::write(path, &text[..cut]).unwrap();
            }
            let mut again = Run::open(run.folder()).unwrap();
            assert_eq!(again.history().len(), if torn == 0 { 1 } else { 2 });
            again.rewind(1, 1).unwrap();
            assert_eq!(read(), first);
            again.record(record(1, 2)).unwrap();
            assert_eq!(read(), both);
            // Also where nothing was rewound.
            std::fs::write(&files[torn], &first[torn]).unwrap();
            std::fs::OpenOptions::new()
                .append(true)
                .open(&files[torn])
                .unwrap()
                .write_all(b"{\"stage\":1,\"ep")
                .unwrap();
            let mut again = Run::open(run.folder()).unwrap();
            again.record(record(1, 3)).unwrap();
            let places: Vec<usize> =
                Run::open(run.folder()).unwrap().history().iter().map(|r| r.epoch).collect();
            assert_eq!(places, if torn == 0 { vec![1, 3] } else { vec![1, 2, 3] });
            let lines = read().map(|text| text.lines().count());
            assert_eq!(lines, [places.len(), places.len() + 1]);
        }
    }

    #[test]
    fn norms_go_on_after_a_torn_line() {
        let folder = tempfile::tempdir().unwrap();
        let mut run = new_run(&folder.path().join("run"));
        run.record(record(1, 1)).unwrap();
        let path = run.folder().join(NORMS);
        let whole = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{whole}1,2,0.")).unwrap();
        run.record(record(1, 2)).unwrap();
        let epochs: Vec<usize> =
            run.norms_history().unwrap().iter().map(|record| record.epoch).collect();
        assert_eq!(epochs, [1, 2]);
        assert!(std::fs::read_to_string(&path).unwrap().starts_with(&whole));
    }
}
