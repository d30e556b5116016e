//! `counterweight inspect --labels`: labels that are wrong are found, written as edits and mended.

use std::path::{Path, PathBuf};

use counterweight_tests::fixtures::{pattern, save};
use counterweight_tests::{counterweight, counterweight_json};
use serde_json::Value;

/// A folder of three classes of 40, 20 and 8 images; two images are in the folder of another class.
fn folder(root: &Path) -> (PathBuf, Vec<(String, String)>) {
    let photos = root.join("photos");
    let names = ["rows", "columns", "spots"];
    let mut wrong = Vec::new();
    for (class, images) in [40, 20, 8].into_iter().enumerate() {
        for number in 0..images {
            let put = match (class, number) {
                (0, 11) => 1,
                (2, 5) => 0,
                _ => class,
            };
            let path = format!("{}/{}-{number:02}.png", names[put], names[class]);
            save(&pattern(class, number), photos.join(&path));
            if put != class {
                wrong.push((path, names[class].to_string()));
            }
        }
    }
    (photos, wrong)
}

fn labels(source: &Path, more: &[&str]) -> Value {
    let source = source.display().to_string();
    counterweight_json(&[&["inspect", source.as_str(), "--labels", "--test"], more].concat())
}

#[test]
fn wrong_labels_are_found_written_as_edits_and_mended() {
    let root = tempfile::tempdir().unwrap();
    let (photos, wrong) = folder(root.path());
    let table = root.path().join("doubts.csv").display().to_string();
    let found = labels(&photos, &["--out", &table]);
    assert_eq!(found["images"], 68);
    let doubts = found["doubts"].as_array().unwrap();
    let first: Vec<(&str, &str)> = doubts
        .iter()
        .take(2)
        .map(|doubt| (doubt["path"].as_str().unwrap(), doubt["suggested"].as_str().unwrap()))
        .collect();
    for (path, class) in &wrong {
        assert!(first.contains(&(path.as_str(), class.as_str())), "{doubts:#?}");
    }
    assert!(doubts.len() <= 6, "{doubts:#?}");

    // The table is what `edit apply` reads; a person would take lines out of it.
    let text = std::fs::read_to_string(&table).unwrap();
    let kept: Vec<&str> = text.lines().take(3).collect();
    std::fs::write(&table, kept.join("\n")).unwrap();
    let source = photos.display().to_string();
    let edited = counterweight_json(&["edit", &source, "apply", &table]);
    assert_eq!(edited["counts"]["moved"], 2);
    let again = labels(&photos, &[]);
    let still = again["doubts"].as_array().unwrap();
    assert!(wrong.iter().all(|(path, _)| still.iter().all(|doubt| doubt["path"] != path.as_str())));

    // What is right is not doubted again once a person has said so.
    if let Some(doubt) = still.first() {
        let path = doubt["path"].as_str().unwrap();
        counterweight_json(&["edit", &source, "check", path]);
        let after = labels(&photos, &[]);
        assert!(after["doubts"].as_array().unwrap().iter().all(|doubt| doubt["path"] != path));
    }
}

#[test]
fn what_cannot_be_asked_says_why() {
    let root = tempfile::tempdir().unwrap();
    let photos = root.path().join("photos");
    for number in 0..6 {
        save(&pattern(0, number), photos.join(format!("only/{number}.png")));
    }
    let source = photos.display().to_string();
    let output = counterweight(&["inspect", &source, "--labels"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("needs two"), "{said}");
    let output = counterweight(&["inspect", &source, "--out", "x.csv"]);
    assert_eq!(output.status.code(), Some(2), "--out belongs to --labels");
}
