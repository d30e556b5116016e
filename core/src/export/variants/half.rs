//! Float16 inside, float32 at both ends.
//!
//! The classifier stays in float32: it is a small part of the work, and what was balanced.

use std::collections::HashSet;

use onnx_ir::ModelProto;
use tract_onnx::prelude::f16;

use super::super::graph::FEATURES;
use super::super::nodes::{FLOAT, FLOAT16, Told, floats, node, tensor};

/// Operations that mean the same on float16.
const OPERATIONS: [&str; 8] =
    ["Add", "AveragePool", "Clip", "Conv", "Flatten", "GlobalAveragePool", "MaxPool", "Relu"];
/// What the backbone gives, before it is float32 again.
const HALF_FEATURES: &str = "features_in_float16";

/// Has everything from the first convolution to the features computed in float16; the normalisation
/// before and the classifier behind stay.
///
/// # Errors
/// A sentence, if the graph holds other operations than the program's own backbones are made of, or
/// a weight is too large.
pub(in crate::export) fn to_half(model: &mut ModelProto) -> Result<(), String> {
    let graph = model.graph.mut_or_insert_default();
    let first = graph
        .node
        .iter()
        .position(|node| node.op_type == "Conv")
        .ok_or("there is no convolution to begin with")?;
    let last = graph
        .node
        .iter()
        .position(|node| node.output.iter().any(|output| output == FEATURES))
        .filter(|last| *last >= first)
        .ok_or("there are no features behind its convolutions")?;
    let behind = graph.node.split_off(last + 1);
    let mut inside = graph.node.split_off(first);
    if let Some(other) = inside.iter().find(|node| !OPERATIONS.contains(&node.op_type.as_str())) {
        return Err(format!(
            "only the program's own backbones are written in float16, and this one has `{}` in it",
            other.op_type
        ));
    }
    let begin = inside[0].input[0].clone();
    let half = format!("{begin}_in_float16");
    let before: HashSet<String> =
        graph.node.iter().flat_map(|node| node.output.iter().cloned()).collect();
    let mut weights = HashSet::new();
    for node in &mut inside {
        for input in &mut node.input {
            if *input == begin {
                input.clone_from(&half);
            } else if before.contains(input.as_str()) {
                return Err(format!("`{input}` is used on both sides of the first convolution"));
            } else {
                weights.insert(input.clone());
            }
        }
        for output in &mut node.output {
            if output == FEATURES {
                *output = HALF_FEATURES.into();
            }
        }
    }
    for held in &mut graph.initializer {
        if held.data_type != FLOAT || !weights.contains(&held.name) {
            continue;
        }
        let mut bytes = Vec::with_capacity(held.raw_data.len() / 2);
        for value in floats(held) {
            let rounded = f16::from_f32(value);
            if !rounded.is_finite() {
                return Err(format!("`{}` holds {value}, too large for float16", held.name));
            }
            bytes.extend(rounded.to_le_bytes());
        }
        let shape: Vec<usize> = held.dims.iter().map(|&length| length as usize).collect();
        *held = tensor(&held.name, FLOAT16, &shape, bytes);
    }
    graph.node.push(node("Cast", &[&begin], &half, Told::Number("to", i64::from(FLOAT16))));
    graph.node.extend(inside);
    let to = Told::Number("to", i64::from(FLOAT));
    graph.node.push(node("Cast", &[HALF_FEATURES], FEATURES, to));
    graph.node.extend(behind);
    Ok(())
}
