//! What the data page says of the files themselves: why a source cannot be opened, and which files lie
//! beside others.

use counterweight_core::dataset::{GroupBy, NameDoubt, NameRemedy};
use counterweight_core::source::{SourceKind, Twins};
use egui::{RichText, Ui};
use egui_material_icons::icons::{ICON_ERROR, ICON_FILTER_ALT, ICON_WARNING};

use crate::gui::command::{Command, DataCommand, ListCommand};
use crate::gui::state::{Builder, DataState, Origin, Source};
use crate::gui::theme::{self, card, icon, space, tokens};
use crate::gui::widgets::{numbers, words};

/// Why the last source could not be opened, and what to do.
pub fn failure_ui(ui: &mut Ui, data: &DataState, commands: &mut Vec<Command>) {
    let Some((path, reason)) = &data.failure else { return };
    let tokens = tokens(ui.visuals());
    card(ui, |ui| {
        ui.horizontal(|ui| {
            ui.label(icon(ICON_ERROR).size(20.0).color(tokens.bad));
            ui.label(theme::heading("This could not be opened"));
        });
        // The first line is the reason; what follows is a list or a drawing.
        let (first, rest) = reason.split_once('\n').unwrap_or((reason, ""));
        ui.label(RichText::new(first).color(tokens.bad));
        if !rest.is_empty() {
            ui.label(RichText::new(rest).monospace());
        }
        if !reason.contains(&path.display().to_string()) {
            ui.label(RichText::new(path.display().to_string()).weak());
        }
        if !data.other_ways().is_empty() {
            ui.add_space(space::SMALL);
            for why in data.other_ways().iter().filter_map(|way| way.why.as_deref()) {
                ui.label(why);
            }
            ui.horizontal_wrapped(|ui| {
                for (way, other) in data.other_ways().iter().enumerate() {
                    if ui.button(&other.button).clicked() {
                        commands.push(Command::Data(DataCommand::OpenOtherwise(way)));
                    }
                }
            });
            return;
        }
        ui.label("A source is a folder with one subfolder for each class, an image list (paths and labels), a CIFAR archive, or a dataset file.");
        if data.failed_list {
            ui.add_space(space::SMALL);
            if ui.button("Choose its columns…").clicked() {
                commands.push(Command::Data(DataCommand::List(ListCommand::Map(path.clone()))));
            }
        }
    });
    ui.add_space(space::LARGE);
}

/// The button by which the columns of an open list are chosen anew.
pub fn columns_ui(ui: &mut Ui, source: &Source, commands: &mut Vec<Command>) {
    let Origin::Catalog { catalog, .. } = &source.origin else { return };
    if catalog.kind != SourceKind::List {
        return;
    }
    ui.add_space(space::SMALL);
    let button = ui.button("Choose its columns…");
    if button
        .on_hover_text("Which column of the list holds paths, labels, splits and groups")
        .clicked()
    {
        commands.push(Command::Data(DataCommand::List(ListCommand::Map(source.path.clone()))));
    }
}

/// Files that lie beside others, and those that were left out for it.
pub fn twins_ui(ui: &mut Ui, source: &Source, commands: &mut Vec<Command>) {
    let Origin::Catalog { catalog, .. } = &source.origin else { return };
    let skipped = &source.scan.skip;
    if catalog.twins.is_empty() && skipped.is_empty() {
        return;
    }
    let tokens = tokens(ui.visuals());
    card(ui, |ui| {
        for twins in &catalog.twins {
            ui.horizontal(|ui| {
                ui.label(icon(ICON_WARNING).size(20.0).color(tokens.warn));
                ui.label(theme::heading("Files that come in pairs"));
            });
            let Twins { files, beside, example: [one, other], .. } = twins;
            let which = if beside == files {
                "The".into()
            } else {
                format!("Of the {} {}, {}", count(*files), named(twins), count(*beside))
            };
            let text = match beside == files {
                true => format!(
                    "{which} {} {} lie beside images of the same name: {one} beside {other}.",
                    count(*files),
                    named(twins)
                ),
                false => {
                    format!("{which} lie beside images of the same name: {one} beside {other}.")
                }
            };
            ui.label(text);
            ui.label(
                "If they are masks, previews or raw files of the same photos, leave them out: each image would count twice.",
            );
            ui.add_space(space::SMALL);
            if ui.button(format!("Leave out the {} {}", count(*files), named(twins))).clicked() {
                commands.push(Command::Data(DataCommand::Skip(twins.pattern.clone())));
            }
            ui.add_space(space::SMALL);
        }
        if !skipped.is_empty() {
            ui.horizontal_wrapped(|ui| {
                ui.label(icon(ICON_FILTER_ALT).size(20.0));
                let number = count(catalog.skipped.left_out);
                ui.label(format!("{number} files are left out: {}", skipped.join(", ")));
                if ui.button("Read them, too").clicked() {
                    commands.push(Command::Data(DataCommand::ReadAll));
                }
            });
        }
    });
    ui.add_space(space::LARGE);
}

/// Classes whose names make one doubt that they are classes of their own.
pub fn names_ui(ui: &mut Ui, doubts: &[NameDoubt], builder: &Builder, commands: &mut Vec<Command>) {
    let is_kept = builder.options().group_by == Some(GroupBy::FolderAbove);
    let is_open = |doubt: &&NameDoubt| !(is_kept && doubt.remedy == NameRemedy::FolderAbove);
    let doubts: Vec<&NameDoubt> = doubts.iter().filter(is_open).collect();
    if doubts.is_empty() {
        return;
    }
    let warn = tokens(ui.visuals()).warn;
    card(ui, |ui| {
        ui.horizontal(|ui| {
            ui.label(icon(ICON_WARNING).size(20.0).color(warn));
            ui.label(theme::heading("Classes that may be one"));
        });
        for NameDoubt { sentence, remedy } in doubts {
            let sentence = words::capitalised(sentence) + ".";
            match remedy {
                NameRemedy::Rename => {
                    ui.label(
                        sentence + " Choose one in the chart below to give it the name of another.",
                    );
                }
                NameRemedy::FolderAbove => {
                    ui.label(
                        sentence + " What lies in one folder above is held out together then.",
                    );
                    ui.add_space(space::SMALL);
                    if ui.button("Let the last folder name the class").clicked() {
                        let by = Some(GroupBy::FolderAbove);
                        commands.push(Command::Data(DataCommand::KeepTogether(by)));
                    }
                }
            }
        }
    });
    ui.add_space(space::LARGE);
}

fn count(number: usize) -> String {
    numbers::grouped(number as u64)
}

/// `.png files` for `*.png`, `_mask files` for `*_mask.*`.
fn named(twins: &Twins) -> String {
    let pattern = twins.pattern.trim_start_matches('*').trim_end_matches(".*");
    format!("{pattern} files")
}
