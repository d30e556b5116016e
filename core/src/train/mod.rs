//! Stage 1, its optimiser and schedule, and checkpoints.

mod clip;
mod extract;
mod loader;
mod loss;
mod optimizer;
mod stage1;

pub(crate) use extract::mean;
pub use extract::{
    Extractor, ImageFeatures, classifier_in_file, classifier_of, network_of, put_classifier,
};
pub use loader::Loader;
pub use loss::{Targets, cross_entropy};
pub use optimizer::Sgd;
pub use stage1::{choose_input, train, train_until};
