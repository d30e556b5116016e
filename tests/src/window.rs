//! The real window without a screen: its state is the program's own, its clicks go by accessible
//! names.

use std::time::{Duration, Instant};

use counterweight_app::gui::{CounterweightApp, Place, State};
use counterweight_core::model::WeightsFolder;
use egui::accesskit::{Role, Toggled};
use egui::{Event, Key, Modifiers, Theme, Vec2};
use egui_kittest::kittest::{NodeT, Queryable, by};
use egui_kittest::{Harness, HarnessBuilder, Node};
use tempfile::TempDir;

/// Longer than anything takes that a test waits for.
const PATIENCE: Duration = Duration::from_secs(300);

/// A window whose runs and caches lie in a folder that goes with it.
pub struct Window {
    /// What draws it.
    pub harness: Harness<'static, CounterweightApp>,
    /// Where it keeps things.
    pub folder: TempDir,
}

impl Window {
    /// A window that is not drawn to pixels.
    pub fn new() -> Self {
        Self::in_folder(tempfile::tempdir().expect("a temporary folder"))
    }

    /// A window over what an earlier one has left.
    pub fn in_folder(folder: TempDir) -> Self {
        let place = place(&folder);
        let builder = Harness::builder().with_size(Vec2::new(1600.0, 2400.0)).with_max_steps(64);
        Self::built(builder, folder, place)
    }

    /// A window of a size and theme that can be drawn to pixels.
    pub fn drawn(folder: TempDir, size: Vec2, theme: Theme) -> Self {
        let place = place(&folder);
        let builder =
            Harness::builder().with_size(size).with_theme(theme).with_max_steps(64).wgpu();
        Self::built(builder, folder, place)
    }

    fn built(builder: HarnessBuilder<CounterweightApp>, folder: TempDir, place: Place) -> Self {
        let mut harness = builder.build_eframe(|creation| CounterweightApp::new(creation, place));
        // What is tried out at once must not depend on how busy the machine is.
        harness.state_mut().state.balance.patience.0 = PATIENCE;
        Self { harness, folder }
    }

    /// What the window knows.
    pub fn app(&mut self) -> &mut CounterweightApp {
        self.harness.state_mut()
    }

    /// What its state is.
    pub fn state(&self) -> &State {
        &self.harness.state().state
    }

    /// A few frames.
    pub fn frames(&mut self, count: usize) {
        for _ in 0..count {
            self.harness.step();
        }
    }

    /// Frames until something is so.
    pub fn until(&mut self, what: &str, so: impl Fn(&CounterweightApp) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.harness.step();
            if so(self.harness.state()) {
                self.frames(3);
                return;
            }
            assert!(
                Instant::now() < deadline,
                "waited in vain for: {what}; the log says:\n{}",
                self.log()
            );
            // What is waited for has the processor meanwhile.
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Frames until nothing is being worked on.
    pub fn settle(&mut self) {
        self.frames(3);
        self.until("rest", CounterweightApp::is_idle);
    }

    /// Clicks what has this name.
    pub fn click(&mut self, label: &str) {
        self.harness.get_by_label(label).click();
        self.frames(3);
    }

    /// The one thing of this name and one of these roles.
    ///
    /// # Panics
    /// If there is none or more than one.
    pub fn find<'a>(&'a self, roles: &[Role], label: &'a str) -> Node<'a> {
        let found: Vec<Node<'_>> = self.all(roles, label);
        assert!(
            found.len() == 1,
            "{} things named {label:?}; named are:\n{}\nthe log says:\n{}",
            found.len(),
            self.names(),
            self.log()
        );
        found[0]
    }

    /// Everything of this name and one of these roles.
    pub fn all<'a>(&'a self, roles: &[Role], label: &'a str) -> Vec<Node<'a>> {
        let is_one = |node: &Node<'_>| roles.contains(&node.accesskit_node().role());
        self.harness.query_all(by().label(label)).filter(is_one).collect()
    }

    /// Presses the button of this name.
    ///
    /// # Panics
    /// If there is no such button, or it cannot be pressed.
    pub fn press(&mut self, label: &str) {
        let button = self.find(&[Role::Button], label);
        assert!(!button.accesskit_node().is_disabled(), "{label:?} cannot be pressed");
        button.click();
        self.frames(3);
    }

    /// Presses the button that exports; its name depends on what the result is worth.
    pub fn export(&mut self) {
        let label =
            if self.can_press("Export anyway") { "Export anyway" } else { "Export and check" };
        self.press(label);
    }

    /// Presses the one button whose name begins so.
    ///
    /// # Panics
    /// If there is none.
    pub fn press_beginning(&mut self, beginning: &str) {
        let begins = |node: &Node<'_>| {
            node.accesskit_node().label().is_some_and(|name| name.starts_with(beginning))
        };
        let button = self.harness.query_all(by().role(Role::Button)).find(begins);
        button
            .unwrap_or_else(|| {
                panic!("no button begins with {beginning:?}; named are:\n{}", self.names())
            })
            .click();
        self.frames(3);
    }

    /// Whether the button of this name is there and can be pressed.
    pub fn can_press(&self, label: &str) -> bool {
        self.all(&[Role::Button], label).iter().any(|button| !button.accesskit_node().is_disabled())
    }

    /// The rail's entry of this page.
    ///
    /// # Panics
    /// If the rail has none.
    pub fn tab(&self, label: &str) -> Node<'_> {
        let mut tabs = self.harness.query_all(by().role(Role::Tab));
        let is_it = |node: &Node<'_>| {
            node.accesskit_node()
                .label()
                .is_some_and(|name| name.split([' ', ',']).any(|word| word == label))
        };
        tabs.find(is_it).unwrap_or_else(|| panic!("the rail has no {label}"))
    }

    /// Goes to a page by the rail: `label` is its name.
    pub fn go(&mut self, label: &str) {
        self.tab(label).click();
        self.frames(4);
    }

    /// Switches a checkbox on or off, if it is not so already.
    pub fn tick(&mut self, label: &str, on: bool) {
        let checkbox = self.find(&[Role::CheckBox], label);
        if checkbox.accesskit_node().toggled()
            != Some(if on { Toggled::True } else { Toggled::False })
        {
            checkbox.click();
            self.frames(3);
        }
    }

    /// Types into the number of this name, as one does: a click, the digits, Enter.
    pub fn set_number(&mut self, label: &str, text: &str) {
        self.find(&[Role::SpinButton], label).click();
        self.frames(2);
        self.keys(Modifiers::COMMAND, Key::A);
        self.harness.event(Event::Text(text.into()));
        self.frames(1);
        self.keys(Modifiers::NONE, Key::Enter);
        self.frames(3);
    }

    /// Types into what has the keyboard.
    pub fn text(&mut self, text: &str) {
        self.harness.event(Event::Text(text.into()));
        self.frames(3);
    }

    /// Presses keys together.
    pub fn keys(&mut self, modifiers: Modifiers, key: Key) {
        self.harness.key_press_modifiers(modifiers, key);
        self.frames(3);
    }

    /// What is named on the window, one line each: role and name.
    pub fn names(&self) -> String {
        let name = |node: Node<'_>| {
            let node = node.accesskit_node();
            let name = if node.role() == Role::Label { node.value() } else { node.label() };
            name.map(|name| format!("{:?}: {name}\n", node.role()))
        };
        self.harness.root().children_recursive().filter_map(name).collect()
    }

    /// Closes the window; gives what it has left.
    pub fn close(self) -> TempDir {
        drop(self.harness);
        self.folder
    }

    /// Whether something with this name is shown.
    pub fn shows(&self, label: &str) -> bool {
        self.harness.query_all_by_label_contains(label).next().is_some()
    }

    /// Types into the field of this name, in place of what it holds.
    pub fn enter(&mut self, label: &str, text: &str) {
        self.find(&[Role::TextInput], label).click();
        self.frames(2);
        self.keys(Modifiers::COMMAND, Key::A);
        self.harness.event(Event::Text(text.into()));
        self.frames(3);
    }

    /// What has happened.
    pub fn log(&self) -> String {
        self.harness.state().state.shell.log.text()
    }
}

impl Default for Window {
    fn default() -> Self {
        Self::new()
    }
}

fn place(folder: &TempDir) -> Place {
    let cache = folder.path().join("cache");
    let weights = Some(WeightsFolder::in_folder(cache.join("backbones")));
    Place {
        runs: folder.path().join("runs"),
        cache,
        weights,
        downloads: None,
        program: Some(crate::binary()),
    }
}
