//! Running an exported model, by tract: a runtime that knows nothing of how the model was trained.

mod input;
mod inputs;
mod many;
mod native;
mod sort;
mod table;
#[cfg(test)]
mod tests;

pub use input::InputOptions;
pub use inputs::Inputs;
pub use many::EachFile;
pub use sort::{Placing, SORTED, Sorter, UNSURE, Undone, undo};
pub use table::{PredictionRow, PredictionTable};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use serde::Serialize;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::Factoid;
use tract_onnx::tract_hir::internal::DimLike;

use crate::error::{ModelError, Result};
use crate::onnx::{self, LOGITS, PROBABILITIES, labels, reason};
use crate::panics;
use input::{Input, Numbers, says_normalisation};
use native::Native;

/// Largest difference of logits that is rounding, relative to the largest logit (or to 1, if all
/// are smaller): of a file and the network it holds.
pub(crate) const TOLERANCE: f32 = 1e-3;
/// Images run at once.
const BATCH: usize = 32;
/// Sizes of batches that are remembered how to run.
const PLANS: usize = 4;

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
    model: InferenceModel,
    /// Images that are run at once, at most: one where the graph takes no more, and few where their
    /// values are many.
    at_once: usize,
    /// How the model is run on so many images at once, the last few that were asked for: the
    /// runtime is several times as fast where it knows the number.
    plans: Mutex<Vec<(usize, Arc<TypedRunnableModel>)>>,
    outputs: OutputPlaces,
    input: Input,
    classes: Vec<String>,
    has_names: bool,
    is_normalisation_known: bool,
    metadata: BTreeMap<String, String>,
    /// The network in the file, where it is one of ours: found when many images are classified.
    native: OnceLock<Option<Native>>,
}

/// Where the plan's outputs hold what is wanted.
#[derive(Clone, Copy, Debug)]
struct OutputPlaces {
    logits: Option<usize>,
    probabilities: Option<usize>,
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
        panics::caught(|| Self::read(path, options))
            .map_err(|reason| ModelError::file(path, reason).into())
    }

    /// Class names, in label order.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Whether the file names its classes; otherwise they are numbered.
    pub fn has_names(&self) -> bool {
        self.has_names
    }

    /// Which class, in label order, has this name.
    pub fn class_index(&self, name: &str) -> Option<usize> {
        self.classes.iter().position(|class| class == name)
    }

    /// Side of the square input, in pixels.
    pub fn input_size(&self) -> usize {
        self.input.side
    }

    /// Whether it is known how images are to be normalised; otherwise they go in as 0..1, which may
    /// be wrong.
    pub fn is_normalisation_known(&self) -> bool {
        self.is_normalisation_known
    }

    /// Whether our own kernels compute it: known once many files were classified.
    pub fn uses_own_kernels(&self) -> bool {
        self.native.get().is_some_and(Option::is_some)
    }

    /// The file's metadata, by key.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
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
        let run = || {
            let batches = images.chunks(self.at_once).map(|batch| self.run_batch(batch));
            batches
                .reduce(|all, batch| Ok(all?.and(batch?)))
                .unwrap_or_else(|| Ok(Outputs::default()))
        };
        panics::caught(run).map_err(|reason| ModelError::file(&self.path, reason).into())
    }

    /// The `k` most probable classes, most probable first; equally probable ones in label order.
    pub fn top_k(&self, probabilities: &[f32], k: usize) -> Vec<Prediction> {
        let mut order: Vec<usize> = (0..probabilities.len().min(self.classes.len())).collect();
        order.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
        let prediction = |&class: &usize| Prediction {
            class: self.classes[class].clone(),
            probability: probabilities[class],
        };
        order.iter().take(k).map(prediction).collect()
    }

    fn read(path: &Path, options: &InputOptions) -> Result<Self, String> {
        let file = onnx::parse(&onnx::read_bytes(path)?)?;
        let metadata = onnx::metadata(&file);
        let model = onnx::graph(&file)?;
        drop(file);
        let [input] = model.inputs[..] else {
            return Err(format!("it has {} inputs and not one", model.inputs.len()));
        };
        let fact = model.outlet_fact(input).map_err(reason)?;
        let input_form = Input::of(fact, &metadata, options)?;
        let most = match fact.shape.dim(0).and_then(|batch| batch.concretize()?.to_usize().ok()) {
            None => BATCH,
            Some(1) => 1,
            Some(images) => {
                return Err(format!(
                    "it takes {images} images at once; only one or any number can be run"
                ));
            }
        };
        let outputs = outputs(&model)?;
        let typed = onnx::typed(model.clone(), input_form.kind(), &input_form.shape(1))?;
        let classes = match outputs.logits.or(outputs.probabilities) {
            Some(output) => class_count(&typed, output)?,
            None => return Err("it has no output that could be the classes".into()),
        };
        let names = match &options.labels {
            Some(labels) if labels.len() != classes => {
                return Err(format!("it has {classes} classes and {} are named", labels.len()));
            }
            Some(labels) => Some(labels.clone()),
            None => class_names(&metadata, classes),
        };
        let has_names = names.is_some();
        let classes =
            names.unwrap_or_else(|| (0..classes).map(|class| format!("class {class}")).collect());
        let at_once = (onnx::MAX_VALUES / onnx::largest(&typed)?.max(1)).clamp(1, most);
        // What cannot be run is to be said now.
        let plans = Mutex::new(vec![(1, onnx::runnable(typed)?)]);
        Ok(Self {
            path: path.to_path_buf(),
            model,
            at_once,
            plans,
            outputs,
            input: input_form,
            is_normalisation_known: options.mean.is_some()
                || input_form.numbers == Numbers::Bytes
                || says_normalisation(&metadata),
            classes,
            has_names,
            metadata,
            native: OnceLock::new(),
        })
    }

    /// How the model is run on so many images.
    fn plan(&self, images: usize) -> Result<Arc<TypedRunnableModel>, String> {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, plan)) = plans.iter().find(|(size, _)| *size == images) {
            return Ok(Arc::clone(plan));
        }
        let plan = onnx::runnable(onnx::typed(
            self.model.clone(),
            self.input.kind(),
            &self.input.shape(images),
        )?)?;
        if plans.len() >= PLANS {
            plans.remove(0);
        }
        plans.push((images, Arc::clone(&plan)));
        Ok(plan)
    }

    fn run_batch(&self, images: &[Vec<u8>]) -> Result<Outputs, String> {
        let input = self.input.tensor(images)?;
        let results = self.plan(images.len())?.run(tvec![input.into()]).map_err(reason)?;
        let rows = |output: usize| -> Result<Vec<Vec<f32>>, String> {
            let result = results.get(output).ok_or("an output is missing")?;
            let result = result.cast_to::<f32>().map_err(reason)?;
            let values = result.to_plain_array_view::<f32>().map_err(reason)?;
            if values.len() != images.len() * self.classes.len() {
                return Err(format!("its output has the shape {:?}", values.shape()));
            }
            if !values.iter().all(|value| value.is_finite()) {
                return Err("it returned values that are not finite numbers".into());
            }
            let values: Vec<f32> = values.iter().copied().collect();
            Ok(values.chunks(self.classes.len()).map(<[f32]>::to_vec).collect())
        };
        let logits = self.outputs.logits.map(rows).transpose()?;
        let probabilities = match (self.outputs.probabilities, &logits) {
            (Some(output), _) => rows(output)?,
            (None, Some(logits)) => logits.iter().map(|row| softmax(row)).collect(),
            (None, None) => return Err("it has no output that could be the classes".into()),
        };
        Ok(Outputs { logits, probabilities })
    }
}

/// The softmax of a row of logits.
pub(crate) fn softmax(logits: &[f32]) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f32> = logits.iter().map(|logit| (logit - largest).exp()).collect();
    let sum: f32 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

/// Our exports name their outputs. A single output of another name is taken for logits, unless a
/// softmax computes it.
fn outputs(model: &InferenceModel) -> Result<OutputPlaces, String> {
    let outlets = model.output_outlets().map_err(reason)?;
    let named =
        |name: &str| outlets.iter().position(|&outlet| model.outlet_label(outlet) == Some(name));
    let (logits, probabilities) = (named(LOGITS), named(PROBABILITIES));
    if logits.is_some() || probabilities.is_some() {
        return Ok(OutputPlaces { logits, probabilities });
    }
    match outlets {
        [outlet] if model.node(outlet.node).op().name().contains("Softmax") => {
            Ok(OutputPlaces { logits: None, probabilities: Some(0) })
        }
        [_] => Ok(OutputPlaces { logits: Some(0), probabilities: None }),
        _ => Err(format!("it has {} outputs and none is called `{PROBABILITIES}`", outlets.len())),
    }
}

fn class_count(model: &TypedModel, output: usize) -> Result<usize, String> {
    let fact = model.output_fact(output).map_err(reason)?;
    match fact.shape.dims() {
        [_, classes, rest @ ..]
            if rest.iter().all(|dim| dim.is_one()) && fact.datum_type.is_float() =>
        {
            classes
                .to_usize()
                .map_err(|_| "its output does not fix the number of classes".to_string())
                .and_then(|classes| match classes {
                    0 => Err("it has no classes".into()),
                    _ => Ok(classes),
                })
        }
        _ => Err(format!("its output has the shape {:?} and not [batch, classes]", fact.shape)),
    }
}

/// Names from the metadata, if there are as many as the graph has classes.
fn class_names(metadata: &BTreeMap<String, String>, count: usize) -> Option<Vec<String>> {
    let json =
        metadata.get("class_names").and_then(|text| serde_json::from_str::<Vec<String>>(text).ok());
    let python = || metadata.get("names").and_then(|text| labels::from_python(text));
    json.filter(|names| names.len() == count)
        .or_else(|| python().filter(|names| names.len() == count))
}
