//! Pooling over windows and over whole images.

use rayon::prelude::*;

use super::lanes::{Lanes, add_rows};
use super::vectorised::vectorised;

/// Square windows over images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolShape {
    /// Images.
    pub batch: usize,
    /// Height of the input in pixels.
    pub height: usize,
    /// Width of the input in pixels.
    pub width: usize,
    /// Channels.
    pub channels: usize,
    /// Side of the window in pixels, at most 16.
    pub kernel: usize,
    /// Pixels between windows.
    pub stride: usize,
    /// Pixels around the input that never are the largest.
    pub padding: usize,
}

impl PoolShape {
    /// Height of the output in pixels.
    pub fn out_height(&self) -> usize {
        (self.height + 2 * self.padding - self.kernel) / self.stride + 1
    }

    /// Width of the output in pixels.
    pub fn out_width(&self) -> usize {
        (self.width + 2 * self.padding - self.kernel) / self.stride + 1
    }

    /// Calls `visit` with the positions in the window of an output pixel that lie in the image, in
    /// order, and the input pixel there.
    fn window(&self, pixel: usize, mut visit: impl FnMut(u8, usize)) {
        let (out_y, out_x) = (pixel / self.out_width(), pixel % self.out_width());
        for window_y in 0..self.kernel {
            for window_x in 0..self.kernel {
                let (y, x) = (out_y * self.stride + window_y, out_x * self.stride + window_x);
                let inside =
                    |at: usize, length: usize| (self.padding..self.padding + length).contains(&at);
                if inside(y, self.height) && inside(x, self.width) {
                    visit(
                        (window_y * self.kernel + window_x) as u8,
                        (y - self.padding) * self.width + x - self.padding,
                    );
                }
            }
        }
    }

    fn input_len(&self) -> usize {
        (self.height * self.width * self.channels).max(1)
    }

    fn output_len(&self) -> usize {
        (self.out_height() * self.out_width() * self.channels).max(1)
    }
}

/// The largest value of each window; as in PyTorch, what is no number counts as larger, and the
/// first of equals is chosen.
///
/// # Shapes
/// - `x`: `[batch, height, width, channels]`
/// - `y` and `chosen`, the position in the window: `[batch, height', width', channels]`,
///   overwritten
pub fn max_pool(shape: &PoolShape, x: &[f32], y: &mut [f32], chosen: &mut [u8]) {
    let images = y
        .par_chunks_mut(shape.output_len())
        .zip(chosen.par_chunks_mut(shape.output_len()))
        .zip(x.par_chunks(shape.input_len()));
    images.for_each(|((y, chosen), x)| {
        let pixels = y.chunks_mut(shape.channels).zip(chosen.chunks_mut(shape.channels));
        for (pixel, (y, chosen)) in pixels.enumerate() {
            let mut first = true;
            shape.window(pixel, |position, at| {
                let x = &x[at * shape.channels..(at + 1) * shape.channels];
                if std::mem::take(&mut first) {
                    y.copy_from_slice(x);
                    chosen.fill(position);
                } else {
                    choose_larger(x, position, y, chosen);
                }
            });
        }
    });
}

vectorised! {
    fn choose_larger(x: &[f32], position: u8, y: &mut [f32], chosen: &mut [u8]) {
        for ((x, y), chosen) in x.iter().zip(y).zip(chosen) {
            let larger = *x > *y || x.is_nan();
            *y = if larger { *x } else { *y };
            *chosen = if larger { position } else { *chosen };
        }
    }
}

/// The gradient of [`max_pool`].
///
/// # Shapes
/// - `dy` and `chosen`: `[batch, height', width', channels]`
/// - `dx`: `[batch, height, width, channels]`, overwritten
pub fn max_pool_gradient(shape: &PoolShape, dy: &[f32], chosen: &[u8], dx: &mut [f32]) {
    let images = dx
        .par_chunks_mut(shape.input_len())
        .zip(dy.par_chunks(shape.output_len()).zip(chosen.par_chunks(shape.output_len())));
    images.for_each(|(dx, (dy, chosen))| {
        dx.fill(0.0);
        for (pixel, (dy, chosen)) in
            dy.chunks(shape.channels).zip(chosen.chunks(shape.channels)).enumerate()
        {
            shape.window(pixel, |position, at| {
                add_where_chosen(
                    dy,
                    chosen,
                    position,
                    &mut dx[at * shape.channels..(at + 1) * shape.channels],
                );
            });
        }
    });
}

vectorised! {
    fn add_where_chosen(dy: &[f32], chosen: &[u8], position: u8, dx: &mut [f32]) {
        for ((dy, chosen), dx) in dy.iter().zip(chosen).zip(dx) {
            *dx += if *chosen == position { *dy } else { 0.0 };
        }
    }
}

/// The mean of every channel of every image.
///
/// # Shapes
/// - `x`: `[batch, pixels, channels]`
/// - `y`: `[batch, channels]`, overwritten
pub fn average_pool(x: &[f32], pixels: usize, channels: usize, y: &mut [f32]) {
    let lanes = Lanes::new(channels);
    y.par_chunks_mut(channels.max(1)).zip(x.par_chunks((pixels * channels).max(1))).for_each(
        |(y, x)| {
            let mut sums = vec![0.0; lanes.row];
            add_rows(x, &mut sums);
            y.iter_mut()
                .zip(lanes.gather(&sums))
                .for_each(|(y, sum)| *y = (sum / pixels as f64) as f32);
        },
    );
}

/// The gradient of [`average_pool`].
///
/// # Shapes
/// - `dy`: `[batch, channels]`
/// - `dx`: `[batch, pixels, channels]`, overwritten
pub fn average_pool_gradient(dy: &[f32], pixels: usize, channels: usize, dx: &mut [f32]) {
    dx.par_chunks_mut((pixels * channels).max(1)).zip(dy.par_chunks(channels.max(1))).for_each(
        |(dx, dy)| {
            let share: Vec<f32> = dy.iter().map(|value| value / pixels as f32).collect();
            dx.chunks_mut(channels.max(1)).for_each(|dx| dx.copy_from_slice(&share));
        },
    );
}
