//! Keeping images together that belong together.

use counterweight_app::gui::Origin;
use counterweight_core::dataset::GroupBy;
use counterweight_tests::fixtures::{doubtful_folder, shuffled_folder, track_folder};
use counterweight_tests::window::Window;
use egui::accesskit::Role;

fn opened(make: impl FnOnce(&std::path::Path) -> std::path::PathBuf) -> Window {
    let mut window = Window::new();
    window.settle();
    let folder = make(window.folder.path());
    window.enter("Path", folder.to_str().unwrap());
    window.press("Open");
    window.settle();
    window
}

fn tracks() -> Window {
    opened(|folder| track_folder(folder, &[("give way", 24), ("no entry", 12), ("stop", 5)], 8))
}

/// The way in which images are kept together.
fn kept_by(window: &mut Window) -> Option<GroupBy> {
    let source = window.state().data.source.as_ref().unwrap();
    let Origin::Catalog { builder, .. } = &source.origin else { panic!("it is a folder") };
    builder.options().group_by.clone()
}

fn choose(window: &mut Window, way: &str) {
    window.find(&[Role::ComboBox], "Keep together").click();
    window.frames(3);
    window.press(way);
    window.settle();
}

#[test]
fn names_that_leave_doubt_are_asked_about() {
    let mut window = opened(doubtful_folder);
    assert!(window.shows("Classes that may be one"), "{}", window.names());
    assert!(window.shows("These images may come in series"), "{}", window.names());
    window.press("Keep together by name");
    window.settle();
    assert_eq!(kept_by(&mut window), Some(GroupBy::Name { pattern: None }));
    assert!(!tracks().shows("Classes that may be one"));
}

#[test]
fn the_last_folder_names_the_class_where_places_lie_above() {
    let mut window = opened(|folder| {
        let sites = ["hill", "lake", "wood"];
        let classes: Vec<String> = sites
            .iter()
            .flat_map(|site| ["fox", "hare"].map(|class| format!("{site}/{class}")))
            .collect();
        let classes: Vec<&str> = classes.iter().map(String::as_str).collect();
        shuffled_folder(folder, &classes, 8)
    });
    assert!(window.shows("are folders of one name"), "{}", window.names());
    window.press("Let the last folder name the class");
    window.settle();
    assert_eq!(kept_by(&mut window), Some(GroupBy::FolderAbove));
    assert!(!window.shows("Classes that may be one"), "{}", window.names());
    assert!(window.shows("3 series"), "{}", window.names());
    let rows = &window.state().data.source.as_ref().unwrap().view.classes;
    let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names, ["fox", "hare"]);
    choose(&mut window, "nothing");
    assert!(window.shows("are folders of one name"), "{}", window.names());
}

#[test]
fn the_notice_is_accepted_with_one_press_and_can_be_taken_back() {
    let mut window = tracks();
    assert!(window.shows("These images seem to come in series"), "{}", window.names());
    assert_eq!(kept_by(&mut window), None);
    window.press("Keep together by name");
    window.settle();
    assert_eq!(kept_by(&mut window), Some(GroupBy::Name { pattern: None }));
    assert!(!window.shows("These images seem to come in series"), "{}", window.names());
    assert!(window.shows("41 series, the largest of 8 images"), "{}", window.names());
    assert!(
        window.shows("Validation images with a sibling in training: 100 % → 0 %"),
        "{}",
        window.names()
    );
    let [_, validation, test] = window.state().data.source.as_ref().unwrap().view.totals();
    assert!(validation % 8 == 0 && test % 8 == 0, "{validation} {test}");
    window.press("Undo");
    window.settle();
    assert_eq!(kept_by(&mut window), None);
    assert!(window.shows("These images seem to come in series"));
    window.press("Redo");
    window.settle();
    assert_eq!(kept_by(&mut window), Some(GroupBy::Name { pattern: None }));
}

#[test]
fn every_way_can_be_chosen_and_says_what_it_finds() {
    let mut window = tracks();
    choose(&mut window, "look-alikes");
    assert_eq!(kept_by(&mut window), Some(GroupBy::LookAlikes { distance: 8 }));
    assert!(window.shows("with a sibling in training:"), "{}", window.names());
    window.set_number("Differ in at most", "3");
    window.settle();
    assert_eq!(kept_by(&mut window), Some(GroupBy::LookAlikes { distance: 3 }));
    // What cannot be done is said, and nothing changes.
    choose(&mut window, "time");
    assert!(window.shows("No image's file says when it was taken"), "{}", window.names());
    assert_eq!(kept_by(&mut window), Some(GroupBy::LookAlikes { distance: 3 }));
    choose(&mut window, "subfolder");
    assert_eq!(kept_by(&mut window), Some(GroupBy::Subfolder));
    assert!(window.shows("No image belongs to another this way"), "{}", window.names());
    choose(&mut window, "name");
    window.enter("Pattern", "([0-9]+");
    window.keys(egui::Modifiers::NONE, egui::Key::Enter);
    window.settle();
    assert!(window.shows("is no regular expression"), "{}", window.names());
    window.enter("Pattern", "([0-9]+)_");
    window.keys(egui::Modifiers::NONE, egui::Key::Enter);
    window.settle();
    assert_eq!(kept_by(&mut window), Some(GroupBy::Name { pattern: Some("([0-9]+)_".into()) }));
    assert!(window.shows("24 series"), "{}", window.names());
    choose(&mut window, "nothing");
    assert_eq!(kept_by(&mut window), None);
}

#[test]
fn photos_without_series_are_left_alone() {
    let window = opened(|folder| shuffled_folder(folder, &["a", "b", "c"], 60));
    assert!(!window.shows("series"), "{}", window.names());
    assert!(window.shows("Keep together"));
}
