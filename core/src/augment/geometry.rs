//! Augmentations that move pixels: pad-crop, flip, resized crop, affine maps.
//!
//! Images are planar, `[3, side, side]`.

use rand::{Rng, RngExt};

use crate::images::Region;

/// Copies `from` to `to` shifted by a pad-crop and mirrored: pixel (x, y) of the crop is pixel (x +
/// `left` − `pad`, y + `top` − `pad`) of the image, and zero outside. With a `pad` of 0 it is a
/// plain or mirrored copy.
pub(super) fn shift(
    from: &[u8],
    to: &mut [u8],
    side: usize,
    offset: (isize, isize),
    mirrored: bool,
) {
    let (right, down) = offset;
    // Columns of the result that lie inside the image; clamped, for a shift by more than the side.
    let inside = |shift: isize| {
        let first = (-shift).clamp(0, side as isize) as usize;
        let last = (side as isize - shift).clamp(first as isize, side as isize) as usize;
        (first, last)
    };
    let (first, last) = inside(right);
    for (from, to) in from.chunks_exact(side * side).zip(to.chunks_exact_mut(side * side)) {
        for (y, row) in to.chunks_exact_mut(side).enumerate() {
            let source = y as isize + down;
            if source < 0 || source >= side as isize || first == last {
                row.fill(0);
                continue;
            }
            let source = &from[source as usize * side..][..side];
            row[..first].fill(0);
            row[last..].fill(0);
            row[first..last].copy_from_slice(
                &source[(first as isize + right) as usize..(last as isize + right) as usize],
            );
            if mirrored {
                row.reverse();
            }
        }
    }
}

/// Mirrors every row.
pub(crate) fn mirror(planes: &mut [u8], side: usize) {
    planes.chunks_exact_mut(side).for_each(|row| row.reverse());
}

/// The smallest share of an image that a resized crop takes.
pub(super) const SMALLEST_AREA: f64 = 0.25;

/// The part of a `width` × `height` image that a resized crop takes: area a share of 0.25..1 of the
/// image's, aspect ratio 3/4..4/3 drawn on a logarithmic scale. After ten draws that do not fit,
/// the largest centred part of an allowed ratio (as torchvision's `RandomResizedCrop`).
pub(super) fn random_region(width: u32, height: u32, rng: &mut impl Rng) -> Region {
    const RATIO: (f64, f64) = (3.0 / 4.0, 4.0 / 3.0);
    let (w, h) = (f64::from(width), f64::from(height));
    for _ in 0..10 {
        let area = w * h * rng.random_range(SMALLEST_AREA..=1.0);
        let ratio = rng.random_range(RATIO.0.ln()..=RATIO.1.ln()).exp();
        let (part_w, part_h) = ((area * ratio).sqrt().round(), (area / ratio).sqrt().round());
        if part_w >= 1.0 && part_h >= 1.0 && part_w <= w && part_h <= h {
            let mut start = |room: f64| f64::from(rng.random_range(0..=room as u32));
            return Region {
                left: start(w - part_w),
                top: start(h - part_h),
                width: part_w,
                height: part_h,
            };
        }
    }
    let ratio = w / h;
    let (part_w, part_h) = if ratio < RATIO.0 {
        (w, (w / RATIO.0).round().clamp(1.0, h))
    } else if ratio > RATIO.1 {
        ((h * RATIO.1).round().clamp(1.0, w), h)
    } else {
        (w, h)
    };
    Region {
        left: ((w - part_w) / 2.0).floor(),
        top: ((h - part_h) / 2.0).floor(),
        width: part_w,
        height: part_h,
    }
}

/// A map from a pixel of the result to the point of the image it shows: x' = a·x + b·y + c, y' =
/// d·x + e·y + f, in pixels, where pixel (0, 0) covers 0..1 × 0..1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Affine {
    pub x: [f32; 3],
    pub y: [f32; 3],
}

impl Affine {
    /// Row y moves by `level` · y to the left, about the top left corner (as torchvision's
    /// RandAugment).
    pub fn shear_x(level: f32) -> Self {
        Self { x: [1.0, level, 0.0], y: [0.0, 1.0, 0.0] }
    }

    /// Column x moves by `level` · x upwards, about the top left corner.
    pub fn shear_y(level: f32) -> Self {
        Self { x: [1.0, 0.0, 0.0], y: [level, 1.0, 0.0] }
    }

    /// Everything moves right and down by whole or part pixels.
    pub fn translate(right: f32, down: f32) -> Self {
        Self { x: [1.0, 0.0, -right], y: [0.0, 1.0, -down] }
    }

    /// Turns counter-clockwise about the centre.
    pub fn rotate(degrees: f32, side: usize) -> Self {
        let (sin, cos) = degrees.to_radians().sin_cos();
        let centre = side as f32 / 2.0;
        // A turn on the screen, where y points down.
        Self {
            x: [cos, -sin, centre - cos * centre + sin * centre],
            y: [sin, cos, centre - sin * centre - cos * centre],
        }
    }
}

/// Applies an affine map with bilinear interpolation; points outside the image take `fill`. At the
/// border the nearest pixel is repeated.
pub(super) fn warp(planes: &mut [u8], side: usize, map: Affine, fill: [u8; 3]) {
    let source = planes.to_vec();
    let size = side as f32;
    let last = side - 1;
    let area = side * side;
    for y in 0..side {
        let centre_y = y as f32 + 0.5;
        for x in 0..side {
            let centre_x = x as f32 + 0.5;
            let from_x = map.x[0] * centre_x + map.x[1] * centre_y + map.x[2];
            let from_y = map.y[0] * centre_x + map.y[1] * centre_y + map.y[2];
            let to = y * side + x;
            if !(from_x >= 0.0 && from_x < size && from_y >= 0.0 && from_y < size) {
                for (channel, fill) in fill.into_iter().enumerate() {
                    planes[channel * area + to] = fill;
                }
                continue;
            }
            let (from_x, from_y) = ((from_x - 0.5).max(0.0), (from_y - 0.5).max(0.0));
            let (left, top) = (from_x as usize, from_y as usize);
            let (dx, dy) = (from_x - left as f32, from_y - top as f32);
            let (right, bottom) = ((left + 1).min(last), (top + 1).min(last));
            for channel in 0..3 {
                let plane = &source[channel * area..][..area];
                let at = |x: usize, y: usize| f32::from(plane[y * side + x]);
                let upper = at(left, top) + dx * (at(right, top) - at(left, top));
                let lower = at(left, bottom) + dx * (at(right, bottom) - at(left, bottom));
                planes[channel * area + to] = (upper + dy * (lower - upper) + 0.5) as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::stream;

    /// Three planes that are the same picture plus 0, 100, 200.
    fn planes(picture: &[u8]) -> Vec<u8> {
        [0, 100, 200]
            .iter()
            .flat_map(|add| picture.iter().map(move |p| p.wrapping_add(*add)))
            .collect()
    }

    #[rustfmt::skip]
    const PICTURE: [u8; 9] = [
        1, 2, 3,
        4, 5, 6,
        7, 8, 9,
    ];

    fn shifted(offset: (isize, isize), mirrored: bool) -> Vec<u8> {
        let mut to = vec![77; 27];
        shift(&planes(&PICTURE), &mut to, 3, offset, mirrored);
        to
    }

    #[test]
    fn shifts_bring_in_zeros() {
        assert_eq!(shifted((0, 0), false), planes(&PICTURE));
        assert_eq!(shifted((1, 0), false)[..9], [2, 3, 0, 5, 6, 0, 8, 9, 0]);
        assert_eq!(shifted((-1, 2), false)[..9], [0, 7, 8, 0, 0, 0, 0, 0, 0]);
        assert_eq!(shifted((-1, -1), true)[9..18], [0, 0, 0, 102, 101, 0, 105, 104, 0]);
        assert_eq!(shifted((9, 0), false), [0; 27]);
        assert_eq!(shifted((-9, -9), true), [0; 27]);
    }

    #[test]
    fn a_mirror_reverses_rows() {
        let mut image = planes(&PICTURE);
        mirror(&mut image, 3);
        assert_eq!(image[..9], [3, 2, 1, 6, 5, 4, 9, 8, 7]);
        assert_eq!(image, shifted((0, 0), true));
    }

    #[test]
    fn regions_stay_inside_and_cover_the_allowed_range() {
        let mut rng = stream(0, "test", &[]);
        let (mut smallest, mut largest) = (f64::MAX, 0f64);
        for _ in 0..2000 {
            let region = random_region(40, 30, &mut rng);
            assert!(region.left >= 0.0 && region.left + region.width <= 40.0, "{region:?}");
            assert!(region.top >= 0.0 && region.top + region.height <= 30.0, "{region:?}");
            // Sides are rounded to pixels, which moves a ratio by a few percent.
            let ratio = region.width / region.height;
            assert!((0.70..1.42).contains(&ratio), "{region:?}");
            let area = region.width * region.height / 1200.0;
            (smallest, largest) = (smallest.min(area), largest.max(area));
        }
        assert!((0.22..0.28).contains(&smallest) && largest > 0.9, "{smallest} {largest}");
    }

    #[test]
    fn a_region_of_an_extreme_image_is_its_centre() {
        let mut rng = stream(0, "test", &[]);
        assert_eq!(
            random_region(3, 300, &mut rng),
            Region { left: 0.0, top: 148.0, width: 3.0, height: 4.0 }
        );
    }

    fn warped(map: Affine) -> Vec<u8> {
        let mut image = planes(&PICTURE);
        warp(&mut image, 3, map, [50, 60, 70]);
        image
    }

    #[test]
    fn whole_pixel_maps_are_exact() {
        assert_eq!(warped(Affine::translate(0.0, 0.0)), planes(&PICTURE));
        assert_eq!(warped(Affine::translate(1.0, 0.0))[..9], [50, 1, 2, 50, 4, 5, 50, 7, 8]);
        assert_eq!(
            warped(Affine::translate(0.0, -2.0))[18..],
            [207, 208, 209, 70, 70, 70, 70, 70, 70]
        );
        assert_eq!(warped(Affine::rotate(90.0, 3))[..9], [3, 6, 9, 2, 5, 8, 1, 4, 7]);
        assert_eq!(warped(Affine::rotate(-180.0, 3))[..9], [9, 8, 7, 6, 5, 4, 3, 2, 1]);
    }

    #[test]
    fn half_pixels_are_the_mean_of_two() {
        // Row 0 (centre 0.5) shows points half a pixel to the right at level 1, row 1 one and a
        // half.
        let mut image = planes(&[10, 20, 30, 40, 50, 60, 70, 80, 90]);
        warp(&mut image, 3, Affine::shear_x(1.0), [0; 3]);
        assert_eq!(image[..9], [15, 25, 0, 55, 0, 0, 0, 0, 0]);
    }
}
