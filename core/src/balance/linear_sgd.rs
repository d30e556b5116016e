//! Training a linear layer batch after batch.

use super::sgd::ClassifierSgd;
use crate::classifier::Classifier;
use crate::kernels::matmul::{Descent, Panels, Update, descend_then_logits};

/// SGD on weight and bias of a classifier: [`LinearSgd::logits`] and [`LinearSgd::step`] in turns,
/// and [`LinearSgd::finish`] before anything else looks at the classifier.
///
/// With many classes and features a step goes through hundreds of megabytes of weights and
/// velocities. So a large one waits for the next batch, whose logits find the weights near.
pub(super) struct LinearSgd {
    weight: ClassifierSgd,
    bias: ClassifierSgd,
    /// The batch whose logits were computed last, if its products are large.
    samples: Option<Panels>,
    /// Its logits, then their gradient, [batch, classes].
    logits: Vec<f32>,
    /// Gradient of the bias, `[classes]`.
    bias_gradient: Vec<f32>,
    waiting: Option<Waiting>,
    /// Room that a step before has left.
    room: Vec<f32>,
}

/// A step on the weight that is still to be taken.
struct Waiting {
    samples: Panels,
    gradient: Vec<f32>,
    update: Update,
}

impl LinearSgd {
    /// An optimiser for a classifier of that size that has not taken a step.
    pub(super) fn new(classifier: &Classifier, momentum: f64, weight_decay: f64) -> Self {
        let Classifier { weight, bias, classes, .. } = classifier;
        Self {
            weight: ClassifierSgd::beside(weight, momentum, weight_decay),
            bias: ClassifierSgd::new(bias.len(), momentum, weight_decay),
            samples: None,
            logits: Vec::new(),
            bias_gradient: vec![0.0; *classes],
            waiting: None,
            room: Vec::new(),
        }
    }

    /// The logits of a batch, [batch, classes], by the classifier after all steps so far. The
    /// gradient of the loss is written over them before [`LinearSgd::step`].
    pub(super) fn logits(&mut self, classifier: &mut Classifier, features: &[f32]) -> &mut [f32] {
        let Classifier { classes, features: dim, .. } = *classifier;
        self.samples = Panels::new(features, classes, dim);
        self.logits.resize(features.len() / dim * classes, 0.0);
        match &self.samples {
            Some(samples) if self.waiting.is_some() => {
                let next = Some((samples, &mut self.logits[..]));
                take(&mut self.waiting, &mut self.weight, &mut self.room, classifier, next);
            }
            _ => {
                self.finish(classifier);
                classifier.logits_into(features, &mut self.logits);
            }
        }
        &mut self.logits
    }

    /// A step along the gradient of the last batch's logits; `features` are that batch.
    pub(super) fn step(&mut self, classifier: &mut Classifier, features: &[f32], rate: f64) {
        self.bias_gradient.fill(0.0);
        for row in self.logits.chunks_exact(classifier.classes) {
            self.bias_gradient.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        }
        self.bias.step(&mut classifier.bias, &self.bias_gradient, rate);
        match self.samples.take() {
            Some(samples) => {
                let gradient = std::mem::replace(&mut self.logits, std::mem::take(&mut self.room));
                let update = self.weight.update(rate);
                self.waiting = Some(Waiting { samples, gradient, update });
            }
            None => {
                let Classifier { weight, classes, .. } = classifier;
                self.weight.step_along_product(weight, &self.logits, features, *classes, rate);
            }
        }
    }

    /// Takes the step that waits, if one does.
    pub(super) fn finish(&mut self, classifier: &mut Classifier) {
        take(&mut self.waiting, &mut self.weight, &mut self.room, classifier, None);
    }
}

/// Takes the step that waits, if one does, and computes the logits of `next`.
fn take(
    waiting: &mut Option<Waiting>,
    sgd: &mut ClassifierSgd,
    room: &mut Vec<f32>,
    classifier: &mut Classifier,
    next: Option<(&Panels, &mut [f32])>,
) {
    if let Some(Waiting { samples, gradient, update }) = waiting.take() {
        let descent = Descent { d: &gradient, x: &samples, update };
        let Classifier { weight, bias, .. } = classifier;
        descend_then_logits(descent, weight, sgd.velocity(), bias, next);
        *room = gradient;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Batches of different sizes, the last too small to wait.
    #[test]
    fn steps_that_wait_end_where_steps_taken_at_once_do() {
        let (classes, dim) = (50, 300);
        let numbers = |count: usize, step: f32| -> Vec<f32> {
            (0..count).map(|i| (i as f32 * step).sin()).collect()
        };
        let mut waits =
            Classifier::new(classes, dim, numbers(classes * dim, 0.3), numbers(classes, 1.1))
                .unwrap();
        let mut at_once = waits.clone();
        let mut linear = LinearSgd::new(&waits, 0.9, 0.01);
        let mut weight = ClassifierSgd::new(classes * dim, 0.9, 0.01);
        let mut bias = ClassifierSgd::new(classes, 0.9, 0.01);
        let mut has_waited = false;
        for (number, batch) in [40, 64, 33, 2].into_iter().enumerate() {
            let features = numbers(batch * dim, 0.7 + number as f32);
            let rate = 0.1 / (1 + number) as f64;
            let mut expected = vec![0.0; batch * classes];
            at_once.logits_into(&features, &mut expected);
            let logits = linear.logits(&mut waits, &features);
            assert_eq!(logits, expected);
            // The gradient of half the sum of squares.
            linear.step(&mut waits, &features, rate);
            has_waited |= linear.waiting.is_some();
            weight.step_along_product(&mut at_once.weight, &expected, &features, classes, rate);
            let mut sums = vec![0.0; classes];
            for row in expected.chunks_exact(classes) {
                sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
            }
            bias.step(&mut at_once.bias, &sums, rate);
            assert_eq!(waits.bias, at_once.bias);
        }
        assert!(has_waited && linear.waiting.is_none());
        linear.finish(&mut waits);
        assert_eq!(waits, at_once);
    }
}
