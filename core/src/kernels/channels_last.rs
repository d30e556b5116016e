//! Copying images of any strides to channels last.

use rayon::prelude::*;

/// Pixels copied together, so that a channel's values are read as they lie and a pixel's values are
/// written near each other.
const TILE: usize = 16;

/// Copies `[batch, channels, height, width]` from storage with any strides.
///
/// # Shapes
/// - `storage`: holds value `[n, c, y, x]` at
///   `offset + n · strides[0] + c · strides[1] + y · strides[2] + x · strides[3]`
/// - `out`: `[batch, height, width, channels]`, overwritten
///
/// # Panics
/// If the strides lead out of the storage.
pub fn to_channels_last(
    storage: &[f32],
    offset: usize,
    dims: [usize; 4],
    strides: [isize; 4],
    out: &mut [f32],
) {
    let [_, channels, height, width] = dims;
    let image = channels * height * width;
    if image == 0 {
        return;
    }
    out.par_chunks_mut(image).enumerate().for_each(|(index, out)| {
        let start = offset as isize + index as isize * strides[0];
        let place = |pixel: usize| {
            start + (pixel / width) as isize * strides[2] + (pixel % width) as isize * strides[3]
        };
        for (tile, out) in out.chunks_mut(TILE * channels).enumerate() {
            let pixels = out.len() / channels;
            let places: [isize; TILE] =
                std::array::from_fn(|pixel| place((tile * TILE + pixel).min(height * width - 1)));
            for channel in 0..channels {
                let shift = channel as isize * strides[1];
                for (pixel, place) in places.iter().take(pixels).enumerate() {
                    out[pixel * channels + channel] = storage[(place + shift) as usize];
                }
            }
        }
    });
}
