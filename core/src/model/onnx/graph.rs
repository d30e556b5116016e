//! A feature extractor ready to run.

use super::backbone::OnnxBackbone;
use super::engine::Engine;
use super::input::Input;
use super::output::take;
use crate::error::{ModelError, Result};
use crate::model::InputLayout;
use crate::panics;

/// A graph that gives features of one image at a time. It computes on one thread, so images are
/// given to it side by side. What it computes of an image does not depend on what is computed
/// beside it.
#[derive(Debug)]
pub struct FeatureGraph {
    pub(super) path: std::path::PathBuf,
    pub(super) backbone: OnnxBackbone,
    pub(super) input: Input,
    pub(super) input_name: String,
    pub(super) side: usize,
    pub(super) output: String,
    pub(super) shape: Vec<usize>,
    pub(super) engine: Engine,
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

    /// What runs it: `tract`, or `onnxruntime` where the environment variable `ORT_DYLIB_PATH`
    /// names a library of that.
    pub fn engine(&self) -> &'static str {
        self.engine.name()
    }

    /// What features are, in a sentence.
    pub fn words(&self) -> String {
        format!(
            "features are {} of `{}` ({:?} for an image): {} numbers, at {side} × {side} pixels, by {}",
            self.backbone.taken.words(),
            crate::onnx::shown(&self.output),
            self.shape,
            self.backbone.features,
            self.engine(),
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
        panics::caught(|| self.run(image))
            .map_err(|reason| ModelError::file(&self.path, reason).into())
    }

    /// Runs the graph for some image, whatever comes of it.
    ///
    /// # Errors
    /// A sentence, if it fails.
    pub(super) fn run_once(&self) -> Result<(), String> {
        // Not all alike, and in the range of normalised images.
        let image: Vec<f32> =
            (0..3 * self.side * self.side).map(|at| (at % 251) as f32 / 125.0 - 1.0).collect();
        self.engine.run(self.input.shape(1, self.side), &image).map(drop)
    }

    fn run(&self, image: &[f32]) -> Result<Vec<f32>, String> {
        let (shape, values) = self.engine.run(self.input.shape(1, self.side), image)?;
        if shape != self.shape {
            return Err(format!("its output has the shape {shape:?} and not {:?}", self.shape));
        }
        let features = take(self.backbone.taken, self.backbone.features as usize, &values);
        match features.iter().all(|value| value.is_finite()) {
            true => Ok(features),
            false => Err("it gives features that are not finite numbers".into()),
        }
    }
}
