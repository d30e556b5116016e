//! The learning rate of each epoch.

use std::f64::consts::PI;

use crate::words::Schedule;

/// The learning rate of `epoch` (from 0) of `epochs`.
///
/// The cosine is stepped before each epoch, as the authors' code does: epoch e of E trains at base
/// · (1 + cos(π (e+1)/E)) / 2, the last one at 0. During the first `warmup_epochs` W the rate rises
/// linearly, base · (e+1)/(W+1); a cosine then spans the remaining epochs. A single one trains at
/// the base: at 0 it would learn nothing. [`Schedule::CosineNonzero`] comes to 0 one epoch later,
/// base · (1 + cos(π (e+1)/(E+1))) / 2, so that the last of a few epochs learns, too. The step
/// schedule divides by ten after each of `milestones` (epochs from 1).
///
/// ```
/// use counterweight_core::settings::Schedule;
/// use counterweight_core::schedule::learning_rate;
/// assert_eq!(learning_rate(Schedule::Step, 1.0, 4, 10, 0, &[5]), 1.0);
/// assert_eq!(learning_rate(Schedule::Step, 1.0, 5, 10, 0, &[5]), 0.1);
/// assert!(learning_rate(Schedule::Cosine, 1.0, 9, 10, 0, &[]).abs() < 1e-12);
/// ```
pub fn learning_rate(
    schedule: Schedule,
    base: f64,
    epoch: usize,
    epochs: usize,
    warmup_epochs: usize,
    milestones: &[usize],
) -> f64 {
    if epoch < warmup_epochs {
        return base * (epoch + 1) as f64 / (warmup_epochs + 1) as f64;
    }
    match schedule {
        Schedule::Constant => base,
        Schedule::Step => {
            let passed = milestones.iter().filter(|milestone| epoch >= **milestone).count();
            base / 10_f64.powi(passed as i32)
        }
        Schedule::Cosine if epochs.saturating_sub(warmup_epochs) <= 1 => base,
        Schedule::Cosine | Schedule::CosineNonzero => {
            let after = usize::from(schedule == Schedule::CosineNonzero);
            let span = epochs.saturating_sub(warmup_epochs) + after;
            let done = (epoch - warmup_epochs + 1) as f64 / span as f64;
            base * (1.0 + (PI * done.min(1.0)).cos()) / 2.0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warm_up_rises_to_the_base_and_the_cosine_takes_the_rest() {
        let rates: Vec<f64> =
            (0..12).map(|epoch| learning_rate(Schedule::Cosine, 0.3, epoch, 12, 2, &[])).collect();
        assert!((rates[0] - 0.1).abs() < 1e-12 && (rates[1] - 0.2).abs() < 1e-12);
        for (late, rate) in rates[2..].iter().enumerate() {
            assert_eq!(*rate, learning_rate(Schedule::Cosine, 0.3, late, 10, 0, &[]));
        }
    }

    /// The epochs of a cosine without the last one, which is at 0.
    #[test]
    fn the_cosine_above_zero_is_the_other_without_its_last_epoch() {
        for warmup in [0, 1] {
            for epoch in 0..10 {
                let of =
                    |schedule, epochs| learning_rate(schedule, 0.3, epoch, epochs, warmup, &[]);
                let rate = of(Schedule::CosineNonzero, 10);
                assert_eq!(rate, of(Schedule::Cosine, 11));
                assert!(rate > 0.005);
            }
        }
        assert!((learning_rate(Schedule::CosineNonzero, 0.3, 0, 1, 0, &[]) - 0.15).abs() < 1e-12);
    }

    #[test]
    fn a_single_epoch_learns() {
        for (epochs, warmup) in [(1, 0), (2, 1), (4, 3)] {
            let rate = learning_rate(Schedule::Cosine, 0.3, epochs - 1, epochs, warmup, &[]);
            assert_eq!(rate, 0.3);
        }
        assert!(learning_rate(Schedule::Cosine, 0.3, 0, 2, 0, &[]) > 0.1);
    }

    #[test]
    fn a_constant_schedule_stays() {
        assert!(
            (0..5).all(|epoch| learning_rate(Schedule::Constant, 0.2, epoch, 5, 0, &[1]) == 0.2)
        );
    }
}
