//! Where the keyboard is: one ring for everything that can have the focus, and the page scrolls to it.

use egui::{Context, CornerRadius, Id, LayerId, Stroke, StrokeKind, Ui};

use crate::gui::theme::tokens;

/// Distance of the ring from what it is around.
const DISTANCE: f32 = 2.0;

/// What had the focus in the last frame.
#[derive(Default)]
pub struct Focus {
    last: Option<Id>,
}

impl Focus {
    /// Scrolls the page to what has just got the focus, if it lies out of sight. To be called at
    /// the end of what scrolls.
    pub fn bring_into_sight(&mut self, ui: &Ui) {
        let focused = ui.ctx().memory(|memory| memory.focused());
        let is_new = focused != self.last;
        self.last = focused;
        if is_clicking(ui.ctx()) {
            return;
        }
        let Some(response) = focused.filter(|_| is_new).and_then(|id| ui.ctx().read_response(id))
        else {
            return;
        };
        if response.layer_id == ui.layer_id() {
            ui.scroll_to_rect(response.rect.expand(4.0 * DISTANCE), None);
        }
    }
}

/// Whether the pointer is at work. What is asked about a widget then takes its focus away, if the
/// click was elsewhere, such as on a row of a table that has it.
fn is_clicking(ctx: &Context) -> bool {
    ctx.input(|input| input.pointer.any_pressed() || input.pointer.any_released())
}

/// Draws the ring around what has the focus. A field that is typed into shows its cursor instead.
pub fn ring(ctx: &Context) {
    let Some(id) = ctx.memory(|memory| memory.focused()) else { return };
    if ctx.text_edit_focused() || !ctx.input(|input| input.focused) || is_clicking(ctx) {
        return;
    }
    let Some(response) = ctx.read_response(id) else { return };
    // What is cut off by the edge of a page that scrolls is marked as far as it is seen.
    let seen = response.interact_rect.expand(2.0 * DISTANCE);
    if !response.interact_rect.is_positive() {
        return;
    }
    let layer = LayerId::new(response.layer_id.order, response.layer_id.id);
    let painter = ctx.layer_painter(layer).with_clip_rect(seen);
    let stroke = Stroke::new(2.0, tokens(&ctx.global_style().visuals).accent_text);
    painter.rect_stroke(
        response.rect.expand(DISTANCE),
        CornerRadius::same(9),
        stroke,
        StrokeKind::Inside,
    );
}
