//! What is known of an image file without looking at its picture.

use super::taken::Taken;

/// What was seen of an image while it was checked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImageFacts {
    /// Width in pixels, after EXIF orientation.
    pub width: u32,
    /// Height in pixels, after EXIF orientation.
    pub height: u32,
    /// Colour mode as stored: `L`, `LA`, `L16`, `RGB`, `RGBA`, `RGB16`, `P`, `CMYK` and so on.
    pub mode: &'static str,
    /// BLAKE3 of the stored bytes; equal for exact duplicates.
    pub hash: [u8; 32],
    /// How it looks, in 64 bits; see [`look_distance`](super::look_distance).
    pub look: u64,
    /// When and by which camera it was taken, where the file says so.
    pub taken: Option<Taken>,
}
