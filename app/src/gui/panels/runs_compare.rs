//! Runs side by side: their curves, their class weight norms, what differs in their settings, and
//! their results on validation.

use std::path::PathBuf;
use std::sync::Arc;

use counterweight_core::eval::{Group, HeldInTurn};
use counterweight_core::record::EpochRecord;
use counterweight_core::settings::INFO;
use counterweight_core::source::Split;
use egui::{Color32, Grid, Id, RichText, ScrollArea, Sense, Ui, vec2};
use egui_material_icons::icons::{ICON_CLOSE, ICON_COMPARE_ARROWS};

use super::parts;
use crate::gui::command::{Command, RunsCommand};
use crate::gui::state::{Compared, OpenRun};
use crate::gui::theme::{self, icon, space, tokens};
use crate::gui::widgets::{IconButton, LineChart, Series, numbers, waiting};

/// A run that is read, with its name and its colour.
struct Shown<'a> {
    run: &'a OpenRun,
    name: String,
    color: Color32,
}

/// Draws the comparison.
pub fn ui(ui: &mut Ui, compared: &[Compared], commands: &mut Vec<Command>) {
    let colors = theme::run_colors(ui.visuals());
    let color = |index: usize| colors[index % colors.len()];
    theme::card(ui, |ui| runs_ui(ui, compared, color, commands));
    let shown = compared.iter().enumerate().filter_map(|(index, compared)| {
        let run = compared.run.as_ref()?;
        Some(Shown { run, name: run.name(), color: color(index) })
    });
    let shown: Vec<Shown> = shown.collect();
    if shown.is_empty() {
        return;
    }
    parts::gap(ui);
    parts::two_columns(ui, |ui, part| {
        let charts: [(&str, &str, Curve); 2] = match part {
            0 => [
                (
                    "Training loss",
                    "loss",
                    Curve { percent: false, value: |record| Some(record.train_loss) },
                ),
                (
                    "Balanced accuracy on validation",
                    "accuracy",
                    Curve { percent: true, value: |record| record.validation_balanced },
                ),
            ],
            _ => [
                (
                    "Few on validation",
                    "accuracy",
                    Curve { percent: true, value: |record| record.validation_few },
                ),
                (
                    "Class weight norms after the last epoch",
                    "norm ‖W‖₂",
                    Curve { percent: false, value: |_| None },
                ),
            ],
        };
        for (index, (title, unit, curve)) in charts.into_iter().enumerate() {
            if index > 0 {
                parts::gap(ui);
            }
            theme::card(ui, |ui| {
                ui.label(theme::heading(title));
                if part == 1 && index == 1 {
                    norms_ui(ui, title, unit, &shown)
                } else {
                    curve_ui(ui, title, unit, &curve, &shown)
                }
            });
        }
    });
    parts::gap(ui);
    theme::card(ui, |ui| results_ui(ui, &shown));
    parts::gap(ui);
    theme::card(ui, |ui| settings_ui(ui, &shown));
}

/// What of an epoch is drawn.
struct Curve {
    percent: bool,
    value: fn(&EpochRecord) -> Option<f64>,
}

/// The runs that are compared, each with its colour and a button that removes it.
fn runs_ui(
    ui: &mut Ui,
    compared: &[Compared],
    color: impl Fn(usize) -> Color32,
    commands: &mut Vec<Command>,
) {
    ui.horizontal(|ui| {
        ui.label(icon(ICON_COMPARE_ARROWS).size(20.0));
        ui.label(theme::heading("Comparison"));
    });
    if compared.len() == 1 {
        parts::weak(ui, "Press Compare at another run to see both side by side.");
    }
    ui.horizontal_wrapped(|ui| {
        for (index, compared) in compared.iter().enumerate() {
            swatch(ui, color(index));
            let name = match (&compared.run, compared.folder.file_name()) {
                (Some(run), _) => run.name(),
                (None, Some(name)) => name.to_string_lossy().into_owned(),
                (None, None) => compared.folder.display().to_string(),
            };
            ui.label(theme::strong(&name)).on_hover_text(compared.folder.display().to_string());
            if compared.run.is_none() {
                waiting(ui);
            }
            let remove = format!("Remove {name} from the comparison");
            if IconButton::new(ICON_CLOSE, &remove).icon_only().quiet().show(ui).clicked() {
                commands.push(Command::Runs(RunsCommand::ToggleCompare(compared.folder.clone())));
            }
            ui.add_space(space::LARGE);
        }
    });
}

fn swatch(ui: &mut Ui, color: Color32) {
    let (rect, _) = ui.allocate_exact_size(vec2(12.0, 12.0), Sense::hover());
    ui.painter().rect_filled(rect, egui::CornerRadius::same(3), color);
}

/// Draws one curve a run; `points` are in the order of the runs.
fn chart_ui<'a>(
    ui: &mut Ui,
    chart: LineChart<'a>,
    shown: &'a [Shown],
    points: &'a [Vec<[f64; 2]>],
) {
    let series = shown.iter().zip(points).map(|(shown, points)| Series {
        name: &shown.name,
        color: shown.color,
        points,
        dashed: false,
    });
    series.fold(chart, LineChart::series).show(ui);
}

fn curve_ui(ui: &mut Ui, title: &str, unit: &str, curve: &Curve, shown: &[Shown]) {
    let points = |shown: &Shown| -> Vec<[f64; 2]> {
        let stage1 = shown.run.history.iter().filter(|record| record.stage == 1);
        stage1.filter_map(|record| Some([record.epoch as f64, (curve.value)(record)?])).collect()
    };
    let points: Vec<_> = shown.iter().map(points).collect();
    let empty = if curve.percent {
        "None of these runs was checked on validation while it was trained"
    } else {
        "No epoch is finished yet"
    };
    let chart = LineChart::new(("compared", title), unit)
        .x_label("epoch of stage 1")
        .y_percent(curve.percent)
        .empty_text(empty);
    chart_ui(ui, chart, shown, &points);
}

fn norms_ui(ui: &mut Ui, title: &str, unit: &str, shown: &[Shown]) {
    let points = |shown: &Shown| -> Vec<[f64; 2]> {
        let Some(record) = shown.run.norms.last() else { return Vec::new() };
        let ranked = by_count(&record.norms, &shown.run.train_counts);
        ranked
            .into_iter()
            .enumerate()
            .map(|(rank, norm)| [(rank + 1) as f64, norm.into()])
            .collect()
    };
    let points: Vec<_> = shown.iter().map(points).collect();
    let chart = LineChart::new(("compared", title), unit)
        .x_label("class, the largest first")
        .empty_text("No epoch is finished yet");
    chart_ui(ui, chart, shown, &points);
}

/// The norms of the classes, those of the class of most training samples first.
fn by_count(norms: &[f32], counts: &[usize]) -> Vec<f32> {
    let mut classes: Vec<(usize, f32)> =
        counts.iter().copied().zip(norms.iter().copied()).collect();
    classes.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    classes.into_iter().map(|(_, norm)| norm).collect()
}

fn results_ui(ui: &mut Ui, shown: &[Shown]) {
    let of = |results: fn(&OpenRun) -> Vec<(String, Accuracies)>| -> Vec<Line<'_>> {
        let all = shown.iter().map(|shown| (shown, results(shown.run)));
        all.flat_map(|(shown, lines)| {
            lines.into_iter().map(move |(what, values)| (shown, what, values))
        })
        .collect()
    };
    let in_turn = of(held_in_turn);
    if !in_turn.is_empty() {
        ui.label(theme::heading("Results on images held out in turn"));
        parts::weak(
            ui,
            "Training and validation images, each recognised by a classifier that learned from others.",
        );
        lines_ui(ui, "compared in turn", &in_turn);
        parts::gap(ui);
    }
    ui.label(theme::heading("Results on validation"));
    let rows = of(validated);
    if rows.is_empty() {
        parts::weak(
            ui,
            "None of these runs was checked on validation. A dataset with a validation split can be compared here.",
        );
        return;
    }
    lines_ui(ui, "compared results", &rows);
    parts::weak(ui, "The best of each column is in bold.");
}

/// Accuracies: balanced, many, medium, few, top-1.
type Accuracies = [Option<f64>; 5];

/// A run, what of it is judged, and how well it does.
type Line<'a> = (&'a Shown<'a>, String, Accuracies);

fn lines_ui(ui: &mut Ui, id: &str, rows: &[Line<'_>]) {
    ScrollArea::horizontal().id_salt(id).show(ui, |ui| {
        Grid::new(id).spacing([space::LARGE, space::MEDIUM]).show(ui, |ui| {
            ui.label("");
            for title in ["Run", "Result"] {
                parts::weak(ui, title);
            }
            for title in ["Balanced", "Many", "Medium", "Few", "Top-1"] {
                let weak = tokens(ui.visuals()).text_weak;
                parts::cell(ui, true, RichText::new(title).color(weak));
            }
            ui.end_row();
            for (shown, what, values) in rows {
                swatch(ui, shown.color);
                ui.label(&shown.name);
                ui.label(what);
                for (place, value) in values.iter().enumerate() {
                    // The best of a column stands out, by its weight and not by a colour alone.
                    let best = rows.len() > 1
                        && value.is_some()
                        && rows.iter().all(|(_, _, other)| other[place] <= *value);
                    let text = numbers::percent(*value);
                    let text = if best { theme::strong(text) } else { RichText::new(text) };
                    parts::cell(ui, true, text);
                }
                ui.end_row();
            }
        });
    });
}

/// How the classifier is called that a run was balanced to.
fn balanced_name(run: &OpenRun) -> String {
    run.balanced.as_ref().map_or_else(
        || "balanced".to_string(),
        |report| counterweight_core::balance::describe(&report.settings),
    )
}

/// Accuracies on images held out in turn, with what they are of.
fn held_in_turn(run: &OpenRun) -> Vec<(String, Accuracies)> {
    let groups = run.groups();
    let names = ["as trained".to_string(), balanced_name(run)];
    let of = |(name, held): (String, &Option<HeldInTurn>)| {
        let held = held.as_ref().filter(|held| held.right.len() == groups.len())?;
        let mean = |group| held.accuracy_of(|class| groups[class] == group);
        let values = [
            Some(held.balanced_accuracy),
            mean(Group::Many),
            mean(Group::Medium),
            mean(Group::Few),
            held.top1(),
        ];
        Some((name, values))
    };
    names.into_iter().zip(&run.in_turn).filter_map(of).collect()
}

/// Accuracies on validation, with what they are of.
fn validated(run: &OpenRun) -> Vec<(String, Accuracies)> {
    let mut rows = Vec::new();
    for stage in [1, 2] {
        let records = || {
            run.history
                .iter()
                .filter(move |record| record.stage == stage && record.validation_balanced.is_some())
        };
        let row = |record: &EpochRecord, what: &str| {
            let values = [
                record.validation_balanced,
                record.validation_many,
                record.validation_medium,
                record.validation_few,
                record.validation_top1,
            ];
            (format!("stage {stage}, {what} epoch ({})", record.epoch), values)
        };
        let best = records().reduce(|best, next| {
            if next.validation_balanced > best.validation_balanced { next } else { best }
        });
        if let Some(best) = best.filter(|_| stage == 1) {
            rows.push(row(best, "best"));
        }
        if let Some(last) = records()
            .next_back()
            .filter(|last| stage == 2 || best.is_none_or(|best| best.epoch != last.epoch))
        {
            rows.push(row(last, "last"));
        }
    }
    if let Some(report) =
        run.balanced.as_ref().filter(|report| report.after.split == Split::Validation)
    {
        let results = report.after.judged();
        let groups = results.groups;
        let values = [
            Some(results.balanced_accuracy),
            groups.many,
            groups.medium,
            groups.few,
            Some(results.top1),
        ];
        rows.push((balanced_name(run), values));
    }
    rows
}

/// A setting whose values are not all the same: its name and the value of each run.
type Difference = (&'static str, Vec<String>);

fn settings_ui(ui: &mut Ui, shown: &[Shown]) {
    ui.label(theme::heading("Settings that differ"));
    if shown.len() < 2 {
        parts::weak(ui, "With a second run, the settings in which they differ are listed here.");
        return;
    }
    let folders: Vec<PathBuf> = shown.iter().map(|shown| shown.run.folder.clone()).collect();
    let id = Id::unique("settings that differ between runs");
    let known = ui
        .data(|data| data.get_temp::<(Vec<PathBuf>, Arc<[Difference]>)>(id))
        .filter(|(of, _)| *of == folders);
    let (_, rows) = known.unwrap_or_else(|| {
        let found: (Vec<PathBuf>, Arc<[Difference]>) = (folders, Arc::from(differences(shown)));
        ui.data_mut(|data| data.insert_temp(id, found.clone()));
        found
    });
    if rows.is_empty() {
        parts::weak(ui, "These runs were made with the same settings.");
        return;
    }
    parts::weak(ui, format!("Compared with {}; what is not as there is marked.", shown[0].name));
    let tokens = tokens(ui.visuals());
    ScrollArea::horizontal().id_salt("compared settings").show(ui, |ui| {
        Grid::new("compared settings")
            .num_columns(shown.len() + 1)
            .spacing([space::LARGE, space::MEDIUM])
            .show(ui, |ui| {
                ui.label("");
                for shown in shown {
                    ui.horizontal(|ui| {
                        swatch(ui, shown.color);
                        parts::weak(ui, &shown.name);
                    });
                }
                ui.end_row();
                for (label, values) in rows.iter() {
                    parts::weak(ui, *label);
                    for value in values {
                        let differs = Some(value) != values.first();
                        let text = if differs {
                            theme::strong(value).background_color(tokens.accent_wash)
                        } else {
                            RichText::new(value)
                        };
                        ui.label(text);
                    }
                    ui.end_row();
                }
            });
    });
}

fn differences(shown: &[Shown]) -> Vec<Difference> {
    let values = |key: &str| -> Vec<String> {
        shown.iter().map(|shown| shown.run.settings.text(key).unwrap_or_default()).collect()
    };
    let rows = INFO.iter().map(|info| (info.label, values(info.key)));
    rows.filter(|(_, values)| values.iter().any(|value| Some(value) != values.first())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn norms_stand_in_the_order_of_the_counts() {
        assert_eq!(by_count(&[1.0, 2.0, 3.0], &[5, 100, 20]), [2.0, 3.0, 1.0]);
        assert_eq!(by_count(&[1.0], &[5, 100]), [1.0]);
    }
}
