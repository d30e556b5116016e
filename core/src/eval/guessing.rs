//! What guessing gives on a split, and how far the split can tell anything from it.

use serde::{Deserialize, Serialize};

use super::evaluation::Evaluation;

/// Half the width of a 95 % interval in standard errors. What is beyond it in one direction happens
/// by chance once in forty times.
pub(super) const Z: f64 = 1.96;

/// An evaluation seen as a draw: what guessing would have given, and how far off its balanced
/// accuracy may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guessing {
    /// Classes that have samples.
    pub classes: usize,
    /// Balanced accuracy of guessing: 1 / classes.
    pub chance: f64,
    /// Whether the balanced accuracy is more than guessing gives by luck.
    pub better: bool,
    /// Standard error of the balanced accuracy.
    pub error: f64,
    /// Its 95 % interval, within 0..1.
    pub interval: [f64; 2],
    /// Samples of the class that has fewest.
    pub least: usize,
    /// Samples of the class that has most.
    pub most: usize,
    /// Samples a class of a split that would have the same standard error.
    pub a_class: f64,
}

/// Standard error of the balanced accuracy from right samples and all samples of each class, shape
/// [classes]: that of a mean of independent shares, each taken as if one more sample were right and
/// one more wrong. Three right ones out of three do not show that all are right.
pub(crate) fn error_of_mean(right: &[[usize; 2]]) -> f64 {
    let present = || right.iter().filter(|[_, samples]| *samples > 0);
    let variance = |&[right, samples]: &[usize; 2]| {
        let share = (right as f64 + 1.0) / (samples as f64 + 2.0);
        share * (1.0 - share) / samples as f64
    };
    present().map(variance).sum::<f64>().sqrt() / present().count().max(1) as f64
}

/// What classifiers that were made in the same way were right about on images that were held out in
/// turn: while each part of them was held out, they learned from the others.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HeldInTurn {
    /// Mean of the accuracies of the classes that were held out at all, in 0..1.
    pub balanced_accuracy: f64,
    /// Its standard error.
    pub error: f64,
    /// Right images and all images of each class, shape `[classes]`: none of a class that nothing would
    /// have been learned of while it was held out. Empty where older versions stored no more than the
    /// mean.
    #[serde(default)]
    pub right: Vec<[usize; 2]>,
}

impl HeldInTurn {
    /// From right images and all images of each class.
    pub fn of(right: Vec<[usize; 2]>) -> Self {
        Self { balanced_accuracy: mean_of(&right), error: error_of_mean(&right), right }
    }

    /// Mean of the accuracies of those of these classes that were held out at all; `None` without any.
    pub fn accuracy_of(&self, classes: impl Fn(usize) -> bool) -> Option<f64> {
        let all = self.right.iter().enumerate();
        let own: Vec<[usize; 2]> = all
            .filter(|(class, [_, held])| *held > 0 && classes(*class))
            .map(|(_, own)| *own)
            .collect();
        (!own.is_empty()).then(|| mean_of(&own))
    }

    /// The share of all held-out images that were right; `None` without any.
    pub fn top1(&self) -> Option<f64> {
        let [right, all] =
            self.right.iter().fold([0, 0], |sum, own| [sum[0] + own[0], sum[1] + own[1]]);
        (all > 0).then(|| right as f64 / all as f64)
    }

    /// Whether every class that a split has images of was held out.
    pub(super) fn knows_all(&self, evaluation: &Evaluation) -> bool {
        let mut pairs = self.right.iter().zip(&evaluation.per_class);
        pairs.all(|([_, held], class)| *held > 0 || class.samples == 0)
    }

    /// The classes that were held out and of which a split has images: what these and what it is right
    /// about.
    pub(super) fn of_both(&self, evaluation: &Evaluation) -> [Self; 2] {
        let seen: Vec<_> =
            evaluation.per_class.iter().map(|class| [class.correct, class.samples]).collect();
        if self.right.is_empty() {
            return [self.clone(), Self::of(seen)];
        }
        let both =
            self.right.iter().zip(&seen).filter(|([_, held], [_, seen])| held.min(seen) > &0);
        let (held, seen) = both.unzip();
        [Self::of(held), Self::of(seen)]
    }
}

/// Mean of the accuracies of the classes that have samples.
fn mean_of(right: &[[usize; 2]]) -> f64 {
    let present = || right.iter().filter(|[_, samples]| *samples > 0);
    let sum: f64 = present().map(|&[right, samples]| right as f64 / samples as f64).sum();
    sum / present().count().max(1) as f64
}

impl Guessing {
    /// Compares an evaluation with guessing.
    ///
    /// A guesser that names class k in a share q_k of all images without looking at them is right
    /// by a binomial draw in every class, so the balanced accuracy is 1 / K on average with the
    /// variance Σ q_k (1 − q_k) / n_k / K². The classifier's own shares are taken for q_k. A draw
    /// moves in steps, which a normal curve does not know: half of what one image of the smallest
    /// class that is ever named moves is taken off first.
    ///
    /// The standard error is [`error_of_mean`].
    pub fn of(evaluation: &Evaluation) -> Self {
        let predicted = predicted_shares(evaluation);
        let present =
            || evaluation.per_class.iter().zip(&predicted).filter(|(class, _)| class.samples > 0);
        let classes = present().count().max(1);
        let least = present().map(|(class, _)| class.samples).min().unwrap_or(0);
        let most = present().map(|(class, _)| class.samples).max().unwrap_or(0);
        let (mut by_luck, mut parts) = (0.0, 0.0);
        for (class, share) in present() {
            let n = class.samples as f64;
            by_luck += share * (1.0 - share) / n;
            parts += 1.0 / n;
        }
        let k = classes as f64;
        let chance = 1.0 / k;
        let right: Vec<_> =
            evaluation.per_class.iter().map(|class| [class.correct, class.samples]).collect();
        let (by_luck, error) = (by_luck.sqrt() / k, error_of_mean(&right));
        let found = evaluation.balanced_accuracy;
        // A class that is never named is not drawn from.
        let drawn = present().filter(|(_, share)| **share > 0.0).map(|(class, _)| class.samples);
        let half_step = 0.5 / (k * drawn.min().unwrap_or(least).max(1) as f64);
        // A small margin besides: what is equal but for rounding is equal.
        let better = found - chance - half_step > Z * by_luck + 1e-9;
        let interval = [(found - Z * error).max(0.0), (found + Z * error).min(1.0)];
        let a_class = if parts > 0.0 { k / parts } else { 0.0 };
        Self { classes, chance, better, error, interval, least, most, a_class }
    }

    /// Samples of each class that an interval of this half-width takes, if they are classified as well.
    pub fn enough(&self, half: f64) -> usize {
        (self.a_class * (Z * self.error / half).powi(2)).ceil() as usize
    }

    /// Whether the result is visibly above guessing, though the split may be too small to be sure.
    pub fn is_visible(&self, balanced_accuracy: f64) -> bool {
        balanced_accuracy >= self.chance + 0.1
    }

    /// Whether the result is so little above guessing that it is of little use, sure as it may be.
    pub fn is_weak(&self, balanced_accuracy: f64) -> bool {
        self.is_low(balanced_accuracy) && balanced_accuracy < 3.0 * self.chance
    }

    /// Whether less than a fifth of the way from guessing to perfect is done.
    pub fn is_low(&self, balanced_accuracy: f64) -> bool {
        balanced_accuracy < self.chance + 0.2 * (1.0 - self.chance)
    }
}

/// The share of all samples that is taken for each class.
pub(super) fn predicted_shares(evaluation: &Evaluation) -> Vec<f64> {
    let predicted = evaluation.confusion.predicted();
    predicted.into_iter().map(|count| count as f64 / evaluation.samples.max(1) as f64).collect()
}

#[cfg(test)]
mod tests {
    use super::super::verdict::tests::of_confusion;
    use super::*;

    #[test]
    fn twenty_percent_on_three_images_a_class_is_not_better_than_guessing() {
        // Six classes, three images each, named about equally often: the standard deviation of
        // guessing is about √(6 · 5/36 / 3) / 6 = 8.8 %.
        let mut confusion = vec![vec![0; 6]; 6];
        for class in 0..6 {
            // One image each of four classes is right: 4 of 18, or 22 %, where guessing gives 16.7
            // %.
            let right = u32::from(class < 4);
            confusion[class][class] = right;
            confusion[class][(class + 1) % 6] = 3 - right;
        }
        let three = Guessing::of(&of_confusion(&confusion));
        assert!(!three.better && (three.chance - 1.0 / 6.0).abs() < 1e-12);
        assert_eq!((three.classes, three.least, three.most), (6, 3, 3));
        // The same of a hundred times as many images is no luck any more.
        confusion.iter_mut().flatten().for_each(|count| *count *= 100);
        assert!(Guessing::of(&of_confusion(&confusion)).better);
    }

    #[test]
    fn a_class_of_one_image_that_is_never_named_does_not_make_thousands_of_others_luck() {
        // Nine classes of a thousand, 140 of each right and the others spread over them.
        let mut confusion = vec![vec![0; 10]; 10];
        for (truth, row) in confusion.iter_mut().enumerate().take(9) {
            row[..9].fill(107);
            row[truth] = 144;
        }
        confusion[9][0] = 1;
        let found = Guessing::of(&of_confusion(&confusion));
        assert!(found.better && found.least == 1);
    }

    #[test]
    fn who_always_says_the_same_is_at_chance_exactly() {
        let always = Guessing::of(&of_confusion(&[vec![900, 0], vec![100, 0]]));
        assert!(!always.better && always.chance == 0.5);
    }

    #[test]
    fn one_right_image_of_each_of_three_classes_may_be_luck() {
        let right = |classes: usize, samples: u32| {
            let mut confusion = vec![vec![0; classes]; classes];
            (0..classes).for_each(|class| confusion[class][class] = samples);
            Guessing::of(&of_confusion(&confusion))
        };
        // 1 in 27 by guessing, against once in forty that is allowed.
        assert!(!right(3, 1).better);
        assert!(right(3, 3).better && right(6, 1).better);
        // Three of three right, smoothed to 4 / 5: the error is √(6 · 0.16 / 3) / 6.
        assert!((right(6, 3).error - (6.0 * 0.16 / 3.0_f64).sqrt() / 6.0).abs() < 1e-12);
        assert_eq!(right(6, 3).interval[1], 1.0);
    }

    #[test]
    fn classes_without_images_are_no_part_of_guessing() {
        let guessing = Guessing::of(&of_confusion(&[vec![5, 0, 0], vec![0, 5, 0], vec![0, 0, 0]]));
        assert_eq!((guessing.classes, guessing.chance, guessing.least), (2, 0.5, 5));
    }
}
