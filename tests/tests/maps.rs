//! `explain`, `map` and `inspect --transforms` by the real binary.

use std::path::Path;

use counterweight_tests::fixtures::arrows;
use counterweight_tests::{counterweight, counterweight_json};
use image::RgbImage;
use serde_json::Value;

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of Unicode")
}

#[test]
fn mirror_images_are_found_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("arrows");
    arrows(&images);
    let found = counterweight_json(&["inspect", text(&images), "--transforms"]);
    let reports = found["transforms"].as_array().unwrap();
    assert_eq!(reports.len(), 8);
    let of = |name: &str| reports.iter().find(|report| report["transform"] == name).unwrap();
    let mirrored = of("mirrored");
    assert_eq!(mirrored["verdict"], "changes", "{mirrored}");
    let pair = &mirrored["pairs"][0];
    assert_eq!([&pair["first"], &pair["second"]], ["arrow left", "arrow right"]);
    assert!(pair["examples"][0].as_str().unwrap().starts_with("arrow left/"));
    assert_eq!([&mirrored["setting"], &mirrored["value"]], ["augmentation.flip", "false"]);
    assert_eq!(
        mirrored["sentence"],
        "“arrow left” and “arrow right” are mirror images of each other."
    );
    // So they are when turned by half.
    assert_eq!(of("upside-down")["pairs"][0]["first"], "arrow left");
    assert!(of("grey")["pairs"].as_array().unwrap().is_empty());
    let said = counterweight(&["inspect", text(&images), "--transforms"]);
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(said.contains("--set augmentation.flip=false"), "{said}");
}

#[test]
fn a_run_is_explained_and_its_images_are_mapped() {
    let folder = tempfile::tempdir().unwrap();
    let demo = folder.path().join("demo");
    counterweight_json(&["demo", "--out", text(&demo)]);
    let run = demo.join("run");
    assert!(run.is_dir(), "{:?}", std::fs::read_dir(&demo).unwrap().flatten().collect::<Vec<_>>());
    let sample = folder.path().join("4");
    std::fs::create_dir_all(&sample).unwrap();
    let wide = RgbImage::from_fn(40, 24, |x, y| image::Rgb([(x * 6) as u8, (y * 9) as u8, 90]));
    wide.save(sample.join("wide.png")).unwrap();
    std::fs::write(sample.join("broken.png"), "no image").unwrap();
    let out = folder.path().join("maps");

    let said =
        counterweight(&["explain", text(&run), text(&sample), "--out", text(&out), "--json"]);
    assert_eq!(said.status.code(), Some(3), "{}", String::from_utf8_lossy(&said.stderr));
    let lines: Vec<Value> = String::from_utf8(said.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    let explained = lines.iter().find(|line| line["error"].is_null()).unwrap();
    for map in explained["maps"].as_array().unwrap() {
        let values: Vec<f64> = map["map"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|row| row.as_array().unwrap())
            .map(|value| value.as_f64().unwrap())
            .collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let logit = map["logit"].as_f64().unwrap();
        assert!((mean + map["bias"].as_f64().unwrap() - logit).abs() < 1e-3, "{map}");
    }
    let picture = image::open(explained["picture"].as_str().unwrap()).unwrap();
    assert!(picture.width() > picture.height());
    let wrong = counterweight(&[
        "explain",
        text(&run),
        text(&sample),
        "--class",
        "zebra",
        "--out",
        text(&out),
    ]);
    let wrong = String::from_utf8(wrong.stderr).unwrap();
    assert!(wrong.contains("no class `zebra`; there are"), "{wrong}");

    let (table, drawn) = (folder.path().join("map.csv"), folder.path().join("map.png"));
    let map = |out: &[&str]| counterweight_json(&[&["map", text(&run)], out].concat());
    let said = map(&["--out", text(&table), "--out", text(&drawn), "--color", "group"]);
    let lines = std::fs::read_to_string(&table).unwrap();
    assert_eq!(lines.lines().count() as u64, said["images"].as_u64().unwrap() + 1);
    assert!(image::open(&drawn).unwrap().width() > 1000);
    // The same again, from what is kept and from the beginning.
    std::fs::remove_file(&table).unwrap();
    map(&["--out", text(&table)]);
    assert_eq!(std::fs::read_to_string(&table).unwrap(), lines);
    for file in std::fs::read_dir(run.join("features")).unwrap().flatten() {
        if file.file_name().to_string_lossy().starts_with("map-") {
            std::fs::remove_file(file.path()).unwrap();
        }
    }
    map(&["--out", text(&table)]);
    assert_eq!(std::fs::read_to_string(&table).unwrap(), lines);
    let refused = counterweight(&["map", text(&run), "--out", "map.gif"]);
    assert!(!refused.status.success());
}
