//! Augmentations that mix the samples of a batch in pairs: mixup and CutMix.
//!
//! Images are planar, `[batch, 3, side, side]`.

use rand::seq::SliceRandom;
use rand::{Rng, RngExt};
use rand_distr::{Beta, Distribution};

use super::erase::Rectangle;
use crate::settings::AugmentationSettings;

/// How the samples of a batch were mixed: the target of image i is `lambda` · its own label + (1 −
/// `lambda`) · `other_labels[i]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Mixed {
    /// Labels of what was mixed in, `[batch]`.
    pub other_labels: Vec<u32>,
    /// The images' own share, 0..=1, the same for the whole batch.
    pub lambda: f32,
}

/// How the images of a batch are to be mixed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mixing {
    /// Which of the batch each image is mixed with, `[batch]`.
    pub others: Vec<usize>,
    /// The images' own share, 0..=1.
    pub lambda: f32,
    /// For CutMix, the part that is pasted.
    pub pasted: Option<Rectangle>,
}

/// Draws mixup or CutMix, whichever is on; with both, either with equal chance. Each of `count`
/// images is mixed with one other of a random permutation (which may be itself).
pub(super) fn draw(
    count: usize,
    side: usize,
    settings: &AugmentationSettings,
    rng: &mut impl Rng,
) -> Option<Mixing> {
    let cut = match (settings.mixup > 0.0, settings.cutmix > 0.0) {
        (false, false) => return None,
        (true, true) => rng.random_bool(0.5),
        (_, cut) => cut,
    };
    let alpha = if cut { settings.cutmix } else { settings.mixup };
    let lambda = Beta::new(alpha, alpha).ok()?.sample(rng);
    let mut others: Vec<usize> = (0..count).collect();
    others.shuffle(rng);
    if !cut {
        return Some(Mixing { others, lambda, pasted: None });
    }
    let centre = (rng.random_range(0..side), rng.random_range(0..side));
    let (place, lambda) = pasted_part(side, lambda, centre);
    Some(Mixing { others, lambda, pasted: Some(place) })
}

impl Mixing {
    /// Mixes images, `[batch, 3, side, side]`. `scratch` takes a copy of them; it keeps its memory
    /// from batch to batch.
    pub fn apply(&self, images: &mut [u8], side: usize, scratch: &mut Vec<u8>) {
        scratch.clear();
        scratch.extend_from_slice(images);
        match &self.pasted {
            Some(place) => cutmix(images, scratch, side, &self.others, place),
            None => mixup(images, scratch, 3 * side * side, &self.others, self.lambda),
        }
    }

    /// What is mixed into images with these labels.
    pub fn mixed(&self, labels: &[u32]) -> Mixed {
        Mixed {
            other_labels: self.others.iter().map(|&other| labels[other]).collect(),
            lambda: self.lambda,
        }
    }
}

/// x ← λ x + (1 − λ) x_other, rounded to bytes (Zhang et al., *mixup: Beyond Empirical Risk
/// Minimization*, 2018).
fn mixup(images: &mut [u8], source: &[u8], size: usize, others: &[usize], lambda: f32) {
    for (image, &other) in images.chunks_exact_mut(size).zip(others) {
        for (value, &other) in image.iter_mut().zip(&source[other * size..][..size]) {
            let other = f32::from(other);
            *value = (other + lambda * (f32::from(*value) - other) + 0.5) as u8;
        }
    }
}

/// The rectangle of area 1 − λ around `centre`, cut off at the border, and the share of the image
/// that is left (Yun et al., *CutMix*, ICCV 2019).
fn pasted_part(side: usize, lambda: f32, centre: (usize, usize)) -> (Rectangle, f32) {
    let half = (0.5 * (1.0 - lambda).max(0.0).sqrt() * side as f32) as usize;
    let span = |centre: usize| centre.saturating_sub(half)..(centre + half).min(side);
    let place = Rectangle { columns: span(centre.0), rows: span(centre.1) };
    let left = 1.0 - place.area() as f32 / (side * side) as f32;
    (place, left)
}

/// Pastes one rectangle from the other image into each.
fn cutmix(images: &mut [u8], source: &[u8], side: usize, others: &[usize], place: &Rectangle) {
    let area = side * side;
    for (image, &other) in images.chunks_exact_mut(3 * area).zip(others) {
        let other = &source[other * 3 * area..][..3 * area];
        for row in
            (0..3).flat_map(|channel| place.rows.clone().map(move |y| channel * area + y * side))
        {
            let range = row + place.columns.start..row + place.columns.end;
            image[range.clone()].copy_from_slice(&other[range]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::stream;
    use crate::settings::{Preset, Settings};

    #[test]
    fn mixup_is_a_weighted_mean() {
        let mut images = [100, 0, 10, 200, 255, 20];
        let source = images;
        mixup(&mut images, &source, 3, &[1, 0], 0.75);
        assert_eq!(images, [125, 64, 13, 175, 191, 18]);
    }

    #[test]
    fn cutmix_pastes_a_rectangle_and_counts_it() {
        let mut images = [vec![1; 48], vec![2; 48]].concat();
        // λ = 0.75 on a side of 4: half the rectangle's side is 1, so it covers columns 0 and rows
        // 1..3.
        let source = images.clone();
        let (place, lambda) = pasted_part(4, 0.75, (0, 2));
        cutmix(&mut images, &source, 4, &[1, 1], &place);
        assert_eq!(lambda, 1.0 - 2.0 / 16.0);
        assert_eq!(images[..16], [1, 1, 1, 1, 2, 1, 1, 1, 2, 1, 1, 1, 1, 1, 1, 1]);
        assert_eq!(images[..16], images[32..48]);
        assert!(images[48..].iter().all(|&value| value == 2));
    }

    #[test]
    fn either_kind_is_drawn_and_labels_follow() {
        let mut settings = Settings::preset(Preset::Quick).augmentation;
        let labels = [0, 1, 2, 3];
        let start: Vec<u8> = (0..4u8).flat_map(|label| vec![label * 60; 3 * 64]).collect();
        let run = |settings: &AugmentationSettings, seed| {
            let mut images = start.clone();
            let mixing = draw(labels.len(), 8, settings, &mut stream(seed, "mix", &[]));
            if let Some(mixing) = &mixing {
                mixing.apply(&mut images, 8, &mut vec![7; 9]);
            }
            (images, mixing.map(|mixing| mixing.mixed(&labels)))
        };
        assert_eq!(run(&settings, 0), (start.clone(), None));
        (settings.mixup, settings.cutmix) = (0.4, 1.0);
        let (mut pasted, mut blended) = (0, 0);
        for seed in 0..100 {
            let (images, mixed) = run(&settings, seed);
            let mixed = mixed.unwrap();
            assert!((0.0..=1.0).contains(&mixed.lambda));
            for (i, image) in images.chunks_exact(3 * 64).enumerate() {
                let mean = image.iter().map(|&v| f32::from(v)).sum::<f32>() / 192.0;
                let expected = 60.0
                    * (mixed.lambda * labels[i] as f32
                        + (1.0 - mixed.lambda) * mixed.other_labels[i] as f32);
                assert!((mean - expected).abs() < 0.51, "{mean} {expected}");
            }
            if images.iter().all(|value| value % 60 == 0) { pasted += 1 } else { blended += 1 }
        }
        assert!(pasted > 25 && blended > 25, "{pasted} {blended}");
    }
}
