//! Folding batch norm into the convolution before it.

use rayon::prelude::*;

use super::batch_norm::Normalisation;
use super::buffer::Buffer;

/// The weight and bias of a convolution that does what `weight` and batch norm with running
/// statistics do together: weight · γ / √(σ² + ε) and β − μ γ / √(σ² + ε).
///
/// # Shapes
/// - `weight`: `[out, in, kernel, kernel]`, as is the first of the result
/// - the second of the result: `[out]`
pub fn fold(weight: &[f32], normalisation: &Normalisation<'_>) -> (Buffer, Vec<f32>) {
    let channels = normalisation.mean.len();
    let of_channel = (weight.len() / channels.max(1)).max(1);
    let mut folded = Buffer::take(weight.len());
    folded.par_chunks_mut(of_channel).zip(weight.par_chunks(of_channel)).enumerate().for_each(
        |(channel, (folded, weight))| {
            let scale = normalisation.scale(channel);
            folded.iter_mut().zip(weight).for_each(|(folded, weight)| *folded = weight * scale);
        },
    );
    let bias = (0..channels)
        .map(|channel| {
            normalisation.bias[channel] - normalisation.mean[channel] * normalisation.scale(channel)
        })
        .collect();
    (folded, bias)
}
