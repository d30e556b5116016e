//! Where a run looked, the map of its images, and what changes of images do to their classes.

use counterweight_app::gui::{Command, DataCommand, ExportCommand, InspectCommand, MapCommand};
use counterweight_core::source::Split;
use counterweight_tests::fixtures::arrows;
use counterweight_tests::window::Window;
use egui::accesskit::Role;

use crate::{train, with_sample};

#[test]
fn maps_are_laid_over_images_and_all_images_out_in_a_plane() {
    let mut window = with_sample();
    train(&mut window, 2);
    window.go("Inspect");
    window.settle();
    assert!(!window.state().inspect.shown.as_ref().unwrap().mistakes.is_empty());
    assert!(!window.shows("most for the class"));
    window.press("Where it looked");
    window.until("maps of the images in sight", |app| !app.state.inspect.overlays.is_busy());
    assert!(window.state().inspect.overlays.failure.is_none());
    assert!(window.shows("least for the class") && window.shows("one scale of colours"));
    window.press("Where it looked");
    assert!(!window.shows("most for the class"));

    // The map is laid out when it is asked for.
    assert!(window.state().inspect.map.shown.is_none());
    window.press("Lay out the map");
    window.settle();
    let map = &window.state().inspect.map;
    let shown = map.shown.as_ref().unwrap_or_else(|| panic!("{:?}", map.failure));
    let images = shown.map.points.len();
    assert_eq!(images, window.state().run.as_ref().unwrap().split_sizes.iter().sum::<usize>());
    assert!(window.shows("Map of "), "{}", window.names());
    let map = format!(
        "Map of {} images",
        counterweight_app::gui::widgets::numbers::grouped(images as u64)
    );
    assert_eq!(window.all(&[Role::Image], &map).len(), 1, "{}", window.names());
    // The legend names what the colours say; an entry is looked at by itself.
    window.press("Mistake");
    window.press_beginning("taken for another class, ");
    assert_eq!(window.state().inspect.map.highlighted, Some(1));
    window.press("Group");
    assert_eq!(window.state().inspect.map.highlighted, None);
    window.press("Enlarge the map");
    assert!(window.state().inspect.map.view.zoom() > 1.4);
    window.press("Show the whole map");
    assert_eq!(window.state().inspect.map.view.zoom(), 1.0);
    // What is encircled is listed, and handed on as places in the dataset.
    window.app().state.inspect.map.selected = vec![0, 3, 5];
    window.frames(3);
    assert!(window.shows("3 images are selected"), "{}", window.names());
    let samples: Vec<usize> = window.state().inspect.map.selection();
    assert_eq!(samples.len(), 3);
    window.press("Clear the selection");
    assert!(window.state().inspect.map.selection().is_empty());

    // Another split of the same checkpoint has the same map, without laying it out again.
    let split = Split::Train;
    window.app().send(Command::Inspect(InspectCommand::Load { checkpoint: None, split }));
    window.settle();
    assert!(window.state().inspect.map.shown.is_some());
    // And so has the window that is opened next.
    window.app().state.inspect.forget();
    window.settle();
    assert!(window.state().inspect.map.shown.is_some(), "{:?}", window.state().inspect.failure);
    window.app().send(Command::Inspect(InspectCommand::Map(MapCommand::Stop)));

    window.go("Export");
    let file = window.folder.path().join("digits.onnx");
    window.enter("File", file.to_str().unwrap());
    window.export();
    window.settle();
    window.app().send(Command::Export(ExportCommand::TrySample(0)));
    window.settle();
    window.press("Where it looked");
    let tried = window.state().export.tried.as_ref().unwrap();
    let looked = tried.looked.as_ref().unwrap();
    assert_eq!(looked[0].class, tried.predictions[0].class);
    let wrong = tried.truth.as_ref().is_some_and(|truth| *truth != looked[0].class);
    assert_eq!(looked.len(), if wrong { 2 } else { 1 });
    assert!(window.shows("By the network that the file was made of"), "{}", window.names());
}

#[test]
fn what_changes_of_images_do_is_asked_and_sets_settings() {
    let mut window = Window::new();
    window.settle();
    let images = window.folder.path().join("arrows");
    arrows(&images);
    window.app().send(Command::Data(DataCommand::Open(images)));
    window.settle();
    window.go("Train");
    window.settle();
    assert!(window.shows("does it change the class?"));
    window.press("Find out");
    window.settle();
    let transforms = &window.state().transforms;
    let found = transforms.found.as_ref().unwrap_or_else(|| panic!("{:?}", transforms.failure));
    assert_eq!(found.check.transforms.len(), 8);
    for text in [
        "“arrow left” and “arrow right” are mirror images of each other.",
        "Upside down",
        "No setting does this in training.",
        "Mirror is auto.",
    ] {
        assert!(window.shows(text), "{text} in {}", window.names());
    }
    // Each pair has its pictures.
    assert_eq!(window.all(&[Role::Image], "The same image mirrored").len(), 1);
    window.press("Set Mirror to off");
    assert_eq!(window.state().train.text("augmentation.flip"), "false");
    assert!(window.shows("Mirror is off.") && !window.can_press("Set Mirror to off"));

    // Another source is another question.
    window.app().send(Command::Data(DataCommand::Close));
    window.settle();
    assert!(window.state().transforms.found.is_none());
}
