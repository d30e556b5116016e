//! Augmentations that hide a part: random erasing and Cutout.
//!
//! Images are planar, `[3, side, side]`.

use std::ops::Range;

use rand::{Rng, RngExt};

/// A part of an image, in pixels.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rectangle {
    pub columns: Range<usize>,
    pub rows: Range<usize>,
}

impl Rectangle {
    /// Number of pixels.
    pub fn area(&self) -> usize {
        self.columns.len() * self.rows.len()
    }
}

/// A part that takes random values: `noise` holds them, `[3, rows, columns]`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Erased {
    pub place: Rectangle,
    pub noise: Vec<u8>,
}

fn each_row(
    planes: &mut [u8],
    side: usize,
    place: &Rectangle,
    mut change: impl FnMut(usize, &mut [u8]),
) {
    for (channel, plane) in planes.chunks_exact_mut(side * side).enumerate() {
        for y in place.rows.clone() {
            change(channel, &mut plane[y * side..][place.columns.clone()]);
        }
    }
}

/// Draws, with this `probability`, a rectangle and the random values that replace it: area
/// 0.02..0.4 of the image's, aspect ratio 0.3..1/0.3 (Zhong et al., *Random Erasing Data
/// Augmentation*, AAAI 2020, variant RE-R).
pub(super) fn draw_erasing(side: usize, probability: f32, rng: &mut impl Rng) -> Option<Erased> {
    if !rng.random_bool(f64::from(probability)) {
        return None;
    }
    let size = side as f64;
    for _ in 0..100 {
        let area = size * size * rng.random_range(0.02..=0.4);
        let ratio: f64 = rng.random_range(0.3..=1.0 / 0.3);
        let (height, width) =
            ((area * ratio).sqrt().round() as usize, (area / ratio).sqrt().round() as usize);
        if height == 0 || width == 0 || height >= side || width >= side {
            continue;
        }
        let left = rng.random_range(0..=side - width);
        let top = rng.random_range(0..=side - height);
        let place = Rectangle { columns: left..left + width, rows: top..top + height };
        let mut noise = vec![0; 3 * place.area()];
        // Row by row: a generator gives whole words and throws away what is left of the last.
        noise.chunks_exact_mut(width).for_each(|row| rng.fill_bytes(row));
        return Some(Erased { place, noise });
    }
    None
}

/// Replaces the rectangle by its random values.
pub(super) fn erase(planes: &mut [u8], side: usize, erased: &Erased) {
    let mut rows = erased.noise.chunks_exact(erased.place.columns.len().max(1));
    each_row(planes, side, &erased.place, |_, row| {
        if let Some(noise) = rows.next() {
            row.copy_from_slice(noise);
        }
    });
}

/// Draws where a square of `length` pixels a side goes. Its centre is any pixel; what lies outside
/// the image is cut off (DeVries and Taylor, *Improved Regularization of Convolutional Neural
/// Networks with Cutout*, 2017).
pub(super) fn draw_cutout(side: usize, length: usize, rng: &mut impl Rng) -> Rectangle {
    let mut range = || {
        let centre = rng.random_range(0..side);
        centre.saturating_sub(length / 2)..(centre + length - length / 2).min(side)
    };
    let columns = range();
    Rectangle { columns, rows: range() }
}

/// Sets the rectangle to `fill`.
pub(super) fn cut_out(planes: &mut [u8], side: usize, place: &Rectangle, fill: [u8; 3]) {
    each_row(planes, side, place, |channel, row| row.fill(fill[channel]));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::stream;

    #[test]
    fn erasing_hides_one_rectangle_of_the_allowed_size() {
        let mut rng = stream(0, "test", &[]);
        let side = 32;
        let mut changed = 0;
        for _ in 0..300 {
            // Random bytes equal 0 now and then, so the rectangle is found from its extremes.
            let mut planes = vec![0; 3 * side * side];
            if let Some(erased) = draw_erasing(side, 0.5, &mut rng) {
                erase(&mut planes, side, &erased);
            }
            let hit: Vec<usize> = (0..side * side)
                .filter(|&i| (0..3).any(|c| planes[c * side * side + i] != 0))
                .collect();
            if hit.is_empty() {
                continue;
            }
            changed += 1;
            let span = |place: &dyn Fn(usize) -> usize| {
                let places = || hit.iter().map(|&i| place(i));
                places().max().unwrap() - places().min().unwrap() + 1
            };
            let (width, height) = (span(&|i| i % side), span(&|i| i / side));
            assert!(hit.len() as f64 > 0.95 * (width * height) as f64);
            let share = (width * height) as f64 / 1024.0;
            assert!((0.015..0.43).contains(&share), "{width}×{height}");
        }
        assert!((110..190).contains(&changed), "{changed}");
    }

    #[test]
    fn a_cutout_is_cut_off_at_the_border() {
        let mut rng = stream(0, "test", &[]);
        let mut sizes = std::collections::BTreeSet::new();
        for _ in 0..500 {
            let mut planes = vec![0; 3 * 64];
            cut_out(&mut planes, 8, &draw_cutout(8, 4, &mut rng), [1, 2, 3]);
            let count = |channel: usize| {
                planes[channel * 64..][..64].iter().filter(|&&v| v == channel as u8 + 1).count()
            };
            assert_eq!((count(0), count(0)), (count(1), count(2)));
            sizes.insert(count(0));
        }
        // Sides of 2 (a corner pixel's own half) to 4.
        assert_eq!(sizes.into_iter().collect::<Vec<_>>(), [4, 6, 8, 9, 12, 16]);
    }
}
