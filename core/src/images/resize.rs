//! From an image of any size to the network's square input.
//!
//! The policy, everywhere a whole image is meant (evaluation, features, an exported model): the
//! largest centred square, or all of the image ([`ImageFit`]), is resized to the input side by an
//! antialiased triangle filter, as torchvision's `Resize` (bilinear, antialias) does. An image that
//! already has the input's side is taken byte for byte.

use std::cell::RefCell;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use super::pixels::RgbPixels;
use crate::words::ImageFit;

/// Sides that an automatic input size is chosen from when images differ in size.
const USUAL_SIDES: [usize; 4] = [32, 64, 128, 224];

/// A rectangle of an image, in pixels from its top left corner.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Region {
    pub left: f64,
    pub top: f64,
    pub width: f64,
    pub height: f64,
}

impl Region {
    /// What a network sees of a `width` × `height` image.
    pub fn seen(width: u32, height: u32, fit: ImageFit) -> Self {
        match fit {
            ImageFit::Crop => Self::centred_square(width, height),
            ImageFit::Stretch => Self::whole(width, height),
        }
    }

    /// All of a `width` × `height` image.
    pub fn whole(width: u32, height: u32) -> Self {
        Self { left: 0.0, top: 0.0, width: f64::from(width), height: f64::from(height) }
    }

    /// The largest centred square of a `width` × `height` image.
    pub fn centred_square(width: u32, height: u32) -> Self {
        let side = width.min(height);
        let half = |length: u32| f64::from(length - side) / 2.0;
        Self {
            left: half(width),
            top: half(height),
            width: f64::from(side),
            height: f64::from(side),
        }
    }
}

/// A network's input: a square, and how an image becomes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputShape {
    /// Its side, in pixels.
    pub side: usize,
    /// What of the image goes into it.
    pub fit: ImageFit,
}

/// The largest centred square of an image.
impl From<usize> for InputShape {
    fn from(side: usize) -> Self {
        Self { side, fit: ImageFit::Crop }
    }
}

/// The side of the network's input when it is left to be chosen, from the widths and heights of the
/// training images.
///
/// If all are equal squares of 8..=512 pixels a side, that side; otherwise the largest of 32, 64,
/// 128 and 224 that is at most 1.25 times the median short side, and at least 32.
///
/// ```
/// use counterweight_core::images::choose_input_size;
/// assert_eq!(choose_input_size([(28, 28), (28, 28)]), 28);
/// assert_eq!(choose_input_size([(640, 480), (300, 400)]), 224);
/// ```
pub fn choose_input_size(sizes: impl IntoIterator<Item = (u32, u32)>) -> usize {
    let sizes: Vec<_> = sizes.into_iter().collect();
    let Some(&(side, _)) = sizes.first() else { return USUAL_SIDES[0] };
    if (8..=512).contains(&side) && sizes.iter().all(|&size| size == (side, side)) {
        return side as usize;
    }
    let mut short: Vec<u32> = sizes.iter().map(|&(width, height)| width.min(height)).collect();
    let middle = short.len() / 2;
    let median = f64::from(*short.select_nth_unstable(middle).1);
    USUAL_SIDES
        .into_iter()
        .rev()
        .find(|&side| side as f64 <= 1.25 * median)
        .unwrap_or(USUAL_SIDES[0])
}

/// The network's input for an image: what of it is seen, resized to the input's side. A side alone
/// stands for the largest centred square.
///
/// # Shapes
/// Returns `[3, side, side]`: the red plane, then green, then blue. `image.data` must hold
/// `height · width · 3` bytes.
pub fn to_input(image: &RgbPixels, shape: impl Into<InputShape>) -> Vec<u8> {
    let shape = shape.into();
    let mut planes = vec![0; 3 * shape.side * shape.side];
    write_input(image, shape, &mut planes);
    planes
}

/// [`to_input`] into `planes`, `[3, side, side]`.
pub(crate) fn write_input(image: &RgbPixels, shape: impl Into<InputShape>, planes: &mut [u8]) {
    let InputShape { side, fit } = shape.into();
    resize_pixels(image, Region::seen(image.width, image.height, fit), side, planes);
}

/// A small copy of an image to look at: its longer side is `longest_side` pixels, or what it was if
/// that is less. The aspect ratio stays, as far as whole pixels allow.
///
/// # Shapes
/// `image.data` must hold `height · width · 3` bytes, and so does the copy's.
pub fn thumbnail(image: &RgbPixels, longest_side: u32) -> RgbPixels {
    assert_eq!(
        image.data.len(),
        image.width as usize * image.height as usize * 3,
        "three bytes a pixel"
    );
    let (longest, wanted) = (image.width.max(image.height), longest_side.max(1));
    if longest <= wanted {
        return image.clone();
    }
    let scaled = |length: u32| {
        ((f64::from(length) * f64::from(wanted) / f64::from(longest)).round() as u32).max(1)
    };
    let (width, height) = (scaled(image.width), scaled(image.height));
    let mut data = vec![0; width as usize * height as usize * 3];
    resize(
        (&image.data, image.width, image.height),
        Region::whole(image.width, image.height),
        (&mut data, width, height),
        PixelType::U8x3,
    );
    RgbPixels { width, height, data }
}

/// Resizes a region of an image to `side` × `side`, into `planes`, `[3, side, side]`.
pub(crate) fn resize_pixels(image: &RgbPixels, region: Region, side: usize, planes: &mut [u8]) {
    assert_eq!(
        image.data.len(),
        image.width as usize * image.height as usize * 3,
        "three bytes a pixel"
    );
    let whole = region == Region::centred_square(image.width, image.height);
    if whole && image.width as usize == side && image.height as usize == side {
        return split_planes(&image.data, planes);
    }
    let mut pixels = vec![0; 3 * side * side];
    resize(
        (&image.data, image.width, image.height),
        region,
        (&mut pixels, side as u32, side as u32),
        PixelType::U8x3,
    );
    split_planes(&pixels, planes);
}

/// Resizes a region of a planar image, `[3, side, side]`, to the whole of another of the same
/// shape.
pub(crate) fn resize_planes(from: &[u8], region: Region, side: usize, to: &mut [u8]) {
    for (from, to) in from.chunks_exact(side * side).zip(to.chunks_exact_mut(side * side)) {
        resize(
            (from, side as u32, side as u32),
            region,
            (to, side as u32, side as u32),
            PixelType::U8,
        );
    }
}

fn resize(from: (&[u8], u32, u32), region: Region, to: (&mut [u8], u32, u32), kind: PixelType) {
    thread_local! {
        /// Keeps its work buffers from image to image.
        static RESIZER: RefCell<Resizer> = RefCell::new(Resizer::new());
    }
    let (bytes, width, height) = from;
    let source =
        ImageRef::new(width, height, bytes, kind).expect("the buffer has the image's size");
    let mut target =
        Image::from_slice_u8(to.1, to.2, to.0, kind).expect("the buffer has the input's size");
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(FilterType::Bilinear))
        .use_alpha(false)
        .crop(region.left, region.top, region.width, region.height);
    RESIZER
        .with_borrow_mut(|resizer| resizer.resize(&source, &mut target, &options))
        .expect("the region lies inside the image");
}

/// Interleaved pixels into planes.
pub(crate) fn split_planes(pixels: &[u8], planes: &mut [u8]) {
    let (red, rest) = planes.split_at_mut(pixels.len() / 3);
    let (green, blue) = rest.split_at_mut(pixels.len() / 3);
    for (((pixel, red), green), blue) in pixels.chunks_exact(3).zip(red).zip(green).zip(blue) {
        (*red, *green, *blue) = (pixel[0], pixel[1], pixel[2]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(width: u32, height: u32, value: impl Fn(u32, u32) -> u8) -> RgbPixels {
        let data = (0..height)
            .flat_map(|y| (0..width).map(move |x| (x, y)))
            .flat_map(|(x, y)| [value(x, y), 0, 7])
            .collect();
        RgbPixels { width, height, data }
    }

    #[test]
    fn the_input_side_follows_the_images() {
        assert_eq!(choose_input_size([]), 32);
        assert_eq!(choose_input_size([(48, 48); 3]), 48);
        assert_eq!(choose_input_size([(4, 4); 3]), 32);
        assert_eq!(choose_input_size([(600, 600); 3]), 224);
        assert_eq!(choose_input_size([(48, 48), (50, 48), (48, 60)]), 32);
        assert_eq!(choose_input_size([(52, 60), (60, 52), (52, 52)]), 64);
        assert_eq!(choose_input_size([(178, 300); 5]), 128);
        assert_eq!(choose_input_size([(180, 300); 5]), 224);
    }

    #[test]
    fn an_image_of_the_input_side_is_only_split_into_planes() {
        let image =
            RgbPixels { width: 2, height: 2, data: vec![1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12] };
        assert_eq!(to_input(&image, 2), [1, 4, 7, 10, 2, 5, 8, 11, 3, 6, 9, 12]);
    }

    #[test]
    fn the_centre_is_cut_out_of_a_long_image() {
        // Columns 0..3 and 5..8 are cut off: what is left is columns 3 and 4.
        let image = grey(8, 2, |x, y| (10 * x + y) as u8);
        assert_eq!(to_input(&image, 2)[..4], [30, 40, 31, 41]);
    }

    #[test]
    fn all_of_a_long_image_is_seen_where_it_is_stretched() {
        // Each row of eight becomes two pixels, four to each and what a triangle reaches beyond: of
        // half-width 4 around 2 and 6, with weights 5, 7, 7, 5, 3, 1 over 28 (the other two lie outside).
        let image = grey(8, 2, |x, y| (10 * x + y) as u8);
        let low = (7 * 10 + 7 * 20 + 5 * 30 + 3 * 40 + 50) as f64 / 28.0;
        let (low, high) = (low.round() as u8, (70.0 - low).round() as u8);
        let shape = InputShape { side: 2, fit: ImageFit::Stretch };
        assert_eq!(to_input(&image, shape)[..4], [low, high, low + 1, high + 1]);
        // Neither does anything to a square.
        let square = grey(6, 6, |x, y| (10 * x + y) as u8);
        assert_eq!(to_input(&square, InputShape { side: 4, ..shape }), to_input(&square, 4));
    }

    #[test]
    fn shrinking_by_half_weighs_neighbours_with_a_triangle() {
        // A triangle of half-width 2 source pixels: weights 1, 3, 3, 1 over 8 inside, 3, 3, 1 over
        // 7 at the border.
        let row = [0, 80, 160, 240, 40, 200, 120, 8];
        let image = grey(8, 8, |x, _| row[x as usize]);
        let out = to_input(&image, 4);
        let expected = [
            (3 * 80 + 160) as f64 / 7.0,
            (80 + 480 + 720 + 40) as f64 / 8.0,
            (240 + 120 + 600 + 120) as f64 / 8.0,
            584.0 / 7.0,
        ];
        for (got, want) in out[..4].iter().zip(expected) {
            assert!((f64::from(*got) - want).abs() <= 0.51, "{got} {want}");
        }
        assert!(
            out[16..32].iter().all(|&green| green == 0) && out[32..].iter().all(|&blue| blue == 7)
        );
    }

    #[test]
    fn a_thumbnail_keeps_the_shape_and_never_grows() {
        let image = grey(300, 200, |x, _| (x / 2) as u8);
        let small = thumbnail(&image, 96);
        assert_eq!((small.width, small.height, small.data.len()), (96, 64, 96 * 64 * 3));
        // Red rises from left to right by 150 levels, the other channels are the same everywhere.
        assert!(
            small.data[0] <= 2
                && small.data[95 * 3] >= 147
                && small.data[1] == 0
                && small.data[2] == 7
        );
        for side in [300, 301, u32::MAX] {
            assert_eq!(thumbnail(&image, side), image);
        }
        let long = thumbnail(&grey(2000, 3, |_, _| 200), 50);
        assert_eq!((long.width, long.height), (50, 1));
        assert!(long.data.chunks(3).all(|pixel| pixel == [200, 0, 7]));
        assert_eq!(thumbnail(&image, 0).width, 1);
    }

    #[test]
    fn extreme_shapes_work() {
        for (width, height) in [(1, 1), (1, 999), (2000, 3)] {
            let out = to_input(&grey(width, height, |_, _| 200), 8);
            assert!(out[..64].iter().all(|&red| red == 200), "{width}×{height}");
        }
    }
}
