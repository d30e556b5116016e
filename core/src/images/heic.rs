//! HEIC, as phones store photos: images coded as HEVC, by a decoder without unsafe code.

use std::sync::LazyLock;

use heic_decoder::{DecodedImage, HeifError};
use image::RgbImage;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::decode::{DecodeError, Decoded, check_size, turn};
use super::heif::refuse_overlapping;
use super::pixels::RgbPixels;
use super::yuv::{Layout, Plane};

/// Whether these are the first bytes of an image that is coded as HEVC.
pub(super) fn is_heic(bytes: &[u8]) -> bool {
    const BRANDS: [&[u8; 4]; 8] =
        [b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"];
    bytes.get(4..8) == Some(b"ftyp")
        && bytes.get(8..12).is_some_and(|brand| BRANDS.iter().any(|known| brand == *known))
}

/// The threads that the tiles of images are decoded on. They are not those that images are shared
/// among: one of these would take up another image while it waits for its tiles, and that image may
/// have to wait for the first.
static THREADS: LazyLock<Option<ThreadPool>> =
    LazyLock::new(|| ThreadPoolBuilder::new().thread_name(|i| format!("heic {i}")).build().ok());

/// Decodes a file that [`is_heic`] takes for one, upright.
pub(super) fn decode(bytes: &[u8], max_pixels: u64) -> Result<Decoded, DecodeError> {
    refuse_overlapping(bytes)
        .map_err(|reason| DecodeError::Damaged(format!("as HEIC it {reason}")))?;
    let info = heic_decoder::probe(bytes).map_err(refused)?;
    let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
    check_size(side(info.coded_width), side(info.coded_height), max_pixels)?;
    let _turn = turn(info.coded_width as u64 * info.coded_height as u64);
    let threads = THREADS.as_ref().ok_or_else(|| {
        DecodeError::Unsupported("HEIC needs threads, and the system gives none".into())
    })?;
    let (sender, receiver) = std::sync::mpsc::channel();
    let owned = bytes.to_vec();
    threads.spawn(move || {
        let decoded = crate::panics::caught(|| Ok::<_, String>(planes(&owned)));
        // The one who waits has gone if it was stopped.
        drop(sender.send(decoded));
    });
    let damaged = || DecodeError::Damaged("its content confuses the decoder".into());
    let (planes, mode) =
        receiver.recv().ok().and_then(Result::ok).ok_or_else(damaged)?.map_err(refused)?;
    check_size(side(planes.width), side(planes.height), max_pixels)?;
    let pixels = to_rgb(&planes)?;
    let (width, height) = pixels.dimensions();
    let pixels = RgbPixels { width, height, data: pixels.into_raw() };
    Ok(Decoded { pixels, size: (width, height), mode })
}

fn planes(bytes: &[u8]) -> Result<(DecodedImage, &'static str), HeifError> {
    let image = heic_decoder::decode(bytes)?;
    let mode = match (image.chroma_format_idc, image.bit_depth_luma, image.alpha.is_some()) {
        (0, 8, false) => "L",
        (0, _, false) => "L16",
        (_, 8, false) => "RGB",
        (_, _, false) => "RGB16",
        (_, 8, true) => "RGBA",
        (_, _, true) => "RGBA16",
    };
    Ok((image, mode))
}

/// A plane of numbers.
struct Samples<'a> {
    values: &'a [i32],
    width: usize,
}

impl Plane for Samples<'_> {
    fn row(&self, y: usize, into: &mut Vec<f32>) {
        into.clear();
        into.extend(self.values[y * self.width..][..self.width].iter().map(|value| *value as f32));
    }

    fn size(&self) -> (usize, usize) {
        (self.width, self.values.len().checked_div(self.width).unwrap_or(0))
    }
}

fn to_rgb(image: &DecodedImage) -> Result<RgbImage, DecodeError> {
    let (width, height) = (image.width as u32, image.height as u32);
    let (light, small) = (image.width, image.cb_width);
    let grey = image.chroma_format_idc == 0;
    let half = |whole: usize, part: usize| !grey && part < whole;
    let planes = [(&image.y, light), (&image.cb, small), (&image.cr, small)]
        .map(|(values, width)| Samples { values, width });
    // What is not said is taken for what libheif takes it for.
    let (matrix, full_range) =
        image.color_info.map_or((6, true), |info| (info.matrix_coefficients, info.full_range));
    let layout = Layout {
        width,
        height,
        depth: image.bit_depth_luma.clamp(8, 16),
        full_range,
        matrix,
        half: (half(image.width, image.cb_width), half(image.height, image.cb_height)),
        interpolated: false,
    };
    layout.to_rgb(if grey { &planes[..1] } else { &planes })
}

fn refused(error: HeifError) -> DecodeError {
    match error {
        HeifError::Unsupported(what) => DecodeError::Unsupported(format!(
            "HEIC with what is not read here ({what}); convert to JPEG or PNG"
        )),
        HeifError::Truncated { .. } => DecodeError::Truncated,
        other => DecodeError::Damaged(format!("as HEIC: {other}")),
    }
}
