//! The runs page: every run of the runs folder, how far it is and how good, to be opened, compared,
//! renamed or deleted.

use std::path::Path;

use counterweight_core::eval::{Grade, Group};
use counterweight_core::run::{EvaluationBrief, RunState, RunSummary};
use counterweight_core::source::Split;
use egui::{Align, Button, Id, Label, Layout, Popup, RichText, Ui, vec2};
use egui_material_icons::MaterialIcon;
use egui_material_icons::icons::{
    ICON_BALANCE, ICON_ERROR, ICON_FOLDER_OPEN, ICON_HISTORY, ICON_IOS_SHARE, ICON_MODEL_TRAINING,
    ICON_MORE_VERT, ICON_PAUSE_CIRCLE, ICON_PENDING, ICON_RADIO_BUTTON_UNCHECKED, ICON_REFRESH,
};

use super::{parts, runs_compare, runs_sweeps};
use crate::gui::command::{Command, DataCommand, RunsCommand, TourCommand};
use crate::gui::state::{Page, RunsState, State, folder_name};
use crate::gui::theme::{self, icon, space, tokens};
use crate::gui::widgets::{IconButton, VerdictStrip, before_after, numbers, primary, waiting};

/// Width of the results of a run.
const RESULTS: f32 = 400.0;
/// Cards narrower than this have the results below the name.
const BESIDE: f32 = 1040.0;

/// Draws the page.
pub fn ui(ui: &mut Ui, state: &mut State, commands: &mut Vec<Command>) {
    let folder = state.shell.runs_folder();
    parts::title_row(ui, "Runs", |ui| {
        // Where there are none yet, the page itself says what comes first.
        let open = match state.runs.listed.is_empty() {
            true => egui::Button::new("Open run…"),
            false => primary(ui, "Open run…"),
        };
        if ui.add(open).on_hover_text("Open a run that lies anywhere").clicked() {
            commands.push(Command::Runs(RunsCommand::PickRun));
        }
        if IconButton::new(ICON_REFRESH, "Refresh")
            .enabled(!state.runs.is_listing())
            .show(ui)
            .clicked()
        {
            commands.push(Command::Runs(RunsCommand::Refresh));
        }
        if state.runs.is_listing() {
            waiting(ui);
        }
    });
    let has_test = state
        .runs
        .listed
        .iter()
        .any(|(_, run)| matches!(run, Ok(run) if run.split == Some(Split::Test)));
    let show_test = folder_ui(ui, &folder, has_test, commands);
    parts::gap(ui);
    let opened = state.run.as_ref().map(|run| run.folder.clone());
    let in_training = state.train.training.as_ref().map(|training| training.folder.clone());
    if !state.runs.sweeps.is_empty() {
        theme::card(ui, |ui| {
            ui.label(theme::heading("Several values of one setting"));
            ui.add_space(space::SMALL);
            runs_sweeps::ui(ui, &state.runs, commands);
        });
        parts::gap(ui);
    }
    if state.runs.listed.is_empty() && state.runs.sweeps.is_empty() {
        none_ui(ui, state.runs.is_listing(), commands);
    } else if !state.runs.listed.is_empty() {
        let runs = &state.runs;
        theme::card(ui, |ui| {
            for (index, (path, run)) in runs.listed.iter().enumerate() {
                if index > 0 {
                    ui.separator();
                }
                ui.push_id(path, |ui| match run {
                    Ok(run) => {
                        let place = Place {
                            is_open: opened.as_deref() == Some(path.as_path()),
                            is_training: in_training.as_deref() == Some(path.as_path()),
                        };
                        run_ui(ui, runs, run, place, show_test, commands)
                    }
                    Err(reason) => unreadable_ui(ui, path, reason, commands),
                });
            }
        });
    }
    if !state.runs.compared.is_empty() {
        parts::gap(ui);
        runs_compare::ui(ui, &state.runs.compared, commands);
    }
}

/// Where the runs are. Returns whether results of the test split are shown.
fn folder_ui(ui: &mut Ui, folder: &Path, has_test: bool, commands: &mut Vec<Command>) -> bool {
    let id = Id::unique("show test results");
    let mut shown = ui.data(|data| data.get_temp::<bool>(id)).unwrap_or(false);
    ui.horizontal_wrapped(|ui| {
        parts::weak(ui, format!("{} Runs are kept in", ICON_FOLDER_OPEN.codepoint));
        ui.label(RichText::new(folder.display().to_string()).monospace());
        if ui.button("Change…").on_hover_text("Keep runs in another folder").clicked() {
            commands.push(Command::Runs(RunsCommand::PickRunsFolder));
        }
        if has_test {
            ui.add_space(space::LARGE);
            let text = "Show test results";
            let hint = "Runs that are chosen by their results on test have no test left. Compare them on validation below.";
            if ui.checkbox(&mut shown, text).on_hover_text(hint).changed() {
                ui.data_mut(|data| data.insert_temp(id, shown));
            }
        }
    });
    shown
}

fn none_ui(ui: &mut Ui, is_listing: bool, commands: &mut Vec<Command>) {
    if is_listing {
        ui.horizontal(|ui| {
            waiting(ui);
            parts::weak(ui, "Reading the runs folder");
        });
        return;
    }
    let text = "Every training becomes a run: its settings, log, checkpoints and results in one folder. Open your images to begin.";
    parts::empty_page(ui, ICON_HISTORY, "No runs yet", text, |ui| {
        if ui.add(primary(ui, "Go to Data")).clicked() {
            commands.push(Command::Go(Page::Data));
        }
        if ui.button("Take the guided tour").clicked() {
            commands.push(Command::Tour(TourCommand::Start));
        }
    });
}

/// What a run is to the window.
#[derive(Clone, Copy)]
struct Place {
    is_open: bool,
    is_training: bool,
}

fn run_ui(
    ui: &mut Ui,
    runs: &RunsState,
    run: &RunSummary,
    place: Place,
    show_test: bool,
    commands: &mut Vec<Command>,
) {
    let beside = ui.available_width() >= BESIDE;
    ui.horizontal(|ui| {
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            actions_ui(ui, runs, run, commands);
            if beside {
                ui.add_space(space::LARGE);
                ui.allocate_ui_with_layout(
                    vec2(RESULTS, 0.0),
                    Layout::top_down(Align::Min),
                    |ui| {
                        ui.set_width(RESULTS);
                        results_ui(ui, run, show_test);
                    },
                );
            }
            ui.with_layout(Layout::top_down(Align::Min), |ui| name_ui(ui, run, place, show_test));
        });
    });
    if !beside {
        results_ui(ui, run, show_test);
    }
    // By validation, unless there is none.
    if let Some(verdict) =
        run.verdict.as_ref().filter(|verdict| verdict.split != Split::Test || show_test)
    {
        VerdictStrip::new(verdict).compact().show(ui);
    }
}

fn name_ui(ui: &mut Ui, run: &RunSummary, place: Place, show_test: bool) {
    let tokens = tokens(ui.visuals());
    ui.spacing_mut().item_spacing.y = space::SMALL;
    let (mark, word) = match place.is_training {
        true => (ICON_PENDING, "training now"),
        false => state_words(run.state),
    };
    let color = match run.state {
        _ if place.is_training => tokens.accent_text,
        RunState::Interrupted => tokens.warn,
        _ => tokens.text_weak,
    };
    ui.horizontal(|ui| {
        ui.label(icon(mark).size(18.0).color(color));
        ui.add(Label::new(theme::strong(&run.name)).truncate())
            .on_hover_text(run.folder.display().to_string());
        if place.is_open {
            ui.label(RichText::new("open now").small().color(tokens.accent_text));
        }
    });
    let mut facts = vec![
        format!("{}, {}", run.preset.name(), run.backbone.name()),
        format!(
            "{} of {} epochs",
            numbers::grouped(run.finished_epochs as u64),
            numbers::grouped(run.epochs as u64)
        ),
        format!("{} classes", numbers::grouped(run.classes as u64)),
    ];
    facts.extend(
        run.imbalance_factor.map(|factor| format!("imbalance factor {}", numbers::count(factor))),
    );
    facts.push(numbers::ago(run.modified));
    if has_hidden_results(run, show_test) {
        facts.push("evaluated on test, which is not shown".into());
    }
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing.x = 0.0;
        ui.label(RichText::new(word).color(color));
        ui.label(RichText::new(format!(" · {}", facts.join(" · "))).color(tokens.text_weak));
    });
}

/// The buttons of a run, from right to left.
fn actions_ui(ui: &mut Ui, runs: &RunsState, run: &RunSummary, commands: &mut Vec<Command>) {
    let name = &run.name;
    menu_ui(ui, name, &run.folder, true, commands);
    let compared = runs.compared.iter().any(|compared| compared.folder == run.folder);
    let compare = ui.add(Button::new("Compare").selected(compared));
    // A name given afterwards replaces the words on the button, not whether it is pressed.
    if compare
        .on_hover_text("Add to the comparison below, or remove")
        .accessible_name(format!("Compare {name}"))
        .clicked()
    {
        commands.push(Command::Runs(RunsCommand::ToggleCompare(run.folder.clone())));
    }
    if runs.opening() == Some(run.folder.as_path()) {
        waiting(ui);
    } else if ui.button("Open").accessible_name(format!("Open {name}")).clicked() {
        commands.push(Command::Runs(RunsCommand::Open(run.folder.clone())));
    }
}

pub(super) fn menu_ui(
    ui: &mut Ui,
    name: &str,
    folder: &Path,
    is_readable: bool,
    commands: &mut Vec<Command>,
) {
    let button =
        IconButton::new(ICON_MORE_VERT, &format!("More for {name}")).icon_only().quiet().show(ui);
    Popup::menu(&button).show(|ui| {
        ui.set_min_width(160.0);
        let mut entry = |ui: &mut Ui, text: &str, command: Command| {
            if ui.add(Button::new(text).frame_when_inactive(false)).clicked() {
                commands.push(command);
                ui.close();
            }
        };
        let folder = folder.to_path_buf();
        if is_readable {
            entry(ui, "Rename…", Command::Runs(RunsCommand::AskRename(folder.clone())));
        }
        entry(ui, "Show folder", Command::Data(DataCommand::ShowFile(folder.clone())));
        entry(ui, "Delete…", Command::Runs(RunsCommand::AskDelete(folder)));
    });
}

/// Whether there are results that are shown only if they are asked for.
fn has_hidden_results(run: &RunSummary, show_test: bool) -> bool {
    run.split == Some(Split::Test) && !show_test && (run.before.is_some() || run.after.is_some())
}

fn results_ui(ui: &mut Ui, run: &RunSummary, show_test: bool) {
    let is_shown =
        (run.before.is_some() || run.after.is_some()) && !has_hidden_results(run, show_test);
    let Some(split) = run.split.filter(|_| is_shown) else { return };
    ui.spacing_mut().item_spacing.y = space::SMALL;
    let balanced = |brief: Option<EvaluationBrief>| brief.map(|brief| brief.balanced);
    let few = |brief: Option<EvaluationBrief>| brief.and_then(|brief| brief.few);
    let means_something =
        run.verdict.as_ref().is_none_or(|verdict| verdict.grade != Grade::Worthless);
    let mut line = |group, what: &str, values| {
        before_after(ui, group, &format!("{what} on {split}"), values, means_something);
    };
    line(None, "Balanced", [run.before, run.after].map(balanced));
    line(Some(Group::Few), "Few", [run.before, run.after].map(few));
}

fn unreadable_ui(ui: &mut Ui, path: &Path, reason: &str, commands: &mut Vec<Command>) {
    let bad = tokens(ui.visuals()).bad;
    let name = folder_name(path);
    ui.horizontal(|ui| {
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            menu_ui(ui, &name, path, false, commands);
            ui.with_layout(Layout::top_down(Align::Min), |ui| {
                ui.horizontal(|ui| {
                    ui.label(icon(ICON_ERROR).size(18.0).color(bad));
                    ui.add(Label::new(theme::strong(&name)).truncate());
                });
                ui.add(
                    Label::new(RichText::new(format!("Cannot be read: {reason}")).color(bad))
                        .wrap(),
                );
            });
        });
    });
}

/// How far a run is, as an icon and in a word.
pub(super) fn state_words(state: RunState) -> (MaterialIcon, &'static str) {
    match state {
        RunState::New => (ICON_RADIO_BUTTON_UNCHECKED, "no epoch finished"),
        RunState::Interrupted => (ICON_PAUSE_CIRCLE, "interrupted"),
        RunState::Trained => (ICON_MODEL_TRAINING, "trained"),
        RunState::Balanced => (ICON_BALANCE, "balanced"),
        RunState::Exported => (ICON_IOS_SHARE, "exported"),
    }
}
