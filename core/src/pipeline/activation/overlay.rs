//! A map over its picture.

use super::{ActivationMap, ActivationScale, colour};
use crate::images::RgbPixels;
use crate::words::ImageFit;

/// The share of the colour in a pixel; the rest is the picture, in grey.
const COLOUR: f32 = 0.6;
/// The contrast that is left of the picture under the colours, about the middle grey: dark and bright
/// parts of it must not be taken for dark and bright colours.
const CONTRAST: f32 = 0.5;
/// What is left of the contrast of the picture where the network does not see it.
const UNSEEN: f32 = 0.35;

/// A picture with a map in colours over it. Where the network sees only its largest centred square,
/// what lies beside that is pale, with a line between. The picture keeps its size and shape.
///
/// # Shapes
/// `picture.data` must hold `height · width · 3` bytes.
pub fn overlay(picture: &RgbPixels, map: &ActivationMap, scale: ActivationScale) -> RgbPixels {
    let (width, height) = (picture.width as usize, picture.height as usize);
    let [across, down] = match map.fit {
        ImageFit::Crop => [width.min(height); 2],
        ImageFit::Stretch => [width, height],
    };
    let (left, top) = ((width - across) / 2, (height - down) / 2);
    let mut data = Vec::with_capacity(picture.data.len());
    for (place, pixel) in picture.data.as_chunks::<3>().0.iter().enumerate() {
        let (x, y) = (place % width, place / width);
        let grey =
            0.299 * f32::from(pixel[0]) + 0.587 * f32::from(pixel[1]) + 0.114 * f32::from(pixel[2]);
        let seen = (left..left + across).contains(&x) && (top..top + down).contains(&y);
        let beside = x + 1 == left || x == left + across || y + 1 == top || y == top + down;
        data.extend(match (seen, beside) {
            (true, _) => {
                let share = |at: usize, of: usize| (at as f32 + 0.5) / of as f32;
                let value = map.at(share(x - left, across), share(y - top, down));
                let grey = 128.0 + CONTRAST * (grey - 128.0);
                colour::ramp(scale.share(value)).map(|colour| {
                    (COLOUR * f32::from(colour) + (1.0 - COLOUR) * grey).round() as u8
                })
            }
            (false, true) => [255; 3],
            (false, false) => [(255.0 - UNSEEN * (255.0 - grey)).round() as u8; 3],
        });
    }
    RgbPixels { width: picture.width, height: picture.height, data }
}
