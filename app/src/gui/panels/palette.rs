//! The list of all commands: type a few letters, press Enter.

use egui::{Align2, Id, Key, Modal, Modifiers, RichText, ScrollArea, TextEdit, Ui};
use nucleo_matcher::pattern::{CaseMatching, Normalization, Pattern};
use nucleo_matcher::{Config, Matcher, Utf32Str};

use crate::gui::command::{Command, WindowCommand};
use crate::gui::entries::{Entry, entries};
use crate::gui::state::State;
use crate::gui::theme::{self, space, tokens};

/// The list of all commands.
#[derive(Default)]
pub struct Palette {
    text: String,
    chosen: usize,
    was_open: bool,
}

impl Palette {
    /// Draws the list while it is open.
    pub fn ui(&mut self, ui: &mut Ui, state: &State, commands: &mut Vec<Command>) {
        let opened = state.shell.palette_open && !self.was_open;
        self.was_open = state.shell.palette_open;
        if !state.shell.palette_open {
            return;
        }
        if opened {
            self.text.clear();
            self.chosen = 0;
        }
        let found = found(&self.text);
        self.chosen = self.chosen.min(found.len().saturating_sub(1));
        let (down, up, enter) = ui.input_mut(|input| {
            let mut pressed = |key| input.consume_key(Modifiers::NONE, key);
            (pressed(Key::ArrowDown), pressed(Key::ArrowUp), pressed(Key::Enter))
        });
        if down && self.chosen + 1 < found.len() {
            self.chosen += 1;
        }
        if up {
            self.chosen = self.chosen.saturating_sub(1);
        }
        let mut run =
            enter.then(|| found.get(self.chosen).map(|entry| entry.command.clone())).flatten();
        let area = egui::Area::new(Id::unique("palette area"))
            .anchor(Align2::CENTER_TOP, [0.0, 90.0])
            .order(egui::Order::Foreground);
        let modal = Modal::new(Id::unique("palette"))
            .area(area)
            .frame(theme::dialog_frame(ui))
            .show(ui.ctx(), |ui| {
                ui.set_width(520.0);
                let field = TextEdit::singleline(&mut self.text)
                    .hint_text("What do you want to do?")
                    .desired_width(f32::INFINITY);
                let response = ui.add(field);
                response.widget_info(|| {
                    egui::WidgetInfo::labeled(egui::Role::TextInput, true, "Search commands")
                });
                response.request_focus();
                if response.changed() {
                    self.chosen = 0;
                }
                ui.add_space(space::SMALL);
                // With half of one more row, which says that there are more.
                ScrollArea::vertical().max_height(11.5 * 32.0).auto_shrink([false, true]).show(
                    ui,
                    |ui| {
                        ui.spacing_mut().item_spacing.y = 2.0;
                        if found.is_empty() {
                            ui.label(RichText::new("No command has these letters").weak());
                        }
                        for (index, entry) in found.iter().enumerate() {
                            if entry_ui(ui, entry, index == self.chosen, down || up) {
                                run = Some(entry.command.clone());
                            }
                        }
                    },
                );
            });
        if let Some(command) = run {
            commands.push(Command::Window(WindowCommand::Dismiss));
            commands.push(command);
        } else if modal.should_close() {
            commands.push(Command::Window(WindowCommand::Dismiss));
        }
    }
}

fn entry_ui(ui: &mut Ui, entry: &Entry, chosen: bool, moved: bool) -> bool {
    let tokens = tokens(ui.visuals());
    let name = format!("{}: {}", entry.area, entry.label);
    let keys =
        entry.shortcut.map(|shortcut| ui.ctx().format_shortcut(&shortcut)).unwrap_or_default();
    let button = egui::Button::selectable(chosen, RichText::new(&name).color(tokens.text))
        .min_size([ui.available_width(), 30.0].into());
    let button = button.right_text(RichText::new(keys).small().color(tokens.text_weak));
    let response = ui.add(button);
    response.widget_info(|| egui::WidgetInfo::selected(egui::Role::Button, true, chosen, &name));
    if chosen && moved {
        response.scroll_to_me(None);
    }
    response.clicked()
}

/// The commands whose words hold the letters, best first; all of them where nothing was typed.
fn found(text: &str) -> Vec<Entry> {
    let all = entries();
    if text.trim().is_empty() {
        return all;
    }
    let pattern = Pattern::parse(text, CaseMatching::Ignore, Normalization::Smart);
    let mut matcher = Matcher::new(Config::DEFAULT);
    let mut buffer = Vec::new();
    let mut scored: Vec<(u32, Entry)> = all
        .into_iter()
        .filter_map(|entry| {
            let words = format!("{} {}", entry.area, entry.label);
            pattern
                .score(Utf32Str::new(&words, &mut buffer), &mut matcher)
                .map(|score| (score, entry))
        })
        .collect();
    scored.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
    scored.into_iter().map(|(_, entry)| entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_letters_find_a_command() {
        assert_eq!(found("dark")[0].label, "Dark theme");
        assert_eq!(found("opsamp")[0].label, "Open the built-in sample");
        assert!(found("qqqq").is_empty());
        assert_eq!(found("  ").len(), entries().len());
    }
}
