//! Images in very few pixels, in which left, right, above and below are told apart: what a pretrained
//! network's features forget, which has seen every image of its training mirrored as well.

use super::export::only;
use super::halves::Taught;
use super::mirror::chosen;
use super::transforms::{Seen, TransformPair};
use crate::augment::Transform;
use crate::batches::{DEFAULT_BUDGET, Images};
use crate::classifier::FeatureSet;
use crate::dataset::{Dataset, DatasetSample};
use crate::error::Result;
use crate::images::InputShape;
use crate::job::Job;
use crate::settings::{ImageFit, Settings};
use crate::source::Split;

/// Side of such an image, in pixels.
const SIDE: usize = 16;
/// Samples of a batch.
const BATCH: usize = 256;
/// Contrast below which an image is one colour, in 0..255.
const FLAT: f32 = 0.5;

/// Training images that are looked at, about, and those of a class, at least, where it has as many.
/// They cost no network.
const IMAGES: usize = 2000;
const OF_A_CLASS: usize = 60;

/// Pairs of classes that each of some transformations turns into each other, as training images
/// show them in few pixels: each half of a class is classified by what the other half taught, as it
/// is and after the transformation.
///
/// # Errors
/// As [`Layouts::of`].
pub(super) fn pairs_in_few_pixels(
    dataset: &Dataset,
    transforms: &[Transform],
    settings: &Settings,
    job: Job<'_>,
) -> Result<Vec<Vec<TransformPair>>> {
    let samples = chosen(dataset, IMAGES, OF_A_CLASS);
    job.info("looking at how images are laid out");
    let layouts = Layouts::of(dataset, &samples, transforms, settings.model.fit(), job)?;
    let labels: Vec<usize> = layouts.plain.labels.iter().map(|&label| label as usize).collect();
    // The first half of a class and the second: images that were taken one after the other are of
    // one thing, and would be known by it.
    let mut counts = vec![0_usize; dataset.classes.len()];
    labels.iter().for_each(|&label| counts[label] += 1);
    let mut met = vec![0_usize; counts.len()];
    let halves: Vec<usize> = labels
        .iter()
        .map(|&label| {
            met[label] += 1;
            usize::from(2 * met[label] > counts[label])
        })
        .collect();
    let mut before = vec![None; labels.len()];
    let mut after = vec![vec![None; labels.len()]; layouts.changed.len()];
    for half in 0..2 {
        job.check()?;
        let (taught, asked): (Vec<usize>, Vec<usize>) =
            (0..labels.len()).partition(|&row| halves[row] != half);
        let Some(taught) = Taught::by(&layouts.plain, &taught, settings, job)? else { continue };
        let views = std::iter::once((&layouts.plain, &mut before))
            .chain(layouts.changed.iter().zip(&mut after));
        for (set, found) in views {
            let predicted = taught.predict(set, &asked)?;
            asked.iter().zip(predicted).for_each(|(&row, class)| found[row] = Some(class));
        }
    }
    let shown: Vec<&DatasetSample> = layouts.positions.iter().map(|&at| samples[at]).collect();
    let seen = Seen {
        names: &dataset.classes,
        transforms,
        labels: &labels,
        before: &before,
        samples: &shown,
    };
    Ok(seen.judge(&after).transforms.into_iter().map(|report| report.pairs).collect())
}

/// Images in few pixels, as they are and after each of some transformations.
struct Layouts {
    /// As they are, `[n, 3 · 16 · 16]`, each with mean 0 and deviation 1.
    plain: FeatureSet,
    /// After each transformation.
    changed: Vec<FeatureSet>,
    /// Places among the samples, `[n]`: images that cannot be read are left out.
    positions: Vec<usize>,
}

impl Layouts {
    /// # Errors
    /// A source that cannot be opened, nothing that can be read, [`crate::Error::Stopped`].
    fn of(
        dataset: &Dataset,
        samples: &[&DatasetSample],
        transforms: &[Transform],
        fit: ImageFit,
        job: Job<'_>,
    ) -> Result<Self> {
        let dim = 3 * SIDE * SIDE;
        let empty = || FeatureSet { dim, ..FeatureSet::default() };
        let chosen = only(dataset, samples);
        let shape = InputShape { side: SIDE, fit };
        let images = Images::open(&chosen, Split::Test, shape, DEFAULT_BUDGET, job)?;
        let mut found = Self {
            plain: empty(),
            changed: transforms.iter().map(|_| empty()).collect(),
            positions: Vec::new(),
        };
        for batch in images.eval_batches(BATCH, false) {
            job.check()?;
            let batch = batch?;
            for planes in batch.images.chunks_exact(dim) {
                found.plain.features.extend(standardised(planes));
                for (set, transform) in found.changed.iter_mut().zip(transforms) {
                    set.features.extend(standardised(&transform.apply(planes, SIDE, [128; 3])));
                }
            }
            found.positions.extend(batch.indices.iter().map(|&at| images.positions()[at]));
            found.plain.labels.extend(&batch.labels);
            found.changed.iter_mut().for_each(|set| set.labels.extend(&batch.labels));
        }
        Ok(found)
    }
}

/// Light and contrast say nothing of how an image is laid out.
fn standardised(planes: &[u8]) -> impl Iterator<Item = f32> {
    let n = planes.len() as f32;
    let mean = planes.iter().map(|value| f32::from(*value)).sum::<f32>() / n;
    let square = planes.iter().map(|value| (f32::from(*value) - mean).powi(2)).sum::<f32>() / n;
    let std = square.sqrt().max(FLAT);
    planes.iter().map(move |value| (f32::from(*value) - mean) / std)
}
