//! Holding samples out of training: how many of each class, and which.

use std::collections::HashMap;

/// Share of all samples held out for testing where a source has no splits.
pub const DEFAULT_TEST: f64 = 0.2;

/// Share of all samples held out for validation where a source has no splits.
pub const DEFAULT_VALIDATION: f64 = 0.1;

/// A class gives a balanced test part at most this share of its samples, unless a larger one was
/// asked for.
const LARGEST_TEST_SHARE: f64 = 1.0 / 3.0;

/// From this many samples on, a class gives validation at least one.
const SMALLEST_WITH_VALIDATION: usize = 3;

/// The same number of test samples from every class: `fraction` of the mean class, at least one. A
/// class too small for that gives a third (or `fraction`, where that is more), at least one, and
/// keeps at least one.
pub(super) fn test_sizes(available: &[usize], fraction: f64) -> Vec<usize> {
    if fraction <= 0.0 || available.is_empty() {
        return vec![0; available.len()];
    }
    let mean = available.iter().sum::<usize>() as f64 / available.len() as f64;
    let equal = floor(fraction * mean).max(1);
    let share = fraction.max(LARGEST_TEST_SHARE);
    available
        .iter()
        .map(|&n| equal.min(floor(share * n as f64).max(1)).min(n.saturating_sub(1)))
        .collect()
}

/// `fraction` of each class for validation, rounded, of its `total` samples, out of the `left`
/// ones: at least one where the class has three samples, and at least one stays.
pub(super) fn validation_sizes(total: &[usize], left: &[usize], fraction: f64) -> Vec<usize> {
    if fraction <= 0.0 {
        return vec![0; total.len()];
    }
    let size = |(&total, &left): (&usize, &usize)| {
        let least = usize::from(total >= SMALLEST_WITH_VALIDATION);
        ((fraction * total as f64).round() as usize).max(least).min(left.saturating_sub(1))
    };
    total.iter().zip(left).map(size).collect()
}

/// The floor of a product that is exact in real numbers but may have been rounded to just below.
fn floor(value: f64) -> usize {
    (value + 1e-9) as usize
}

/// Moves `count` samples off the front of `pool`, which should be shuffled. Samples with the same
/// content stay together where they can: a copy of a test image in the training split would make
/// the test easier than it is.
pub(super) fn draw(
    pool: &mut Vec<usize>,
    count: usize,
    content: impl Fn(usize) -> Option<[u8; 32]>,
) -> Vec<usize> {
    if count == 0 {
        return Vec::new();
    }
    let mut groups: Vec<Vec<usize>> = Vec::with_capacity(pool.len());
    let mut seen: HashMap<[u8; 32], usize> = HashMap::with_capacity(pool.len());
    for &sample in pool.iter() {
        let group =
            content(sample).map_or(groups.len(), |hash| *seen.entry(hash).or_insert(groups.len()));
        match groups.get_mut(group) {
            Some(group) => group.push(sample),
            None => groups.push(vec![sample]),
        }
    }
    let mut drawn = Vec::with_capacity(count);
    let mut rest = Vec::with_capacity(pool.len());
    for group in groups {
        if drawn.len() + group.len() <= count { drawn.extend(group) } else { rest.extend(group) }
    }
    // Only copies are left, in sets larger than what is missing; one set has to be torn.
    let missing = (count - drawn.len()).min(rest.len());
    drawn.extend(rest.drain(..missing));
    *pool = rest;
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_balanced_source_gives_an_equal_test_and_a_proportional_validation() {
        let digits = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180];
        let test = test_sizes(&digits, DEFAULT_TEST);
        assert_eq!(test, [35; 10]);
        let left: Vec<usize> = digits.iter().zip(&test).map(|(n, t)| n - t).collect();
        assert_eq!(
            validation_sizes(&digits, &left, DEFAULT_VALIDATION),
            [18, 18, 18, 18, 18, 18, 18, 18, 17, 18]
        );
    }

    #[test]
    fn small_classes_give_less_and_keep_at_least_one() {
        let counts = [1000, 100, 10, 5, 3, 2, 1];
        let test = test_sizes(&counts, 0.2);
        assert_eq!(test, [32, 32, 3, 1, 1, 1, 0]);
        let left: Vec<usize> = counts.iter().zip(&test).map(|(n, t)| n - t).collect();
        assert_eq!(validation_sizes(&counts, &left, 0.1), [100, 10, 1, 1, 1, 0, 0]);
    }

    #[test]
    fn every_class_keeps_one_whatever_the_fractions() {
        for test_fraction in [0.0, 0.01, 0.2, 0.5, 0.98] {
            for fraction in [0.0, 0.01, 0.1, 0.5, 0.99] {
                let counts: Vec<usize> = (1..60).chain([500, 10_000]).collect();
                let test = test_sizes(&counts, test_fraction);
                let left: Vec<usize> = counts.iter().zip(&test).map(|(n, t)| n - t).collect();
                let validation = validation_sizes(&counts, &left, fraction);
                assert!(left.iter().zip(&validation).all(|(n, v)| *n > *v));
                assert_eq!(test.iter().all(|t| *t == 0), test_fraction == 0.0);
            }
        }
    }

    #[test]
    fn copies_of_an_image_stay_on_one_side() {
        // Samples 0..4 are one image, the others are all different.
        let content = |sample: usize| Some([if sample < 4 { 0 } else { sample as u8 }; 32]);
        for count in 0..10 {
            let mut pool = vec![5, 0, 6, 1, 7, 2, 8, 3, 9, 4];
            let drawn = draw(&mut pool, count, content);
            assert_eq!(drawn.len(), count);
            assert_eq!(drawn.len() + pool.len(), 10);
            let copies = drawn.iter().filter(|s| **s < 4).count();
            // Six different images and one of four copies: no sum of them makes 7 to 9 without the
            // four.
            assert!(copies == 0 || copies == 4, "{count}: {drawn:?}");
        }
        let mut pool = vec![0, 1, 2, 3];
        assert_eq!(draw(&mut pool, 3, content), [0, 1, 2]);
        assert_eq!(pool, [3]);
    }
}
