//! One image file in, 8-bit RGB pixels out.
//!
//! What a file is follows from its content, never from its extension. The result is what
//! `Image.open(f).convert("RGB")` gives in Python after `ImageOps.exif_transpose`, so that a model
//! sees in production what it saw in training, with one difference: 16-bit values are scaled to 8
//! bits instead of clipped. Alpha is dropped, not blended, for the same reason.

use std::fmt;
use std::io::{Cursor, ErrorKind};
use std::sync::{Mutex, MutexGuard, PoisonError};

use image::metadata::Orientation;
use image::{
    DynamicImage, ExtendedColorType, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits,
    RgbImage,
};

use super::pixels::{Detail, RgbPixels};
use super::raw::{self, Preview};
use super::{avif, heic, heif, indexed_tiff, jpeg};
use crate::panics::caught;

/// Images of more pixels than this are refused unless told otherwise: 100 megapixels.
pub const DEFAULT_MAX_PIXELS: u64 = 100_000_000;

/// A decoded image and how it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// The image, upright; smaller than it is stored if no more was asked for.
    pub pixels: RgbPixels,
    /// Width and height as stored, upright.
    pub size: (u32, u32),
    /// Colour mode as stored: `1`, `L`, `LA`, `L16`, `RGB`, `RGBA`, `RGB16`, `P`, `CMYK` and so on.
    pub mode: &'static str,
}

/// Why a file gives no image.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The file holds no byte.
    Empty,
    /// The content is of no image format; what it seems to be instead, where that can be told.
    NotAnImage(Option<&'static str>),
    /// An image of a format or variant that cannot be read here.
    Unsupported(String),
    /// The file ends before the image does.
    Truncated,
    /// More pixels than allowed.
    TooLarge {
        /// Width in pixels, as the file claims.
        width: u32,
        /// Height in pixels, as the file claims.
        height: u32,
        /// The most pixels allowed.
        max_pixels: u64,
    },
    /// More bytes than any image within the pixel limit can need.
    TooManyBytes(u64),
    /// The content contradicts its format.
    Damaged(String),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::Empty => f.write_str("empty file"),
            DecodeError::NotAnImage(None) => f.write_str("not an image"),
            DecodeError::NotAnImage(Some(instead)) => {
                write!(f, "not an image: the file holds {instead}")
            }
            DecodeError::Unsupported(what) => write!(f, "unsupported: {what}"),
            DecodeError::Truncated => f.write_str("truncated: the file ends before the image does"),
            DecodeError::TooLarge { width, height, max_pixels } => {
                let megapixels = f64::from(*width) * f64::from(*height) / 1e6;
                let limit = *max_pixels as f64 / 1e6;
                write!(
                    f,
                    "too large: {width} × {height} is {megapixels:.1} megapixels, the limit is {limit:.1}"
                )
            }
            DecodeError::TooManyBytes(bytes) => {
                write!(f, "too large: {:.1} GB", *bytes as f64 / 1e9)
            }
            DecodeError::Damaged(what) => write!(f, "damaged: {what}"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// The most bytes a file within the pixel limit can sensibly have: 16-bit RGBA twice over, and room
/// for metadata.
pub(super) fn max_file_bytes(max_pixels: u64) -> u64 {
    max_pixels.saturating_mul(16).saturating_add(64 << 20)
}

/// Decodes JPEG, PNG, WebP, BMP, GIF (first frame), TIFF, PNM, HEIC and AVIF to upright 8-bit RGB, and
/// of a camera's raw file the JPEG that the camera has put into it.
///
/// Dimensions are compared with `max_pixels` before memory for pixels is taken.
///
/// # Errors
/// [`DecodeError`] says what is wrong with the content. Never panics, whatever the bytes.
pub fn decode(bytes: &[u8], max_pixels: u64) -> Result<Decoded, DecodeError> {
    decode_for(bytes, max_pixels, Detail::Full)
}

/// [`decode`] with as much detail as is needed: JPEG is brought to a half, a quarter or an eighth
/// of its width and height while it is decoded, as [`Detail::reduction`] says, which for a photo
/// leaves hardly more to do than to read the file. Other formats, and JPEG of a kind that cannot be
/// decoded in part, are decoded in full.
///
/// # Errors
/// As [`decode`]: what it refuses is refused here with the same words.
pub fn decode_for(bytes: &[u8], max_pixels: u64, detail: Detail) -> Result<Decoded, DecodeError> {
    // The decoders are other people's code fed with arbitrary bytes; a defect in one must not end a
    // run over a million other files.
    let outcome = caught(|| Ok(decode_inner(bytes, max_pixels, detail)));
    outcome.unwrap_or_else(|_| Err(DecodeError::Damaged("its content confuses the decoder".into())))
}

fn decode_inner(bytes: &[u8], max_pixels: u64, detail: Detail) -> Result<Decoded, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    if let Some(preview) = raw::preview(bytes) {
        return of_preview(&preview?, max_pixels, detail);
    }
    if heif::is_avif(bytes) {
        return avif::decode(bytes, max_pixels);
    }
    if heic::is_heic(bytes) {
        return heic::decode(bytes, max_pixels);
    }
    let format = image::guess_format(bytes).map_err(|_| unknown(bytes))?;
    let supported = [
        ImageFormat::Jpeg,
        ImageFormat::Png,
        ImageFormat::WebP,
        ImageFormat::Bmp,
        ImageFormat::Gif,
        ImageFormat::Tiff,
        ImageFormat::Pnm,
    ];
    if !supported.contains(&format) {
        return Err(unsupported_format(&format!("{format:?}").to_uppercase()));
    }
    if format == ImageFormat::Tiff
        && let Some(outcome) = indexed_tiff::decode(bytes, max_pixels)
    {
        return outcome;
    }
    if format == ImageFormat::Jpeg && !jpeg::has_end(bytes)
        || format == ImageFormat::WebP && !webp_is_whole(bytes)
    {
        return Err(DecodeError::Truncated);
    }
    if format == ImageFormat::Jpeg
        && let Some(decoded) = jpeg::decode(bytes, max_pixels, detail)
    {
        return Ok(decoded);
    }
    let mut decoder =
        ImageReader::with_format(Cursor::new(bytes), format).into_decoder().map_err(from_image)?;
    let (width, height) = decoder.dimensions();
    check_size(width, height, max_pixels)?;
    let _turn = turn(u64::from(width) * u64::from(height));
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(max_file_bytes(max_pixels));
    decoder.set_limits(limits).map_err(from_image)?;
    let mode = mode(bytes, format, decoder.original_color_type());
    // Metadata that cannot be read says nothing about the pixels.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder).map_err(from_image)?;
    image.apply_orientation(orientation);
    let image = image.into_rgb8();
    let (width, height) = image.dimensions();
    Ok(Decoded {
        pixels: RgbPixels { width, height, data: image.into_raw() },
        size: (width, height),
        mode,
    })
}

/// The picture inside a raw file, upright.
fn of_preview(
    preview: &Preview<'_>,
    max_pixels: u64,
    detail: Detail,
) -> Result<Decoded, DecodeError> {
    let Decoded { pixels, size, mode } = decode_inner(preview.jpeg, max_pixels, detail)?;
    let pixels = RgbImage::from_raw(pixels.width, pixels.height, pixels.data)
        .ok_or(DecodeError::Truncated)?;
    let mut pixels = DynamicImage::ImageRgb8(pixels);
    pixels.apply_orientation(preview.orientation);
    let size = if jpeg::lies_on_its_side(preview.orientation) { (size.1, size.0) } else { size };
    let pixels = pixels.into_rgb8();
    let (width, height) = pixels.dimensions();
    Ok(Decoded { pixels: RgbPixels { width, height, data: pixels.into_raw() }, size, mode })
}

/// One large image is decoded at a time: each may take up to a gigabyte, and every core has a
/// thread that decodes. Returns `None` at once for an image of up to 16 megapixels.
///
/// None of the decoders hands work to threads that images are shared among, so the thread that has
/// the turn never waits for a thread that wants it.
pub(super) fn turn(pixels: u64) -> Option<MutexGuard<'static, ()>> {
    const LARGE: u64 = 16_000_000;
    static TURN: Mutex<()> = Mutex::new(());
    // Nothing is guarded that a panic could have left half done.
    (pixels > LARGE).then(|| TURN.lock().unwrap_or_else(PoisonError::into_inner))
}

pub(super) fn check_size(width: u32, height: u32, max_pixels: u64) -> Result<(), DecodeError> {
    if width == 0 || height == 0 {
        return Err(DecodeError::Damaged(format!("its size is {width} × {height}")));
    }
    if u64::from(width) * u64::from(height) > max_pixels {
        return Err(DecodeError::TooLarge { width, height, max_pixels });
    }
    Ok(())
}

/// What a file of no supported signature is.
fn unknown(bytes: &[u8]) -> DecodeError {
    let brand = bytes.get(4..12).unwrap_or_default();
    if bytes.starts_with(&[0xff, 0x0a]) || brand == b"JXL \r\n\x87\n" {
        return unsupported_format("JPEG XL");
    }
    if brand.starts_with(b"jP  ") {
        return unsupported_format("JPEG 2000");
    }
    if brand.starts_with(b"ftyp") {
        return unsupported_format("video");
    }
    if bytes.starts_with(b"8BPS") {
        return unsupported_format("Photoshop");
    }
    if [b"\x89PNG\r\n\x1a\n".as_slice(), b"GIF89a", b"GIF87a", b"RIFF"]
        .iter()
        .any(|signature| signature.starts_with(bytes))
    {
        return DecodeError::Truncated;
    }
    let start = &bytes[..bytes.len().min(512)];
    if start.iter().all(|&byte| byte == 0) {
        return DecodeError::NotAnImage(Some("only zeros"));
    }
    // A cut in the middle of a character is no sign of binary content.
    let text = match std::str::from_utf8(start) {
        Ok(_) => true,
        Err(e) => e.valid_up_to() + 4 > start.len() && e.valid_up_to() > 0,
    };
    if text && !start.iter().any(|&byte| byte < 0x20 && !b"\t\r\n\x0c\x1b".contains(&byte)) {
        let lower = start.to_ascii_lowercase();
        let lower = lower.trim_ascii_start();
        let page = lower.starts_with(b"<!doctype html") || lower.starts_with(b"<html");
        return DecodeError::NotAnImage(Some(if page { "a web page" } else { "text" }));
    }
    DecodeError::NotAnImage(None)
}

fn unsupported_format(name: &str) -> DecodeError {
    DecodeError::Unsupported(format!("{name} files are not read; convert to JPEG or PNG"))
}

fn from_image(error: ImageError) -> DecodeError {
    let text = match &error {
        ImageError::IoError(e) if e.kind() == ErrorKind::UnexpectedEof => {
            return DecodeError::Truncated;
        }
        ImageError::Unsupported(e) => return DecodeError::Unsupported(e.to_string()),
        ImageError::Limits(e) => {
            return DecodeError::Damaged(format!("decoding it takes too much memory ({e})"));
        }
        ImageError::Decoding(e) => {
            std::error::Error::source(e).map_or_else(|| e.to_string(), ToString::to_string)
        }
        other => other.to_string(),
    };
    // The decoders have no common way to say that bytes ran out; these are their words for it.
    const SHORT: [&str; 10] = [
        "unexpected end",
        "unexpected eof",
        "unexpectedeof",
        "premature end",
        "end of file",
        "fill whole buffer",
        "exhausted",
        "no more bytes",
        "not enough",
        "marker missing",
    ];
    let lower = text.to_lowercase();
    if SHORT.iter().any(|words| lower.contains(words)) {
        DecodeError::Truncated
    } else {
        DecodeError::Damaged(text)
    }
}

/// Whether a WebP is as long as it says. The decoder is content with less. The byte that makes
/// lengths even may be missing.
fn webp_is_whole(bytes: &[u8]) -> bool {
    let stated =
        bytes.get(4..8).and_then(|length| length.try_into().ok()).map_or(0, u32::from_le_bytes);
    bytes.len() as u64 + 1 >= u64::from(stated) + 8
}

fn mode(bytes: &[u8], format: ImageFormat, color: ExtendedColorType) -> &'static str {
    match format {
        // Colour type 3 of the header that always comes first, and BMP's bits per pixel up to 8,
        // are palettes.
        ImageFormat::Png if bytes.get(25) == Some(&3) => return "P",
        ImageFormat::Bmp
            if bytes.get(28..30).is_some_and(|b| u16::from_le_bytes([b[0], b[1]]) <= 8) =>
        {
            return "P";
        }
        ImageFormat::Gif => return "P",
        ImageFormat::Jpeg if jpeg::components(bytes) == Some(4) => return "CMYK",
        _ => {}
    }
    use ExtendedColorType as C;
    match color {
        C::L1 => "1",
        C::L2 => "L2",
        C::L4 => "L4",
        C::L8 => "L",
        C::La8 | C::La1 | C::La2 | C::La4 => "LA",
        C::L16 => "L16",
        C::La16 => "LA16",
        C::Rgb16 => "RGB16",
        C::Rgba16 => "RGBA16",
        C::Rgba8 | C::Bgra8 => "RGBA",
        C::Rgb32F | C::Rgba32F => "RGB32F",
        C::Cmyk8 => "CMYK",
        C::Cmyk16 => "CMYK16",
        _ => "RGB",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{GrayAlphaImage, LumaA, Rgb};

    fn encoded(format: ImageFormat) -> Vec<u8> {
        let image =
            RgbImage::from_fn(37, 23, |x, y| Rgb([(x * 6) as u8, (y * 11) as u8, (x * y) as u8]));
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn every_format_is_known_by_its_content_and_no_part_of_a_file_passes_for_the_whole() {
        use ImageFormat::{Bmp, Gif, Jpeg, Png, Pnm, Tiff, WebP};
        for format in [Bmp, Gif, Jpeg, Png, Pnm, Tiff, WebP] {
            let bytes = encoded(format);
            let whole = decode(&bytes, 1000).unwrap();
            assert_eq!(
                (whole.pixels.width, whole.pixels.height, whole.pixels.data.len()),
                (37, 23, 37 * 23 * 3),
                "{format:?}"
            );
            assert!(
                matches!(
                    decode(&bytes, 37 * 23 - 1),
                    Err(DecodeError::TooLarge { width: 37, height: 23, .. })
                ),
                "{format:?}"
            );
            // The last bytes of a GIF only say that nothing follows.
            for length in (1..bytes.len() - 20).step_by(7).chain([bytes.len() - 20]) {
                assert!(
                    decode(&bytes[..length], 1000).is_err(),
                    "{format:?}: {length} of {} bytes",
                    bytes.len()
                );
            }
        }
    }

    #[test]
    fn a_jpeg_filled_up_with_zeros_is_truncated() {
        let mut bytes = encoded(ImageFormat::Jpeg);
        let half = bytes.len() / 2;
        bytes[half..].fill(0);
        assert_eq!(decode(&bytes, 1000), Err(DecodeError::Truncated));
        // Padding after a whole image harms nothing.
        let mut bytes = encoded(ImageFormat::Jpeg);
        bytes.extend([0; 100]);
        assert!(decode(&bytes, 1000).is_ok());
    }

    #[test]
    fn what_is_no_image_is_told_apart() {
        let reason = |bytes: &[u8]| decode(bytes, 1000).unwrap_err().to_string();
        assert_eq!(reason(b""), "empty file");
        assert_eq!(
            reason(b"<!DOCTYPE html><title>404</title>"),
            "not an image: the file holds a web page"
        );
        assert_eq!(reason("заметки".as_bytes()), "not an image: the file holds text");
        assert_eq!(reason(&[0; 600]), "not an image: the file holds only zeros");
        assert_eq!(reason(&[1, 2, 3]), "not an image");
        assert!(reason(b"\0\0\0\x18ftypheic\0\0\0\0").contains("HEIC"));
        assert!(reason(b"\0\0\0\x18ftypisom\0\0\0\0").contains("video"));
    }

    #[test]
    fn alpha_is_dropped_not_blended() {
        let image = GrayAlphaImage::from_pixel(2, 2, LumaA([90, 0]));
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, ImageFormat::Png).unwrap();
        let decoded = decode(&bytes.into_inner(), 1000).unwrap();
        assert_eq!((decoded.mode, decoded.pixels.data), ("LA", vec![90; 12]));
    }

    #[test]
    fn large_images_take_turns_and_small_ones_do_not_wait() {
        let first = turn(16_000_001);
        assert!(first.is_some() && turn(16_000_000).is_none());
        let (sender, receiver) = std::sync::mpsc::channel();
        let waiting = std::thread::spawn(move || {
            let _turn = turn(u64::MAX);
            sender.send(()).unwrap();
        });
        assert!(receiver.recv_timeout(std::time::Duration::from_millis(50)).is_err());
        drop(first);
        waiting.join().unwrap();
        assert!(receiver.recv().is_ok());
        // A panic of one who has the turn does not keep it from the others.
        let panicked = std::thread::spawn(|| {
            let _turn = turn(u64::MAX);
            panic!("on purpose");
        });
        assert!(panicked.join().is_err() && turn(u64::MAX).is_some());
    }
}
