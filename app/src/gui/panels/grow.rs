//! The page that grows a run: which images to label next, their labels, and a new run with them.

use std::borrow::Cow;

use counterweight_core::pipeline::GrownClass;
use egui::{DragValue, RichText, Ui};
use egui_material_icons::icons::{ICON_ADD_PHOTO_ALTERNATE, ICON_IMAGE_SEARCH};

use super::{grow_label, grow_more, parts};
use crate::gui::command::{Command, GrowCommand, RunsCommand};
use crate::gui::state::{GrowState, GrownRun, OpenRun, Page, State};
use crate::gui::theme::{self, space};
use crate::gui::widgets::{Column, DataTable, IconButton, SortKey, TableState, numbers, primary};

/// Height of the table of classes.
const HEIGHT: f32 = 320.0;
const COLUMNS: [Column<'static>; 6] = [
    Column { title: "Class", numeric: false, width: 0.0 },
    Column { title: "Training images", numeric: true, width: 120.0 },
    Column { title: "Added", numeric: true, width: 72.0 },
    Column { title: "Judged on", numeric: true, width: 88.0 },
    Column { title: "Right before", numeric: true, width: 104.0 },
    Column { title: "Right after", numeric: true, width: 96.0 },
];

/// Draws the page.
pub fn ui(ui: &mut Ui, state: &mut State, commands: &mut Vec<Command>) {
    let run = state.run.as_ref().filter(|run| run.has_checkpoint());
    let covered = state.shell.dialog.is_some() || state.shell.palette_open;
    let grow = &mut state.grow;
    parts::title_row(ui, "Grow", |ui| {
        let reason = refusal(grow, run);
        let button = IconButton::new(ICON_ADD_PHOTO_ALTERNATE, "Grow the run")
            .primary()
            .enabled(reason.is_none())
            .show(ui)
            .on_hover_text("Makes a new run with these images as more training images. The run that is open stays as it is");
        if button.on_disabled_hover_text(reason.unwrap_or_default()).clicked() {
            commands.push(Command::Grow(GrowCommand::Grow));
        }
    });
    let Some(run) = run else {
        let text = "Open a run that was trained. It tells which of your unlabelled images are worth a label, and learns them in seconds.";
        parts::empty_page(ui, ICON_ADD_PHOTO_ALTERNATE, "No finished run is open", text, |ui| {
            if ui.add(primary(ui, "Go to Runs")).clicked() {
                commands.push(Command::Go(Page::Runs));
            }
        });
        return;
    };
    if let Some(grown) = grow.grown.take() {
        theme::card(ui, |ui| grown_ui(ui, &grown, &mut grow.table, run, commands));
        parts::gap(ui);
        grow.grown = Some(grown);
    }
    let mut ask = |command| commands.push(Command::Grow(command));
    theme::card(ui, |ui| find_ui(ui, grow, &mut ask));
    if grow.labelling.is_some() {
        parts::gap(ui);
        theme::card(ui, |ui| grow_label::ui(ui, grow, run, covered, &mut ask));
    }
    parts::gap(ui);
    theme::card(ui, |ui| add_ui(ui, grow, &mut ask));
    parts::gap(ui);
    theme::card(ui, |ui| grow_more::ui(ui, grow, &mut ask));
}

/// Why the run cannot grow now, if so.
fn refusal(grow: &GrowState, run: Option<&OpenRun>) -> Option<&'static str> {
    match () {
        () if run.is_none() => Some("Open a run that was trained first"),
        () if grow.is_growing() => Some("It is growing"),
        () if grow.finding().is_some() => Some("Images are being looked at"),
        () if grow.waiting() == 0 && grow.source_text.trim().is_empty() => {
            Some("Label images, or name a folder of labelled ones, first")
        }
        () => None,
    }
}

/// Where the images are that have no label.
fn find_ui(ui: &mut Ui, grow: &mut GrowState, ask: &mut dyn FnMut(GrowCommand)) {
    ui.label(theme::heading("Label next"));
    parts::weak(
        ui,
        "Of images without a label, the run names those that are worth one: it is unsure of them, they may be of a rare class, and they are unlike each other.",
    );
    ui.add_space(space::SMALL);
    let hint = "a folder of images without labels, and all below it";
    if parts::path_row(ui, "Images without labels", hint, &mut grow.images_text) {
        ask(GrowCommand::PickImages);
    }
    let is_free = grow.finding().is_none() && !grow.is_growing();
    let is_named = !grow.images_text.trim().is_empty();
    ui.add_space(space::SMALL);
    ui.horizontal(|ui| {
        let button = IconButton::new(ICON_IMAGE_SEARCH, "Find images to label")
            .enabled(is_free && is_named)
            .show(ui);
        let reason = if is_named { "It is working" } else { "Name a folder of images first" };
        if button.on_disabled_hover_text(reason).clicked() {
            ask(GrowCommand::Find);
        }
        let label = ui.label("at most");
        ui.add(DragValue::new(&mut grow.count).range(1..=10_000)).labelled_by(label.id);
    });
    if let Some(progress) = grow.finding() {
        ui.add_space(space::SMALL);
        if parts::progress(ui, progress, "Looking at images") {
            ask(GrowCommand::Stop);
        }
    }
    if let Some(reason) = &grow.failure {
        ui.add_space(space::SMALL);
        parts::trouble(ui, reason);
    }
}

/// What the run is to grow by.
fn add_ui(ui: &mut Ui, grow: &mut GrowState, ask: &mut dyn FnMut(GrowCommand)) {
    ui.label(theme::heading("Add to the run"));
    let words = match grow.waiting() {
        0 => "No image was labelled here yet.".to_string(),
        1 => "1 image was labelled here and is added.".to_string(),
        count => {
            format!("{} images were labelled here and are added.", numbers::grouped(count as u64))
        }
    };
    ui.label(words);
    parts::weak(
        ui,
        "They become training images of a new run. What was held out stays as it is, so both runs are judged on the same images.",
    );
    ui.add_space(space::SMALL);
    let hint = "a folder with one folder a class, or an image list; may stay empty";
    if parts::path_row(ui, "Labelled images besides", hint, &mut grow.source_text) {
        ask(GrowCommand::PickSource);
    }
    if let Some(progress) = grow.growing() {
        ui.add_space(space::SMALL);
        if parts::progress(ui, progress, "Growing") {
            ask(GrowCommand::Stop);
        }
    }
}

/// What growing has brought.
fn grown_ui(
    ui: &mut Ui,
    grown: &GrownRun,
    table: &mut TableState,
    run: &OpenRun,
    commands: &mut Vec<Command>,
) {
    let GrownRun { folder, before, report, revision } = grown;
    ui.label(theme::heading(format!("{before} has grown")));
    let mut tiles = vec![("images added".to_string(), numbers::grouped(report.added as u64), "")];
    if let (Some([before, after]), Some(split)) = (&report.evaluations, report.split) {
        let percent = |share: f64| numbers::percent(Some(share));
        for (when, result) in [("before", before), ("after", after)] {
            let name = format!("balanced accuracy {when}, {split}");
            tiles.push((name, percent(result.judged().balanced_accuracy), ""));
        }
    }
    if let Some([before, after]) = &report.in_turn {
        for (when, held) in [("without them", before), ("with them", after)] {
            let share = numbers::percent(Some(held.balanced_accuracy));
            tiles.push((format!("held out in turn, {when}"), share, ""));
        }
    }
    parts::tiles(ui, &tiles);
    if report.in_turn.is_some() {
        ui.add_space(space::SMALL);
        parts::weak(
            ui,
            "Held out in turn: images that the run had before, recognised by what was learned from the others of these, without the new images and with them. Of rare classes they are more than those for validation or test; the table is of them.",
        );
    }
    ui.add_space(space::SMALL);
    let verdict = report.evaluations.as_ref().and_then(|both| both[1].verdict.as_ref());
    parts::verdict(ui, verdict);
    if report.evaluations.is_none() {
        parts::weak(ui, "No image was held out, so nothing says what that brought.");
    }
    if report.known > 0 {
        let known = numbers::grouped(report.known as u64);
        parts::weak(ui, format!("{known} images were left out: the run has them already."));
    }
    let class = |row: usize| -> &GrownClass { &report.classes[row] };
    let cell = |row: usize, column: usize| -> Cow<'_, str> {
        let GrownClass { class, is_new, train_counts, images, accuracy } = class(row);
        let share =
            |share: Option<f64>| share.map_or("–".into(), |share| numbers::percent(Some(share)));
        match column {
            0 if *is_new => format!("{class} (new)").into(),
            0 => class.as_str().into(),
            1 => numbers::grouped(train_counts[1] as u64).into(),
            2 => match train_counts[1] - train_counts[0] {
                0 => "".into(),
                added => format!("+{}", numbers::grouped(added as u64)).into(),
            },
            3 => numbers::grouped(*images as u64).into(),
            4 => share(accuracy[0]).into(),
            _ => share(accuracy[1]).into(),
        }
    };
    let key = |row: usize, column: usize| {
        let GrownClass { train_counts, images, accuracy, .. } = class(row);
        match column {
            0 => SortKey::Text(cell(row, 0)),
            1 => SortKey::Number(train_counts[1] as f64),
            2 => SortKey::Number((train_counts[1] - train_counts[0]) as f64),
            3 => SortKey::Number(*images as f64),
            _ => SortKey::Number(accuracy[column - 4].unwrap_or(-1.0)),
        }
    };
    DataTable::new("grown classes", &COLUMNS, report.classes.len(), *revision)
        .title("Classes before and after")
        .search("Search classes")
        .height(HEIGHT)
        .show(ui, table, cell, key);
    ui.add_space(space::SMALL);
    ui.horizontal_wrapped(|ui| {
        if *folder != run.folder {
            if ui.button("Open the new run").clicked() {
                commands.push(Command::Runs(RunsCommand::Open(folder.clone())));
            }
        } else {
            for page in [Page::Inspect, Page::Export] {
                if ui.button(format!("Go to {}", page.name())).clicked() {
                    commands.push(Command::Go(page));
                }
            }
        }
        ui.label(RichText::new(folder.display().to_string()).small().weak());
    });
}
