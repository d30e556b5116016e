//! Images in very few pixels, in which left, right, above and below are told apart: what a pretrained
//! network's features forget, which has seen every image of its training mirrored as well.

use super::export::only;
use crate::augment::Transform;
use crate::batches::{DEFAULT_BUDGET, Images};
use crate::classifier::FeatureSet;
use crate::dataset::{Dataset, DatasetSample};
use crate::error::Result;
use crate::job::Job;
use crate::source::Split;

/// Side of such an image, in pixels.
const SIDE: usize = 16;
/// Samples of a batch.
const BATCH: usize = 256;
/// Contrast below which an image is one colour, in 0..255.
const FLAT: f32 = 0.5;

/// Images in few pixels, as they are and after each of some transformations.
pub(super) struct Layouts {
    /// As they are, `[n, 3 · 16 · 16]`, each with mean 0 and deviation 1.
    pub plain: FeatureSet,
    /// After each transformation.
    pub changed: Vec<FeatureSet>,
    /// Places among the samples, `[n]`: images that cannot be read are left out.
    pub positions: Vec<usize>,
}

impl Layouts {
    /// # Errors
    /// A source that cannot be opened, nothing that can be read, [`crate::Error::Stopped`].
    pub fn of(
        dataset: &Dataset,
        samples: &[&DatasetSample],
        transforms: &[Transform],
        job: Job<'_>,
    ) -> Result<Self> {
        let dim = 3 * SIDE * SIDE;
        let empty = || FeatureSet { dim, ..FeatureSet::default() };
        let images = Images::open(&only(dataset, samples), Split::Test, SIDE, DEFAULT_BUDGET, job)?;
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
