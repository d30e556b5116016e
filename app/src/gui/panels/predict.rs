//! The page that classifies folders of images with an exported model.

use std::borrow::Cow;

use counterweight_core::infer::Placing;
use counterweight_core::source::Location;
use egui::style::ScrollStyle;
use egui::text::{LayoutJob, TextWrapping};
use egui::{
    ComboBox, CornerRadius, Rect, RichText, Role, ScrollArea, Sense, Slider, Stroke, StrokeKind,
    TextStyle, Ui, WidgetInfo, pos2, vec2,
};
use egui_material_icons::icons::{
    ICON_DRIVE_FILE_MOVE, ICON_IMAGE_SEARCH, ICON_TABLE_VIEW, ICON_WARNING,
};

use super::parts;
use crate::gui::command::{Command, PredictCommand};
use crate::gui::state::{
    ByFolders, PredictState, Predicted, PredictedImage, Shown, State, Thumbnail, Thumbnails,
};
use crate::gui::theme::{self, icon, space, tokens};
use crate::gui::widgets::{
    Column, DataTable, IconButton, SortKey, TableState, empty_state, numbers,
};

/// Side of a picture, in points.
const PICTURE: f32 = 96.0;
/// Height of a picture with its line.
const ROW: f32 = PICTURE + 24.0;
/// Height of the list of pictures and of the table.
const HEIGHT: f32 = 420.0;
const COLUMNS: [Column<'static>; 3] = [
    Column { title: "Image", numeric: false, width: 0.0 },
    Column { title: "Class", numeric: false, width: 200.0 },
    Column { title: "Probability", numeric: true, width: 96.0 },
];
const PLACINGS: [(Placing, &str); 4] = [
    (Placing::Copy, "copies"),
    (Placing::Move, "the images themselves"),
    (Placing::HardLink, "hard links"),
    (Placing::Symlink, "links"),
];

/// Draws the page.
pub fn ui(ui: &mut Ui, state: &mut State, commands: &mut Vec<Command>) {
    let mut ask = |command| commands.push(Command::Predict(command));
    let predict = &mut state.predict;
    parts::title_row(ui, "Predict", |ui| {
        let reason = refusal(predict);
        let button = IconButton::new(ICON_IMAGE_SEARCH, "Classify")
            .primary()
            .enabled(reason.is_none())
            .show(ui);
        if button.on_disabled_hover_text(reason.unwrap_or_default()).clicked() {
            ask(PredictCommand::Start);
        }
    });
    theme::card(ui, |ui| what_ui(ui, predict, &mut ask));
    parts::gap(ui);
    if predict.found.is_some() {
        theme::card(ui, |ui| found_ui(ui, predict, &mut ask));
    } else if predict.failure.is_none() && !predict.is_busy() {
        empty_state(
            ui,
            ICON_IMAGE_SEARCH,
            "Nothing is classified yet",
            "Name an exported model and a folder of images. You see what each is taken for, and can sort them into folders or save a table.",
            |_| {},
        );
    }
}

/// Why nothing can be classified now, if so.
fn refusal(predict: &PredictState) -> Option<&'static str> {
    match () {
        () if predict.is_busy() => Some("It is working"),
        () if predict.model_text.trim().is_empty() => Some("Name a model first"),
        () if predict.images_text.trim().is_empty() => Some("Name a folder of images first"),
        () => None,
    }
}

fn what_ui(ui: &mut Ui, predict: &mut PredictState, ask: &mut dyn FnMut(PredictCommand)) {
    if parts::path_row(ui, "Model", "an ONNX file", &mut predict.model_text) {
        ask(PredictCommand::PickModel);
    }
    if parts::path_row(ui, "Images", "a folder, and all below it", &mut predict.images_text) {
        ask(PredictCommand::PickImages);
    }
    parts::weak(ui, "or drop a folder or a model on the window");
    if let Some(progress) = predict.progress() {
        ui.add_space(space::SMALL);
        if parts::progress(ui, progress, "Classifying") {
            ask(PredictCommand::Stop);
        }
    }
    if let Some(reason) = &predict.failure {
        ui.add_space(space::SMALL);
        parts::trouble(ui, reason);
    }
}

fn found_ui(ui: &mut Ui, predict: &mut PredictState, ask: &mut dyn FnMut(PredictCommand)) {
    let is_busy = predict.is_busy();
    let usual = predict.usual_threshold();
    let PredictState { found, threshold, shown, table, thumbnails, placing, written, .. } = predict;
    let Some(found) = found else { return };
    ui.label(theme::heading(format!("{} images", numbers::grouped(found.images.len() as u64))));
    if let Some(ByFolders { images, right, balanced, classes }) = found.by_folders {
        let [images, right] = [images, right].map(|count| numbers::grouped(count as u64));
        ui.label(format!(
            "{right} of {images} are taken for the class that their folder is named after; {} on average over {classes} classes.",
            numbers::percent(Some(balanced))
        ));
        parts::weak(
            ui,
            "That tells how good the model is if it has not learned from these images.",
        );
    }
    if found.is_partial {
        warning(ui, "It was stopped: these are the images that were classified until then.");
    }
    ui.add_space(space::SMALL);
    ui.horizontal(|ui| {
        let label = ui.label("Unsure below");
        let slider = Slider::new(threshold, 0.0..=1.0)
            .step_by(0.01)
            .custom_formatter(|value, _| format!("{:.0} %", 100.0 * value))
            .custom_parser(|text| {
                let number = text.trim().trim_end_matches('%').trim().parse();
                number.ok().map(|percent: f64| percent / 100.0)
            });
        ui.add(slider).labelled_by(label.id);
        parts::weak(ui, "for the best class");
        if let Some(usual) = usual {
            let text = format!("Take {}", numbers::percent(Some(usual.into())));
            let hint = "Below this probability the file's answers are better called unsure, as Export says";
            if ui.button(text).on_hover_text(hint).clicked() {
                *threshold = usual;
            }
        }
    });
    ui.add_space(space::SMALL);
    filter_ui(ui, found, shown, *threshold);
    ui.add_space(space::SMALL);
    ui.horizontal_wrapped(|ui| {
        let sort = IconButton::new(ICON_DRIVE_FILE_MOVE, "Sort into folders…").enabled(!is_busy);
        let hint = "One folder a class below the one you choose, and “unsure”; it can be undone";
        if sort.show(ui).on_hover_text(hint).clicked() {
            ask(PredictCommand::PickSorted);
        }
        let label = ui.label("as");
        let words = |wanted: Placing| {
            PLACINGS.iter().find(|(placing, _)| *placing == wanted).map_or("", |(_, words)| words)
        };
        let combo = ComboBox::from_id_salt("how images are placed").selected_text(words(*placing));
        let combo = combo.show_ui(ui, |ui| {
            for (candidate, words) in PLACINGS {
                ui.selectable_value(placing, candidate, words);
            }
        });
        combo.response.labelled_by(label.id);
        ui.add_space(space::MEDIUM);
        let save = IconButton::new(ICON_TABLE_VIEW, "Save table…").enabled(!is_busy);
        if save.show(ui).on_hover_text("A CSV file with a row an image").clicked() {
            ask(PredictCommand::PickTable);
        }
    });
    if let Some(written) = written {
        parts::weak(ui, written.clone());
    }
    ui.add_space(space::MEDIUM);
    let chosen = found.chosen(*shown, *threshold);
    parts::two_columns(ui, |ui, part| match part {
        0 => table_ui(ui, found, *shown, *threshold, table, &chosen, ask),
        _ => pictures_ui(ui, found, table, thumbnails, &chosen, ask),
    });
}

fn warning(ui: &mut Ui, text: &str) {
    let warn = tokens(ui.visuals()).warn;
    ui.horizontal_wrapped(|ui| {
        ui.label(icon(ICON_WARNING).color(warn));
        ui.label(RichText::new(text).color(warn));
    });
}

/// Which images are shown: all, those of a class, the unsure ones, those that are none.
fn filter_ui(ui: &mut Ui, found: &Predicted, shown: &mut Shown, threshold: f32) {
    let (counts, unsure) = found.counts(threshold);
    let mut chip = |ui: &mut Ui, which: Shown, name: &str, count: usize| {
        let text = format!("{name}  {}", numbers::grouped(count as u64));
        if parts::chip(ui, *shown == which, &text).clicked() {
            *shown = which;
        }
    };
    let mut classes: Vec<usize> = (0..counts.len()).filter(|&class| counts[class] > 0).collect();
    classes.sort_by_key(|&class| std::cmp::Reverse(counts[class]));
    ui.horizontal_wrapped(|ui| {
        chip(ui, Shown::All, "All", found.images.len());
        if unsure > 0 {
            chip(ui, Shown::Unsure, "Unsure", unsure);
        }
        let elsewhere = found.images.iter().filter(|image| image.is_elsewhere()).count();
        if found.by_folders.is_some() && elsewhere > 0 {
            chip(ui, Shown::Elsewhere, "Not as their folder", elsewhere);
        }
        if found.unreadable > 0 {
            chip(ui, Shown::Unreadable, "Could not be read", found.unreadable);
        }
    });
    ui.scope(|ui| {
        // That there are more classes has to be seen before anybody looks for them.
        ui.spacing_mut().scroll = ScrollStyle::solid();
        ScrollArea::vertical().id_salt("classes found").max_height(144.0).show(ui, |ui| {
            ui.horizontal_wrapped(|ui| {
                for class in classes {
                    chip(ui, Shown::Class(class), &found.classes[class], counts[class]);
                }
            });
        });
    });
}

fn table_ui(
    ui: &mut Ui,
    found: &Predicted,
    shown: Shown,
    threshold: f32,
    table: &mut TableState,
    chosen: &[usize],
    ask: &mut dyn FnMut(PredictCommand),
) {
    let image = |row: usize| &found.images[chosen[row]];
    // Another choice of images is another table.
    let which = match shown {
        Shown::All => 0,
        Shown::Unsure => 1 + u64::from(threshold.to_bits()),
        Shown::Unreadable => 1 << 40,
        Shown::Elsewhere => 1 << 39,
        Shown::Class(class) => (1 << 41) + ((class as u64) << 33) + u64::from(threshold.to_bits()),
    };
    let revision = found.revision.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ which;
    let cell = |row: usize, column: usize| -> Cow<'_, str> {
        let image = image(row);
        match (column, image.top.first()) {
            (0, _) => found.name(image),
            (1, Some(best)) => best.class.as_str().into(),
            (1, None) => "could not be read".into(),
            (_, Some(best)) => numbers::percent(Some(best.probability.into())).into(),
            (_, None) => "".into(),
        }
    };
    let key = |row: usize, column: usize| match column {
        2 => SortKey::Number(f64::from(image(row).probability())),
        _ => SortKey::Text(cell(row, column)),
    };
    let response = DataTable::new("predictions", &COLUMNS, chosen.len(), revision)
        .title("Predictions")
        .search("Search images and classes")
        .height(HEIGHT)
        .empty_text("No image is like that")
        .show(ui, table, cell, key);
    if let Some(row) = response.opened.filter(|row| *row < chosen.len()) {
        ask(PredictCommand::Reveal(image(row).file.clone()));
    }
}

/// The images in the order of the table, as many a row as fit; only those in sight are read.
fn pictures_ui(
    ui: &mut Ui,
    found: &Predicted,
    table: &TableState,
    thumbnails: &mut Option<Thumbnails>,
    chosen: &[usize],
    ask: &mut dyn FnMut(PredictCommand),
) {
    let Some(thumbnails) = thumbnails else { return };
    let order = table.order();
    let gap = space::MEDIUM;
    let room = ui.available_width() - ui.spacing().scroll.allocated_width();
    let columns = ((room + gap) / (PICTURE + gap)).floor().max(1.0) as usize;
    let area = ScrollArea::vertical()
        .id_salt("predicted images")
        .max_height(HEIGHT + 32.0)
        .auto_shrink([false, true]);
    area.show_rows(ui, ROW, order.len().div_ceil(columns), |ui, range| {
        for row in range {
            ui.horizontal(|ui| {
                ui.spacing_mut().item_spacing.x = gap;
                for place in order.iter().skip(row * columns).take(columns) {
                    let Some(&index) = chosen.get(*place) else { continue };
                    let image = &found.images[index];
                    let location = Location::File(image.file.clone());
                    if picture_ui(ui, image, &thumbnails.get(index, &location)) {
                        ask(PredictCommand::Reveal(image.file.clone()));
                    }
                }
            });
        }
    });
}

/// One image with what it is taken for. Returns whether it was clicked.
fn picture_ui(ui: &mut Ui, image: &PredictedImage, thumbnail: &Thumbnail) -> bool {
    let tokens = tokens(ui.visuals());
    let name = image.file.display().to_string();
    let (rect, response) = ui.allocate_exact_size(vec2(PICTURE, ROW), Sense::click());
    let text = match image.top.first() {
        Some(best) => {
            format!("{} {}", numbers::percent(Some(best.probability.into())), best.class)
        }
        None => "could not be read".into(),
    };
    response.widget_info(|| WidgetInfo::labeled(Role::Button, true, format!("{name}: {text}")));
    if ui.is_rect_visible(rect) {
        let frame = Rect::from_min_size(rect.min, vec2(PICTURE, PICTURE));
        parts::thumbnail(ui, frame, thumbnail);
        if response.hovered() || response.has_focus() {
            ui.painter().rect_stroke(
                frame,
                CornerRadius::same(6),
                Stroke::new(2.0, tokens.accent),
                StrokeKind::Inside,
            );
        }
        let font = TextStyle::Small.resolve(ui.style());
        let color = if image.class.is_some() { tokens.text } else { tokens.bad };
        let mut job = LayoutJob::simple_singleline(text, font, color);
        job.wrap = TextWrapping::truncate_at_width(PICTURE);
        let galley = ui.painter().layout_job(job);
        ui.painter().galley(pos2(rect.left(), frame.bottom() + 5.0), galley, color);
    }
    let response = response.on_hover_ui(|ui| {
        ui.label(theme::strong(&name));
        for found in &image.top {
            let percent = numbers::percent(Some(found.probability.into()));
            ui.label(format!("{percent} {}", found.class));
        }
        if let Some(error) = &image.error {
            ui.label(RichText::new(error).color(tokens.bad));
        }
        ui.label(RichText::new("Click to show the file").color(tokens.text_weak));
    });
    response.clicked()
}
