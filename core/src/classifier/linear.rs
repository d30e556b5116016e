//! The classifier (the last linear layer) and the features it is applied to, as plain numbers.

use rayon::prelude::*;

use crate::error::{Result, TrainError};
use crate::files::Numbers;
use crate::kernels::matmul;

/// The last linear layer of a network: `logits = features · Wᵀ + bias`.
#[derive(Clone, Debug, PartialEq)]
pub struct Classifier {
    /// Number of classes C.
    pub classes: usize,
    /// Number of features D.
    pub features: usize,
    /// W, shape [classes, features], row-major as PyTorch's `Linear`.
    pub weight: Vec<f32>,
    /// Shape `[classes]`.
    pub bias: Vec<f32>,
}

impl Classifier {
    /// A classifier of the given shape.
    ///
    /// ```
    /// use counterweight_core::classifier::Classifier;
    /// let classifier = Classifier::new(2, 2, vec![3.0, 4.0, 0.0, 1.0], vec![0.0, 0.5]).unwrap();
    /// assert_eq!(classifier.norms(), [5.0, 1.0]);
    /// assert_eq!(classifier.logits(&[1.0, 1.0]).unwrap(), [7.0, 1.5]);
    /// ```
    ///
    /// # Errors
    /// [`TrainError::Request`] if there are fewer than two classes or no features, a length does
    /// not fit, or a number is not finite.
    pub fn new(classes: usize, features: usize, weight: Vec<f32>, bias: Vec<f32>) -> Result<Self> {
        let fail = |reason: String| Err(TrainError::Request(reason).into());
        if classes < 2 || features == 0 {
            return fail(format!(
                "a classifier needs at least two classes and one feature, not {classes} and {features}"
            ));
        }
        if classes.checked_mul(features) != Some(weight.len()) || bias.len() != classes {
            return fail(format!(
                "a classifier of {classes} classes and {features} features cannot have {} weights and {} biases",
                weight.len(),
                bias.len()
            ));
        }
        if !weight.iter().chain(&bias).all(|value| value.is_finite()) {
            return fail("the classifier holds a weight that is not a finite number".into());
        }
        Ok(Self { classes, features, weight, bias })
    }

    /// Class weight norms ‖W_k‖₂, shape `[classes]`.
    pub fn norms(&self) -> Vec<f32> {
        self.weight.chunks_exact(self.features).map(norm).collect()
    }

    /// Logits of samples, shape [n, classes], from their features, shape [n, features]. Runs on all
    /// cores. [`Classifier::map_logits`] is for many samples of many classes.
    ///
    /// # Errors
    /// [`TrainError::Request`] if the length of `features` is no multiple of
    /// [`Classifier::features`].
    pub fn logits(&self, features: &[f32]) -> Result<Vec<f32>> {
        // Large enough to keep a core's multiplication efficient, small enough to spread a few
        // thousand samples.
        const ROWS: usize = 256;
        self.check_rows(features)?;
        let mut logits = vec![0.0; features.len() / self.features * self.classes];
        logits
            .par_chunks_mut(ROWS * self.classes)
            .zip(features.par_chunks(ROWS * self.features))
            .for_each(|(logits, features)| self.logits_into(features, logits));
        Ok(logits)
    }

    /// Refuses counts of training samples that are not one a class.
    pub(crate) fn check_counts(&self, train_counts: &[usize]) -> Result<()> {
        if train_counts.len() == self.classes {
            return Ok(());
        }
        let reason =
            format!("{} training counts do not fit {} classes", train_counts.len(), self.classes);
        Err(TrainError::Request(reason).into())
    }

    /// [`Classifier::logits`] on this thread, into a buffer of the right length.
    pub(crate) fn logits_into(&self, features: &[f32], logits: &mut [f32]) {
        matmul::logits(features, &self.weight, &self.bias, logits);
    }
}

/// Samples as the backbone sees them, with their labels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FeatureSet {
    /// Number of features D.
    pub dim: usize,
    /// Shape [n, dim], row-major.
    pub features: Numbers,
    /// Class of each sample, shape `[n]`.
    pub labels: Vec<u32>,
}

/// Divides each row of features, shape [n, dim], by its length: the product of two rows is then the
/// cosine of the angle between them.
pub(crate) fn unit_rows(features: &mut [f32], dim: usize) {
    features.par_chunks_mut(dim).for_each(|row| {
        // Numbers of any size have a length as float64.
        let squares = row.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>();
        let length = squares.sqrt().max(f64::MIN_POSITIVE);
        row.iter_mut().for_each(|value| *value = (f64::from(*value) / length) as f32);
    });
}

impl FeatureSet {
    /// Features with their labels.
    ///
    /// # Errors
    /// [`TrainError::Request`] if the lengths do not fit each other.
    pub fn new(dim: usize, features: Vec<f32>, labels: Vec<u32>) -> Result<Self> {
        let set = Self { dim, features: features.into(), labels };
        set.check_shape()?;
        Ok(set)
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The samples of these rows, in this order.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn part(&self, rows: &[usize]) -> Self {
        let mut features = Numbers::with_capacity(rows.len() * self.dim);
        for &row in rows {
            features.extend_from_slice(&self.features[row * self.dim..(row + 1) * self.dim]);
        }
        let labels = rows.iter().map(|&row| self.labels[row]).collect();
        Self { dim: self.dim, features, labels }
    }

    pub(crate) fn check_shape(&self) -> Result<()> {
        if self.dim == 0 || self.labels.len().checked_mul(self.dim) != Some(self.features.len()) {
            let reason = format!(
                "{} labels do not fit {} numbers in rows of {} features",
                self.labels.len(),
                self.features.len(),
                self.dim
            );
            return Err(TrainError::Request(reason).into());
        }
        Ok(())
    }

    /// Checks that the set can be classified by `classifier`.
    pub(crate) fn check(&self, classifier: &Classifier) -> Result<()> {
        self.check_shape()?;
        if self.dim != classifier.features {
            let reason = format!(
                "the classifier takes {} features, the samples have {}",
                classifier.features, self.dim
            );
            return Err(TrainError::Request(reason).into());
        }
        check_labels(&self.labels, classifier.classes)
    }
}

/// Refuses a label that names no class.
pub(crate) fn check_labels(labels: &[u32], classes: usize) -> Result<()> {
    match labels.iter().find(|label| **label as usize >= classes) {
        Some(label) => {
            Err(TrainError::Request(format!("label {label} names none of the {classes} classes"))
                .into())
        }
        None => Ok(()),
    }
}

/// ‖row‖₂, summed in f64.
pub(crate) fn norm(row: &[f32]) -> f32 {
    long_norm(row) as f32
}

/// [`norm`] of a row of any finite numbers: that of very large ones is no float32.
pub(crate) fn long_norm(row: &[f32]) -> f64 {
    row.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        assert!(Classifier::new(2, 2, vec![0.0; 3], vec![0.0; 2]).is_err());
        assert!(Classifier::new(2, 2, vec![0.0; 4], vec![0.0; 1]).is_err());
        assert!(Classifier::new(1, 2, vec![0.0; 2], vec![0.0; 1]).is_err());
        assert!(Classifier::new(2, 1, vec![0.0, f32::NAN], vec![0.0; 2]).is_err());
        assert!(Classifier::new(2, 2, vec![0.0; 4], vec![0.0; 2]).unwrap().logits(&[1.0]).is_err());
        assert!(FeatureSet::new(2, vec![0.0; 5], vec![0, 1]).is_err());
    }

    #[test]
    fn logits_of_many_rows_equal_the_sums_written_out() {
        let (classes, features, n) = (5, 37, 600);
        let value = |i: usize| ((i * 7919) % 1013) as f32 / 500.0 - 1.0;
        let weight: Vec<f32> = (0..classes * features).map(value).collect();
        let classifier =
            Classifier::new(classes, features, weight, (0..classes).map(|i| i as f32).collect())
                .unwrap();
        let x: Vec<f32> = (0..n * features).map(|i| value(i + 3)).collect();
        let logits = classifier.logits(&x).unwrap();
        for (row, x) in x.chunks_exact(features).enumerate() {
            for k in 0..classes {
                let sum: f64 = x
                    .iter()
                    .zip(&classifier.weight[k * features..])
                    .map(|(a, b)| f64::from(*a) * f64::from(*b))
                    .sum();
                assert!((sum + k as f64 - f64::from(logits[row * classes + k])).abs() < 1e-4);
            }
        }
    }
}
