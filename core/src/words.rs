//! The words settings are made of.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A value, or `auto` to have it chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "\"auto\" or a value of the right kind")]
pub enum Auto<T> {
    /// Chosen from the data.
    Auto(AutoWord),
    /// Given.
    Value(T),
}

/// The word `auto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AutoWord {
    /// `auto`.
    #[serde(rename = "auto")]
    Auto,
}

impl<T: Copy> Auto<T> {
    /// `auto`.
    pub const AUTO: Self = Auto::Auto(AutoWord::Auto);

    /// The given value, if one is given.
    pub fn value(self) -> Option<T> {
        match self {
            Auto::Auto(_) => None,
            Auto::Value(value) => Some(value),
        }
    }

    /// The given value, or what `choose` chooses.
    pub fn or_else(self, choose: impl FnOnce() -> T) -> T {
        match self {
            Auto::Auto(_) => choose(),
            Auto::Value(value) => value,
        }
    }
}

/// What learns in stage 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Training {
    /// The classifier alone, on features of a pretrained backbone that stays unchanged.
    Classifier,
    /// Everything, from the weights of a pretrained backbone.
    All,
    /// Everything, from initial weights.
    Scratch,
}

impl Training {
    /// Everything that can be chosen.
    pub const ALL: [Training; 3] = [Training::Classifier, Training::All, Training::Scratch];

    /// The name used in settings.
    pub fn name(self) -> &'static str {
        match self {
            Training::Classifier => "classifier",
            Training::All => "all",
            Training::Scratch => "scratch",
        }
    }
}

impl fmt::Display for Training {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What batch norm normalises with while everything is trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NormStatistics {
    /// Each batch's own statistics, which the running ones follow.
    #[default]
    Moving,
    /// The running statistics of the pretrained backbone, which stay.
    Frozen,
}

impl NormStatistics {
    /// Everything that can be chosen.
    pub const ALL: [NormStatistics; 2] = [NormStatistics::Moving, NormStatistics::Frozen];

    /// The name used in settings.
    pub fn name(self) -> &'static str {
        match self {
            NormStatistics::Moving => "moving",
            NormStatistics::Frozen => "frozen",
        }
    }
}

/// What is taken of features that come as tokens, one a patch of the image, often with a class
/// token in front.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tokens {
    /// The first token where there is a class token, otherwise the mean.
    #[default]
    Auto,
    /// The first token.
    Class,
    /// The mean over all tokens.
    Mean,
}

impl Tokens {
    /// Everything that can be chosen.
    pub const ALL: [Tokens; 3] = [Tokens::Auto, Tokens::Class, Tokens::Mean];

    /// The name used in settings.
    pub fn name(self) -> &'static str {
        match self {
            Tokens::Auto => "auto",
            Tokens::Class => "class",
            Tokens::Mean => "mean",
        }
    }
}

/// How an image that is not square becomes the network's square input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageFit {
    /// Its largest centred square: shapes stay true, and what lies beside the square is not seen.
    #[default]
    Crop,
    /// All of it, squeezed along its longer side: everything is seen, and shapes change.
    Stretch,
}

impl ImageFit {
    /// Everything that can be chosen.
    pub const ALL: [ImageFit; 2] = [ImageFit::Crop, ImageFit::Stretch];

    /// The name used in settings.
    pub fn name(self) -> &'static str {
        match self {
            ImageFit::Crop => "crop",
            ImageFit::Stretch => "stretch",
        }
    }

    /// Whether it is the one that files are taken to mean which do not say any.
    pub fn is_usual(&self) -> bool {
        *self == ImageFit::default()
    }
}

impl fmt::Display for ImageFit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The layers before the first stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stem {
    /// 3×3 convolution of stride 1, no pooling: for images up to 64 pixels.
    Small,
    /// 7×7 convolution of stride 2 and 3×3 max-pooling of stride 2.
    Imagenet,
}

/// How the input is normalised: (x − mean) / std, x in 0..1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    rename_all = "lowercase",
    untagged,
    expecting = "expected measured, pretrained, cifar, imagenet, or a mean and a std of three numbers each"
)]
pub enum Normalisation {
    /// A named choice.
    Named(NamedNormalisation),
    /// Given numbers, red, green, blue.
    Fixed {
        /// Per-channel mean.
        mean: [f32; 3],
        /// Per-channel standard deviation.
        std: [f32; 3],
    },
}

/// Normalisations with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NamedNormalisation {
    /// Measured on the training split.
    Measured,
    /// What the backbone's pretrained weights were trained with.
    Pretrained,
    /// The authors' numbers for CIFAR: mean (0.4914, 0.4822, 0.4465), std (0.2023, 0.1994, 0.2010).
    Cifar,
    /// ImageNet's: mean (0.485, 0.456, 0.406), std (0.229, 0.224, 0.225).
    Imagenet,
}

impl Normalisation {
    /// Measured on the training split.
    pub const MEASURED: Self = Normalisation::Named(NamedNormalisation::Measured);
    /// The authors' numbers for CIFAR.
    pub const CIFAR: Self = Normalisation::Named(NamedNormalisation::Cifar);

    /// What the pretrained weights were trained with.
    pub const PRETRAINED: Self = Normalisation::Named(NamedNormalisation::Pretrained);

    /// Mean and standard deviation, red, green, blue; `None` where they are to be measured, or are
    /// a pretrained backbone's.
    pub fn numbers(self) -> Option<([f32; 3], [f32; 3])> {
        match self {
            Normalisation::Fixed { mean, std } => Some((mean, std)),
            Normalisation::Named(NamedNormalisation::Cifar) => {
                Some(([0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010]))
            }
            Normalisation::Named(NamedNormalisation::Imagenet) => {
                Some(([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
            }
            Normalisation::Named(NamedNormalisation::Measured | NamedNormalisation::Pretrained) => {
                None
            }
        }
    }
}

/// How the learning rate falls over a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// Half a cosine to 0, stepped before each epoch as the authors' code does: epoch e (from 0) of
    /// E trains at lr · (1 + cos(π (e+1)/E)) / 2.
    Cosine,
    /// The same half cosine, which would be at 0 one epoch after the last: lr · (1 + cos(π
    /// (e+1)/(E+1))) / 2. Of a few epochs none is lost.
    CosineNonzero,
    /// Divided by ten after each milestone.
    Step,
    /// Stays constant.
    Constant,
}

/// What convolutions and their gradients compute with in training. Weights, batch norm, sums and
/// the loss are float32 in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// float32 throughout.
    #[default]
    Float32,
    /// Factors rounded to TensorFloat-32 (8 bits of exponent, 10 of fraction), where a GPU has
    /// units for it.
    Tf32,
    /// Images and factors rounded to bfloat16 (8 bits of exponent, 7 of fraction), where a GPU has
    /// units for it.
    BFloat16,
}

impl Precision {
    /// Every precision, the most exact first.
    pub const ALL: [Precision; 3] = [Precision::Float32, Precision::Tf32, Precision::BFloat16];
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Precision::Float32 => "float32",
            Precision::Tf32 => "tf32",
            Precision::BFloat16 => "bfloat16",
        })
    }
}

/// Where stage 2's features come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FeatureSource {
    /// Computed once and kept.
    Cached,
    /// Recomputed every step from augmented images, batch-norm statistics moving.
    Network,
}
