//! `counterweight make`: a folder becomes a model, and no file of the user is lost.

use std::path::Path;
use std::process::Command;

use counterweight_core::run::Run;
use counterweight_core::source::Split;
use counterweight_tests::fixtures::{finished_run, pattern, patterns, save};
use counterweight_tests::{binary, counterweight, counterweight_json};
use serde_json::{Value, json};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_folder_becomes_a_model_and_again_when_it_has_grown() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("patterns");
    patterns(&images);
    let model = folder.path().join("patterns.onnx");
    let make = ["make", text(&images), "--out", text(&model), "--device", "cpu"];
    let first = counterweight_json(&make);
    assert!(model.is_file() && first["export"]["top1_agreement"] == 1.0, "{first}");
    let choices: Vec<&str> = first["choices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|choice| choice["setting"].as_str().unwrap())
        .collect();
    assert_eq!(choices, ["splits", "stage1.train", "stage1.weight_decay", "balance", "the file"]);
    for choice in first["choices"].as_array().unwrap() {
        assert!(
            ["value", "reason", "option"]
                .iter()
                .all(|key| !choice[key].as_str().unwrap().is_empty()),
            "{choice}"
        );
    }
    assert!(
        first["balance"]["before"]["balanced_accuracy"].as_f64().unwrap() > 0.6,
        "stripes and dots are easy to tell apart: {first}"
    );
    let place = folder.path().join("patterns-run");
    let samples = |run: &Run| run.dataset().samples.len();
    assert_eq!(samples(&Run::open(&place).unwrap()), 80);

    // Another class, of images that are known already.
    let [from, to] = [images.join("dots"), images.join("more dots")];
    std::fs::create_dir(&to).unwrap();
    for entry in std::fs::read_dir(&from).unwrap().flatten() {
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
    let second = counterweight_json(&make);
    assert_eq!(second["train_counts"].as_array().unwrap().len(), 4);
    assert_eq!(samples(&Run::open(&place).unwrap()), 95);
    // Nothing is left of the way there.
    let mut names: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["patterns", "patterns-run", "patterns.onnx"]);
}

#[test]
fn the_file_has_learned_from_all_images_once_they_were_judged_by() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("patterns");
    patterns(&images);
    let place = |name: &str| folder.path().join(name);
    let [model, again, measured] = ["m.onnx", "again.onnx", "measured.onnx"].map(place);
    let made =
        counterweight_json(&["make", text(&images), "--out", text(&model), "--device", "cpu"]);
    let run = place("m-run");
    let dataset = Run::open(&run).unwrap().dataset().clone();
    let held_out = dataset.samples.len() - dataset.split(Split::Train).len();
    let refit = &made["export"]["refit"];
    assert_eq!(refit["images"].as_u64().unwrap() as usize, dataset.samples.len());
    assert_eq!(refit["held_out"].as_u64().unwrap() as usize, held_out);

    // What was measured is what was measured before, and that is another classifier.
    let evaluated = |file: &Path| {
        let file_of = run.join("dataset.toml");
        let output = counterweight(&["evaluate", text(file), "--data", text(&file_of), "--json"]);
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        let warned =
            String::from_utf8_lossy(&output.stderr).contains("has learned from these images");
        (found, warned)
    };
    let own = counterweight_json(&["evaluate", text(&run), "--device", "cpu"]);
    let said = &made["export"]["verdict"]["balanced_accuracy"];
    assert_eq!(*said, own["balanced_accuracy"]);
    let export = |file: &Path, more: &[&str]| {
        counterweight_json(&[&["export", text(&run), "--out", text(file)], more].concat())
    };
    assert_eq!(export(&again, &[])["refit"], *refit, "as it was made");
    let plain = export(&measured, &["--no-refit"]);
    assert!(plain["refit"].is_null());
    // Five validation images are too few to say how far probabilities can be believed.
    let calibration = &plain["calibration"];
    let in_turn = dataset.samples.len() - dataset.split(Split::Test).len();
    assert_eq!(
        (&calibration["images"], &calibration["split"]),
        (&in_turn.into(), &Value::Null),
        "{plain}"
    );
    // Logits are divided where that fits, unless it is not wanted.
    let stored = run.join("results/held-out-in-turn.json");
    let kept = std::fs::read(&stored).unwrap();
    let mut known: Value = serde_json::from_slice(&kept).unwrap();
    let tuned: Value =
        serde_json::from_slice(&std::fs::read(run.join("results/tune.json")).unwrap()).unwrap();
    let scores = [0, 1].map(|at| known[at]["balanced_accuracy"].clone());
    assert_eq!(scores, ["start_score", "best_score"].map(|key| tuned[key].clone()));
    known[1]["confidence"] = json!({
        "temperature": 2.0, "loss": [1.0, 0.5], "threshold": null, "samples": 100,
        "calibrated": { "accuracy": 0.9, "mean": [0.99, 0.88], "ece": [0.09, 0.02], "threshold": null },
    });
    std::fs::write(&stored, known.to_string()).unwrap();
    let fitting = export(&measured, &["--no-refit"]);
    assert_eq!(fitting["calibration"]["temperature"], 2.0, "{fitting}");
    let said = counterweight(&["export", text(&run), "--no-refit", "--out", text(&measured)]);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(
        said.contains(
            "88.0 % on average where 90.0 % of its answers are right, on 100 images held"
        ),
        "{said}"
    );
    let of = |image: &Path| {
        let found = counterweight_json(&["predict", text(&measured), text(image)]);
        found["top"][0]["probability"].as_f64().unwrap()
    };
    let image = images.join(dataset.split(Split::Test)[0].location.to_text());
    let with = of(&image);
    let (better, _) = evaluated(&measured);
    let plain = export(&measured, &["--no-refit", "--uncalibrated"]);
    assert_eq!(plain["calibration"]["temperature"], 1.0);
    assert!(of(&image) > with, "{with}");
    std::fs::write(&stored, kept).unwrap();
    let (found, warned) = evaluated(&measured);
    assert_eq!(found["balanced_accuracy"], better["balanced_accuracy"]);
    assert_ne!(found["loss"], better["loss"]);
    let apart = |one: &Value| (one["loss"].as_f64().unwrap() / own["loss"].as_f64().unwrap()).ln();
    assert!(!warned && apart(&found).abs() < 1e-3, "{found} {own}");
    let (seen, warned) = evaluated(&again);
    assert!(warned && apart(&seen) < -0.05, "it knows these images: {seen}");
    assert!(seen["balanced_accuracy"].as_f64() >= own["balanced_accuracy"].as_f64());
    let train: u64 = dataset.counts(Split::Train).iter().sum::<usize>() as u64;
    let learned = |found: &Value| -> u64 {
        let classes = found["per_class"].as_array().unwrap().iter();
        classes.map(|class| class["train_count"].as_u64().unwrap()).sum()
    };
    assert_eq!((learned(&found), learned(&seen)), (train, dataset.samples.len() as u64));

    // Another form is compared with the classifier that it holds.
    let form = counterweight_json(&[
        "export",
        text(&run),
        "--out",
        text(&place("calibrated.onnx")),
        "--variant",
        "calibrated",
    ]);
    assert!(form["refused"].is_null(), "{form}");
    assert_eq!(form["balanced_accuracy"][0], form["balanced_accuracy"][1]);

    // What an image has become since is not learned from, and the file is as it was measured.
    let learned_from = dataset.split(Split::Train);
    let path = |at: usize| images.join(learned_from[at].location.to_text());
    let (victim, other) = (path(0), path(learned_from.len() - 1));
    let kept = std::fs::read(&victim).unwrap();
    std::fs::copy(other, &victim).unwrap();
    assert!(export(&again, &[])["refit"].is_null());
    let output = counterweight(&["export", text(&run), "--out", text(&again), "--refit"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    std::fs::write(&victim, kept).unwrap();

    // A test split of somebody's stays unseen.
    let (_, other) = finished_run(folder.path());
    let output = counterweight(&["export", text(&other), "--out", text(&again), "--refit"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("no image was held out by the program"), "{said}");
}

#[test]
fn features_of_an_image_are_computed_once() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("patterns");
    patterns(&images);
    let model = folder.path().join("model.onnx");
    let run = |arguments: &[&str]| {
        let output = Command::new(binary())
            .args(arguments)
            .env("COUNTERWEIGHT_CACHE", folder.path().join("cache"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output
    };
    let output = run(&["make", text(&images), "--out", text(&model), "--device", "cpu"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let usage: Value = serde_json::from_slice(&run(&["cache", "--json"]).stdout).unwrap();
    let rows: Vec<u64> = usage["spaces"]
        .as_array()
        .unwrap()
        .iter()
        .map(|space| space["rows"].as_u64().unwrap())
        .collect();
    assert_eq!(
        rows,
        [80],
        "training, validation and test share what is known of a backbone: {said}"
    );
}

#[test]
fn a_folder_of_something_else_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("patterns");
    patterns(&images);
    let place = folder.path().join("thesis");
    std::fs::create_dir(&place).unwrap();
    std::fs::write(place.join("chapter 1.txt"), "years of work").unwrap();
    let model = folder.path().join("model.onnx");
    let output = counterweight(&[
        "make",
        text(&images),
        "--out",
        text(&model),
        "--run",
        text(&place),
        "--device",
        "cpu",
    ]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success()
            && said.contains("thesis")
            && said.contains("choose another folder"),
        "{said}"
    );
    assert!(!model.exists());
    assert_eq!(std::fs::read_to_string(place.join("chapter 1.txt")).unwrap(), "years of work");
}

#[test]
fn a_model_of_other_images_is_not_replaced_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let [images, others] = ["patterns", "others"].map(|name| folder.path().join(name));
    patterns(&images);
    patterns(&others);
    save(&pattern(2, 100), others.join("dots/100.png"));
    let model = folder.path().join("model.onnx");
    let make = |source: &Path, more: &[&str]| {
        let own = ["make", text(source), "--out", text(&model), "--device", "cpu"];
        counterweight(&[&own, more].concat())
    };
    assert!(make(&images, &[]).status.success());
    let before = std::fs::read(&model).unwrap();
    let refused = make(&others, &[]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(
        said.contains("patterns;") && said.contains("--out") && said.contains("--force"),
        "{said}"
    );
    assert_eq!(std::fs::read(&model).unwrap(), before);
    assert!(Run::open(&folder.path().join("model-run")).unwrap().is_made_of(&images));

    // The same image under two labels is worth a word.
    std::fs::copy(others.join("dots/1.png"), others.join("down/a copy.png")).unwrap();
    let forced = make(&others, &["--force", "--seed", "3"]);
    let said = String::from_utf8_lossy(&forced.stderr).into_owned();
    assert!(
        forced.status.success() && said.contains("the same image has different labels"),
        "{said}"
    );
    let run = Run::open(&folder.path().join("model-run")).unwrap();
    assert!(run.is_made_of(&others) && run.settings().seed == 3);
    // Until it is edited; and a dataset file of the same images is the same source.
    let edit = counterweight(&["edit", text(&others), "exclude", "down/a copy.png"]);
    assert!(edit.status.success(), "{}", String::from_utf8_lossy(&edit.stderr));
    let file = folder.path().join("others.toml");
    assert!(counterweight(&["build", text(&others), "--out", text(&file)]).status.success());
    let again = make(&file, &[]);
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(again.status.success() && !said.contains("different labels"), "{said}");
    // A model that lies there by itself.
    let elsewhere = folder.path().join("elsewhere");
    let refused = make(&others, &["--run", text(&elsewhere)]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("model.onnx: is there already"), "{said}");
}

#[test]
fn classes_that_are_one_are_given_one_name_without_building_a_dataset() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("patterns");
    patterns(&images);
    for number in 200..206 {
        save(&pattern(2, number), images.join(format!("Dotz/{number}.png")));
    }
    let model = folder.path().join("patterns.onnx");
    // An image was put into the class under its old name before.
    let moved = text(&images.join("across")).to_string();
    let first = std::fs::read_dir(&moved).unwrap().flatten().next().unwrap().path();
    let edit = ["edit", text(&images), "move", text(&first), "--to", "Dotz"];
    assert!(counterweight(&edit).status.success());
    let make = ["make", text(&images), "--out", text(&model), "--device", "cpu"];
    let one = ["--rename", "Dotz=dots"];
    let made = counterweight_json(&[&make[..], &one].concat());
    assert_eq!(made["train_counts"].as_array().unwrap().len(), 3, "{made}");
    let run = Run::open(&folder.path().join("patterns-run")).unwrap();
    assert_eq!(run.dataset().classes, ["dots", "across", "down"]);
    assert_eq!(run.dataset().samples.len(), 86);
    assert!(!run.origin().is_edited_since());
    let dots = run.dataset().classes.iter().position(|class| class == "dots").unwrap();
    let name = first.file_name().unwrap().to_string_lossy();
    let own = |sample: &&counterweight_core::dataset::DatasetSample| {
        sample.location.to_text().ends_with(&format!("across/{name}"))
    };
    assert_eq!(run.dataset().samples.iter().find(own).unwrap().class, dots);
    // The file goes with images under the old name.
    let evaluate = ["evaluate", text(&model), text(&images), "--all"];
    let judged = counterweight_json(&[&evaluate[..], &one].concat());
    assert_eq!(judged["per_class"].as_array().unwrap().len(), 3, "{judged}");
    // A dataset file says itself what its classes are called.
    let dataset = folder.path().join("patterns-run/dataset.toml");
    let refused = counterweight(&[&["make", text(&dataset)][..], &one].concat());
    let said = String::from_utf8_lossy(&refused.stderr).to_string();
    assert!(!refused.status.success() && said.contains("classes have their names"), "{said}");
    let unknown = counterweight(&[&make[..], &["--rename", "Dot=dots"]].concat());
    let said = String::from_utf8_lossy(&unknown.stderr).to_string();
    assert!(!unknown.status.success() && said.contains("does not have"), "{said}");
}
