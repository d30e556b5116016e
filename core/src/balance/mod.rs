//! Balancing the classifier: class weight norms, normalisers, MaxNorm, class-balanced losses, logit
//! adjustment, stage 2 and its tuning.
//!
//! Everything here works on plain slices: the classifier is one matrix, and a graph of tensors
//! would only slow it down.

mod batches;
mod effort;
mod linear_sgd;
mod loss;
mod normalise;
mod sgd;
mod stage2;
mod tune;
mod tune_candidates;
mod tune_choice;
mod tune_report;
mod weights;

pub use batches::{BatchStep, CachedBatches, FeatureBatches};
pub use effort::Effort;
pub(crate) use effort::{work, work_of_search};
pub use loss::{BatchLoss, Loss};
pub use normalise::{
    RadiusReport, adjust_logits, adjust_multiplicatively, l2_normalise, max_norm,
    radius_from_delta, tau_normalise,
};
pub use sgd::ClassifierSgd;
pub use stage2::{Balanced, NormSpread, balance, learn};
pub use tune::{Candidate, Fold, Tuning, tune};
pub use tune_report::describe;
pub(crate) use tune_report::standard_error;
pub use weights::{class_balanced_weights, log_priors};
