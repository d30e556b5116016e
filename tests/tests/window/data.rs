//! Opening images and building datasets of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use counterweight_app::gui::{Command, DataCommand, Origin, Page, StepStatus};
use counterweight_tests::fixtures::{broken_folder, patterns, picture, save};
use counterweight_tests::window::Window;
use egui::accesskit::Role;
use egui::{Key, Modifiers};

use crate::{train, with_sample};

/// A folder of `classes` × `each` copies of one small image.
fn many_images(folder: &Path, classes: usize, each: usize) {
    let one = folder.join("class 0/0.png");
    save(&picture(1, 8, 8), &one);
    let bytes = std::fs::read(one).unwrap();
    for class in 0..classes {
        let folder = folder.join(format!("class {class}"));
        std::fs::create_dir_all(&folder).unwrap();
        (0..each)
            .for_each(|image| std::fs::write(folder.join(format!("{image}.png")), &bytes).unwrap());
    }
}

fn open(window: &mut Window, folder: &Path) {
    window.enter("Path", folder.to_str().unwrap());
    window.press("Open");
}

#[test]
fn a_scan_is_cancelled_and_begun_again() {
    let mut window = Window::new();
    window.settle();
    let images = window.folder.path().join("many");
    many_images(&images, 4, 6000);
    open(&mut window, &images);
    window.until("a scan under way", |app| app.state.data.scanning().is_some());
    assert_eq!(window.state().status(Page::Data), StepStatus::Running);
    window.press("Stop");
    window.settle();
    assert!(window.state().data.source.is_none());
    assert!(window.shows("Open your images"), "{}", window.names());
    assert!(window.log().ends_with("The scan was cancelled\n"), "{}", window.log());
    window.press("Open");
    window.settle();
    let source = window.state().data.source.as_ref().unwrap();
    assert_eq!(source.view.samples.iter().map(Vec::len).collect::<Vec<_>>(), [6000; 4]);
}

#[test]
fn what_cannot_be_opened_is_said_on_the_page() {
    let mut window = Window::new();
    window.settle();
    let missing = window.folder.path().join("no such folder");
    open(&mut window, &missing);
    window.settle();
    assert!(
        window.shows("This could not be opened") && window.shows("no such folder"),
        "{}",
        window.names()
    );
    assert_eq!(window.state().status(Page::Data), StepStatus::Failed);
    assert!(window.can_press("Use the built-in sample"));
}

#[test]
fn a_folder_with_broken_files_is_opened_and_trained_on() {
    let mut window = Window::new();
    window.settle();
    let broken = broken_folder(window.folder.path());
    open(&mut window, &broken.root);
    window.settle();
    let source = window.state().data.source.as_ref().expect("it is opened");
    let Origin::Catalog { report, .. } = &source.origin else { panic!("it is a folder") };
    assert_eq!((report.samples, report.problems.len()), (broken.readable, broken.problems.len()));
    assert!(
        window.shows("4 files or folders cannot be used and are left out"),
        "{}",
        window.names()
    );
    window.press("Show problems");
    for (name, reason) in &broken.problems {
        assert!(window.shows(name) && window.shows(reason), "{name}, {reason}: {}", window.names());
    }
    window.go("Train");
    window.click("From scratch");
    window.enter("Input size", "16");
    train(&mut window, 1);
    assert_eq!(window.state().run.as_ref().unwrap().classes, ["cat", "собака"]);
}

#[test]
fn classes_of_which_nothing_can_be_read_are_left_out_with_one_press() {
    let mut window = Window::new();
    window.settle();
    let photos = window.folder.path().join("photos");
    patterns(&photos);
    for class in ["none [here]", "nor here"] {
        std::fs::create_dir(photos.join(class)).unwrap();
        std::fs::write(photos.join(class).join("1.png"), "no image").unwrap();
    }
    open(&mut window, &photos);
    window.settle();
    assert!(window.shows("classes without a readable image"), "{}", window.names());
    window.press("Leave these classes out");
    window.settle();
    let source = window.state().data.source.as_ref().expect("it is opened");
    let names: Vec<&str> = source.view.classes.iter().map(|class| class.name.as_str()).collect();
    assert_eq!(names, ["across", "dots", "down"]);
    assert!(window.shows("2 files are left out"), "{}", window.names());
}

/// The classes that are part of the dataset, with their training images.
fn classes(window: &mut Window) -> Vec<(String, usize)> {
    let view = &window.state().data.source.as_ref().unwrap().view;
    view.classes
        .iter()
        .filter(|class| class.included)
        .map(|class| (class.name.clone(), class.train))
        .collect()
}

#[test]
fn the_builder_takes_back_what_was_done_by_button_and_by_keys() {
    let mut window = with_sample();
    let start = classes(&mut window);
    window.set_number("Imbalance factor", "5");
    let flatter = classes(&mut window);
    assert_ne!(start, flatter);
    window.tick("in the dataset", false);
    let fewer = classes(&mut window);
    assert_eq!(fewer.len(), 9);
    window.press("Undo");
    assert_eq!(classes(&mut window), flatter);
    window.press("Undo");
    assert_eq!(classes(&mut window), start);
    assert!(!window.can_press("Undo"));
    window.press("Redo");
    assert_eq!(classes(&mut window), flatter);
    window.keys(Modifiers::COMMAND, Key::Z);
    assert_eq!(classes(&mut window), start);
    let again = Modifiers::COMMAND.plus(Modifiers::SHIFT);
    window.keys(again, Key::Z);
    assert_eq!(classes(&mut window), flatter);
    window.keys(again, Key::Z);
    assert_eq!(classes(&mut window), fewer);
    assert!(!window.can_press("Redo"));
    // In a field the keys belong to its text.
    window.enter("New name", "zero");
    window.keys(Modifiers::COMMAND, Key::Z);
    assert_eq!(classes(&mut window), fewer);
}

#[test]
fn classes_are_renamed_and_merged() {
    let mut window = with_sample();
    window.enter("New name", "zero");
    window.press("Rename");
    assert_eq!(classes(&mut window)[0].0, "zero");
    assert!(window.shows("Class zero"), "{}", window.names());
    let two = classes(&mut window)[2].0.clone();
    // The table takes the keys once a row was clicked.
    let row = window.find(&[Role::Label], &two).rect().center();
    window.harness.hover_at(row);
    window.harness.drag_at(row);
    window.harness.drop_at(row);
    window.frames(4);
    assert_eq!(window.state().data.selected, Some(2), "{}", window.names());
    window.keys(Modifiers::NONE, Key::ArrowUp);
    assert_eq!(window.state().data.selected, Some(1));
    window.enter("New name", "zero");
    window.press("Merge");
    let merged = classes(&mut window);
    assert_eq!(merged.len(), 9);
    assert_eq!(merged[0].0, "zero");
    window.press("Undo");
    assert_eq!(classes(&mut window).len(), 10);
    window.press("Close this source");
    assert!(window.shows("Open your images"));
}

#[test]
fn a_dataset_is_saved_written_and_opened_again() {
    let mut window = with_sample();
    window.set_number("Imbalance factor", "20");
    let built = classes(&mut window);
    let dataset_file = window.folder.path().join("digits.toml");
    window.app().send(Command::Data(DataCommand::SaveDatasetFile(dataset_file.clone())));
    window.settle();
    let images = window.folder.path().join("images");
    window.app().send(Command::Data(DataCommand::WriteImages(images.clone())));
    window.settle();
    assert!(images.is_dir(), "{}", window.log());
    // Into a folder that holds something else nothing is written.
    std::fs::write(images.join("mine.txt"), "mine").unwrap();
    window.app().send(Command::Data(DataCommand::WriteImages(images)));
    window.settle();
    assert!(
        window.shows("The dataset could not be written") && window.shows("What to do"),
        "{}",
        window.names()
    );
    window.press("Close");

    window.press("Close this source");
    open(&mut window, &dataset_file);
    window.settle();
    assert!(window.shows("digits.toml: dataset file"), "{}", window.names());
    assert_eq!(classes(&mut window), built);
    train(&mut window, 1);
    assert_eq!(
        window.state().run.as_ref().unwrap().train_counts,
        built.iter().map(|(_, count)| *count).collect::<Vec<_>>()
    );
}

#[test]
fn a_source_that_fails_leaves_the_open_one_where_it_was() {
    let mut window = with_sample();
    window.app().send(Command::Data(DataCommand::Open("/no/such/folder".into())));
    window.settle();
    assert!(
        window.shows("This could not be opened") && window.shows("/no/such/folder"),
        "{}",
        window.names()
    );
    assert!(window.can_press("Continue to training"));
    assert_eq!(classes(&mut window).len(), 10);
    // What went wrong with another source is no word on this one.
    window.press("Continue to training");
    assert_eq!(window.state().page, Page::Train);
}

#[derive(Debug)]
struct Dropped(PathBuf);

impl egui::DroppedFile for Dropped {
    fn path(&self) -> &Path {
        &self.0
    }

    fn bytes(&self) -> Result<Vec<u8>, String> {
        std::fs::read(&self.0).map_err(|error| error.to_string())
    }
}

#[test]
fn a_folder_is_dropped_on_the_window_and_is_recent_afterwards() {
    let mut window = Window::new();
    window.settle();
    let images = window.folder.path().join("pets");
    many_images(&images, 3, 20);
    window.go("Balance");
    window.harness.input_mut().dropped_files.push(Arc::new(Dropped(images.clone())));
    window.frames(1);
    window.settle();
    assert_eq!(window.state().page, Page::Data);
    assert_eq!(classes(&mut window).len(), 3);
    window.press("Close this source");
    window.press(images.to_str().unwrap());
    window.settle();
    assert_eq!(classes(&mut window).len(), 3);
    window.press("Close this source");
    window.press("Forget");
    assert!(window.all(&[Role::Button], images.to_str().unwrap()).is_empty());
}

#[test]
fn the_path_that_is_shown_is_that_of_what_is_open() {
    let mut window = Window::new();
    window.settle();
    let images = window.folder.path().join("few");
    many_images(&images, 2, 8);
    open(&mut window, &images);
    window.settle();
    assert_eq!(window.state().data.path_text, images.to_str().unwrap());
    window.app().send(Command::Data(DataCommand::OpenSample));
    window.settle();
    assert_eq!(window.state().data.path_text, "");
}
