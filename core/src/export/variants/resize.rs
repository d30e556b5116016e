//! The largest centred square of images of any size, or all of them, resized inside the graph.
//!
//! `Resize` with antialiasing is missing in most runtimes, so the triangle filter is written out:
//! each axis has a matrix of weights that follows from the image's size, and two products resize.
//! What comes out is what [`crate::images::to_input`] makes, up to the rounding of its weights.

use onnx_ir::{GraphProto, NodeProto};

use super::super::nodes::{FLOAT, INT64, Told, float_tensor, node, tensor, whole_number};
use super::input::PIXELS;
use crate::images::InputShape;
use crate::onnx::INPUT;
use crate::words::ImageFit;

/// The first operator set in which `ReduceSum` takes its axes as here.
const LEAST_OPSET: i64 = 13;

/// The nodes from [`INPUT`], bytes `[batch, height, width, 3]`, to [`PIXELS`], whole numbers in
/// 0..255 as float32, `[batch, 3, side, side]`.
///
/// # Errors
/// A sentence, if the operator set is too old.
pub(super) fn resize(
    graph: &mut GraphProto,
    shape: InputShape,
    opset: i64,
) -> Result<Vec<NodeProto>, String> {
    let InputShape { side, fit } = shape;
    if opset < LEAST_OPSET {
        return Err(format!(
            "images of any size need operator set {LEAST_OPSET} or newer, and the file that its features come out of has {opset}"
        ));
    }
    let centres: Vec<f32> = (0..side).map(|index| index as f32 + 0.5).collect();
    graph.initializer.extend([
        float_tensor("resize/side", &[], &[side as f32]),
        float_tensor("resize/one", &[], &[1.0]),
        float_tensor("resize/half", &[], &[0.5]),
        float_tensor("resize/centres", &[side, 1], &centres),
        whole_number("resize/zero", 0),
        whole_number("resize/step", 1),
        whole_number("resize/place_of_height", 1),
        whole_number("resize/place_of_width", 2),
        tensor("resize/last_axis", INT64, &[1], 1i64.to_le_bytes().to_vec()),
    ]);
    let mut steps = Steps(Vec::new());
    steps.add("Shape", &[INPUT], "resize/shape");
    for axis in ["height", "width"] {
        let (whole, float) = (format!("resize/whole_{axis}"), format!("resize/{axis}"));
        steps.add("Gather", &["resize/shape", &format!("resize/place_of_{axis}")], &whole);
        steps.cast(&whole, &float);
    }
    if fit == ImageFit::Crop {
        steps.add("Min", &["resize/height", "resize/width"], "resize/square");
    }
    for axis in ["height", "width"] {
        steps.weights(axis, fit);
    }

    steps.cast(INPUT, "resize/numbers");
    steps.0.push(node(
        "Transpose",
        &["resize/numbers"],
        "resize/channels_first",
        Told::List("perm", &[0, 3, 1, 2]),
    ));
    let turned = Told::List("perm", &[1, 0]);
    steps.0.push(node("Transpose", &["resize/weights_of_width"], "resize/columns", turned));
    // First vertically, and both passes end in whole numbers, as the program's do.
    steps.add("MatMul", &["resize/weights_of_height", "resize/channels_first"], "resize/low");
    steps.round("resize/low", "resize/low_bytes");
    steps.add("MatMul", &["resize/low_bytes", "resize/columns"], "resize/small");
    steps.round("resize/small", PIXELS);
    Ok(steps.0)
}

struct Steps(Vec<NodeProto>);

impl Steps {
    fn add(&mut self, op: &str, inputs: &[&str], output: &str) {
        self.0.push(node(op, inputs, output, Told::Nothing));
    }

    fn cast(&mut self, input: &str, output: &str) {
        self.0.push(node("Cast", &[input], output, Told::Number("to", i64::from(FLOAT))));
    }

    fn round(&mut self, input: &str, output: &str) {
        let raised = format!("{input}_raised");
        self.add("Add", &[input, "resize/half"], &raised);
        self.add("Floor", &[&raised], output);
    }

    /// How much each pixel along an axis counts for each of the input, `[side, length]`: a triangle
    /// around its centre.
    fn weights(&mut self, axis: &str, fit: ImageFit) {
        let of = |what: &str| format!("resize/{what}_of_{axis}");
        let length = format!("resize/{axis}");
        let seen = match fit {
            ImageFit::Crop => "resize/square",
            ImageFit::Stretch => &length,
        };
        // Pixels of the image that make one of the input, and how far its filter reaches.
        self.add("Div", &[seen, "resize/side"], &of("scale"));
        self.add("Max", &[&of("scale"), "resize/one"], &of("reach"));
        // Where what is seen begins, half a pixel at a time.
        self.add("Sub", &[&length, seen], &of("margin"));
        self.add("Mul", &[&of("margin"), "resize/half"], &of("start"));
        self.add("Mul", &["resize/centres", &of("scale")], &of("offsets"));
        self.add("Add", &[&of("offsets"), &of("start")], &of("centres"));
        self.add(
            "Range",
            &["resize/zero", &format!("resize/whole_{axis}"), "resize/step"],
            &of("numbers"),
        );
        self.cast(&of("numbers"), &of("places"));
        self.add("Add", &[&of("places"), "resize/half"], &of("middles"));
        self.add("Sub", &[&of("middles"), &of("centres")], &of("differences"));
        self.add("Abs", &[&of("differences")], &of("distances"));
        self.add("Div", &[&of("distances"), &of("reach")], &of("reaches"));
        self.add("Sub", &["resize/one", &of("reaches")], &of("slopes"));
        self.add("Relu", &[&of("slopes")], &of("triangles"));
        // Axes are kept, as they are by default.
        self.add("ReduceSum", &[&of("triangles"), "resize/last_axis"], &of("sums"));
        self.add("Div", &[&of("triangles"), &of("sums")], &of("weights"));
    }
}
