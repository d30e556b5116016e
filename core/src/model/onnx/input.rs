//! What a feature extractor takes.

use std::ops::RangeInclusive;

use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::Factoid;
use tract_onnx::tract_hir::internal::DimLike;

use crate::model::InputLayout;

/// Sides of the square input that feature extractors are given, in pixels.
pub(crate) const SIDES: RangeInclusive<usize> = 8..=1024;

/// The input of a graph: one batch of images, float32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Input {
    /// How the numbers of an image lie.
    pub layout: InputLayout,
    /// The side that the graph fixes, if it does.
    pub side: Option<usize>,
    /// Whether the graph takes one image at a time and no more.
    pub one_by_one: bool,
}

impl Input {
    /// Of a graph.
    ///
    /// # Errors
    /// A sentence, if it takes anything else than square RGB images.
    pub fn of(model: &InferenceModel) -> Result<Self, String> {
        let [input] = model.inputs[..] else {
            return Err(format!(
                "it has {} inputs; a feature extractor takes images and nothing else",
                model.inputs.len()
            ));
        };
        let fact = model.outlet_fact(input).map_err(crate::onnx::reason)?;
        if fact.datum_type.concretize().is_some_and(|kind| kind != f32::datum_type()) {
            return Err("its input is not float32".into());
        }
        let dims: Vec<Option<usize>> =
            fact.shape.dims().map(|dim| dim.concretize()?.to_usize().ok()).collect();
        let [batch, first, second, last] = dims[..] else {
            return Err(format!(
                "its input has {} axes and not [batch, 3, height, width] or [batch, height, width, 3]",
                dims.len()
            ));
        };
        let (layout, channels, sides) = match (first, last) {
            (first, Some(3)) if first != Some(3) => {
                (InputLayout::ChannelsLast, last, [first, second])
            }
            _ => (InputLayout::ChannelsFirst, first, [second, last]),
        };
        if channels.is_some_and(|channels| channels != 3) {
            return Err("its input does not have three channels".into());
        }
        let side = match sides {
            [Some(height), Some(width)] if height != width => {
                return Err(format!(
                    "its input is {height} × {width} pixels; only squares can be used"
                ));
            }
            [height, width] => height.or(width),
        };
        if let Some(side) = side.filter(|side| !SIDES.contains(side)) {
            return Err(format!(
                "its input is {side} pixels wide; sides of {} to {} can be used",
                SIDES.start(),
                SIDES.end()
            ));
        }
        match batch {
            None => Ok(Self { layout, side, one_by_one: false }),
            Some(1) => Ok(Self { layout, side, one_by_one: true }),
            Some(images) => {
                Err(format!("it takes {images} images at once; only one or any number can be used"))
            }
        }
    }

    /// The shape of a batch.
    pub fn shape(&self, images: usize, side: usize) -> [usize; 4] {
        match self.layout {
            InputLayout::ChannelsFirst => [images, 3, side, side],
            InputLayout::ChannelsLast => [images, side, side, 3],
        }
    }
}
