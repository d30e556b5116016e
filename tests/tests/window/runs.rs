//! Renaming, deleting and comparing runs.

use counterweight_app::gui::{Command, RunsCommand};

use counterweight_tests::window::Window;
use egui::{Event, Key, Modifiers};

use crate::{train, with_sample};

#[test]
fn a_run_is_renamed_and_deleted_only_after_a_question() {
    let mut window = with_sample();
    train(&mut window, 1);
    let runs = window.state().shell.runs_folder();
    window.go("Runs");
    window.settle();
    window.press("More for digits");
    window.press("Rename…");
    window.enter("New name", "first try");
    window.press("Rename");
    window.settle();
    assert!(runs.join("first try/settings.toml").is_file() && !runs.join("digits").exists());
    assert!(window.can_press("Open first try") && window.state().run.is_none());

    // The field has the focus, so typing and Enter are enough.
    window.press("More for first try");
    window.press("Rename…");
    window.keys(Modifiers::COMMAND, Key::A);
    window.harness.event(Event::Text("best try".into()));
    window.frames(2);
    window.keys(Modifiers::NONE, Key::Enter);
    window.settle();
    assert!(runs.join("best try").is_dir(), "{}", window.log());

    window.press("More for best try");
    window.press("Delete…");
    assert!(
        window.shows("Delete this run?") && window.shows(runs.join("best try").to_str().unwrap()),
        "{}",
        window.names()
    );
    window.press("Cancel");
    window.settle();
    assert!(runs.join("best try").exists());
    window.press("More for best try");
    window.press("Delete…");
    window.press("Delete");
    window.settle();
    assert!(!runs.join("best try").exists());
    assert!(window.shows("No runs yet"), "{}", window.names());
}

#[test]
fn a_run_that_is_being_trained_is_neither_deleted_nor_renamed() {
    let mut window = with_sample();
    window.go("Train");
    window.enter("Epochs", "200");
    window.press("Train");
    window.until("an epoch", |app| {
        app.state.train.training.as_ref().is_some_and(|training| !training.history.is_empty())
    });
    let folder = window.state().shell.runs_folder().join("digits");
    for command in
        [RunsCommand::Delete(folder.clone()), RunsCommand::Rename(folder.clone(), "other".into())]
    {
        window.app().send(Command::Runs(command));
        window.frames(4);
        assert!(
            window.log().ends_with(
                "This run is in use by training. Stop that first, or wait until it is done\n"
            ),
            "{}",
            window.log()
        );
    }
    window.press("Stop");
    window.settle();
    assert!(folder.join("settings.toml").is_file());
}

#[test]
fn a_damaged_run_says_what_is_wrong_with_it() {
    let mut window = with_sample();
    train(&mut window, 1);
    let runs = window.state().shell.runs_folder();
    let folder = window.close();
    let checkpoints = runs.join("digits/checkpoints");
    for entry in std::fs::read_dir(&checkpoints).unwrap() {
        std::fs::write(entry.unwrap().path(), "no tensors").unwrap();
    }
    std::fs::create_dir_all(runs.join("broken")).unwrap();
    std::fs::write(runs.join("broken/settings.toml"), "epochs = [").unwrap();
    std::fs::copy(runs.join("digits/dataset.toml"), runs.join("broken/dataset.toml")).unwrap();

    let mut window = Window::in_folder(folder);
    window.settle();
    window.go("Runs");
    window.settle();
    assert!(window.shows("Cannot be read") && window.shows("settings.toml"), "{}", window.names());
    window.press("Open digits");
    window.settle();
    window.go("Balance");
    window.settle();
    assert!(
        window.shows("The features could not be computed") && window.shows("safetensors"),
        "{}",
        window.names()
    );
    assert!(window.can_press("Try again"));
    window.go("Inspect");
    window.settle();
    assert!(window.shows("The checkpoint could not be evaluated"), "{}", window.names());
    window.go("Export");
    window.export();
    window.settle();
    assert!(window.shows("The model could not be exported"), "{}", window.names());
}
