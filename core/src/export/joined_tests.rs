use std::path::Path;

use super::super::tests::Given;
use super::super::{ExportReport, Onnx, export};
use super::*;
use crate::error::ModelError;
use crate::infer::OnnxClassifier;
use crate::job::{Control, Job, Silent};
use crate::model::Backbone;
use crate::model::test_files::{Draft, FEATURES, SIDE, of_every_kind, vector};
use crate::settings::{Auto, ModelSettings, Preset, Settings, Stem};

fn images(count: usize) -> Vec<Vec<u8>> {
    (0..count)
        .map(|image| (0..3 * SIDE * SIDE).map(|i| (i * (37 + image) % 256) as u8).collect())
        .collect()
}

fn source<'a>(file: &'a OnnxFile) -> JoinedSource<'a> {
    let settings =
        ModelSettings { input_size: Auto::Value(SIDE), ..Settings::preset(Preset::Auto).model };
    let found = file.choose(settings.feature_choice()).unwrap();
    let weight = (0..3 * FEATURES).map(|i| ((i * 7 % 11) as f32 - 5.0) / 3.0).collect();
    JoinedSource {
        file,
        config: NetworkConfig {
            backbone: Backbone::Onnx(found.graph.backbone()),
            stem: Stem::Small,
            input_size: SIDE,
            classes: 3,
        },
        graph: found.graph,
        classifier: Classifier::new(3, FEATURES, weight, vec![0.1, -0.2, 0.3]).unwrap(),
        name: "model.onnx".into(),
        mean: found.mean,
        std: found.std,
        fit: ImageFit::Crop,
        temperature: Some(2.5),
        classes: ["apple", "l'été", "c"].map(String::from).to_vec(),
        says: vec![("summary", serde_json::json!({ "epochs": 3 }))],
    }
}

fn file(folder: &Path, draft: &Draft) -> OnnxFile {
    let path = folder.join("model.onnx");
    std::fs::write(&path, draft.bytes()).unwrap();
    OnnxFile::read(&path).unwrap()
}

fn run_export(source: &JoinedSource<'_>, path: &Path, checks: &[Vec<u8>]) -> Result<ExportReport> {
    export(source, &Onnx::BOTH, path, checks, Job::new(&Control::new(), &Silent))
}

#[test]
fn every_kind_of_file_is_joined_with_its_classifier() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("joined.onnx");
    for (kind, _, draft) in of_every_kind() {
        for opset in [11, 13, 17] {
            let mut draft = Draft { model: draft.model.clone() };
            draft.model.opset_import[0].version = opset;
            let file = file(folder.path(), &draft);
            let source = source(&file);
            let report = run_export(&source, &path, &images(33))
                .unwrap_or_else(|error| panic!("{kind}: {error}"));
            assert_eq!(
                (report.top1_agreement, report.opset, report.classes, report.input_size),
                (1.0, opset, 3, SIDE),
                "{kind}"
            );
            assert!(report.max_abs_diff < 1e-5, "{kind}: {}", report.max_abs_diff);
            let classifier = OnnxClassifier::load(&path).unwrap();
            assert_eq!(
                (classifier.classes(), classifier.input_size()),
                (&source.classes[..], SIDE)
            );
            assert_eq!(
                (
                    classifier.metadata()["architecture"].as_str(),
                    classifier.metadata()["input_size"].as_str()
                ),
                ("model.onnx", "[8,8]")
            );
            let found = classifier.run(&images(5)).unwrap();
            assert_eq!((found.logits.unwrap().len(), found.probabilities.len()), (5, 5));
            let model = ModelProto::parse_from_bytes(&std::fs::read(&path).unwrap()).unwrap();
            let shape = &model.graph.input[0].type_.tensor_type().shape.dim[0];
            assert_eq!(
                (shape.dim_value() == 1, shape.value.is_none()),
                (kind == "one image", kind != "one image"),
                "{kind}"
            );
        }
    }
}

#[test]
fn names_of_the_file_are_none_of_ours_and_what_is_not_needed_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    // A classifier of its own behind the features, under the names that ours has.
    let draft = vector()
        .weights("fc.weight", &[FEATURES as i64, 5])
        .node("MatMul", &["features", "fc.weight"], "logits", &[])
        .node("Softmax", &["logits"], "probabilities", &[("axis", &[1])])
        .output("probabilities");
    let file = file(folder.path(), &draft);
    let source = source(&file);
    assert_eq!(source.graph.output(), "features");
    let path = folder.path().join("joined.onnx");
    run_export(&source, &path, &images(9)).unwrap();
    let model = ModelProto::parse_from_bytes(&std::fs::read(&path).unwrap()).unwrap();
    let names: Vec<&str> =
        model.graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    assert_eq!(
        names.iter().filter(|name| name.ends_with("fc.weight")).collect::<Vec<_>>(),
        [&"fc.weight"]
    );
    assert!(names.contains(&"backbone/conv.weight"));
    assert_eq!(
        model.graph.output.iter().map(|output| output.name.as_str()).collect::<Vec<_>>(),
        ["probabilities", "logits"]
    );
    let mut outputs: Vec<&String> = model.graph.node.iter().flat_map(|node| &node.output).collect();
    let all = outputs.len();
    outputs.sort();
    outputs.dedup();
    assert_eq!(outputs.len(), all);
    // The same file gives the same bytes.
    let bytes = |source: &JoinedSource<'_>| {
        build(source, Variant::Float32).unwrap().write_to_bytes().unwrap()
    };
    assert_eq!(bytes(&source), bytes(&source));
}

#[test]
fn what_cannot_be_joined_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("joined.onnx");
    let mut old = vector();
    old.model.opset_import[0].version = 6;
    let mut without = vector();
    without.model.opset_import.clear();
    for (draft, reason) in [(old, "operator set 6"), (without, "does not say its operator set")] {
        let file = file(folder.path(), &draft);
        let error = run_export(&source(&file), &path, &images(3)).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
    let file = file(folder.path(), &vector());
    let mut other = source(&file);
    other.classifier.bias[1] += 0.5;
    let bytes = build(&other, Variant::Float32).unwrap().write_to_bytes().unwrap();
    let right = source(&file);
    let error =
        export(&right, &Given(bytes), &path, &images(4), Job::new(&Control::new(), &Silent))
            .unwrap_err();
    assert!(matches!(error, crate::Error::Model(ModelError::Disagrees(_))), "{error}");
    assert!(!path.exists() && std::fs::read_dir(folder.path()).unwrap().count() == 1);
}
