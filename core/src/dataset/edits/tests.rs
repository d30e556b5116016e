use std::path::{Path, PathBuf};

use super::*;
use crate::dataset::{BuildOptions, Dataset, ImageFiles, build, write_images_as};
use crate::job::{Control, Job, Silent};
use crate::source::{ScanOptions, Split, scan, unpack_sample};

fn with_job<T>(work: impl FnOnce(Job<'_>) -> T) -> T {
    let control = Control::new();
    work(Job::new(&control, &Silent))
}

fn image(path: &str) -> EditedImage {
    EditedImage { path: path.into(), hash: None, stays: false }
}

fn to(class: &str) -> EditAction {
    EditAction::Move { to: class.into() }
}

/// A folder of two classes with pictures no two of which are alike.
fn photos(folder: &Path, each: u8) -> PathBuf {
    let root = folder.join("photos");
    for (class, name) in ["frog", "newt"].into_iter().enumerate() {
        std::fs::create_dir_all(root.join(name)).unwrap();
        for number in 0..each {
            let bytes = [b"P6 1 1 255 ".as_slice(), &[class as u8, number, 7]].concat();
            std::fs::write(root.join(name).join(format!("{number:02}.ppm")), bytes).unwrap();
        }
    }
    root
}

fn open(source: &Path) -> Dataset {
    with_job(|job| Dataset::open(source, job)).unwrap()
}

fn session(source: &Path) -> EditSession {
    with_job(|job| EditSession::open(source, job)).unwrap()
}

fn edit(source: &Path, action: EditAction, images: &[&str]) {
    let mut session = session(source);
    let names: Vec<String> = images.iter().map(|name| name.to_string()).collect();
    let samples = session.find(&names).unwrap();
    with_job(|job| session.add(action, &samples, job)).unwrap();
}

fn split_of(dataset: &Dataset, path: &str) -> Option<(String, Split)> {
    let sample = dataset.samples.iter().find(|sample| sample.location.to_text() == path)?;
    Some((dataset.classes[sample.class].clone(), sample.split))
}

#[test]
fn what_was_done_is_undone_and_done_again_across_openings() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("set.toml");
    let mut edits = Edits::open(&source).unwrap();
    assert!(edits.is_empty() && !edits.path().exists() && edits.digest().is_empty());
    edits.add(to("newt"), vec![image("a"), image("b")]).unwrap();
    edits.add(EditAction::Exclude, vec![image("b"), image("c")]).unwrap();
    let both = edits.digest();
    edits.add(EditAction::Check, vec![image("a")]).unwrap();
    assert_eq!(edits.path(), folder.path().join("set.toml.edits.jsonl"));
    let marks = edits.marks();
    assert_eq!(
        (marks["a"].to.as_deref(), marks["a"].excluded, marks["a"].checked),
        (Some("newt"), false, true)
    );
    assert_eq!((marks["b"].to.as_deref(), marks["b"].excluded), (Some("newt"), true));
    // Looking at images changes no dataset.
    assert_eq!(edits.digest(), both);

    let mut again = Edits::open(&source).unwrap();
    assert_eq!(again, edits);
    let undone: Vec<String> = again.undo(2).unwrap().iter().map(EditEntry::words).collect();
    assert_eq!(undone, ["marked 1 image as checked", "excluded 2 images"]);
    assert_eq!(again.marks().len(), 2);
    let refused = again.undo(2).unwrap_err().to_string();
    assert!(refused.contains("there is 1 that can be"), "{refused}");
    assert!(again.undo(0).is_err() && again.redo(3).is_err());

    // An undo is an entry, too: another program sees it, and goes on from there.
    let mut other = Edits::open(&source).unwrap();
    assert_eq!((other.done().len(), other.undone().len()), (1, 2));
    assert_eq!(other.redo(1).unwrap()[0].words(), "excluded 2 images");
    assert_eq!(other.digest(), both);
    other.add(EditAction::Restore, vec![image("b")]).unwrap();
    assert!(other.undone().is_empty() && !other.marks().contains_key("b"));
    assert!(other.redo(1).unwrap_err().to_string().contains("no edit that can be done again"));
    // The first one has not seen that: it reads before it writes.
    again.add(EditAction::Exclude, vec![image("d")]).unwrap();
    assert_eq!(again.done().len(), 4);
    assert_eq!(Edits::open(&source).unwrap(), again);
}

#[test]
fn a_last_line_that_was_torn_is_left_out_and_mended() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("set.toml");
    let mut edits = Edits::open(&source).unwrap();
    edits.add(to("newt"), vec![image("собака/a")]).unwrap();
    edits.add(EditAction::Exclude, vec![image("b")]).unwrap();
    let whole = std::fs::read(edits.path()).unwrap();
    let first = Edits::open(&source).unwrap().done()[..1].to_vec();
    let lines: Vec<usize> = whole
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'\n')
        .map(|(at, _)| at + 1)
        .collect();
    for length in 0..whole.len() {
        std::fs::write(edits.path(), &whole[..length]).unwrap();
        let mut torn = Edits::open(&source).unwrap();
        // A line of which only the end is missing says all it has to.
        let expected = lines[1..].iter().filter(|end| length + 1 >= **end).count();
        assert_eq!(torn.done().len(), expected, "{length} bytes");
        torn.add(EditAction::Check, vec![image("c")]).unwrap();
        let mended = Edits::open(&source).unwrap();
        assert_eq!(mended, torn, "{length} bytes");
        assert_eq!(mended.done().len(), expected + 1, "{length} bytes");
        if expected > 0 {
            assert_eq!(mended.done()[..1], first);
        }
    }
}

#[test]
fn broken_files_are_refused_with_the_line_and_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("set.toml");
    let path = Edits::path_of(&source);
    let nothing = Edits::open(&source).unwrap();
    let head = "{\"counterweight_edits\":1}\n";
    let check = "{\"edit\":\"check\",\"images\":[{\"path\":\"a\"}]}\n";
    std::fs::write(&path, format!("{head}{check}\n{check}")).unwrap();
    assert_eq!(Edits::open(&source).unwrap().done().len(), 2);
    for (text, line, reason) in [
        ("{\"counterweight_edits\":2}\n".to_string(), 1, "version 2"),
        (format!("{check}{check}"), 1, "does not begin with its version"),
        ("no edits\n".to_string(), 1, "does not begin with its version"),
        (format!("{head}{check}{{\"edit\":\"burn\"}}\n"), 3, "burn"),
        (format!("{head}{{\"edit\":\"check\",\"images\":[]}}\n"), 2, "no image"),
        (format!("{head}{{\"edit\":\"check\",\"images\":[{{\"path\":\"\"}}]}}\n"), 2, "no path"),
        (format!("{head}{{\"edit\":\"move\",\"images\":[{{\"path\":\"a\"}}]}}\n"), 2, "to"),
        (
            format!("{head}{{\"edit\":\"move\",\"to\":\" \",\"images\":[{{\"path\":\"a\"}}]}}\n"),
            2,
            "no name",
        ),
        (format!("{head}{check}{{\"edit\":\"undo\",\"entries\":2}}\n"), 3, "there is 1"),
        (format!("{head}{{\"edit\":\"redo\",\"entries\":1}}\n"), 2, "no edit"),
        (format!("{head}{{\"edit\":\"undo\",\"entries\":-1}}\n"), 2, "-1"),
        (format!("{head}{check}nothing\n{check}"), 3, "expected"),
        (format!("{head}{}\n", "[".repeat(100_000)), 2, ""),
    ] {
        std::fs::write(&path, &text).unwrap();
        let error = Edits::open(&source).unwrap_err().to_string();
        let shown: String = text.chars().take(200).collect();
        assert!(
            error.contains("set.toml.edits.jsonl")
                && error.contains(&format!("line {line}: "))
                && error.contains(reason),
            "{error}\n{shown}"
        );
        // What cannot be read is not written to either.
        let kept = std::fs::read(&path).unwrap();
        let mut empty = nothing.clone();
        assert!(empty.add(EditAction::Check, vec![image("a")]).is_err(), "{shown}");
        assert_eq!(std::fs::read(&path).unwrap(), kept);
    }
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert!(Edits::open(&source).unwrap_err().to_string().contains("is a folder"));
}

#[cfg(unix)]
#[test]
fn edits_are_not_written_through_a_link() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("set.toml");
    let elsewhere = folder.path().join("elsewhere");
    std::fs::write(&elsewhere, "").unwrap();
    std::os::unix::fs::symlink(&elsewhere, Edits::path_of(&source)).unwrap();
    let mut edits = Edits::open(&source).unwrap();
    assert!(edits.add(EditAction::Check, vec![image("a")]).is_err());
    assert_eq!(std::fs::read(&elsewhere).unwrap(), b"");
}

#[test]
fn a_folder_and_its_dataset_file_have_edits_of_their_own() {
    let path = |source: &str| Edits::path_of(Path::new(source)).to_string_lossy().into_owned();
    assert_eq!(path("/a/photos"), "/a/photos.edits.jsonl");
    assert_eq!(path("/a/photos/"), "/a/photos.edits.jsonl");
    assert_eq!(path("/a/photos.toml"), "/a/photos.toml.edits.jsonl");
    assert_eq!(path("/a/cifar.tar.gz"), "/a/cifar.tar.gz.edits.jsonl");
    let folder = tempfile::tempdir().unwrap();
    let dotted = Edits::path_of(&folder.path().join("."));
    assert_eq!(dotted.file_name(), Edits::path_of(folder.path()).file_name());
}

#[test]
fn opening_applies_edits_and_every_other_image_keeps_its_split() {
    let folder = tempfile::tempdir().unwrap();
    let source = photos(folder.path(), 30);
    let before = open(&source);
    // An image of each split, of one class.
    let of = |split: Split| {
        let sample = before.samples.iter().find(|s| s.split == split && s.class == 0).unwrap();
        sample.location.to_text()
    };
    let (train, validation, test) = (of(Split::Train), of(Split::Validation), of(Split::Test));
    edit(&source, to("newt"), &[&train, &test]);
    edit(&source, EditAction::Exclude, &[&validation]);
    let newt = before.samples.iter().find(|s| s.split == Split::Train && s.class == 1).unwrap();
    let newt = newt.location.to_text();
    edit(&source, to("axolotl"), &[&newt]);
    let after = open(&source);
    assert_eq!(split_of(&after, &train), Some(("newt".into(), Split::Train)));
    assert_eq!(split_of(&after, &test), Some(("newt".into(), Split::Test)));
    assert_eq!(split_of(&after, &validation), None);
    assert_eq!(after.samples.len(), before.samples.len() - 1);
    for sample in &before.samples {
        let path = sample.location.to_text();
        if ![&train, &validation, &test, &newt].contains(&&path) {
            assert_eq!(split_of(&after, &path), split_of(&before, &path), "{path}");
        }
    }
    let mut sorted = after.samples.clone();
    sorted.sort_by_key(|sample| (sample.split, sample.class));
    assert_eq!(sorted, after.samples);
    assert_eq!(open(&source), after);
    // What follows from the images follows from the edits.
    let counts = |dataset: &Dataset, class: &str| {
        let class = dataset.classes.iter().position(|name| name == class).unwrap();
        dataset.counts(Split::Train)[class]
    };
    assert_eq!(after.classes, ["frog", "newt", "axolotl"]);
    assert_eq!(counts(&after, "frog"), counts(&before, "frog") - 1);
    assert_eq!(counts(&after, "newt"), counts(&before, "newt") + 1 - 1);
    assert_eq!(counts(&after, "axolotl"), 1);
    assert_ne!(after.provenance.source_hash, before.provenance.source_hash);
    assert!(after.provenance.notes.last().unwrap().contains("3 images moved"));

    // A dataset file built of the edited folder needs no edits, and can have its own.
    let file = folder.path().join("set.toml");
    after.save(&file).unwrap();
    assert!(open(&file).same_samples(&after));
    edit(&file, EditAction::Exclude, &[&train]);
    assert_eq!(split_of(&open(&file), &train), None);
    assert!(open(&source).same_samples(&after));

    // Taken back, the dataset is what it was.
    let mut session = session(&source);
    with_job(|job| session.undo(3, job)).unwrap();
    let back = open(&source);
    assert!(back.same_samples(&before));
    assert_eq!(back.provenance.source_hash, before.provenance.source_hash);
    assert_eq!(session.edits().digest(), "");
}

#[test]
fn edits_of_images_that_are_gone_are_kept_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let source = photos(folder.path(), 12);
    let file = folder.path().join("set.toml");
    open(&source).save(&file).unwrap();
    for source in [&source, &file] {
        edit(source, to("newt"), &["frog/01.ppm", "frog/02.ppm"]);
        edit(source, EditAction::Exclude, &["frog/03.ppm", "frog/04.ppm"]);
    }
    // One is gone, one has another name, one holds another picture.
    std::fs::remove_file(source.join("frog/01.ppm")).unwrap();
    std::fs::rename(source.join("frog/03.ppm"), source.join("frog/renamed.ppm")).unwrap();
    std::fs::write(source.join("frog/02.ppm"), b"P6 1 1 255 xyz").unwrap();
    let scanned = session(&source);
    assert_eq!(
        scanned.edited().counts,
        EditCounts { moved: 0, excluded: 2, checked: 0, vanished: 1, replaced: 1 }
    );
    assert_eq!(scanned.edited().vanished, ["frog/01.ppm"]);
    assert_eq!(scanned.edited().replaced, ["frog/02.ppm"]);
    assert_eq!(split_of(&open(&source), "frog/renamed.ppm"), None);
    assert_eq!(split_of(&open(&source), "frog/02.ppm").unwrap().0, "frog");

    // A dataset file names its images: what was excluded may be gone, what was moved may not.
    let named = session(&file);
    assert_eq!(
        named.edited().counts,
        EditCounts { moved: 1, excluded: 2, checked: 0, vanished: 0, replaced: 1 }
    );
    let error = with_job(|job| Dataset::open(&file, job)).unwrap_err().to_string();
    assert!(error.contains("1 of") && error.contains("01.ppm"), "{error}");
    // Nor may it be another image.
    let bytes = |number: u8| [b"P6 1 1 255 ".as_slice(), &[0, number, 7]].concat();
    std::fs::write(source.join("frog/01.ppm"), b"P6 1 1 255 abc").unwrap();
    let error = with_job(|job| Dataset::open(&file, job)).unwrap_err().to_string();
    assert!(error.contains("2 of") && error.contains("02.ppm"), "{error}");
    for number in [1, 2] {
        let path = source.join(format!("frog/{number:02}.ppm"));
        std::fs::write(path, bytes(number)).unwrap();
    }
    assert_eq!(split_of(&open(&file), "frog/03.ppm"), None);

    // Back where they were, they are edited again.
    std::fs::rename(source.join("frog/renamed.ppm"), source.join("frog/03.ppm")).unwrap();
    let back = session(&source);
    assert_eq!((back.edited().counts.moved, back.edited().counts.excluded), (2, 2));
}

#[test]
fn two_copies_are_not_taken_for_the_one_that_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let source = photos(folder.path(), 12);
    edit(&source, EditAction::Exclude, &["frog/03.ppm"]);
    for copy in ["frog/x.ppm", "newt/y.ppm"] {
        std::fs::copy(source.join("frog/03.ppm"), source.join(copy)).unwrap();
    }
    std::fs::remove_file(source.join("frog/03.ppm")).unwrap();
    let counts = session(&source).edited().counts;
    assert_eq!((counts.excluded, counts.vanished), (0, 1));
}

#[test]
fn classes_vanish_with_their_last_image_and_need_one_to_train_on() {
    let folder = tempfile::tempdir().unwrap();
    let root = photos(folder.path(), 6);
    std::fs::create_dir(root.join("toad")).unwrap();
    std::fs::write(root.join("toad/1.ppm"), b"P6 1 1 255 abc").unwrap();
    assert_eq!(open(&root).classes, ["frog", "newt", "toad"]);
    edit(&root, to("frog"), &["toad/1.ppm"]);
    let merged = open(&root);
    assert_eq!(merged.classes, ["frog", "newt"]);
    assert_eq!(split_of(&merged, "toad/1.ppm").unwrap().0, "frog");

    let training: Vec<String> = merged
        .samples
        .iter()
        .filter(|sample| sample.split == Split::Train && sample.class == 1)
        .map(|sample| sample.location.to_text())
        .collect();
    let training: Vec<&str> = training.iter().map(String::as_str).collect();
    edit(&root, EditAction::Exclude, &training);
    let error = with_job(|job| Dataset::open(&root, job)).unwrap_err().to_string();
    assert!(error.contains("newt: ") && error.contains("train on"), "{error}");
    let rest: Vec<String> = merged
        .samples
        .iter()
        .filter(|sample| sample.class == 1)
        .map(|sample| sample.location.to_text())
        .collect();
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    edit(&root, EditAction::Exclude, &rest);
    let error = with_job(|job| Dataset::open(&root, job)).unwrap_err().to_string();
    assert!(error.contains("fewer than two classes"), "{error}");
    // However broken it is, it can be mended.
    let mut session = session(&root);
    with_job(|job| session.undo(2, job)).unwrap();
    assert!(open(&root).same_samples(&merged));
}

#[test]
fn a_catalog_has_the_edits_of_its_source() {
    let folder = tempfile::tempdir().unwrap();
    let source = photos(folder.path(), 8);
    edit(&source, to("newt"), &["frog/01.ppm"]);
    edit(&source, EditAction::Exclude, &["frog/02.ppm", "newt/00.ppm"]);
    with_job(|job| {
        let plain = scan(&source, &ScanOptions::default(), job).unwrap();
        let edited = edited_catalog(plain.clone(), job).unwrap();
        assert_eq!((plain.counts(None), edited.counts(None)), (vec![8, 8], vec![6, 8]));
        assert_eq!(edited.facts.len(), edited.samples.len());
        for (sample, facts) in edited.samples.iter().zip(&edited.facts) {
            let at = plain.samples.iter().position(|s| s.location == sample.location).unwrap();
            assert_eq!(plain.facts[at], *facts);
        }
    });
}

#[test]
fn images_are_named_as_the_dataset_or_the_system_names_them() {
    let folder = tempfile::tempdir().unwrap();
    let source = photos(folder.path(), 4);
    let session = session(&source);
    let find = |name: &str| session.find(&[name.to_string()]);
    let place = find("frog/02.ppm").unwrap();
    assert_eq!(place.len(), 1);
    assert_eq!(find("./frog/02.ppm").unwrap(), place);
    assert_eq!(find(&source.join("frog/02.ppm").display().to_string()).unwrap(), place);
    assert_eq!(find(&source.join("newt/../frog/02.ppm").display().to_string()).unwrap(), place);
    let twice = ["frog/02.ppm".to_string(), "./frog/02.ppm".to_string()];
    assert_eq!(session.find(&twice).unwrap(), place);
    let error = find("frog/99.ppm").unwrap_err().to_string();
    assert!(error.contains("frog/99.ppm") && error.contains("no such images"), "{error}");
}

#[test]
fn the_edited_dataset_is_written_only_when_asked_and_nothing_of_the_source_changes() {
    let folder = tempfile::tempdir().unwrap();
    let source = photos(folder.path(), 8);
    let files = |root: &Path| -> Vec<(PathBuf, Vec<u8>)> {
        let entries = walkdir::WalkDir::new(root).sort_by_file_name().into_iter().flatten();
        let files = entries.filter(|entry| entry.file_type().is_file());
        files
            .map(|entry| (entry.path().to_path_buf(), std::fs::read(entry.path()).unwrap()))
            .collect()
    };
    let before = files(&source);
    edit(&source, to("newt"), &["frog/01.ppm"]);
    edit(&source, EditAction::Exclude, &["frog/02.ppm"]);
    assert_eq!(files(&source), before);
    let dataset = open(&source);
    for (by, name) in [(ImageFiles::Copy, "copied"), (ImageFiles::HardLink, "linked")] {
        let target = folder.path().join(name);
        let written = with_job(|job| write_images_as(&dataset, &target, by, job)).unwrap();
        assert_eq!(written, 15);
        let catalog = with_job(|job| scan(&target, &ScanOptions::default(), job)).unwrap();
        assert_eq!(catalog.counts(None), [6, 9]);
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            let links = std::fs::metadata(source.join("frog/00.ppm")).unwrap().nlink();
            assert_eq!(links, if by == ImageFiles::HardLink { 2 } else { 1 });
        }
    }
    assert_eq!(files(&source), before);
}

#[test]
fn the_seed_gives_the_same_splits_with_edits_and_without() {
    let folder = tempfile::tempdir().unwrap();
    let sample = unpack_sample(folder.path()).unwrap();
    edit(&sample, to("1_one"), &["0_zero/0003.png"]);
    with_job(|job| {
        let catalog = scan(&sample, &ScanOptions::default(), job).unwrap();
        for seed in [0, 7] {
            let options = BuildOptions { seed, ..BuildOptions::default() };
            let built = build(&catalog, &options).unwrap().dataset;
            let changed = edited(built.clone(), &sample, Some(&catalog), job).unwrap();
            assert_eq!(built.samples.len(), changed.samples.len());
            let moved = built
                .samples
                .iter()
                .filter(|s| {
                    let path = s.location.to_text();
                    split_of(&built, &path).unwrap() != split_of(&changed, &path).unwrap()
                })
                .count();
            assert_eq!(moved, 1);
        }
    });
}

#[test]
fn an_excluded_copy_that_is_deleted_does_not_take_the_other_one_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let source = photos(folder.path(), 4);
    std::fs::copy(source.join("frog/02.ppm"), source.join("newt/wrong.ppm")).unwrap();
    edit(&source, EditAction::Exclude, &["newt/wrong.ppm"]);
    std::fs::remove_file(source.join("newt/wrong.ppm")).unwrap();
    let session = session(&source);
    assert!(session.edited().samples.iter().all(|sample| !sample.excluded));
    // Under another name in its own folder it stays excluded.
    edit(&source, EditAction::Exclude, &["frog/03.ppm"]);
    std::fs::rename(source.join("frog/03.ppm"), source.join("frog/renamed.ppm")).unwrap();
    assert_eq!(split_of(&open(&source), "frog/renamed.ppm"), None);
}
