//! Training that is asked for wrongly, killed, stopped, quit and continued.

use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant};

use counterweight_app::gui::{
    Command, DataCommand, Dialog, ErrorReport, ResumeOffer, TrainCommand, WindowCommand,
};
use counterweight_core::run::{Run, RunState, summary};
use counterweight_core::source::unpack_sample;
use counterweight_tests::fixtures::patterns;
use counterweight_tests::window::Window;
use counterweight_tests::{binary, counterweight_json};

use crate::{epochs, with_sample};

#[test]
fn a_wrong_setting_is_named_at_its_field_and_can_be_reset() {
    let mut window = with_sample();
    window.go("Train");
    window.settle();
    assert!(window.can_press("Train"));
    let cases = [
        ("Learning rate", "fast", "needs a number or auto"),
        ("Epochs", "0", "must be"),
        ("Batch size", "-3", "needs a number such as"),
    ];
    for (label, text, reason) in cases {
        window.enter(label, text);
        assert!(!window.can_press("Train"), "{label} = {text}");
        // Once at the field, and once where training is started, with the setting's name.
        assert!(
            window.shows(reason) && window.shows(&format!("{label} {reason}")),
            "{label} = {text}: {}",
            window.names()
        );
        window.app().send(Command::Train(TrainCommand::Start));
        window.frames(4);
        assert!(!window.state().train.is_running());
        window.press("Close this notice");
        window.press_beginning(&format!("Reset {label} to "));
        assert!(
            window.can_press("Train") && !window.shows(&format!("{label} {reason}")),
            "{label}: {}",
            window.names()
        );
    }
    // What is wrong with a value is said above its field while it is typed: the keyboard stays there.
    window.enter("Epochs", "a");
    for letter in ["b", "c"] {
        window.text(letter);
    }
    assert_eq!(window.state().train.text("stage1.epochs"), "abc");
    window.keys(egui::Modifiers::COMMAND, egui::Key::A);
    window.text("3");
    window.text("0");
    assert_eq!(window.state().train.settings.stage1.epochs.value(), Some(30));
    window.enter("Run name", "a/b");
    assert!(!window.can_press("Train") && window.shows("A run's name cannot hold"));
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_killed_run_is_continued_to_its_last_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let sample = unpack_sample(folder.path()).unwrap();
    let dataset_file = folder.path().join("digits.toml");
    counterweight_json(&["build", text(&sample), "--out", text(&dataset_file), "--factor", "20"]);
    let run = folder.path().join("runs/killed");
    let mut child = Process::new(binary())
        .args([
            "train",
            text(&dataset_file),
            "--run",
            text(&run),
            "--device",
            "cpu",
            "--preset",
            "quick",
            "--set",
            "augmentation.flip=false",
            "--set",
            "stage1.epochs=8",
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(300);
    let log = run.join("metrics.jsonl");
    while std::fs::read_to_string(&log).map_or(0, |log| log.lines().count()) < 2 {
        assert!(
            Instant::now() < deadline && child.try_wait().unwrap().is_none(),
            "it was over before it could be killed"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(summary(&run).unwrap().state, RunState::Interrupted);

    let mut window = Window::in_folder(folder);
    window.settle();
    window.go("Runs");
    assert!(window.shows("interrupted"), "{}", window.names());
    window.press("Open killed");
    window.settle();
    window.go("Train");
    assert!(window.shows("killed was interrupted"), "{}", window.names());
    window.press("Continue this run");
    window.settle();
    assert!(window.state().run.as_ref().unwrap().is_trained(), "{}", window.log());
    assert_eq!(epochs(&run), (1..=8).collect::<Vec<_>>());
    assert!(window.shows("loss by epoch: training, validation, 8 points"), "{}", window.names());
    assert!(window.can_press("Continue to balancing") && !window.can_press("Continue this run"));
}

/// Starts training the sample for `count` epochs and waits for the second.
fn begun(count: usize) -> Window {
    let mut window = with_sample();
    window.go("Train");
    window.enter("Epochs", &count.to_string());
    window.press("Train");
    window.until("two epochs", |app| {
        app.state.train.training.as_ref().is_some_and(|training| training.history.len() >= 2)
    });
    window
}

#[test]
fn a_training_is_paused_stopped_and_continued() {
    let mut window = begun(12);
    window.press("Pause");
    let finished = |window: &Window| window.state().train.training.as_ref().unwrap().history.len();
    // What is under way is finished first: an epoch, if it was at its end.
    let mut before = finished(&window);
    let mut waits = 0;
    loop {
        std::thread::sleep(Duration::from_millis(700));
        window.frames(5);
        let now = finished(&window);
        if now == before {
            break;
        }
        (before, waits) = (now, waits + 1);
        assert!(waits < 3, "it goes on: {before} epochs");
    }
    assert!(window.shows("Paused: Stage 1") && before < 12, "{}", window.names());
    window.press("Resume");
    window.until("another epoch", move |app| {
        app.state.train.training.as_ref().is_some_and(|training| training.history.len() > before)
    });
    window.press("Stop");
    window.settle();
    let run = window.state().run.clone().expect("the stopped run is open");
    assert!(
        run.finished_epochs() > before && !run.is_trained() && run.has_checkpoint(),
        "{}",
        window.log()
    );
    assert!(window.shows("digits was interrupted"), "{}", window.names());
    window.press("Continue this run");
    window.settle();
    assert_eq!(epochs(&run.folder), (1..=12).collect::<Vec<_>>());
}

#[test]
fn a_run_that_is_stopped_behind_other_images_is_not_shown_as_it_was_before() {
    let mut window = begun(40);
    window.press("Stop");
    window.settle();
    let run = window.state().run.clone().expect("the stopped run is open");
    let before = run.finished_epochs();
    window.press("Continue this run");
    window.until("another epoch", move |app| {
        app.state.train.training.as_ref().is_some_and(|training| training.history.len() > before)
    });
    let photos = window.folder.path().join("photos");
    patterns(&photos);
    window.app().send(Command::Data(DataCommand::Open(photos)));
    window.until("other images", |app| {
        app.state.data.source.as_ref().is_some_and(|source| source.name == "photos")
    });
    window.app().send(Command::Train(TrainCommand::Stop));
    window.settle();
    // It is put away, since the steps are those of the images that are open; the list has it.
    assert!(epochs(&run.folder).len() > before && window.state().run.is_none());
    assert!(window.log().contains("is in the list of runs"), "{}", window.log());
    window.go("Train");
    assert!(!window.shows("was interrupted") && window.can_press("Train"), "{}", window.names());
}

#[test]
fn a_training_that_ran_out_of_memory_goes_on_in_parts() {
    let mut window = begun(12);
    window.press("Stop");
    window.settle();
    let folder = window.state().run.as_ref().unwrap().folder.clone();
    let before = epochs(&folder);
    assert!(!before.is_empty() && before.len() < 12);
    // What a device with little memory leaves, which no test can count on having.
    let reason =
        "the device ran out of memory at batch size 64; resume the run with stage1.accumulation = 2"
            .to_string();
    let report = ErrorReport {
        title: "The device ran out of memory".into(),
        reason: reason.clone(),
        kept: "Some epochs.".into(),
        advice: "Go on in parts.".into(),
    };
    let resume_offer = ResumeOffer { folder: folder.clone(), parts: 2 };
    let state = &mut window.app().state;
    (state.train.failure, state.train.resume_offer) = (Some(reason), Some(resume_offer.clone()));
    state.shell.out_of_memory(report, resume_offer.clone());
    window.frames(4);
    assert!(
        window.shows("The device ran out of memory") && window.can_press("Continue in 2 parts"),
        "{}",
        window.names()
    );
    window.press("Close");
    window.frames(4);
    assert!(
        window.shows("The last time the device ran out of memory at batch size 64"),
        "{}",
        window.names()
    );
    window.press("Continue this run in 2 parts");
    window.settle();
    assert_eq!(epochs(&folder), (1..=12).collect::<Vec<_>>(), "{}", window.log());
    assert_eq!(Run::open(&folder).unwrap().settings().stage1.accumulation, 2);
    assert!(
        window.state().train.resume_offer.is_none() && !window.shows("ran out of memory at"),
        "{}",
        window.names()
    );
}

#[test]
fn quitting_while_training_asks_and_leaves_a_run_that_goes_on() {
    let mut window = begun(10);
    window.app().send(Command::Window(WindowCommand::Quit));
    window.frames(4);
    assert!(
        window.shows("Quit while something is running?")
            && window.shows("Still running: training."),
        "{}",
        window.names()
    );
    window.press("Cancel");
    assert!(window.state().shell.dialog.is_none() && window.state().train.is_running());
    // The cross of the window's frame asks the same.
    let root = egui::ViewportId::ROOT;
    window
        .harness
        .input_mut()
        .viewports
        .entry(root)
        .or_default()
        .events
        .push(egui::ViewportEvent::Close);
    window.frames(1);
    let asked = window.harness.output().viewport_output[&root]
        .commands
        .contains(&egui::ViewportCommand::CancelClose);
    window.harness.input_mut().viewports.entry(root).or_default().events.clear();
    window.frames(3);
    assert!(asked);
    assert!(matches!(window.state().shell.dialog, Some(Dialog::Quit(_))));
    window.press("Stop and quit");
    window.until("the end of training", |app| !app.state.train.is_running());
    let closes = |window: &Window| {
        let commands = window
            .harness
            .output()
            .viewport_output
            .values()
            .flat_map(|viewport| &viewport.commands);
        commands.into_iter().any(|command| *command == egui::ViewportCommand::Close)
    };
    window.frames(3);
    assert!(closes(&window), "the window closes once the checkpoint is there");

    let mut window = Window::in_folder(window.close());
    window.settle();
    window.go("Runs");
    window.press("Open digits");
    window.settle();
    let folder = window.state().run.as_ref().unwrap().folder.clone();
    assert!(Run::open(&folder).unwrap().checkpoint_path("last").is_file());
    assert!(epochs(&folder).len() < 10);
    window.go("Train");
    window.press("Continue this run");
    window.settle();
    assert_eq!(epochs(&folder), (1..=10).collect::<Vec<_>>());
}

#[test]
fn settings_that_cannot_be_read_leave_the_page_as_it_was() {
    let mut window = with_sample();
    window.go("Train");
    window.enter("Epochs", "7");
    let file = window.folder.path().join("settings.toml");
    std::fs::write(&file, "stage1 = 3").unwrap();
    window.app().send(Command::Train(TrainCommand::LoadSettings(file)));
    window.frames(4);
    assert!(
        window.shows("The settings could not be read") && window.shows("settings.toml"),
        "{}",
        window.names()
    );
    window.press("Close");
    assert_eq!(window.state().train.settings.stage1.epochs(), 7);
}
