//! The losses a classifier can be trained with, with their gradients with respect to the logits.

use rayon::prelude::*;

use super::weights::{class_balanced_weights, log_priors};
use crate::classifier::check_labels;
use crate::error::{Result, TrainError};
use crate::eval::argmax;
use crate::settings::ClassifierLoss;

/// Logits of a batch from which on waking other threads costs next to nothing.
const SPREAD: usize = 1 << 16;

/// A classifier loss, prepared for a training split.
///
/// With p = softmax(z), t the one-hot label (smoothed: t ← (1 − ε) t + ε / C) and B the batch,
/// every loss is a plain mean over the batch:
///
/// - cross-entropy: 1/B Σ −Σ_k t_k log p_k;
/// - class-balanced (Cui et al., CVPR 2019): 1/B Σ w_y · CE. It divides by B, not by Σ w_y as
///   PyTorch's `CrossEntropyLoss(weight=w)` does;
/// - class-balanced BCE, the authors' form: 1/(B C) Σ w_y Σ_k −(t_k log p_k + (1 − t_k) log(1 −
///   p_k)), logarithms clamped at −100 and the denominator of its derivative at 1e-12, as in
///   PyTorch's `binary_cross_entropy`. It is computed in f64: in f32 the gradient of a confidently
///   wrong sample (logits 17 apart) loses all its digits and explodes;
/// - balanced softmax (Ren et al., NeurIPS 2020): CE of z + log n_k;
/// - logit-adjusted (Menon et al., ICLR 2021): CE of z + τ log π_k.
#[derive(Clone, Debug)]
pub struct Loss {
    classes: usize,
    smoothing: f64,
    form: Form,
    /// Two numbers a class, for the loss that computes in f64.
    scratch: Vec<f64>,
}

#[derive(Clone, Debug)]
enum Form {
    CrossEntropy,
    Weighted(Vec<f64>),
    WeightedBce(Vec<f64>),
    /// Added to the logits.
    Shifted(Vec<f32>),
}

/// What one batch gave.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BatchLoss {
    /// The loss, a mean over the batch.
    pub loss: f64,
    /// Samples whose largest logit is their label's; of equal logits the first counts as largest.
    pub correct: usize,
}

impl Loss {
    /// A loss for a training split of `train_counts` samples a class. `beta` is used by the
    /// class-balanced losses, `logit_adjustment` by the logit-adjusted one, `label_smoothing` (ε in
    /// 0..1) by all.
    ///
    /// # Errors
    /// [`TrainError::Request`] if there is no training sample, β or ε lies outside 0..1, or the
    /// adjustment is not finite.
    pub fn new(
        kind: ClassifierLoss,
        train_counts: &[usize],
        beta: f64,
        logit_adjustment: f32,
        label_smoothing: f64,
    ) -> Result<Self> {
        if !(0.0..1.0).contains(&label_smoothing) {
            return Err(TrainError::Request(format!(
                "label smoothing must be in 0..1, not {label_smoothing}"
            ))
            .into());
        }
        if !logit_adjustment.is_finite() {
            return Err(TrainError::Request(format!(
                "the logit adjustment must be finite, not {logit_adjustment}"
            ))
            .into());
        }
        let shifted = |tau: f64| -> Result<Form> {
            Ok(Form::Shifted(log_priors(train_counts)?.iter().map(|p| (tau * p) as f32).collect()))
        };
        let form = match kind {
            ClassifierLoss::CrossEntropy => Form::CrossEntropy,
            ClassifierLoss::ClassBalanced => {
                Form::Weighted(class_balanced_weights(train_counts, beta)?)
            }
            ClassifierLoss::ClassBalancedBce => {
                Form::WeightedBce(class_balanced_weights(train_counts, beta)?)
            }
            // Softmax does not see a constant, so log π_k = log n_k − log Σ n serves as well as log
            // n_k.
            ClassifierLoss::BalancedSoftmax => shifted(1.0)?,
            ClassifierLoss::LogitAdjusted => shifted(f64::from(logit_adjustment))?,
        };
        let classes = train_counts.len();
        Ok(Self { classes, smoothing: label_smoothing, form, scratch: vec![0.0; 2 * classes] })
    }

    /// The loss of a batch and its gradient with respect to the logits, both of shape [batch,
    /// classes].
    ///
    /// # Errors
    /// [`TrainError::Request`] if the shapes do not fit or a label names no class.
    pub fn value_and_gradient(
        &self,
        logits: &[f32],
        labels: &[u32],
    ) -> Result<(BatchLoss, Vec<f32>)> {
        let mut gradient = logits.to_vec();
        let batch = self.clone().gradient_in_place(&mut gradient, labels)?;
        Ok((batch, gradient))
    }

    /// [`Loss::value_and_gradient`], with the gradient written over the logits. Large batches are
    /// spread over all cores; small ones allocate nothing.
    ///
    /// # Errors
    /// [`TrainError::Request`] if the shapes do not fit or a label names no class; the logits are
    /// then as they were.
    pub fn gradient_in_place(&mut self, logits: &mut [f32], labels: &[u32]) -> Result<BatchLoss> {
        if labels.is_empty() || Some(logits.len()) != labels.len().checked_mul(self.classes) {
            let reason = format!(
                "{} logits do not fit {} labels of {} classes",
                logits.len(),
                labels.len(),
                self.classes
            );
            return Err(TrainError::Request(reason).into());
        }
        check_labels(labels, self.classes)?;
        let share = 1.0 / labels.len() as f64;
        let mut batch = BatchLoss::default();
        let mut count = |(loss, is_correct): (f64, bool)| {
            batch.loss += share * loss;
            batch.correct += usize::from(is_correct);
        };
        // Threads of rayon's pool have others beside them that are as busy.
        if logits.len() >= SPREAD && rayon::current_thread_index().is_none() {
            let (this, scratch) = (&*self, || vec![0.0; 2 * self.classes]);
            let rows: Vec<_> = logits
                .par_chunks_exact_mut(self.classes)
                .zip(labels)
                .map_init(scratch, |scratch, (row, label)| {
                    this.row(row, *label as usize, share, scratch)
                })
                .collect();
            // The sum is in the order of the samples, whatever the threads did.
            rows.into_iter().for_each(count);
        } else {
            let mut scratch = std::mem::take(&mut self.scratch);
            for (row, label) in logits.chunks_exact_mut(self.classes).zip(labels) {
                count(self.row(row, *label as usize, share, &mut scratch));
            }
            self.scratch = scratch;
        }
        Ok(batch)
    }

    /// The loss of one sample, and whether its largest logit is its label's. The gradient of its
    /// `share` in the mean is written over its logits. `scratch` has room for two numbers a class.
    fn row(&self, row: &mut [f32], label: usize, share: f64, scratch: &mut [f64]) -> (f64, bool) {
        let is_correct = argmax(row) == label;
        let smoothing = self.smoothing;
        let loss = match &self.form {
            Form::CrossEntropy => cross_entropy(row, label, smoothing, share),
            Form::Weighted(weights) => {
                weights[label] * cross_entropy(row, label, smoothing, share * weights[label])
            }
            Form::Shifted(shift) => {
                row.iter_mut().zip(shift).for_each(|(logit, shift)| *logit += shift);
                cross_entropy(row, label, smoothing, share)
            }
            Form::WeightedBce(weights) => {
                let scale = weights[label] / self.classes as f64;
                scale * binary_cross_entropy(row, label, smoothing, share * scale, scratch)
            }
        };
        (loss, is_correct)
    }
}

/// −Σ t_k log p_k of one sample; writes scale · (p − t) over its logits.
fn cross_entropy(row: &mut [f32], label: usize, smoothing: f64, scale: f64) -> f64 {
    let classes = row.len() as f64;
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let label_logit = f64::from(row[label]) - f64::from(max);
    let logit_sum = if smoothing > 0.0 {
        row.iter().map(|logit| f64::from(*logit - max)).sum::<f64>()
    } else {
        0.0
    };
    let mut sum = 0.0_f64;
    for logit in row.iter_mut() {
        *logit = (*logit - max).exp();
        sum += f64::from(*logit);
    }
    let log_sum = sum.ln();
    let to_gradient = (scale / sum) as f32;
    let floor = (scale * smoothing / classes) as f32;
    row.iter_mut().for_each(|value| *value = *value * to_gradient - floor);
    row[label] -= (scale * (1.0 - smoothing)) as f32;
    -(1.0 - smoothing) * (label_logit - log_sum)
        - smoothing / classes * (logit_sum - classes * log_sum)
}

/// Σ_k −(t_k log p_k + (1 − t_k) log(1 − p_k)) of one sample; writes scale · its gradient over its
/// logits. `scratch` has room for two numbers a class.
fn binary_cross_entropy(
    row: &mut [f32],
    label: usize,
    smoothing: f64,
    scale: f64,
    scratch: &mut [f64],
) -> f64 {
    const LOG_FLOOR: f64 = -100.0;
    const PRODUCT_FLOOR: f64 = 1e-12;
    let best = argmax(row);
    let max = f64::from(row[best]);
    let (exponentials, slopes) = scratch.split_at_mut(row.len());
    let mut sum = 0.0;
    for (e, logit) in exponentials.iter_mut().zip(&*row) {
        *e = (f64::from(*logit) - max).exp();
        sum += *e;
    }
    let floor = smoothing / row.len() as f64;
    let mut loss = 0.0;
    // Σ log(1 − p_k) over the classes that are neither the label nor the best. At most one
    // probability exceeds one half, so the product of the others' 1 − p stays above a tenth, and
    // one logarithm does for all of them.
    let mut others = 1.0;
    // ∂/∂p_k = (p_k − t_k) / (p_k (1 − p_k)), and through softmax ∂/∂z_j = p_j (∂/∂p_j − Σ_k p_k
    // ∂/∂p_k).
    let mut inner = 0.0;
    for (k, (e, slope)) in exponentials.iter_mut().zip(slopes.iter_mut()).enumerate() {
        let (p, q) = (*e / sum, (sum - *e) / sum);
        let t = if k == label { 1.0 - smoothing + floor } else { floor };
        *e = p;
        *slope = (p - t) / (p * q).max(PRODUCT_FLOOR);
        inner += p * *slope;
        if t > 0.0 {
            loss -= t * p.ln().max(LOG_FLOOR);
        }
        if k == label || k == best {
            // A target of one leaves nothing to multiply the logarithm with.
            loss -= if t < 1.0 { (1.0 - t) * q.ln().max(LOG_FLOOR) } else { 0.0 };
        } else {
            others *= q;
        }
    }
    loss -= (1.0 - floor) * others.ln();
    for ((logit, p), slope) in row.iter_mut().zip(exponentials).zip(slopes) {
        *logit = (scale * *p * (*slope - inner)) as f32;
    }
    // `max` would hide a NaN behind the clamp.
    if sum.is_finite() { loss } else { f64::NAN }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [ClassifierLoss; 5] = [
        ClassifierLoss::CrossEntropy,
        ClassifierLoss::ClassBalanced,
        ClassifierLoss::ClassBalancedBce,
        ClassifierLoss::BalancedSoftmax,
        ClassifierLoss::LogitAdjusted,
    ];

    #[test]
    fn gradients_agree_with_finite_differences() {
        let logits: Vec<f32> = (0..12).map(|i| ((i * i) as f32 * 0.37).sin() * 2.0).collect();
        let labels = [2, 0, 1];
        for kind in KINDS {
            for smoothing in [0.0, 0.15] {
                let loss = Loss::new(kind, &[60, 25, 9, 3], 0.99, 0.7, smoothing).unwrap();
                let (_, gradient) = loss.value_and_gradient(&logits, &labels).unwrap();
                for i in 0..logits.len() {
                    let at = |step: f32| {
                        let mut moved = logits.clone();
                        moved[i] += step;
                        (loss.value_and_gradient(&moved, &labels).unwrap().0.loss, moved[i])
                    };
                    let ((up, right), (down, left)) = (at(5e-3), at(-5e-3));
                    let slope = (up - down) / f64::from(right - left);
                    assert!(
                        (slope - f64::from(gradient[i])).abs() < 2e-4,
                        "{kind:?} ε {smoothing}: {slope} {}",
                        gradient[i]
                    );
                }
            }
        }
    }

    #[test]
    fn hopeless_logits_give_finite_losses_and_bounded_gradients() {
        // A wrong class ahead by far, and the largest values f32 training could bring up.
        for gap in [5.0, 17.0, 25.0, 60.0, 300.0, 1e30] {
            for kind in KINDS {
                let loss = Loss::new(kind, &[60, 25, 9], 0.99, 1.0, 0.0).unwrap();
                let (batch, gradient) = loss.value_and_gradient(&[0.0, gap, 1.0], &[0]).unwrap();
                assert!(batch.loss.is_finite() && batch.correct == 0, "{kind:?} {gap}: {batch:?}");
                assert!(gradient.iter().all(|g| g.abs() < 10.0), "{kind:?} {gap}: {gradient:?}");
            }
        }
    }

    #[test]
    fn all_cores_give_what_one_gives_to_the_last_bit() {
        let (samples, classes) = (33, 2000);
        let logits: Vec<f32> =
            (0..samples * classes).map(|i| (i as f32 * 0.7).sin() * 3.0).collect();
        assert!(logits.len() >= SPREAD);
        let labels: Vec<u32> = (0..samples as u32).map(|i| i * 59).collect();
        let counts: Vec<usize> = (0..classes).map(|class| 1 + 4000 / (class + 1)).collect();
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        for kind in KINDS {
            let loss = Loss::new(kind, &counts, 0.99, 0.7, 0.1).unwrap();
            let alone = one.install(|| loss.value_and_gradient(&logits, &labels).unwrap());
            assert_eq!(loss.value_and_gradient(&logits, &labels).unwrap(), alone, "{kind:?}");
        }
    }

    #[test]
    fn not_a_number_shows_in_the_loss() {
        for kind in KINDS {
            let loss = Loss::new(kind, &[60, 25, 9], 0.99, 1.0, 0.0).unwrap();
            for bad in [f32::NAN, f32::INFINITY] {
                assert!(
                    !loss.value_and_gradient(&[0.0, bad, 1.0], &[0]).unwrap().0.loss.is_finite(),
                    "{kind:?} {bad}"
                );
            }
        }
    }

    #[test]
    fn wrong_shapes_labels_and_parameters_are_errors() {
        let loss = Loss::new(ClassifierLoss::CrossEntropy, &[1, 1], 0.9, 1.0, 0.0).unwrap();
        assert!(loss.value_and_gradient(&[0.0; 3], &[0]).is_err());
        assert!(loss.value_and_gradient(&[0.0; 2], &[2]).is_err());
        assert!(loss.value_and_gradient(&[], &[]).is_err());
        assert!(Loss::new(ClassifierLoss::CrossEntropy, &[1, 1], 0.9, 1.0, 1.0).is_err());
        assert!(Loss::new(ClassifierLoss::ClassBalanced, &[1, 1], 1.0, 1.0, 0.0).is_err());
        assert!(Loss::new(ClassifierLoss::LogitAdjusted, &[1, 1], 0.9, f32::NAN, 0.0).is_err());
    }
}
