//! Nodes and tensors of graphs that are being written.

use onnx_ir::{AttributeProto, AttributeType, GraphProto, NodeProto, TensorProto};

use crate::model::NamedTensor;

/// ONNX's numbers for the types of values.
pub(super) const FLOAT: i32 = 1;
pub(super) const UINT8: i32 = 2;
pub(super) const INT8: i32 = 3;
pub(super) const INT32: i32 = 6;
pub(super) const INT64: i32 = 7;
pub(super) const FLOAT16: i32 = 10;

/// What an operation is told besides its inputs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Told<'a> {
    Nothing,
    Number(&'a str, i64),
    List(&'a str, &'a [i64]),
}

/// A node that is named after its one output.
pub(super) fn node(op: &str, inputs: &[&str], output: &str, told: Told<'_>) -> NodeProto {
    let mut node = NodeProto::new();
    node.name = format!("{output}_{}", op.to_lowercase());
    node.op_type = op.into();
    node.input = inputs.iter().map(|input| input.to_string()).collect();
    node.output = vec![output.into()];
    tell(&mut node, told);
    node
}

/// Puts a node behind all others, named after its place.
pub(super) fn push(
    graph: &mut GraphProto,
    op: &str,
    inputs: &[&str],
    output: &str,
    told: Told<'_>,
) {
    let mut node = node(op, inputs, output, told);
    node.name = format!("{}_{}", op.to_lowercase(), graph.node.len());
    graph.node.push(node);
}

/// Says one thing, and nothing else, to an operation.
pub(super) fn tell(node: &mut NodeProto, told: Told<'_>) {
    let mut attribute = AttributeProto::new();
    match told {
        Told::Nothing => return node.attribute.clear(),
        Told::Number(key, value) => {
            (attribute.name, attribute.i) = (key.into(), value);
            attribute.type_ = AttributeType::INT.into();
        }
        Told::List(key, values) => {
            (attribute.name, attribute.ints) = (key.into(), values.to_vec());
            attribute.type_ = AttributeType::INTS.into();
        }
    }
    node.attribute = vec![attribute];
}

/// A tensor of this type, its numbers in little-endian bytes.
pub(super) fn tensor(name: &str, kind: i32, shape: &[usize], bytes: Vec<u8>) -> TensorProto {
    let mut proto = TensorProto::new();
    proto.name = name.into();
    proto.data_type = kind;
    proto.dims = shape.iter().map(|&length| length as i64).collect();
    proto.raw_data = bytes.into();
    proto
}

/// A tensor of float32.
pub(super) fn initializer(named: &NamedTensor) -> TensorProto {
    float_tensor(&named.name, &named.shape, &named.values)
}

/// A tensor of float32.
pub(super) fn float_tensor(name: &str, shape: &[usize], values: &[f32]) -> TensorProto {
    tensor(name, FLOAT, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
}

/// One whole number.
pub(super) fn whole_number(name: &str, value: i64) -> TensorProto {
    tensor(name, INT64, &[], value.to_le_bytes().to_vec())
}

/// The numbers of a float32 tensor.
pub(super) fn floats(tensor: &TensorProto) -> Vec<f32> {
    match tensor.raw_data.is_empty() {
        true => tensor.float_data.clone(),
        false => {
            tensor.raw_data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
        }
    }
}
