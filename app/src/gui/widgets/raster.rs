//! Charts of cells as one texture, made anew only when the cells change.

use egui::{Color32, ColorImage, Context, Id, TextureFilter, TextureHandle, TextureOptions};

/// Dark to bright, evenly to the eye and the same to every kind of colour vision: sixteen stops of viridis.
const RAMP: [(u8, u8, u8); 16] = [
    (0x44, 0x01, 0x54),
    (0x48, 0x1a, 0x6c),
    (0x47, 0x2f, 0x7d),
    (0x41, 0x44, 0x87),
    (0x39, 0x56, 0x8c),
    (0x31, 0x68, 0x8e),
    (0x2a, 0x78, 0x8e),
    (0x23, 0x88, 0x8e),
    (0x1f, 0x98, 0x8b),
    (0x22, 0xa8, 0x84),
    (0x35, 0xb7, 0x79),
    (0x54, 0xc5, 0x68),
    (0x7a, 0xd1, 0x51),
    (0xa5, 0xdb, 0x36),
    (0xd2, 0xe2, 0x1b),
    (0xfd, 0xe7, 0x25),
];

/// The colour of a share of the range from the lowest to the highest value.
pub(super) fn ramp(share: f32) -> Color32 {
    let share = if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) };
    let at = share * (RAMP.len() - 1) as f32;
    let below = (at as usize).min(RAMP.len() - 2);
    let mix = |a: u8, b: u8| (f32::from(a) + (f32::from(b) - f32::from(a)) * (at - below as f32)).round() as u8;
    let (from, to) = (RAMP[below], RAMP[below + 1]);
    Color32::from_rgb(mix(from.0, to.0), mix(from.1, to.1), mix(from.2, to.2))
}

/// A texture with what it was made from.
#[derive(Clone)]
struct Cached<T> {
    key: u64,
    texture: TextureHandle,
    extra: T,
}

/// The texture of `id` and what `make` gave along with it, made by `make` where `key` is another than last time.
pub(super) fn cached<T: Clone + Send + Sync + 'static>(
    ctx: &Context,
    id: Id,
    key: u64,
    make: impl FnOnce(usize) -> (ColorImage, T),
) -> (TextureHandle, T) {
    let found: Option<Cached<T>> = ctx.data(|data| data.get_temp(id));
    if let Some(found) = found.as_ref().filter(|found| found.key == key) {
        return (found.texture.clone(), found.extra.clone());
    }
    let largest = ctx.input(|input| input.max_texture_side);
    let (image, extra) = make(largest);
    // Cells stay crisp where they are larger than pixels; where they are smaller, none is skipped at even steps.
    let options = TextureOptions { magnification: TextureFilter::Nearest, minification: TextureFilter::Linear, ..TextureOptions::NEAREST };
    let texture = match found {
        Some(mut found) => {
            found.texture.set(image, options);
            found.texture
        }
        None => ctx.load_texture("cells", image, options),
    };
    ctx.data_mut(|data| data.insert_temp(id, Cached { key, texture: texture.clone(), extra: extra.clone() }));
    (texture, extra)
}

/// An image of `width` by `height` cells; where that is more than a texture can hold, of every second, third, ... cell.
pub(super) fn image(width: usize, height: usize, largest: usize, color: impl Fn(usize, usize) -> Color32) -> ColorImage {
    let shrink = |cells: usize| cells.clamp(1, largest.max(1));
    let (columns, rows) = (shrink(width), shrink(height));
    let pixels =
        (0..rows).flat_map(|y| (0..columns).map(move |x| (x * width / columns, y * height / rows))).map(|(x, y)| color(x, y)).collect();
    ColorImage::new([columns, rows], pixels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ramp_rises_in_lightness() {
        let lightness = |color: Color32| 0.2126 * f32::from(color.r()) + 0.7152 * f32::from(color.g()) + 0.0722 * f32::from(color.b());
        let steps: Vec<f32> = (0..=100).map(|i| lightness(ramp(i as f32 / 100.0))).collect();
        assert!(steps.windows(2).all(|pair| pair[1] > pair[0]), "{steps:?}");
        assert_eq!(ramp(f32::NAN), ramp(0.0));
        assert_eq!(ramp(7.0), ramp(1.0));
    }

    #[test]
    fn what_no_texture_can_hold_is_thinned() {
        let image = image(5000, 3, 2048, |x, y| Color32::from_rgb((x / 20) as u8, y as u8, 0));
        assert_eq!(image.size, [2048, 3]);
        assert_eq!(image.pixels[2047].r(), (4997 / 20) as u8);
        assert_eq!(image.pixels[2048].g(), 1);
    }
}
