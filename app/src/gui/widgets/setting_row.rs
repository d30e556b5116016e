//! A setting with its name, its control and one line that explains it.

use std::borrow::Cow;

use egui::{Button, Label, Layout, Response, RichText, Role, TextStyle, Ui, WidgetInfo, vec2};
use egui_material_icons::icons;

use super::super::theme::{self, space};

/// Width of the names, so that controls line up.
const LABEL_WIDTH: f32 = 150.0;
/// Below this width the control stands under its name.
const NARROW: f32 = 440.0;

/// What stands around the control.
#[derive(Clone, Copy, Debug)]
pub struct SettingRow<'a> {
    /// The setting's name.
    pub label: &'a str,
    /// What it does, in one line.
    pub explanation: &'a str,
    /// Its default, as people read it.
    pub default_text: &'a str,
    /// Whether its value differs from the default.
    pub changed: bool,
    /// Why its value cannot be used.
    pub error: Option<&'a str>,
}

/// What was done to the row.
pub struct SettingRowResponse {
    /// Of the whole row.
    pub response: Response,
    /// Whether the default is asked for again.
    pub reset: bool,
}

/// Shows a setting; `control` adds what changes it, named by the row's label for those who do not
/// see it.
pub fn setting_row<R>(
    ui: &mut Ui,
    row: SettingRow,
    control: impl FnOnce(&mut Ui) -> R,
) -> SettingRowResponse {
    let mut reset = false;
    let inner = ui.vertical(|ui| {
        ui.spacing_mut().item_spacing.y = space::SMALL;
        let height = ui.spacing().interact_size.y;
        let narrow = ui.available_width() < NARROW;
        if narrow {
            let label = ui.add(name(row.label));
            ui.horizontal(|ui| {
                ui.set_min_height(height);
                ui.label_inputs_by(label.id, control);
                reset = reset_button(ui, &row);
            });
        } else {
            ui.horizontal(|ui| {
                ui.set_min_height(height);
                let label = ui.allocate_ui_with_layout(
                    vec2(LABEL_WIDTH, height),
                    Layout::left_to_right(egui::Align::Center),
                    |ui| {
                        ui.set_min_width(LABEL_WIDTH);
                        ui.add(name(row.label).truncate())
                    },
                );
                ui.label_inputs_by(label.inner.id, control);
                reset = reset_button(ui, &row);
            });
        }
        let beside = LABEL_WIDTH + ui.spacing().item_spacing.x;
        below(ui, &row, if narrow { 0.0 } else { beside });
    });
    SettingRowResponse { response: inner.response, reset }
}

fn name(label: &str) -> Label {
    Label::new(RichText::new(label)).selectable(false)
}

fn reset_button(ui: &mut Ui, row: &SettingRow) -> bool {
    if !row.changed {
        return false;
    }
    let button = Button::new(
        theme::icon(icons::ICON_RESTART_ALT).color(theme::tokens(ui.visuals()).text_weak),
    )
    .frame_when_inactive(false);
    let response = ui.add(button.min_size(vec2(30.0, 30.0)));
    response.widget_info(|| {
        WidgetInfo::labeled(
            Role::Button,
            ui.is_enabled(),
            format!("Reset {} to {}", row.label, row.default_text),
        )
    });
    let clicked = response.clicked();
    response.on_hover_text(format!("Back to the default, {}", row.default_text));
    clicked
}

/// The explanation, or what is wrong in its place.
fn below(ui: &mut Ui, row: &SettingRow, indent: f32) {
    let tokens = theme::tokens(ui.visuals());
    let (text, color) = match row.error {
        Some(error) => (Cow::Borrowed(error), tokens.bad),
        None if row.default_text.is_empty() || row.explanation.is_empty() => {
            (Cow::Borrowed(row.explanation), tokens.text_weak)
        }
        None => (
            Cow::Owned(format!("{} Default: {}.", row.explanation, row.default_text)),
            tokens.text_weak,
        ),
    };
    if text.is_empty() {
        return;
    }
    ui.horizontal_top(|ui| {
        ui.add_space(indent);
        ui.vertical(|ui| {
            ui.add(
                Label::new(RichText::new(text.as_ref()).text_style(TextStyle::Small).color(color))
                    .wrap(),
            );
        });
    });
}
