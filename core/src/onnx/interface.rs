//! What inputs and outputs of an exported classifier are called.

/// The graph's input: float32 `[batch, 3, H, W]`, RGB in 0..1.
pub(crate) const INPUT: &str = "images";
/// The graph's first output: float32 `[batch, classes]`.
pub(crate) const LOGITS: &str = "logits";
/// The graph's second output: the softmax of the first.
pub(crate) const PROBABILITIES: &str = "probabilities";
