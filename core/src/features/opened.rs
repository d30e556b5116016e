//! The features of one space: found, added to, and kept in few files.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::cache::{FeatureCache, remove_abandoned, segment_paths};
use super::segment::{self, Refusal, Row, Segment};
use super::space::{Key, Space};
use crate::error::{CacheError, Result};

/// Small segments that may be there before some are merged: each is another place where a key has
/// to be looked for.
const MANY: usize = 16;
/// Size in bytes from which on a segment is no longer merged. What was not used for long is removed
/// by the segment, so they stay small beside the limit.
const LARGE: u64 = 256 << 20;

/// The features of a [`Space`] that are known, by the content of images.
///
/// Several threads and programs may have the same space open and add to it. Each sees what was
/// there when it opened the space and what it added itself.
pub struct CachedFeatures {
    space: Space,
    cache: Option<FeatureCache>,
    folder: PathBuf,
    segments: Vec<Segment>,
    unkept: Unkept,
    warnings: Mutex<Warnings>,
}

/// Every warning so far, and how many of them were passed on: a caller that adds many times would
/// otherwise say many times that the disk is full.
#[derive(Default)]
struct Warnings {
    all: Vec<String>,
    told: usize,
}

/// Rows that could not be written, held as long as the space is open.
#[derive(Default)]
struct Unkept {
    places: HashMap<Key, usize>,
    values: Vec<f32>,
}

impl CachedFeatures {
    /// Features that are held until this is dropped and not kept, for where there is no folder for
    /// a cache.
    pub fn in_memory(space: &Space) -> Self {
        Self {
            space: space.clone(),
            cache: None,
            folder: PathBuf::new(),
            segments: Vec::new(),
            unkept: Unkept::default(),
            warnings: Mutex::default(),
        }
    }

    pub(super) fn open(cache: &FeatureCache, space: &Space) -> Self {
        let folder = cache.space_folder(space);
        let mut opened = Self { cache: Some(cache.clone()), folder, ..Self::in_memory(space) };
        if let Some(problem) = cache.problem() {
            opened.warn(problem.clone());
        }
        remove_abandoned(&opened.folder);
        // What is gone was merged into a file that came after the folder was listed.
        const TRIES: usize = 3;
        for _ in 0..TRIES {
            if opened.open_segments() {
                break;
            }
        }
        opened
    }

    /// Opens what is not open yet; whether nothing went away meanwhile.
    fn open_segments(&mut self) -> bool {
        let paths = match segment_paths(&self.folder) {
            Ok(paths) => paths,
            Err(error) => {
                self.warn(format!(
                    "{}: the features kept there cannot be read: {error}",
                    self.folder.display()
                ));
                return true;
            }
        };
        let mut all_there = true;
        for path in paths {
            if self.segments.iter().any(|segment| segment.path() == path) {
                continue;
            }
            match Segment::open(&path, &self.space) {
                Ok(segment) => self.segments.push(segment),
                Err(Refusal::Gone) => all_there = false,
                Err(Refusal::Ignored(reason)) => {
                    self.warn(format!("{}: these features are not used: {reason}", path.display()))
                }
                Err(Refusal::Worthless(reason)) => {
                    let removed = removal(&path);
                    self.warn(format!(
                        "{}: these features are not used: {reason}; {removed}",
                        path.display()
                    ));
                }
            }
        }
        all_there
    }

    /// The space.
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// The features of the image with that content, shape `[features]`, as they were computed.
    /// `None` if they are not known, or were damaged.
    pub fn get(&self, key: &Key) -> Option<&[f32]> {
        let kept = self.segments.iter().find_map(|segment| {
            let row = segment.row(segment.find(key)?);
            match row {
                Some(_) => segment.set_used(),
                None => self.tell_damaged(segment),
            }
            row
        });
        kept.or_else(|| self.unkept.get(key, self.space.features))
    }

    /// The places in `keys` of those that [`CachedFeatures::get`] has nothing for, ascending. It
    /// has something for all others as long as this is not dropped.
    pub fn missing(&self, keys: &[Key]) -> Vec<usize> {
        // By key, since that is the order of rows in a file: a disk is then read from front to
        // back.
        let mut places: Vec<usize> = (0..keys.len()).collect();
        places.par_sort_unstable_by_key(|&place| keys[place]);
        let mut missing: Vec<usize> =
            places.into_par_iter().filter(|&place| self.get(&keys[place]).is_none()).collect();
        missing.sort_unstable();
        missing
    }

    /// Adds the features of images, `rows` being of shape [keys, features], and keeps them. Those
    /// of images whose features are known are left as they are. Many at a time are better than few:
    /// each call writes a file. What cannot be kept is held as long as this is not dropped, with a
    /// warning.
    ///
    /// # Errors
    /// [`CacheError::Rows`] if the shapes do not fit or a feature is not a finite number. Nothing
    /// is added then.
    pub fn insert(&mut self, keys: &[Key], rows: &[f32]) -> Result<()> {
        let features = self.space.features;
        if features == 0 || keys.len().checked_mul(features) != Some(rows.len()) {
            return Err(CacheError::Rows(format!(
                "{} numbers are not {features} features of {} images",
                rows.len(),
                keys.len()
            ))
            .into());
        }
        if let Some(at) = rows.par_iter().position_first(|value| !value.is_finite()) {
            let (image, value) = (at / features + 1, rows[at]);
            return Err(CacheError::Rows(format!(
                "{} gives {value} for image {image} of {}",
                self.space.label,
                keys.len()
            ))
            .into());
        }
        let mut met = HashSet::new();
        let fresh: Vec<usize> =
            self.missing(keys).into_iter().filter(|&place| met.insert(keys[place])).collect();
        if fresh.is_empty() {
            return Ok(());
        }
        let row = |place: usize| &rows[place * features..(place + 1) * features];
        let new = fresh.par_iter().map(|&place| Row::new(keys[place], row(place))).collect();
        match self.keep(new) {
            Ok(()) => self.merge(),
            Err(reason) => {
                if let Some(reason) = reason {
                    self.warn(reason);
                }
                fresh.into_iter().for_each(|place| self.unkept.add(keys[place], row(place)));
            }
        }
        Ok(())
    }

    /// What went wrong since this was last asked, to be told to the person. The features are right
    /// whatever it says.
    pub fn warnings(&mut self) -> Vec<String> {
        let warnings = self.warnings.get_mut().unwrap_or_else(PoisonError::into_inner);
        let new = warnings.all[warnings.told..].to_vec();
        warnings.told = warnings.all.len();
        new
    }

    /// Writes rows into a segment, together with what is left of damaged ones. The reason if that
    /// fails; there is none if there is nothing to tell.
    fn keep(&mut self, new: Vec<Row<'_>>) -> Result<(), Option<String>> {
        let cache = self.cache.as_ref().ok_or(None)?;
        let damaged: Vec<&Segment> =
            self.segments.iter().filter(|segment| segment.is_damaged()).collect();
        let mut rows = new;
        rows.extend(self.rows_of(&damaged));
        segment::sort(&mut rows);
        let bytes = segment::bytes(&self.space, rows.len()).unwrap_or(u64::MAX);
        if !cache.make_room(bytes, Path::new("")) {
            let (folder, limit) = (cache.folder().display(), cache.limit() / 1_000_000);
            return Err(Some(format!(
                "{folder}: new features are not kept, since those in use take up the limit of {limit} MB; \
                 COUNTERWEIGHT_CACHE_LIMIT can be set to more"
            )));
        }
        let failed = |path: &Path, reason: String| {
            Some(format!("{}: new features are not kept: {reason}", path.display()))
        };
        let path = segment::write(&self.folder, &self.space, &rows)
            .map_err(|error| failed(&self.folder, error.to_string()))?;
        let segment = match Segment::open(&path, &self.space) {
            Ok(segment) => segment,
            // Another program has made it part of a larger file already. It is kept there, and held
            // here.
            Err(Refusal::Gone) => return Err(None),
            Err(refusal) => return Err(failed(&path, refusal.to_string())),
        };
        segment.set_used();
        let (old, whole) =
            std::mem::take(&mut self.segments).into_iter().partition(Segment::is_damaged);
        self.segments = whole;
        self.segments.push(segment);
        remove_all_but(old, &path);
        Ok(())
    }

    /// Makes one segment of some if there are many.
    fn merge(&mut self) {
        // What was removed to make room is not written again.
        self.segments.retain(|segment| segment.is_used() || segment.path().exists());
        let sizes: Vec<u64> = self.segments.iter().map(Segment::bytes).collect();
        let chosen = to_merge(&sizes);
        let parts: Vec<&Segment> = chosen.iter().map(|&at| &self.segments[at]).collect();
        let mut rows = self.rows_of(&parts);
        if rows.is_empty() {
            return;
        }
        segment::sort(&mut rows);
        let used = parts.iter().any(|part| part.is_used());
        let last_used = parts.iter().filter_map(|part| part.last_used()).max();
        let written = segment::write(&self.folder, &self.space, &rows);
        let path = match written {
            Ok(path) => path,
            Err(error) => {
                self.warn(format!(
                    "{}: the files there could not be merged: {error}",
                    self.folder.display()
                ));
                return;
            }
        };
        // What cannot be opened again was removed by another program; the parts stay in use.
        let Ok(segment) = Segment::open(&path, &self.space) else { return };
        if let Some(time) = last_used {
            segment::set_last_used(&path, time);
        }
        if used {
            segment.set_used();
        }
        let (mut merged, mut others) = (Vec::new(), Vec::new());
        for (at, old) in std::mem::take(&mut self.segments).into_iter().enumerate() {
            if chosen.contains(&at) { merged.push(old) } else { others.push(old) }
        }
        self.segments = others;
        self.segments.push(segment);
        remove_all_but(merged, &path);
    }

    /// Every row of these segments that is as it was written.
    fn rows_of<'a>(&self, segments: &[&'a Segment]) -> Vec<Row<'a>> {
        let rows = |segment: &'a Segment| -> Vec<Row<'a>> {
            let whole: Vec<Row<'a>> = (0..segment.rows())
                .into_par_iter()
                .filter_map(|at| segment.whole_row(at))
                .collect();
            if whole.len() < segment.rows() {
                self.tell_damaged(segment);
            }
            whole
        };
        segments.iter().copied().flat_map(rows).collect()
    }

    /// Removes the file of a segment with a damaged row, and says so once. Its other rows go on
    /// serving, and go into the next file.
    fn tell_damaged(&self, segment: &Segment) {
        if segment.set_damaged() {
            let (path, removed) = (segment.path(), removal(segment.path()));
            self.warn(format!(
                "{}: features in it are damaged and are computed again; {removed}",
                path.display()
            ));
        }
    }

    fn warn(&self, text: String) {
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        if !warnings.all.contains(&text) {
            warnings.all.push(text);
        }
    }
}

impl Unkept {
    fn get(&self, key: &Key, features: usize) -> Option<&[f32]> {
        let start = *self.places.get(key)?;
        self.values.get(start..start + features)
    }

    fn add(&mut self, key: Key, row: &[f32]) {
        self.places.insert(key, self.values.len());
        self.values.extend(row);
    }
}

/// Removes a worthless file, and says whether that went well.
fn removal(path: &Path) -> String {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            format!("the file could not be removed: {error}")
        }
        _ => "the file was removed".into(),
    }
}

/// Removes segments whose rows are in the file `kept`, which can be one of them. Some systems do
/// not remove what another program has mapped; that is merged again some time, and takes only room
/// until then.
fn remove_all_but(segments: Vec<Segment>, kept: &Path) {
    let paths: Vec<PathBuf> = segments.iter().map(|segment| segment.path().to_path_buf()).collect();
    drop(segments);
    paths.iter().filter(|path| *path != kept).for_each(|path| drop(std::fs::remove_file(path)));
}

/// Which of segments of these sizes in bytes, shape [n], become one: none unless many are small,
/// and then the smaller half and what is not much larger than all before it together, so that a row
/// is rewritten some few times however many files are added.
fn to_merge(sizes: &[u64]) -> Vec<usize> {
    let mut small: Vec<usize> = (0..sizes.len()).filter(|&at| sizes[at] <= LARGE / 2).collect();
    if small.len() <= MANY {
        return Vec::new();
    }
    small.sort_by_key(|&at| sizes[at]);
    let (mut together, mut count) = (0, 0);
    for &at in &small {
        let fits = together + sizes[at] <= LARGE;
        if !fits || (count > small.len() / 2 && sizes[at] > 2 * together) {
            break;
        }
        together += sizes[at];
        count += 1;
    }
    small.truncate(count);
    small.sort_unstable();
    small
}
