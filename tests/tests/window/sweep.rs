//! Finding the weight decay.

use counterweight_core::run::Sweep;

use crate::with_sample;

#[test]
fn weight_decay_is_found_and_its_runs_are_one_group() {
    let mut window = with_sample();
    window.go("Train");
    window.enter("Epochs", "2");
    window.press("Find weight decay");
    window.until("the first value", |app| {
        app.state.train.sweep.as_ref().is_some_and(|sweep| !sweep.members.is_empty())
    });
    assert!(window.shows("Finding the weight decay"), "{}", window.names());
    window.press("Stop");
    window.settle();
    assert!(window.shows("It was stopped before it came to its end"), "{}", window.names());
    // The same button goes on.
    window.press("Find weight decay");
    window.settle();
    let report = window
        .state()
        .train
        .sweep
        .as_ref()
        .and_then(|sweep| sweep.report.clone())
        .expect("it came to its end");
    assert_eq!(report.members.len(), 5);
    let best = report.best().unwrap().clone();
    assert!(window.shows(&format!("{} is the best of 5", best.value)), "{}", window.names());
    let folder = window.state().shell.runs_folder().join("digits decay");
    assert!(Sweep::is_sweep(&folder) && report.folder == folder);

    window.press(&format!("Use {} for a new run", best.value));
    window.settle();
    assert_eq!(window.state().train.text("stage1.weight_decay"), best.value);
    assert!(window.state().train.sweep.is_none() && window.can_press("Train"));

    window.go("Runs");
    window.settle();
    assert!(
        window.shows("digits decay") && window.shows("5 values of weight decay"),
        "{}",
        window.names()
    );
    window.press("Show digits decay");
    window.settle();
    assert!(
        window.shows("Finding the weight decay")
            && window.shows(&format!("{} is the best of 5", best.value)),
        "{}",
        window.names()
    );
    window.press("Close");
    window.go("Runs");
    window.settle();
    window.press("More for digits decay");
    window.press("Delete…");
    assert!(window.shows("Delete all of these runs?"), "{}", window.names());
    window.press("Delete");
    window.settle();
    assert!(!folder.exists(), "{}", window.log());
    assert!(window.shows("No runs yet"), "{}", window.names());
}
