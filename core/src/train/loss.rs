//! The loss of stage 1.

use std::ops::Range;

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::batches::Batch;
#[cfg(feature = "gpu")]
use crate::ops;

/// What the samples of a batch are to be classified as, on the device: their labels, with label
/// smoothing ε (the target is 1 − ε on the label plus ε / C on every class, as in PyTorch) and with
/// the second labels of mixup or CutMix.
#[derive(Clone, Debug)]
pub struct Targets {
    /// `[batch]`
    labels: Tensor<1, Int>,
    soft: Soft,
}

/// How targets are shared among classes.
#[derive(Clone, Debug)]
#[cfg_attr(
    not(feature = "gpu"),
    expect(clippy::large_enum_variant, reason = "there is one of them a batch")
)]
enum Soft {
    /// They are not shared: every image has one class.
    No,
    /// The share of every class, `[batch, classes]`. The CPU's way.
    Shares(Tensor<2>),
    /// The second labels, `[batch]`, and the shares. A GPU makes what it needs of it, so that
    /// little has to go there.
    #[cfg(feature = "gpu")]
    Parts(Tensor<1, Int>, ops::Shares),
}

impl Targets {
    /// The targets of a batch among `classes`, for logits on `device`. Nothing here waits for it.
    pub fn new(batch: &Batch, classes: usize, label_smoothing: f64, device: &Device) -> Self {
        let upload = |labels: &[u32], device: &Device| {
            let length = labels.len();
            let labels: Vec<i64> = labels.iter().map(|label| i64::from(*label)).collect();
            Tensor::<1, Int>::from_data(TensorData::new(labels, [length]), device)
        };
        #[cfg(feature = "gpu")]
        if ops::is_gpu(device) {
            let device = &device.clone().without_autodiff();
            let labels = upload(&batch.labels, device);
            let (second, lambda) = match &batch.mixed {
                Some(mixed) => (upload(&mixed.other_labels, device), f64::from(mixed.lambda)),
                None => (labels.clone(), 1.0),
            };
            return Self {
                labels,
                soft: Soft::Parts(second, ops::Shares { lambda, smoothing: label_smoothing }),
            };
        }
        let soft = match label_smoothing != 0.0 || batch.mixed.is_some() {
            true => Soft::Shares(shares(batch, classes, label_smoothing as f32, device)),
            false => Soft::No,
        };
        Self { labels: upload(&batch.labels, device), soft }
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
        let soft = match self.soft.clone() {
            Soft::No => Soft::No,
            Soft::Shares(shares) => Soft::Shares(shares.slice([samples.clone()])),
            #[cfg(feature = "gpu")]
            Soft::Parts(second, of) => Soft::Parts(second.slice([samples.clone()]), of),
        };
        Self { labels: self.labels.clone().slice([samples]), soft }
    }

    /// Mean cross-entropy of logits `[batch, classes]`, and how many samples have the highest of
    /// their logits on their label, without gradient: two tensors `[1]`.
    pub fn loss_and_hits(&self, logits: Tensor<2>) -> (Tensor<1>, Tensor<1>) {
        let [samples, _] = logits.dims();
        let column = || self.labels.clone().reshape([samples, 1]);
        let hits = |logits: Tensor<2>| {
            logits.inner().argmax(1).equal(column().inner()).int().sum().float()
        };
        match &self.soft {
            Soft::No => {
                let hits = hits(logits.clone());
                (-log_softmax(logits, 1).gather(1, column()).mean(), hits)
            }
            Soft::Shares(shares) => {
                let hits = hits(logits.clone());
                // By rows first: large sums are shared among threads in no certain order.
                let losses = (log_softmax(logits, 1) * shares.clone()).sum_dim(1);
                (-losses.sum() / samples as f64, hits)
            }
            #[cfg(feature = "gpu")]
            Soft::Parts(second, shares) => {
                ops::cross_entropy(logits, self.labels.clone(), second.clone(), *shares)
            }
        }
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
            shares[sample * classes + mixed.other_labels[sample] as usize] +=
                (1.0 - smoothing) * (1.0 - share);
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
    Targets::new(batch, logits.dims()[1], label_smoothing, &logits.device()).loss_and_hits(logits).0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::Mixed;
    use crate::balance::Loss;
    use crate::settings::ClassifierLoss;

    const LOGITS: [f32; 6] = [2.0, -1.0, 0.5, 0.0, 3.0, -4.0];

    fn ours(labels: Vec<u32>, mixed: Option<Mixed>, smoothing: f64) -> f32 {
        let logits =
            Tensor::<2>::from_data(TensorData::new(LOGITS.to_vec(), [2, 3]), &Device::flex());
        let batch = Batch { indices: vec![0, 1], labels, mixed, ..Batch::default() };
        let targets = Targets::new(&batch, 3, smoothing, &logits.device());
        let loss = cross_entropy(logits.clone(), &batch, smoothing).into_scalar::<f32>();
        // The mean over parts of the batch is the same.
        let half = |half: Range<usize>| {
            targets
                .slice(half.clone())
                .loss_and_hits(logits.clone().slice([half]))
                .0
                .into_scalar::<f32>()
        };
        let halves = [half(0..1), half(1..2)];
        assert!((loss - (halves[0] + halves[1]) / 2.0).abs() < 1e-5, "{loss} and {halves:?}");
        loss
    }

    /// The loss over slices, itself compared with PyTorch's.
    fn reference(labels: &[u32], smoothing: f64) -> f32 {
        let loss =
            Loss::new(ClassifierLoss::CrossEntropy, &[1, 1, 1], 0.0, 0.0, smoothing).unwrap();
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
        let logits =
            Tensor::<2>::from_data(TensorData::new(LOGITS.to_vec(), [2, 3]), &Device::flex());
        let hits = |labels| {
            let batch = Batch { labels, ..Batch::default() };
            Targets::new(&batch, 3, 0.1, &Device::flex())
                .loss_and_hits(logits.clone())
                .1
                .into_scalar::<f32>()
        };
        assert_eq!([hits(vec![0, 1]), hits(vec![0, 0]), hits(vec![2, 2])], [2.0, 1.0, 0.0]);
    }

    #[test]
    fn mixed_labels_share_the_loss() {
        let mixed = Some(Mixed { other_labels: vec![1, 0], lambda: 0.3 });
        let expected = 0.3 * reference(&[0, 2], 0.2) + 0.7 * reference(&[1, 0], 0.2);
        assert!((ours(vec![0, 2], mixed, 0.2) - expected).abs() < 1e-5);
    }
}
