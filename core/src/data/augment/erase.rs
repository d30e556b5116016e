//! Augmentations that hide a part: random erasing and Cutout.
//!
//! Images are planar, `[3, side, side]`.

use std::ops::Range;

use rand::{Rng, RngExt};

fn each_row(planes: &mut [u8], side: usize, columns: Range<usize>, rows: Range<usize>, mut change: impl FnMut(usize, &mut [u8])) {
    for (channel, plane) in planes.chunks_exact_mut(side * side).enumerate() {
        for y in rows.clone() {
            change(channel, &mut plane[y * side..][columns.clone()]);
        }
    }
}

/// With this `probability`, replaces a rectangle by random values: area 0.02..0.4 of the image's, aspect ratio 0.3..1/0.3 (Zhong et al.,
/// *Random Erasing Data Augmentation*, AAAI 2020, variant RE-R).
pub(super) fn random_erasing(planes: &mut [u8], side: usize, probability: f32, rng: &mut impl Rng) {
    if !rng.random_bool(f64::from(probability)) {
        return;
    }
    let size = side as f64;
    for _ in 0..100 {
        let area = size * size * rng.random_range(0.02..=0.4);
        let ratio: f64 = rng.random_range(0.3..=1.0 / 0.3);
        let (height, width) = ((area * ratio).sqrt().round() as usize, (area / ratio).sqrt().round() as usize);
        if height == 0 || width == 0 || height >= side || width >= side {
            continue;
        }
        let left = rng.random_range(0..=side - width);
        let top = rng.random_range(0..=side - height);
        each_row(planes, side, left..left + width, top..top + height, |_, row| rng.fill_bytes(row));
        return;
    }
}

/// Sets a square of `length` pixels a side to `fill`. Its centre is any pixel; what lies outside the image is cut off (DeVries and Taylor,
/// *Improved Regularization of Convolutional Neural Networks with Cutout*, 2017).
pub(super) fn cutout(planes: &mut [u8], side: usize, length: usize, fill: [u8; 3], rng: &mut impl Rng) {
    let mut range = || {
        let centre = rng.random_range(0..side);
        centre.saturating_sub(length / 2)..(centre + length - length / 2).min(side)
    };
    let (columns, rows) = (range(), range());
    each_row(planes, side, columns, rows, |channel, row| row.fill(fill[channel]));
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
            random_erasing(&mut planes, side, 0.5, &mut rng);
            let hit: Vec<usize> = (0..side * side).filter(|&i| (0..3).any(|c| planes[c * side * side + i] != 0)).collect();
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
            cutout(&mut planes, 8, 4, [1, 2, 3], &mut rng);
            let count = |channel: usize| planes[channel * 64..][..64].iter().filter(|&&v| v == channel as u8 + 1).count();
            assert_eq!((count(0), count(0)), (count(1), count(2)));
            sizes.insert(count(0));
        }
        // Sides of 2 (a corner pixel's own half) to 4.
        assert_eq!(sizes.into_iter().collect::<Vec<_>>(), [4, 6, 8, 9, 12, 16]);
    }
}
