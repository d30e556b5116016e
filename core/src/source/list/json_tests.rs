use std::path::PathBuf;

use super::*;
use crate::job::{Control, Silent};
use crate::source::{Catalog, Location, scan};

const MOST: usize = 1 << 20;

#[test]
fn every_shape_becomes_a_table() {
    for (text, table) in [
        // Records: an array of them, one a line, under one name, by splits.
        (
            r#"[{"file": "1.jpg", "label": "owl"}, {"file": "2.jpg", "label": "wren", "set": "val"}]"#,
            "file,label,set\n1.jpg,owl,\n2.jpg,wren,val\n",
        ),
        (
            "{\"file\": \"1.jpg\", \"label\": 3}\n{\"file\": \"2.jpg\", \"label\": 4}\n",
            "file,label\n1.jpg,3\n2.jpg,4\n",
        ),
        (
            r#"{"version": 2, "data": [{"file": "1.jpg", "label": "a, b"}, {"label": true}]}"#,
            "file,label\n1.jpg,\"a, b\"\n,true\n",
        ),
        (
            r#"{"train": [["owl/1.jpg", 0, "owl"]], "val": [["wren/2.jpg", 1, "wren"]]}"#,
            "split,column 1,column 2,column 3\ntrain,owl/1.jpg,0,owl\nval,wren/2.jpg,1,wren\n",
        ),
        // What a tool for labelling exports: one level deeper, and the only entry of an array.
        (
            r#"[{"id": 7, "data": {"image": "1.jpg", "at": {"x": 1}}, "labels": ["owl"], "boxes": [[1, 2], [3]]}]"#,
            "id,data.image,data.at.x,labels\n7,1.jpg,1,owl\n",
        ),
        (
            r#"[{"annotations": [{"result": [{"value": {"choices": ["owl"]}, "type": "choices"}]}], "data": {"image": "/up/1.jpg"}}]"#,
            "annotations.result.value.choices,annotations.result.type,data.image\nowl,choices,/up/1.jpg\n",
        ),
        (
            r#"{"1.jpg": {"label": "owl"}, "2.jpg": {"label": null, "split": "test"}}"#,
            "path,label,split\n1.jpg,owl,\n2.jpg,,test\n",
        ),
        (r#"{"1.jpg": "owl", "2.jpg": 4}"#, "path,label\n1.jpg,owl\n2.jpg,4\n"),
        (
            r#"{"owl": ["1.jpg", "2.jpg"], "wren": ["3.jpg"]}"#,
            "path,label\n1.jpg,owl\n2.jpg,owl\n3.jpg,wren\n",
        ),
        (
            r#"{"train": ["owl/1.jpg"], "test": ["wren/3.jpg"]}"#,
            "path,split\nowl/1.jpg,train\nwren/3.jpg,test\n",
        ),
        (r#"["owl/1.jpg", "wren/3.jpg"]"#, "path,split\nowl/1.jpg,\nwren/3.jpg,\n"),
    ] {
        assert_eq!(json::table(text, MOST).as_deref(), Ok(table), "{text}");
    }
}

#[test]
fn coco_gives_each_image_its_category() {
    let text = r#"{
        "annotations": [
            {"id": 1, "image_id": "b", "category_id": 5, "bbox": [1, 2, 3, 4]},
            {"id": 2, "image_id": "b", "category_id": 5},
            {"id": 3, "image_id": 1, "category_id": 9},
            {"id": 4, "image_id": 1, "category_id": 5},
            {"id": 5, "image_id": "gone", "category_id": 5}
        ],
        "info": {"year": 2018},
        "images": [
            {"id": 1, "file_name": "x/1.jpg", "seq_id": "s1", "width": 3},
            {"id": "b", "file_name": "x/2.jpg", "seq_id": "s2"},
            {"id": "c", "file_name": "x/3.jpg"}
        ],
        "categories": [{"id": 5, "name": "owl"}, {"id": 9, "name": "wren"}, {"id": 6, "name": "owl"}]
    }"#;
    let table = "file_name,category_name,id,seq_id,width\n\
                 x/1.jpg,wren,1,s1,3\n\
                 x/1.jpg,owl (5),1,s1,3\n\
                 x/2.jpg,owl (5),b,s2,\n\
                 x/3.jpg,,c,,\n";
    assert_eq!(json::table(text, MOST).as_deref(), Ok(table));
}

#[test]
fn what_is_no_list_says_why() {
    for (text, reason) in [
        ("{\"images\": [", "JSON cannot be read: EOF"),
        ("{}", "no images are found"),
        ("[]", "no images are found"),
        ("{\"a\": [1, 2]}\n{\"a\": [3, 4]}", "no images are found"),
        (r#"{"a": [{"x": 1}], "b": [{"y": 1}]}"#, "no images are found"),
        (r#"{"images": [{"id": 1}, {"id": 1}], "annotations": []}"#, "two images of the number 1"),
        (r#"{"images": [{"file_name": "1.jpg"}], "annotations": []}"#, "has no `id`"),
        (
            r#"{"images": [{"id": 1, "file_name": "a"}], "annotations": [{"image_id": 1, "category_id": 3}]}"#,
            "category 3, which is not there",
        ),
        (
            r#"{"images": [{"id": 1, "file_name": "a"}], "annotations": [{"image_id": 1}]}"#,
            "none of its annotations names an image and a category",
        ),
        (
            "{\"images\": [{\"id\": 1}], \"annotations\": [{\"id\": 2}]}\n{\"images\": []}",
            "are followed by more",
        ),
        (&"[".repeat(100_000), "JSON cannot be read: EOF"),
        (r#"[{"a": 1}, owl]"#, "JSON cannot be read"),
    ] {
        let error = json::table(text, MOST).unwrap_err();
        assert!(error.contains(reason), "{text:.80}: {error}");
    }
    // A few fields each in records of ever other names would be a table of any size.
    let many: Vec<String> = (0..300).map(|i| format!("{{\"f{i}\": 1}}")).collect();
    let error = json::table(&format!("[{}]", many.join(",")), MOST).unwrap_err();
    assert!(error.contains("more than 256 fields"), "{error}");
    let wide: Vec<String> = (0..250).map(|i| format!("\"f{i}\": 1")).collect();
    let narrow = vec!["{\"f1\": 2}"; 10_000].join("\n");
    let error = json::table(&format!("{{{}}}\n{narrow}", wide.join(",")), MOST).unwrap_err();
    assert!(error.contains("as a table it has more than 1 MiB"), "{error}");
}

fn scanned(text: &str, name: &str, images: &[&str], options: ScanOptions) -> Result<Catalog> {
    let folder = tempfile::tempdir().unwrap();
    for (number, image) in images.iter().enumerate() {
        let path = folder.path().join(image);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, [b"P6 1 1 255 ab".as_slice(), &[number as u8]].concat()).unwrap();
    }
    let list = folder.path().join(name);
    std::fs::write(&list, text).unwrap();
    let options = ScanOptions { cache: None, ..options };
    scan(&list, &options, Job::new(&Control::new(), &Silent))
}

fn images_of(catalog: &Catalog) -> Vec<String> {
    let mut all: Vec<String> = catalog
        .samples
        .iter()
        .map(|sample| {
            let Location::File(path) = &sample.location else { panic!("a list names files") };
            let group = sample.group.as_ref().map_or_else(String::new, |group| format!(" {group}"));
            format!("{}={}{group}", path.display(), catalog.classes[sample.class])
        })
        .collect();
    all.sort();
    all
}

#[test]
fn images_of_coco_are_found_and_those_that_cannot_be_told_are_left_out() {
    let text = r#"{
        "images": [
            {"id": 1, "file_name": "1.ppm", "seq_id": "a"}, {"id": 2, "file_name": "2.ppm", "seq_id": "a"},
            {"id": 3, "file_name": "3.ppm", "seq_id": "b"}, {"id": 4, "file_name": "4.ppm", "seq_id": "b"},
            {"id": 5, "file_name": "5.ppm", "seq_id": "c"}
        ],
        "categories": [{"id": 0, "name": "owl"}, {"id": 1, "name": "wren"}],
        "annotations": [
            {"image_id": 1, "category_id": 0}, {"image_id": 2, "category_id": 1},
            {"image_id": 3, "category_id": 1}, {"image_id": 4, "category_id": 1},
            {"image_id": 4, "category_id": 0}
        ]
    }"#;
    let images = ["in/1.ppm", "in/2.ppm", "in/3.ppm", "in/4.ppm", "in/5.ppm"];
    let catalog = scanned(text, "train.json", &images, ScanOptions::default()).unwrap();
    assert_eq!(images_of(&catalog), ["in/1.ppm=owl a", "in/2.ppm=wren a", "in/3.ppm=wren b"]);
    let mut reasons: Vec<&str> = catalog.problems.iter().map(|p| p.reason.as_str()).collect();
    reasons.sort_unstable();
    assert_eq!(reasons, ["is in the list without a label", "is listed as wren and owl"]);
    // A text that begins with a bracket is no JSON for that.
    let text = "[1]/1.ppm,owl\n[1]/2.ppm,wren\n";
    let images = ["[1]/1.ppm", "[1]/2.ppm"];
    let catalog = scanned(text, "list.txt", &images, ScanOptions::default()).unwrap();
    assert_eq!(images_of(&catalog), ["[1]/1.ppm=owl", "[1]/2.ppm=wren"]);
    let error = scanned(text, "list.json", &images, ScanOptions::default()).unwrap_err();
    assert!(error.to_string().contains("list.json: this JSON cannot be read"), "{error}");
}

#[test]
fn images_that_all_show_several_things_are_no_data_for_this() {
    let text = r#"{
        "images": [{"id": 1, "file_name": "1.ppm"}, {"id": 2, "file_name": "2.ppm"}],
        "categories": [{"id": 0, "name": "car"}, {"id": 1, "name": "bus"}],
        "annotations": [
            {"image_id": 1, "category_id": 0}, {"image_id": 1, "category_id": 1},
            {"image_id": 2, "category_id": 1}
        ]
    }"#;
    let error = scanned(text, "a.json", &["1.ppm", "2.ppm"], ScanOptions::default()).unwrap_err();
    let error = error.to_string();
    assert!(error.contains("1 of 2 images are listed with several labels"), "{error}");
    assert!(error.contains("1.ppm is listed as car and bus"), "{error}");
    // Nor are they for one class of which all do.
    let text =
        r#"{"owl": ["1.ppm", "2.ppm", "3.ppm"], "wren": ["4.ppm", "5.ppm"], "nest": ["3.ppm"]}"#;
    let images = ["1.ppm", "2.ppm", "3.ppm", "4.ppm", "5.ppm"];
    let error = scanned(text, "a.json", &images, ScanOptions::default()).unwrap_err().to_string();
    assert!(error.contains("of these classes every image is listed with others, too;"), "{error}");
    assert!(error.ends_with("\n  nest"), "{error}");
}

#[test]
fn images_that_have_moved_are_found_by_the_folders_that_are_left() {
    let options = ScanOptions::default;
    let images = ["owl/1.ppm", "owl/2.ppm", "wren/1.ppm"];
    for start in ["C:\\Users\\me\\birds\\", "/home/me/birds/", "birds/", "../data/birds/"] {
        let path = |rest: &str| format!("{start}{rest}").replace('\\', "\\\\");
        let text = format!(
            r#"{{"{}": "a", "{}": "a", "{}": "b"}}"#,
            path("owl/1.ppm"),
            path("owl/2.ppm"),
            path("wren/1.ppm")
        );
        let catalog = scanned(&text, "list.json", &images, options()).unwrap();
        assert_eq!(images_of(&catalog), ["owl/1.ppm=a", "owl/2.ppm=a", "wren/1.ppm=b"], "{start}");
    }
    // Images of another split, and of one of several folders, are other ones.
    for text in
        [r#"{"test/owl/1.ppm": "a", "test/owl/2.ppm": "b"}"#, r#"{"x/1.ppm": "a", "y/1.ppm": "b"}"#]
    {
        let error = scanned(text, "list.json", &images, options()).unwrap_err().to_string();
        assert!(error.contains("files that are not in"), "{error}");
    }
}

#[test]
fn names_of_classes_may_be_json() {
    let folder = tempfile::tempdir().unwrap();
    let file: PathBuf = folder.path().join("names.json");
    let numbers = [1, 2].into_iter().collect();
    for text in [
        r#"["background", "owl", "wren"]"#,
        r#"["owl", "wren"]"#,
        r#"{"1": "owl", "2": "wren"}"#,
        r#"{"owl": 1, "wren": 2, "finch": 3}"#,
    ] {
        std::fs::write(&file, text).unwrap();
        let names = names::read(&file, &numbers).unwrap();
        assert_eq!((names[&1].as_str(), names[&2].as_str()), ("owl", "wren"), "{text}");
    }
    std::fs::write(&file, r#"{"1": "owl"}"#).unwrap();
    let error = names::read(&file, &numbers).unwrap_err().to_string();
    assert!(error.contains("has no name for these classes"), "{error}");
}

#[test]
fn lists_of_each_split_lie_beside_its_images() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let coco = |numbers: &[u32]| {
        let images: Vec<String> =
            numbers.iter().map(|n| format!(r#"{{"id": {n}, "file_name": "{n}.ppm"}}"#)).collect();
        let annotations: Vec<String> = numbers
            .iter()
            .map(|n| format!(r#"{{"image_id": {n}, "category_id": {}}}"#, n % 2))
            .collect();
        format!(
            r#"{{"images": [{}], "annotations": [{}], "categories": [{{"id": 0, "name": "owl"}}, {{"id": 1, "name": "wren"}}]}}"#,
            images.join(","),
            annotations.join(",")
        )
    };
    // The same names in both, of different images.
    for (split, numbers) in [("train", &[1, 2, 3, 4][..]), ("valid", &[1, 2])] {
        std::fs::create_dir(root.join(split)).unwrap();
        std::fs::write(root.join(split).join("_annotations.coco.json"), coco(numbers)).unwrap();
        for number in numbers {
            let pixel =
                [b"P6 1 1 255 ".as_slice(), &split.as_bytes()[..2], &[*number as u8]].concat();
            std::fs::write(root.join(split).join(format!("{number}.ppm")), pixel).unwrap();
        }
    }
    let options = ScanOptions { cache: None, ..ScanOptions::default() };
    let read = |source: &Path, options: &ScanOptions| {
        scan(source, options, Job::new(&Control::new(), &Silent))
    };
    let error = read(root, &options).unwrap_err();
    let crate::Error::Data(DataError::NoClassFolders { lists, in_names: None, .. }) = &error else {
        panic!("{error}")
    };
    let [set] = &lists[..] else { panic!("{lists:?}") };
    assert!(error.to_string().contains(
        "Does `train/_annotations.coco.json` say which image is of which class? Then give that file instead of the folder, and `valid/_annotations.coco.json` by --also"
    ), "{error}");
    let catalog = read(&set[0], &ScanOptions { lists: set[1..].to_vec(), ..options }).unwrap();
    assert_eq!(catalog.classes, ["owl", "wren"]);
    assert_eq!(catalog.counts(Some(Split::Train)), [2, 2]);
    assert_eq!(catalog.counts(Some(Split::Validation)), [1, 1]);
}

#[test]
fn damage_anywhere_never_panics_and_gives_tables_of_bounded_size() {
    const PARTS: [&str; 10] = ["{", "}", "[", "]", ",", ":", "\"", "1", "null", "\"a\""];
    let good = [
        r#"{"images": [{"id": 1, "file_name": "1.jpg"}], "categories": [{"id": 5, "name": "owl"}], "annotations": [{"image_id": 1, "category_id": 5}]}"#,
        r#"{"train": [["owl/1.jpg", 0, "owl"]], "val": [{"a": {"b": 1}}]}"#,
        "{\"file\": \"1.jpg\", \"label\": [3]}\n{\"file\": \"2.jpg\", \"label\": 4}\n",
        r#"{"owl": ["1.jpg", "2.jpg"], "wren": {"a": "3.jpg"}}"#,
    ];
    for text in good {
        for place in 0..text.len() {
            let (before, after) = text.split_at(place);
            let parts = PARTS.iter().map(|part| format!("{before}{part}{after}"));
            for damaged in parts.chain([before.to_string(), format!("{before}{}", &after[1..])]) {
                if let Ok(table) = json::table(&damaged, 200) {
                    assert!(table.len() < 400, "{damaged}: {table}");
                }
            }
        }
    }
}
