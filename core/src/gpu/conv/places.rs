//! Where the taps of a kernel fall in the images that are read. A place before the first row or
//! column wraps round to a very large number, so that one comparison tells whether it lies inside.

use cubecl::prelude::*;
use cubecl::std::FastDivmod;

/// Far outside of every image.
const FAR: u32 = 0x4000_0000;

/// The images that are written.
#[derive(CubeType, CubeLaunch)]
pub struct Target {
    pub pixels: u32,
    pub channels: u32,
    /// Divides by the pixels of an image.
    pub plane: FastDivmod<u32>,
    /// Divides by the pixels of a row.
    pub row: FastDivmod<u32>,
}

/// The image of a pixel that is written, or whose gradient is read, and the row and column there of
/// the kernel's first tap; far outside if the pixel is not wanted. `plane` divides by the pixels of
/// an image, `row` by those of a row; there are `above` rows and `before` columns of zeros before
/// the image. For a `transposed` convolution taps go backwards.
#[cube]
#[expect(clippy::too_many_arguments, reason = "a kernel takes its buffers and sizes one by one")]
pub fn first_tap(
    pixel: u32,
    wanted: bool,
    plane: &FastDivmod<u32>,
    row: &FastDivmod<u32>,
    stride: u32,
    above: u32,
    before: u32,
    #[comptime] transposed: bool,
) -> (u32, u32, u32) {
    let (n, rest) = plane.div_mod(pixel);
    let (y, x) = row.div_mod(rest);
    let mut top = FAR.runtime();
    let mut left = FAR.runtime();
    if wanted {
        if comptime!(transposed) {
            top = y + above;
            left = x + before;
        } else {
            top = y * stride - above;
            left = x * stride - before;
        }
    }
    (n, top, left)
}

/// The row and column of a tap from those of the first, and whether there are any: a transposed
/// convolution with a stride leaves some taps out.
#[cube]
pub fn at_tap(
    top: u32,
    left: u32,
    tap_y: u32,
    tap_x: u32,
    stride: u32,
    #[comptime] transposed: bool,
) -> (u32, u32, bool) {
    let mut y = top;
    let mut x = left;
    let mut hit = true.runtime();
    if comptime!(transposed) {
        y -= tap_y;
        x -= tap_x;
        hit = y % stride == 0 && x % stride == 0;
        y /= stride;
        x /= stride;
    } else {
        y += tap_y;
        x += tap_x;
    }
    (y, x, hit)
}
