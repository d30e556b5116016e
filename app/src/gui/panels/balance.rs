//! The balancing page: norms and accuracies before and after, every balancer that was tried, and
//! the one the run keeps.

use std::borrow::Cow;

use counterweight_core::balance::describe;
use counterweight_core::eval::{Evaluation, Grade, Group, comparison};
use counterweight_core::settings::BalanceSettings;
use counterweight_core::source::Split;
use egui::{Button, CollapsingHeader, Grid, RichText, Ui};
use egui_material_icons::icons::{ICON_BALANCE, ICON_ERROR, ICON_VISIBILITY};

use super::train_live::pair_ui;
use super::{balance_comparison, balance_controls, parts};
use crate::gui::command::{BalanceCommand, Command, DataCommand, RunsCommand, TrainCommand};
use crate::gui::state::{BalanceState, OpenRun, Page, State};
use crate::gui::theme::{self, card, icon, space, tokens};
use crate::gui::widgets::{
    ClassLabel, Column, DataTable, IconButton, LineChart, NormBar, NormBars, Scatter, ScatterPoint,
    Series, SortKey, TableState, VerdictStrip, before_after, numbers, primary, waiting,
};

/// Width of the controls beside the charts.
const CONTROLS: f32 = 340.0;
/// Classes whose bars have room beside each other in a window of the usual size.
const MOST_BARS: usize = 200;
/// From this width on the controls stand beside the charts.
const WIDE: f32 = 900.0;

/// The button that balances the run.
const USE: &str = "Use for this run";
/// The button that looks for the best of many balancers.
const FIND: &str = "Find the best balance";
/// What is behind the fold of the controls.
const BY_HAND: &str = "Every balancer with its parameters. The charts follow as you move them.";
/// The button that tries what takes long.
const TRY: &str = "Try it";
/// The button that leaves the run's classifier unbalanced.
const KEEP: &str = "Keep as trained";

/// Draws the page.
pub fn ui(ui: &mut Ui, state: &mut State, commands: &mut Vec<Command>) {
    title_ui(ui, state, commands);
    let State { run, balance, train, .. } = state;
    let Some(run) = run.as_ref().filter(|run| run.has_checkpoint()) else {
        no_run_ui(ui, train.is_running(), commands);
        return;
    };
    if train.training.as_ref().is_some_and(|training| training.folder == run.folder) {
        card(ui, |ui| {
            ui.label(
                "This run is being trained. It can be balanced when stage 1 is done or stopped.",
            )
        });
        return;
    }
    if train.is_running() && !balance.has(run) {
        parts::wait_for_training(ui, "Balancing", commands);
        return;
    }
    if let Some(progress) = balance.progress() {
        card(ui, |ui| {
            if parts::progress(ui, progress, "Starting") {
                commands.push(Command::Balance(BalanceCommand::Stop));
            }
        });
        ui.add_space(space::LARGE);
    }
    if let Some(reason) = balance.failure.clone() {
        card(ui, |ui| {
            ui.horizontal(|ui| {
                ui.label(icon(ICON_ERROR).size(20.0).color(tokens(ui.visuals()).bad));
                ui.label(theme::heading("The features could not be computed"));
            });
            ui.label(&reason);
            if ui.button("Try again").clicked() {
                balance.failure = None;
            }
        });
        return;
    }
    if balance.workbench.is_none() {
        return;
    }
    if ui.available_width() > WIDE {
        ui.horizontal_top(|ui| {
            ui.vertical(|ui| {
                ui.set_width(CONTROLS);
                controls_ui(ui, balance, run, commands);
            });
            ui.add_space(space::LARGE - ui.spacing().item_spacing.x);
            ui.vertical(|ui| {
                ui.set_width(ui.available_width());
                results_ui(ui, balance, run, commands);
            });
        });
    } else {
        // The results lie far below. One line is as high whatever it says, so no slider moves away
        // under the pointer.
        if let Some(trial) = balance.current.as_ref().filter(|_| balance.by_hand) {
            VerdictStrip::new(&trial.verdict).compact().show(ui);
            parts::gap(ui);
        }
        controls_ui(ui, balance, run, commands);
        ui.add_space(space::LARGE);
        results_ui(ui, balance, run, commands);
    }
}

/// What is to be pressed next.
#[derive(Clone, Copy, PartialEq)]
enum Next {
    Find,
    Use,
    Keep,
    GoOn,
    /// It is being computed.
    Unknown,
}

/// The best balance is looked for first. Of what is shown and the classifier as trained the one
/// that does better on held-out images is taken; what loses there is never offered first.
fn next_step(run: &OpenRun, balance: &BalanceState) -> Next {
    let is_kept = run.balanced.as_ref().is_some_and(|report| balance.shows(&report.settings));
    match balance.improves() {
        _ if is_kept => Next::GoOn,
        _ if run.can_tune() && balance.tuned.is_none() && !balance.is_chosen => Next::Find,
        Some(true) => Next::Use,
        Some(false) => Next::Keep,
        None => Next::Unknown,
    }
}

fn title_ui(ui: &mut Ui, state: &State, commands: &mut Vec<Command>) {
    parts::title_row(ui, "Balance", |ui| {
        let Some(run) = state.run.as_ref().filter(|_| state.balance.workbench.is_some()) else {
            return;
        };
        let balance = &state.balance;
        let next = next_step(run, balance);
        let button = |ui: &Ui, words: &'static str, step: Next| match next == step {
            true => primary(ui, words),
            false => Button::new(words),
        };
        if run.balanced.is_some() {
            let go_on = ui.add(button(ui, "Continue to inspection", Next::GoOn));
            if go_on.clicked() {
                commands.push(Command::Go(Page::Inspect));
            }
        }
        let listed =
            balance.settings.as_ref().is_some_and(|settings| !settings.balancers.is_empty());
        let idle = !balance.is_busy();
        if listed {
            let apply = ui.add_enabled(idle, button(ui, USE, Next::Use));
            if apply
                .on_hover_text(
                    "Balance the run as shown, and keep the result as its checkpoint `balanced`",
                )
                .clicked()
            {
                commands.push(Command::Balance(BalanceCommand::Apply));
            }
        }
        let keep = ui.add_enabled(idle, button(ui, KEEP, Next::Keep));
        if keep
            .on_hover_text(
                "Use no balancer: the run ends with the classifier that stage 1 has trained",
            )
            .clicked()
        {
            commands.push(Command::Balance(BalanceCommand::KeepAsTrained));
        }
        let find = ui.add_enabled(run.can_tune() && idle, button(ui, FIND, Next::Find));
        let find = find.on_hover_text(
            "Try 200 balancers and take the one that does best on images that were held out",
        );
        if find
            .on_disabled_hover_text("Needs validation images; build the dataset with some held out")
            .clicked()
        {
            commands.push(Command::Balance(BalanceCommand::Tune));
        }
    });
}

fn no_run_ui(ui: &mut Ui, training: bool, commands: &mut Vec<Command>) {
    let text = match training {
        true => "Stage 1 is running. Balancing comes after it.",
        false => {
            "Balancing needs the features that stage 1 learns. Train a run first, or open one."
        }
    };
    parts::empty_page(ui, ICON_BALANCE, "No trained run is open", text, |ui| {
        if ui.add(primary(ui, "Go to Train")).clicked() {
            commands.push(Command::Go(Page::Train));
        }
        if ui.button("Open run…").clicked() {
            commands.push(Command::Runs(RunsCommand::PickRun));
        }
        if !training && ui.button("Use the built-in sample").clicked() {
            commands.push(Command::Data(DataCommand::OpenSample));
            commands.push(Command::Go(Page::Data));
        }
    });
}

fn controls_ui(
    ui: &mut Ui,
    balance: &mut BalanceState,
    run: &OpenRun,
    commands: &mut Vec<Command>,
) {
    card(ui, |ui| found_ui(ui, balance, run, commands));
    parts::gap(ui);
    card(ui, |ui| {
        let title = theme::heading("Adjust by hand");
        let shown = CollapsingHeader::new(title)
            .id_salt("by hand")
            .open(balance.unfold.take())
            .default_open(false)
            .show(ui, |ui| by_hand_ui(ui, balance, commands));
        if shown.fully_closed() {
            ui.label(RichText::new(BY_HAND).small().weak());
        }
        let by_hand = !shown.fully_closed();
        if std::mem::replace(&mut balance.by_hand, by_hand) != by_hand {
            // What is above changes with it.
            ui.ctx().request_repaint();
        }
    });
}

/// What was found, or what there is to find.
fn found_ui(ui: &mut Ui, balance: &BalanceState, run: &OpenRun, commands: &mut Vec<Command>) {
    ui.label(theme::heading("Best balance"));
    match &balance.tuned {
        Some(tuned) => {
            ui.label(&tuned.reason);
            if !balance.shows(&tuned.best) && ui.button("Show what was found").clicked() {
                commands.push(Command::Balance(BalanceCommand::RecallTuned));
            }
        }
        None if run.can_tune() => {
            ui.label(format!(
                "“{FIND}” tries 200 ways to balance the classifier on images it was not trained on, keeps the one that serves the classes best, and says \
                 what it found. It takes seconds, or minutes with thousands of classes, and changes nothing until you use it."
            ));
        }
        None => {
            ui.label("There are no validation images to choose by. Build the dataset with some held out, or adjust by hand and judge by the charts.");
        }
    }
    if let Some(trial) = &balance.current {
        ui.add_space(space::SMALL);
        let shown = match trial.settings.balancers.is_empty() {
            true => "Shown: the classifier as trained".to_string(),
            false => format!("Shown: {}", trial.summary),
        };
        ui.label(RichText::new(shown).small().weak());
    }
}

fn by_hand_ui(ui: &mut Ui, balance: &mut BalanceState, commands: &mut Vec<Command>) {
    let BalanceState { settings, show_all, .. } = balance;
    let Some(settings) = settings else { return };
    if balance_controls::ui(ui, settings, show_all) {
        commands.push(Command::Balance(BalanceCommand::Try));
    }
    let tokens = tokens(ui.visuals());
    ui.separator();
    if let Some(trouble) = &balance.trouble {
        ui.label(RichText::new(trouble).color(tokens.bad));
    } else if balance.is_waiting() {
        ui.horizontal(|ui| {
            waiting(ui);
            ui.label(RichText::new("Computing…").small().weak());
        });
    } else if let Some(trial) = balance.current.as_ref().filter(|_| !balance.takes_long) {
        let text = format!("Computed in {}", milliseconds(trial.seconds));
        ui.label(RichText::new(text).small().weak());
        for note in &trial.notes {
            ui.label(RichText::new(note).small().color(tokens.warn));
        }
    }
    let is_there = !balance.is_waiting() && !balance.takes_long;
    if ui.add_enabled(is_there, Button::new("Keep in comparison")).clicked() {
        commands.push(Command::Balance(BalanceCommand::Keep));
    }
}

fn milliseconds(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.1} ms", seconds * 1e3) } else { numbers::duration(seconds) }
}

/// That what is set would have to be trained for longer than one waits for. Not among the controls,
/// which it would move away under the pointer.
fn untried_ui(
    ui: &mut Ui,
    settings: &BalanceSettings,
    balance: &BalanceState,
    commands: &mut Vec<Command>,
) {
    ui.label(theme::heading("Not tried yet"));
    ui.label(format!(
        "Training the classifier takes longer than {} with so many images and classes: {}.",
        numbers::duration(balance.patience.0.as_secs_f64()),
        describe(settings)
    ));
    let shown = "What is shown below is what was tried before.";
    ui.label(RichText::new(shown).small().weak());
    let try_it = ui.add_enabled(!balance.is_busy(), Button::new(TRY));
    if try_it.on_hover_text("Train it on the side, without changing the run").clicked() {
        commands.push(Command::Balance(BalanceCommand::TryWhole));
    }
}

fn results_ui(ui: &mut Ui, balance: &mut BalanceState, run: &OpenRun, commands: &mut Vec<Command>) {
    let Some((_, workbench)) = balance.workbench.clone() else { return };
    let groups: Vec<Group> =
        workbench.train_counts.iter().map(|count| workbench.thresholds.group(*count)).collect();
    if let Some(settings) = balance.settings.as_ref().filter(|_| balance.takes_long) {
        card(ui, |ui| untried_ui(ui, settings, balance, commands));
        parts::gap(ui);
    }
    let trial = balance.current.as_ref();
    parts::verdict(ui, trial.map(|trial| &trial.verdict));
    card(ui, |ui| {
        ui.label(theme::heading("Class weight norms before and after"));
        let words = match workbench.classes.len() <= MOST_BARS {
            true => {
                "One pair of bars for each class, the class with most training images on the left."
            }
            false => {
                "The class with most training images on the left. Where classes lie closer than bars can be, the largest norm of each place."
            }
        };
        ui.label(RichText::new(words).small().weak());
        if run.settings.stage1.is_frozen() {
            ui.label(
                RichText::new("Norms are those of the classifier that sees standardised features: each with mean 0 and deviation 1.")
                    .small()
                    .weak(),
            );
        }
        let before = &workbench.norms;
        let after = |class: usize| trial.and_then(|trial| trial.norms_after.get(class).copied());
        let bars: Vec<NormBar<'_>> = (0..workbench.classes.len())
            .map(|class| NormBar {
                name: &workbench.classes[class],
                group: groups[class],
                count: workbench.train_counts[class] as u64,
                before: before[class],
                after: after(class),
            })
            .collect();
        let radius = trial.and_then(|trial| trial.radius);
        NormBars::new(&bars)
            .radius(radius.map(|radius| radius.radius), "MaxNorm radius η")
            .height(220.0)
            .show(ui);
    });
    ui.add_space(space::LARGE);
    let split = workbench.held_out_split;
    pair_ui(
        ui,
        |ui| {
            ui.label(theme::heading("Accuracy before and after"));
            held_out_ui(ui, split, workbench.is_known_in_turn());
            if let Some(trial) = trial {
                let means_something = trial.verdict.grade != Grade::Worthless;
                groups_ui(ui, workbench.before(trial), &trial.evaluation, means_something);
            }
        },
        |ui| {
            ui.label(theme::heading("Accuracy by class count"));
            let words = match Scatter::has_dots(workbench.classes.len()) {
                true => format!("Each dot is a class, on {split}; hollow before, filled after."),
                false => format!(
                    "Each column is the classes of about the same count, on {split}: their mean before and after, and the range of eight in ten."
                ),
            };
            ui.label(RichText::new(words).small().weak());
            let Some(trial) = trial else { return };
            let before = &workbench.before(trial).per_class;
            let classes = trial.evaluation.per_class.iter().zip(before).zip(&groups);
            let dots: Vec<ScatterPoint<'_>> = classes
                .filter_map(|((after, before), group)| {
                    let class = ClassLabel {
                        name: &after.name,
                        count: after.train_count as u64,
                        group: *group,
                    };
                    after.accuracy.map(|accuracy| ScatterPoint {
                        class,
                        accuracy,
                        before: before.accuracy,
                    })
                })
                .collect();
            Scatter::new(&dots).height(230.0).show(ui);
        },
    );
    ui.add_space(space::LARGE);
    balance_comparison::ui(ui, balance, split, commands);
    ui.add_space(space::LARGE);
    tuning_ui(ui, balance, run);
    test_ui(ui, balance, run, commands);
}

fn held_out_ui(ui: &mut Ui, split: Split, is_known_in_turn: bool) {
    let text = match split {
        Split::Validation if is_known_in_turn => {
            "On the validation images. The search chooses by more: training images, too, each held out in turn.".to_string()
        }
        Split::Validation => {
            "On the validation images: they are what a balancer is chosen by.".to_string()
        }
        other => format!(
            "There are no validation images, so these are accuracies on {other}; they flatter."
        ),
    };
    ui.label(RichText::new(text).small().weak());
}

fn groups_ui(ui: &mut Ui, before: &Evaluation, after: &Evaluation, means_something: bool) {
    ui.add_space(space::SMALL);
    let mut line = |group: Option<Group>, name: &str, of: &dyn Fn(&Evaluation) -> Option<f64>| {
        before_after(ui, group, name, [of(before), of(after)], means_something);
    };
    for group in Group::ALL {
        line(Some(group), group.name(), &|found| found.groups.of(group));
    }
    line(None, "balanced accuracy", &|found| Some(found.balanced_accuracy));
    line(None, "top-1", &|found| Some(found.top1));
    line(None, "worst class", &|found| Some(found.worst_class.accuracy));
}

fn tuning_ui(ui: &mut Ui, balance: &BalanceState, run: &OpenRun) {
    let Some(tuned) = &balance.tuned else { return };
    card(ui, |ui| {
        ui.label(theme::heading("What was tried to find it"));
        let scores: Vec<[f64; 2]> = tuned
            .candidates
            .iter()
            .enumerate()
            .map(|(rank, candidate)| [(rank + 1) as f64, candidate.balanced_accuracy])
            .collect();
        let start: Vec<[f64; 2]> =
            [1.0, scores.len().max(2) as f64].map(|rank| [rank, tuned.start_score]).to_vec();
        let tokens = tokens(ui.visuals());
        LineChart::new(("tuning", &run.folder), "balanced accuracy")
            .series(Series {
                name: "candidates, best first",
                color: tokens.accent_text,
                points: &scores,
                dashed: false,
            })
            .series(Series {
                name: "as trained",
                color: tokens.before,
                points: &start,
                dashed: true,
            })
            .x_label("rank")
            .y_percent(true)
            .height(170.0)
            .show(ui);
        let columns = [
            Column { title: "Candidate", numeric: false, width: 0.0 },
            Column { title: "Balanced", numeric: true, width: 90.0 },
            Column { title: "Many", numeric: true, width: 80.0 },
            Column { title: "Few", numeric: true, width: 80.0 },
        ];
        let value = |row: usize, column: usize| {
            let candidate = &tuned.candidates[row];
            match column {
                1 => Some(candidate.balanced_accuracy),
                2 => candidate.groups.many,
                _ => candidate.groups.few,
            }
        };
        let cell = |row: usize, column: usize| match column {
            0 => Cow::Borrowed(tuned.candidates[row].summary.as_str()),
            _ => Cow::Owned(numbers::percent(value(row, column))),
        };
        let key = |row: usize, column: usize| match column {
            0 => SortKey::Text(Cow::Borrowed(tuned.candidates[row].summary.as_str())),
            _ => SortKey::Number(value(row, column).unwrap_or(f64::NAN)),
        };
        let id = ui.scope_id().with("tuning table");
        let mut table: TableState = ui.data_mut(|data| data.get_temp(id)).unwrap_or_default();
        let revision = tuned.candidates.len() as u64 ^ tuned.best_score.to_bits();
        DataTable::new("candidates", &columns, tuned.candidates.len(), revision)
            .title("Candidates")
            .height(200.0)
            .show(ui, &mut table, cell, key);
        ui.data_mut(|data| data.insert_temp(id, table));
    });
    ui.add_space(space::LARGE);
}

fn test_ui(ui: &mut Ui, balance: &BalanceState, run: &OpenRun, commands: &mut Vec<Command>) {
    card(ui, |ui| {
        ui.label(theme::heading("Test"));
        let Some(report) = &run.balanced else {
            ui.label("Decide on a balancer and use it for this run; then it can be evaluated on the test images, once.");
            return;
        };
        ui.label(match report.settings.balancers.is_empty() {
            true => "This run keeps the classifier as trained.".into(),
            false => format!("This run is balanced by {}.", describe(&report.settings)),
        });
        if report.after.split != Split::Test {
            ui.label("The dataset has no test images.");
            return;
        }
        if !balance.test_shown {
            let text = "Test numbers are for the report, not for choosing: once a balancer was picked because it does best on test, test no longer shows how well it does on new images.";
            ui.label(RichText::new(text).small().weak());
            if IconButton::new(ICON_VISIBILITY, "Evaluate on test").show(ui).clicked() {
                commands.push(Command::Balance(BalanceCommand::RevealTest));
            }
            return;
        }
        Grid::new("test").spacing([space::PAGE, 6.0]).show(ui, |ui| {
            for (column, heading) in ["On test, in percent", "Before", "After", "Change, in points"]
                .into_iter()
                .enumerate()
            {
                let heading = RichText::new(heading).small().weak();
                parts::cell(ui, column > 0, heading);
            }
            ui.end_row();
            for row in comparison(report.before.judged(), report.after.judged()) {
                for (column, cell) in row.cells().into_iter().enumerate() {
                    parts::cell(ui, column > 0, cell);
                }
                ui.end_row();
            }
        });
    });
    if run.is_trained() {
        return;
    }
    ui.add_space(space::LARGE);
    card(ui, |ui| {
        ui.label(format!(
            "Stage 1 of this run was stopped after {} of {} epochs.",
            run.finished_epochs(),
            run.settings.stage1.epochs()
        ));
        if ui.button("Continue training").clicked() {
            commands.push(Command::Train(TrainCommand::Continue));
            commands.push(Command::Go(Page::Train));
        }
    });
}
