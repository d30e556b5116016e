//! The table of every balancer that was tried: what the head paid, what the tail gained.

use counterweight_core::eval::{Evaluation, Group};
use counterweight_core::pipeline::Trial;
use counterweight_core::settings::{BalanceSettings, Balancer};
use counterweight_core::source::Split;
use egui::{Align, Button, Layout, RichText, Ui, vec2};
use egui_material_icons::icons::ICON_CLOSE;

use crate::gui::command::{BalanceCommand, Command};
use crate::gui::state::BalanceState;
use crate::gui::theme::{self, card, space};
use crate::gui::widgets::{IconButton, numbers};

/// Height of a line.
const LINE: f32 = 32.0;
/// Width of a column of numbers.
const NUMBER: f32 = 58.0;
/// Width of the last column, which says who paid and who gained.
const VERDICT: f32 = 104.0;
/// Width of the button that removes a line.
const REMOVE: f32 = 36.0;

type Of = fn(&Trial) -> Option<f64>;

/// The columns of accuracies.
const COLUMNS: [(&str, Of); 5] = [
    ("Many", |trial| trial.evaluation.groups.many),
    ("Medium", |trial| trial.evaluation.groups.medium),
    ("Few", |trial| trial.evaluation.groups.few),
    ("Balanced", |trial| Some(trial.evaluation.balanced_accuracy)),
    ("Worst", |trial| Some(trial.evaluation.worst_class.accuracy)),
];

/// Draws the table.
pub fn ui(ui: &mut Ui, balance: &BalanceState, split: Split, commands: &mut Vec<Command>) {
    card(ui, |ui| {
        ui.label(theme::heading("Every balancer tried"));
        let text = format!(
            "On {split}, in percent. The last column is what the head paid and what the tail gained, in points."
        );
        ui.label(RichText::new(text).small().weak());
        ui.add_space(space::SMALL);
        let Some(first) = balance.tried.first().map(|tried| &tried.trial.evaluation) else {
            ui.label(RichText::new("Computing the usual ones…").weak());
            return;
        };
        ui.spacing_mut().item_spacing = vec2(0.0, 2.0);
        let remove = if balance.tried.iter().any(|tried| tried.kept) { REMOVE } else { 0.0 };
        let name =
            (ui.available_width() - COLUMNS.len() as f32 * NUMBER - VERDICT - remove).max(150.0);
        let best = COLUMNS.map(|(_, of)| {
            balance.tried.iter().filter_map(|tried| of(&tried.trial)).max_by(f64::total_cmp)
        });
        ui.horizontal(|ui| {
            cell(ui, name, Align::Min, |ui| {
                ui.add_space(12.0);
                ui.label(RichText::new("Balancer").small().weak())
            });
            for (heading, _) in COLUMNS {
                cell(ui, NUMBER, Align::Max, |ui| ui.label(RichText::new(heading).small().weak()));
            }
            cell(ui, VERDICT, Align::Max, |ui| {
                ui.label(RichText::new("Head / tail").small().weak())
            });
        });
        let shown = balance.current.as_ref().map(|trial| &trial.summary);
        for (index, tried) in balance.tried.iter().enumerate() {
            let trial = &tried.trial;
            ui.horizontal(|ui| {
                let words =
                    if index == 0 { "as trained".to_string() } else { short(&trial.settings) };
                let button = Button::selectable(shown == Some(&trial.summary), &words).truncate();
                let spoken = if index == 0 { "the classifier as trained" } else { &trial.summary };
                let row = cell(ui, name, Align::Min, |ui| ui.add(button)).accessible_name(spoken);
                if row.on_hover_text(format!("Show {spoken}")).clicked() {
                    commands.push(Command::Balance(BalanceCommand::Recall(index)));
                }
                for ((_, of), best) in COLUMNS.into_iter().zip(best) {
                    let value = of(trial);
                    let text =
                        value.map_or_else(|| "–".into(), |value| format!("{:.1}", 100.0 * value));
                    let is_best = value.is_some() && value == best;
                    cell(ui, NUMBER, Align::Max, |ui| {
                        ui.label(if is_best { theme::strong(text) } else { RichText::new(text) })
                    });
                }
                let verdict =
                    if index == 0 { String::new() } else { verdict(first, &trial.evaluation) };
                cell(ui, VERDICT, Align::Max, |ui| ui.label(verdict));
                if tried.kept
                    && IconButton::new(ICON_CLOSE, "Remove from the comparison")
                        .icon_only()
                        .quiet()
                        .show(ui)
                        .clicked()
                {
                    commands.push(Command::Balance(BalanceCommand::Remove(index)));
                }
            });
        }
        if !balance.left_out.is_empty() {
            ui.add_space(space::SMALL);
            let names: Vec<String> = balance.left_out.iter().map(short).collect();
            let text = format!(
                "Not tried, since training the classifier takes longer than {} with so many images and classes: {}. Set one by hand to try it.",
                numbers::duration(balance.patience.0.as_secs_f64()),
                names.join(", ")
            );
            ui.label(RichText::new(text).small().weak());
        }
    });
}

fn cell<R>(ui: &mut Ui, width: f32, align: Align, add: impl FnOnce(&mut Ui) -> R) -> R {
    let layout = if align == Align::Max {
        Layout::right_to_left(Align::Center)
    } else {
        Layout::left_to_right(Align::Center)
    };
    ui.allocate_ui_with_layout(vec2(width, LINE), layout, |ui| {
        ui.set_min_size(vec2(width, LINE));
        ui.set_max_width(width);
        add(ui)
    })
    .inner
}

/// The balancers in as few letters as tell them apart.
fn short(settings: &BalanceSettings) -> String {
    let word = |balancer: &Balancer| balancer.info().in_short(settings);
    settings.balancers.iter().map(word).collect::<Vec<_>>().join(" + ")
}

/// What the head paid and what the tail gained, in points.
fn verdict(before: &Evaluation, after: &Evaluation) -> String {
    let change = |group| Some(after.groups.of(group)? - before.groups.of(group)?);
    let words = |change: Option<f64>| change.map_or_else(|| "–".to_string(), numbers::points);
    format!("{} / {}", words(change(Group::Many)), words(change(Group::Few)))
}
