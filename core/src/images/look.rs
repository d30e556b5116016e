//! How an image looks, in 64 bits that hardly change where the image hardly does: a perceptual
//! hash.

use std::cmp::Ordering;
use std::f64::consts::PI;
use std::sync::LazyLock;

use super::pixels::RgbPixels;

/// Side of the grey picture whose frequencies are looked at.
const SIDE: usize = 32;
/// Frequencies of one direction that any bit is about.
const FREQUENCIES: usize = 11;
/// Pixels of one direction that a cell of the grey picture is the mean of, at most.
const SAMPLES: usize = 8;
/// A frequency below this is not there: the rest is what rounding leaves of one that is exactly 0.
const NOTHING: f64 = 1e-3;

/// Cosines: `COSINES[frequency][place]`.
static COSINES: LazyLock<[[f64; SIDE]; FREQUENCIES]> = LazyLock::new(|| {
    std::array::from_fn(|frequency| {
        std::array::from_fn(|place| {
            (PI * (2 * place + 1) as f64 * frequency as f64 / (2 * SIDE) as f64).cos()
        })
    })
});

/// The frequency of each bit, across and down: the 64 lowest apart from the mean.
static BITS: LazyLock<Vec<(usize, usize)>> = LazyLock::new(|| {
    let mut all: Vec<(usize, usize)> = (0..FREQUENCIES)
        .flat_map(|across| (0..FREQUENCIES).map(move |down| (across, down)))
        .filter(|&place| place != (0, 0))
        .collect();
    all.sort_by(|a, b| match (a.0 + a.1).cmp(&(b.0 + b.1)) {
        Ordering::Equal => a.cmp(b),
        other => other,
    });
    all.truncate(64);
    all
});

/// The bits in which two looks differ. Of the same picture in another size, quality or brightness
/// it is a few, of two photos that have nothing to do with each other about 32.
///
/// ```
/// use counterweight_core::images::look_distance;
/// assert_eq!(look_distance(0b1010, 0b0110), 2);
/// ```
pub fn look_distance(one: u64, other: u64) -> u32 {
    (one ^ other).count_ones()
}

/// How a picture looks: the signs of its 64 lowest frequencies, the mean apart, of the discrete
/// cosine transform of 32 × 32 grey cells. Zauner, *Implementation and Benchmarking of Perceptual
/// Image Hash Functions*, 2010, takes the signs about a median instead, which is not 0 only where
/// a picture is nearly flat.
pub(crate) fn look(pixels: &RgbPixels) -> u64 {
    let grey = grey_cells(pixels);
    let cosines = &*COSINES;
    // By row, then by column.
    let mut across = [[0.0; FREQUENCIES]; SIDE];
    for (row, sums) in grey.iter().zip(&mut across) {
        for (sum, cosines) in sums.iter_mut().zip(cosines) {
            *sum = row.iter().zip(cosines).map(|(grey, cosine)| grey * cosine).sum();
        }
    }
    BITS.iter().enumerate().fold(0, |look, (bit, &(u, v))| {
        let amount: f64 = across.iter().zip(&cosines[v]).map(|(row, cosine)| row[u] * cosine).sum();
        look | u64::from(amount > NOTHING) << bit
    })
}

/// Mean grey of 32 × 32 cells, 0 to 255. A picture with fewer pixels than that repeats them.
fn grey_cells(pixels: &RgbPixels) -> [[f64; SIDE]; SIDE] {
    let (width, height) = (pixels.width as usize, pixels.height as usize);
    let places = |cell: usize, length: usize| {
        let start = cell * length / SIDE;
        let end = ((cell + 1) * length / SIDE).max(start + 1);
        (start..end).step_by((end - start).div_ceil(SAMPLES))
    };
    std::array::from_fn(|row| {
        std::array::from_fn(|column| {
            let (mut sum, mut count) = (0u64, 0u64);
            for y in places(row, height) {
                for x in places(column, width) {
                    let at = 3 * (y * width + x);
                    let Some(&[red, green, blue]) = pixels.data[at..].first_chunk() else {
                        continue;
                    };
                    sum += 299 * u64::from(red) + 587 * u64::from(green) + 114 * u64::from(blue);
                    count += 1;
                }
            }
            sum as f64 / (1000 * count.max(1)) as f64
        })
    })
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::random::stream;

    /// A smooth picture of a few waves, drawn at any size.
    fn picture(number: u64, width: u32, height: u32, brightness: f64) -> RgbPixels {
        let mut random = stream(number, "picture", &[]);
        let mut unit = || random.next_u32() as f64 / f64::from(u32::MAX);
        let waves: Vec<[f64; 4]> =
            (0..8).map(|_| [5.0 * unit(), 5.0 * unit(), 7.0 * unit(), unit()]).collect();
        let mut data = Vec::new();
        for y in 0..height {
            for x in 0..width {
                let (x, y) = (f64::from(x) / f64::from(width), f64::from(y) / f64::from(height));
                let value: f64 = waves
                    .iter()
                    .map(|[a, b, phase, amount]| amount * (PI * (a * x + b * y) + phase).sin())
                    .sum();
                let grey = (brightness * (110.0 + 20.0 * value)).clamp(0.0, 255.0) as u8;
                data.extend([grey, grey, grey]);
            }
        }
        RgbPixels { width, height, data }
    }

    #[test]
    fn the_same_picture_in_another_size_and_brightness_looks_alike() {
        for number in 0..20 {
            let one = look(&picture(number, 320, 240, 1.0));
            for other in [picture(number, 200, 150, 1.0), picture(number, 320, 240, 1.1)] {
                let distance = look_distance(one, look(&other));
                assert!(distance <= 6, "{number}: {distance}");
            }
        }
    }

    #[test]
    fn other_pictures_do_not() {
        let looks: Vec<u64> = (0..40).map(|number| look(&picture(number, 100, 100, 1.0))).collect();
        let mut distances: Vec<u32> = (0..40)
            .flat_map(|a| (0..a).map(move |b| (a, b)))
            .map(|(a, b)| look_distance(looks[a], looks[b]))
            .collect();
        distances.sort_unstable();
        assert!(distances[0] > 8, "{}", distances[0]);
        let median = distances[distances.len() / 2];
        assert!((26..=38).contains(&median), "{median}");
    }

    #[test]
    fn pictures_of_any_size_have_a_look_and_flat_ones_none() {
        for (width, height) in [(1, 1), (1, 500), (31, 33), (8, 8)] {
            for value in [0, 7, 127, 255] {
                let data = vec![value; (3 * width * height) as usize];
                assert_eq!(look(&RgbPixels { width, height, data }), 0);
            }
        }
    }
}
