//! AVIF: images coded as AV1, by rav1d, which is dav1d in Rust, without its assembly. Colours are what
//! libavif makes of them, which Pillow and browsers decode with.

use image::metadata::Orientation;
use image::{DynamicImage, RgbImage};
use re_rav1d::dav1d::{Decoder, PixelLayout, Picture, PlanarImageComponent, Settings, pixel};

use super::decode::{DecodeError, Decoded, check_size, turn};
use super::heif::{Image, Nclx, TRUNCATED, Turn};
use super::pixels::RgbPixels;
use super::yuv::{Layout, Plane};

/// Decodes a file that [`super::heif::is_avif`] takes for one.
pub(super) fn decode(bytes: &[u8], max_pixels: u64) -> Result<Decoded, DecodeError> {
    let image = Image::read(bytes).map_err(|reason| match reason {
        TRUNCATED => DecodeError::Truncated,
        reason => DecodeError::Damaged(format!("as AVIF it {reason}")),
    })?;
    let stated = image.grid.map(|(_, width, height)| (width, height)).or(image.size);
    let (width, height) = stated.ok_or_else(|| damaged("as AVIF it does not say how large it is"))?;
    check_size(width, height, max_pixels)?;
    let _turn = turn(u64::from(width) * u64::from(height));
    let mut mode = "RGB";
    let pixels = match image.grid {
        None => {
            let picture = picture(&image.tiles.concat().concat(), max_pixels)?;
            mode = mode_of(&picture);
            to_rgb(&picture, image.nclx)?
        }
        Some((columns, width, height)) => {
            let mut canvas = RgbImage::new(width, height);
            let mut tile_size = None;
            for (number, parts) in image.tiles.iter().enumerate() {
                let picture = picture(&parts.concat(), max_pixels)?;
                mode = mode_of(&picture);
                let tile = to_rgb(&picture, image.nclx)?;
                let (w, h) = *tile_size.get_or_insert(tile.dimensions());
                let (x, y) = ((number % columns) as u32 * w, (number / columns) as u32 * h);
                image::imageops::replace(&mut canvas, &tile, x.into(), y.into());
            }
            let (w, h) = tile_size.unwrap_or_default();
            let rows = image.tiles.len().div_ceil(columns) as u32;
            if u64::from(w) * (columns as u64) < width.into() || u64::from(h) * u64::from(rows) < height.into() {
                return Err(damaged("its tiles do not cover it"));
            }
            canvas
        }
    };
    let mut pixels = DynamicImage::ImageRgb8(pixels);
    for turn in &image.turns {
        pixels.apply_orientation(match turn {
            Turn::Quarters(1) => Orientation::Rotate270,
            Turn::Quarters(2) => Orientation::Rotate180,
            Turn::Quarters(3) => Orientation::Rotate90,
            Turn::Quarters(_) => Orientation::NoTransforms,
            Turn::UpsideDown => Orientation::FlipVertical,
            Turn::LeftToRight => Orientation::FlipHorizontal,
        });
    }
    let pixels = pixels.into_rgb8();
    let (width, height) = pixels.dimensions();
    check_size(width, height, max_pixels)?;
    let pixels = RgbPixels { width, height, data: pixels.into_raw() };
    Ok(Decoded { pixels, size: (width, height), mode })
}

fn damaged(reason: &str) -> DecodeError {
    DecodeError::Damaged(reason.to_string())
}

fn mode_of(picture: &Picture) -> &'static str {
    match (picture.pixel_layout(), picture.bit_depth()) {
        (PixelLayout::I400, 8) => "L",
        (PixelLayout::I400, _) => "L16",
        (_, 8) => "RGB",
        _ => "RGB16",
    }
}

/// The first picture of a stream.
fn picture(stream: &[u8], max_pixels: u64) -> Result<Picture, DecodeError> {
    let mut settings = Settings::new();
    // The decoder's threads would wait for each other, and the other images have them all.
    settings.set_n_threads(1);
    settings.set_max_frame_delay(1);
    settings.set_frame_size_limit(u32::try_from(max_pixels).unwrap_or(u32::MAX));
    let fail = |error: re_rav1d::dav1d::Error| DecodeError::Damaged(format!("its AV1 stream: {error}"));
    let mut decoder = Decoder::with_settings(&settings).map_err(fail)?;
    match decoder.send_data(stream.to_vec(), None, None, None) {
        Err(error) if !error.is_again() => return Err(fail(error)),
        _ => {}
    }
    // Data that is not taken at once is taken after the next picture, of which there is one.
    decoder.get_picture().map_err(|error| match error.is_again() {
        true => DecodeError::Truncated,
        false => fail(error),
    })
}

/// A plane of numbers of 8 or 16 bits.
struct Samples {
    data: re_rav1d::dav1d::Plane,
    stride: usize,
    wide: bool,
    size: (usize, usize),
}

impl Samples {
    fn of(picture: &Picture, component: PlanarImageComponent, size: (usize, usize)) -> Option<Self> {
        let (wide, stride) = (picture.bit_depth() > 8, picture.stride(component) as usize);
        let data = picture.plane(component);
        let bytes = size.0 * if wide { 2 } else { 1 };
        let needed = size.1.checked_sub(1)?.checked_mul(stride)?.checked_add(bytes)?;
        (bytes <= stride && needed <= data.len()).then_some(Self { data, stride, wide, size })
    }
}

impl Plane for Samples {
    fn row(&self, y: usize, into: &mut Vec<f32>) {
        into.clear();
        let row = &self.data[y * self.stride..];
        match self.wide {
            true => into.extend(
                row[..2 * self.size.0]
                    .chunks_exact(2)
                    .map(|two| f32::from(u16::from_ne_bytes([two[0], two[1]]))),
            ),
            false => into.extend(row[..self.size.0].iter().map(|value| f32::from(*value))),
        }
    }

    fn size(&self) -> (usize, usize) {
        self.size
    }
}

fn to_rgb(picture: &Picture, nclx: Option<Nclx>) -> Result<RgbImage, DecodeError> {
    let (width, height) = (picture.width(), picture.height());
    let half = match picture.pixel_layout() {
        PixelLayout::I420 => (true, true),
        PixelLayout::I422 => (true, false),
        PixelLayout::I400 | PixelLayout::I444 => (false, false),
    };
    let halved = |side: u32, half: bool| if half { side.div_ceil(2) } else { side } as usize;
    let small = (halved(width, half.0), halved(height, half.1));
    let components = match picture.pixel_layout() {
        PixelLayout::I400 => [PlanarImageComponent::Y].as_slice(),
        _ => &[PlanarImageComponent::Y, PlanarImageComponent::U, PlanarImageComponent::V],
    };
    let sizes = [(width as usize, height as usize), small, small];
    let planes: Option<Vec<Samples>> = components
        .iter()
        .zip(sizes)
        .map(|(component, size)| Samples::of(picture, *component, size))
        .collect();
    let planes = planes.ok_or_else(|| damaged("its AV1 stream gives no picture"))?;
    let nclx = nclx.unwrap_or_else(|| stated(picture));
    let depth = picture.bit_depth().clamp(8, 16) as u32;
    let Nclx { matrix, full_range } = nclx;
    Layout { width, height, depth, full_range, matrix, half, interpolated: true }.to_rgb(&planes)
}

/// What the stream itself says of its colours.
fn stated(picture: &Picture) -> Nclx {
    use pixel::MatrixCoefficients as M;
    let matrix = match picture.matrix_coefficients() {
        M::Identity => 0,
        M::BT709 => 1,
        M::BT470M => 4,
        M::ST240M => 7,
        M::BT2020NonConstantLuminance => 9,
        M::Unspecified | M::BT470BG | M::ST170M => 6,
        _ => u16::MAX,
    };
    Nclx { matrix, full_range: picture.color_range() == pixel::YUVRange::Full }
}
