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

use crate::timing::median;
pub use crate::timing::{NetworkRequest, WARM_UP};
pub use arithmetic::{multiply_adds, training_operations};
pub use decode::{DecodeReport, decode};
pub use example::{FeatureExample, FeatureShape};
pub use infer::{InferReport, infer, infer_graph};
pub use memory::peak_memory;
pub use peak::peak_gflops;
pub use stage2::{LossTime, Stage2Report, Stage2Request, stage2};
pub use step::{StepReport, train};
pub use tune::{TuneReport, TuneRequest, tune};
