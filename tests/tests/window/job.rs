//! The whole job, from the sample to predictions of the exported file.

use counterweight_app::gui::{Origin, Page};
use counterweight_core::dataset::{BuildOptions, Profile, counts_preview};
use counterweight_core::settings::Balancer;
use counterweight_core::source::Split;
use counterweight_tests::window::Window;
use egui::accesskit::Role;

use crate::{epochs, with_sample};

const BALANCERS: [&str; 6] = [
    "Stage 2",
    "Weight decay",
    "MaxNorm",
    "L2-normalisation",
    "τ-normalisation",
    "Logit adjustment",
];

/// Switches on these balancers and no others.
fn only(window: &mut Window, on: &[&str]) {
    for name in BALANCERS {
        window.tick(name, on.contains(&name));
    }
    window.settle();
}

/// The summary of what is shown, which has to be one line of the comparison.
fn kept(window: &mut Window, balancers: &[Balancer]) -> String {
    window.press("Keep in comparison");
    window.settle();
    let balance = &window.state().balance;
    let shown = balance.current.as_ref().expect("something was tried");
    assert_eq!(shown.settings.balancers, balancers);
    let summary = shown.summary.clone();
    assert_eq!(
        balance.tried.iter().filter(|tried| tried.trial.summary == summary).count(),
        1,
        "{summary}"
    );
    assert_eq!(window.all(&[Role::Button], &summary).len(), 1, "{}", window.names());
    summary
}

#[test]
fn a_job_is_done_from_the_sample_to_predictions() {
    let mut window = with_sample();
    window.set_number("Imbalance factor", "20");
    let source = window.state().data.source.as_ref().unwrap();
    let Origin::Catalog { catalog, builder, .. } = &source.origin else {
        panic!("the sample is a folder")
    };
    let asked =
        BuildOptions { profile: Profile::Exponential { factor: 20.0 }, ..BuildOptions::default() };
    assert_eq!(builder.options(), &asked);
    let expected = counts_preview(catalog, &asked).unwrap().train;
    let shown: Vec<usize> = source.view.classes.iter().map(|class| class.train).collect();
    assert_eq!(shown, expected);
    // What the paper's formula gives: the class that has most could give 130, zero itself has 125.
    let by_hand: Vec<usize> =
        (0..10).map(|k| (130.0 * 20f64.powf(-f64::from(k) / 9.0)).floor() as usize).collect();
    assert_eq!((shown[0], &shown[1..]), (125, &by_hand[1..]));

    window.press("Continue to training");
    window.enter("Epochs", "2");
    window.press("Train");
    window.settle();
    assert!(window.state().status(Page::Train).is_done());
    window.press("Continue to balancing");
    window.settle();
    balance(&mut window);
    export(&mut window);

    // Another window finds all of it again.
    let mut window = Window::in_folder(window.close());
    window.settle();
    window.go("Runs");
    assert!(window.shows("exported") && window.shows("2 of 2 epochs"), "{}", window.names());
    window.press("Open digits");
    window.settle();
    window.go("Train");
    assert!(window.shows("loss by epoch: training, validation, 2 points"), "{}", window.names());
    window.go("Balance");
    window.settle();
    assert!(window.shows("This run is balanced by") && !window.shows("On test"));
    let run = window.state().run.as_ref().unwrap();
    assert_eq!(
        run.balanced.as_ref().unwrap().settings.balancers,
        [Balancer::WeightDecay, Balancer::MaxNorm]
    );
    window.go("Export");
    let images = window.state().run.as_ref().unwrap().exported.as_ref().unwrap().images;
    let agrees =
        format!("The file agrees with the trained network on {images} of {images} images.");
    assert!(window.shows("File check passed") && window.shows(&agrees), "{}", window.names());
    assert!(
        window.shows("How good it is")
            && window.shows("balanced accuracy on the validation images"),
        "{}",
        window.names()
    );
}

fn balance(window: &mut Window) {
    // The best balance is looked for first; sliders are for those who ask for them.
    assert!(window.can_press("Find the best balance"), "{}", window.names());
    assert!(window.all(&[Role::CheckBox], "τ-normalisation").is_empty());
    window.click("Adjust by hand");
    window.frames(20);
    assert!(!window.can_press("Evaluate on test") && !window.shows("On test"));
    only(window, &["τ-normalisation"]);
    let tau = kept(window, &[Balancer::Tau]);
    only(window, &["Weight decay", "MaxNorm"]);
    let learned = kept(window, &[Balancer::WeightDecay, Balancer::MaxNorm]);
    // A line of the table brings its balancer back.
    window.press(&tau);
    window.settle();
    assert_eq!(window.state().balance.settings.as_ref().unwrap().balancers, [Balancer::Tau]);
    window.press(&learned);
    window.settle();
    window.press("Find the best balance");
    window.settle();
    let tuned = window.state().balance.tuned.clone().expect("tuning has come to its end");
    assert!(
        tuned.best_score >= tuned.start_score && window.shows(&tuned.reason),
        "{}",
        window.names()
    );
    only(window, &["Weight decay", "MaxNorm"]);
    window.press("Use for this run");
    window.settle();
    assert!(!window.shows("On test"), "{}", window.names());
    let report = window.state().run.as_ref().unwrap().balanced.clone().unwrap();
    assert_eq!(report.after.split, Split::Test);
    window.press("Evaluate on test");
    assert!(window.shows("On test"));
    assert!(window.state().status(Page::Balance).is_done());
    window.press("Continue to inspection");
    window.settle();
    assert!(
        window.shows("Results on validation") && !window.shows("Results on test"),
        "{}",
        window.names()
    );
    let shown = window.state().inspect.shown.as_ref().unwrap();
    assert_eq!(
        (shown.evaluation.split, shown.evaluation.checkpoint.as_str()),
        (Split::Validation, "balanced")
    );
    let percent = format!(
        "Balanced accuracy: {:.1} %",
        100.0 * shown.evaluation.evaluation.balanced_accuracy
    );
    assert!(window.shows(&percent), "{percent} in\n{}", window.names());
}

fn export(window: &mut Window) {
    window.press("Continue to export");
    window.export();
    window.settle();
    let run = window.state().run.clone().unwrap();
    assert_eq!(epochs(&run.folder), [1, 2]);
    let exported = run.exported.unwrap();
    assert_eq!(exported.top1_agreement, 1.0);
    assert_eq!(exported.path, run.folder.with_extension("onnx"));
    assert!(exported.path.is_file());
    let image = window.state().data.source.as_ref().unwrap().root().join("0_zero/0000.png");
    window.enter("Image", image.to_str().unwrap());
    window.press("Classify");
    window.settle();
    predicted(window, None);
    window.press("Random sample");
    window.settle();
    let truth = run.examples[window.state().export.sample].class;
    predicted(window, Some(&run.classes[truth]));
    window.enter("Image", "/no/such/image.png");
    window.press("Classify");
    window.settle();
    assert!(window.shows("/no/such/image.png") && window.state().export.trouble.is_some());
}

fn predicted(window: &mut Window, truth: Option<&str>) {
    let tried = window.state().export.tried.as_ref().expect("an image was tried");
    assert_eq!(tried.truth.as_deref(), truth);
    assert_eq!(tried.predictions.len(), 5);
    let sum: f32 = tried.predictions.iter().map(|prediction| prediction.probability).sum();
    assert!(sum > 0.5 && sum <= 1.0 + 1e-5, "{sum}");
    assert!(tried.predictions.is_sorted_by(|a, b| a.probability >= b.probability));
    let first = format!(
        "{}: {:.1} %",
        tried.predictions[0].class,
        100.0 * tried.predictions[0].probability
    );
    assert!(window.shows(&first), "{first} in\n{}", window.names());
}
