//! How a feature extractor wants its input normalised: what the settings say, or else the file, or
//! else what lies beside it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tract_onnx::pb::ModelProto;

use crate::words::Normalisation;

/// What Hugging Face's tools write beside a network.
const CONFIG: &str = "preprocessor_config.json";
/// Larger than any such file.
const MAX_CONFIG: u64 = 1 << 20;

/// What is known of the images that a network takes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Preparation {
    /// Mean, of channels in 0..1.
    pub mean: [f32; 3],
    /// Standard deviation.
    pub std: [f32; 3],
    /// Where that is said.
    pub source: String,
    /// The side that images are meant to have, where something says so.
    pub side: Option<usize>,
}

/// Finds it out for the file at `path`.
///
/// # Errors
/// A sentence that says what to set, if nothing tells the normalisation, or what tells it is not
/// usable.
pub(super) fn preparation(
    path: &Path,
    file: &ModelProto,
    metadata: &BTreeMap<String, String>,
    setting: Normalisation,
) -> Result<Preparation, String> {
    let beside = Config::beside(path)?;
    let stated: Option<[usize; 2]> = ["input_size", "imgsz"]
        .iter()
        .find_map(|key| serde_json::from_str(metadata.get(*key)?).ok());
    let side = stated.filter(|[height, width]| height == width).map(|[side, _]| side);
    let side = side.or_else(|| beside.as_ref().and_then(|(_, config)| config.side()));
    let found = |(mean, std): ([f32; 3], [f32; 3]), source: String| {
        let usable = mean.iter().all(|mean| mean.is_finite())
            && std.iter().all(|std| std.is_finite() && *std > 0.0);
        match usable {
            true => Ok(Preparation { mean, std, source: source.clone(), side }),
            false => Err(format!(
                "the normalisation that {source} states is not usable: mean {mean:?}, standard deviation {std:?}"
            )),
        }
    };
    if let Some(numbers) = setting.numbers() {
        return found(numbers, "the settings".into());
    }
    // Those that normalise inside their graph.
    let is_ultralytics = metadata.get("author").is_some_and(|author| author == "Ultralytics");
    if file.producer_name == PRODUCER || is_ultralytics {
        return found(([0.0; 3], [1.0; 3]), "the file, which takes 0..1".into());
    }
    let numbers = |key: &str| serde_json::from_str::<[f32; 3]>(metadata.get(key)?).ok();
    if let (Some(mean), Some(std)) = (numbers("mean"), numbers("std")) {
        // Numbers for channels in 0..255.
        let scale = if std.iter().any(|std| *std > 2.0) { 255.0 } else { 1.0 };
        return found(
            (mean.map(|mean| mean / scale), std.map(|std| std / scale)),
            "the file".into(),
        );
    }
    if let Some((path, config)) = beside {
        return found(config.numbers()?, path.display().to_string());
    }
    Err(format!(
        "nothing says how its input is normalised (its metadata, or a {CONFIG} beside it); say it by --set model.normalisation=imagenet, or in numbers: \
         --set 'model.normalisation={{ mean = [0.5, 0.5, 0.5], std = [0.5, 0.5, 0.5] }}'"
    ))
}

/// The producer's name in files of this program, which normalise images themselves.
pub(super) const PRODUCER: &str = "counterweight";

/// What is wanted of such a file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Config {
    do_normalize: Option<bool>,
    image_mean: Option<Vec<f32>>,
    image_std: Option<Vec<f32>>,
    do_rescale: Option<bool>,
    rescale_factor: Option<f32>,
    do_center_crop: Option<bool>,
    crop_size: Option<Size>,
    size: Option<Size>,
}

/// A size, in the ways that it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Size {
    Side(usize),
    Sides { height: usize, width: usize },
    Shortest { shortest_edge: usize },
    Other {},
}

impl Size {
    fn side(&self) -> Option<usize> {
        match self {
            Size::Side(side) | Size::Shortest { shortest_edge: side } => Some(*side),
            Size::Sides { height, width } => (height == width).then_some(*height),
            Size::Other {} => None,
        }
    }
}

impl Config {
    /// The one beside the file, or beside the folder `onnx` that the file lies in.
    fn beside(path: &Path) -> Result<Option<(PathBuf, Self)>, String> {
        let folder = path.parent().unwrap_or(Path::new(""));
        let above = folder.file_name().filter(|name| *name == "onnx").and(folder.parent());
        for path in [Some(folder), above].into_iter().flatten().map(|folder| folder.join(CONFIG)) {
            match std::fs::metadata(&path) {
                Ok(facts) if facts.is_file() && facts.len() <= MAX_CONFIG => {}
                _ => continue,
            }
            let unusable = |error: &dyn std::fmt::Display| {
                format!("{} beside it cannot be used: {error}", path.display())
            };
            let text = std::fs::read_to_string(&path).map_err(|error| unusable(&error))?;
            let config = serde_json::from_str(&text).map_err(|error| unusable(&error))?;
            return Ok(Some((path, config)));
        }
        Ok(None)
    }

    fn side(&self) -> Option<usize> {
        let cropped = self.crop_size.as_ref().filter(|_| self.do_center_crop != Some(false));
        cropped.or(self.size.as_ref()).and_then(Size::side)
    }

    /// Mean and standard deviation for channels in 0..1: it states them for what has been
    /// multiplied by its factor.
    fn numbers(&self) -> Result<([f32; 3], [f32; 3]), String> {
        let three = |values: &Option<Vec<f32>>| {
            values.as_ref().and_then(|values| <[f32; 3]>::try_from(values.as_slice()).ok())
        };
        let (mean, std) = match (self.do_normalize, three(&self.image_mean), three(&self.image_std))
        {
            (Some(false), _, _) => ([0.0; 3], [1.0; 3]),
            (_, Some(mean), Some(std)) => (mean, std),
            _ => {
                return Err(format!(
                    "the {CONFIG} beside it does not say mean and standard deviation of three channels"
                ));
            }
        };
        let factor = if self.do_rescale == Some(false) {
            1.0
        } else {
            self.rescale_factor.unwrap_or(1.0 / 255.0)
        };
        let scale = 255.0 * factor;
        // As it is written where nothing is to be changed.
        let scaled = |values: [f32; 3]| {
            if (scale - 1.0).abs() < 1e-3 { values } else { values.map(|value| value / scale) }
        };
        Ok((scaled(mean), scaled(std)))
    }
}
