//! What an exported file says of itself: its boundaries, how an image becomes its input, its labels,
//! and how it was trained.

use onnx_ir::{ModelProto, ValueInfoProto};
use serde::Serialize;
use serde_json::{Value, json};

use super::ExportSource;
use super::graph::FLOAT;
use crate::onnx::{INPUT, LOGITS, PROBABILITIES, labels};

/// How an image becomes an input, for those who deploy the file.
const RESIZE: &str = "Apply the EXIF orientation, convert to RGB, cut out the largest centred square, resize it to the input size (bilinear, antialiased), \
     divide by 255";

/// The name of the batch axis.
pub(super) const BATCH: &str = "batch";
/// The least common multiple of the sides that Ultralytics' programs pad inputs to; that of YOLO's
/// own classifiers.
const STRIDE: usize = 32;

/// What a file says about itself.
pub(super) struct Facts<'a> {
    /// The backbone's name, or the name of the file that it comes out of.
    pub architecture: String,
    pub side: usize,
    /// Whether it takes one image at a time and no more.
    pub takes_one: bool,
    pub mean: [f32; 3],
    pub std: [f32; 3],
    pub classes: &'a [String],
    pub says: &'a [(&'static str, serde_json::Value)],
}

impl<'a> Facts<'a> {
    pub fn of(source: &'a ExportSource) -> Self {
        let ExportSource { config, mean, std, classes, says, .. } = source;
        let architecture = config.backbone.name().into();
        Self {
            architecture,
            side: config.input_size,
            takes_one: false,
            mean: *mean,
            std: *std,
            classes,
            says,
        }
    }
}

/// Gives a file its boundaries and has it say what it is.
pub(super) fn describe(model: &mut ModelProto, facts: &Facts<'_>) -> Result<(), String> {
    let (side, classes) = (facts.side as i64, facts.classes.len() as i64);
    let graph = model.graph.mut_or_insert_default();
    graph.name.clone_from(&facts.architecture);
    let value_info =
        |name: &str, dims: &[i64], doc: &str| value_info(name, facts.takes_one, dims, doc);
    graph.input = vec![value_info(
        INPUT,
        &[3, side, side],
        "RGB in 0..1; mean and standard deviation are applied inside the graph",
    )];
    // Programs that read one output read the first, and take it for probabilities.
    graph.output = vec![
        value_info(PROBABILITIES, &[classes], "one probability a class"),
        value_info(LOGITS, &[classes], "one score a class, before the softmax"),
    ];
    graph.value_info.clear();

    let batch = if facts.takes_one { "1" } else { BATCH };
    model.producer_name = "counterweight".into();
    model.producer_version = env!("CARGO_PKG_VERSION").into();
    model.doc_string = format!(
        "Image classifier ({}, {classes} classes). Input `{INPUT}`: float32 [{batch}, 3, {side}, {side}], RGB in 0..1. \
         Outputs: `{PROBABILITIES}` and `{LOGITS}`, [{batch}, {classes}]. {RESIZE}.",
        facts.architecture,
    );
    for (key, value) in metadata(facts)? {
        model.metadata_props.push(Default::default());
        let index = model.metadata_props.len() - 1;
        model.metadata_props[index].key = key.into();
        model.metadata_props[index].value = value;
    }
    Ok(())
}

/// A float32 tensor with a batch axis in front of `dims`: any number, or one.
fn value_info(name: &str, takes_one: bool, dims: &[i64], doc: &str) -> ValueInfoProto {
    let mut info = ValueInfoProto::new();
    info.name = name.into();
    info.doc_string = doc.into();
    let tensor = info.type_.mut_or_insert_default().mut_tensor_type();
    tensor.elem_type = FLOAT;
    let shape = tensor.shape.mut_or_insert_default();
    shape.dim = std::iter::repeat_with(Default::default).take(dims.len() + 1).collect();
    match takes_one {
        true => shape.dim[0].set_dim_value(1),
        false => shape.dim[0].set_dim_param(BATCH.into()),
    }
    for (axis, &dim) in shape.dim[1..].iter_mut().zip(dims) {
        axis.set_dim_value(dim);
    }
    info
}

/// What the file says, by key. Values that are no texts are JSON, or a Python literal where the
/// program that reads the key wants one.
fn metadata(facts: &Facts<'_>) -> Result<Vec<(&'static str, String)>, String> {
    fn json<T: Serialize + ?Sized>(value: &T) -> Result<String, String> {
        serde_json::to_string(value).map_err(|e| e.to_string())
    }
    let size = json(&[facts.side; 2])?;
    let by_number: serde_json::Map<String, Value> = facts
        .classes
        .iter()
        .enumerate()
        .map(|(class, name)| (class.to_string(), name.as_str().into()))
        .collect();
    let mut metadata = vec![
        ("task", "classify".into()),
        ("class_names", json(facts.classes)?),
        ("id2label", json(&by_number)?),
        ("input_size", size.clone()),
        ("preprocess", json(&preprocess(facts))?),
        ("resize", RESIZE.into()),
        ("architecture", facts.architecture.clone()),
        // Ultralytics' programs read these, and need all of them.
        ("names", labels::to_python(facts.classes)),
        ("imgsz", size),
        ("stride", STRIDE.to_string()),
        ("batch", "1".into()),
        ("channels", "3".into()),
        ("args", format!("{{'batch': 1, 'half': False, 'dynamic': {}}}", python(!facts.takes_one))),
        // And Windows' these.
        ("Image.BitmapPixelFormat", "Rgb8".into()),
        ("Image.ColorSpaceGamma", "SRGB".into()),
        ("Image.NominalPixelRange", "Normalized_0_1".into()),
    ];
    for (key, value) in facts.says {
        let text = match value {
            Value::Null => continue,
            Value::String(text) => text.clone(),
            value => json(value)?,
        };
        metadata.push((key, text));
    }
    Ok(metadata)
}

fn python(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}

/// How an image becomes an input, for programs. Mean and standard deviation are not said under names
/// by which programs would apply them a second time.
fn preprocess(facts: &Facts<'_>) -> Value {
    json!({
        "orientation": "apply EXIF",
        "colour": "RGB",
        "alpha": "drop",
        "sixteen_bit": "round(value / 257)",
        "crop": "largest centred square; an odd margin is cut by half a pixel on both sides",
        "filter": "triangle (bilinear) with antialiasing, as Pillow's BILINEAR",
        "unless": "an image of this size already is taken as it is",
        "size": [facts.side, facts.side],
        "scale": 1.0 / 255.0,
        "range": [0, 1],
        "type": "float32",
        "layout": "NCHW",
        "normalised_inside": true,
        "inside": { "mean": facts.mean, "std": facts.std },
    })
}
