//! A classifier's graph, run by tract in this process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::Factoid;
use tract_onnx::tract_hir::internal::DimLike;

use super::input::{Input, InputOptions, Numbers, says_normalisation};
use super::{BATCH, Outputs, softmax};
use crate::onnx::{self, LOGITS, PROBABILITIES, labels, reason};
use crate::words::ImageFit;

/// Sizes of batches that are remembered how to run.
const PLANS: usize = 4;

/// What is known of a classifier without running it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct About {
    /// Class names, in label order.
    pub classes: Vec<String>,
    /// Whether the file names them.
    pub has_names: bool,
    /// Side of the square input, in pixels.
    pub side: usize,
    /// What of an image that is not square goes into it.
    pub fit: ImageFit,
    /// Whether it is known how images are to be normalised.
    pub is_normalisation_known: bool,
    /// The file's metadata, by key.
    pub metadata: BTreeMap<String, String>,
}

/// A graph and how it is run.
#[derive(Debug)]
pub(super) struct Graph {
    model: InferenceModel,
    /// Images that are run at once, at most: one where the graph takes no more, and few where their
    /// values are many.
    at_once: usize,
    /// How the model is run on so many images at once, the last few that were asked for: the
    /// runtime is several times as fast where it knows the number.
    plans: Mutex<Vec<(usize, Arc<TypedRunnableModel>)>>,
    outputs: OutputPlaces,
    input: Input,
    classes: usize,
    /// What logits are divided by before the softmax, where the graph gives nothing but them.
    temperature: f32,
}

/// Where the plan's outputs hold what is wanted.
#[derive(Clone, Copy, Debug)]
struct OutputPlaces {
    logits: Option<usize>,
    probabilities: Option<usize>,
}

impl Graph {
    /// The graph in a file's bytes.
    ///
    /// # Errors
    /// A sentence, if it is damaged or no classifier of square RGB images. May panic where the
    /// runtime does.
    pub fn read(bytes: &[u8], options: &InputOptions) -> Result<(Self, About), String> {
        let file = onnx::parse(bytes)?;
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
        let numbered = || (0..classes).map(|class| format!("class {class}")).collect();
        let at_once = (onnx::MAX_VALUES / onnx::largest(&typed)?.max(1)).clamp(1, most);
        // What cannot be run is to be said now.
        let plans = Mutex::new(vec![(1, onnx::runnable(typed)?)]);
        let about = About {
            classes: names.unwrap_or_else(numbered),
            has_names,
            side: input_form.side,
            fit: options.fit.unwrap_or_else(|| onnx::fit::of(&metadata)),
            is_normalisation_known: options.mean.is_some()
                || input_form.numbers == Numbers::Bytes
                || says_normalisation(&metadata),
            metadata,
        };
        let temperature = onnx::temperature(&about.metadata);
        Ok((
            Self { model, at_once, plans, outputs, input: input_form, classes, temperature },
            about,
        ))
    }

    /// Logits and probabilities of images as [`crate::images::to_input`] makes them.
    ///
    /// # Errors
    /// A sentence, if they cannot be computed. May panic where the runtime does.
    pub fn run(&self, images: &[Vec<u8>]) -> Result<Outputs, String> {
        let batches = images.chunks(self.at_once).map(|batch| self.run_batch(batch));
        batches.reduce(|all, batch| Ok(all?.and(batch?))).unwrap_or_else(|| Ok(Outputs::default()))
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
            if values.len() != images.len() * self.classes {
                return Err(format!("its output has the shape {:?}", values.shape()));
            }
            if !values.iter().all(|value| value.is_finite()) {
                return Err("it returned values that are not finite numbers".into());
            }
            let values: Vec<f32> = values.iter().copied().collect();
            Ok(values.chunks(self.classes).map(<[f32]>::to_vec).collect())
        };
        let logits = self.outputs.logits.map(rows).transpose()?;
        let probabilities = match (self.outputs.probabilities, &logits) {
            (Some(output), _) => rows(output)?,
            (None, Some(logits)) => {
                logits.iter().map(|row| softmax(row, self.temperature)).collect()
            }
            (None, None) => return Err("it has no output that could be the classes".into()),
        };
        Ok(Outputs { logits, probabilities })
    }
}

/// Operations that hand on the numbers they get.
const HANDED_ON: [&str; 8] =
    ["Cast", "Identity", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "RmAxis", "AddAxis"];

/// What computes an output, past operations that only hand it on.
fn computed_by(model: &InferenceModel, output: OutletId) -> String {
    let mut node = model.node(output.node);
    // No file is so long a chain that this would take time, and none is a circle.
    while let Some(input) = node.inputs.first()
        && HANDED_ON.iter().any(|name| node.op().name().contains(name))
    {
        node = model.node(input.node);
    }
    node.op().name().into_owned()
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
        [outlet] => {
            let operation = computed_by(model, *outlet);
            match operation.as_str() {
                // A logarithm of probabilities has the softmax of the logits.
                name if name.contains("LogSoftmax") => {
                    Ok(OutputPlaces { logits: Some(0), probabilities: None })
                }
                name if name.contains("Softmax") => {
                    Ok(OutputPlaces { logits: None, probabilities: Some(0) })
                }
                name if name.contains("Sigmoid") => Err("its output is a sigmoid, one answer a class that has nothing to do with the others'; a classifier has one answer of several classes, by a softmax".into()),
                _ => Ok(OutputPlaces { logits: Some(0), probabilities: None }),
            }
        }
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
                    1 => Err("it has one output, and a classifier has one for each of two classes or more".into()),
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
