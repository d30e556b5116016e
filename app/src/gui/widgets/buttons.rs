//! Buttons that stand out: the one that goes on, and the one that destroys.

use egui::{Button, RichText, Stroke, Ui};

use crate::gui::theme::tokens;

/// The button that is meant to be pressed.
pub fn primary<'a>(ui: &Ui, label: impl Into<String>) -> Button<'a> {
    let tokens = tokens(ui.visuals());
    Button::new(RichText::new(label).color(tokens.on_accent))
        .fill(tokens.accent)
        // As wide a line as that of others, so that it is as high.
        .stroke(Stroke::new(1.0, tokens.accent))
}

/// The button for what cannot be undone.
pub fn danger<'a>(ui: &Ui, label: impl Into<String>) -> Button<'a> {
    let tokens = tokens(ui.visuals());
    Button::new(RichText::new(label).color(tokens.surface))
        .fill(tokens.bad)
        .stroke(Stroke::new(1.0, tokens.bad))
}
