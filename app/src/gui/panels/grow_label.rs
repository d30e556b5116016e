//! One image after the other gets a label, by ten keys.

use counterweight_core::eval::GroupThresholds;
use counterweight_core::source::Location;
use egui::{Button, Key, Layout, Popup, Rect, RichText, Role, Sense, Ui, WidgetInfo, vec2};
use egui_material_icons::icons::{ICON_BLOCK, ICON_CHECK, ICON_CHECK_CIRCLE, ICON_UNDO};

use super::{class_chooser, images_zoom, parts};
use crate::gui::command::GrowCommand;
use crate::gui::state::{Given, GrowState, Labelling, OpenRun, Thumbnail};
use crate::gui::theme::{self, icon, space, tokens};
use crate::gui::widgets::{IconButton, group_dot, numbers, waiting};

/// Height of the picture, in points.
const PICTURE: f32 = 360.0;
/// Width of the keys beside it.
const SIDE: f32 = 300.0;
/// The least room for the picture beside them.
const NARROWEST: f32 = 280.0;
/// Side of the small pictures of what comes next.
const SMALL: f32 = 72.0;
/// The keys of the classes, in their order.
const DIGITS: [(Key, &str); 10] = [
    (Key::Num1, "1"),
    (Key::Num2, "2"),
    (Key::Num3, "3"),
    (Key::Num4, "4"),
    (Key::Num5, "5"),
    (Key::Num6, "6"),
    (Key::Num7, "7"),
    (Key::Num8, "8"),
    (Key::Num9, "9"),
    (Key::Num0, "0"),
];

/// Draws the image that is to be labelled, with what it may be. No key is listened to where
/// something else `covered` the page.
pub fn ui(
    ui: &mut Ui,
    grow: &mut GrowState,
    run: &OpenRun,
    covered: bool,
    ask: &mut dyn FnMut(GrowCommand),
) {
    let Some(labelling) = grow.labelling.take() else { return };
    head_ui(ui, &labelling);
    ui.add_space(space::SMALL);
    if labelling.images.is_empty() {
        parts::weak(ui, "No image is left to label.");
    } else if labelling.current().is_some() {
        image_ui(ui, grow, &labelling, run, ask);
    } else {
        done_ui(ui, &labelling, ask);
    }
    ui.add_space(space::SMALL);
    next_ui(ui, grow, &labelling, ask);
    chooser_ui(ui, grow, &labelling, run, ask);
    if grow.chooser.is_none() && !covered {
        keys(ui, &labelling, ask);
    }
    grow.labelling = Some(labelling);
}

fn head_ui(ui: &mut Ui, labelling: &Labelling) {
    ui.horizontal_wrapped(|ui| {
        let [labelled, skipped] = labelling.progress();
        let of = numbers::grouped(labelling.images.len() as u64);
        ui.label(theme::heading(format!("{labelled} of {of} labelled")));
        let mut words = Vec::new();
        if skipped > 0 {
            words.push(format!("{skipped} skipped"));
        }
        if let Some(pace) = labelling.pace() {
            words.push(format!("{pace:.0} a minute"));
        }
        words.push(format!("{} looked at", numbers::grouped(labelling.looked_at as u64)));
        if labelling.known > 0 {
            words.push(format!("{} known already", numbers::grouped(labelling.known as u64)));
        }
        parts::weak(ui, words.join(" · "));
    });
}

fn image_ui(
    ui: &mut Ui,
    grow: &mut GrowState,
    labelling: &Labelling,
    run: &OpenRun,
    ask: &mut dyn FnMut(GrowCommand),
) {
    let width = ui.available_width();
    // In a narrow window the keys stand below the picture.
    let beside = width > SIDE + NARROWEST;
    if beside {
        ui.horizontal_top(|ui| {
            picture_ui(ui, grow, labelling, width - SIDE - space::LARGE);
            ui.add_space(space::LARGE - ui.spacing().item_spacing.x);
            ui.allocate_ui_with_layout(
                vec2(SIDE, PICTURE),
                Layout::top_down(egui::Align::Min),
                |ui| {
                    ui.set_width(SIDE);
                    classes_ui(ui, labelling, run, ask);
                },
            );
        });
    } else {
        picture_ui(ui, grow, labelling, width);
        ui.add_space(space::SMALL);
        classes_ui(ui, labelling, run, ask);
    }
}

fn picture_ui(ui: &mut Ui, grow: &mut GrowState, labelling: &Labelling, width: f32) {
    let Some(image) = labelling.current() else { return };
    let (room, _) = ui.allocate_exact_size(vec2(width, PICTURE), Sense::hover());
    ui.painter().rect_filled(room, 8.0, tokens(ui.visuals()).sunken);
    let location = Location::File(image.path.clone());
    let name = image.path.display().to_string();
    let ctx = ui.ctx().clone();
    let key = (labelling.revision, labelling.at as u32);
    let place = (std::path::Path::new(""), &location);
    let large = grow.large.get(key, place, Some(&labelling.reader), &ctx);
    let small = grow.thumbnails.as_mut().map(|small| small.get(labelling.at, &location));
    // What is drawn in the room takes no more of the row than the room.
    let mut ui = ui.new_child(egui::UiBuilder::new().max_rect(room));
    let ui = &mut ui;
    match (large.map(|large| large.picture), small) {
        (Some(Ok(texture)), _) => images_zoom::picture_ui(ui, room, &texture, false, &name),
        (Some(Err(reason)), _) => {
            ui.add_space(space::LARGE);
            ui.vertical_centered(|ui| parts::trouble(ui, &reason));
        }
        // The small picture is there at once, and the sharp one a moment later.
        (None, Some(Thumbnail::Ready(texture))) => {
            images_zoom::picture_ui(ui, room, &texture, false, &name);
        }
        (None, _) => {
            ui.centered_and_justified(waiting);
        }
    }
}

/// What the image may be, and what to press for it.
fn classes_ui(ui: &mut Ui, labelling: &Labelling, run: &OpenRun, ask: &mut dyn FnMut(GrowCommand)) {
    let Some(image) = labelling.current() else { return };
    let thresholds = GroupThresholds::from(&run.settings.evaluation);
    let percent = |share: f64| numbers::percent(Some(share));
    let name = image.path.file_name().unwrap_or_default().to_string_lossy();
    ui.add(egui::Label::new(RichText::new(name).small().weak()).truncate())
        .on_hover_text(image.path.display().to_string());
    ui.horizontal_wrapped(|ui| {
        group_dot(ui, thresholds.group(image.train_count));
        ui.label(theme::strong(&image.class));
        ui.label(percent(image.probability));
    });
    parts::weak(ui, format!("or {}, {}", image.second, percent(image.second_probability)));
    ui.add_space(space::SMALL);
    let weak = tokens(ui.visuals()).text_weak;
    let row = |ui: &mut Ui, text: RichText, keys: &str, name: &str, chosen: bool| {
        let button = Button::selectable(chosen, text)
            .frame_when_inactive(true)
            .min_size(vec2(ui.available_width(), 26.0))
            .right_text(RichText::new(keys).small().color(weak));
        let response = ui.add(button);
        response.widget_info(|| WidgetInfo::labeled(Role::Button, true, name));
        response.clicked()
    };
    ui.spacing_mut().item_spacing.y = 3.0;
    let given = labelling.given[labelling.at].as_ref();
    for (class, (_, digit)) in labelling.keys.iter().zip(DIGITS) {
        let chosen = given == Some(&Given::Class(class.clone()));
        let text = RichText::new(class);
        if row(ui, text, digit, &format!("Label {class}"), chosen) {
            ask(GrowCommand::Label(class.clone()));
        }
    }
    if row(ui, RichText::new("Another class…"), "M", "Another class…", false) {
        ask(GrowCommand::ChooseClass);
    }
    ui.add_space(space::SMALL);
    ui.horizontal_wrapped(|ui| {
        let agree = IconButton::new(ICON_CHECK, "As proposed").show(ui);
        if agree.on_hover_text(format!("{}. Enter", image.class)).clicked() {
            ask(GrowCommand::Accept);
        }
        let skip = IconButton::new(ICON_BLOCK, "Skip").show(ui);
        if skip.on_hover_text("It is not clear what it is. Key X").clicked() {
            ask(GrowCommand::Skip);
        }
        let back = IconButton::new(ICON_UNDO, "Back").enabled(labelling.can_take_back()).show(ui);
        if back.on_hover_text("Takes the last label back. Backspace").clicked() {
            ask(GrowCommand::TakeBack);
        }
    });
}

fn done_ui(ui: &mut Ui, labelling: &Labelling, ask: &mut dyn FnMut(GrowCommand)) {
    let good = tokens(ui.visuals()).good;
    ui.horizontal_wrapped(|ui| {
        ui.label(icon(ICON_CHECK_CIRCLE).color(good));
        ui.label("All of these were looked at. Grow the run by them, or find more.");
        let back = IconButton::new(ICON_UNDO, "Back").enabled(labelling.can_take_back()).show(ui);
        if back.on_hover_text("Takes the last label back. Backspace").clicked() {
            ask(GrowCommand::TakeBack);
        }
    });
}

/// Small pictures of the images around the one that is shown, with what was said of them.
fn next_ui(
    ui: &mut Ui,
    grow: &mut GrowState,
    labelling: &Labelling,
    ask: &mut dyn FnMut(GrowCommand),
) {
    let Some(thumbnails) = &mut grow.thumbnails else { return };
    let gap = space::SMALL;
    let fitting = ((ui.available_width() + gap) / (SMALL + gap)).floor().max(1.0) as usize;
    // Two of those before stay in sight.
    let last = labelling.images.len().saturating_sub(fitting);
    let from = labelling.at.saturating_sub(2).min(last);
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = gap;
        for place in (from..labelling.images.len()).take(fitting) {
            let image = &labelling.images[place];
            let location = Location::File(image.path.clone());
            let thumbnail = thumbnails.get(place, &location);
            if small_ui(ui, labelling, place, &thumbnail) {
                ask(GrowCommand::Show(place));
            }
        }
    });
}

fn small_ui(ui: &mut Ui, labelling: &Labelling, place: usize, thumbnail: &Thumbnail) -> bool {
    let tokens = tokens(ui.visuals());
    let (rect, response) = ui.allocate_exact_size(vec2(SMALL, SMALL + 20.0), Sense::click());
    let (words, color) = match &labelling.given[place] {
        Some(Given::Class(class)) => (class.as_str(), tokens.text),
        Some(Given::Skipped) => ("skipped", tokens.text_weak),
        None => ("", tokens.text_weak),
    };
    let image = &labelling.images[place];
    let name = image.path.file_name().unwrap_or_default().to_string_lossy();
    response.widget_info(|| {
        WidgetInfo::labeled(Role::Button, true, format!("Image {}, {name}, {words}", place + 1))
    });
    if !ui.is_rect_visible(rect) {
        return false;
    }
    let frame = Rect::from_min_size(rect.min, vec2(SMALL, SMALL));
    parts::thumbnail(ui, frame, thumbnail);
    if place == labelling.at || response.hovered() {
        let stroke = egui::Stroke::new(2.0, tokens.accent);
        ui.painter().rect_stroke(frame, 6.0, stroke, egui::StrokeKind::Inside);
    }
    let font = egui::TextStyle::Small.resolve(ui.style());
    let mut job = egui::text::LayoutJob::simple_singleline(words.to_string(), font, color);
    job.wrap = egui::text::TextWrapping::truncate_at_width(SMALL);
    let galley = ui.painter().layout_job(job);
    ui.painter().galley(egui::pos2(rect.left(), frame.bottom() + 3.0), galley, color);
    response.clicked()
}

fn chooser_ui(
    ui: &mut Ui,
    grow: &mut GrowState,
    labelling: &Labelling,
    run: &OpenRun,
    ask: &mut dyn FnMut(GrowCommand),
) {
    if grow.chooser.is_none() {
        return;
    }
    let thresholds = GroupThresholds::from(&run.settings.evaluation);
    let groups: Vec<_> = labelling.counts.iter().map(|count| thresholds.group(*count)).collect();
    let choices = class_chooser::Choices {
        title: "The class of this image".into(),
        classes: &labelling.classes,
        counts: labelling.counts.clone(),
        groups: &groups,
        recent: &labelling.keys,
    };
    if let Some(class) = class_chooser::ui(ui, &mut grow.chooser, &choices) {
        ask(GrowCommand::Label(class));
    }
}

/// What is done by keys alone, while no field, menu or dialog takes them.
fn keys(ui: &Ui, labelling: &Labelling, ask: &mut dyn FnMut(GrowCommand)) {
    if ui.ctx().text_edit_focused() || Popup::is_any_open(ui.ctx()) {
        return;
    }
    let has_focus = ui.memory(|memory| memory.focused().is_some());
    let pressed: Vec<Key> = ui.input(|input| {
        let of = |event: &egui::Event| match event {
            egui::Event::Key { key, pressed: true, modifiers, repeat: false, .. }
                if !modifiers.command && !modifiers.alt =>
            {
                Some(*key)
            }
            _ => None,
        };
        input.events.iter().filter_map(of).collect()
    });
    // Whoever is quick presses more than one key a frame; each is of the image that is next then.
    for key in pressed {
        let class = DIGITS.iter().position(|(digit, _)| *digit == key);
        match key {
            Key::X | Key::Delete => ask(GrowCommand::Skip),
            Key::M => ask(GrowCommand::ChooseClass),
            Key::Backspace => ask(GrowCommand::TakeBack),
            // What has the focus is pressed by them.
            Key::Enter | Key::Space if !has_focus => ask(GrowCommand::Accept),
            Key::ArrowLeft if !has_focus => {
                ask(GrowCommand::Show(labelling.at.saturating_sub(1)));
            }
            Key::ArrowRight if !has_focus => ask(GrowCommand::Show(labelling.at + 1)),
            _ => {
                if let Some(class) = class.and_then(|class| labelling.keys.get(class)) {
                    ask(GrowCommand::Label(class.clone()));
                }
            }
        }
    }
}
