//! Image files to pixels: decoding, at a part of its size where a JPEG allows it; resizing to a
//! network's input; and what is remembered of files, so that none is decoded twice without need.
//!
//! Nothing here knows of classes, splits or datasets.

mod avif;
mod boxes;
mod decode;
mod facts;
mod heic;
mod heif;
mod image_file;
mod indexed_tiff;
mod jpeg;
mod kept;
mod known;
mod look;
#[cfg(test)]
mod phone_tests;
mod pixels;
mod raw;
mod read;
mod resize;
mod taken;
mod yuv;

/// Another number whenever the same file gives other pixels than in the version before.
pub(crate) const DECODING: u8 = 3;

pub use decode::{DEFAULT_MAX_PIXELS, DecodeError, Decoded, decode, decode_for};
pub use facts::ImageFacts;
pub(crate) use image_file::ImageFile;
pub(crate) use kept::KEPT;
#[cfg(test)]
pub(crate) use kept::UNDISTURBED;
pub use kept::give_back_kept_pictures;
pub(crate) use known::KnownFiles;
pub(crate) use look::look;
pub use look::look_distance;
pub use pixels::{Detail, RgbPixels};
pub(crate) use read::{file_hash, file_size};
pub use read::{photo_taken, read_image, read_image_for};
#[cfg(test)]
pub(crate) use resize::split_planes;
pub use resize::{InputShape, choose_input_size, thumbnail, to_input};
pub(crate) use resize::{Region, resize_pixels, resize_planes, write_input};
pub use taken::Taken;
pub(crate) use taken::taken;
