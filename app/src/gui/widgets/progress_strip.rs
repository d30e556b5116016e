//! How far a job is.

use egui::{
    Button, Label, Layout, ProgressBar, Response, RichText, Role, TextStyle, Ui, WidgetInfo, vec2,
};
use egui_material_icons::icons;

use super::super::theme::{self, space};
use super::numbers;

/// A running job.
#[derive(Clone, Copy, Debug)]
pub struct ProgressStrip<'a> {
    /// What it is doing, such as `Computing features`.
    pub phase: &'a str,
    /// What is done.
    pub done: u64,
    /// What is to be done in all, where that is known.
    pub total: Option<u64>,
    /// What is counted, such as `images`.
    pub unit: &'a str,
    /// Seconds left, where there is an estimate.
    pub left: Option<f64>,
    /// Whether the job has been asked to stop.
    pub stopping: bool,
}

/// What was done to the strip.
pub struct ProgressStripResponse {
    /// Of the whole strip.
    pub response: Response,
    /// Whether Stop was pressed.
    pub stop: bool,
}

impl ProgressStrip<'_> {
    /// Shows the phase, a bar, how much is done, and a button that stops the job.
    pub fn show(self, ui: &mut Ui) -> ProgressStripResponse {
        let tokens = theme::tokens(ui.visuals());
        let mut stop = false;
        let height = ui.spacing().interact_size.y + 20.0;
        let width = ui.available_width();
        let inner = ui.allocate_ui_with_layout(
            vec2(width, height),
            Layout::right_to_left(egui::Align::Center),
            |ui| {
                ui.set_min_width(width);
                let button = if self.stopping {
                    Button::new("Stopping…")
                } else {
                    Button::new((theme::icon(icons::ICON_STOP), "Stop"))
                };
                let name = if self.stopping { "Stopping…" } else { "Stop" };
                stop = ui.add_enabled(!self.stopping, button).accessible_name(name).clicked();
                ui.add_space(space::SMALL);
                ui.with_layout(Layout::top_down(egui::Align::Min), |ui| {
                    ui.spacing_mut().item_spacing.y = space::SMALL;
                    ui.horizontal(|ui| {
                        ui.add(Label::new(theme::strong(self.phase)).truncate());
                        ui.with_layout(Layout::right_to_left(egui::Align::Center), |ui| {
                            let text = RichText::new(self.said())
                                .text_style(TextStyle::Small)
                                .color(tokens.text_weak);
                            ui.add(Label::new(text).truncate());
                        });
                    });
                    let share = self.total.map(|total| {
                        if total == 0 {
                            1.0
                        } else {
                            (self.done as f64 / total as f64).min(1.0) as f32
                        }
                    });
                    let bar = ProgressBar::new(share.unwrap_or(0.0))
                        .desired_height(6.0)
                        .corner_radius(3.0);
                    let bar = ui.add(bar.fill(tokens.accent));
                    bar.widget_info(|| {
                        let mut info =
                            WidgetInfo::labeled(Role::ProgressIndicator, true, self.phase);
                        info.value = share.map(f64::from);
                        info
                    });
                });
            },
        );
        ProgressStripResponse { response: inner.response, stop }
    }

    fn said(&self) -> String {
        let done = numbers::grouped(self.done);
        let mut text = match self.total {
            Some(total) => format!("{done} of {} {}", numbers::grouped(total), self.unit),
            None if self.unit.is_empty() => String::new(),
            None => format!("{done} {}", self.unit),
        };
        if let Some(left) = self.left.filter(|_| !self.stopping) {
            text += &format!(" · {} left", numbers::duration(left));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_said_in_words() {
        let strip = ProgressStrip {
            phase: "Scanning",
            done: 1234,
            total: Some(5000),
            unit: "images",
            left: Some(12.0),
            stopping: false,
        };
        assert_eq!(strip.said(), "1,234 of 5,000 images · 12 s left");
        assert_eq!(ProgressStrip { total: None, left: None, ..strip }.said(), "1,234 images");
        assert_eq!(ProgressStrip { stopping: true, ..strip }.said(), "1,234 of 5,000 images");
    }
}
