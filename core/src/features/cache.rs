//! The folder that all feature caches are in, and the room it takes.

use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};

use super::limit;
use super::opened::CachedFeatures;
use super::segment::{Header, is_segment_name};
use super::space::{Space, is_folder_name};
use crate::error::{CacheError, Result};
use crate::files::{cache_folder, is_temporary};

/// A half-written file that has not changed for so long belongs to a program that was killed.
const ABANDONED: Duration = Duration::from_hours(24);

/// A folder of features and how large it may become.
///
/// ```
/// use counterweight_core::features::{FeatureCache, Space};
///
/// let folder = tempfile::tempdir()?;
/// let cache = FeatureCache::in_folder(folder.path()).with_limit(1 << 20);
/// let space = Space { backbone: [7; 32], label: "my-backbone".into(), side: 224, view: "plain".into(), features: 3 };
/// let images = [[1; 32], [2; 32]];
///
/// let mut features = cache.open(&space);
/// assert_eq!(features.missing(&images), [0, 1]);
/// features.insert(&images, &[0.1, 0.2, 0.3, 0.4, 0.5, 0.6])?;
///
/// let again = cache.open(&space);
/// assert_eq!(again.get(&images[1]), Some(&[0.4, 0.5, 0.6][..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct FeatureCache {
    folder: PathBuf,
    limit: u64,
    problem: Option<String>,
}

/// What a feature cache holds.
#[derive(Clone, Debug, Serialize)]
pub struct Usage {
    /// The folder.
    pub folder: PathBuf,
    /// The size it is kept below, in bytes.
    pub limit_bytes: u64,
    /// The size it has, in bytes.
    pub bytes: u64,
    /// What it holds, last used first.
    pub spaces: Vec<SpaceUsage>,
    /// Files that hold no features this program can use: damaged ones, and those of a newer
    /// version. They are part of `bytes`.
    pub unusable: Vec<String>,
    /// What is wrong with how the cache is set up.
    pub warnings: Vec<String>,
}

/// What a feature cache holds of one [`Space`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SpaceUsage {
    /// The backbone.
    pub label: String,
    /// Height and width of the input, in pixels.
    pub side: usize,
    /// How images are shown.
    pub view: String,
    /// Number of features of an image.
    pub features: usize,
    /// Images that features are kept of. One that two programs computed at the same time counts
    /// twice until files are merged.
    pub rows: u64,
    /// Size of the files.
    pub bytes: u64,
    /// When features of it were last looked at; serialised as whole seconds since 1970.
    #[serde(serialize_with = "seconds")]
    pub last_used: SystemTime,
}

/// A file of the cache.
struct Entry {
    path: PathBuf,
    bytes: u64,
    last_used: SystemTime,
}

impl FeatureCache {
    /// The cache of this user: the folder `features` in [`cache_folder`]. It takes 4 GiB or what
    /// the environment variable `COUNTERWEIGHT_CACHE_LIMIT` says, `10GB` for example. `None` if
    /// there is no folder for caches: there features can be [held](CachedFeatures::in_memory), and
    /// not kept.
    pub fn standard() -> Option<Self> {
        let limit = std::env::var_os("COUNTERWEIGHT_CACHE_LIMIT").filter(|value| !value.is_empty());
        Some(Self::from_environment(&cache_folder()?, limit))
    }

    fn from_environment(folder: &Path, limit: Option<OsString>) -> Self {
        let mut cache = Self::in_folder(folder.join("features"));
        match limit.map(|text| limit::parse(&text.to_string_lossy())) {
            Some(Ok(bytes)) => cache.limit = bytes,
            Some(Err(reason)) => {
                cache.problem = Some(format!("COUNTERWEIGHT_CACHE_LIMIT is ignored: {reason}"))
            }
            None => {}
        }
        cache
    }

    /// A cache in that folder, which is made when there is something to keep. It takes 4 GiB.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), limit: limit::DEFAULT, problem: None }
    }

    /// Has the cache take no more than so many bytes. What was not used for the longest time goes
    /// first, and what is being used stays: where that alone takes as much, nothing more is kept.
    pub fn with_limit(self, bytes: u64) -> Self {
        Self { limit: bytes, ..self }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The features that are kept of a space. Whatever is wrong with what is there is told by
    /// [`CachedFeatures::warnings`].
    pub fn open(&self, space: &Space) -> CachedFeatures {
        let folder = self.space_folder(space);
        // The limit may be lower than it was. What is about to be used is spared.
        self.make_room(0, &folder);
        CachedFeatures::open(self, space)
    }

    /// What the cache holds.
    ///
    /// # Errors
    /// [`CacheError::File`] if the folder is there and cannot be read.
    pub fn usage(&self) -> Result<Usage> {
        let mut usage = Usage {
            folder: self.folder.clone(),
            limit_bytes: self.limit,
            bytes: 0,
            spaces: Vec::new(),
            unusable: Vec::new(),
            warnings: self.problem.iter().cloned().collect(),
        };
        for folder in self.space_folders()? {
            for entry in entries(&folder) {
                usage.bytes += entry.bytes;
                match Header::read(&entry.path) {
                    Ok(header) => usage.add(header, &entry),
                    Err(_) => usage.unusable.push(entry.path.display().to_string()),
                }
            }
        }
        usage
            .spaces
            .sort_by(|a, b| b.last_used.cmp(&a.last_used).then_with(|| a.label.cmp(&b.label)));
        Ok(usage)
    }

    /// Removes everything that is kept, also what other programs are using, and returns the bytes
    /// that were freed. Files that are not the cache's are left alone.
    ///
    /// # Errors
    /// [`CacheError::File`] if the folder cannot be read, or naming the first file that cannot be
    /// removed; the others are then removed all the same.
    pub fn clear(&self) -> Result<u64> {
        let mut freed = 0;
        let mut failed = None;
        for folder in self.space_folders()? {
            remove_abandoned(&folder);
            for entry in entries(&folder) {
                match std::fs::remove_file(&entry.path) {
                    Ok(()) => freed += entry.bytes,
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    Err(error) => failed = failed.or(Some(CacheError::file(&entry.path, error))),
                }
            }
            // One that holds anything else is not empty and stays.
            drop(std::fs::remove_dir(folder));
        }
        failed.map_or(Ok(freed), |error| Err(error.into()))
    }

    /// Why the limit is not the one that was asked for.
    pub(super) fn problem(&self) -> Option<&String> {
        self.problem.as_ref()
    }

    /// The size it is kept below, in bytes.
    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    pub(super) fn space_folder(&self, space: &Space) -> PathBuf {
        self.folder.join(space.folder_name())
    }

    /// Removes what was not used for the longest time and is not being used, until there is room
    /// for so many bytes; whether there is. Files in the folder `spared` stay.
    pub(super) fn make_room(&self, needed: u64, spared: &Path) -> bool {
        if needed > self.limit {
            return false;
        }
        let mut files: Vec<Entry> = self
            .space_folders()
            .unwrap_or_default()
            .iter()
            .flat_map(|folder| entries(folder))
            .collect();
        let mut bytes = files.iter().fold(needed, |sum, file| sum.saturating_add(file.bytes));
        files.sort_by_key(|file| file.last_used);
        for file in files.iter().filter(|file| file.path.parent() != Some(spared)) {
            if bytes <= self.limit {
                break;
            }
            if remove_unused(&file.path) {
                bytes -= file.bytes;
            }
        }
        bytes <= self.limit
    }

    /// Every folder that can be a space's. None if there is no cache yet.
    fn space_folders(&self) -> Result<Vec<PathBuf>> {
        let entries = match std::fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(CacheError::file(&self.folder, error).into()),
        };
        // Links are left alone: what they lead to does not belong to the cache.
        let folders =
            entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        Ok(folders
            .filter(|entry| entry.file_name().to_str().is_some_and(is_folder_name))
            .map(|entry| entry.path())
            .collect())
    }
}

impl Usage {
    fn add(&mut self, header: Header, entry: &Entry) {
        let mut found = SpaceUsage {
            label: header.label,
            side: header.side,
            view: header.view,
            features: header.features,
            rows: header.rows as u64,
            bytes: entry.bytes,
            last_used: entry.last_used,
        };
        // The same for people: two versions of a backbone have one line.
        let same = |other: &&mut SpaceUsage| {
            (&other.label, other.side, &other.view, other.features)
                == (&found.label, found.side, &found.view, found.features)
        };
        match self.spaces.iter_mut().find(same) {
            None => self.spaces.push(found),
            Some(other) => {
                found.rows += other.rows;
                found.bytes += other.bytes;
                found.last_used = found.last_used.max(other.last_used);
                *other = found;
            }
        }
    }
}

/// Paths of the segments in a space's folder, in an order that is always the same.
///
/// # Errors
/// What the operating system says, but for a folder that is not there, which is empty.
pub(super) fn segment_paths(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let found = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        found => found?,
    };
    // What is a file by name and a pipe or a link in truth is not opened.
    let files = found.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    let mut paths: Vec<PathBuf> = files
        .filter(|entry| entry.file_name().to_str().is_some_and(is_segment_name))
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    Ok(paths)
}

fn entries(folder: &Path) -> Vec<Entry> {
    let entry = |path: PathBuf| {
        let found = std::fs::metadata(&path).ok()?;
        Some(Entry {
            path,
            bytes: found.len(),
            last_used: found.modified().unwrap_or(SystemTime::UNIX_EPOCH),
        })
    };
    segment_paths(folder).unwrap_or_default().into_iter().filter_map(entry).collect()
}

/// Removes a file unless a program is using it; whether it is gone.
fn remove_unused(path: &Path) -> bool {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) => return error.kind() == ErrorKind::NotFound,
    };
    // A file system without locks does not say, and a file that is mapped can be read after it was
    // removed.
    !matches!(file.try_lock(), Err(TryLockError::WouldBlock)) && std::fs::remove_file(path).is_ok()
}

/// Removes what killed programs left half-written in a space's folder.
pub(super) fn remove_abandoned(folder: &Path) {
    let now = SystemTime::now();
    for entry in std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| is_temporary(&entry.file_name()))
    {
        let touched = entry.metadata().and_then(|found| found.modified());
        if touched.is_ok_and(|touched| now.duration_since(touched).is_ok_and(|age| age > ABANDONED))
        {
            drop(std::fs::remove_file(entry.path()));
        }
    }
}

fn seconds<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(
        time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_says_how_large_the_cache_is() {
        let of = |limit: Option<&str>| {
            FeatureCache::from_environment(Path::new("mine"), limit.map(OsString::from))
        };
        let usual = of(None);
        assert_eq!((usual.folder(), usual.limit), (Path::new("mine/features"), 4 << 30));
        let named = of(Some("10GB"));
        assert_eq!((named.limit, &named.problem), (10_000_000_000, &None));
        let wrong = of(Some("much"));
        assert_eq!(wrong.limit, 4 << 30);
        let warnings = wrong.usage().unwrap().warnings;
        assert!(
            warnings.len() == 1
                && warnings[0].contains("COUNTERWEIGHT_CACHE_LIMIT")
                && warnings[0].contains("much"),
            "{warnings:?}"
        );
    }
}
