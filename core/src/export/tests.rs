use std::path::{Path, PathBuf};

use onnx_ir::ModelProto;
use protobuf::Message;
use rand::RngExt;

use super::*;
use crate::infer::OnnxClassifier;
use crate::job::{Control, Silent};
use crate::model::{NamedTensor, load_weights};
use crate::random::stream;
use crate::settings::{Backbone, Stem};

const SIDE: usize = 16;

/// A network whose running statistics and scales are as untidy as after training.
pub(super) fn source(backbone: Backbone, stem: Stem, seed: u64) -> ExportSource {
    let config = NetworkConfig { backbone, stem, input_size: SIDE, classes: 5 };
    let device = burn::tensor::Device::flex();
    let mut rng = stream(seed, "test weights", &[]);
    let mut unsettle = |mut tensor: NamedTensor| {
        let range = match tensor.name.rsplit('.').next() {
            Some("running_mean") => -0.3..0.3,
            Some("running_var") => 0.5..2.0,
            _ => return tensor,
        };
        tensor.values.iter_mut().for_each(|value| *value = rng.random_range(range.clone()));
        tensor
    };
    let fresh = Network::new(&config, seed, &device);
    let tensors = weights(&fresh).into_iter().map(&mut unsettle).collect();
    ExportSource {
        network: load_weights(fresh, tensors).unwrap(),
        config,
        mean: [0.49, 0.48, 0.45],
        std: [0.2, 0.21, 0.22],
        fit: ImageFit::Crop,
        temperature: Some(0.5),
        classes: ["apple", "l'été", "\"c\"", "d\\e", "f"].map(String::from).to_vec(),
        says: vec![("summary", serde_json::json!({ "epochs": 3, "balanced_accuracy": 0.5 }))],
    }
}

fn bytes_of(source: &ExportSource, weights: Vec<NamedTensor>) -> Vec<u8> {
    graph::build(source, weights, Variant::Float32).unwrap().write_to_bytes().unwrap()
}

pub(super) fn images(count: usize) -> Vec<Vec<u8>> {
    images_of_side(count, SIDE)
}

pub(super) fn images_of_side(count: usize, side: usize) -> Vec<Vec<u8>> {
    let mut rng = stream(9, "test images", &[]);
    (0..count).map(|_| (0..3 * side * side).map(|_| rng.random()).collect()).collect()
}

fn run_export(source: &ExportSource, path: &Path, checks: &[Vec<u8>]) -> Result<ExportReport> {
    export(source, &Onnx::BOTH, path, checks, Job::new(&Control::new(), &Silent))
}

fn files_in(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

#[test]
fn an_export_agrees_holds_its_labels_and_says_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    for (backbone, stem) in
        [(Backbone::ResNet20, Stem::Small), (Backbone::ResNet18, Stem::Imagenet)]
    {
        let source = source(backbone, stem, 1);
        let path = folder.path().join("new/model.onnx");
        let before = weights(&source.network);
        let report = run_export(&source, &path, &images(40)).unwrap();
        assert_eq!((report.top1_agreement, report.images, report.opset), (1.0, 40, 17));
        assert!(
            report.max_abs_diff < 1e-3 && report.max_abs_diff_probabilities < 1e-4,
            "{report:?}"
        );
        assert_eq!(report.bytes, std::fs::metadata(&path).unwrap().len());
        assert_eq!(weights(&source.network), before);

        let classifier = OnnxClassifier::load(&path).unwrap();
        assert_eq!(classifier.classes(), source.classes);
        assert_eq!(classifier.input_size(), SIDE);
        assert_eq!(classifier.metadata()["task"], "classify");
        assert_eq!(classifier.metadata()["input_size"], "[16,16]");
        assert!(classifier.metadata()["summary"].contains("\"epochs\":3"));
        for row in classifier.classify(&images(3)).unwrap() {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            let top = classifier.top_k(&row, 9);
            assert!(
                top.len() == 5
                    && top.windows(2).all(|pair| pair[0].probability >= pair[1].probability)
            );
        }
    }
    assert_eq!(files_in(&folder.path().join("new")), 1);
}

#[test]
fn the_graph_has_the_promised_names_and_the_same_network_gives_the_same_bytes() {
    let source = source(Backbone::ResNet20, Stem::Small, 2);
    let bytes = bytes_of(&source, weights(&source.network));
    let model = ModelProto::parse_from_bytes(&bytes).unwrap();
    assert_eq!((model.producer_name.as_str(), model.ir_version), ("counterweight", 8));
    assert_eq!(model.graph.input.iter().map(|i| i.name.as_str()).collect::<Vec<_>>(), ["images"]);
    assert_eq!(
        model.graph.output.iter().map(|o| o.name.as_str()).collect::<Vec<_>>(),
        ["probabilities", "logits"]
    );
    let names: Vec<&str> =
        model.graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    // Batch norm is in the convolutions, which have a bias for it.
    let is_norm = |name: &str| name.contains("bn") || name.contains("downsample.1");
    for tensor in weights(&source.network).iter().filter(|tensor| !is_norm(&tensor.name)) {
        assert!(names.contains(&tensor.name.as_str()), "{} is missing from {names:?}", tensor.name);
    }
    assert!(names.contains(&"conv1.bias") && !names.iter().any(|name| is_norm(name)), "{names:?}");
    for node in &model.graph.node {
        let said = |name: &str| node.attribute.iter().any(|attribute| attribute.name == name);
        assert!(!said("ceil_mode") && said("kernel_shape") == (node.op_type == "Conv"), "{node:?}");
    }
    assert_eq!(bytes_of(&source, weights(&source.network)), bytes);
}

/// Writes these bytes, whatever it is asked to.
pub(super) struct Given(pub Vec<u8>);

impl ExportTarget for Given {
    fn name(&self) -> &'static str {
        "given"
    }

    fn extension(&self) -> &'static str {
        "onnx"
    }

    fn make(&self, _model: ExportModel<'_>) -> Result<Artifact, String> {
        Ok(Artifact { bytes: self.0.clone(), opset: 18 })
    }

    fn read_back(&self, path: &Path) -> Result<Box<dyn ReadBack>> {
        Onnx::BOTH.read_back(path)
    }
}

#[test]
fn every_target_writes_what_it_reads_back() {
    let folder = tempfile::tempdir().unwrap();
    let source = source(Backbone::ResNet20, Stem::Small, 9);
    for target in TARGETS {
        let path = folder.path().join(format!("{}.{}", target.name(), target.extension()));
        let control = Control::new();
        let report = export(&source, target, &path, &images(3), Job::new(&control, &Silent));
        assert_eq!(report.unwrap().agreeing(), 3, "{}", target.name());
    }
}

#[test]
fn one_output_alone_is_checked_and_can_be_run() {
    let folder = tempfile::tempdir().unwrap();
    let source = source(Backbone::ResNet20, Stem::Small, 9);
    let control = Control::new();
    let run = |outputs| {
        let path = folder.path().join("one.onnx");
        let job = Job::new(&control, &Silent);
        assert_eq!(
            export(&source, &Onnx { outputs, ..Onnx::BOTH }, &path, &images(3), job)
                .unwrap()
                .agreeing(),
            3
        );
        let model = ModelProto::parse_from_bytes(&std::fs::read(&path).unwrap()).unwrap();
        let softmaxes = model.graph.node.iter().filter(|node| node.op_type == "Softmax").count();
        let names: Vec<String> = model.graph.output.iter().map(|o| o.name.clone()).collect();
        (names, softmaxes, OnnxClassifier::load(&path).unwrap().classify(&images(2)).unwrap())
    };
    let (both, _, expected) = run(OnnxOutputs::Both);
    assert_eq!(both.len(), 2);
    for (outputs, name, softmaxes) in
        [(OnnxOutputs::Probabilities, "probabilities", 1), (OnnxOutputs::Logits, "logits", 0)]
    {
        let (names, found, rows) = run(outputs);
        assert_eq!((names, found), (vec![name.to_string()], softmaxes));
        for (row, expected) in rows.iter().flatten().zip(expected.iter().flatten()) {
            assert!((row - expected).abs() < 1e-6);
        }
    }
}

#[test]
fn a_file_that_disagrees_is_removed_and_the_older_one_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, b"older").unwrap();
    let control = Control::new();
    let job = Job::new(&control, &Silent);
    let (one, two) =
        (source(Backbone::ResNet20, Stem::Small, 3), source(Backbone::ResNet20, Stem::Small, 4));
    let bytes = |of: &ExportSource| bytes_of(of, weights(&of.network));

    let other_network = bytes(&two);
    let mut nan = weights(&one.network);
    nan.iter_mut().find(|tensor| tensor.name == "fc.bias").unwrap().values[2] = f32::NAN;
    let not_a_number = bytes_of(&one, nan);
    let mut slightly = weights(&one.network);
    slightly
        .iter_mut()
        .find(|tensor| tensor.name == "fc.bias")
        .unwrap()
        .values
        .iter_mut()
        .for_each(|bias| *bias += 0.05);
    let off = bytes_of(&one, slightly);
    let mut half = bytes(&one);
    half.truncate(half.len() / 2);
    let cut_short = half;
    for bytes in [other_network, not_a_number, off, cut_short] {
        let error = export(&one, &Given(bytes), &path, &images(6), job).unwrap_err();
        assert!(matches!(error, crate::Error::Model(ModelError::Disagrees(_))), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"older");
        assert_eq!(files_in(folder.path()), 1);
    }
    let right = Given(bytes(&one));
    assert_eq!(export(&one, &right, &path, &images(1), job).unwrap().images, 1);
    assert_ne!(std::fs::read(&path).unwrap(), b"older");
}

#[test]
fn requests_that_make_no_sense_and_stops_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let good = source(Backbone::ResNet20, Stem::Small, 5);
    let mut nameless = good.clone();
    nameless.classes.pop();
    let mut flat = good.clone();
    flat.std[1] = 0.0;
    for (source, checks) in
        [(&good, images(0)), (&good, vec![vec![0; 7]]), (&nameless, images(1)), (&flat, images(1))]
    {
        assert!(matches!(
            run_export(source, &path, &checks),
            Err(crate::Error::Model(ModelError::Export(_)))
        ));
    }
    let control = Control::new();
    control.stop();
    assert!(matches!(
        export(&good, &Onnx::BOTH, &path, &images(1), Job::new(&control, &Silent)),
        Err(crate::Error::Stopped)
    ));
    let below_a_file = folder.path().join("file");
    std::fs::write(&below_a_file, b"").unwrap();
    assert!(matches!(
        run_export(&good, &below_a_file.join("m.onnx"), &images(1)),
        Err(crate::Error::Model(ModelError::File { .. }))
    ));
    assert_eq!(files_in(folder.path()), 1);
}

/// The bytes of a small export, for tests of reading.
pub(crate) fn test_model() -> Vec<u8> {
    let source = source(Backbone::ResNet20, Stem::Small, 6);
    bytes_of(&source, weights(&source.network))
}

/// What is around a backbone: normalisation in front, the classifier behind.
const AROUND: [&str; 5] = ["Div", "Flatten", "Gemm", "Softmax", "Sub"];

#[test]
fn every_backbone_is_exported_as_its_own_operations_and_can_be_run() {
    let folder = tempfile::tempdir().unwrap();
    for backbone in Backbone::ALL {
        let info = backbone.info();
        let side = (*info.sides.start()).max(SIDE);
        let mut source = source(backbone, Stem::Small, 8);
        source.config.input_size = side;
        let path = folder.path().join(format!("{backbone}.onnx"));
        let images = images_of_side(2, side);
        let report = run_export(&source, &path, &images).unwrap();
        assert!(report.max_abs_diff < 1e-3, "{backbone}: {}", report.max_abs_diff);
        let model = ModelProto::parse_from_bytes(&std::fs::read(&path).unwrap()).unwrap();
        for node in &model.graph.node {
            let known = AROUND.contains(&node.op_type.as_str())
                || info.operations.contains(&node.op_type.as_str());
            assert!(known, "{backbone}: {}", node.op_type);
        }
        // Nothing is named that is not there, so that foreign files are not let in by accident.
        let used = |operation: &&str| {
            model.graph.node.iter().any(|node| node.op_type == **operation)
                || **operation == *"MaxPool"
        };
        assert!(info.operations.iter().all(used), "{backbone}");
        let clips = model.graph.node.iter().filter(|node| node.op_type == "Clip").count();
        let relus = if info.operations.contains(&"Clip") { 1 + 15 * 2 + 1 } else { 0 };
        assert!(clips >= relus, "{backbone}: {clips} of at least {relus} ReLU6 are one node");
    }
}

/// What a classifier says of files, and whether our own kernels computed it.
fn classified(path: &Path, files: &[PathBuf]) -> (Vec<Vec<f32>>, bool) {
    let classifier = OnnxClassifier::load(path).unwrap();
    let mut rows = Vec::new();
    let mut each = |_: &Path, found: Result<Vec<f32>>| {
        rows.push(found?);
        Ok(())
    };
    classifier.classify_all(files, &mut each, Job::new(&Control::new(), &Silent)).unwrap();
    (rows, classifier.uses_own_kernels())
}

#[test]
fn a_file_of_ours_is_computed_by_our_own_kernels_until_it_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    let mut rng = stream(5, "test images", &[]);
    let files: Vec<PathBuf> = (0..18)
        .map(|index| {
            let path = folder.path().join(format!("{index}.png"));
            let pixels = image::RgbImage::from_fn(40, 33, |_, _| image::Rgb(rng.random()));
            pixels.save(&path).unwrap();
            path
        })
        .collect();
    for backbone in Backbone::ALL {
        let side = (*backbone.info().sides.start()).max(SIDE);
        let stems = if backbone.info().has_stems { 2 } else { 1 };
        for stem in [Stem::Small, Stem::Imagenet].into_iter().take(stems) {
            let mut source = source(backbone, stem, 8);
            source.config.input_size = side;
            let path = folder.path().join("model.onnx");
            run_export(&source, &path, &images_of_side(2, side)).unwrap();
            let (found, native) = classified(&path, &files);
            assert!(native, "{backbone}");
            // One by one it is the runtime, which takes longer to load than to answer.
            let runtime = OnnxClassifier::load(&path).unwrap();
            for (file, found) in files.iter().zip(&found).take(2) {
                let (one, native) = classified(&path, std::slice::from_ref(file));
                assert!(!native && !runtime.uses_own_kernels());
                for (found, expected) in found.iter().zip(&one[0]) {
                    assert!((found - expected).abs() < 1e-4, "{backbone}: {found} {expected}");
                }
            }
        }
    }
    // Another graph under the same name, and weights that were changed.
    let path = folder.path().join("model.onnx");
    run_export(&source(Backbone::ResNet20, Stem::Small, 8), &path, &images(2)).unwrap();
    let (as_it_was, _) = classified(&path, &files);
    let bytes = std::fs::read(&path).unwrap();
    let changed = |edit: &dyn Fn(&mut ModelProto)| {
        let mut model = ModelProto::parse_from_bytes(&bytes).unwrap();
        edit(&mut model);
        std::fs::write(&path, model.write_to_bytes().unwrap()).unwrap();
        classified(&path, &files)
    };
    let (found, native) = changed(&|model| {
        let graph = model.graph.mut_or_insert_default();
        let add = graph.node.iter_mut().find(|node| node.op_type == "Add").unwrap();
        add.op_type = "Sub".into();
    });
    assert!(!native && found != as_it_was);
    // Weights are read from the file, so this is its own answer.
    let (found, native) = changed(&|model| {
        let graph = model.graph.mut_or_insert_default();
        let bias = graph.initializer.iter_mut().find(|held| held.name == "fc.bias").unwrap();
        let shifted = nodes::floats(bias).into_iter().enumerate();
        bias.raw_data = shifted
            .flat_map(|(class, value)| (value + class as f32).to_le_bytes())
            .collect::<Vec<u8>>()
            .into();
    });
    let (one, _) = classified(&path, &files[..1]);
    assert!(native && found != as_it_was);
    assert!(found[0].iter().zip(&one[0]).all(|(found, one)| (found - one).abs() < 1e-4));
}
