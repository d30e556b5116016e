//! The real binary on images whose labels say nothing about them, and on some whose labels do.

use std::path::Path;

use counterweight_core::eval::Verdict;
use counterweight_core::infer::OnnxClassifier;
use counterweight_core::run::Run;
use counterweight_tests::fixtures::shuffled_folder;
use counterweight_tests::{counterweight, counterweight_json};
use serde_json::Value;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// What a person reads, who has no terminal that shows colours.
fn read(arguments: &[&str]) -> String {
    let output = counterweight(arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(!text.contains('\u{1b}'), "colours where nothing shows them: {text}");
    text
}

#[test]
fn labels_that_say_nothing_give_a_worthless_result_at_every_step() {
    let folder = tempfile::tempdir().unwrap();
    let images = shuffled_folder(folder.path(), &["deer", "fox", "hare", "lynx"], 100);
    let (dataset_file, run, model) = (
        folder.path().join("photos.toml"),
        folder.path().join("run"),
        folder.path().join("model.onnx"),
    );
    counterweight_json(&[
        "build",
        text(&images),
        "--out",
        text(&dataset_file),
        "--validation",
        "0.3",
        "--test",
        "0.3",
    ]);
    let run = text(&run);
    let is_worthless = |result: &Value| {
        let verdict: Verdict = serde_json::from_value(result["verdict"].clone())
            .unwrap_or_else(|e| panic!("{e}: {result}"));
        assert_eq!(verdict.grade.name(), "worthless", "{verdict:?}");
        assert_eq!(verdict.chance, 0.25);
        assert!(
            verdict.findings.iter().all(|finding| !finding.sentence.is_empty())
                && !verdict.advice.is_empty()
        );
        verdict
    };
    let short = [
        "--preset",
        "quick",
        "--device",
        "cpu",
        "--set",
        "stage1.epochs=3",
        "--set",
        "input_size=16",
    ];
    let trained = counterweight_json(
        &[["train", text(&dataset_file), "--run", run].as_slice(), &short].concat(),
    );
    let verdict = is_worthless(&trained);
    assert!(
        verdict.sentence.starts_with("No better than guessing: ")
            && verdict.sentence.ends_with(" where guessing gives 25.0 %.")
    );

    let balanced = counterweight_json(&["balance", run, "--balancer", "tau", "--device", "cpu"]);
    is_worthless(&balanced);
    is_worthless(&balanced["before"]);
    // No balancer at all is a way of balancing, too.
    let kept = counterweight_json(&["balance", run, "--balancer", "none", "--device", "cpu"]);
    assert_eq!(
        (&kept["balancers"], &kept["balanced_accuracy"]),
        (&serde_json::json!([]), &trained["balanced_accuracy"])
    );
    is_worthless(&counterweight_json(&["evaluate", run, "--device", "cpu"]));
    is_worthless(&counterweight_json(&["tune", run, "--candidates", "5", "--device", "cpu"]));
    is_worthless(&counterweight_json(&["export", run, "--out", text(&model)]));
    let summary = OnnxClassifier::load(&model).unwrap().metadata()["summary"].clone();
    let summary: Value = serde_json::from_str(&summary).unwrap();
    assert_eq!(summary["verdict"]["grade"], "worthless");
    assert!(
        summary["verdict"]["sentence"].as_str().unwrap().starts_with("No better than guessing"),
        "{summary}"
    );

    for arguments in [
        ["evaluate", run, "--device", "cpu"].as_slice(),
        &["balance", run, "--balancer", "none", "--device", "cpu"],
        &["export", run, "--out", text(&model)],
    ] {
        let said = read(arguments);
        for words in ["verdict: worthless\nNo better than guessing: ", "what to try: "] {
            assert!(said.contains(words), "{words:?} is not in: {said}");
        }
    }
    let said = read(&["export", run, "--out", text(&model)]);
    assert!(
        said.contains(
            "file check passed: the file agrees with the trained network on 33 of 33 images"
        ),
        "{said}"
    );
    assert!(
        said.contains("\nhow good it is: ")
            && said.contains("balanced accuracy on the test images, guessing gives 25.0 %"),
        "{said}"
    );
    assert!(!said.contains("100.0 %"), "{said}");
    // What is stored is what was said.
    assert_eq!(
        Run::open(Path::new(run))
            .unwrap()
            .verdict_on("balanced", counterweight_core::source::Split::Test)
            .unwrap()
            .grade
            .name(),
        "worthless"
    );
}
