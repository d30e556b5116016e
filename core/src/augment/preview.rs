//! Augmentation to look at.

use super::{Augmentation, View};
use crate::images::{InputShape, RgbPixels, to_input};
use crate::random::stream;
use crate::settings::AugmentationSettings;

/// What training would make of an image at the network's input of a shape: `count` draws of
/// the augmentation, without mixup and CutMix, which take a second image. The first draws are the
/// same whatever `count` is. `mean` (0..1) is the colour of hidden parts; the settings must be
/// valid (see [`Settings::validate`](crate::settings::Settings::validate)).
///
/// # Shapes
/// Each is `[3, side, side]`: the red plane, then green, then blue. `image.data` must hold
/// `height · width · 3` bytes.
pub fn augmented_previews(
    image: &RgbPixels,
    settings: &AugmentationSettings,
    shape: impl Into<InputShape>,
    mean: [f32; 3],
    seed: u64,
    count: usize,
) -> Vec<Vec<u8>> {
    let shape = shape.into();
    let side = shape.side.max(1);
    let augmentation = Augmentation::new(settings, mean);
    // As training does with images that it keeps in memory, which are those at the input's size.
    let stored = to_input(image, InputShape { side, ..shape });
    let draw = |index: usize| {
        let mut planes = vec![0; stored.len()];
        augmentation.write(
            &View::Planes(&stored),
            side,
            &mut planes,
            &mut stream(seed, "augment", &[0, index as u64]),
        );
        planes
    };
    (0..count).map(draw).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batches::{EpochPlan, Images};
    use crate::settings::{Preset, Settings};

    fn image() -> RgbPixels {
        let data = (0..12 * 10 * 3).map(|i| (i as u64 * 2_654_435_761 % 251) as u8).collect();
        RgbPixels { width: 12, height: 10, data }
    }

    #[test]
    fn previews_are_what_training_sees() {
        let mut settings = Settings::preset(Preset::Strong).augmentation;
        (settings.resized_crop, settings.color_jitter, settings.random_erasing, settings.cutout) =
            (true, 0.4, 0.5, 3);
        let mean = [0.2, 0.5, 0.7];
        let previews = augmented_previews(&image(), &settings, 8, mean, 3, 16);
        assert!(
            previews.iter().all(|planes| planes.len() == 3 * 8 * 8) && previews[0] != previews[1]
        );
        assert_eq!(augmented_previews(&image(), &settings, 8, mean, 3, 2), previews[..2]);
        assert_ne!(augmented_previews(&image(), &settings, 8, mean, 4, 2), previews[..2]);

        let bytes = vec![to_input(&image(), 8); 16].concat();
        let images = Images::from_bytes(8, 1, vec![0; 16], bytes).unwrap();
        let plan = EpochPlan { batch_size: 16, seed: 3, epoch: 0, from_step: 0 };
        let batch = images
            .train_batches(&Augmentation::new(&settings, mean), plan)
            .next()
            .unwrap()
            .unwrap();
        for (planes, &index) in batch.images.chunks_exact(192).zip(&batch.indices) {
            assert_eq!(planes, previews[index]);
        }
    }

    #[test]
    fn mixing_is_left_out_and_nothing_leaves_the_image_as_it_is() {
        let mut settings = Settings::preset(Preset::Quick).augmentation;
        (settings.pad_crop, settings.flip, settings.mixup, settings.cutmix) =
            (0, crate::settings::Auto::Value(false), 1.0, 1.0);
        assert_eq!(
            augmented_previews(&image(), &settings, 10, [0.5; 3], 0, 2),
            vec![to_input(&image(), 10); 2]
        );
        assert!(augmented_previews(&image(), &settings, 10, [0.5; 3], 0, 0).is_empty());
    }
}
