//! A model that somebody has already, beside the run on the same images.

use counterweight_core::eval::PairedDifference;
use counterweight_core::pipeline::FileEvaluation;
use egui::{Align, Grid, Layout, RichText, ScrollArea, TextEdit, Ui};
use egui_material_icons::icons::ICON_COMPARE_ARROWS;

use super::parts;
use crate::gui::command::{BesideCommand, Command, InspectCommand};
use crate::gui::state::Beside;
use crate::gui::theme::{self, space, tokens};
use crate::gui::widgets::{IconButton, numbers};

/// Draws the card.
pub fn ui(ui: &mut Ui, beside: &mut Beside, commands: &mut Vec<Command>) {
    let mut ask = |command| commands.push(Command::Inspect(InspectCommand::Beside(command)));
    ui.label(theme::heading("Beside a model you have"));
    parts::weak(
        ui,
        "Any image classifier in an ONNX file with the same classes, on the images of this page.",
    );
    ui.add_space(space::SMALL);
    let is_ready = !beside.is_busy() && !beside.file_text.trim().is_empty();
    let label = ui.label("Model");
    ui.horizontal(|ui| {
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let compare = IconButton::new(ICON_COMPARE_ARROWS, "Compare").enabled(is_ready);
            let compare = compare.show(ui).on_disabled_hover_text("Name a model first");
            if compare.clicked() {
                ask(BesideCommand::Start);
            }
            let browse = ui.button("Browse…");
            if browse.accessible_name("Browse for a model to compare with").clicked() {
                ask(BesideCommand::Pick);
            }
            let field = TextEdit::singleline(&mut beside.file_text)
                .hint_text("an ONNX file")
                .desired_width(f32::INFINITY);
            ui.add(field).labelled_by(label.id);
        });
    });
    if let Some(progress) = beside.progress() {
        ui.add_space(space::SMALL);
        if parts::progress(ui, progress, "Comparing") {
            ask(BesideCommand::Stop);
        }
    }
    if let Some(reason) = &beside.failure {
        ui.add_space(space::SMALL);
        parts::trouble(ui, reason);
    }
    if let Some(found) = &beside.found {
        ui.add_space(space::MEDIUM);
        found_ui(ui, found);
    }
}

fn found_ui(ui: &mut Ui, found: &FileEvaluation) {
    let (Some(run), Some(all)) = (&found.other, found.differences.first()) else { return };
    let tokens = tokens(ui.visuals());
    let color = match all.is_certain() {
        true if all.difference > 0.0 => tokens.good,
        true => tokens.warn,
        false => tokens.text,
    };
    ui.label(RichText::new(sentence(all)).color(color).strong());
    ui.add_space(space::SMALL);
    ScrollArea::horizontal().id_salt("beside").show(ui, |ui| {
        let grid = Grid::new("beside").spacing([space::LARGE, space::MEDIUM]);
        grid.show(ui, |ui| {
            let weak = tokens.text_weak;
            for title in [
                "",
                "Images",
                "The file",
                "This run",
                "Difference",
                "95 % interval",
                "Only the file right",
                "Only the run right",
            ] {
                parts::cell(ui, true, RichText::new(title).color(weak));
            }
            ui.end_row();
            ui.label("Balanced (mean over classes)");
            parts::cell(ui, true, numbers::grouped(run.samples as u64));
            let balanced = [&found.evaluation, run].map(|numbers| numbers.balanced_accuracy);
            for value in balanced {
                parts::cell(ui, true, numbers::percent(Some(value)));
            }
            parts::cell(ui, true, points(balanced[1] - balanced[0]));
            ui.end_row();
            for difference in &found.differences {
                ui.label(difference.group.map_or("All images".into(), |group| {
                    format!("Images of {} classes", group.name())
                }));
                let mut number = |text: RichText| parts::cell(ui, true, text);
                number(numbers::grouped(difference.samples as u64).into());
                for accuracy in difference.accuracies() {
                    number(numbers::percent(Some(accuracy)).into());
                }
                let text = points(difference.difference);
                number(match difference.is_certain() {
                    true => theme::strong(text),
                    false => RichText::new(text),
                });
                number(difference.interval.map(points).join(" to ").into());
                number(numbers::grouped(difference.only_first as u64).into());
                number(numbers::grouped(difference.only_second as u64).into());
                ui.end_row();
            }
        });
    });
    parts::weak(
        ui,
        "In points. Below the first line every image counts alike. Differences in bold are hardly chance (McNemar's exact test, p < 0.05).",
    );
}

/// Who is better, in a sentence.
fn sentence(all: &PairedDifference) -> String {
    let points = |share: f64| format!("{:.1}", 100.0 * share.abs());
    let p = match all.p_value {
        p if p < 0.001 => "p < 0.001".to_string(),
        p => format!("p = {p:.3}"),
    };
    let images = numbers::grouped(all.samples as u64);
    match (all.is_certain(), all.difference > 0.0) {
        (true, true) => {
            format!("This run is right more often: by {} points ({p}).", points(all.difference))
        }
        (true, false) => {
            format!("The file is right more often: by {} points ({p}).", points(all.difference))
        }
        (false, _) => format!("{images} images cannot tell which of them is better ({p})."),
    }
}

fn points(share: f64) -> String {
    format!("{:+.1}", 100.0 * share)
}
