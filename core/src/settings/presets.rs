//! Ready-made settings.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{
    AugmentationSettings, Auto, Backbone, BalanceSettings, Balancer, ClassifierLoss,
    EvaluationSettings, FeatureSource, ImageFit, ModelSettings, NormStatistics, Normalisation,
    Precision, Schedule, Settings, Stage1Settings, Tokens, Training,
};

/// A named starting point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// What suits the data: a pretrained backbone whose classifier is trained and balanced in
    /// seconds, or training from scratch where that is measured to be better.
    Auto,
    /// A pretrained backbone of which every layer learns on for a few epochs.
    FineTune,
    /// A small network for a few epochs: minutes on a CPU.
    Quick,
    /// The authors' code, to the letter: what their numbers on CIFAR-100-LT were made with.
    Paper,
    /// Longer training with stronger augmentation, and a balancer tuned on validation over more
    /// views of the data.
    Strong,
}

impl Preset {
    /// Every preset.
    pub const ALL: [Preset; 5] =
        [Preset::Auto, Preset::FineTune, Preset::Quick, Preset::Paper, Preset::Strong];

    /// The preset's name.
    pub fn name(self) -> &'static str {
        match self {
            Preset::Auto => "auto",
            Preset::FineTune => "fine-tune",
            Preset::Quick => "quick",
            Preset::Paper => "paper",
            Preset::Strong => "strong",
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Preset {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Preset::ALL.into_iter().find(|preset| preset.name() == text).ok_or_else(|| {
            format!("`{text}` is no preset; there are {}", Preset::ALL.map(Preset::name).join(", "))
        })
    }
}

pub(super) fn settings(preset: Preset) -> Settings {
    match preset {
        Preset::Auto => auto(),
        Preset::FineTune => fine_tune(),
        Preset::Quick => quick(),
        Preset::Paper => paper(),
        Preset::Strong => strong(),
    }
}

fn paper() -> Settings {
    Settings {
        preset: Preset::Paper,
        seed: 0,
        model: ModelSettings {
            backbone: Backbone::ResNet34.into(),
            stem: Auto::AUTO,
            input_size: Auto::AUTO,
            fit: Auto::Value(ImageFit::Crop),
            normalisation: Normalisation::CIFAR,
            output: String::new(),
            tokens: Tokens::Auto,
        },
        stage1: Stage1Settings {
            train: Auto::Value(Training::Scratch),
            epochs: Auto::Value(320),
            batch_size: 64,
            accumulation: 1,
            precision: Precision::Float32,
            learning_rate: Auto::Value(0.01),
            backbone_rate: 1.0,
            clip_gradients: 0.0,
            norm_statistics: NormStatistics::Moving,
            momentum: 0.9,
            weight_decay: Auto::Value(5e-3),
            schedule: Schedule::Cosine,
            warmup_epochs: 0,
            milestones: vec![],
            label_smoothing: 0.0,
            validate_every: 1,
        },
        augmentation: AugmentationSettings {
            pad_crop: 4,
            resized_crop: false,
            flip: Auto::Value(true),
            color_jitter: 0.0,
            randaugment_ops: 0,
            randaugment_magnitude: 9.0,
            random_erasing: 0.0,
            cutout: 0,
            mixup: 0.0,
            cutmix: 0.0,
        },
        balance: BalanceSettings {
            balancers: vec![Balancer::WeightDecay, Balancer::MaxNorm],
            tau: 1.9,
            max_norm_radius: Auto::AUTO,
            max_norm_delta: 0.1,
            gamma: 0.2,
            logit_adjustment: 1.0,
            weight_decay: 0.1,
            loss: ClassifierLoss::ClassBalancedBce,
            beta: 0.9999,
            label_smoothing: 0.0,
            epochs: 10,
            batch_size: 64,
            learning_rate: 0.01,
            momentum: 0.9,
            schedule: Schedule::Cosine,
            features: FeatureSource::Network,
            tune_candidates: 0,
            augmented_views: 0,
        },
        evaluation: EvaluationSettings { many_above: 100, few_below: 20, flip: false },
    }
}

fn quick() -> Settings {
    let paper = paper();
    Settings {
        preset: Preset::Quick,
        model: ModelSettings {
            backbone: Backbone::ResNet20.into(),
            fit: Auto::AUTO,
            normalisation: Normalisation::MEASURED,
            ..paper.model
        },
        stage1: Stage1Settings {
            epochs: Auto::AUTO,
            learning_rate: Auto::AUTO,
            batch_size: 64,
            weight_decay: Auto::Value(1e-3),
            warmup_epochs: 1,
            ..paper.stage1
        },
        augmentation: AugmentationSettings { flip: Auto::AUTO, ..paper.augmentation },
        balance: BalanceSettings {
            tau: 1.0,
            loss: ClassifierLoss::ClassBalanced,
            learning_rate: 0.1,
            weight_decay: 5e-3,
            beta: 0.9999,
            epochs: 20,
            features: FeatureSource::Cached,
            ..paper.balance
        },
        ..paper
    }
}

fn auto() -> Settings {
    let quick = quick();
    Settings {
        preset: Preset::Auto,
        model: ModelSettings {
            backbone: Backbone::BUILT_IN.into(),
            normalisation: Normalisation::PRETRAINED,
            ..quick.model
        },
        stage1: Stage1Settings {
            train: Auto::AUTO,
            weight_decay: Auto::AUTO,
            warmup_epochs: 0,
            ..quick.stage1
        },
        balance: BalanceSettings {
            loss: ClassifierLoss::BalancedSoftmax,
            weight_decay: 1e-2,
            learning_rate: 0.01,
            epochs: 30,
            tune_candidates: 200,
            ..quick.balance
        },
        ..quick
    }
}

fn fine_tune() -> Settings {
    let auto = auto();
    Settings {
        preset: Preset::FineTune,
        stage1: Stage1Settings {
            train: Auto::Value(Training::All),
            batch_size: 32,
            weight_decay: Auto::Value(5e-4),
            warmup_epochs: 1,
            schedule: Schedule::CosineNonzero,
            clip_gradients: 5.0,
            norm_statistics: NormStatistics::Frozen,
            ..auto.stage1
        },
        augmentation: AugmentationSettings { pad_crop: 16, ..auto.augmentation },
        ..auto
    }
}

fn strong() -> Settings {
    let paper = paper();
    Settings {
        preset: Preset::Strong,
        model: ModelSettings { normalisation: Normalisation::MEASURED, ..paper.model },
        // Twice the paper's batch at twice its learning rate, so that an epoch's weight decay is
        // the paper's.
        stage1: Stage1Settings {
            epochs: Auto::Value(400),
            learning_rate: Auto::Value(0.02),
            batch_size: 128,
            warmup_epochs: 5,
            validate_every: 5,
            ..paper.stage1
        },
        augmentation: AugmentationSettings {
            flip: Auto::AUTO,
            randaugment_ops: 2,
            randaugment_magnitude: 10.0,
            cutout: 16,
            ..paper.augmentation
        },
        balance: BalanceSettings {
            loss: ClassifierLoss::BalancedSoftmax,
            weight_decay: 5e-3,
            learning_rate: 0.05,
            epochs: 30,
            features: FeatureSource::Cached,
            tune_candidates: 200,
            augmented_views: 4,
            ..paper.balance
        },
        evaluation: EvaluationSettings { flip: true, ..paper.evaluation },
        ..paper
    }
}
