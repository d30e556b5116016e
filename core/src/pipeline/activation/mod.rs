//! Where a network looked: class activation maps (Zhou, Khosla, Lapedriza, Oliva and Torralba,
//! *Learning Deep Features for Discriminative Localization*, CVPR 2016).
//!
//! Every backbone of the program's own ends in the mean over its last feature map, and a linear
//! classifier follows. So a class's logit is exactly the mean, over the places of that map, of the
//! features there times the class's weights, plus the class's bias: what each place says for or
//! against the class needs neither gradients nor an approximation.

mod colour;
mod overlay;
mod sheet;
#[cfg(test)]
mod tests;

use burn::tensor::Device;

pub use colour::ramp as colour_ramp;
pub use overlay::overlay as activation_overlay;
pub use sheet::sheet as activation_sheet;

use crate::classifier::Classifier;
use crate::device::{attempt, host_all};
use crate::error::{Result, TrainError};
use crate::images::{Detail, InputShape, RgbPixels, to_input};
use crate::model::{Network, Normaliser};
use crate::run::{Checkpoint, Run};
use crate::train::{classifier_in_file, network_of};
use crate::words::ImageFit;

/// A checkpoint's network with which images are looked at, on the processor.
pub struct ActivationMaps {
    network: Network,
    /// For features as the backbone gives them: where they are standardised, that is folded in.
    classifier: Classifier,
    normaliser: Normaliser,
    shape: InputShape,
    classes: Vec<String>,
}

/// What a network computes of one image.
#[derive(Clone, Debug, PartialEq)]
pub struct Looked {
    height: usize,
    width: usize,
    /// The last feature map, `[features, height, width]`.
    features: Vec<f32>,
    /// A logit for every class.
    pub logits: Vec<f32>,
    /// A probability for every class, in 0..1, by softmax.
    pub probabilities: Vec<f32>,
}

/// What each place of an image says for a class, or against it.
#[derive(Clone, Debug, PartialEq)]
pub struct ActivationMap {
    /// The class, in label order.
    pub class: usize,
    /// What of the image it covers.
    pub fit: ImageFit,
    /// Rows of the map.
    pub height: usize,
    /// Columns of the map.
    pub width: usize,
    /// What each place gives to the logit, `[height, width]`, rows from the top. The logit is their
    /// mean plus the bias.
    pub values: Vec<f32>,
    /// The class's bias, which no place gives.
    pub bias: f32,
}

/// The values that the ends of the colours stand for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ActivationScale {
    /// The value of the darkest colour.
    pub low: f32,
    /// The value of the brightest colour.
    pub high: f32,
}

impl ActivationMaps {
    /// For a checkpoint of a run, its final one without a name.
    ///
    /// # Errors
    /// No such checkpoint, one that does not fit its network, and a run whose features come out of
    /// an ONNX file: such a file gives features of whole images and not of places.
    pub fn open(run: &Run, checkpoint: Option<&str>) -> Result<Self> {
        Self::of(&run.checkpoint(checkpoint.unwrap_or_else(|| run.final_checkpoint()))?)
    }

    /// For a checkpoint.
    ///
    /// # Errors
    /// As [`ActivationMaps::open`].
    pub fn of(checkpoint: &Checkpoint) -> Result<Self> {
        if checkpoint.config.backbone.onnx().is_some() {
            return Err(TrainError::Request(
                "the features of this run come out of an ONNX file, which gives them of whole images only, so where it looked cannot be said; \
                 runs with a backbone of the program's own can show it"
                    .into(),
            )
            .into());
        }
        Ok(Self {
            network: network_of(checkpoint, &Device::flex())?,
            classifier: classifier_in_file(checkpoint)?,
            normaliser: Normaliser::new(checkpoint.mean, checkpoint.std),
            shape: checkpoint.input_shape(),
            classes: checkpoint.classes.clone(),
        })
    }

    /// Class names, in label order.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The detail that images are to be read with: what evaluation and the exported file see.
    pub fn detail(&self) -> Detail {
        Detail::Side(self.shape.side as u32)
    }

    /// Computes the feature map of an image, or of its largest centred square where the network sees no
    /// more.
    ///
    /// # Errors
    /// A classifier or an image that gives numbers which are not finite.
    pub fn look(&self, image: &RgbPixels) -> Result<Looked> {
        let device = Device::flex();
        let input = to_input(image, self.shape);
        let (map, [_, features, height, width]) = attempt(&device, || {
            let map =
                self.network.feature_map(self.normaliser.tensor(&input, self.shape.side, &device));
            let shape = map.dims();
            let rows = map.reshape([shape[1] as i32, -1]);
            host_all(vec![rows]).map(|mut values| (values.remove(0), shape))
        })?;
        debug_assert_eq!(features, self.classifier.features);
        let places = (height * width) as f64;
        let pooled: Vec<f32> = map
            .chunks_exact(height * width)
            .map(|plane| (plane.iter().map(|value| f64::from(*value)).sum::<f64>() / places) as f32)
            .collect();
        let logits = self.classifier.logits(&pooled)?;
        if !logits.iter().all(|logit| logit.is_finite()) {
            let reason = "the network gives numbers for this image that are not finite";
            return Err(TrainError::Request(reason.into()).into());
        }
        let probabilities = crate::infer::softmax(&logits, 1.0);
        Ok(Looked { height, width, features: map, logits, probabilities })
    }

    /// The map of a class.
    ///
    /// # Panics
    /// If there is no such class, or the feature map is another network's.
    pub fn map(&self, looked: &Looked, class: usize) -> ActivationMap {
        let weights =
            &self.classifier.weight[class * self.classifier.features..][..self.classifier.features];
        let places = looked.height * looked.width;
        assert_eq!(looked.features.len(), weights.len() * places, "the feature map fits");
        let mut sums = vec![0.0_f64; places];
        for (plane, weight) in looked.features.chunks_exact(places).zip(weights) {
            let weight = f64::from(*weight);
            sums.iter_mut().zip(plane).for_each(|(sum, value)| *sum += weight * f64::from(*value));
        }
        ActivationMap {
            class,
            fit: self.shape.fit,
            height: looked.height,
            width: looked.width,
            values: sums.into_iter().map(|sum| sum as f32).collect(),
            bias: self.classifier.bias[class],
        }
    }
}

impl Looked {
    /// The class with the largest logit; of equals the first.
    pub fn predicted(&self) -> usize {
        crate::eval::argmax(&self.logits)
    }

    /// Classes, the most probable first.
    pub fn ranked(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.logits.len()).collect();
        order.sort_by(|&a, &b| self.logits[b].total_cmp(&self.logits[a]));
        order
    }
}

impl ActivationMap {
    /// The class's logit: the mean of the places plus the bias.
    pub fn logit(&self) -> f32 {
        let sum: f64 = self.values.iter().map(|value| f64::from(*value)).sum();
        (sum / self.values.len().max(1) as f64 + f64::from(self.bias)) as f32
    }

    /// The value at a point of what the network sees, given in shares of its sides: linear
    /// between the middles of the places, and that of the nearest one beyond them.
    pub fn at(&self, x: f32, y: f32) -> f32 {
        let along = |share: f32, places: usize| {
            let at = (share * places as f32 - 0.5).clamp(0.0, places as f32 - 1.0);
            let first = (at as usize).min(places - 1);
            (first, (first + 1).min(places - 1), at - first as f32)
        };
        let (left, right, dx) = along(x, self.width);
        let (top, bottom, dy) = along(y, self.height);
        let value = |x: usize, y: usize| self.values[y * self.width + x];
        let row = |y: usize| value(left, y) + dx * (value(right, y) - value(left, y));
        row(top) + dy * (row(bottom) - row(top))
    }
}

impl ActivationScale {
    /// From the smallest to the largest value of some maps, so that their colours can be compared.
    pub fn of<'a>(maps: impl IntoIterator<Item = &'a ActivationMap>) -> Self {
        let values = maps.into_iter().flat_map(|map| &map.values);
        let start = Self { low: f32::INFINITY, high: f32::NEG_INFINITY };
        let scale = values.fold(start, |scale, &value| Self {
            low: scale.low.min(value),
            high: scale.high.max(value),
        });
        if scale.low <= scale.high { scale } else { Self { low: 0.0, high: 0.0 } }
    }

    /// Where a value lies between the ends, in 0..1.
    pub fn share(self, value: f32) -> f32 {
        let range = self.high - self.low;
        if range > 0.0 { ((value - self.low) / range).clamp(0.0, 1.0) } else { 0.5 }
    }
}
