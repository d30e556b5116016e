//! Images in: sources are scanned into a [`Catalog`], a catalog is built into a [`Dataset`], a dataset is decoded and augmented into
//! batches.

mod catalog;
mod dataset;

pub use catalog::{Catalog, ImageFacts, Location, Problem, Sample, Skipped, SourceKind, Split};
pub use dataset::{Dataset, DatasetSample};
