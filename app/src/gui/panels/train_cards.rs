//! The two ways to train, and what was chosen in place of the person.

use counterweight_core::pipeline::{Chosen, Estimate};
use counterweight_core::settings::{Auto, Preset, Training};
use egui::{RichText, Ui};

use super::dialogs::primary;
use crate::gui::command::{Command, TrainCommand};
use crate::gui::state::{Found, TrainState};
use crate::gui::theme::{self, card, card_frame, space, tokens};

/// From this width on cards stand side by side.
const WIDE: f32 = 640.0;

/// A way to train.
struct Way {
    preset: Preset,
    name: &'static str,
    text: &'static str,
    recommended: bool,
}

const WAYS: [Way; 2] = [
    Way {
        preset: Preset::Auto,
        name: "Start from what it has seen before",
        text: "A network that has seen a million photos looks at yours, and only its last layer learns your classes. Hard to beat with few images. Where \
               training from scratch turns out to be better, that is done instead, or offered.",
        recommended: true,
    },
    Way {
        preset: Preset::Quick,
        name: "From scratch",
        text: "Everything is learned from your images alone. For drawings, symbols and other images that are no photos, and for hundreds or \
               thousands of images of each class.",
        recommended: false,
    },
];

/// The cards to choose from. Choosing one takes its settings.
pub fn ui(ui: &mut Ui, train: &mut TrainState) {
    let from_scratch = train.settings.stage1.train == Auto::Value(Training::Scratch);
    let found = train.estimates.found();
    let mut chosen = None;
    let mut way_ui = |ui: &mut Ui, way: &Way, train: &TrainState| {
        let selected = from_scratch != way.recommended;
        if way_card(ui, way, selected, time(way, found, train.estimates.is_measuring())) && !selected {
            chosen = Some(way.preset);
        }
    };
    if ui.available_width() > WIDE {
        let width = (ui.available_width() - space::LARGE) / 2.0;
        ui.horizontal_top(|ui| {
            ui.spacing_mut().item_spacing.x = space::LARGE;
            for way in &WAYS {
                ui.vertical(|ui| {
                    ui.set_width(width);
                    way_ui(ui, way, train);
                });
            }
        });
    } else {
        for way in &WAYS {
            way_ui(ui, way, train);
            ui.add_space(space::MEDIUM);
        }
    }
    if let Some(preset) = chosen {
        train.set_preset(preset);
    }
    ui.add_space(space::LARGE);
}

/// How long a way would take, in words.
fn time(way: &Way, found: Found, measuring: bool) -> String {
    let estimate: Option<Estimate> = if way.recommended { found.features } else { found.scratch };
    match estimate {
        Some(estimate) => format!("Takes {} here", estimate.words()),
        None if measuring => "Measuring how long it takes here…".into(),
        None => String::new(),
    }
}

/// One card; whether it was clicked.
fn way_card(ui: &mut Ui, way: &Way, selected: bool, time: String) -> bool {
    let tokens = tokens(ui.visuals());
    let mut frame = card_frame(ui);
    if selected {
        frame = frame.fill(tokens.accent_wash).stroke(egui::Stroke::new(2.0, tokens.accent));
    }
    frame
        .show(ui, |ui| {
            ui.set_width(ui.available_width());
            let mut clicked = false;
            ui.horizontal_wrapped(|ui| {
                clicked = ui.radio(selected, RichText::new(way.name).strong()).clicked();
                if way.recommended {
                    ui.label(RichText::new("Recommended").small().color(tokens.accent_text));
                }
            });
            ui.label(RichText::new(way.text).small().color(tokens.text_weak));
            ui.add_space(space::SMALL);
            // The line is there before the time is, so that nothing jumps.
            ui.label(RichText::new(if time.is_empty() { " ".to_string() } else { time }).small());
            clicked
        })
        .inner
}

/// What was chosen when a run was made, each with its reason, and what may be better and was not done.
pub fn chosen_ui(ui: &mut Ui, chosen: &Chosen, commands: &mut Vec<Command>) {
    if chosen.choices.is_empty() {
        return;
    }
    card(ui, |ui| {
        ui.label(theme::heading("Chosen for you"));
        for choice in &chosen.choices {
            let name = counterweight_core::settings::info(&choice.setting).map_or(choice.setting.as_str(), |info| info.label);
            ui.label(format!("{name}: {}", choice.value));
            ui.label(RichText::new(format!("{}.", capitalised(&choice.reason))).small().weak());
        }
        if let Some(offer) = &chosen.offer {
            ui.add_space(space::SMALL);
            ui.label(&offer.sentence);
            if ui.add(primary(ui, "Train from scratch")).clicked() {
                commands.push(Command::Train(TrainCommand::TakeOffer(Box::new(offer.settings.clone()))));
            }
        }
    });
    ui.add_space(space::LARGE);
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
