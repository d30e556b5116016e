//! What runtimes want said that the format lets one leave out, and left out that it lets one say.

use std::collections::HashMap;

use onnx_ir::{AttributeProto, AttributeType, GraphProto, ModelProto};

/// Operations that mean the same in the operator sets from [`PLAIN_OPSET`] to the one the exporter
/// writes.
const PLAIN: [&str; 24] = [
    "Abs",
    "Add",
    "AveragePool",
    "Cast",
    "Clip",
    "Conv",
    "Div",
    "Flatten",
    "Floor",
    "Gather",
    "Gemm",
    "GlobalAveragePool",
    "MatMul",
    "Max",
    "MaxPool",
    "Min",
    "Mul",
    "Range",
    "ReduceSum",
    "Relu",
    "Shape",
    "Softmax",
    "Sub",
    "Transpose",
];
/// The operator set of a graph of nothing but [`PLAIN`] operations: older runtimes have it, too.
const PLAIN_OPSET: i64 = 17;

/// Says the size of kernels, which OpenCV does not infer from the weight, and leaves out what is
/// zero anyway: a zero is written as no value at all, for which OpenCV refuses the file.
pub(super) fn say_what_they_want(graph: &mut GraphProto) {
    let kernels: HashMap<&str, &[i64]> = graph
        .initializer
        .iter()
        .filter(|tensor| tensor.dims.len() == 4)
        .map(|tensor| (tensor.name.as_str(), &tensor.dims[2..]))
        .collect();
    for node in &mut graph.node {
        node.attribute.retain(|attribute| !is_idle(attribute));
        let is_said = node.attribute.iter().any(|attribute| attribute.name == "kernel_shape");
        if node.op_type == "Conv"
            && !is_said
            && let Some(kernel) = node.input.get(1).and_then(|weight| kernels.get(weight.as_str()))
        {
            let mut attribute = AttributeProto::new();
            attribute.name = "kernel_shape".into();
            attribute.type_ = AttributeType::INTS.into();
            attribute.ints = kernel.to_vec();
            node.attribute.push(attribute);
        }
    }
}

/// Whether an attribute says what is taken for granted.
fn is_idle(attribute: &AttributeProto) -> bool {
    ["ceil_mode", "count_include_pad", "storage_order"].contains(&attribute.name.as_str())
        && attribute.i == 0
}

/// Gives a model the oldest operator set in which it means what it says.
pub(super) fn lower_opset(model: &mut ModelProto) {
    let is_plain = model.graph.node.iter().all(|node| PLAIN.contains(&node.op_type.as_str()));
    for opset in model.opset_import.iter_mut().filter(|opset| opset.domain.is_empty()) {
        if is_plain {
            opset.version = opset.version.min(PLAIN_OPSET);
        }
    }
}
