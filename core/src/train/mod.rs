//! Training.

mod schedule;

pub use schedule::learning_rate;
