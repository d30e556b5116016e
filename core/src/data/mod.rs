//! Images in: sources are scanned into a [`Catalog`], a catalog is built into a [`Dataset`], a dataset is decoded and augmented into
//! batches.

mod augment;
mod batches;
mod build;
mod catalog;
mod dataset;
mod groups;
mod holdout;
mod manifest;
mod options;
mod pixels;
mod profile;
mod resize;
mod sample;
mod store;

pub use augment::{Augmentation, Mixed};
pub use batches::{Batch, Batches, EpochPlan};
pub use build::{BuiltDataset, CountsPreview, build, counts_preview, source_hash};
pub use catalog::{Catalog, ImageFacts, Location, Problem, Sample, Skipped, SourceKind, Split};
pub use dataset::{Dataset, DatasetSample, Provenance};
pub use groups::{FEW_BELOW, GroupSizes, MANY_ABOVE, imbalance_factor};
pub use options::{BuildOptions, ClassChoice, ClassOrder, Pick};
pub use pixels::{PixelSource, RgbPixels};
pub use profile::Profile;
pub use resize::{choose_input_size, to_input};
pub use sample::unpack_sample;
pub use store::{DEFAULT_BUDGET, Images};
