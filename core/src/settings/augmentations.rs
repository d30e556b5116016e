//! What can be done to training images, in one table: the settings of each, their help, their
//! ranges, and whether they are usual. Settings' help and checks and the window read it; what each
//! does is in [`crate::augment`].

use super::AugmentationSettings;
use super::info::SettingInfo;

/// What is known of a setting of augmentation.
#[derive(Clone, Copy, Debug)]
pub struct AugmentationInfo {
    /// The setting's key, its name and its help.
    pub setting: SettingInfo,
    /// Whether the window shows it among the few that most people need.
    pub usual: bool,
    /// Its value and the largest that is allowed, from 0 on, where it is a number; infinite where
    /// there is no bound.
    pub number: Option<Number>,
}

/// Every setting of augmentation, in the order of the settings.
pub static AUGMENTATIONS: [AugmentationInfo; 10] = [
    entry(
        "augmentation.pad_crop",
        "Pad and crop",
        "Shifts each training image at random by up to this many pixels, so that position matters less. 0 is off.",
        true,
        Some((|s| s.pad_crop as f64, 64.0)),
    ),
    entry(
        "augmentation.resized_crop",
        "Random crop",
        "Trains on random parts of each image, enlarged, so that size and position matter less.",
        true,
        None,
    ),
    entry(
        "augmentation.flip",
        "Mirror",
        "Shows half of the training images mirrored. Auto does so unless left and right turn out to mean something, as in writing.",
        true,
        None,
    ),
    entry(
        "augmentation.color_jitter",
        "Colour jitter",
        "Changes brightness, contrast and colours at random, so that lighting matters less. 0 is off.",
        true,
        Some((|s| f64::from(s.color_jitter), 1.0)),
    ),
    entry(
        "augmentation.randaugment_ops",
        "RandAugment operations",
        "Random distortions, one after another, for each training image. 0 is off.",
        false,
        Some((|s| s.randaugment_ops as f64, 8.0)),
    ),
    entry(
        "augmentation.randaugment_magnitude",
        "RandAugment strength",
        "How strong RandAugment's distortions are, from 0 to 30.",
        false,
        Some((|s| f64::from(s.randaugment_magnitude), 30.0)),
    ),
    entry(
        "augmentation.random_erasing",
        "Random erasing",
        "Chance that a random rectangle of a training image is covered, so that no single part decides. 0 is off.",
        false,
        Some((|s| f64::from(s.random_erasing), 1.0)),
    ),
    entry(
        "augmentation.cutout",
        "Cutout",
        "Side in pixels of a square that is covered in every training image. 0 is off.",
        false,
        Some((|s| s.cutout as f64, f64::INFINITY)),
    ),
    entry(
        "augmentation.mixup",
        "Mixup",
        "Blends pairs of training images and their labels. Larger blends more evenly; 0 is off.",
        false,
        Some((|s| f64::from(s.mixup), f64::INFINITY)),
    ),
    entry(
        "augmentation.cutmix",
        "CutMix",
        "Pastes a part of one training image into another and mixes their labels. 0 is off.",
        false,
        Some((|s| f64::from(s.cutmix), f64::INFINITY)),
    ),
];

/// Reads a number, and the largest that is allowed.
type Number = (fn(&AugmentationSettings) -> f64, f64);

const fn entry(
    key: &'static str,
    label: &'static str,
    explanation: &'static str,
    usual: bool,
    number: Option<Number>,
) -> AugmentationInfo {
    AugmentationInfo { setting: SettingInfo { key, label, explanation }, usual, number }
}

impl AugmentationInfo {
    /// What is wrong with its value, if anything is.
    pub(super) fn problem(&self, settings: &AugmentationSettings) -> Option<String> {
        let (value, most) = self.number.map(|(get, most)| (get(settings), most))?;
        if value.is_finite() && (0.0..=most).contains(&value) {
            return None;
        }
        Some(match most.is_finite() {
            true => format!("must be in 0..={most}"),
            false => "must be 0 or above".into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Preset, Settings};

    #[test]
    fn the_table_has_every_setting_of_augmentation_in_order() {
        let keys: Vec<&str> = AUGMENTATIONS.iter().map(|entry| entry.setting.key).collect();
        let mut known = Settings::keys();
        known.retain(|key| key.starts_with("augmentation."));
        known.sort_unstable();
        let mut sorted = keys.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, known);
    }

    #[test]
    fn numbers_are_read_from_the_setting_they_stand_behind_and_checked() {
        for entry in &AUGMENTATIONS {
            let Some((get, most)) = entry.number else { continue };
            let key = entry.setting.key;
            let mut settings = Settings::preset(Preset::Quick);
            settings.set(key, "1").unwrap();
            assert_eq!(get(&settings.augmentation), 1.0, "{key}");
            if most.is_finite() {
                let beyond = (most + 1.0).to_string();
                let error = settings.set(key, &beyond).unwrap_err().to_string();
                assert!(error.contains(key) && error.contains("must be"), "{error}");
                settings.set(key, &most.to_string()).unwrap();
            }
        }
    }
}
