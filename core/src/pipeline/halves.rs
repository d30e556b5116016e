//! Training images classified by what other training images taught: half of them by the other half.

use super::features::SampleFeatures;
use super::frozen::{FrozenBackbone, View};
use super::mirror::{chosen, fit};
use crate::classifier::{Classifier, FeatureSet, Standardiser};
use crate::dataset::{Dataset, DatasetSample};
use crate::error::Result;
use crate::eval::argmax;
use crate::job::Job;
use crate::settings::{Auto, Preset, Settings, Training};

/// Some training images of a dataset with the built-in backbone's features of them.
pub(super) struct Asked<'a> {
    dataset: &'a Dataset,
    settings: &'a Settings,
    backbone: FrozenBackbone<'a>,
    pub samples: Vec<&'a DatasetSample>,
    /// Features of the images as they are.
    pub plain: SampleFeatures,
}

/// The settings that classifiers of them are taught with.
pub(super) fn teaching(seed: u64) -> Settings {
    let mut settings = Settings { seed, ..Settings::preset(Preset::Auto) };
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
        Ok(Self { dataset, settings, backbone, samples, plain })
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
            let rows: Vec<usize> = (0..set.len()).filter(|row| row % 2 != half).collect();
            fit(set, &rows, self.dataset.classes.len(), self.settings, job)
        };
        Ok(Halves([taught(0)?, taught(1)?]))
    }
}

/// A classifier for each half of the images, which has seen none of it; none where the other half
/// is of fewer than two classes.
pub(super) struct Halves([Option<(Classifier, Standardiser)>; 2]);

impl Halves {
    /// What images are taken for, of which the features are rows of `set` and the places among the
    /// images are `places`.
    ///
    /// # Errors
    /// As [`Classifier::map_logits`].
    pub fn predict(&self, set: &FeatureSet, places: &[usize]) -> Result<Vec<Option<usize>>> {
        let mut found = vec![None; places.len()];
        for (half, taught) in self.0.iter().enumerate() {
            let Some((classifier, standardiser)) = taught else { continue };
            let rows: Vec<usize> =
                (0..places.len()).filter(|row| places[*row] % 2 == half).collect();
            let mut features = set.part(&rows).features;
            standardiser.apply(&mut features);
            let predicted = classifier.map_logits(&features, |_, logits| argmax(logits))?;
            for (row, predicted) in rows.into_iter().zip(predicted) {
                found[row] = Some(predicted);
            }
        }
        Ok(found)
    }
}
