//! The log at the bottom: what has happened, newest last.

use std::time::{Duration, SystemTime};

use counterweight_core::job::Level;
use egui::{Align, Frame, Label, Layout, Margin, Panel, RichText, ScrollArea, TextStyle, Ui};
use egui_material_icons::icons::{ICON_CLOSE, ICON_CONTENT_COPY};

use crate::gui::command::{Command, WindowCommand};
use crate::gui::state::{LogLine, State};
use crate::gui::theme::{self, tokens};
use crate::gui::widgets::IconButton;

/// Draws the log.
pub fn ui(ui: &mut Ui, state: &State, commands: &mut Vec<Command>) {
    let fill = tokens(ui.visuals()).surface;
    let frame = Frame::new().fill(fill).inner_margin(Margin::symmetric(16, 8));
    Panel::bottom("log")
        .default_size(180.0)
        .size_range(80.0..=600.0)
        .resizable(true)
        .frame(frame)
        .show(ui, |ui| {
            ui.horizontal(|ui| {
                ui.label(theme::heading("Log"));
                ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                    if IconButton::new(ICON_CLOSE, "Hide the log").icon_only().show(ui).clicked() {
                        commands.push(Command::Window(WindowCommand::ToggleLog));
                    }
                    if IconButton::new(ICON_CONTENT_COPY, "Copy the whole log")
                        .icon_only()
                        .show(ui)
                        .clicked()
                    {
                        ui.ctx().copy_text(state.shell.log.text());
                    }
                });
            });
            let lines = state.shell.log.lines();
            let height = ui.text_style_height(&TextStyle::Body);
            ScrollArea::vertical().auto_shrink(false).stick_to_bottom(true).show_rows(
                ui,
                height,
                lines.len(),
                |ui, rows| {
                    for row in rows {
                        if let Some(line) = lines.get(row) {
                            line_ui(ui, line);
                        }
                    }
                },
            );
        });
}

fn line_ui(ui: &mut Ui, line: &LogLine) {
    let tokens = tokens(ui.visuals());
    let color = match (line.failed, line.level) {
        (true, _) => tokens.bad,
        (false, Level::Warning) => tokens.warn,
        (false, Level::Info) => tokens.text,
    };
    ui.horizontal(|ui| {
        ui.label(RichText::new(ago(line.time)).monospace().color(tokens.text_weak));
        ui.add(Label::new(RichText::new(&line.text).color(color)).truncate())
            .on_hover_text(&line.text);
    });
}

/// How long ago something was: a clock would need the time zone, which the standard library does
/// not know.
fn ago(time: SystemTime) -> String {
    let seconds = SystemTime::now().duration_since(time).unwrap_or(Duration::ZERO).as_secs();
    match seconds {
        0..60 => format!("{seconds:>3} s ago"),
        60..3600 => format!("{:>3} m ago", seconds / 60),
        _ => format!("{:>3} h ago", seconds / 3600),
    }
}
