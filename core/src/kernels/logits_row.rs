//! What is asked of a row of logits, one logit a class: the largest, how many come before one of
//! them, and the sum that softmax divides by. With thousands of classes that is most of an
//! evaluation, beside the product the logits come from.
//!
//! Every instruction set gives the same bits.

use super::vectorised::vectorised;

/// Logits that are looked at side by side.
const LANES: usize = 16;
/// What numbers that are infinite, of either sign, have for bits without the sign. Those that are
/// not numbers have more.
const INFINITE: u32 = 0x7f80_0000;
/// Where an exponential is taken for 0: below it a float32 could not hold all digits.
const FLOOR: f32 = -87.0;
/// The natural logarithm of 2, in two pieces so that a multiple of the first is exact.
const LN_2: (f32, f32) = (0.693_359_4, -2.121_944_4e-4);
/// Added to a small number, it leaves no bits for what follows the point: the sum is this and the
/// nearest whole number.
const ROUND: f32 = 12_582_912.0;

/// The largest of `row`'s logits; `None` where there is none, or one of them is not finite.
pub fn largest(row: &[f32]) -> Option<f32> {
    let mut found = (f32::NEG_INFINITY, 0);
    look_through(row, &mut found);
    (!row.is_empty() && found.1 < INFINITE).then_some(found.0)
}

/// How many classes come before `label` when sorted by logit, the largest first, ties by index.
///
/// # Panics
/// If `label` is none of the classes.
pub fn rank(row: &[f32], label: usize) -> usize {
    let own = row[label];
    let mut found = 0;
    count_from(&row[..label], own, &mut found);
    count_above(&row[label + 1..], own, &mut found);
    found as usize
}

/// Σ exp(logit − `largest`) over `row`, of which none is above `largest`. Each term is within two
/// units in the last place of a float32; they are added in float64.
pub fn sum_of_exponentials(row: &[f32], largest: f32) -> f64 {
    let mut sum = 0.0;
    add_exponentials(row, largest, &mut sum);
    sum
}

vectorised! {
    /// The largest logit, and the largest of their bits without the sign.
    fn look_through(row: &[f32], found: &mut (f32, u32)) {
        let mut largest = [f32::NEG_INFINITY; LANES];
        let mut bits = [0_u32; LANES];
        let (blocks, rest) = row.as_chunks::<LANES>();
        for block in blocks {
            for lane in 0..LANES {
                largest[lane] = if block[lane] > largest[lane] { block[lane] } else { largest[lane] };
                bits[lane] = bits[lane].max(block[lane].to_bits() & 0x7fff_ffff);
            }
        }
        for (lane, logit) in rest.iter().enumerate() {
            largest[lane] = if *logit > largest[lane] { *logit } else { largest[lane] };
            bits[lane] = bits[lane].max(logit.to_bits() & 0x7fff_ffff);
        }
        for lane in 0..LANES {
            found.0 = if largest[lane] > found.0 { largest[lane] } else { found.0 };
            found.1 = found.1.max(bits[lane]);
        }
    }
}

vectorised! {
    fn count_from(row: &[f32], own: f32, found: &mut u32) {
        *found += row.iter().map(|logit| u32::from(*logit >= own)).sum::<u32>();
    }
}

vectorised! {
    fn count_above(row: &[f32], own: f32, found: &mut u32) {
        *found += row.iter().map(|logit| u32::from(*logit > own)).sum::<u32>();
    }
}

vectorised! {
    fn add_exponentials(row: &[f32], largest: f32, sum: &mut f64) {
        let mut sums = [0.0_f64; LANES];
        let (blocks, rest) = row.as_chunks::<LANES>();
        for block in blocks {
            add_block(block, largest, &mut sums);
        }
        if !rest.is_empty() {
            let mut block = [f32::NEG_INFINITY; LANES];
            block[..rest.len()].copy_from_slice(rest);
            add_block(&block, largest, &mut sums);
        }
        *sum = sums.iter().sum();
    }
}

#[inline(always)]
fn add_block(block: &[f32; LANES], largest: f32, sums: &mut [f64; LANES]) {
    let mut found = [0.0; LANES];
    for (found, logit) in found.iter_mut().zip(block) {
        *found = exponential(*logit - largest);
    }
    for (sum, found) in sums.iter_mut().zip(found) {
        *sum += f64::from(found);
    }
}

/// `e` to the power of `x`, which is not above 0.
#[inline(always)]
fn exponential(x: f32) -> f32 {
    let inside = if x > FLOOR { x } else { FLOOR };
    let rounded = inside * std::f32::consts::LOG2_E + ROUND;
    let whole = rounded - ROUND;
    let rest = (inside - whole * LN_2.0) - whole * LN_2.1;
    // The Taylor series as far as a seventh power, |rest| being at most ln 2 / 2.
    let mut sum = 1.0 / 5040.0;
    for factor in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        sum = sum * rest + factor;
    }
    // The lowest bits of the rounded number are those of the whole one, which is not above 0.
    let power = rounded.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23;
    let result = sum * f32::from_bits(power);
    if x > FLOOR { result } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(classes: usize, scale: f32) -> Vec<f32> {
        (0..classes).map(|class| ((class * 7919 % 1013) as f32 / 506.0 - 1.0) * scale).collect()
    }

    #[test]
    fn exponentials_are_those_of_the_standard_library() {
        for step in 0..200_000 {
            let x = -87.0 * step as f32 / 200_000.0;
            let (found, right) = (f64::from(exponential(x)), f64::from(x).exp());
            assert!((found / right - 1.0).abs() < 2.4e-7, "exp({x}) = {right}, not {found}");
        }
        assert_eq!(exponential(0.0), 1.0);
        assert_eq!(exponential(-0.0), 1.0);
        for below in [-87.0, -87.5, -1e30, f32::MIN, f32::NEG_INFINITY] {
            assert_eq!(exponential(below), 0.0, "{below}");
        }
    }

    #[test]
    fn rows_of_every_length_give_what_one_logit_after_the_other_gives() {
        for classes in (1..70).chain([8142]) {
            for scale in [0.0, 1.0, 30.0, 1e30] {
                let row = row(classes, scale);
                let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                assert_eq!(largest(&row), Some(max));
                let right: f64 = row.iter().map(|x| (f64::from(*x) - f64::from(max)).exp()).sum();
                let found = sum_of_exponentials(&row, max);
                assert!((found / right - 1.0).abs() < 2e-6, "{classes} {scale}: {right} {found}");
                for label in [0, classes / 2, classes - 1] {
                    let comes_before = |(class, logit): &(usize, &f32)| {
                        **logit > row[label] || (**logit == row[label] && *class < label)
                    };
                    let before = row.iter().enumerate().filter(comes_before).count();
                    assert_eq!(rank(&row, label), before, "{classes} {scale} {label}");
                }
            }
        }
    }

    #[test]
    fn one_logit_that_is_not_finite_is_seen_wherever_it_is() {
        assert_eq!(largest(&[]), None);
        for broken in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for place in 0..40 {
                let mut row = row(40, 3.0);
                row[place] = broken;
                assert_eq!(largest(&row), None, "{broken} at {place}");
            }
        }
    }
}
