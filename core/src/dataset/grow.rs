//! A dataset with more training images: those of other sources, or what a source has got since.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::edits::catalog_edited_at;
use super::profile::Profile;
use super::rename::Renamed;
use super::samples::{Dataset, DatasetSample, Provenance};
use crate::error::{DataError, Result};
use crate::job::Job;
use crate::source::{Catalog, ImageReader, Location, ScanOptions, Split, composed, scan};

/// A dataset that has grown.
#[derive(Clone, Debug)]
pub struct Grown {
    /// The dataset. Classes and images that were there before are what they were, split included;
    /// new classes come after them.
    pub dataset: Dataset,
    /// Training images that were added to each class of it.
    pub added: Vec<usize>,
    /// Images that were not: the dataset has them, whatever their name is.
    pub known: usize,
    /// Images that were not, since their source holds them out for validation or test.
    pub held_out: usize,
}

impl Dataset {
    /// What the source of this dataset holds now, read as it was then: the same image lists, files
    /// that are left out, edits and new names of classes. `origin` is what the dataset was opened
    /// from.
    ///
    /// # Errors
    /// A dataset that holds a part of its source, whose new images cannot be told from those that
    /// were left out; as [`scan`] and [`edited_catalog`](super::edited_catalog).
    pub fn source_now(&self, origin: &Path, job: Job<'_>) -> Result<Catalog> {
        let Provenance { options, reading, .. } = &self.provenance;
        if options.profile != Profile::default() || options.max_per_class.is_some() {
            let reason = "holds more images than the dataset was to have, so new ones cannot be told from those that were left out; name the folder or list of the new images";
            return Err(DataError::source(&self.root, reason).into());
        }
        let lists: Vec<PathBuf> = reading.lists.iter().map(|list| self.root.join(list)).collect();
        let (source, root) = match lists.first() {
            Some(list) => (list.clone(), Some(self.root.clone())),
            None => (self.root.clone(), None),
        };
        let scanned = scan(
            &source,
            &ScanOptions {
                root,
                lists: lists.into_iter().skip(1).collect(),
                list: reading.format.clone(),
                only: reading.only.clone(),
                skip: reading.skip.clone(),
                one_class: true,
                ..ScanOptions::default()
            },
            job,
        )?;
        let mut catalog = catalog_edited_at(scanned, origin, job)?;
        let Renamed { names, places } = Renamed::of(&catalog.classes, &options.rename)?;
        catalog.samples.iter_mut().for_each(|sample| sample.class = places[sample.class]);
        catalog.classes = names;
        if options.classes.is_some() {
            // Which of the others are new and which were not chosen nobody knows.
            let own: HashSet<&String> = self.classes.iter().collect();
            let is_own: Vec<bool> =
                catalog.samples.iter().map(|s| own.contains(&catalog.classes[s.class])).collect();
            let mut kept = is_own.iter();
            catalog.samples.retain(|_| *kept.next().unwrap_or(&true));
            let mut kept = is_own.iter();
            catalog.facts.retain(|_| *kept.next().unwrap_or(&true));
        }
        Ok(catalog)
    }

    /// The dataset with the images of scanned sources that it does not have as training images.
    /// Classes go by their names. What validation and test hold stays as it is, so that results
    /// before and after can be compared, and images that a source holds out are not trained on. Where
    /// images belong to series, each new one is a series of its own.
    ///
    /// # Errors
    /// A source that is not made of image files; the dataset's own images cannot be reached.
    pub fn grown(&self, sources: &[Catalog], job: Job<'_>) -> Result<Grown> {
        let refuse = |path: &Path, reason: &str| DataError::source(path, reason);
        if self.kind.has_records() {
            let reason = "the images of this dataset are in files of CIFAR's; only a dataset of image files can grow";
            return Err(refuse(&self.root, reason).into());
        }
        let locations: Vec<Location> =
            self.samples.iter().map(|sample| sample.location.clone()).collect();
        let hashes =
            ImageReader::open(&self.root, self.kind, job)?.content_hashes(&locations, job)?;
        // An image that is gone is not known by its content, and not new under its name.
        let mut met: HashSet<[u8; 32]> = hashes.into_iter().flatten().collect();
        let names: HashSet<&Location> = locations.iter().collect();
        let mut dataset = self.clone();
        let mut added = vec![0; self.classes.len()];
        let (mut known, mut held_out) = (0, 0);
        let mut series = self.samples.iter().filter_map(|sample| sample.group).max();
        for source in sources {
            if source.kind.has_records() {
                let reason = "holds no image files; datasets of image files grow by such alone";
                return Err(refuse(&source.source, reason).into());
            }
            let places: Vec<usize> = source
                .classes
                .iter()
                .map(|name| {
                    let is_it = |class: &String| composed(class) == composed(name);
                    let known = dataset.classes.iter().position(is_it);
                    known.unwrap_or_else(|| {
                        dataset.classes.push(name.clone());
                        added.push(0);
                        dataset.classes.len() - 1
                    })
                })
                .collect();
            for (sample, facts) in source.samples.iter().zip(&source.facts) {
                job.check()?;
                let Location::File(file) = &sample.location else { continue };
                let absolute = source.root.join(file);
                let location = match absolute.strip_prefix(&self.root) {
                    Ok(inside) => Location::File(inside.to_path_buf()),
                    Err(_) => Location::File(std::path::absolute(&absolute).unwrap_or(absolute)),
                };
                if names.contains(&location) || !met.insert(facts.hash) {
                    known += 1;
                    continue;
                }
                if sample.split.is_some_and(|split| split != Split::Train) {
                    held_out += 1;
                    continue;
                }
                let class = places[sample.class];
                added[class] += 1;
                series = series.map(|number| number + 1);
                dataset.provenance.digests.add(&location, facts.hash);
                dataset.samples.push(DatasetSample {
                    location,
                    class,
                    split: Split::Train,
                    group: series,
                });
            }
        }
        // A class that no new image came to is no class.
        let is_there = |class: &usize| *class < self.classes.len() || added[*class] > 0;
        let kept: Vec<usize> = (0..dataset.classes.len()).filter(is_there).collect();
        let mut new_places = vec![0; dataset.classes.len()];
        kept.iter().enumerate().for_each(|(place, &class)| new_places[class] = place);
        for sample in &mut dataset.samples {
            sample.class = new_places[sample.class];
        }
        dataset.classes = kept.iter().map(|&class| dataset.classes[class].clone()).collect();
        let added: Vec<usize> = kept.iter().map(|&class| added[class]).collect();
        dataset.samples.sort_by_key(|sample| (sample.split as usize, sample.class));
        let total: usize = added.iter().sum();
        dataset.provenance.notes.push(format!("{total} training images were added afterwards"));
        dataset.provenance.source_hash.clear();
        Ok(Grown { dataset, added, known, held_out })
    }
}
