//! Files that were looked at before: what was found in them, kept in the person's cache folder, so
//! that a folder scanned again is not decoded again.
//!
//! An entry stands for a file as it was: path, length and time of its last change. A file that
//! differs in any of them is not known. The index is a help and never needed: one that is damaged,
//! or written by a version that looked at images differently, is passed over and replaced.
//!
//! Every job opens it, however few images the job has: entries lie in the order of their names, so
//! that one is found among hundreds of thousands without taking the others apart.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use super::image_file::{ImageFile, nanoseconds};
use super::{ImageFacts, Taken};
use crate::files::write_atomically;

/// Names the format, and the version of what is looked for in images: it changes when a file could
/// be judged differently.
const MAGIC: &[u8; 8] = b"CWknown3";
/// Files that are remembered: 50 MB of index.
const MOST: usize = 500_000;
/// Bytes of an entry.
const ENTRY: usize = 100;
/// Bytes of the checksum at the end.
const CHECKSUM: usize = 32;
/// A file changed so short a time ago could be changed again without its time showing it: two
/// seconds, on FAT.
const TOO_NEW: i64 = 2_000_000_000;

/// Every way of storing colours that decoding tells of.
const MODES: [&str; 15] = [
    "1", "L2", "L4", "L", "LA", "L16", "LA16", "RGB", "RGBA", "RGB16", "RGBA16", "RGB32F", "P",
    "CMYK", "CMYK16",
];

/// Stands for a path: the start of its BLAKE3.
type Name = [u8; 16];

#[derive(Clone, Copy, Debug, PartialEq)]
struct Entry {
    length: u64,
    modified: i64,
    hash: [u8; 32],
    /// `None` of a file whose bytes were hashed and never decoded.
    seen: Option<Seen>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Seen {
    width: u32,
    height: u32,
    mode: u8,
    look: u64,
    taken: Option<Taken>,
}

/// The index as it was read, and what has been learned since.
#[derive(Debug)]
pub(crate) struct KnownFiles {
    /// Where it lies; `None` if nothing is to be remembered.
    path: Option<PathBuf>,
    index: Index,
    /// What was learned last of a file.
    learned: Mutex<BTreeMap<Name, Entry>>,
    most: usize,
}

impl KnownFiles {
    /// Reads the index in the folder `cache`; without a folder, nothing is known and nothing
    /// learned.
    pub fn open(cache: Option<&Path>) -> Self {
        let path = cache.map(|folder| folder.join("known-files"));
        let index = path.as_deref().map(Index::read).unwrap_or_default();
        Self { path, index, learned: Mutex::default(), most: MOST }
    }

    /// What was seen of a file when it was decoded, if it is the same still.
    pub fn facts(&self, file: &ImageFile) -> Option<ImageFacts> {
        let entry = self.entry(file)?;
        let Seen { width, height, mode, look, taken } = entry.seen?;
        let mode = MODES.get(usize::from(mode))?;
        Some(ImageFacts { width, height, mode, hash: entry.hash, look, taken })
    }

    /// BLAKE3 of a file's bytes, if it is the same still.
    pub fn hash(&self, file: &ImageFile) -> Option<[u8; 32]> {
        self.entry(file).map(|entry| entry.hash)
    }

    /// Remembers what was seen of a file.
    pub fn learn(&self, file: &ImageFile, facts: &ImageFacts) {
        let mode = MODES.iter().position(|&mode| mode == facts.mode);
        let seen = mode.map(|mode| Seen {
            width: facts.width,
            height: facts.height,
            mode: mode as u8,
            look: facts.look,
            taken: facts.taken,
        });
        self.add(file, facts.hash, seen);
    }

    /// Remembers the BLAKE3 of a file's bytes.
    pub fn learn_hash(&self, file: &ImageFile, hash: [u8; 32]) {
        self.add(file, hash, None);
    }

    /// Writes what was learned, beside what others have written in the meantime. Where it cannot be
    /// written, it is learned again another time.
    pub fn save(&self) {
        let learned =
            std::mem::take(&mut *self.learned.lock().unwrap_or_else(PoisonError::into_inner));
        let Some(path) = self.path.as_deref().filter(|_| !learned.is_empty()) else { return };
        // Two jobs of this process must not both read the old index and then write theirs over each
        // other's.
        static SAVING: Mutex<()> = Mutex::new(());
        let _turn = SAVING.lock().unwrap_or_else(PoisonError::into_inner);
        let all = Index::read(path).with(&learned, self.most);
        let _ = write_atomically(path, |out| out.write_all(&all.0));
    }

    fn entry(&self, file: &ImageFile) -> Option<Entry> {
        let entry = self.index.get(&name(&file.path))?;
        (entry.length == file.length && Some(entry.modified) == file.modified).then_some(entry)
    }

    fn add(&self, file: &ImageFile, hash: [u8; 32], seen: Option<Seen>) {
        let (Some(modified), Some(now)) = (file.modified, nanoseconds(SystemTime::now())) else {
            return;
        };
        if self.path.is_none() || now.saturating_sub(modified) < TOO_NEW {
            return;
        }
        let entry = Entry { length: file.length, modified, hash, seen };
        let mut learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        learned.insert(name(&file.path), entry);
    }
}

fn name(path: &Path) -> Name {
    let hash = blake3::hash(path.as_os_str().as_encoded_bytes());
    std::array::from_fn(|i| hash.as_bytes()[i])
}

/// The bytes of the file: [`MAGIC`], entries in the order of their names, checksum. An entry begins
/// with its name and the number of the save that wrote it, one more with each. Empty if there is no
/// file.
#[derive(Debug, Default)]
struct Index(Vec<u8>);

impl Index {
    /// What is in a file; nothing if it is not there or not in order.
    fn read(path: &Path) -> Self {
        let largest = (MAGIC.len() + MOST * ENTRY + CHECKSUM) as u64;
        if !std::fs::metadata(path)
            .is_ok_and(|metadata| metadata.is_file() && metadata.len() <= largest)
        {
            return Self::default();
        }
        std::fs::read(path).ok().map(Self).filter(Self::is_in_order).unwrap_or_default()
    }

    fn is_in_order(&self) -> bool {
        let Some((bytes, checksum)) = self.0.split_last_chunk::<CHECKSUM>() else { return false };
        bytes.strip_prefix(MAGIC).is_some_and(|entries| entries.len().is_multiple_of(ENTRY))
            && blake3::hash(bytes).as_bytes() == checksum
    }

    fn of(entries: &[[u8; ENTRY]]) -> Self {
        let mut bytes = [MAGIC.as_slice(), entries.as_flattened()].concat();
        bytes.extend_from_slice(blake3::hash(&bytes).as_bytes());
        Self(bytes)
    }

    fn entries(&self) -> &[[u8; ENTRY]] {
        let entries = MAGIC.len()..self.0.len().saturating_sub(CHECKSUM);
        self.0.get(entries).unwrap_or_default().as_chunks().0
    }

    fn get(&self, name: &Name) -> Option<Entry> {
        let entries = self.entries();
        let place = entries.binary_search_by(|entry| entry[..name.len()].cmp(name)).ok()?;
        decode(&entries[place])
    }

    /// With entries that are new or take the place of what was there; of more than `most`, what was
    /// learned long ago makes room.
    fn with(&self, learned: &BTreeMap<Name, Entry>, most: usize) -> Self {
        let mut all = self.entries().to_vec();
        let save = all.iter().map(saved).max().map_or(0, |last| last.saturating_add(1));
        all.retain(|entry| !entry.first_chunk().is_some_and(|name| learned.contains_key(name)));
        all.extend(learned.iter().map(|(name, entry)| encode(name, save, entry)));
        if all.len() > most {
            all.sort_unstable_by_key(|entry| std::cmp::Reverse(saved(entry)));
            all.truncate(most);
        }
        // Names differ, so nothing behind them is compared.
        all.sort_unstable();
        Self::of(&all)
    }
}

/// The number of the save that wrote an entry.
fn saved(entry: &[u8; ENTRY]) -> u32 {
    let name = size_of::<Name>();
    u32::from_le_bytes(std::array::from_fn(|i| entry[name + i]))
}

fn decode(bytes: &[u8; ENTRY]) -> Option<Entry> {
    fn part<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
        let (part, rest) = bytes.split_first_chunk()?;
        *bytes = rest;
        Some(*part)
    }
    let bytes = &mut &bytes[size_of::<Name>() + size_of::<u32>()..];
    let (length, modified, hash) =
        (u64::from_le_bytes(part(bytes)?), i64::from_le_bytes(part(bytes)?), part(bytes)?);
    let (width, height) = (u32::from_le_bytes(part(bytes)?), u32::from_le_bytes(part(bytes)?));
    let [mode, is_dated, _, _] = part(bytes)?;
    let camera = u32::from_le_bytes(part(bytes)?);
    let (look, seconds) = (u64::from_le_bytes(part(bytes)?), i64::from_le_bytes(part(bytes)?));
    let taken = (is_dated == 1).then_some(Taken { seconds, camera });
    let seen = (width > 0 && height > 0).then_some(Seen { width, height, mode, look, taken });
    Some(Entry { length, modified, hash, seen })
}

fn encode(name: &Name, save: u32, entry: &Entry) -> [u8; ENTRY] {
    let unseen = Seen { width: 0, height: 0, mode: 0, look: 0, taken: None };
    let Seen { width, height, mode, look, taken } = entry.seen.unwrap_or(unseen);
    let Taken { seconds, camera } = taken.unwrap_or_default();
    let parts: [&[u8]; 11] = [
        name,
        &save.to_le_bytes(),
        &entry.length.to_le_bytes(),
        &entry.modified.to_le_bytes(),
        &entry.hash,
        &width.to_le_bytes(),
        &height.to_le_bytes(),
        &[mode, u8::from(taken.is_some()), 0, 0],
        &camera.to_le_bytes(),
        &look.to_le_bytes(),
        &seconds.to_le_bytes(),
    ];
    let mut bytes = [0; ENTRY];
    let mut rest = bytes.as_mut_slice();
    for part in parts {
        let (place, behind) = rest.split_at_mut(part.len());
        place.copy_from_slice(part);
        rest = behind;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> ImageFile {
        ImageFile { path: name.into(), length: 9, modified: Some(1_600_000_000_000_000_001) }
    }

    fn facts(width: u32) -> ImageFacts {
        ImageFacts {
            width,
            height: 40,
            mode: "CMYK",
            hash: [width as u8; 32],
            look: u64::MAX - u64::from(width),
            taken: width.is_multiple_of(2).then_some(Taken { seconds: -1, camera: u32::MAX }),
        }
    }

    fn learn(cache: &Path, files: &[(&str, u32)]) {
        let known = KnownFiles::open(Some(cache));
        files.iter().for_each(|&(name, width)| known.learn(&file(name), &facts(width)));
        known.save();
    }

    #[test]
    fn a_file_is_known_as_long_as_nothing_about_it_changes() {
        let cache = tempfile::tempdir().unwrap();
        learn(cache.path(), &[("a", 30), ("b", 31)]);
        learn(cache.path(), &[("b", 32), ("c", 33)]);
        let known = KnownFiles::open(Some(cache.path()));
        assert_eq!(
            ["a", "b", "c", "d"].map(|name| known.facts(&file(name)).map(|facts| facts.width)),
            [Some(30), Some(32), Some(33), None]
        );
        assert_eq!(known.facts(&file("a")), Some(facts(30)));
        assert_eq!(known.facts(&ImageFile { length: 10, ..file("a") }), None);
        assert_eq!(
            known.hash(&ImageFile { modified: Some(1_600_000_000_000_000_002), ..file("a") }),
            None
        );
        assert_eq!(known.facts(&ImageFile { modified: None, ..file("a") }), None);
    }

    #[test]
    fn a_hash_alone_says_nothing_about_the_image() {
        let cache = tempfile::tempdir().unwrap();
        let known = KnownFiles::open(Some(cache.path()));
        known.learn_hash(&file("a"), [7; 32]);
        known.save();
        let known = KnownFiles::open(Some(cache.path()));
        assert_eq!((known.hash(&file("a")), known.facts(&file("a"))), (Some([7; 32]), None));
    }

    #[test]
    fn what_may_change_unseen_is_not_remembered() {
        let cache = tempfile::tempdir().unwrap();
        let known = KnownFiles::open(Some(cache.path()));
        known.learn(
            &ImageFile { modified: nanoseconds(SystemTime::now()), ..file("a") },
            &facts(30),
        );
        known.learn(&ImageFile { modified: None, ..file("b") }, &facts(30));
        known.save();
        assert_eq!(std::fs::read_dir(cache.path()).unwrap().count(), 0);
        // Without a folder there is nothing to remember in.
        let nowhere = KnownFiles::open(None);
        nowhere.learn(&file("a"), &facts(30));
        nowhere.save();
        assert!(nowhere.learned.lock().unwrap().is_empty());
    }

    #[test]
    fn a_damaged_or_foreign_index_is_passed_over_and_replaced() {
        let cache = tempfile::tempdir().unwrap();
        learn(cache.path(), &[("a", 30), ("b", 31)]);
        let path = cache.path().join("known-files");
        let whole = std::fs::read(&path).unwrap();
        let mut other_version = whole.clone();
        other_version[7] = b'0';
        let mut flipped = whole.clone();
        flipped[60] ^= 1;
        let cut = whole[..whole.len() - ENTRY].to_vec();
        for damaged in [other_version, flipped, cut, Vec::new(), b"text".to_vec(), vec![0; 1000]] {
            std::fs::write(&path, damaged).unwrap();
            assert!(KnownFiles::open(Some(cache.path())).index.0.is_empty());
            learn(cache.path(), &[("c", 33)]);
            assert_eq!(KnownFiles::open(Some(cache.path())).facts(&file("c")), Some(facts(33)));
        }
        // A folder in its place is left alone.
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        learn(cache.path(), &[("c", 33)]);
        assert!(KnownFiles::open(Some(cache.path())).index.0.is_empty() && path.is_dir());
    }

    #[test]
    fn every_one_of_many_files_is_found() {
        let cache = tempfile::tempdir().unwrap();
        let names: Vec<String> = (1..=1000_u32).map(|index| format!("{index}.png")).collect();
        for part in [0, 1, 2] {
            let files = (1..=1000_u32).zip(&names).filter(|(width, _)| width % 3 == part);
            let files: Vec<_> = files.map(|(width, name)| (name.as_str(), width)).collect();
            learn(cache.path(), &files);
        }
        let known = KnownFiles::open(Some(cache.path()));
        for (width, name) in (1..).zip(&names) {
            assert_eq!(known.facts(&file(name)), Some(facts(width)));
        }
        assert_eq!(known.facts(&file("1001.png")), None);
    }

    #[test]
    fn the_index_is_bounded_and_forgets_the_oldest() {
        let cache = tempfile::tempdir().unwrap();
        learn(cache.path(), &[("b", 2)]);
        learn(cache.path(), &[("a", 1), ("c", 3)]);
        let mut known = KnownFiles::open(Some(cache.path()));
        known.most = 3;
        known.learn(&file("a"), &facts(4));
        known.learn(&file("d"), &facts(5));
        known.save();
        let known = KnownFiles::open(Some(cache.path()));
        assert_eq!(
            ["a", "b", "c", "d"].map(|name| known.facts(&file(name)).is_some()),
            [true, false, true, true]
        );
    }
}
