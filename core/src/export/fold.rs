//! Batch norm in exported graphs.

use std::collections::HashMap;

use onnx_ir::{GraphProto, NodeProto, TensorProto};

use super::nodes::{floats, initializer};
use crate::kernels::{Normalisation, fold};
use crate::model::NamedTensor;

/// ε of an operation that does not say it.
const DEFAULT_EPSILON: f64 = 1e-5;

/// Puts every batch norm into the convolution before it. That is two operations less a layer, and
/// some runtimes compute them wrongly once the number of images changes.
///
/// # Errors
/// A batch norm that does not follow a convolution of its own, or whose weights are not in the
/// graph.
pub(super) fn fold_batch_norm(graph: &mut GraphProto) -> Result<(), String> {
    let uses = |name: &str, nodes: &[NodeProto]| {
        nodes.iter().flat_map(|node| &node.input).filter(|input| *input == name).count()
    };
    let weights: HashMap<&str, &TensorProto> =
        graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
    let mut folded = Vec::new();
    for norm in graph.node.iter().filter(|node| node.op_type == "BatchNormalization") {
        let [input, scale, bias, mean, variance] = &norm.input[..] else {
            return Err(format!("{} does not have five inputs", norm.name));
        };
        let conv = graph
            .node
            .iter()
            .position(|node| node.op_type == "Conv" && node.output.first() == Some(input))
            .ok_or_else(|| format!("{} does not follow a convolution", norm.name))?;
        let [_, weight] = &graph.node[conv].input[..] else {
            return Err(format!("{} has a bias before its batch norm", graph.node[conv].name));
        };
        if uses(input, &graph.node) != 1 || uses(weight, &graph.node) != 1 {
            return Err(format!("{} is used by others than its batch norm", graph.node[conv].name));
        }
        let values = |name: &String| {
            let tensor = weights.get(name.as_str());
            tensor.map(|tensor| floats(tensor)).ok_or_else(|| format!("there is no {name}"))
        };
        let normalisation = Normalisation {
            mean: &values(mean)?,
            variance: &values(variance)?,
            weight: &values(scale)?,
            bias: &values(bias)?,
            epsilon: norm
                .attribute
                .iter()
                .find(|attribute| attribute.name == "epsilon")
                .map_or(DEFAULT_EPSILON, |attribute| f64::from(attribute.f)),
        };
        let (values, bias) = fold(&values(weight)?, &normalisation);
        let shape = weights[weight.as_str()].dims.iter().map(|&length| length as usize).collect();
        let bias_name = match weight.strip_suffix(".weight") {
            Some(of) => format!("{of}.bias"),
            None => format!("{weight}_bias"),
        };
        folded.push(Folded {
            conv,
            output: norm.output.first().cloned().unwrap_or_default(),
            weight: NamedTensor { name: weight.clone(), shape, values: values.to_vec() },
            bias: NamedTensor { name: bias_name, shape: vec![bias.len()], values: bias },
        });
    }
    for Folded { conv, output, weight, bias } in folded {
        graph.initializer.retain(|tensor| tensor.name != weight.name);
        graph.initializer.extend([initializer(&weight), initializer(&bias)]);
        let node = &mut graph.node[conv];
        node.input.push(bias.name);
        node.output = vec![output];
    }
    graph.node.retain(|node| node.op_type != "BatchNormalization");
    Ok(())
}

/// A convolution with its batch norm in it.
struct Folded {
    /// Which node it is.
    conv: usize,
    /// What the batch norm's output was called.
    output: String,
    weight: NamedTensor,
    bias: NamedTensor,
}
