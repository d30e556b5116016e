//! Image files by their path, with what is remembered of them.

use std::path::Path;

use super::decode::{DEFAULT_MAX_PIXELS, decode_for};
use super::image_file::ImageFile;
use super::kept::KEPT;
use super::known::KnownFiles;
use super::pixels::{Detail, RgbPixels};
use super::taken::{Taken, taken};
use crate::error::{DataError, Reason};

/// BLAKE3 of a file, remembered or computed.
pub(crate) fn file_hash(
    path: &Path,
    max_pixels: u64,
    known: &KnownFiles,
) -> Result<[u8; 32], String> {
    let file = ImageFile::find(path)?;
    if let Some(hash) = known.hash(&file) {
        return Ok(hash);
    }
    let hash = *blake3::hash(&file.read(max_pixels)?).as_bytes();
    known.learn_hash(&file, hash);
    Ok(hash)
}

/// Width and height of the image in a file, remembered or looked up by decoding it.
pub(crate) fn file_size(
    path: &Path,
    max_pixels: u64,
    known: &KnownFiles,
) -> Result<(u32, u32), String> {
    let file = ImageFile::find(path)?;
    if let Some(facts) = known.facts(&file) {
        return Ok((facts.width, facts.height));
    }
    let decoded = decode_for(&file.read(max_pixels)?, max_pixels, Detail::SMALL)
        .map_err(|reason| reason.to_string())?;
    let size = decoded.size;
    KEPT.keep(file, decoded);
    Ok(size)
}

/// When a photo was taken and by which camera, as far as its file says so.
pub fn photo_taken(path: &Path) -> Option<Taken> {
    taken(&ImageFile::find(path).ok()?.read(DEFAULT_MAX_PIXELS).ok()?)
}

/// An image file that belongs to no dataset: upright, as 8-bit RGB.
///
/// # Errors
/// [`DataError::File`] if it is not there, cannot be decoded, or has more than `max_pixels` pixels.
pub fn read_image(path: &Path, max_pixels: u64) -> Result<RgbPixels, DataError> {
    read_image_for(path, max_pixels, Detail::Full)
}

/// [`read_image`] with as much detail as is needed; see [`decode_for`].
///
/// # Errors
/// As [`read_image`].
pub fn read_image_for(
    path: &Path,
    max_pixels: u64,
    detail: Detail,
) -> Result<RgbPixels, DataError> {
    let fail = |reason: String| DataError::file(path, reason);
    let file = ImageFile::find(path).map_err(fail)?;
    if detail != Detail::Full
        && let Some(kept) = KEPT.get(&file, detail)
    {
        return Ok(kept);
    }
    let bytes = file.read(max_pixels).map_err(fail)?;
    decode_for(&bytes, max_pixels, detail)
        .map(|decoded| decoded.pixels)
        .map_err(|error| DataError::file(path, Reason::of(error)))
}
