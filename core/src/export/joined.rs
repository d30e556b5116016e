//! A feature extractor out of a file and the classifier behind it, as one file.
//!
//! What the file holds stays unchanged; around it are nodes that every operator set has in the same
//! form: normalisation and the order of axes in front, what is taken of the features and the
//! classifier behind.

use std::collections::{HashMap, HashSet};

use onnx_ir::{GraphProto, ModelProto, TensorProto};
use protobuf::Message;
use rayon::prelude::*;

use super::Reference;
use super::graph::{FEATURES, classify};
use super::metadata::{Facts, describe};
use super::nodes::{Told, initializer, push, whole_number};
use super::variants::Variant;
use crate::classifier::Classifier;
use crate::error::Result;
use crate::images::InputShape;
use crate::model::{
    CLASSIFIER_BIAS, CLASSIFIER_WEIGHT, FeatureGraph, InputLayout, NamedTensor, NetworkConfig,
    Normaliser, OnnxFile, Taken,
};
use crate::onnx::INPUT;
use crate::onnx::remove_unused;
use crate::words::ImageFit;

/// Operator sets that files can be of. Older ones have a different `Gemm`; of newer ones it is not
/// known what they mean.
const OPSETS: std::ops::RangeInclusive<i64> = 7..=25;
/// The oldest version of the format in which a weight needs not be an input, too.
const LEAST_IR: i64 = 8;
/// What stands before every name of the file, so that none is one of ours.
const PREFIX: &str = "backbone/";

/// What is exported.
#[derive(Debug)]
pub struct JoinedSource<'a> {
    /// The file.
    pub file: &'a OnnxFile,
    /// What of it computes the features.
    pub graph: FeatureGraph,
    /// The classifier of features as the graph gives them.
    pub classifier: Classifier,
    /// The name of the file, for people.
    pub name: String,
    /// What the checkpoint was made from.
    pub config: NetworkConfig,
    /// Mean of the input's normalisation, RGB in 0..1.
    pub mean: [f32; 3],
    /// Standard deviation of the input's normalisation, RGB in 0..1.
    pub std: [f32; 3],
    /// How images become the square input.
    pub fit: ImageFit,
    /// What the logits are divided by for the probabilities; nothing for theirs alone.
    pub temperature: Option<f32>,
    /// Class names, in label order.
    pub classes: Vec<String>,
    /// What the file should say about its training, by key of its metadata. Null is left out, and
    /// what is no text becomes JSON.
    pub says: Vec<(&'static str, serde_json::Value)>,
}

impl Reference for JoinedSource<'_> {
    fn logits(&self, images: &[Vec<u8>]) -> Result<Vec<Vec<f32>>> {
        let normaliser = Normaliser::new(self.mean, self.std);
        let logits = |image: &Vec<u8>| -> Result<Vec<f32>> {
            let mut values = vec![0.0; image.len()];
            normaliser.fill(image, self.graph.side(), self.graph.layout(), &mut values);
            self.classifier.logits(&self.graph.features(&values)?)
        };
        images.par_iter().map(logits).collect()
    }
}

/// The ONNX file with the input of `variant`.
pub(super) fn build(source: &JoinedSource<'_>, variant: Variant) -> Result<ModelProto, String> {
    let backbone = source.graph.backbone();
    let mut model =
        ModelProto::parse_from_bytes(source.file.bytes()).map_err(|error| error.to_string())?;
    let own =
        model.opset_import.iter().find(|import| ["", "ai.onnx"].contains(&import.domain.as_str()));
    let opset = own.map(|import| import.version).ok_or("the file does not say its operator set")?;
    if !OPSETS.contains(&opset) {
        return Err(format!(
            "the file is of operator set {opset}; those from {} to {} can be exported",
            OPSETS.start(),
            OPSETS.end()
        ));
    }
    model.opset_import.retain(|import| ["", "ai.onnx"].contains(&import.domain.as_str()));
    model.opset_import.truncate(1);
    model.ir_version = model.ir_version.max(LEAST_IR);
    model.training_info.clear();
    let graph = model.graph.as_mut().ok_or("there is no graph in the file")?;
    let node = graph
        .node
        .get(backbone.node as usize)
        .and_then(|node| node.output.get(usize::from(backbone.slot)));
    let value =
        format!("{PREFIX}{}", node.ok_or("the file has no such value as its checkpoint names")?);
    prefix(graph);
    take_constants_directly(graph);
    // Only what the features depend on is kept.
    graph.output.truncate(1);
    graph.output.first_mut().ok_or("the file has no output")?.name.clone_from(&value);
    remove_unused(graph);

    let behind = std::mem::take(&mut graph.node);
    prepare(graph, source, &format!("{PREFIX}{}", source.graph.input()));
    graph.node.extend(behind);
    take(graph, backbone.taken, &value);
    let Classifier { classes, features, weight, bias } = &source.classifier;
    let tensors = [
        (CLASSIFIER_WEIGHT, vec![*classes, *features], weight),
        (CLASSIFIER_BIAS, vec![*classes], bias),
    ];
    graph.initializer.extend(tensors.map(|(name, shape, values)| {
        initializer(&NamedTensor { name: name.into(), shape, values: values.clone() })
    }));
    classify(graph, source.temperature);
    let shape = InputShape { side: source.graph.side(), fit: source.fit };
    variant.input_form().put_in_front(graph, shape, opset)?;
    model.metadata_props.clear();
    let facts = Facts {
        architecture: source.name.clone(),
        side: source.graph.side(),
        takes_one: source.graph.takes_one() || variant == Variant::Batch1,
        variant,
        mean: source.mean,
        std: source.std,
        fit: source.fit,
        classes: &source.classes,
        says: &source.says,
        temperature: source.temperature,
    };
    describe(&mut model, &facts)?;
    Ok(model)
}

/// Has operations take constants themselves where they took copies of them, which onnx2torch does not
/// find.
fn take_constants_directly(graph: &mut GraphProto) {
    let constants: HashSet<&str> =
        graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    let mut copies: HashMap<String, String> = HashMap::new();
    for node in graph.node.iter().filter(|node| node.op_type == "Identity") {
        if let ([from], [to]) = (&node.input[..], &node.output[..]) {
            let from = copies.get(from).unwrap_or(from);
            if constants.contains(from.as_str()) {
                copies.insert(to.clone(), from.clone());
            }
        }
    }
    for input in graph.node.iter_mut().flat_map(|node| &mut node.input) {
        if let Some(constant) = copies.get(input) {
            input.clone_from(constant);
        }
    }
}

/// Puts a prefix before every name, and gives every node one.
fn prefix(graph: &mut GraphProto) {
    let named = |name: &mut String| {
        if !name.is_empty() {
            name.insert_str(0, PREFIX);
        }
    };
    for (index, node) in graph.node.iter_mut().enumerate() {
        node.name = format!("{PREFIX}{}_{index}", node.op_type.to_lowercase());
        node.input.iter_mut().chain(&mut node.output).for_each(named);
    }
    graph.initializer.iter_mut().for_each(|tensor: &mut TensorProto| named(&mut tensor.name));
    graph.quantization_annotation.clear();
}

/// From the images to what the graph takes: (x − mean) / std, and channels last where it wants them
/// so.
fn prepare(graph: &mut GraphProto, source: &JoinedSource<'_>, input: &str) {
    let (mean, std) = (source.mean, source.std);
    let mut steps: Vec<(&str, Option<&str>)> = Vec::new();
    for (op, name, values, idle) in [("Sub", "mean", mean, 0.0), ("Div", "std", std, 1.0)] {
        if values != [idle; 3] {
            steps.push((op, Some(name)));
            graph.initializer.push(initializer(&NamedTensor {
                name: name.into(),
                shape: vec![1, 3, 1, 1],
                values: values.to_vec(),
            }));
        }
    }
    if source.graph.layout() == InputLayout::ChannelsLast {
        steps.push(("Transpose", None));
    }
    if steps.is_empty() {
        steps.push(("Identity", None));
    }
    let last = steps.len() - 1;
    let mut from = INPUT.to_string();
    for (index, (op, constant)) in steps.into_iter().enumerate() {
        let to = if index == last { input.to_string() } else { format!("prepared_{index}") };
        let inputs: Vec<&str> = [from.as_str()].into_iter().chain(constant).collect();
        match op {
            "Transpose" => push(graph, op, &inputs, &to, Told::List("perm", &[0, 2, 3, 1])),
            _ => push(graph, op, &inputs, &to, Told::Nothing),
        }
        from = to;
    }
}

/// From what the graph gives to `features`, `[batch, F]`.
fn take(graph: &mut GraphProto, taken: Taken, value: &str) {
    match taken {
        Taken::Vector => push(graph, "Identity", &[value], FEATURES, Told::Nothing),
        Taken::Pixels => {
            push(graph, "GlobalAveragePool", &[value], "pooled", Told::Nothing);
            push(graph, "Flatten", &["pooled"], FEATURES, Told::Number("axis", 1));
        }
        Taken::PixelsLast => {
            push(graph, "Transpose", &[value], "channels_first", Told::List("perm", &[0, 3, 1, 2]));
            push(graph, "GlobalAveragePool", &["channels_first"], "pooled", Told::Nothing);
            push(graph, "Flatten", &["pooled"], FEATURES, Told::Number("axis", 1));
        }
        Taken::ClassToken => {
            graph.initializer.push(whole_number("first_token", 0));
            push(graph, "Gather", &[value, "first_token"], FEATURES, Told::Number("axis", 1));
        }
        Taken::TokenMean => {
            // Tokens as pixels: what reduces along an axis is said in one way before operator set
            // 18 and in another since.
            push(graph, "Transpose", &[value], "tokens_last", Told::List("perm", &[0, 2, 1]));
            push(graph, "GlobalAveragePool", &["tokens_last"], "pooled", Told::Nothing);
            push(graph, "Flatten", &["pooled"], FEATURES, Told::Number("axis", 1));
        }
    }
}

#[cfg(test)]
#[path = "joined_tests.rs"]
mod tests;
