//! What a dataset's images were when it was built, so that others in their place are noticed.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::samples::{Dataset, DatasetSample};
use crate::error::{DataError, Result};
use crate::job::Job;
use crate::source::{ImageReader, Location, Split};

/// Bytes that are kept of a BLAKE3 hash.
const KEPT: usize = 8;
/// Digits that they are written in.
const DIGITS: usize = 2 * KEPT;

/// The start of the BLAKE3 of each image's stored bytes, by where it lies.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Digests(HashMap<u64, [u8; KEPT]>);

impl Digests {
    /// Notes what an image is.
    pub(super) fn add(&mut self, location: &Location, hash: [u8; 32]) {
        self.0.insert(place(location), start(&hash));
    }

    /// The digest of an image, if it is known.
    pub(crate) fn of(&self, location: &Location) -> Option<[u8; KEPT]> {
        self.0.get(&place(location)).copied()
    }

    /// The digests of images one after the other, in hexadecimal; nothing unless all are known.
    pub(super) fn to_text(&self, locations: &[&Location]) -> String {
        let known: Option<Vec<u64>> = locations
            .iter()
            .map(|location| self.0.get(&place(location)).map(|digest| u64::from_be_bytes(*digest)))
            .collect();
        known.unwrap_or_default().iter().map(|digest| format!("{digest:016x}")).collect()
    }

    /// Reads back [`Digests::to_text`] of these images. An error is a sentence.
    pub(super) fn read<'a>(
        &mut self,
        text: &str,
        locations: impl ExactSizeIterator<Item = &'a Location>,
    ) -> std::result::Result<(), String> {
        if text.is_empty() {
            return Ok(());
        }
        if text.len() != DIGITS * locations.len() {
            return Err(format!("{} digits of digests for {} images", text.len(), locations.len()));
        }
        for (location, digits) in locations.zip(text.as_bytes().chunks(DIGITS)) {
            let digest = std::str::from_utf8(digits)
                .ok()
                .and_then(|digits| u64::from_str_radix(digits, 16).ok())
                .ok_or("digests that are no hexadecimal numbers")?;
            self.0.insert(place(location), digest.to_be_bytes());
        }
        Ok(())
    }

    /// Whether an image may be the one that was chosen.
    fn allows(&self, location: &Location, hash: &[u8; 32]) -> bool {
        self.0.get(&place(location)).is_none_or(|digest| *digest == start(hash))
    }
}

impl Dataset {
    /// Which of these samples are exact copies of training samples, as far as it is known what the
    /// images are: they are no test of what was learned.
    pub(crate) fn copies_in_training(&self, samples: &[&DatasetSample]) -> Vec<bool> {
        let digest = |sample: &DatasetSample| self.provenance.digests.of(&sample.location);
        let training = self.samples.iter().filter(|sample| sample.split == Split::Train);
        let learned: HashSet<_> = training.filter_map(digest).collect();
        let is_known = |sample: &&DatasetSample| {
            sample.split != Split::Train
                && digest(sample).is_some_and(|digest| learned.contains(&digest))
        };
        samples.iter().map(is_known).collect()
    }

    /// What each of these samples belongs together with, by number: its series or, where the dataset
    /// has none, exact copies in its class. Without any of both there are no numbers.
    pub(crate) fn series_of(&self, samples: &[&DatasetSample]) -> Vec<Option<u32>> {
        if samples.iter().any(|sample| sample.group.is_some()) {
            return samples.iter().map(|sample| sample.group).collect();
        }
        let mut numbers: HashMap<(usize, [u8; KEPT]), u32> = HashMap::new();
        let mut last = 0;
        let mut number = || {
            last += 1;
            last
        };
        let series: Vec<Option<u32>> = samples
            .iter()
            .map(|sample| match self.provenance.digests.of(&sample.location) {
                Some(digest) => {
                    Some(*numbers.entry((sample.class, digest)).or_insert_with(&mut number))
                }
                None => Some(number()),
            })
            .collect();
        match last as usize == samples.len() {
            true => vec![None; samples.len()],
            false => series,
        }
    }
}

fn start(hash: &[u8; 32]) -> [u8; KEPT] {
    std::array::from_fn(|byte| hash[byte])
}

fn place(location: &Location) -> u64 {
    u64::from_be_bytes(start(blake3::hash(location.to_text().as_bytes()).as_bytes()))
}

/// Images that a sentence names.
const NAMED: usize = 3;

impl Dataset {
    /// A sentence for a dataset in which the same image has different labels: nothing can be learned
    /// from that. `None` where there is none, as far as it is known what the images are.
    pub fn contradiction(&self) -> Option<String> {
        let mut met: HashMap<[u8; KEPT], &DatasetSample> = HashMap::new();
        let mut others: BTreeMap<[u8; KEPT], Vec<&DatasetSample>> = BTreeMap::new();
        for sample in &self.samples {
            let Some(digest) = self.provenance.digests.of(&sample.location) else { continue };
            let first = *met.entry(digest).or_insert(sample);
            let known = others.get(&digest).map_or(&[][..], Vec::as_slice);
            // One of each label is enough.
            if first.class != sample.class && known.iter().all(|one| one.class != sample.class) {
                others.entry(digest).or_default().push(sample);
            }
        }
        let (digest, first) = others.first_key_value()?;
        let all = std::iter::once(met[digest]).chain(first.iter().copied());
        let named: Vec<String> = all
            .take(NAMED)
            .map(|sample| format!("{} ({})", sample.location.to_text(), self.classes[sample.class]))
            .collect();
        let many = match others.len() {
            1 => "the same image has different labels".to_string(),
            images => format!("{images} images are there with different labels each"),
        };
        Some(format!("{many}: {}; `inspect` lists them, `edit` corrects labels", named.join(" = ")))
    }

    /// Checks that the images of a split, or all, are those that the dataset was built of, as far as
    /// its file says what they were. Files that were looked at before and have not changed since are
    /// not read. What cannot be read is passed over: it is told where it is needed. Records are looked
    /// at only where all are, since all of them have to be read for that.
    ///
    /// # Errors
    /// [`DataError::Many`] listing images that are others now; a source that cannot be opened,
    /// [`crate::Error::Stopped`].
    pub fn verify_content(&self, split: Option<Split>, job: Job<'_>) -> Result<()> {
        let digests = &self.provenance.digests;
        let of_split = |sample: &&DatasetSample| split.is_none_or(|split| sample.split == split);
        let is_costly = self.kind.has_records() && split.is_some();
        if digests.0.is_empty() || is_costly || !self.root.exists() {
            return Ok(());
        }
        let locations: Vec<Location> =
            self.samples.iter().filter(of_split).map(|sample| sample.location.clone()).collect();
        job.phase("checking that images are the same", None, "images");
        let hashes =
            ImageReader::open(&self.root, self.kind, job)?.content_hashes(&locations, job)?;
        let others: Vec<String> = locations
            .iter()
            .zip(hashes)
            .filter(|(location, hash)| {
                hash.as_ref().is_ok_and(|hash| !digests.allows(location, hash))
            })
            .map(|(location, _)| location.to_text())
            .collect();
        if others.is_empty() {
            return Ok(());
        }
        let summary = format!(
            "{}: {} of {} images are not those that the dataset was built of; build it anew, or put them back",
            self.root.display(),
            others.len(),
            locations.len()
        );
        Err(DataError::Many { summary, items: others }.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{BuildOptions, build};
    use crate::job::{Control, Silent};
    use crate::source::{ScanOptions, scan, unpack_sample};

    #[test]
    fn exact_copies_of_a_class_belong_together_and_nothing_else_does() {
        let folder = tempfile::tempdir().unwrap();
        for class in ["cat", "dog"] {
            std::fs::create_dir_all(folder.path().join(class)).unwrap();
            for (name, pixel) in [("1", 1), ("2", 2), ("copy", 1)] {
                let bytes = [b"P6 1 1 255 ".as_slice(), &[pixel, 0, 0]].concat();
                std::fs::write(folder.path().join(class).join(format!("{name}.ppm")), bytes)
                    .unwrap();
            }
        }
        let control = Control::new();
        let job = Job::new(&control, &Silent);
        let catalog = scan(folder.path(), &ScanOptions::default(), job).unwrap();
        let built = build(&catalog, &BuildOptions::default()).unwrap().dataset;
        let mut samples: Vec<&DatasetSample> = built.samples.iter().collect();
        samples.sort_by_key(|sample| sample.location.to_text());
        let series = built.series_of(&samples);
        // cat/1, cat/2, cat/copy, and the same of dog.
        assert!(series[0] == series[2] && series[3] == series[5], "{series:?}");
        let all: std::collections::HashSet<_> = series.iter().collect();
        assert_eq!(all.len(), 4);
        assert_eq!(built.series_of(&samples[..2]), [None, None]);
    }

    #[test]
    fn an_image_that_took_the_place_of_another_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        let sample = unpack_sample(&folder).unwrap();
        let control = Control::new();
        let job = Job::new(&control, &Silent);
        let catalog = scan(&sample, &ScanOptions::default(), job).unwrap();
        let built = build(&catalog, &BuildOptions::default()).unwrap().dataset;
        let path = folder.join("digits.toml");
        built.save(&path).unwrap();
        assert_eq!(Dataset::load(&path).unwrap(), built);
        Dataset::open(&path, job).unwrap();

        std::fs::copy(sample.join("1_one/0003.png"), sample.join("0_zero/0002.png")).unwrap();
        let error = Dataset::open(&path, job).unwrap_err().to_string();
        assert!(error.contains("1 of 1797") && error.contains("0_zero/0002.png"), "{error}");
        let split = built
            .samples
            .iter()
            .find(|sample| sample.location.to_text() == "0_zero/0002.png")
            .unwrap()
            .split;
        for other in Split::ALL {
            assert_eq!(built.verify_content(Some(other), job).is_err(), other == split);
        }
        // One that cannot be read is told of by who needs it; a file that says nothing is believed.
        std::fs::write(sample.join("0_zero/0002.png"), "").unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let kept = text.lines().filter(|line| !line.contains("_digests = "));
        std::fs::write(&path, kept.collect::<Vec<_>>().join("\n")).unwrap();
        assert!(Dataset::open(&path, job).unwrap().provenance.digests.0.is_empty());
        // Damaged ones are told of.
        for (old, new) in [
            ("train_digests = \"", "train_digests = \"0"),
            ("train_digests = \"", "train_digests = \"é"),
        ] {
            std::fs::write(&path, text.replacen(old, new, 1)).unwrap();
            assert!(Dataset::load(&path).unwrap_err().to_string().contains("digests"));
        }
    }
}
