//! What becomes of an exported model: bundles, predictions of many files, and evaluation beside a
//! run.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use counterweight_tests::fixtures::{pattern, patterns, save, write};
use counterweight_tests::python::python;
use counterweight_tests::{binary, counterweight, counterweight_json};
use serde_json::Value;
use tempfile::TempDir;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A folder of patterns, and a model that was made of it with nothing set.
struct Made {
    folder: TempDir,
}

impl Made {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = Self { folder };
        patterns(&made.images());
        let out = made.model();
        let images = made.images();
        let make = ["make", text(&images), "--out", text(&out), "--no-refit", "--device", "cpu"];
        counterweight_json(&make);
        made
    }

    fn images(&self) -> PathBuf {
        self.folder.path().join("patterns")
    }

    fn model(&self) -> PathBuf {
        self.folder.path().join("model.onnx")
    }

    fn run(&self) -> PathBuf {
        self.folder.path().join("model-run")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn files_below(folder: &Path) -> Vec<String> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap().flatten() {
            match entry.path() {
                path if path.is_dir() => folders.push(path),
                path => files.push(text(path.strip_prefix(folder).unwrap()).replace('\\', "/")),
            }
        }
    }
    files.sort();
    files
}

fn rows(path: &Path) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| line.split(',').map(str::to_string).collect()).collect()
}

#[test]
fn a_model_is_deployed() {
    let made = Made::new();
    folders_are_classified(&made);
    files_are_sorted_and_it_is_undone(&made);
    who_has_read_enough_hears_nothing(&made);
    a_file_is_evaluated_beside_a_run(&made);
    a_bundle_holds_all_and_answers_as_it_says(&made);
    other_forms_are_measured_and_answer_alike(&made);
    weights_are_written_under_plain_names(&made);
}

fn folders_are_classified(made: &Made) {
    let (model, images, table) = (made.model(), made.images(), made.path("found.csv"));
    let predict = |more: &[&str]| {
        let mut arguments = vec!["predict", text(&model)];
        arguments.extend(more);
        counterweight(&arguments)
    };
    let output =
        predict(&[text(&images), "--csv", text(&table), "--threshold", "0.5", "--top", "2"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let all = rows(&table);
    assert_eq!(
        all[0],
        ["path", "class", "probability", "unsure", "sorted", "error", "class 2", "probability 2"]
    );
    assert_eq!(all.len(), 1 + 80);
    let right = all[1..].iter().filter(|row| row[0].contains(&format!("/{}/", row[1]))).count();
    assert!(right > 60, "{right} of 80 are right");
    assert!(
        all[1..].iter().all(|row| row[2].parse::<f32>().is_ok() && row[3].parse::<bool>().is_ok())
    );

    // Broken off in the middle of a row, it goes on with what is missing.
    let whole = std::fs::read_to_string(&table).unwrap();
    let cut = whole.match_indices('\n').nth(40).unwrap().0 + 5;
    write(&table, &whole[..cut]);
    let output = predict(&[
        text(&images),
        "--csv",
        text(&table),
        "--resume",
        "--top",
        "2",
        "--threshold",
        "0.5",
    ]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let again = rows(&table);
    let paths = |rows: &[Vec<String>]| {
        let mut paths: Vec<String> =
            rows.iter().map(|row| row[0].clone()).filter(|path| path.ends_with(".png")).collect();
        paths.sort();
        paths
    };
    assert_eq!(paths(&again), paths(&all));

    // Lists, patterns, and files that are no images.
    let list = made.path("list.txt");
    write(&list, format!("{}/dots/*.png\n\n{}\n", text(&images), text(&images.join("down/3.png"))));
    let broken = made.path("broken.png");
    write(&broken, "no image");
    let output = predict(&["--list", text(&list), text(&broken), "--json"]);
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<Value> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 1 + 15 + 1);
    assert!(lines[0]["error"].as_str().unwrap().contains("not an image"));
    assert_eq!(predict(&[text(&broken)]).status.code(), Some(1));
    let output = predict(&[text(&made.path("nothing/*.png"))]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("fits no file"));
}

fn files_are_sorted_and_it_is_undone(made: &Made) {
    let (model, copies, sorted) = (made.model(), made.path("copies"), made.path("sorted"));
    patterns(&copies);
    let before = files_below(&copies);
    let by_move = [
        "predict",
        text(&model),
        text(&copies),
        "--sort-into",
        text(&sorted),
        "--by",
        "move",
        "--threshold",
        "0.4",
    ];
    let output = counterweight(&by_move);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(files_below(&copies), Vec::<String>::new());
    let found = files_below(&sorted);
    assert_eq!(found.len(), 1 + 80, "{found:?}");
    assert!(found.iter().filter(|file| file.starts_with("across/")).count() > 20, "{found:?}");
    let undone = counterweight_json(&["predict", "--undo", text(&sorted)]);
    assert_eq!((undone["undone"].as_u64(), undone["left"].as_u64()), (Some(80), Some(0)));
    assert_eq!(files_below(&copies), before);
    assert!(!sorted.exists());
}

/// `predict … | head -1`, and the reader is gone before there is anything to read: a pipe holds more
/// than all that is written here.
fn who_has_read_enough_hears_nothing(made: &Made) {
    let mut child = Command::new(binary())
        .args(["predict", text(&made.model()), text(&made.images()), "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("error") && !said.contains("panicked"), "{said}");
    assert_eq!(output.status.code(), Some(141), "{said}");
}

fn a_file_is_evaluated_beside_a_run(made: &Made) {
    let (model, run) = (made.model(), made.run());
    let dataset = run.join("dataset.toml");
    let found = counterweight_json(&[
        "evaluate",
        text(&model),
        "--data",
        text(&dataset),
        "--beside",
        text(&run),
    ]);
    // It is the run's own model: the same answers for the same images.
    let all = &found["differences"][0];
    assert_eq!(
        (all["only_first"].as_u64(), all["only_second"].as_u64()),
        (Some(0), Some(0)),
        "{found}"
    );
    assert_eq!(all["p_value"], 1.0);
    assert_eq!(found["balanced_accuracy"], found["other"]["balanced_accuracy"]);
    let own = counterweight_json(&["evaluate", text(&run), "--device", "cpu"]);
    assert_eq!(found["balanced_accuracy"], own["balanced_accuracy"]);
    assert!(own["confidence"]["temperature"].as_f64().unwrap() > 0.0, "{own}");
    // Every image of a folder, and one with a class that the file has not.
    let found =
        counterweight_json(&["evaluate", text(&model), "--data", text(&made.images()), "--all"]);
    assert_eq!(found["samples"], 80);
    // Most of them it has learned from, so that nothing is promised.
    assert_eq!(
        (&found["verdict"]["grade"], &found["verdict"]["split"]),
        (&"doubtful".into(), &"train".into())
    );
    // Of its own folder those are taken that were held out; of any other without a test split, all.
    let output = counterweight(&["evaluate", text(&model), "--data", text(&made.images())]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("test images") && said.contains("verdict: "), "{said}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("were held out"), "{said}");
    let fresh = made.path("fresh");
    for (class, name) in ["across", "down", "dots"].into_iter().enumerate() {
        for index in 100..103 {
            save(&pattern(class, index), fresh.join(format!("{name}/{index}.png")));
        }
    }
    let fresh = counterweight_json(&["evaluate", text(&model), "--data", text(&fresh)]);
    assert_eq!((&fresh["samples"], &fresh["split"]), (&9.into(), &Value::Null), "{fresh}");
    assert_eq!(fresh["verdict"]["split"], "test");
    // Groups are by what the file was trained on, not by what a split of the folder would leave.
    let counts = |found: &Value| -> Vec<u64> {
        let classes = found["per_class"].as_array().unwrap();
        classes.iter().map(|class| class["train_count"].as_u64().unwrap()).collect()
    };
    assert_eq!(counts(&found), counts(&own));
    let silent = made.path("silent.onnx");
    std::fs::write(&silent, without_words(&std::fs::read(&model).unwrap())).unwrap();
    let images = made.images();
    let on_all = ["evaluate", text(&silent), "--data", text(&images), "--all"];
    let output = counterweight(&[on_all.as_slice(), &["--json"]].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("--mean") && said.contains("how many there are here"), "{said}");
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(counts(&result).iter().sum::<u64>(), 80);
    assert_eq!(result["balanced_accuracy"], found["balanced_accuracy"]);
    let said_now = ["--mean", "0.9,0,0.4", "--std", "0.1,0.5,2"];
    let output = counterweight(&[on_all.as_slice(), &said_now, &["--json"]].concat());
    assert!(!String::from_utf8_lossy(&output.stderr).contains("--mean"), "{output:?}");
    let wrong: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_ne!(wrong["ece"], result["ece"]);
    let other = made.path("other");
    patterns(&other);
    std::fs::rename(other.join("dots"), other.join("stars")).unwrap();
    let output = counterweight(&["evaluate", text(&model), "--data", text(&other)]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no class “stars”"));
    let output = counterweight(&["evaluate", text(&model)]);
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("name behind it what to evaluate it on")
    );
}

/// A model whose metadata say nothing of what goes in and where it comes from.
fn without_words(model: &[u8]) -> Vec<u8> {
    let mut model = model.to_vec();
    for key in ["summary", "preprocess", "resize", "stride"] {
        let entry = [&[0x0a, key.len() as u8], key.as_bytes(), &[0x12]].concat();
        let at = model.windows(entry.len()).position(|bytes| bytes == entry).unwrap();
        model[at + 2] = b'_';
    }
    model
}

fn a_bundle_holds_all_and_answers_as_it_says(made: &Made) {
    let (run, bundle) = (made.run(), made.path("bundle"));
    let write_it = ["export", text(&run), "--bundle", text(&bundle)];
    let report = counterweight_json(&write_it);
    let files = files_below(&bundle);
    let said: Vec<&str> = report["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file["name"].as_str().unwrap())
        .collect();
    let mut sorted = said.clone();
    sorted.sort_unstable();
    assert_eq!(files, sorted);
    for file in report["files"].as_array().unwrap() {
        assert!(!file["purpose"].as_str().unwrap().is_empty(), "{file}");
    }
    assert_eq!(std::fs::read_to_string(bundle.join("labels.txt")).unwrap(), "across\ndots\ndown\n");
    let card = std::fs::read_to_string(bundle.join("README.md")).unwrap();
    for part in [
        "mean over classes",
        "across",
        "Known limits",
        "do not normalise",
        "Apache-2.0",
        "imbalance factor",
    ] {
        assert!(card.contains(part), "{part} is missing in\n{card}");
    }
    assert!(!card.contains("NaN") && !card.contains("inf"), "{card}");
    let json = |name: &str| -> Value {
        serde_json::from_str(&std::fs::read_to_string(bundle.join(name)).unwrap()).unwrap()
    };
    assert_eq!(json("config.json")["id2label"]["1"], "dots");
    assert_eq!(json("preprocessor_config.json")["do_normalize"], false);
    assert_eq!(json("reference/expected.json")["images"].as_array().unwrap().len(), 10);

    // Again over it, and never over anything else.
    counterweight_json(&write_it);
    assert_eq!(files_below(&bundle), files);
    let output = counterweight(&["export", text(&run), "--bundle", text(&made.images())]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is no bundle alone"));
    assert_eq!(files_below(&made.images()).len(), 80);
    let mine = bundle.join("reference/mine.txt");
    std::fs::write(&mine, "notes").unwrap();
    let output = counterweight(&write_it);
    assert!(String::from_utf8_lossy(&output.stderr).contains("reference/mine.txt is in it"));
    std::fs::remove_file(&mine).unwrap();

    let Some(python) = python(&["numpy", "onnxruntime", "PIL"]) else { return };
    let output = Command::new(&python).arg(bundle.join("check.py")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("all as expected"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn other_forms_are_measured_and_answer_alike(made: &Made) {
    let (run, bundle) = (made.run(), made.path("forms"));
    // Nothing is refused, so that all can be run.
    let all = ["--variant", "all", "--max-loss", "100"];
    let mut arguments = vec!["export", text(&run), "--bundle", text(&bundle)];
    arguments.extend(all);
    let report = counterweight_json(&arguments);
    let forms = report["variants"].as_array().unwrap();
    assert_eq!(forms.len(), 7);
    for form in forms {
        let name = form["variant"].as_str().unwrap();
        assert!(bundle.join(format!("model-{name}.onnx")).is_file(), "{name}");
        let [network, file] = [0, 1].map(|at| form["balanced_accuracy"][at].as_f64().unwrap());
        assert!(network - file < 0.1, "{name}: {network} and {file}");
        assert!(form["refused"].is_null() && form["split"] == "validation", "{form}");
        assert_eq!(form["differences"][0]["samples"], 9, "{form}");
    }
    let card = std::fs::read_to_string(bundle.join("README.md")).unwrap();
    assert!(card.contains("Other forms") && card.contains("model-int8.onnx"), "{card}");
    for picture in ["class-distribution.svg", "class-weight-norms.png"] {
        assert!(std::fs::metadata(bundle.join(picture)).unwrap().len() > 1000);
    }

    // One file in one form; and names that there are not.
    let (one, report) = (made.path("one.onnx"), |more: &[&str]| {
        let mut arguments = vec!["export", text(&run)];
        arguments.extend(more);
        counterweight(&arguments)
    });
    assert!(report(&["--out", text(&one), "--variant", "uint8-nhwc"]).status.success());
    let images = made.images();
    let predicted = counterweight(&["predict", text(&one), text(&images), "--json"]);
    assert_eq!(String::from_utf8_lossy(&predicted.stdout).lines().count(), 80);
    for (wrong, says) in [("int4", "there is no form"), ("all", "there is no form")] {
        let output = report(&["--out", text(&one), "--variant", wrong]);
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stderr).contains(says));
    }

    let Some(python) = python(&["numpy", "onnxruntime", "PIL"]) else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/variants.py");
    let output = Command::new(&python).arg(script).args([&bundle, &images]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<&str> = said.lines().skip(1).collect();
    assert_eq!(lines.len(), 8, "{said}");
    for line in lines {
        let same = line.split(", ").find_map(|part| part.strip_suffix(" of 80 the same"));
        let same: usize = same.unwrap().parse().unwrap();
        // Eight bits move what is close; resizing inside rounds its weights otherwise.
        let least = match line.split(':').next().unwrap() {
            "int8" => 70,
            "any-size" | "float16" => 77,
            _ => 80,
        };
        assert!(same >= least, "{line}");
    }
}

fn weights_are_written_under_plain_names(made: &Made) {
    let (run, path) = (made.run(), made.path("weights.safetensors"));
    let report = counterweight_json(&["export", text(&run), "--weights", text(&path)]);
    let file = std::fs::read(&path).unwrap();
    let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&file[8..8 + length]).unwrap();
    let names: Vec<&String> = header.as_object().unwrap().keys().collect();
    assert_eq!(names.len() as u64, 1 + report["tensors"].as_u64().unwrap());
    assert!(header["conv_stem.weight"].is_object() && header["fc.weight"].is_object(), "{names:?}");
    assert_eq!(header["__metadata__"]["class_names"], "[\"across\",\"dots\",\"down\"]");
    assert!(!names.iter().any(|name| name.starts_with("model.")), "{names:?}");
}
