//! What a classifier wants as its input.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::Factoid;
use tract_onnx::tract_hir::internal::DimLike;

use crate::model::InputLayout;
use crate::onnx::reason;
use crate::words::ImageFit;

/// Sides of the square input that are believed.
const SIDES: std::ops::RangeInclusive<usize> = 1..=4096;

/// What a file does not say of itself, or says wrongly. What is `None` is taken from the file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InputOptions {
    /// What is subtracted from red, green and blue in 0..1.
    pub mean: Option<[f32; 3]>,
    /// What they are divided by afterwards.
    pub std: Option<[f32; 3]>,
    /// Side of the square input in pixels, where the graph leaves it open.
    pub side: Option<usize>,
    /// What of an image that is not square goes in.
    #[serde(default)]
    pub fit: Option<ImageFit>,
    /// Class names, in the order of the outputs.
    pub labels: Option<Vec<String>>,
}

/// How numbers go in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Numbers {
    /// Float32, and for graphs on float16, which are computed in it, too.
    Float32,
    /// Bytes in 0..255; the graph does the rest.
    Bytes,
}

/// The form of an input.
#[derive(Clone, Copy, Debug)]
pub(super) struct Input {
    pub side: usize,
    pub layout: InputLayout,
    pub numbers: Numbers,
    mean: [f32; 3],
    std: [f32; 3],
}

impl Input {
    /// The form of a graph's input: by itself, and where it leaves something open, by the metadata
    /// or the options.
    ///
    /// # Errors
    /// A sentence, if it takes no square RGB images.
    pub fn of(
        fact: &InferenceFact,
        metadata: &BTreeMap<String, String>,
        options: &InputOptions,
    ) -> Result<Self, String> {
        let numbers = match fact.datum_type.concretize() {
            None => Numbers::Float32,
            Some(kind) if kind == f32::datum_type() => Numbers::Float32,
            Some(kind) if kind == u8::datum_type() => Numbers::Bytes,
            Some(kind) => {
                return Err(format!(
                    "its input is of the type {kind:?}; images go in as float32, float16 or bytes"
                ));
            }
        };
        let dims: Vec<Option<usize>> = fact
            .shape
            .dims()
            .map(|dim| dim.concretize().and_then(|dim| dim.to_usize().ok()))
            .collect();
        let [_, first, second, third] = dims[..] else {
            return Err(format!(
                "its input has {} axes and not [batch, 3, height, width]",
                dims.len()
            ));
        };
        let (layout, height, width) = match (first, third) {
            (Some(3), _) => (InputLayout::ChannelsFirst, second, third),
            (_, Some(3)) => (InputLayout::ChannelsLast, first, second),
            (None, _) => (InputLayout::ChannelsFirst, second, third),
            (Some(channels), _) => {
                return Err(format!("its input does not have three channels but {channels}"));
            }
        };
        let stated: Option<[usize; 2]> = ["input_size", "imgsz"]
            .iter()
            .find_map(|key| serde_json::from_str(metadata.get(*key)?).ok());
        let wanted = options.side.map(|side| [side; 2]).or(stated);
        let wanted = wanted.map_or([None; 2], |size| size.map(Some));
        let side = match [height.or(wanted[0]), width.or(wanted[1])] {
            [Some(height), Some(width)] if height == width && SIDES.contains(&height) => height,
            [Some(height), Some(width)] => {
                return Err(format!(
                    "its input is {height} × {width} pixels; only squares up to {} are run",
                    SIDES.end()
                ));
            }
            _ => {
                return Err(
                    "neither its graph nor its metadata say how large its input is; --size says it"
                        .into(),
                );
            }
        };
        if let Some(other) = options.side.filter(|other| *other != side) {
            return Err(format!("its input is {side} pixels wide and not {other}"));
        }
        let (mean, std) = (options.mean.unwrap_or([0.0; 3]), options.std.unwrap_or([1.0; 3]));
        if !mean.iter().chain(&std).all(|value| value.is_finite())
            || std.iter().any(|std| *std <= 0.0)
        {
            return Err(format!("mean {mean:?} and standard deviation {std:?} are not usable"));
        }
        if numbers == Numbers::Bytes && (options.mean.is_some() || options.std.is_some()) {
            return Err("it takes bytes and normalises them itself".into());
        }
        Ok(Self { side, layout, numbers, mean, std })
    }

    /// The shape of `images` images.
    pub fn shape(&self, images: usize) -> [usize; 4] {
        match self.layout {
            InputLayout::ChannelsFirst => [images, 3, self.side, self.side],
            InputLayout::ChannelsLast => [images, self.side, self.side, 3],
        }
    }

    /// The type of its numbers.
    pub fn kind(&self) -> DatumType {
        match self.numbers {
            Numbers::Float32 => f32::datum_type(),
            Numbers::Bytes => u8::datum_type(),
        }
    }

    /// Images as [`crate::images::to_input`] makes them, `[3, side, side]` bytes each, as the graph
    /// wants them.
    ///
    /// # Errors
    /// A sentence, if an image has another size.
    pub fn tensor(&self, images: &[Vec<u8>]) -> Result<Tensor, String> {
        let pixels = self.side * self.side;
        if let Some(image) = images.iter().find(|image| image.len() != 3 * pixels) {
            return Err(format!(
                "its input has {} values and an image has {}",
                3 * pixels,
                image.len()
            ));
        }
        let ordered = |image: &Vec<u8>| -> Vec<(usize, u8)> {
            match self.layout {
                InputLayout::ChannelsFirst => {
                    image.iter().enumerate().map(|(at, byte)| (at / pixels, *byte)).collect()
                }
                InputLayout::ChannelsLast => {
                    (0..3 * pixels).map(|at| (at % 3, image[at % 3 * pixels + at / 3])).collect()
                }
            }
        };
        let normalised = |(channel, byte): (usize, u8)| {
            (f32::from(byte) / 255.0 - self.mean[channel]) / self.std[channel]
        };
        let shape = self.shape(images.len());
        let all = images.iter().flat_map(ordered);
        match self.numbers {
            Numbers::Float32 => {
                Tensor::from_shape(&shape, &all.map(normalised).collect::<Vec<_>>())
            }
            Numbers::Bytes => {
                Tensor::from_shape(&shape, &all.map(|(_, byte)| byte).collect::<Vec<_>>())
            }
        }
        .map_err(reason)
    }
}

/// Whether a file says how images are to be normalised: ours do, and Ultralytics' are always fed
/// 0..1.
pub(super) fn says_normalisation(metadata: &BTreeMap<String, String>) -> bool {
    ["preprocess", "resize", "stride"].iter().any(|key| metadata.contains_key(*key))
}
