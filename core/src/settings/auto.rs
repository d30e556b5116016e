//! What `auto` stands for, where the number of training samples says it.

use super::{AUGMENTATIONS, Auto, Schedule, Settings, Stage1Settings, Training};

/// Steps of SGD that a network is trained for from initial weights, where nothing else is asked
/// for. A folder of a thousand images gets as many as one of ten thousand: what counts is how often
/// the weights are corrected.
const SCRATCH_STEPS: usize = 3000;
/// Epochs that this is kept between: fewer learn little of what only the rare classes show, more
/// learn the images by heart.
const SCRATCH_EPOCHS: [usize; 2] = [20, 200];
/// The same of a classifier on features that stay.
const CLASSIFIER_STEPS: usize = 2000;
const CLASSIFIER_EPOCHS: [usize; 2] = [20, 100];
/// The same of fine-tuning, where most is learned already.
const FINE_TUNING_STEPS: usize = 400;
const FINE_TUNING_EPOCHS: [usize; 2] = [4, 20];
/// Learning rate for a batch of 64; it grows as the batch does (Goyal et al., 2017).
const SCRATCH_RATE: f64 = 0.05;
const CLASSIFIER_RATE: f64 = 0.01;
const FINE_TUNING_RATE: f64 = 0.01;
/// Weight decay where nothing else is asked for.
const SCRATCH_DECAY: f64 = 1e-3;
const CLASSIFIER_DECAY: f64 = 1e-2;
const FINE_TUNING_DECAY: f64 = 5e-4;
const BATCH: f64 = 64.0;

/// Settings of stage 1 that a classifier on features that stay has no use for.
const OF_NETWORKS: [&str; 6] = [
    "stage1.accumulation",
    "stage1.precision",
    "stage1.backbone_rate",
    "stage1.clip_gradients",
    "stage1.norm_statistics",
    "stage1.validate_every",
];

impl Stage1Settings {
    /// Whether the backbone stays unchanged.
    pub fn is_frozen(&self) -> bool {
        self.train == Auto::Value(Training::Classifier)
    }

    /// Whether a pretrained backbone learns on.
    pub fn is_fine_tuning(&self) -> bool {
        self.train == Auto::Value(Training::All)
    }

    /// The number of epochs, or the fewest that `auto` takes; a run's settings hold the number
    /// itself.
    pub fn epochs(&self) -> usize {
        self.epochs.or_else(|| SCRATCH_EPOCHS[0])
    }

    /// The learning rate, or what `auto` takes for the batch size.
    pub fn learning_rate(&self) -> f64 {
        let usual = match self.train {
            Auto::Value(Training::Classifier) => CLASSIFIER_RATE,
            Auto::Value(Training::All) => FINE_TUNING_RATE,
            _ => SCRATCH_RATE,
        };
        self.learning_rate.or_else(|| usual * self.batch_size as f64 / BATCH)
    }

    /// The weight decay λ, or what is usual. Of a classifier on features that stay, `auto` is
    /// decided when those are known.
    pub fn weight_decay(&self) -> f64 {
        self.weight_decay.or_else(|| match self.train {
            Auto::Value(Training::All) => FINE_TUNING_DECAY,
            Auto::Value(Training::Scratch) => SCRATCH_DECAY,
            _ => CLASSIFIER_DECAY,
        })
    }
}

impl Settings {
    /// Keys that were set otherwise than the preset has them, and have no effect where the classifier
    /// alone learns: no image is augmented there, and no network trained.
    ///
    /// ```
    /// use counterweight_core::settings::{Preset, Settings};
    /// let mut settings = Settings::preset(Preset::Auto);
    /// settings.set("augmentation.cutout", "8")?;
    /// settings.set("stage1.momentum", "0.8")?;
    /// assert_eq!(settings.without_effect_on_features(), ["augmentation.cutout"]);
    /// # Ok::<(), counterweight_core::Error>(())
    /// ```
    pub fn without_effect_on_features(&self) -> Vec<&'static str> {
        let usual = Self::preset(self.preset);
        let of_images = AUGMENTATIONS.iter().map(|entry| entry.setting.key);
        // Views of training images are augmented for stage 2.
        let of_images = of_images.filter(|_| self.balance.augmented_views == 0);
        of_images.chain(OF_NETWORKS).filter(|key| self.text(key) != usual.text(key)).collect()
    }

    /// The settings with epochs, learning rate and, unless the data has to say it, weight decay in
    /// numbers, for so many training samples.
    pub fn for_samples(mut self, training: usize) -> Self {
        let s = &self.stage1;
        let (steps, [fewest, most]) = match s.train {
            Auto::Value(Training::Classifier) => (CLASSIFIER_STEPS, CLASSIFIER_EPOCHS),
            Auto::Value(Training::All) => (FINE_TUNING_STEPS, FINE_TUNING_EPOCHS),
            _ => (SCRATCH_STEPS, SCRATCH_EPOCHS),
        };
        let an_epoch = training.div_ceil(s.batch_size.max(1)).max(1);
        let usual = steps.div_ceil(an_epoch).clamp(fewest, most);
        // Without the last one, which would be at a rate of 0: of the few epochs of fine-tuning, which
        // take minutes, none is spent on nothing.
        let spared = usize::from(s.is_fine_tuning() && s.schedule == Schedule::CosineNonzero);
        let epochs = s.epochs.or_else(|| (usual - spared).max(s.warmup_epochs));
        let rate = s.learning_rate();
        self.stage1.epochs = Auto::Value(epochs);
        self.stage1.learning_rate = Auto::Value(rate);
        if !self.stage1.is_frozen() {
            self.stage1.weight_decay = Auto::Value(self.stage1.weight_decay());
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Preset;

    #[test]
    fn a_small_folder_gets_as_many_steps_as_a_large_one() {
        let of = |training: usize| Settings::preset(Preset::Quick).for_samples(training).stage1;
        assert_eq!((of(1000).epochs(), of(10_000).epochs()), (188, 20));
        assert_eq!((of(3).epochs(), of(1_000_000).epochs()), (200, 20));
        assert_eq!(of(1000).learning_rate(), 0.05);
        let mut large = Settings::preset(Preset::Quick);
        large.stage1.batch_size = 128;
        assert_eq!(large.for_samples(1000).stage1.learning_rate(), 0.1);
        let of = |training: usize| Settings::preset(Preset::FineTune).for_samples(training).stage1;
        assert_eq!((of(316).epochs(), of(1216).epochs(), of(2936).epochs()), (19, 10, 4));
        assert_eq!(of(100_000).epochs(), 3);
        // As earlier versions had it, whose runs go on.
        let mut earlier = Settings::preset(Preset::FineTune);
        earlier.stage1.schedule = Schedule::Cosine;
        assert_eq!(earlier.for_samples(1216).stage1.epochs(), 11);
        // What is given stays.
        let paper = Settings::preset(Preset::Paper);
        assert_eq!(paper.clone().for_samples(10), paper);
    }
}
