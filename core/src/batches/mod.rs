//! A dataset's images in batches: kept in memory or read in time, augmented, in a seeded order; or
//! as packed recipes, from which a GPU that holds the images draws them itself.

mod batch;
mod packed;
#[cfg(test)]
mod reading_tests;
mod store;

pub use batch::{Batch, Batches, EpochPlan};
pub use packed::Recipes;
#[cfg(feature = "gpu")]
pub(crate) use packed::{
    BRIGHTNESS, CONTRAST, DOWN, ERASED_COLUMNS, ERASED_ROWS, FILL, FLAGS, HEADER, HIDDEN_COLUMNS,
    HIDDEN_ROWS, HUE, INDEX, LAMBDA, NOISE, OTHER, PASTED_COLUMNS, PASTED_ROWS, Pairs, RECIPE,
    RIGHT, SATURATION, ZERO, four_to_a_number,
};
pub use store::{DEFAULT_BUDGET, Images};
