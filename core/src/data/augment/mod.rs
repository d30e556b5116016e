//! Augmentation: what is done to training images, on the host and in bytes, before they go to the device.
//!
//! Images are planar, `[3, side, side]`. Operations run in a fixed order: resized crop, pad-crop, flip, RandAugment, colour jitter, random erasing,
//! Cutout; mixup and CutMix then act on whole batches.

mod color;
mod erase;
mod geometry;
mod mix;
mod preview;
mod randaugment;
#[cfg(test)]
mod reference;
mod tone;

use rand::{Rng, RngExt};

pub(crate) use geometry::mirror;
pub use mix::Mixed;
pub use preview::augmented_previews;

use super::pixels::RgbPixels;
use super::resize::{self, Region};
use crate::settings::AugmentationSettings;

/// The augmentation of a run: its settings, and the colour that hidden parts take.
#[derive(Clone, Debug)]
pub struct Augmentation {
    settings: AugmentationSettings,
    fill: [u8; 3],
}

/// What an augmented image is made from.
pub(crate) enum View<'a> {
    /// A stored image, `[3, side, side]`.
    Planes(&'a [u8]),
    /// An image as decoded.
    Original(RgbPixels),
}

impl View<'_> {
    /// Writes the un-augmented input to `planes`, `[3, side, side]`.
    pub fn write(&self, side: usize, planes: &mut [u8]) {
        match self {
            View::Planes(stored) => planes.copy_from_slice(stored),
            View::Original(image) => resize::write_input(image, side, planes),
        }
    }

    fn size(&self, side: usize) -> (u32, u32) {
        match self {
            View::Planes(_) => (side as u32, side as u32),
            View::Original(image) => (image.width, image.height),
        }
    }

    fn write_region(&self, region: Region, side: usize, planes: &mut [u8]) {
        match self {
            View::Planes(stored) => resize::resize_planes(stored, region, side, planes),
            View::Original(image) => resize::resize_pixels(image, region, side, planes),
        }
    }
}

impl Augmentation {
    /// The augmentation that `settings` describe. `mean` (0..1, red, green, blue) is the colour of Cutout's squares and of what
    /// RandAugment moves in from outside the image.
    pub fn new(settings: &AugmentationSettings, mean: [f32; 3]) -> Self {
        let mut settings = settings.clone();
        settings.random_erasing = settings.random_erasing.clamp(0.0, 1.0);
        settings.color_jitter = settings.color_jitter.clamp(0.0, 1.0);
        Self { settings, fill: mean.map(|value| (value * 255.0).round() as u8) }
    }

    /// Whether [`Augmentation::write`] may run long enough per image to be worth spreading in small parts over threads.
    pub(crate) fn is_heavy(&self) -> bool {
        let s = &self.settings;
        s.resized_crop || s.randaugment_ops > 0 || s.color_jitter > 0.0
    }

    /// Writes one augmented image to `planes`, `[3, side, side]`.
    pub(crate) fn write(&self, view: &View<'_>, side: usize, planes: &mut [u8], rng: &mut impl Rng) {
        let s = &self.settings;
        let region = s.resized_crop.then(|| {
            let (width, height) = view.size(side);
            geometry::random_region(width, height, rng)
        });
        let pad = s.pad_crop as i32;
        let mut shift = || if pad > 0 { rng.random_range(-pad..=pad) as isize } else { 0 };
        let offset = (shift(), shift());
        let mirrored = s.flip && rng.random_bool(0.5);
        match (view, region) {
            (View::Planes(stored), None) => geometry::shift(stored, planes, side, offset, mirrored),
            _ => {
                match region {
                    Some(region) => view.write_region(region, side, planes),
                    None => view.write(side, planes),
                }
                if offset != (0, 0) {
                    let whole = planes.to_vec();
                    geometry::shift(&whole, planes, side, offset, mirrored);
                } else if mirrored {
                    geometry::mirror(planes, side);
                }
            }
        }
        if s.randaugment_ops > 0 {
            randaugment::randaugment(planes, side, s.randaugment_ops, s.randaugment_magnitude, self.fill, rng);
        }
        if s.color_jitter > 0.0 {
            color::jitter(planes, s.color_jitter, rng);
        }
        if s.random_erasing > 0.0 {
            erase::random_erasing(planes, side, s.random_erasing, rng);
        }
        if s.cutout > 0 {
            erase::cutout(planes, side, s.cutout, self.fill, rng);
        }
    }

    /// Mixes the images of a batch, `[batch, 3, side, side]`, if mixup or CutMix is on. `scratch` keeps its memory from batch to batch.
    pub(crate) fn mix(&self, images: &mut [u8], labels: &[u32], side: usize, scratch: &mut Vec<u8>, rng: &mut impl Rng) -> Option<Mixed> {
        mix::mix(images, labels, side, &self.settings, scratch, rng)
    }
}
