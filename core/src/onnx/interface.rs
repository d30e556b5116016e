//! What inputs and outputs of an exported classifier are called.

use std::collections::BTreeMap;

/// The graph's input: float32 `[batch, 3, H, W]`, RGB in 0..1.
pub(crate) const INPUT: &str = "images";
/// One of the graph's outputs: float32 `[batch, classes]`.
pub(crate) const LOGITS: &str = "logits";
/// The other: the softmax of the logits, divided by a temperature where the file says
/// so.
pub(crate) const PROBABILITIES: &str = "probabilities";
/// What the logits are divided by in the graph before the softmax, `[1, 1]`, and the key of the
/// metadata that says so.
pub(crate) const TEMPERATURE: &str = "probability_temperature";

/// What a file says that its logits are to be divided by before the softmax; 1 if it says nothing, or
/// no usable number.
pub(crate) fn temperature(metadata: &BTreeMap<String, String>) -> f32 {
    let said = metadata.get(TEMPERATURE).and_then(|text| text.parse::<f32>().ok());
    said.filter(|said| said.is_normal() && *said > 0.0).unwrap_or(1.0)
}
