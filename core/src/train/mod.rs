//! Stage 1, its optimiser and schedule, and checkpoints.

mod checkpoint;
mod extract;
mod input;
mod loader;
mod loss;
mod optimizer;
mod schedule;
mod stage1;
mod standardise;

pub use checkpoint::{Best, Checkpoint, Progress};
pub use extract::{
    Extractor, ImageFeatures, classifier_in_file, classifier_of, network_of, put_classifier,
};
pub(crate) use extract::{host, host_all, mean};
pub use input::{InputLayout, Normaliser};
pub use loader::Loader;
pub use loss::{Targets, cross_entropy};
pub use optimizer::Sgd;
pub use schedule::learning_rate;
pub use stage1::{choose_input, train, train_until};
pub use standardise::Standardiser;
