//! That what the window shows belongs together and is in sight: one dataset and its run, notices
//! inside the page, the keyboard where it can be seen.

use counterweight_app::gui::{
    BackbonesCommand, Command, DataCommand, Dialog, ErrorReport, Page, RunsCommand, StepStatus,
    TourCommand,
};
use counterweight_tests::fixtures::patterns;
use counterweight_tests::window::Window;
use egui::accesskit::Role;
use egui::{Key, Modifiers, Rect, Vec2};
use egui_kittest::kittest::{NodeT, Queryable};

use crate::{train, with_sample};

#[test]
fn other_images_begin_a_new_run_and_a_run_of_other_images_puts_them_away() {
    let mut window = with_sample();
    train(&mut window, 1);
    let run = window.state().run.as_ref().unwrap().folder.clone();
    assert!(window.shows("Built-in sample") && window.shows("digits"), "{}", window.names());
    // Opening the same images again leaves their run, and prepares another.
    window.app().send(Command::Data(DataCommand::OpenSample));
    window.settle();
    assert!(window.state().run.is_some() && !window.state().train.show_curves);

    let images = window.folder.path().join("patterns");
    patterns(&images);
    window.app().send(Command::Data(DataCommand::Open(images)));
    window.settle();
    assert!(window.state().run.is_none());
    let marks = Page::STEPS.map(|page| window.state().status(page));
    assert_eq!(
        marks,
        [
            StepStatus::Done,
            StepStatus::Ready,
            StepStatus::Waiting,
            StepStatus::Waiting,
            StepStatus::Waiting
        ]
    );
    window.go("Train");
    assert!(window.can_press("Train"), "{}", window.names());
    assert!(!window.shows("loss by epoch"), "{}", window.names());

    window.app().send(Command::Runs(RunsCommand::Open(run)));
    window.settle();
    assert!(window.state().data.source.is_none());
    window.go("Data");
    assert!(window.shows("Images of the run digits"), "{}", window.names());
    window.press("Open these images");
    window.settle();
    assert!(window.state().run.is_some() && window.state().data.source.is_some());
}

#[test]
fn an_interrupted_run_is_offered_first_and_a_running_one_is_not_called_so() {
    let mut window = with_sample();
    window.go("Train");
    window.enter("Epochs", "6");
    window.press("Train");
    window.until("two epochs", |app| {
        app.state.train.training.as_ref().is_some_and(|training| training.history.len() >= 2)
    });
    window.press("Pause");
    window.app().send(Command::Runs(RunsCommand::Refresh));
    window.until("the list", |app| !app.state.runs.is_listing());
    window.go("Runs");
    assert!(window.shows("training now") && !window.shows("interrupted"), "{}", window.names());
    window.go("Train");
    window.press("Resume");
    window.press("Stop");
    window.settle();

    let mut window = Window::in_folder(window.close());
    window.settle();
    assert_eq!(window.state().page, Page::Data);
    assert!(window.shows("Continue “digits”") && window.shows("of 6"), "{}", window.names());
    assert!(window.shows("Recent runs"), "{}", window.names());
    window.press("Continue training");
    window.settle();
    assert_eq!(window.state().page, Page::Train);
    assert!(window.state().run.as_ref().is_some_and(|run| run.is_trained()), "{}", window.log());
    // What is finished is listed with what it is worth, not offered to be continued.
    let mut window = Window::in_folder(window.close());
    window.settle();
    assert!(!window.can_press("Continue training") && window.shows("Verdict: "));
    window.press("Open digits");
    window.settle();
    assert_eq!(window.state().page, Page::Train);
}

/// The rectangles of all buttons but one.
fn buttons(window: &Window, except: &str) -> Vec<(String, Rect)> {
    let all = window.harness.root().children_recursive().collect::<Vec<_>>();
    all.iter()
        .filter(|node| node.accesskit_node().role() == Role::Button)
        .map(|node| (node.accesskit_node().label().unwrap_or_default(), node.rect()))
        .filter(|(name, _)| name != except)
        .collect()
}

#[test]
fn notices_stay_inside_the_page_and_leave_the_tour_alone() {
    let mut window = with_sample();
    let size = Vec2::new(900.0, 600.0);
    window.harness.set_size(size);
    window.app().send(Command::Tour(TourCommand::Start));
    let path = "/a/folder/with/a/long/name".repeat(8);
    window.app().state.shell.notice(format!("Something has happened to {path} just now"));
    window.app().state.shell.success("Another thing went well");
    window.frames(4);
    let notice = window.all(&[Role::Button], "Close this notice");
    assert_eq!(notice.len(), 2, "{}", window.names());
    let tour = window.find(&[Role::Button], "Leave the tour").rect();
    for close in notice {
        let rect = close.rect();
        assert!(rect.right() <= size.x && rect.bottom() <= tour.top(), "{rect:?} and {tour:?}");
    }
    let text = window.harness.root().children_recursive().find(|node| {
        let value = node.accesskit_node().value();
        value.is_some_and(|text| text.starts_with("Something has happened to"))
    });
    let rect = text.expect("the notice says so").rect();
    assert!(rect.left() >= 208.0 && rect.right() <= size.x, "{rect:?}");
    let close = |window: &mut Window| {
        window.all(&[Role::Button], "Close this notice")[0].click();
        window.frames(4);
    };
    close(&mut window);
    close(&mut window);
    assert!(window.all(&[Role::Button], "Close this notice").is_empty());
}

#[test]
fn what_the_keyboard_reaches_is_in_sight_and_moves_nothing() {
    let mut window = with_sample();
    let size = Vec2::new(900.0, 600.0);
    window.harness.set_size(size);
    window.go("Train");
    window.settle();
    let mut seen = 0;
    for _ in 0..60 {
        let before = window.state().page;
        window.keys(Modifiers::NONE, Key::Tab);
        window.frames(20);
        assert_eq!(window.state().page, before);
        let focused = window
            .harness
            .root()
            .children_recursive()
            .find(|node| node.accesskit_node().is_focused())
            .map(|node| (node.accesskit_node().label(), node.rect()));
        let Some((name, rect)) = focused else { continue };
        seen += 1;
        assert!(
            rect.top() >= -0.5 && rect.bottom() <= size.y + 0.5,
            "{name:?} has the focus and lies at {rect:?}"
        );
    }
    assert!(seen > 30, "{seen}");

    // A button with the focus is as large as without.
    window.go("Balance");
    window.settle();
    let before = buttons(&window, "");
    window.keys(Modifiers::NONE, Key::Tab);
    window.frames(10);
    assert_eq!(buttons(&window, ""), before);
}

#[test]
fn what_a_click_asks_for_is_in_the_frame_that_answers_it() {
    let mut window = Window::new();
    window.settle();
    for (page, shown) in [("Train", "Nothing to train on yet"), ("Data", "Open your images")] {
        window.tab(page).click();
        window.harness.step();
        // No frame with the old page is painted first: where the processor draws, each takes long.
        assert!(window.shows(shown), "{}", window.names());
    }
}

#[test]
fn a_small_dialog_after_a_large_one_is_small() {
    let mut window = Window::new();
    window.settle();
    window.app().send(Command::Backbones(BackbonesCommand::Choose));
    window.settle();
    window.press("Close");
    let report = ErrorReport {
        title: "It failed".into(),
        reason: "for a reason".into(),
        kept: "everything".into(),
        advice: "try again".into(),
    };
    window.app().state.shell.dialog = Some(Dialog::Error(report));
    window.frames(4);
    let advice = window.harness.get_by_label("try again").rect();
    let button = window.find(&[Role::Button], "Close").rect();
    assert!(button.top() - advice.bottom() < 40.0, "{advice:?} {button:?}");
}
