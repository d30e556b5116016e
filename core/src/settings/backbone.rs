//! The network that turns images into features: one of ours, or one out of a file.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::{Backbone, ONNX_SIDES};

/// What stands before the path of a file.
const ONNX: &str = "onnx:";

/// A backbone by its name, or the ONNX file of a feature extractor that is used without training
/// it. In text: `resnet32`, `onnx:models/dinov2.onnx`.
///
/// ```
/// use counterweight_core::settings::{Backbone, BackboneChoice};
/// let choice: BackboneChoice = "onnx:my models/vit.onnx".parse().unwrap();
/// assert_eq!((choice.to_string().as_str(), choice.name().as_str()), ("onnx:my models/vit.onnx", "vit.onnx"));
/// assert_eq!("resnet32".parse(), Ok(BackboneChoice::Named(Backbone::ResNet32)));
/// assert!("onnx:".parse::<BackboneChoice>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackboneChoice {
    /// One of the program's.
    Named(Backbone),
    /// A file. It is read when a run is made, which keeps a copy of it.
    Onnx(PathBuf),
}

impl BackboneChoice {
    /// The backbone, if it is one of the program's.
    pub fn named(&self) -> Option<Backbone> {
        match self {
            BackboneChoice::Named(backbone) => Some(*backbone),
            BackboneChoice::Onnx(_) => None,
        }
    }

    /// The file, if it comes out of one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            BackboneChoice::Named(_) => None,
            BackboneChoice::Onnx(path) => Some(path),
        }
    }

    /// What people are shown: the backbone's name, or the file's.
    pub fn name(&self) -> String {
        match self {
            BackboneChoice::Named(backbone) => backbone.name().to_string(),
            BackboneChoice::Onnx(path) => {
                path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
            }
        }
    }

    /// Sides of the square input that it takes, in pixels; those of a file are known when it is
    /// read.
    pub fn sides(&self) -> RangeInclusive<usize> {
        self.named().map_or(ONNX_SIDES, |backbone| backbone.info().sides)
    }

    /// Whether it can learn.
    pub fn trains(&self) -> bool {
        self.named().is_some_and(|backbone| backbone.info().trains)
    }
}

impl From<Backbone> for BackboneChoice {
    fn from(backbone: Backbone) -> Self {
        BackboneChoice::Named(backbone)
    }
}

impl PartialEq<Backbone> for BackboneChoice {
    fn eq(&self, other: &Backbone) -> bool {
        self.named() == Some(*other)
    }
}

impl fmt::Display for BackboneChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BackboneChoice::Named(backbone) => backbone.fmt(f),
            BackboneChoice::Onnx(path) => write!(f, "{ONNX}{}", path.display()),
        }
    }
}

impl FromStr for BackboneChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix(ONNX) {
            Some("") => Err(format!("`{ONNX}` names no file; it is {ONNX}FILE")),
            Some(path) => Ok(BackboneChoice::Onnx(path.into())),
            None => text
                .parse()
                .map(BackboneChoice::Named)
                .map_err(|error: String| format!("{error}, and {ONNX}FILE")),
        }
    }
}

impl Serialize for BackboneChoice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BackboneChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{
        Auto, NamedNormalisation, Normalisation, Preset, Settings, Tokens, Training,
    };

    #[test]
    fn a_file_is_a_setting_like_any_other() {
        let mut settings = Settings::preset(Preset::Auto);
        for path in ["onnx:/models/a b # c.onnx", "onnx:C:\\x\\\"y\".onnx", "onnx:ёлка.onnx"] {
            settings.set("backbone", path).unwrap();
            assert_eq!(settings.text("model.backbone").unwrap(), path);
            settings
                .set_all([("model.output", "/encoder/last"), ("model.tokens", "mean")])
                .unwrap();
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("settings.toml");
            std::fs::write(&file, settings.to_toml()).unwrap();
            assert_eq!(Settings::load(&file).unwrap(), settings);
        }
        assert_eq!(
            (settings.model.output.as_str(), settings.model.tokens),
            ("/encoder/last", Tokens::Mean)
        );
        settings.set("model.output", "").unwrap();
        assert_eq!(settings.text("model.output").unwrap(), "");
        // Numbers can be names.
        settings.set("model.output", "1234").unwrap();
        assert_eq!(settings.model.output, "1234");
    }

    #[test]
    fn a_file_is_used_as_it_is() {
        let mut settings = Settings::preset(Preset::Auto);
        settings.set("model.backbone", "onnx:a.onnx").unwrap();
        for (key, value, right) in [
            ("stage1.train", "classifier", true),
            ("stage1.train", "all", false),
            ("stage1.train", "scratch", false),
            ("model.normalisation", "imagenet", true),
            ("model.normalisation", "{ mean = [0.5, 0.5, 0.5], std = [0.5, 0.5, 0.5] }", true),
            ("model.normalisation", "measured", false),
            ("model.input_size", "1024", true),
            ("model.input_size", "1025", false),
        ] {
            let found = settings.clone().set(key, value);
            assert_eq!(found.is_ok(), right, "{key} = {value}: {found:?}");
        }
        settings.model.normalisation = Normalisation::Named(NamedNormalisation::Imagenet);
        settings.model.backbone = Backbone::BUILT_IN.into();
        settings.stage1.train = Auto::Value(Training::Classifier);
        assert!(settings.validate().is_err(), "our own weights know their normalisation");
    }

    #[test]
    fn files_of_older_versions_open() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("settings.toml");
        let text = Settings::preset(Preset::Quick).to_toml();
        let old: String = text
            .lines()
            .filter(|line| !line.starts_with("output =") && !line.starts_with("tokens ="))
            .flat_map(|line| [line, "\n"])
            .collect();
        assert!(old.len() < text.len());
        std::fs::write(&file, old).unwrap();
        assert_eq!(Settings::load(&file).unwrap(), Settings::preset(Preset::Quick));
    }
}
