use onnx_ir::ModelProto;
use protobuf::Message;
use rand::RngExt;

use super::super::tests::{images, images_of_side, source};
use super::super::{ExportSource, Onnx, export};
use super::Variant;
use crate::images::{InputShape, RgbPixels, to_input};
use crate::infer::{InputOptions, OnnxClassifier};
use crate::job::{Control, Job, Silent};
use crate::random::stream;
use crate::settings::{Backbone, ImageFit, Stem};

#[test]
fn every_form_is_written_read_back_and_says_what_it_takes() {
    let folder = tempfile::tempdir().unwrap();
    let control = Control::new();
    for (backbone, side) in [(Backbone::ResNet20, 16), (Backbone::EfficientNetLite0, 32)] {
        let mut source = source(backbone, Stem::Small, 9);
        source.config.input_size = side;
        let calibration = images_of_side(24, side);
        let checks = images_of_side(8, side);
        let mut expected: Option<Vec<Vec<f32>>> = None;
        for variant in Variant::ALL {
            let path = folder.path().join(variant.file_name());
            let target = Onnx { variant, calibration: &calibration, ..Onnx::BOTH };
            let job = Job::new(&control, &Silent);
            let report = export(&source, &target, &path, &checks, job).unwrap();
            let classifier = OnnxClassifier::load(&path).unwrap();
            assert_eq!(classifier.input_size(), side, "{}", variant.name());
            assert_eq!(classifier.metadata()["variant"], variant.name());
            if variant == Variant::Int8 {
                // `axis`, an integer, 0: as a value that is there, without which OpenCV refuses it.
                let axis = b"\x0a\x04axis\xa0\x01\x02\x18\x00";
                let bytes = std::fs::read(&path).unwrap();
                assert!(memchr::memmem::find(&bytes, axis).is_some());
            }
            let said: serde_json::Value =
                serde_json::from_str(&classifier.metadata()["preprocess"]).unwrap();
            let takes_bytes = variant.input_form().takes_bytes();
            assert_eq!(said["type"], if takes_bytes { "uint8" } else { "float32" });
            let found = classifier.run(&checks).unwrap().logits.unwrap();
            let expected = expected.get_or_insert_with(|| found.clone());
            let largest =
                expected.iter().flatten().fold(0.0f32, |most, logit| most.max(logit.abs()));
            let allowed = match variant {
                Variant::Float16 => 0.02 * largest,
                Variant::Int8 => 0.15 * largest,
                _ => 1e-4 * largest,
            };
            for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
                let apart = (found - expected).abs();
                assert!(apart <= allowed, "{backbone} {}: {found} {expected}", variant.name());
            }
            let smaller = match variant {
                Variant::Float16 => 0.6,
                Variant::Int8 => 0.45,
                _ => continue,
            };
            let whole = std::fs::metadata(folder.path().join("model.onnx")).unwrap().len();
            assert!((report.bytes as f64) < smaller * whole as f64, "{report:?} of {whole}");
        }
    }
}

#[test]
fn images_of_any_size_are_resized_in_the_graph_as_by_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("any.onnx");
    let source = source(Backbone::ResNet20, Stem::Small, 3);
    let control = Control::new();
    let target = Onnx { variant: Variant::AnySize, ..Onnx::BOTH };
    export(&source, &target, &path, &images(3), Job::new(&control, &Silent)).unwrap();
    let mut rng = stream(4, "test images", &[]);
    // Squares of other sizes, larger and smaller, even and odd; other shapes are for runtimes that
    // take them, see tests/tests/onnx.rs.
    for side in [16, 17, 40, 61, 9, 130] {
        let options = InputOptions { side: Some(side), ..InputOptions::default() };
        let classifier = OnnxClassifier::load_with(&path, &options).unwrap();
        let data: Vec<u8> = (0..3 * side * side).map(|_| rng.random()).collect();
        let image = RgbPixels { width: side as u32, height: side as u32, data };
        let found = classifier.classify(&[to_input(&image, side)]).unwrap();
        let small = OnnxClassifier::load(&path).unwrap();
        let expected = small.classify(&[to_input(&image, 16)]).unwrap();
        for (found, expected) in found[0].iter().zip(&expected[0]) {
            assert!((found - expected).abs() < 0.01, "{side}: {found} {expected}");
        }
    }
}

#[test]
fn a_file_says_how_images_become_its_input() {
    let folder = tempfile::tempdir().unwrap();
    let control = Control::new();
    for fit in ImageFit::ALL {
        let source = ExportSource { fit, ..source(Backbone::ResNet20, Stem::Small, 3) };
        for variant in [Variant::Float32, Variant::AnySize] {
            let path = folder.path().join(format!("{fit}-{}", variant.file_name()));
            let target = Onnx { variant, ..Onnx::BOTH };
            export(&source, &target, &path, &images(3), Job::new(&control, &Silent)).unwrap();
            let classifier = OnnxClassifier::load(&path).unwrap();
            assert_eq!(classifier.input_shape(), InputShape { side: 16, fit });
            let cuts = classifier.metadata()["resize"].contains("crop");
            let cut = classifier.metadata()["resize"].contains("largest centred square") || cuts;
            assert_eq!(cut, fit == ImageFit::Crop, "{}", classifier.metadata()["resize"]);
        }
    }
}

#[test]
fn in_eight_bits_no_sum_is_cut_off_twice() {
    let source = source(Backbone::ResNet20, Stem::Small, 3);
    let control = Control::new();
    let calibration = images(16);
    let target = Onnx { variant: Variant::Int8, calibration: &calibration, ..Onnx::BOTH };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("int8.onnx");
    export(&source, &target, &path, &images(3), Job::new(&control, &Silent)).unwrap();
    let model = ModelProto::parse_from_bytes(&std::fs::read(&path).unwrap()).unwrap();
    let made_by = |value: &String| {
        let makes = |node: &&onnx_ir::NodeProto| node.output.contains(value);
        model.graph.node.iter().find(makes).map(|node| node.op_type.as_str())
    };
    let relus: Vec<_> = model.graph.node.iter().filter(|node| node.op_type == "Relu").collect();
    // The first one, and one within each of nine blocks: those at their ends follow a sum.
    assert_eq!(relus.len(), 10);
    assert!(relus.iter().all(|relu| made_by(&relu.input[0]) == Some("Conv")));
    let sums = model.graph.node.iter().filter(|node| node.op_type == "QuantizeLinear");
    assert_eq!(sums.filter(|node| made_by(&node.input[0]) == Some("Add")).count(), 9);
}

#[test]
fn eight_bits_need_images_to_measure_on() {
    let source = source(Backbone::ResNet20, Stem::Small, 3);
    let control = Control::new();
    let target = Onnx { variant: Variant::Int8, ..Onnx::BOTH };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("int8.onnx");
    let error = export(&source, &target, &path, &images(3), Job::new(&control, &Silent));
    assert!(error.unwrap_err().to_string().contains("no images"));
    assert!(!path.exists());
}
