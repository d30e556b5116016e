//! The jobs both fronts offer, each over a run folder: train, balance, tune, evaluate, export, and the whole of it on the sample.

mod balance;
pub mod bench;
mod demo;
mod evaluate;
mod export;
mod features;
mod predictions;
#[cfg(test)]
pub(crate) mod test_run;
mod train;
mod tune;
mod workbench;

pub use balance::{BalanceReport, balance};
pub use demo::{DemoReport, SAMPLE_FACTOR, demo, sample_settings};
pub use evaluate::{RunEvaluation, evaluate};
pub use export::export;
pub use predictions::{Predictions, SamplePrediction, predictions};
pub use train::{TrainReport, TrainRequest, train};
pub use tune::tune;
pub use workbench::{Trial, Workbench};
