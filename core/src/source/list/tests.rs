//! Lists as people have them: every layout beside the classes, splits and groups that it means.

use std::path::{Path, PathBuf};

use super::super::{Catalog, ListFormat, Location, ScanOptions, Separator, Split, scan};
use super::preview_list;
use crate::error::{DataError, Error};
use crate::job::{Control, Job, Silent};

/// A folder with image files, each a pixel of its own.
struct Images(tempfile::TempDir);

impl Images {
    fn new(names: &[&str]) -> Self {
        let images = Self(tempfile::tempdir().unwrap());
        for (i, name) in names.iter().enumerate() {
            let path = images.0.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, [b"P6 1 1 255 ".as_slice(), &[i as u8, 7, 9]].concat()).unwrap();
        }
        images
    }

    fn list(&self, text: impl AsRef<[u8]>) -> PathBuf {
        let list = self.0.path().join("list.csv");
        std::fs::write(&list, text).unwrap();
        list
    }

    fn scan(&self, text: impl AsRef<[u8]>, format: ListFormat) -> Result<Catalog, Error> {
        let options = ScanOptions { list: format, ..ScanOptions::default() };
        scan(&self.list(text), &options, Job::new(&Control::new(), &Silent))
    }

    /// `path=class` of every sample in the order of their paths, with ` split` and ` group` where
    /// it has them.
    fn read(&self, text: impl AsRef<[u8]>) -> Vec<String> {
        samples(&self.scan(text, ListFormat::default()).unwrap())
    }
}

fn samples(catalog: &Catalog) -> Vec<String> {
    let mut all: Vec<String> = catalog
        .samples
        .iter()
        .map(|sample| {
            let Location::File(path) = &sample.location else { panic!("a list names files") };
            let path = path.to_string_lossy().replace('\\', "/");
            let split = sample.split.map_or_else(String::new, |split| format!(" {split}"));
            let group = sample.group.as_ref().map_or_else(String::new, |group| format!(" {group}"));
            format!("{path}={}{split}{group}", catalog.classes[sample.class])
        })
        .collect();
    all.sort();
    all
}

#[test]
fn every_separator_is_told_by_itself() {
    let images = Images::new(&["a 1.ppm", "b.ppm"]);
    let expected = ["a 1.ppm=cat train", "b.ppm=big dog validation"];
    for separator in [",", ";", "\t", "|"] {
        for header in ["Path,Label,Split\r\n", "Datei,Art,Split\r\n", ""] {
            let rows = "\"a 1.ppm\",cat,train\r\nb.ppm,\"big dog\",val\r\n";
            let text = format!("{header}{rows}").replace(',', separator);
            assert_eq!(images.read(&text), expected, "{text:?}");
        }
    }
    // As spreadsheets save it: a mark of the byte order before it, or 16 bits a letter.
    let text = "path;label;split\r\na 1.ppm;cat;train\r\nb.ppm;big dog;valid\r\n";
    assert_eq!(images.read(format!("\u{feff}{text}")), expected);
    let wide: Vec<u8> =
        std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    assert_eq!(images.read(&wide), expected);
    // Columns of blanks: wide ones keep single blanks.
    assert_eq!(
        images.read(
            "path      label     split\na 1.ppm   cat       train\nb.ppm     big dog   val\n"
        ),
        expected
    );
    let narrow = ["a 1.ppm=cat", "b.ppm=dog"];
    assert_eq!(images.read("path label\n\"a 1.ppm\" cat\nb.ppm dog\n"), narrow);
    assert_eq!(images.read("a 1.ppm cat\nb.ppm dog\n"), narrow);
    assert_eq!(images.read("'a 1.ppm', 'cat'\n'b.ppm', 'dog'\n"), narrow);
}

#[test]
fn ids_without_an_ending_are_found_as_images_of_any_kind() {
    let images = Images::new(&["images/7.ppm", "images/8.PPM", "images/8.txt", "more/x.y.ppm"]);
    let text = "image_id,label\n7,cat\n8,dog\nx.y,cat\n";
    assert_eq!(images.read(text), ["images/7.ppm=cat", "images/8.PPM=dog", "more/x.y.ppm=cat"]);
    // The folder is named and the ending is not, or the other way round, or by Windows.
    let text = "image_id,label\nimages/7,cat\n8.ppm,dog\nmore\\x.y,cat\n";
    assert_eq!(images.read(text), ["images/7.ppm=cat", "images/8.PPM=dog", "more/x.y.ppm=cat"]);
}

#[test]
fn a_name_that_could_be_several_files_is_none() {
    let images = Images::new(&["a/1.ppm", "b/1.ppm", "b/2.ppm", "3.ppm", "4.ppm"]);
    let catalog = images
        .scan("file,label\n1.ppm,x\n2.ppm,x\n3.ppm,y\n4.ppm,y\n", ListFormat::default())
        .unwrap();
    assert_eq!(samples(&catalog), ["3.ppm=y", "4.ppm=y", "b/2.ppm=x"]);
    assert_eq!(catalog.problems.len(), 1);
    assert!(catalog.problems[0].path.ends_with("1.ppm"));
    let reason = &catalog.problems[0].reason;
    assert_eq!(reason, "is in the list and could be a/1.ppm or b/1.ppm");
    // In one folder the photo is meant, not the camera's raw file.
    let images = Images::new(&["a/1.ppm", "a/1.nef", "a/2.ppm"]);
    assert_eq!(images.read("id,label\n1,x\n2,y\n"), ["a/1.ppm=x", "a/2.ppm=y"]);
}

#[test]
fn columns_of_zeros_and_ones_are_classes() {
    let images = Images::new(&["1.ppm", "2.ppm", "3.ppm"]);
    let text = "id,age,melanoma,nevus,other\n1,50,1.0,0.0,0\n2,41,0.0,1.0,0\n3,33,0,1,0\n";
    assert_eq!(images.read(text), ["1.ppm=melanoma", "2.ppm=nevus", "3.ppm=nevus"]);
    let named = ListFormat { label: Some("melanoma,nevus".into()), ..ListFormat::default() };
    let error =
        images.scan("id,melanoma,nevus\n1,1,1\n2,0,0\n3,x,0\n", named).unwrap_err().to_string();
    for part in [
        "line 2: it has several labels: melanoma, nevus",
        "line 3: none of the classes",
        "line 4: `x` in `melanoma`",
    ] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn the_class_folder_is_the_label_where_nothing_else_is() {
    let images =
        Images::new(&["data/train/a cat/1.ppm", "data/test/dog/2.ppm", "data/train/dog/3.ppm"]);
    let expected = [
        "data/test/dog/2.ppm=dog test",
        "data/train/a cat/1.ppm=a cat train",
        "data/train/dog/3.ppm=dog train",
    ];
    let paths = "data/train/a cat/1.ppm\ndata/test/dog/2.ppm\ndata/train/dog/3.ppm\n";
    assert_eq!(images.read(paths), expected);
    assert_eq!(images.read(format!("path\n{paths}")), expected);
    assert_eq!(images.read(paths.replace('/', "\\")), expected);
    // A column of splits has the last word.
    let text = "path,split\ndata/train/a cat/1.ppm,dev\ndata/test/dog/2.ppm,train\ndata/train/dog/3.ppm,train\n";
    assert_eq!(
        images.read(text),
        [
            "data/test/dog/2.ppm=dog train",
            "data/train/a cat/1.ppm=a cat validation",
            "data/train/dog/3.ppm=dog train"
        ]
    );
}

#[test]
fn numbers_are_ordered_and_named_as_numbers() {
    let images = Images::new(&["1.ppm", "2.ppm", "3.ppm"]);
    let text = "1.ppm 10\n2.ppm 9\n3.ppm 10\n";
    assert_eq!(images.scan(text, ListFormat::default()).unwrap().classes, ["9", "10"]);
    let names = images.0.path().join("names.txt");
    let format = ListFormat { class_names: Some(names.clone()), ..ListFormat::default() };
    for (lines, expected) in [
        ((0..12).map(|i| format!("bird {i}\n")).collect::<String>(), ["bird 9", "bird 10"]),
        ((1..11).map(|i| format!("bird {i}\n")).collect(), ["bird 9", "bird 10"]),
        ("10: an owl\n9: a wren\n".to_string(), ["a wren", "an owl"]),
        ("10,an owl\n9,a wren\n".to_string(), ["a wren", "an owl"]),
    ] {
        std::fs::write(&names, &lines).unwrap();
        assert_eq!(images.scan(text, format.clone()).unwrap().classes, expected, "{lines}");
    }
    std::fs::write(&names, "a\nb\n").unwrap();
    let error = images.scan(text, format.clone()).unwrap_err().to_string();
    assert!(
        error.contains("names.txt has no name for these classes") && error.contains("10"),
        "{error}"
    );
    assert!(
        images
            .scan("1.ppm x\n2.ppm y\n3.ppm x\n", format)
            .unwrap_err()
            .to_string()
            .contains("names already")
    );
    // A number and its name side by side.
    assert_eq!(
        images.read("1.ppm,0,owl\n2.ppm,1,wren\n3.ppm,0,owl\n"),
        ["1.ppm=owl", "2.ppm=wren", "3.ppm=owl"]
    );
}

#[test]
fn numbers_with_leading_zeros_are_names() {
    let images = Images::new(&["1.ppm", "2.ppm", "3.ppm"]);
    let text = "1.ppm,007\n2.ppm,7\n3.ppm,012\n";
    assert_eq!(images.read(text), ["1.ppm=007", "2.ppm=7", "3.ppm=012"]);
}

#[test]
fn of_biological_ranks_the_species_is_the_label() {
    let images = Images::new(&["1.ppm", "2.ppm", "3.ppm"]);
    let ranks = "file_name,kingdom,class,order,family,species\n1.ppm,A,Mammalia,C,F,lynx\n2.ppm,A,Mammalia,C,M,otter\n3.ppm,A,Aves,P,T,wren\n";
    assert_eq!(images.read(ranks), ["1.ppm=lynx", "2.ppm=otter", "3.ppm=wren"]);
    // Alone it is what is asked for.
    let class = "file_name,class,order\n1.ppm,lynx,1\n2.ppm,otter,2\n3.ppm,wren,3\n";
    assert_eq!(images.read(class), ["1.ppm=lynx", "2.ppm=otter", "3.ppm=wren"]);
}

#[test]
fn groups_are_kept_with_the_samples() {
    let images = Images::new(&["1.ppm", "2.ppm", "3.ppm"]);
    let text = "track_id,file,species\nt1,1.ppm,owl\nt1,2.ppm,owl\n,3.ppm,wren\n";
    assert_eq!(images.read(text), ["1.ppm=owl t1", "2.ppm=owl t1", "3.ppm=wren"]);
    let none = ListFormat { group: Some("none".into()), ..ListFormat::default() };
    assert_eq!(
        samples(&images.scan(text, none).unwrap()),
        ["1.ppm=owl", "2.ppm=owl", "3.ppm=wren"]
    );
    let other = "where,file,species\nhill,1.ppm,owl\nhill,2.ppm,owl\nlake,3.ppm,wren\n";
    let named = ListFormat { group: Some("1".into()), ..ListFormat::default() };
    assert_eq!(
        samples(&images.scan(other, named).unwrap()),
        ["1.ppm=owl hill", "2.ppm=owl hill", "3.ppm=wren lake"]
    );
}

#[test]
fn columns_are_known_in_other_languages_and_by_what_comes_again_and_again() {
    let images = Images::new(&["1.jpg", "2.jpg", "3.jpg", "4.jpg"]);
    let labels = |header: &str, rows: [&str; 4]| {
        let text = format!("{header}\n{}\n", rows.join("\n"));
        images.scan(text, ListFormat::default()).map(|catalog| samples(&catalog))
    };
    let owls = ["1.jpg=owl", "2.jpg=wren", "3.jpg=owl", "4.jpg=wren"];
    for (header, rows) in [
        (
            "Datei;Kamera;Tierart",
            ["1.jpg;K1;owl", "2.jpg;K1;wren", "3.jpg;K2;owl", "4.jpg;K2;wren"],
        ),
        ("Fichier,Site,Espèce", ["1.jpg,a,owl", "2.jpg,a,wren", "3.jpg,b,owl", "4.jpg,b,wren"]),
        (
            "nombre_archivo,zona,Categoría",
            ["1.jpg,a,owl", "2.jpg,a,wren", "3.jpg,b,owl", "4.jpg,b,wren"],
        ),
        // The only words that come again; dates, measures and numbers of their own do not.
        (
            "foo;wann;kg;vogel",
            [
                "1.jpg;2024-05-01;1.5;owl",
                "2.jpg;2024-05-01;1.5;wren",
                "3.jpg;2024-05-02;2.5;owl",
                "4.jpg;2024-05-02;2.5;wren",
            ],
        ),
        // A number that stands for the name.
        (
            "foo;lfd;nr;vogel",
            ["1.jpg;11;1;owl", "2.jpg;12;2;wren", "3.jpg;13;1;owl", "4.jpg;14;2;wren"],
        ),
        // Of several the one that is called so.
        (
            "foo;ort;bird species",
            ["1.jpg;hill;owl", "2.jpg;lake;wren", "3.jpg;lake;owl", "4.jpg;hill;wren"],
        ),
    ] {
        assert_eq!(labels(header, rows).unwrap(), owls, "{header}");
    }
    // Where both could be meant, neither is.
    let either = ["1.jpg;hill;owl", "2.jpg;lake;wren", "3.jpg;lake;owl", "4.jpg;hill;wren"];
    let error = labels("foo;ort;vogel", either).unwrap_err().to_string();
    assert!(error.contains("which column holds the labels"), "{error}");
}

#[test]
fn lines_without_a_label_are_left_out_unless_they_are_half_of_all() {
    let images = Images::new(&["1.ppm", "2.ppm", "3.ppm", "4.ppm"]);
    let text = "file,species\n1.ppm,owl\n2.ppm,NA\n3.ppm,wren\n4.ppm,owl\n";
    let catalog = images.scan(text, ListFormat::default()).unwrap();
    assert_eq!(samples(&catalog), ["1.ppm=owl", "3.ppm=wren", "4.ppm=owl"]);
    let [problem] = &catalog.problems[..] else { panic!("{:?}", catalog.problems) };
    assert!(problem.path.ends_with("2.ppm") && problem.reason.contains("without a label"));
    let empty = "file,species\n1.ppm,owl\n2.ppm,\n3.ppm,\n4.ppm,wren\n";
    let error = images.scan(empty, ListFormat::default()).unwrap_err().to_string();
    assert!(error.contains("has no label in 2 of 4 lines"), "{error}");
}

#[test]
fn several_labels_in_one_field_are_several() {
    let images = Images::new(&["1.ppm", "2.ppm", "3.ppm", "4.ppm", "5.ppm"]);
    let text =
        "file;species\n1.ppm;owl\n2.ppm;wren\n3.ppm;\"owl, wren\"\n4.ppm;jay, blue\n5.ppm;wren\n";
    let catalog = images.scan(text, ListFormat::default()).unwrap();
    // What is not made of other labels is a name.
    let found = ["1.ppm=owl", "2.ppm=wren", "4.ppm=jay, blue", "5.ppm=wren"];
    assert_eq!(samples(&catalog), found);
    assert_eq!(catalog.problems[0].reason, "is listed as owl and wren");
}

#[test]
fn text_as_windows_saves_it_is_read() {
    let images = Images::new(&["1.ppm", "2.ppm"]);
    let text = b"Datei;Tierart\r\n1.ppm;D\xf6bel\r\n2.ppm;\x84Barsch\x93\r\n";
    assert_eq!(images.read(text), ["1.ppm=D\u{f6}bel", "2.ppm=\u{201e}Barsch\u{201c}"]);
    // What is no text stays none.
    for bytes in [&b"1.ppm;\x81\n2.ppm;b\n"[..], b"1.ppm;\xf6\x01\n", &[0xe9; 64]] {
        let error = images.scan(bytes, ListFormat::default()).unwrap_err().to_string();
        assert!(error.contains("UTF-8"), "{error}");
    }
}

#[test]
fn columns_are_taken_as_a_person_names_them() {
    let images = Images::new(&["1.ppm", "2.ppm"]);
    let text = "a;b;c;d\n1.ppm;x;owl;train\n2.ppm;x;wren;test\n";
    let format = ListFormat {
        separator: Some(Separator::Semicolon),
        path: Some("A".into()),
        label: Some("3".into()),
        split: Some("d".into()),
        ..ListFormat::default()
    };
    let catalog = images.scan(text, format.clone()).unwrap();
    assert_eq!(samples(&catalog), ["1.ppm=owl train", "2.ppm=wren test"]);
    // What was found out is kept in full, and reads the list alike.
    let kept = catalog.reading.format.clone();
    assert_eq!(
        (kept.path.as_deref(), kept.label.as_deref(), kept.header),
        (Some("a"), Some("c"), Some(true))
    );
    assert_eq!((kept.split.as_deref(), kept.group.as_deref()), (Some("d"), Some("none")));
    assert_eq!(catalog.reading.lists, ["list.csv"]);
    assert_eq!(samples(&images.scan(text, kept).unwrap()), samples(&catalog));
    let wrong = ListFormat { label: Some("e".into()), ..format };
    let error = images.scan(text, wrong).unwrap_err().to_string();
    assert!(error.contains("there is no column `e`"), "{error}");
}

#[test]
fn a_list_that_does_not_explain_itself_shows_what_it_holds() {
    let images = Images::new(&["1.ppm", "2.ppm"]);
    let text = "file;width;height;weather\n1.ppm;3;4;rain\n2.ppm;5;6;sun\u{1b}[31m\n";
    let error = images.scan(text, ListFormat::default()).unwrap_err();
    assert!(
        matches!(&error, Error::Data(DataError::UnknownList { columns, rows, .. }) if columns.len() == 4 && rows.len() == 2)
    );
    let error = error.to_string();
    for part in [
        "list.csv",
        "which column holds the labels",
        "separated by semicolon: 1 file | 2 width | 3 height | 4 weather",
        "  1.ppm | 3 | 4 | rain",
        "sun\u{fffd}[31m",
        "--label-column",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    // Nothing hostile runs away with memory or time.
    for text in [
        "\"",
        "\"\n\n\"\"",
        ",,,,\n,,,,",
        "\u{feff}",
        "a\0b",
        &"x,".repeat(100_000),
        &"\"a\n".repeat(50_000),
    ] {
        assert!(images.scan(text, ListFormat::default()).is_err());
    }
}

#[test]
fn files_that_are_not_there_are_problems_while_most_are() {
    let images = Images::new(&["1.ppm", "2.ppm", "3.ppm"]);
    let catalog =
        images.scan("1.ppm a\n2.ppm b\n3.ppm b\n4.ppm b\n", ListFormat::default()).unwrap();
    assert_eq!((catalog.samples.len(), catalog.problems.len()), (3, 1));
    let error =
        images.scan("1.ppm a\n5.ppm b\n6.ppm b\n", ListFormat::default()).unwrap_err().to_string();
    assert!(error.contains("names 2 files that are not in") && error.contains("5.ppm"), "{error}");
}

#[test]
fn files_are_left_out_of_lists_and_folders() {
    let images = Images::new(&[
        "a/1.ppm",
        "a/1_mask.ppm",
        "b/2.ppm",
        "b/2_mask.ppm",
        "b/3.ppm",
        "b/3_mask.ppm",
    ]);
    let scan = |source: &Path, skip: &[&str], only: &[&str]| {
        let owned = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
        let options =
            ScanOptions { skip: owned(skip), only: owned(only), ..ScanOptions::default() };
        scan(source, &options, Job::new(&Control::new(), &Silent))
    };
    let all = scan(images.0.path(), &[], &[]).unwrap();
    assert_eq!((all.samples.len(), all.twins.len()), (6, 1));
    let words = all.twins[0].to_string();
    assert!(
        words.contains("all of the 3 files *_mask.*")
            && words.contains("a/1_mask.ppm beside a/1.ppm"),
        "{words}"
    );
    let some = scan(images.0.path(), &["*_mask.*"], &["ppm"]).unwrap();
    assert_eq!((some.samples.len(), some.skipped.left_out, some.twins.len()), (3, 3, 0));
    assert_eq!(
        (some.reading.skip.as_slice(), some.reading.only.as_slice()),
        (["*_mask.*".to_string()].as_slice(), ["ppm".to_string()].as_slice())
    );
    assert!(scan(images.0.path(), &["*"], &[]).unwrap_err().to_string().contains("are left out"));
    // Of a list that names no endings, too.
    let list = images.list("id,label\n1,a\n2,b\n3,b\n1_mask,a\n");
    let listed = scan(&list, &["*_mask.*"], &["ppm"]).unwrap();
    assert_eq!((listed.samples.len(), listed.skipped.left_out), (3, 0));
    assert_eq!(listed.problems.len(), 1, "a mask is not looked at");
    let list = images.list("a/1.ppm\na/1_mask.ppm\nb/2.ppm\nb/2_mask.ppm\n");
    let listed = scan(&list, &["*_mask.*"], &[]).unwrap();
    assert_eq!((listed.samples.len(), listed.skipped.left_out), (2, 2));
}

#[test]
fn a_preview_counts_before_anything_is_opened() {
    let images = Images::new(&["1.ppm", "2.ppm", "3.ppm"]);
    let preview = |text: &str, list: ListFormat| {
        let options = ScanOptions { list, ..ScanOptions::default() };
        preview_list(&images.list(text), &options, Job::new(&Control::new(), &Silent)).unwrap()
    };
    let text = "nr;w;h;kind\n1;7;9;owl\n2;7;9;wren\n3;8;8;owl\n4;8;8;owl\n";
    let unknown = preview(text, ListFormat::default());
    assert_eq!(unknown.columns, ["nr", "w", "h", "kind"]);
    assert_eq!(unknown.rows[1], ["2", "7", "9", "wren"]);
    assert_eq!(
        (unknown.separator, unknown.header, unknown.format.is_some()),
        (Some(Separator::Semicolon), true, false)
    );
    assert!(unknown.problem.unwrap().contains("paths of images"));
    let format =
        ListFormat { path: Some("nr".into()), label: Some("kind".into()), ..ListFormat::default() };
    let known = preview(text, format.clone());
    assert_eq!(
        (known.listed, known.found, known.classes, known.problem.as_deref()),
        (4, 3, 2, None)
    );
    let one = preview(text, ListFormat { label: Some("1".into()), ..format.clone() });
    assert_eq!(one.classes, 3);
    let wrong = preview(&text.replace(['1', '2', '3'], "9"), format);
    assert_eq!(wrong.problem.as_deref(), Some("None of the images are in this folder"));
}

#[test]
fn splits_go_by_all_their_names() {
    let images = Images::new(&["1.ppm", "2.ppm", "3.ppm", "4.ppm", "5.ppm", "6.ppm"]);
    let text = "1.ppm,a,Train\n2.ppm,b,val\n3.ppm,a,VALID\n4.ppm,b,validation\n5.ppm,a,test\n6.ppm,b,dev\n";
    let catalog = images.scan(text, ListFormat::default()).unwrap();
    assert_eq!(
        Split::ALL.map(|split| catalog.counts(Some(split)).iter().sum::<usize>()),
        [1, 4, 1]
    );
}

/// macOS's file manager takes letters apart in the names of files, and lists come from keyboards.
#[test]
fn names_are_the_same_however_their_letters_are_written() {
    let images = Images::new(&["Ka\u{308}fer/gro\u{308}\u{df}e.ppm", "b.ppm", "c.ppm"]);
    let text =
        "file,label\nK\u{e4}fer/gr\u{f6}\u{df}e.ppm,Ka\u{308}fer\nb.ppm,K\u{e4}fer\nc.ppm,Reh\n";
    let found = "Ka\u{308}fer/gro\u{308}\u{df}e.ppm=K\u{e4}fer";
    assert_eq!(images.read(text), [found, "b.ppm=K\u{e4}fer", "c.ppm=Reh"]);
}
