//! A classifier on samples whose classes are known. Logits are computed a block of samples at a
//! time and reduced at once, so they never take room for samples × classes.

use rayon::prelude::*;

use super::{Classifier, FeatureSet};
use crate::error::{Result, TrainError};
use crate::eval::{Answer, Evaluation, GroupThresholds, Scores};
use crate::job::Control;

/// Samples of a block, at most: few enough to spread a few thousand samples over the cores.
const ROWS: usize = 256;
/// Logits of a block, about: four megabytes of them.
const LOGITS: usize = 1 << 20;

/// A row of features' place and its logits, shape [classes], made into something smaller.
type Reduce<'a, T> = dyn Fn(usize, &[f32]) -> T + Sync + 'a;

impl Classifier {
    /// What `reduce` makes of the logits of each row of `features`, shape [n, features], in their
    /// order. It is given the number of the row and its logits, shape `[classes]`. Runs on all
    /// cores; each holds the logits of one block.
    ///
    /// ```
    /// use counterweight_core::classifier::Classifier;
    /// let classifier = Classifier::new(2, 1, vec![1.0, -1.0], vec![0.0, 0.5]).unwrap();
    /// let sums = classifier.map_logits(&[1.0, 2.0, 3.0], |_, logits| logits[0] + logits[1]).unwrap();
    /// assert_eq!(sums, [0.5; 3]);
    /// ```
    ///
    /// # Errors
    /// [`TrainError::Request`] if the length of `features` is no multiple of
    /// [`Classifier::features`].
    pub fn map_logits<T: Send>(
        &self,
        features: &[f32],
        reduce: impl Fn(usize, &[f32]) -> T + Sync,
    ) -> Result<Vec<T>> {
        self.map_logits_while(features, &Control::new(), reduce)
    }

    /// [`Classifier::map_logits`] for as long as `control` lets it.
    ///
    /// # Errors
    /// As there, and [`crate::Error::Stopped`].
    fn map_logits_while<T: Send>(
        &self,
        features: &[f32],
        control: &Control,
        reduce: impl Fn(usize, &[f32]) -> T + Sync,
    ) -> Result<Vec<T>> {
        self.check_rows(features)?;
        let rows = self.rows_of_a_block();
        let blocks: Vec<Vec<T>> = features
            .par_chunks(rows * self.features)
            .enumerate()
            .map_init(Vec::new, |logits, (block, features)| {
                control.check()?;
                let mut found = Vec::with_capacity(rows);
                self.reduce_block(features, block * rows, logits, &reduce, &mut found);
                Ok(found)
            })
            .collect::<Result<_>>()?;
        Ok(blocks.into_iter().flatten().collect())
    }

    /// [`Answer`]s for the samples of `set`, in their order. Runs on all cores.
    ///
    /// # Errors
    /// [`TrainError::Request`] if the set does not fit the classifier.
    pub fn answers(&self, set: &FeatureSet) -> Result<Vec<Answer>> {
        self.answers_while(set, &Control::new())
    }

    /// [`Classifier::answers`] for as long as `control` lets it.
    ///
    /// # Errors
    /// As there, and [`crate::Error::Stopped`].
    pub(crate) fn answers_while(&self, set: &FeatureSet, control: &Control) -> Result<Vec<Answer>> {
        set.check(self)?;
        let answer = |row: usize, logits: &[f32]| Answer::of(logits, set.labels[row]);
        self.map_logits_while(&set.features, control, answer)
    }

    /// [`Classifier::answers`] on this thread alone, for who keeps the others busy already.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn answers_here(&self, set: &FeatureSet) -> Result<Vec<Answer>> {
        set.check(self)?;
        let rows = self.rows_of_a_block();
        let (mut logits, mut found) = (Vec::new(), Vec::with_capacity(set.len()));
        let answer = |row: usize, logits: &[f32]| Answer::of(logits, set.labels[row]);
        for (block, features) in set.features.chunks(rows * self.features).enumerate() {
            self.reduce_block(features, block * rows, &mut logits, &answer, &mut found);
        }
        Ok(found)
    }

    /// [`Scores`] on the samples of `set`. `train_counts` are the training samples of each class.
    ///
    /// # Errors
    /// [`TrainError::Request`] if there is no sample, the set does not fit the classifier, or a
    /// logit is not finite.
    pub fn scores(
        &self,
        set: &FeatureSet,
        train_counts: &[usize],
        thresholds: GroupThresholds,
    ) -> Result<Scores> {
        Scores::of(&self.answers(set)?, train_counts, thresholds)
    }

    /// The [`Evaluation`] on the samples of `set`. `train_counts` are the training samples of each
    /// class.
    ///
    /// # Errors
    /// As [`Classifier::scores`]; also if there is not a name and a count for each class.
    pub fn evaluate(
        &self,
        set: &FeatureSet,
        class_names: &[String],
        train_counts: &[usize],
        thresholds: GroupThresholds,
    ) -> Result<Evaluation> {
        Evaluation::of(&self.answers(set)?, class_names, train_counts, thresholds)
    }

    /// Refuses features that are no whole rows.
    pub(super) fn check_rows(&self, features: &[f32]) -> Result<()> {
        if features.len().is_multiple_of(self.features) {
            return Ok(());
        }
        let reason =
            format!("{} numbers are no whole rows of {} features", features.len(), self.features);
        Err(TrainError::Request(reason).into())
    }

    fn rows_of_a_block(&self) -> usize {
        (LOGITS / self.classes).clamp(16, ROWS)
    }

    /// Adds to `found` what `reduce` makes of a block's rows, of which the first is row `first` of
    /// all. `logits` is room that is used again.
    fn reduce_block<T>(
        &self,
        features: &[f32],
        first: usize,
        logits: &mut Vec<f32>,
        reduce: &Reduce<'_, T>,
        found: &mut Vec<T>,
    ) {
        logits.resize(features.len() / self.features * self.classes, 0.0);
        self.logits_into(features, logits);
        let rows = logits.chunks_exact(self.classes).enumerate();
        found.extend(rows.map(|(row, logits)| reduce(first + row, logits)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::{evaluate, scores};

    /// Five blocks and a part of one.
    fn example() -> (Classifier, FeatureSet) {
        let (classes, dim, n) = (7, 19, 5 * ROWS + 77);
        let value = |i: usize| ((i * 7919) % 1013) as f32 / 500.0 - 1.0;
        let weight = (0..classes * dim).map(value).collect();
        let classifier =
            Classifier::new(classes, dim, weight, (0..classes).map(value).collect()).unwrap();
        let features = (0..n * dim).map(|i| value(i + 3)).collect();
        let labels = (0..n as u32).map(|i| (i * i + 1) % 6).collect();
        (classifier, FeatureSet::new(dim, features, labels).unwrap())
    }

    #[test]
    fn blocks_give_what_whole_logits_give_to_the_last_bit() {
        let (classifier, set) = example();
        let logits = classifier.logits(&set.features).unwrap();
        let counts = [500, 200, 90, 40, 20, 5, 3];
        let names: Vec<String> = (0..7).map(|class| format!("class {class}")).collect();
        let thresholds = GroupThresholds::default();
        assert_eq!(
            classifier.scores(&set, &counts, thresholds).unwrap(),
            scores(&logits, &set.labels, &counts, thresholds).unwrap()
        );
        assert_eq!(
            classifier.evaluate(&set, &names, &counts, thresholds).unwrap(),
            evaluate(&logits, &set.labels, &names, &counts, thresholds).unwrap()
        );
        assert_eq!(classifier.answers(&set).unwrap(), classifier.answers_here(&set).unwrap());
        let rows = classifier.map_logits(&set.features, |row, logits| (row, logits.to_vec()));
        for (place, (row, found)) in rows.unwrap().into_iter().enumerate() {
            assert_eq!((place, found.as_slice()), (row, &logits[row * 7..(row + 1) * 7]));
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let (classifier, set) = example();
        let thresholds = GroupThresholds::default();
        assert!(classifier.map_logits(&[0.0; 20], |_, _| ()).is_err());
        assert!(classifier.scores(&set, &[1; 3], thresholds).is_err());
        let beyond = FeatureSet { labels: vec![7; set.len()], ..set.clone() };
        assert!(classifier.answers(&beyond).is_err() && classifier.answers_here(&beyond).is_err());
        let empty = FeatureSet { dim: set.dim, ..FeatureSet::default() };
        let error = classifier.scores(&empty, &[1; 7], thresholds).unwrap_err().to_string();
        assert!(error.contains("no sample"), "{error}");
        let mut huge = classifier.clone();
        huge.bias[3] = f32::INFINITY;
        let error = huge.scores(&set, &[1; 7], thresholds).unwrap_err().to_string();
        assert!(error.contains("sample 0 for class 3 is inf"), "{error}");
    }
}
