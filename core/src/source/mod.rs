//! What a person points at: folders of images, CIFAR archives and image lists are scanned into a
//! [`Catalog`], and [`ImageReader`] reads the images that it names.

mod catalog;
pub(crate) mod cifar;
mod folder;
mod hint;
mod list;
mod reader;
mod sample;
mod scan;

pub use catalog::{Catalog, Location, Problem, Sample, Skipped, SourceKind, Split};
pub use folder::images_below;
pub use reader::{ImageReader, PixelSource};
pub use sample::unpack_sample;
pub use scan::{ScanOptions, scan};
