//! A button with an icon, named by its words: an icon is a letter of a font, and a screen reader
//! should not read that letter out.

use egui::{Button, Response, RichText, Role, Stroke, Ui, Vec2, WidgetInfo};
use egui_material_icons::MaterialIcon;

use super::super::theme::{self, tokens};

/// A button with an icon.
#[derive(Clone, Copy, Debug)]
pub struct IconButton<'a> {
    icon: MaterialIcon,
    label: &'a str,
    primary: bool,
    enabled: bool,
    icon_only: bool,
    quiet: bool,
    min_size: Vec2,
}

impl<'a> IconButton<'a> {
    /// A button with an icon before its words.
    pub fn new(icon: MaterialIcon, label: &'a str) -> Self {
        Self {
            icon,
            label,
            primary: false,
            enabled: true,
            icon_only: false,
            quiet: false,
            min_size: Vec2::ZERO,
        }
    }

    /// The one that is meant to be pressed.
    pub fn primary(mut self) -> Self {
        self.primary = true;
        self
    }

    /// Whether it can be pressed.
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = enabled;
        self
    }

    /// Without its words, which are then its tooltip.
    pub fn icon_only(mut self) -> Self {
        self.icon_only = true;
        self
    }

    /// Without a frame until it is pointed at.
    pub fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// At least this large.
    pub fn min_size(mut self, size: Vec2) -> Self {
        self.min_size = size;
        self
    }

    /// Draws the button.
    pub fn show(self, ui: &mut Ui) -> Response {
        let tokens = tokens(ui.visuals());
        let color = |text: RichText| if self.primary { text.color(tokens.on_accent) } else { text };
        let icon = color(theme::icon(self.icon)).size(16.0);
        let button = if self.icon_only {
            Button::new(icon)
        } else {
            Button::new((icon, color(RichText::new(self.label))))
        };
        let button =
            if self.primary { button.fill(tokens.accent).stroke(Stroke::NONE) } else { button };
        let response = ui.add_enabled(
            self.enabled,
            button.frame_when_inactive(!self.quiet).min_size(self.min_size),
        );
        response.widget_info(|| WidgetInfo::labeled(Role::Button, self.enabled, self.label));
        if self.icon_only { response.on_hover_text(self.label) } else { response }
    }
}
