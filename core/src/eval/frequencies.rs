//! Results as they would be where classes are as frequent as among the training images. A split that
//! holds as many images of a rare class as of a frequent one does not show what balancing costs the
//! frequent ones.

use super::evaluation::Evaluation;

impl Evaluation {
    /// The share of samples that would be classified correctly if classes were as frequent as among
    /// the training samples: Σ n_k a_k / Σ n_k over the classes that have samples here, where a_k is
    /// their accuracy. [`Evaluation::top1`] where nothing is known of the training samples.
    ///
    /// ```
    /// use counterweight_core::eval::{GroupThresholds, evaluate};
    /// let names = ["cat".to_string(), "lynx".to_string()];
    /// // Of two cats one is taken for a lynx, and both lynxes are right.
    /// let logits = [1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0];
    /// let found = evaluate(&logits, &[0, 0, 1, 1], &names, &[90, 10], GroupThresholds::default()).unwrap();
    /// assert_eq!((found.top1, found.accuracy_as_trained()), (0.75, 0.55));
    /// // Of a hundred images 45 cats are called lynx beside the 10 that are.
    /// assert_eq!(found.precision_as_trained(), [Some(1.0), Some(10.0 / 55.0)]);
    /// ```
    pub fn accuracy_as_trained(&self) -> f64 {
        let (mut right, mut all) = (0.0, 0.0);
        for class in &self.per_class {
            if let Some(accuracy) = class.accuracy {
                right += class.train_count as f64 * accuracy;
                all += class.train_count as f64;
            }
        }
        if all > 0.0 { right / all } else { self.top1 }
    }

    /// The name of the class with most training samples, of those that have samples here, and the
    /// share that always saying it would be right on, with classes as frequent as among the
    /// training samples.
    pub fn largest_as_trained(&self) -> Option<(&str, f64)> {
        let present = || self.per_class.iter().filter(|class| class.samples > 0);
        let all: usize = present().map(|class| class.train_count).sum();
        let largest = present().max_by_key(|class| class.train_count)?;
        (all > 0).then(|| (largest.name.as_str(), largest.train_count as f64 / all as f64))
    }

    /// Of the samples that are taken for each class, the share that is of it, if classes were as
    /// frequent as among the training samples: its precision there. `None` for a class that nothing
    /// is taken for, and for all of them where nothing is known of the training samples.
    pub fn precision_as_trained(&self) -> Vec<Option<f64>> {
        let mut taken = vec![0.0; self.per_class.len()];
        let mut right = taken.clone();
        for (truth, class) in self.per_class.iter().enumerate().filter(|(_, of)| of.samples > 0) {
            let weight = class.train_count as f64 / class.samples as f64;
            for &(predicted, count) in self.confusion.row(truth) {
                taken[predicted as usize] += weight * f64::from(count);
                if predicted as usize == truth {
                    right[truth] = weight * f64::from(count);
                }
            }
        }
        let share = |(right, taken): (f64, f64)| (taken > 0.0).then(|| right / taken);
        right.into_iter().zip(taken).map(share).collect()
    }
}
