//! From a dataset to a balanced, evaluated and exported model, by the real binary.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use counterweight_core::source::unpack_sample;
use counterweight_tests::fixtures::broken_folder;
use counterweight_tests::{binary, counterweight, counterweight_json};
use serde_json::Value;

/// A long-tailed dataset of the sample in `folder`.
fn dataset(folder: &Path) -> PathBuf {
    let sample = unpack_sample(folder).unwrap();
    let dataset_file = folder.join("digits.toml");
    counterweight_json(&["build", text(&sample), "--out", text(&dataset_file), "--factor", "20"]);
    dataset_file
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn train<'a>(dataset_file: &'a Path, run: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec![
        "train",
        text(dataset_file),
        "--run",
        text(run),
        "--device",
        "cpu",
        "--preset",
        "quick",
    ];
    arguments.extend([
        "--set",
        "stage1.epochs=6",
        "--set",
        "augmentation.pad_crop=1",
        "--set",
        "augmentation.flip=false",
    ]);
    arguments.extend(more);
    arguments
}

/// What a run ends with: its last checkpoint's bytes, and its log without the columns that measure
/// time.
fn outcome(run: &Path) -> (Vec<u8>, Vec<Value>) {
    let log = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let lines = log.lines().map(|line| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        for key in ["images_per_s", "seconds"] {
            line.as_object_mut().unwrap().remove(key);
        }
        line
    });
    (std::fs::read(run.join("checkpoints/last.safetensors")).unwrap(), lines.collect())
}

#[test]
fn the_whole_job_reports_what_scripts_rely_on() {
    let folder = tempfile::tempdir().unwrap();
    let dataset_file = dataset(folder.path());
    let run = folder.path().join("run");
    let has_scores = |result: &Value| {
        for key in ["balanced_accuracy", "top1", "top5", "ece"] {
            let value =
                result[key].as_f64().unwrap_or_else(|| panic!("{key} is missing from {result}"));
            assert!((0.0..=1.0).contains(&value), "{key} = {value}");
        }
        for group in ["many", "medium", "few"] {
            assert!(result["groups"].get(group).is_some(), "{group} is missing from {result}");
        }
    };
    let trained = counterweight_json(&train(&dataset_file, &run, &[]));
    has_scores(&trained);
    assert!(trained["balanced_accuracy"].as_f64().unwrap() > 0.3, "it learned nothing: {trained}");
    assert_ne!(trained["verdict"]["grade"], "worthless", "{trained}");
    for file in ["settings.toml", "dataset.toml", "metrics.jsonl", "metrics.csv", "norms.csv"] {
        assert!(run.join(file).is_file(), "{file} is missing");
    }
    assert_eq!(std::fs::read_to_string(run.join("norms.csv")).unwrap().lines().count(), 1 + 6);

    let few = |result: &Value| result["groups"]["few"].as_f64().unwrap();
    for balancers in [
        ["weight-decay", "max-norm"].as_slice(),
        &["stage2"],
        &["l2"],
        &["tau"],
        &["max-norm"],
        &["multiplicative-adjustment"],
        &["logit-adjustment", "tau"],
    ] {
        let mut arguments = vec!["balance", text(&run), "--device", "cpu"];
        balancers.iter().for_each(|balancer| arguments.extend(["--balancer", balancer]));
        let balanced = counterweight_json(&arguments);
        has_scores(&balanced);
        assert!(
            few(&balanced) >= few(&balanced["before"]),
            "{balancers:?} made the few group worse"
        );
        // Balancing twice starts from stage 1 each time.
        assert_eq!(balanced["before"]["balanced_accuracy"], trained["balanced_accuracy"]);
    }
    let tuned = counterweight_json(&["tune", text(&run), "--candidates", "60", "--device", "cpu"]);
    assert!(tuned["best_score"].as_f64().unwrap() >= tuned["start_score"].as_f64().unwrap());
    assert!(!tuned["reason"].as_str().unwrap().is_empty());
    has_scores(&counterweight_json(&["balance", text(&run), "--tuned", "--device", "cpu"]));
    let live = counterweight_json(&[
        "balance",
        text(&run),
        "--set",
        "balance.features=network",
        "--set",
        "balance.epochs=2",
    ]);
    has_scores(&live);

    let evaluated =
        counterweight_json(&["evaluate", text(&run), "--checkpoint", "best", "--device", "cpu"]);
    assert_eq!(evaluated["balanced_accuracy"], trained["balanced_accuracy"]);
    let flipped = counterweight_json(&[
        "evaluate",
        text(&run),
        "--flip",
        "--split",
        "validation",
        "--device",
        "cpu",
    ]);
    has_scores(&flipped);
    assert_eq!(
        (&flipped["checkpoint"], &flipped["flip"]),
        (&Value::from("balanced"), &Value::from(true))
    );

    let model = folder.path().join("model.onnx");
    let exported = counterweight_json(&["export", text(&run), "--out", text(&model)]);
    assert_eq!(exported["top1_agreement"], 1.0);
    assert_ne!(exported["verdict"]["grade"], "worthless", "{exported}");
    assert!(exported["max_abs_diff"].as_f64().unwrap() < 1e-3);
    let image = folder.path().join("uci-digits/0_zero/0000.png");
    let predicted = counterweight_json(&["predict", text(&model), text(&image), "--top", "3"]);
    assert_eq!(predicted["top"].as_array().unwrap().len(), 3);
    assert_eq!(predicted["top"][0]["class"], "0_zero", "{predicted}");
}

#[test]
fn a_killed_run_ends_where_the_uninterrupted_one_ends() {
    let folder = tempfile::tempdir().unwrap();
    let dataset_file = dataset(folder.path());
    let whole = folder.path().join("whole");
    let result = counterweight_json(&train(&dataset_file, &whole, &[]));

    let killed = folder.path().join("killed");
    let mut kills = 0;
    // So many epochs are finished, and then so many milliseconds pass.
    for (epochs, then) in [(1, 0), (2, 90), (4, 30)] {
        let mut child = Command::new(binary())
            .args(train(&dataset_file, &killed, &["--resume"]))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let finished = || {
            let log = std::fs::read_to_string(killed.join("metrics.jsonl"));
            log.map_or(0, |log| log.lines().count())
        };
        while finished() < epochs && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(then));
        if child.try_wait().unwrap().is_none() {
            kills += 1;
        }
        // SIGKILL on Unix: nothing of the program runs after it.
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(kills >= 1, "the run was over before it could be killed");
    let resumed = counterweight_json(&train(&dataset_file, &killed, &["--resume"]));
    assert_eq!(outcome(&whole), outcome(&killed));
    for key in ["balanced_accuracy", "top1", "ece", "groups", "epoch"] {
        assert_eq!(result[key], resumed[key]);
    }
    let norms = |run: &Path| std::fs::read(run.join("norms.csv")).unwrap();
    assert_eq!(norms(&whole), norms(&killed));
    let left = |folder: &Path| -> Vec<_> {
        std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name()).collect()
    };
    let half_written: Vec<_> = [left(&killed), left(&killed.join("checkpoints"))].concat();
    assert!(
        half_written.iter().all(|name| !counterweight_core::files::is_temporary(name)),
        "{half_written:?}"
    );
}

/// Of a test split that somebody brought, what training has, too, tells nothing.
#[test]
fn copies_of_training_images_are_no_part_of_the_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let sample = unpack_sample(folder.path()).unwrap();
    let source = folder.path().join("split");
    for class in ["0_zero", "1_one", "2_two"] {
        let [train, test] = ["train", "test"].map(|split| source.join(split).join(class));
        std::fs::create_dir_all(&train).unwrap();
        std::fs::create_dir_all(&test).unwrap();
        let image = |number: usize| sample.join(class).join(format!("{number:04}.png"));
        for number in 0..40 {
            let to = if number < 28 { &train } else { &test };
            std::fs::copy(image(number), to.join(format!("{number}.png"))).unwrap();
        }
        for number in 0..4 {
            std::fs::copy(image(number), test.join(format!("again-{number}.png"))).unwrap();
        }
    }
    let run = folder.path().join("run");
    counterweight_json(&train(&source, &run, &[]));
    let found = counterweight_json(&["evaluate", text(&run), "--split", "test", "--device", "cpu"]);
    assert_eq!((&found["samples"], &found["without_copies"]["samples"]), (&48.into(), &36.into()));
    assert_eq!(found["verdict"]["balanced_accuracy"], found["without_copies"]["balanced_accuracy"]);
    let said = found["verdict"].to_string();
    assert!(said.contains("12 of the 48 test images have an exact copy in training"), "{said}");
}

#[cfg(unix)]
#[test]
fn ctrl_c_writes_a_checkpoint_and_says_how_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let dataset_file = dataset(folder.path());
    let whole = folder.path().join("whole");
    counterweight_json(&train(&dataset_file, &whole, &["--set", "stage1.epochs=12"]));
    let run = folder.path().join("run");
    let child = Command::new(binary())
        .args(train(&dataset_file, &run, &["--set", "stage1.epochs=12"]))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(300);
    while !run.join("checkpoints/last.safetensors").exists() {
        assert!(Instant::now() < deadline, "there is no checkpoint");
        std::thread::sleep(Duration::from_millis(5));
    }
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("--resume"), "{stderr}");
    counterweight_json(&["train", "--run", text(&run), "--resume", "--device", "cpu"]);
    assert_eq!(outcome(&whole), outcome(&run));
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    let folder = tempfile::tempdir().unwrap();
    let dataset_file = dataset(folder.path());
    let run = |name: &str, seed: &str| {
        let run = folder.path().join(name);
        counterweight_json(&train(
            &dataset_file,
            &run,
            &["--set", "stage1.epochs=2", "--set", seed],
        ));
        outcome(&run)
    };
    assert_eq!(run("a", "seed=1"), run("b", "seed=1"));
    assert_ne!(run("c", "seed=2").1, run("d", "seed=3").1);
}

#[test]
fn a_folder_of_broken_images_trains_on_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    broken_folder(&images);
    let run = folder.path().join("run");
    let arguments = [
        "train",
        text(&images),
        "--run",
        text(&run),
        "--device",
        "cpu",
        "--preset",
        "quick",
        "--set",
        "augmentation.flip=false",
        "--set",
        "stage1.epochs=1",
        "--set",
        "input_size=16",
    ];
    let result = counterweight_json(&arguments);
    assert!(result["balanced_accuracy"].is_f64(), "{result}");
}

#[test]
fn a_diverging_run_says_where_and_keeps_its_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let dataset_file = dataset(folder.path());
    let run = folder.path().join("run");
    let fails = |arguments: &[&str], words: &[&str]| {
        let output = counterweight(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        words.iter().for_each(|word| assert!(stderr.contains(word), "{word} is not in: {stderr}"));
    };
    let more = ["--set", "stage1.learning_rate=1e20", "--set", "stage1.warmup_epochs=0"];
    fails(&train(&dataset_file, &run, &more), &["epoch 1", "step", "learning rate"]);
    assert!(!run.join("checkpoints").exists(), "nothing good was there to keep");

    // A run that goes well for two epochs, and whose learning rate then becomes absurd.
    let run = folder.path().join("later");
    counterweight_json(&train(&dataset_file, &run, &["--set", "stage1.epochs=2"]));
    let good = outcome(&run).0;
    let path = run.join("settings.toml");
    let settings = std::fs::read_to_string(&path).unwrap().replacen(
        "learning_rate = 0.05",
        "learning_rate = 1e20",
        1,
    );
    std::fs::write(&path, settings.replacen("epochs = 2\n", "epochs = 4\n", 1)).unwrap();
    fails(
        &["train", "--run", text(&run), "--resume", "--device", "cpu"],
        &["epoch 3", "last good checkpoint is kept"],
    );
    assert!(outcome(&run).0 == good, "the last good checkpoint was touched");
}

#[test]
fn a_run_goes_on_with_its_batches_in_parts_and_learns() {
    let folder = tempfile::tempdir().unwrap();
    let dataset_file = dataset(folder.path());
    let run = folder.path().join("run");
    counterweight_json(&train(&dataset_file, &run, &["--set", "stage1.epochs=2"]));
    let path = run.join("settings.toml");
    let settings = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, settings.replacen("epochs = 2\n", "epochs = 8\n", 1)).unwrap();
    let resume = [
        "train",
        "--run",
        text(&run),
        "--resume",
        "--device",
        "cpu",
        "--set",
        "stage1.accumulation=3",
    ];
    let refused = counterweight(&[resume.as_slice(), &["--set", "seed=9"]].concat());
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("other settings"));
    assert!(
        std::fs::read_to_string(&path).unwrap().contains("accumulation = 1\n"),
        "a refused setting was written"
    );

    let trained = counterweight_json(&resume);
    assert!(std::fs::read_to_string(&path).unwrap().contains("accumulation = 3\n"));
    assert_eq!(outcome(&run).1.len(), 8);
    assert!(trained["balanced_accuracy"].as_f64().unwrap() > 0.3, "it learned nothing: {trained}");
}

#[test]
fn what_an_earlier_balancing_left_does_not_outlive_it() {
    let folder = tempfile::tempdir().unwrap();
    let dataset_file = dataset(folder.path());
    let run = folder.path().join("run");
    counterweight_json(&train(&dataset_file, &run, &["--set", "stage1.epochs=2"]));
    let cpu = ["--device", "cpu"];
    let balance = |more: &[&str]| {
        counterweight_json(&[["balance", text(&run)].as_slice(), more, &cpu].concat())
    };
    balance(&["--balancer", "l2"]);
    counterweight_json(&["evaluate", text(&run), "--device", "cpu"]);
    let last = balance(&["--balancer", "tau", "--set", "balance.tau=3"]);
    let model = folder.path().join("model.onnx");
    counterweight_json(&["export", text(&run), "--out", text(&model)]);
    let summary =
        counterweight_core::infer::OnnxClassifier::load(&model).unwrap().metadata()["summary"]
            .clone();
    let summary: Value = serde_json::from_str(&summary).unwrap();
    assert_eq!(summary["balanced_accuracy"], last["balanced_accuracy"]);
    assert_eq!(summary["balancers"], serde_json::json!(["tau"]));

    // Epochs trained after balancing give other features, for which the balanced classifier was not
    // made.
    let settings = std::fs::read_to_string(run.join("settings.toml")).unwrap();
    std::fs::write(run.join("settings.toml"), settings.replacen("epochs = 2\n", "epochs = 3\n", 1))
        .unwrap();
    counterweight_json(&["train", "--run", text(&run), "--resume", "--device", "cpu"]);
    assert!(!run.join("checkpoints/balanced.safetensors").exists());
    let tuned = balance(&["--set", "balance.tune_candidates=40"]);
    assert!(tuned["balanced_accuracy"].is_f64());
}

#[test]
fn wrong_usage_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let fails = |arguments: &[&str], code: i32, words: &[&str]| {
        let output = counterweight(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        words.iter().for_each(|word| assert!(stderr.contains(word), "{word} is not in: {stderr}"));
    };
    let run = text(&run);
    fails(&["train", "nowhere", "--run", run, "--set", "stage1.epoch=3"], 2, &["stage1.epochs"]);
    fails(&["train", "nowhere", "--run", run, "--set", "stage1.epochs=0"], 2, &["at least 1"]);
    fails(
        &["train", "nowhere", "--run", run, "--preset", "fast"],
        2,
        &["auto, fine-tune, quick, paper, strong"],
    );
    fails(&["train", "nowhere", "--run", run], 1, &["nowhere"]);
    fails(&["balance", run], 1, &["run"]);
    fails(&["train", "nowhere", "--run", run, "--device", "abacus"], 2, &["abacus"]);
    fails(&["predict", "none.onnx", "a.png"], 1, &["none.onnx"]);
    fails(&["frobnicate"], 2, &[]);
    let dataset_file = dataset(folder.path());
    counterweight_json(&train(&dataset_file, Path::new(run), &["--set", "stage1.epochs=1"]));
    fails(&["balance", run, "--set", "stage1.epochs=3"], 2, &["trained already"]);
    fails(&["balance", run, "--balancer", "magic"], 2, &["balance.balancers"]);
    fails(&["balance", run, "--tuned"], 1, &["counterweight tune"]);
    fails(&["train", text(&dataset_file), "--run", run], 1, &["already holds a run"]);
    fails(&["train", "--run", run, "--resume", "--set", "seed=9"], 1, &["other settings"]);
    fails(&["evaluate", run, "--set", "balance.tau=2"], 2, &["evaluation"]);
    fails(&["balance", run, "--set", "balance.schedule=step"], 2, &["milestones"]);
    fails(&["train", "nowhere", "--run", "x", "--set", "preset=paper"], 2, &["--preset"]);
    fails(
        &["train", "nowhere", "--run", "x", "--set", "stage1.batch_size=999999999"],
        2,
        &["65536"],
    );
    let other = folder.path().join("other.toml");
    counterweight_json(&[
        "build",
        text(&folder.path().join("uci-digits")),
        "--out",
        text(&other),
        "--factor",
        "5",
    ]);
    fails(&["train", text(&other), "--run", run, "--resume"], 1, &["another dataset"]);
}
