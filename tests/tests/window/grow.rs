//! Labelling what a run would learn most from, and growing the run by it.

use counterweight_app::gui::{Command, Page, RunsCommand};
use counterweight_core::pipeline::LABELLED;
use counterweight_tests::fixtures::{finished_run, pattern, save};
use counterweight_tests::window::Window;
use egui::{Key, Modifiers};

/// The class of the image that is to be labelled, by its name.
fn shown(window: &Window) -> &'static str {
    let labelling = window.state().grow.labelling.as_ref().unwrap();
    let name = labelling.current().unwrap().path.display().to_string();
    if name.contains("spots") { "spots" } else { "columns" }
}

#[test]
fn images_are_labelled_by_keys_and_the_run_grows_by_them() {
    let folder = tempfile::tempdir().unwrap();
    let (_, run) = finished_run(folder.path());
    let new = folder.path().join("new");
    for number in 200..206 {
        save(&pattern(1, number), new.join(format!("columns-{number}.png")));
        save(&pattern(2, number), new.join(format!("spots-{number}.png")));
    }
    std::fs::write(new.join("broken.png"), "no image").unwrap();
    let mut window = Window::in_folder(folder);
    window.settle();
    window.go("Grow");
    assert!(window.shows("No finished run is open") && !window.can_press("Grow the run"));
    window.app().send(Command::Runs(RunsCommand::Open(run.clone())));
    window.settle();
    assert!(!window.can_press("Grow the run") && !window.can_press("Find images to label"));

    // A folder that is not there is told of by its name.
    window.enter("Images without labels", window.folder.path().join("none").to_str().unwrap());
    window.press("Find images to label");
    window.settle();
    assert!(window.state().grow.failure.as_ref().is_some_and(|reason| !reason.is_empty()));
    window.enter("Images without labels", new.to_str().unwrap());
    window.press("Find images to label");
    window.settle();
    assert_eq!(window.state().grow.failure, None);
    assert!(window.shows("0 of 12 labelled"), "{}", window.names());

    // The first class is new and typed; afterwards it has a key like the others.
    assert_eq!(window.state().grow.labelling.as_ref().unwrap().keys, ["columns", "rows"]);
    let name = shown(&window);
    if name == "spots" {
        window.keys(Modifiers::NONE, Key::M);
        window.enter("Class", "spots");
        window.keys(Modifiers::NONE, Key::Enter);
    } else {
        window.keys(Modifiers::NONE, Key::Num1);
    }
    window.settle();
    assert!(window.shows("1 of 12 labelled"), "{}", window.names());
    assert!(run.join(LABELLED).is_file());
    window.keys(Modifiers::NONE, Key::Backspace);
    window.settle();
    assert!(window.shows("0 of 12 labelled") && !run.join(LABELLED).exists());

    while window.state().grow.labelling.as_ref().unwrap().current().is_some() {
        let name = shown(&window);
        let keys = &window.state().grow.labelling.as_ref().unwrap().keys;
        match keys.iter().position(|class| class == name) {
            Some(0) => window.keys(Modifiers::NONE, Key::Num1),
            Some(2) => window.keys(Modifiers::NONE, Key::Num3),
            None => {
                window.keys(Modifiers::NONE, Key::M);
                window.enter("Class", name);
                window.keys(Modifiers::NONE, Key::Enter);
            }
            _ => window.press(&format!("Label {name}")),
        }
    }
    assert!(window.shows("12 of 12 labelled") && window.shows("All of these were looked at"));
    window.press("Find images to label");
    window.settle();
    let failure = window.state().grow.failure.as_deref().unwrap_or_default();
    assert!(failure.starts_with("12 there have a label already"), "{failure}");
    window.press("Back");
    window.keys(Modifiers::NONE, Key::X);
    window.settle();
    assert!(window.shows("11 of 12 labelled") && window.shows("1 skipped"), "{}", window.names());

    // They are there when the window is opened again, and are not asked for again.
    let folder = window.close();
    let mut window = Window::in_folder(folder);
    window.settle();
    window.app().send(Command::Runs(RunsCommand::Open(run.clone())));
    window.settle();
    window.go("Grow");
    window.settle();
    assert!(window.shows("11 images were labelled here"), "{}", window.names());
    window.enter("Images without labels", new.to_str().unwrap());
    window.press("Find images to label");
    window.settle();
    assert!(window.shows("0 of 1 labelled"), "{}", window.names());

    window.press("Look ahead");
    window.settle();
    let (more, _) = window.state().grow.more.as_ref().unwrap_or_else(|| panic!("{}", window.log()));
    assert_eq!((more.classes[0].class.as_str(), more.classes[0].images), ("columns", 8));
    assert!(window.shows("What more images would bring, 2 of 2 rows"), "{}", window.names());

    window.press("Grow the run");
    window.settle();
    let state = window.state();
    let grown = state.grow.grown.as_ref().unwrap_or_else(|| panic!("{}", window.log()));
    assert_eq!((grown.report.added, state.page), (11, Page::Grow));
    assert_eq!(state.run.as_ref().unwrap().folder, grown.folder);
    assert_eq!(state.run.as_ref().unwrap().classes, ["columns", "rows", "spots"]);
    assert_eq!(state.grow.waiting(), 0);
    assert!(window.shows("run has grown") && window.shows("balanced accuracy after, test"));
    assert!(window.shows("Go to Inspect") && !window.can_press("Grow the run"));
}
