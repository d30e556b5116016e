//! The chooser of backbones: all that there are with size, accuracy and licence, what can be
//! downloaded, and files.

use counterweight_core::model::Listed;
use counterweight_core::settings::{Auto, Training};
use egui::{Align, Button, Label, Layout, Margin, RichText, ScrollArea, Ui, vec2};

use super::parts;
use crate::gui::command::{BackbonesCommand, Command};
use crate::gui::state::{BackbonesState, NORMALISATIONS, State};
use crate::gui::theme::{self, card_frame, space, tokens};
use crate::gui::widgets::{numbers, primary};

/// Width of the chooser, where there is room.
pub const WIDTH: f32 = 720.0;
/// Height that is left for all but the list.
const AROUND: f32 = 300.0;
/// Width of what is done with a backbone.
const ACTIONS: f32 = 190.0;

/// Draws the chooser. Whether it is to be closed.
pub fn ui(ui: &mut Ui, state: &State, commands: &mut Vec<Command>) -> bool {
    let settings = &state.train.settings;
    ui.label(theme::heading("Choose a backbone"));
    let text = match settings.stage1.train {
        Auto::Value(Training::Scratch) => {
            "The network that turns an image into features. Training from scratch is chosen, so its weights are not used: it learns from your images alone."
        }
        _ => {
            "The network that turns an image into features. One with weights has learned from a million photos; what it is worth on yours is for your \
             validation images to say, not for its accuracy on ImageNet."
        }
    };
    ui.label(RichText::new(text).small().weak());
    ui.add_space(space::MEDIUM);
    let height = (ui.ctx().content_rect().height() - AROUND).max(160.0);
    ScrollArea::vertical().max_height(height).show(ui, |ui| {
        let mut all: Vec<&Listed> = state.backbones.listed.iter().collect();
        // What can be used at once comes first, then what can be downloaded.
        all.sort_by_key(|listed| (!listed.has_weights(), listed.published.is_empty()));
        for listed in all {
            let in_use = settings.model.backbone == listed.backbone;
            row_ui(ui, listed, in_use, state.backbones.is_busy(), commands);
        }
        if let Some(file) = settings.model.backbone.file() {
            entry_ui(
                ui,
                true,
                |ui| {
                    ui.add(Label::new(theme::strong(settings.model.backbone.name())).truncate());
                    let path = RichText::new(file.display().to_string()).small().weak();
                    ui.add(Label::new(path).truncate());
                },
                in_use_ui,
            );
        }
    });
    ui.add_space(space::MEDIUM);
    said_ui(ui, &state.backbones, commands);
    let mut closed = false;
    ui.horizontal(|ui| {
        let text = "Weights of PyTorch (.pth, .pt) or .safetensors for one of these, or any feature extractor as .onnx. Nothing in a file is executed.";
        if ui.add_enabled(!state.backbones.is_busy(), Button::new("From a file…")).on_hover_text(text).clicked() {
            commands.push(Command::Backbones(BackbonesCommand::PickFile));
        }
        ui.label(RichText::new(".pth, .pt, .safetensors or .onnx").small().weak());
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| closed = ui.add(primary(ui, "Close")).clicked());
    });
    closed
}

/// A backbone of the program's own.
fn row_ui(ui: &mut Ui, listed: &Listed, in_use: bool, busy: bool, commands: &mut Vec<Command>) {
    let tokens = tokens(ui.visuals());
    let about = |ui: &mut Ui| {
        ui.spacing_mut().item_spacing.y = space::SMALL / 2.0;
        ui.horizontal_wrapped(|ui| {
            ui.label(theme::strong(listed.name));
            let features = numbers::grouped(listed.features as u64);
            ui.label(
                RichText::new(format!("{features} features, {}", listed.summary)).small().weak(),
            );
        });
        match (listed.bytes, listed.published.first()) {
            (Some(bytes), _) => {
                let accuracy = listed.top1.map_or_else(String::new, |top1| {
                    format!(", {} on ImageNet", numbers::percent(Some(top1)))
                });
                let licence = listed.licence.as_deref().unwrap_or("unknown");
                let text = format!(
                    "Weights: {}, {}{accuracy}. Licence: {licence}.",
                    listed.weights,
                    numbers::bytes(bytes)
                );
                ui.add(Label::new(RichText::new(text).small().color(tokens.good)).wrap());
            }
            (None, Some(offered)) => {
                let text = format!(
                    "{} on ImageNet. Licence: {}.",
                    numbers::percent(Some(offered.top1)),
                    offered.licence
                );
                ui.add(Label::new(RichText::new(text).small().weak()).wrap());
            }
            (None, None) => {}
        }
        if let Some(problem) = &listed.problem {
            ui.add(
                Label::new(
                    RichText::new(format!("Not usable: {problem}")).small().color(tokens.bad),
                )
                .wrap(),
            );
        }
    };
    let actions = |ui: &mut Ui| {
        if in_use {
            in_use_ui(ui);
        } else if listed.has_weights() {
            let button = ui.add(Button::new("Use")).accessible_name(format!("Use {}", listed.name));
            if button.clicked() {
                commands.push(Command::Backbones(BackbonesCommand::Use(listed.backbone)));
            }
        }
        if !listed.has_weights() {
            if let Some(offered) = listed.published.first() {
                let size = offered
                    .bytes
                    .map_or_else(String::new, |bytes| format!(" {}", numbers::bytes(bytes)));
                let button = ui.add_enabled(!busy, Button::new(format!("Download{size}")));
                let button = button.accessible_name(format!("Download {}", listed.name));
                if button.on_hover_text(&offered.address).clicked() {
                    commands.push(Command::Backbones(BackbonesCommand::Download(listed.backbone)));
                }
            }
            if listed.backbone.info().trains && !in_use {
                let button = ui
                    .add(Button::new("From scratch"))
                    .accessible_name(format!("Train {} from scratch", listed.name));
                if button
                    .on_hover_text("Without weights: it learns from your images alone")
                    .clicked()
                {
                    commands.push(Command::Backbones(BackbonesCommand::Use(listed.backbone)));
                }
            }
        }
    };
    entry_ui(ui, in_use, about, actions);
}

fn in_use_ui(ui: &mut Ui) {
    let color = tokens(ui.visuals()).accent_text;
    ui.label(RichText::new("In use").color(color));
}

/// What is told on the left, and what can be done on the right.
fn entry_ui(ui: &mut Ui, in_use: bool, about: impl FnOnce(&mut Ui), actions: impl FnOnce(&mut Ui)) {
    let tokens = tokens(ui.visuals());
    let mut frame =
        card_frame(ui).inner_margin(Margin::symmetric(space::LARGE as i8, space::MEDIUM as i8));
    if in_use {
        frame = frame.fill(tokens.accent_wash);
    }
    frame.show(ui, |ui| {
        ui.set_width(ui.available_width());
        ui.horizontal_top(|ui| {
            let width = ui.available_width() - ACTIONS - space::MEDIUM;
            ui.vertical(|ui| {
                ui.set_width(width);
                about(ui);
            });
            ui.allocate_ui_with_layout(
                vec2(ui.available_width(), 0.0),
                Layout::top_down(Align::Max),
                actions,
            );
        });
    });
    ui.add_space(space::SMALL);
}

/// What is being done, and what came of what was done last.
fn said_ui(ui: &mut Ui, backbones: &BackbonesState, commands: &mut Vec<Command>) {
    let tokens = tokens(ui.visuals());
    if let Some(progress) = backbones.progress() {
        if parts::stoppable(ui, progress, "Starting", backbones.is_stopping()) {
            commands.push(Command::Backbones(BackbonesCommand::Stop));
        }
        ui.add_space(space::MEDIUM);
    }
    for (text, color) in [(&backbones.said, tokens.text), (&backbones.failure, tokens.bad)] {
        if let Some(text) = text {
            ui.add(Label::new(RichText::new(text).color(color)).wrap());
            ui.add_space(space::MEDIUM);
        }
    }
    if let Some(path) = &backbones.unnormalised {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        ui.add(
            Label::new(
                RichText::new(format!("Nothing says what numbers {name} wants its pixels in."))
                    .color(tokens.warn),
            )
            .wrap(),
        );
        ui.label(
            RichText::new("The publisher of the network says which, or a preprocessor_config.json beside the file. Most networks want the first.").small().weak(),
        );
        ui.horizontal_wrapped(|ui| {
            for (words, value) in NORMALISATIONS {
                if ui.button(words).clicked() {
                    commands.push(Command::Backbones(BackbonesCommand::TakeNormalised(
                        path.clone(),
                        value,
                    )));
                }
            }
        });
        ui.add_space(space::MEDIUM);
    }
}
