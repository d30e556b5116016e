//! Sweeps on the runs page: each is one group of runs.

use std::path::Path;

use counterweight_core::run::SweepReport;
use egui::{Align, CollapsingHeader, Label, Layout, RichText, Ui};
use egui_extras::{Column, TableBuilder};

use super::runs::menu_ui;
use crate::gui::command::{Command, RunsCommand, TrainCommand};
use crate::gui::state::{Page, RunsState};
use crate::gui::theme::{self, space, tokens};
use crate::gui::widgets::numbers;

/// Height of a line of the table.
const LINE: f32 = 26.0;

/// Draws the sweeps there are.
pub fn ui(ui: &mut Ui, runs: &RunsState, commands: &mut Vec<Command>) {
    for (index, (folder, sweep)) in runs.sweeps.iter().enumerate() {
        if index > 0 {
            ui.separator();
        }
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        ui.push_id(folder, |ui| match sweep {
            Ok(report) => sweep_ui(ui, folder, &name, report, commands),
            Err(reason) => {
                ui.horizontal_wrapped(|ui| {
                    menu_ui(ui, &name, folder, false, commands);
                    ui.label(theme::strong(&*name));
                    ui.label(RichText::new(reason).color(tokens(ui.visuals()).bad));
                });
            }
        });
    }
}

fn sweep_ui(
    ui: &mut Ui,
    folder: &Path,
    name: &str,
    report: &SweepReport,
    commands: &mut Vec<Command>,
) {
    let label = counterweight_core::settings::info(&report.key)
        .map_or(report.key.as_str(), |info| info.label);
    let finished = match report.best() {
        Some(best) => {
            format!(
                "best {} with {} balanced accuracy on validation",
                best.value,
                numbers::percent(best.score)
            )
        }
        None => "not finished: start it again on the Train page".into(),
    };
    // As a run is shown.
    ui.horizontal(|ui| {
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            menu_ui(ui, name, folder, false, commands);
            if ui
                .button("Show")
                .accessible_name(format!("Show {name}"))
                .on_hover_text("Accuracies and norms against the values")
                .clicked()
            {
                commands.push(Command::Train(TrainCommand::ShowSweep(Box::new(report.clone()))));
                commands.push(Command::Go(Page::Train));
            }
            ui.with_layout(Layout::top_down(Align::Min), |ui| {
                ui.spacing_mut().item_spacing.y = space::SMALL;
                ui.add(Label::new(theme::strong(name)).truncate());
                let values = report.members.len();
                let text = format!("{values} values of {} · {finished}", label.to_lowercase());
                let weak = tokens(ui.visuals()).text_weak;
                ui.add(Label::new(RichText::new(text).color(weak)).wrap());
            });
        });
    });
    CollapsingHeader::new("Its runs")
        .id_salt("members")
        .show(ui, |ui| members_ui(ui, name, report, commands));
    ui.add_space(space::SMALL);
}

fn members_ui(ui: &mut Ui, name: &str, report: &SweepReport, commands: &mut Vec<Command>) {
    let headings = ["value", "epochs", "balanced", "many", "medium", "few", "mean norm", ""];
    let table = TableBuilder::new(ui)
        .id_salt("members")
        .striped(false)
        .columns(Column::auto().at_least(72.0), headings.len());
    table
        .header(LINE, |mut row| {
            for heading in headings {
                row.col(|ui| _ = ui.label(RichText::new(heading).small().weak()));
            }
        })
        .body(|body| {
            body.rows(LINE, report.members.len(), |mut row| {
                let index = row.index();
                let member = &report.members[index];
                let best = report.best == Some(index);
                let texts = [
                    if best { format!("{} (best)", member.value) } else { member.value.clone() },
                    format!("{} of {}", member.finished_epochs, member.epochs),
                    numbers::percent(member.score),
                    numbers::percent(member.many),
                    numbers::percent(member.medium),
                    numbers::percent(member.few),
                    member.norms.map_or_else(
                        || "n/a".into(),
                        |[_, mean, _]| numbers::value(f64::from(mean)),
                    ),
                ];
                for text in texts {
                    row.col(|ui| {
                        _ = ui.label(if best { theme::strong(text) } else { RichText::new(text) })
                    });
                }
                row.col(|ui| {
                    if ui
                        .button("Open")
                        .accessible_name(format!("Open {name} {}", member.value))
                        .clicked()
                    {
                        commands.push(Command::Runs(RunsCommand::Open(member.run.clone())));
                    }
                });
            });
        });
}
