//! The page of images: choosing, moving, excluding, undoing, with the mouse and by keys alone.

use std::sync::Arc;

use counterweight_app::gui::{
    Command, DataCommand, Decided, ImagesCommand, Page, ReviewItem, ReviewOrder,
};
use counterweight_core::dataset::Edits;
use counterweight_core::source::Split;
use counterweight_tests::fixtures::picture;
use counterweight_tests::window::Window;
use egui::accesskit::Role;
use egui::{Event, Key, Modifiers};
use egui_kittest::kittest::{NodeT, Queryable, by};
use image::ImageEncoder;
use image::codecs::jpeg::JpegEncoder;

use crate::{train, with_sample};

/// The sample on the page of images.
pub fn with_images() -> Window {
    let mut window = with_sample();
    window.go("Images");
    window.settle();
    assert!(window.state().images.view.is_some(), "{}", window.log());
    window
}

/// The paths of the listed images.
pub fn listed(window: &Window) -> Vec<String> {
    let images = &window.state().images;
    let view = images.view.as_ref().unwrap();
    images
        .order
        .iter()
        .map(|sample| view.base.samples[*sample as usize].location.to_text())
        .collect()
}

fn chosen(window: &Window) -> Vec<String> {
    let images = &window.state().images;
    let view = images.view.as_ref().unwrap();
    images
        .selection
        .keys(&images.order)
        .iter()
        .map(|sample| view.base.samples[*sample as usize].location.to_text())
        .collect()
}

/// Clicks the image whose path begins so.
pub fn click(window: &mut Window, path: &str, modifiers: Modifiers) {
    let begins = |node: &egui_kittest::Node<'_>| {
        node.accesskit_node().label().is_some_and(|name| name.starts_with(path))
    };
    {
        let mut options = window.harness.query_all(by().role(Role::ListBoxOption));
        let option = options.find(begins).unwrap_or_else(|| panic!("{path}: {}", window.names()));
        option.click_modifiers(modifiers);
    }
    window.frames(4);
}

fn counts(window: &Window) -> (usize, usize, usize) {
    let counts = window.state().images.view.as_ref().unwrap().edited.counts;
    (counts.moved, counts.excluded, counts.checked)
}

#[test]
fn a_range_is_chosen_moved_undone_and_done_again() {
    let mut window = with_images();
    let all = listed(&window);
    let before = window.state().data.source.as_ref().unwrap().view.classes.clone();
    click(&mut window, &all[2], Modifiers::NONE);
    click(&mut window, &all[5], Modifiers::SHIFT);
    assert_eq!(chosen(&window), all[2..=5]);
    assert!(window.shows("4 of "), "{}", window.names());
    click(&mut window, &all[3], Modifiers::COMMAND);
    assert_eq!(chosen(&window).len(), 3);

    window.press("Move to class…");
    window.harness.event(Event::Text("sev".into()));
    window.frames(3);
    window.keys(Modifiers::NONE, Key::Enter);
    window.settle();
    assert_eq!(counts(&window), (3, 0, 0), "{}", window.log());
    assert!(window.shows("Moved 3 images to 7_seven"), "{}", window.names());
    // The other pages have the edits, too.
    let train = |window: &Window, class: usize| {
        window.state().data.source.as_ref().unwrap().view.classes[class].train
    };
    assert_ne!((train(&window, 0), train(&window, 7)), (before[0].train, before[7].train));
    assert!(Edits::open(&place(&window)).unwrap().done().len() == 1);

    window.keys(Modifiers::COMMAND, Key::Z);
    window.settle();
    assert_eq!(counts(&window), (0, 0, 0));
    assert_eq!(window.state().data.source.as_ref().unwrap().view.classes, before);
    let again = Modifiers::COMMAND.plus(Modifiers::SHIFT);
    window.keys(again, Key::Z);
    window.settle();
    assert_eq!(counts(&window), (3, 0, 0));
    window.press("Undo");
    window.settle();
    assert!(!window.can_press("Undo") && window.can_press("Redo"));
    // On the data page the keys take back what was done there.
    window.go("Data");
    window.set_number("Imbalance factor", "5");
    window.settle();
    window.keys(Modifiers::COMMAND, Key::Z);
    window.settle();
    assert_eq!(
        window.state().images.view.as_ref().unwrap().redo.as_deref(),
        Some("moved 3 images to 7_seven")
    );
    assert_eq!(window.state().data.source.as_ref().unwrap().view.classes, before);
}

/// What the edits of the sample lie beside.
fn place(window: &Window) -> std::path::PathBuf {
    window.folder.path().join("cache/sample/uci-digits")
}

#[test]
fn everything_is_done_by_keys_alone() {
    let mut window = with_images();
    let all = listed(&window);
    window.keys(Modifiers::NONE, Key::ArrowRight);
    assert_eq!(chosen(&window), all[..1]);
    window.keys(Modifiers::NONE, Key::ArrowRight);
    window.keys(Modifiers::SHIFT, Key::ArrowRight);
    assert_eq!(chosen(&window), all[1..3]);
    window.keys(Modifiers::COMMAND, Key::ArrowRight);
    window.keys(Modifiers::NONE, Key::Space);
    assert_eq!(chosen(&window), all[1..4]);
    window.keys(Modifiers::NONE, Key::X);
    window.settle();
    assert_eq!(counts(&window), (0, 3, 0), "{}", window.names());
    window.keys(Modifiers::NONE, Key::End);
    assert_eq!(chosen(&window), all[all.len() - 1..]);
    window.keys(Modifiers::NONE, Key::C);
    window.settle();
    assert_eq!(counts(&window), (0, 3, 1));
    window.keys(Modifiers::NONE, Key::Home);
    window.keys(Modifiers::NONE, Key::PageDown);
    let cursor = window.state().images.selection.cursor();
    assert!(cursor > 1, "{cursor}");
    window.keys(Modifiers::NONE, Key::PageUp);
    assert_eq!(window.state().images.selection.cursor(), 0);

    // Large, and on to the next with what was decided.
    window.keys(Modifiers::NONE, Key::Enter);
    window.settle();
    assert!(window.state().images.zoomed && window.shows("8 × 8 pixels"), "{}", window.names());
    window.keys(Modifiers::NONE, Key::ArrowRight);
    window.settle();
    window.keys(Modifiers::NONE, Key::R);
    window.settle();
    assert_eq!(counts(&window), (0, 2, 1));
    assert_eq!(window.state().images.selection.cursor(), 2);
    window.keys(Modifiers::NONE, Key::Escape);
    assert!(!window.state().images.zoomed);

    window.keys(Modifiers::COMMAND, Key::A);
    assert_eq!(chosen(&window).len(), all.len());
    window.keys(Modifiers::NONE, Key::M);
    assert!(window.shows("images to"), "{}", window.names());
    window.harness.event(Event::Text("a new one".into()));
    window.frames(3);
    assert!(window.shows("New class “a new one”"), "{}", window.names());
    window.keys(Modifiers::NONE, Key::Escape);
    assert!(window.state().images.chooser.is_none());
    assert_eq!(counts(&window), (0, 2, 1));
    window.keys(Modifiers::NONE, Key::Escape);
    assert!(chosen(&window).is_empty() && !window.can_press("Exclude"));
}

#[test]
fn filters_and_what_is_said_where_nothing_is_left() {
    let mut window = Window::new();
    window.settle();
    window.go("Images");
    window.settle();
    assert!(window.shows("No images are open"), "{}", window.names());
    window.press("Use the built-in sample");
    window.settle();
    let all = listed(&window).len();
    window.app().state.images.filter.class = Some("3_three".into());
    window.settle();
    assert!(listed(&window).iter().all(|path| path.starts_with("3_three/")));
    window.app().state.images.filter.split = Some(Split::Validation);
    window.settle();
    let few = listed(&window).len();
    assert!((1..all / 10).contains(&few), "{few} of {all}");
    window.app().state.images.filter.decided = Decided::Excluded;
    window.settle();
    assert!(window.shows("No such images"), "{}", window.names());
    window.keys(Modifiers::NONE, Key::ArrowDown);
    window.keys(Modifiers::NONE, Key::Enter);
    window.press("Show all images");
    window.settle();
    assert_eq!(listed(&window).len(), all);
    // From the data page straight to the images of a class.
    window.go("Data");
    window.press("Look through and correct");
    window.settle();
    assert_eq!(window.state().page, Page::Images);
    assert!(listed(&window).iter().all(|path| path.starts_with("0_zero/")));
}

#[test]
fn an_order_with_reasons_is_agreed_to_kept_and_moved_by_one_key_each() {
    let mut window = with_images();
    let item = |sample, proposed| ReviewItem {
        sample,
        score: 1.0,
        reason: "looks like another class".into(),
        proposed,
    };
    let order = ReviewOrder {
        title: "Suspicious labels".into(),
        items: vec![item(7, Some(4)), item(3, Some(2)), item(90, None)],
    };
    window.app().send(Command::Images(ImagesCommand::Review(Arc::new(order))));
    window.settle();
    assert!(window.shows("Suspicious labels"), "{}", window.names());
    assert_eq!(window.state().images.order, [7, 3, 90]);
    window.keys(Modifiers::NONE, Key::ArrowRight);
    window.keys(Modifiers::NONE, Key::A);
    window.settle();
    assert_eq!(counts(&window), (1, 0, 0));
    let view = Arc::clone(window.state().images.view.as_ref().unwrap());
    assert_eq!(view.class(7), view.base.classes[4]);
    // It has gone on to the next, which is right as it is.
    window.keys(Modifiers::NONE, Key::K);
    window.settle();
    assert_eq!(counts(&window), (1, 0, 1));
    window.keys(Modifiers::NONE, Key::A);
    window.settle();
    assert_eq!(counts(&window), (1, 0, 1));
    assert!(window.shows("No other class is proposed"), "{}", window.names());
    window.press("Show all images");
    window.settle();
    assert!(window.state().images.order.len() > 3);
}

#[test]
fn edits_stay_with_the_dataset_and_are_trained_on() {
    let mut window = with_images();
    let first = listed(&window)[0].clone();
    window.keys(Modifiers::NONE, Key::Home);
    window.keys(Modifiers::NONE, Key::X);
    window.settle();
    train(&mut window, 1);
    let dataset = window.folder.path().join("runs/digits/dataset.toml");
    assert!(!std::fs::read_to_string(dataset).unwrap().contains(&first));
    // The run says what it takes the other images for.
    window.go("Images");
    window.settle();
    window.press("Ask the run");
    window.settle();
    let images = &window.state().images;
    assert!(images.predictions.as_ref().is_some_and(|found| found.len() > 100), "{}", window.log());
    window.tick("Predicted wrong", true);
    window.settle();
    let images = &window.state().images;
    let view = images.view.as_ref().unwrap();
    assert!(!images.order.is_empty());
    for &sample in &images.order {
        assert_ne!(images.predictions.as_ref().unwrap().class(sample), Some(view.class(sample)));
        assert_ne!(view.base.samples[sample as usize].split, Split::Test);
    }

    let folder = window.close();
    let mut window = Window::in_folder(folder);
    window.settle();
    window.app().send(Command::Data(DataCommand::OpenSample));
    window.settle();
    let counts = window.state().images.view.as_ref().map(|view| view.edited.counts);
    assert_eq!(counts.map(|counts| counts.excluded), Some(1), "without a look at the page");

    // Broken edits are named, and nothing else breaks.
    let file = Edits::path_of(&place(&window));
    std::fs::write(&file, "{\"counterweight_edits\":1}\nnot an edit\n").unwrap();
    window.app().send(Command::Data(DataCommand::OpenSample));
    window.settle();
    window.go("Images");
    window.settle();
    assert!(window.shows("uci-digits.edits.jsonl: line 2"), "{}", window.names());
    assert!(window.shows("Show the file of edits"), "{}", window.names());
    std::fs::write(&file, "{\"counterweight_edits\":1}\n").unwrap();
    window.press("Open again");
    window.settle();
    assert!(window.state().images.view.is_some(), "{}", window.names());
}

#[test]
fn a_wrong_label_is_found_and_mended_with_two_keys() {
    let mut window = with_images();
    let view = Arc::clone(window.state().images.view.as_ref().unwrap());
    let right = view.base.classes[0].clone();
    let is_of_it = |sample: &u32| {
        let sample = &view.base.samples[*sample as usize];
        sample.class == 0 && sample.split == Split::Train
    };
    let samples = window.state().images.order.iter().copied().filter(is_of_it);
    let path = |sample: u32| view.base.samples[sample as usize].location.to_text();
    let wrong = samples.map(path).nth(4).unwrap();
    click(&mut window, &wrong, Modifiers::NONE);
    let to = view.base.classes[1].clone();
    let action = counterweight_core::dataset::EditAction::Move { to };
    window.app().send(Command::Images(ImagesCommand::Edit(action)));
    window.settle();
    assert_eq!(window.state().images.view.as_ref().unwrap().edited.counts.moved, 1);

    window.press("Find wrong labels");
    window.settle();
    assert!(window.state().images.review.is_some(), "{}", window.log());
    assert!(window.shows("Doubtful labels"), "{}", window.names());
    assert!(listed(&window).iter().take(3).any(|path| *path == wrong), "{:?}", listed(&window));
    let images = &window.state().images;
    let sample = images.order[listed(&window).iter().position(|path| *path == wrong).unwrap()];
    assert_eq!(images.proposed(sample), Some(right.as_str()));
    assert!(images.review_item(sample).unwrap().reason.contains("images most like it"));
    click(&mut window, &wrong, Modifiers::NONE);
    window.keys(Modifiers::NONE, Key::A);
    window.settle();
    let view = window.state().images.view.as_ref().unwrap();
    assert_eq!((view.edited.counts.moved, view.class(sample)), (0, right.as_str()));

    // Who keeps one is not asked again.
    let kept = listed(&window)[0].clone();
    click(&mut window, &kept, Modifiers::NONE);
    window.keys(Modifiers::NONE, Key::K);
    window.settle();
    window.press("Show all images");
    window.press("Find wrong labels");
    window.settle();
    assert!(!listed(&window).contains(&kept) || window.state().images.review.is_none());
}

/// EXIF data that say when a photo was taken and nothing else.
fn exif(time: &str) -> Vec<u8> {
    let mut bytes = b"II*\0\x08\0\0\0".to_vec();
    let mut table = |tag: u16, kind: u16, count: u32, value: u32| {
        bytes.extend(1_u16.to_le_bytes());
        bytes.extend([tag, kind].map(u16::to_le_bytes).concat());
        bytes.extend([count, value, 0].map(u32::to_le_bytes).concat());
    };
    // The first table points to the second, and that to the text behind it.
    table(0x8769, 4, 1, 26);
    table(0x9003, 2, time.len() as u32 + 1, 44);
    bytes.extend(time.bytes().chain([0]));
    bytes
}

#[test]
fn a_photo_shown_large_says_when_it_was_taken() {
    let mut window = Window::new();
    let photos = window.folder.path().join("photos");
    for (class, number) in [("fox", 0), ("fox", 1), ("lynx", 2), ("lynx", 3)] {
        let path = photos.join(class).join(format!("{number}.jpg"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut encoder = JpegEncoder::new(std::fs::File::create(path).unwrap());
        if number == 0 {
            encoder.set_exif_metadata(exif("2024:02:29 23:59:58")).unwrap();
        }
        let image = picture(number, 40, 30);
        encoder.write_image(&image, 40, 30, image::ExtendedColorType::Rgb8).unwrap();
    }
    window.settle();
    window.app().send(Command::Data(DataCommand::Open(photos)));
    window.settle();
    window.go("Images");
    window.settle();
    window.keys(Modifiers::NONE, Key::Home);
    window.keys(Modifiers::NONE, Key::Enter);
    window.settle();
    assert!(window.shows("Taken 2024-02-29 23:59:58"), "{}", window.names());
    window.keys(Modifiers::NONE, Key::ArrowRight);
    window.settle();
    assert!(window.shows("40 × 30 pixels") && !window.shows("Taken"), "{}", window.names());
}
