//! AVIF: images coded as AV1, by rav1d, which is dav1d in Rust, without its assembly. Colours are what
//! libavif makes of them, which Pillow and browsers decode with.

use image::metadata::Orientation;
use image::{DynamicImage, RgbImage};
use re_rav1d::dav1d::{Decoder, Picture, PixelLayout, PlanarImageComponent, Settings, pixel};

use super::decode::{DecodeError, Decoded, check_size, turn};
use super::heif::{Image, Nclx, TRUNCATED, Turn};
use super::pixels::RgbPixels;
use super::yuv::{Layout, Plane};

/// Pixels that a stream may reach over the edges of its image.
const BEYOND: u64 = 1024;

/// Decodes a file that [`super::heif::is_avif`] takes for one.
pub(super) fn decode(bytes: &[u8], max_pixels: u64) -> Result<Decoded, DecodeError> {
    let image = Image::read(bytes).map_err(|reason| match reason {
        TRUNCATED => DecodeError::Truncated,
        reason => DecodeError::Damaged(format!("as AVIF it {reason}")),
    })?;
    let stated = image.grid.map(|(_, width, height)| (width, height)).or(image.size);
    let (width, height) =
        stated.ok_or_else(|| damaged("as AVIF it does not say how large it is"))?;
    check_size(width, height, max_pixels)?;
    let _turn = turn(u64::from(width) * u64::from(height));
    // A stream is no larger than the image that it is said to be, or than a tile that reaches a little
    // over the image's edge.
    let most = (u64::from(width) + BEYOND) * (u64::from(height) + BEYOND);
    let most = most.min(max_pixels);
    let (pixels, mode) = match image.grid {
        None => {
            let picture = picture(&image.tiles.concat().concat(), most)?;
            let (layout, planes) = planes(&picture, image.nclx)?;
            (layout.to_rgb(&planes)?, mode_of(&picture))
        }
        Some((columns, width, height)) => {
            let mut canvas: Option<(Canvas, &'static str)> = None;
            let rows = image.tiles.len().div_ceil(columns);
            for (number, parts) in image.tiles.iter().enumerate() {
                let picture = picture(&parts.concat(), most)?;
                let (layout, planes) = planes(&picture, image.nclx)?;
                // Every tile shows something. Thousands that do not could each be as large as a photo.
                let begins = |tile: u32, number: usize, whole: u32| {
                    u64::from(tile) * (number as u64 - 1) < u64::from(whole)
                };
                if !begins(layout.width, columns, width) || !begins(layout.height, rows, height) {
                    return Err(damaged("it has tiles that lie beside it"));
                }
                let (canvas, _) = canvas.get_or_insert_with(|| {
                    (Canvas::new(layout, (width, height), planes.len()), mode_of(&picture))
                });
                canvas.put(number % columns, number / columns, &layout, &planes)?;
            }
            let (canvas, mode) = canvas.ok_or_else(|| damaged("it has no tiles"))?;
            (canvas.to_rgb(columns, rows)?, mode)
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
    let fail =
        |error: re_rav1d::dav1d::Error| DecodeError::Damaged(format!("its AV1 stream: {error}"));
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
    fn of(
        picture: &Picture,
        component: PlanarImageComponent,
        size: (usize, usize),
    ) -> Option<Self> {
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

/// The planes of a picture, and how they are stored.
fn planes(picture: &Picture, nclx: Option<Nclx>) -> Result<(Layout, Vec<Samples>), DecodeError> {
    let nclx = nclx.unwrap_or_else(|| stated(picture));
    let half = match picture.pixel_layout() {
        PixelLayout::I420 => (true, true),
        PixelLayout::I422 => (true, false),
        PixelLayout::I400 | PixelLayout::I444 => (false, false),
    };
    let layout = Layout {
        width: picture.width(),
        height: picture.height(),
        depth: picture.bit_depth().clamp(8, 16) as u32,
        full_range: nclx.full_range,
        matrix: nclx.matrix,
        half,
        interpolated: true,
    };
    let components = match picture.pixel_layout() {
        PixelLayout::I400 => [PlanarImageComponent::Y].as_slice(),
        _ => &[PlanarImageComponent::Y, PlanarImageComponent::U, PlanarImageComponent::V],
    };
    let planes: Option<Vec<Samples>> = components
        .iter()
        .enumerate()
        .map(|(plane, component)| Samples::of(picture, *component, layout.size(plane)))
        .collect();
    Ok((layout, planes.ok_or_else(|| damaged("its AV1 stream gives no picture"))?))
}

/// The planes of an image that is made of tiles. They are put together before colours are
/// interpolated, so that no seams are seen.
struct Canvas {
    layout: Layout,
    tile: Layout,
    planes: Vec<Whole>,
}

struct Whole {
    values: Vec<u16>,
    size: (usize, usize),
}

impl Plane for Whole {
    fn row(&self, y: usize, into: &mut Vec<f32>) {
        into.clear();
        into.extend(self.values[y * self.size.0..][..self.size.0].iter().map(|v| f32::from(*v)));
    }

    fn size(&self) -> (usize, usize) {
        self.size
    }
}

impl Canvas {
    fn new(tile: Layout, (width, height): (u32, u32), planes: usize) -> Self {
        let layout = Layout { width, height, ..tile };
        let whole = |plane| {
            let size = layout.size(plane);
            Whole { values: vec![0; size.0 * size.1], size }
        };
        Self { layout, tile, planes: (0..planes).map(whole).collect() }
    }

    fn put(
        &mut self,
        column: usize,
        row: usize,
        layout: &Layout,
        tile: &[Samples],
    ) -> Result<(), DecodeError> {
        if *layout != self.tile || tile.len() != self.planes.len() {
            return Err(damaged("its tiles are not all of one kind"));
        }
        let mut values = Vec::new();
        for (number, (plane, whole)) in tile.iter().zip(&mut self.planes).enumerate() {
            let (width, height) = self.tile.size(number);
            let (left, top) = (column * width, row * height);
            let wide = width.min(whole.size.0.saturating_sub(left));
            for y in 0..height.min(whole.size.1.saturating_sub(top)) {
                plane.row(y, &mut values);
                let start = (top + y) * whole.size.0 + left;
                let own = whole.values[start..][..wide].iter_mut();
                own.zip(&values).for_each(|(own, value)| *own = *value as u16);
            }
        }
        Ok(())
    }

    fn to_rgb(&self, columns: usize, rows: usize) -> Result<RgbImage, DecodeError> {
        let covers =
            |tile: u32, number: usize, whole: u32| u64::from(tile) * number as u64 >= whole.into();
        let (tile, whole) = (&self.tile, &self.layout);
        if !covers(tile.width, columns, whole.width) || !covers(tile.height, rows, whole.height) {
            return Err(damaged("its tiles do not cover it"));
        }
        whole.to_rgb(&self.planes)
    }
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
