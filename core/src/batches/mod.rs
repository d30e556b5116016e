//! A dataset's images in batches: kept in memory or read in time, augmented, in a seeded order; or
//! as packed recipes, from which a GPU that holds the images draws them itself.

mod batch;
mod packed;
#[cfg(test)]
mod reading_tests;
mod store;

pub use crate::recipes::Recipes;
pub use batch::{Batch, Batches, EpochPlan};
pub use store::{DEFAULT_BUDGET, Images};
