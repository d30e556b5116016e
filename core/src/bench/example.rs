//! Long-tailed features to balance a classifier on, where there is no network to compute them.

use rand::RngExt;

use crate::classifier::{Classifier, FeatureSet};
use crate::error::{Result, TrainError};
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
}

impl Default for FeatureShape {
    fn default() -> Self {
        Self { classes: 100, features: 512, largest: 500 }
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
    /// Twenty samples of each class.
    pub validation: FeatureSet,
}

impl FeatureExample {
    /// The example of this shape; always the same one.
    ///
    /// # Errors
    /// [`TrainError::Request`] if there are fewer than two classes, or no features or samples.
    pub fn new(shape: FeatureShape) -> Result<Self> {
        const VALIDATION: usize = 20;
        let FeatureShape { classes, features: dim, largest } = shape;
        if classes < 2 || dim == 0 || largest == 0 {
            let reason = format!(
                "an example needs two classes, a feature and a sample, not {classes}, {dim} and {largest}"
            );
            return Err(TrainError::Request(reason).into());
        }
        let share = |class: usize| 0.01_f64.powf(class as f64 / (classes - 1) as f64);
        // A hundredth of a hundred is one, whatever rounding makes of it.
        let train_counts: Vec<usize> = (0..classes)
            .map(|class| ((largest as f64 * share(class) + 1e-9) as usize).max(1))
            .collect();
        let mut random = random::stream(0, "feature example", &[]);
        let mut noise = || random.random::<f32>() - 0.5;
        let centres: Vec<f32> = (0..classes * dim).map(|_| noise()).collect();
        let mut scatter = |counts: &[usize]| {
            let (mut features, mut labels) = (Vec::new(), Vec::new());
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
            FeatureSet::new(dim, features, labels)
        };
        let train = scatter(&train_counts)?;
        let validation = scatter(&vec![VALIDATION; classes])?;
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
