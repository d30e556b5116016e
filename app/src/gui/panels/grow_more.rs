//! What more images of each class would bring.

use std::borrow::Cow;

use counterweight_core::pipeline::{MoreImages, MoreOfClass, Outlook};
use egui::Ui;
use egui_material_icons::icons::ICON_TRENDING_UP;

use super::parts;
use crate::gui::command::GrowCommand;
use crate::gui::state::GrowState;
use crate::gui::theme::{self, space};
use crate::gui::widgets::{Column, DataTable, IconButton, SortKey, numbers, words};

/// Height of the table.
const HEIGHT: f32 = 300.0;
const COLUMNS: [Column<'static>; 5] = [
    Column { title: "Class", numeric: false, width: 0.0 },
    Column { title: "Images", numeric: true, width: 76.0 },
    Column { title: "Right now", numeric: true, width: 130.0 },
    Column { title: "Twice as many", numeric: true, width: 130.0 },
    Column { title: "Four times", numeric: true, width: 130.0 },
];

/// Draws what is known of it, or the button that finds out.
pub fn ui(ui: &mut Ui, grow: &mut GrowState, ask: &mut dyn FnMut(GrowCommand)) {
    ui.label(theme::heading("What more images would bring"));
    if let Some(progress) = grow.looking_ahead() {
        parts::weak(
            ui,
            "The classifier learns from fewer images, and accuracy by count is fitted.",
        );
        ui.add_space(space::SMALL);
        if parts::progress(ui, progress, "Learning from fewer images") {
            ask(GrowCommand::Stop);
        }
        return;
    }
    let Some((more, revision)) = &grow.more else {
        parts::weak(
            ui,
            "For every class: how many more of its images would be recognised if there were twice or four times as many to learn from.",
        );
        ui.add_space(space::SMALL);
        if IconButton::new(ICON_TRENDING_UP, "Look ahead").show(ui).clicked() {
            ask(GrowCommand::LookAhead);
        }
        return;
    };
    ui.label(format!("{}.", words::capitalised(&more.sentence)));
    ui.add_space(space::SMALL);
    table_ui(ui, more, *revision, &mut grow.more_table);
    parts::weak(
        ui,
        "In per cent: what is expected, and between which numbers eight of ten draws of images lie. By classifiers that learned from shares of the training and validation images; what is new should be as different from each other as these are.",
    );
}

fn table_ui(
    ui: &mut Ui,
    more: &MoreImages,
    revision: u64,
    table: &mut crate::gui::widgets::TableState,
) {
    let outlook = |class: &MoreOfClass, column: usize| -> Option<Outlook> {
        match column {
            2 => class.now,
            3 => class.with_more[0],
            _ => class.with_more[1],
        }
    };
    let cell = |row: usize, column: usize| -> Cow<'_, str> {
        let class = &more.classes[row];
        match column {
            0 => class.class.as_str().into(),
            1 => numbers::grouped(class.images as u64).into(),
            _ => match outlook(class, column) {
                Some(Outlook { accuracy, low, high }) => {
                    let [accuracy, low, high] = [accuracy, low, high].map(|share| 100.0 * share);
                    format!("{accuracy:.0} ({low:.0} to {high:.0})").into()
                }
                None => "–".into(),
            },
        }
    };
    let key = |row: usize, column: usize| {
        let class = &more.classes[row];
        match column {
            0 => SortKey::Text(class.class.as_str().into()),
            1 => SortKey::Number(class.images as f64),
            _ => {
                let outlook = outlook(class, column);
                SortKey::Number(outlook.map_or(-1.0, |outlook| outlook.accuracy))
            }
        }
    };
    DataTable::new("what more images bring", &COLUMNS, more.classes.len(), revision)
        .title("What more images would bring")
        .search("Search classes")
        .height(HEIGHT)
        .show(ui, table, cell, key);
}
