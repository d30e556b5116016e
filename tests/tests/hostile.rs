//! What a stranger may have sent, and what goes wrong around the program: errors that say what it
//! is, within bounded time and memory, and nothing lost.

#![cfg(unix)]

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use counterweight_core::infer::{OnnxClassifier, SORTED};
use counterweight_core::run::Run;
use counterweight_tests::fixtures::{picture, save, write};
use counterweight_tests::onnx_file::{OnnxGraph, small_backbone};
use counterweight_tests::{binary, counterweight, counterweight_json};
use serde_json::{Value, json};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Runs a command that must fail, and not after an hour or never, and returns what it says.
fn refusal(arguments: &[&str]) -> String {
    let started = Instant::now();
    let output = counterweight(arguments);
    assert!(started.elapsed() < Duration::from_secs(300), "{arguments:?} took too long");
    said(&output, arguments)
}

fn said(output: &Output, arguments: &[&str]) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        matches!(output.status.code(), Some(1 | 2)),
        "{arguments:?}: {}\n{stderr}",
        output.status
    );
    assert!(!stderr.contains("panicked"), "{stderr}");
    stderr
}

/// Runs a command in a shell that has done something to itself first.
fn in_shell(first: &str, arguments: &[&str]) -> Output {
    Command::new("bash")
        .args(["-c", &format!("{first}; exec \"$0\" \"$@\"")])
        .arg(binary())
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Two classes of a few images each.
fn photos(folder: &Path, names: [&str; 2]) -> PathBuf {
    let root = folder.join("photos");
    for (class, name) in names.into_iter().enumerate() {
        for image in 0..12 {
            let picture = picture(100 * class as u32 + image, 16, 16);
            save(&picture, root.join(name).join(format!("{image:02}.png")));
        }
    }
    root
}

/// A run that was trained for an epoch.
fn trained(folder: &Path) -> PathBuf {
    let photos = photos(folder, ["a", "b"]);
    let run = folder.join("run");
    counterweight_json(&train(&photos, &run, "seed=0"));
    run
}

fn train<'a>(source: &'a Path, run: &'a Path, seed: &'a str) -> Vec<&'a str> {
    let mut arguments = vec!["train", text(source), "--run", text(run), "--preset", "quick"];
    arguments.extend(["--device", "cpu", "--set", "stage1.epochs=1", "--set", "input_size=8"]);
    arguments.extend(["--set", seed]);
    arguments
}

#[test]
fn what_never_ends_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let photos = photos(folder.path(), ["a", "b"]);
    let run = folder.path().join("run");
    for arguments in [
        vec!["train", text(&photos), "--run", text(&run), "--settings", "/dev/zero"],
        vec!["predict", "/dev/zero", text(&photos)],
        vec!["predict", "model.onnx", "--list", "/dev/zero"],
        vec!["predict", "model.onnx", text(&photos), "--labels", "/dev/zero"],
        vec!["build", text(&photos), "--out", "a.toml", "--profile", "custom:/dev/zero"],
        vec!["inspect", "/dev/zero"],
        vec!["train", "/dev/zero", "--run", text(&run)],
        vec!["import", "/dev/zero", "--dataset", text(&photos), "--run", text(&run)],
    ] {
        // Far less than any of these would take.
        let output = in_shell("ulimit -v 8000000", &arguments);
        let error = said(&output, &arguments);
        assert!(error.contains("/dev/zero") || error.contains("model.onnx"), "{error}");
        assert!(!error.contains("memory allocation"), "{error}");
    }
    assert!(!run.exists());
    // One line that is as long as a list.
    let list = folder.path().join("list.csv");
    write(&list, format!("path,label\n{}\n", ",".repeat(20_000_000)));
    let error = refusal(&["inspect", text(&list)]);
    assert!(error.contains("line 2 has 20000000 bytes, and 65536 are the most"), "{error}");
    write(&list, ",".repeat(20_000_000));
    let error = refusal(&["inspect", text(&list)]);
    assert!(error.contains("line 1 has") && error.len() < 1000, "{error}");
    // More text than people write.
    let large = folder.path().join("large.toml");
    write(&large, "# much\n".repeat(3 << 20));
    let error = refusal(&["train", text(&photos), "--run", text(&run), "--settings", text(&large)]);
    assert!(error.contains("has 21 MB, and 16 MB are the most it may have"), "{error}");
}

/// A box of a HEIF file: its kind, and its version where it has one.
fn boxed(kind: &str, version: Option<u8>, content: &[u8]) -> Vec<u8> {
    let head = version.map_or_else(Vec::new, |version| vec![version, 0, 0, 0]);
    let length = 8 + head.len() + content.len();
    [&(length as u32).to_be_bytes(), kind.as_bytes(), &head, content].concat()
}

/// A photo whose index says that its main image lies in `parts` parts, each of which takes `bytes`
/// bytes of the index, and is the whole file.
fn in_parts(
    brand: &str,
    kind: &str,
    (items, parts): (u16, u16),
    bytes: u8,
    junk: usize,
) -> Vec<u8> {
    let information = [&[0, 1, 0, 0], kind.as_bytes(), &[0]].concat();
    let listed = [&1u16.to_be_bytes()[..], &boxed("infe", Some(2), &information)].concat();
    let size = boxed("ispe", Some(0), &[0, 0, 0, 8, 0, 0, 0, 8]);
    let of_item = boxed("ipma", Some(0), &[0, 0, 0, 1, 0, 1, 1, 1]);
    let properties = [boxed("ipco", None, &size), of_item].concat();
    let file = |length: u32| {
        // Sizes of a part's start and length, then those of what is not there.
        let mut places = vec![bytes, 0];
        places.extend(items.to_be_bytes());
        for item in 1..=items {
            places.extend([item, 0, parts].map(u16::to_be_bytes).concat());
            let part = length.to_be_bytes()[4 - usize::from(bytes >> 4 | bytes & 15)..].to_vec();
            places.extend(part.repeat(parts.into()));
        }
        let index = [
            boxed("pitm", Some(0), &[0, 1]),
            boxed("iinf", Some(0), &listed),
            boxed("iloc", Some(0), &places),
            boxed("iprp", None, &properties),
        ];
        let first = boxed("ftyp", None, format!("{brand}\0\0\0\0{brand}mif1").as_bytes());
        let free = boxed("free", None, &vec![0; junk]);
        [first, boxed("meta", Some(0), &index.concat()), free].concat()
    };
    file(file(0).len() as u32)
}

/// An AVIF whose image has 10,200 turns.
fn turned_often() -> Vec<u8> {
    let size = boxed("ispe", Some(0), &[0, 0, 0, 8, 0, 0, 0, 8]);
    let properties = [size, boxed("irot", None, &[1])].concat();
    let turned = [[0, 1, 255].as_slice(), &[2; 255]].concat();
    let of_items = [40u32.to_be_bytes().as_slice(), &turned.repeat(40)].concat();
    let properties = [boxed("ipco", None, &properties), boxed("ipma", Some(0), &of_items)].concat();
    let listed = [[0, 1].as_slice(), &boxed("infe", Some(2), b"\0\x01\0\0av01\0")].concat();
    let index = [
        boxed("pitm", Some(0), &[0, 1]),
        boxed("iinf", Some(0), &listed),
        // One part, from the beginning, without a length: all of it.
        boxed("iloc", Some(0), &[0, 0, 0, 1, 0, 1, 0, 0, 0, 1]),
        boxed("iprp", None, &properties),
    ];
    let first = boxed("ftyp", None, b"avif\0\0\0\0avifmif1");
    [first, boxed("meta", Some(0), &index.concat())].concat()
}

#[test]
fn links_that_multiply_lead_to_every_folder_a_few_times() {
    let folder = tempfile::tempdir().unwrap();
    let photos = photos(folder.path(), ["d0", "d30"]);
    for level in 0..30 {
        let from = photos.join(format!("d{level}"));
        std::fs::create_dir_all(&from).unwrap();
        for name in ["one", "other"] {
            symlink(format!("../d{}", level + 1), from.join(name)).unwrap();
        }
    }
    let output = in_shell("ulimit -t 60", &["inspect", text(&photos), "--json"]);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(found["skipped"]["link_loops"].as_u64().unwrap() > 0, "{found}");
}

#[test]
fn undoing_never_removes_the_only_copy() {
    let folder = tempfile::tempdir().unwrap();
    let sorted = folder.path().join("sorted");
    let (only, link) = (sorted.join("a/only.txt"), folder.path().join("old.txt"));
    write(&only, "years of work");
    let facts = only.metadata().unwrap();
    let changed = facts.modified().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
    for from in [&only, &link] {
        if from == &link {
            symlink(&only, from).unwrap();
        }
        let line = json!({
            "from": from, "to": only, "how": "copy", "was": [facts.len(), changed.as_nanos() as u64],
        });
        write(sorted.join(SORTED), format!("{line}\n"));
        counterweight(&["predict", "--undo", text(&sorted)]);
        assert!(only.is_file(), "{from:?}");
    }
}

#[test]
fn small_files_that_stand_for_much_more_are_refused_soon() {
    const LIMITS: &str = "ulimit -v 8000000; ulimit -t 60";
    let folder = tempfile::tempdir().unwrap();
    let photos = photos(folder.path(), ["a", "b"]);
    for (name, bytes) in [
        // 65,535 parts that take no byte, each the whole file.
        ("one.avif", in_parts("avif", "av01", (1, 65_535), 0, 1 << 20)),
        ("items.avif", in_parts("avif", "av01", (20_000, 65_535), 0, 0)),
        ("items.heic", in_parts("heic", "grid", (20_000, 65_535), 0, 0)),
        // Parts that are named one by one.
        ("one.heic", in_parts("heic", "grid", (1, 4_000), 0x04, 4 << 20)),
        ("named.avif", in_parts("avif", "av01", (1, 4_000), 0x04, 4 << 20)),
    ] {
        let path = photos.join("a").join(name);
        write(&path, bytes);
        let arguments = ["inspect", text(&photos)];
        let output = in_shell(LIMITS, &arguments);
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && told.contains(name), "{name}: {output:?}");
        std::fs::remove_file(path).unwrap();
    }
    // Each of its turns made a new image.
    let turned = photos.join("a/turned.avif");
    write(&turned, turned_often());
    let arguments = ["inspect", text(&photos)];
    let output = in_shell(LIMITS, &arguments);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && told.contains("turned more often"), "{output:?}");
    std::fs::remove_file(turned).unwrap();
    // A label that every row would have a copy of, and a row in quotes without an end.
    let list = folder.path().join("long.csv");
    let name = "N".repeat(60_000);
    let rows = ["photos/a/00.png,1,0\n", "photos/b/00.png,0,1\n"].map(|row| row.repeat(20_000));
    write(&list, format!("path,{name},y2\n{}", rows.concat()));
    let arguments = ["inspect", text(&list)];
    let error = said(&in_shell(LIMITS, &arguments), &arguments);
    assert!(error.contains("60000 bytes, and 1024 are the most") && error.len() < 9999, "{error}");
    let quoted = format!("\"\n\"{}", ",".repeat(50_000)).repeat(60);
    write(&list, format!("path,label\n{quoted}\nphotos/a/00.png,a\n"));
    let error = said(&in_shell(LIMITS, &arguments), &arguments);
    assert!(error.contains("quote that is not closed") || error.contains("columns"), "{error}");
    // Names of columns were compared each with each.
    let list = folder.path().join("wide.csv");
    let wide = |columns: usize| {
        let line = |before: &str| format!("{before}{}\n", ",".repeat(columns - 1));
        [line("path"), line("photos/a/00.png"), line("photos/b/00.png")].concat()
    };
    write(&list, wide(60_000));
    let arguments = ["inspect", text(&list)];
    let error = said(&in_shell(LIMITS, &arguments), &arguments);
    assert!(error.contains("60000 columns, and 10000 are the most"), "{error}");
    // Taking back and doing again moved all edits each time.
    let mut edits = "{\"counterweight_edits\":1}\n".to_string();
    edits += &"{\"edit\":\"check\",\"images\":[{\"path\":\"a/00.png\"}]}\n".repeat(100_000);
    let both = ["undo", "redo"].map(|what| format!("{{\"edit\":\"{what}\",\"entries\":100000}}\n"));
    edits += &both.concat().repeat(100_000);
    write(folder.path().join("photos.edits.jsonl"), edits);
    let output = in_shell(LIMITS, &["edit", text(&photos), "list"]);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && told.contains("100000 in all"), "{output:?}");
}

#[test]
fn codes_in_names_do_not_reach_the_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let photos = photos(folder.path(), ["red\u{1b}[2J\u{1b}]0;owned\u{7}", "b\u{9b}31m\u{202e}"]);
    write(photos.join("b\u{9b}31m\u{202e}/broken\u{1b}[8m.png"), "no image");
    let (dataset, run) = (folder.path().join("set.toml"), folder.path().join("run"));
    let model = folder.path().join("model.onnx");
    let image = photos.join("red\u{1b}[2J\u{1b}]0;owned\u{7}/01.png");
    let mut train = train(&dataset, &run, "seed=0");
    train.extend(["--log", "info"]);
    for arguments in [
        vec!["inspect", text(&photos)],
        vec!["build", text(&photos), "--out", text(&dataset)],
        train,
        vec!["evaluate", text(&run), "--classes"],
        vec!["balance", text(&run)],
        vec!["export", text(&run), "--out", text(&model)],
        vec!["predict", text(&model), text(&image)],
        vec!["predict", text(&model), "no\u{1b}[2Jthing.png"],
    ] {
        for json in [false, true] {
            if json && arguments[0] == "train" {
                continue;
            }
            let mut arguments = arguments.clone();
            arguments.extend(json.then_some("--json"));
            let output = counterweight(&arguments);
            for stream in [&output.stdout, &output.stderr] {
                let stream = String::from_utf8(stream.clone()).unwrap();
                let codes =
                    |c: char| c.is_control() && !matches!(c, '\n' | '\t') || c == '\u{202e}';
                assert!(!stream.contains(codes), "{arguments:?}: {stream:?}");
            }
        }
    }
    assert!(model.is_file());
    let log = std::fs::read_to_string(run.join("log.txt")).unwrap();
    assert!(!log.contains('\u{1b}'), "{log:?}");
}

#[test]
fn numbers_out_of_range_are_told_the_range() {
    for (arguments, range) in [
        (vec!["build", "x", "--out", "x.toml", "--factor", "-3"], "at least 1"),
        (vec!["build", "x", "--out", "x.toml", "--validation", "-0.5"], "from 0 to below 1"),
        (vec!["predict", "x", "y", "--threshold", "-1e3"], "between 0 and 1"),
        (vec!["bench", "--batch", "-1"], "--batch"),
    ] {
        let error = refusal(&arguments);
        assert!(error.contains(range) && error.contains("invalid value '-"), "{error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let photos = photos(folder.path(), ["a", "b"]);
    let run = folder.path().join("run");
    for (set, reason) in [
        ("epochs=1e20", "which one? balance.epochs, stage1.epochs"),
        ("stage1.epochs=1e20", "`1e20` does not fit: expected a whole number"),
        ("stage1.epochs=-3", "`-3` does not fit: expected a whole number"),
        ("stage1.batch_size=1", "must be in 2..=65536"),
    ] {
        let error = refusal(&["train", text(&photos), "--run", text(&run), "--set", set]);
        assert!(error.contains(reason), "{error}");
    }
    let run = trained(folder.path());
    let error = refusal(&["balance", text(&run), "--balancer", "taau"]);
    assert!(error.contains("taau") && error.contains("tau"), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn the_want_of_a_display_is_said_plainly() {
    let output = Command::new(binary())
        .env_remove("DISPLAY")
        .env_remove("WAYLAND_DISPLAY")
        .env_remove("WAYLAND_SOCKET")
        .output()
        .unwrap();
    let error = said(&output, &[]);
    assert!(error.contains("no display was found") && error.contains("--help"), "{error}");
    assert!(!error.contains(".rs"), "{error}");
    let output = Command::new(binary())
        .env("DISPLAY", ":1234")
        .env_remove("WAYLAND_DISPLAY")
        .env_remove("WAYLAND_SOCKET")
        .output()
        .unwrap();
    let error = said(&output, &[]);
    assert!(!error.contains(".rs") && error.contains("--help"), "{error}");
    // What was wrong first, and not that a second way of drawing could not be tried.
    assert!(!error.contains("recreated"), "{error}");
}

#[test]
fn of_two_that_train_into_one_folder_one_does() {
    const RACES: usize = 25;
    let folder = tempfile::tempdir().unwrap();
    let photos = photos(folder.path(), ["a", "b"]);
    for race in 0..RACES {
        let run = folder.path().join(format!("run{race}"));
        let start = |seed: &str| {
            Command::new(binary())
                .args(train(&photos, &run, seed))
                .args(["--json"])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        };
        let both = ["1", "2"].map(|seed| (seed, start(&format!("seed={seed}"))));
        let ended = both.map(|(seed, process)| (seed, process.wait_with_output().unwrap()));
        let won: Vec<&str> = ended
            .iter()
            .filter(|(_, output)| output.status.success())
            .map(|(seed, _)| *seed)
            .collect();
        let [seed] = won[..] else { panic!("race {race}: {ended:?}") };
        for (_, output) in ended.iter().filter(|(seed, _)| *seed != won[0]) {
            let error = said(output, &[]);
            assert!(
                error.contains("another program is working on this run")
                    || error.contains("already holds a run"),
                "race {race}: {error}"
            );
        }
        let run = Run::open(&run).unwrap();
        assert_eq!(run.settings().seed.to_string(), seed, "race {race}");
        assert_eq!(run.checkpoint("last").unwrap().seed.to_string(), seed, "race {race}");
        assert_eq!(run.history().len(), 1, "race {race}");
    }
}

#[test]
fn results_are_printed_where_nothing_can_be_kept() {
    let folder = tempfile::tempdir().unwrap();
    let run = trained(folder.path());
    drop(std::fs::remove_dir_all(run.join("features")));
    let before = std::fs::read(run.join("checkpoints/last.safetensors")).unwrap();
    // As on a full disk: whatever is written fails.
    let full = "trap '' XFSZ; ulimit -f 0";
    for command in [vec!["evaluate"], vec!["tune", "--candidates", "20"]] {
        let mut arguments = vec![command[0], text(&run), "--json", "--device", "cpu"];
        arguments.extend(&command[1..]);
        let output = in_shell(full, &arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        let all = String::from_utf8_lossy(&output.stdout);
        let last = all.lines().last().unwrap();
        assert!(last.contains("score") || last.contains("balanced_accuracy"), "{last}");
        assert!(
            all.contains("could not be kept") || stderr.contains("could not be kept"),
            "{stderr}"
        );
    }
    let model = folder.path().join("model.onnx");
    let arguments = ["export", text(&run), "--out", text(&model)];
    let error = said(&in_shell(full, &arguments), &arguments);
    assert!(error.contains("model.onnx"), "{error}");
    let images = folder.path().join("images");
    let out = folder.path().join("set.toml");
    let photos = folder.path().join("photos");
    let arguments = ["build", text(&photos), "--out", text(&out), "--write-images", text(&images)];
    let error = said(&in_shell(full, &arguments), &arguments);
    assert!(error.contains(text(&images)) && !error.contains(text(&photos)), "{error}");
    assert!(!model.exists() && !out.exists() && !images.exists());
    assert_eq!(std::fs::read(run.join("checkpoints/last.safetensors")).unwrap(), before);
    // With room again, all of it works.
    counterweight_json(&arguments);
    counterweight_json(&["export", text(&run), "--out", text(&model)]);
}

#[test]
fn what_is_there_is_not_lost_to_what_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let run = trained(folder.path());
    let at = |name: &str| folder.path().join(name);
    // A link stays one, and what it leads to is written.
    std::fs::create_dir(at("disk")).unwrap();
    symlink("disk/real.onnx", at("model.onnx")).unwrap();
    counterweight_json(&["export", text(&run), "--out", text(&at("model.onnx"))]);
    assert!(at("model.onnx").is_symlink() && at("disk/real.onnx").is_file());
    symlink("disk/real.toml", at("set.toml")).unwrap();
    let photos = at("photos");
    counterweight_json(&["build", text(&photos), "--out", text(&at("set.toml"))]);
    assert!(at("set.toml").is_symlink() && at("disk/real.toml").is_file());
    let error = refusal(&["export", text(&run), "--out", "/dev/null"]);
    assert!(error.contains("/dev/null: is a device"), "{error}");
    let error = refusal(&["export", text(&run), "--out", text(&at("disk"))]);
    assert!(error.contains("is a folder"), "{error}");
    // Another dataset is replaced when that is asked for, the same one always.
    let written = std::fs::read(at("disk/real.toml")).unwrap();
    let set = at("set.toml");
    let other = ["build", text(&photos), "--out", text(&set), "--seed", "5"];
    let error = refusal(&other);
    assert!(error.contains("holds another dataset") && error.contains("--force"), "{error}");
    assert_eq!(std::fs::read(at("disk/real.toml")).unwrap(), written);
    counterweight_json(&["build", text(&photos), "--out", text(&at("set.toml"))]);
    counterweight_json(&[&other[..], &["--force"]].concat());
    assert_ne!(std::fs::read(at("disk/real.toml")).unwrap(), written);
}

#[test]
fn what_a_killed_program_leaves_is_swept_and_the_next_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let photos = photos(folder.path(), ["a", "b"]);
    let at = |name: &str| folder.path().join(name);
    write(at(".counterweight-dead.tmp/train/a/1.png"), "half");
    write(at(".counterweight-half.tmp"), "half");
    let (out, images) = (at("set.toml"), at("images"));
    let build = ["build", text(&photos), "--out", text(&out), "--write-images", text(&images)];
    counterweight_json(&build);
    let left = || {
        let names =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with(".counterweight-")).count()
    };
    assert_eq!(left(), 0);
    // Killed between the images and the dataset file.
    std::fs::remove_file(&out).unwrap();
    counterweight_json(&build);
    assert!(out.is_file());
    // Killed in the middle of its work, again and again.
    for after in [5, 20, 40, 80, 160] {
        let mut process = Command::new(binary())
            .args(build)
            .args(["--force", "--seed", "1"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(after));
        process.kill().unwrap();
        process.wait().unwrap();
    }
    std::fs::remove_dir_all(&images).unwrap();
    std::fs::remove_file(&out).unwrap();
    counterweight_json(&build);
    assert_eq!(left(), 0);
}

#[test]
fn a_folder_that_was_sent_moves_nothing_out_of_itself() {
    let folder = tempfile::tempdir().unwrap();
    let sent = folder.path().join("sent");
    let target = folder.path().join("home/autostart/run.desktop");
    write(sent.join("cat/1.jpg"), "evil");
    let line = json!({
        "from": target, "to": sent.join("cat/1.jpg"), "how": "move", "was": [4, 0],
        "signature": "ab".repeat(32),
    });
    write(sent.join(SORTED), format!("{line}\n"));
    let undone = counterweight_json(&["predict", "--undo", text(&sent)]);
    assert_eq!(undone, json!({"undone": 0, "left": 1, "foreign": 1}));
    assert!(!folder.path().join("home").exists() && sent.join("cat/1.jpg").is_file());
    let home = folder.path().join("home");
    let undone = ["predict", "--undo", text(&sent), "--back-into", text(&home)];
    assert_eq!(counterweight_json(&undone)["undone"], 1);
    assert!(target.is_file());
}

#[test]
fn checkpoints_of_other_classes_and_damaged_features_are_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let run = trained(folder.path());
    let evaluate = ["evaluate", text(&run), "--checkpoint", "last", "--device", "cpu"];
    let good = counterweight_json(&evaluate);
    let features = run.join("features");
    for entry in std::fs::read_dir(&features).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() - 200;
        bytes[middle] ^= 0x40;
        std::fs::write(&path, bytes).unwrap();
    }
    assert_eq!(counterweight_json(&evaluate), good);
    // Names that are swapped in the checkpoint.
    let checkpoint = run.join("checkpoints/last.safetensors");
    let bytes = std::fs::read(&checkpoint).unwrap();
    let swap = |from: &str, to: &str| {
        let at = bytes.windows(from.len()).position(|part| part == from.as_bytes()).unwrap();
        let mut swapped = bytes.clone();
        swapped[at..at + from.len()].copy_from_slice(to.as_bytes());
        swapped
    };
    std::fs::write(&checkpoint, swap(r#"[\"a\",\"b\"]"#, r#"[\"b\",\"a\"]"#)).unwrap();
    let error = refusal(&evaluate);
    assert!(error.contains("its class `b` is `a` in the run's dataset.toml"), "{error}");
    for side in ["0", "6"] {
        let same_length = format!("\\\"input_size\\\":{side}");
        std::fs::write(&checkpoint, swap(r#"\"input_size\":8"#, &same_length)).unwrap();
        let error = refusal(&evaluate);
        assert!(error.contains("takes 8 to 512"), "{error}");
    }
    std::fs::write(&checkpoint, &bytes).unwrap();
    assert_eq!(counterweight_json(&evaluate), good);
}

#[test]
fn an_image_that_was_swapped_after_the_build_is_not_trained_on() {
    let folder = tempfile::tempdir().unwrap();
    let photos = photos(folder.path(), ["a", "b"]);
    let (dataset, run) = (folder.path().join("set.toml"), folder.path().join("run"));
    counterweight_json(&["build", text(&photos), "--out", text(&dataset)]);
    save(&picture(999, 16, 16), photos.join("a/03.png"));
    let error = refusal(&train(&dataset, &run, "seed=0"));
    assert!(error.contains("a/03.png") && error.contains("1 of 24 images"), "{error}");
    assert!(!run.exists());
    save(&picture(3, 16, 16), photos.join("a/03.png"));
    counterweight_json(&train(&dataset, &run, "seed=0"));
}

/// A backbone with one operation more between its map and its features.
fn with_operation(op: &str, lists: &[(&str, &[i64])]) -> Vec<u8> {
    OnnxGraph::new(&[1, 3, 32, 32])
        .weights("w", &[4, 3, 3, 3], 0.05)
        .node("Relu", &["images"], "r", &[])
        .node(op, &["r", "w"][..if op == "Conv" { 2 } else { 1 }], "x", lists)
        .node("GlobalAveragePool", &["x"], "p", &[])
        .node("Flatten", &["p"], "features", &[])
        .says("mean", "[0.5, 0.5, 0.5]")
        .says("std", "[0.5, 0.5, 0.5]")
        .file("features")
}

#[test]
fn networks_that_cannot_be_or_take_too_much_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let photos = photos(folder.path(), ["a", "b"]);
    let mut deep = OnnxGraph::new(&[1, 3, 64, 64]).weights("w", &[3, 3, 7, 7], 0.001);
    let mut last = "images".to_string();
    for layer in 0..150 {
        let next = format!("c{layer}");
        let pads: &[(&str, &[i64])] = &[("kernel_shape", &[7, 7]), ("pads", &[600; 4])];
        deep = deep.node("Conv", &[&last, "w"], &next, pads);
        last = next;
    }
    let deep = deep
        .node("GlobalAveragePool", &[&last], "p", &[])
        .node("Flatten", &["p"], "features", &[])
        .says("mean", "[0.5, 0.5, 0.5]")
        .says("std", "[0.5, 0.5, 0.5]")
        .file("features");
    let kernel: (&str, &[i64]) = ("kernel_shape", &[3, 3]);
    for (name, bytes) in [
        ("perm", with_operation("Transpose", &[("perm", &[0, 0])])),
        ("perm4", with_operation("Transpose", &[("perm", &[0, 1, 1, 3])])),
        ("pads", with_operation("Conv", &[kernel, ("pads", &[8000; 4])])),
        ("huge", with_operation("Conv", &[kernel, ("pads", &[1 << 40; 4])])),
        ("negative", with_operation("Conv", &[kernel, ("pads", &[-40; 4])])),
        ("strides", with_operation("Conv", &[kernel, ("strides", &[0, 0])])),
        ("kernel", with_operation("Conv", &[("kernel_shape", &[0, 0])])),
        ("pool", with_operation("MaxPool", &[("kernel_shape", &[0, 0])])),
        ("dilations", with_operation("Conv", &[kernel, ("dilations", &[0, 0])])),
        ("deep", deep),
    ] {
        let file = folder.path().join(format!("{name}.onnx"));
        write(&file, bytes);
        let run = folder.path().join(format!("run-{name}"));
        let backbone = format!("model.backbone=onnx:{}", text(&file));
        let train = ["train", text(&photos), "--run", text(&run), "--set", &backbone];
        let error = refusal(&train);
        assert!(error.contains(&format!("{name}.onnx: ")), "{error}");
        let reason = error.split(".onnx: ").nth(1).unwrap();
        assert!(reason.len() < 400 && !reason.contains("ended with"), "{name}: {error}");
        assert!(!run.join("settings.toml").exists());
        let error = refusal(&["predict", text(&file), text(&photos)]);
        assert!(error.contains(&format!("{name}.onnx: ")), "{error}");
    }
}

#[test]
fn a_backbone_of_anybodys_is_tried_out_apart_and_used() {
    let folder = tempfile::tempdir().unwrap();
    let photos = photos(folder.path(), ["a", "b"]);
    let file = folder.path().join("small.onnx");
    write(&file, small_backbone(32, 8).file("features"));
    let (run, model) = (folder.path().join("run"), folder.path().join("model.onnx"));
    let backbone = format!("model.backbone=onnx:{}", text(&file));
    counterweight_json(&["train", text(&photos), "--run", text(&run), "--set", &backbone]);
    counterweight_json(&["export", text(&run), "--out", text(&model)]);
    assert_eq!(OnnxClassifier::load(&model).unwrap().classes(), ["a", "b"]);
}
