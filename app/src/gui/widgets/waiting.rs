//! The sign that something is being worked on.

use egui::{Color32, Painter, Pos2, Role, Sense, Shape, Stroke, Ui, Vec2, WidgetInfo};

use super::super::theme::tokens;
use super::super::worker::wake_every;

/// A turning arc as high as a line of text.
pub fn waiting(ui: &mut Ui) {
    let (rect, response) = ui.allocate_exact_size(Vec2::splat(18.0), Sense::hover());
    response.widget_info(|| WidgetInfo::labeled(Role::ProgressIndicator, true, "Working"));
    let color = tokens(ui.visuals()).accent_text;
    turning_arc(ui, ui.painter(), rect.center(), color);
}

/// A turning arc at a place. It turns in steps, as often as the window is drawn for a job anyway: a
/// smooth one would have all of it drawn sixty times a second.
pub fn turning_arc(ui: &Ui, painter: &Painter, center: Pos2, color: Color32) {
    let every = wake_every();
    let steps = (ui.input(|input| input.time) / every.as_secs_f64()).floor();
    let start = steps as f32 * std::f32::consts::TAU / 8.0;
    let point = |part: u8| {
        center + 6.5 * Vec2::angled(start + f32::from(part) * 0.07 * std::f32::consts::PI)
    };
    painter.add(Shape::line((0..=20).map(point).collect(), Stroke::new(2.0, color)));
    ui.ctx().request_repaint_after(every);
}
