//! Files of a few kB for tests: every layout of an input and every kind of output, made of the
//! crate's own types of the format.

use onnx_ir::{
    AttributeProto, AttributeType, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto,
};
use protobuf::Message;
use rand::RngExt;

use crate::random::stream;

/// Features of every file that has channels.
pub const FEATURES: usize = 6;
/// Side of the input where a file fixes it.
pub const SIDE: usize = 8;

/// A length of an axis: given, or open under a name.
#[derive(Clone, Copy)]
pub enum Axis {
    Is(i64),
    Open(&'static str),
}

/// `[batch, 3, 8, 8]`, with any batch.
pub const CHANNELS_FIRST: [Axis; 4] = [Axis::Open("batch"), Axis::Is(3), Axis::Is(8), Axis::Is(8)];
/// `[batch, 8, 8, 3]`.
pub const CHANNELS_LAST: [Axis; 4] = [Axis::Open("batch"), Axis::Is(8), Axis::Is(8), Axis::Is(3)];
/// `[batch, 3, height, width]`.
pub const OPEN_SIDES: [Axis; 4] =
    [Axis::Open("batch"), Axis::Is(3), Axis::Open("height"), Axis::Open("width")];
/// `[1, 3, 8, 8]`.
pub const ONE_IMAGE: [Axis; 4] = [Axis::Is(1), Axis::Is(3), Axis::Is(8), Axis::Is(8)];

/// A file to be.
pub struct Draft {
    pub model: ModelProto,
}

impl Draft {
    /// With an input of these axes, called `pixel_values`.
    pub fn new(axes: &[Axis]) -> Self {
        let mut model = ModelProto::new();
        model.ir_version = 8;
        model.opset_import.push(Default::default());
        model.opset_import[0].version = 17;
        let graph = model.graph.mut_or_insert_default();
        graph.name = "test".into();
        graph.input.push(value("pixel_values", axes));
        Self { model }
    }

    pub fn graph(&mut self) -> &mut GraphProto {
        self.model.graph.mut_or_insert_default()
    }

    /// Adds a node with lists and numbers as attributes.
    pub fn node(
        mut self,
        op: &str,
        inputs: &[&str],
        output: &str,
        attributes: &[(&str, &[i64])],
    ) -> Self {
        let mut node = NodeProto::new();
        node.op_type = op.into();
        node.name = output.into();
        node.input = inputs.iter().map(|input| input.to_string()).collect();
        node.output = vec![output.into()];
        for (name, values) in attributes {
            let mut attribute = AttributeProto::new();
            attribute.name = name.to_string();
            match (*name, values) {
                ("axis" | "keepdims" | "to", [value]) => {
                    attribute.type_ = AttributeType::INT.into();
                    attribute.i = *value;
                }
                _ => {
                    attribute.type_ = AttributeType::INTS.into();
                    attribute.ints = values.to_vec();
                }
            }
            node.attribute.push(attribute);
        }
        self.graph().node.push(node);
        self
    }

    /// Adds weights without a pattern.
    pub fn weights(self, name: &str, dims: &[i64]) -> Self {
        let mut rng = stream(11, name, &[]);
        let values = (0..dims.iter().product()).map(|_| rng.random_range(-0.5..0.5)).collect();
        self.floats(name, dims, values)
    }

    pub fn floats(mut self, name: &str, dims: &[i64], values: Vec<f32>) -> Self {
        let mut tensor = TensorProto::new();
        (tensor.name, tensor.data_type, tensor.dims) = (name.into(), 1, dims.to_vec());
        tensor.raw_data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.graph().initializer.push(tensor);
        self
    }

    pub fn ints(mut self, name: &str, dims: &[i64], values: &[i64]) -> Self {
        let mut tensor = TensorProto::new();
        (tensor.name, tensor.data_type, tensor.dims) = (name.into(), 7, dims.to_vec());
        tensor.raw_data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.graph().initializer.push(tensor);
        self
    }

    pub fn output(mut self, name: &str) -> Self {
        self.graph().output.push(value(name, &[]));
        self
    }

    pub fn metadata(mut self, key: &str, text: &str) -> Self {
        self.model.metadata_props.push(Default::default());
        let entry = self.model.metadata_props.last_mut().expect("one was pushed");
        (entry.key, entry.value) = (key.into(), text.into());
        self
    }

    /// With the normalisation in its metadata.
    pub fn normalised(self) -> Self {
        self.metadata("mean", "[0.5, 0.4, 0.3]").metadata("std", "[0.2, 0.25, 0.3]")
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.model.write_to_bytes().expect("a message of plain values can be written")
    }

    /// A convolution and ReLU: `map`, `[batch, FEATURES, side, side]`.
    pub fn map(self) -> Self {
        self.weights("conv.weight", &[FEATURES as i64, 3, 3, 3])
            .node(
                "Conv",
                &["pixel_values", "conv.weight"],
                "conv",
                &[("pads", &[1, 1, 1, 1]), ("kernel_shape", &[3, 3])],
            )
            .node("Relu", &["conv"], "map", &[])
    }

    /// [`Draft::map`] as tokens, one a pixel: `patches`, `[batch, 64, FEATURES]`.
    pub fn patches(self) -> Self {
        self.map()
            .ints("as_tokens", &[3], &[0, FEATURES as i64, -1])
            .node("Reshape", &["map", "as_tokens"], "flat", &[])
            .node("Transpose", &["flat"], "patches", &[("perm", &[0, 2, 1])])
    }

    /// [`Draft::patches`] behind a token of their largest values: `tokens`,
    /// `[batch, 65, FEATURES]`.
    pub fn tokens(self) -> Self {
        self.patches()
            .node("ReduceMax", &["patches"], "cls_token", &[("axes", &[1]), ("keepdims", &[1])])
            .node("Concat", &["cls_token", "patches"], "tokens", &[("axis", &[1])])
    }
}

fn value(name: &str, axes: &[Axis]) -> ValueInfoProto {
    let mut info = ValueInfoProto::new();
    info.name = name.into();
    let tensor = info.type_.mut_or_insert_default().mut_tensor_type();
    tensor.elem_type = 1;
    if !axes.is_empty() {
        let shape = tensor.shape.mut_or_insert_default();
        shape.dim = std::iter::repeat_with(Default::default).take(axes.len()).collect();
        for (dim, axis) in shape.dim.iter_mut().zip(axes) {
            match axis {
                Axis::Is(length) => dim.set_dim_value(*length),
                Axis::Open(name) => dim.set_dim_param(name.to_string()),
            }
        }
    }
    info
}

/// Features as they are, `[batch, FEATURES]`.
pub fn vector() -> Draft {
    Draft::new(&CHANNELS_FIRST)
        .map()
        .node("GlobalAveragePool", &["map"], "pooled", &[])
        .node("Flatten", &["pooled"], "features", &[("axis", &[1])])
        .output("features")
        .normalised()
}

/// A file of every kind, with how its features are taken in words.
pub fn of_every_kind() -> Vec<(&'static str, &'static str, Draft)> {
    let last = || {
        Draft::new(&CHANNELS_LAST)
            .weights("mix", &[3, FEATURES as i64])
            .node("MatMul", &["pixel_values", "mix"], "mixed", &[])
            .node("Tanh", &["mixed"], "map", &[])
    };
    vec![
        ("vector", "the values", vector()),
        (
            "pixels",
            "the mean over the pixels",
            Draft::new(&OPEN_SIDES).map().output("map").normalised(),
        ),
        (
            "one image",
            "the mean over the pixels",
            Draft::new(&ONE_IMAGE).map().output("map").normalised(),
        ),
        ("channels last", "the mean over the pixels", last().output("map").normalised()),
        (
            "class token",
            "the first token",
            Draft::new(&CHANNELS_FIRST).tokens().output("tokens").normalised(),
        ),
        (
            "no class token",
            "the mean over the tokens",
            Draft::new(&CHANNELS_FIRST).patches().output("patches").normalised(),
        ),
    ]
}
