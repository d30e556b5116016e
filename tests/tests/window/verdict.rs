//! What the window says of a result that is worth nothing.

use std::time::Duration;

use counterweight_app::gui::{BalanceCommand, Command, Page, RunsCommand, StepStatus};
use counterweight_core::eval::Grade;
use counterweight_core::settings::Balancer;
use counterweight_tests::counterweight_json;
use counterweight_tests::fixtures::shuffled_folder;
use counterweight_tests::window::Window;
use egui::accesskit::Role;

use crate::{train, with_sample};

/// A window over a run that was trained on images whose labels say nothing.
fn with_worthless_run() -> Window {
    let folder = tempfile::tempdir().unwrap();
    let images = shuffled_folder(folder.path(), &["deer", "fox", "hare", "lynx"], 100);
    let text = |path: &std::path::Path| path.to_str().unwrap().to_string();
    let (dataset_file, run) =
        (text(&folder.path().join("photos.toml")), text(&folder.path().join("runs/photos")));
    counterweight_json(&[
        "build",
        &text(&images),
        "--out",
        &dataset_file,
        "--validation",
        "0.3",
        "--test",
        "0.3",
    ]);
    counterweight_json(&[
        "train",
        &dataset_file,
        "--run",
        &run,
        "--preset",
        "quick",
        "--device",
        "cpu",
        "--set",
        "stage1.epochs=3",
        "--set",
        "input_size=16",
    ]);
    let mut window = Window::in_folder(folder);
    window.settle();
    window.app().send(Command::Runs(RunsCommand::Open(run.into())));
    window.settle();
    window
}

/// The page's strip says so, and so does the rail.
fn says_worthless(window: &Window, page: Page) {
    assert!(
        !window.all(&[Role::Group], "Verdict: worthless").is_empty(),
        "{page:?}: {}",
        window.names()
    );
    assert!(
        window.shows("No better than guessing: ") && window.shows("where guessing gives 25.0 %."),
        "{page:?}: {}",
        window.names()
    );
}

fn marks(window: &Window) -> [StepStatus; 5] {
    Page::STEPS.map(|page| window.state().status(page))
}

#[test]
fn a_worthless_result_is_called_so_on_every_page_and_wears_no_tick() {
    let mut window = with_worthless_run();
    window.go("Train");
    says_worthless(&window, Page::Train);
    assert_eq!(marks(&window)[1], StepStatus::Worthless);
    assert!(window.shows("2 Train, done, the result is worthless"), "{}", window.names());

    window.go("Balance");
    window.settle();
    assert!(!window.all(&[Role::Group], "Verdict: worthless").is_empty(), "{}", window.names());
    // However lucky it is beside the other, what guesses is not the one to use.
    assert_eq!(window.state().balance.improves(), Some(false));
    // Nothing to apply is something to keep.
    window.click("Adjust by hand");
    window.frames(20);
    for balancer in ["Weight decay", "MaxNorm"] {
        window.tick(balancer, false);
    }
    window.settle();
    assert_eq!(window.state().balance.improves(), Some(false));
    assert!(!window.can_press("Use for this run"));
    window.press("Keep as trained");
    window.settle();
    let run = window.state().run.clone().unwrap();
    let report = run.balanced.as_ref().expect("the run was balanced by nothing");
    assert!(report.settings.balancers.is_empty() && report.norms_after == report.norms_before);
    assert_eq!(report.after.evaluation, report.before.evaluation);
    assert!(run.checkpoints.iter().any(|name| name == "balanced"));
    assert!(window.shows("This run keeps the classifier as trained."), "{}", window.names());

    window.go("Inspect");
    window.settle();
    says_worthless(&window, Page::Inspect);
    assert_eq!(marks(&window)[3], StepStatus::Worthless);
    window.go("Export");
    says_worthless(&window, Page::Export);
    assert!(!window.can_press("Export and check"));
    window.press("Export anyway");
    window.settle();
    let report = window.state().run.as_ref().unwrap().exported.clone().unwrap();
    assert_eq!(report.verdict.unwrap().grade, Grade::Worthless);
    for text in [
        "File check passed",
        "The file agrees with the trained network on 33 of 33 images.",
        "How good it is",
        "guessing gives 25.0 %.",
    ] {
        assert!(window.shows(text), "{text} in {}", window.names());
    }
    window.go("Runs");
    window.settle();
    says_worthless(&window, Page::Runs);
    let marks = marks(&window);
    assert!([1, 2, 3, 4].into_iter().all(|step| marks[step] == StepStatus::Worthless), "{marks:?}");
}

#[test]
fn a_balancer_that_does_worse_is_not_offered_as_the_one_to_use() {
    let mut window = with_sample();
    train(&mut window, 6);
    window.go("Balance");
    window.settle();
    window.click("Adjust by hand");
    window.frames(20);
    window.tick("Weight decay", false);
    window.tick("MaxNorm", false);
    window.tick("τ-normalisation", true);
    window.settle();
    // So strong that the head is lost.
    window.app().state.balance.settings.as_mut().unwrap().tau = 3.0;
    window.app().send(Command::Balance(BalanceCommand::Try));
    window.settle();
    let balance = &window.state().balance;
    let (trial, (_, workbench)) =
        (balance.current.as_ref().unwrap(), balance.workbench.as_ref().unwrap());
    assert_eq!(trial.settings.balancers, [Balancer::Tau]);
    let better = trial.evaluation.balanced_accuracy > workbench.before.balanced_accuracy;
    let improves = better && trial.verdict.grade != Grade::Worthless;
    assert_eq!(balance.improves(), Some(improves));
    // Either can be used all the same; what does better is the one to press.
    assert!(window.can_press("Use for this run") && window.can_press("Keep as trained"));
    window.app().state.balance.settings.as_mut().unwrap().balancers.clear();
    window.app().send(Command::Balance(BalanceCommand::Try));
    window.settle();
    assert!(window.can_press("Keep as trained") && !window.can_press("Use for this run"));
}

#[test]
fn what_takes_long_to_try_is_tried_when_asked_for() {
    let mut window = with_sample();
    // So that training the classifier on the sample takes too long.
    window.app().state.balance.patience.0 = Duration::ZERO;
    train(&mut window, 2);
    window.go("Balance");
    window.settle();
    assert!(window.state().balance.takes_long && window.state().balance.current.is_none());
    assert!(window.names().contains("Not tried yet"), "{}", window.names());
    assert!(window.names().contains("Not tried, since training the classifier takes longer than"));
    // What needs no training is compared all the same.
    let compared = |window: &Window| -> Vec<Vec<Balancer>> {
        let tried = &window.state().balance.tried;
        tried.iter().map(|tried| tried.trial.settings.balancers.clone()).collect()
    };
    assert!(compared(&window).contains(&vec![Balancer::Tau]));
    assert!(!compared(&window).contains(&vec![Balancer::Stage2]));
    window.click("Try it");
    window.settle();
    let balance = &window.state().balance;
    let trial = balance.current.as_ref().unwrap();
    assert_eq!(Some(&trial.settings), balance.settings.as_ref());
    assert!(!balance.takes_long && balance.improves().is_some());

    // What the run keeps is shown without training it again.
    window.click("Use for this run");
    window.settle();
    window.app().state.balance.forget();
    window.go("Data");
    window.settle();
    window.go("Balance");
    window.settle();
    let balance = &window.state().balance;
    assert!(balance.current.is_some() && !balance.takes_long);
    assert!(compared(&window).contains(&vec![Balancer::WeightDecay, Balancer::MaxNorm]));

    // And what is used without having been tried is seen afterwards.
    window.app().state.balance.settings.as_mut().unwrap().balancers = vec![Balancer::Stage2];
    window.app().send(Command::Balance(BalanceCommand::Try));
    window.settle();
    assert!(window.state().balance.takes_long);
    window.click("Use for this run");
    window.settle();
    let balance = &window.state().balance;
    assert!(!balance.takes_long);
    assert_eq!(balance.current.as_ref().unwrap().settings.balancers, [Balancer::Stage2]);
}
