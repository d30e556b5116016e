//! What the colours of a map mean.

use egui::{Mesh, Response, RichText, Role, Sense, TextStyle, Ui, WidgetInfo, pos2, vec2};

use super::super::theme::{self, space};
use super::raster;

/// Size of the bar, in points.
const WIDTH: f32 = 120.0;
const HEIGHT: f32 = 10.0;
/// Pieces that the bar is drawn of.
const PIECES: usize = 16;

/// A bar of the colours between the words for its ends.
pub fn colour_bar(ui: &mut Ui, low: &str, high: &str) -> Response {
    let weak = theme::tokens(ui.visuals()).text_weak;
    let word = |text: &str| RichText::new(text).text_style(TextStyle::Small).color(weak);
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = space::MEDIUM;
        ui.label(word(low));
        let (rect, response) = ui.allocate_exact_size(vec2(WIDTH, HEIGHT), Sense::hover());
        response.widget_info(|| {
            WidgetInfo::labeled(
                Role::Image,
                true,
                format!("Colours: dark is {low}, bright is {high}"),
            )
        });
        let mut mesh = Mesh::default();
        for piece in 0..=PIECES {
            let share = piece as f32 / PIECES as f32;
            let x = rect.left() + share * rect.width();
            let color = raster::ramp(share);
            mesh.colored_vertex(pos2(x, rect.top()), color);
            mesh.colored_vertex(pos2(x, rect.bottom()), color);
            if piece > 0 {
                let last = 2 * piece as u32;
                mesh.add_triangle(last - 2, last - 1, last);
                mesh.add_triangle(last - 1, last, last + 1);
            }
        }
        ui.painter().add(mesh);
        ui.label(word(high));
        response
    })
    .inner
}
