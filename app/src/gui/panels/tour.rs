//! The guided tour: a card at the bottom that says what is to be seen, and does it if asked.

use egui::{Align, Frame, Layout, Margin, Panel, RichText, Ui};
use egui_material_icons::icons::{ICON_CLOSE, ICON_SCHOOL};

use crate::gui::command::{Command, TourCommand};
use crate::gui::state::{State, TourStep};
use crate::gui::theme::{self, icon, tokens};
use crate::gui::widgets::{IconButton, primary};

/// Draws the card.
pub fn ui(ui: &mut Ui, state: &State, commands: &mut Vec<Command>) {
    let tokens = tokens(ui.visuals());
    let frame = Frame::new().fill(tokens.accent_wash).inner_margin(Margin::symmetric(24, 14));
    Panel::bottom("tour").resizable(false).frame(frame).show(ui, |ui| {
        let step = state.tour.step();
        ui.horizontal(|ui| {
            ui.label(icon(ICON_SCHOOL).size(20.0).color(tokens.accent_text));
            ui.label(theme::heading(step.title()));
            ui.label(
                RichText::new(format!("{} of {}", state.tour.number(), TourStep::ALL.len())).weak(),
            );
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                if IconButton::new(ICON_CLOSE, "Leave the tour")
                    .icon_only()
                    .quiet()
                    .show(ui)
                    .clicked()
                {
                    commands.push(Command::Tour(TourCommand::Leave));
                }
            });
        });
        ui.scope(|ui| {
            ui.set_max_width(ui.available_width().min(860.0));
            ui.label(step.text());
            if let Some(measured) = state.tour_measured() {
                ui.label(theme::strong(measured));
            }
        });
        ui.horizontal(|ui| {
            let done = state.tour_done();
            if let Some(action) = step.action() {
                let button = if done { egui::Button::new(action) } else { primary(ui, action) };
                if ui.add_enabled(!state.train.is_running(), button).clicked() {
                    commands.push(Command::Tour(TourCommand::Act));
                }
            }
            let last = step == TourStep::Yours;
            let next = if last { "End the tour" } else { "Next" };
            let button = if done && !last { primary(ui, next) } else { egui::Button::new(next) };
            if ui.add(button).clicked() {
                commands.push(Command::Tour(TourCommand::Next));
            }
            if state.tour.number() > 1 && ui.button("Back").clicked() {
                commands.push(Command::Tour(TourCommand::Back));
            }
            if state.train.is_running() {
                ui.label(
                    RichText::new("Training; this takes about a minute").color(tokens.text_weak),
                );
            }
        });
    });
}
