//! What a search may cost: of many images and classes a single training takes minutes.

use super::tune::Fold;
use super::tune_candidates::VARIANTS;
use crate::settings::BalanceSettings;

/// Multiplications and additions that the trainings of a search take together, at most, unless more
/// are asked for: some twenty minutes of two cores. That is all 24 trainings of 200 candidates up to
/// some 75,000 images of a thousand classes.
const MOST_WORK: f64 = 1e14;

/// How much a search may try.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effort {
    candidates: usize,
    most_work: f64,
}

impl Effort {
    /// So many candidates whatever they take.
    pub fn all_of(candidates: usize) -> Self {
        Self { candidates: candidates.max(1), most_work: f64::INFINITY }
    }

    /// So many candidates, of which fewer are trained where a training takes minutes; one at least.
    ///
    /// The limit is one on arithmetic, not on time, so that a search of one seed ends alike on every
    /// machine.
    pub fn within_reason(candidates: usize) -> Self {
        Self { most_work: MOST_WORK, ..Self::all_of(candidates) }
    }

    /// How many candidates there may be.
    pub fn candidates(self) -> usize {
        self.candidates
    }

    /// How many trainings there are where `candidates` are left for them, and how many there would
    /// be without a limit.
    pub(super) fn trainings(
        self,
        candidates: usize,
        folds: &[Fold<'_>],
        settings: &BalanceSettings,
    ) -> (usize, usize) {
        let wanted = candidates / VARIANTS;
        let samples = folds.iter().map(|fold| fold.train.len()).sum();
        let start = folds.first().map_or((0, 0), |fold| (fold.start.classes, fold.start.features));
        (self.affordable(wanted, work(samples, start, settings.epochs)), wanted)
    }

    /// How many of so many trainings there are, each of so much work: one at least.
    fn affordable(self, wanted: usize, work: f64) -> usize {
        wanted.min(((self.most_work / work.max(1.0)) as usize).max(1))
    }
}

/// Multiplications and additions of training a classifier of so many (classes, features) for some
/// epochs: the logits of every sample, and the gradient of every weight.
pub fn work(samples: usize, (classes, features): (usize, usize), epochs: usize) -> f64 {
    2.0 * samples as f64 * classes as f64 * features as f64 * epochs as f64
}

/// Multiplications and additions of the trainings that a search of `candidates` takes on `samples`.
pub fn work_of_search(
    effort: Effort,
    samples: usize,
    size: (usize, usize),
    settings: &BalanceSettings,
) -> f64 {
    let one = work(samples, size, settings.epochs);
    let wanted = effort.candidates * 6 / 10 / VARIANTS;
    effort.affordable(wanted, one) as f64 * one
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classifier::{Classifier, FeatureSet};
    use crate::eval::GroupThresholds;
    use crate::job::{Control, Job, Silent};
    use crate::settings::{Balancer, Preset, Settings};

    const CLASSES: usize = 3;
    const DIM: usize = 4;

    fn searched(effort: Effort) -> (crate::balance::Tuning, usize) {
        let labels: Vec<u32> = (0..60).map(|sample| sample % CLASSES as u32).collect();
        let features = labels
            .iter()
            .flat_map(|&label| (0..DIM as u32).map(move |at| f32::from(u8::from(at == label))));
        let set = FeatureSet::new(DIM, features.collect(), labels).unwrap();
        let start =
            Classifier::new(CLASSES, DIM, vec![0.1; CLASSES * DIM], vec![0.0; CLASSES]).unwrap();
        let counts = [20; CLASSES];
        let counted_as = &set.labels;
        let fold =
            Fold { start: &start, train: &set, train_counts: &counts, held_out: &set, counted_as };
        let settings = Settings::preset(Preset::Quick).balance;
        let control = Control::new();
        let (thresholds, job) = (GroupThresholds::default(), Job::new(&control, &Silent));
        let found = crate::balance::tune(&[fold], &counts, &settings, thresholds, 1, effort, job);
        let found = found.unwrap();
        let trained =
            found.candidates.iter().filter(|c| Balancer::any_trains(&c.balancers)).count();
        (found, trained)
    }

    #[test]
    fn what_takes_long_is_trained_less_often_and_that_is_said() {
        let settings = Settings::preset(Preset::Quick).balance;
        let one = work(60, (CLASSES, DIM), settings.epochs);
        let (all, trained) = searched(Effort::all_of(100));
        assert!(trained == 60 && !all.reason.contains("Stage 2 was trained"), "{}", all.reason);
        let (few, trained) = searched(Effort { candidates: 100, most_work: 3.5 * one });
        assert!(trained == 15, "{trained}");
        assert!(few.reason.ends_with(" Stage 2 was trained 3 times instead of 12 times: with so many images and classes it takes long."), "{}", few.reason);
        // What the settings say themselves is tried whatever it takes.
        let (least, trained) = searched(Effort { candidates: 100, most_work: 0.0 });
        assert!(
            trained == 5 && least.reason.contains("trained once instead of 12 times"),
            "{}",
            least.reason
        );
        assert_eq!(
            work_of_search(
                Effort { candidates: 100, most_work: 3.5 * one },
                60,
                (CLASSES, DIM),
                &settings
            ),
            3.0 * one
        );
    }
}
