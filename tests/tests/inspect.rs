//! `counterweight inspect` on every kind of source, whole and broken.

use std::ffi::OsStr;
use std::path::Path;

use counterweight_tests::fixtures::{broken_folder, picture, save, write};
use counterweight_tests::{counterweight, counterweight_json};
use serde_json::{Value, json};

fn inspect(source: &Path) -> Value {
    counterweight_json(&["inspect".as_ref(), source.as_os_str()])
}

/// Runs `inspect` on a source that it must refuse, and returns what it says.
fn refusal(source: &Path) -> String {
    let output = counterweight(&["inspect".as_ref(), source.as_os_str()]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr).unwrap()
}

/// `(name, train, validation, test)` of each class.
fn counts(report: &Value) -> Vec<(String, u64, u64, u64)> {
    let number = |class: &Value, key: &str| class[key].as_u64().unwrap();
    let classes = report["classes"].as_array().unwrap().iter();
    classes
        .map(|c| {
            (
                c["name"].as_str().unwrap().to_string(),
                number(c, "train"),
                number(c, "validation"),
                number(c, "test"),
            )
        })
        .collect()
}

#[test]
fn a_broken_folder_is_read_and_each_problem_named() {
    let folder = tempfile::tempdir().unwrap();
    let broken = broken_folder(folder.path());
    let report = inspect(&broken.root);
    assert_eq!(report["samples"], broken.readable);
    let problems = report["problems"].as_array().unwrap();
    assert_eq!(problems.len(), broken.problems.len(), "{problems:#?}");
    for (name, word) in &broken.problems {
        let problem = problems
            .iter()
            .find(|problem| problem["path"].as_str().unwrap().ends_with(name))
            .unwrap();
        assert!(problem["reason"].as_str().unwrap().contains(word), "{problem}");
    }
    assert_eq!(counts(&report), [("cat".into(), 15, 0, 0), ("собака".into(), 13, 0, 0)]);
    assert_eq!(report["modes"], json!({"CMYK": 1, "L": 1, "L16": 1, "RGB": 25}));
    // The rotated JPEG is 24 pixels high only once it is upright; the CMYK one is 16.
    assert_eq!(
        (&report["sizes"]["distinct"], &report["sizes"]["width"]["min"]),
        (&json!(5), &json!(9))
    );
    assert_eq!(report["skipped"]["link_loops"], if cfg!(unix) { 1 } else { 0 });
    assert!((report["imbalance_factor"].as_f64().unwrap() - 15.0 / 13.0).abs() < 1e-9);

    let output = counterweight(&["inspect".as_ref(), broken.root.as_os_str()]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    for (name, word) in &broken.problems {
        assert!(
            text.lines().any(|line| line.contains(name) && line.contains(word)),
            "{name}:\n{text}"
        );
    }
    assert!(
        text.contains("собака") && text.contains("imbalance factor 1.2") && text.contains("CMYK 1"),
        "{text}"
    );
}

#[test]
fn splits_nested_classes_and_clutter_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for i in 0..3 {
        save(&picture(i, 8, 8), root.join(format!("Train/pets/cat/{i}.png")));
        save(&picture(10 + i, 8, 8), root.join(format!("Train/dog/{i}.bmp")));
    }
    save(&picture(20, 8, 8), root.join("valid/dog/a.tiff"));
    save(&picture(21, 8, 8), root.join("TEST/pets/cat/b.gif"));
    // The same bytes are learned and tested, and labelled differently.
    std::fs::copy(root.join("Train/dog/1.bmp"), root.join("TEST/pets/cat/leak.bmp")).unwrap();
    write(root.join("Train/dog/.hidden.png"), "x");
    write(root.join("Train/dog/Thumbs.db"), "x");
    write(root.join("Train/dog/notes.txt"), "x");
    write(root.join("Train/loose.png"), "x");
    let report = inspect(root);
    assert_eq!(counts(&report), [("dog".into(), 3, 1, 0), ("pets/cat".into(), 3, 0, 2)]);
    assert_eq!(
        report["skipped"],
        json!({"hidden": 2, "not_images": 1, "left_out": 0, "link_loops": 0})
    );
    assert_eq!(report["problems"][0]["reason"], "lies in no class folder");
    let group = &report["duplicates"]["groups"][0];
    assert_eq!((&group["across_splits"], &group["labels_differ"]), (&json!(true), &json!(true)));
    assert_eq!(group["classes"], json!(["dog", "pets/cat"]));
    assert_eq!(report["duplicates"]["redundant"], 1);
    assert_eq!(
        report["groups"],
        json!({"many": 0, "medium": 0, "few": 2, "many_above": 100, "few_below": 20})
    );
}

#[test]
fn a_class_left_empty_is_an_error_that_lists_it() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    save(&picture(1, 8, 8), root.join("cat/1.png"));
    write(root.join("dog/1.png"), "no image");
    write(root.join("dog/2.png"), "");
    std::fs::create_dir(root.join("owl")).unwrap();
    let error = refusal(root);
    assert!(error.contains("classes without a readable image"), "{error}");
    // Together with the first of the files and its reason.
    let first = Path::new("dog").join("1.png");
    let expected = format!(
        "dog: none of its images can be read; the first is {}: not an image: the file holds text",
        first.display()
    );
    assert!(error.contains(&expected) && error.contains("--skip"), "{error}");
    assert!(!error.contains("cat:") && !error.contains("owl:"), "{error}");

    // A folder without any image is no class, and no reason to stop.
    save(&picture(2, 8, 8), root.join("dog/3.png"));
    let report = inspect(root);
    let classes: Vec<String> = counts(&report).into_iter().map(|(name, ..)| name).collect();
    assert_eq!(classes, ["cat", "dog"]);
    let problems = report["problems"].as_array().unwrap();
    let owl = problems.iter().find(|problem| problem["path"].as_str().unwrap().ends_with("owl"));
    assert!(owl.unwrap()["reason"].as_str().unwrap().contains("no such class"), "{report}");
    // Nor is one of which everything is left out.
    save(&picture(3, 8, 8), root.join("owl/1.png"));
    assert_eq!(counts(&inspect(root)).len(), 3);
    let report = counterweight_json(&["inspect", root.to_str().unwrap(), "--skip", "owl/*"]);
    assert_eq!(counts(&report).len(), 2);
}

#[test]
fn sources_that_are_wrong_as_a_whole_say_why() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    assert!(refusal(&root.join("absent")).contains("no such file or folder"));
    assert!(refusal(root).contains("no image lies in this folder"));
    save(&picture(1, 8, 8), root.join("loose.png"));
    assert!(refusal(root).contains("lies in no class folder"));
    save(&picture(2, 8, 8), root.join("only/1.png"));
    assert!(refusal(root).contains("one class only, `only`; telling classes apart needs two\n"));
    std::fs::write(root.join("labels.csv"), "path,label\n").unwrap();
    let said = refusal(root);
    assert!(
        said.contains("needs two\nDoes `labels.csv` say which image is of which class"),
        "{said}"
    );
    assert_eq!(counterweight(&["inspect"]).status.code(), Some(2));
}

#[test]
fn the_pixel_limit_is_settable() {
    let folder = tempfile::tempdir().unwrap();
    for class in ["a", "b"] {
        save(&picture(1, 20, 20), folder.path().join(class).join("small.png"));
        save(&picture(2, 21, 20), folder.path().join(class).join("large.png"));
    }
    let source = folder.path().as_os_str();
    let report =
        counterweight_json(&["inspect".as_ref(), source, "--max-pixels".as_ref(), "400".as_ref()]);
    assert_eq!(report["samples"], 2);
    assert!(report["problems"][0]["reason"].as_str().unwrap().contains("too large: 21 × 20"));
}

#[test]
fn image_lists_of_every_form_give_the_same_classes() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for i in 0..4 {
        save(&picture(i, 8, 8), root.join(format!("images/a photo {i}.png")));
    }
    let rows = [
        ("images/a photo 0.png", 10, "train"),
        ("images/a photo 1.png", 2, "val"),
        ("./images/a photo 2.png", 10, "test"),
    ];
    let table = |separator: &str, header: bool| {
        let mut text = if header {
            ["File Name", "Label", "Split"].join(separator) + "\r\n"
        } else {
            String::new()
        };
        for (path, label, split) in rows {
            text += &([format!("\"{path}\""), label.to_string(), split.to_string()]
                .join(separator)
                + "\r\n");
        }
        text
    };
    let expected = [("2".to_string(), 0, 1, 0), ("10".to_string(), 1, 0, 1)];
    let tables = [
        ("a.csv", "\u{feff}".to_string() + &table(",", true)),
        ("b.csv", table(";", true)),
        ("c.tsv", table("\t", true)),
        ("d.csv", table(",", false)),
    ];
    for (name, text) in tables {
        write(root.join(name), text);
        assert_eq!(counts(&inspect(&root.join(name))), expected, "{name}");
    }
}

#[test]
fn lists_of_one_split_each_go_together() {
    let images = tempfile::tempdir().unwrap();
    for i in 0..4 {
        save(&picture(i, 8, 8), images.path().join(format!("images/a photo {i}.png")));
    }
    // As the long-tailed benchmarks have them, their images elsewhere.
    let lists = tempfile::tempdir().unwrap();
    write(
        lists.path().join("X_LT_train.txt"),
        "images/a photo 0.png 10\nimages/a photo 3.png 10\n",
    );
    write(lists.path().join("X_LT_val.txt"), "images/a photo 1.png 2\n");
    write(lists.path().join("X_LT_test.txt"), "images/a photo 2.png 10\n\n");
    let [train, val, test] =
        ["train", "val", "test"].map(|split| lists.path().join(format!("X_LT_{split}.txt")));
    let arguments: [&OsStr; 8] = [
        "inspect".as_ref(),
        train.as_ref(),
        "--root".as_ref(),
        images.path().as_ref(),
        "--also".as_ref(),
        val.as_ref(),
        "--also".as_ref(),
        test.as_ref(),
    ];
    assert_eq!(
        counts(&counterweight_json(&arguments)),
        [("2".into(), 0, 1, 0), ("10".into(), 2, 0, 1)]
    );

    // Without the root, nothing is where the list says.
    let error = refusal(&train);
    assert!(
        error.contains("names 2 files that are not in") && error.contains("images/a photo 3.png"),
        "{error}"
    );
}

#[test]
fn an_image_list_that_cannot_be_read_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    save(&picture(1, 8, 8), root.join("1.png"));
    let says = |text: &[u8], expected: &str| {
        write(root.join("m.csv"), text);
        let error = refusal(&root.join("m.csv"));
        assert!(error.contains("m.csv") && error.contains(expected), "{error}");
    };
    says(b"path,label\n1.png,a\n,b\n1.png,\n", "line 3: the path is missing");
    says(b"path,label,split\n1.png,a,holdout\n", "line 2: `holdout` is no split");
    says(b"file_size,width\n3,4\n", "which column holds the paths");
    says(b"", "is empty");
    says(b"a text\nabout something else\n", "is not an image folder, CIFAR archive or image list");
    says(&[0xff, 0xfe, 0, 1], "is not an image folder, CIFAR archive or image list");
}

#[test]
fn an_image_listed_twice_counts_once_and_not_at_all_where_the_labels_differ() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for i in 0..3 {
        save(&picture(i, 8, 8), root.join(format!("{i}.png")));
    }
    let list = root.join("m.csv");
    write(&list, "path,label,split\n0.png,a,train\n1.png,b,train\n./0.png,a,train\n");
    assert_eq!(counts(&inspect(&list)), [("a".into(), 1, 0, 0), ("b".into(), 1, 0, 0)]);
    let output = counterweight(&["inspect".as_ref(), list.as_os_str()]);
    assert!(String::from_utf8(output.stderr).unwrap().contains("1 line repeats an image"));

    write(
        &list,
        "path,label,split\n0.png,a,train\n1.png,b,train\n0.png,b,train\n1.png,b,test\n2.png,a,train\n",
    );
    let error = refusal(&list);
    assert!(error.contains("images listed in different splits"), "{error}");
    assert!(error.contains("1.png: in train and in test"), "{error}");
    assert!(!error.contains("2.png"), "{error}");
    // Of an image with two labels nothing can be learned, and it is no reason against the others.
    for i in 3..6 {
        save(&picture(i, 8, 8), root.join(format!("{i}.png")));
    }
    write(&list, "path,label\n0.png,a\n1.png,b\n2.png,a\n3.png,b\n4.png,a\n0.png,b\n5.png,b\n");
    let report = inspect(&list);
    assert_eq!(counts(&report), [("a".into(), 2, 0, 0), ("b".into(), 3, 0, 0)]);
    assert_eq!(report["problems"][0]["reason"], "is listed as a and b");
}

#[test]
fn what_is_something_else_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    save(&picture(1, 8, 8), root.join("photo.png"));
    assert!(refusal(&root.join("photo.png")).contains("is one image, not a source"));
    write(root.join("photos.zip"), b"PK\x03\x04\x14\0\0\0");
    assert!(refusal(&root.join("photos.zip")).contains("unpack it and name its folder"));
    let class = |name: &str| format!("[[class]]\nname = \"{name}\"\ntrain = [\"{name}.png\"]\n");
    let dataset =
        format!("version = 1\nsource = \".\"\nkind = \"folder\"\n{}{}", class("a"), class("b"));
    write(root.join("run/dataset.toml"), &dataset);
    assert!(
        refusal(&root.join("run/dataset.toml"))
            .contains("is a dataset made by `build`; give it to `train`")
    );
    write(root.join("run/settings.toml"), "seed = 1\n");
    assert!(refusal(&root.join("run/settings.toml")).contains("holds settings"));
    assert!(refusal(&root.join("run")).contains("is a run"));
    #[cfg(unix)]
    assert!(refusal(Path::new("/dev/zero")).contains("is not a regular file"));
}

#[test]
fn people_read_whole_words_and_no_control_characters() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let long = "very ".repeat(10) + "long";
    save(&picture(1, 8, 8), root.join(&long).join("1.png"));
    let odd = if cfg!(unix) { "red\u{1b}[31m" } else { "red" };
    save(&picture(2, 8, 8), root.join(odd).join("1.png"));
    write(root.join(odd).join("notes.txt"), "x");
    let text = |more: &[&str]| {
        let arguments: Vec<&OsStr> = ["inspect".as_ref(), root.as_os_str()]
            .into_iter()
            .chain(more.iter().map(OsStr::new))
            .collect();
        counterweight(&arguments)
    };
    let shown = String::from_utf8(text(&[]).stdout).unwrap();
    assert!(
        shown.contains("passed over: 1 other file")
            && shown.contains("largest class has 1 training sample,"),
        "{shown}"
    );
    assert!(
        !shown.contains('\u{1b}')
            && shown.contains(if cfg!(unix) { "red\u{fffd}[31m" } else { "red" }),
        "{shown}"
    );
    assert!(shown.contains("very very very very very very very very…"), "{shown}");

    let output = text(&["--many-above", "5", "--few-below", "7"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("--few-below"));
    assert!(text(&["--many-above", "5", "--few-below", "6"]).status.success());
}

/// The pixels of image number `i`: red, green and blue planes of one value each.
fn cifar_pixels(i: u8) -> Vec<u8> {
    [i, 100 + i, 200].iter().flat_map(|&value| [value; 1024]).collect()
}

/// Records of CIFAR-100's binary layout, with the fine labels given.
fn cifar100_records(labels: &[u8]) -> Vec<u8> {
    let record =
        |(i, label): (usize, &u8)| [vec![label / 5, *label], cifar_pixels(i as u8)].concat();
    labels.iter().enumerate().flat_map(record).collect()
}

#[test]
fn cifar_100_in_the_binary_layout_names_a_file_cut_short() {
    let folder = tempfile::tempdir().unwrap();
    // Every class has an image to train on; class 7 has two.
    let labels: Vec<u8> = (0..100).chain([7]).collect();
    let inner = folder.path().join("cifar-100-binary");
    write(inner.join("train.bin"), cifar100_records(&labels));
    let test = cifar100_records(&[3, 4]);
    write(inner.join("test.bin"), &test[..test.len() - 10]);
    write(
        inner.join("fine_label_names.txt"),
        (0..100).map(|label| format!("name {label:02}\n")).collect::<String>(),
    );
    for source in [folder.path(), inner.as_path()] {
        let report = inspect(source);
        assert_eq!((&report["kind"], &report["samples"]), (&json!("cifar100"), &json!(102)));
        assert_eq!(counts(&report)[7], ("name 07".into(), 2, 0, 0));
        assert_eq!(counts(&report)[3], ("name 03".into(), 1, 0, 1));
        assert_eq!(report["imbalance_factor"], 2.0);
        let problem = &report["problems"][0];
        assert!(problem["path"].as_str().unwrap().ends_with("test.bin"));
        assert!(
            problem["reason"]
                .as_str()
                .unwrap()
                .contains("truncated: 3064 bytes are left after 1 whole record"),
            "{problem}"
        );
    }
}

/// A dictionary as Python 2's cPickle writes it with protocol 2, which is how CIFAR is distributed.
fn python_batch(labels_key: &str, labels: &[u8]) -> Vec<u8> {
    let key = |key: &str| [&[b'U', key.len() as u8], key.as_bytes()].concat();
    let pixels: Vec<u8> = (0..labels.len()).flat_map(|i| cifar_pixels(i as u8)).collect();
    let mut out = b"\x80\x02}q\x01(".to_vec();
    out.extend(key("data"));
    out.extend(b"cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85U\x01b\x87Rq\x04(K\x01M");
    out.extend((labels.len() as u16).to_le_bytes());
    out.extend(
        b"M\x00\x0c\x86cnumpy\ndtype\nq\x05U\x02u1K\x00K\x01\x87Rq\x06(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T",
    );
    out.extend((pixels.len() as u32).to_le_bytes());
    out.extend(pixels);
    out.extend(b"tb");
    out.extend(key(labels_key));
    out.extend(b"](");
    out.extend(labels.iter().flat_map(|label| [b'K', *label]));
    out.extend(b"eu.");
    out
}

fn python_names(key: &str, names: &[String]) -> Vec<u8> {
    let text = |text: &str| [&[b'U', text.len() as u8], text.as_bytes()].concat();
    let mut out = [b"\x80\x02}".to_vec(), text(key), b"](".to_vec()].concat();
    out.extend(names.iter().flat_map(|name| text(name)));
    out.extend(b"es.");
    out
}

#[test]
fn cifar_in_the_python_layout_is_read_from_folders_and_archives() {
    let folder = tempfile::tempdir().unwrap();
    let ten: Vec<String> = (0..10).map(|i| format!("kind {i}")).collect();
    let mut files = vec![("batches.meta".to_string(), python_names("label_names", &ten))];
    for batch in 1..=5 {
        files.push((
            format!("data_batch_{batch}"),
            python_batch("labels", &[2 * batch - 2, 2 * batch - 1, 0]),
        ));
    }
    files.push(("test_batch".into(), python_batch("labels", &[9])));
    let unpacked = folder.path().join("data/cifar-10-batches-py");
    for (name, bytes) in &files {
        write(unpacked.join(name), bytes);
    }
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_dir_all("cifar-10-batches-py", &unpacked).unwrap();
    let archive = archive.into_inner().unwrap();
    write(folder.path().join("cifar.tar"), &archive);
    let mut zip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut zip, &archive).unwrap();
    let zipped = zip.finish().unwrap();
    write(folder.path().join("cifar.tar.gz"), &zipped);
    for source in ["data", "data/cifar-10-batches-py", "cifar.tar", "cifar.tar.gz"] {
        let report = inspect(&folder.path().join(source));
        assert_eq!(
            (&report["kind"], &report["samples"]),
            (&json!("cifar10"), &json!(16)),
            "{source}"
        );
        // Two of the first batch's three are labelled 0, and one in each of the four others.
        assert_eq!(counts(&report)[0], ("kind 0".into(), 6, 0, 0));
        assert_eq!(counts(&report)[9], ("kind 9".into(), 1, 0, 1));
        assert_eq!(report["problems"], json!([]));
    }
    write(folder.path().join("cut.tgz"), &zipped[..zipped.len() / 2]);
    let error = refusal(&folder.path().join("cut.tgz"));
    assert!(error.contains("cut.tgz") && error.contains("truncated"), "{error}");
}

#[test]
fn a_pickle_that_would_run_something_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..100).map(|i| i.to_string()).collect();
    write(folder.path().join("meta"), python_names("fine_label_names", &names));
    write(folder.path().join("train"), python_batch("fine_labels", &(0..100).collect::<Vec<u8>>()));
    let marker = folder.path().join("ran");
    write(folder.path().join("test"), format!("cposix\nsystem\n(Vtouch {}\ntR.", marker.display()));
    let error = refusal(folder.path());
    assert!(error.contains("posix.system") && error.contains("test"), "{error}");
    assert!(!marker.exists());
}
