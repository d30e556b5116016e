//! Where stage 2's batches come from.

use rand::seq::SliceRandom;

use crate::classifier::FeatureSet;
use crate::error::{Result, TrainError};
use crate::random::stream;

/// What is done with a batch: its features, shape `[batch, dim]`, and labels, shape `[batch]`.
pub type BatchStep<'a> = &'a mut (dyn FnMut(&[f32], &[u32]) -> Result<()> + 'a);

/// A source of stage 2's batches: cached features, or a live network.
pub trait FeatureBatches {
    /// Goes through the training split once, in the order of `epoch` (from 0), and hands each batch
    /// to `step`.
    ///
    /// # Errors
    /// Whatever `step` returns, at once, or what goes wrong in making a batch.
    fn epoch(&mut self, epoch: usize, step: BatchStep<'_>) -> Result<()>;

    /// Samples in an epoch.
    fn samples(&self) -> usize;

    /// Number of features D.
    fn dim(&self) -> usize;
}

/// Batches of features computed once, shuffled anew each epoch.
#[derive(Debug)]
pub struct CachedBatches<'a> {
    set: &'a FeatureSet,
    batch_size: usize,
    seed: u64,
    order: Vec<u32>,
    features: Vec<f32>,
    labels: Vec<u32>,
}

impl<'a> CachedBatches<'a> {
    /// Batches of `batch_size` samples of `set`; the last of an epoch may be smaller. The order
    /// depends on `seed` and epoch alone.
    ///
    /// # Errors
    /// [`TrainError::Request`] if the set is empty or its lengths do not fit, or the batch size is
    /// 0.
    pub fn new(set: &'a FeatureSet, batch_size: usize, seed: u64) -> Result<Self> {
        let fail = |reason: &str| Err(TrainError::Request(reason.into()).into());
        set.check_shape()?;
        if set.is_empty() || u32::try_from(set.len()).is_err() {
            return fail("stage 2 needs between one and four billion training samples");
        }
        if batch_size == 0 {
            return fail("stage 2 needs a batch size of at least 1");
        }
        let batch_size = batch_size.min(set.len());
        Ok(Self {
            set,
            batch_size,
            seed,
            order: (0..set.len() as u32).collect(),
            features: vec![0.0; batch_size * set.dim],
            labels: vec![0; batch_size],
        })
    }
}

impl FeatureBatches for CachedBatches<'_> {
    fn epoch(&mut self, epoch: usize, step: BatchStep<'_>) -> Result<()> {
        let dim = self.set.dim;
        // From the identity every time: an epoch's order must not depend on the epochs before it.
        self.order.iter_mut().zip(0..).for_each(|(slot, index)| *slot = index);
        self.order.shuffle(&mut stream(self.seed, "stage 2 order", &[epoch as u64]));
        for batch in self.order.chunks(self.batch_size) {
            for (slot, &index) in batch.iter().enumerate() {
                let index = index as usize;
                self.features[slot * dim..(slot + 1) * dim]
                    .copy_from_slice(&self.set.features[index * dim..(index + 1) * dim]);
                self.labels[slot] = self.set.labels[index];
            }
            step(&self.features[..batch.len() * dim], &self.labels[..batch.len()])?;
        }
        Ok(())
    }

    fn samples(&self) -> usize {
        self.set.len()
    }

    fn dim(&self) -> usize {
        self.set.dim
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(batches: &mut CachedBatches<'_>, epoch: usize) -> (Vec<f32>, Vec<usize>) {
        let (mut values, mut sizes) = (Vec::new(), Vec::new());
        batches
            .epoch(epoch, &mut |features, labels| {
                assert!(
                    features
                        .chunks_exact(2)
                        .zip(labels)
                        .all(|(row, label)| row[0] as u32 == *label && row[1] == -row[0])
                );
                values.extend(features.iter().step_by(2));
                sizes.push(labels.len());
                Ok(())
            })
            .unwrap();
        (values, sizes)
    }

    #[test]
    fn every_sample_comes_once_an_epoch_in_an_order_of_its_own() {
        let features = (0..10).flat_map(|i| [i as f32, -(i as f32)]).collect();
        let set = FeatureSet::new(2, features, (0..10).collect()).unwrap();
        let mut batches = CachedBatches::new(&set, 4, 7).unwrap();
        let (first, sizes) = seen(&mut batches, 0);
        let (second, _) = seen(&mut batches, 1);
        assert_eq!(sizes, [4, 4, 2]);
        assert_ne!(first, second);
        assert_eq!(seen(&mut batches, 0).0, first);
        let mut sorted = second;
        sorted.sort_by(f32::total_cmp);
        assert_eq!(sorted, (0..10).map(|i| i as f32).collect::<Vec<_>>());
    }

    #[test]
    fn an_empty_set_and_an_empty_batch_are_refused() {
        let set = FeatureSet::new(1, vec![], vec![]).unwrap();
        assert!(CachedBatches::new(&set, 4, 7).is_err());
        let set = FeatureSet::new(1, vec![1.0], vec![0]).unwrap();
        assert!(CachedBatches::new(&set, 0, 7).is_err());
    }
}
