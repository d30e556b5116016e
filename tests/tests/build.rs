//! `counterweight build`: from a source to a dataset file, and to an image folder.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use counterweight_core::dataset::Dataset;
use counterweight_core::source::{Split, unpack_sample};
use counterweight_tests::fixtures::{broken_folder, picture, save, write};
use counterweight_tests::{counterweight, counterweight_json};
use serde_json::{Value, json};

/// `build SOURCE --out OUT` and more.
fn command(source: &Path, out: &Path, more: &[&str]) -> Vec<OsString> {
    let mut arguments: Vec<OsString> =
        vec!["build".into(), source.into(), "--out".into(), out.into()];
    arguments.extend(more.iter().map(OsString::from));
    arguments
}

fn build(source: &Path, out: &Path, more: &[&str]) -> Value {
    counterweight_json(&command(source, out, more))
}

/// Runs a build that must fail with `code`, and returns what it says.
fn refusal(source: &Path, out: &Path, more: &[&str], code: i32) -> String {
    let output = counterweight(&command(source, out, more));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(output.stdout.is_empty());
    assert!(!out.exists());
    stderr
}

/// The keys of `groups` that scripts rely on.
fn groups(report: &Value) -> [u64; 3] {
    ["many", "medium", "few"].map(|group| report["groups"][group].as_u64().unwrap())
}

/// CIFAR-10 in its binary layout, but with 600 training images (60 a class) and 50 test images.
fn small_cifar(folder: &Path) -> PathBuf {
    let names =
        ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];
    let record = |number: usize| {
        let mut bytes = vec![(number % 10) as u8];
        bytes.extend((0..3072).map(|i| ((number * 31 + i * 7) % 251) as u8));
        bytes
    };
    let root = folder.join("cifar-10-batches-bin");
    write(root.join("batches.meta.txt"), names.join("\n") + "\n");
    for batch in 0..5 {
        let bytes: Vec<u8> = (batch * 120..(batch + 1) * 120).flat_map(record).collect();
        write(root.join(format!("data_batch_{}.bin", batch + 1)), bytes);
    }
    write(root.join("test_batch.bin"), (1000..1050).flat_map(record).collect::<Vec<u8>>());
    root
}

#[test]
fn a_balanced_folder_becomes_a_long_tail_with_a_balanced_test() {
    let folder = tempfile::tempdir().unwrap();
    let sample = unpack_sample(folder.path()).unwrap();
    let out = folder.path().join("digits.toml");
    let report = build(&sample, &out, &["--factor", "20"]);
    assert_eq!(report["counts"], json!({"train": 433, "validation": 179, "test": 350}));
    assert_eq!(groups(&report), [1, 5, 4]);
    assert!((report["imbalance_factor"].as_f64().unwrap() - 125.0 / 6.0).abs() < 1e-9);
    assert_eq!(report["notes"].as_array().unwrap().len(), 1);

    let dataset = Dataset::load(&out).unwrap();
    dataset.verify_files().unwrap();
    assert_eq!(dataset.counts(Split::Test), [35; 10]);
    assert_eq!(dataset.counts(Split::Train).iter().sum::<usize>(), 433);
    assert_eq!(dataset.classes[9], "9_nine");

    // The same request gives the same file, another seed other held-out images.
    let written = std::fs::read(&out).unwrap();
    let again = folder.path().join("again.toml");
    build(&sample, &again, &["--profile", "exponential", "--factor", "20", "--seed", "0"]);
    assert_eq!(std::fs::read(&again).unwrap(), written);
    build(&sample, &again, &["--factor", "20", "--seed", "1", "--force"]);
    let other = Dataset::load(&again).unwrap();
    assert_eq!(other.counts(Split::Test), [35; 10]);
    assert_ne!(other.split(Split::Test), dataset.split(Split::Test));
}

#[test]
fn cifar_keeps_its_test_split_and_is_written_out_as_png() {
    let folder = tempfile::tempdir().unwrap();
    let source = small_cifar(folder.path());
    let (out, images) = (folder.path().join("lt.toml"), folder.path().join("images"));
    let report =
        build(&source, &out, &["--factor", "10", "--write-images", images.to_str().unwrap()]);
    // int(60 * 0.1 ** (c / 9)) for c in range(10)
    let expected = [60, 46, 35, 27, 21, 16, 12, 10, 7, 6];
    let dataset = Dataset::load(&out).unwrap();
    assert_eq!(dataset.counts(Split::Train), expected);
    assert_eq!(report["counts"], json!({"train": 240, "validation": 0, "test": 50}));
    assert_eq!(groups(&report), [0, 5, 5]);
    // The pixels of these images repeat.
    let notes = report["notes"].as_array().unwrap();
    assert!(notes.len() == 1 && notes[0].to_string().contains("an exact copy in training"));

    let written = counterweight_json(&[OsStr::new("inspect"), images.as_os_str()]);
    assert_eq!(written["samples"], 290);
    assert_eq!(written["imbalance_factor"], 10.0);
    // Record 130 of the training images is the eleventh of the second file, and of the head, which
    // keeps all.
    let image =
        image::open(images.join("train/airplane/data_batch_2-00010.png")).unwrap().into_rgb8();
    let value = |i: usize| ((130 * 31 + i * 7) % 251) as u8;
    assert_eq!(image.get_pixel(3, 2).0, [value(67), value(1024 + 67), value(2048 + 67)]);

    let report = build(
        &source,
        &out,
        &[
            "--factor",
            "10",
            "--validation",
            "0.1",
            "--pick",
            "random",
            "--order",
            "shuffle",
            "--force",
        ],
    );
    let counts = &report["counts"];
    assert_eq!(counts["train"].as_u64().unwrap() + counts["validation"].as_u64().unwrap(), 240);
    assert!(counts["validation"].as_u64().unwrap() >= 20);
}

#[test]
fn a_list_of_images_takes_a_root_and_custom_counts() {
    let folder = tempfile::tempdir().unwrap();
    let sample = unpack_sample(folder.path()).unwrap();
    let mut list = "path,label,split\n".to_string();
    for class in ["0_zero", "1_one", "2_two"] {
        for number in 0..60 {
            let split = if number < 10 { "test" } else { "train" };
            list += &format!("{class}/{number:04}.png,{class},{split}\n");
        }
    }
    let lists = folder.path().join("lists");
    write(lists.join("digits.csv"), list);
    write(lists.join("counts.csv"), "class,count\n0_zero,30\n2,4\n");
    let custom = format!("custom:{}", lists.join("counts.csv").display());
    let out = folder.path().join("sets/digits.toml");
    let root = sample.to_str().unwrap();
    let report = build(
        &lists.join("digits.csv"),
        &out,
        &["--root", root, "--profile", &custom, "--max-per-class", "40"],
    );
    assert_eq!(report["counts"], json!({"train": 74, "validation": 0, "test": 30}));
    let dataset = Dataset::load(&out).unwrap();
    assert_eq!(dataset.counts(Split::Train), [30, 40, 4]);
    dataset.verify_files().unwrap();

    write(lists.join("counts.csv"), "0_zero,30\n7_seven,4\n");
    let other = folder.path().join("other.toml");
    let error =
        refusal(&lists.join("digits.csv"), &other, &["--root", root, "--profile", &custom], 1);
    assert!(
        error.contains("counts.csv") && error.contains("line 2") && error.contains("7_seven"),
        "{error}"
    );
}

#[test]
fn a_broken_folder_is_built_of_what_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let broken = broken_folder(folder.path());
    let out = folder.path().join("set.toml");
    let report = build(&broken.root, &out, &[]);
    let counts =
        ["train", "validation", "test"].map(|split| report["counts"][split].as_u64().unwrap());
    assert_eq!(counts.iter().sum::<u64>(), json!(broken.readable).as_u64().unwrap());
    let dataset = Dataset::load(&out).unwrap();
    dataset.verify_files().unwrap();
    let images = folder.path().join("images");
    build(&broken.root, &out, &["--write-images", images.to_str().unwrap()]);
    assert_eq!(
        counterweight_json(&[OsStr::new("inspect"), images.as_os_str()])["samples"],
        broken.readable
    );
}

#[test]
fn people_get_a_table_and_notes() {
    let folder = tempfile::tempdir().unwrap();
    let sample = unpack_sample(folder.path()).unwrap();
    let out = folder.path().join("digits.toml");
    let output = counterweight(&command(&sample, &out, &["--factor", "20", "--classes", "3"]));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    for part in [
        "0_zero",
        "2_two",
        "3 classes",
        "105 test",
        "note: 1 of 3 classes keeps all there is",
        "digits.toml",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("3_three"), "{text}");
}

#[test]
fn classes_are_renamed_and_merged() {
    let folder = tempfile::tempdir().unwrap();
    let sample = unpack_sample(folder.path()).unwrap();
    let (out, images) = (folder.path().join("parity.toml"), folder.path().join("images"));
    let names = [
        "0_zero", "1_one", "2_two", "3_three", "4_four", "5_five", "6_six", "7_seven", "8_eight",
        "9_nine",
    ];
    let pairs: Vec<String> = names
        .iter()
        .enumerate()
        .map(|(i, name)| format!("{name}={}", if i % 2 == 0 { "even" } else { "odd numbers" }))
        .collect();
    let mut more: Vec<&str> = pairs.iter().flat_map(|pair| ["--rename", pair.as_str()]).collect();
    write(folder.path().join("counts.csv"), "even,40\n1,8\n");
    let custom = format!("custom:{}", folder.path().join("counts.csv").display());
    more.extend(["--profile", &custom, "--write-images", images.to_str().unwrap()]);
    let report = build(&sample, &out, &more);
    let classes: Vec<&str> = report["classes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|class| class["name"].as_str().unwrap())
        .collect();
    assert_eq!(classes, ["even", "odd numbers"]);
    let dataset = Dataset::load(&out).unwrap();
    assert_eq!(dataset.classes, classes);
    assert_eq!(dataset.counts(Split::Train), [40, 8]);
    assert_eq!(dataset.provenance.options.rename["7_seven"], "odd numbers");
    dataset.verify_files().unwrap();
    let written = counterweight_json(&[OsStr::new("inspect"), images.as_os_str()]);
    assert_eq!(written["classes"].as_array().unwrap().len(), 2);
    assert!(images.join("train/odd numbers").is_dir());
    // A dataset file without new names does not mention them.
    let plain = folder.path().join("plain.toml");
    build(&sample, &plain, &[]);
    assert!(!std::fs::read_to_string(&plain).unwrap().contains("rename"));
}

#[test]
fn what_makes_no_sense_is_refused_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let sample = unpack_sample(folder.path()).unwrap();
    let out = folder.path().join("digits.toml");
    for (arguments, word) in [
        (&["--factor", "0.5"][..], "at least 1"),
        (&["--factor", "nan"], "at least 1"),
        (&["--validation", "1"], "share"),
        (&["--max-per-class", "0"], "max-per-class"),
        (&["--profile", "zipf"], "custom:FILE"),
        (&["--profile", "as-is", "--factor", "3"], "--factor"),
        (&["--pick", "last"], "random"),
        (&["--rename", "0_zero"], "kitten=cat"),
        (&["--rename", "0_zero= "], "kitten=cat"),
        (&["--rename", "0_zero=a", "--rename", "0_zero=b"], "two names"),
        (&["--seed", "9223372036854775808"], "9223372036854775807"),
    ] {
        let error = refusal(&sample, &out, arguments, 2);
        assert!(error.contains(word), "{arguments:?}: {error}");
    }
    for (arguments, word) in [
        (&["--classes", "0_zero,1_won"][..], "did you mean `1_one`?"),
        (&["--classes", "11"], "the source has 10"),
        (&["--classes", "0_zero"], "at least two classes"),
        (&["--profile", "custom:missing.csv"], "missing.csv"),
        (&["--rename", "0_zero=a/b"], "slash"),
        (&["--rename", "zero=null"], "does not have"),
        (&["--rename", "0_zero=null", "--classes", "0_zero,1_one"], "0_zero"),
    ] {
        let error = refusal(&sample, &out, arguments, 1);
        assert!(error.contains(word), "{arguments:?}: {error}");
    }
    let error = refusal(&folder.path().join("nowhere"), &out, &[], 1);
    assert!(error.contains("nowhere"), "{error}");
    assert!(refusal(&sample, &folder.path().join("digits.csv"), &[], 2).contains(".toml"));

    let output =
        counterweight(&command(&sample, &out, &["--write-images", sample.to_str().unwrap()]));
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("not an empty folder"));
    assert!(!out.exists(), "a build that failed left a dataset file");
}

#[cfg(target_os = "linux")]
#[test]
fn a_name_that_is_no_unicode_does_not_end_the_json() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    let sample = unpack_sample(folder.path()).unwrap();
    let images = folder.path().join(OsStr::from_bytes(b"im\xff"));
    let mut arguments =
        command(&sample, &folder.path().join("digits.toml"), &["--classes", "2", "--write-images"]);
    arguments.push(images.clone().into());
    let report = counterweight_json(&arguments);
    assert!(report["images"].as_str().unwrap().ends_with("im\u{fffd}"), "{report}");
    assert!(images.join("train").is_dir());
}

#[test]
fn only_a_dataset_file_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let sample = unpack_sample(folder.path()).unwrap();
    let other = folder.path().join("Cargo.toml");
    write(&other, "[package]\n");
    let output = counterweight(&command(&sample, &other, &[]));
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("Cargo.toml") && error.contains("not overwritten"), "{error}");
    assert_eq!(std::fs::read_to_string(&other).unwrap(), "[package]\n");
}

#[test]
fn the_tail_of_an_uneven_folder_begins_with_its_largest_class() {
    let folder = tempfile::tempdir().unwrap();
    let photos = folder.path().join("photos");
    for (name, count) in [("ant", 12), ("bee", 20), ("zebra", 60)] {
        (0..count).for_each(|seed| {
            save(&picture(seed + 100 * count, 8, 8), photos.join(format!("{name}/{seed}.png")));
        });
    }
    let train = |more: &[&str]| -> Vec<usize> {
        let out = folder.path().join("tail.toml");
        build(&photos, &out, &[more, &["--force", "--validation", "0"]].concat());
        Dataset::load(&out).unwrap().counts(Split::Train)
    };
    let by_size = train(&["--factor", "10"]);
    assert!(by_size[2] > 40 && by_size[0] < by_size[1], "{by_size:?}");
    let by_name = train(&["--factor", "10", "--order", "name"]);
    assert!(by_name[2] < 10, "{by_name:?}");
    assert_eq!(train(&["--factor", "10", "--order", "size"]), by_size);
    // Of classes that are of one size the order is that of their names.
    let alike = ["--classes", "ant,bee", "--max-per-class", "10", "--factor", "5"];
    let [ant, bee] = train(&alike)[..] else { panic!("two classes") };
    assert!(ant > bee, "{ant} {bee}");
}
