//! The ways to train, and what was chosen in place of the person.

use counterweight_core::pipeline::Chosen;
use counterweight_core::settings::{Auto, Preset, Settings, Training};
use egui::{Id, RichText, Ui};

use super::parts;
use crate::gui::command::{Command, TrainCommand};
use crate::gui::state::{Found, TrainState};
use crate::gui::theme::{self, card, card_frame, space, tokens};
use crate::gui::widgets::words;

/// From this width on cards stand side by side.
const WIDE: f32 = 780.0;

/// A way to train.
struct Way {
    preset: Preset,
    name: &'static str,
    text: &'static str,
    recommended: bool,
}

const WAYS: [Way; 3] = [
    Way {
        preset: Preset::Auto,
        name: "Start from what it has seen before",
        text: "A network that has seen a million photos looks at yours, and only its last layer learns your classes. Hard to beat with few images. Where \
               training from scratch turns out to be better, that is done instead, or offered.",
        recommended: true,
    },
    Way {
        preset: Preset::FineTune,
        name: "Fine-tune all of it",
        text: "The same network, but every layer learns on from your images. Often better where there are hundreds of images or more, and where they look \
               unlike everyday photos. Takes much longer.",
        recommended: false,
    },
    Way {
        preset: Preset::Quick,
        name: "From scratch",
        text: "Everything is learned from your images alone. For drawings, symbols and other images that are no photos, and for hundreds or \
               thousands of images of each class.",
        recommended: false,
    },
];

impl Way {
    /// Whether these settings go this way, whatever else they say.
    fn is_that_of(&self, settings: &Settings) -> bool {
        let preset = match settings.stage1.train {
            Auto::Auto(_) | Auto::Value(Training::Classifier) => Preset::Auto,
            Auto::Value(Training::All) => Preset::FineTune,
            Auto::Value(Training::Scratch) => Preset::Quick,
        };
        self.preset == preset
    }

    /// How long it would take, in words.
    fn time(&self, found: Found, measuring: bool) -> String {
        match found.of(self.preset) {
            Some(estimate) => format!("Takes {} here", estimate.words()),
            None if measuring => "Measuring how long it takes here…".into(),
            None => String::new(),
        }
    }
}

/// How long training would take with the settings on the page, said beside the button that starts
/// it.
pub fn time_words(train: &TrainState) -> Option<String> {
    let estimates = &train.estimates;
    let way = WAYS.iter().find(|way| way.is_that_of(&train.settings))?;
    let words = way.time(estimates.found(), estimates.is_measuring());
    let balancing = estimates.found().of(way.preset).and_then(|of| of.balancing_words());
    let then = match balancing {
        Some(words) => format!(" The best balance is looked for then, {words} more."),
        None if train.settings.balance.tune_candidates > 0 => {
            " The best balance is looked for then.".into()
        }
        None => String::new(),
    };
    (!words.is_empty()).then(|| format!("{}.{then}", words.trim_end_matches('…')))
}

/// The cards to choose from. Choosing one takes its settings.
pub fn ui(ui: &mut Ui, train: &mut TrainState) {
    let (found, measuring) = (train.estimates.found(), train.estimates.is_measuring());
    let mut chosen = None;
    let mut way_ui = |ui: &mut Ui, way: &Way, height: f32| {
        let selected = way.is_that_of(&train.settings);
        let (clicked, own) = way_card(ui, way, selected, way.time(found, measuring), height);
        if clicked && !selected {
            chosen = Some(way.preset);
        }
        own
    };
    if ui.available_width() > WIDE {
        let width = (ui.available_width() - 2.0 * space::LARGE) / 3.0;
        // All end where the longest does, as it was when they were last drawn.
        let id = Id::unique("height of the ways to train");
        let height = ui.data(|data| data.get_temp::<f32>(id)).unwrap_or_default();
        let mut tallest: f32 = 0.0;
        ui.horizontal_top(|ui| {
            let usual = std::mem::replace(&mut ui.spacing_mut().item_spacing.x, space::LARGE);
            for way in &WAYS {
                ui.vertical(|ui| {
                    ui.spacing_mut().item_spacing.x = usual;
                    ui.set_width(width);
                    tallest = tallest.max(way_ui(ui, way, height));
                });
            }
        });
        if tallest != height {
            ui.data_mut(|data| data.insert_temp(id, tallest));
            ui.ctx().request_discard("the ways to train end at one line");
        }
    } else {
        for (place, way) in WAYS.iter().enumerate() {
            if place > 0 {
                parts::gap(ui);
            }
            way_ui(ui, way, 0.0);
        }
    }
    if let Some(preset) = chosen {
        train.set_preset(preset);
    }
    parts::gap(ui);
}

/// One card; whether it was clicked, and how high what it says is.
fn way_card(ui: &mut Ui, way: &Way, selected: bool, time: String, height: f32) -> (bool, f32) {
    let tokens = tokens(ui.visuals());
    let mut frame = card_frame(ui);
    if selected {
        // The wider line takes its room from the margin.
        let wider = 2.0 - frame.stroke.width;
        frame = frame.fill(tokens.accent_wash).stroke(egui::Stroke::new(2.0, tokens.accent));
        frame.inner_margin -= wider as i8;
    }
    frame
        .show(ui, |ui| {
            ui.set_width(ui.available_width());
            ui.set_min_height(height);
            let top = ui.cursor().top();
            let clicked = ui.radio(selected, RichText::new(way.name).strong()).clicked();
            ui.label(RichText::new(way.text).small().color(tokens.text_weak));
            ui.add_space(space::SMALL);
            let line = ui.horizontal_wrapped(|ui| {
                // The line is there before the time is, so that nothing jumps.
                let time = if time.is_empty() { " ".to_string() } else { time };
                ui.label(RichText::new(time).small());
                if way.recommended {
                    ui.label(RichText::new("Recommended").small().color(tokens.accent_text));
                }
            });
            (clicked, line.response.rect.bottom() - top)
        })
        .inner
}

/// What was chosen when a run was made, each with its reason, and what may be better and was not
/// done.
pub fn chosen_ui(ui: &mut Ui, chosen: &Chosen, commands: &mut Vec<Command>) {
    if chosen.choices.is_empty() {
        return;
    }
    card(ui, |ui| {
        ui.label(theme::heading("Chosen for you"));
        for choice in &chosen.choices {
            let name = counterweight_core::settings::info(&choice.setting)
                .map_or(choice.setting.as_str(), |info| info.label);
            ui.label(format!("{name}: {}", choice.value));
            ui.label(
                RichText::new(format!("{}.", words::capitalised(&choice.reason))).small().weak(),
            );
        }
        if let Some(offer) = &chosen.offer {
            ui.add_space(space::SMALL);
            ui.label(&offer.sentence);
            let way = if offer.settings.stage1.is_fine_tuning() {
                "Fine-tune all of it"
            } else {
                "Train from scratch"
            };
            if ui.button(way).clicked() {
                commands.push(Command::Train(TrainCommand::TakeOffer(Box::new(
                    offer.settings.clone(),
                ))));
            }
        }
    });
    ui.add_space(space::LARGE);
}
