//! What an exported file says of itself: its boundaries, how an image becomes its input, its labels,
//! and how it was trained.

use onnx_ir::{ModelProto, ValueInfoProto};
use serde::Serialize;
use serde_json::{Value, json};

use super::ExportSource;
use super::nodes::FLOAT;
use super::variants::{Axis, Variant};
use crate::onnx::{INPUT, LOGITS, PROBABILITIES, TEMPERATURE, fit, labels};
use crate::words::ImageFit;

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
    pub variant: Variant,
    pub mean: [f32; 3],
    pub std: [f32; 3],
    pub fit: ImageFit,
    pub classes: &'a [String],
    pub says: &'a [(&'static str, serde_json::Value)],
    pub temperature: Option<f32>,
}

impl<'a> Facts<'a> {
    pub fn of(source: &'a ExportSource, variant: Variant) -> Self {
        let ExportSource { config, mean, std, fit, classes, says, temperature, .. } = source;
        let architecture = config.backbone.name().into();
        Self {
            architecture,
            side: config.input_size,
            takes_one: variant == Variant::Batch1,
            variant,
            mean: *mean,
            std: *std,
            fit: *fit,
            classes,
            says,
            temperature: *temperature,
        }
    }
}

/// Gives a file its boundaries and has it say what it is.
pub(super) fn describe(model: &mut ModelProto, facts: &Facts<'_>) -> Result<(), String> {
    let (form, classes) = (facts.variant.input_form(), facts.classes.len());
    let graph = model.graph.mut_or_insert_default();
    graph.name.clone_from(&facts.architecture);
    let images = if facts.takes_one { Axis::Of(1) } else { Axis::Batch };
    let batch = if facts.takes_one { "1" } else { BATCH };
    let input = form.in_words(batch, facts.side);
    graph.input = vec![value_info(
        INPUT,
        form.kind(),
        [images].into_iter().chain(form.axes(facts.side)),
        &format!("{input}; mean and standard deviation are applied inside the graph"),
    )];
    let output = |name: &str, doc: &str| value_info(name, FLOAT, [images, Axis::Of(classes)], doc);
    // Programs that read one output read the first, and take it for probabilities.
    let probabilities = match facts.temperature {
        None => "one probability a class".to_string(),
        Some(by) => format!("one probability a class: the softmax of the logits divided by {by}"),
    };
    graph.output = vec![
        output(PROBABILITIES, &probabilities),
        output(LOGITS, "one score a class, before the softmax"),
    ];
    graph.value_info.clear();

    model.producer_name = "counterweight".into();
    model.producer_version = env!("CARGO_PKG_VERSION").into();
    model.doc_string = format!(
        "Image classifier ({}, {classes} classes). Input `{INPUT}`: {input}. \
         Outputs: `{PROBABILITIES}` and `{LOGITS}`, [{batch}, {classes}]. {}.",
        facts.architecture,
        form.steps(facts.fit),
    );
    for (key, value) in metadata(facts)? {
        model.metadata_props.push(Default::default());
        let index = model.metadata_props.len() - 1;
        model.metadata_props[index].key = key.into();
        model.metadata_props[index].value = value;
    }
    Ok(())
}

fn value_info(
    name: &str,
    kind: i32,
    axes: impl IntoIterator<Item = Axis>,
    doc: &str,
) -> ValueInfoProto {
    let mut info = ValueInfoProto::new();
    info.name = name.into();
    info.doc_string = doc.into();
    let tensor = info.type_.mut_or_insert_default().mut_tensor_type();
    tensor.elem_type = kind;
    let shape = tensor.shape.mut_or_insert_default();
    for axis in axes {
        shape.dim.push(Default::default());
        let last = shape.dim.len() - 1;
        match axis {
            Axis::Of(length) => shape.dim[last].set_dim_value(length as i64),
            Axis::Any(name) => shape.dim[last].set_dim_param(name.into()),
            Axis::Batch => {}
        }
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
    let form = facts.variant.input_form();
    let by_number: serde_json::Map<String, Value> = facts
        .classes
        .iter()
        .enumerate()
        .map(|(class, name)| (class.to_string(), name.as_str().into()))
        .collect();
    let mut metadata = vec![
        ("task", "classify".into()),
        ("variant", facts.variant.name().into()),
        ("class_names", json(facts.classes)?),
        ("id2label", json(&by_number)?),
        ("input_size", size.clone()),
        ("preprocess", json(&preprocess(facts))?),
        ("resize", form.steps(facts.fit)),
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
        (
            "Image.NominalPixelRange",
            if form.takes_bytes() { "NominalRange_0_255" } else { "Normalized_0_1" }.into(),
        ),
    ];
    if let Some(temperature) = facts.temperature {
        metadata.push((TEMPERATURE, temperature.to_string()));
    }
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
    let mut said = json!({
        "orientation": "apply EXIF",
        "colour": "RGB",
        "alpha": "drop",
        "sixteen_bit": "round(value / 257)",
        fit::FIT: facts.fit,
        fit::CROP: fit::in_words(facts.fit),
        "filter": "triangle (bilinear) with antialiasing, as Pillow's BILINEAR; vertically, rounded to bytes, then horizontally",
        "unless": "an image of this size already is taken as it is",
        "size": [facts.side, facts.side],
        "scale": 1.0 / 255.0,
        "range": [0, 1],
        "type": "float32",
        "layout": "NCHW",
        "normalised_inside": true,
        "inside": { "mean": facts.mean, "std": facts.std },
    });
    for (key, value) in facts.variant.input_form().changes() {
        said[key] = value;
    }
    said
}
