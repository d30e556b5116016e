//! What a page shows while there is nothing to show.

use egui::{Label, Response, RichText, Ui};
use egui_material_icons::MaterialIcon;

use super::super::theme::{self, space};

/// Width of the text, for lines that are read with ease.
const WIDTH: f32 = 420.0;

/// An icon, a title and one sentence in the middle of the room there is, with whatever
/// `add_actions` adds in a row below.
pub fn empty_state(
    ui: &mut Ui,
    icon: MaterialIcon,
    title: &str,
    text: &str,
    add_actions: impl FnOnce(&mut Ui),
) -> Response {
    let tokens = theme::tokens(ui.visuals());
    // The row of actions is centred by the width it had in the last frame.
    let id = ui.make_persistent_id(("empty state", title));
    let known: Option<f32> = ui.data(|data| data.get_temp(id));
    let above = ((ui.available_height() - 200.0) * 0.4).clamp(space::LARGE, 160.0);
    ui.vertical_centered(|ui| {
        ui.add_space(if above.is_finite() { above } else { space::PAGE });
        ui.add(
            Label::new(theme::icon(icon).size(theme::LARGE_ICON).color(tokens.before))
                .selectable(false),
        );
        ui.add_space(space::SMALL);
        ui.label(theme::heading(title));
        let width = ui.available_width().min(WIDTH);
        ui.scope(|ui| {
            ui.set_max_width(width);
            ui.add(
                Label::new(RichText::new(text).color(tokens.text_weak))
                    .wrap()
                    .halign(egui::Align::Center),
            );
        });
        ui.add_space(space::MEDIUM);
        let room = ui.available_width();
        if known.is_some_and(|known| known > room) {
            ui.vertical_centered(add_actions);
            ui.add_space(space::PAGE);
            return;
        }
        ui.horizontal(|ui| {
            ui.add_space(((room - known.unwrap_or(0.0)) / 2.0).max(0.0));
            let row = ui.horizontal(add_actions).response.rect.width();
            if known != Some(row) {
                ui.data_mut(|data| data.insert_temp(id, row));
                ui.ctx()
                    .request_discard("the row of actions has another width than it was centred by");
            }
        });
        ui.add_space(space::PAGE);
    })
    .response
}
