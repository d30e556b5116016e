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
/// taken for granted.
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

/// Has attributes that are zero say so. The format takes a zero and nothing for the same and its
/// writers leave zeros out, but OpenCV, onnx2torch and others look whether there is a value, and
/// refuse the file if there is none. Reading the graph and writing it again loses what is said here,
/// and nothing else.
pub(super) fn say_zeros(graph: &mut GraphProto) {
    /// Numbers of the fields `f`, `i` and `s` of an attribute.
    const FLOAT: u32 = 2;
    const INT: u32 = 3;
    const STRING: u32 = 4;
    for attribute in graph.node.iter_mut().flat_map(|node| &mut node.attribute) {
        let kind = attribute.type_.enum_value_or_default();
        let (is_zero, is_none) = (attribute.i == 0, attribute.s.is_empty());
        let fields = attribute.special_fields.mut_unknown_fields();
        match kind {
            AttributeType::INT if is_zero => fields.add_varint(INT, 0),
            AttributeType::FLOAT if attribute.f == 0.0 => fields.add_fixed32(FLOAT, 0),
            AttributeType::STRING if is_none => fields.add_length_delimited(STRING, Vec::new()),
            _ => {}
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
