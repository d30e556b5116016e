//! How one image of the grid is drawn: the picture, what was decided about it, and its class.

use egui::text::{LayoutJob, TextWrapping};
use egui::{
    Align2, Color32, CornerRadius, FontId, Pos2, Rect, RichText, Role, Stroke, StrokeKind,
    TextStyle, Ui, WidgetInfo, pos2, vec2,
};
use egui_material_icons::MaterialIcon;
use egui_material_icons::icons::{ICON_BLOCK, ICON_CHECK, ICON_CHECK_CIRCLE, ICON_DRIVE_FILE_MOVE};

use super::parts;
use crate::gui::state::{ImagesState, ImagesView, Thumbnail};
use crate::gui::theme::{self, space, tokens};
use crate::gui::widgets::{GridCell, numbers, words};

/// Side of the sign of what was decided, in points.
const SIGN: f32 = 20.0;

/// What the second line of an image says, if there is one.
pub fn second_line(images: &ImagesState, view: &ImagesView, sample: u32) -> Option<(String, bool)> {
    if let Some(item) = images.review_item(sample) {
        let proposed = images.proposed(sample).filter(|class| *class != view.class(sample));
        return Some(match proposed {
            // There is room for how sure it is; all of the reason stands beside the large picture.
            Some(class) => {
                let sure = item.reason.split(';').next().unwrap_or_default();
                (format!("→ {class}: {sure}"), true)
            }
            None => (item.reason.clone(), false),
        });
    }
    let predictions = images.predictions.as_ref()?;
    let found = predictions.of(sample)?;
    let share = numbers::percent(Some(found.probability.into()));
    let class = &predictions.classes[found.class];
    match class == view.class(sample) {
        true => Some((format!("right, {share}"), false)),
        false => Some((format!("→ {class}, {share}"), true)),
    }
}

/// What was decided about an image, in words.
pub fn decided(view: &ImagesView, sample: u32) -> Vec<String> {
    let own = &view.edited.samples[sample as usize];
    let mut words = Vec::new();
    if own.excluded {
        words.push("excluded".to_string());
    }
    if own.moved {
        words.push(format!("moved from {}", view.own_class(sample)));
    }
    if own.checked {
        words.push("checked".to_string());
    }
    words
}

/// Draws an image in its place of the grid.
pub fn ui(
    ui: &mut Ui,
    images: &ImagesState,
    view: &ImagesView,
    cell: &GridCell,
    thumbnail: &Thumbnail,
    has_keyboard: bool,
) {
    let sample = images.order[cell.place];
    let own = view.edited.samples[sample as usize];
    let is_chosen = images.selection.has(sample);
    let location = &view.base.samples[sample as usize].location;
    let (class, second) = (view.class(sample), second_line(images, view, sample));
    let spoken = || {
        let mut words = vec![format!("{}, {class}", location.to_text())];
        words.extend(decided(view, sample));
        words.extend(second.as_ref().map(|(text, _)| text.clone()));
        words.join(", ")
    };
    cell.response
        .widget_info(|| WidgetInfo::selected(Role::ListBoxOption, true, is_chosen, spoken()));
    let tokens = tokens(ui.visuals());
    if is_chosen {
        ui.painter().rect_filled(cell.rect, CornerRadius::same(8), tokens.accent_wash);
    } else if cell.response.hovered() {
        ui.painter().rect_filled(cell.rect, CornerRadius::same(8), tokens.sunken);
    }
    parts::thumbnail(ui, cell.picture, thumbnail);
    if own.excluded {
        // Out of the dataset, and not out of sight.
        let veil = tokens.background.gamma_multiply(0.72);
        ui.painter().rect_filled(cell.picture, CornerRadius::same(6), veil);
    }
    if is_chosen {
        let frame = Stroke::new(3.0, tokens.accent);
        ui.painter().rect_stroke(cell.picture, CornerRadius::same(6), frame, StrokeKind::Outside);
        let at = cell.picture.left_top() + vec2(4.0, 4.0);
        sign(ui, at, ICON_CHECK, tokens.accent, tokens.on_accent);
    }
    if has_keyboard {
        ui.painter().rect_stroke(
            cell.rect,
            CornerRadius::same(8),
            Stroke::new(1.5, tokens.accent_text),
            StrokeKind::Inside,
        );
    }
    let mut right = cell.picture.right() - 4.0 - SIGN;
    let signs = [
        (own.excluded, ICON_BLOCK, tokens.bad),
        (own.moved, ICON_DRIVE_FILE_MOVE, tokens.accent_text),
        (own.checked, ICON_CHECK_CIRCLE, tokens.good),
    ];
    for (_, icon, color) in signs.into_iter().filter(|(is_so, ..)| *is_so) {
        sign(ui, pos2(right, cell.picture.top() + 4.0), icon, tokens.surface, color);
        right -= SIGN + 2.0;
    }
    let dot = pos2(cell.picture.left() + 5.0, cell.picture.bottom() + 13.0);
    ui.painter().circle_filled(dot, 4.0, tokens.group(view.groups[own.class]));
    let width = cell.picture.width();
    let top = cell.picture.bottom() + 4.0;
    line(ui, pos2(cell.picture.left() + 14.0, top), class, tokens.text, width - 14.0);
    if let Some((text, is_other)) = &second {
        let color = if *is_other { tokens.bad } else { tokens.text_weak };
        line(ui, pos2(cell.picture.left(), top + 17.0), text, color, width);
    }
    cell.response.clone().on_hover_ui(|ui| {
        ui.label(theme::strong(location.to_text()));
        let split = view.base.samples[sample as usize].split;
        ui.label(format!("{class}, {split}"));
        for words in decided(view, sample) {
            ui.label(words::capitalised(&words));
        }
        if let Some((text, _)) = &second {
            ui.label(text);
        }
        if let Thumbnail::Broken(reason) = thumbnail {
            ui.label(RichText::new(&**reason).color(tokens.bad));
        }
        ui.add_space(space::SMALL);
        ui.label(RichText::new("Click twice to see it large").small().weak());
    });
}

/// A small round sign over a picture.
fn sign(ui: &Ui, at: Pos2, icon: MaterialIcon, fill: Color32, color: Color32) {
    let rect = Rect::from_min_size(at, vec2(SIGN, SIGN));
    ui.painter().circle_filled(rect.center(), SIGN / 2.0, fill);
    let font = FontId::new(SIGN - 5.0, icon.font_family());
    ui.painter().text(rect.center(), Align2::CENTER_CENTER, icon.codepoint, font, color);
}

/// A line of small text that ends in an ellipsis where it would be wider than `width`.
fn line(ui: &Ui, at: Pos2, text: &str, color: Color32, width: f32) {
    let mut job =
        LayoutJob::simple_singleline(text.to_owned(), TextStyle::Small.resolve(ui.style()), color);
    job.wrap = TextWrapping::truncate_at_width(width.max(1.0));
    let galley = ui.painter().layout_job(job);
    ui.painter().galley(at, galley, color);
}
