//! What changes of images do to their classes: each change with what was found, the classes that it
//! turns into each other, and the setting that does it in training.

use counterweight_core::pipeline::{TransformPair, TransformReport, TransformVerdict};
use counterweight_core::settings::info;
use egui::{Image, RichText, Ui, Vec2};
use egui_material_icons::icons::{
    ICON_ARROW_FORWARD, ICON_BLOCK, ICON_CHECK_CIRCLE, ICON_HELP, ICON_TRENDING_DOWN,
};

use super::parts;
use crate::gui::command::{Command, TransformsCommand};
use crate::gui::state::{PairPictures, State, TrainState};
use crate::gui::theme::{self, card, icon, space, tokens};
use crate::gui::widgets::{numbers, words};

/// Side of the pictures of a pair, in points.
const PICTURE: f32 = 64.0;

/// Draws the card.
pub fn ui(ui: &mut Ui, state: &mut State, commands: &mut Vec<Command>) {
    card(ui, |ui| {
        ui.label(theme::heading("Mirror, rotate, colour: does it change the class?"));
        parts::weak(
            ui,
            "A few of the training images are mirrored, turned, cut and recoloured, and it is seen whether they are still recognised. \
             What turns classes into each other must not be done in training.",
        );
        ui.add_space(space::SMALL);
        let State { transforms, train, .. } = state;
        if let Some(progress) = transforms.progress() {
            if parts::progress(ui, progress, "Looking at images") {
                commands.push(Command::Transforms(TransformsCommand::Stop));
            }
            return;
        }
        if let Some(reason) = &transforms.failure {
            parts::trouble(ui, reason);
        }
        let Some(found) = &transforms.found else {
            if ui.button("Find out").on_hover_text("It takes less than a minute").clicked() {
                commands.push(Command::Transforms(TransformsCommand::Start));
            }
            return;
        };
        let images = numbers::grouped(found.check.images as u64);
        let known = numbers::percent(Some(found.check.accuracy));
        parts::weak(
            ui,
            format!("{images} images were looked at. As they are, {known} of them are recognised."),
        );
        for (report, pictures) in found.check.transforms.iter().zip(&found.pictures) {
            ui.add_space(space::SMALL);
            ui.separator();
            report_ui(ui, report, pictures, train);
        }
    });
}

fn report_ui(
    ui: &mut Ui,
    report: &TransformReport,
    pictures: &[Option<PairPictures>],
    train: &mut TrainState,
) {
    let tokens = tokens(ui.visuals());
    let (mark, color, word) = match report.verdict {
        TransformVerdict::Keeps => (ICON_CHECK_CIRCLE, tokens.good, "keeps every class"),
        TransformVerdict::Changes => (ICON_BLOCK, tokens.bad, "changes classes"),
        TransformVerdict::Harder => (ICON_TRENDING_DOWN, tokens.warn, "harder to recognise"),
        TransformVerdict::Unknown => (ICON_HELP, tokens.text_weak, "cannot be said"),
    };
    ui.horizontal_wrapped(|ui| {
        ui.label(icon(mark).color(color));
        ui.label(theme::strong(words::capitalised(report.transform.words())));
        ui.label(RichText::new(word).color(color));
    });
    ui.label(&report.sentence);
    let shown = report.pairs.iter().zip(pictures);
    let count = shown.len();
    for (pair, pictures) in shown {
        pair_ui(ui, report, pair, pictures.as_ref());
    }
    if report.pairs.len() > count {
        let more: Vec<String> = report.pairs[count..]
            .iter()
            .map(|pair| format!("{} and {}", pair.first, pair.second))
            .collect();
        parts::weak(ui, format!("and {}", more.join(", ")));
    }
    setting_ui(ui, report, train);
}

fn pair_ui(
    ui: &mut Ui,
    report: &TransformReport,
    pair: &TransformPair,
    pictures: Option<&PairPictures>,
) {
    let TransformPair { first, second, share, back, .. } = pair;
    ui.horizontal_wrapped(|ui| {
        if let Some([plain, changed, other]) = pictures {
            let words = report.transform.words();
            for (picture, text) in [
                (plain, format!("An image of {first}")),
                (changed, format!("The same image {words}")),
                (other, format!("An image of {second}")),
            ] {
                let image = Image::new(picture)
                    .fit_to_exact_size(Vec2::splat(PICTURE))
                    .corner_radius(6.0)
                    .alt_text(&text);
                ui.add(image).on_hover_text(text);
            }
        }
        ui.vertical(|ui| {
            ui.label(theme::strong(format!("{first} {} {second}", ICON_ARROW_FORWARD.codepoint)));
            let [share, back] = [share, back].map(|share| numbers::percent(Some(*share)));
            parts::weak(
                ui,
                format!("{share} of its images are taken for it, {back} the other way round"),
            );
        });
    });
}

/// The setting that does it in training, and a button that sets it as was found.
fn setting_ui(ui: &mut Ui, report: &TransformReport, train: &mut TrainState) {
    let Some((key, values)) = report.transform.setting() else {
        return parts::weak(ui, "No setting does this in training.");
    };
    let Some(setting) = info(key) else { return };
    let now = train.text(key);
    let word = |value: &str| match value {
        "true" => "on".to_string(),
        "false" | "0.0" => "off".to_string(),
        other => other.to_string(),
    };
    ui.horizontal_wrapped(|ui| {
        parts::weak(ui, format!("{} is {}.", setting.label, word(&now)));
        // What follows from what was found; where nothing does, either.
        let offered: Vec<&str> = match &report.value {
            Some(value) => values.into_iter().filter(|known| known == value).collect(),
            None => Vec::new(),
        };
        for value in offered.into_iter().filter(|value| *value != now) {
            let text = format!("Set {} to {}", setting.label, word(value));
            if ui.button(text).on_hover_text(&report.sentence).clicked() {
                train.set_text(key, value.into());
            }
        }
    });
}
