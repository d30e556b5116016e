//! Stage 1, its optimiser and schedule, and checkpoints.

mod checkpoint;
mod extract;
mod input;
mod loader;
mod loss;
mod optimizer;
mod schedule;
mod stage1;

pub use checkpoint::{Best, Checkpoint, Progress};
pub use extract::{Extractor, ImageFeatures, classifier_of, network_of};
pub(crate) use extract::{host, host_all};
pub use input::{InputLayout, Normaliser};
pub use loader::Loader;
pub use loss::{Targets, cross_entropy};
pub use optimizer::Sgd;
pub use schedule::learning_rate;
pub use stage1::train;
