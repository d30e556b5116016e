//! The loss of stage 1.

use std::ops::Range;

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::data::Batch;
use crate::ops;

/// What the samples of a batch are to be classified as, on the device: their labels, with label smoothing ε (the target is 1 − ε on the label
/// plus ε / C on every class, as in PyTorch) and with the second labels of mixup or CutMix.
#[derive(Clone, Debug)]
pub struct Targets {
    /// `[batch, 1]`
    labels: Tensor<2, Int>,
    soft: Option<Soft>,
}

/// Targets that are shared among classes.
#[derive(Clone, Debug)]
enum Soft {
    /// The share of every class, `[batch, classes]`. The CPU's way, in which results are reproducible.
    Shares(Tensor<2>),
    /// The second labels, `[batch, 1]`, and the share of the first; how much of everything is spread over all classes. A GPU makes what it
    /// needs of it, so that little has to go there.
    Parts { second: Option<(Tensor<2, Int>, f32)>, smoothing: f64 },
}

impl Targets {
    /// The targets of a batch among `classes`, for logits on `device`. Nothing here waits for it.
    pub fn new(batch: &Batch, classes: usize, label_smoothing: f64, device: &Device) -> Self {
        let column = |labels: &[u32]| {
            let column = labels.iter().map(|label| i64::from(*label)).collect();
            Tensor::<2, Int>::from_data(TensorData::new(column, [labels.len(), 1]), device)
        };
        let labels = column(&batch.labels);
        let soft = (label_smoothing != 0.0 || batch.mixed.is_some()).then(|| match ops::is_cpu(device) {
            true => Soft::Shares(shares(batch, classes, label_smoothing as f32, device)),
            false => {
                let second = batch.mixed.as_ref().map(|mixed| (column(&mixed.other_labels), mixed.lambda));
                Soft::Parts { second, smoothing: label_smoothing }
            }
        });
        Self { labels, soft }
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.labels.dims()[0]
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Those of some of the samples.
    pub fn slice(&self, samples: Range<usize>) -> Self {
        let soft = self.soft.clone().map(|soft| match soft {
            Soft::Shares(shares) => Soft::Shares(shares.slice([samples.clone()])),
            Soft::Parts { second, smoothing } => {
                let second = second.map(|(labels, share)| (labels.slice([samples.clone()]), share));
                Soft::Parts { second, smoothing }
            }
        });
        Self { labels: self.labels.clone().slice([samples]), soft }
    }

    /// Mean cross-entropy of logits `[batch, classes]`: a tensor `[1]`.
    pub fn loss(&self, logits: Tensor<2>) -> Tensor<1> {
        let samples = logits.dims()[0];
        let log_probabilities = log_softmax(logits, 1);
        match &self.soft {
            None => -log_probabilities.gather(1, self.labels.clone()).mean(),
            Some(Soft::Shares(shares)) => -(log_probabilities * shares.clone()).sum() / samples as f64,
            Some(Soft::Parts { second, smoothing }) => {
                let mut picked = log_probabilities.clone().gather(1, self.labels.clone()).mean();
                if let Some((labels, share)) = second {
                    let second = log_probabilities.clone().gather(1, labels.clone()).mean();
                    picked = picked * *share + second * (1.0 - *share);
                }
                if *smoothing == 0.0 {
                    return -picked;
                }
                -(picked * (1.0 - smoothing) + log_probabilities.mean() * *smoothing)
            }
        }
    }

    /// How many samples have their highest of the logits `[batch, classes]` on their label: a tensor `[1]`.
    pub fn hits(&self, logits: Tensor<2>) -> Tensor<1, Int> {
        logits.inner().argmax(1).equal(self.labels.clone().inner()).int().sum()
    }
}

/// The share of every class in the targets, `[batch, classes]`.
fn shares(batch: &Batch, classes: usize, smoothing: f32, device: &Device) -> Tensor<2> {
    let samples = batch.labels.len();
    let mut shares = vec![smoothing / classes as f32; samples * classes];
    for (sample, label) in batch.labels.iter().enumerate() {
        let share = batch.mixed.as_ref().map_or(1.0, |mixed| mixed.lambda);
        shares[sample * classes + *label as usize] += (1.0 - smoothing) * share;
        if let Some(mixed) = &batch.mixed {
            shares[sample * classes + mixed.other_labels[sample] as usize] += (1.0 - smoothing) * (1.0 - share);
        }
    }
    Tensor::from_data(TensorData::new(shares, [samples, classes]), device)
}

/// Mean cross-entropy of a batch; see [`Targets`].
///
/// # Shapes
/// - `logits`: `[batch, classes]`
/// - result: `[1]`
pub fn cross_entropy(logits: Tensor<2>, batch: &Batch, label_smoothing: f64) -> Tensor<1> {
    Targets::new(batch, logits.dims()[1], label_smoothing, &logits.device()).loss(logits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::Loss;
    use crate::data::Mixed;
    use crate::settings::ClassifierLoss;

    const LOGITS: [f32; 6] = [2.0, -1.0, 0.5, 0.0, 3.0, -4.0];

    fn ours(labels: Vec<u32>, mixed: Option<Mixed>, smoothing: f64) -> f32 {
        let logits = Tensor::<2>::from_data(TensorData::new(LOGITS.to_vec(), [2, 3]), &Device::flex());
        let batch = Batch { indices: vec![0, 1], labels, mixed, ..Batch::default() };
        let targets = Targets::new(&batch, 3, smoothing, &logits.device());
        let loss = cross_entropy(logits.clone(), &batch, smoothing).into_scalar::<f32>();
        // What a GPU makes of it is the same.
        let soft = Some(Soft::Parts { second: second(&batch), smoothing });
        let parts = Targets { soft, ..targets.clone() }.loss(logits.clone()).into_scalar::<f32>();
        assert!((loss - parts).abs() < 1e-5, "{loss} and {parts}");
        // So is the mean over parts of the batch.
        let halves = [0..1, 1..2].map(|half| targets.slice(half.clone()).loss(logits.clone().slice([half])).into_scalar::<f32>());
        assert!((loss - (halves[0] + halves[1]) / 2.0).abs() < 1e-5, "{loss} and {halves:?}");
        loss
    }

    fn second(batch: &Batch) -> Option<(Tensor<2, Int>, f32)> {
        let mixed = batch.mixed.as_ref()?;
        let labels = mixed.other_labels.iter().map(|&label| i64::from(label)).collect();
        Some((Tensor::from_data(TensorData::new(labels, [2, 1]), &Device::flex()), mixed.lambda))
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
    fn hits_are_counted() {
        let logits = Tensor::<2>::from_data(TensorData::new(LOGITS.to_vec(), [2, 3]), &Device::flex());
        let hits = |labels| {
            let batch = Batch { labels, ..Batch::default() };
            Targets::new(&batch, 3, 0.1, &Device::flex()).hits(logits.clone()).into_scalar::<i64>()
        };
        assert_eq!([hits(vec![0, 1]), hits(vec![0, 0]), hits(vec![2, 2])], [2, 1, 0]);
    }

    #[test]
    fn mixed_labels_share_the_loss() {
        let mixed = Some(Mixed { other_labels: vec![1, 0], lambda: 0.3 });
        let expected = 0.3 * reference(&[0, 2], 0.2) + 0.7 * reference(&[1, 0], 0.2);
        assert!((ours(vec![0, 2], mixed, 0.2) - expected).abs() < 1e-5);
    }
}
