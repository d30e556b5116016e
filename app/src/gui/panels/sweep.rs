//! What several values of weight decay make of the groups, and of the norms.

use counterweight_core::eval::Group;
use counterweight_core::job::SweepRecord;
use egui::{RichText, Ui};

use super::parts;
use super::train_live::pair_ui;
use crate::gui::command::{Command, RunsCommand, TrainCommand};
use crate::gui::state::{SWEPT, SweepState, TrainState};
use crate::gui::theme::{self, card, space, tokens};
use crate::gui::widgets::{LineChart, Series, numbers, primary};

/// Draws the sweep that is running or has ended.
pub fn ui(ui: &mut Ui, train: &mut TrainState, commands: &mut Vec<Command>) {
    let Some(sweep) = &train.sweep else { return };
    let mut taken = None;
    card(ui, |ui| {
        ui.label(theme::heading("Finding the weight decay"));
        status_ui(ui, sweep, &mut taken, commands);
    });
    ui.add_space(space::LARGE);
    let mut members: Vec<&SweepRecord> = sweep
        .members
        .iter()
        .filter(|member| member.score.is_some() && decay(member) > 0.0)
        .collect();
    members.sort_by(|a, b| decay(a).total_cmp(&decay(b)));
    pair_ui(ui, |ui| accuracy_ui(ui, &members), |ui| norms_ui(ui, &members));
    ui.add_space(space::LARGE);
    if let Some(value) = taken {
        train.set_text(SWEPT, value);
        train.sweep = None;
    }
}

fn decay(member: &SweepRecord) -> f64 {
    member.value.parse().unwrap_or(f64::NAN)
}

fn status_ui(
    ui: &mut Ui,
    sweep: &SweepState,
    taken: &mut Option<String>,
    commands: &mut Vec<Command>,
) {
    if let Some(progress) = sweep.progress() {
        let text = "Every value is trained for a while, and the better half of them for longer. Weight decay keeps the frequent classes from \
                    dominating: too little and they do, too much and nothing is learned.";
        ui.label(RichText::new(text).small().weak());
        ui.add_space(space::SMALL);
        if parts::stoppable(ui, progress, "Starting", sweep.is_stopping()) {
            commands.push(Command::Train(TrainCommand::StopSweep));
        }
        return;
    }
    let best = sweep.report.as_ref().and_then(|report| report.best());
    match (best, &sweep.report) {
        (Some(best), Some(report)) => {
            ui.label(format!(
                "{} is the best of {}: balanced accuracy {} on {} validation images.",
                best.value,
                report.members.len(),
                numbers::percent(best.score),
                numbers::grouped(report.validation_images as u64)
            ));
            if report.is_tied() {
                let text = "Another value is a little higher, by less than so few images can tell apart, so what was set before stays.";
                ui.label(RichText::new(text).small().weak());
            }
            if report.held_out {
                let text = "There were no validation images, so every tenth training image of each class, and one of each small class, was held out to compare by.";
                ui.label(RichText::new(text).small().weak());
            }
        }
        (None, Some(_)) => {
            let color = tokens(ui.visuals()).warn;
            ui.label(RichText::new("None of the values could be trained to its end. Lower the learning rate and try again.").color(color));
        }
        _ => {
            ui.label("It was stopped before it came to its end.");
        }
    }
    ui.add_space(space::SMALL);
    ui.horizontal_wrapped(|ui| {
        if let Some(best) = best {
            if ui
                .add(primary(ui, "Open its run"))
                .on_hover_text("To balance it, look into it and export it")
                .clicked()
            {
                commands.push(Command::Runs(RunsCommand::Open(best.run.clone())));
                commands.push(Command::Train(TrainCommand::CloseSweep));
            }
            if ui.button(format!("Use {} for a new run", best.value)).clicked() {
                *taken = Some(best.value.clone());
            }
        }
        if ui.button("Close").on_hover_text("Its runs stay on the Runs page").clicked() {
            commands.push(Command::Train(TrainCommand::CloseSweep));
        }
    });
}

/// Accuracy of the groups against weight decay.
fn accuracy_ui(ui: &mut Ui, members: &[&SweepRecord]) {
    let tokens = tokens(ui.visuals());
    let points = |value: fn(&SweepRecord) -> Option<f64>| -> Vec<[f64; 2]> {
        members.iter().map(|member| [decay(member), value(member).unwrap_or(f64::NAN)]).collect()
    };
    let all = points(|member| member.score);
    let groups =
        [points(|member| member.many), points(|member| member.medium), points(|member| member.few)];
    ui.label(theme::heading("Accuracy on validation"));
    let mut chart = LineChart::new("sweep accuracy", "accuracy")
        .x_label("weight decay λ")
        .x_log(true)
        .y_percent(true);
    chart =
        chart.series(Series { name: "balanced", color: tokens.text, points: &all, dashed: true });
    for (group, points) in Group::ALL.into_iter().zip(&groups) {
        chart = chart.series(Series {
            name: group.name(),
            color: tokens.group(group),
            points,
            dashed: false,
        });
    }
    chart.empty_text("The first value is still being trained").show(ui);
}

/// Class weight norms against weight decay.
fn norms_ui(ui: &mut Ui, members: &[&SweepRecord]) {
    let tokens = tokens(ui.visuals());
    let points = |at: usize| -> Vec<[f64; 2]> {
        members
            .iter()
            .map(|member| {
                [decay(member), member.norms.map_or(f64::NAN, |norms| f64::from(norms[at]))]
            })
            .collect()
    };
    let [smallest, mean, largest] = [points(0), points(1), points(2)];
    ui.label(theme::heading("Class weight norms"));
    LineChart::new("sweep norms", "norm")
        .x_label("weight decay λ")
        .x_log(true)
        .y_log(true)
        .series(Series {
            name: "largest",
            color: tokens.accent_text,
            points: &largest,
            dashed: false,
        })
        .series(Series { name: "mean", color: tokens.text, points: &mean, dashed: true })
        .series(Series { name: "smallest", color: tokens.before, points: &smallest, dashed: false })
        .empty_text("The first value is still being trained")
        .show(ui);
}
