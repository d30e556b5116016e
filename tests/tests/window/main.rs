//! The real window, driven by accessible names through everything a person does with it.

mod access;
mod backbones;
mod cards;
mod data;
mod export;
mod grow;
mod images;
mod job;
mod lists;
mod maps;
mod predict;
mod runs;
mod stale;
mod sweep;
mod together;
mod tour;
mod training;
mod truth;
mod verdict;

use counterweight_core::run::Run;
use counterweight_tests::window::Window;

/// A window with the sample open.
fn with_sample() -> Window {
    let mut window = Window::new();
    window.settle();
    window.press("Use the built-in sample");
    window.settle();
    assert!(window.state().data.source.as_ref().is_some_and(|source| source.is_sample));
    window
}

/// Trains the open source into the run that is offered.
fn train(window: &mut Window, epochs: usize) {
    window.go("Train");
    window.enter("Epochs", &epochs.to_string());
    window.press("Train");
    window.settle();
    assert_eq!(
        window.state().run.as_ref().map(|run| run.finished_epochs()),
        Some(epochs),
        "{}",
        window.log()
    );
}

/// The epochs of stage 1 that a run's log has, in order.
fn epochs(folder: &std::path::Path) -> Vec<usize> {
    let run = Run::open(folder).unwrap();
    run.history().iter().filter(|record| record.stage == 1).map(|record| record.epoch).collect()
}
