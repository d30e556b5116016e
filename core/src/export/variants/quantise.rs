//! 8-bit integers: weights per output channel, values per tensor, written as `QuantizeLinear` and
//! `DequantizeLinear` around the operations that runtimes then compute on integers.
//!
//! The classifier stays in float32: it is a small part of the work, and what was balanced.

use std::collections::{HashMap, HashSet};

use onnx_ir::{GraphProto, ModelProto, NodeProto, TensorProto};

use super::super::nodes::{FLOAT, INT8, INT32, Told, UINT8, float_tensor, floats, node, tensor};
use super::ranges::{Scale, scales};

/// The first operator set with scales per channel.
const LEAST_OPSET: i64 = 13;
/// The largest weight in steps.
const LARGEST: f32 = 127.0;
/// The largest bias in steps, with room in 32 bits for the sum it is added to.
const LARGEST_BIAS: f32 = (1 << 30) as f32;

/// Has convolutions, products with weights, sums and averages computed in 8 bits, with scales
/// measured on `images`, `[3, side, side]` bytes each.
///
/// # Errors
/// A sentence, if the graph is too old, has nothing that could be computed so, or cannot be run.
pub(in crate::export) fn to_int8(
    model: &mut ModelProto,
    images: &[Vec<u8>],
    side: usize,
) -> Result<(), String> {
    let opset = model.opset_import.iter().map(|opset| opset.version).max().unwrap_or_default();
    if opset < LEAST_OPSET {
        return Err(format!(
            "8 bits per channel need operator set {LEAST_OPSET} or newer, and the file that its features come out of has {opset}"
        ));
    }
    let constants: HashMap<String, TensorProto> =
        model.graph.initializer.iter().map(|held| (held.name.clone(), held.clone())).collect();
    let wanted: Vec<String> =
        model.graph.node.iter().flat_map(|node| values_of(node, &constants)).cloned().collect();
    let mut met = HashSet::new();
    let values: Vec<String> = wanted.into_iter().filter(|name| met.insert(name.clone())).collect();
    let found = scales(model, &values, images, side)?;
    // Sums of sizes are none of values.
    let scales: HashMap<String, Scale> =
        values.into_iter().zip(found).filter_map(|(name, scale)| Some((name, scale?))).collect();

    let graph = model.graph.mut_or_insert_default();
    let mut written =
        Written { scales, constants, nodes: Vec::new(), tensors: Vec::new(), products: 0 };
    for input in &graph.input {
        written.bytes_of(&input.name);
    }
    for node in std::mem::take(&mut graph.node) {
        written.push(node);
    }
    if written.products == 0 {
        return Err("there is nothing in it that could be computed in 8 bits".into());
    }
    graph.node = written.nodes;
    graph.initializer.extend(written.tensors);
    leave_out_relus(graph, &written.scales);
    Ok(())
}

/// Leaves out the ReLU of a sum where nothing but bytes is made of it of which the least stands for 0:
/// these cut off what is negative as well, and OpenCV 5 cannot run the two one after the other.
fn leave_out_relus(graph: &mut GraphProto, scales: &HashMap<String, Scale>) {
    let mut sums = HashSet::new();
    let mut read: HashSet<&String> = graph.output.iter().map(|output| &output.name).collect();
    for node in &graph.node {
        match node.op_type.as_str() {
            "Add" => sums.extend(&node.output),
            "QuantizeLinear" => {}
            _ => read.extend(&node.input),
        }
    }
    let is_cut = |value: &String| {
        scales.get(value).is_some_and(|scale| scale.zero == 0) && !read.contains(value)
    };
    let mut sum_of = HashMap::new();
    for node in graph.node.iter().filter(|node| node.op_type == "Relu") {
        if let ([sum], [value]) = (&node.input[..], &node.output[..])
            && sums.contains(sum)
            && is_cut(value)
        {
            sum_of.insert(value.clone(), sum.clone());
        }
    }
    graph.node.retain(|node| !node.output.iter().any(|output| sum_of.contains_key(output)));
    for input in graph.node.iter_mut().flat_map(|node| &mut node.input) {
        if let Some(sum) = sum_of.get(input) {
            input.clone_from(sum);
        }
    }
}

/// The inputs of a node that become bytes, where it has a form on integers.
fn values_of<'a>(node: &'a NodeProto, constants: &HashMap<String, TensorProto>) -> Vec<&'a String> {
    let weight = || node.input.get(1).and_then(|name| constants.get(name));
    match (node.op_type.as_str(), &node.input[..]) {
        ("Conv", [value, ..]) if weight().is_some_and(|held| held.data_type == FLOAT) => {
            vec![value]
        }
        ("MatMul", [value, _])
            if weight().is_some_and(|held| held.data_type == FLOAT && held.dims.len() == 2) =>
        {
            vec![value]
        }
        ("Add", [one, other]) if !constants.contains_key(one) && !constants.contains_key(other) => {
            vec![one, other]
        }
        ("AveragePool" | "GlobalAveragePool", [value]) => vec![value],
        _ => Vec::new(),
    }
}

/// The graph as far as it is written.
struct Written {
    scales: HashMap<String, Scale>,
    constants: HashMap<String, TensorProto>,
    nodes: Vec<NodeProto>,
    tensors: Vec<TensorProto>,
    products: usize,
}

impl Written {
    fn push(&mut self, mut node: NodeProto) {
        let values: Vec<String> = values_of(&node, &self.constants).into_iter().cloned().collect();
        if !values.is_empty() && values.iter().all(|value| self.scales.contains_key(value)) {
            if ["Conv", "MatMul"].contains(&node.op_type.as_str()) {
                self.weigh(&mut node);
            }
            for input in node.input.iter_mut().filter(|input| values.contains(input)) {
                *input = back(input);
            }
        }
        let outputs = node.output.clone();
        self.nodes.push(node);
        outputs.iter().for_each(|output| self.bytes_of(output));
    }

    /// Writes a value to bytes and back, if it has a scale.
    fn bytes_of(&mut self, value: &str) {
        let Some(&Scale { scale, zero }) = self.scales.get(value) else { return };
        let [scale_name, zero_name, bytes] =
            ["scale", "zero", "bytes"].map(|what| format!("{value}_{what}"));
        self.tensors.extend([
            float_tensor(&scale_name, &[], &[scale]),
            tensor(&zero_name, UINT8, &[], vec![zero]),
        ]);
        let to_bytes = [value, &scale_name, &zero_name];
        let from_bytes = [bytes.as_str(), &scale_name, &zero_name];
        self.nodes.extend([
            node("QuantizeLinear", &to_bytes, &bytes, Told::Nothing),
            node("DequantizeLinear", &from_bytes, &back(value), Told::Nothing),
        ]);
    }

    /// Puts a product's weight into 8 bits, and a convolution's bias into 32: in steps of its value
    /// times those of its weight, so that it can be added to their sum.
    fn weigh(&mut self, product: &mut NodeProto) {
        let is_conv = product.op_type == "Conv";
        let weight = self.constants[&product.input[1]].clone();
        let shape: Vec<usize> = weight.dims.iter().map(|&length| length as usize).collect();
        // Which axis is that of the outputs.
        let axis = usize::from(!is_conv);
        let inner: usize = shape[axis + 1..].iter().product();
        let channel_of = |index: usize| index / inner % shape[axis];
        let values = floats(&weight);
        let bias = product.input.get(2).and_then(|name| self.constants.get(name)).cloned();
        let bias_values = bias.as_ref().filter(|_| is_conv).map(floats);
        let step = self.scales[&product.input[0]].scale;
        let mut steps = vec![0.0f32; shape[axis]];
        for (index, value) in values.iter().enumerate() {
            let largest = &mut steps[channel_of(index)];
            *largest = largest.max(value.abs() / LARGEST);
        }
        for (channel, weight_step) in steps.iter_mut().enumerate() {
            let bias = bias_values.as_ref().map_or(0.0, |bias| bias[channel].abs());
            *weight_step =
                weight_step.max(bias / (step * LARGEST_BIAS)).max(f32::MIN_POSITIVE * 1e6);
        }
        let whole = |(index, value): (usize, &f32)| {
            (value / steps[channel_of(index)]).round().clamp(-LARGEST, LARGEST) as i8 as u8
        };
        let bytes: Vec<u8> = values.iter().enumerate().map(whole).collect();
        let name = product.input[1].clone();
        product.input[1] = self.constant(&name, tensor("", INT8, &shape, bytes), &steps, axis);
        let (Some(bias), Some(values)) = (bias, bias_values) else { return };
        let steps: Vec<f32> = steps.iter().map(|weight_step| weight_step * step).collect();
        let whole = |(value, step): (&f32, &f32)| ((value / step).round() as i32).to_le_bytes();
        let bytes = values.iter().zip(&steps).flat_map(whole).collect();
        let held = tensor("", INT32, &[values.len()], bytes);
        product.input[2] = self.constant(&bias.name, held, &steps, 0);
    }

    /// Writes a constant on integers, and the name of what it stands for.
    fn constant(
        &mut self,
        name: &str,
        mut held: TensorProto,
        steps: &[f32],
        axis: usize,
    ) -> String {
        self.products += usize::from(held.data_type == INT8);
        // A weight may be used twice, by values with other scales.
        let name = format!("{name}_{}", self.tensors.len());
        let scale = format!("{name}_scale");
        held.name = format!("{name}_integers");
        let inputs = [held.name.clone(), scale.clone()];
        self.nodes.push(node(
            "DequantizeLinear",
            &inputs.each_ref().map(String::as_str),
            &back(&name),
            Told::Number("axis", axis as i64),
        ));
        self.tensors.extend([held, float_tensor(&scale, &[steps.len()], steps)]);
        back(&name)
    }
}

/// The name of a value that was bytes in between.
fn back(value: &str) -> String {
    format!("{value}_from_integers")
}
