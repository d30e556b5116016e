//! Augmentation: what is done to training images, in bytes, before they are normalised.
//!
//! What is done to an image is drawn first (`Recipe`) and then applied, here or on a device that
//! holds the images.
//!
//! Images are planar, `[3, side, side]`. Operations run in a fixed order: resized crop, pad-crop,
//! flip, RandAugment, colour jitter, random erasing, Cutout; mixup and CutMix then act on whole
//! batches.

mod color;
mod erase;
mod geometry;
mod mix;
mod preview;
mod randaugment;
#[cfg(test)]
mod reference;
mod tone;
mod transform;

use rand::{Rng, RngExt};

pub(crate) use color::Jitter;
pub(crate) use erase::{Erased, Rectangle};
pub(crate) use geometry::mirror;
pub use mix::Mixed;
pub(crate) use mix::Mixing;
pub use preview::augmented_previews;
pub use transform::Transform;

use crate::images::{
    Detail, InputShape, Region, RgbPixels, resize_pixels, resize_planes, write_input,
};
use crate::settings::AugmentationSettings;
use crate::words::ImageFit;

/// The augmentation of a run: its settings, and the colour that hidden parts take.
#[derive(Clone, Debug)]
pub struct Augmentation {
    settings: AugmentationSettings,
    fill: [u8; 3],
}

/// What was drawn for one image; [`Augmentation::apply`] makes the image of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Recipe {
    /// The part of the original that is brought to the input's size, if not the whole.
    region: Option<Region>,
    /// Pad-crop: columns and rows that the crop lies to the right of the image and below it.
    pub offset: (isize, isize),
    /// Whether it is turned left to right.
    pub mirrored: bool,
    /// RandAugment's operations.
    operations: Vec<randaugment::Drawn>,
    pub jitter: Option<Jitter>,
    pub erased: Option<Erased>,
    pub cut_out: Option<Rectangle>,
}

impl Recipe {
    /// The image unchanged, or its mirror image.
    pub fn plain(mirrored: bool) -> Self {
        Self { mirrored, ..Self::default() }
    }
}

/// What an augmented image is made from.
pub(crate) enum View<'a> {
    /// A stored image, `[3, side, side]`.
    Planes(&'a [u8]),
    /// An image as decoded, and what of it the network sees.
    Original(RgbPixels, ImageFit),
}

impl View<'_> {
    /// Writes the un-augmented input to `planes`, `[3, side, side]`.
    pub fn write(&self, side: usize, planes: &mut [u8]) {
        match self {
            View::Planes(stored) => planes.copy_from_slice(stored),
            &View::Original(ref image, fit) => {
                write_input(image, InputShape { side, fit }, planes);
            }
        }
    }

    fn size(&self, side: usize) -> (u32, u32) {
        match self {
            View::Planes(_) => (side as u32, side as u32),
            View::Original(image, ImageFit::Crop) => (image.width, image.height),
            // It is squeezed, and what is cut out of it is cut out of what it becomes.
            View::Original(_, ImageFit::Stretch) => (side as u32, side as u32),
        }
    }

    fn write_region(&self, region: Region, side: usize, planes: &mut [u8]) {
        match self {
            View::Planes(stored) => resize_planes(stored, region, side, planes),
            View::Original(image, ImageFit::Crop) => resize_pixels(image, region, side, planes),
            View::Original(image, ImageFit::Stretch) => {
                let whole = Region::whole(image.width, image.height);
                let [across, down] = [whole.width, whole.height].map(|pixels| pixels / side as f64);
                // Sums of parts may lie outside by a rounding.
                let (left, top) = (region.left * across, region.top * down);
                let region = Region {
                    left,
                    top,
                    width: (region.width * across).min(whole.width - left),
                    height: (region.height * down).min(whole.height - top),
                };
                resize_pixels(image, region, side, planes);
            }
        }
    }
}

impl Augmentation {
    /// The augmentation that `settings` describe. `mean` (0..1, red, green, blue) is the colour of
    /// Cutout's squares and of what RandAugment moves in from outside the image.
    pub fn new(settings: &AugmentationSettings, mean: [f32; 3]) -> Self {
        let mut settings = settings.clone();
        settings.random_erasing = settings.random_erasing.clamp(0.0, 1.0);
        settings.color_jitter = settings.color_jitter.clamp(0.0, 1.0);
        Self { settings, fill: mean.map(|value| (value * 255.0).round() as u8) }
    }

    /// Whether [`Augmentation::apply`] may run long enough per image to be worth spreading in small
    /// parts over threads.
    pub(crate) fn is_heavy(&self) -> bool {
        let s = &self.settings;
        s.resized_crop || s.randaugment_ops > 0 || s.color_jitter > 0.0
    }

    /// Whether images of the input's size, a pixel at a time, are all that [`Augmentation::apply`]
    /// needs: then a device can do it.
    pub(crate) fn is_pointwise(&self) -> bool {
        !self.settings.resized_crop && self.settings.randaugment_ops == 0
    }

    /// The detail of an original that makes an input of `side` pixels: a crop that is enlarged to
    /// it can be half as long as the whole.
    pub(crate) fn detail(&self, side: usize) -> Detail {
        let share = if self.settings.resized_crop { geometry::SMALLEST_AREA.sqrt() } else { 1.0 };
        Detail::Side((side as f64 / share).ceil() as u32)
    }

    /// Whether colours are changed.
    pub(crate) fn changes_colors(&self) -> bool {
        self.settings.color_jitter > 0.0
    }

    /// The colour that hidden parts take.
    pub(crate) fn fill(&self) -> [u8; 3] {
        self.fill
    }

    /// Writes one augmented image to `planes`, `[3, side, side]`.
    pub(crate) fn write(
        &self,
        view: &View<'_>,
        side: usize,
        planes: &mut [u8],
        rng: &mut impl Rng,
    ) {
        let recipe = self.draw(view.size(side), side, rng);
        self.apply(&recipe, view, side, planes);
    }

    /// Draws what to do to one image of `size` (width and height) for an input of `side` pixels.
    pub(crate) fn draw(&self, size: (u32, u32), side: usize, rng: &mut impl Rng) -> Recipe {
        let s = &self.settings;
        let region = s.resized_crop.then(|| geometry::random_region(size.0, size.1, rng));
        let pad = s.pad_crop as i32;
        let mut shift = || if pad > 0 { rng.random_range(-pad..=pad) as isize } else { 0 };
        let offset = (shift(), shift());
        let mirrored = s.flip.or_else(|| false) && rng.random_bool(0.5);
        let operations = randaugment::draw(s.randaugment_ops, rng);
        let jitter = (s.color_jitter > 0.0).then(|| color::draw_jitter(s.color_jitter, rng));
        let erased = match s.random_erasing > 0.0 {
            true => erase::draw_erasing(side, s.random_erasing, rng),
            false => None,
        };
        let cut_out = (s.cutout > 0).then(|| erase::draw_cutout(side, s.cutout, rng));
        Recipe { region, offset, mirrored, operations, jitter, erased, cut_out }
    }

    /// Writes the image as drawn to `planes`, `[3, side, side]`.
    pub(crate) fn apply(&self, recipe: &Recipe, view: &View<'_>, side: usize, planes: &mut [u8]) {
        let &Recipe { region, offset, mirrored, .. } = recipe;
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
        randaugment::randaugment(
            planes,
            side,
            &recipe.operations,
            self.settings.randaugment_magnitude,
            self.fill,
        );
        if let Some(jitter) = &recipe.jitter {
            color::jitter(planes, jitter);
        }
        if let Some(erased) = &recipe.erased {
            erase::erase(planes, side, erased);
        }
        if let Some(place) = &recipe.cut_out {
            erase::cut_out(planes, side, place, self.fill);
        }
    }

    /// Draws how the images of a batch of `count` are mixed, if mixup or CutMix is on.
    pub(crate) fn draw_mixing(
        &self,
        count: usize,
        side: usize,
        rng: &mut impl Rng,
    ) -> Option<Mixing> {
        mix::draw(count, side, &self.settings, rng)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::stream;
    use crate::settings::{Preset, Settings};

    /// Whether images are kept or decoded whenever their turn comes must not change what is seen.
    #[test]
    fn a_crop_of_a_stretched_original_is_that_of_the_stretched_image() {
        let data = (0..96 * 32).flat_map(|i| [(i % 96 * 2) as u8, (i / 96 * 8) as u8, 90]);
        let image = RgbPixels { width: 96, height: 32, data: data.collect() };
        let mut settings = Settings::preset(Preset::Paper).augmentation;
        (settings.resized_crop, settings.pad_crop) = (true, 0);
        let augmentation = Augmentation::new(&settings, [0.5; 3]);
        let side = 32;
        let shape = InputShape { side, fit: ImageFit::Stretch };
        let stored = crate::images::to_input(&image, shape);
        for number in 0..32 {
            let draw = |view: View<'_>| {
                let mut planes = vec![0; stored.len()];
                let rng = &mut stream(3, "augment", &[number]);
                augmentation.write(&view, side, &mut planes, rng);
                planes
            };
            let kept = draw(View::Planes(&stored));
            let anew = draw(View::Original(image.clone(), ImageFit::Stretch));
            let apart = kept.iter().zip(&anew).map(|(a, b)| a.abs_diff(*b)).max();
            // One is resized twice: a step of a ramp at most.
            assert!(apart.is_some_and(|apart| apart <= 8), "{apart:?}");
        }
    }

    /// A run that goes on with a later version must see the images it would have seen.
    #[test]
    fn images_are_what_they_always_were() {
        let mut settings = Settings::preset(Preset::Quick).augmentation;
        (
            settings.pad_crop,
            settings.flip,
            settings.random_erasing,
            settings.color_jitter,
            settings.cutout,
        ) = (4, crate::settings::Auto::Value(true), 0.5, 0.4, 5);
        (settings.randaugment_ops, settings.resized_crop) = (0, false);
        let augmentation = Augmentation::new(&settings, [0.4, 0.5, 0.6]);
        let side = 16;
        let mut all = blake3::Hasher::new();
        for image in 0..16 {
            let mut stored = vec![0; 3 * side * side];
            stream(3, "pixels", &[image]).fill_bytes(&mut stored);
            let mut planes = vec![0; stored.len()];
            augmentation.write(
                &View::Planes(&stored),
                side,
                &mut planes,
                &mut stream(3, "augment", &[image]),
            );
            all.update(&planes);
        }
        assert_eq!(
            all.finalize().to_hex().as_str(),
            "6b6f935e43f045121963d46ff1c6f711baa37bee924d46814f21925cb477d7cc"
        );
    }
}
