//! The page of images: a grid of all of them, in which labels are corrected. Images and dataset
//! stay as they are; what is decided is kept beside them.

use std::path::Path;

use counterweight_core::dataset::{EditAction, EditCounts, Edits};
use counterweight_core::eval::Group;
use counterweight_core::source::Split;
use egui::{
    Align, ComboBox, Event, Id, Key, Layout, Modifiers, Popup, Rect, RichText, Slider, Ui,
    UiBuilder, vec2,
};
use egui_material_icons::icons::{
    ICON_BLOCK, ICON_CHECK_CIRCLE, ICON_CLOSE, ICON_DRIVE_FILE_MOVE, ICON_FILTER_ALT_OFF,
    ICON_GRID_VIEW, ICON_IMAGE_SEARCH, ICON_REDO, ICON_RESTORE, ICON_TROUBLESHOOT, ICON_UNDO,
};

use super::{class_chooser, images_cell, images_zoom, parts};
use crate::gui::command::{Command, ImagesCommand};
use crate::gui::state::{
    Decided, ImageFilter, ImageSort, ImagesState, ImagesView, OpenRun, Page, SIDES, State,
};
use crate::gui::theme::{self, icon, space, tokens};
use crate::gui::widgets::{
    IconButton, ImageGrid, empty_state, numbers, primary, waiting, walk, words,
};

/// Pictures that are drawn larger than this, in pixels, are read again with more detail.
const SMALL: f32 = 144.0;
/// Height of the line below the pictures, in points.
const STATUS: f32 = 32.0;

/// Draws the page.
pub fn ui(ui: &mut Ui, state: &mut State, commands: &mut Vec<Command>) {
    let State { images, run, data, shell, .. } = state;
    let run = run.as_ref();
    let Some(view) = images.view.clone() else {
        parts::title_row(ui, "Images", |_| {});
        let reason = images.failure.clone();
        let path = data.source.as_ref().map(|source| source.path.as_path());
        unopened_ui(ui, path, reason.as_deref(), commands);
        return;
    };
    images.list();
    let covered = shell.dialog.is_some() || shell.palette_open || images.chooser.is_some();
    title_ui(ui, images, &view, run, commands);
    if let Some(progress) = images.predicting()
        && parts::progress(ui, progress, "Predicting")
    {
        commands.push(Command::Images(ImagesCommand::StopPredicting));
    }
    if let Some(progress) = images.doubting()
        && parts::progress(ui, progress, "Looking at labels")
    {
        commands.push(Command::Images(ImagesCommand::StopFindingDoubts));
    }
    if let Some(problem) = &view.problem {
        parts::trouble(ui, problem);
    }
    review_ui(ui, images, commands);
    filters_ui(ui, images, &view);
    actions_ui(ui, images, &view, commands);
    let room = ui.available_rect_before_wrap();
    let grid = Rect::from_min_max(room.min, room.max - vec2(0.0, STATUS));
    let status = Rect::from_min_max(grid.left_bottom(), room.max);
    let id = Id::unique("grid of images");
    let mut shape = (1, 1);
    ui.scope_builder(UiBuilder::new().max_rect(grid), |ui| {
        if images.zoomed {
            images_zoom::ui(ui, images, &view, commands);
        } else if images.order.is_empty() {
            nothing_ui(ui, images, &view);
        } else {
            shape = grid_ui(ui, images, &view, id);
        }
    });
    ui.scope_builder(UiBuilder::new().max_rect(status), |ui| status_ui(ui, images, &view));
    if !covered {
        keys(ui, images, id, shape, commands);
    }
    chooser_ui(ui, images, commands);
}

/// `path` is that of the dataset, where one is open.
fn unopened_ui(
    ui: &mut Ui,
    path: Option<&Path>,
    reason: Option<&str>,
    commands: &mut Vec<Command>,
) {
    match (path, reason) {
        (Some(path), Some(reason)) => theme::card(ui, |ui| {
            ui.label(theme::heading("The edits of this dataset cannot be opened"));
            parts::trouble(ui, reason);
            parts::weak(
                ui,
                "Images and dataset are as they were. Mend the line that is named, or give the file of edits another name, and open them again.",
            );
            ui.add_space(space::SMALL);
            ui.horizontal_wrapped(|ui| {
                if ui.button("Show the file of edits").clicked() {
                    let edits = Edits::path_of(path);
                    commands.push(Command::Images(ImagesCommand::ShowFile(edits)));
                }
                if ui.add(primary(ui, "Open again")).clicked() {
                    commands.push(Command::Images(ImagesCommand::OpenAgain));
                }
            });
        }),
        (Some(_), None) => {
            ui.horizontal(|ui| {
                waiting(ui);
                ui.label("Opening the dataset");
            });
        }
        (None, _) => {
            let text = "Open a folder, an archive, a list or a dataset file, and its images can be looked through and corrected here.";
            parts::empty_page(ui, ICON_GRID_VIEW, "No images are open", text, |ui| {
                if ui.add(primary(ui, "Go to Data")).clicked() {
                    commands.push(Command::Go(Page::Data));
                }
                if ui.button("Use the built-in sample").clicked() {
                    commands.push(Command::Data(crate::gui::command::DataCommand::OpenSample));
                }
            });
        }
    }
}

fn title_ui(
    ui: &mut Ui,
    images: &ImagesState,
    view: &ImagesView,
    run: Option<&OpenRun>,
    commands: &mut Vec<Command>,
) {
    parts::title_row(ui, "Images", |ui| {
        let mut ask = |command| commands.push(Command::Images(command));
        for (icon, name, words, command) in [
            (ICON_REDO, "Redo", &view.redo, ImagesCommand::Redo),
            (ICON_UNDO, "Undo", &view.undo, ImagesCommand::Undo),
        ] {
            let button = IconButton::new(icon, name).enabled(words.is_some()).show(ui);
            let hint = match words {
                Some(words) if name == "Undo" => format!("Takes back: {words}"),
                Some(words) => format!("Does again: {words}"),
                None => String::new(),
            };
            let button = if hint.is_empty() { button } else { button.on_hover_text(hint) };
            if button.clicked() {
                ask(command);
            }
        }
        if images.review.is_none() && images.doubting().is_none() {
            let button = IconButton::new(ICON_TROUBLESHOOT, "Find wrong labels")
                .enabled(view.problem.is_none())
                .show(ui)
                .on_hover_text("Lists images that look like another class by what all others teach, rare classes judged as fairly as frequent ones. Test images are left out");
            if button.clicked() {
                ask(ImagesCommand::FindDoubts);
            }
        }
        let reason = images.no_predictions(run);
        if images.predictions.is_none() && images.predicting().is_none() {
            let button = IconButton::new(ICON_IMAGE_SEARCH, "Ask the run")
                .enabled(reason.is_none())
                .show(ui)
                .on_hover_text("Predicts the training and validation images with the open run. Test images are left out: who relabels those that a model gets wrong makes its result look better than it is");
            if button.on_disabled_hover_text(reason.unwrap_or_default()).clicked() {
                ask(ImagesCommand::Predict);
            }
        }
    });
}

/// Which class the chosen images are moved to.
fn chooser_ui(ui: &mut Ui, images: &mut ImagesState, commands: &mut Vec<Command>) {
    let Some(view) = images.view.clone().filter(|_| images.chooser.is_some()) else { return };
    let title = match images.targets().len() {
        1 => "Move 1 image to".to_string(),
        many => format!("Move {} images to", numbers::grouped(many as u64)),
    };
    let choices = class_chooser::Choices {
        title,
        classes: &view.edited.classes,
        counts: view.counts.iter().map(|of| of.iter().sum()).collect(),
        groups: &view.groups,
        recent: &images.recent,
    };
    if let Some(to) = class_chooser::ui(ui, &mut images.chooser, &choices) {
        commands.push(Command::Images(ImagesCommand::Edit(EditAction::Move { to })));
    }
}

fn review_ui(ui: &mut Ui, images: &ImagesState, commands: &mut Vec<Command>) {
    let Some(review) = &images.review else { return };
    let tokens = tokens(ui.visuals());
    ui.horizontal_wrapped(|ui| {
        ui.label(theme::strong(&review.title));
        if IconButton::new(ICON_CLOSE, "Show all images").quiet().show(ui).clicked() {
            commands.push(Command::Images(ImagesCommand::CloseReview));
        }
        let words = format!(
            "{} images, in this order. A moves one to the class that is proposed, K keeps it, M chooses another class.",
            numbers::grouped(review.items.len() as u64)
        );
        ui.label(RichText::new(words).color(tokens.text_weak));
    });
}

fn filters_ui(ui: &mut Ui, images: &mut ImagesState, view: &ImagesView) {
    let has_predictions = images.predictions.is_some();
    ui.horizontal_wrapped(|ui| {
        let filter = &mut images.filter;
        let shown = filter.class.clone().unwrap_or_else(|| "All classes".into());
        let combo = ComboBox::from_id_salt("class of images").width(132.0).truncate();
        let combo = combo.selected_text(shown).show_ui(ui, |ui| {
            ui.selectable_value(&mut filter.class, None, "All classes");
            for (class, name) in view.edited.classes.iter().enumerate() {
                let count = view.counts[class].iter().sum::<usize>();
                let text = format!("{name} ({})", numbers::grouped(count as u64));
                ui.selectable_value(&mut filter.class, Some(name.clone()), text);
            }
        });
        combo.response.accessible_name("Class");
        let group = |group: Option<Group>| {
            group.map_or("All groups".to_string(), |group| words::capitalised(group.name()))
        };
        let combo = ComboBox::from_id_salt("group of images").width(96.0);
        let combo = combo.selected_text(group(filter.group)).show_ui(ui, |ui| {
            for choice in [None].into_iter().chain(Group::ALL.map(Some)) {
                ui.selectable_value(&mut filter.group, choice, group(choice));
            }
        });
        combo.response.accessible_name("Group");
        let split = |split: Option<Split>| {
            split.map_or("All splits".to_string(), |split| words::capitalised(split.name()))
        };
        let combo = ComboBox::from_id_salt("split of images").width(96.0);
        let combo = combo.selected_text(split(filter.split)).show_ui(ui, |ui| {
            for choice in [None].into_iter().chain(Split::ALL.map(Some)) {
                ui.selectable_value(&mut filter.split, choice, split(choice));
            }
        });
        combo.response.accessible_name("Split");
        choice_ui(ui, ("Decision", 112.0), &mut filter.decided, &Decided::ALL, |_| true);
        if images.review.is_none() {
            let sorts = &ImageSort::ALL;
            choice_ui(ui, ("Order", 150.0), &mut images.sort, sorts, |sort| {
                has_predictions || !sort.needs_predictions()
            });
        }
        if has_predictions {
            ui.checkbox(&mut images.filter.wrong, "Predicted wrong")
                .on_hover_text("Only images that the run takes for another class than theirs");
        }
    });
}

fn size_ui(ui: &mut Ui, images: &mut ImagesState) {
    ui.spacing_mut().slider_width = 84.0;
    let slider = Slider::new(&mut images.side, SIDES).show_value(false);
    let size = vec2(ui.spacing().slider_width, ui.spacing().interact_size.y);
    ui.add_sized(size, slider)
        .on_hover_text("Size of the pictures")
        .accessible_name("Size of the pictures");
}

fn choice_ui<T: PartialEq + Copy>(
    ui: &mut Ui,
    (name, width): (&str, f32),
    value: &mut T,
    choices: &[(T, &str)],
    is_offered: impl Fn(T) -> bool,
) {
    let text = choices.iter().find(|(choice, _)| choice == value).map_or("", |(_, text)| text);
    let combo = ComboBox::from_id_salt(name).width(width).selected_text(text);
    let combo = combo.show_ui(ui, |ui| {
        for (choice, text) in choices.iter().filter(|(choice, _)| is_offered(*choice)) {
            ui.selectable_value(value, *choice, *text);
        }
    });
    combo.response.accessible_name(name);
}

fn actions_ui(ui: &mut Ui, images: &ImagesState, view: &ImagesView, commands: &mut Vec<Command>) {
    let targets = images.targets();
    ui.horizontal_wrapped(|ui| {
        let some = !targets.is_empty();
        let mut button = |ui: &mut Ui, icon, name, hint: &str, enabled, command| {
            let button = IconButton::new(icon, name).enabled(enabled).show(ui);
            if button.on_hover_text(hint).on_disabled_hover_text("Choose images first").clicked() {
                commands.push(Command::Images(command));
            }
        };
        if images.review.is_some() || images.predictions.is_some() {
            let proposes = targets.iter().any(|sample| images.proposed(*sample).is_some());
            let hint = "Moves each to the class that is proposed for it. Key A";
            button(ui, ICON_CHECK_CIRCLE, "Agree", hint, proposes, ImagesCommand::Agree);
        }
        let hint = "Gives them another class. Key M";
        button(ui, ICON_DRIVE_FILE_MOVE, "Move to class…", hint, some, ImagesCommand::ChooseClass);
        let hint = "Leaves them out of the dataset. Key X or Delete";
        let exclude = ImagesCommand::Edit(EditAction::Exclude);
        button(ui, ICON_BLOCK, "Exclude", hint, some, exclude);
        let hint = "Notes that they were looked at and are right. Key C or K";
        let check = ImagesCommand::Edit(EditAction::Check);
        button(ui, ICON_CHECK_CIRCLE, "Mark as checked", hint, some, check);
        let is_edited = |sample: &u32| {
            let own = &view.edited.samples[*sample as usize];
            own.moved || own.excluded || own.checked
        };
        let hint = "Forgets what was decided about them. Key R";
        let restore = ImagesCommand::Edit(EditAction::Restore);
        let restorable = targets.iter().any(is_edited);
        button(ui, ICON_RESTORE, "Restore", hint, restorable, restore);
        let listed = numbers::grouped(images.order.len() as u64);
        let words = match images.selection.len() {
            0 => format!("{listed} images"),
            chosen => format!("{} of {listed} chosen", numbers::grouped(chosen as u64)),
        };
        let words = RichText::new(words).color(tokens(ui.visuals()).text_weak);
        ui.add(egui::Label::new(words).extend());
    });
}

/// What is shown where no image is listed.
fn nothing_ui(ui: &mut Ui, images: &mut ImagesState, view: &ImagesView) {
    if view.base.samples.is_empty() {
        let text = "The dataset holds no images.";
        empty_state(ui, ICON_GRID_VIEW, "No images", text, |_| {});
        return;
    }
    let text = "No image matches what is chosen above.";
    empty_state(ui, ICON_FILTER_ALT_OFF, "No such images", text, |ui| {
        if ui.button("Show all images").clicked() {
            images.filter = ImageFilter::default();
            images.review = None;
        }
    });
}

/// Draws the pictures; gives how many stand in a row, and how many rows are in sight.
fn grid_ui(ui: &mut Ui, images: &mut ImagesState, view: &ImagesView, id: Id) -> (usize, usize) {
    let pixels = images.side * ui.ctx().pixels_per_point();
    let side = if pixels > SMALL { 256 } else { 128 };
    images.thumbnails.set_side(side);
    let lines = if images.predictions.is_some() || images.review.is_some() { 2 } else { 1 };
    let grid = ImageGrid::new(id, "Images", images.order.len(), images.side)
        .lines(lines)
        .scroll_to(images.scroll_to.take());
    let has_focus = ui.memory(|memory| memory.has_focus(id));
    let shown = grid.show(ui, |ui, cell| {
        let sample = images.order[cell.place];
        let location = &view.base.samples[sample as usize].location;
        let thumbnail = images.thumbnails.get(sample as usize, location);
        let has_keyboard = has_focus && cell.place == images.selection.cursor();
        images_cell::ui(ui, images, view, cell, &thumbnail, has_keyboard);
    });
    if let Some((place, modifiers)) = shown.clicked {
        images.selection.click(place, &images.order, modifiers);
    }
    if let Some(place) = shown.opened {
        images.selection.go(place, &images.order, Modifiers::NONE);
        images.zoomed = true;
    }
    (shown.columns, shown.rows)
}

fn status_ui(ui: &mut Ui, images: &mut ImagesState, view: &ImagesView) {
    ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
        if !images.zoomed {
            size_ui(ui, images);
        }
        ui.with_layout(Layout::left_to_right(Align::Center), |ui| said_ui(ui, images, view));
    });
}

/// What was done last, or what was decided so far.
fn said_ui(ui: &mut Ui, images: &ImagesState, view: &ImagesView) {
    let tokens = tokens(ui.visuals());
    ui.scope(|ui| {
        if let Some((went_well, text)) = &images.said {
            let color = if *went_well { tokens.text } else { tokens.bad };
            ui.add(egui::Label::new(RichText::new(text).color(color)).truncate());
            if *went_well && view.undo.is_some() {
                ui.label(RichText::new("Ctrl+Z takes it back").small().weak());
            }
            return;
        }
        let EditCounts { moved, excluded, checked, vanished, replaced } = view.edited.counts;
        let mut words = Vec::new();
        for (count, what) in [
            (moved, "moved"),
            (excluded, "excluded"),
            (checked, "checked"),
            (vanished, "edited and not there any more"),
            (replaced, "edited and replaced since"),
        ] {
            if count > 0 {
                words.push(format!("{} {what}", numbers::grouped(count as u64)));
            }
        }
        let text = match words.is_empty() {
            true => "Arrows and Shift choose, Enter shows one large, M moves, X excludes, C marks as checked, Ctrl+A takes all".to_string(),
            false => format!("{}, in {}", words.join(", "), view.file.display()),
        };
        if vanished + replaced > 0 {
            ui.label(icon(egui_material_icons::icons::ICON_WARNING).color(tokens.warn));
        }
        ui.add(egui::Label::new(RichText::new(text).small().weak()).truncate());
    });
}

/// What is done by keys alone, while no field, menu or dialog takes them.
fn keys(
    ui: &Ui,
    images: &mut ImagesState,
    id: Id,
    (columns, rows): (usize, usize),
    commands: &mut Vec<Command>,
) {
    let elsewhere = ui.memory(|memory| memory.focused().is_some_and(|focused| focused != id));
    if elsewhere || ui.ctx().text_edit_focused() || Popup::is_any_open(ui.ctx()) {
        return;
    }
    // Those that were held with the key, even if they were let go before this frame.
    let held = |event: &Event| match event {
        Event::Key { pressed: true, modifiers, .. } => Some(*modifiers),
        _ => None,
    };
    let modifiers = ui.input(|input| input.events.iter().find_map(held).unwrap_or(input.modifiers));
    let pressed = |key| ui.input(|input| input.key_pressed(key));
    if modifiers.command && pressed(Key::A) {
        images.selection.all(&images.order);
        return;
    }
    let here = images.selection.cursor();
    let (columns, rows) = if images.zoomed { (1, 1) } else { (columns, rows) };
    if let Some(place) = walk(ui, here, images.order.len(), columns, rows) {
        // Who has chosen nothing begins where the keyboard is.
        let begins = images.selection.is_empty() && !modifiers.any() && !pressed(Key::End);
        let modifiers = if images.zoomed { Modifiers::NONE } else { modifiers };
        images.selection.go(if begins { here } else { place }, &images.order, modifiers);
        images.scroll_to = Some(images.selection.cursor());
        if !images.zoomed {
            ui.memory_mut(|memory| memory.request_focus(id));
        }
    }
    if modifiers.command || modifiers.alt {
        return;
    }
    if pressed(Key::Enter) && !images.order.is_empty() {
        images.zoomed = !images.zoomed;
        images.scroll_to = Some(images.selection.cursor());
    }
    if pressed(Key::Escape) {
        if images.zoomed {
            images.zoomed = false;
            images.scroll_to = Some(images.selection.cursor());
        } else {
            images.selection.clear();
        }
    }
    if pressed(Key::Space) && !images.zoomed {
        images.selection.toggle(&images.order);
    }
    let edit = ImagesCommand::Edit;
    for (keys, command) in [
        ([Key::M, Key::M], ImagesCommand::ChooseClass),
        ([Key::X, Key::Delete], edit(EditAction::Exclude)),
        ([Key::C, Key::K], edit(EditAction::Check)),
        ([Key::R, Key::R], edit(EditAction::Restore)),
        ([Key::A, Key::A], ImagesCommand::Agree),
    ] {
        if keys.into_iter().any(pressed) {
            commands.push(Command::Images(command));
        }
    }
}
