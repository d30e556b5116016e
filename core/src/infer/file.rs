//! Reading an ONNX file that anybody may have made.
//!
//! tract trusts what a file says about itself in more places than a file deserves (a tensor's size, where its bytes lie, a graph that
//! names values it does not have), and an allocation that fails ends the process. So the file is checked first, against what an
//! exported classifier holds.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use tract_onnx::pb::tensor_proto::{DataLocation, DataType};
use tract_onnx::pb::{ModelProto, TensorProto};
use tract_onnx::prelude::Framework;

use crate::model::Backbone;

/// Larger than any classifier this app makes, small enough to be held in memory a few times over.
const MAX_BYTES: u64 = 1 << 30;
/// Values a tensor of the graph may have for one image.
pub(super) const MAX_VALUES: usize = 1 << 28;
const MAX_NODES: usize = 20_000;

/// The operations other people's image classifiers are made of, besides those of our backbones. Control flow and operations whose result may be of any
/// size are not among them.
const OPERATIONS: &[&str] = &[
    "Add",
    "AveragePool",
    "BatchNormalization",
    "Clip",
    "Constant",
    "Conv",
    "Div",
    "Dropout",
    "Flatten",
    "Gemm",
    "GlobalAveragePool",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "LeakyRelu",
    "LogSoftmax",
    "MatMul",
    "MaxPool",
    "Mul",
    "PRelu",
    "ReduceMean",
    "Relu",
    "Reshape",
    "Sigmoid",
    "Softmax",
    "Squeeze",
    "Sub",
    "Transpose",
    "Unsqueeze",
];

/// Reads and checks a file.
pub(super) fn read(path: &Path) -> Result<ModelProto, String> {
    let facts = std::fs::metadata(path).map_err(|e| e.to_string())?;
    if facts.is_dir() {
        return Err("it is a folder and not an ONNX file".into());
    }
    if facts.len() > MAX_BYTES {
        return Err(format!("it is larger than {} MB, more than a classifier needs", MAX_BYTES >> 20));
    }
    let bytes = std::fs::read(path).map_err(|e| e.to_string())?;
    if bytes.is_empty() {
        return Err("it is empty".into());
    }
    let model =
        tract_onnx::onnx().proto_model_for_read(&mut &bytes[..]).map_err(|e| format!("it is not an ONNX file: {}", e.root_cause()))?;
    check(&model)?;
    Ok(model)
}

/// The metadata of a file, by key.
pub(super) fn metadata(model: &ModelProto) -> BTreeMap<String, String> {
    model.metadata_props.iter().map(|entry| (entry.key.clone(), entry.value.clone())).collect()
}

fn check(model: &ModelProto) -> Result<(), String> {
    let graph = model.graph.as_ref().ok_or("it is not an ONNX file: there is no graph in it")?;
    if graph.node.is_empty() || graph.node.len() > MAX_NODES {
        return Err(format!("its graph has {} nodes", graph.node.len()));
    }
    if !model.functions.is_empty() || !graph.sparse_initializer.is_empty() {
        return Err("it holds local functions or sparse tensors, which are not supported".into());
    }
    let mut known: HashSet<&str> = graph.input.iter().map(|input| input.name.as_str()).collect();
    for tensor in &graph.initializer {
        check_tensor(tensor)?;
        known.insert(&tensor.name);
    }
    for node in &graph.node {
        if !is_known(&node.op_type) || !["", "ai.onnx"].contains(&node.domain.as_str()) {
            return Err(format!("it uses the operation `{}`, which no exported classifier has", shown(&node.op_type)));
        }
        if let Some(missing) = node.input.iter().find(|name| !name.is_empty() && !known.contains(name.as_str())) {
            return Err(format!("the value `{}` is used before it is computed", shown(missing)));
        }
        for attribute in &node.attribute {
            attribute.t.iter().chain(&attribute.tensors).try_for_each(check_tensor)?;
            if attribute.g.is_some() || !attribute.graphs.is_empty() || attribute.sparse_tensor.is_some() {
                return Err("a node holds a graph of its own, which is not supported".into());
            }
            if attribute.ints.iter().any(|&value| value.unsigned_abs() > MAX_VALUES as u64) {
                return Err(format!("the attribute `{}` of a node is out of range", shown(&attribute.name)));
            }
        }
        known.extend(node.output.iter().map(String::as_str));
    }
    match graph.output.iter().find(|output| !known.contains(output.name.as_str())) {
        Some(output) => Err(format!("the output `{}` is computed nowhere", shown(&output.name))),
        None => Ok(()),
    }
}

fn is_known(operation: &str) -> bool {
    OPERATIONS.contains(&operation) || Backbone::ALL.iter().any(|backbone| backbone.info().operations.contains(&operation))
}

/// A tensor must hold exactly the bytes its shape asks for.
fn check_tensor(tensor: &TensorProto) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("the tensor `{}` {what}", shown(&tensor.name)));
    if tensor.data_location == Some(DataLocation::External as i32) || !tensor.external_data.is_empty() {
        return wrong("lies in another file; an exported classifier is one file");
    }
    let count = tensor.dims.iter().try_fold(1usize, |product, &dim| product.checked_mul(usize::try_from(dim).ok()?));
    let Some(count) = count else { return wrong("has an impossible shape") };
    let (width, typed) = match DataType::try_from(tensor.data_type) {
        Ok(DataType::Float) => (4, tensor.float_data.len()),
        Ok(DataType::Double) => (8, tensor.double_data.len()),
        Ok(DataType::Int32) => (4, tensor.int32_data.len()),
        Ok(DataType::Int64) => (8, tensor.int64_data.len()),
        _ => return wrong("holds numbers of a kind that is not supported"),
    };
    let held = if tensor.raw_data.is_empty() { typed } else { tensor.raw_data.len() / width };
    if held != count || (!tensor.raw_data.is_empty() && !tensor.raw_data.len().is_multiple_of(width)) {
        return wrong(&format!("should have {count} values and has {held}; the file is damaged or cut short"));
    }
    Ok(())
}

/// A name from the file, short enough for a message.
fn shown(name: &str) -> String {
    name.chars().take(60).filter(|c| !c.is_control()).collect()
}
