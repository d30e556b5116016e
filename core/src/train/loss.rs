//! The loss of stage 1.

use std::ops::Range;

use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor, TensorData};

use crate::data::Batch;
#[cfg(feature = "gpu")]
use crate::ops;

/// Mean cross-entropy of a batch, with label smoothing ε (the target is 1 − ε on the label plus ε / C on every class, as in PyTorch) and
/// with the second labels of mixup or CutMix.
///
/// # Shapes
/// - `logits`: `[batch, classes]`
/// - result: `[1]`
pub fn cross_entropy(logits: Tensor<2>, batch: &Batch, label_smoothing: f64) -> Tensor<1> {
    loss_and_hits(0..batch.labels.len(), logits, batch, label_smoothing).0
}

/// [`cross_entropy`] of these samples of a batch, `logits` being theirs only, and the number of those whose largest logit is their label's, without
/// gradient.
pub(super) fn loss_and_hits(part: Range<usize>, logits: Tensor<2>, batch: &Batch, label_smoothing: f64) -> (Tensor<1>, Tensor<1>) {
    #[cfg(feature = "gpu")]
    if ops::is_gpu(&logits.device()) {
        return on_gpu(part, logits, batch, label_smoothing);
    }
    let plain = logits.clone().inner();
    let labels = batch.labels[part.clone()].iter().map(|label| i64::from(*label)).collect();
    let labels = Tensor::<2, Int>::from_data(TensorData::new(labels, [part.len(), 1]), &plain.device());
    let hits = plain.argmax(1).equal(labels).int().sum().float();
    (loss(part, logits, batch, label_smoothing), hits)
}

/// Both in one pass over the logits.
#[cfg(feature = "gpu")]
fn on_gpu(part: Range<usize>, logits: Tensor<2>, batch: &Batch, label_smoothing: f64) -> (Tensor<1>, Tensor<1>) {
    let device = logits.device().without_autodiff();
    let labels = |labels: &[u32]| {
        let labels: Vec<i32> = labels[part.clone()].iter().map(|label| *label as i32).collect();
        Tensor::<1, Int>::from_data(TensorData::new(labels, [part.len()]), &device)
    };
    let first = labels(&batch.labels);
    let (second, lambda) = match &batch.mixed {
        Some(mixed) => (labels(&mixed.other_labels), f64::from(mixed.lambda)),
        None => (first.clone(), 1.0),
    };
    ops::cross_entropy(logits, first, second, ops::Shares { lambda, smoothing: label_smoothing })
}

fn loss(part: Range<usize>, logits: Tensor<2>, batch: &Batch, label_smoothing: f64) -> Tensor<1> {
    let [samples, classes] = logits.dims();
    let labels = &batch.labels[part.clone()];
    let log_probabilities = log_softmax(logits, 1);
    let device = log_probabilities.device();
    if label_smoothing == 0.0 && batch.mixed.is_none() {
        let labels = labels.iter().map(|label| i64::from(*label)).collect();
        let labels = Tensor::<2, Int>::from_data(TensorData::new(labels, [samples, 1]), &device);
        return -log_probabilities.gather(1, labels).mean();
    }
    let smoothing = label_smoothing as f32;
    let mut targets = vec![smoothing / classes as f32; samples * classes];
    for (sample, label) in labels.iter().enumerate() {
        let share = batch.mixed.as_ref().map_or(1.0, |mixed| mixed.lambda);
        targets[sample * classes + *label as usize] += (1.0 - smoothing) * share;
        if let Some(mixed) = &batch.mixed {
            targets[sample * classes + mixed.other_labels[part.start + sample] as usize] += (1.0 - smoothing) * (1.0 - share);
        }
    }
    let targets = Tensor::<2>::from_data(TensorData::new(targets, [samples, classes]), &device);
    -(log_probabilities * targets).sum() / samples as f64
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::balance::Loss;
    use crate::data::Mixed;
    use crate::settings::ClassifierLoss;

    const LOGITS: [f32; 6] = [2.0, -1.0, 0.5, 0.0, 3.0, -4.0];

    fn ours(labels: Vec<u32>, mixed: Option<Mixed>, smoothing: f64) -> f32 {
        let logits = Tensor::<2>::from_data(TensorData::new(LOGITS.to_vec(), [2, 3]), &Device::flex());
        let batch = Batch { images: Vec::new(), indices: vec![0, 1], labels, mixed };
        cross_entropy(logits, &batch, smoothing).into_scalar::<f32>()
    }

    /// The loss over slices, itself compared with PyTorch's.
    fn reference(labels: &[u32], smoothing: f64) -> f32 {
        let loss = Loss::new(ClassifierLoss::CrossEntropy, &[1, 1, 1], 0.0, 0.0, smoothing).unwrap();
        loss.value_and_gradient(&LOGITS, labels).unwrap().0.loss as f32
    }

    #[test]
    fn hard_and_smoothed_labels_give_pytorchs_loss() {
        for smoothing in [0.0, 0.1, 0.9] {
            let (a, b) = (ours(vec![0, 2], None, smoothing), reference(&[0, 2], smoothing));
            assert!((a - b).abs() < 1e-5, "{a} and not {b} at {smoothing}");
        }
    }

    #[test]
    fn mixed_labels_share_the_loss() {
        let mixed = Some(Mixed { other_labels: vec![1, 0], lambda: 0.3 });
        let expected = 0.3 * reference(&[0, 2], 0.2) + 0.7 * reference(&[1, 0], 0.2);
        assert!((ours(vec![0, 2], mixed, 0.2) - expected).abs() < 1e-5);
    }
}
