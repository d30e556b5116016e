//! Renaming, deleting and comparing runs.

use counterweight_app::gui::{Command, RunsCommand};

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

    window.press("More for first try");
    window.press("Delete…");
    assert!(window.shows("Delete this run?") && window.shows(runs.join("first try").to_str().unwrap()), "{}", window.names());
    window.press("Cancel");
    window.settle();
    assert!(runs.join("first try").exists());
    window.press("More for first try");
    window.press("Delete…");
    window.press("Delete");
    window.settle();
    assert!(!runs.join("first try").exists());
    assert!(window.shows("No runs yet"), "{}", window.names());
}

#[test]
fn a_run_that_is_being_trained_is_neither_deleted_nor_renamed() {
    let mut window = with_sample();
    window.go("Train");
    window.enter("Epochs", "200");
    window.press("Train");
    window.until("an epoch", |app| app.state.train.training.as_ref().is_some_and(|training| !training.history.is_empty()));
    let folder = window.state().shell.runs_folder().join("digits");
    for command in [RunsCommand::Delete(folder.clone()), RunsCommand::Rename(folder.clone(), "other".into())] {
        window.app().send(Command::Runs(command));
        window.frames(4);
        assert!(window.log().ends_with("This run is in use by training. Stop that first, or wait until it is done\n"), "{}", window.log());
    }
    window.press("Stop");
    window.settle();
    assert!(folder.join("settings.toml").is_file());
}
