//! Every setting of a run, its presets, its file and its `key=value` overrides.
//!
//! A settings file is TOML and complete: it holds every key, so a run can be repeated from it
//! alone.

mod augmentations;
mod auto;
mod backbone;
mod balancers;
mod info;
mod losses;
mod overrides;
mod presets;
mod problems;
mod renamed;

use std::path::Path;

use serde::{Deserialize, Serialize};

pub use crate::words::{
    Auto, AutoWord, FeatureSource, ImageFit, NamedNormalisation, NormStatistics, Normalisation,
    Precision, Schedule, Stem, Tokens, Training,
};
pub use augmentations::{AUGMENTATIONS, AugmentationInfo};
pub use backbone::BackboneChoice;
pub use balancers::{
    Allowed, BALANCERS, Balancer, BalancerInfo, Choice, PAIRED_STRENGTHS, Parameter, Scale, Tuned,
    When,
};
pub use info::{INFO, SettingInfo, info};
pub use losses::{ClassifierLoss, LOSSES, LossInfo};
pub use presets::Preset;
pub use problems::SettingProblem;

use crate::error::{Result, SettingsError};
use crate::files;
pub use crate::model::Backbone;
use crate::model::FeatureChoice;

/// The version of the format of settings files. It grows when files are written that earlier
/// versions of the program would misread or refuse.
const FORMAT: u32 = 2;
/// What stands before it in a file. Files of earlier versions have no such line.
const FORMAT_LINE: &str = "# settings of counterweight, format ";

fn format_of(text: &str) -> Option<u32> {
    text.lines().next()?.strip_prefix(FORMAT_LINE)?.trim().parse().ok()
}

/// Everything that determines a run, apart from its dataset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The preset these settings started from; changing other keys does not change it.
    pub preset: Preset,
    /// Seed of everything random: initial weights, order of samples, augmentation.
    pub seed: u64,
    /// The network and its input.
    pub model: ModelSettings,
    /// Learning features.
    pub stage1: Stage1Settings,
    /// What is done to training images in stage 1.
    pub augmentation: AugmentationSettings,
    /// Balancing the classifier.
    pub balance: BalanceSettings,
    /// How results are computed.
    pub evaluation: EvaluationSettings,
}

/// The network and its input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSettings {
    /// The backbone, or the ONNX file of a feature extractor.
    pub backbone: BackboneChoice,
    /// First layers: `auto` takes the small stem up to 64 pixels a side and the ImageNet stem
    /// above.
    pub stem: Auto<Stem>,
    /// Side of the square input in pixels, 8..=512, or 8..=1024 for an ONNX file; `auto` takes the
    /// images' own size where they agree, else 32, 64, 128 or 224, and that of pretrained weights
    /// or of a file.
    pub input_size: Auto<usize>,
    /// How images that are not square become the input; `auto` measures which is better, and leaves
    /// it at their centres where they are nearly square.
    #[serde(default = "centres")]
    pub fit: Auto<ImageFit>,
    /// Per-channel mean and standard deviation the input is normalised with.
    pub normalisation: Normalisation,
    /// The value of an ONNX file's graph that features are taken of, by its name; if empty, the
    /// output that they are usually taken of.
    #[serde(default)]
    pub output: String,
    /// Which tokens of a transformer's features are taken, where an ONNX file gives tokens.
    #[serde(default)]
    pub tokens: Tokens,
}

/// Stage 1: cross-entropy by SGD with momentum and weight decay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage1Settings {
    /// What learns: `classifier` leaves a pretrained backbone unchanged, `all` trains everything
    /// from pretrained weights, `scratch` everything from initial ones, and `auto` measures on the
    /// data what it should be.
    #[serde(default = "from_scratch")]
    pub train: Auto<Training>,
    /// Passes over the training split; `auto` takes as many as make a usual number of steps.
    pub epochs: Auto<usize>,
    /// Samples a step.
    pub batch_size: usize,
    /// Gradient accumulation steps: the parts that each batch is computed in, one after the other,
    /// for devices whose memory does not hold it at once. A step is the same up to batch norm,
    /// whose statistics are of each part. It can be changed when a run is resumed.
    #[serde(default = "one", alias = "parts")]
    pub accumulation: usize,
    /// What convolutions compute with, where the device can.
    #[serde(default)]
    pub precision: Precision,
    /// Peak learning rate; `auto` takes it from the batch size.
    pub learning_rate: Auto<f64>,
    /// Factor of the learning rate for every layer but the classifier, where those begin
    /// pretrained.
    #[serde(default = "same_rate")]
    pub backbone_rate: f64,
    /// Largest norm of the gradients of all weights together; longer ones are scaled down to it. 0
    /// leaves them as they are.
    #[serde(default)]
    pub clip_gradients: f64,
    /// What batch norm normalises with. Statistics of a pretrained backbone can stay where batches
    /// are small or images few.
    #[serde(default)]
    pub norm_statistics: NormStatistics,
    /// Momentum of SGD, without dampening.
    pub momentum: f64,
    /// Weight decay λ on every parameter, batch norm and biases included; `auto` tries several on
    /// features that stay, and takes what is usual elsewhere.
    pub weight_decay: Auto<f64>,
    /// How the learning rate falls.
    pub schedule: Schedule,
    /// Epochs of linear warm-up before the schedule.
    pub warmup_epochs: usize,
    /// Epochs (from 1) after which the `step` schedule divides the learning rate by ten.
    pub milestones: Vec<usize>,
    /// Label smoothing ε in 0..1.
    pub label_smoothing: f64,
    /// Evaluate on validation every this many epochs (and always after the last).
    pub validate_every: usize,
}

/// What a settings file has that was written before there were pretrained backbones.
fn from_scratch() -> Auto<Training> {
    Auto::Value(Training::Scratch)
}

/// What a settings file has that was written before a pretrained backbone could learn on.
fn same_rate() -> f64 {
    1.0
}

/// What a settings file has that was written before there was gradient accumulation.
fn one() -> usize {
    1
}

/// What is done to training images. Images are evaluated un-augmented.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AugmentationSettings {
    /// Pad by this many zero pixels on every side and crop back at random; 0 is off.
    pub pad_crop: usize,
    /// Crop a random part (area 0.25..1, aspect ratio 3/4..4/3) and resize it to the input.
    pub resized_crop: bool,
    /// Mirror left to right with probability one half; `auto` does so if classes were found not to
    /// turn into each other by it.
    pub flip: Auto<bool>,
    /// Strength of random brightness, contrast, saturation (factor 1 ± s) and hue (± s / 4); 0 is
    /// off.
    pub color_jitter: f32,
    /// Operations of RandAugment (Cubuk et al., 2020) a sample; 0 is off.
    pub randaugment_ops: usize,
    /// Magnitude of RandAugment, 0..=30.
    pub randaugment_magnitude: f32,
    /// Probability of erasing a random rectangle (Zhong et al., 2020); 0 is off.
    pub random_erasing: f32,
    /// Side, in pixels, of a square set to the mean (Cutout: DeVries and Taylor, 2017); 0 is off.
    pub cutout: usize,
    /// α of mixup's Beta(α, α) (Zhang et al., 2018); 0 is off.
    pub mixup: f32,
    /// α of CutMix's Beta(α, α) (Yun et al., 2019); 0 is off. With both, each batch takes one of
    /// the two by a coin toss.
    pub cutmix: f32,
}

/// Balancing the classifier: which balancers, and their parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BalanceSettings {
    /// The balancers, applied together. With `stage2` or `weight-decay` the classifier is trained,
    /// and `max-norm` acts during that; without, every balancer is post-hoc.
    pub balancers: Vec<Balancer>,
    /// τ of `tau`: W_k ← W_k / ‖W_k‖^τ.
    pub tau: f32,
    /// Radius η of `max-norm`; `auto` takes min + δ (max − min) of the norms at the start.
    pub max_norm_radius: Auto<f32>,
    /// δ of the automatic radius.
    pub max_norm_delta: f32,
    /// Exponent γ of `multiplicative-adjustment`: W_k ← (n_max / n_k)^γ · W_k / ‖W_k‖.
    #[serde(default = "usual_gamma")]
    pub gamma: f32,
    /// Strength τ of `logit-adjustment`: logits − τ log π_k.
    pub logit_adjustment: f32,
    /// Weight decay λ of `weight-decay`, on the classifier's weight and bias.
    pub weight_decay: f64,
    /// Loss of stage 2.
    pub loss: ClassifierLoss,
    /// β of the class-balanced losses: w_k = (1 − β) / (1 − β^n_k), scaled so that Σ w_k = C.
    pub beta: f64,
    /// Label smoothing ε of stage 2, for the losses that take it.
    pub label_smoothing: f64,
    /// Epochs of stage 2.
    pub epochs: usize,
    /// Samples a step of stage 2.
    pub batch_size: usize,
    /// Peak learning rate of stage 2.
    pub learning_rate: f64,
    /// Momentum of stage 2's SGD.
    pub momentum: f64,
    /// Learning-rate schedule of stage 2.
    pub schedule: Schedule,
    /// Where stage 2's features come from: `cached` computes them once, `network` recomputes them
    /// from augmented images with batch norm in training mode, as the authors' code does.
    pub features: FeatureSource,
    /// Ways of balancing that `balance` tries on the validation split before it takes the best; 0
    /// takes the settings as they are.
    pub tune_candidates: usize,
    /// Augmented copies of the training set added to the cached features, besides the un-augmented
    /// one.
    pub augmented_views: usize,
}

/// What a settings file has that was written before there was multiplicative logit adjustment.
fn usual_gamma() -> f32 {
    0.2
}

/// How results are computed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationSettings {
    /// Classes with more training samples than this are in the many group.
    pub many_above: usize,
    /// Classes with fewer training samples than this are in the few group.
    pub few_below: usize,
    /// Average the logits of each image and its mirror image.
    pub flip: bool,
}

/// What a settings file has that was written before there was a choice.
fn centres() -> Auto<ImageFit> {
    Auto::Value(ImageFit::Crop)
}

impl ModelSettings {
    /// How images become the input, or what is usual.
    pub fn fit(&self) -> ImageFit {
        self.fit.or_else(ImageFit::default)
    }

    /// How features are taken of an ONNX file.
    pub fn feature_choice(&self) -> FeatureChoice<'_> {
        FeatureChoice {
            output: &self.output,
            tokens: self.tokens,
            side: self.input_size.value(),
            normalisation: self.normalisation,
        }
    }
}

impl Settings {
    /// The settings of a preset.
    pub fn preset(preset: Preset) -> Self {
        presets::settings(preset)
    }

    /// Reads a complete settings file.
    ///
    /// # Errors
    /// [`SettingsError`] naming the file and the line or key.
    pub fn load(path: &Path) -> Result<Self> {
        let file_error = |reason: String| SettingsError::File {
            path: path.to_path_buf(),
            reason: reason.into(),
        };
        let text =
            files::read_text(path, files::LARGEST_TEXT).map_err(|e| file_error(e.to_string()))?;
        if let Some(newer) = format_of(&text).filter(|format| *format > FORMAT) {
            return Err(file_error(format!(
                "was made by a newer version of the program (format {newer}; this one reads up to {FORMAT})"
            ))
            .into());
        }
        let settings: Settings = toml::from_str(&text).map_err(|e| file_error(e.to_string()))?;
        renamed::note_in_file(&text);
        settings.validate()?;
        Ok(settings)
    }

    /// [`Settings::to_toml`] with the format's version in a comment above it, as runs keep it: a
    /// version that does not know what a newer one wrote can say so.
    pub fn to_file(&self) -> String {
        format!("{FORMAT_LINE}{FORMAT}\n{}", self.to_toml())
    }

    /// The settings as a complete, comment-free TOML file.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("settings hold only plain values")
    }

    /// The value of a key as text, as [`Settings::set`] reads it: `64`, `cosine`,
    /// `weight-decay, max-norm`. `None` for an unknown key.
    pub fn text(&self, key: &str) -> Option<String> {
        overrides::text(self, key)
    }

    /// The settings with one key changed and the range of its value not yet checked, for forms that
    /// show what is wrong where it stands.
    ///
    /// # Errors
    /// [`SettingsError`] for an unknown key or a value of the wrong type.
    pub fn with(&self, key: &str, value: &str) -> Result<Self> {
        overrides::apply(self, key, value)
    }

    /// Applies one override, for example `stage1.epochs` = `20`. A last part that occurs once, such
    /// as `backbone`, may stand alone.
    ///
    /// ```
    /// use counterweight_core::settings::{Preset, Settings};
    /// let mut settings = Settings::preset(Preset::Quick);
    /// settings.set("stage1.epochs", "3").unwrap();
    /// assert_eq!(settings.stage1.epochs(), 3);
    /// let error = settings.set("stage1.epoch", "3").unwrap_err().to_string();
    /// assert!(error.contains("did you mean `stage1.epochs`?"));
    /// ```
    ///
    /// # Errors
    /// [`SettingsError`] for an unknown key, naming the nearest, and for a value of the wrong type
    /// or outside its range.
    pub fn set(&mut self, key: &str, value: &str) -> Result<()> {
        self.set_all([(key, value)])
    }

    /// Applies several overrides and then checks the whole, so that values that belong together may
    /// come in any order.
    ///
    /// # Errors
    /// As [`Settings::set`]; nothing is changed then.
    pub fn set_all<'a>(
        &mut self,
        changes: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<()> {
        let mut changed = self.clone();
        for (key, value) in changes {
            changed = overrides::apply(&changed, key, value)?;
        }
        changed.validate()?;
        *self = changed;
        Ok(())
    }

    /// Every key, dotted, sorted.
    pub fn keys() -> Vec<String> {
        overrides::keys(&Settings::preset(Preset::Quick))
    }
}
