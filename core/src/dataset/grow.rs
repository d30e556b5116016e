//! A dataset with more training images: those of other sources, or what a source has got since.

use std::collections::HashSet;
use std::path::Path;

use super::samples::{Dataset, DatasetSample};
use crate::error::{DataError, Result};
use crate::job::Job;
use crate::source::{Catalog, ImageReader, Location, Split};

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
}

impl Dataset {
    /// The dataset with the images of scanned sources that it does not have as training images.
    /// Classes go by their names. What validation and test hold stays as it is, so that results
    /// before and after can be compared.
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
        let mut known = 0;
        for source in sources {
            if source.kind.has_records() {
                let reason = "holds no image files; datasets of image files grow by such alone";
                return Err(refuse(&source.source, reason).into());
            }
            let places: Vec<usize> = source
                .classes
                .iter()
                .map(|name| {
                    let known = dataset.classes.iter().position(|class| class == name);
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
                let class = places[sample.class];
                added[class] += 1;
                dataset.provenance.digests.add(&location, facts.hash);
                dataset.samples.push(DatasetSample {
                    location,
                    class,
                    split: Split::Train,
                    group: None,
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
        Ok(Grown { dataset, added, known })
    }
}
