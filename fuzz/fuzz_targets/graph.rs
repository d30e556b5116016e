//! Classifiers out of ONNX files whose graphs are put together from operations that the program runs, with whatever sizes and attributes.
#![no_main]

use arbitrary::Arbitrary;
use counterweight_core::infer::{InputOptions, OnnxClassifier};
use counterweight_fuzz::onnx_file::OnnxGraph;
use counterweight_fuzz::{file, start};
use libfuzzer_sys::fuzz_target;

const OPERATIONS: [&str; 26] = [
    "Conv",
    "Relu",
    "MaxPool",
    "AveragePool",
    "GlobalAveragePool",
    "Flatten",
    "Gemm",
    "MatMul",
    "Add",
    "Mul",
    "Sub",
    "Div",
    "BatchNormalization",
    "Reshape",
    "Transpose",
    "Softmax",
    "Concat",
    "Clip",
    "Sigmoid",
    "Pad",
    "Slice",
    "Squeeze",
    "Unsqueeze",
    "ReduceMean",
    "Gather",
    "Cast",
];
const ATTRIBUTES: [&str; 12] = [
    "kernel_shape",
    "strides",
    "pads",
    "dilations",
    "group",
    "axis",
    "axes",
    "perm",
    "transB",
    "ceil_mode",
    "to",
    "keepdims",
];

#[derive(Arbitrary, Debug)]
struct Node {
    operation: u8,
    inputs: Vec<u8>,
    attributes: Vec<(u8, Vec<i8>)>,
}

#[derive(Arbitrary, Debug)]
struct Input {
    channels: i8,
    weights: Vec<(Vec<u8>, i8)>,
    nodes: Vec<Node>,
}

fuzz_target!(init: start(), |input: Input| {
    let mut names = vec!["images".to_string()];
    let mut graph = OnnxGraph::new(&[1, i64::from(input.channels), 8, 8]);
    for (at, (sizes, value)) in input.weights.iter().take(6).enumerate() {
        let sizes: Vec<i64> = sizes.iter().take(5).map(|&size| i64::from(size % 10)).collect();
        names.push(format!("w{at}"));
        graph = graph.weights(&names[at + 1], &sizes, f32::from(*value) / 16.0);
    }
    for (at, node) in input.nodes.iter().take(8).enumerate() {
        let inputs: Vec<&str> = node.inputs.iter().take(5).map(|&at| names[usize::from(at) % names.len()].as_str()).collect();
        let attributes: Vec<(&str, Vec<i64>)> = node
            .attributes
            .iter()
            .take(4)
            .map(|(name, list)| (ATTRIBUTES[usize::from(*name) % ATTRIBUTES.len()], list.iter().take(8).map(|&n| i64::from(n)).collect()))
            .collect();
        let attributes: Vec<(&str, &[i64])> = attributes.iter().map(|(name, list)| (*name, list.as_slice())).collect();
        let output = format!("n{at}");
        graph = graph.node(OPERATIONS[usize::from(node.operation) % OPERATIONS.len()], &inputs, &output, &attributes);
        names.push(output);
    }
    let path = file("graph.onnx", &graph.file(names.last().unwrap()));
    if let Ok(classifier) = OnnxClassifier::load_with(&path, &InputOptions::default()) {
        let side = classifier.input_size();
        let _ = classifier.classify(&[vec![128; side * side * 3]]);
    }
});
