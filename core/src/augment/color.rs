//! Augmentations that mix each pixel with something plainer: brightness, contrast, saturation,
//! sharpness; hue; and colour jitter, which draws them at random.
//!
//! Images are planar, `[3, side, side]`. A factor of 1 changes nothing, 0 leaves only the plainer
//! image, and above 1 moves away from it. Results are those of Pillow's `ImageEnhance`, which
//! torchvision uses for 8-bit images, to the last bit.

use rand::{Rng, RngExt};

/// `plain` + `factor` · (`value` − `plain`), cut off to a byte.
fn blend(plain: u8, value: u8, factor: f32) -> u8 {
    let plain = f32::from(plain);
    (plain + factor * (f32::from(value) - plain)) as u8
}

/// Luma of a pixel: 0.299 R + 0.587 G + 0.114 B (ITU-R 601), in 16-bit fixed point.
fn luma(red: u8, green: u8, blue: u8) -> u8 {
    ((u32::from(red) * 19595 + u32::from(green) * 38470 + u32::from(blue) * 7471 + 0x8000) >> 16)
        as u8
}

fn each_pixel(planes: &mut [u8], mut change: impl FnMut([u8; 3]) -> [u8; 3]) {
    let area = planes.len() / 3;
    let (red, rest) = planes.split_at_mut(area);
    let (green, blue) = rest.split_at_mut(area);
    for ((red, green), blue) in red.iter_mut().zip(green).zip(blue) {
        [*red, *green, *blue] = change([*red, *green, *blue]);
    }
}

/// Mixes with black.
pub(super) fn brightness(planes: &mut [u8], factor: f32) {
    let table: [u8; 256] = std::array::from_fn(|value| blend(0, value as u8, factor));
    planes.iter_mut().for_each(|value| *value = table[usize::from(*value)]);
}

/// Mixes with the image's mean luma.
pub(super) fn contrast(planes: &mut [u8], factor: f32) {
    let mut sum = 0u64;
    each_pixel(planes, |[red, green, blue]| {
        sum += u64::from(luma(red, green, blue));
        [red, green, blue]
    });
    let mean = (sum as f64 / (planes.len() / 3) as f64 + 0.5) as u8;
    let table: [u8; 256] = std::array::from_fn(|value| blend(mean, value as u8, factor));
    planes.iter_mut().for_each(|value| *value = table[usize::from(*value)]);
}

/// Mixes with the grey image.
pub(super) fn saturation(planes: &mut [u8], factor: f32) {
    each_pixel(planes, |pixel| {
        let grey = luma(pixel[0], pixel[1], pixel[2]);
        pixel.map(|value| blend(grey, value, factor))
    });
}

/// Mixes with the image smoothed by a 3 × 3 kernel of ones and a 5 in the middle; border pixels are
/// not smoothed.
pub(super) fn sharpness(planes: &mut [u8], side: usize, factor: f32) {
    let mut smooth = vec![0; side * side];
    for plane in planes.chunks_exact_mut(side * side) {
        smooth.copy_from_slice(plane);
        for y in 1..side.saturating_sub(1) {
            for x in 1..side.saturating_sub(1) {
                let at = y * side + x;
                let around: u32 = [at - side, at, at + side]
                    .iter()
                    .flat_map(|&m| &plane[m - 1..=m + 1])
                    .map(|&v| u32::from(v))
                    .sum();
                let sum = around + 4 * u32::from(plane[at]);
                smooth[at] = ((2 * sum + 13) / 26) as u8;
            }
        }
        for (value, &plain) in plane.iter_mut().zip(&smooth) {
            *value = blend(plain, *value, factor);
        }
    }
}

/// Turns the hue by `turns` of the colour circle (−0.5..=0.5), keeping HSV saturation and value.
pub(super) fn hue(planes: &mut [u8], turns: f32) {
    each_pixel(planes, |[red, green, blue]| {
        let highest = red.max(green).max(blue);
        let lowest = red.min(green).min(blue);
        if highest == lowest {
            return [red, green, blue];
        }
        let (r, g, b) = (f32::from(red), f32::from(green), f32::from(blue));
        let (high, low) = (f32::from(highest), f32::from(lowest));
        let spread = high - low;
        // The hue in sixths of a turn: red 0, green 2, blue 4.
        let sixth = if highest == red {
            (g - b) / spread
        } else if highest == green {
            2.0 + (b - r) / spread
        } else {
            4.0 + (r - g) / spread
        };
        let sixth = (sixth + 6.0 * turns).rem_euclid(6.0);
        // How far a channel whose own hue is `own` lies between the lowest and the highest value.
        let channel = |own: f32| {
            let apart = (sixth - own).abs();
            let apart = apart.min(6.0 - apart);
            (low + spread * (2.0 - apart).clamp(0.0, 1.0) + 0.5) as u8
        };
        [channel(0.0), channel(2.0), channel(4.0)]
    });
}

/// What colour jitter does to one image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Jitter {
    /// Factors of brightness, contrast and saturation.
    pub factors: [f32; 3],
    /// How far the hue is turned, in turns.
    pub turns: f32,
    /// The operations in the order they act: 0 brightness, 1 contrast, 2 saturation, 3 hue.
    pub order: [u8; 4],
}

/// Draws factors of brightness, contrast and saturation from 1 ± `strength`, a turn of the hue by ±
/// `strength` / 4, and a random order (as torchvision's `ColorJitter`).
pub(super) fn draw_jitter(strength: f32, rng: &mut impl Rng) -> Jitter {
    let mut factors = [0.0; 3];
    factors.fill_with(|| rng.random_range((1.0 - strength).max(0.0)..=1.0 + strength));
    let turns = rng.random_range(-strength / 4.0..=strength / 4.0);
    let mut order = [0, 1, 2, 3];
    for last in (1..order.len()).rev() {
        order.swap(last, rng.random_range(0..=last));
    }
    Jitter { factors, turns, order }
}

/// Changes colours as drawn.
pub(super) fn jitter(planes: &mut [u8], drawn: &Jitter) {
    for operation in drawn.order {
        match operation {
            0 => brightness(planes, drawn.factors[0]),
            1 => contrast(planes, drawn.factors[1]),
            2 => saturation(planes, drawn.factors[2]),
            _ => hue(planes, drawn.turns),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::stream;

    #[test]
    fn a_factor_of_one_changes_nothing() {
        let image: Vec<u8> = (0..48).map(|i| (i * 37 % 256) as u8).collect();
        let change = |operation: &dyn Fn(&mut [u8])| {
            let mut changed = image.clone();
            operation(&mut changed);
            changed
        };
        assert_eq!(change(&|p| brightness(p, 1.0)), image);
        assert_eq!(change(&|p| contrast(p, 1.0)), image);
        assert_eq!(change(&|p| saturation(p, 1.0)), image);
        assert_eq!(change(&|p| sharpness(p, 4, 1.0)), image);
        assert_eq!(change(&|p| hue(p, 0.0)), image);
        assert_eq!(change(&|p| jitter(p, &draw_jitter(0.0, &mut stream(0, "test", &[])))), image);
        assert_ne!(change(&|p| jitter(p, &draw_jitter(0.5, &mut stream(0, "test", &[])))), image);
    }

    #[test]
    fn one_pixel_by_hand() {
        let mut p = [100, 200, 40];
        brightness(&mut p, 1.5);
        assert_eq!(p, [150, 255, 60]);
        // Luma of (100, 200, 40): 29.9 + 117.4 + 4.56 = 151.86, so 152.
        let mut p = [100, 200, 40];
        saturation(&mut p, 0.5);
        assert_eq!(p, [126, 176, 96]);
        let mut p = [100, 200, 40];
        contrast(&mut p, 0.0);
        assert_eq!(p, [152, 152, 152]);
    }

    #[test]
    fn a_third_of_a_turn_exchanges_channels() {
        let mut p = [255, 10, 200, 30, 60, 80];
        hue(&mut p, 1.0 / 3.0);
        // Pixels (255, 200, 60) and (10, 30, 80): red goes to green, green to blue, blue to red.
        assert_eq!(p, [60, 80, 255, 10, 200, 30]);
    }

    #[test]
    fn sharpness_smooths_the_inside_only() {
        let mut image = [0; 27];
        image[4] = 130;
        sharpness(&mut image, 3, 0.0);
        assert_eq!(image[..9], [0, 0, 0, 0, 50, 0, 0, 0, 0]);
        image[4] = 130;
        sharpness(&mut image, 3, 1.5);
        assert_eq!(image[4], 170);
    }
}
