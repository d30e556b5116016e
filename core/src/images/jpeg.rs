//! JPEG by libjpeg's own code, whose pixels most programs see: Pillow, OpenCV and browsers decode
//! with it, too, and an exported model is run by them. Decoders differ by a few levels in colours
//! stored at half the width, which is enough to move a probability by some hundredths.
//!
//! Where less is needed an image is decoded to a half, a quarter or an eighth of its size: each block
//! of 8 × 8 pixels becomes one of 4 × 4, 2 × 2 or 1 × 1 straight from its frequencies, so that little
//! more is left to do than undoing the entropy coding; at an eighth, [`thin`] does most of that.
//!
//! Whatever is not entirely in order is left to the decoder for all formats: it has the last word on
//! what can be read, and says why not.

mod thin;

use std::ffi::c_int;
use std::io::Cursor;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, RgbImage};
use mozjpeg::{ColorSpace, Decompress};
use mozjpeg_sys::{jpeg_common_struct, jpeg_error_mgr};

use super::decode::{Decoded, turn};
use super::pixels::{Detail, RgbPixels};
use crate::panics::caught;

/// Scans of a progressive image that are believed. Encoders write ten or so; a small file can name
/// thousands, each of which has to be gone through in full.
const MOST_SCANS: usize = 64;

/// Decodes a JPEG with the detail asked for, if the file is in order. `None` leaves it to the decoder
/// for all formats, with everything that could be wrong.
pub(super) fn decode(bytes: &[u8], max_pixels: u64, detail: Detail) -> Option<Decoded> {
    let header = Header::read(bytes)?;
    let mode = match header.components {
        1 => "L",
        // Red, green and blue as they are: rare, and decoders disagree on when to believe it.
        3 if header.adobe_transform != Some(0) => "RGB",
        _ => return None,
    };
    // The decoder for all formats says how large the image is and how it was held; up to the
    // pixels, which it need not see for that.
    let start = Cursor::new(bytes.get(..header.end)?);
    let mut full = ImageReader::with_format(start, ImageFormat::Jpeg).into_decoder().ok()?;
    let (width, height) = full.dimensions();
    let reduction = detail.reduction(width, height);
    let pixels = u64::from(width) * u64::from(height);
    if pixels > max_pixels {
        return None;
    }
    let orientation = full.orientation().unwrap_or(Orientation::NoTransforms);
    // Several scans are put together in memory, at two bytes a number; one scan passes through a
    // few rows at a time.
    let in_parts = header.progressive || header.components != header.scan_components;
    if in_parts && scans_exceed(&bytes[header.end..], MOST_SCANS) {
        return None;
    }
    let _turn = if in_parts || reduction == 1 { turn(pixels) } else { None };
    // Anything unusual is for the decoder to see as it is.
    let thin = if reduction == 8 && !in_parts { thin::thinned(bytes) } else { None };
    let found = thin
        .and_then(|thin| caught(|| reduced(&thin, reduction)).ok())
        .map_or_else(|| caught(|| reduced(bytes, reduction)), Ok)
        .ok()?;
    let as_expected = |length: u32, found: u32| found == length.div_ceil(reduction);
    if !as_expected(width, found.width()) || !as_expected(height, found.height()) {
        return None;
    }
    let mut image = DynamicImage::ImageRgb8(found);
    image.apply_orientation(orientation);
    let image = image.into_rgb8();
    let size = if lies_on_its_side(orientation) { (height, width) } else { (width, height) };
    let (width, height) = image.dimensions();
    Some(Decoded { pixels: RgbPixels { width, height, data: image.into_raw() }, size, mode })
}

/// The image as it lies in the file. The library's errors and warnings are panics; see [`errors`].
fn reduced(bytes: &[u8], reduction: u32) -> Result<RgbImage, String> {
    let fail = |error: std::io::Error| error.to_string();
    let mut decoder = Decompress::with_err(errors()).from_mem(bytes).map_err(fail)?;
    if !matches!(decoder.color_space(), ColorSpace::JCS_YCbCr | ColorSpace::JCS_GRAYSCALE) {
        return Err("colours of another kind".into());
    }
    decoder.scale((8 / reduction) as u8);
    let mut decoder = decoder.rgb().map_err(fail)?;
    let (width, height) = (decoder.width() as u32, decoder.height() as u32);
    let pixels: Vec<u8> = decoder.read_scanlines().map_err(fail)?;
    // Goes on to the end marker, and through whatever lies before it.
    decoder.finish().map_err(fail)?;
    RgbImage::from_raw(width, height, pixels).ok_or_else(|| "rows are missing".into())
}

/// What the library does when something is wrong: it gives up, at a mere warning too. It would fill
/// up with grey what is damaged, and leave it to others to notice.
fn errors() -> jpeg_error_mgr {
    /// The level of warnings; what is only worth knowing has levels from 0.
    const WARNING: c_int = -1;
    extern "C-unwind" fn fail(_: &mut jpeg_common_struct) {
        // Not a panic anyone should be told of: it is how the library's caller is left.
        std::panic::resume_unwind(Box::new("the library refuses it".to_string()));
    }
    extern "C-unwind" fn message(decoder: &mut jpeg_common_struct, level: c_int) {
        if level <= WARNING {
            fail(decoder);
        }
    }
    extern "C-unwind" fn nothing(_: &mut jpeg_common_struct) {}
    jpeg_error_mgr {
        error_exit: Some(fail),
        emit_message: Some(message),
        output_message: Some(nothing),
        format_message: None,
        reset_error_mgr: Some(nothing),
        msg_code: 0,
        msg_parm: Default::default(),
        trace_level: 0,
        num_warnings: 0,
        jpeg_message_table: std::ptr::null(),
        last_jpeg_message: 0,
        addon_message_table: std::ptr::null(),
        first_addon_message: 0,
        last_addon_message: 0,
    }
}

/// Whether width and height change places when the image is put upright.
pub(super) fn lies_on_its_side(orientation: Orientation) -> bool {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH)
}

/// Whether there are more than `most` start-of-scan markers. Inside entropy-coded data the byte FF
/// is always followed by a zero or a restart marker, so those found there are real.
fn scans_exceed(bytes: &[u8], most: usize) -> bool {
    memchr::memchr_iter(0xff, bytes)
        .filter(|&at| bytes.get(at + 1) == Some(&0xda))
        .nth(most)
        .is_some()
}

/// What a JPEG says of itself before its pixels begin.
struct Header {
    progressive: bool,
    /// Colour components of the frame.
    components: u8,
    /// Colour components of the first scan.
    scan_components: u8,
    /// How Adobe's programs say that colours are stored.
    adobe_transform: Option<u8>,
    /// Where the first scan's data begins.
    end: usize,
}

impl Header {
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut adobe_transform = None;
        let mut frame = None;
        for segment in Segments::new(bytes) {
            let content = bytes.get(segment.content.clone())?;
            match segment.code {
                code if is_frame(code) => frame = Some((code == 0xc2, *content.get(5)?)),
                0xee if content.starts_with(b"Adobe") => adobe_transform = content.get(11).copied(),
                0xda => {
                    let (progressive, components) = frame?;
                    let end = segment.content.end;
                    return Some(Self {
                        progressive,
                        components,
                        scan_components: *content.first()?,
                        adobe_transform,
                        end,
                    });
                }
                _ => {}
            }
        }
        None
    }
}

/// Number of colour components a JPEG's frame header names.
pub(super) fn components(bytes: &[u8]) -> Option<u8> {
    let frame = Segments::new(bytes)
        .take_while(|segment| segment.code != 0xda)
        .find(|segment| is_frame(segment.code))?;
    bytes.get(frame.content.start + 5).copied()
}

/// Width and height that a JPEG's frame header names, if it is one of a picture: of eight bits a
/// colour, and not without loss, as cameras store what their sensors have seen.
pub(super) fn size(bytes: &[u8]) -> Option<(u32, u32)> {
    if !bytes.starts_with(&[0xff, 0xd8, 0xff]) {
        return None;
    }
    let frame = Segments::new(bytes)
        .take_while(|segment| segment.code != 0xda)
        .find(|segment| is_frame(segment.code))?;
    let content = bytes.get(frame.content.clone())?;
    let side =
        |at: usize| Some(u32::from(u16::from_be_bytes([*content.get(at)?, *content.get(at + 1)?])));
    let plain = matches!(frame.code, 0xc0..=0xc2) && content.first() == Some(&8);
    plain.then(|| Some((side(3)?, side(1)?)))?
}

/// Whether a marker begins a frame header.
fn is_frame(code: u8) -> bool {
    matches!(code, 0xc0..=0xcf) && !matches!(code, 0xc4 | 0xc8 | 0xcc)
}

/// The segments of a JPEG up to its first scan, and that scan's header.
struct Segments<'a> {
    bytes: &'a [u8],
    at: usize,
}

struct Segment {
    code: u8,
    /// What follows the length.
    content: std::ops::Range<usize>,
}

impl<'a> Segments<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 2 }
    }
}

impl Iterator for Segments<'_> {
    type Item = Segment;

    fn next(&mut self) -> Option<Segment> {
        loop {
            let &[first, code, high, low] = self.bytes.get(self.at..self.at + 4)? else {
                return None;
            };
            if first != 0xff || code == 0xff {
                self.at += 1;
                continue;
            }
            let start = self.at + 4;
            self.at += 2 + usize::from(u16::from_be_bytes([high, low])).max(2);
            return Some(Segment { code, content: start..self.at });
        }
    }
}

/// Whether a JPEG has its end-of-image marker. The decoder fills what is missing of one with grey
/// and says nothing; Pillow, too, takes a missing marker for a truncated file.
///
/// Walks the segments; thumbnails lie inside them, so their markers are not met. A file whose
/// segments lead astray but that ends in the marker is left to the decoder.
pub(super) fn has_end(bytes: &[u8]) -> bool {
    let padding = bytes.iter().rev().take_while(|&&byte| byte == 0).count();
    bytes[..bytes.len() - padding].ends_with(&[0xff, 0xd9]) || end(bytes).is_some()
}

/// Where a JPEG ends that other bytes may follow: behind its end-of-image marker.
pub(super) fn end(bytes: &[u8]) -> Option<usize> {
    let mut at = 2;
    loop {
        // To the next marker: FF followed by neither a stuffed zero, nor a restart marker, nor
        // fill.
        let rest = bytes.get(at..).unwrap_or_default();
        let marker = memchr::memchr_iter(0xff, rest).find_map(|place| match rest.get(place + 1) {
            Some(&code) if !matches!(code, 0x00 | 0x01 | 0xd0..=0xd8 | 0xff) => Some((place, code)),
            _ => None,
        });
        match marker {
            None => return None,
            Some((place, 0xd9)) => return Some(at + place + 2),
            Some((place, _)) => at += place,
        }
        let &[high, low] = bytes.get(at + 2..at + 4)? else { return None };
        at += 2 + usize::from(u16::from_be_bytes([high, low])).max(2);
    }
}

#[cfg(test)]
#[path = "jpeg_tests.rs"]
mod tests;
