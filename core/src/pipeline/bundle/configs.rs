//! Class names and settings in the forms that other programs read.

use serde_json::{Map, Value, json};

use crate::images::InputShape;
use crate::run::Run;
use crate::settings::ImageFit;

/// Class names, one a line; what would break a line becomes a space.
pub(super) fn labels(classes: &[String]) -> String {
    classes.iter().map(|class| format!("{}\n", class.replace(['\n', '\r'], " "))).collect()
}

/// `config.json`, as Hugging Face's tools read it.
pub(super) fn config(run: &Run, classes: &[String], side: usize) -> String {
    let id2label: Map<String, Value> = classes
        .iter()
        .enumerate()
        .map(|(class, name)| (class.to_string(), name.as_str().into()))
        .collect();
    let label2id: Map<String, Value> =
        classes.iter().enumerate().map(|(class, name)| (name.clone(), class.into())).collect();
    pretty(&json!({
        "model_type": "counterweight",
        "backbone": run.settings().model.backbone.name(),
        "problem_type": "single_label_classification",
        "num_labels": classes.len(),
        "image_size": side,
        "num_channels": 3,
        "id2label": id2label,
        "label2id": label2id,
    }))
}

/// `preprocessor_config.json`, as Hugging Face's tools read it: the model normalises by itself.
pub(super) fn preprocessor(shape: InputShape) -> String {
    let side = shape.side;
    let is_cut = shape.fit == ImageFit::Crop;
    let size = match is_cut {
        true => json!({ "shortest_edge": side }),
        false => json!({ "height": side, "width": side }),
    };
    pretty(&json!({
        "image_processor_type": "ViTImageProcessor",
        "do_resize": true,
        "size": size,
        "resample": 2,
        "do_center_crop": is_cut,
        "crop_size": { "height": side, "width": side },
        "do_convert_rgb": true,
        "do_rescale": true,
        "rescale_factor": 1.0 / 255.0,
        "do_normalize": false,
        "image_mean": [0.0, 0.0, 0.0],
        "image_std": [1.0, 1.0, 1.0],
    }))
}

/// `config.pbtxt`, as Triton reads it from the folder above `1/model.onnx`.
pub(super) fn triton(run: &Run, classes: usize, side: usize) -> String {
    // Without a number Triton sends one image at a time, which every model takes.
    let batch = if run.backbone_file().is_some() { 0 } else { 32 };
    let dims = |dims: &[usize]| {
        let all: Vec<String> = (batch == 0)
            .then(|| "1".to_string())
            .into_iter()
            .chain(dims.iter().map(usize::to_string))
            .collect();
        all.join(", ")
    };
    format!(
        "platform: \"onnxruntime_onnx\"\n\
         max_batch_size: {batch}\n\
         input [\n  {{ name: \"images\", data_type: TYPE_FP32, dims: [ {} ] }}\n]\n\
         output [\n  {{ name: \"probabilities\", data_type: TYPE_FP32, dims: [ {classes} ], label_filename: \"labels.txt\" }},\n  \
         {{ name: \"logits\", data_type: TYPE_FP32, dims: [ {classes} ] }}\n]\n",
        dims(&[3, side, side]),
        classes = dims(&[classes]),
    )
}

fn pretty(value: &Value) -> String {
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}
