//! Leaving out what a graph's outputs do not depend on.

use std::collections::HashSet;

use onnx_ir::{GraphProto, NodeProto};

/// Takes away the operations and weights that the outputs do not depend on.
pub(crate) fn remove_unused(graph: &mut GraphProto) {
    let mut needed: HashSet<String> =
        graph.output.iter().map(|output| output.name.clone()).collect();
    let mut kept: Vec<NodeProto> = Vec::with_capacity(graph.node.len());
    for node in std::mem::take(&mut graph.node).into_iter().rev() {
        if node.output.iter().any(|output| needed.contains(output)) {
            // An optional input that is left out has no name, as has an output that is not used.
            needed.extend(node.input.iter().filter(|name| !name.is_empty()).cloned());
            kept.push(node);
        }
    }
    kept.reverse();
    graph.node = kept;
    graph.initializer.retain(|tensor| needed.contains(&tensor.name));
}
