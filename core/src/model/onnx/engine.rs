//! What runs a feature extractor: tract, or onnxruntime where the user has a library of it.

use std::sync::Arc;

use tract_onnx::prelude::*;

use crate::onnx::reason;

/// Runs a graph for one image at a time, on as many threads as call it.
#[derive(Clone, Debug)]
pub(super) enum Engine {
    /// The program's own.
    Tract(Arc<TypedRunnableModel>),
    /// The user's.
    #[cfg(feature = "onnxruntime")]
    OnnxRuntime(Arc<super::runtime::Sessions>),
}

impl Engine {
    /// For the value of this name of a file, of which `typed` is all that it depends on:
    /// onnxruntime where the environment names a library, else tract.
    ///
    /// # Errors
    /// A sentence, if the graph cannot be run, or the library cannot be used.
    pub fn new(bytes: &[u8], value: &str, input: &str, typed: TypedModel) -> Result<Self, String> {
        #[cfg(feature = "onnxruntime")]
        if let Some(sessions) = super::runtime::Sessions::new(bytes, value, input)? {
            return Ok(Self::OnnxRuntime(Arc::new(sessions)));
        }
        let _ = (bytes, value, input);
        Ok(Self::Tract(crate::onnx::runnable(typed)?))
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Tract(_) => "tract",
            #[cfg(feature = "onnxruntime")]
            Self::OnnxRuntime(_) => "onnxruntime",
        }
    }

    /// What the graph gives for an input of a shape: its shape and its values, rows one after the
    /// other.
    ///
    /// # Errors
    /// A sentence, if it fails.
    pub fn run(&self, shape: [usize; 4], image: &[f32]) -> Result<(Vec<usize>, Vec<f32>), String> {
        match self {
            Self::Tract(plan) => {
                let results = plan
                    .run(tvec![Tensor::from_shape(&shape, image).map_err(reason)?.into()])
                    .map_err(reason)?;
                let result = results.first().ok_or("its output is missing")?;
                let values = result.to_plain_array_view::<f32>().map_err(reason)?;
                Ok((result.shape().to_vec(), values.iter().copied().collect()))
            }
            #[cfg(feature = "onnxruntime")]
            Self::OnnxRuntime(sessions) => sessions.run(shape, image),
        }
    }
}
