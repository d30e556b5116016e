//! `counterweight edit`: decisions about images, beside the dataset, and what sees them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use counterweight_tests::fixtures::{picture, save};
use counterweight_tests::{binary, counterweight, counterweight_json};
use serde_json::{Value, json};

/// A folder of two classes, twenty pictures each.
fn photos(folder: &Path) -> PathBuf {
    let root = folder.join("photos");
    for (class, name) in ["frog", "newt"].into_iter().enumerate() {
        for number in 0..20 {
            let place = root.join(name).join(format!("{number:02}.png"));
            save(&picture(100 * class as u32 + number, 12, 10), place);
        }
    }
    root
}

fn words(path: &Path) -> String {
    path.display().to_string()
}

fn edit(dataset: &Path, arguments: &[&str]) -> Value {
    let dataset = words(dataset);
    counterweight_json(&[&["edit", dataset.as_str()], arguments].concat())
}

fn refusal(dataset: &Path, arguments: &[&str]) -> String {
    let dataset = words(dataset);
    let output = counterweight(&[&["edit", dataset.as_str()], arguments].concat());
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// Images of each class, as `inspect` has them.
fn inspected(source: &Path) -> Value {
    let report = counterweight_json(&["inspect", &words(source)]);
    let classes = report["classes"].as_array().unwrap();
    classes.iter().map(|class| json!([class["name"], class["total"]])).collect()
}

#[test]
fn images_are_moved_excluded_and_checked_and_it_is_all_undone() {
    let folder = tempfile::tempdir().unwrap();
    let source = photos(folder.path());
    let file = folder.path().join("photos.edits.jsonl");
    let planned =
        edit(&source, &["move", "frog/00.png", "frog/01.png", "--to", "newt", "--dry-run"]);
    assert_eq!(planned["done"], json!(["moved 2 images to newt"]));
    assert!(!file.exists());

    let moved = edit(&source, &["move", "frog/00.png", "frog/01.png", "--to", "newt"]);
    assert_eq!(moved["counts"]["moved"], 2);
    assert_eq!(moved["edits_file"], words(&file));
    let beside = words(&source.join("newt/03.png"));
    assert_eq!(edit(&source, &["exclude", &beside])["counts"]["excluded"], 1);
    assert_eq!(edit(&source, &["check", "newt/04.png"])["counts"]["checked"], 1);
    assert_eq!(inspected(&source), json!([["frog", 18], ["newt", 21]]));

    let list = edit(&source, &["list"]);
    assert_eq!((&list["undo"], &list["redo"]), (&json!(3), &json!(0)));
    let images = list["images"].as_array().unwrap();
    assert_eq!(images.len(), 4);
    let first = images.iter().find(|image| image["path"] == "frog/00.png").unwrap();
    assert_eq!((&first["class"], &first["moved_to"]), (&json!("frog"), &json!("newt")));

    let undone = edit(&source, &["undo", "2"]);
    assert_eq!(
        undone["done"],
        json!(["undone: marked 1 image as checked", "undone: excluded 1 image"])
    );
    assert_eq!(edit(&source, &["redo"])["done"], json!(["done again: excluded 1 image"]));
    assert!(refusal(&source, &["undo", "9"]).contains("9 edits are to be undone"));
    edit(&source, &["restore", "frog/00.png"]);
    assert_eq!(inspected(&source), json!([["frog", 19], ["newt", 20]]));

    let text = String::from_utf8(counterweight(&["edit", &words(&source), "list"]).stdout).unwrap();
    assert!(text.contains("frog/01.png") && text.contains("undo takes back: restored 1 image"));
}

#[test]
fn a_list_is_read_as_it_was_when_its_images_were_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    photos(folder.path());
    let list = folder.path().join("notes.csv");
    let mut rows = String::from("shot by;seen as;where\n");
    for name in ["frog", "newt"] {
        for number in 0..20 {
            rows += &format!("{};{name};photos/{name}/{number:02}.png\n", number % 3);
        }
    }
    std::fs::write(&list, rows).unwrap();
    let reading = ["--path-column", "where", "--label-column", "seen as"];
    let refused = refusal(&list, &["exclude", "photos/frog/00.png"]);
    assert!(refused.contains("which column holds the labels"), "{refused}");
    let edited = edit(&list, &[reading.as_slice(), &["exclude", "photos/frog/00.png"]].concat());
    assert_eq!(edited["counts"]["excluded"], 1);
    let report =
        counterweight_json(&[&["inspect", words(&list).as_str()], reading.as_slice()].concat());
    assert_eq!(report["classes"][0]["total"], 19);
}

#[test]
fn what_is_misspelled_is_refused_and_nothing_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let source = photos(folder.path());
    let wrong = refusal(&source, &["move", "frog/00.png", "--to", "Newts"]);
    assert!(wrong.contains("no class `Newts`; it has newt"), "{wrong}");
    let wrong = refusal(&source, &["exclude", "frog/00.png", "frog/99.png", "toad/1.png"]);
    assert!(wrong.contains("frog/99.png") && wrong.contains("toad/1.png"), "{wrong}");
    assert!(refusal(&source, &["undo"]).contains("no edit that can be undone"));
    let rows = folder.path().join("rows.csv");
    std::fs::write(&rows, "path,action,class\nfrog/00.png,exclude,\nfrog/01.png,move,toad\n")
        .unwrap();
    let wrong = refusal(&source, &["apply", &words(&rows)]);
    assert!(wrong.contains("no class `toad`"), "{wrong}");
    assert!(!folder.path().join("photos.edits.jsonl").exists());

    let made = edit(&source, &["apply", &words(&rows), "--new"]);
    assert_eq!(made["done"], json!(["excluded 1 image", "moved 1 image to toad"]));
    // A class of one image that is held out cannot be trained on, and that is said.
    let problem = edit(&source, &["move", "frog/00.png", "--to", "newt"])["problem"].clone();
    assert!(problem.is_null() || problem.as_str().unwrap().contains("toad"), "{problem}");

    let file = folder.path().join("photos.edits.jsonl");
    let mut broken = std::fs::read_to_string(&file).unwrap();
    broken.insert_str(broken.find('\n').unwrap() + 1, "{\"edit\":\"paint\"}\n");
    std::fs::write(&file, &broken).unwrap();
    for arguments in [
        vec!["edit".to_string(), words(&source), "list".into()],
        vec!["inspect".into(), words(&source)],
    ] {
        let output = counterweight(&arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("photos.edits.jsonl: line 2: ") && said.contains("paint"), "{said}");
    }
}

#[test]
fn rows_and_names_come_from_standard_input() {
    let folder = tempfile::tempdir().unwrap();
    let source = photos(folder.path());
    let feed = |arguments: &[&str], text: &str| -> Value {
        let mut child = Command::new(binary())
            .args(["edit", &words(&source)])
            .args(arguments)
            .arg("--json")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let rows = "frog/02.png,move,newt\nfrog/03.png,move,newt\nnewt/05.png,check\n";
    let done = feed(&["apply", "-"], rows);
    assert_eq!(done["done"], json!(["moved 2 images to newt", "marked 1 image as checked"]));
    let done = feed(&["exclude", "-"], "newt/06.png\r\n\nnewt/07.png\n");
    assert_eq!(
        done["counts"],
        json!({"moved": 2, "excluded": 2, "checked": 1, "vanished": 0, "replaced": 0})
    );
}

#[test]
fn a_run_made_before_the_edits_goes_on_and_says_so_and_a_new_one_takes_them() {
    let folder = tempfile::tempdir().unwrap();
    let source = photos(folder.path());
    let (file, run) = (folder.path().join("set.toml"), folder.path().join("run"));
    counterweight_json(&["build", &words(&source), "--out", &words(&file)]);
    let train = |run: &Path, epochs: &str, more: &[&str]| {
        let (run, epochs) = (words(run), format!("stage1.epochs={epochs}"));
        let dataset = words(&file);
        let mut arguments = vec!["train", &dataset, "--run", &run, "--device", "cpu"];
        if more.is_empty() {
            arguments.extend(["--preset", "quick", "--set", &epochs, "--set", "input_size=16"]);
        }
        arguments.extend(more);
        counterweight(&arguments)
    };
    assert!(train(&run, "1", &[]).status.success());
    let before = std::fs::read(&file).unwrap();
    let moved = ["frog/00.png", "frog/01.png", "frog/02.png", "frog/03.png"];
    edit(&file, &[["move"].as_slice(), &moved, &["--to", "newt"]].concat());
    edit(&file, &["exclude", "frog/04.png"]);
    // The dataset file itself stays as it is.
    assert_eq!(std::fs::read(&file).unwrap(), before);

    let resumed = train(&run, "1", &["--resume"]);
    let said = String::from_utf8(resumed.stderr).unwrap();
    assert!(resumed.status.success() && said.contains("has been edited since"), "{said}");
    let evaluated = counterweight(&["evaluate", &words(&run), "--device", "cpu"]);
    let said = String::from_utf8(evaluated.stderr).unwrap();
    assert!(evaluated.status.success() && said.contains("has been edited since"), "{said}");

    let other = folder.path().join("other");
    let trained = train(&other, "1", &[]);
    let said = String::from_utf8(trained.stderr).unwrap();
    assert!(said.contains("4 images moved to another class, 1 image excluded"), "{said}");
    let evaluated = counterweight(&["evaluate", &words(&other), "--device", "cpu"]);
    let said = String::from_utf8(evaluated.stderr).unwrap();
    assert!(!said.contains("edited since"), "{said}");
    let images = |run: &Path| {
        let text = std::fs::read_to_string(run.join("dataset.toml")).unwrap();
        (text.matches(".png").count(), text.find("frog/00.png") > text.find("name = \"newt\""))
    };
    assert_eq!((images(&run), images(&other)), ((40, false), (39, true)));

    // Another dataset is still another dataset.
    let text = std::fs::read_to_string(&file).unwrap();
    let without = text.replace("\"frog/05.png\",", "");
    // What the images were is noted for each of them.
    let kept = without.lines().filter(|line| !line.contains("_digests"));
    let text = kept.collect::<Vec<_>>().join("\n");
    std::fs::write(folder.path().join("else.toml"), text).unwrap();
    let other = words(&folder.path().join("else.toml"));
    let output =
        counterweight(&["train", &other, "--run", &words(&run), "--resume", "--device", "cpu"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("another dataset"), "{said}");
}

#[test]
fn the_edited_dataset_is_built_and_written_with_its_edits() {
    let folder = tempfile::tempdir().unwrap();
    let source = photos(folder.path());
    edit(&source, &["move", "frog/00.png", "--to", "newt"]);
    edit(&source, &["exclude", "frog/01.png", "frog/02.png"]);
    let built = counterweight_json(&[
        "build",
        &words(&source),
        "--out",
        &words(&folder.path().join("set.toml")),
        "--write-images",
        &words(&folder.path().join("built")),
    ]);
    let total: u64 = ["train", "validation", "test"]
        .iter()
        .map(|split| built["counts"][split].as_u64().unwrap())
        .sum();
    assert_eq!(total, 38);
    // Under other names, and without a class that something was moved to.
    for number in 0..20 {
        save(&picture(300 + number, 12, 10), source.join(format!("toad/{number:02}.png")));
    }
    edit(&source, &["move", "frog/03.png", "--to", "toad"]);
    let built = |more: &[&str]| -> Value {
        let out = words(&folder.path().join("other.toml"));
        let source = words(&source);
        let built = counterweight_json(
            &[&["build", source.as_str(), "--out", out.as_str(), "--force"], more].concat(),
        );
        let classes = built["classes"].as_array().unwrap().iter();
        let images = |class: &Value| -> u64 {
            ["train", "validation", "test"].map(|split| class[split].as_u64().unwrap()).iter().sum()
        };
        classes.map(|class| json!([class["name"], images(class)])).collect()
    };
    assert_eq!(built(&["--classes", "frog,newt"]), json!([["frog", 16], ["newt", 21]]));
    let renamed = built(&["--rename", "newt=salamander", "--rename", "toad=frog"]);
    assert_eq!(renamed, json!([["frog", 37], ["salamander", 21]]));
    edit(&source, &["undo"]);
    std::fs::remove_dir_all(source.join("toad")).unwrap();
    let target = folder.path().join("linked");
    let planned = edit(&source, &["write", &words(&target), "--dry-run"]);
    assert_eq!((planned["written"][1].as_u64(), target.exists()), (Some(38), false));
    edit(&source, &["write", &words(&target), "--hard-link"]);
    for written in [target, folder.path().join("built")] {
        assert_eq!(inspected(&written), json!([["frog", 17], ["newt", 21]]));
    }
    assert_eq!(std::fs::read_dir(source.join("frog")).unwrap().count(), 20);
}

#[test]
fn edits_stay_with_their_images_and_with_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let source = photos(folder.path());
    // A copy that is left out and then deleted takes nothing with it.
    std::fs::copy(source.join("newt/03.png"), source.join("newt/90.png")).unwrap();
    edit(&source, &["exclude", "newt/90.png"]);
    std::fs::remove_file(source.join("newt/90.png")).unwrap();
    assert_eq!(inspected(&source), json!([["frog", 20], ["newt", 20]]));
    edit(&source, &["undo"]);

    // Under another name an image is still the one that was left out, and can be taken back.
    edit(&source, &["exclude", "frog/05.png"]);
    std::fs::rename(source.join("frog/05.png"), source.join("frog/better.png")).unwrap();
    assert_eq!(inspected(&source), json!([["frog", 19], ["newt", 20]]));
    assert_eq!(edit(&source, &["check", "frog/better.png"])["counts"]["excluded"], 1);
    let restored = edit(&source, &["restore", "frog/better.png"]);
    assert_eq!(restored["counts"]["excluded"], 0);
    assert_eq!(inspected(&source), json!([["frog", 20], ["newt", 20]]));

    // That a class was right says nothing about the one an image is moved to afterwards.
    edit(&source, &["check", "frog/07.png"]);
    assert_eq!(edit(&source, &["move", "frog/07.png", "--to", "newt"])["counts"]["checked"], 0);

    let refused = refusal(&source, &["move", "frog/08.png", "--to", "lynx"]);
    assert!(refused.contains("it has 2 classes: frog, newt"), "{refused}");
}
