//! Charts of cells as one texture, made anew only when the cells change.

use egui::{
    Color32, ColorImage, Context, Id, Rect, TextureFilter, TextureHandle, TextureOptions, Vec2,
};

/// Dark to bright, evenly to the eye and the same to every kind of colour vision: sixteen stops of
/// viridis.
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
    let mix = |a: u8, b: u8| {
        (f32::from(a) + (f32::from(b) - f32::from(a)) * (at - below as f32)).round() as u8
    };
    let (from, to) = (RAMP[below], RAMP[below + 1]);
    Color32::from_rgb(mix(from.0, to.0), mix(from.1, to.1), mix(from.2, to.2))
}

/// A texture, and the part of it that holds the cells.
#[derive(Clone)]
pub(super) struct Cells {
    pub texture: TextureHandle,
    /// The share of the texture's width and height that is used.
    used: Vec2,
}

impl Cells {
    /// The place in the texture of a part of the cells, given in shares of their width and height.
    pub(super) fn uv(&self, part: Rect) -> Rect {
        Rect::from_min_max(
            (part.min.to_vec2() * self.used).to_pos2(),
            (part.max.to_vec2() * self.used).to_pos2(),
        )
    }
}

/// A texture with what it was made from.
#[derive(Clone)]
struct Cached<T> {
    key: u64,
    cells: Cells,
    extra: T,
}

/// The texture of `id` and what `make` gave along with it, made by `make` where `key` is another
/// than last time.
pub(super) fn cached<T: Clone + Send + Sync + 'static>(
    ctx: &Context,
    id: Id,
    key: u64,
    make: impl FnOnce(usize) -> (ColorImage, T),
) -> (Cells, T) {
    let found: Option<Cached<T>> = ctx.data(|data| data.get_temp(id));
    if let Some(found) = found.as_ref().filter(|found| found.key == key) {
        return (found.cells.clone(), found.extra.clone());
    }
    let largest = ctx.input(|input| input.max_texture_side);
    let (image, extra) = make(largest);
    let [columns, rows] = image.size;
    let image = padded(&image, largest);
    let used =
        Vec2::new(columns as f32 / image.width() as f32, rows as f32 / image.height() as f32);
    // Cells stay crisp where they are larger than pixels; where they are smaller, none is skipped
    // at even steps.
    let options = TextureOptions {
        magnification: TextureFilter::Nearest,
        minification: TextureFilter::Linear,
        ..TextureOptions::NEAREST
    };
    let texture = match found {
        // A texture that is written over stays where it is; one that is replaced leaves a hole in
        // the card's memory for a while.
        Some(Cached { cells: Cells { mut texture, .. }, .. }) if texture.size() == image.size => {
            texture.set_partial([0, 0], image, options);
            texture
        }
        _ => ctx.load_texture("cells", image, options),
    };
    let cells = Cells { texture, used };
    ctx.data_mut(|data| {
        data.insert_temp(id, Cached { key, cells: cells.clone(), extra: extra.clone() })
    });
    (cells, extra)
}

/// The image in one whose sides are powers of two, as far as a texture may be that large, so that a
/// chart which grows by a row every epoch seldom needs another texture. What is added repeats the
/// last row and column, which filters then mix with themselves.
fn padded(image: &ColorImage, largest: usize) -> ColorImage {
    let [columns, rows] = image.size;
    let [width, height] =
        [columns, rows].map(|cells| cells.next_power_of_two().min(largest.max(cells)));
    let row = |y: usize| &image.pixels[y.min(rows - 1) * columns..][..columns];
    let pixels = (0..height).flat_map(|y| (0..width).map(move |x| row(y)[x.min(columns - 1)]));
    ColorImage::new([width, height], pixels.collect())
}

/// An image of `width` by `height` cells; where that is more than a texture can hold, of every
/// second, third, ... cell.
pub(super) fn image(
    width: usize,
    height: usize,
    largest: usize,
    color: impl Fn(usize, usize) -> Color32,
) -> ColorImage {
    let shrink = |cells: usize| cells.clamp(1, largest.max(1));
    let (columns, rows) = (shrink(width), shrink(height));
    let pixels = (0..rows)
        .flat_map(|y| (0..columns).map(move |x| (x * width / columns, y * height / rows)))
        .map(|(x, y)| color(x, y))
        .collect();
    ColorImage::new([columns, rows], pixels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_that_grows_keeps_its_texture() {
        let ctx = Context::default();
        let draw = |rows: usize| {
            let make = move |largest| {
                (image(3, rows, largest, |x, y| Color32::from_rgb(x as u8, y as u8, 0)), ())
            };
            cached(&ctx, Id::unique("cells"), rows as u64, make).0
        };
        let cells = draw(5);
        assert_eq!(cells.texture.size(), [4, 8]);
        let whole = Rect::from_min_max(egui::pos2(0.0, 0.0), egui::pos2(1.0, 1.0));
        assert_eq!(cells.uv(whole).max, egui::pos2(0.75, 0.625));
        assert_eq!(draw(8).texture.id(), cells.texture.id());
        assert_ne!(draw(9).texture.id(), cells.texture.id());
        let image = padded(&image(3, 5, 64, |x, y| Color32::from_rgb(x as u8, y as u8, 0)), 64);
        assert_eq!(image.pixels[4 * 7 + 3], Color32::from_rgb(2, 4, 0));
        assert_eq!(padded(&ColorImage::filled([3, 100], Color32::RED), 100).size, [4, 100]);
    }

    #[test]
    fn the_ramp_rises_in_lightness() {
        let lightness = |color: Color32| {
            0.2126 * f32::from(color.r())
                + 0.7152 * f32::from(color.g())
                + 0.0722 * f32::from(color.b())
        };
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
