use std::sync::Mutex;

use super::super::test_run::digits;
use super::super::{
    Exported, TrainRequest, Workbench, balance, evaluate, export, mirror_check, predictions, train,
    tune,
};
use super::*;
use crate::balance::Effort;
use crate::dataset::BuildOptions;
use crate::images::{DEFAULT_MAX_PIXELS, read_image, to_input};
use crate::infer::OnnxClassifier;
use crate::job::{Control, Event, EventSink};
use crate::model::test_files::{Axis, Draft};
use crate::settings::{Auto, ImageFit, Preset, Tokens};

const BALANCED: Exported<'static> =
    Exported { checkpoint: Some("balanced"), refit: None, uncalibrated: true };

/// Keeps what is said.
#[derive(Default)]
struct Said(Mutex<Vec<String>>);

impl EventSink for Said {
    fn event(&self, event: Event) {
        if let Event::Message { text, .. } = event {
            self.0.lock().unwrap().push(text);
        }
    }
}

/// Tokens of an image: patches of 8 × 8 and their largest values, of which nothing is learned but
/// much can be seen.
fn extractor() -> Draft {
    Draft::new(&[Axis::Open("n"), Axis::Is(3), Axis::Open("h"), Axis::Open("w")])
        .weights("conv.weight", &[48, 3, 8, 8])
        .node(
            "Conv",
            &["pixel_values", "conv.weight"],
            "conv",
            &[("kernel_shape", &[8, 8]), ("strides", &[4, 4])],
        )
        .node("Relu", &["conv"], "map", &[])
        .ints("as_tokens", &[3], &[0, 48, -1])
        .node("Reshape", &["map", "as_tokens"], "flat", &[])
        .node("Transpose", &["flat"], "patches", &[("perm", &[0, 2, 1])])
        .node("ReduceMax", &["patches"], "cls_token", &[("axes", &[1]), ("keepdims", &[1])])
        .node("Concat", &["cls_token", "patches"], "last_hidden_state", &[("axis", &[1])])
        .output("last_hidden_state")
        .output("cls_token")
        .metadata("mean", "[0.5, 0.5, 0.5]")
        .metadata("std", "[0.5, 0.5, 0.5]")
        .metadata("input_size", "[16, 16]")
}

#[test]
fn a_run_on_a_file_is_trained_balanced_and_exported_and_stands_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (dataset_file, _) = digits(folder.path());
    let path = folder.path().join("extractor.onnx");
    std::fs::write(&path, extractor().bytes()).unwrap();
    let mut settings = Settings::preset(Preset::Auto);
    settings.set("model.backbone", &format!("onnx:{}", path.display())).unwrap();
    settings.balance.tune_candidates = 0;
    let (control, said, device) = (Control::new(), Said::default(), Device::flex());
    let job = Job::new(&control, &said);
    let at = folder.path().join("run");
    let request = |settings| TrainRequest {
        dataset: Some(&dataset_file),
        build: BuildOptions::default(),
        scan: Default::default(),
        run: &at,
        settings,
        resume: true,
    };
    let report = train(&request(Some(settings.clone())), &device, "cpu", job).unwrap();
    let first = report.evaluation.unwrap().evaluation.balanced_accuracy;
    assert!(first > 0.3, "{first}");
    let words = said.0.lock().unwrap().join("\n");
    assert!(
        words.contains("the first token")
            && words.contains("`last_hidden_state`")
            && words.contains("are those of the file"),
        "{words}"
    );
    assert!(words.contains("stage1.train: classifier"), "{words}");

    // Everything from here on without the file that it was made of.
    std::fs::remove_file(&path).unwrap();
    let mut run = Run::open(&at).unwrap();
    assert_eq!(std::fs::read(run.backbone_file().unwrap()).unwrap(), extractor().bytes());
    assert_eq!(
        (run.settings().model.input_size, run.settings().model.tokens),
        (Auto::Value(16), Tokens::Class)
    );
    let checkpoint = run.checkpoint("last").unwrap();
    let names: Vec<&str> = checkpoint.weights.iter().map(|tensor| tensor.name.as_str()).collect();
    assert_eq!(names, [CLASSIFIER_BIAS, CLASSIFIER_WEIGHT]);
    assert_eq!(checkpoint.config.features(), 48);
    // It can be resumed with the settings that it was asked for.
    for asked in [None, Some(settings.clone())] {
        train(&request(asked), &device, "cpu", job).unwrap();
    }
    let mut as_set = settings.clone();
    as_set.stage1.train = run.settings().stage1.train;
    train(&request(Some(as_set.clone())), &device, "cpu", job).unwrap();
    as_set.model.tokens = Tokens::Mean;
    assert!(
        train(&request(Some(as_set)), &device, "cpu", job)
            .unwrap_err()
            .to_string()
            .contains("other settings")
    );

    let mut tuning = run.settings().clone();
    tuning.balance.augmented_views = 1;
    tune(&run, &tuning, Effort::all_of(5), &device, job).unwrap();
    let balanced = balance(&mut run, &tuning, &device, job).unwrap();
    assert!(balanced.norms_after.iter().all(|norm| norm.is_finite()));
    let bench = Workbench::open(&run, run.settings(), &device, job).unwrap();
    assert_eq!(bench.classifier.norms().len(), 10);
    assert!(mirror_check(run.dataset(), ImageFit::Crop, 0, &device, job).unwrap().images > 0);
    let again =
        evaluate(&run, Some("last"), None, &run.settings().evaluation, &device, job).unwrap();
    assert_eq!(again.evaluation.balanced_accuracy, first);

    let exported = folder.path().join("joined.onnx");
    let report = export(&run, BALANCED, &exported, job).unwrap();
    assert_eq!((report.top1_agreement, report.images, report.input_size), (1.0, 33, 16));
    let classifier = OnnxClassifier::load(&exported).unwrap();
    let predicted = predictions(&run, Some("balanced"), Split::Test, false, &device, job).unwrap();
    for sample in predicted.samples.iter().step_by(17) {
        let path = run.dataset().root.join(sample.location.to_text());
        let found = classifier
            .classify(&[to_input(&read_image(&path, DEFAULT_MAX_PIXELS).unwrap(), 16)])
            .unwrap();
        let top = &classifier.top_k(&found[0], 1)[0];
        assert_eq!(top.class, predicted.classes[sample.predicted]);
        assert!(
            (top.probability - sample.probability).abs() < 1e-4,
            "{} {}",
            top.probability,
            sample.probability
        );
    }

    // Another file in its place is seen.
    std::fs::write(run.backbone_file().unwrap(), extractor().metadata("note", "another").bytes())
        .unwrap();
    let error = export(&run, BALANCED, &exported, job).unwrap_err().to_string();
    assert!(error.contains("backbone.onnx") && error.contains("BLAKE3"), "{error}");
    std::fs::remove_file(run.backbone_file().unwrap()).unwrap();
    assert!(
        export(&run, Exported::default(), &exported, job)
            .unwrap_err()
            .to_string()
            .contains("backbone.onnx")
    );
}

#[test]
fn a_file_that_cannot_be_used_leaves_no_run() {
    let folder = tempfile::tempdir().unwrap();
    let (dataset_file, _) = digits(folder.path());
    let path = folder.path().join("extractor.onnx");
    let mut settings = Settings::preset(Preset::Auto);
    settings.set("model.backbone", &format!("onnx:{}", path.display())).unwrap();
    let (control, said) = (Control::new(), Said::default());
    let at = folder.path().join("run");
    let mut silent = extractor();
    silent.model.metadata_props.clear();
    for (bytes, reason) in [
        (b"no model".to_vec(), "not an ONNX file"),
        (silent.bytes(), "--set model.normalisation=imagenet"),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let request = TrainRequest {
            build: BuildOptions::default(),
            dataset: Some(&dataset_file),
            scan: Default::default(),
            run: &at,
            settings: Some(settings.clone()),
            resume: false,
        };
        let error = train(&request, &Device::flex(), "cpu", Job::new(&control, &said))
            .unwrap_err()
            .to_string();
        assert!(error.contains("extractor.onnx") && error.contains(reason), "{error}");
        assert!(!at.exists());
        let dataset = Dataset::load(&dataset_file).unwrap();
        assert!(Run::create(&at, settings.clone(), dataset).is_err() && !at.exists());
    }
}
