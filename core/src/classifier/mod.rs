//! The classifier of a network and what it is applied to, as plain numbers: training, balancing,
//! evaluation and export all hold these.

mod judge;
mod linear;
mod standardise;

pub use linear::{Classifier, FeatureSet};
pub(crate) use linear::{check_labels, long_norm, norm, unit_rows};
pub use standardise::Standardiser;
