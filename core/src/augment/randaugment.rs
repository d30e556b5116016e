//! RandAugment (Cubuk, Zoph, Shlens, Le: *RandAugment: Practical automated data augmentation with a
//! reduced search space*, 2020).

use rand::{Rng, RngExt};

use super::geometry::{Affine, warp};
use super::{color, tone};

/// The 14 operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Identity,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
    Rotate,
    Brightness,
    Color,
    Contrast,
    Sharpness,
    Posterize,
    Solarize,
    AutoContrast,
    Equalize,
}

const OPERATIONS: [Operation; 14] = [
    Operation::Identity,
    Operation::ShearX,
    Operation::ShearY,
    Operation::TranslateX,
    Operation::TranslateY,
    Operation::Rotate,
    Operation::Brightness,
    Operation::Color,
    Operation::Contrast,
    Operation::Sharpness,
    Operation::Posterize,
    Operation::Solarize,
    Operation::AutoContrast,
    Operation::Equalize,
];

/// One operation as drawn: which, and in which direction (± 1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Drawn {
    operation: Operation,
    sign: f32,
}

/// Draws `count` operations, each from all 14; those with a direction take either with equal
/// chance.
pub(super) fn draw(count: usize, rng: &mut impl Rng) -> Vec<Drawn> {
    let one = |_| {
        let operation = OPERATIONS[rng.random_range(0..OPERATIONS.len())];
        Drawn { operation, sign: if rng.random_bool(0.5) { -1.0 } else { 1.0 } }
    };
    (0..count).map(one).collect()
}

/// Applies operations at `magnitude` (0..=30). Ranges are torchvision's. Parts that come in from
/// outside take `fill`.
pub(super) fn randaugment(
    planes: &mut [u8],
    side: usize,
    drawn: &[Drawn],
    magnitude: f32,
    fill: [u8; 3],
) {
    for &Drawn { operation, sign } in drawn {
        apply(planes, side, operation, magnitude / 30.0, sign, fill);
    }
}

/// `strength` is the magnitude in 0..=1.
fn apply(
    planes: &mut [u8],
    side: usize,
    operation: Operation,
    strength: f32,
    sign: f32,
    fill: [u8; 3],
) {
    let signed = sign * strength;
    let pixels = (signed * 150.0 / 331.0 * side as f32).trunc();
    match operation {
        Operation::Identity => {}
        Operation::ShearX => warp(planes, side, Affine::shear_x(0.3 * signed), fill),
        Operation::ShearY => warp(planes, side, Affine::shear_y(0.3 * signed), fill),
        Operation::TranslateX => warp(planes, side, Affine::translate(pixels, 0.0), fill),
        Operation::TranslateY => warp(planes, side, Affine::translate(0.0, pixels), fill),
        Operation::Rotate => warp(planes, side, Affine::rotate(30.0 * signed, side), fill),
        Operation::Brightness => color::brightness(planes, 1.0 + 0.9 * signed),
        Operation::Color => color::saturation(planes, 1.0 + 0.9 * signed),
        Operation::Contrast => color::contrast(planes, 1.0 + 0.9 * signed),
        Operation::Sharpness => color::sharpness(planes, side, 1.0 + 0.9 * signed),
        Operation::Posterize => {
            tone::posterize(planes, 8 - (4.0 * strength).round_ties_even() as u32)
        }
        Operation::Solarize => tone::solarize(planes, 255.0 * (1.0 - strength)),
        Operation::AutoContrast => tone::autocontrast(planes),
        Operation::Equalize => tone::equalize(planes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::stream;

    #[test]
    fn at_magnitude_zero_only_tone_changes() {
        let image: Vec<u8> = (0..3 * 64).map(|i| (40 + i * 7 % 100) as u8).collect();
        for operation in OPERATIONS {
            for sign in [-1.0, 1.0] {
                let mut changed = image.clone();
                apply(&mut changed, 8, operation, 0.0, sign, [0; 3]);
                // 64 values are too few for equalisation, which then changes nothing.
                assert_eq!(changed == image, operation != Operation::AutoContrast, "{operation:?}");
            }
        }
    }

    #[test]
    fn every_operation_is_drawn_and_none_without_a_count() {
        let image: Vec<u8> = (0..3 * 1024u32).map(|i| (i * i % 251) as u8).collect();
        let mut results = std::collections::BTreeSet::new();
        for sample in 0..400 {
            let mut changed = image.clone();
            randaugment(
                &mut changed,
                32,
                &draw(1, &mut stream(0, "test", &[sample])),
                15.0,
                [128; 3],
            );
            results.insert(changed);
        }
        // Nine operations have a direction and five do not.
        assert_eq!(results.len(), 9 * 2 + 5);
        let mut changed = image.clone();
        randaugment(&mut changed, 32, &draw(0, &mut stream(0, "test", &[])), 15.0, [128; 3]);
        assert_eq!(changed, image);
    }
}
