//! Results: accuracy by class and group, confusion, calibration, and what they are worth.

mod advice;
mod answer;
mod comparison;
mod confidence;
mod confusion;
mod evaluation;
mod findings;
mod frequencies;
mod groups;
mod guessing;
mod paired;
mod scores;
mod verdict;

pub(crate) use advice::ENOUGH_FROM_SCRATCH;
pub use answer::Answer;
pub(crate) use answer::check;
pub use comparison::{AS_TRAINED, ComparisonRow, comparison, group_heading};
pub use confidence::{Calibrated, Confidence, Threshold, confidence};
pub use confusion::{Confusion, ConfusionCell};
pub use evaluation::{
    CalibrationBin, ClassResult, Evaluation, WorstClass, evaluate, wilson_interval,
};
pub(crate) use findings::TELLING;
pub use groups::{
    FEW_BELOW, Group, GroupSizes, GroupSummary, GroupThresholds, MANY_ABOVE, imbalance_factor,
    suggested_thirds,
};
pub use guessing::HeldInTurn;
pub(crate) use guessing::error_of_mean;
pub use paired::{PairedDifference, paired_differences};
pub(crate) use scores::argmax;
pub use scores::{GroupAccuracies, Scores, class_accuracies, scores};
pub use verdict::{Evidence, Finding, FindingKind, Grade, Verdict, verdict};
