//! Decoded images, and where they come from.

use super::catalog::Location;
use crate::error::Result;

/// A decoded image: 8-bit RGB, row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RgbPixels {
    /// Width in pixels, above 0.
    pub width: u32,
    /// Height in pixels, above 0.
    pub height: u32,
    /// `height` · `width` · 3 bytes: rows from the top, pixels from the left, red, green, blue.
    pub data: Vec<u8>,
}

/// Something that gives a sample's pixels. It is asked from several threads at once.
pub trait PixelSource: Send + Sync {
    /// Reads and decodes one image.
    ///
    /// # Errors
    /// A [`DataError`](crate::error::DataError) that names the file and the reason.
    fn read(&self, location: &Location) -> Result<RgbPixels>;
}
