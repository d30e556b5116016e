//! One image large, with what is known of it.

use counterweight_core::source::Location;
use egui::{Image, Layout, Rect, RichText, ScrollArea, Sense, Ui, Vec2, vec2};
use egui_material_icons::icons::{ICON_ARROW_BACK, ICON_CHEVRON_LEFT, ICON_CHEVRON_RIGHT};

use super::{images_cell, parts};
use crate::gui::command::{Command, ImagesCommand};
use crate::gui::state::{FileFacts, ImagesState, ImagesView, Thumbnail};
use crate::gui::theme::{self, space, tokens};
use crate::gui::widgets::{IconButton, group_dot, numbers, waiting, words};

/// Width of the facts beside the image, in points.
const FACTS: f32 = 232.0;

/// Draws the image at the keyboard's place.
pub fn ui(ui: &mut Ui, images: &mut ImagesState, view: &ImagesView, commands: &mut Vec<Command>) {
    let Some(sample) = images.selection.current(&images.order) else { return };
    ui.horizontal(|ui| {
        let back = IconButton::new(ICON_ARROW_BACK, "All images").quiet().show(ui);
        if back.on_hover_text("Escape or Enter").clicked() {
            images.zoomed = false;
            images.scroll_to = Some(images.selection.cursor());
        }
        let place = images.selection.cursor();
        for (icon, name, to) in [
            (ICON_CHEVRON_LEFT, "Previous image", place.checked_sub(1)),
            (
                ICON_CHEVRON_RIGHT,
                "Next image",
                Some(place + 1).filter(|at| *at < images.order.len()),
            ),
        ] {
            let button = IconButton::new(icon, name).icon_only().quiet().enabled(to.is_some());
            if button.show(ui).clicked()
                && let Some(to) = to
            {
                images.selection.go(to, &images.order, egui::Modifiers::NONE);
            }
        }
        parts::weak(
            ui,
            format!(
                "{} of {}",
                numbers::grouped(place as u64 + 1),
                numbers::grouped(images.order.len() as u64)
            ),
        );
        ui.with_layout(Layout::right_to_left(egui::Align::Center), |ui| {
            ui.checkbox(&mut images.actual_size, "Actual size")
                .on_hover_text("Shows every pixel of the image, instead of all of it at once");
        });
    });
    let room = ui.available_rect_before_wrap();
    let facts = Rect::from_min_max(room.right_top() - vec2(FACTS, 0.0), room.max);
    let picture = Rect::from_min_max(room.min, facts.left_bottom() - vec2(space::LARGE, 0.0));
    let ctx = ui.ctx().clone();
    let key = (view.dataset_revision, sample);
    let place = (&*view.base.root, &view.base.samples[sample as usize].location);
    let large = images.large.get(key, place, view.reader.as_ref(), &ctx);
    ui.scope_builder(egui::UiBuilder::new().max_rect(picture), |ui| {
        let location = &view.base.samples[sample as usize].location;
        ui.painter().rect_filled(picture, 8.0, tokens(ui.visuals()).sunken);
        match large.as_ref().map(|large| &large.picture) {
            Some(Ok(texture)) => {
                picture_ui(ui, picture, texture, images.actual_size, &location.to_text());
            }
            Some(Err(reason)) => {
                ui.add_space(space::LARGE);
                ui.vertical_centered(|ui| parts::trouble(ui, reason));
            }
            None => match images.thumbnails.get(sample as usize, location) {
                Thumbnail::Ready(texture) => {
                    picture_ui(ui, picture, &texture, false, &location.to_text());
                }
                _ => {
                    ui.centered_and_justified(waiting);
                }
            },
        }
    });
    ui.scope_builder(egui::UiBuilder::new().max_rect(facts), |ui| {
        ScrollArea::vertical().id_salt("facts of the image").auto_shrink(false).show(ui, |ui| {
            let facts = large.map(|large| (large.size, large.file)).unwrap_or_default();
            facts_ui(ui, images, view, sample, facts, commands);
        });
    });
}

/// An image in the room there is, whole or pixel by pixel.
pub fn picture_ui(
    ui: &mut Ui,
    room: Rect,
    texture: &egui::TextureHandle,
    actual_size: bool,
    name: &str,
) {
    let pixels = texture.size_vec2();
    if actual_size {
        ScrollArea::both().id_salt("the image").auto_shrink(false).show(ui, |ui| {
            let points = pixels / ui.ctx().pixels_per_point();
            // A small one lies in the middle, a large one is moved about in.
            let (all, _) = ui.allocate_exact_size(points.max(ui.available_size()), Sense::hover());
            let image = Image::new(texture).alt_text(name).fit_to_exact_size(points);
            ui.put(Rect::from_center_size(all.center(), points), image);
        });
        return;
    }
    let inside = room.shrink(space::MEDIUM);
    let scale = (inside.width() / pixels.x).min(inside.height() / pixels.y);
    let size: Vec2 = pixels * scale.max(0.0);
    let rect = Rect::from_center_size(inside.center(), size);
    ui.put(rect, Image::new(texture).alt_text(name).fit_to_exact_size(size));
}

fn facts_ui(
    ui: &mut Ui,
    images: &ImagesState,
    view: &ImagesView,
    sample: u32,
    (size, file): (Option<(u32, u32)>, FileFacts),
    commands: &mut Vec<Command>,
) {
    let own = &view.base.samples[sample as usize];
    let edits = &view.edited.samples[sample as usize];
    let path = own.location.to_text();
    let name = path.rsplit('/').next().unwrap_or(&path).to_string();
    ui.add(egui::Label::new(theme::heading(name)).wrap());
    ui.add(egui::Label::new(RichText::new(&path).small().weak()).wrap());
    ui.add_space(space::MEDIUM);
    ui.horizontal_wrapped(|ui| {
        group_dot(ui, view.groups[edits.class]);
        ui.label(theme::strong(view.class(sample)));
    });
    parts::weak(ui, format!("Group {}, {} split", view.groups[edits.class], own.split));
    for words in images_cell::decided(view, sample) {
        ui.label(words::capitalised(&words));
    }
    ui.add_space(space::SMALL);
    if let Some((width, height)) = size {
        ui.label(format!("{width} × {height} pixels"));
    }
    if let Some(bytes) = file.bytes {
        ui.label(numbers::bytes(bytes));
    }
    if let Some(taken) = file.taken {
        ui.label(format!("Taken {taken}")).on_hover_text("By the camera's own clock");
    }
    if let Some(item) = images.review_item(sample) {
        ui.add_space(space::MEDIUM);
        ui.add(egui::Label::new(&item.reason).wrap());
    }
    if let Some(proposed) = images.proposed(sample) {
        let words = format!("Move to {proposed}");
        if ui.button(words).on_hover_text("The class that is proposed. Key A").clicked() {
            commands.push(Command::Images(ImagesCommand::Agree));
        }
    }
    if let Some(predictions) = &images.predictions {
        ui.add_space(space::MEDIUM);
        match predictions.of(sample) {
            Some(found) => {
                let class = &predictions.classes[found.class];
                let is_right = class == view.class(sample);
                parts::weak(ui, if is_right { "The run agrees" } else { "The run takes it for" });
                let share = numbers::percent(Some(found.probability.into()));
                let color = match is_right {
                    true => tokens(ui.visuals()).good,
                    false => tokens(ui.visuals()).bad,
                };
                ui.label(RichText::new(format!("{class}, {share}")).color(color));
            }
            None => parts::weak(ui, "The run says nothing about this image."),
        }
    }
    if let Location::File(file) = &own.location {
        ui.add_space(space::MEDIUM);
        if ui.button("Show the file").clicked() {
            let path = view.base.root.join(file);
            commands.push(Command::Images(ImagesCommand::ShowFile(path)));
        }
    }
}
