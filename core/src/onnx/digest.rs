//! By what a file is known to be as it was written.

use onnx_ir::GraphProto;
use protobuf::Message;

/// The key of the digest in a file's metadata.
pub(crate) const DIGEST: &str = "graph_blake3";

/// BLAKE3, in hexadecimal, over the operations of a graph, the names and shapes of its weights and
/// its boundaries; not over the numbers of the weights.
///
/// # Errors
/// A sentence, if the graph cannot be written.
pub(crate) fn digest(graph: &GraphProto) -> Result<String, String> {
    let mut hash = blake3::Hasher::new();
    let mut add = |bytes: &[u8]| {
        hash.update(&(bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    for node in &graph.node {
        add(&node.write_to_bytes().map_err(|error| error.to_string())?);
    }
    for value in graph.input.iter().chain(&graph.output) {
        add(&value.write_to_bytes().map_err(|error| error.to_string())?);
    }
    for tensor in &graph.initializer {
        add(tensor.name.as_bytes());
        add(&tensor.data_type.to_le_bytes());
        tensor.dims.iter().for_each(|dim| add(&dim.to_le_bytes()));
    }
    Ok(hash.finalize().to_hex().to_string())
}
