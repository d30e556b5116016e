//! Files that this program wrote, computed by its own kernels, which are several times as fast as
//! the runtime that takes every file.
//!
//! A file is taken for one of ours if its graph is what its metadata say it was when it was written
//! ([`DIGEST`](crate::onnx::DIGEST)), and what both compute of some images is compared before it is
//! relied on.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::Device;
use onnx_ir::ModelProto;
use protobuf::Message;
use serde::Deserialize;

use super::{Outputs, TOLERANCE, softmax};
use crate::model::{
    Backbone, NamedTensor, Network, NetworkConfig, Normaliser, Prepared, load_weights, weights,
};
use crate::onnx::{DIGEST, digest, read_bytes, temperature};
use crate::settings::Stem;

/// Forms whose weights are the network's.
const FORMS: [&str; 6] =
    ["float32", "uint8-nchw", "uint8-nhwc", "any-size", "batch-1", "calibrated"];

/// The network in a file.
pub(super) struct Native {
    prepared: Prepared,
    normaliser: Normaliser,
    side: usize,
    /// What logits are divided by before the softmax.
    temperature: f32,
}

impl std::fmt::Debug for Native {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Native").field("side", &self.side).finish_non_exhaustive()
    }
}

/// What of `preprocess` is needed.
#[derive(Deserialize)]
struct Preprocess {
    inside: Inside,
}

#[derive(Deserialize)]
struct Inside {
    mean: [f32; 3],
    std: [f32; 3],
}

impl Native {
    /// The network in a file, if it is one of ours, unchanged, and of a backbone of our own.
    pub fn of(
        path: &Path,
        metadata: &BTreeMap<String, String>,
        side: usize,
        classes: usize,
    ) -> Option<Self> {
        let backbone: Backbone = metadata.get("architecture")?.parse().ok()?;
        let form = metadata.get("variant")?;
        let stated = metadata.get(DIGEST)?;
        if !FORMS.contains(&form.as_str()) || !backbone.info().sides.contains(&side) {
            return None;
        }
        let Preprocess { inside } = serde_json::from_str(metadata.get("preprocess")?).ok()?;
        let usable = inside.mean.iter().all(|mean| mean.is_finite())
            && inside.std.iter().all(|std| std.is_finite() && *std > 0.0);
        let mut file = ModelProto::parse_from_bytes(&read_bytes(path).ok()?).ok()?;
        let graph = file.graph.mut_or_insert_default();
        if !usable || digest(graph).ok()? != *stated {
            return None;
        }
        let held: BTreeMap<String, NamedTensor> = std::mem::take(&mut graph.initializer)
            .into_iter()
            .map(|tensor| {
                let values = tensor.raw_data.as_chunks().0.iter();
                let named = NamedTensor {
                    shape: tensor.dims.iter().map(|&length| length as usize).collect(),
                    values: values.map(|bytes| f32::from_le_bytes(*bytes)).collect(),
                    name: tensor.name,
                };
                (named.name.clone(), named)
            })
            .collect();
        [Stem::Small, Stem::Imagenet].into_iter().find_map(|stem| {
            let config = NetworkConfig { backbone, stem, input_size: side, classes };
            let network = Network::blank(&config, &Device::flex());
            let tensors = unfolded(weights(&network), &held)?;
            Some(Self {
                prepared: Prepared::new(load_weights(network, tensors).ok()?),
                normaliser: Normaliser::new(inside.mean, inside.std),
                side,
                temperature: temperature(metadata),
            })
        })
    }

    /// Logits and probabilities of images as [`crate::images::to_input`] makes them.
    ///
    /// # Errors
    /// A sentence, if they cannot be computed.
    pub fn run(&self, images: &[Vec<u8>]) -> Result<Outputs, String> {
        let input = self.normaliser.tensor(&images.concat(), self.side, &Device::flex());
        let logits = self.prepared.network().classify(self.prepared.features(input));
        let classes = logits.dims()[1];
        let values =
            logits.into_data().try_into_vec::<f32>().map_err(|error| format!("{error:?}"))?;
        if !values.iter().all(|value| value.is_finite()) {
            return Err("it returned values that are not finite numbers".into());
        }
        let logits: Vec<Vec<f32>> = values.chunks(classes).map(<[f32]>::to_vec).collect();
        let probabilities = logits.iter().map(|row| softmax(row, self.temperature)).collect();
        Ok(Outputs { logits: Some(logits), probabilities })
    }

    /// Whether it gives for some images what the runtime gave.
    pub fn agrees(&self, images: &[Vec<u8>], expected: &Outputs) -> bool {
        let Ok(found) = self.run(images) else { return false };
        let close = |found: &[Vec<f32>], expected: &[Vec<f32>]| {
            let pairs = || found.iter().flatten().zip(expected.iter().flatten());
            let scale = pairs().fold(1.0f32, |scale, (_, expected)| scale.max(expected.abs()));
            pairs().all(|(found, expected)| (found - expected).abs() <= TOLERANCE * scale)
        };
        close(&found.probabilities, &expected.probabilities)
            && match (&found.logits, &expected.logits) {
                (Some(found), Some(expected)) => close(found, expected),
                _ => true,
            }
    }
}

/// A network's weights out of those of its file, in which batch norm is folded into convolutions:
/// each gets its folded weight, and the batch norm behind it only adds the bias.
fn unfolded(
    wanted: Vec<NamedTensor>,
    held: &BTreeMap<String, NamedTensor>,
) -> Option<Vec<NamedTensor>> {
    /// So large that no ε changes it, and its root is exact.
    const VARIANCE: f32 = (1u64 << 40) as f32;
    const ROOT: f32 = (1u64 << 20) as f32;
    let mut tensors = Vec::with_capacity(wanted.len());
    let mut convolution = String::new();
    for mut tensor in wanted {
        if let Some(found) = held.get(&tensor.name) {
            if found.shape != tensor.shape {
                return None;
            }
            if tensor.shape.len() == 4 {
                convolution = tensor.name.strip_suffix(".weight")?.to_string();
            }
            tensors.push(found.clone());
            continue;
        }
        let last = tensor.name.rsplit('.').next()?;
        match last {
            "weight" => tensor.values.fill(ROOT),
            "running_mean" => tensor.values.fill(0.0),
            "running_var" => tensor.values.fill(VARIANCE),
            "bias" => {
                let bias = held.get(&format!("{convolution}.bias"))?;
                if bias.values.len() != tensor.values.len() {
                    return None;
                }
                tensor.values.clone_from(&bias.values);
            }
            _ => return None,
        }
        tensors.push(tensor);
    }
    Some(tensors)
}
