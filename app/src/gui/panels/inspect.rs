//! The inspection page: how good a checkpoint is, at which classes, and what it takes for what.

use std::borrow::Cow;

use counterweight_core::source::Split;
use egui::{Button, ComboBox, RichText, Ui};
use egui_material_icons::icons::ICON_ANALYTICS;

use super::{inspect_beside, inspect_map, inspect_mistakes, parts};
use crate::gui::command::{Command, InspectCommand, RunsCommand};
use crate::gui::state::{InspectState, Inspection, OpenRun, Page, State};
use crate::gui::theme::{self, space, tokens};
use crate::gui::widgets::{
    ClassLabel, Column, ConfusionMatrix, DataTable, MatrixOrder, Reliability, SortKey, TableState,
    group_chips, numbers, primary,
};

/// Height of the confusion matrix and of the diagram beside it.
const CHART: f32 = 460.0;

/// Draws the page.
pub fn ui(ui: &mut Ui, state: &mut State, commands: &mut Vec<Command>) {
    let training = state.train.is_running();
    let State { run, inspect, .. } = state;
    let Some(run) = run.as_ref().filter(|run| run.has_checkpoint()) else {
        parts::title_row(ui, "Inspect", |_| {});
        return nothing_ui(ui, run.is_some(), training, commands);
    };
    parts::title_row(ui, "Inspect", |ui| {
        let verdict = inspect.shown.as_ref().and_then(|shown| shown.evaluation.verdict.as_ref());
        if ui.add(parts::go_on(ui, "Continue to export", verdict)).clicked() {
            commands.push(Command::Go(Page::Export));
        }
    });
    theme::card(ui, |ui| choices_ui(ui, run, inspect, commands));
    if let Some(progress) = inspect.progress() {
        parts::gap(ui);
        let waiting = match &inspect.asked {
            Some((_, split)) => format!("Evaluating on {split}"),
            None => "Evaluating".into(),
        };
        theme::card(ui, |ui| {
            if parts::progress(ui, progress, &waiting) {
                commands.push(Command::Inspect(InspectCommand::Stop));
            }
        });
    }
    if let Some(reason) = &inspect.failure {
        parts::gap(ui);
        let (checkpoint, split) = chosen(run, inspect);
        theme::card(ui, |ui| {
            ui.label(theme::heading("The checkpoint could not be evaluated"));
            parts::trouble(ui, reason);
            parts::weak(
                ui,
                "Choose another checkpoint or split, or try again once the images can be read.",
            );
            if ui.add(primary(ui, "Evaluate again")).clicked() {
                commands.push(load(checkpoint, split));
            }
        });
    }
    if inspect.shown.as_ref().is_some_and(|shown| shown.folder == run.folder) {
        results_ui(ui, run, inspect, commands);
    } else if !inspect.is_busy() && inspect.failure.is_none() {
        waiting_ui(ui, run, inspect, training, commands);
    }
}

fn load(checkpoint: String, split: Split) -> Command {
    Command::Inspect(InspectCommand::Load { checkpoint: Some(checkpoint), split })
}

/// What the page says while there is nothing that could be evaluated.
fn nothing_ui(ui: &mut Ui, has_run: bool, training: bool, commands: &mut Vec<Command>) {
    let (title, text) = match (training, has_run) {
        (true, _) => (
            "Training is not finished yet",
            "Once it has left a checkpoint, the results of every class are shown here.",
        ),
        (false, true) => (
            "This run is not trained yet",
            "Train it, and the results of every class are shown here.",
        ),
        (false, false) => (
            "There is no run to inspect yet",
            "Train a run, or open an earlier one, and see which classes it takes for which.",
        ),
    };
    parts::empty_page(ui, ICON_ANALYTICS, title, text, |ui| {
        if ui.add(primary(ui, "Go to Train")).clicked() {
            commands.push(Command::Go(Page::Train));
        }
        if ui.button("Open run…").clicked() {
            commands.push(Command::Runs(RunsCommand::PickRun));
        }
    });
}

/// What is said of a run that could be evaluated and is not.
fn waiting_ui(
    ui: &mut Ui,
    run: &OpenRun,
    inspect: &InspectState,
    training: bool,
    commands: &mut Vec<Command>,
) {
    if training {
        parts::wait_for_training(ui, "Evaluating", commands);
        return;
    }
    let (checkpoint, split) = chosen(run, inspect);
    parts::empty_page(
        ui,
        ICON_ANALYTICS,
        "Not evaluated yet",
        "Evaluating runs the checkpoint on every image of the split.",
        |ui| {
            if ui.add(primary(ui, format!("Evaluate on {split}"))).clicked() {
                commands.push(load(checkpoint, split));
            }
        },
    );
}

/// The checkpoint and the split that are being evaluated, or shown, or else would be.
fn chosen(run: &OpenRun, inspect: &InspectState) -> (String, Split) {
    let last = || parts::final_checkpoint(run).unwrap_or("last").to_string();
    match (&inspect.asked, &inspect.shown) {
        (Some((checkpoint, split)), _) => (checkpoint.clone().unwrap_or_else(last), *split),
        (None, Some(shown)) => (shown.evaluation.checkpoint.clone(), shown.evaluation.split),
        (None, None) => (last(), parts::free_split(run)),
    }
}

fn choices_ui(ui: &mut Ui, run: &OpenRun, inspect: &InspectState, commands: &mut Vec<Command>) {
    let (checkpoint, split) = chosen(run, inspect);
    ui.horizontal_wrapped(|ui| {
        let label = ui.label("Checkpoint");
        let combo = ComboBox::from_id_salt("inspected checkpoint").width(250.0).truncate();
        let shown =
            combo.selected_text(parts::checkpoint_words(run, &checkpoint)).show_ui(ui, |ui| {
                for name in ["balanced", "best", "last"]
                    .into_iter()
                    .filter(|name| run.checkpoints.iter().any(|there| there == name))
                {
                    let picked = ui
                        .selectable_label(name == checkpoint, parts::checkpoint_words(run, name))
                        .clicked();
                    if picked && name != checkpoint {
                        // Another checkpoint is no reason to look at the test split once more.
                        let split =
                            if split == Split::Test { parts::free_split(run) } else { split };
                        commands.push(load(name.into(), split));
                    }
                }
            });
        shown.response.labelled_by(label.id);
        ui.label("Split");
        for (candidate, name) in [(Split::Validation, "Validation"), (Split::Train, "Train")] {
            let there = run.split_sizes[candidate as usize] > 0;
            let button = ui.add_enabled(there, Button::new(name).selected(split == candidate));
            if button.on_disabled_hover_text("The dataset has no such split").clicked()
                && split != candidate
            {
                commands.push(load(checkpoint.clone(), candidate));
            }
        }
        let button = ui.add_enabled(
            run.has_test(),
            Button::new("Evaluate on test").selected(split == Split::Test),
        );
        if button.on_disabled_hover_text("The dataset has no test split").clicked() {
            commands.push(load(checkpoint.clone(), Split::Test));
        }
    });
    parts::weak(
        ui,
        "Choose on validation and look at test once, at the end: numbers that were chosen by looking at test are no test.",
    );
}

fn results_ui(ui: &mut Ui, run: &OpenRun, inspect: &mut InspectState, commands: &mut Vec<Command>) {
    let InspectState {
        shown,
        thumbnails,
        pair,
        group,
        by_count,
        table,
        revision,
        beside,
        overlays,
        map,
        ..
    } = inspect;
    let Some(shown) = shown.as_ref() else { return };
    parts::gap(ui);
    parts::verdict(ui, shown.evaluation.verdict.as_ref());
    theme::card(ui, |ui| numbers_ui(ui, run, shown));
    parts::gap(ui);
    let labels = labels(shown);
    parts::two_columns(ui, |ui, part| {
        theme::card(ui, |ui| match part {
            0 => {
                if let Some(clicked) = confusion_ui(ui, shown, &labels, by_count, *revision) {
                    *pair = Some(clicked);
                    *group = None;
                }
            }
            _ => {
                ui.label(theme::heading("Reliability"));
                parts::weak(
                    ui,
                    "Whether the model is right as often as it is sure. On the dashed line it is.",
                );
                Reliability::new(
                    &shown.evaluation.judged().calibration,
                    shown.evaluation.judged().ece,
                )
                .height(CHART + 48.0)
                .show(ui);
            }
        });
    });
    parts::gap(ui);
    theme::card(ui, |ui| classes_ui(ui, run, shown, table, *revision));
    parts::gap(ui);
    theme::card(ui, |ui| inspect_beside::ui(ui, beside, commands));
    parts::gap(ui);
    theme::card(ui, |ui| inspect_map::ui(ui, run, map, commands));
    parts::gap(ui);
    theme::card(ui, |ui| {
        let pictures = (thumbnails, overlays);
        inspect_mistakes::ui(ui, run, shown, pictures, (pair, group), *revision, commands)
    });
}

/// The classes, as charts name and colour them.
fn labels(shown: &Inspection) -> Vec<ClassLabel<'_>> {
    let classes = &shown.evaluation.judged().per_class;
    classes
        .iter()
        .map(|class| ClassLabel {
            name: &class.name,
            count: class.train_count as u64,
            group: class.group,
        })
        .collect()
}

fn numbers_ui(ui: &mut Ui, run: &OpenRun, shown: &Inspection) {
    let (of, results) = (&shown.evaluation, shown.evaluation.judged());
    let percent = |share: f64| numbers::percent(Some(share));
    let split = match of.split {
        Split::Test => "Results on test",
        Split::Validation => "Results on validation",
        Split::Train => "Results on train",
    };
    ui.horizontal_wrapped(|ui| {
        ui.label(theme::heading(split));
        group_chips(ui, &results.group_sizes);
    });
    let flip = if of.flip { "logits averaged with the mirror image" } else { "no mirror image" };
    parts::weak(
        ui,
        format!(
            "Checkpoint {}, after epoch {} of stage 1 (chosen by {}). {} images of the {} split, {flip}.",
            parts::checkpoint_words(run, &of.checkpoint),
            of.epoch,
            of.chosen_by,
            numbers::grouped(results.samples as u64),
            of.split,
        ),
    );
    ui.add_space(space::SMALL);
    let mut tiles = vec![
        (
            "Balanced accuracy".into(),
            percent(results.balanced_accuracy),
            "The mean of the accuracies of all classes, each counting the same",
        ),
        ("Many".into(), numbers::percent(results.groups.many), "Of the frequent classes"),
        ("Medium".into(), numbers::percent(results.groups.medium), "Of the classes in between"),
        ("Few".into(), numbers::percent(results.groups.few), "Of the rare classes"),
        ("Top-1".into(), percent(results.top1), "The share of these images that are right"),
        (
            "Top-1 at training frequencies".into(),
            percent(results.accuracy_as_trained()),
            "What would be right if classes came as often as in training",
        ),
        (
            "Macro-F1".into(),
            percent(results.macro_f1),
            "The mean over classes of F1, which wrong guesses of a class lower as well",
        ),
        (
            "Calibration error".into(),
            percent(results.ece),
            "How far apart being sure and being right are, on average (ECE)",
        ),
        (
            format!("Worst class: {}", results.worst_class.name),
            percent(results.worst_class.accuracy),
            "",
        ),
    ];
    // Of five classes every one is among the first five.
    if results.per_class.len() > 5 {
        let meaning = "The class is among the first five";
        tiles.push(("Top-5".into(), percent(results.top5), meaning));
    }
    parts::tiles(ui, &tiles);
    if let Some(thirds) = results.suggested_thresholds {
        let text = format!(
            "All classes are in one group. Many above {} and few below {} training images would split them into thirds.",
            thirds.many_above, thirds.few_below
        );
        ui.label(RichText::new(text).color(tokens(ui.visuals()).warn));
    }
}

/// Returns the true and the predicted class of the cell that was clicked.
fn confusion_ui(
    ui: &mut Ui,
    shown: &Inspection,
    labels: &[ClassLabel],
    by_count: &mut bool,
    revision: u64,
) -> Option<(usize, usize)> {
    ui.horizontal_wrapped(|ui| {
        ui.label(theme::heading("Confusion matrix"));
        ui.add_space(space::MEDIUM);
        if parts::chip(ui, !*by_count, "By label")
            .on_hover_text("Classes in the order of their labels")
            .clicked()
        {
            *by_count = false;
        }
        let hint = "The class of most training images first, so that groups lie together";
        if parts::chip(ui, *by_count, "By group").on_hover_text(hint).clicked() {
            *by_count = true;
        }
    });
    parts::weak(
        ui,
        "True classes downwards, predicted ones across. Click a cell to see its images below.",
    );
    let order = if *by_count { MatrixOrder::ByCount } else { MatrixOrder::ByLabel };
    let matrix =
        ConfusionMatrix::new("confusion", &shown.evaluation.judged().confusion, labels, revision);
    matrix.order(order).size(CHART).show(ui).clicked
}

fn classes_ui(
    ui: &mut Ui,
    run: &OpenRun,
    shown: &Inspection,
    table: &mut TableState,
    revision: u64,
) {
    ui.label(theme::heading("Classes"));
    parts::weak(
        ui,
        "Accuracy is of the images of a class; precision of those taken for it, with classes as frequent as in training.",
    );
    let classes = &shown.evaluation.judged().per_class;
    // Of rare classes there are more images than a split has.
    let in_turn = &run.in_turn[usize::from(shown.evaluation.checkpoint == "balanced")];
    let in_turn = in_turn.as_ref().filter(|held| held.right.len() == classes.len());
    if in_turn.is_some() {
        parts::weak(
            ui,
            "Held out in turn: how many training and validation images are right when they are held out from what the classifier learns.",
        );
    }
    let column = |title, numeric, width| Column { title, numeric, width };
    let mut columns = vec![
        column("Class", false, 0.0),
        column("Group", false, 64.0),
        column("Training", true, 72.0),
        column("Images", true, 70.0),
        column("Accuracy", true, 72.0),
        column("95 % interval", true, 112.0),
        column("Precision", true, 74.0),
    ];
    if in_turn.is_some() {
        columns.push(column("Held out in turn", true, 116.0));
    }
    let turn = |row: usize| in_turn.map_or([0, 0], |held| held.right[row]);
    let precision = shown.evaluation.judged().precision_as_trained();
    let cell = |row: usize, column: usize| -> Cow<'_, str> {
        let class = &classes[row];
        match column {
            0 => Cow::Borrowed(class.name.as_str()),
            1 => Cow::Borrowed(class.group.name()),
            2 => Cow::Owned(numbers::grouped(class.train_count as u64)),
            3 => Cow::Owned(numbers::grouped(class.samples as u64)),
            4 => Cow::Owned(numbers::percent(class.accuracy)),
            5 => class
                .interval
                .map_or(Cow::Borrowed("–"), |interval| Cow::Owned(interval_text(interval))),
            6 => Cow::Owned(numbers::percent(precision[row])),
            _ => match turn(row) {
                [_, 0] => Cow::Borrowed("–"),
                [right, all] => Cow::Owned(format!("{right} of {all}")),
            },
        }
    };
    let number = |value: Option<f64>| SortKey::Number(value.unwrap_or(f64::NAN));
    let key = |row: usize, column: usize| -> SortKey<'_> {
        let class = &classes[row];
        match column {
            0 => SortKey::Text(Cow::Borrowed(class.name.as_str())),
            // Groups follow from the number of training samples.
            1 | 2 => SortKey::Number(class.train_count as f64),
            3 => SortKey::Number(class.samples as f64),
            4 => number(class.accuracy),
            5 => number(class.interval.map(|[low, _]| low)),
            6 => number(precision[row]),
            _ => {
                let [right, all] = turn(row);
                number((all > 0).then(|| right as f64 / all as f64))
            }
        }
    };
    let group = |row: usize| Some(classes[row].group);
    let shown = DataTable::new("inspected classes", &columns, classes.len(), revision)
        .title("Classes")
        .search("Search classes");
    shown.group(&group).height(360.0).show(ui, table, cell, key);
}

/// An interval of shares: `12.3–45.6 %`.
fn interval_text([low, high]: [f64; 2]) -> String {
    format!("{:.1}–{:.1} %", 100.0 * low, 100.0 * high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_reads_as_percentages() {
        assert_eq!(interval_text([0.1234, 1.0]), "12.3–100.0 %");
    }
}
