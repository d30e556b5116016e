//! From a network to the bytes of an ONNX file.

use std::collections::HashMap;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use burn_onnx::export::{AxisSpec, InputSpec, OnnxExporter};
use onnx_ir::{GraphProto, ModelProto, TensorProto};
use protobuf::Message;

use super::clip::clip;
use super::fold::fold_batch_norm;
use super::metadata::{BATCH, Facts, describe};
use super::nodes::{Told, float_tensor, initializer, push, tell};
use super::runtimes::{lower_opset, say_what_they_want};
use super::variants::Variant;
use super::{ExportSource, Reference};
use crate::error::ModelError;
use crate::images::InputShape;
use crate::model::{
    CLASSIFIER_BIAS, CLASSIFIER_WEIGHT, Mode, NamedTensor, Network, Prepared, is_of_classifier,
    load_weights, parameter_name,
};
use crate::onnx::{INPUT, LOGITS, PROBABILITIES, TEMPERATURE, remove_unused};

/// The value between backbone and classifier, `[batch, features]`.
pub(super) const FEATURES: &str = "features";
/// The logits divided by the temperature.
const CALIBRATED: &str = "calibrated_logits";
/// Under which name [`Normalized`] holds the network; taken off again so that weights keep their
/// names.
const NETWORK_PREFIX: &str = "network.";

/// A network with its normalisation in front.
#[derive(Module, Debug)]
pub(super) struct Normalized {
    /// `[1, 3, 1, 1]`.
    mean: Param<Tensor<4>>,
    /// `[1, 3, 1, 1]`.
    std: Param<Tensor<4>>,
    network: Network,
}

impl Normalized {
    /// A copy on the CPU that shares nothing with the source, not even running statistics:
    /// capturing a module moves those of every module it shares them with.
    pub fn copy(source: &ExportSource, weights: Vec<NamedTensor>) -> Result<Self, String> {
        let device = Device::flex();
        let network = load_weights(Network::blank(&source.config, &device), weights)?;
        let channel = |values: [f32; 3]| {
            Param::from_tensor(Tensor::<1>::from_floats(values, &device).reshape([1, 3, 1, 1]))
        };
        Ok(Self { mean: channel(source.mean), std: channel(source.std), network })
    }

    /// With the network ready to compute many images of this side.
    pub fn prepared(self, side: usize) -> PreparedReference {
        PreparedReference { prepared: Prepared::new(self.network.clone()), normalized: self, side }
    }

    fn normalised(&self, images: Tensor<4>) -> Tensor<4> {
        (images - self.mean.val()) / self.std.val()
    }

    /// RGB in 0..1, `[batch, 3, side, side]`, to features `[batch, features]`.
    fn features(&self, images: Tensor<4>) -> Tensor<2> {
        self.network.features(self.normalised(images), Mode::Evaluate)
    }
}

/// A network in float32 on the CPU, to compare a file with.
pub(super) struct PreparedReference {
    normalized: Normalized,
    prepared: Prepared,
    side: usize,
}

impl Reference for PreparedReference {
    fn logits(&self, images: &[Vec<u8>]) -> crate::error::Result<Vec<Vec<f32>>> {
        let values: Vec<f32> =
            images.iter().flatten().map(|&byte| f32::from(byte) / 255.0).collect();
        let input = Tensor::<4>::from_data(
            TensorData::new(values, [images.len(), 3, self.side, self.side]),
            &Device::flex(),
        );
        let features = self.prepared.features(self.normalized.normalised(input));
        let output = self.normalized.network.classify(features);
        let classes = output.dims()[1];
        let values = output
            .into_data()
            .try_into_vec::<f32>()
            .map_err(|e| ModelError::Export(format!("{e:?}")))?;
        Ok(values.chunks(classes).map(<[f32]>::to_vec).collect())
    }
}

/// The ONNX file with the input of `variant`.
pub(super) fn build(
    source: &ExportSource,
    weights: Vec<NamedTensor>,
    variant: Variant,
) -> Result<ModelProto, String> {
    let classifier: Vec<NamedTensor> =
        weights.iter().filter(|tensor| is_of_classifier(&tensor.name)).cloned().collect();
    let module = Normalized::copy(source, weights)?;
    let side = source.config.input_size;
    let device = Device::flex();
    let sample = |batch: usize| Tensor::<4>::zeros([batch, 3, side, side], &device);
    let specs = [InputSpec::new([
        AxisSpec::dynamic(BATCH),
        AxisSpec::Static,
        AxisSpec::Static,
        AxisSpec::Static,
    ])];
    let captured = OnnxExporter::new()
        .export_dynamic(&module, sample(2), sample(5), &specs, Normalized::features)
        .map_err(|e| e.to_string())?;
    let mut model = ModelProto::parse_from_bytes(captured.as_bytes()).map_err(|e| e.to_string())?;
    finish(&mut model, source, &classifier, variant)?;
    Ok(model)
}

/// Adds what the exporter leaves out: names, the classifier (it cannot write a transposed weight),
/// the softmax, metadata; and takes out what runtimes stumble over.
fn finish(
    model: &mut ModelProto,
    source: &ExportSource,
    classifier: &[NamedTensor],
    variant: Variant,
) -> Result<(), String> {
    let opset = model.opset_import.first().map_or(0, |opset| opset.version);
    let graph = model.graph.as_mut().ok_or("the captured model has no graph")?;
    flatten(graph);
    clip(graph);
    remove_unused(graph);
    rename(graph)?;
    fold_batch_norm(graph)?;
    graph.initializer.extend(classifier.iter().map(initializer));
    classify(graph, source.temperature);
    say_what_they_want(graph);
    let shape = InputShape { side: source.config.input_size, fit: source.fit };
    variant.input_form().put_in_front(graph, shape, opset)?;
    describe(model, &Facts::of(source, variant))?;
    // The statistics that were folded away, now that the graph's outputs have their names.
    remove_unused(model.graph.mut_or_insert_default());
    lower_opset(model);
    Ok(())
}

/// The classifier behind the features, and probabilities that are as sure as they should be.
pub(super) fn classify(graph: &mut GraphProto, temperature: Option<f32>) {
    let inputs = [FEATURES, CLASSIFIER_WEIGHT, CLASSIFIER_BIAS];
    push(graph, "Gemm", &inputs, LOGITS, Told::Number("transB", 1));
    let scores = match temperature {
        None => LOGITS,
        Some(temperature) => {
            graph.initializer.push(float_tensor(TEMPERATURE, &[1, 1], &[temperature]));
            push(graph, "Div", &[LOGITS, TEMPERATURE], CALIBRATED, Told::Nothing);
            CALIBRATED
        }
    };
    push(graph, "Softmax", &[scores], PROBABILITIES, Told::Number("axis", 1));
}

/// Where a graph ends in a reshape, the exporter computes the shape of the features at run time, by
/// three more operations; flattening the pooled values says the same.
fn flatten(graph: &mut GraphProto) {
    let Some(reshape) = graph.node.last_mut().filter(|node| node.op_type == "Reshape") else {
        return;
    };
    reshape.op_type = "Flatten".into();
    reshape.input.truncate(1);
    tell(reshape, Told::Number("axis", 1));
}

/// Gives the boundaries their names, weights those of the checkpoint, and values names that do not
/// depend on what else the process has done, so that the same network gives the same bytes.
fn rename(graph: &mut GraphProto) -> Result<(), String> {
    let [input] = &graph.input[..] else {
        return Err("the captured graph has no single input".into());
    };
    let [output] = &graph.output[..] else {
        return Err("the captured graph has no single output".into());
    };
    let mut names = HashMap::from([
        (input.name.clone(), INPUT.to_string()),
        (output.name.clone(), FEATURES.to_string()),
    ]);
    for tensor in &graph.initializer {
        if let Some(name) = tensor.name.strip_prefix(NETWORK_PREFIX) {
            names.insert(tensor.name.clone(), parameter_name(name.split('.')));
        }
    }
    for (index, node) in graph.node.iter_mut().enumerate() {
        node.name = format!("{}_{index}", node.op_type.to_lowercase());
        for output in &node.output {
            names.entry(output.clone()).or_insert_with(|| format!("{}_out", node.name));
        }
    }
    let unnamed = graph
        .initializer
        .iter()
        .filter(|tensor| tensor.name.starts_with("tensor_"))
        .map(|tensor| tensor.name.clone());
    for (index, name) in unnamed.enumerate() {
        names.entry(name).or_insert_with(|| format!("constant_{index}"));
    }
    let renamed = |name: &mut String| {
        if let Some(new) = names.get(name) {
            name.clone_from(new);
        }
    };
    graph
        .node
        .iter_mut()
        .for_each(|node| node.input.iter_mut().chain(&mut node.output).for_each(renamed));
    graph.initializer.iter_mut().for_each(|tensor: &mut TensorProto| renamed(&mut tensor.name));
    Ok(())
}
