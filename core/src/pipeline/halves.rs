//! Training images classified by what other training images taught: half of them by the other half.

use std::collections::HashMap;

use super::features::SampleFeatures;
use super::frozen::{FrozenBackbone, View};
use super::mirror::chosen;
use super::train_classifier::fit_on;
use crate::balance::adjust_logits;
use crate::classifier::{Classifier, FeatureSet, Standardiser};
use crate::dataset::{Dataset, DatasetSample};
use crate::error::Result;
use crate::eval::argmax;
use crate::job::{Job, Silent};
use crate::settings::{Auto, ImageFit, Preset, Settings, Training};

/// Some training images of a dataset with the built-in backbone's features of them.
pub(super) struct Asked<'a> {
    dataset: &'a Dataset,
    settings: &'a Settings,
    backbone: FrozenBackbone<'a>,
    pub samples: Vec<&'a DatasetSample>,
    /// Features of the images as they are.
    pub plain: SampleFeatures,
    /// The half that each row of these is in, 0 or 1.
    halves: Vec<usize>,
}

/// The settings that classifiers of them are taught with, on images that are seen so.
pub(super) fn teaching(seed: u64, fit: ImageFit) -> Settings {
    let mut settings = Settings { seed, ..Settings::preset(Preset::Auto) };
    settings.model.fit = Auto::Value(fit);
    settings.stage1.train = Auto::Value(Training::Classifier);
    settings
}

impl<'a> Asked<'a> {
    /// So many training images in all, about, and so many of a class, where there are as many, with
    /// the features of a backbone.
    ///
    /// # Errors
    /// As [`Asked::view`].
    pub fn new(
        dataset: &'a Dataset,
        [images, of_a_class]: [usize; 2],
        settings: &'a Settings,
        backbone: FrozenBackbone<'a>,
        job: Job<'_>,
    ) -> Result<Self> {
        let samples = chosen(dataset, images, of_a_class);
        let plain = backbone.features(dataset, &samples, View::Plain, job)?;
        let seen: Vec<_> = plain.positions.iter().map(|&at| samples[at as usize]).collect();
        let halves = halves(&dataset.series_of(&seen));
        Ok(Self { dataset, settings, backbone, samples, plain, halves })
    }

    /// Features of the images seen in another way.
    ///
    /// # Errors
    /// Images that cannot be read; a device that fails; [`crate::Error::Stopped`].
    pub fn view(&self, view: View, job: Job<'_>) -> Result<SampleFeatures> {
        self.backbone.features(self.dataset, &self.samples, view, job)
    }

    /// What each half of the images teaches.
    ///
    /// # Errors
    /// [`crate::Error::Stopped`].
    pub fn teach(&self, job: Job<'_>) -> Result<Halves> {
        let set = &self.plain.set;
        let taught = |half: usize| {
            job.check()?;
            let rows: Vec<usize> = (0..set.len()).filter(|&row| self.halves[row] != half).collect();
            Taught::by(set, &rows, self.settings, job)
        };
        Ok(Halves { taught: [taught(0)?, taught(1)?], of: self.halves.clone() })
    }
}

/// The half that each image is in: every other one, where they belong to series every other series,
/// or one half would show what the other is asked about.
fn halves(series: &[Option<u32>]) -> Vec<usize> {
    // Where all are one series, one half would have nothing to learn from.
    let is_one = series.iter().all(|number| number.is_some() && *number == series[0]);
    let mut met = HashMap::new();
    let half = |(row, series): (usize, &Option<u32>)| match series {
        Some(number) if !is_one => {
            let next = met.len();
            *met.entry(*number).or_insert(next) % 2
        }
        _ => row % 2,
    };
    series.iter().enumerate().map(half).collect()
}

/// A classifier for each half of the images, which has seen none of it; none where the other half
/// is of fewer than two classes.
pub(super) struct Halves {
    taught: [Option<Taught>; 2],
    /// The half that each image is in.
    of: Vec<usize>,
}

impl Halves {
    /// What images are taken for, of which the features are rows of `set` and the places among the
    /// images are `places`; nothing where the other half has none of their class, so that nobody could
    /// recognise them.
    ///
    /// # Errors
    /// As [`Taught::predict`].
    pub fn predict(&self, set: &FeatureSet, places: &[usize]) -> Result<Vec<Option<usize>>> {
        let mut found = vec![None; places.len()];
        for (half, taught) in self.taught.iter().enumerate() {
            let Some(taught) = taught else { continue };
            let is_asked = |row: &usize| {
                self.of[places[*row]] == half
                    && taught.classes.binary_search(&set.labels[*row]).is_ok()
            };
            let rows: Vec<usize> = (0..places.len()).filter(is_asked).collect();
            for (&row, class) in rows.iter().zip(taught.predict(set, &rows)?) {
                found[row] = Some(class);
            }
        }
        Ok(found)
    }
}

/// A classifier of the classes that it was shown alone: where a few of thousands are asked about, it
/// has these few.
pub(super) struct Taught {
    classifier: Classifier,
    standardiser: Standardiser,
    /// The class of each of its logits.
    classes: Vec<u32>,
}

impl Taught {
    /// Learns some rows, and is corrected for how frequent classes are among them; `None` if they
    /// are of fewer than two classes.
    ///
    /// # Errors
    /// As [`fit_on`].
    pub fn by(
        set: &FeatureSet,
        rows: &[usize],
        settings: &Settings,
        job: Job<'_>,
    ) -> Result<Option<Self>> {
        let mut part = set.part(rows);
        let mut classes = part.labels.clone();
        classes.sort_unstable();
        classes.dedup();
        if classes.len() < 2 {
            return Ok(None);
        }
        let mut counts = vec![0; classes.len()];
        for label in &mut part.labels {
            let place = classes.partition_point(|class| class < label);
            counts[place] += 1;
            *label = place as u32;
        }
        let quiet = Job::new(job.control, &Silent);
        let (mut classifier, standardiser, _) =
            fit_on(settings, part, classes.len(), &counts, None, quiet)?;
        adjust_logits(&mut classifier, &counts, 1.0)?;
        Ok(Some(Self { classifier, standardiser, classes }))
    }

    /// What some rows of `set` are taken for.
    ///
    /// # Errors
    /// As [`Classifier::map_logits`].
    pub fn predict(&self, set: &FeatureSet, rows: &[usize]) -> Result<Vec<usize>> {
        let mut features = set.part(rows).features;
        self.standardiser.apply(&mut features);
        self.classifier.map_logits(&features, |_, logits| self.classes[argmax(logits)] as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Control;

    /// Five samples of each of these classes, far apart.
    fn set(classes: &[u32]) -> FeatureSet {
        let mut set = FeatureSet { dim: 3, ..FeatureSet::default() };
        for (at, &class) in classes.iter().enumerate() {
            for sample in 0..5_u8 {
                let near = 0.01 * f32::from(sample);
                set.features.extend((0..3).map(|i| near + if i == at { 1.0 } else { 0.0 }));
                set.labels.push(class);
            }
        }
        set
    }

    #[test]
    fn a_series_is_in_one_half() {
        assert_eq!(halves(&[None; 5]), [0, 1, 0, 1, 0]);
        assert_eq!(halves(&[Some(3); 4]), [0, 1, 0, 1]);
        let series = [7, 7, 7, 2, 2, 9, 7, 9, 4].map(Some);
        assert_eq!(halves(&series), [0, 0, 0, 1, 1, 0, 0, 0, 1]);
    }

    #[test]
    fn of_many_classes_it_answers_those_that_it_was_shown() {
        let control = Control::new();
        let job = Job::new(&control, &Silent);
        let asked = set(&[4, 8_141, 70]);
        let shown: Vec<usize> = (0..10).collect();
        let taught =
            Taught::by(&asked, &shown, &teaching(1, ImageFit::Crop), job).unwrap().unwrap();
        assert_eq!(
            (taught.classes.as_slice(), taught.classifier.classes),
            ([4, 8_141].as_slice(), 2)
        );
        assert_eq!(taught.predict(&asked, &[0, 4, 5, 9]).unwrap(), [4, 4, 8_141, 8_141]);
        assert!(
            Taught::by(&asked, &[0, 1, 2], &teaching(1, ImageFit::Crop), job).unwrap().is_none()
        );
    }
}
