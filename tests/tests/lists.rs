//! Image lists as people have them, and files that are left out, by the command line.

use std::ffi::OsString;
use std::path::Path;

use counterweight_core::dataset::Dataset;
use counterweight_core::source::Split;
use counterweight_tests::fixtures::{picture, save, write};
use counterweight_tests::{counterweight, counterweight_json};
use serde_json::Value;

fn command(name: &str, source: &Path, more: &[&str]) -> Vec<OsString> {
    let mut all: Vec<OsString> = vec![name.into(), source.into()];
    all.extend(more.iter().map(Into::into));
    all
}

fn inspect(source: &Path, more: &[&str]) -> Value {
    counterweight_json(&command("inspect", source, more))
}

fn refusal(source: &Path, more: &[&str], code: i32) -> String {
    let output = counterweight(&command("inspect", source, more));
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// Names and numbers of the classes of a report.
fn classes(report: &Value) -> Vec<(String, u64)> {
    let classes = report["classes"].as_array().unwrap().iter();
    classes
        .map(|class| (class["name"].as_str().unwrap().into(), class["total"].as_u64().unwrap()))
        .collect()
}

fn images(folder: &Path, names: impl IntoIterator<Item = String>) {
    for (i, name) in names.into_iter().enumerate() {
        save(&picture(i as u32, 8, 8), folder.join(name));
    }
}

#[test]
fn a_name_that_could_be_several_files_is_asked_about() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    // A photo and its mask.
    images(root, (1..7).flat_map(|i| ["bmp", "png"].map(|ending| format!("all/{i:03}.{ending}"))));
    let list = root.join("labels.csv");
    let rows = |name: fn(usize) -> String| -> String {
        (1..7).map(|i| format!("{},{}\n", name(i), if i < 5 { "cat" } else { "dog" })).collect()
    };
    std::fs::write(&list, format!("image,label\n{}", rows(|i| format!("{i:03}")))).unwrap();
    let said = refusal(&list, &["--root", root.join("all").to_str().unwrap()], 1);
    assert!(said.contains("6 names could be several files each"), "{said}");
    assert!(said.contains("--only png or --only bmp") && said.contains("001.png"), "{said}");
    let two = [("cat".to_string(), 4), ("dog".to_string(), 2)];
    let report = inspect(&list, &["--only", "bmp"]);
    assert_eq!(classes(&report), two);
    // A table that has forgotten the zeros.
    std::fs::write(&list, format!("image,label\n{}", rows(|i| i.to_string()))).unwrap();
    assert_eq!(classes(&inspect(&list, &["--only", "bmp"])), two);
    // The same name in two folders.
    images(root, ["other/3.bmp".to_string()]);
    std::fs::write(&list, "image,label\n3.bmp,cat\n4.bmp,cat\n5.bmp,dog\n").unwrap();
    images(root, [3, 4, 5].map(|i| format!("one/{i}.bmp")));
    let report = inspect(&list, &[]);
    let problem = report["problems"][0]["reason"].as_str().unwrap();
    assert_eq!(problem, "is in the list and could be one/3.bmp or other/3.bmp");
}

#[test]
fn the_usual_lists_need_no_options() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    images(root, (0..6).map(|i| format!("train_images/{i}.png")));
    let two = [("cat".to_string(), 4), ("dog".to_string(), 2)];
    let rows = |of: fn(usize) -> String| (0..6).map(of).collect::<String>();
    let class = |i: usize| if i < 4 { "cat" } else { "dog" };
    let lists = [
        // Kaggle's, without ending and folder.
        (
            "train.csv",
            "image_id,label\n".to_string()
                + &(0..6).map(|i| format!("{i},{}\n", class(i))).collect::<String>(),
        ),
        // One column a class.
        (
            "one-hot.csv",
            "id,cat,dog\n".to_string()
                + &rows(|i| format!("{i},{},{}\n", u8::from(i < 4), u8::from(i >= 4))),
        ),
        // A spreadsheet's, in another language.
        (
            "liste.csv",
            "\u{feff}Datei;Art\r\n".to_string()
                + &(0..6)
                    .map(|i| format!("train_images\\{i}.png;{}\r\n", class(i)))
                    .collect::<String>(),
        ),
    ];
    for (name, text) in lists {
        write(root.join(name), text);
        assert_eq!(classes(&inspect(&root.join(name), &[])), two, "{name}");
    }
    // ImageNet-LT's, with the names of its classes.
    write(
        root.join("X_LT_train.txt"),
        rows(|i| format!("train_images/{i}.png {}\n", u8::from(i >= 4))),
    );
    write(root.join("names.txt"), "cat\ndog\n");
    let names = root.join("names.txt");
    let more = ["--class-names", names.to_str().unwrap()];
    assert_eq!(classes(&inspect(&root.join("X_LT_train.txt"), &more)), two);
    // Paths with the class folder only.
    let other = root.join("other");
    images(&other, (0..6).map(|i| format!("data/{}/{i}.png", class(i))));
    write(
        other.join("all.txt"),
        (0..6).map(|i| format!("data/{}/{i}.png\n", class(i))).collect::<String>(),
    );
    assert_eq!(classes(&inspect(&other.join("all.txt"), &[])), two);
}

#[test]
fn columns_are_named_on_every_subcommand_and_kept_in_the_dataset_file() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    images(root, (0..40).map(|i| format!("{i}.png")));
    let mut text = "who|file|width|what|part\n".to_string();
    for i in 0..40 {
        let part = ["train", "train", "val", "test"][i % 4];
        text += &format!("p{}|{i}.png|8|{}|{part}\n", i / 4, if i < 30 { "cat" } else { "dog" });
    }
    let list = root.join("list.txt");
    write(&list, text);
    let error = refusal(&list, &[], 1);
    for part in [
        "columns, separated by bar: 1 who | 2 file",
        "p0 | 0.png | 8 | cat | train",
        "--label-column",
    ] {
        assert!(error.contains(part), "{error}");
    }
    let columns = [
        "--label-column",
        "what",
        "--split-column",
        "5",
        "--group-column",
        "who",
        "--separator",
        "bar",
    ];
    let report = inspect(&list, &columns);
    assert_eq!(classes(&report), [("cat".into(), 30), ("dog".into(), 10)]);
    assert_eq!((&report["source_groups"], &report["splits"]["test"]), (&10.into(), &10.into()));
    let out = root.join("set.toml");
    let arguments = [&["--out", out.to_str().unwrap()], columns.as_slice()].concat();
    assert!(counterweight(&command("build", &list, &arguments)).status.success());
    let dataset = Dataset::load(&out).unwrap();
    assert_eq!(dataset.split(Split::Validation).len(), 10);
    let reading = &dataset.provenance.reading;
    assert_eq!(reading.lists, ["list.txt"]);
    let format = &reading.format;
    let of = |column: &Option<String>| column.clone().unwrap();
    assert_eq!(
        [&format.path, &format.label, &format.split, &format.group].map(of),
        ["file", "what", "part", "who"]
    );
    // Nothing can be said of a dataset file, which knows.
    let run = root.join("run");
    let more = ["--run", run.to_str().unwrap(), "--skip", "png"];
    let output = counterweight(&command("train", &out, &more));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("is a dataset file, which names its images itself"), "{error}");
    for name in ["train", "sweep", "make", "import", "evaluate", "build", "inspect"] {
        let help = counterweight(&[name, "--help"]);
        let help = String::from_utf8(help.stdout).unwrap();
        for option in [
            "--path-column",
            "--label-column",
            "--split-column",
            "--group-column",
            "--separator",
            "--only",
            "--skip",
        ] {
            assert!(help.contains(option), "{name} has no {option}");
        }
    }
    assert!(refusal(&list, &["--separator", "colon"], 2).contains("semicolon"));
    assert!(refusal(&list, &["--label-column", "whom"], 1).contains("there is no column `whom`"));
}

#[test]
fn twins_are_told_of_and_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let class = |i: usize| if i < 6 { "cat" } else { "dog" };
    images(
        root,
        (0..10)
            .flat_map(|i| [format!("{}/{i}.jpg", class(i)), format!("{}/{i}_mask.png", class(i))]),
    );
    let report = inspect(root, &[]);
    assert_eq!(
        (&report["samples"], &report["twins"][0]["pattern"]),
        (&20.into(), &"*_mask.*".into())
    );
    let text = String::from_utf8(counterweight(&command("inspect", root, &[])).stdout).unwrap();
    assert!(
        text.contains("all of the 10 files *_mask.*")
            && text.contains("cat/0_mask.png beside cat/0.jpg"),
        "{text}"
    );
    for more in [["--skip", "*_mask.*"], ["--only", "jpg,webp"], ["--skip", "png"]] {
        let report = inspect(root, &more);
        assert_eq!(
            (&report["samples"], &report["skipped"]["left_out"]),
            (&10.into(), &10.into()),
            "{more:?}"
        );
        assert_eq!(report["twins"], serde_json::json!([]));
    }
    let out = root.join("set.toml");
    let output = counterweight(&command(
        "build",
        root,
        &["--out", out.to_str().unwrap(), "--skip", "*_mask.*"],
    ));
    assert!(output.status.success(), "{output:?}");
    assert_eq!(Dataset::load(&out).unwrap().provenance.reading.skip, ["*_mask.*"]);
    let plain = root.join("plain.toml");
    let output = counterweight(&command("build", root, &["--out", plain.to_str().unwrap()]));
    assert!(String::from_utf8(output.stderr).unwrap().contains("--skip \"*_mask.*\""));
    assert!(!std::fs::read_to_string(&plain).unwrap().contains("[reading]"));
    assert!(refusal(root, &["--skip", "[a"], 2).contains("--skip"));
}

#[test]
fn a_flat_folder_is_explained_once() {
    let folder = tempfile::tempdir().unwrap();
    images(folder.path(), (0..30).map(|i| format!("{i}.png")));
    let error = refusal(folder.path(), &[], 1);
    assert_eq!(error.matches("no class folder").count(), 1, "{error}");
    assert!(
        error.contains("its 30 images") && error.contains("├── first class/\n│   ├── "),
        "{error}"
    );
}

#[test]
fn classes_are_taken_from_file_names_where_folders_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let names = |class: &str, number: usize| -> Vec<String> {
        (1..=number).map(|i| format!("images/{class}_{i}.png")).collect()
    };
    images(root, [names("Abyssinian", 6), names("pug_dog", 4)].concat());
    images(root, ["images/readme.png".into()]);
    let error = refusal(root, &[], 1);
    assert!(error.contains("holds one class only, `images`"), "{error}");
    assert!(
        error
            .contains("File names look like 3 classes with a number each (`Abyssinian`, `pug_dog`"),
        "{error}"
    );
    assert!(error.contains("--class-in-name takes the classes from them"), "{error}");
    let skip = ["--class-in-name", "--skip", "*readme*"];
    let report = inspect(root, &skip);
    assert_eq!(classes(&report), [("Abyssinian".into(), 6), ("pug_dog".into(), 4)]);
    // Kept, so that the folder can be read again in the same way.
    let dataset = root.join("dataset.toml");
    let out = ["--out", dataset.to_str().unwrap()];
    let output = counterweight(&command("build", root, &[&skip[..], &out[..]].concat()));
    assert!(output.status.success(), "{output:?}");
    let opened = Dataset::load(&dataset).unwrap();
    assert!(opened.provenance.reading.class_in_name);
    // Folders of splits stay such, and only folders have file names.
    std::fs::rename(root.join("images"), root.join("train")).unwrap();
    assert!(refusal(root, &[], 1).contains("--class-in-name"));
    let report = inspect(root, &skip);
    assert_eq!(report["classes"][0]["train"], 6, "{report}");
    let list = root.join("list.csv");
    std::fs::write(&list, "file,label\n").unwrap();
    let said = refusal(&list, &["--class-in-name"], 1);
    assert!(said.contains("is not an image folder"), "{said}");
}

#[test]
fn folders_for_training_and_test_are_no_classes() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    images(root, (0..4).map(|i| format!("train_images/{i}.png")));
    images(root, (4..6).map(|i| format!("test_images/{i}.png")));
    let error = refusal(root, &[], 1);
    assert!(error.contains("`test_images` and `train_images` are named like parts"), "{error}");
    assert!(!error.contains("Then give that file"), "{error}");
    std::fs::write(root.join("train.csv"), "id,label\n0,owl\n1,owl\n2,wren\n3,wren\n").unwrap();
    let error = refusal(root, &[], 1);
    assert!(error.contains("Does `train.csv` say which image is of which class?"), "{error}");
    let report = inspect(&root.join("train.csv"), &[]);
    assert_eq!(classes(&report), [("owl".into(), 2), ("wren".into(), 2)]);
}
