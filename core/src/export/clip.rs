//! ReLU6 in exported graphs.

use std::collections::HashMap;

use onnx_ir::{GraphProto, NodeProto, TensorProto};

use super::nodes::{FLOAT, float_tensor, floats};
use crate::ops::SIX;

/// The names of the bounds.
const BOUNDS: [(&str, f32); 2] = [("relu6_min", 0.0), ("relu6_max", SIX)];
/// How ReLU6 is said with what the exporter can write: 6 − ReLU(6 − ReLU(x)); see
/// [`crate::ops::relu6`].
const CHAIN: [&str; 6] = ["Relu", "Neg", "Add", "Relu", "Neg", "Add"];

/// Puts one `Clip` in the place of every ReLU6.
pub(super) fn clip(graph: &mut GraphProto) {
    let producers: HashMap<String, usize> = graph
        .node
        .iter()
        .enumerate()
        .flat_map(|(index, node)| node.output.iter().map(move |output| (output.clone(), index)))
        .collect();
    let sixes: Vec<String> = graph
        .initializer
        .iter()
        .filter(|tensor| is_six(tensor))
        .map(|tensor| tensor.name.clone())
        .collect();
    let mut clips = Vec::new();
    for last in 0..graph.node.len() {
        if let Some(input) = chain_ending_at(&graph.node, &producers, &sixes, last) {
            clips.push((last, input));
        }
    }
    if clips.is_empty() {
        return;
    }
    for (last, input) in clips {
        let node = &mut graph.node[last];
        node.op_type = "Clip".into();
        node.input = [input].into_iter().chain(BOUNDS.map(|(name, _)| name.to_string())).collect();
        node.attribute.clear();
    }
    graph.initializer.extend(BOUNDS.map(|(name, value)| float_tensor(name, &[], &[value])));
}

/// What goes into the chain of operations whose last one this is.
fn chain_ending_at(
    nodes: &[NodeProto],
    producers: &HashMap<String, usize>,
    sixes: &[String],
    last: usize,
) -> Option<String> {
    let mut at = last;
    for (place, op) in CHAIN.iter().enumerate().rev() {
        let node = nodes.get(at).filter(|node| node.op_type == *op)?;
        let values: Vec<&String> = node.input.iter().filter(|name| !sixes.contains(name)).collect();
        // A sum has one constant, everything else none.
        let constants = node.input.len() - values.len();
        let [value] = values[..] else { return None };
        if constants != usize::from(*op == "Add") {
            return None;
        }
        if place == 0 {
            return Some(value.clone());
        }
        at = *producers.get(value)?;
    }
    None
}

/// Whether a tensor holds the number 6 and nothing else.
fn is_six(tensor: &TensorProto) -> bool {
    tensor.data_type == FLOAT && floats(tensor) == [SIX]
}
