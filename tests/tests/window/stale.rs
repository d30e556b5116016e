//! What was begun with one dataset or run, and what becomes of it when another is opened, or the
//! page is left.

use counterweight_app::gui::{
    BalanceCommand, Command, DataCommand, Origin, RunsCommand, TrainCommand,
};
use counterweight_core::dataset::{BuildOptions, Edits};
use counterweight_core::settings::Preset;
use counterweight_tests::window::Window;
use egui::{Key, Modifiers};

use crate::images::{click, listed, with_images};
use crate::{train, with_sample};

fn options(window: &Window) -> BuildOptions {
    match &window.state().data.source.as_ref().unwrap().origin {
        Origin::Catalog { builder, .. } => builder.options().clone(),
        Origin::DatasetFile { .. } => panic!("a folder is open"),
    }
}

/// Moves the first three images to the class seven.
fn with_moved_images() -> Window {
    let mut window = with_images();
    let all = listed(&window);
    click(&mut window, &all[0], Modifiers::NONE);
    click(&mut window, &all[2], Modifiers::SHIFT);
    window.press("Move to class…");
    window.harness.event(egui::Event::Text("sev".into()));
    window.frames(3);
    window.keys(Modifiers::NONE, Key::Enter);
    window.settle();
    window
}

fn edits(window: &Window) -> usize {
    Edits::open(&window.folder.path().join("cache/sample/uci-digits")).unwrap().done().len()
}

#[test]
fn looking_at_a_class_with_edits_leaves_its_number_of_images_alone() {
    let mut window = with_moved_images();
    window.go("Data");
    let before = options(&window);
    let classes = window.state().data.source.as_ref().unwrap().view.classes.len();
    for class in 0..classes {
        window.app().state.data.selected = Some(class);
        window.frames(6);
        window.settle();
        assert_eq!(options(&window), before, "class {class}");
    }
}

#[test]
fn edits_are_of_the_images_that_are_shown_and_of_no_others() {
    let mut window = with_moved_images();
    assert_eq!(edits(&window), 1);
    let all = listed(&window);
    click(&mut window, &all[4], Modifiers::NONE);
    window.go("Data");
    window.set_number("Imbalance factor", "5");
    window.settle();
    window.go("Images");
    window.settle();
    let images = &window.state().images;
    assert!(images.selection.keys(&images.order).is_empty(), "other images are chosen");

    // Without a dataset there is nothing to take back.
    window.app().send(Command::Data(DataCommand::Close));
    window.settle();
    window.keys(Modifiers::COMMAND, Key::Z);
    window.settle();
    assert_eq!(edits(&window), 1);
}

#[test]
fn undo_takes_back_what_was_done_on_the_page_alone() {
    let mut window = with_sample();
    window.set_number("Imbalance factor", "5");
    window.settle();
    let set = options(&window);
    window.go("Train");
    window.keys(Modifiers::COMMAND, Key::Z);
    window.settle();
    assert_eq!(options(&window), set);
    window.go("Data");
    window.keys(Modifiers::COMMAND, Key::Z);
    window.settle();
    assert_ne!(options(&window), set);
}

#[test]
fn a_training_that_is_stopped_before_it_begins_leaves_no_run() {
    let mut window = with_sample();
    window.app().state.train.set_preset(Preset::Auto);
    window.go("Train");
    // In one frame: what comes before the training is over soon.
    window.app().send(Command::Train(TrainCommand::Start));
    window.app().send(Command::Train(TrainCommand::Stop));
    window.frames(1);
    assert!(window.state().train.is_running(), "{}", window.log());
    window.settle();
    assert!(window.state().shell.dialog.is_none() && window.state().run.is_none());
    assert!(window.log().contains("Stopped before the training began"), "{}", window.log());
}

#[test]
fn another_run_is_not_opened_over_work_on_the_one_that_is_open() {
    let mut window = with_sample();
    train(&mut window, 1);
    let own = window.state().run.as_ref().unwrap().folder.clone();
    window.go("Balance");
    window.settle();
    window.app().send(Command::Balance(BalanceCommand::Apply));
    window.app().send(Command::Runs(RunsCommand::Open(own.with_file_name("another"))));
    window.frames(1);
    assert!(window.log().contains("in use by balancing"), "{}", window.log());
    window.settle();
    let run = window.state().run.as_ref().unwrap();
    assert!(run.folder == own && run.balanced.is_some() && window.state().shell.dialog.is_none());
}
