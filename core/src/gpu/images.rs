//! Images drawn on the device: gathered from bytes that lie there, augmented as [`crate::data`]
//! does on the host, and normalised.
//!
//! Everything before normalising is a byte, and equal to what the host's code gives, hue included.
//! Compilers for devices may contract a product and a sum into one operation that rounds once;
//! where the host rounds twice, [`product`] keeps them apart.
//!
//! A pixel is one number here: red in its lowest eight bits, then green, then blue.

use cubecl::prelude::*;

use crate::recipes::{
    BRIGHTNESS, CONTRAST, DOWN, ERASED_COLUMNS, ERASED_ROWS, FILL, FLAGS, HEADER, HIDDEN_COLUMNS,
    HIDDEN_ROWS, HUE, INDEX, LAMBDA, NOISE, OTHER, PASTED_COLUMNS, PASTED_ROWS, Pairs, RECIPE,
    RIGHT, SATURATION, ZERO,
};

/// Threads that sum one image's luma together; a power of two.
pub(crate) const MEAN_UNITS: u32 = 64;

/// One of the bytes that lie four to a number.
#[cube]
fn byte(bytes: &[u32], at: usize) -> u32 {
    (bytes[at / 4] >> (u32::cast_from(at % 4) * 8u32)) & 255u32
}

#[cube]
fn packed(red: u32, green: u32, blue: u32) -> u32 {
    red | (green << 8u32) | (blue << 16u32)
}

#[cube]
fn red(pixel: u32) -> u32 {
    pixel & 255u32
}

#[cube]
fn green(pixel: u32) -> u32 {
    (pixel >> 8u32) & 255u32
}

#[cube]
fn blue(pixel: u32) -> u32 {
    (pixel >> 16u32) & 255u32
}

/// Whether `at` lies in a range whose start is the lower and whose end the higher half of `range`.
#[cube]
fn within(at: u32, range: u32) -> bool {
    at >= (range & 0xffffu32) && at < (range >> 16u32)
}

/// A value cut off to a byte, as Rust's `as u8` does.
#[cube]
fn cut_off(value: f32) -> u32 {
    u32::cast_from(value.clamp(0.0f32, 255.0f32))
}

/// `a` · `b`, rounded before anything is added to it: no compiler knows that `zero` is 0.
#[cube]
fn product(a: f32, b: f32, zero: u32) -> f32 {
    f32::reinterpret(u32::reinterpret(a * b) ^ zero)
}

/// `plain` + `factor` · (`value` − `plain`), cut off to a byte.
#[cube]
fn blend(plain: u32, value: u32, factor: f32, zero: u32) -> u32 {
    let plain = f32::cast_from(plain);
    cut_off(plain + product(factor, f32::cast_from(value) - plain, zero))
}

#[cube]
fn blend_all(plain: u32, pixel: u32, factor: f32, zero: u32) -> u32 {
    packed(
        blend(plain, red(pixel), factor, zero),
        blend(plain, green(pixel), factor, zero),
        blend(plain, blue(pixel), factor, zero),
    )
}

/// Luma of a pixel (ITU-R 601), in 16-bit fixed point.
#[cube]
fn luma(pixel: u32) -> u32 {
    (red(pixel) * 19595u32 + green(pixel) * 38470u32 + blue(pixel) * 7471u32 + 0x8000u32) >> 16u32
}

/// `numerator` / `denominator`, both at most 255 and the numerator no larger, rounded to the
/// nearest as the host does. A device's own division need not be.
#[cube]
fn quotient(numerator: u32, denominator: u32) -> f32 {
    let mut bits = 0u32;
    if numerator > 0u32 {
        let mut scaled = numerator;
        let mut exponent = 127u32;
        while scaled < denominator {
            scaled *= 2u32;
            exponent -= 1u32;
        }
        // Below 510 · 2²³, which a number of 32 bits holds. The quotient lies in 2²³..2²⁴: a
        // mantissa with its leading one.
        scaled <<= 23u32;
        let mut mantissa = scaled / denominator;
        let twice = (scaled % denominator) * 2u32;
        if twice > denominator || (twice == denominator && mantissa % 2u32 == 1u32) {
            mantissa += 1u32;
        }
        // A mantissa that was rounded up to 2²⁴ carries over into the exponent, as it should.
        bits = ((exponent - 1u32) << 23u32) + mantissa;
    }
    f32::reinterpret(bits)
}

/// ± (`a` − `b`) / `spread`.
#[cube]
fn slope(a: u32, b: u32, spread: u32) -> f32 {
    if a >= b { quotient(a - b, spread) } else { -quotient(b - a, spread) }
}

/// A channel whose own hue is `own`, in sixths of a turn, of a colour of hue `sixth`.
#[cube]
fn hued(sixth: f32, own: f32, low: u32, spread: u32, zero: u32) -> u32 {
    let apart = (sixth - own).abs();
    let apart = apart.min(6.0f32 - apart);
    let share = (2.0f32 - apart).clamp(0.0f32, 1.0f32);
    cut_off(f32::cast_from(low) + product(f32::cast_from(spread), share, zero) + 0.5f32)
}

/// Turns the hue by sixths of a turn.
#[cube]
fn hue(pixel: u32, turned: f32, zero: u32) -> u32 {
    let (r, g, b) = (red(pixel), green(pixel), blue(pixel));
    let high = r.max(g).max(b);
    let low = r.min(g).min(b);
    let mut result = pixel;
    if high > low {
        let spread = high - low;
        let sixth = if high == r {
            slope(g, b, spread)
        } else if high == g {
            2.0f32 + slope(b, r, spread)
        } else {
            4.0f32 + slope(r, g, spread)
        };
        let mut sixth = sixth + turned;
        // Between −2.5 and 6.5, so that once round is enough.
        if sixth >= 6.0f32 {
            sixth -= 6.0f32;
        } else if sixth < 0.0f32 {
            sixth += 6.0f32;
        }
        result = packed(
            hued(sixth, 0.0f32, low, spread, zero),
            hued(sixth, 2.0f32, low, spread, zero),
            hued(sixth, 4.0f32, low, spread, zero),
        );
    }
    result
}

/// The pixel after pad-crop and flip.
#[cube]
fn shifted(bytes: &[u32], recipes: &[u32], recipe: usize, x: u32, y: u32, side: u32) -> u32 {
    let mut column = x;
    if recipes[recipe + FLAGS] & 1u32 == 1u32 {
        column = side - 1u32 - x;
    }
    // What lies to the left of the image or above it wraps to a large number.
    let column = column + recipes[recipe + RIGHT];
    let row = y + recipes[recipe + DOWN];
    let mut pixel = 0u32;
    if column < side && row < side {
        let plane = usize::cast_from(side * side);
        let at = usize::cast_from(recipes[recipe + INDEX]) * 3 * plane
            + usize::cast_from(row * side + column);
        pixel = packed(byte(bytes, at), byte(bytes, at + plane), byte(bytes, at + 2 * plane));
    }
    pixel
}

/// The pixel after colour jitter or, with `to_contrast`, after the operations before contrast.
/// `mean` is the image's mean luma there.
#[cube]
fn jittered(
    pixel: u32,
    recipes: &[u32],
    recipe: usize,
    mean: u32,
    #[comptime] to_contrast: bool,
) -> u32 {
    let zero = recipes[ZERO];
    let order = recipes[recipe + FLAGS] >> 8u32;
    let mut pixel = pixel;
    let mut reached = false;
    #[unroll]
    for place in 0..4u32 {
        let operation = (order >> (place * 2u32)) & 3u32;
        if operation == 1u32 && comptime!(to_contrast) {
            reached = true;
        }
        if !reached {
            if operation == 0u32 {
                pixel =
                    blend_all(0u32, pixel, f32::reinterpret(recipes[recipe + BRIGHTNESS]), zero);
            } else if operation == 1u32 {
                pixel = blend_all(mean, pixel, f32::reinterpret(recipes[recipe + CONTRAST]), zero);
            } else if operation == 2u32 {
                pixel = blend_all(
                    luma(pixel),
                    pixel,
                    f32::reinterpret(recipes[recipe + SATURATION]),
                    zero,
                );
            } else {
                pixel = hue(pixel, f32::reinterpret(recipes[recipe + HUE]), zero);
            }
        }
    }
    pixel
}

/// The pixel after random erasing and Cutout.
#[cube]
fn hidden(pixel: u32, recipes: &[u32], recipe: usize, x: u32, y: u32) -> u32 {
    let mut pixel = pixel;
    let columns = recipes[recipe + ERASED_COLUMNS];
    let rows = recipes[recipe + ERASED_ROWS];
    if within(x, columns) && within(y, rows) {
        let (left, top) = (columns & 0xffffu32, rows & 0xffffu32);
        let (width, height) = ((columns >> 16u32) - left, (rows >> 16u32) - top);
        let plane = usize::cast_from(width * height);
        let at = usize::cast_from(recipes[recipe + NOISE]) * 4
            + usize::cast_from((y - top) * width + x - left);
        pixel = packed(byte(recipes, at), byte(recipes, at + plane), byte(recipes, at + 2 * plane));
    }
    if within(x, recipes[recipe + HIDDEN_COLUMNS]) && within(y, recipes[recipe + HIDDEN_ROWS]) {
        pixel = recipes[FILL];
    }
    pixel
}

/// The pixel of one image of the batch, before images are mixed.
#[cube]
fn drawn(
    bytes: &[u32],
    recipes: &[u32],
    means: &[u32],
    image: u32,
    x: u32,
    y: u32,
    side: u32,
    #[comptime] jitter: bool,
) -> u32 {
    let recipe = HEADER + usize::cast_from(image) * RECIPE;
    let mut pixel = shifted(bytes, recipes, recipe, x, y, side);
    if comptime!(jitter) {
        pixel = jittered(pixel, recipes, recipe, means[usize::cast_from(image)], false);
    }
    hidden(pixel, recipes, recipe, x, y)
}

/// The mean luma of each image where colour jitter changes its contrast; one cube an image.
#[cube(launch)]
pub(crate) fn contrast_means(bytes: &[u32], recipes: &[u32], means: &mut [u32], side: u32) {
    let image = u32::cast_from(CUBE_POS);
    let recipe = HEADER + usize::cast_from(image) * RECIPE;
    let area = side * side;
    let mut sum = 0u32;
    let mut pixel = UNIT_POS;
    while pixel < area {
        let plain = shifted(bytes, recipes, recipe, pixel % side, pixel / side, side);
        sum += luma(jittered(plain, recipes, recipe, 0u32, true));
        pixel += MEAN_UNITS;
    }
    let mut sums = Shared::<[u32]>::new_slice(MEAN_UNITS as usize);
    sums[UNIT_POS as usize] = sum;
    sync_cube();
    if UNIT_POS == 0u32 {
        let mut total = 0u32;
        for unit in 0..MEAN_UNITS {
            total += sums[unit as usize];
        }
        // The sum over the area, plus a half, cut off.
        means[usize::cast_from(image)] = (2u32 * total + area) / (2u32 * area);
    }
}

/// The normalised images of a batch, `[batch, side, side, 3]` in memory; one unit a pixel. `values`
/// holds the number for each byte of each channel, `[3, 256]`.
#[cube(launch)]
pub(crate) fn draw_images(
    bytes: &[u32],
    recipes: &[u32],
    values: &[f32],
    means: &[u32],
    output: &mut [f32],
    batch: u32,
    side: u32,
    #[comptime] jitter: bool,
    #[comptime] pairs: Pairs,
) {
    let area = side * side;
    let unit = u32::cast_from(ABSOLUTE_POS);
    if unit >= batch * area {
        terminate!();
    }
    let image = unit / area;
    let (x, y) = (unit % side, unit % area / side);
    let mut pixel = drawn(bytes, recipes, means, image, x, y, side, jitter);
    if comptime!(pairs != Pairs::Alone) {
        let other = recipes[HEADER + usize::cast_from(image) * RECIPE + OTHER];
        let theirs = drawn(bytes, recipes, means, other, x, y, side, jitter);
        if comptime!(pairs == Pairs::Pasted) {
            if within(x, recipes[PASTED_COLUMNS]) && within(y, recipes[PASTED_ROWS]) {
                pixel = theirs;
            }
        } else {
            let (lambda, zero) = (f32::reinterpret(recipes[LAMBDA]), recipes[ZERO]);
            pixel = packed(
                mixed(red(pixel), red(theirs), lambda, zero),
                mixed(green(pixel), green(theirs), lambda, zero),
                mixed(blue(pixel), blue(theirs), lambda, zero),
            );
        }
    }
    let at = usize::cast_from(unit) * 3;
    output[at] = values[usize::cast_from(red(pixel))];
    output[at + 1] = values[usize::cast_from(green(pixel) + 256u32)];
    output[at + 2] = values[usize::cast_from(blue(pixel) + 512u32)];
}

/// `own` and `other` in the proportion of mixup, rounded to a byte.
#[cube]
fn mixed(own: u32, other: u32, lambda: f32, zero: u32) -> u32 {
    let other = f32::cast_from(other);
    cut_off(other + product(lambda, f32::cast_from(own) - other, zero) + 0.5f32)
}
