//! Augmentations that map each value by a table: posterise, solarise, autocontrast, equalise.
//!
//! Images are planar, `[3, side, side]`. Results are those of Pillow's `ImageOps`, to the last bit.

fn map(plane: &mut [u8], table: &[u8; 256]) {
    plane.iter_mut().for_each(|value| *value = table[usize::from(*value)]);
}

fn histogram(plane: &[u8]) -> [u32; 256] {
    let mut counts = [0; 256];
    plane.iter().for_each(|&value| counts[usize::from(value)] += 1);
    counts
}

/// Keeps the highest `bits` bits (0..=8) of every value.
pub(super) fn posterize(planes: &mut [u8], bits: u32) {
    let mask = (0xff00u32 >> bits) as u8;
    planes.iter_mut().for_each(|value| *value &= mask);
}

/// Inverts values of at least `threshold`.
pub(super) fn solarize(planes: &mut [u8], threshold: f32) {
    planes
        .iter_mut()
        .filter(|value| f32::from(**value) >= threshold)
        .for_each(|value| *value = 255 - *value);
}

/// Stretches each channel to 0..=255.
pub(super) fn autocontrast(planes: &mut [u8]) {
    let area = planes.len() / 3;
    for plane in planes.chunks_exact_mut(area) {
        let (lowest, highest) =
            plane.iter().fold((255, 0), |(low, high), &value| (value.min(low), value.max(high)));
        if highest <= lowest {
            continue;
        }
        let scale = 255.0 / f64::from(highest - lowest);
        let offset = -f64::from(lowest) * scale;
        map(plane, &std::array::from_fn(|value| (value as f64 * scale + offset) as u8));
    }
}

/// Makes each channel's values about equally frequent.
pub(super) fn equalize(planes: &mut [u8]) {
    let area = planes.len() / 3;
    for plane in planes.chunks_exact_mut(area) {
        let counts = histogram(plane);
        let last = counts.iter().rposition(|&count| count > 0).map_or(0, |value| counts[value]);
        let step = (area as u32 - last) / 255;
        if step == 0 {
            continue;
        }
        let mut below = step / 2;
        map(
            plane,
            &std::array::from_fn(|value| {
                let level = (below / step).min(255) as u8;
                below += counts[value];
                level
            }),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_cases_by_hand() {
        let mut p = [255, 127, 64];
        posterize(&mut p, 2);
        assert_eq!(p, [192, 64, 64]);
        posterize(&mut p, 8);
        assert_eq!(p, [192, 64, 64]);
        let mut p = [0, 100, 101];
        solarize(&mut p, 101.0);
        assert_eq!(p, [0, 100, 154]);
        let mut p = [10, 20, 15, 7, 7, 7, 0, 255, 128];
        autocontrast(&mut p);
        assert_eq!(p, [0, 255, 127, 7, 7, 7, 0, 255, 128]);
    }

    #[test]
    fn equalised_values_spread_over_the_range() {
        // 1024 values 100..164, 16 of each; the step is (1024 − 16) / 255 = 3, so value 100 + i
        // becomes (1 + 16 i) / 3, cut off at 255.
        let plane: Vec<u8> = (0..1024).map(|i| 100 + (i / 16) as u8).collect();
        let mut planes = [plane.clone(), plane, vec![9; 1024]].concat();
        equalize(&mut planes);
        assert_eq!(planes[0], 0);
        assert_eq!(planes[16], 5);
        assert_eq!(planes[1023], 255);
        assert!(planes[2048..].iter().all(|&value| value == 9));
    }
}
