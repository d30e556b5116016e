//! Long-tailed features to balance a classifier on, where there is no network to compute them.

use rand::RngExt;

use crate::classifier::{Classifier, FeatureSet};
use crate::error::{Result, TrainError};
use crate::files::Numbers;
use crate::random;

/// The shape of a [`FeatureExample`]. The default is that of CIFAR-100-LT with factor 100 and a
/// ResNet-34: 10,847 samples of 512 features in 100 classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeatureShape {
    /// Number of classes C.
    pub classes: usize,
    /// Number of features D.
    pub features: usize,
    /// Training samples of the largest class; those of the others fall exponentially to a hundredth
    /// of it.
    pub largest: usize,
    /// Validation samples of each class.
    pub validation: usize,
}

impl Default for FeatureShape {
    fn default() -> Self {
        Self { classes: 100, features: 512, largest: 500, validation: 20 }
    }
}

impl FeatureShape {
    /// This shape with `samples` training samples, or the nearest number that `largest` can bring
    /// about.
    ///
    /// ```
    /// use counterweight_core::bench::FeatureShape;
    /// assert_eq!(FeatureShape::default().with_samples(10_800).largest, 498);
    /// ```
    pub fn with_samples(self, samples: usize) -> Self {
        let sum = |largest| Self { largest, ..self }.train_counts().iter().sum::<usize>();
        // The sum grows with the largest class: the first that is enough, or the one before it.
        let (mut low, mut high) = (1, samples.max(1));
        while low < high {
            let middle = low.midpoint(high);
            match sum(middle) < samples {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        let below = low.saturating_sub(1).max(1);
        let nearer = sum(below).abs_diff(samples) < sum(low).abs_diff(samples);
        Self { largest: if nearer { below } else { low }, ..self }
    }

    /// n_k, the training samples of each class.
    fn train_counts(self) -> Vec<usize> {
        let Self { classes, largest, .. } = self;
        let share = |class: usize| 0.01_f64.powf(class as f64 / (classes.max(2) - 1) as f64);
        // A hundredth of a hundred is one, whatever rounding makes of it.
        (0..classes).map(|class| ((largest as f64 * share(class) + 1e-9) as usize).max(1)).collect()
    }
}

/// Features scattered about class centres and a classifier to start from, as like a network's as
/// speed asks for.
#[derive(Clone, Debug)]
pub struct FeatureExample {
    /// Where balancing starts.
    pub classifier: Classifier,
    /// Training samples.
    pub train: FeatureSet,
    /// n_k, the training samples of each class.
    pub train_counts: Vec<usize>,
    /// As many samples of each class as the shape says.
    pub validation: FeatureSet,
}

impl FeatureExample {
    /// The example of this shape; always the same one.
    ///
    /// # Errors
    /// [`TrainError::Request`] if there are fewer than two classes, or no features or samples.
    pub fn new(shape: FeatureShape) -> Result<Self> {
        let FeatureShape { classes, features: dim, largest, validation } = shape;
        if classes < 2 || dim == 0 || largest == 0 {
            let reason = format!(
                "an example needs two classes, a feature and a sample, not {classes}, {dim} and {largest}"
            );
            return Err(TrainError::Request(reason).into());
        }
        let train_counts = shape.train_counts();
        let mut random = random::stream(0, "feature example", &[]);
        let mut noise = || random.random::<f32>() - 0.5;
        let centres: Vec<f32> = (0..classes * dim).map(|_| noise()).collect();
        let mut scatter = |counts: &[usize]| {
            let samples = counts.iter().sum::<usize>();
            let mut features = Numbers::with_capacity(samples * dim);
            let mut labels = Vec::with_capacity(samples);
            for (class, &count) in counts.iter().enumerate() {
                for _ in 0..count {
                    features.extend(
                        centres[class * dim..(class + 1) * dim]
                            .iter()
                            .map(|centre| (centre + 2.0 * noise()).max(0.0)),
                    );
                    labels.push(class as u32);
                }
            }
            FeatureSet { dim, features, labels }
        };
        let train = scatter(&train_counts);
        let validation = scatter(&vec![validation; classes]);
        let weight = (0..classes * dim).map(|_| 0.1 * noise()).collect();
        Ok(Self {
            classifier: Classifier::new(classes, dim, weight, vec![0.0; classes])?,
            train,
            train_counts,
            validation,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_has_the_size_of_long_tailed_cifar() {
        let example = FeatureExample::new(FeatureShape::default()).unwrap();
        assert_eq!(
            (example.train.len(), example.train.dim, example.validation.len()),
            (10_847, 512, 2000)
        );
        assert_eq!((example.train_counts[0], example.train_counts[99]), (500, 5));
        assert!(
            FeatureExample::new(FeatureShape { classes: 1, ..FeatureShape::default() }).is_err()
        );
    }
}
