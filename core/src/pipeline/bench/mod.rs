//! How fast this machine does what the program does: a training step, inference, stage 2, tuning,
//! decoding.

mod arithmetic;
mod decode;
mod example;
mod infer;
mod memory;
mod peak;
mod stage2;
mod step;
mod tune;

pub use arithmetic::{multiply_adds, training_operations};
pub use decode::{DecodeReport, decode};
pub use example::{FeatureExample, FeatureShape};
pub use infer::{InferReport, infer, infer_graph};
pub use memory::peak_memory;
pub use peak::peak_gflops;
pub use stage2::{LossTime, Stage2Report, Stage2Request, stage2};
pub use step::{NetworkRequest, TrainReport, WARM_UP, train};
pub use tune::{TuneReport, TuneRequest, tune};

/// The middle one of some times in seconds, of an even number the later. There must be at least
/// one.
fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}
