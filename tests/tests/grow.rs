//! `counterweight suggest` and `counterweight grow`: a finished run gets more images and a class.

use std::path::Path;

use counterweight_core::pipeline::untouched_proposals;
use counterweight_tests::fixtures::{finished_run, pattern, save};
use counterweight_tests::{counterweight, counterweight_json};
use serde_json::Value;

fn words(path: &Path) -> String {
    path.display().to_string()
}

fn class<'a>(report: &'a Value, name: &str) -> &'a Value {
    let classes = report["classes"].as_array().unwrap();
    classes.iter().find(|class| class["class"] == name).unwrap()
}

#[test]
fn a_run_suggests_images_and_grows_by_them() {
    let root = tempfile::tempdir().unwrap();
    let (photos, run) = finished_run(root.path());
    let new = root.path().join("new");
    for number in 200..212 {
        save(&pattern(1, number), new.join(format!("{number}.png")));
        save(&pattern(2, number), new.join(format!("spots-{number}.png")));
    }
    // One that the run knows, under another name, and one twice.
    save(&pattern(0, 3), new.join("known.png"));
    save(&pattern(1, 200), new.join("twice.png"));

    let list = root.path().join("next.csv");
    let found = counterweight_json(&[
        "suggest",
        &words(&run),
        &words(&new),
        "--count",
        "24",
        "--out",
        &words(&list),
    ]);
    assert_eq!((&found["images"], &found["known"]), (&24.into(), &2.into()));
    let suggestions = found["suggestions"].as_array().unwrap();
    assert_eq!(suggestions.len(), 24);
    // A run is not to learn its own guesses as if somebody had looked at them.
    let to = root.path().join("guessed");
    let unread = ["grow", &words(&run), &words(&list), "--to", &words(&to)];
    let refused = counterweight(&unread);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && said.contains("all 24 labels"), "{said}");
    assert!(said.contains("--as-proposed") && !to.exists(), "{said}");

    // Nothing that could be suggested is an error, and no empty list.
    let broken = root.path().join("broken");
    std::fs::create_dir(&broken).unwrap();
    std::fs::write(broken.join("broken.png"), "no image").unwrap();
    let refused = counterweight(&["suggest", &words(&run), &words(&broken)]);
    let reason = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && reason.contains("no image can be read"), "{reason}");

    // A person corrects the labels.
    let text = std::fs::read_to_string(&list).unwrap();
    assert_eq!(untouched_proposals(&list), Some(24));
    // Saved by another program, and with one of them corrected.
    let other = root.path().join("next.txt");
    std::fs::write(&other, text.replace(',', ";")).unwrap();
    assert_eq!(untouched_proposals(&other), Some(24));
    let row = text.lines().nth(1).unwrap();
    let label = row.split(',').nth(1).unwrap();
    let one = text.replacen(&format!(",{label},{label},"), &format!(",spots,{label},"), 1);
    std::fs::write(&other, one).unwrap();
    assert_eq!(untouched_proposals(&other), None);
    let taken = counterweight(&[&unread[..], &["--as-proposed"]].concat());
    assert!(taken.status.success(), "{}", String::from_utf8_lossy(&taken.stderr));
    assert!(String::from_utf8_lossy(&taken.stdout).contains("verdict: "));
    let mut corrected = String::from("path,label\n");
    for line in text.lines().skip(1) {
        let path = line.split(',').next().unwrap();
        let is_spots = path.contains("spots");
        corrected += &format!("{path},{}\n", if is_spots { "spots" } else { "columns" });
    }
    std::fs::write(&list, corrected).unwrap();
    let before: Vec<u8> = std::fs::read(run.join("checkpoints/balanced.safetensors")).unwrap();
    let grown = root.path().join("grown");
    let report = counterweight_json(&["grow", &words(&run), &words(&list), "--to", &words(&grown)]);
    assert_eq!(report["added"], 24);
    assert_eq!(class(&report, "columns")["train_counts"], serde_json::json!([8, 20]));
    let spots = class(&report, "spots");
    // Those of a new class are held out in turn themselves.
    assert_eq!((&spots["is_new"], &spots["images"]), (&true.into(), &12.into()));
    assert_eq!(spots["accuracy"][0], Value::Null);
    // Those that the run had, and none of the new ones.
    let held = ["rows", "columns"].map(|name| class(&report, name)["images"].as_u64().unwrap());
    assert_eq!(held, [30, 8]);
    for when in [0, 1] {
        assert!(report["in_turn"][when]["balanced_accuracy"].as_f64().unwrap() > 0.7);
    }
    assert!(report["evaluations"][1]["balanced_accuracy"].as_f64().unwrap() > 0.7);
    assert_eq!(std::fs::read(run.join("checkpoints/balanced.safetensors")).unwrap(), before);
    let evaluated = counterweight_json(&["evaluate", &words(&grown), "--split", "test"]);
    assert_eq!(evaluated["balanced_accuracy"], report["evaluations"][1]["balanced_accuracy"]);

    // Its file knows the folder that it began with, and says so where it cannot know.
    let file = root.path().join("grown.onnx");
    counterweight_json(&["export", &words(&grown), "--out", &words(&file)]);
    let said = |data: &Path, more: &[&str]| {
        let asked = ["evaluate", &words(&file), "--data", &words(data)];
        let output = counterweight(&[&asked[..], more].concat());
        String::from_utf8(output.stderr).unwrap()
    };
    let own = said(&photos, &["--all"]);
    assert!(own.contains("the file has learned from most of these images"), "{own}");
    let others = root.path().join("others");
    for number in 300..306 {
        save(&pattern(0, number), others.join(format!("rows/{number}.png")));
        save(&pattern(1, number), others.join(format!("columns/{number}.png")));
    }
    let unknown = said(&others, &[]);
    assert!(
        unknown.contains(
            "every image is taken; the file does not name the images that it has learned from"
        ),
        "{unknown}"
    );

    // What the folder itself has got since; the images of validation and test stay where they are.
    let refused = counterweight(&["grow", &words(&run), "--to", &words(&root.path().join("more"))]);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("has all 50 images already"), "{said}");
    save(&pattern(1, 150), photos.join("train/columns/new.png"));
    let report = counterweight_json(&["grow", &words(&run)]);
    assert_eq!(report["added"], 1);
    assert!(Path::new(report["run"].as_str().unwrap()).ends_with("run-grown"));
    let refused = counterweight(&["grow", &words(&run), "--to", &words(&grown)]);
    assert!(String::from_utf8(refused.stderr).unwrap().contains("already holds a run"));
}

#[test]
fn a_source_is_read_again_as_it_was_read_and_series_stay_series() {
    let root = tempfile::tempdir().unwrap();
    let photos = root.path().join("photos");
    for (class, name) in ["rows", "columns"].into_iter().enumerate() {
        for number in 0..18 {
            let place = photos.join(format!("{name}/{}_{}.png", number / 3, number % 3));
            save(&pattern(class, number), place);
            save(
                &pattern(2, 20 * class as u32 + number),
                photos.join(format!("{name}/{number}_mask.png")),
            );
        }
    }
    let run = root.path().join("run");
    let done = counterweight(&[
        "train",
        &words(&photos),
        "--run",
        &words(&run),
        "--skip",
        "*_mask.png",
        "--group-by",
        "name",
        "--set",
        "stage1.train=classifier",
        "--device",
        "cpu",
    ]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    // What is named is applied, whatever tuning would find.
    let balanced = counterweight_json(&["balance", &words(&run), "--balancer", "tau"]);
    assert_eq!(balanced["settings"]["balancers"], serde_json::json!(["tau"]));

    let refused = counterweight(&["grow", &words(&run)]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("has all 36 images already"), "{said}");
    save(&pattern(1, 150), photos.join("columns/new_1.png"));
    save(&pattern(1, 151), photos.join("columns/new_2.png"));
    let report = counterweight_json(&["grow", &words(&run)]);
    assert_eq!(report["added"], 2);
    assert_eq!(report["classes"].as_array().unwrap().len(), 2);
    // Its dataset opens, and goes on growing.
    let grown = Path::new(report["run"].as_str().unwrap());
    save(&pattern(1, 152), photos.join("columns/new_3.png"));
    assert_eq!(counterweight_json(&["grow", &words(grown)])["added"], 1);

    // Further frames of series that are held out are not learned from.
    for series in 0..6 {
        save(&pattern(0, 170 + series), photos.join(format!("rows/{series}_7.png")));
    }
    let to = root.path().join("with frames");
    let done = counterweight(&["grow", &words(&run), "--to", &words(&to), "--json"]);
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(
        done.status.success() && said.contains("belong to series that the run holds out"),
        "{said}"
    );
    let report = String::from_utf8(done.stdout).unwrap();
    let report: Value = serde_json::from_str(report.lines().last().unwrap()).unwrap();
    let added = report["added"].as_u64().unwrap();
    // Three of `new` and those of series that are trained on.
    assert!((4..9).contains(&added), "{added}");

    // What a source holds out is not learned from.
    let more = root.path().join("more");
    save(&pattern(0, 160), more.join("train/rows/a.png"));
    save(&pattern(0, 161), more.join("test/rows/b.png"));
    let report = counterweight_json(&[
        "grow",
        &words(&run),
        &words(&more),
        "--to",
        &words(&root.path().join("to")),
    ]);
    assert_eq!(report["added"], 1);
}

#[test]
fn a_network_that_was_trained_grows_by_its_classifier() {
    let root = tempfile::tempdir().unwrap();
    let photos = root.path().join("photos");
    for class in 0..2 {
        for number in 0..12 {
            let name = ["rows", "columns"][class];
            save(&pattern(class, number), photos.join(format!("train/{name}/{number}.png")));
            save(&pattern(class, 50 + number), photos.join(format!("test/{name}/{number}.png")));
        }
    }
    let run = root.path().join("run");
    let settings =
        ["--preset", "quick", "--set", "stage1.epochs=2", "--set", "model.input_size=32"];
    let train = ["train", &words(&photos), "--run", &words(&run), "--device", "cpu"];
    assert!(counterweight(&[&train[..], &settings].concat()).status.success());
    let new = root.path().join("new");
    for number in 70..76 {
        save(&pattern(2, number), new.join(format!("spots/{number}.png")));
    }
    let grown = root.path().join("grown");
    let report = counterweight_json(&["grow", &words(&run), &words(&new), "--to", &words(&grown)]);
    assert_eq!((&report["added"], &class(&report, "spots")["is_new"]), (&6.into(), &true.into()));
    let model = root.path().join("model.onnx");
    let exported = counterweight(&["export", &words(&grown), "--out", &words(&model)]);
    assert!(exported.status.success(), "{exported:?}");
    let predicted =
        counterweight_json(&["predict", &words(&model), &words(&new.join("spots/70.png"))]);
    assert!(predicted.to_string().contains("spots"), "{predicted}");
}

#[test]
fn what_more_images_would_bring_is_told_for_every_class() {
    let root = tempfile::tempdir().unwrap();
    let photos = root.path().join("photos");
    for (class, images) in [40, 12, 5].into_iter().enumerate() {
        for number in 0..images {
            let name = ["rows", "columns", "spots"][class];
            save(&pattern(class, number), photos.join(format!("{name}/{number}.png")));
        }
    }
    let ask = || counterweight_json(&["inspect", &words(&photos), "--more", "--device", "cpu"]);
    let found = ask();
    let classes = found["classes"].as_array().unwrap();
    assert_eq!(classes[0]["class"], "spots");
    for class in classes {
        for outlook in [&class["now"], &class["with_more"][0], &class["with_more"][1]] {
            let [low, accuracy, high] =
                ["low", "accuracy", "high"].map(|key| outlook[key].as_f64());
            assert!(Some(0.0) < low && low <= accuracy && accuracy <= high && high < Some(1.0));
        }
    }
    // Chance is drawn from the seed alone.
    assert_eq!(ask(), found);
    let said = counterweight(&["inspect", &words(&photos), "--more"]);
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(said.contains("with 2 times as many") && said.contains("spots"), "{said}");

    let one = root.path().join("one");
    save(&pattern(0, 0), one.join("a.png"));
    assert!(!counterweight(&["inspect", &words(&one), "--more"]).status.success());
}

/// Excluded beside the folder, built, trained: what was left out does not come back.
#[test]
fn what_was_left_out_of_a_folder_stays_out_and_corrected_lists_are_not_overwritten() {
    let root = tempfile::tempdir().unwrap();
    let photos = root.path().join("photos");
    for (class, name) in ["rows", "columns"].into_iter().enumerate() {
        for number in 0..14 {
            save(&pattern(class, number), photos.join(format!("{name}/{number:02}.png")));
        }
    }
    let (dataset, run) = (root.path().join("photos.toml"), root.path().join("run"));
    counterweight_json(&["edit", &words(&photos), "exclude", "rows/03.png", "rows/04.png"]);
    counterweight_json(&["build", &words(&photos), "--out", &words(&dataset)]);
    let done = counterweight(&["train", &words(&dataset), "--run", &words(&run)]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let nothing = counterweight(&["grow", &words(&run)]);
    let said = String::from_utf8_lossy(&nothing.stderr);
    assert!(said.contains("has all 26 images already"), "{said}");

    // A class that is written otherwise is no new one, and another class for a known image is told of.
    let list = root.path().join("more.csv");
    save(&pattern(1, 77), root.path().join("new.png"));
    std::fs::write(&list, "path,label\nnew.png,Columns\nphotos/rows/00.png,rows\n").unwrap();
    let refused = counterweight(&["grow", &words(&run), &words(&list)]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("has a class `Columns`, and the run `columns`"), "{said}");
    std::fs::write(&list, "path,label\nnew.png,columns\nphotos/rows/00.png,columns\n").unwrap();
    let grown = counterweight(&["grow", &words(&run), &words(&list)]);
    let said = String::from_utf8_lossy(&grown.stderr);
    assert!(grown.status.success() && said.contains("1 images have another class there"), "{said}");

    let next = root.path().join("next.csv");
    let suggest =
        ["suggest", &words(&run), &words(&root.path().join("new.png")), "--out", &words(&next)];
    std::fs::write(&next, "path,label\nnew.png,corrected\n").unwrap();
    let refused = counterweight(&suggest);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("corrected by hand"));
    assert!(std::fs::read_to_string(&next).unwrap().contains("corrected"));
}
