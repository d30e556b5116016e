//! Reading an ONNX file from any source.
//!
//! tract trusts what a file says about itself in more places than a file deserves (a tensor's size,
//! where its bytes lie, a graph that names values it does not have), and an allocation that fails
//! ends the process. So the file is checked first, against what classifiers and feature extractors
//! hold.

use std::collections::{BTreeMap, HashSet};
use std::io::Read;
use std::path::Path;

use tract_onnx::pb::tensor_proto::{DataLocation, DataType};
use tract_onnx::pb::{ModelProto, NodeProto, TensorProto};
use tract_onnx::prelude::Framework;

use super::operations::is_known;
use super::sizes::MAX_VALUES;
use crate::error::Reason;

/// Larger than the networks that people extract features with, small enough to be held in memory a
/// few times over.
const MAX_BYTES: u64 = 3 << 29;
const MAX_NODES: usize = 20_000;
/// Largest number that an attribute has, apart from lists of sizes.
const MAX_ATTRIBUTE: u64 = 1 << 20;

/// The bytes of a file, if it is not larger than any that is run.
///
/// # Errors
/// A sentence that does not name the file.
pub(crate) fn read_bytes(path: &Path) -> Result<Vec<u8>, String> {
    let facts = std::fs::metadata(path).map_err(|e| Reason::from(e).to_string())?;
    if facts.is_dir() {
        return Err("it is a folder and not an ONNX file".into());
    }
    if !facts.is_file() {
        return Err("it is not a file".into());
    }
    let too_large = || {
        format!(
            "it is larger than {} MB, more than a network needs that is run here",
            MAX_BYTES >> 20
        )
    };
    if facts.len() > MAX_BYTES {
        return Err(too_large());
    }
    // A file that grows while it is read is cut off.
    let mut bytes = Vec::with_capacity(facts.len() as usize);
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|e| e.to_string())?;
    match bytes.len() as u64 {
        0 => Err("it is empty".into()),
        length if length > MAX_BYTES => Err(too_large()),
        _ => Ok(bytes),
    }
}

/// Reads and checks the bytes of a file.
///
/// # Errors
/// A sentence that does not name the file.
pub(crate) fn parse(bytes: &[u8]) -> Result<ModelProto, String> {
    let model = tract_onnx::onnx()
        .proto_model_for_read(&mut &bytes[..])
        .map_err(|e| format!("it is not an ONNX file: {}", e.root_cause()))?;
    check(&model)?;
    Ok(model)
}

/// The metadata of a file, by key.
pub(crate) fn metadata(model: &ModelProto) -> BTreeMap<String, String> {
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
        check_node(node)?;
        if let Some(missing) =
            node.input.iter().find(|name| !name.is_empty() && !known.contains(name.as_str()))
        {
            return Err(format!("the value `{}` is used before it is computed", shown(missing)));
        }
        // Two values of one name would be one to some readers and another to others.
        let twice = node
            .output
            .iter()
            .filter(|name| !name.is_empty())
            .find(|name| !known.insert(name.as_str()));
        if let Some(name) = twice {
            return Err(format!("the value `{}` is computed twice", shown(name)));
        }
    }
    match graph.output.iter().find(|output| !known.contains(output.name.as_str())) {
        Some(output) => Err(format!("the output `{}` is computed nowhere", shown(&output.name))),
        None => Ok(()),
    }
}

/// Attributes whose numbers are at least 1.
const STEPS: [&str; 3] = ["dilations", "kernel_shape", "strides"];

/// An operation that is run here, with attributes that can be.
fn check_node(node: &NodeProto) -> Result<(), String> {
    let operation = shown(&node.op_type);
    if !["", "ai.onnx"].contains(&node.domain.as_str()) {
        let domain = shown(&node.domain);
        return Err(format!(
            "it uses the operation `{operation}` of {domain}, which is not ONNX's own; export it without such operations"
        ));
    }
    if !is_known(&node.op_type) {
        return Err(format!("it uses the operation `{operation}`, which is not run here"));
    }
    for attribute in &node.attribute {
        // tract never ends where axes are named twice.
        let mut axes = attribute.ints.clone();
        axes.sort_unstable();
        if node.op_type == "Transpose"
            && attribute.name == "perm"
            && !axes.iter().copied().eq(0..axes.len() as i64)
        {
            return Err(format!("an operation `{operation}` does not name every axis once"));
        }
        // tract divides by them.
        if STEPS.contains(&attribute.name.as_str()) && attribute.ints.iter().any(|step| *step < 1) {
            let name = shown(&attribute.name);
            return Err(format!("an operation `{operation}` has {name} below 1"));
        }
        attribute.t.iter().chain(&attribute.tensors).try_for_each(check_tensor)?;
        if attribute.g.is_some()
            || !attribute.graphs.is_empty()
            || attribute.sparse_tensor.is_some()
        {
            return Err("a node holds a graph of its own, which is not supported".into());
        }
        // A constant is a number like any other; what it makes of sizes is seen there.
        let large = node.op_type != "Constant"
            && (attribute.ints.iter().any(|&value| value.unsigned_abs() > MAX_VALUES as u64)
                || attribute.i.unsigned_abs() > MAX_ATTRIBUTE);
        if large {
            return Err(format!(
                "the attribute `{}` of a node is out of range",
                shown(&attribute.name)
            ));
        }
    }
    Ok(())
}

/// A tensor must hold exactly the bytes its shape asks for, and numbers.
fn check_tensor(tensor: &TensorProto) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("the tensor `{}` {what}", shown(&tensor.name)));
    if tensor.data_location == Some(DataLocation::External as i32)
        || !tensor.external_data.is_empty()
    {
        return wrong(
            "lies in another file; only a file that holds all of its weights can be used",
        );
    }
    let count = tensor
        .dims
        .iter()
        .try_fold(1usize, |product, &dim| product.checked_mul(usize::try_from(dim).ok()?));
    let Some(count) = count else { return wrong("has an impossible shape") };
    let kind = DataType::try_from(tensor.data_type);
    let (width, typed) = match kind {
        Ok(DataType::Float) => (4, tensor.float_data.len()),
        Ok(DataType::Double) => (8, tensor.double_data.len()),
        Ok(DataType::Int32) => (4, tensor.int32_data.len()),
        Ok(DataType::Int64) => (8, tensor.int64_data.len()),
        Ok(DataType::Float16) => (2, tensor.int32_data.len()),
        Ok(DataType::Bool | DataType::Uint8 | DataType::Int8) => (1, tensor.int32_data.len()),
        _ => return wrong("holds numbers of a kind that is not supported"),
    };
    let held = if tensor.raw_data.is_empty() { typed } else { tensor.raw_data.len() / width };
    if held != count
        || (!tensor.raw_data.is_empty() && !tensor.raw_data.len().is_multiple_of(width))
    {
        return wrong(&format!(
            "should have {count} values and has {held}; the file is damaged or cut short"
        ));
    }
    let raw = &tensor.raw_data[..];
    let is_nan = match kind {
        Ok(DataType::Float) => {
            raw.as_chunks().0.iter().any(|bytes| f32::from_le_bytes(*bytes).is_nan())
                || tensor.float_data.iter().any(|value| value.is_nan())
        }
        Ok(DataType::Double) => {
            raw.as_chunks().0.iter().any(|bytes| f64::from_le_bytes(*bytes).is_nan())
                || tensor.double_data.iter().any(|value| value.is_nan())
        }
        Ok(DataType::Float16) => {
            let is_nan = |bits: u16| bits & 0x7fff > 0x7c00;
            raw.as_chunks().0.iter().any(|bytes| is_nan(u16::from_le_bytes(*bytes)))
                || tensor.int32_data.iter().any(|&bits| is_nan(bits as u16))
        }
        _ => false,
    };
    if is_nan { wrong("holds values that are no numbers") } else { Ok(()) }
}

/// A name from the file, short enough for a message.
pub(crate) fn shown(name: &str) -> String {
    name.chars().take(60).filter(|c| !c.is_control()).collect()
}
