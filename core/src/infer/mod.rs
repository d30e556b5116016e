//! Running an exported model, by tract: a runtime that knows nothing of how the model was trained.

mod apart;
mod graph;
mod input;
mod inputs;
mod many;
mod native;
mod signature;
mod sort;
mod table;
#[cfg(test)]
mod tests;

pub use crate::isolated::isolate_by;
pub use input::InputOptions;
pub use inputs::Inputs;
pub use many::EachFile;
pub use sort::{Placing, SORTED, Sorter, UNSURE, Undone, undo};
pub use table::{PredictionRow, PredictionTable};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde::Serialize;

use crate::error::{ModelError, Result};
use crate::images::InputShape;
use crate::{isolated, model, onnx, panics};
use apart::Isolated;
use graph::{About, Graph};
use native::Native;

/// What is said of a file that does not say how images are normalised, wherever its answers are shown.
pub const UNKNOWN_NORMALISATION: &str = "the file does not say how images are normalised, so they go in as RGB in 0..1; if it was trained otherwise, \
     its answers are wrong: say it with --mean and --std (ImageNet's: 0.485,0.456,0.406 and 0.229,0.224,0.225)";

/// Largest difference of logits that is rounding, relative to the largest logit (or to 1, if all
/// are smaller): of a file and the network it holds.
pub(crate) const TOLERANCE: f32 = 1e-3;
/// Images run at once.
const BATCH: usize = 32;

/// An exported classifier, ready to run.
///
/// It is run by tract. Where many files are classified and it is one that this program wrote, our own
/// kernels compute it, once both were found to give the same.
///
/// ```no_run
/// use std::path::Path;
/// use counterweight_core::infer::OnnxClassifier;
///
/// # fn main() -> counterweight_core::Result<()> {
/// let classifier = OnnxClassifier::load(Path::new("model.onnx"))?;
/// let side = classifier.input_size();
/// let probabilities = classifier.classify(&[vec![128; 3 * side * side]])?;
/// for prediction in classifier.top_k(&probabilities[0], 3) {
///     println!("{} {:.1} %", prediction.class, 100.0 * prediction.probability);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct OnnxClassifier {
    path: PathBuf,
    about: About,
    engine: Engine,
    /// The network in the file, where it is one of ours: found when many images are classified.
    native: OnceLock<Option<Native>>,
}

/// What runs the graph.
#[derive(Debug)]
enum Engine {
    /// This process.
    Here(Box<Graph>),
    /// One of its own.
    Isolated(Isolated),
}

/// What a model says about a batch of images. One row an image, one value a class.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outputs {
    /// Scores before the softmax, if the model gives them.
    pub logits: Option<Vec<Vec<f32>>>,
    /// Probabilities.
    pub probabilities: Vec<Vec<f32>>,
}

impl Outputs {
    /// These images' rows followed by those of others.
    fn and(mut self, others: Self) -> Self {
        if let (Some(logits), Some(more)) = (&mut self.logits, others.logits) {
            logits.extend(more);
        }
        self.probabilities.extend(others.probabilities);
        self
    }
}

/// A class and how probable a model finds it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Prediction {
    /// The class name.
    pub class: String,
    /// Its probability, in 0..1.
    pub probability: f32,
}

impl OnnxClassifier {
    /// Reads a model that `export` wrote, or any other image classifier with the same kind of
    /// input. Class names come from the metadata (`class_names`, or Ultralytics' `names`); without
    /// them classes are numbered.
    ///
    /// # Errors
    /// [`ModelError::File`] with the reason, for files that cannot be read, are damaged, or hold
    /// something else than a classifier of square RGB images. Never panics.
    pub fn load(path: &Path) -> Result<Self> {
        Self::load_with(path, &InputOptions::default())
    }

    /// [`Self::load`] of a file that does not say all that is to be known of it.
    ///
    /// # Errors
    /// As there, and if what `options` say does not fit the file.
    pub fn load_with(path: &Path, options: &InputOptions) -> Result<Self> {
        let read = || {
            let (graph, about) = Graph::read(&onnx::read_bytes(path)?, options)?;
            Ok((Engine::Here(Box::new(graph)), about))
        };
        Self::of(path, panics::caught(read))
    }

    /// [`Self::load_with`] for files from anywhere: the graph is read and run in a process of its
    /// own, with bounded memory and without access to files, where [`isolate_by`] has said how to
    /// start one. Whatever a file does to the runtime, this process goes on.
    ///
    /// # Errors
    /// As there, and if the process cannot be started, ends or takes too long.
    pub fn open(path: &Path, options: &InputOptions) -> Result<Self> {
        match isolated::is_possible() {
            false => Self::load_with(path, options),
            true => {
                let opened = Isolated::open(path, options);
                Self::of(path, opened.map(|(isolated, about)| (Engine::Isolated(isolated), about)))
            }
        }
    }

    fn of(path: &Path, opened: Result<(Engine, About), String>) -> Result<Self> {
        let (engine, about) = opened.map_err(|reason| ModelError::file(path, reason))?;
        Ok(Self { path: path.to_path_buf(), about, engine, native: OnceLock::new() })
    }

    /// Class names, in label order.
    pub fn classes(&self) -> &[String] {
        &self.about.classes
    }

    /// Whether the file names its classes; otherwise they are numbered.
    pub fn has_names(&self) -> bool {
        self.about.has_names
    }

    /// Which class, in label order, has this name.
    pub fn class_index(&self, name: &str) -> Option<usize> {
        self.about.classes.iter().position(|class| class == name)
    }

    /// Side of the square input, in pixels.
    pub fn input_size(&self) -> usize {
        self.about.side
    }

    /// The input, and how images become it: as the file was opened with or says, or else their largest
    /// centred squares do.
    pub fn input_shape(&self) -> InputShape {
        InputShape { side: self.about.side, fit: self.about.fit }
    }

    /// Whether it is known how images are to be normalised; otherwise they go in as 0..1, which may
    /// be wrong.
    pub fn is_normalisation_known(&self) -> bool {
        self.about.is_normalisation_known
    }

    /// Whether our own kernels compute it: known once many files were classified.
    pub fn uses_own_kernels(&self) -> bool {
        self.native.get().is_some_and(Option::is_some)
    }

    /// What the file says that its logits are divided by before the softmax; 1 if it says nothing.
    pub fn temperature(&self) -> f32 {
        onnx::temperature(&self.about.metadata)
    }

    /// The file's metadata, by key.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.about.metadata
    }

    /// Probabilities for images as [`crate::images::to_input`] makes them: `[3, side, side]`, RGB
    /// bytes.
    ///
    /// # Shapes
    /// Returns one row an image, one probability a class.
    ///
    /// # Errors
    /// [`ModelError::File`] if an image has another size or the model fails or returns something
    /// that is no probability.
    pub fn classify(&self, images: &[Vec<u8>]) -> Result<Vec<Vec<f32>>> {
        let mut probabilities = Vec::with_capacity(images.len());
        for batch in images.chunks(BATCH) {
            probabilities.extend(self.run(batch)?.probabilities);
        }
        Ok(probabilities)
    }

    /// Logits and probabilities of one batch; otherwise as [`Self::classify`].
    ///
    /// # Errors
    /// As [`Self::classify`].
    pub fn run(&self, images: &[Vec<u8>]) -> Result<Outputs> {
        if images.is_empty() {
            return Ok(Outputs::default());
        }
        let run = || match &self.engine {
            Engine::Here(graph) => graph.run(images),
            Engine::Isolated(isolated) => isolated.run(images, self.about.classes.len()),
        };
        panics::caught(run).map_err(|reason| ModelError::file(&self.path, reason).into())
    }

    /// The `k` most probable classes, most probable first; equally probable ones in label order.
    pub fn top_k(&self, probabilities: &[f32], k: usize) -> Vec<Prediction> {
        let mut order: Vec<usize> =
            (0..probabilities.len().min(self.about.classes.len())).collect();
        order.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
        let prediction = |&class: &usize| Prediction {
            class: self.about.classes[class].clone(),
            probability: probabilities[class],
        };
        order.iter().take(k).map(prediction).collect()
    }
}

/// Runs one model for the process that started this one, through standard input and output, until
/// the input ends. See [`isolate_by`].
///
/// # Errors
/// If what arrives is no message, or nobody reads the answers.
pub fn serve() -> std::io::Result<()> {
    isolated::serve(|kind, bytes, options| match kind {
        apart::CLASSIFIER => {
            let options = serde_json::from_value(options).map_err(|error| error.to_string())?;
            let (about, answered) = apart::answered(bytes, &options)?;
            Ok((serde_json::to_value(about).map_err(|error| error.to_string())?, answered))
        }
        _ => model::try_backbone(kind, bytes, options),
    })
}

/// The softmax of a row of logits divided by a temperature.
pub(crate) fn softmax(logits: &[f32], temperature: f32) -> Vec<f32> {
    let divided = || logits.iter().map(|logit| logit / temperature);
    let largest = divided().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f32> = divided().map(|logit| (logit - largest).exp()).collect();
    let sum: f32 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}
