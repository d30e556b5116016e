//! The file of edits: reading all of it, and adding a line.

use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::{EditAction, EditEntry, EditMarks, EditedImage, marks_of};
use crate::error::{DataError, Reason, Result};
use crate::files;

/// The version written, and the only one read.
const VERSION: u32 = 1;
/// What a file's name has after the dataset's.
const SUFFIX: &str = ".edits.jsonl";
/// Each edited image takes some 150 bytes; anything larger is refused.
const LARGEST: u64 = 1 << 29;
/// How long another program may take to write its line.
const PATIENCE: Duration = Duration::from_secs(3);
/// The longest name of a class that an edit may make, in bytes: a folder's name.
const LONGEST_NAME: usize = 255;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    counterweight_edits: u32,
}

/// A line after the first.
#[derive(Serialize, Deserialize)]
#[serde(tag = "edit", rename_all = "lowercase", deny_unknown_fields)]
enum Line {
    Move {
        to: String,
        images: Vec<EditedImage>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        time: Option<u64>,
    },
    Exclude {
        images: Vec<EditedImage>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        time: Option<u64>,
    },
    Check {
        images: Vec<EditedImage>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        time: Option<u64>,
    },
    Restore {
        images: Vec<EditedImage>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        time: Option<u64>,
    },
    Undo {
        entries: usize,
    },
    Redo {
        entries: usize,
    },
}

impl From<EditEntry> for Line {
    fn from(EditEntry { action, images, time }: EditEntry) -> Self {
        match action {
            EditAction::Move { to } => Line::Move { to, images, time },
            EditAction::Exclude => Line::Exclude { images, time },
            EditAction::Check => Line::Check { images, time },
            EditAction::Restore => Line::Restore { images, time },
        }
    }
}

/// The edits of one dataset: what was done, and what was done and undone.
#[derive(Clone, Debug, PartialEq)]
pub struct Edits {
    path: PathBuf,
    /// What was done, oldest first, and behind it what was undone, the next to be done again first.
    entries: Vec<EditEntry>,
    /// How many of them are done.
    done: usize,
    /// Bytes of the file when it was last read or written.
    length: u64,
    /// Bytes of it that are whole lines, or could be: less than `length` where the last line was
    /// torn.
    whole: u64,
    /// Whether nothing but its end is missing of the last line.
    open_ended: bool,
}

impl Edits {
    /// Where the edits of a dataset file, folder, archive or list are kept: beside it, under its
    /// name with `.edits.jsonl` after it.
    pub fn path_of(source: &Path) -> PathBuf {
        // `photos/.` and `.` have no name of their own until they are resolved.
        let named = match source.file_name() {
            Some(_) => source.to_path_buf(),
            None => files::real(source),
        };
        let mut name: OsString = named.file_name().unwrap_or_default().to_os_string();
        name.push(SUFFIX);
        named.with_file_name(name)
    }

    /// Reads the edits of a dataset file or source; none where nothing was ever edited. A last line
    /// that was torn while it was written is left out, and goes when the next one is written.
    ///
    /// # Errors
    /// [`DataError::File`] naming the file of edits, the line and what is wrong with it.
    pub fn open(source: &Path) -> Result<Self> {
        let path = Self::path_of(source);
        match files::read(&path, LARGEST) {
            Ok(bytes) => Self::parse(path, &bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self {
                path,
                entries: Vec::new(),
                done: 0,
                length: 0,
                whole: 0,
                open_ended: false,
            }),
            Err(error) => Err(DataError::file(path, error).into()),
        }
    }

    /// The file they are in, which is there once something was edited.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was done and not undone, oldest first.
    pub fn done(&self) -> &[EditEntry] {
        &self.entries[..self.done]
    }

    /// What was undone and can be done again, in the order in which it would be.
    pub fn undone(&self) -> &[EditEntry] {
        &self.entries[self.done..]
    }

    /// Whether no image has any edit.
    pub fn is_empty(&self) -> bool {
        self.done == 0
    }

    /// What all of them come to.
    pub fn marks(&self) -> EditMarks {
        marks_of(self.done())
    }

    /// BLAKE3, in hexadecimal, over everything that changes the dataset; empty where nothing does.
    /// Marks of images that were looked at are no part of it.
    pub fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut changes = 0u64;
        for (path, mark) in self.marks().iter().filter(|(_, mark)| mark.changes()) {
            changes += 1;
            let class = match mark.excluded {
                true => None,
                false => mark.to.as_deref(),
            };
            for text in [path.as_str(), class.unwrap_or_default()] {
                hasher.update(&(text.len() as u64).to_le_bytes());
                hasher.update(text.as_bytes());
            }
        }
        if changes == 0 { String::new() } else { hasher.finalize().to_hex().to_string() }
    }

    /// Does something to images and writes it down. What was undone before cannot be done again
    /// afterwards.
    ///
    /// # Errors
    /// [`DataError::Edit`] if no image is named or the class's name cannot be one;
    /// [`DataError::File`] if the file cannot be written, which then is as it was.
    pub fn add(&mut self, action: EditAction, images: Vec<EditedImage>) -> Result<()> {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs());
        let line = Line::from(EditEntry { action, images, time });
        check(&line).map_err(DataError::Edit)?;
        self.append(line)
    }

    /// Takes back the last `entries` edits, and gives them, the last first.
    ///
    /// # Errors
    /// [`DataError::Edit`] if there are not so many; [`DataError::File`] as [`Edits::add`].
    pub fn undo(&mut self, entries: usize) -> Result<Vec<EditEntry>> {
        self.append(Line::Undo { entries })?;
        Ok(self.undone()[..entries].iter().rev().cloned().collect())
    }

    /// Does again what the last `entries` undone edits did, and gives them in their order.
    ///
    /// # Errors
    /// As [`Edits::undo`].
    pub fn redo(&mut self, entries: usize) -> Result<Vec<EditEntry>> {
        self.append(Line::Redo { entries })?;
        Ok(self.entries[self.done - entries..self.done].to_vec())
    }

    fn parse(path: PathBuf, bytes: &[u8]) -> Result<Self> {
        let mut edits = Self {
            path,
            entries: Vec::new(),
            done: 0,
            length: bytes.len() as u64,
            whole: 0,
            open_ended: false,
        };
        for (at, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let has_end = line.ends_with(b"\n");
            let taken = match at {
                0 => read_header(line),
                _ if line.trim_ascii().is_empty() => Ok(()),
                _ => serde_json::from_slice(line)
                    .map_err(|error| error.to_string())
                    .and_then(|line| check(&line).and_then(|()| edits.take(line))),
            };
            match taken {
                Ok(()) => {
                    edits.whole += line.len() as u64;
                    edits.open_ended = !has_end;
                }
                // It was torn while it was written; what it was to say has not been done.
                Err(_) if !has_end => {}
                Err(reason) => {
                    // The parser counts lines from the start of what it was given.
                    let reason = reason.replace(" at line 1 column ", ", at character ");
                    let reason = format!("line {}: {reason}", at + 1);
                    return Err(DataError::file(&edits.path, reason).into());
                }
            }
        }
        Ok(edits)
    }

    /// Follows what a line says.
    fn take(&mut self, line: Line) -> Result<(), String> {
        self.allows(&line)?;
        let (action, images, time) = match line {
            Line::Undo { entries } => {
                self.done -= entries;
                return Ok(());
            }
            Line::Redo { entries } => {
                self.done += entries;
                return Ok(());
            }
            Line::Move { to, images, time } => (EditAction::Move { to }, images, time),
            Line::Exclude { images, time } => (EditAction::Exclude, images, time),
            Line::Check { images, time } => (EditAction::Check, images, time),
            Line::Restore { images, time } => (EditAction::Restore, images, time),
        };
        self.entries.truncate(self.done);
        self.entries.push(EditEntry { action, images, time });
        self.done += 1;
        Ok(())
    }

    /// Whether there is something to undo or to do again.
    fn allows(&self, line: &Line) -> Result<(), String> {
        let (what, entries, there) = match line {
            Line::Undo { entries } => ("undone", *entries, self.done),
            Line::Redo { entries } => ("done again", *entries, self.undone().len()),
            _ => return Ok(()),
        };
        match (entries, there) {
            (0, _) => Err(format!("no edit is to be {what}")),
            (_, 0) => Err(format!("there is no edit that can be {what}")),
            _ if entries <= there => Ok(()),
            (_, 1) => Err(format!("{entries} edits are to be {what}, and there is 1 that can be")),
            _ => Err(format!("{entries} edits are to be {what}, and {there} can be")),
        }
    }

    /// Writes a line at the end of the file, and follows it.
    fn append(&mut self, line: Line) -> Result<()> {
        let path = self.path.clone();
        let fail = |reason: Reason| DataError::file(&path, reason);
        // A link may lead anywhere, and a pipe would wait.
        if std::fs::symlink_metadata(&path).is_ok_and(|facts| !facts.is_file()) {
            return Err(fail("is not a regular file, so no edits are written to it".into()).into());
        }
        // What cannot be done leaves no file behind where there was none.
        if !path.exists() {
            self.allows(&line).map_err(DataError::Edit)?;
        }
        let file = File::options().create(true).read(true).write(true).truncate(false).open(&path);
        let mut file = file.map_err(|error| fail(error.into()))?;
        wait_for(&file).map_err(fail)?;
        let found = file.metadata().map_err(|error| fail(error.into()))?.len();
        if found != self.length {
            // Another program has edited the same dataset.
            let mut bytes = Vec::new();
            file.seek(SeekFrom::Start(0))
                .and_then(|_| (&file).take(LARGEST).read_to_end(&mut bytes))
                .map_err(|error| fail(error.into()))?;
            *self = Self::parse(path.clone(), &bytes)?;
        }
        self.allows(&line).map_err(DataError::Edit)?;
        let mut text = Vec::new();
        if self.whole == 0 {
            text.extend(json_line(&Header { counterweight_edits: VERSION }).map_err(fail)?);
        } else if self.open_ended {
            text.push(b'\n');
        }
        text.extend(json_line(&line).map_err(fail)?);
        let write = |file: &mut File, whole: u64| -> std::io::Result<()> {
            if found > whole {
                file.set_len(whole)?;
            }
            file.seek(SeekFrom::Start(whole))?;
            file.write_all(&text)?;
            file.sync_data()
        };
        if let Err(error) = write(&mut file, self.whole) {
            // Half a line would be left out by readers; without it there is nothing to explain.
            drop(file.set_len(self.whole));
            return Err(fail(error.into()).into());
        }
        self.whole += text.len() as u64;
        self.length = self.whole;
        self.open_ended = false;
        self.take(line).map_err(DataError::Edit)?;
        Ok(())
    }
}

fn json_line(line: &impl Serialize) -> Result<Vec<u8>, Reason> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    Ok(text)
}

/// Waits until no other program writes. Where the file system has no locks, nobody waits.
fn wait_for(file: &File) -> Result<(), Reason> {
    let started = Instant::now();
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if started.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(TryLockError::WouldBlock) => {
                return Err("another program is writing to it".into());
            }
            Ok(()) | Err(TryLockError::Error(_)) => return Ok(()),
        }
    }
}

fn read_header(line: &[u8]) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Any {
        counterweight_edits: u32,
    }
    match serde_json::from_slice::<Any>(line) {
        Ok(any) if any.counterweight_edits == VERSION => Ok(()),
        Ok(any) => Err(format!(
            "is of version {}; this program reads version {VERSION}",
            any.counterweight_edits
        )),
        Err(_) => Err("this is not a file of edits: it does not begin with its version".into()),
    }
}

/// Whether an edit says what it has to.
fn check(line: &Line) -> Result<(), String> {
    let images = match line {
        Line::Move { to, .. } if to.trim().is_empty() => {
            return Err("the class to move to has no name".into());
        }
        Line::Move { to, .. } if to.chars().any(char::is_control) || to.len() > LONGEST_NAME => {
            return Err(format!(
                "no class can be named {:?}: a name is at most {LONGEST_NAME} bytes without control characters",
                to.chars().take(40).collect::<String>()
            ));
        }
        Line::Move { images, .. }
        | Line::Exclude { images, .. }
        | Line::Check { images, .. }
        | Line::Restore { images, .. } => images,
        Line::Undo { .. } | Line::Redo { .. } => return Ok(()),
    };
    match images.iter().any(|image| image.path.is_empty()) {
        _ if images.is_empty() => Err("no image is named".into()),
        true => Err("an image has no path".into()),
        false => Ok(()),
    }
}
