//! Convolutions of every channel by itself, by plain loops. Whole networks in evaluation have faster ones: see
//! [`PackedNetwork`](super::PackedNetwork).

use rayon::prelude::*;

use super::activation::Activation;
use super::grid::Grid;

/// Convolves every channel by itself, adds the bias and applies the activation.
///
/// # Shapes
/// - `x`: `[batch, height, width, channels]`
/// - `weight`: `[channels, kernel, kernel]`
/// - `bias`: `[channels]`
/// - `y`: `[batch, out_height, out_width, channels]`, overwritten
///
/// # Panics
/// If a slice has another length than that.
pub fn depthwise_forward(grid: &Grid, x: &[f32], weight: &[f32], bias: &[f32], activation: Activation, y: &mut [f32]) {
    let (channels, taps) = (bias.len(), grid.kernel * grid.kernel);
    let (height, width) = (grid.out_height(), grid.out_width());
    assert_eq!(x.len(), grid.batch * grid.height * grid.width * channels, "the input has another size");
    assert_eq!(weight.len(), channels * taps, "the weight has another size");
    assert_eq!(y.len(), grid.batch * height * width * channels, "the output has another size");
    if y.is_empty() {
        return;
    }
    // By taps, so that the channels of one lie next to each other as those of a pixel do.
    let factors: Vec<f32> = (0..taps).flat_map(|tap| (0..channels).map(move |channel| weight[channel * taps + tap])).collect();
    y.par_chunks_mut(width * channels).enumerate().for_each(|(line, y)| {
        let (image, row) = (line / height, line % height);
        for (column, sums) in y.chunks_mut(channels).enumerate() {
            sums.copy_from_slice(bias);
            for tap in 0..taps {
                let from_row = (row * grid.stride + tap / grid.kernel).checked_sub(grid.rows.0).filter(|row| *row < grid.height);
                let from_column =
                    (column * grid.stride + tap % grid.kernel).checked_sub(grid.columns.0).filter(|column| *column < grid.width);
                let (Some(from_row), Some(from_column)) = (from_row, from_column) else { continue };
                let start = ((image * grid.height + from_row) * grid.width + from_column) * channels;
                let pixel = x[start..start + channels].iter().zip(&factors[tap * channels..(tap + 1) * channels]);
                sums.iter_mut().zip(pixel).for_each(|(sum, (x, factor))| *sum += x * factor);
            }
            sums.iter_mut().for_each(|sum| *sum = activation.apply(*sum));
        }
    });
}
