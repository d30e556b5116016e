//! What the losses know about the training split: class-balanced weights and class priors.

use crate::error::{Result, TrainError};

/// Class-balanced weights (Cui et al., *Class-Balanced Loss Based on Effective Number of Samples*,
/// CVPR 2019): w_k = (1 − β) / (1 − β^n_k), scaled so that Σ w_k = C.
///
/// A class without training samples gets weight 0: no sample carries it, and the formula has no
/// value there.
///
/// ```
/// use counterweight_core::balance::class_balanced_weights;
/// let weights = class_balanced_weights(&[100, 10], 0.999).unwrap();
/// assert!((weights.iter().sum::<f64>() - 2.0).abs() < 1e-12);
/// assert!(weights[1] > 9.0 * weights[0]);
/// assert_eq!(class_balanced_weights(&[100, 10], 0.0).unwrap(), [1.0, 1.0]);
/// ```
///
/// # Errors
/// [`TrainError::Request`] if β lies outside 0 ≤ β < 1 or there is no training sample.
pub fn class_balanced_weights(train_counts: &[usize], beta: f64) -> Result<Vec<f64>> {
    if !(0.0..1.0).contains(&beta) {
        return Err(
            TrainError::Request(format!("β must be at least 0 and below 1, not {beta}")).into()
        );
    }
    refuse_no_samples(train_counts)?;
    // For β close to 1 both 1 − β and 1 − β^n are differences of nearly equal numbers: taken
    // through expm1 and ln_1p they stay exact, and the ratio tends to 1 / n.
    let log_beta = (beta - 1.0).ln_1p();
    let raw = train_counts
        .iter()
        .map(|&n| if n == 0 { 0.0 } else { (1.0 - beta) / -(n as f64 * log_beta).exp_m1() });
    let raw: Vec<f64> = raw.collect();
    let scale = train_counts.len() as f64 / raw.iter().sum::<f64>();
    Ok(raw.into_iter().map(|weight| weight * scale).collect())
}

/// log π_k, the natural logarithm of each class's share of the training split. A class without
/// samples counts as having one, so that no prior is zero.
///
/// # Errors
/// [`TrainError::Request`] if there is no training sample.
pub fn log_priors(train_counts: &[usize]) -> Result<Vec<f64>> {
    refuse_no_samples(train_counts)?;
    let counts = train_counts.iter().map(|&n| n.max(1) as f64);
    let log_total = counts.clone().sum::<f64>().ln();
    Ok(counts.map(|n| n.ln() - log_total).collect())
}

fn refuse_no_samples(train_counts: &[usize]) -> Result<()> {
    if train_counts.iter().all(|&n| n == 0) {
        return Err(
            TrainError::Request("there are no training samples to balance by".into()).into()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beta_close_to_one_tends_to_inverse_frequency() {
        let counts = [500, 50, 5];
        let weights = class_balanced_weights(&counts, 1.0 - 1e-15).unwrap();
        let total: f64 = counts.iter().map(|&n| 1.0 / n as f64).sum();
        for (weight, n) in weights.iter().zip(counts) {
            assert!((weight - 3.0 / n as f64 / total).abs() < 1e-9, "{weights:?}");
        }
    }

    #[test]
    fn an_empty_class_has_weight_zero_and_the_rest_share_the_sum() {
        let weights = class_balanced_weights(&[10, 0, 10], 0.99).unwrap();
        assert_eq!(weights, [1.5, 0.0, 1.5]);
    }

    #[test]
    fn beta_outside_its_range_and_no_samples_are_errors() {
        for beta in [1.0, -0.1, f64::NAN, 2.0] {
            assert!(class_balanced_weights(&[1, 2], beta).is_err());
        }
        assert!(class_balanced_weights(&[0, 0], 0.9).is_err());
        assert!(class_balanced_weights(&[], 0.9).is_err());
    }

    #[test]
    fn priors_sum_to_one() {
        let sum: f64 = log_priors(&[70, 20, 10]).unwrap().iter().map(|log| log.exp()).sum();
        assert!((sum - 1.0).abs() < 1e-12);
    }
}
