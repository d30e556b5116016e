//! Transformations of an image, one at a time, to ask what each does to the classes.

use serde::{Deserialize, Serialize};

use super::color::{self, draw_jitter};
use super::geometry::{self, Affine};
use crate::images::resize_planes;
use crate::random::stream;

/// Degrees by which an image is tilted.
const TILT: f32 = 15.0;
/// How much the colours of an image are changed: the strength of colour jitter.
const JITTER: f32 = 0.4;

/// Something that can be done to an image, and that may or may not change what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transform {
    /// Left and right are exchanged.
    Mirrored,
    /// It is turned by 180 degrees.
    UpsideDown,
    /// It is turned by 90 degrees, counter-clockwise.
    TurnedLeft,
    /// It is turned by 90 degrees, clockwise.
    TurnedRight,
    /// It is turned by 15 degrees, one way or the other.
    Tilted,
    /// A part of it is enlarged, as random crops are.
    Cropped,
    /// Brightness, contrast and colours are changed, as colour jitter does.
    Recoloured,
    /// Its colours are taken away.
    Grey,
}

impl Transform {
    /// All of them.
    pub const ALL: [Transform; 8] = [
        Transform::Mirrored,
        Transform::UpsideDown,
        Transform::TurnedLeft,
        Transform::TurnedRight,
        Transform::Tilted,
        Transform::Cropped,
        Transform::Recoloured,
        Transform::Grey,
    ];

    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Transform::Mirrored => "mirrored",
            Transform::UpsideDown => "upside-down",
            Transform::TurnedLeft => "turned-left",
            Transform::TurnedRight => "turned-right",
            Transform::Tilted => "tilted",
            Transform::Cropped => "cropped",
            Transform::Recoloured => "recoloured",
            Transform::Grey => "grey",
        }
    }

    /// What is done, in words that follow "images are".
    pub fn words(self) -> &'static str {
        match self {
            Transform::Mirrored => "mirrored",
            Transform::UpsideDown => "upside down",
            Transform::TurnedLeft => "turned left by 90°",
            Transform::TurnedRight => "turned right by 90°",
            Transform::Tilted => "tilted by 15°",
            Transform::Cropped => "cropped",
            Transform::Recoloured => "in other colours",
            Transform::Grey => "in grey",
        }
    }

    /// What undoes it, if it moves every pixel to another place and back.
    pub fn inverse(self) -> Option<Transform> {
        match self {
            Transform::Mirrored | Transform::UpsideDown => Some(self),
            Transform::TurnedLeft => Some(Transform::TurnedRight),
            Transform::TurnedRight => Some(Transform::TurnedLeft),
            _ => None,
        }
    }

    /// The setting of augmentation that does it at random, with the value that it has then and the
    /// one that leaves it out.
    pub fn setting(self) -> Option<(&'static str, [&'static str; 2])> {
        match self {
            Transform::Mirrored => Some(("augmentation.flip", ["true", "false"])),
            Transform::Cropped => Some(("augmentation.resized_crop", ["true", "false"])),
            Transform::Recoloured => Some(("augmentation.color_jitter", ["0.4", "0.0"])),
            _ => None,
        }
    }

    /// The image after it. What is random in it follows from the image. `fill` is the colour of what
    /// comes in from outside.
    ///
    /// # Shapes
    /// `planes` is `[3, side, side]`: the red plane, then green, then blue; so is the result.
    ///
    /// # Panics
    /// If it is not.
    pub fn apply(self, planes: &[u8], side: usize, fill: [u8; 3]) -> Vec<u8> {
        assert!(side > 0 && planes.len() == 3 * side * side, "three square planes");
        let mut rng = {
            let hash = blake3::hash(planes);
            let mut first = [0; 8];
            first.copy_from_slice(&hash.as_bytes()[..8]);
            stream(u64::from_le_bytes(first), self.name(), &[])
        };
        let mut changed = planes.to_vec();
        let last = side - 1;
        match self {
            Transform::Mirrored => geometry::mirror(&mut changed, side),
            Transform::UpsideDown => place(planes, &mut changed, side, |x, y| (last - x, last - y)),
            Transform::TurnedLeft => place(planes, &mut changed, side, |x, y| (last - y, x)),
            Transform::TurnedRight => place(planes, &mut changed, side, |x, y| (y, last - x)),
            Transform::Tilted => {
                let way = if planes.iter().fold(0_u8, |a, b| a ^ b) % 2 == 0 { 1.0 } else { -1.0 };
                geometry::warp(&mut changed, side, Affine::rotate(way * TILT, side), fill);
            }
            Transform::Cropped => {
                let region = geometry::random_region(side as u32, side as u32, &mut rng);
                resize_planes(planes, region, side, &mut changed);
            }
            Transform::Recoloured => color::jitter(&mut changed, &draw_jitter(JITTER, &mut rng)),
            Transform::Grey => color::saturation(&mut changed, 0.0),
        }
        changed
    }
}

/// Every pixel of the result is that of the image at the place `from` gives.
fn place(planes: &[u8], to: &mut [u8], side: usize, from: impl Fn(usize, usize) -> (usize, usize)) {
    let area = side * side;
    for (plane, to) in planes.chunks_exact(area).zip(to.chunks_exact_mut(area)) {
        for (at, value) in to.iter_mut().enumerate() {
            let (x, y) = from(at % side, at / side);
            *value = plane[y * side + x];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rustfmt::skip]
    const PICTURE: [u8; 9] = [
        1, 2, 3,
        4, 5, 6,
        7, 8, 9,
    ];

    fn image() -> Vec<u8> {
        [0, 100, 200].iter().flat_map(|add| PICTURE.map(|value| value + add)).collect()
    }

    #[test]
    fn turns_move_pixels_and_can_be_undone() {
        let first = |transform: Transform| transform.apply(&image(), 3, [0; 3])[..9].to_vec();
        assert_eq!(first(Transform::Mirrored), [3, 2, 1, 6, 5, 4, 9, 8, 7]);
        assert_eq!(first(Transform::UpsideDown), [9, 8, 7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(first(Transform::TurnedLeft), [3, 6, 9, 2, 5, 8, 1, 4, 7]);
        assert_eq!(first(Transform::TurnedRight), [7, 4, 1, 8, 5, 2, 9, 6, 3]);
        for transform in Transform::ALL {
            let once = transform.apply(&image(), 3, [0; 3]);
            assert_eq!(once.len(), 27);
            assert_eq!(once, transform.apply(&image(), 3, [0; 3]), "{transform:?}");
            assert_ne!(once, image(), "{transform:?}");
            if let Some(inverse) = transform.inverse() {
                assert_eq!(inverse.apply(&once, 3, [0; 3]), image(), "{transform:?}");
                assert_eq!(inverse.inverse(), Some(transform));
            }
        }
        let grey = Transform::Grey.apply(&image(), 3, [0; 3]);
        assert!(grey[..9] == grey[9..18] && grey[..9] == grey[18..]);
    }

    #[test]
    fn settings_that_do_it_exist_and_take_both_values() {
        use crate::settings::{Preset, Settings};
        for (key, values) in Transform::ALL.into_iter().filter_map(Transform::setting) {
            for value in values {
                let set = Settings::preset(Preset::Quick).with(key, value).unwrap();
                assert_eq!(set.text(key).as_deref(), Some(value), "{key}");
            }
        }
    }
}
