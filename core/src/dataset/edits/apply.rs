//! What edits make of a dataset.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::log::Edits;
use super::{EditMark, EditMarks};
use crate::dataset::{Dataset, DatasetSample};
use crate::error::{DataError, Result};
use crate::job::Job;
use crate::source::{Catalog, ImageReader, Location, Split, composed};

/// Images that no longer match their edit, named at most in a message.
const NAMED: usize = 3;

/// One sample as edits have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleEdits {
    /// Index into [`Edited::classes`].
    pub class: usize,
    /// Whether that is another class than the dataset's own.
    pub moved: bool,
    /// Whether it is left out.
    pub excluded: bool,
    /// Whether a person has found it right.
    pub checked: bool,
}

/// How many images edits are about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EditCounts {
    /// Images that are part of the dataset under another class than its own.
    pub moved: usize,
    /// Images that are left out.
    pub excluded: usize,
    /// Images that were found right, the excluded ones among them.
    pub checked: usize,
    /// Edited images that the dataset does not have, or has no more. Their edits are kept, and
    /// apply when the images are back.
    pub vanished: usize,
    /// Images whose file holds another picture than when they were edited; their edits are kept and
    /// not applied.
    pub replaced: usize,
}

/// A dataset's or catalog's samples with edits.
#[derive(Clone, Debug, PartialEq)]
pub struct Edited {
    /// The classes: first the dataset's own, in label order, then those that images were moved to
    /// and that it did not have, by name. A class may be left without images.
    pub classes: Vec<String>,
    /// Each sample, in the order of what was edited.
    pub samples: Vec<SampleEdits>,
    /// How many images are edited how.
    pub counts: EditCounts,
    /// Paths of the edited images that are not there.
    pub vanished: Vec<String>,
    /// Paths of the images whose file holds another picture now.
    pub replaced: Vec<String>,
    /// Of samples whose edits have followed them to another name, the one that these go by.
    pub(super) followed: HashMap<usize, String>,
}

/// What is known of the content of the images.
enum Contents<'a> {
    /// BLAKE3 of each sample, where known.
    All(&'a dyn Fn(usize) -> Option<[u8; 32]>),
    /// Of those samples that were looked at.
    Some(HashMap<usize, [u8; 32]>),
}

impl Contents<'_> {
    fn of(&self, sample: usize) -> Option<String> {
        let hash = match self {
            Contents::All(of) => of(sample),
            Contents::Some(known) => known.get(&sample).copied(),
        };
        hash.map(|hash| blake3::Hash::from_bytes(hash).to_hex().to_string())
    }
}

impl Edited {
    /// The paths of the images that a person has found right, of the dataset that these edits are
    /// of.
    pub fn checked(&self, base: &Dataset) -> HashSet<String> {
        base.samples
            .iter()
            .zip(&self.samples)
            .filter(|(_, edits)| edits.checked)
            .map(|(sample, _)| sample.location.to_text())
            .collect()
    }

    /// What marks make of a dataset. Files of images that marks change are read, unless they were
    /// read before and have not changed since, to see whether they hold what was edited. Where the
    /// dataset was just built of a `catalog`, that says so, and an edit follows its image to
    /// another name.
    ///
    /// # Errors
    /// [`crate::Error::Stopped`]; a source that cannot be opened.
    pub fn of_dataset(
        dataset: &Dataset,
        marks: &EditMarks,
        catalog: Option<&Catalog>,
        job: Job<'_>,
    ) -> Result<Self> {
        let locations = || dataset.samples.iter().map(|sample| (&sample.location, sample.class));
        if marks.is_empty() {
            return Ok(Self::of(
                &dataset.classes,
                locations(),
                marks,
                &Contents::Some(HashMap::new()),
            ));
        }
        if let Some(catalog) = catalog {
            let hashes: HashMap<&Location, [u8; 32]> = catalog
                .samples
                .iter()
                .zip(&catalog.facts)
                .map(|(sample, facts)| (&sample.location, facts.hash))
                .collect();
            let content = |sample: usize| hashes.get(&dataset.samples[sample].location).copied();
            let marks = as_built(marks, dataset, catalog);
            return Ok(Self::of(&dataset.classes, locations(), &marks, &Contents::All(&content)));
        }
        let (places, changed): (Vec<usize>, Vec<Location>) = locations()
            .enumerate()
            .filter(|(_, (location, _))| {
                marks
                    .get(&location.to_text())
                    .is_some_and(|mark| mark.changes() && mark.hash.is_some())
            })
            .map(|(place, (location, _))| (place, location.clone()))
            .unzip();
        let mut contents = HashMap::new();
        if !changed.is_empty() {
            let reader = ImageReader::open(&dataset.root, dataset.kind, job)?;
            // What cannot be read now is no other picture; training will say what is wrong with it.
            let hashes = reader.content_hashes(&changed, job)?;
            contents.extend(
                places.into_iter().zip(hashes).filter_map(|(at, hash)| Some((at, hash.ok()?))),
            );
        }
        Ok(Self::of(&dataset.classes, locations(), marks, &Contents::Some(contents)))
    }

    fn of<'a>(
        classes: &[String],
        samples: impl Iterator<Item = (&'a Location, usize)>,
        marks: &EditMarks,
        contents: &Contents<'_>,
    ) -> Self {
        let as_is = |class| SampleEdits { class, moved: false, excluded: false, checked: false };
        let mut edited = Self {
            classes: classes.to_vec(),
            samples: Vec::new(),
            counts: EditCounts::default(),
            vanished: Vec::new(),
            replaced: Vec::new(),
            followed: HashMap::new(),
        };
        if marks.is_empty() {
            edited.samples = samples.map(|(_, class)| as_is(class)).collect();
            return edited;
        }
        let samples: Vec<(&Location, usize)> = samples.collect();
        let mut missing: BTreeMap<&str, &EditMark> =
            marks.iter().map(|(path, mark)| (path.as_str(), mark)).collect();
        let mut found: Vec<(usize, &EditMark)> = Vec::new();
        for (at, (location, class)) in samples.iter().enumerate() {
            edited.samples.push(as_is(*class));
            let path = location.to_text();
            let Some(mark) = missing.remove(path.as_str()) else { continue };
            match (&mark.hash, contents.of(at)) {
                (Some(then), Some(now)) if *then != now => edited.replaced.push(path),
                _ => found.push((at, mark)),
            }
        }
        if let Contents::All(_) = contents {
            follow(&mut missing, &mut found, &mut edited.followed, &samples, contents);
        }
        edited.vanished = missing.into_keys().map(str::to_string).collect();
        let mut places: HashMap<Cow<'_, str>, usize> =
            classes.iter().enumerate().map(|(at, name)| (composed(name), at)).collect();
        let mut new: Vec<Cow<'_, str>> = found
            .iter()
            .filter_map(|(_, mark)| mark.to.as_deref().map(composed))
            .filter(|name| !places.contains_key(name))
            .collect();
        new.sort_unstable();
        new.dedup();
        for name in new {
            edited.classes.push(name.to_string());
            places.insert(name, edited.classes.len() - 1);
        }
        for (at, mark) in found {
            let sample = &mut edited.samples[at];
            let class = mark.to.as_deref().and_then(|name| places.get(&composed(name)).copied());
            let class = class.unwrap_or(sample.class);
            *sample = SampleEdits {
                class,
                moved: class != sample.class,
                excluded: mark.excluded,
                checked: mark.checked,
            };
        }
        let count = |of: fn(&SampleEdits) -> bool| {
            edited.samples.iter().filter(|sample| of(sample)).count()
        };
        edited.counts = EditCounts {
            moved: count(|sample| sample.moved && !sample.excluded),
            excluded: count(|sample| sample.excluded),
            checked: count(|sample| sample.checked),
            vanished: edited.vanished.len(),
            replaced: edited.replaced.len(),
        };
        edited
    }

    /// Whether the dataset is another one with these edits.
    pub fn changes(&self) -> bool {
        self.counts.moved + self.counts.excluded > 0
    }

    /// The dataset with these edits, which were found for `base`. Samples keep their split; a class
    /// that is left without any image is gone.
    ///
    /// # Errors
    /// [`DataError::Many`] listing classes that have images and none to train on,
    /// [`DataError::Build`] if fewer than two classes are left.
    pub fn dataset(&self, base: &Dataset) -> Result<Dataset> {
        if !self.changes() {
            return Ok(base.clone());
        }
        let kept = || {
            base.samples.iter().zip(&self.samples).enumerate().filter(|(_, (_, own))| !own.excluded)
        };
        let mut images = vec![[0usize; 3]; self.classes.len()];
        for (_, (sample, own)) in kept() {
            images[own.class][sample.split as usize] += 1;
        }
        let untrained: Vec<String> = self
            .classes
            .iter()
            .zip(&images)
            .filter(|(_, of)| of[Split::Train as usize] == 0 && of.iter().sum::<usize>() > 0)
            .map(|(name, of)| {
                format!("{name}: {} images of other splits", of.iter().sum::<usize>())
            })
            .collect();
        if !untrained.is_empty() {
            let summary = "the edits leave classes without an image to train on; undo some, or exclude the rest of these classes";
            return Err(DataError::Many { summary: summary.into(), items: untrained }.into());
        }
        let (labels, classes) = self.remaining(|class| images[class].iter().sum::<usize>() > 0);
        if classes.len() < 2 {
            let reason = "the edits leave fewer than two classes with images; undo some of them";
            return Err(DataError::Build(reason.into()).into());
        }
        let mut samples: Vec<DatasetSample> = kept()
            .map(|(_, (sample, own))| DatasetSample { class: labels[own.class], ..sample.clone() })
            .collect();
        // The order of every dataset.
        samples.sort_by_key(|sample| (sample.split, sample.class));
        let mut edited = Dataset { classes, samples, ..base.clone() };
        edited.provenance.source_hash = self.source_hash(base);
        edited.provenance.notes.push(format!(
            "edited: {} moved to another class, {} excluded",
            images_words(self.counts.moved),
            images_words(self.counts.excluded)
        ));
        Ok(edited)
    }

    /// New labels of the classes that are kept, and their names.
    fn remaining(&self, is_kept: impl Fn(usize) -> bool) -> (Vec<usize>, Vec<String>) {
        let mut names = Vec::new();
        let labels = self.classes.iter().enumerate().map(|(class, name)| {
            if is_kept(class) {
                names.push(name.clone());
            }
            names.len().saturating_sub(1)
        });
        (labels.collect(), names)
    }

    /// The source's hash and what was changed.
    fn source_hash(&self, base: &Dataset) -> String {
        let known = &base.provenance.source_hash;
        if known.is_empty() {
            return String::new();
        }
        let mut changed: Vec<(String, &str)> = base
            .samples
            .iter()
            .zip(&self.samples)
            .filter(|(_, own)| own.moved || own.excluded)
            .map(|(sample, own)| {
                let class = if own.excluded { "" } else { self.classes[own.class].as_str() };
                (sample.location.to_text(), class)
            })
            .collect();
        changed.sort_unstable();
        let mut hasher = blake3::Hasher::new();
        for text in [known.as_str(), "edited"]
            .into_iter()
            .chain(changed.iter().flat_map(|(path, class)| [path.as_str(), class]))
        {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }
}

/// Edits beside a source name its classes as it does itself. In a dataset that was built of it under
/// other names they have those, and what was moved to a class that was not chosen is left out as the
/// others of that class are.
fn as_built<'a>(marks: &'a EditMarks, dataset: &Dataset, catalog: &Catalog) -> Cow<'a, EditMarks> {
    let options = &dataset.provenance.options;
    if options.rename.is_empty() && options.classes.is_none() {
        return Cow::Borrowed(marks);
    }
    let set = |names: &[String]| -> HashSet<String> {
        names.iter().map(|name| composed(name).to_string()).collect()
    };
    let (built, source) = (set(&dataset.classes), set(&catalog.classes));
    let mut marks = marks.clone();
    for mark in marks.values_mut() {
        let Some(to) = mark.to.as_mut() else { continue };
        if built.contains(&*composed(to)) || !source.contains(&*composed(to)) {
            continue;
        }
        match options.rename.iter().find(|(own, _)| composed(own) == composed(to)) {
            Some((_, new)) if built.contains(&*composed(new)) => to.clone_from(new),
            _ => mark.excluded = true,
        }
    }
    Cow::Owned(marks)
}

/// Gives edits of images that are not under their name any more to those that have their content,
/// where exactly one has. That an image is left out goes with it no further than its own folder: in
/// another one the same picture is the copy that was kept.
fn follow<'a>(
    missing: &mut BTreeMap<&str, &'a EditMark>,
    found: &mut Vec<(usize, &'a EditMark)>,
    followed: &mut HashMap<usize, String>,
    samples: &[(&Location, usize)],
    contents: &Contents<'_>,
) {
    let mut wanted: HashMap<&str, Option<usize>> =
        missing.values().filter_map(|mark| Some((mark.hash.as_deref()?, None))).collect();
    if wanted.is_empty() {
        return;
    }
    let taken: std::collections::HashSet<usize> = found.iter().map(|(at, _)| *at).collect();
    let mut several = Vec::new();
    for at in (0..samples.len()).filter(|at| !taken.contains(at)) {
        let Some(hash) = contents.of(at) else { continue };
        if let Some(place) = wanted.get_mut(hash.as_str())
            && place.replace(at).is_some()
        {
            several.push(hash);
        }
    }
    several.iter().for_each(|hash| _ = wanted.remove(hash.as_str()));
    let folder = |path: &str| path.rsplit_once('/').map_or(String::new(), |(of, _)| of.to_string());
    missing.retain(|path, mark| {
        let is_near =
            |at: &usize| !mark.excluded || folder(path) == folder(&samples[*at].0.to_text());
        let hash = mark.hash.as_deref().filter(|_| !(mark.excluded && mark.stays));
        let place = hash.and_then(|hash| wanted.get_mut(hash)?.take_if(|at| is_near(at)));
        if let Some(at) = place {
            found.push((at, *mark));
            followed.insert(at, (*path).to_string());
        }
        place.is_none()
    });
}

fn images_words(images: usize) -> String {
    match images {
        1 => "1 image".into(),
        many => format!("{many} images"),
    }
}

/// The dataset of a source with the edits that lie beside it; see [`Edited::of_dataset`]. What they
/// come to is reported as a message.
///
/// # Errors
/// As [`Edits::open`], [`Edited::of_dataset`] and [`Edited::dataset`].
pub fn edited(
    mut dataset: Dataset,
    source: &Path,
    catalog: Option<&Catalog>,
    job: Job<'_>,
) -> Result<Dataset> {
    let edits = Edits::open(source)?;
    if !edits.is_empty() {
        let found = Edited::of_dataset(&dataset, &edits.marks(), catalog, job)?;
        found.tell(edits.path(), job);
        dataset = found.dataset(&dataset)?;
    }
    dataset.provenance.origin = Some(Origin {
        path: std::path::absolute(source).unwrap_or_else(|_| source.to_path_buf()),
        edits: edits.digest(),
    });
    Ok(dataset)
}

/// A catalog with the edits of its source.
///
/// # Errors
/// As [`Edits::open`]; [`DataError::Build`] if fewer than two classes are left.
pub fn edited_catalog(catalog: Catalog, job: Job<'_>) -> Result<Catalog> {
    let source = catalog.source.clone();
    catalog_edited_at(catalog, &source, job)
}

/// A catalog with the edits that lie beside `source`.
///
/// # Errors
/// As [`edited_catalog`].
pub(in crate::dataset) fn catalog_edited_at(
    mut catalog: Catalog,
    source: &Path,
    job: Job<'_>,
) -> Result<Catalog> {
    let edits = Edits::open(source)?;
    if edits.is_empty() {
        return Ok(catalog);
    }
    let content = |sample: usize| catalog.facts.get(sample).map(|facts| facts.hash);
    let samples = catalog.samples.iter().map(|sample| (&sample.location, sample.class));
    let found = Edited::of(&catalog.classes, samples, &edits.marks(), &Contents::All(&content));
    found.tell(edits.path(), job);
    if !found.changes() {
        return Ok(catalog);
    }
    let mut images = vec![0usize; found.classes.len()];
    found.samples.iter().filter(|own| !own.excluded).for_each(|own| images[own.class] += 1);
    let (labels, classes) = found.remaining(|class| images[class] > 0);
    if classes.len() < 2 {
        let reason = "the edits leave fewer than two classes with images; undo some of them";
        return Err(DataError::Build(reason.into()).into());
    }
    for (sample, own) in catalog.samples.iter_mut().zip(&found.samples) {
        sample.class = labels[own.class];
    }
    let mut kept = found.samples.iter().map(|own| !own.excluded);
    catalog.samples.retain(|_| kept.next().unwrap_or(true));
    let mut kept = found.samples.iter().map(|own| !own.excluded);
    catalog.facts.retain(|_| kept.next().unwrap_or(true));
    catalog.classes = classes;
    Ok(catalog)
}

impl Edited {
    /// Says what the edits in a file come to.
    fn tell(&self, file: &Path, job: Job<'_>) {
        let EditCounts { moved, excluded, .. } = self.counts;
        if self.changes() {
            job.info(format!(
                "{}: {} moved to another class, {} excluded",
                file.display(),
                images_words(moved),
                images_words(excluded)
            ));
        }
        let lost = [
            (&self.vanished, "not part of the dataset any more, or never were"),
            (&self.replaced, "holding another picture than when they were edited"),
        ];
        for (paths, what) in lost.into_iter().filter(|(paths, _)| !paths.is_empty()) {
            let named: Vec<&str> = paths.iter().take(NAMED).map(String::as_str).collect();
            let more = match paths.len().saturating_sub(NAMED) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            job.warn(format!(
                "{}: edits are kept and not applied to {} {what}: {}{more}",
                file.display(),
                images_words(paths.len()),
                named.join(", ")
            ));
        }
    }
}

/// What a dataset was opened from, and what its edits were then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// The dataset file, folder, archive or list; absolute.
    pub path: PathBuf,
    /// [`Edits::digest`] of the edits that were applied.
    pub edits: String,
}

impl Origin {
    /// Whether the edits are others now; not if what was opened has gone or its edits cannot be
    /// read.
    pub fn is_edited_since(&self) -> bool {
        self.path.exists()
            && Edits::open(&self.path).is_ok_and(|edits| edits.digest() != self.edits)
    }
}
