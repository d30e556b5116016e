//! What the program says of its feature cache, by the real binary.

use std::path::Path;
use std::process::{Command, Output};

use counterweight_core::features::{FeatureCache, Space};
use counterweight_tests::binary;
use serde_json::Value;

fn cache(folder: &Path, arguments: &[&str], limit: &str) -> Output {
    let mut command = Command::new(binary());
    command
        .arg("cache")
        .args(arguments)
        .env("COUNTERWEIGHT_CACHE", folder)
        .env("COUNTERWEIGHT_CACHE_LIMIT", limit);
    command.output().unwrap()
}

fn text(folder: &Path, arguments: &[&str]) -> String {
    let output = cache(folder, arguments, "2GiB");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn json(folder: &Path, arguments: &[&str]) -> Value {
    serde_json::from_str(&text(folder, &[arguments, &["--json"]].concat())).unwrap()
}

#[test]
fn the_cache_is_shown_and_emptied() {
    let folder = tempfile::tempdir().unwrap();
    let features = folder.path().join("features");
    let empty = text(folder.path(), &[]);
    assert!(
        empty.contains(features.to_str().unwrap()) && empty.contains("0 B of at most 2.0 GiB"),
        "{empty}"
    );
    assert!(!features.exists(), "looking makes nothing");

    let space = |view: &str| Space {
        backbone: [3; 32],
        label: "efficientnet-lite0".into(),
        side: 224,
        view: view.into(),
        features: 1280,
    };
    let images: Vec<[u8; 32]> = (0..30).map(|image| [image; 32]).collect();
    let own = FeatureCache::in_folder(&features);
    own.open(&space("plain")).insert(&images, &vec![0.5; 30 * 1280]).unwrap();
    own.open(&space("mirrored")).insert(&images[..3], &vec![0.5; 3 * 1280]).unwrap();

    let table = text(folder.path(), &[]);
    let line =
        table.lines().find(|line| line.contains("plain")).unwrap_or_else(|| panic!("{table}"));
    let cells: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(cells[..5], ["efficientnet-lite0", "224×224", "plain", "1,280", "30"], "{table}");
    assert!(line.ends_with("just now") && line.contains("KiB"), "{table}");

    let usage = json(folder.path(), &[]);
    assert_eq!(
        (&usage["limit_bytes"], usage["spaces"].as_array().unwrap().len()),
        (&(2_u64 << 30).into(), 2)
    );
    let bytes = usage["bytes"].as_u64().unwrap();
    assert!(bytes > 33 * 1280 * 4, "{usage}");
    assert!(
        usage["spaces"]
            .as_array()
            .unwrap()
            .iter()
            .any(|space| space["view"] == "mirrored" && space["rows"] == 3),
        "{usage}"
    );

    assert_eq!(json(folder.path(), &["clear"])["freed_bytes"], bytes);
    assert_eq!(json(folder.path(), &[])["bytes"], 0);
    let cleared = text(folder.path(), &["clear"]);
    assert!(
        cleared.contains("0 B freed") && cleared.contains(features.to_str().unwrap()),
        "{cleared}"
    );
}

#[test]
fn damaged_files_and_a_wrong_limit_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let space = folder.path().join("features/x-32-plain-0123456789abcdef");
    std::fs::create_dir_all(&space).unwrap();
    let file = space.join("0123456789abcdef0123456789abcdef.features");
    std::fs::write(&file, "Lorem ipsum").unwrap();
    assert!(text(folder.path(), &[]).contains(file.to_str().unwrap()));

    let output = cache(folder.path(), &[], "a lot");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success()
            && stderr.contains("COUNTERWEIGHT_CACHE_LIMIT")
            && stderr.contains("a lot"),
        "{stderr}"
    );
    assert_eq!(json(folder.path(), &["clear"])["freed_bytes"], 11);

    std::fs::remove_dir_all(folder.path().join("features")).unwrap();
    std::fs::write(folder.path().join("features"), "in the way").unwrap();
    let output = cache(folder.path(), &["clear"], "1GB");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code() == Some(1)
            && stderr.contains("features")
            && !stderr.contains("panicked"),
        "{stderr}"
    );
}
