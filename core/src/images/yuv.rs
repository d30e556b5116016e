//! Brightness and two differences of colour to red, green and blue, as libavif and libheif do it, which
//! Pillow decodes AVIF and HEIC with.

use image::RgbImage;

use super::decode::DecodeError;

/// How an image's colours are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub width: u32,
    pub height: u32,
    /// Bits of a number, 8 to 16.
    pub depth: u32,
    /// Whether all numbers are used, and not only those that television does.
    pub full_range: bool,
    /// The number that standards give to the weights of the colours (ITU-T H.273).
    pub matrix: u16,
    /// Whether differences are stored at half the width, and at half the height.
    pub half: (bool, bool),
    /// Whether those are interpolated, as if they lay in the middle of the pixels they are for, or each
    /// of these pixels takes the one.
    pub interpolated: bool,
}

/// A plane of numbers.
pub(super) trait Plane {
    /// The numbers of a row, as many as there are columns. There is no row behind the last.
    fn row(&self, y: usize, into: &mut Vec<f32>);
    /// Columns and rows.
    fn size(&self) -> (usize, usize);
}

/// What red, green and blue are made of.
enum Colours {
    /// By the weights of red and blue in the brightness.
    Differences { red: f32, blue: f32 },
    /// Green, blue and red as they are.
    Plain,
}

impl Layout {
    fn colours(&self) -> Result<Colours, DecodeError> {
        let (red, blue) = match self.matrix {
            0 if self.half == (false, false) => return Ok(Colours::Plain),
            1 => (0.2126, 0.0722),
            // Unspecified is taken for what most encoders take for granted.
            2 | 5 | 6 => (0.299, 0.114),
            4 => (0.30, 0.11),
            7 => (0.212, 0.087),
            9 => (0.2627, 0.0593),
            other => {
                return Err(DecodeError::Unsupported(format!(
                    "colours are stored in a way that is not read (matrix {other}); convert to JPEG or PNG"
                )));
            }
        };
        Ok(Colours::Differences { red, blue })
    }

    /// Columns and rows of a plane: the first is that of the brightness.
    pub fn size(&self, plane: usize) -> (usize, usize) {
        let halved = |side: u32, half: bool| match half && plane > 0 {
            true => side.div_ceil(2) as usize,
            false => side as usize,
        };
        (halved(self.width, self.half.0), halved(self.height, self.half.1))
    }

    /// The image in red, green and blue, 8 bits each, of one plane (grey) or three.
    ///
    /// # Errors
    /// [`DecodeError`] if planes are missing or too small, or colours are stored in a rare way.
    pub fn to_rgb<P: Plane>(self, planes: &[P]) -> Result<RgbImage, DecodeError> {
        let (width, height) = (self.width as usize, self.height as usize);
        let lost = || DecodeError::Damaged("its planes of colours do not fit together".into());
        let small = self.size(1);
        let fits = |plane: &P, (width, height): (usize, usize)| {
            let own = plane.size();
            own.0 >= width && own.1 >= height
        };
        let (light, differences) = match planes {
            [light] if fits(light, (width, height)) => (light, None),
            [light, u, v] if fits(light, (width, height)) && fits(u, small) && fits(v, small) => {
                (light, Some([u, v]))
            }
            _ => return Err(lost()),
        };
        let colours = if differences.is_some() { self.colours()? } else { Colours::Plain };
        let scale = (1u32 << (self.depth - 8)) as f32;
        let most = ((1u64 << self.depth) - 1) as f32;
        let brightness = |value: f32| match self.full_range {
            true => value / most,
            false => (value - 16.0 * scale) / (219.0 * scale),
        };
        let range = if self.full_range { most } else { 224.0 * scale };
        let difference = |value: f32| (value - 128.0 * scale) / range;
        let byte = |value: f32| (value.clamp(0.0, 1.0) * 255.0 + 0.5) as u8;
        let mut data = Vec::with_capacity(3 * width * height);
        let [mut lights, mut us, mut vs, mut other] = [const { Vec::new() }; 4];
        for y in 0..height {
            light.row(y, &mut lights);
            let Some([u, v]) = differences else {
                data.extend(lights[..width].iter().flat_map(|value| [byte(brightness(*value)); 3]));
                continue;
            };
            for (plane, values) in [(u, &mut us), (v, &mut vs)] {
                self.row(plane, y, small.1, values, &mut other);
                values.truncate(small.0);
            }
            for (x, value) in lights[..width].iter().enumerate() {
                let (own, beside) = self.between(x, small.0, self.half.0);
                let [u, v] = [&us, &vs].map(|values| (3.0 * values[own] + values[beside]) / 4.0);
                data.extend(match colours {
                    Colours::Plain => [v, *value, u].map(|value| byte(brightness(value))),
                    Colours::Differences { red, blue } => {
                        let (light, u, v) = (brightness(*value), difference(u), difference(v));
                        let r = light + 2.0 * (1.0 - red) * v;
                        let b = light + 2.0 * (1.0 - blue) * u;
                        let g = light
                            - 2.0 * (red * (1.0 - red) * v + blue * (1.0 - blue) * u)
                                / (1.0 - red - blue);
                        [r, g, b].map(byte)
                    }
                });
            }
        }
        RgbImage::from_raw(self.width, self.height, data).ok_or_else(lost)
    }

    /// The nearest of `count` values, and the one on the other side of the place.
    fn between(&self, at: usize, count: usize, half: bool) -> (usize, usize) {
        let last = count.saturating_sub(1);
        match (half, at % 2) {
            (false, _) => (at, at),
            (true, _) if !self.interpolated => (at / 2, at / 2),
            (true, 0) => (at / 2, (at / 2).saturating_sub(1)),
            (true, _) => (at / 2, (at / 2 + 1).min(last)),
        }
    }

    /// The differences for a row of the image, of `rows` that the plane has. `other` is of no meaning
    /// afterwards.
    fn row<P: Plane>(
        &self,
        plane: &P,
        y: usize,
        rows: usize,
        values: &mut Vec<f32>,
        other: &mut Vec<f32>,
    ) {
        let (own, beside) = self.between(y, rows, self.half.1);
        plane.row(own, values);
        if own != beside {
            plane.row(beside, other);
            for (value, other) in values.iter_mut().zip(&*other) {
                *value = (3.0 * *value + other) / 4.0;
            }
        }
    }
}
