//! A part of the held-out samples, for an answer while a slider still moves: with thousands of
//! classes and features all of them take seconds.

use rand::RngExt;

use crate::classifier::FeatureSet;
use crate::error::Result;
use crate::eval::{Evaluation, Grade, Verdict};
use crate::random;

/// Within how many seconds a part is judged, about.
const SECONDS: f64 = 0.35;
/// Samples of a part, at least: fewer say nothing.
const LEAST: usize = 500;

/// A part of the held-out samples.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// Its samples.
    pub held_out: FeatureSet,
    /// Stage 1's classifier on them.
    pub before: Evaluation,
}

impl Part {
    /// How many of so many samples are judged in good time if all of them took `seconds`; `None`
    /// where there is time for all.
    pub fn size(samples: usize, seconds: f64) -> Option<usize> {
        if seconds <= 1.5 * SECONDS {
            return None;
        }
        let size = (samples as f64 * SECONDS / seconds) as usize;
        Some(size.max(LEAST)).filter(|size| *size < samples)
    }

    /// So many of the samples of `held_out`. `evaluate` gives stage 1's results on them.
    ///
    /// # Errors
    /// Those of `evaluate`.
    pub fn of(
        held_out: &FeatureSet,
        size: usize,
        seed: u64,
        evaluate: impl Fn(&FeatureSet) -> Result<Evaluation>,
    ) -> Result<Self> {
        let held_out = held_out.part(&spread(&held_out.labels, size, seed));
        Ok(Self { before: evaluate(&held_out)?, held_out })
    }

    /// The verdict on a trial that was judged on this part of `all` samples. What a verdict looks
    /// for, as classes that are never predicted, a part cannot tell.
    pub fn verdict(&self, verdict: &Verdict, all: usize) -> Verdict {
        let share = |share: f64| format!("{:.1} %", 100.0 * share);
        Verdict {
            grade: Grade::Doubtful,
            sentence: format!(
                "On {} of {all} images so far: {} balanced accuracy, {} as trained.",
                self.held_out.len(),
                share(verdict.balanced_accuracy),
                share(self.before.balanced_accuracy)
            ),
            advice: "Wait until all of them were looked at, which takes seconds.".into(),
            command: String::new(),
            findings: Vec::new(),
            ..verdict.clone()
        }
    }
}

/// So many samples, drawn by chance: every class has one of its own before any has two, so that what
/// is found is near the mean over classes. In ascending order.
fn spread(labels: &[u32], size: usize, seed: u64) -> Vec<usize> {
    let mut random = random::stream(seed, "part of the held-out samples", &[]);
    let mut drawn: Vec<(u32, usize)> =
        (0..labels.len()).map(|sample| (random.random(), sample)).collect();
    drawn.sort_unstable();
    let mut seen = vec![0_usize; labels.iter().max().map_or(0, |most| *most as usize + 1)];
    let mut in_turn: Vec<(usize, u32, usize)> = drawn
        .into_iter()
        .map(|(chance, sample)| {
            let turn = &mut seen[labels[sample] as usize];
            *turn += 1;
            (*turn, chance, sample)
        })
        .collect();
    in_turn.sort_unstable();
    let mut chosen: Vec<usize> =
        in_turn.into_iter().take(size).map(|(_, _, sample)| sample).collect();
    chosen.sort_unstable();
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_part_only_where_all_take_too_long() {
        assert_eq!(Part::size(44_365, 0.5), None);
        assert_eq!(Part::size(44_365, 3.5), Some(4_436));
        assert_eq!(Part::size(44_365, 3_500.0), Some(LEAST));
        assert_eq!(Part::size(400, 3_500.0), None);
    }

    #[test]
    fn every_class_has_its_turn_before_any_has_another() {
        // 90 samples of class 0, 5 of class 1, one of class 2.
        let mut labels = vec![0; 90];
        labels.extend([1; 5]);
        labels.push(2);
        let count = |chosen: &[usize], class| {
            chosen.iter().filter(|sample| labels[**sample] == class).count()
        };
        let chosen = spread(&labels, 9, 7);
        assert!(chosen.is_sorted());
        assert_eq!([0, 1, 2].map(|class| count(&chosen, class)), [4, 4, 1]);
        assert_eq!(chosen, spread(&labels, 9, 7));
        assert_ne!(chosen, spread(&labels, 9, 8));
        assert_eq!(spread(&labels, 1000, 7), (0..labels.len()).collect::<Vec<_>>());
        assert!(spread(&[], 9, 7).is_empty());
    }
}
