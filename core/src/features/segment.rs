//! A segment: a file of features that never changes.
//!
//! | bytes | what |
//! | --- | --- |
//! | 8 | `cwfeats` and a line feed |
//! | 4, 4, 4, 4 | version of the format, length of the label, length of the view, 0 |
//! | 8, 8, 8, 8 | rows n, features F, side of the input, 0 |
//! | 32 | hash of the space |
//! | | label and view, UTF-8; zeros up to a multiple of 64 bytes |
//! | 32 n | keys, ascending |
//! | 16 n | checks: the first half of the BLAKE3 hash of a key with its row |
//! | | zeros, so that what follows ends at a multiple of 64 bytes |
//! | 32 | BLAKE3 hash of everything before it |
//! | 4 F n | rows of float32, in the order of the keys |
//!
//! Numbers are in the machine's own order of bytes, since rows are looked at where they lie. A
//! cache that was carried to a machine of another order has an unknown version there.
//!
//! Everything before the rows is checked when a segment is opened, and a row when it is first asked
//! for. So opening costs a hundredth of reading the file, a dataset that needs a few rows of many
//! reads only those, and still no byte is believed that was not checked: those of a row by its
//! check, and the checks by the hash.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::SystemTime;

use memmap2::Mmap;
use rayon::prelude::*;

use super::map::map;
use super::space::{Key, Space, is_hex};
use crate::files::{LockedFile, write_atomically};

const MAGIC: [u8; 8] = *b"cwfeats\n";
const VERSION: u32 = 1;
/// Bytes before the label.
const FIXED: usize = 96;
/// Where rows and keys begin is a multiple of this.
const ALIGNMENT: usize = 64;
/// Longest label or view that is believed.
const LONGEST_TEXT: usize = 1024;
const EXTENSION: &str = "features";

type Check = [u8; 16];

/// Whether a file of that name can be a segment.
pub(super) fn is_segment_name(name: &str) -> bool {
    name.rsplit_once('.')
        .is_some_and(|(stem, extension)| extension == EXTENSION && is_hex(stem, 32))
}

/// Why a file is no segment to use.
#[derive(Debug, PartialEq)]
pub(super) enum Refusal {
    /// It is not there any more: another program has merged or removed it.
    Gone,
    /// Another program may still use it: it cannot be read now, or is of a newer version.
    Ignored(String),
    /// No program can use it: it is damaged, or of an older version.
    Worthless(String),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        if error.kind() == ErrorKind::NotFound {
            Self::Gone
        } else {
            Self::Ignored(error.to_string())
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("another program has removed it"),
            Self::Ignored(reason) | Self::Worthless(reason) => f.write_str(reason),
        }
    }
}

/// Where things lie in a file, in bytes from its start.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Layout {
    keys: usize,
    checks: usize,
    digest: usize,
    rows: usize,
    end: usize,
}

impl Layout {
    /// `None` if no file can be as long as that.
    fn new(texts: usize, rows: usize, features: usize) -> Option<Self> {
        let keys = FIXED.checked_add(texts)?.checked_next_multiple_of(ALIGNMENT)?;
        let checks = rows.checked_mul(size_of::<Key>())?.checked_add(keys)?;
        let checked = rows.checked_mul(size_of::<Check>())?.checked_add(checks)?;
        let values = checked.checked_add(blake3::OUT_LEN)?.checked_next_multiple_of(ALIGNMENT)?;
        let end = rows.checked_mul(features)?.checked_mul(size_of::<f32>())?.checked_add(values)?;
        Some(Self { keys, checks, digest: values - blake3::OUT_LEN, rows: values, end })
    }
}

/// What a segment says of itself.
#[derive(Debug, PartialEq)]
pub(super) struct Header {
    pub label: String,
    pub view: String,
    pub side: usize,
    pub features: usize,
    pub rows: usize,
    space: Key,
    layout: Layout,
}

impl Header {
    /// Reads the header of a file alone. Its numbers fit the file's length; the hash is not looked
    /// at.
    pub fn read(path: &Path) -> Result<Self, Refusal> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut start = Vec::new();
        file.take((FIXED + 2 * LONGEST_TEXT) as u64).read_to_end(&mut start)?;
        Self::parse(&start, length)
    }

    /// The header at the `start` of a file of that `length`.
    fn parse(start: &[u8], length: u64) -> Result<Self, Refusal> {
        let worthless = |reason: &str| Refusal::Worthless(reason.into());
        let short = || worthless("it is cut short");
        let magic = start.get(..MAGIC.len()).ok_or_else(short)?;
        if magic != MAGIC {
            return Err(worthless("it holds no features"));
        }
        let word = |at: usize| {
            start
                .get(at..at + 4)
                .and_then(|b| b.try_into().ok())
                .map(u32::from_ne_bytes)
                .ok_or_else(short)
        };
        let version = word(8)?;
        if version != VERSION {
            let reason =
                format!("it has format {version}, and this program knows format {VERSION}");
            return Err(if version > VERSION {
                Refusal::Ignored(reason)
            } else {
                Refusal::Worthless(reason)
            });
        }
        let number = |at: usize| {
            let number = start
                .get(at..at + 8)
                .and_then(|b| b.try_into().ok())
                .map(u64::from_ne_bytes)
                .ok_or_else(short)?;
            usize::try_from(number).map_err(|_| worthless("its numbers are too large"))
        };
        let (label, view) = (word(12)? as usize, word(16)? as usize);
        let (rows, features, side) = (number(24)?, number(32)?, number(40)?);
        let space = start.get(56..56 + 32).and_then(|b| b.try_into().ok()).ok_or_else(short)?;
        if label > LONGEST_TEXT || view > LONGEST_TEXT || rows == 0 || features == 0 {
            return Err(worthless("its numbers make no sense"));
        }
        let layout = Layout::new(label + view, rows, features)
            .ok_or_else(|| worthless("its numbers are too large"))?;
        if layout.end as u64 != length {
            return Err(Refusal::Worthless(format!(
                "it is {length} bytes long, and with what it says it holds would be {}",
                layout.end
            )));
        }
        let text =
            |at: usize, length: usize| start.get(at..at + length).map(readable).ok_or_else(short);
        Ok(Self {
            label: text(FIXED, label)?,
            view: text(FIXED + label, view)?,
            side,
            features,
            rows,
            space,
            layout,
        })
    }
}

/// A text of a file as it can be shown anywhere.
fn readable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().filter(|c| !c.is_control()).collect()
}

/// A row that was looked at and is what was written.
const GOOD: u8 = 1;
/// A row that was looked at and is not.
const BAD: u8 = 2;

/// A segment that is mapped into memory.
pub(super) struct Segment {
    path: PathBuf,
    header: Header,
    map: Mmap,
    /// Is locked, by one of many, from the first row that is asked for: the least recently used
    /// segments are those that others remove.
    file: LockedFile,
    used: AtomicBool,
    damaged: AtomicBool,
    /// What is known of each row, shape [rows].
    states: Box<[AtomicU8]>,
}

impl Segment {
    /// Maps a file of that space.
    pub fn open(path: &Path, space: &Space) -> Result<Self, Refusal> {
        let file = File::open(path)?;
        let map = map(&file)?;
        let header = Header::parse(&map, map.len() as u64)?;
        let worthless = |reason: &str| Err(Refusal::Worthless(reason.into()));
        if header.space != space.hash()
            || (header.features, header.side) != (space.features, space.side)
        {
            return worthless("it holds features of another backbone, input size or view");
        }
        let layout = header.layout;
        if blake3::hash(&map[..layout.digest]).as_bytes()[..] != map[layout.digest..layout.rows] {
            return worthless("it is damaged");
        }
        let states = (0..header.rows).map(|_| AtomicU8::new(0)).collect();
        let segment = Self {
            path: path.to_path_buf(),
            header,
            map,
            file: LockedFile(file),
            used: false.into(),
            damaged: false.into(),
            states,
        };
        if !segment.keys().is_sorted_by(|a, b| a < b) {
            return worthless("its images are out of order");
        }
        Ok(segment)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Size of the file.
    pub fn bytes(&self) -> u64 {
        self.header.layout.end as u64
    }

    /// When any program last used it.
    pub fn last_used(&self) -> Option<SystemTime> {
        self.file.metadata().and_then(|found| found.modified()).ok()
    }

    /// Whether a row of it was asked for.
    pub fn is_used(&self) -> bool {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether a row of it was found damaged.
    pub fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    /// Remembers that it is damaged; whether that is news.
    pub fn set_damaged(&self) -> bool {
        !self.damaged.swap(true, Ordering::Relaxed)
    }

    /// Where a key's row is.
    pub fn find(&self, key: &Key) -> Option<usize> {
        self.keys().binary_search(key).ok()
    }

    /// The row in that place, or nothing if it is damaged.
    pub fn row(&self, at: usize) -> Option<&[f32]> {
        let values = self.values(at)?;
        let state = &self.states[at];
        // Threads that check a row at the same time come to the same result.
        if state.load(Ordering::Relaxed) == 0 {
            let as_written = check(&self.keys()[at], values) == self.checks()[at]
                && values.iter().all(|value| value.is_finite());
            state.store(if as_written { GOOD } else { BAD }, Ordering::Relaxed);
        }
        (state.load(Ordering::Relaxed) == GOOD).then_some(values)
    }

    /// Everything about the row in that place, or nothing if it is damaged.
    pub fn whole_row(&self, at: usize) -> Option<Row<'_>> {
        Some(Row { key: self.keys()[at], check: self.checks()[at], values: self.row(at)? })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.header.rows
    }

    /// Marks it as the last one used, and as being used until it is closed. Only the first call
    /// does something.
    pub fn set_used(&self) {
        if self.is_used() || self.used.swap(true, Ordering::Relaxed) {
            return;
        }
        // Without locks or in a folder that cannot be written, it may be removed earlier than
        // others, and nothing worse.
        drop(self.file.try_lock_shared());
        set_last_used(&self.path, SystemTime::now());
    }

    fn keys(&self) -> &[Key] {
        self.map[self.header.layout.keys..self.header.layout.checks].as_chunks().0
    }

    fn checks(&self) -> &[Check] {
        self.map[self.header.layout.checks..][..self.rows() * size_of::<Check>()].as_chunks().0
    }

    fn values(&self, at: usize) -> Option<&[f32]> {
        let bytes = self.header.features * size_of::<f32>();
        let start = self.header.layout.rows + at * bytes;
        bytemuck::try_cast_slice(&self.map[start..start + bytes]).ok()
    }
}

/// Sets when a file was last used, if the system lets us.
pub(super) fn set_last_used(path: &Path, time: SystemTime) {
    if let Ok(file) = File::options().append(true).open(path) {
        drop(file.set_modified(time));
    }
}

/// A row to be written.
pub(super) struct Row<'a> {
    pub key: Key,
    check: Check,
    values: &'a [f32],
}

impl<'a> Row<'a> {
    /// A row that was computed just now.
    pub fn new(key: Key, values: &'a [f32]) -> Self {
        Self { key, check: check(&key, values), values }
    }
}

/// What a row is recognised by. The key is in it, so that a row is never taken for another image's.
fn check(key: &Key, values: &[f32]) -> Check {
    let mut hasher = blake3::Hasher::new();
    hasher.update(key).update(bytemuck::cast_slice(values));
    let mut check = Check::default();
    check.copy_from_slice(&hasher.finalize().as_bytes()[..size_of::<Check>()]);
    check
}

/// Sorts rows by their keys, and leaves out all but the first of each.
pub(super) fn sort(rows: &mut Vec<Row<'_>>) {
    rows.par_sort_by_key(|row| row.key);
    rows.dedup_by_key(|row| row.key);
}

/// Bytes that a file of so many rows takes, `None` if no file can be as large.
pub(super) fn bytes(space: &Space, rows: usize) -> Option<u64> {
    let [label, view] = space.texts();
    Layout::new(label.len() + view.len(), rows, space.features).map(|layout| layout.end as u64)
}

/// Writes rows into a new file in `folder` and returns its path. They are sorted and not none. The
/// file is named by what it holds, so programs that write the same write one file.
///
/// # Errors
/// What the operating system says.
pub(super) fn write(folder: &Path, space: &Space, rows: &[Row<'_>]) -> io::Result<PathBuf> {
    let [label, view] = space.texts();
    let texts = label.len() + view.len();
    let layout = Layout::new(texts, rows.len(), space.features)
        .ok_or_else(|| io::Error::other("there are too many features for a file"))?;
    let mut head = Vec::with_capacity(layout.rows);
    head.extend(MAGIC);
    for word in [VERSION, label.len() as u32, view.len() as u32, 0] {
        head.extend(word.to_ne_bytes());
    }
    for number in [rows.len() as u64, space.features as u64, space.side as u64, 0] {
        head.extend(number.to_ne_bytes());
    }
    head.extend(space.hash());
    head.resize(FIXED, 0);
    head.extend(label.bytes().chain(view.bytes()));
    head.resize(layout.keys, 0);
    rows.iter().for_each(|row| head.extend(row.key));
    rows.iter().for_each(|row| head.extend(row.check));
    head.resize(layout.digest, 0);
    let digest = blake3::hash(&head);
    head.extend(digest.as_bytes());
    let path = folder.join(format!("{}.{EXTENSION}", &digest.to_hex()[..32]));
    write_atomically(&path, |out| {
        out.write_all(&head)?;
        rows.iter().try_for_each(|row| out.write_all(bytemuck::cast_slice(row.values)))
    })?;
    Ok(path)
}
