//! Images in: sources are scanned into a [`Catalog`], a catalog is built into a [`Dataset`], a
//! dataset is decoded and augmented into batches.

mod augment;
mod batches;
mod build;
mod catalog;
mod dataset;
mod decode;
mod groups;
mod holdout;
mod image_file;
mod indexed_tiff;
mod jpeg;
mod kept;
mod known;
mod manifest;
mod open;
mod options;
mod pixels;
mod profile;
mod reader;
mod recipes;
mod rename;
mod report;
mod resize;
mod sample;
mod scan;
mod store;
mod write_images;

pub use augment::{Augmentation, Mixed, augmented_previews};
pub use batches::{Batch, Batches, EpochPlan};
pub use build::{BuiltDataset, CountsPreview, build, counts_preview, source_hash};
pub use catalog::{Catalog, ImageFacts, Location, Problem, Sample, Skipped, SourceKind, Split};
pub use dataset::{Dataset, DatasetSample, Provenance};
pub use decode::{DEFAULT_MAX_PIXELS, DecodeError, Decoded, decode, decode_for};
pub use groups::{FEW_BELOW, GroupSizes, MANY_ABOVE, imbalance_factor};
pub use kept::give_back_kept_pictures;
pub use options::{BuildOptions, ClassChoice, ClassOrder, Pick};
pub use pixels::{Detail, PixelSource, RgbPixels};
pub use profile::Profile;
pub use reader::{ImageReader, read_image, read_image_for};
pub use recipes::Recipes;
#[cfg(feature = "gpu")]
pub(crate) use recipes::{
    BRIGHTNESS, CONTRAST, DOWN, ERASED_COLUMNS, ERASED_ROWS, FILL, FLAGS, HEADER, HIDDEN_COLUMNS,
    HIDDEN_ROWS, HUE, INDEX, LAMBDA, NOISE, OTHER, PASTED_COLUMNS, PASTED_ROWS, Pairs, RECIPE,
    RIGHT, SATURATION, ZERO, four_to_a_number,
};
pub use rename::renamed_classes;
pub use report::{
    ClassReport, DuplicateGroup, DuplicateReport, ReportedProblem, ScanReport, SizeRange,
    SizeReport, SplitCounts, report,
};
pub use resize::{choose_input_size, thumbnail, to_input};
pub use sample::unpack_sample;
pub use scan::{ScanOptions, scan};
pub use store::{DEFAULT_BUDGET, Images};
pub use write_images::write_images;

#[cfg(test)]
mod reading_tests;
