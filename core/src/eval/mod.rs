//! Results: accuracy by class and group, confusion, calibration.

mod comparison;
mod evaluation;
mod groups;
mod scores;

pub use comparison::{ComparisonRow, comparison, group_heading};
pub use evaluation::{CalibrationBin, ClassResult, Evaluation, WorstClass, evaluate, wilson_interval};
pub use groups::{Group, GroupSizes, GroupThresholds, suggested_thirds};
pub use scores::{GroupAccuracies, Scores, scores};
pub(crate) use scores::{argmax, check, log_sum_exp};
