//! The loss of stage 1.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor, TensorData};

use crate::data::Batch;

/// Mean cross-entropy of a batch, with label smoothing ε (the target is 1 − ε on the label plus ε / C on every class, as in PyTorch) and
/// with the second labels of mixup or CutMix.
///
/// # Shapes
/// - `logits`: `[batch, classes]`
/// - result: `[1]`
pub fn cross_entropy(logits: Tensor<2>, batch: &Batch, label_smoothing: f64) -> Tensor<1> {
    let [samples, classes] = logits.dims();
    let log_probabilities = log_softmax(logits, 1);
    let device = log_probabilities.device();
    if label_smoothing == 0.0 && batch.mixed.is_none() {
        let labels = batch.labels.iter().map(|label| i64::from(*label)).collect();
        let labels = Tensor::<2, Int>::from_data(TensorData::new(labels, [samples, 1]), &device);
        return -log_probabilities.gather(1, labels).mean();
    }
    let smoothing = label_smoothing as f32;
    let mut targets = vec![smoothing / classes as f32; samples * classes];
    for (sample, label) in batch.labels.iter().enumerate() {
        let share = batch.mixed.as_ref().map_or(1.0, |mixed| mixed.lambda);
        targets[sample * classes + *label as usize] += (1.0 - smoothing) * share;
        if let Some(mixed) = &batch.mixed {
            targets[sample * classes + mixed.other_labels[sample] as usize] += (1.0 - smoothing) * (1.0 - share);
        }
    }
    let targets = Tensor::<2>::from_data(TensorData::new(targets, [samples, classes]), &device);
    -(log_probabilities * targets).sum() / samples as f64
}
