//! Images in: sources are scanned into a [`Catalog`], a catalog is built into a [`Dataset`], a dataset is decoded and augmented into
//! batches.

mod augment;
mod batches;
mod catalog;
mod dataset;
mod pixels;
mod resize;
mod store;

pub use augment::{Augmentation, Mixed};
pub use batches::{Batch, Batches, EpochPlan};
pub use catalog::{Catalog, ImageFacts, Location, Problem, Sample, Skipped, SourceKind, Split};
pub use dataset::{Dataset, DatasetSample};
pub use pixels::{PixelSource, RgbPixels};
pub use resize::{choose_input_size, to_input};
pub use store::{DEFAULT_BUDGET, Images};
