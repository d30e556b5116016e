//! ONNX files byte by byte, with whatever in them that no tool would write.

/// A message of the format that ONNX files are written in.
#[derive(Clone, Debug, Default)]
pub struct Message(Vec<u8>);

impl Message {
    /// With a number in the field of that number.
    pub fn number(mut self, field: u64, value: i64) -> Self {
        self.varint(field << 3);
        self.varint(value as u64);
        self
    }

    /// With bytes.
    pub fn bytes(mut self, field: u64, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
        self
    }

    /// With another message.
    pub fn message(self, field: u64, message: Self) -> Self {
        self.bytes(field, message.0)
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

/// A graph that is being written, with one input `images` of float32.
#[derive(Clone, Debug)]
pub struct OnnxGraph {
    graph: Message,
    metadata: Message,
}

impl OnnxGraph {
    /// With an input of these sizes.
    pub fn new(sizes: &[i64]) -> Self {
        let graph = Message::default().bytes(2, "graph").message(11, value("images", sizes));
        Self { graph, metadata: Message::default() }
    }

    /// With an operation, whose attributes are lists of whole numbers.
    pub fn node(
        mut self,
        op: &str,
        inputs: &[&str],
        output: &str,
        lists: &[(&str, &[i64])],
    ) -> Self {
        let mut node = Message::default();
        for input in inputs {
            node = node.bytes(1, input);
        }
        node = node.bytes(2, output).bytes(3, output).bytes(4, op);
        for (name, list) in lists {
            let mut attribute = Message::default().bytes(1, name);
            for number in *list {
                attribute = attribute.number(8, *number);
            }
            // INTS.
            node = node.message(5, attribute.number(20, 7));
        }
        self.graph = self.graph.message(1, node);
        self
    }

    /// With weights, all of one value.
    pub fn weights(mut self, name: &str, sizes: &[i64], value: f32) -> Self {
        let count = sizes.iter().product::<i64>() as usize;
        let mut tensor = Message::default();
        for size in sizes {
            tensor = tensor.number(1, *size);
        }
        tensor = tensor.number(2, 1).bytes(8, name).bytes(9, value.to_le_bytes().repeat(count));
        self.graph = self.graph.message(5, tensor);
        self
    }

    /// With an entry of the metadata.
    pub fn says(mut self, key: &str, text: &str) -> Self {
        self.metadata = self.metadata.message(14, Message::default().bytes(1, key).bytes(2, text));
        self
    }

    /// The file's bytes, with this output.
    pub fn file(self, output: &str) -> Vec<u8> {
        let graph = self.graph.message(12, value(output, &[]));
        let opset = Message::default().bytes(1, "").number(2, 17);
        let mut file = Message::default().number(1, 8).message(7, graph).message(8, opset);
        file.0.extend(self.metadata.0);
        file.0
    }
}

fn value(name: &str, sizes: &[i64]) -> Message {
    let mut shape = Message::default();
    for size in sizes {
        shape = shape.message(1, Message::default().number(1, *size));
    }
    let mut tensor = Message::default().number(1, 1);
    if !sizes.is_empty() {
        tensor = tensor.message(2, shape);
    }
    Message::default().bytes(1, name).message(2, Message::default().message(1, tensor))
}

/// A backbone of one convolution, ReLU and pooling, whose features are the `channels` values of
/// `features`.
pub fn small_backbone(side: i64, channels: i64) -> OnnxGraph {
    OnnxGraph::new(&[1, 3, side, side])
        .weights("w", &[channels, 3, 3, 3], 0.05)
        .node("Conv", &["images", "w"], "c", &[("kernel_shape", &[3, 3]), ("strides", &[2, 2])])
        .node("Relu", &["c"], "r", &[])
        .node("GlobalAveragePool", &["r"], "p", &[])
        .node("Flatten", &["p"], "features", &[])
        .says("mean", "[0.5, 0.5, 0.5]")
        .says("std", "[0.5, 0.5, 0.5]")
}
