//! What those meet who do not use a mouse, or do not see the window.

use counterweight_app::gui::{Command, Page, ThemeChoice, WindowCommand};
use counterweight_tests::window::Window;
use egui::accesskit::{Action, Role};
use egui::{Event, Key, Modifiers};
use egui_kittest::kittest::{NodeT, Queryable, by};

use crate::{train, with_sample};

#[test]
fn a_command_is_found_by_its_letters_and_run_with_enter() {
    let mut window = Window::new();
    window.settle();
    window.keys(Modifiers::COMMAND, Key::P);
    assert!(window.state().shell.palette_open);
    window.harness.event(Event::Text("dark".into()));
    window.frames(3);
    window.keys(Modifiers::NONE, Key::Enter);
    assert_eq!(window.state().shell.preferences.theme, ThemeChoice::Dark);
    assert!(!window.state().shell.palette_open);
    assert!(window.harness.ctx.global_style().visuals.dark_mode);
    window.keys(Modifiers::COMMAND, Key::P);
    window.keys(Modifiers::NONE, Key::Escape);
    assert!(!window.state().shell.palette_open);
}

/// The names of everything the Tab key reaches, until it comes round.
fn reached(window: &mut Window) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut first = None;
    for _ in 0..400 {
        window.harness.key_press(Key::Tab);
        window.frames(2);
        let focused = window.harness.root().children_recursive().find(|node| node.is_focused());
        let Some((id, name)) = focused.map(|node| {
            (node.accesskit_node().id(), node.accesskit_node().label().unwrap_or_default())
        }) else {
            continue;
        };
        if first == Some(id) {
            break;
        }
        first.get_or_insert(id);
        names.push(name);
    }
    names
}

#[test]
fn the_keyboard_reaches_every_page_and_what_is_to_be_done_there() {
    let mut window = with_sample();
    train(&mut window, 1);
    window.app().state.train.show_curves = false;
    let pages = [
        (Key::Num1, Page::Data, "Continue to training"),
        (Key::Num2, Page::Train, "Train"),
        (Key::Num3, Page::Balance, "Use for this run"),
        (Key::Num4, Page::Inspect, "Continue to export"),
        (Key::Num5, Page::Export, "Export and check"),
        (Key::Num6, Page::Runs, "Open digits"),
    ];
    for (key, page, button) in pages {
        window.keys(Modifiers::COMMAND, key);
        window.settle();
        assert_eq!(window.state().page, page);
        if page == Page::Train {
            // The name of the run that is there is taken; another one is offered.
            assert!(window.can_press("Train"), "{}", window.names());
        }
        if page == Page::Balance {
            window.click("Adjust by hand");
            window.frames(20);
            window.tick("τ-normalisation", true);
            window.settle();
        }
        let reached = reached(&mut window);
        for step in ["1 Data", "2 Train", "3 Balance", "4 Inspect", "5 Export", "Runs"] {
            assert!(
                reached.iter().any(|name| name.starts_with(step)),
                "{page:?}: {step} is not among {reached:?}"
            );
        }
        // Where the result is worth nothing the button says so.
        let is_it =
            |name: &String| name == button || (page == Page::Export && name == "Export anyway");
        assert!(reached.iter().any(is_it), "{page:?}: {button} is not among {reached:?}");
        window.harness.key_press(Key::Escape);
        window.frames(2);
    }
}

/// Whether something can be clicked or changed.
fn is_used(node: &egui_kittest::Node<'_>) -> bool {
    let passive = [
        Role::Label,
        Role::Window,
        Role::GenericContainer,
        Role::Unknown,
        Role::ScrollView,
        Role::ScrollBar,
    ];
    let node = node.accesskit_node();
    let acts =
        node.data().supports_action(Action::Click) || node.data().supports_action(Action::Focus);
    acts && !passive.contains(&node.role())
}

fn describe(node: &egui_kittest::Node<'_>) -> String {
    format!(
        "{:?} {:?} at {:?}",
        node.accesskit_node().role(),
        node.accesskit_node().label(),
        node.rect()
    )
}

/// What can be clicked or changed: how much of it there is, and what of it has no name. An icon is
/// a letter of a private area and a sign is not a letter; neither should be read out.
fn nameless(window: &Window) -> (usize, Vec<String>) {
    let used: Vec<_> = window.harness.root().children_recursive().filter(is_used).collect();
    let offends = |node: &&egui_kittest::Node<'_>| {
        !node.accesskit_node().label().unwrap_or_default().chars().any(char::is_alphabetic)
    };
    (used.len(), used.iter().filter(offends).map(|node| describe(node)).collect())
}

#[test]
fn everything_that_can_be_used_has_a_name() {
    let mut window = Window::new();
    window.settle();
    let (mut seen, mut offenders) = (0, Vec::new());
    let mut look = |window: &mut Window, place: &str| {
        window.frames(3);
        let (used, found) = nameless(window);
        seen += used;
        offenders.extend(found.into_iter().map(|what| format!("{place}: {what}")));
    };
    for page in ["Data", "Train", "Balance", "Inspect", "Export", "Images", "Runs"] {
        window.go(page);
        look(&mut window, &format!("{page}, empty"));
    }
    window.go("Data");
    window.press("Use the built-in sample");
    window.settle();
    train(&mut window, 1);
    for page in ["Data", "Train", "Balance", "Inspect", "Export", "Images", "Runs"] {
        window.go(page);
        window.settle();
        if page == "Train" {
            look(&mut window, "Train, curves");
            window.press("New run");
            window.press("More settings");
        }
        if page == "Balance" {
            window.click("Adjust by hand");
            window.frames(20);
            for balancer in ["τ-normalisation", "Weight decay", "MaxNorm", "Logit adjustment"] {
                window.tick(balancer, true);
            }
            window.settle();
            if window.can_press("More settings") {
                window.press("More settings");
            }
            window.press("Use for this run");
            window.settle();
        }
        if page == "Export" {
            window.export();
            window.settle();
            window.press("Next sample");
            window.settle();
        }
        if page == "Runs" {
            window.press("Compare digits");
            window.settle();
        }
        look(&mut window, page);
    }
    window.press("Menu");
    look(&mut window, "the menu");
    window.keys(Modifiers::NONE, Key::Escape);
    for command in [
        WindowCommand::TogglePalette,
        WindowCommand::Dismiss,
        WindowCommand::ToggleLog,
        WindowCommand::About,
    ] {
        window.app().send(Command::Window(command));
        look(&mut window, &format!("{command:?}"));
    }
    assert!(seen > 400, "{seen} are too few to be everything");
    assert!(offenders.is_empty(), "{} without a name:\n{}", offenders.len(), offenders.join("\n"));
}

#[test]
fn everything_stays_inside_the_smallest_window() {
    let mut window = with_sample();
    train(&mut window, 1);
    let size = egui::vec2(720.0, 480.0);
    window.harness.set_size(size);
    for page in ["Data", "Train", "Balance", "Inspect", "Export", "Images", "Runs"] {
        window.go(page);
        window.settle();
        if page == "Train" {
            window.press("New run");
        }
        window.frames(4);
        let leaves = |node: &egui_kittest::Node<'_>| {
            node.rect().left() < 0.0 || node.rect().right() > size.x + 0.5
        };
        // What scrolls sideways may.
        let scrolls = |node: &egui_kittest::Node<'_>| {
            node.accesskit_node().label().is_some_and(|name| name.starts_with("Sort by"))
        };
        let outside =
            |node: &egui_kittest::Node<'_>| is_used(node) && leaves(node) && !scrolls(node);
        let found: Vec<_> = window
            .harness
            .root()
            .children_recursive()
            .filter(outside)
            .map(|node| describe(&node))
            .collect();
        assert!(found.is_empty(), "{page}: {}", found.join("\n"));
        let menu = window.find(&[Role::Button], "Menu").rect();
        let tabs = window.harness.query_all(by().role(Role::Tab)).map(|tab| tab.rect().bottom());
        let lowest = tabs.into_iter().fold(0.0, f32::max);
        assert!(
            menu.bottom() <= size.y && lowest <= menu.top(),
            "{page}: {menu:?} and pages down to {lowest}"
        );
    }
}
