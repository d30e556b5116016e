//! Decoded images, and how much of one is decoded.

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

/// How much of an image is needed. A photo that is looked at through 224 pixels need not be decoded
/// to twelve million first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Detail {
    /// Every pixel, as stored.
    #[default]
    Full,
    /// Enough for a square of so many pixels a side that is made of the image: its short side is what
    /// that needs, whether it is cut out of the middle or squeezed.
    Side(u32),
}

impl Detail {
    /// What a scan decodes images to and the window shows them from: enough for the side that
    /// pretrained networks take.
    pub const SMALL: Detail = Detail::Side(224);

    /// The part of its width and height that a JPEG of `width` × `height` is decoded to: a half
    /// (2), a quarter (4) or an eighth (8), the smallest that leaves its short side one and a half
    /// times as long as the side needed, so that the resizing that follows still has pixels to
    /// weigh; or all of it (1).
    ///
    /// It follows from the numbers given and from nothing else, so that an image has the same
    /// pixels whenever it is read.
    ///
    /// ```
    /// use counterweight_core::images::Detail;
    /// assert_eq!(Detail::Side(224).reduction(4000, 3000), 8);
    /// assert_eq!(Detail::Side(224).reduction(671, 900), 1);
    /// assert_eq!(Detail::Full.reduction(4000, 3000), 1);
    /// ```
    pub fn reduction(self, width: u32, height: u32) -> u32 {
        let Detail::Side(side) = self else { return 1 };
        let (twice, needed) = (2 * u64::from(width.min(height)), 3 * u64::from(side.max(1)));
        [8, 4, 2].into_iter().find(|&reduction| twice >= u64::from(reduction) * needed).unwrap_or(1)
    }
}
