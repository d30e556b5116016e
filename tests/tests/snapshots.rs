//! What the command line prints, word for word, beside this file in `snapshots/`: whatever changes
//! there shows in a review. `INSTA_UPDATE=always cargo test --release --workspace --test snapshots`
//! writes what is printed now.
//!
//! Only what is the same on every machine: numbers of trained networks differ in their last digits
//! from processor to processor, and are compared elsewhere.

use std::path::Path;
use std::process::{Command, Stdio};

use counterweight_tests::{binary, fixtures};

/// What a call prints, with its exit code. The folder that it works in is `[folder]` there.
fn printed(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new(binary())
        .args(arguments)
        .current_dir(folder)
        .env("COUNTERWEIGHT_CACHE", folder.join("cache"))
        .env_remove("COUNTERWEIGHT_CACHE_LIMIT")
        .env("NO_COLOR", "1")
        // Text is as wide as the terminal, where there is one.
        .env("COLUMNS", "100")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).replace('\r', "");
        let text = text.replace(&folder.display().to_string(), "[folder]").replace('\\', "/");
        // As help is headed on Windows.
        text.replace("counterweight.exe", "counterweight")
    };
    let mut printed = format!("$ counterweight {}\n", arguments.join(" "));
    for (name, bytes) in [("", &output.stdout), ("standard error:\n", &output.stderr)] {
        if !bytes.is_empty() {
            printed += &format!("{name}{}", text(bytes));
        }
    }
    format!("{printed}exit code {}\n", output.status.code().unwrap())
}

fn check(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// A folder of its own by its real name, as the program says it.
fn folder() -> (tempfile::TempDir, std::path::PathBuf) {
    let own = tempfile::tempdir().unwrap();
    let path = own.path().canonicalize().unwrap();
    (own, path)
}

#[test]
fn help_of_every_subcommand() {
    let (_own, folder) = folder();
    let all = printed(&folder, &["--help"]);
    let commands = all.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let names: Vec<&str> = commands
        .lines()
        .filter(|line| !line.starts_with("    "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(names.len() > 15 && names.contains(&"make"), "{names:?}");
    for name in names {
        check(&format!("help-{name}"), &printed(&folder, &["help", name]));
    }
    check("help", &all);
}

#[test]
fn sources_good_and_bad() {
    let (_own, folder) = folder();
    fixtures::patterns(&folder.join("photos"));
    fixtures::broken_folder(&folder.join("broken"));
    std::fs::create_dir_all(folder.join("flat")).unwrap();
    for index in 0..3 {
        let picture = fixtures::picture(index, 20, 10);
        fixtures::save(&picture, folder.join(format!("flat/{index}.png")));
    }
    fixtures::write(folder.join("list.csv"), "what;where\nthis;that\n");
    let calls: [(&str, &[&str]); 6] = [
        ("inspect", &["inspect", "photos"]),
        ("inspect-flat", &["inspect", "flat"]),
        ("inspect-list", &["inspect", "list.csv"]),
        ("inspect-missing", &["inspect", "nowhere"]),
        ("build", &["build", "photos", "--out", "set.toml", "--factor", "5"]),
        ("build-again", &["build", "photos", "--out", "set.toml"]),
    ];
    for (name, arguments) in calls {
        check(name, &printed(&folder, arguments));
    }
    // It has a link that leads in a circle, where there are links.
    if cfg!(unix) {
        check("inspect-broken", &printed(&folder, &["inspect", "broken"]));
    }
}

#[test]
fn what_cannot_be_asked() {
    let (_own, folder) = folder();
    fixtures::patterns(&folder.join("photos"));
    let calls: [&[&str]; 8] = [
        &["train", "photos", "--run", "run", "--set", "stage1.epochs=1e20"],
        &["train", "photos", "--run", "run", "--set", "stage1.epoch=3"],
        &["train", "photos", "--run", "run", "--set", "model.backbone=resnet19"],
        &["balance", "run", "--balancer", "taau"],
        &["build", "photos", "--out", "set.toml", "--factor", "-3"],
        &["evaluate", "run"],
        &["make", "photos", "--out", "photos", "--device", "cpu"],
        &["make", "photos", "--out", "m.onnx", "--device", "gpu"],
    ];
    let all: Vec<String> = calls.iter().map(|call| printed(&folder, call)).collect();
    check("refused", &all.join("\n"));
}

#[test]
fn what_there_is_here() {
    let (_own, folder) = folder();
    let calls: [&[&str]; 3] = [&["backbones"], &["cache"], &["cache", "clear"]];
    let all: Vec<String> = calls.iter().map(|call| printed(&folder, call)).collect();
    check("here", &all.join("\n"));
}
