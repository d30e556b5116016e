//! The forms that an exported graph is written in: one for each kind of program that runs it.

mod half;
mod input;
mod quantise;
mod ranges;
mod resize;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub(super) use half::to_half;
pub(super) use input::{Axis, InputForm};
pub(super) use quantise::to_int8;

/// A form of the exported graph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// Float32 in 0..1, channels first, any number of images.
    #[default]
    Float32,
    /// Bytes, channels first.
    Uint8Nchw,
    /// Bytes, channels last.
    Uint8Nhwc,
    /// Bytes of images of any size, which the graph crops and resizes.
    AnySize,
    /// [`Variant::Float32`], one image at a time.
    #[serde(rename = "batch-1")]
    Batch1,
    /// Weights and arithmetic in float16.
    Float16,
    /// Weights and arithmetic in 8 bits.
    Int8,
    /// [`Variant::Float32`] with the temperature that makes probabilities fit in the classifier, so
    /// that it is in the logits, too.
    Calibrated,
}

impl Variant {
    /// Every form, the usual one first.
    pub const ALL: [Self; 8] = [
        Self::Float32,
        Self::Uint8Nchw,
        Self::Uint8Nhwc,
        Self::AnySize,
        Self::Batch1,
        Self::Float16,
        Self::Int8,
        Self::Calibrated,
    ];

    /// Its name in commands, metadata and file names.
    pub fn name(self) -> &'static str {
        self.facts().0
    }

    /// What it is for, in a few words.
    pub fn purpose(self) -> &'static str {
        self.facts().1
    }

    /// The form of this name.
    ///
    /// ```
    /// use counterweight_core::export::Variant;
    /// assert_eq!(Variant::named("int8"), Some(Variant::Int8));
    /// assert_eq!(Variant::named("int4"), None);
    /// ```
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|variant| variant.name() == name)
    }

    /// What its file is called in a bundle.
    pub fn file_name(self) -> String {
        match self {
            Self::Float32 => "model.onnx".into(),
            other => format!("model-{}.onnx", other.name()),
        }
    }

    /// Whether it computes the same numbers as the network, but for rounding in float32. The others
    /// are measured by class before they are kept.
    pub fn is_exact(self) -> bool {
        !matches!(self, Self::Float16 | Self::Int8)
    }

    fn facts(self) -> (&'static str, &'static str) {
        match self {
            Self::Float32 => ("float32", "the model: images in, probabilities out"),
            Self::Uint8Nchw => ("uint8-nchw", "the same for bytes 0..255, channels first"),
            Self::Uint8Nhwc => {
                ("uint8-nhwc", "the same for bytes 0..255 as image libraries give them")
            }
            Self::AnySize => {
                ("any-size", "the same for bytes of images of any size: crops and resizes itself")
            }
            Self::Batch1 => (
                "batch-1",
                "the same for one image at a time: for converters that want fixed sizes",
            ),
            Self::Float16 => ("float16", "half the size, for GPUs and phones"),
            Self::Int8 => ("int8", "a quarter of the size, for processors and small devices"),
            Self::Calibrated => {
                ("calibrated", "the same with logits that are as sure as its probabilities")
            }
        }
    }

    pub(super) fn input_form(self) -> InputForm {
        match self {
            Self::Float32 | Self::Float16 | Self::Int8 | Self::Calibrated => InputForm::Floats,
            Self::Uint8Nchw => InputForm::BytesFirst,
            Self::Uint8Nhwc => InputForm::BytesLast,
            Self::AnySize => InputForm::AnySize,
            Self::Batch1 => InputForm::OneImage,
        }
    }
}
