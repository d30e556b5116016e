//! Features brought to a common scale, so that one learning rate and one weight decay suit all of
//! them.

use super::{Classifier, FeatureSet};

/// A feature that varies less than this is left unscaled: dividing by its deviation would only make
/// noise large.
const LEAST: f32 = 1e-4;

/// Standardises features: (x − mean) / std. The classifier that is trained on the result sees every
/// feature on one scale, and so do its norms.
///
/// As the classifier is linear, standardising can be written into its weights: W x' + b with x' =
/// (x − μ) / σ is W' x + b' with W' = W / σ and b' = b − W' μ. Files hold W' and b', which need
/// nothing else to be used.
#[derive(Clone, Debug, PartialEq)]
pub struct Standardiser {
    /// μ, shape `[features]`.
    pub mean: Vec<f32>,
    /// σ, shape `[features]`, above 0.
    pub std: Vec<f32>,
}

impl Standardiser {
    /// From given moments; `None` if they are not finite numbers, of different lengths, or a
    /// deviation is not above 0.
    pub fn new(mean: Vec<f32>, std: Vec<f32>) -> Option<Self> {
        let usable = mean.iter().all(|mean| mean.is_finite())
            && std.iter().all(|std| std.is_finite() && *std > 0.0);
        (usable && mean.len() == std.len()).then_some(Self { mean, std })
    }

    /// Mean and standard deviation of every feature over a set of samples. Classes count alike,
    /// however many samples they have: the scale of a feature is to be that of the problem and not
    /// that of the largest class.
    pub fn of(set: &FeatureSet) -> Self {
        let classes = set.labels.iter().max().map_or(0, |&label| label as usize + 1);
        let mut counts = vec![0_usize; classes];
        set.labels.iter().for_each(|&label| counts[label as usize] += 1);
        let present = counts.iter().filter(|&&count| count > 0).count().max(1) as f64;
        let (mut sums, mut squares) = (vec![0.0_f64; set.dim], vec![0.0_f64; set.dim]);
        for (row, &label) in set.features.chunks_exact(set.dim.max(1)).zip(&set.labels) {
            let share = 1.0 / (counts[label as usize] as f64 * present);
            for ((sum, square), &value) in sums.iter_mut().zip(&mut squares).zip(row) {
                *sum += share * f64::from(value);
                *square += share * f64::from(value).powi(2);
            }
        }
        let std = sums
            .iter()
            .zip(&squares)
            .map(|(mean, square)| (square - mean * mean).max(0.0).sqrt() as f32);
        let std = std.map(|std| if std < LEAST { 1.0 } else { std }).collect();
        Self { mean: sums.into_iter().map(|mean| mean as f32).collect(), std }
    }

    /// Standardises features in place, shape [n, features].
    pub fn apply(&self, features: &mut [f32]) {
        for row in features.chunks_exact_mut(self.mean.len().max(1)) {
            for ((value, mean), std) in row.iter_mut().zip(&self.mean).zip(&self.std) {
                *value = (*value - mean) / std;
            }
        }
    }

    /// The classifier of features as they are, for one of standardised features.
    pub fn fold(&self, classifier: &Classifier) -> Classifier {
        self.rewritten(classifier, |weight, std| weight / std, -1.0)
    }

    /// The classifier of standardised features, for one of features as they are.
    pub fn unfold(&self, classifier: &Classifier) -> Classifier {
        self.rewritten(classifier, |weight, std| weight * std, 1.0)
    }

    /// With every weight changed, and the bias moved by the weights of features as they are times
    /// the mean.
    fn rewritten(
        &self,
        classifier: &Classifier,
        change: impl Fn(f32, f32) -> f32,
        sign: f64,
    ) -> Classifier {
        let mut changed = classifier.clone();
        for ((row, of), bias) in changed
            .weight
            .chunks_exact_mut(self.mean.len())
            .zip(classifier.weight.chunks_exact(self.mean.len()))
            .zip(&mut changed.bias)
        {
            row.iter_mut().zip(&self.std).for_each(|(weight, std)| *weight = change(*weight, *std));
            let plain: &[f32] = if sign < 0.0 { row } else { of };
            let moved: f64 = plain
                .iter()
                .zip(&self.mean)
                .map(|(weight, mean)| f64::from(*weight) * f64::from(*mean))
                .sum();
            *bias = (f64::from(*bias) + sign * moved) as f32;
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_count_alike_and_constant_features_stay() {
        // Class 0 has three samples at 0, class 1 one at 4: the mean is 2 and the deviation 2. The
        // second feature is the same everywhere.
        let set =
            FeatureSet::new(2, vec![0.0, 7.0, 0.0, 7.0, 0.0, 7.0, 4.0, 7.0], vec![0, 0, 0, 1])
                .unwrap();
        let found = Standardiser::of(&set);
        assert_eq!(found, Standardiser::new(vec![2.0, 7.0], vec![2.0, 1.0]).unwrap());
        let mut row = [4.0, 7.0];
        found.apply(&mut row);
        assert_eq!(row, [1.0, 0.0]);
    }

    #[test]
    fn folding_changes_no_logit_and_can_be_undone() {
        let standardiser = Standardiser::new(vec![0.5, -3.0, 2.0], vec![0.1, 4.0, 1.5]).unwrap();
        let classifier =
            Classifier::new(2, 3, vec![1.0, -2.0, 0.5, 0.25, 3.0, -1.0], vec![0.5, -0.5]).unwrap();
        let features = [1.0, 2.0, 3.0, -0.5, 0.0, 4.0];
        let mut standardised = features;
        standardiser.apply(&mut standardised);
        let folded = standardiser.fold(&classifier);
        for (a, b) in
            classifier.logits(&standardised).unwrap().iter().zip(folded.logits(&features).unwrap())
        {
            assert!((a - b).abs() < 1e-4, "{a} {b}");
        }
        let again = standardiser.unfold(&folded);
        for (a, b) in again
            .weight
            .iter()
            .chain(&again.bias)
            .zip(classifier.weight.iter().chain(&classifier.bias))
        {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
    }

    #[test]
    fn unusable_moments_are_refused() {
        assert!(Standardiser::new(vec![0.0], vec![0.0]).is_none());
        assert!(Standardiser::new(vec![f32::NAN], vec![1.0]).is_none());
        assert!(Standardiser::new(vec![0.0; 2], vec![1.0]).is_none());
    }
}
