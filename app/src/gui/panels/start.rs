//! What a person comes back to: the run that is open, one that was interrupted, and the latest ones.

use std::path::Path;

use counterweight_core::run::{RunState, RunSummary};
use counterweight_core::source::Split;
use egui::{Align, Button, Label, Layout, RichText, Ui};
use egui_material_icons::icons::{ICON_HISTORY, ICON_PAUSE_CIRCLE};

use super::parts;
use super::runs::state_words;
use crate::gui::command::{Command, DataCommand, RunsCommand};
use crate::gui::state::{OpenRun, Page, RunsState};
use crate::gui::theme::{self, card, icon, space, tokens};
use crate::gui::widgets::{VerdictStrip, numbers, primary};

/// Runs that are listed.
const LISTED: usize = 4;

/// Draws what was left off: above all else, since most who come back come for it.
pub fn ui(
    ui: &mut Ui,
    open: Option<&OpenRun>,
    runs: &RunsState,
    training: Option<&Path>,
    commands: &mut Vec<Command>,
) {
    if let Some(run) = open {
        images_of_run_ui(ui, run, commands);
        return;
    }
    let latest = listed(runs)
        .next()
        .filter(|run| run.state == RunState::Interrupted && training != Some(run.folder.as_path()));
    if let Some(run) = latest {
        continue_ui(ui, run, commands);
    }
}

/// The images of the open run are not open themselves.
fn images_of_run_ui(ui: &mut Ui, run: &OpenRun, commands: &mut Vec<Command>) {
    card(ui, |ui| {
        ui.label(theme::heading(format!("Images of the run {}", run.name())));
        let [training, validation, test] =
            run.split_sizes.map(|count| numbers::grouped(count as u64));
        ui.label(format!(
            "{} classes: {training} training, {validation} validation and {test} test images.",
            numbers::grouped(run.classes.len() as u64)
        ));
        ui.add(Label::new(RichText::new(run.root.display().to_string()).small().weak()).truncate());
        ui.horizontal(|ui| {
            if ui.button("Open these images").clicked() {
                commands.push(Command::Data(DataCommand::Open(run.root.clone())));
            }
            if ui.button("Go to the run").clicked() {
                commands.push(Command::Go(Page::Train));
            }
        });
    });
    parts::gap(ui);
}

fn continue_ui(ui: &mut Ui, run: &RunSummary, commands: &mut Vec<Command>) {
    card(ui, |ui| {
        ui.horizontal(|ui| {
            ui.label(icon(ICON_PAUSE_CIRCLE).size(26.0).color(tokens(ui.visuals()).warn));
            ui.add_space(space::SMALL);
            ui.vertical(|ui| {
                ui.label(theme::heading(format!("Continue “{}”", run.name)));
                ui.label(format!(
                    "Its training was interrupted after epoch {} of {}, {}.",
                    numbers::grouped(run.finished_epochs as u64),
                    numbers::grouped(run.epochs as u64),
                    numbers::ago(run.modified)
                ));
            });
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                let go_on = ui.add(primary(ui, "Continue training"));
                if go_on.clicked() {
                    commands.push(Command::Runs(RunsCommand::Continue(run.folder.clone())));
                }
                if ui.button("Open it").clicked() {
                    commands.push(Command::Runs(RunsCommand::Open(run.folder.clone())));
                    commands.push(Command::Go(Page::Train));
                }
            });
        });
    });
    parts::gap(ui);
}

/// Draws the latest runs with what each is worth.
pub fn recent_runs_ui(
    ui: &mut Ui,
    runs: &RunsState,
    training: Option<&Path>,
    commands: &mut Vec<Command>,
) {
    if listed(runs).next().is_none() {
        return;
    }
    card(ui, |ui| {
        ui.horizontal(|ui| {
            ui.label(icon(ICON_HISTORY).size(20.0));
            ui.label(theme::heading("Recent runs"));
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                if ui.add(Button::new("All runs").frame_when_inactive(false)).clicked() {
                    commands.push(Command::Go(Page::Runs));
                }
            });
        });
        for run in listed(runs).take(LISTED) {
            ui.add_space(space::SMALL);
            run_ui(ui, run, training == Some(run.folder.as_path()), commands);
        }
    });
    parts::gap(ui);
}

fn run_ui(ui: &mut Ui, run: &RunSummary, is_training: bool, commands: &mut Vec<Command>) {
    let how_far = match run.state {
        _ if is_training => "training now".to_string(),
        RunState::Interrupted => format!(
            "interrupted after epoch {} of {}",
            numbers::grouped(run.finished_epochs as u64),
            numbers::grouped(run.epochs as u64)
        ),
        state => state_words(state).1.into(),
    };
    ui.horizontal(|ui| {
        let name = Button::new(theme::strong(&run.name)).frame_when_inactive(false);
        let hint = run.folder.display().to_string();
        if ui.add(name).on_hover_text(hint).accessible_name(format!("Open {}", run.name)).clicked()
        {
            commands.push(Command::Runs(RunsCommand::Open(run.folder.clone())));
            commands.push(Command::Go(Page::Train));
        }
        let facts = format!(
            "{how_far} · {} classes · {}",
            numbers::grouped(run.classes as u64),
            numbers::ago(run.modified)
        );
        parts::weak(ui, facts);
    });
    // What test images say is shown on request only, among the runs.
    if let Some(verdict) = run.verdict.as_ref().filter(|verdict| verdict.split != Split::Test) {
        VerdictStrip::new(verdict).compact().show(ui);
    }
}

/// The runs that can be read, newest first.
fn listed(runs: &RunsState) -> impl Iterator<Item = &RunSummary> {
    runs.listed.iter().filter_map(|(_, run)| run.as_ref().ok())
}
