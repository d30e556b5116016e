//! Curves, norms and accuracies of the run that is trained, or of the one that is open.

use counterweight_core::eval::{Group, GroupThresholds};
use counterweight_core::record::EpochRecord;
use counterweight_core::settings::Settings;
use egui::{Align, Layout, RichText, Ui};
use egui_material_icons::icons::{ICON_PAUSE, ICON_PLAY_ARROW};

use super::parts;
use crate::gui::command::{Command, TrainCommand};
use crate::gui::state::{State, Training};
use crate::gui::theme::{self, card, space, tokens};
use crate::gui::widgets::{
    ClassLabel, HeatMap, IconButton, LineChart, ProgressStrip, Scatter, ScatterPoint, Series,
    metric, numbers,
};

/// From this width on charts stand side by side.
const WIDE: f32 = 900.0;

/// What the charts draw, of a running training or an open run.
struct Shown<'a> {
    settings: &'a Settings,
    classes: &'a [String],
    train_counts: &'a [usize],
    history: Vec<&'a EpochRecord>,
    norms: Vec<&'a [f32]>,
    class_accuracy: Option<(String, Vec<Option<f64>>)>,
    revision: u64,
}

/// Draws the curves, and over them the controls while training runs.
pub fn ui(ui: &mut Ui, state: &State, commands: &mut Vec<Command>) {
    let shown = match (&state.train.training, &state.run) {
        (Some(training), _) => {
            status_ui(ui, state, training, commands);
            ui.add_space(space::LARGE);
            Shown {
                settings: &training.settings,
                classes: &training.classes,
                train_counts: &training.train_counts,
                history: training.history.iter().collect(),
                norms: training.norms.iter().map(Vec::as_slice).collect(),
                class_accuracy: training
                    .class_accuracy
                    .as_ref()
                    .map(|(epoch, of)| (format!("on validation, after epoch {epoch}"), of.clone())),
                revision: training.revision,
            }
        }
        (None, Some(run)) => {
            let stage1 = |record: &&EpochRecord| record.stage == 1;
            let accuracy = run.validated.as_ref().map(|result| {
                let of = result.evaluation.per_class.iter().map(|class| class.accuracy).collect();
                (format!("on validation, after epoch {}", result.epoch), of)
            });
            Shown {
                settings: &run.settings,
                classes: &run.classes,
                train_counts: &run.train_counts,
                history: run.history.iter().filter(stage1).collect(),
                norms: run
                    .norms
                    .iter()
                    .filter(|record| record.stage == 1)
                    .map(|record| record.norms.as_slice())
                    .collect(),
                class_accuracy: state.last_class_accuracy(&run.folder).or(accuracy),
                revision: run.revision(),
            }
        }
        (None, None) => return,
    };
    charts_ui(ui, &shown);
}

fn status_ui(ui: &mut Ui, state: &State, training: &Training, commands: &mut Vec<Command>) {
    card(ui, |ui| {
        let progress = training.progress();
        let phase = match progress.phase.as_str() {
            "" => "Starting".to_string(),
            "stage 1" => format!(
                "Stage 1: epoch {} of {}",
                (training.history.len() + 1).min(training.settings.stage1.epochs()),
                training.settings.stage1.epochs()
            ),
            other => other.to_string(),
        };
        let phase = if training.is_paused() { format!("Paused: {phase}") } else { phase };
        let strip = ProgressStrip {
            phase: &phase,
            done: progress.done,
            total: progress.total,
            unit: progress.unit,
            left: progress.seconds_left().filter(|_| !training.is_paused()),
            stopping: training.is_stopping(),
        };
        if strip.show(ui).stop {
            commands.push(Command::Train(TrainCommand::Stop));
        }
        ui.add_space(space::MEDIUM);
        ui.horizontal_wrapped(|ui| {
            ui.spacing_mut().item_spacing.x = space::PAGE + space::MEDIUM;
            let last = training.history.last();
            let dash = || "–".to_string();
            metric(
                ui,
                "Images a second",
                &last.map_or_else(dash, |record| {
                    numbers::grouped(record.images_per_s.round() as u64)
                }),
                None,
            );
            metric(
                ui,
                "Training loss",
                &last.map_or_else(dash, |record| numbers::value(record.train_loss)),
                None,
            );
            metric(
                ui,
                "Balanced accuracy",
                &numbers::percent(last.and_then(|record| record.validation_balanced)),
                None,
            );
            metric(
                ui,
                "Few",
                &numbers::percent(last.and_then(|record| record.validation_few)),
                None,
            );
            metric(ui, "Time", &numbers::duration(training.seconds()), None);
            metric(ui, "Memory", &state.train.gauge.bytes.map_or_else(dash, numbers::bytes), None);
            metric(
                ui,
                "Device",
                if training.device.is_empty() { "–" } else { &training.device },
                None,
            );
        });
        ui.add_space(space::SMALL);
        ui.horizontal(|ui| {
            let (icon, label, command) = match training.is_paused() {
                true => (ICON_PLAY_ARROW, "Resume", TrainCommand::Resume),
                false => (ICON_PAUSE, "Pause", TrainCommand::Pause),
            };
            let button = IconButton::new(icon, label).enabled(!training.is_stopping()).show(ui);
            if button.clicked() {
                commands.push(Command::Train(command));
            }
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                let text = "Stop leaves a checkpoint: the run can be continued at any time.";
                ui.label(RichText::new(text).small().weak());
            });
        });
    });
}

fn charts_ui(ui: &mut Ui, shown: &Shown<'_>) {
    let tokens = tokens(ui.visuals());
    let points = |of: &dyn Fn(&EpochRecord) -> Option<f64>| -> Vec<[f64; 2]> {
        shown
            .history
            .iter()
            .filter_map(|record| of(record).map(|value| [record.epoch as f64, value]))
            .collect()
    };
    let train_loss = points(&|record| Some(record.train_loss));
    let validation_loss = points(&|record| record.validation_loss);
    let train_accuracy = points(&|record| Some(record.train_accuracy));
    let balanced = points(&|record| record.validation_balanced);
    let rate = points(&|record| Some(record.learning_rate));
    let speed = points(&|record| Some(record.images_per_s));
    let groups = [
        points(&|record| record.validation_many),
        points(&|record| record.validation_medium),
        points(&|record| record.validation_few),
    ];
    let line = |name: &'static str, color, points| Series { name, color, points, dashed: false };
    pair_ui(
        ui,
        |ui| {
            ui.label(theme::heading("Loss"));
            let chart =
                LineChart::new("loss", "loss").series(line("training", tokens.train, &train_loss));
            chart
                .series(line("validation", tokens.validation, &validation_loss))
                .y_from_zero(true)
                .cut_spikes(true)
                .empty_text("After the first epoch")
                .show(ui);
        },
        |ui| {
            ui.label(theme::heading("Accuracy"));
            let mut chart =
                LineChart::new("accuracy", "accuracy").y_percent(true).y_from_zero(true);
            chart = chart.series(Series {
                name: "training",
                color: tokens.train,
                points: &train_accuracy,
                dashed: true,
            });
            chart = chart.series(line("validation, balanced", tokens.validation, &balanced));
            for (group, points) in Group::ALL.into_iter().zip(&groups) {
                if !points.is_empty() {
                    chart = chart.series(line(group.name(), tokens.group(group), points));
                }
            }
            chart.empty_text("After the first epoch").show(ui);
        },
    );
    ui.add_space(space::LARGE);
    let thresholds = GroupThresholds::from(&shown.settings.evaluation);
    let classes = shown.classes.iter().zip(shown.train_counts);
    let labels: Vec<ClassLabel<'_>> = classes
        .map(|(name, &count)| ClassLabel {
            name,
            count: count as u64,
            group: thresholds.group(count),
        })
        .collect();
    pair_ui(
        ui,
        |ui| {
            ui.label(theme::heading("Class weight norms by epoch"));
            ui.label(
                RichText::new(
                    "Each column is a class, the largest on the left; each row an epoch.",
                )
                .small()
                .weak(),
            );
            parts::if_in_sight(ui, 240.0, |ui| {
                let epochs: Vec<u64> = (1..=shown.norms.len() as u64).collect();
                let values: Vec<f32> =
                    shown.norms.iter().flat_map(|norms| norms.iter().copied()).collect();
                let map = HeatMap::new("norms", &labels, &epochs, &values, shown.revision);
                map.height(240.0).show(ui);
            });
        },
        |ui| {
            ui.label(theme::heading("Accuracy by class count"));
            let none = (String::new(), Vec::new());
            let (of, accuracy) = shown.class_accuracy.as_ref().unwrap_or(&none);
            let words = match (Scatter::has_dots(labels.len()), of.as_str()) {
                (true, "") => "Each dot is a class.".to_string(),
                (true, of) => of.to_string(),
                (false, of) => format!(
                    "Each column is the classes of about the same count: their mean, and the range of eight in ten{}{of}.",
                    if of.is_empty() { "" } else { ", " }
                ),
            };
            ui.label(RichText::new(words).small().weak());
            parts::if_in_sight(ui, 240.0, |ui| {
                let dots: Vec<ScatterPoint<'_>> = labels
                    .iter()
                    .zip(accuracy)
                    .filter_map(|(class, accuracy)| {
                        accuracy.map(|accuracy| ScatterPoint {
                            class: *class,
                            accuracy,
                            before: None,
                        })
                    })
                    .collect();
                Scatter::new(&dots).height(240.0).show(ui);
            });
        },
    );
    ui.add_space(space::LARGE);
    pair_ui(
        ui,
        |ui| {
            ui.label(theme::heading("Learning rate"));
            LineChart::new("rate", "learning rate")
                .series(line("learning rate", tokens.accent_text, &rate))
                .height(150.0)
                .show(ui);
        },
        |ui| {
            ui.label(theme::heading("Speed"));
            let chart = LineChart::new("speed", "images a second").series(line(
                "images a second",
                tokens.accent_text,
                &speed,
            ));
            chart.y_from_zero(true).height(150.0).show(ui);
        },
    );
}

/// Two cards, side by side where there is room.
pub fn pair_ui(ui: &mut Ui, left: impl FnOnce(&mut Ui), right: impl FnOnce(&mut Ui)) {
    if ui.available_width() > WIDE {
        ui.horizontal_top(|ui| {
            ui.spacing_mut().item_spacing.x = space::LARGE;
            let width = (ui.available_width() - space::LARGE) / 2.0;
            for half in [Box::new(left) as Box<dyn FnOnce(&mut Ui)>, Box::new(right)] {
                ui.vertical(|ui| {
                    ui.set_width(width);
                    ui.spacing_mut().item_spacing.x = space::MEDIUM;
                    card(ui, half);
                });
            }
        });
    } else {
        card(ui, left);
        ui.add_space(space::LARGE);
        card(ui, right);
    }
}
