//! A dataset with more training images: those of other sources, or what a source has got since.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::class_names::{NameDoubt, alike, doubtful_names};
use super::edits::catalog_edited_at;
use super::grouping::{GroupBy, Grouping};
use super::profile::Profile;
use super::rename::Renamed;
use super::samples::{Dataset, DatasetSample, Provenance};
use crate::error::{DataError, Error, Result};
use crate::job::{Job, Silent};
use crate::source::{Catalog, ImageReader, Location, Sample, ScanOptions, Split, composed, scan};

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
    /// Of those, the ones that their source puts in another class.
    pub otherwise: usize,
    /// Images that were not, since their source holds them out for validation or test.
    pub held_out: usize,
    /// Images that were not, since they belong to a series that the dataset holds out.
    pub of_held_out_series: usize,
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
                class_in_name: reading.class_in_name,
                one_class: true,
                ..ScanOptions::default()
            },
            job,
        )?;
        // Not told: most edits are of images that the dataset has already, and change nothing here.
        let quiet = Job::new(job.control, &Silent);
        // A folder may be edited, and the dataset file that was built of it as well.
        let mut catalog = catalog_edited_at(scanned, &source, quiet)?;
        if origin != source {
            catalog = catalog_edited_at(catalog, origin, quiet)?;
        }
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
    /// images belong to series, new ones belong to those that the same way puts them in, and are left
    /// out where such a series is held out.
    ///
    /// # Errors
    /// A source that is not made of image files; a class that differs from one of the dataset by how
    /// it is written alone; the dataset's own images cannot be reached.
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
        let own: HashMap<[u8; 32], &DatasetSample> = hashes
            .into_iter()
            .zip(&self.samples)
            .filter_map(|(hash, sample)| Some((hash.ok()?, sample)))
            .collect();
        let mut met: HashMap<[u8; 32], usize> =
            own.iter().map(|(hash, sample)| (*hash, sample.class)).collect();
        let names: HashMap<&Location, &DatasetSample> =
            self.samples.iter().map(|sample| (&sample.location, sample)).collect();
        let mut dataset = self.clone();
        let mut added = vec![0; self.classes.len()];
        let (mut known, mut otherwise, mut held_out, mut of_held_out_series) = (0, 0, 0, 0);
        let mut last_series = self.samples.iter().filter_map(|sample| sample.group).max();
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
            let locations: Vec<Option<Location>> =
                source.samples.iter().map(|sample| self.location_of(source, sample)).collect();
            let known_as = |at: usize| {
                let by_name = names.get(locations[at].as_ref()?);
                by_name.or_else(|| own.get(&source.facts.get(at)?.hash)).copied()
            };
            let mut series = SeriesOf::new(self, source, known_as, job)?;
            for (at, (sample, facts)) in source.samples.iter().zip(&source.facts).enumerate() {
                job.check()?;
                let Some(location) = &locations[at] else { continue };
                let class = places[sample.class];
                let there = names.get(location).map(|known| known.class);
                if let Some(there) = there.or_else(|| met.get(&facts.hash).copied()) {
                    known += 1;
                    otherwise += usize::from(there != class);
                    continue;
                }
                met.insert(facts.hash, class);
                if sample.split.is_some_and(|split| split != Split::Train) {
                    held_out += 1;
                    continue;
                }
                let Some(group) = series.of(at, &mut last_series) else {
                    of_held_out_series += 1;
                    continue;
                };
                let name = &dataset.classes[class];
                let is_new = class >= self.classes.len();
                if let Some(like) = self.classes.iter().find(|own| is_new && alike(own, name)) {
                    let reason = format!(
                        "has a class `{name}`, and the run `{like}`; write both the same, or call the new one something else"
                    );
                    return Err(refuse(&source.source, &reason).into());
                }
                added[class] += 1;
                let location = location.clone();
                dataset.provenance.digests.add(&location, facts.hash);
                dataset.samples.push(DatasetSample { location, class, split: Split::Train, group });
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
        let hash = std::mem::take(&mut dataset.provenance.source_hash);
        if !hash.is_empty() {
            dataset.provenance.grown_of = hash;
        }
        Ok(Grown { dataset, added, known, otherwise, held_out, of_held_out_series })
    }

    /// Where a sample of a source is, as this dataset would name it; nothing for a record.
    fn location_of(&self, source: &Catalog, sample: &Sample) -> Option<Location> {
        let Location::File(file) = &sample.location else { return None };
        let absolute = source.root.join(file);
        Some(match absolute.strip_prefix(&self.root) {
            Ok(inside) => Location::File(inside.to_path_buf()),
            Err(_) => Location::File(std::path::absolute(&absolute).unwrap_or(absolute)),
        })
    }
}

impl Dataset {
    /// What makes learning from a dataset hard that its files do not show, in a sentence each: the same
    /// image with different labels, and classes that may be one.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        let names = doubtful_names(&self.classes);
        let names = names
            .into_iter()
            .map(|NameDoubt { sentence, remedy }| format!("{sentence} ({})", remedy.option()));
        self.contradiction().into_iter().chain(names)
    }
}

/// The series that a source's images belong to.
struct SeriesOf {
    /// The group of the source that each of its images is in; none where it is alone.
    groups: Vec<Option<u32>>,
    /// Of such a group the dataset's series, and whether that is held out.
    known: HashMap<u32, (u32, bool)>,
}

impl SeriesOf {
    /// `known_as` gives the dataset's sample that an image of the source is, if it is one.
    fn new<'d>(
        dataset: &Dataset,
        source: &Catalog,
        known_as: impl Fn(usize) -> Option<&'d DatasetSample>,
        job: Job<'_>,
    ) -> Result<Self> {
        let by = dataset.provenance.options.group_by.as_ref();
        let is_grouped = dataset.samples.iter().any(|sample| sample.group.is_some());
        let images = source.samples.len();
        let groups = match by.filter(|_| is_grouped) {
            None => vec![None; images],
            // Classes have other names by now than their folders.
            Some(GroupBy::Subfolder) => by_folder(source, &known_as),
            Some(by) => match Grouping::of(source, by, job) {
                Ok(found) => (0..images).map(|at| Some(found.group(at))).collect(),
                Err(Error::Stopped) => return Err(Error::Stopped),
                // Such images have no times, or other names.
                Err(_) => vec![None; images],
            },
        };
        let mut known = HashMap::new();
        for (at, group) in groups.iter().enumerate() {
            let own = known_as(at).and_then(|own| Some((own.group?, own.split != Split::Train)));
            if let (Some(group), Some((series, is_held_out))) = (group, own) {
                known.entry(*group).or_insert((series, false)).1 |= is_held_out;
            }
        }
        Ok(Self { groups, known })
    }

    /// The series of a new image, numbered after the `last` where it begins one; nothing if it belongs
    /// to one that is held out.
    fn of(&mut self, at: usize, last: &mut Option<u32>) -> Option<Option<u32>> {
        let mut next = || {
            *last = last.map(|number| number + 1);
            *last
        };
        let Some(group) = self.groups[at] else { return Some(next()) };
        match self.known.get(&group) {
            Some((_, true)) => None,
            Some((series, false)) => Some(Some(*series)),
            None => {
                let series = next();
                if let Some(series) = series {
                    self.known.insert(group, (series, false));
                }
                Some(series)
            }
        }
    }
}

/// Images of a folder are of one group where those that the dataset has of it are of one series, two of
/// them at least: right in the folder of their class every image is alone.
fn by_folder<'d>(
    source: &Catalog,
    known_as: &impl Fn(usize) -> Option<&'d DatasetSample>,
) -> Vec<Option<u32>> {
    let folder = |sample: &Sample| match &sample.location {
        Location::File(file) | Location::Record { file, .. } => {
            file.parent().map(Path::to_path_buf).unwrap_or_default()
        }
    };
    let folders: Vec<PathBuf> = source.samples.iter().map(folder).collect();
    let mut series: HashMap<&PathBuf, Vec<u32>> = HashMap::new();
    for (at, folder) in folders.iter().enumerate() {
        if let Some(group) = known_as(at).and_then(|own| own.group) {
            series.entry(folder).or_default().push(group);
        }
    }
    series.retain(|_, groups| groups.len() > 1 && groups.iter().all(|group| *group == groups[0]));
    folders.iter().map(|folder| series.get(folder).map(|groups| groups[0])).collect()
}
