//! What a person points at: folders of images, CIFAR archives and image lists are scanned into a
//! [`Catalog`], and [`ImageReader`] reads the images that it names.

mod catalog;
pub(crate) mod cifar;
mod class_in_name;
mod filter;
mod folder;
mod hint;
mod list;
mod names;
mod no_classes;
mod reader;
mod reading;
mod sample;
mod scan;
mod twins;

pub use catalog::{Catalog, Location, Problem, Sample, Skipped, SourceKind, Split};
pub use folder::images_below;
pub use list::{ListFormat, ListPreview, Separator, preview_list};
pub(crate) use names::composed;
pub use reader::{ImageReader, PixelSource};
pub use reading::Reading;
pub use sample::unpack_sample;
pub(crate) use scan::{NO_IMAGE, grouped};
pub use scan::{ScanOptions, scan};
pub use twins::Twins;
