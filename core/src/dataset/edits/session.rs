//! A dataset that is being edited: both fronts do so through this.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::log::Edits;
use super::{EditAction, EditEntry, Edited, EditedImage};
use crate::dataset::{BuildOptions, Dataset};
use crate::error::{DataError, Result};
use crate::job::Job;
use crate::source::{Catalog, ImageReader, Location, ScanOptions};

/// A dataset without its edits, its edits, and what they make of it.
#[derive(Debug)]
pub struct EditSession {
    source: PathBuf,
    base: Arc<Dataset>,
    catalog: Option<Arc<Catalog>>,
    edits: Edits,
    edited: Edited,
    reader: Option<Arc<ImageReader>>,
}

impl EditSession {
    /// Opens a dataset file, which may name images that are gone, or any source, which is scanned
    /// and built with the default options; and the edits beside it.
    ///
    /// # Errors
    /// As [`Dataset::load`], or as [`scan`](crate::source::scan) and
    /// [`build`](crate::dataset::build); as [`Edits::open`].
    pub fn open(source: &Path, job: Job<'_>) -> Result<Self> {
        Self::open_with(source, &ScanOptions::default(), &BuildOptions::default(), job)
    }

    /// [`EditSession::open`] of a source that is read as `scan` says and built with these options.
    ///
    /// # Errors
    /// As there; as [`Dataset::open_with`].
    pub fn open_with(
        source: &Path,
        scan: &ScanOptions,
        options: &BuildOptions,
        job: Job<'_>,
    ) -> Result<Self> {
        let (base, catalog) = Dataset::open_as_is(source, scan, options, job)?;
        Self::of(source, Arc::new(base), catalog.map(Arc::new), job)
    }

    /// Edits of a dataset that is open: that of the dataset file `source`, or one that was built of
    /// the `catalog` of the folder, archive or list `source`.
    ///
    /// # Errors
    /// As [`Edits::open`].
    pub fn of(
        source: &Path,
        base: Arc<Dataset>,
        catalog: Option<Arc<Catalog>>,
        job: Job<'_>,
    ) -> Result<Self> {
        let edits = Edits::open(source)?;
        let edited = Edited::of_dataset(&base, &edits.marks(), catalog.as_deref(), job)?;
        Ok(Self { source: source.to_path_buf(), base, catalog, edits, edited, reader: None })
    }

    /// What was opened.
    pub fn source(&self) -> &Path {
        &self.source
    }

    /// The dataset without edits.
    pub fn base(&self) -> &Arc<Dataset> {
        &self.base
    }

    /// The edits.
    pub fn edits(&self) -> &Edits {
        &self.edits
    }

    /// What they make of the dataset.
    pub fn edited(&self) -> &Edited {
        &self.edited
    }

    /// The numbers of the samples that these texts name: paths as the dataset has them, or as the
    /// system has them.
    ///
    /// # Errors
    /// [`DataError::Many`] listing those that name no image of the dataset.
    pub fn find(&self, names: &[String]) -> Result<Vec<usize>> {
        let places: HashMap<String, usize> = self
            .base
            .samples
            .iter()
            .enumerate()
            .map(|(at, sample)| (sample.location.to_text(), at))
            .collect();
        let root = self.base.root.canonicalize().ok();
        let below_root = |name: &str| {
            // A link stays as it is named: it is the dataset's, whatever it leads to.
            let path = std::path::absolute(name).ok()?;
            let folder = path.parent()?.canonicalize().ok()?;
            let path = folder.join(path.file_name()?);
            let below = path.strip_prefix(root.as_ref()?).ok()?.to_path_buf();
            places.get(&Location::File(below).to_text()).copied()
        };
        let mut unknown = Vec::new();
        let (mut found, mut seen) = (Vec::with_capacity(names.len()), HashSet::new());
        for name in names {
            let slashed = name.replace('\\', "/");
            let plain = slashed.strip_prefix("./").unwrap_or(&slashed);
            let place = places.get(name.as_str()).or_else(|| places.get(plain)).copied();
            match place.or_else(|| below_root(name)) {
                Some(place) if seen.insert(place) => found.push(place),
                Some(_) => {}
                None => unknown.push(name.clone()),
            }
        }
        if unknown.is_empty() {
            return Ok(found);
        }
        let summary = format!("{} has no such images", self.source.display());
        Err(DataError::Many { summary, items: unknown }.into())
    }

    /// Does something to samples, by their numbers, and writes it down.
    ///
    /// # Errors
    /// As [`Edits::add`]; [`crate::Error::Stopped`].
    pub fn add(&mut self, action: EditAction, samples: &[usize], job: Job<'_>) -> Result<()> {
        let samples: Vec<usize> =
            samples.iter().copied().filter(|at| *at < self.base.samples.len()).collect();
        let locations: Vec<Location> =
            samples.iter().map(|&at| self.base.samples[at].location.clone()).collect();
        let hashes = match action {
            // Nothing in training depends on these; reading thousands of files would be for
            // nothing.
            EditAction::Check | EditAction::Restore => vec![None; locations.len()],
            EditAction::Move { .. } | EditAction::Exclude => self.hashes(&locations, job)?,
        };
        let stays = match action {
            EditAction::Exclude => self.copies(&samples),
            _ => vec![false; samples.len()],
        };
        let folder = |path: &str| path.rsplit_once('/').map(|(folder, _)| folder.to_string());
        let mut images = Vec::with_capacity(samples.len());
        for ((at, (location, hash)), stays) in
            samples.iter().zip(locations.iter().zip(hashes)).zip(stays)
        {
            let mut image = EditedImage { stays, ..EditedImage::at(location, hash) };
            // What was done to it before goes by its name of then. That it is left out would not follow
            // it from there to another folder.
            if let Some(first) = self.edited.followed.get(at) {
                match action {
                    EditAction::Restore => {
                        images.push(EditedImage { path: first.clone(), ..image.clone() })
                    }
                    EditAction::Exclude if folder(first) != folder(&image.path) => {}
                    _ => image.path.clone_from(first),
                }
            }
            images.push(image);
        }
        self.edits.add(action, images)?;
        self.refresh(job)
    }

    /// Which of these samples are exact copies of other samples, as far as the dataset knows.
    fn copies(&self, samples: &[usize]) -> Vec<bool> {
        let digests = &self.base.provenance.digests;
        let mut counts = HashMap::new();
        for digest in self.base.samples.iter().filter_map(|sample| digests.of(&sample.location)) {
            *counts.entry(digest).or_insert(0_usize) += 1;
        }
        let digest = |at: &usize| digests.of(&self.base.samples[*at].location);
        samples
            .iter()
            .map(|at| digest(at).is_some_and(|digest| counts.get(&digest).is_some_and(|n| *n > 1)))
            .collect()
    }

    /// Takes back the last edits; see [`Edits::undo`].
    ///
    /// # Errors
    /// As there.
    pub fn undo(&mut self, entries: usize, job: Job<'_>) -> Result<Vec<EditEntry>> {
        let undone = self.edits.undo(entries)?;
        self.refresh(job)?;
        Ok(undone)
    }

    /// Does again what was undone; see [`Edits::redo`].
    ///
    /// # Errors
    /// As there.
    pub fn redo(&mut self, entries: usize, job: Job<'_>) -> Result<Vec<EditEntry>> {
        let done = self.edits.redo(entries)?;
        self.refresh(job)?;
        Ok(done)
    }

    /// The dataset with all edits, as training takes it.
    ///
    /// # Errors
    /// As [`Edited::dataset`].
    pub fn dataset(&self) -> Result<Dataset> {
        self.edited.dataset(&self.base)
    }

    /// The paths of the images that a person has found right.
    pub fn checked(&self) -> HashSet<String> {
        self.edited.checked(&self.base)
    }

    fn refresh(&mut self, job: Job<'_>) -> Result<()> {
        self.edited =
            Edited::of_dataset(&self.base, &self.edits.marks(), self.catalog.as_deref(), job)?;
        Ok(())
    }

    /// BLAKE3 of what is at each location, where that can be read.
    fn hashes(&mut self, locations: &[Location], job: Job<'_>) -> Result<Vec<Option<[u8; 32]>>> {
        if let Some(catalog) = &self.catalog {
            let wanted: HashSet<&Location> = locations.iter().collect();
            let known: HashMap<&Location, [u8; 32]> = catalog
                .samples
                .iter()
                .zip(&catalog.facts)
                .filter(|(sample, _)| wanted.contains(&sample.location))
                .map(|(sample, facts)| (&sample.location, facts.hash))
                .collect();
            return Ok(locations.iter().map(|location| known.get(location).copied()).collect());
        }
        let reader = match &self.reader {
            Some(reader) => Arc::clone(reader),
            // Without its source, a dataset file can still be edited.
            None if !self.base.root.exists() => return Ok(vec![None; locations.len()]),
            None => Arc::new(ImageReader::open(&self.base.root, self.base.kind, job)?),
        };
        self.reader = Some(Arc::clone(&reader));
        let hashes = reader.content_hashes(locations, job)?;
        Ok(hashes.into_iter().map(|hash| hash.ok()).collect())
    }
}
