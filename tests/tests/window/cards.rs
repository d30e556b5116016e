//! From a folder of pictures to a checked file with nothing set: the cards of the training page.

use counterweight_app::gui::{Page, StepStatus};
use counterweight_core::run::Run;
use counterweight_core::settings::{Auto, Preset, Training};
use counterweight_tests::fixtures::patterns;
use counterweight_tests::window::Window;

use crate::with_sample;

#[test]
fn a_folder_becomes_a_checked_file_with_nothing_set() {
    let mut window = Window::new();
    window.settle();
    let images = window.folder.path().join("patterns");
    patterns(&images);
    window.enter("Path", images.to_str().unwrap());
    window.press("Open");
    window.settle();
    window.press("Continue to training");
    window.settle();
    assert!(
        window.shows("Start from what it has seen before") && window.shows("From scratch"),
        "{}",
        window.names()
    );
    assert!(window.shows("Recommended") && window.shows("Takes "), "{}", window.names());
    assert_eq!(window.state().train.settings.preset, Preset::Auto);
    window.press("Train");
    window.settle();
    let run = window.state().run.clone().expect("the run is open");
    assert_eq!(run.settings.stage1.train, Auto::Value(Training::Classifier), "{}", window.log());
    // Seven validation images may leave it open how good it is, but not that it is better than
    // guessing.
    let status = window.state().status(Page::Train);
    assert!(
        run.is_trained() && [StepStatus::Done, StepStatus::Doubtful].contains(&status),
        "{status:?}: {}",
        window.log()
    );
    // It was balanced, too: no other click is needed for that.
    let report = run.balanced.as_ref().expect("the best balance was looked for");
    assert!(window.shows("Trained and balanced"), "{}", window.names());
    assert!(run.tuned.is_some() && report.settings.tune_candidates == 0);
    // What was decided for the person is said.
    assert!(
        window.shows("Chosen for you") && window.shows("What learns: classifier"),
        "{}",
        window.names()
    );
    // Open, Continue to training, Train, and this: four clicks to a checked file.
    window.press("Export and check");
    window.settle();
    assert_eq!(window.state().page, Page::Export);
    let exported = window.state().run.as_ref().unwrap().exported.clone().expect("it is exported");
    assert_eq!(exported.top1_agreement, 1.0);
    assert!(exported.path.is_file() && exported.input_size == 224);
    assert_eq!(exported.checkpoint, "balanced");
    // It has learned from all images by then, and that is said; it can be had as it was measured.
    let dataset = Run::open(&run.folder).unwrap().dataset().clone();
    let refit = exported.refit.expect("images were held out by the program");
    assert_eq!(refit.images, dataset.samples.len());
    assert!(window.shows("then learned from"), "{}", window.names());
    window.tick("Learn from the held-out images, too", false);
    let measured = window.folder.path().join("measured.onnx");
    window.enter("File", measured.to_str().unwrap());
    window.export();
    window.settle();
    let again = window.state().run.as_ref().unwrap().exported.clone().expect("it is exported");
    assert!(again.refit.is_none() && !window.shows("then learned from"), "{}", window.names());
    window.go("Balance");
    window.settle();
    assert!(window.shows("standardised"), "whose norms these are is said: {}", window.names());
    // The run has what is shown already.
    assert!(window.can_press("Continue to inspection"), "{}", window.names());
}

#[test]
fn choosing_a_card_takes_its_settings_and_back() {
    let mut window = with_sample();
    window.go("Train");
    window.settle();
    // What suits small digits is training from scratch.
    assert_eq!(window.state().train.settings.stage1.train, Auto::Value(Training::Scratch));
    window.click("Start from what it has seen before");
    assert_eq!(
        (window.state().train.settings.preset, window.state().train.settings.stage1.train),
        (Preset::Auto, Auto::AUTO)
    );
    window.click("Fine-tune all of it");
    let train = &window.state().train;
    assert_eq!(
        (train.settings.preset, train.settings.stage1.train),
        (Preset::FineTune, Auto::Value(Training::All))
    );
    assert!(window.can_press("Train"), "{}", window.names());
    window.click("From scratch");
    assert_eq!(window.state().train.settings.preset, Preset::Quick);
    assert!(window.can_press("Train"), "{}", window.names());
}
