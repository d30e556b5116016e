use std::path::Path;

use onnx_ir::ModelProto;
use protobuf::Message;

use super::*;
use crate::error::Error;
use crate::export::test_model;
use crate::onnx::LOGITS;

/// Loads bytes as a file and returns what is said about them.
fn load(folder: &Path, bytes: &[u8]) -> Result<OnnxClassifier, String> {
    let path = folder.join("model.onnx");
    std::fs::write(&path, bytes).unwrap();
    OnnxClassifier::load(&path).map_err(|error| {
        assert!(matches!(error, Error::Model(ModelError::File { .. })), "{error:?}");
        error.to_string()
    })
}

fn edited(bytes: &[u8], edit: impl FnOnce(&mut ModelProto)) -> Vec<u8> {
    let mut model = ModelProto::parse_from_bytes(bytes).unwrap();
    edit(&mut model);
    model.write_to_bytes().unwrap()
}

#[test]
fn broken_and_hostile_files_are_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let good = test_model();
    assert!(load(folder.path(), &good).is_ok());
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", Vec::new(), "empty"),
        ("text", b"this is no model".to_vec(), "not an ONNX file"),
        ("half", good[..good.len() / 2].to_vec(), ""),
        ("no graph", edited(&good, |m| m.graph = protobuf::MessageField::none()), "no graph"),
        (
            "unknown operation",
            edited(&good, |m| m.graph.mut_or_insert_default().node[3].op_type = "Loop".into()),
            "Loop",
        ),
        (
            "dangling input",
            edited(&good, |m| m.graph.mut_or_insert_default().node[3].input[0] = "nowhere".into()),
            "nowhere",
        ),
        (
            "dangling output",
            edited(&good, |m| m.graph.mut_or_insert_default().output[0].name = "nowhere".into()),
            "nowhere",
        ),
        (
            "negative size",
            edited(&good, |m| m.graph.mut_or_insert_default().initializer[0].dims[0] = -1),
            "impossible shape",
        ),
        (
            "overflowing size",
            edited(&good, |m| {
                m.graph.mut_or_insert_default().initializer[0].dims = vec![i64::MAX; 4]
            }),
            "impossible",
        ),
        (
            "size beyond the data",
            edited(&good, |m| m.graph.mut_or_insert_default().initializer[0].dims[0] = 1 << 40),
            "damaged",
        ),
        (
            "number kind",
            edited(&good, |m| m.graph.mut_or_insert_default().initializer[0].data_type = 99),
            "not supported",
        ),
        (
            "another file's data",
            edited(&good, |m| {
                m.graph.mut_or_insert_default().initializer[0]
                    .external_data
                    .push(Default::default())
            }),
            "another file",
        ),
        ("padding beyond memory", edited(&good, widen_padding), "out of range"),
        ("two channels", edited(&good, |m| set_input_dim(m, 1, 2)), "three channels"),
        ("not square", edited(&good, |m| set_input_dim(m, 2, 24)), "24 × 16"),
        (
            "too large",
            edited(&good, |m| {
                set_input_dim(m, 2, 60_000);
                set_input_dim(m, 3, 60_000)
            }),
            "only squares",
        ),
        ("weights of another shape", edited(&good, swap_dims), ""),
        ("steps of nothing", edited(&good, stand_still), "`Conv` has strides below 1"),
    ];
    for (name, bytes, reason) in cases {
        let error = load(folder.path(), &bytes).expect_err(name);
        assert!(error.contains(reason) && error.contains("model.onnx"), "{name}: {error}");
    }
    assert!(OnnxClassifier::load(&folder.path().join("missing.onnx")).is_err());
    assert!(OnnxClassifier::load(folder.path()).unwrap_err().to_string().contains("folder"));
}

fn widen_padding(model: &mut ModelProto) {
    let node = model
        .graph
        .mut_or_insert_default()
        .node
        .iter_mut()
        .find(|node| node.op_type == "Conv")
        .unwrap();
    node.attribute.iter_mut().find(|attribute| attribute.name == "pads").unwrap().ints[0] = 1 << 40;
}

fn stand_still(model: &mut ModelProto) {
    let nodes = &mut model.graph.mut_or_insert_default().node;
    let node = nodes.iter_mut().find(|node| node.op_type == "Conv").unwrap();
    node.attribute.iter_mut().find(|attribute| attribute.name == "strides").unwrap().ints[1] = 0;
}

fn set_input_dim(model: &mut ModelProto, axis: usize, length: i64) {
    let input = &mut model.graph.mut_or_insert_default().input[0];
    input.type_.mut_or_insert_default().mut_tensor_type().shape.mut_or_insert_default().dim[axis]
        .set_dim_value(length);
}

fn swap_dims(model: &mut ModelProto) {
    let weight = model
        .graph
        .mut_or_insert_default()
        .initializer
        .iter_mut()
        .find(|tensor| tensor.name == "conv1.weight")
        .unwrap();
    weight.dims.swap(0, 1);
}

#[test]
fn damage_anywhere_never_panics() {
    let folder = tempfile::tempdir().unwrap();
    let good = test_model();
    let graph_end = good.len();
    // The structure lies at both ends of the file; between them are weights, whose damage a loader
    // cannot see.
    let places = (0..400).chain(graph_end - 1500..graph_end).step_by(31);
    for place in places {
        for flip in [0x01, 0x80] {
            let mut bytes = good.clone();
            bytes[place] ^= flip;
            if let Ok(classifier) = load(folder.path(), &bytes) {
                let side = classifier.input_size();
                if side <= 64 {
                    drop(classifier.classify(&[vec![0; 3 * side * side]]));
                }
            }
        }
    }
}

#[test]
fn labels_come_from_whatever_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let good = test_model();
    let without = |keys: &'static [&'static str]| {
        edited(&good, move |model| {
            model.metadata_props.retain(|entry| !keys.contains(&entry.key.as_str()))
        })
    };
    let full = load(folder.path(), &good).unwrap();
    let ultralytics = load(folder.path(), &without(&["class_names", "input_size"])).unwrap();
    assert_eq!(ultralytics.classes(), full.classes());
    let numbered = load(folder.path(), &without(&["class_names", "names"])).unwrap();
    assert_eq!(numbered.classes()[..2], ["class 0", "class 1"]);
    assert_eq!(numbered.classes().len(), full.classes().len());
}

#[test]
fn a_single_output_of_another_name_gets_a_softmax() {
    let folder = tempfile::tempdir().unwrap();
    let good = test_model();
    let foreign = edited(&good, |model| {
        let graph = model.graph.mut_or_insert_default();
        // The softmax, and the temperature before it, which the file goes on saying.
        graph.node.truncate(graph.node.len() - 2);
        graph.output.truncate(1);
        graph.output[0].name = "output0".into();
        graph
            .node
            .iter_mut()
            .flat_map(|node| &mut node.output)
            .filter(|name| *name == LOGITS)
            .for_each(|name| *name = "output0".into());
    });
    let side = 16;
    let images: Vec<Vec<u8>> = (0..3u8)
        .map(|i| (0..3 * side * side).map(|v| (v as u8).wrapping_mul(i + 3)).collect())
        .collect();
    let ours = load(folder.path(), &good).unwrap().classify(&images).unwrap();
    let theirs = load(folder.path(), &foreign).unwrap().classify(&images).unwrap();
    for (ours, theirs) in ours.iter().flatten().zip(theirs.iter().flatten()) {
        assert!((ours - theirs).abs() < 1e-6, "{ours} {theirs}");
    }
}

#[test]
fn images_of_another_size_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let classifier = load(folder.path(), &test_model()).unwrap();
    assert!(classifier.classify(&[]).unwrap().is_empty());
    assert!(classifier.classify(&[vec![0; 5]]).unwrap_err().to_string().contains("768 values"));
}
