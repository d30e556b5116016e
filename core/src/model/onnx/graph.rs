//! A feature extractor ready to run.

use std::sync::Arc;

use tract_onnx::prelude::*;

use super::backbone::OnnxBackbone;
use super::input::Input;
use super::output::take;
use crate::error::{ModelError, Result};
use crate::onnx::reason;
use crate::panics;
use crate::train::InputLayout;

/// A graph that gives features of one image at a time. It computes on one thread, so images are given to it side by side. What it computes of an image does
/// not depend on what is computed beside it.
#[derive(Debug)]
pub struct FeatureGraph {
    pub(super) path: std::path::PathBuf,
    pub(super) backbone: OnnxBackbone,
    pub(super) input: Input,
    pub(super) input_name: String,
    pub(super) side: usize,
    pub(super) output: String,
    pub(super) shape: Vec<usize>,
    pub(super) plan: Arc<TypedRunnableModel>,
}

impl FeatureGraph {
    /// What checkpoints call it.
    pub fn backbone(&self) -> OnnxBackbone {
        self.backbone
    }

    /// Side of the square input, in pixels.
    pub fn side(&self) -> usize {
        self.side
    }

    /// How the numbers of an image lie.
    pub fn layout(&self) -> InputLayout {
        self.input.layout
    }

    /// Whether the graph takes one image at a time and no more; what is made of it does, too.
    pub fn takes_one(&self) -> bool {
        self.input.one_by_one
    }

    /// The name of the graph's input.
    pub fn input(&self) -> &str {
        &self.input_name
    }

    /// The name of the value that features are taken of.
    pub fn output(&self) -> &str {
        &self.output
    }

    /// What features are, in a sentence.
    pub fn words(&self) -> String {
        format!(
            "features are {} of `{}` ({:?} for an image): {} numbers, at {side} × {side} pixels",
            self.backbone.taken.words(),
            crate::onnx::shown(&self.output),
            self.shape,
            self.backbone.features,
            side = self.side,
        )
    }

    /// The features of one normalised image, whose numbers lie in the graph's layout.
    ///
    /// # Shapes
    /// `3 * side * side` numbers to F.
    ///
    /// # Errors
    /// [`ModelError::File`] if the graph fails, or gives something that is no number.
    pub fn features(&self, image: &[f32]) -> Result<Vec<f32>> {
        panics::caught(|| self.run(image)).map_err(|reason| ModelError::file(&self.path, reason).into())
    }

    fn run(&self, image: &[f32]) -> Result<Vec<f32>, String> {
        let input = Tensor::from_shape(&self.input.shape(1, self.side), image).map_err(reason)?;
        let results = self.plan.run(tvec![input.into()]).map_err(reason)?;
        let result = results.first().ok_or("its output is missing")?;
        if result.shape() != self.shape {
            return Err(format!("its output has the shape {:?} and not {:?}", result.shape(), self.shape));
        }
        let values = result.to_plain_array_view::<f32>().map_err(reason)?;
        // Rows one after the other, however the runtime keeps them.
        let values: Vec<f32> = values.iter().copied().collect();
        let features = take(self.backbone.taken, self.backbone.features as usize, &values);
        match features.iter().all(|value| value.is_finite()) {
            true => Ok(features),
            false => Err("it gives features that are not finite numbers".into()),
        }
    }
}
