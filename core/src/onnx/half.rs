//! Float16 graphs, computed in float32.
//!
//! The runtime has no fast arithmetic on float16, and neither have most processors: on them other
//! runtimes compute in float32, too, and round what each operation gives. So does this, by arithmetic
//! as well, since converting there and back takes longer than the operation: a product with 2¹³ + 1
//! splits the leading eleven bits off (Veltkamp, 1968). What is too large for float16 becomes infinite,
//! since a graph that overflows is of no use to anyone; what is below its normal numbers, 6.1e-5, is
//! rounded to as many bits as the others.

use std::borrow::Cow;
use std::collections::HashSet;

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{ModelProto, NodeProto, TensorProto, ValueInfoProto, type_proto};
use tract_onnx::prelude::f16;

const HALF: i32 = DataType::Float16 as i32;
const SINGLE: i32 = DataType::Float as i32;
/// Operations that give other numbers than they were given; what the others give needs no rounding
/// if what they take was rounded.
const ROUNDED: [&str; 12] = [
    "Add",
    "AveragePool",
    "BatchNormalization",
    "Conv",
    "Div",
    "Gemm",
    "GlobalAveragePool",
    "LayerNormalization",
    "MatMul",
    "Mul",
    "Sub",
    "Sum",
];

/// The model with float32 in the place of float16, and what operations on float16 give rounded to
/// it; the model itself where it has none.
pub(super) fn widened(model: &ModelProto) -> Cow<'_, ModelProto> {
    if !has_half(model) {
        return Cow::Borrowed(model);
    }
    let mut model = model.clone();
    let Some(graph) = &mut model.graph else { return Cow::Owned(model) };
    let mut half: HashSet<String> = HashSet::new();
    for tensor in &mut graph.initializer {
        if widen(tensor) {
            half.insert(tensor.name.clone());
        }
    }
    for value in graph.input.iter_mut().chain(&mut graph.output) {
        let name = value.name.clone();
        if let Some(kind) = kind_of(value).filter(|kind| **kind == HALF) {
            *kind = SINGLE;
            half.insert(name);
        }
    }
    let mut nodes = Vec::with_capacity(graph.node.len());
    for mut node in std::mem::take(&mut graph.node) {
        let outputs = node.output.clone();
        let operation = node.op_type.clone();
        let mut is_half = node.input.iter().any(|input| half.contains(input));
        match operation.as_str() {
            "Cast" => {
                let to = node.attribute.iter().find(|attribute| attribute.name == "to");
                is_half = to.is_some_and(|to| to.i == i64::from(HALF));
            }
            "Constant" => {
                for tensor in node.attribute.iter_mut().filter_map(|held| held.t.as_mut()) {
                    is_half |= widen(tensor);
                }
            }
            _ => {}
        }
        if is_half && (operation == "Cast" || ROUNDED.contains(&operation.as_str())) {
            rounded(node, &mut nodes);
        } else {
            nodes.push(node);
        }
        if is_half && !["Shape", "Size"].contains(&operation.as_str()) {
            half.extend(outputs);
        }
    }
    graph.node = nodes;
    graph.initializer.extend([SPLITTER, LIMIT, ZERO, INFINITY, MINUS_INFINITY].map(
        |(name, value)| TensorProto {
            name: name.into(),
            data_type: SINGLE,
            raw_data: value.to_le_bytes().to_vec(),
            ..TensorProto::default()
        },
    ));
    Cow::Owned(model)
}

/// The number that splits the leading bits off, 2¹³ + 1, and its name.
const SPLITTER: (&str, f32) = ("float16/splitter", 8193.0);
/// What is not less is rounded to more than float16 can hold.
const LIMIT: (&str, f32) = ("float16/limit", 65520.0);
const ZERO: (&str, f32) = ("float16/zero", 0.0);
const INFINITY: (&str, f32) = ("float16/infinity", f32::INFINITY);
const MINUS_INFINITY: (&str, f32) = ("float16/minus infinity", f32::NEG_INFINITY);

/// A node whose output is rounded to float16.
fn rounded(mut node: NodeProto, nodes: &mut Vec<NodeProto>) {
    let Some(output) = node.output.first_mut() else { return nodes.push(node) };
    let name = output.clone();
    let steps = ["unrounded", "product", "rest", "rounded", "size", "fits", "positive", "infinite"];
    let [unrounded, product, rest, rounded, size, fits, positive, infinite] =
        &steps.map(|step| format!("{name}/{step}"));
    output.clone_from(unrounded);
    if node.op_type == "Cast" {
        (node.op_type, node.attribute) = ("Identity".into(), Vec::new());
    }
    nodes.push(node);
    let mut step = |op: &str, inputs: &[&str], output: &str| {
        nodes.push(NodeProto {
            name: format!("float16/{output}"),
            op_type: op.into(),
            input: inputs.iter().map(|input| input.to_string()).collect(),
            output: vec![output.into()],
            ..NodeProto::default()
        });
    };
    step("Mul", &[unrounded, SPLITTER.0], product);
    step("Sub", &[product, unrounded], rest);
    step("Sub", &[product, rest], rounded);
    step("Abs", &[unrounded], size);
    step("Less", &[size, LIMIT.0], fits);
    // Chosen and not computed: of what is infinite already the steps above make no number at all.
    step("Less", &[ZERO.0, unrounded], positive);
    step("Where", &[positive, INFINITY.0, MINUS_INFINITY.0], infinite);
    step("Where", &[fits, rounded, infinite], &name);
}

/// Makes a tensor of float16 one of float32. Returns whether it was one.
fn widen(tensor: &mut TensorProto) -> bool {
    if tensor.data_type != HALF {
        return false;
    }
    let wide = |bits: u16| f16::from_bits(bits).to_f32().to_le_bytes();
    tensor.raw_data = match tensor.raw_data.is_empty() {
        true => tensor.int32_data.iter().flat_map(|&bits| wide(bits as u16)).collect(),
        false => {
            let bits = tensor.raw_data.as_chunks().0.iter().map(|two| u16::from_le_bytes(*two));
            bits.flat_map(wide).collect()
        }
    };
    tensor.int32_data.clear();
    tensor.data_type = SINGLE;
    true
}

/// The type of a value's numbers.
fn kind_of(value: &mut ValueInfoProto) -> Option<&mut i32> {
    match value.r#type.as_mut()?.value.as_mut()? {
        type_proto::Value::TensorType(tensor) => Some(&mut tensor.elem_type),
    }
}

fn has_half(model: &ModelProto) -> bool {
    let Some(graph) = &model.graph else { return false };
    let to_half = |node: &NodeProto| {
        let is_half = |tensor: &TensorProto| tensor.data_type == HALF;
        node.attribute.iter().any(|attribute| {
            attribute.t.as_ref().is_some_and(is_half)
                || (node.op_type == "Cast" && attribute.i == i64::from(HALF))
        })
    };
    let is_half = |value: &ValueInfoProto| kind_of(&mut value.clone()) == Some(&mut HALF.clone());
    graph.initializer.iter().any(|tensor| tensor.data_type == HALF)
        || graph.node.iter().any(to_half)
        || graph.input.iter().any(is_half)
}

#[cfg(test)]
mod tests {
    use tract_onnx::pb::attribute_proto::AttributeType;
    use tract_onnx::pb::{AttributeProto, GraphProto, OperatorSetIdProto};
    use tract_onnx::prelude::*;

    use super::*;

    /// y = x + 0 in float16, of `values`.
    fn run(values: &[f32]) -> Vec<f32> {
        let node = |op: &str, input: &[&str], output: &str, to: i32| NodeProto {
            op_type: op.into(),
            name: output.into(),
            input: input.iter().map(|name| name.to_string()).collect(),
            output: vec![output.into()],
            attribute: match to {
                0 => Vec::new(),
                to => vec![AttributeProto {
                    name: "to".into(),
                    r#type: AttributeType::Int as i32,
                    i: i64::from(to),
                    ..AttributeProto::default()
                }],
            },
            ..NodeProto::default()
        };
        let value = |name: &str, kind: i32| ValueInfoProto {
            name: name.into(),
            r#type: Some(tract_onnx::pb::TypeProto {
                value: Some(type_proto::Value::TensorType(type_proto::Tensor {
                    elem_type: kind,
                    shape: None,
                })),
                ..Default::default()
            }),
            ..Default::default()
        };
        let graph = GraphProto {
            input: vec![value("x", SINGLE)],
            output: vec![value("y", SINGLE)],
            node: vec![
                node("Cast", &["x"], "half", HALF),
                node("Add", &["half", "zero"], "sum", 0),
                node("Cast", &["sum"], "y", SINGLE),
            ],
            initializer: vec![TensorProto {
                name: "zero".into(),
                data_type: HALF,
                dims: vec![1],
                raw_data: f16::from_f32(0.0).to_le_bytes().to_vec(),
                ..TensorProto::default()
            }],
            ..GraphProto::default()
        };
        let model = ModelProto {
            graph: Some(graph),
            opset_import: vec![OperatorSetIdProto { domain: String::new(), version: 17 }],
            ..ModelProto::default()
        };
        let typed = crate::onnx::typed(
            crate::onnx::graph(&model).unwrap(),
            f32::datum_type(),
            &[values.len()],
        );
        let plan = crate::onnx::runnable(typed.unwrap()).unwrap();
        let found = plan.run(tvec![tensor1(values).into()]).unwrap();
        found[0].to_plain_array_view::<f32>().unwrap().iter().copied().collect()
    }

    #[test]
    fn numbers_are_rounded_as_float16_rounds_them() {
        let mut values: Vec<f32> = (0..4000).map(|i| (i as f32 - 2000.0) * 0.37).collect();
        values.extend([0.0, -0.0, 1.0 + 1.0 / 2048.0, 3.0 + 3.0 / 1024.0, 1e-4, -6.2e-5]);
        values.extend([65504.0, 65519.0, 65520.0, -65504.0, -70000.0, 1e9]);
        let found = run(&values);
        for (value, found) in values.iter().zip(found) {
            assert_eq!(found, f16::from_f32(*value).to_f32(), "{value}");
        }
    }
}
