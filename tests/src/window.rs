//! The real window without a screen: its state is the program's own, its clicks go by accessible names.

use std::time::{Duration, Instant};

use counterweight_app::gui::{CounterweightApp, Place};
use egui::{Theme, Vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;
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
        Self { harness: builder.build_eframe(|creation| CounterweightApp::new(creation, place)), folder }
    }

    /// A window of a size and theme that can be drawn to pixels.
    pub fn drawn(folder: TempDir, size: Vec2, theme: Theme) -> Self {
        let place = place(&folder);
        let builder = Harness::builder().with_size(size).with_theme(theme).with_max_steps(64).wgpu();
        Self { harness: builder.build_eframe(|creation| CounterweightApp::new(creation, place)), folder }
    }

    /// What the window knows.
    pub fn app(&mut self) -> &mut CounterweightApp {
        self.harness.state_mut()
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
            assert!(Instant::now() < deadline, "waited in vain for: {what}; the log says:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
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

    /// Whether something with this name is shown.
    pub fn shows(&self, label: &str) -> bool {
        self.harness.query_all_by_label_contains(label).next().is_some()
    }

    /// Types into the field of this name, in place of what it holds.
    pub fn enter(&mut self, label: &str, text: &str) {
        let field = self.harness.get_by_label(label);
        field.focus();
        self.harness.step();
        self.harness.key_press_modifiers(egui::Modifiers::COMMAND, egui::Key::A);
        self.harness.step();
        self.harness.get_by_label(label).type_text(text);
        self.frames(2);
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
    Place { runs: folder.path().join("runs"), cache: folder.path().join("cache") }
}
