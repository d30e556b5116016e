//! Saying what tuning chose, and how sure it can be.

use super::tune::Tried;
use crate::settings::{BalanceSettings, Balancer};

/// The balancers of `settings` with their parameters, in words.
///
/// ```
/// use counterweight_core::balance::describe;
/// use counterweight_core::settings::{Preset, Settings};
/// let settings = Settings::preset(Preset::Quick).balance;
/// assert_eq!(describe(&settings), "stage 2 with weight decay 0.005, MaxNorm δ 0.1");
/// ```
pub fn describe(settings: &BalanceSettings) -> String {
    if settings.balancers.is_empty() {
        return "no balancing".into();
    }
    let in_words = |balancer: &Balancer| balancer.info().in_words(settings);
    let mut parts: Vec<String> = settings.balancers.iter().map(in_words).collect();
    if settings.trains() && settings.loss.info().takes_strength {
        parts.push(format!("loss adjusted by {}", settings.logit_adjustment));
    }
    parts.join(", ")
}

/// What was chosen and why, from the trials sorted best first behind the one that was taken, and
/// whether validation tells that from the start, of which `start` are the right samples and the
/// balanced accuracy. `cheaper` says that it was taken for the frequent classes: what it gets right,
/// what the one that would have been taken does and what the start does, with classes as frequent as in
/// training. `silent` says that it was taken whatever is held out says: of so many classes no more than so
/// many images are held out.
pub(super) fn reason(
    trials: &[Tried],
    (start_hits, start_score): (&[bool], f64),
    labels: &[u32],
    classes: usize,
    cheaper: Option<[f64; 3]>,
    silent: Option<(usize, usize)>,
) -> (String, bool) {
    let best = &trials[0];
    let best_score = best.scores.balanced_accuracy;
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let tried =
        format!("{} {}", trials.len(), if trials.len() == 1 { "candidate" } else { "candidates" });
    let points = |share: f64| format!("{:.1} points", 100.0 * share);
    // The first trial is the one that was chosen; another can have done better by a little.
    let top = trials.iter().skip(1).map(|trial| trial.scores.balanced_accuracy).fold(0.0, f64::max);
    if let Some((count, few)) = silent {
        let nothing = match few {
            0 => "nothing is held out".to_string(),
            few => format!("no more than {few} images are held out"),
        };
        let text = format!(
            "Of {tried}, {} is taken, which is usually right: of {count} of {classes} classes {nothing}, and what does best on the others may be what does worst for {} (balanced accuracy on held-out images {}, against {} without balancing and {} with the best).",
            describe(&best.settings),
            if count == 1 { "it" } else { "them" },
            percent(best_score),
            percent(start_score),
            percent(top.max(best_score))
        );
        return (text, false);
    }
    let mut text = if best.settings.balancers.is_empty() {
        format!(
            "Of {tried}, none does better on held-out images than the classifier without balancing (balanced accuracy {})",
            percent(start_score)
        )
    } else if let Some([right, of_best, of_start]) = cheaper {
        format!(
            "Of {tried}, {} is taken: balanced accuracy on held-out images {}, against {} without balancing; of those about as good it costs frequent classes \
             least: with classes as frequent as in training {} of images are right, {} with the one that is best by a little, {} without balancing",
            describe(&best.settings),
            percent(best_score),
            percent(start_score),
            percent(right),
            percent(of_best),
            percent(of_start)
        )
    } else if top > best_score {
        format!(
            "Of {tried}, none is better by more than chance than {}, which was to be taken if nothing is: balanced accuracy on held-out images {}, against {} without balancing",
            describe(&best.settings),
            percent(best_score),
            percent(start_score)
        )
    } else {
        format!(
            "Of {tried}, {} does best on held-out images: balanced accuracy {}, against {} without balancing",
            describe(&best.settings),
            percent(best_score),
            percent(start_score)
        )
    };
    // Beside the one that was taken for the frequent classes there is nothing to run up to.
    if let Some(second) = trials.get(1).filter(|_| cheaper.is_none()) {
        let second_score = second.scores.balanced_accuracy;
        let error = standard_error(&best.hits, &second.hits, labels, classes);
        let gap = best_score - second_score;
        text += &match gap >= 0.0 {
            true => {
                // Numbers are rounded here.
                let runner_up = match describe(&second.settings) {
                    same if same == describe(&best.settings) => "which is nearly the same".into(),
                    other => other,
                };
                format!("; the runner-up, {runner_up}, reaches {}", percent(second_score))
            }
            false => {
                format!(
                    " ({} reaches {}, with a standard error of {})",
                    describe(&second.settings),
                    percent(second_score),
                    points(error)
                )
            }
        };
        if gap == 0.0 {
            text += " as well, and the simpler or earlier one was taken";
        } else if gap > 0.0 && gap < 2.0 * error {
            text += &format!(
                " ({} less, with a standard error of {}: as good as equal)",
                points(gap),
                points(error)
            );
        }
    }
    text.push('.');
    if best.settings.balancers.is_empty() {
        return (text, true);
    }
    let error = standard_error(&best.hits, start_hits, labels, classes);
    let conclusive = best_score - start_score > 2.0 * error;
    if !conclusive {
        text += &format!(
            " With {} held-out images the number of images is too small to say that this is better than no balancing: the difference of {} has a \
             standard error of {}.",
            labels.len(),
            points(best_score - start_score),
            points(error)
        );
    }
    (text, conclusive)
}

/// Standard error of the difference in balanced accuracy between two classifiers of the same
/// samples, paired by sample and taken as if there were no difference: √(Σ_k Σ_{i in k} d_i² /
/// n_k²) / C with d_i = ±1 where only one of them is right.
pub(crate) fn standard_error(a: &[bool], b: &[bool], labels: &[u32], classes: usize) -> f64 {
    let mut samples = vec![0_usize; classes];
    let mut differing = vec![0_usize; classes];
    for ((a, b), &label) in a.iter().zip(b).zip(labels) {
        samples[label as usize] += 1;
        differing[label as usize] += usize::from(a != b);
    }
    let present = samples.iter().filter(|n| **n > 0).count().max(1) as f64;
    let variance: f64 = samples
        .iter()
        .zip(&differing)
        .filter(|(n, _)| **n > 0)
        .map(|(n, d)| *d as f64 / (*n as f64).powi(2))
        .sum();
    variance.sqrt() / present
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Preset, Settings};

    #[test]
    fn the_standard_error_counts_only_samples_that_differ() {
        let labels = [0, 0, 0, 0, 1, 1];
        let a = [true, true, false, false, true, true];
        assert_eq!(standard_error(&a, &a, &labels, 2), 0.0);
        let b = [true, false, true, false, true, false];
        // Class 0: two of four differ, class 1: one of two.
        assert!(
            (standard_error(&a, &b, &labels, 2) - (2.0_f64 / 16.0 + 1.0 / 4.0).sqrt() / 2.0).abs()
                < 1e-12
        );
    }

    #[test]
    fn settings_are_described_by_what_is_listed() {
        let mut settings = Settings::preset(Preset::Paper).balance;
        assert_eq!(describe(&settings), "stage 2 with weight decay 0.1, MaxNorm δ 0.1");
        settings.balancers = vec![Balancer::Tau];
        assert_eq!(describe(&settings), "τ-normalisation 1.9");
        settings.balancers.clear();
        assert_eq!(describe(&settings), "no balancing");
    }
}
