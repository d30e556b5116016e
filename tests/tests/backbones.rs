//! Weights that are added, and networks that are imported, by the real binary.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use counterweight_core::source::unpack_sample;
use counterweight_tests::binary;
use safetensors::tensor::TensorView;
use safetensors::{SafeTensors, serialize};
use serde_json::Value;

/// The binary with a cache folder of its own, and nothing to download from.
fn run(cache: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command
        .args(arguments)
        .env("COUNTERWEIGHT_CACHE", cache)
        .env("COUNTERWEIGHT_DOWNLOADS", "http://127.0.0.1:9/");
    command.output().unwrap()
}

fn json(cache: &Path, arguments: &[&str]) -> Value {
    let output = run(cache, &[arguments, &["--json"]].concat());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {stderr}");
    serde_json::from_str(String::from_utf8_lossy(&output.stdout).lines().last().unwrap()).unwrap()
}

fn refused(cache: &Path, arguments: &[&str]) -> String {
    let output = run(cache, arguments);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && !stderr.contains("panicked"), "{arguments:?}: {stderr}");
    stderr
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn dataset(folder: &Path, cache: &Path) -> PathBuf {
    let sample = unpack_sample(folder).unwrap();
    let dataset_file = folder.join("digits.toml");
    json(cache, &["build", text(&sample), "--out", text(&dataset_file), "--factor", "20"]);
    dataset_file
}

/// A run of a small network on digits, trained for a few epochs.
fn trained<'a>(cache: &Path, dataset_file: &'a Path, run: &'a Path, seed: &'a str) -> Value {
    let settings = [
        "--set",
        "stage1.epochs=4",
        "--set",
        "model.normalisation=cifar",
        "--set",
        "augmentation.flip=false",
        "--set",
        seed,
    ];
    json(
        cache,
        &[
            &[
                "train",
                text(dataset_file),
                "--run",
                text(run),
                "--device",
                "cpu",
                "--preset",
                "quick",
            ],
            settings.as_slice(),
        ]
        .concat(),
    )
}

/// The network of a run as others would have saved it: other names, and no metadata of ours.
fn handed_on(run: &Path, prefix: &str, file: &Path) {
    let bytes = std::fs::read(run.join("checkpoints/last.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let views: Vec<(String, TensorView<'_>)> = tensors
        .iter()
        .filter_map(|(name, view)| {
            let view = TensorView::new(view.dtype(), view.shape().to_vec(), view.data()).unwrap();
            Some((format!("{prefix}{}", name.strip_prefix("model.")?), view))
        })
        .collect();
    std::fs::write(file, serialize(views, None::<HashMap<String, String>>).unwrap()).unwrap();
}

#[test]
fn backbones_are_listed_with_their_weights() {
    let folder = tempfile::tempdir().unwrap();
    let all = json(folder.path(), &["backbones"]);
    let of = |name: &str| {
        all.as_array().unwrap().iter().find(|listed| listed["name"] == name).unwrap().clone()
    };
    assert_eq!(
        (&of("efficientnet-lite0")["weights"], &of("efficientnet-lite0")["licence"]),
        (&"built in".into(), &"Apache-2.0".into())
    );
    let resnet50 = of("resnet50");
    assert_eq!(
        (&resnet50["weights"], resnet50["published"].as_array().unwrap().len()),
        (&"none".into(), 2)
    );
    assert_eq!(
        resnet50["published"][0]["address"],
        "https://download.pytorch.org/models/resnet50-0676ba61.pth"
    );
    assert!(resnet50["published"][0]["licence"].as_str().unwrap().contains("not stated"));
    let table = String::from_utf8(run(folder.path(), &["backbones"]).stdout).unwrap();
    for word in [
        "efficientnet-lite0",
        "built in",
        "75.1",
        "v2 can be downloaded",
        "80.9",
        "backbones get NAME",
        "not stated",
    ] {
        assert!(table.contains(word), "{word} is not in\n{table}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "looking makes nothing");

    let error = refused(folder.path(), &["backbones", "get", "resnet50", "--weights", "v3"]);
    assert!(error.contains("v1, v2"), "{error}");
    assert!(
        refused(folder.path(), &["backbones", "get", "resnet20"])
            .contains("backbones add resnet20")
    );
    let error = refused(folder.path(), &["backbones", "get", "resnet18"]);
    for word in [
        "127.0.0.1:9/resnet18-f37072fd.pth",
        "backbones add resnet18 resnet18-f37072fd.pth",
        "licence: not stated",
    ] {
        assert!(error.contains(word), "{word} is not in {error}");
    }
    let table = String::from_utf8(run(folder.path(), &["backbones"]).stdout).unwrap();
    assert!(
        !table.contains("downloaded from")
            && !folder.path().join("backbones/resnet18.json").exists()
    );
}

#[test]
fn added_weights_are_used_and_a_run_does_not_need_them_later() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let dataset_file = dataset(folder.path(), &cache);
    let frozen = |run: &Path| {
        let settings = [
            "--set",
            "model.backbone=resnet20",
            "--set",
            "stage1.train=classifier",
            "--set",
            "balance.tune_candidates=0",
        ];
        let arguments = ["train", text(&dataset_file), "--run", text(run), "--device", "cpu"]
            .map(str::to_string);
        [arguments.as_slice(), &settings.map(str::to_string)].concat()
    };
    let train = |name: &str| {
        let arguments = frozen(&folder.path().join(name));
        json(&cache, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let arguments = frozen(&folder.path().join("early"));
    let error = refused(&cache, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(
        error.contains("backbones add resnet20") && !folder.path().join("early").exists(),
        "{error}"
    );

    let (mut scores, mut rows) = (Vec::new(), Vec::new());
    for (number, seed) in ["seed=1", "seed=2"].into_iter().enumerate() {
        let (source, file) = (
            folder.path().join(format!("source{number}")),
            folder.path().join("network.safetensors"),
        );
        trained(&cache, &dataset_file, &source, seed);
        handed_on(&source, "module.", &file);
        let normalisation = [
            "--mean",
            "0.4914,0.4822,0.4465",
            "--std",
            "0.2023,0.1994,0.2010",
            "--side",
            "16",
            "--licence",
            "ours",
        ];
        let added =
            json(&cache, &[&["backbones", "add", text(&file)], normalisation.as_slice()].concat());
        assert_eq!(
            (&added["backbone"], &added["prefix"], &added["stem"]),
            (&"resnet20".into(), &"module.".into(), &"small".into()),
            "{added}"
        );
        let listed = json(&cache, &["backbones"]);
        let listed =
            listed.as_array().unwrap().iter().find(|listed| listed["name"] == "resnet20").unwrap();
        assert_eq!((&listed["weights"], &listed["licence"]), (&"added".into(), &"ours".into()));
        scores.push(train(&format!("run{number}"))["balanced_accuracy"].as_f64().unwrap());
        let spaces = json(&cache, &["cache"])["spaces"].clone();
        rows.push(
            spaces
                .as_array()
                .unwrap()
                .iter()
                .map(|space| space["rows"].as_u64().unwrap())
                .sum::<u64>(),
        );
    }
    assert!(scores.iter().all(|score| *score > 0.3), "{scores:?}");
    // Features of one network are not taken for those of the other.
    assert!(rows[0] > 100 && rows[1] == 2 * rows[0], "{rows:?}");

    // What a run needs lies in it.
    std::fs::remove_dir_all(&cache).unwrap();
    let first = folder.path().join("run0");
    let again = json(&cache, &["evaluate", text(&first), "--device", "cpu"]);
    assert_eq!(again["balanced_accuracy"].as_f64().unwrap(), scores[0]);
    json(&cache, &["balance", text(&first), "--device", "cpu", "--balancer", "tau"]);
    let model = folder.path().join("model.onnx");
    json(&cache, &["export", text(&first), "--out", text(&model)]);
    assert!(model.is_file());
}

#[test]
fn a_network_that_others_trained_is_balanced_without_training_it() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let dataset_file = dataset(folder.path(), &cache);
    let (source, file) = (folder.path().join("source"), folder.path().join("network"));
    let original = trained(&cache, &dataset_file, &source, "seed=3");
    handed_on(&source, "state_dict.", &file);
    let imported = folder.path().join("imported");
    let arguments = [
        "import",
        text(&file),
        "--dataset",
        text(&dataset_file),
        "--run",
        text(&imported),
        "--device",
        "cpu",
    ];
    let report = json(&cache, &arguments);
    for score in ["balanced_accuracy", "top1", "ece"] {
        assert_eq!(report[score], original[score], "{score}");
    }
    assert_eq!(
        (&report["imported"]["prefix"], &report["checkpoint"]),
        (&"state_dict.".into(), &"last".into())
    );
    let balanced = json(
        &cache,
        &["balance", text(&imported), "--device", "cpu", "--balancer", "logit-adjustment"],
    );
    assert_eq!(balanced["before"]["balanced_accuracy"], original["balanced_accuracy"]);
    let cached = ["--set", "balance.features=cached", "--set", "balance.epochs=2"];
    json(&cache, &[&["balance", text(&imported), "--device", "cpu"], cached.as_slice()].concat());
    let model = folder.path().join("model.onnx");
    json(&cache, &["export", text(&imported), "--out", text(&model)]);
    // It is over, and nothing trains it further.
    let before = std::fs::read(imported.join("checkpoints/last.safetensors")).unwrap();
    json(&cache, &["train", "--run", text(&imported), "--resume", "--device", "cpu"]);
    assert_eq!(std::fs::read(imported.join("checkpoints/last.safetensors")).unwrap(), before);

    assert!(refused(&cache, &arguments).contains("already holds a run"));
    let elsewhere = folder.path().join("elsewhere");
    let import = |more: &[&str]| {
        refused(
            &cache,
            &[
                &[
                    "import",
                    text(&file),
                    "--dataset",
                    text(&dataset_file),
                    "--run",
                    text(&elsewhere),
                    "--device",
                    "cpu",
                ],
                more,
            ]
            .concat(),
        )
    };
    assert!(import(&["--set", "model.normalisation=measured"]).contains("model.normalisation"));
    assert!(import(&["--backbone", "resnet32"]).contains("missing"));
    assert!(!elsewhere.exists());
}
