//! Balancers that need no training: they change the class weights, or the bias, of a classifier.

use serde::{Deserialize, Serialize};

use super::weights::log_priors;
use crate::classifier::{Classifier, long_norm, norm};
use crate::error::{Result, TrainError};
use crate::settings::{BalanceSettings, Balancer};

/// What a MaxNorm radius did.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RadiusReport {
    /// The radius η.
    pub radius: f32,
    /// How many classes were projected at least once. With 0 the radius had no effect at all.
    pub touched: usize,
}

/// What a balancer does to a trained classifier; nothing, if it only acts while one is trained, or
/// if that is done with the radius known ([`max_norm`]). Returns how many classes have a norm of
/// zero and could not be normalised.
pub(super) fn act_after_training(
    balancer: Balancer,
    classifier: &mut Classifier,
    train_counts: &[usize],
    settings: &BalanceSettings,
) -> Result<usize> {
    match balancer {
        Balancer::Stage2 | Balancer::WeightDecay | Balancer::MaxNorm => Ok(0),
        Balancer::L2 => Ok(l2_normalise(classifier)),
        Balancer::Tau => Ok(tau_normalise(classifier, settings.tau)),
        Balancer::MultiplicativeAdjustment => {
            adjust_multiplicatively(classifier, train_counts, settings.gamma)
        }
        Balancer::LogitAdjustment => {
            adjust_logits(classifier, train_counts, settings.logit_adjustment).map(|()| 0)
        }
    }
}

/// L2-normalisation: W_k ← W_k / ‖W_k‖₂. Returns how many classes have a norm of zero and were left
/// as they are.
pub fn l2_normalise(classifier: &mut Classifier) -> usize {
    tau_normalise(classifier, 1.0)
}

/// τ-normalisation (Kang et al., *Decoupling Representation and Classifier for Long-Tailed
/// Recognition*, ICLR 2020): W_k ← W_k / ‖W_k‖₂^τ. The bias stays. Returns how many classes have a
/// norm of zero and were left as they are.
pub fn tau_normalise(classifier: &mut Classifier, tau: f32) -> usize {
    let mut zeros = 0;
    for row in classifier.weight.chunks_exact_mut(classifier.features) {
        let norm = match norm(row) {
            norm if norm.is_finite() => f64::from(norm),
            _ => long_norm(row),
        };
        let by = norm.powf(-f64::from(tau));
        if norm == 0.0 {
            zeros += 1;
        } else if by.is_finite() {
            scale(row, by);
        }
    }
    zeros
}

/// Multiplicative logit adjustment (Kim and Kim, *Adjusting Decision Boundary for Class Imbalanced
/// Learning*, IEEE Access 2020; Hasegawa and Sato, *Multiplicative Logit Adjustment Approximates
/// Neural-Collapse-Aware Decision Boundary Adjustment*, ICLR 2025): W_k ← (n_max / n_k)^γ · W_k /
/// ‖W_k‖₂ and no bias, so that the boundary between two classes lies closer to the more frequent
/// one. With γ = 0 only directions count. A class without training samples counts as having one.
/// Returns how many classes have a norm of zero and were left as they are.
///
/// # Errors
/// [`TrainError::Request`] if there is not one count a class, or no training sample.
pub fn adjust_multiplicatively(
    classifier: &mut Classifier,
    train_counts: &[usize],
    gamma: f32,
) -> Result<usize> {
    classifier.check_counts(train_counts)?;
    let log_priors = log_priors(train_counts)?;
    let most = log_priors.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let zeros = l2_normalise(classifier);
    for (row, log_prior) in classifier.weight.chunks_exact_mut(classifier.features).zip(log_priors)
    {
        scale(row, (f64::from(gamma) * (most - log_prior)).exp());
    }
    classifier.bias.fill(0.0);
    Ok(zeros)
}

/// The radius η = min + δ (max − min) of the class weight norms.
pub fn radius_from_delta(norms: &[f32], delta: f32) -> f32 {
    let min = norms.iter().copied().fold(f32::INFINITY, f32::min);
    let max = norms.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    min + delta * (max - min)
}

/// MaxNorm: projects every class weight onto the ball of radius η, W_k ← W_k · min(1, η / ‖W_k‖₂).
/// The bias stays. Sets `touched` for each class whose norm was larger than the radius.
///
/// # Errors
/// [`TrainError::Request`] if the radius is not above 0 (every class weight would vanish) or not
/// finite.
pub fn max_norm(classifier: &mut Classifier, radius: f32, touched: &mut [bool]) -> Result<()> {
    if !(radius.is_finite() && radius > 0.0) {
        return Err(
            TrainError::Request(format!("a MaxNorm radius must be above 0, not {radius}")).into()
        );
    }
    for (row, touched) in classifier.weight.chunks_exact_mut(classifier.features).zip(touched) {
        let norm = norm(row);
        if norm > radius {
            *touched = true;
            if !norm.is_finite() {
                scale(row, f64::from(radius) / long_norm(row));
                continue;
            }
            let scale = radius / norm;
            row.iter_mut().for_each(|value| *value *= scale);
        }
    }
    Ok(())
}

/// Post-hoc logit adjustment (Menon et al., *Long-Tail Learning via Logit Adjustment*, ICLR 2021):
/// logits − τ log π_k, folded into the bias. A class without training samples counts as having one.
///
/// # Errors
/// [`TrainError::Request`] if there is not one count a class, or no training sample.
pub fn adjust_logits(classifier: &mut Classifier, train_counts: &[usize], tau: f32) -> Result<()> {
    classifier.check_counts(train_counts)?;
    for (bias, log_prior) in classifier.bias.iter_mut().zip(log_priors(train_counts)?) {
        *bias -= (f64::from(tau) * log_prior) as f32;
    }
    Ok(())
}

fn scale(row: &mut [f32], by: f64) {
    row.iter_mut().for_each(|value| *value = (f64::from(*value) * by) as f32);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Classifier {
        Classifier::new(3, 2, vec![3.0, 4.0, 0.6, 0.8, 0.0, 0.0], vec![0.1, 0.2, 0.3]).unwrap()
    }

    #[test]
    fn weights_too_large_for_a_norm_of_their_kind_do_not_vanish() {
        let huge = || Classifier::new(2, 2, vec![3e38; 4], vec![0.0; 2]).unwrap();
        let mut normalised = huge();
        assert_eq!(tau_normalise(&mut normalised, 1.0), 0);
        let mut projected = huge();
        max_norm(&mut projected, 1.0, &mut [false; 2]).unwrap();
        for found in [normalised, projected] {
            assert!(found.weight.iter().all(|weight| (weight - 0.5_f32.sqrt()).abs() < 1e-5));
        }
    }

    #[test]
    fn a_class_of_norm_zero_is_counted_and_stays() {
        let mut classifier = example();
        assert_eq!(l2_normalise(&mut classifier), 1);
        assert_eq!(classifier.norms()[2], 0.0);
        assert!(classifier.norms()[..2].iter().all(|norm| (norm - 1.0).abs() < 1e-6));
        assert_eq!(classifier.bias, example().bias);
    }

    #[test]
    fn max_norm_shortens_what_is_too_long_and_says_which() {
        let mut classifier = example();
        let mut touched = [false; 3];
        max_norm(&mut classifier, 2.0, &mut touched).unwrap();
        assert_eq!(touched, [true, false, false]);
        assert!((classifier.norms()[0] - 2.0).abs() < 1e-6);
        assert_eq!(classifier.weight[2..], example().weight[2..]);
        assert!(max_norm(&mut classifier, 0.0, &mut touched).is_err());
        assert!(max_norm(&mut classifier, f32::NAN, &mut touched).is_err());
    }

    #[test]
    fn delta_spans_the_norms_from_the_smallest_to_the_largest() {
        assert_eq!(radius_from_delta(&[1.0, 5.0, 3.0], 0.0), 1.0);
        assert_eq!(radius_from_delta(&[1.0, 5.0, 3.0], 1.0), 5.0);
        assert_eq!(radius_from_delta(&[1.0, 5.0, 3.0], 0.25), 2.0);
    }

    #[test]
    fn multiplicative_adjustment_makes_a_weight_as_long_as_its_class_is_rare() {
        let mut classifier =
            Classifier::new(3, 2, vec![3.0, 4.0, 0.6, 0.8, 0.0, 2.0], vec![0.1, 0.2, 0.3]).unwrap();
        assert_eq!(adjust_multiplicatively(&mut classifier, &[90, 10, 0], 0.5).unwrap(), 0);
        // √(90 / 90), √(90 / 10) and √(90 / 1) times the directions (0.6, 0.8), (0.6, 0.8) and (0,
        // 1).
        let root = 90.0_f32.sqrt();
        let expected = [0.6, 0.8, 1.8, 2.4, 0.0, root];
        assert!(
            classifier.weight.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5),
            "{:?}",
            classifier.weight
        );
        assert_eq!(classifier.bias, [0.0; 3]);
        assert_eq!(adjust_multiplicatively(&mut example(), &[90, 10, 1], 0.5).unwrap(), 1);
        assert!(adjust_multiplicatively(&mut classifier, &[1, 2], 1.0).is_err());
        assert!(adjust_multiplicatively(&mut classifier, &[0, 0, 0], 1.0).is_err());
    }

    #[test]
    fn logit_adjustment_raises_rare_classes() {
        let mut classifier = example();
        adjust_logits(&mut classifier, &[90, 10, 0], 2.0).unwrap();
        let raised: Vec<f32> = classifier
            .bias
            .iter()
            .zip(example().bias)
            .map(|(after, before)| after - before)
            .collect();
        let expected = [90.0_f32, 10.0, 1.0].map(|count| -2.0 * (count / 101.0).ln());
        assert!(
            raised.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5),
            "{raised:?} {expected:?}"
        );
        assert!(adjust_logits(&mut classifier, &[1, 2], 1.0).is_err());
        assert!(adjust_logits(&mut classifier, &[0, 0, 0], 1.0).is_err());
    }
}
