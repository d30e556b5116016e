//! The column mapper: an image list's first rows, which column holds what, and what that gives.

use counterweight_core::source::{ListFormat, ListPreview, Separator};
use egui::{Align, ComboBox, Frame, Grid, Label, Layout, RichText, ScrollArea, Ui};
use egui_material_icons::icons::{ICON_CHECK_CIRCLE, ICON_ERROR, ICON_WARNING};

use super::parts;
use crate::gui::command::{Command, DataCommand, ListCommand};
use crate::gui::state::Mapper;
use crate::gui::theme::{self, card, icon, space, tokens};
use crate::gui::widgets::{numbers, primary};

/// Width of a list of columns to choose from.
const CHOICE: f32 = 170.0;
/// Height of what opens, at most: a dozen columns are seen at once.
const MENU: f32 = 420.0;
/// Width of a column of the table, at most; longer fields are cut.
const COLUMN: f32 = 180.0;
/// Columns of the table that are shown; a list of a thousand classes may have a thousand.
const COLUMNS: usize = 40;

/// Draws the mapper.
pub fn ui(ui: &mut Ui, mapper: &Mapper, commands: &mut Vec<Command>) {
    card(ui, |ui| {
        ui.horizontal(|ui| {
            ui.label(theme::heading("Which column is what?"));
            parts::answers(ui, |ui| answers_ui(ui, mapper, commands));
        });
        ui.add(Label::new(RichText::new(mapper.path.display().to_string()).weak()).truncate());
        ui.add_space(space::MEDIUM);
        match (&mapper.preview, &mapper.failure) {
            (_, Some(reason)) => parts::trouble(ui, reason),
            (Some(preview), None) => {
                choices_ui(ui, mapper, preview, commands);
                ui.add_space(space::MEDIUM);
                count_ui(ui, mapper, preview);
                ui.add_space(space::MEDIUM);
                table_ui(ui, preview);
            }
            (None, None) => {
                ui.horizontal(|ui| {
                    ui.spinner();
                    ui.label("Reading the list");
                });
            }
        }
    });
}

fn answers_ui(ui: &mut Ui, mapper: &Mapper, commands: &mut Vec<Command>) {
    let open = ui.add_enabled(mapper.can_open(), primary(ui, "Open the list"));
    if open.on_disabled_hover_text("Choose the columns of the paths and labels first").clicked() {
        commands.push(list(ListCommand::Open));
    }
    if ui.button("Cancel").clicked() {
        commands.push(list(ListCommand::Cancel));
    }
}

fn list(command: ListCommand) -> Command {
    Command::Data(DataCommand::List(command))
}

/// A list of texts of which one is chosen; returns the one that is chosen now.
fn choice_ui(
    ui: &mut Ui,
    label: &str,
    hint: &str,
    chosen: &str,
    choices: &[(String, String)],
) -> Option<String> {
    let mut picked = None;
    // Of a known size, so that a row that is full is followed by another, and all stand on one line.
    let line = ui.text_style_height(&egui::TextStyle::Body);
    let size = egui::vec2(CHOICE, line + space::SMALL + ui.spacing().interact_size.y);
    ui.allocate_ui_with_layout(size, Layout::top_down(Align::Min), |ui| {
        ui.set_width(CHOICE);
        ui.spacing_mut().item_spacing.y = space::SMALL;
        let label = ui.label(theme::strong(label));
        let id = label.id;
        label.on_hover_text(hint);
        let text =
            choices.iter().find(|(key, _)| key == chosen).map_or("choose…", |(_, text)| text);
        let combo = ComboBox::from_id_salt(("mapper", id))
            .width(CHOICE)
            .height(MENU)
            .truncate()
            .selected_text(text)
            .show_ui(ui, |ui| {
                for (key, text) in choices {
                    if ui.selectable_label(key == chosen, text).clicked() && key != chosen {
                        picked = Some(key.clone());
                    }
                }
            });
        combo.response.labelled_by(id);
    });
    picked
}

fn choices_ui(ui: &mut Ui, mapper: &Mapper, preview: &ListPreview, commands: &mut Vec<Command>) {
    let given = &mapper.scan.list;
    let found = preview.format.clone().unwrap_or_default();
    let now = |own: &Option<String>, found: &Option<String>| {
        own.clone().or_else(|| found.clone()).unwrap_or_default()
    };
    let columns: Vec<(String, String)> =
        preview.keys.iter().cloned().zip(preview.columns.iter().cloned()).take(COLUMNS).collect();
    let with = |more: (&str, &str)| {
        let mut all = vec![(more.0.to_string(), more.1.to_string())];
        all.extend(columns.iter().cloned());
        all
    };
    let mut new = given.clone();
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing = egui::vec2(space::LARGE, space::MEDIUM);
        let path = now(&given.path, &found.path);
        if let Some(key) = choice_ui(ui, "Path", "Where the image is, or its name", &path, &columns)
        {
            new.path = Some(key);
        }
        let label = now(&given.label, &found.label);
        let mut labels = with(("folder", "the class folder in the path"));
        if label.contains(',') {
            let classes = label.split(',').count();
            labels.insert(0, (label.clone(), format!("the one of {classes} columns with a 1")));
        }
        if let Some(key) = choice_ui(ui, "Label", "The class of the image", &label, &labels) {
            new.label = Some(key);
        }
        let none = with(("none", "none"));
        let split = now(&given.split, &found.split);
        let hint = "Whether the image is for training, validation or test";
        if let Some(key) =
            choice_ui(ui, "Split", hint, if split.is_empty() { "none" } else { &split }, &none)
        {
            new.split = Some(key);
        }
        let group = now(&given.group, &found.group);
        let hint = "Images of a group belong together: those of one track, one patient, one place";
        if let Some(key) =
            choice_ui(ui, "Group", hint, if group.is_empty() { "none" } else { &group }, &none)
        {
            new.group = Some(key);
        }
        let separators: Vec<(String, String)> = Separator::ALL
            .map(|separator| (separator.name().to_string(), words(separator).to_string()))
            .to_vec();
        let separator = preview.separator.map_or("", Separator::name);
        let hint = "What stands between the columns";
        if let Some(key) = choice_ui(ui, "Separator", hint, separator, &separators) {
            // Other columns come of it, so what was said of these is void.
            new = ListFormat {
                separator: key.parse().ok(),
                header: given.header,
                ..ListFormat::default()
            };
        }
    });
    ui.horizontal_wrapped(|ui| {
        let mut header = preview.header;
        if ui.checkbox(&mut header, "The first line names the columns").changed() {
            new = ListFormat {
                separator: new.separator,
                header: Some(header),
                ..ListFormat::default()
            };
        }
        ui.add_space(space::LARGE);
        if ui
            .button("Images' folder…")
            .on_hover_text("The folder that the paths begin in, where it is not the list's own")
            .clicked()
        {
            commands.push(list(ListCommand::PickRoot));
        }
        let folder = mapper.images_folder().display().to_string();
        ui.add(Label::new(RichText::new(folder).weak()).truncate());
    });
    if new != *given {
        commands.push(list(ListCommand::Set(Box::new(new))));
    }
}

fn words(separator: Separator) -> &'static str {
    match separator {
        Separator::Comma => "comma",
        Separator::Semicolon => "semicolon",
        Separator::Tab => "tab",
        Separator::Bar => "vertical bar",
        Separator::Blanks => "blanks",
    }
}

/// What a column is taken for.
fn role(preview: &ListPreview, key: &str) -> Option<&'static str> {
    let format = preview.format.as_ref()?;
    let is = |own: &Option<String>| own.as_deref() == Some(key);
    let is_label = || {
        format
            .label
            .as_deref()
            .is_some_and(|all| all == key || all.split(',').any(|one| one == key))
    };
    match () {
        () if is(&format.path) => Some("path"),
        () if is_label() => Some("label"),
        () if is(&format.split) => Some("split"),
        () if is(&format.group) => Some("group"),
        () => None,
    }
}

fn table_ui(ui: &mut Ui, preview: &ListPreview) {
    let tokens = tokens(ui.visuals());
    ScrollArea::horizontal().id_salt("rows").auto_shrink([false, true]).show(ui, |ui| {
        Frame::new().inner_margin(space::SMALL).show(ui, |ui| {
            let grid =
                Grid::new("rows of the list").striped(true).spacing([space::LARGE, space::SMALL]);
            grid.max_col_width(COLUMN).show(ui, |ui| {
                let columns = || preview.columns.iter().zip(&preview.keys).take(COLUMNS);
                for (_, key) in columns() {
                    let text = role(preview, key).unwrap_or_default();
                    ui.label(RichText::new(text).small().color(tokens.accent_text));
                }
                ui.end_row();
                for (name, key) in columns() {
                    let text = theme::strong(name);
                    let known = role(preview, key).is_some();
                    ui.add(
                        Label::new(if known { text } else { text.color(tokens.text_weak) })
                            .truncate(),
                    );
                }
                ui.end_row();
                for row in &preview.rows {
                    for (field, (_, key)) in row.iter().zip(columns()) {
                        let text = RichText::new(field);
                        let known = role(preview, key).is_some();
                        ui.add(
                            Label::new(if known { text } else { text.color(tokens.text_weak) })
                                .truncate(),
                        );
                    }
                    ui.end_row();
                }
            });
        });
    });
}

fn count_ui(ui: &mut Ui, mapper: &Mapper, preview: &ListPreview) {
    let tokens = tokens(ui.visuals());
    if mapper.is_counting() {
        ui.horizontal(|ui| {
            ui.spinner();
            ui.label("Looking for the images");
        });
        return;
    }
    if preview.listed > 0 {
        let count = |number: usize| numbers::grouped(number as u64);
        let mut text = format!(
            "{} of {} images found, {} {}",
            count(preview.found),
            count(preview.listed),
            count(preview.classes),
            if preview.classes == 1 { "class" } else { "classes" }
        );
        if preview.groups > 0 {
            text += &format!(", {} groups", count(preview.groups));
        }
        let all = preview.found == preview.listed;
        let (sign, color) = match (all, preview.problem.is_some()) {
            (true, false) => (ICON_CHECK_CIRCLE, tokens.good),
            (false, false) => (ICON_WARNING, tokens.warn),
            (_, true) => (ICON_ERROR, tokens.bad),
        };
        ui.horizontal(|ui| {
            ui.label(icon(sign).color(color));
            ui.label(theme::strong(text));
        });
        if !all && preview.problem.is_none() {
            parts::weak(ui, "Those that are not there are left out, and listed as problems.");
        }
    }
    if let Some(problem) = &preview.problem {
        parts::trouble(ui, problem);
    }
}
