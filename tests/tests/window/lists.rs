//! Image lists that do not explain themselves, and files that lie beside others.

use std::path::{Path, PathBuf};

use counterweight_app::gui::Origin;
use counterweight_core::dataset::Dataset;
use counterweight_core::job::{Control, Job, Silent};
use counterweight_tests::fixtures::{picture, save, write};
use counterweight_tests::window::Window;
use egui::accesskit::Role;

fn open(window: &mut Window, path: &Path) {
    window.enter("Path", path.to_str().unwrap());
    window.press("Open");
    window.settle();
}

/// A list of which nothing but a person can tell which column holds what.
fn unknown_list(folder: &Path) -> PathBuf {
    let mut list = "Motiv;Breite;Fund;Ort;Teil\n".to_string();
    for i in 0..12u32 {
        save(&picture(i, 8, 8), folder.join(format!("photos/IMG_{i}.png")));
        let species = ["newt", "toad"][(i % 2) as usize];
        let part = if i < 8 { "train" } else { "test" };
        list += &format!("IMG_{i};4032;{species};pond {};{part}\n", i % 3);
    }
    list += "IMG_99;4032;newt;pond 1;train\n";
    let path = folder.join("newts.csv");
    write(&path, list);
    path
}

fn choose(window: &mut Window, label: &str, value: &str) {
    window.find(&[Role::ComboBox], label).click();
    window.frames(3);
    window.find(&[Role::Button], value).click();
    window.settle();
}

#[test]
fn the_columns_of_a_list_are_chosen_and_counted() {
    let mut window = Window::new();
    window.settle();
    let list = unknown_list(window.folder.path());
    open(&mut window, &list);
    assert!(window.shows("Which column is what?"), "{}", window.names());
    // The first rows are there, and why it cannot be opened.
    for text in ["Breite", "IMG_3", "pond 2", "It cannot be told which column holds the paths"] {
        assert!(window.shows(text), "{text}: {}", window.names());
    }
    assert!(!window.can_press("Open the list"));
    choose(&mut window, "Path", "Motiv");
    assert!(window.shows("It cannot be told which column holds the labels"), "{}", window.names());
    choose(&mut window, "Label", "Fund");
    assert!(window.shows("12 of 13 images found, 2 classes"), "{}", window.names());
    choose(&mut window, "Label", "Motiv");
    assert!(window.shows("12 of 13 images found, 12 classes"), "{}", window.names());
    choose(&mut window, "Label", "Fund");
    choose(&mut window, "Group", "Ort");
    assert!(window.shows("12 of 13 images found, 2 classes, 3 groups"), "{}", window.names());
    choose(&mut window, "Split", "Teil");
    window.press("Open the list");
    window.settle();
    let source = window.state().data.source.as_ref().expect("it is opened");
    let Origin::Catalog { catalog, .. } = &source.origin else { panic!("it is a list") };
    assert_eq!((catalog.samples.len(), catalog.problems.len()), (12, 1));
    assert!(catalog.has_splits());
    assert_eq!(catalog.samples[0].group.as_deref(), Some("pond 0"));
    assert!(window.shows("1 file or folder cannot be used and is left out"), "{}", window.names());

    // They can be looked at again, as they were chosen.
    window.press("Choose its columns…");
    window.settle();
    assert!(window.shows("12 of 13 images found, 2 classes, 3 groups"), "{}", window.names());
    window.press("Cancel");
    assert!(window.state().data.source.is_some() && window.can_press("Choose its columns…"));
}

#[test]
fn the_separator_is_chosen_anew_and_the_columns_with_it() {
    let mut window = Window::new();
    window.settle();
    let list = unknown_list(window.folder.path());
    open(&mut window, &list);
    choose(&mut window, "Separator", "comma");
    assert!(window.shows("Motiv;Breite;Fund;Ort;Teil"), "{}", window.names());
    choose(&mut window, "Separator", "semicolon");
    assert!(window.shows("Breite") && !window.shows("Motiv;Breite"), "{}", window.names());
    window.press("Cancel");
    assert!(window.shows("Open your images"), "{}", window.names());
}

#[test]
fn files_beside_others_are_left_out_by_one_click() {
    let mut window = Window::new();
    window.settle();
    let folder = window.folder.path().join("masks");
    for i in 0..6u32 {
        let class = ["newt", "toad"][(i % 2) as usize];
        save(&picture(i, 8, 8), folder.join(format!("{class}/{i}.jpg")));
        save(&picture(i, 8, 8), folder.join(format!("{class}/{i}.png")));
    }
    open(&mut window, &folder);
    assert!(
        window.shows("The 6 .png files lie beside images of the same name"),
        "{}",
        window.names()
    );
    assert!(window.shows("newt/0.png beside newt/0.jpg"), "{}", window.names());
    window.press("Leave out the 6 .png files");
    window.settle();
    let images = |window: &Window| {
        window
            .state()
            .data
            .source
            .as_ref()
            .unwrap()
            .view
            .samples
            .iter()
            .map(Vec::len)
            .sum::<usize>()
    };
    assert_eq!(images(&window), 6);
    assert!(
        window.shows("6 files are left out: *.png") && !window.shows("beside images"),
        "{}",
        window.names()
    );
    // What is built of it keeps that.
    let recipe = window.state().data.source.as_ref().unwrap().recipe();
    let file = window.folder.path().join("set.toml");
    let control = Control::new();
    recipe.make(Job::new(&control, &Silent)).unwrap().0.save(&file).unwrap();
    assert_eq!(Dataset::load(&file).unwrap().provenance.reading.skip, ["*.png"]);
    window.press("Read them, too");
    window.settle();
    assert_eq!(images(&window), 12);
}

#[test]
fn a_folder_without_classes_shows_how_it_should_look() {
    let mut window = Window::new();
    window.settle();
    let folder = window.folder.path().join("flat");
    (0..30).for_each(|i| save(&picture(i, 8, 8), folder.join(format!("{i}.png"))));
    open(&mut window, &folder);
    assert!(window.shows("its 30 images lie in no class folder"), "{}", window.names());
    assert!(window.shows("├── first class/"), "{}", window.names());
}
