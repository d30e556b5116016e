//! Training, balancing, evaluating and exporting image classifiers for long-tailed data.
//!
//! The method is weight balancing (Alshammari, Wang, Ramanan, Kong: *Long-Tailed Recognition via
//! Weight Balancing*, CVPR 2022): stage 1 learns features with cross-entropy and tuned weight
//! decay, stage 2 balances the classifier with a class-balanced loss, weight decay and MaxNorm.
//!
//! This crate is everything that is not a window or an argument parser. Long jobs take a
//! [`job::Job`]: they report typed events and stop when asked.

pub mod augment;
pub mod balance;
pub mod batches;
pub mod bench;
pub mod classifier;
pub mod dataset;
pub mod device;
pub mod error;
pub mod eval;
pub mod export;
pub mod features;
pub mod files;
#[cfg(feature = "gpu")]
mod gpu;
pub mod huge_pages;
pub mod images;
pub mod infer;
mod isolated;
pub mod job;
pub mod kernels;
pub mod model;
mod onnx;
mod ops;
pub mod panics;
mod pickle;
pub mod pipeline;
pub mod projection;
pub mod random;
mod recipes;
pub mod record;
pub mod run;
pub mod schedule;
pub mod settings;
pub mod source;
pub mod timing;
pub mod train;
mod waiting;
pub mod words;

pub use error::{Error, Result};
