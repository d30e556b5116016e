//! Images that belong together, on the command line: `inspect --groups`, and `--group-by` of
//! `build`, `train` and `make`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use counterweight_core::dataset::Dataset;
use counterweight_core::source::{Split, unpack_sample};
use counterweight_tests::fixtures::{shuffled_folder, track_folder};
use counterweight_tests::{counterweight, counterweight_json};

const CLASSES: [(&str, u32); 3] = [("give way", 24), ("no entry", 12), ("stop", 5)];

/// Runs the program; its standard output and error.
fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = counterweight(arguments);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// The splits that each track has images in.
fn splits_of_tracks(file: &Path) -> BTreeMap<String, BTreeSet<Split>> {
    let mut splits: BTreeMap<String, BTreeSet<Split>> = BTreeMap::new();
    for sample in Dataset::load(file).unwrap().samples {
        let path = sample.location.to_text();
        let track = path.rsplit_once('_').unwrap().0.to_string();
        splits.entry(track).or_default().insert(sample.split);
    }
    splits
}

#[test]
fn series_are_noticed_and_built_into_one_split_each() {
    let folder = tempfile::tempdir().unwrap();
    let tracks = track_folder(folder.path(), &CLASSES, 8);
    let source = tracks.to_str().unwrap();

    let (code, text, _) = run(&["inspect", source]);
    assert_eq!(code, Some(0));
    assert!(text.contains("note: the images come in series"), "{text}");
    assert!(text.contains("--group-by name"), "{text}");
    let report = counterweight_json(&["inspect", source]);
    let (alike, pairs) = (&report["series"]["alike"], &report["series"]["neighbours"]);
    assert!(alike.as_f64().unwrap() > 0.5 * pairs.as_f64().unwrap(), "{alike} of {pairs}");
    assert!(report["kept_together"].is_null());

    let (_, text, _) = run(&["inspect", source, "--groups", "name"]);
    assert!(text.contains("41 series, the largest of 8 images"), "{text}");
    let report = counterweight_json(&["inspect", source, "--groups", "name"]);
    let found = &report["kept_together"][0];
    let leak = |when: &str, split: &str, group: &str| {
        let count = &found[when][split][group];
        [&count["with_sibling"], &count["images"]].map(|n| n.as_u64().unwrap())
    };
    for split in ["validation", "test"] {
        let [with_sibling, images] = leak("before", split, "all");
        assert!(10 * with_sibling > 9 * images && images > 20, "{with_sibling} of {images}");
        let [with_sibling, images] = leak("after", split, "all");
        assert!(with_sibling == 0 && images > 20, "{with_sibling} of {images}");
        let groups: u64 =
            ["few", "medium", "many"].iter().map(|group| leak("before", split, group)[1]).sum();
        assert_eq!(groups, leak("before", split, "all")[1]);
    }
    // All ways beside each other; there are no times, and no folders below the classes.
    let (_, text, _) = run(&["inspect", source, "--groups"]);
    assert!(text.contains("\nname ") && text.contains("\nlook-alikes "), "{text}");
    assert!(!text.contains("\ntime ") && !text.contains("\nsubfolder "), "{text}");

    let (plain, grouped) = (folder.path().join("plain.toml"), folder.path().join("grouped.toml"));
    let (code, _, warned) = run(&["build", source, "--out", plain.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{warned}");
    assert!(warned.contains("warning: the images come in series"), "{warned}");
    let asked = ["build", source, "--out", grouped.to_str().unwrap(), "--group-by", "name"];
    let (code, text, warned) = run(&asked);
    assert_eq!(code, Some(0), "{warned}");
    assert!(!warned.contains("series"), "{warned}");
    assert!(text.contains("kept in one split: 41 series, the largest of 8 images"), "{text}");
    let torn = |file: &Path| splits_of_tracks(file).values().filter(|s| s.len() > 1).count();
    assert!(torn(&plain) > 20 && torn(&grouped) == 0);
    let dataset = Dataset::load(&grouped).unwrap();
    for split in [Split::Validation, Split::Test] {
        assert!(dataset.counts(split).iter().all(|n| *n >= 8), "every class: {split}");
    }
    // The options in the file are enough to make it again.
    let text = std::fs::read_to_string(&grouped).unwrap();
    assert!(text.contains("[options.group_by]\nby = \"name\"\n"), "{text}");
    run(&asked);
    assert_eq!(std::fs::read_to_string(&grouped).unwrap(), text);
    let pattern = [&asked[..5], &["name:([a-z ]+/[0-9]+)_"]].concat();
    run(&pattern);
    assert_eq!(Dataset::load(&grouped).unwrap().samples, dataset.samples);
}

#[test]
fn photos_without_series_give_no_notice() {
    let folder = tempfile::tempdir().unwrap();
    let noise = shuffled_folder(folder.path(), &["a", "b", "c"], 60);
    let digits = unpack_sample(folder.path()).unwrap();
    for source in [noise, digits] {
        let report = counterweight_json(&["inspect", source.to_str().unwrap()]);
        assert!(report["series"].is_null(), "{}", report["series"]);
        let (_, text, _) = run(&["inspect", source.to_str().unwrap()]);
        assert!(!text.contains("series"), "{text}");
    }
}

#[test]
fn what_cannot_be_kept_together_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let tracks = track_folder(folder.path(), &[("a", 4), ("b", 4)], 3);
    let (source, out) = (tracks.to_str().unwrap(), folder.path().join("set.toml"));
    let out = out.to_str().unwrap();
    for (way, code, reason) in [
        ("colour", 2, "expected subfolder, folder-above, name"),
        ("name:[0-9]+", 2, "no group in parentheses"),
        ("name:(x", 2, "unclosed group"),
        ("look-alikes:40", 2, "at most 16 of 64 bits"),
        ("name:(tiger)", 1, "matches no image's path"),
        ("time", 1, "no image's file says when it was taken"),
        ("list", 1, "only an image list"),
    ] {
        let (found, _, text) = run(&["build", source, "--out", out, "--group-by", way]);
        assert_eq!(found, Some(code), "{way}: {text}");
        assert!(text.contains(reason), "{way}: {text}");
        assert!(!Path::new(out).exists());
    }
    run(&["build", source, "--out", out]);
    let runs = folder.path().join("run");
    let (code, _, text) =
        run(&["train", out, "--run", runs.to_str().unwrap(), "--group-by", "name"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("is a dataset file, whose splits are made"), "{text}");
    assert!(!runs.exists());
}

#[test]
fn a_model_is_made_of_whole_series() {
    let folder = tempfile::tempdir().unwrap();
    let tracks = track_folder(folder.path(), &CLASSES, 4);
    let out = folder.path().join("tracks.onnx");
    let report = counterweight_json(&[
        "make",
        tracks.to_str().unwrap(),
        "--out",
        out.to_str().unwrap(),
        "--group-by",
        "name",
        "--device",
        "cpu",
    ]);
    let splits = &report["choices"][0];
    assert!(
        splits["reason"].as_str().unwrap().contains("kept in one split: 41 series"),
        "{splits}"
    );
    let dataset = folder.path().join("tracks-run/dataset.toml");
    assert!(splits_of_tracks(&dataset).values().all(|splits| splits.len() == 1));
}
