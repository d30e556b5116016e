//! The guided tour, from the first step to the last.

use counterweight_app::gui::{Page, TourStep};
use counterweight_tests::window::Window;

fn leave_and_resume(window: &mut Window) {
    let step = window.state().tour.step();
    window.press("Leave the tour");
    assert!(!window.state().tour.active);
    window.press("Menu");
    window.press("Resume the guided tour");
    assert!(window.state().tour.active);
    assert_eq!(window.state().tour.step(), step);
}

#[test]
fn the_tour_is_walked_to_its_end() {
    let mut window = Window::new();
    window.settle();
    window.press("Start the guided tour");
    for (number, step) in TourStep::ALL.into_iter().enumerate() {
        window.settle();
        assert_eq!(window.state().tour.step(), step);
        assert!(
            window.shows(step.title()) && window.shows(&format!("{} of 14", number + 1)),
            "{}",
            window.names()
        );
        if let Some(action) = step.action().filter(|_| step != TourStep::Yours) {
            assert!(!window.state().tour_done(), "{step:?} is done before anything was done");
            window.press(action);
            window.settle();
        }
        assert!(window.state().tour_done(), "{step:?}: {}", window.log());
        // What it says of results was measured on this tour, and is there to be read.
        let measured = window.state().tour_measured();
        let tells = [
            TourStep::SeeWithout,
            TourStep::SeeBoth,
            TourStep::TryL2,
            TourStep::TryTau,
            TourStep::TryMaxNorm,
            TourStep::ReadComparison,
        ];
        assert_eq!(measured.is_some(), tells.contains(&step), "{step:?}: {measured:?}");
        if let Some(measured) = measured {
            assert!(window.shows(&measured), "{measured}: {}", window.names());
        }
        if matches!(step, TourStep::SeeWithout | TourStep::TryTau) {
            leave_and_resume(&mut window);
        }
        window.press(if step == TourStep::Yours { "End the tour" } else { "Next" });
    }
    let state = window.state();
    assert!(!state.tour.active);
    assert_eq!((state.page, state.tour.step()), (Page::Data, TourStep::Welcome));
    // What the tour says is to be seen is there to be seen.
    let runs = state.shell.runs_folder();
    let few = |name: &str| {
        let summary = counterweight_core::run::summary(&runs.join(name)).unwrap();
        let log = counterweight_core::run::Run::open(&summary.folder).unwrap();
        log.history().iter().filter_map(|record| record.validation_balanced).next_back().unwrap()
    };
    assert!(few("tour with weight decay") > 0.3 && few("tour without weight decay") > 0.2);
}
