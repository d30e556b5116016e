//! What ARCHITECTURE.md says of the house, where a test can hold it: which room of `core` may
//! import which, and what the parts of the window may touch.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The rooms of `core`, from the ground up: each may import those that stand before it.
const ROOMS: [&str; 39] = [
    "record",
    "huge_pages",
    "error",
    "job",
    "words",
    "schedule",
    "panics",
    "waiting",
    "files",
    "random",
    "projection",
    "pickle",
    "images",
    "kernels",
    "recipes",
    "gpu",
    "ops",
    "onnx",
    "isolated",
    "model",
    "settings",
    "augment",
    "source",
    "eval",
    "dataset",
    "batches",
    "device",
    "classifier",
    "run",
    "train",
    "timing",
    "balance",
    "infer",
    "export",
    "features",
    "pipeline",
    "bench",
    // What the crate itself re-exports.
    "Error",
    "Result",
];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Every source file below a folder, with its path relative to it and its text.
fn sources(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(folder).unwrap().to_string_lossy().replace('\\', "/");
                found.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(!found.is_empty(), "{} holds no sources", folder.display());
    found.sort();
    found
}

/// The lines of a file that are neither comments nor tests. Tests may import whatever they like.
fn product_lines(text: &str) -> impl Iterator<Item = &str> {
    let lines: Vec<&str> = text.lines().collect();
    let tests = lines.iter().position(|line| line.starts_with("mod tests {"));
    let end = tests.unwrap_or(lines.len());
    let mut kept = Vec::new();
    let mut skip = false;
    for line in &lines[..end] {
        let own = line.trim_start();
        let is_test_only = std::mem::replace(&mut skip, own.starts_with("#[cfg(test)]"));
        if !is_test_only && !own.starts_with("//") {
            kept.push(*line);
        }
    }
    kept.into_iter()
}

/// The names that follow `prefix` in a line.
fn named_after<'a>(line: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    line.match_indices(prefix).filter_map(|(at, _)| {
        let before = line[..at].chars().next_back();
        let rest = &line[at + prefix.len()..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let whole = before.is_none_or(|c| !c.is_ascii_alphanumeric() && c != '_');
        (whole && end > 0).then_some(&rest[..end])
    })
}

fn is_test_file(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    name.contains("/tests/")
        || ["tests.rs", "test_run.rs", "test_files.rs", "test_device.rs", "reference.rs"]
            .contains(&file)
        || file.ends_with("_tests.rs")
}

#[test]
fn rooms_of_core_import_only_what_lies_below_them() {
    let mut wrong = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for (name, text) in sources(&repository().join("core/src")) {
        let room = name.split('/').next().unwrap().trim_end_matches(".rs");
        if room == "lib" || is_test_file(&name) {
            continue;
        }
        let place = ROOMS.iter().position(|known| *known == room);
        let place = place.unwrap_or_else(|| panic!("{room} has no place in ROOMS"));
        seen.insert(room.to_string());
        for imported in product_lines(&text).flat_map(|line| named_after(line, "crate::")) {
            let below = ROOMS.iter().position(|known| *known == imported);
            let of_the_crate = ["Error", "Result"].contains(&imported);
            if imported != room && !of_the_crate && below.is_none_or(|below| below >= place) {
                wrong.insert(format!("{name} imports {imported}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // A room that is gone must not stay in the list.
    assert_eq!(seen.len(), ROOMS.len() - 2, "{seen:?}");
}

#[test]
fn core_knows_no_window_and_no_argument_parser_and_prints_nothing() {
    for (name, text) in sources(&repository().join("core/src")) {
        for line in product_lines(&text) {
            for foreign in ["egui::", "eframe::", "clap::", "rfd::", "println!", "eprintln!"] {
                assert!(!line.contains(foreign), "{name}: {line}");
            }
        }
    }
}

#[test]
fn widgets_know_nothing_of_the_app_and_drawing_touches_no_files() {
    for (folder, foreign) in [
        ("app/src/gui/widgets", ["crate::gui::state", "crate::gui::panels", "std::fs"].as_slice()),
        ("app/src/gui/panels", ["std::fs", "File::open", "thread::sleep"].as_slice()),
        ("app/src/gui/state", ["crate::gui::panels"].as_slice()),
    ] {
        for (name, text) in sources(&repository().join(folder)) {
            for line in product_lines(&text) {
                for word in foreign {
                    assert!(!line.contains(word), "{folder}/{name}: {line}");
                }
            }
        }
    }
}

#[test]
fn only_the_theme_names_colours() {
    for (name, text) in sources(&repository().join("app/src/gui")) {
        if name == "theme.rs" {
            continue;
        }
        for line in product_lines(&text) {
            // Mixing two colours of the theme is not naming one.
            let is_number = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
            let named = ["Color32::from_rgb(", "Color32::from_rgba_unmultiplied("]
                .iter()
                .any(|call| line.split(call).skip(1).any(is_number));
            assert!(!named && !line.contains("Color32::RED"), "{name}: {line}");
        }
    }
}
