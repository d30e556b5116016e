//! Classifying a folder with an exported model, and writing bundles.

use std::path::Path;

use counterweight_app::gui::{Command, InspectCommand, Page, PredictCommand};
use counterweight_core::export::Variant;
use counterweight_core::infer::Placing;
use counterweight_core::source::Split;
use counterweight_tests::fixtures::patterns;

use crate::{train, with_sample};

fn images_below(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    entries
        .map(|entry| match entry.path() {
            path if path.is_dir() => images_below(&path),
            path => usize::from(path.extension().is_some_and(|kind| kind == "png")),
        })
        .sum()
}

#[test]
fn a_folder_is_classified_and_put_in_order() {
    let mut window = with_sample();
    train(&mut window, 1);
    let folder = window.folder.path().to_path_buf();
    window.go("Export");
    window.enter("File", folder.join("digits.onnx").to_str().unwrap());
    window.export();
    window.settle();
    let images = folder.join("patterns");
    patterns(&images);
    std::fs::write(images.join("broken.png"), "no image").unwrap();

    window.go("Predict");
    assert!(window.shows("Nothing is classified yet") && !window.can_press("Classify"));
    // The model that was just exported is offered.
    assert!(window.state().predict.model_text.ends_with("digits.onnx"));
    window.enter("Images", images.to_str().unwrap());
    window.press("Classify");
    window.settle();
    assert_eq!(window.state().page, Page::Predict);
    let failure = window.state().predict.failure.clone();
    let found = window.state().predict.found.as_ref().unwrap_or_else(|| panic!("{failure:?}"));
    assert_eq!((found.images.len(), found.unreadable), (81, 1));
    assert!(window.shows("81 images"), "{}", window.names());
    window.press("Could not be read  1");
    assert_eq!(window.state().predict.table.order().len(), 1);

    // All are unsure where nothing is sure enough.
    window.app().state.predict.threshold = 1.0;
    window.frames(3);
    window.press("Unsure  80");
    assert_eq!(window.state().predict.table.order().len(), 80);
    window.app().state.predict.threshold = 0.0;
    window.frames(3);

    let table = folder.join("found.csv");
    window.app().send(Command::Predict(PredictCommand::SaveTable(table.clone())));
    window.settle();
    let text = std::fs::read_to_string(&table).unwrap();
    assert!(text.starts_with("path,class,probability") && text.lines().count() == 82, "{text}");
    let sorted = folder.join("sorted");
    window.app().state.predict.placing = Placing::Move;
    window.app().send(Command::Predict(PredictCommand::SortInto(sorted.clone())));
    window.settle();
    assert_eq!((images_below(&sorted), images_below(&images)), (80, 1));
    assert!(window.state().predict.written.as_ref().unwrap().contains("80 images are sorted"));

    // Folders that are called like classes tell how good it is.
    let sample = folder.join("cache/sample/uci-digits");
    window.enter("Images", sample.to_str().unwrap());
    window.press("Classify");
    window.settle();
    let found = window.state().predict.found.as_ref().unwrap();
    let by_folders = found.by_folders.expect("they are");
    let wrong = found.images.iter().filter(|image| image.is_elsewhere()).count();
    assert_eq!((by_folders.images, by_folders.classes), (1797, 10));
    assert!(by_folders.right + wrong == 1797 && wrong > 0, "{by_folders:?}");
    assert!(
        window.shows("are taken for the class that their folder is named after"),
        "{}",
        window.names()
    );
    window.press_beginning("Not as their folder");
    assert_eq!(window.state().predict.table.order().len(), wrong);

    // A model that is none says so, and what was found before is gone.
    window.enter("Model", images.join("broken.png").to_str().unwrap());
    window.press("Classify");
    window.settle();
    let failure = window.state().predict.failure.clone().unwrap();
    assert!(failure.contains("broken.png"), "{failure}");
    assert!(window.state().predict.found.is_none());
}

#[test]
fn a_bundle_is_written_with_the_forms_that_are_ticked() {
    let mut window = with_sample();
    train(&mut window, 1);
    let bundle = window.folder.path().join("bundle");
    window.go("Export");
    window.press("A bundle");
    window.tick("uint8-nhwc", true);
    window.tick("batch-1", true);
    window.tick("batch-1", false);
    window.enter("Folder", bundle.to_str().unwrap());
    window.export();
    window.settle();
    assert!(window.state().export.failure.is_none(), "{:?}", window.state().export.failure);
    assert!(bundle.join(Variant::Uint8Nhwc.file_name()).is_file());
    assert!(!bundle.join(Variant::Batch1.file_name()).exists());
    assert!(window.shows("In the bundle") && window.shows("File check passed"));
    assert!(window.shows("no class loses"), "{}", window.names());
    assert!(window.state().status(Page::Export).is_done());

    // Over anything else nothing is written.
    let taken = window.folder.path().join("taken");
    std::fs::create_dir_all(taken.join("something")).unwrap();
    window.enter("Folder", taken.to_str().unwrap());
    window.export();
    window.settle();
    let failure = window.state().export.failure.clone().unwrap();
    assert!(failure.contains("is no bundle alone"), "{failure}");
}

#[test]
fn a_model_somebody_has_is_compared_with_the_run() {
    let mut window = with_sample();
    train(&mut window, 1);
    let file = window.folder.path().join("own.onnx");
    window.go("Export");
    window.enter("File", file.to_str().unwrap());
    window.export();
    window.settle();

    window.go("Inspect");
    window.settle();
    window.enter("Model", file.to_str().unwrap());
    window.press("Compare");
    window.settle();
    let beside = &window.state().inspect.beside;
    let found = beside.found.as_ref().unwrap_or_else(|| panic!("{:?}", beside.failure));
    // It is the run itself, so neither is better.
    let all = &found.differences[0];
    assert_eq!((all.only_first, all.only_second, all.is_certain()), (0, 0, false));
    assert!(window.shows("cannot tell which of them is better (p = 1.000)."), "{}", window.names());
    assert!(window.shows("Only the file right"), "{}", window.names());

    // Another split is another comparison; the file stays named.
    let split = Split::Train;
    window.app().send(Command::Inspect(InspectCommand::Load { checkpoint: None, split }));
    window.settle();
    let beside = &window.state().inspect.beside;
    assert!(beside.found.is_none() && beside.file_text.ends_with("own.onnx"));

    let broken = window.folder.path().join("broken.onnx");
    std::fs::write(&broken, "no model").unwrap();
    window.enter("Model", broken.to_str().unwrap());
    window.press("Compare");
    window.settle();
    let failure = window.state().inspect.beside.failure.clone().unwrap();
    assert!(failure.contains("broken.onnx") && window.shows("broken.onnx"), "{failure}");
}
