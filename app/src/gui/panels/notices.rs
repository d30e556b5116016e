//! Notices: a few words in the corner of the page about what has just happened.

use egui::{
    Align, Area, Context, CornerRadius, Frame, Id, Label, Layout, Margin, Order, Rect, RichText,
    Stroke, Ui, Vec2, vec2,
};
use egui_material_icons::icons::{
    ICON_CHECK_CIRCLE, ICON_CLOSE, ICON_ERROR, ICON_INFO, ICON_WARNING,
};
use std::time::Duration;

use crate::gui::state::{Toast, ToastKind};
use crate::gui::theme::{icon, space, tokens};
use crate::gui::widgets::IconButton;

/// How long one is shown, in seconds, unless it is pointed at.
const SHOWN: f64 = 6.0;
/// Those that are shown at once; older ones make room.
const AT_ONCE: usize = 3;
/// Width of one where there is room for it.
const WIDTH: f32 = 360.0;

/// The notices that are shown, the oldest first.
#[derive(Default)]
pub struct Notices {
    shown: Vec<Notice>,
    count: u64,
}

struct Notice {
    number: u64,
    toast: Toast,
    /// When it goes, in the window's time.
    until: f64,
}

impl Notices {
    /// Takes new ones and draws all in the lower right corner of the page, one above the other.
    pub fn ui(&mut self, ctx: &Context, page: Rect, new: impl Iterator<Item = Toast>) {
        let now = ctx.input(|input| input.time);
        for toast in new {
            // What is said already is not said twice.
            self.shown.retain(|notice| notice.toast.text != toast.text);
            self.count += 1;
            self.shown.push(Notice { number: self.count, toast, until: now + SHOWN });
        }
        self.shown.retain(|notice| notice.until > now);
        let surplus = self.shown.len().saturating_sub(AT_ONCE);
        self.shown.drain(..surplus);
        let width = WIDTH.min(page.width() - 2.0 * space::LARGE);
        let mut bottom = page.bottom() - space::LARGE;
        for notice in self.shown.iter_mut().rev() {
            let at = egui::pos2(page.right() - space::LARGE, bottom);
            let area = Area::new(Id::unique(("notice", notice.number)))
                .order(Order::Foreground)
                .pivot(egui::Align2::RIGHT_BOTTOM)
                .fixed_pos(at)
                .constrain_to(page)
                .show(ctx, |ui| notice_ui(ui, &notice.toast, width));
            if area.inner {
                notice.until = now;
            } else if area.response.contains_pointer() {
                notice.until = notice.until.max(now + 1.0);
            }
            bottom = area.response.rect.top() - space::MEDIUM;
        }
        if let Some(next) =
            self.shown.iter().map(|notice| notice.until - now).min_by(f64::total_cmp)
        {
            ctx.request_repaint_after(Duration::from_secs_f64(next.max(0.0)));
        }
    }
}

/// One notice; whether it was closed.
fn notice_ui(ui: &mut Ui, toast: &Toast, width: f32) -> bool {
    let tokens = tokens(ui.visuals());
    let (mark, color) = match toast.kind {
        ToastKind::Success => (ICON_CHECK_CIRCLE, tokens.good),
        ToastKind::Info => (ICON_INFO, tokens.accent_text),
        ToastKind::Warning => (ICON_WARNING, tokens.warn),
        ToastKind::Error => (ICON_ERROR, tokens.bad),
    };
    let frame = Frame::new()
        .fill(tokens.surface)
        .stroke(Stroke::new(1.0, tokens.border))
        .shadow(ui.visuals().popup_shadow)
        .corner_radius(CornerRadius::same(8))
        .inner_margin(Margin::symmetric(12, 8));
    frame
        .show(ui, |ui| {
            ui.set_width(width - 24.0);
            ui.with_layout(Layout::right_to_left(Align::Min), |ui| {
                let close = IconButton::new(ICON_CLOSE, "Close this notice").icon_only().quiet();
                let close = close.show(ui);
                let closed = close.clicked();
                let size = vec2(ui.available_width(), 0.0);
                ui.allocate_ui_with_layout(size, Layout::top_down(Align::Min), |ui| {
                    ui.spacing_mut().item_spacing = Vec2::splat(space::MEDIUM);
                    // The first line beside the cross, however many follow.
                    let line = ui.text_style_height(&egui::TextStyle::Body);
                    ui.add_space(((close.rect.height() - line) / 2.0).max(0.0));
                    ui.horizontal_top(|ui| {
                        ui.label(icon(mark).size(18.0).color(color));
                        ui.add(Label::new(RichText::new(&toast.text)).wrap());
                    });
                });
                closed
            })
            .inner
        })
        .inner
}
