//! Short lines of numbers: groups, metrics, before and after.

use counterweight_core::eval::{Group, GroupSizes};
use egui::{
    Color32, Response, RichText, Role, Sense, TextStyle, TextWrapMode, Ui, WidgetInfo, WidgetText,
    pos2, vec2,
};
use egui_material_icons::{MaterialIcon, icons};

use super::super::theme::{self, Tokens, space};
use super::{chart, numbers};

/// The groups with their classes: `● many 35 · ● medium 35 · ● few 30`.
pub fn group_chips(ui: &mut Ui, sizes: &GroupSizes) {
    let tokens = theme::tokens(ui.visuals());
    let counts = [sizes.many, sizes.medium, sizes.few];
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing.x = space::SMALL;
        for (i, (group, classes)) in Group::ALL.into_iter().zip(counts).enumerate() {
            if i > 0 {
                ui.label(RichText::new("·").color(tokens.text_weak));
            }
            group_dot(ui, group);
            let text = RichText::new(group.name()).color(tokens.text_weak);
            ui.label(text);
            ui.label(numbers::grouped(classes as u64)).on_hover_text(if classes == 1 {
                format!("1 class in the {group} group")
            } else {
                format!("{} classes in the {group} group", numbers::grouped(classes as u64))
            });
        }
    });
}

/// A dot in the colour of a group.
pub fn group_dot(ui: &mut Ui, group: Group) {
    chart::dot(ui, theme::tokens(ui.visuals()).group(group));
}

/// A number that matters, under its name; `delta` is its change as a share of one, where more is
/// better.
pub fn metric(ui: &mut Ui, label: &str, value: &str, delta: Option<f64>) -> Response {
    metric_within(ui, f32::INFINITY, label, value, delta)
}

/// [`metric`] in so much room, in which a long name is cut off.
pub fn metric_within(
    ui: &mut Ui,
    room: f32,
    label: &str,
    value: &str,
    delta: Option<f64>,
) -> Response {
    let tokens = theme::tokens(ui.visuals());
    let galley = |text: RichText, color: Color32, ui: &Ui| {
        WidgetText::from(text.color(color)).into_galley(
            ui,
            Some(TextWrapMode::Truncate),
            room,
            TextStyle::Body,
        )
    };
    let name = galley(RichText::new(label).text_style(TextStyle::Small), tokens.text_weak, ui);
    let value_text = galley(RichText::new(value).text_style(theme::title_style()), tokens.text, ui);
    let change = delta.map(|delta| {
        let (icon, color) = direction(tokens, delta);
        [
            galley(theme::icon(icon), color, ui),
            galley(theme::strong(numbers::points(delta)), color, ui),
        ]
    });
    // One widget of a known size, so that tiles wrap as words do.
    let change_width = change
        .as_ref()
        .map_or(0.0, |[icon, text]| space::MEDIUM + icon.size().x + 2.0 + text.size().x);
    let width = name.size().x.max(value_text.size().x + change_width);
    let (rect, response) = ui.allocate_exact_size(
        vec2(width, name.size().y + 2.0 + value_text.size().y),
        Sense::hover(),
    );
    let spoken =
        delta.map(|delta| format!(", {} points", numbers::points(delta))).unwrap_or_default();
    response.widget_info(|| {
        WidgetInfo::labeled(Role::Group, true, format!("{label}: {value}{spoken}"))
    });
    let painter = ui.painter();
    let top = rect.top() + name.size().y + 2.0;
    let middle = top + value_text.size().y / 2.0;
    let mut x = rect.left() + value_text.size().x + space::MEDIUM;
    painter.galley(rect.left_top(), name, tokens.text_weak);
    painter.galley(pos2(rect.left(), top), value_text, tokens.text);
    for galley in change.into_iter().flatten() {
        let size = galley.size();
        painter.galley(pos2(x, middle - size.y / 2.0), galley, tokens.text);
        x += size.x + 2.0;
    }
    response
}

/// The arrow and the colour of a change.
fn direction(tokens: &Tokens, delta: f64) -> (MaterialIcon, Color32) {
    match delta {
        delta if delta.abs() < 5e-4 => (icons::ICON_ARROW_FORWARD, tokens.text_weak),
        delta if delta > 0.0 => (icons::ICON_ARROW_UPWARD, tokens.good),
        _ => (icons::ICON_ARROW_DOWNWARD, tokens.bad),
    }
}

/// A change as an arrow with its number, coloured where it means something, and for those who see no
/// colours as well.
fn change(ui: &mut Ui, delta: f64, means_something: bool) {
    let tokens = theme::tokens(ui.visuals());
    let (icon, color) = direction(tokens, delta);
    let color = if means_something { color } else { tokens.text_weak };
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 2.0;
        ui.label(theme::icon(icon).color(color));
        ui.label(theme::strong(numbers::points(delta)).color(color))
            .on_hover_text("Points of a hundred");
    });
}

/// Shares before and after, in one line: `few  13.9 % → 34.9 %  ↑ +21.0`. Where the result means
/// nothing, a change is neither good nor bad.
pub fn before_after(
    ui: &mut Ui,
    group: Option<Group>,
    label: &str,
    [before, after]: [Option<f64>; 2],
    means_something: bool,
) -> Response {
    let tokens = theme::tokens(ui.visuals());
    let size = vec2(ui.available_width(), theme::ROW_HEIGHT);
    let inner =
        ui.allocate_ui_with_layout(size, egui::Layout::left_to_right(egui::Align::Center), |ui| {
            ui.spacing_mut().item_spacing.x = space::MEDIUM;
            ui.spacing_mut().interact_size.y = theme::ROW_HEIGHT;
            match group {
                Some(group) => group_dot(ui, group),
                None => _ = ui.allocate_exact_size(vec2(10.0, 10.0), Sense::hover()),
            }
            fixed(ui, 132.0, egui::Align::Min, RichText::new(label));
            fixed(
                ui,
                60.0,
                egui::Align::Max,
                RichText::new(numbers::percent(before)).color(tokens.text_weak),
            );
            ui.label(theme::icon(icons::ICON_ARROW_FORWARD).color(tokens.text_weak));
            fixed(ui, 60.0, egui::Align::Max, theme::strong(numbers::percent(after)));
            if let (Some(before), Some(after)) = (before, after) {
                change(ui, after - before, means_something);
            }
        });
    let spoken = || {
        format!("{label}: {} before, {} after", numbers::percent(before), numbers::percent(after))
    };
    inner.response.widget_info(|| WidgetInfo::labeled(Role::Group, true, spoken()));
    inner.response
}

/// Text in a column of its own, so that rows line up.
fn fixed(ui: &mut Ui, width: f32, align: egui::Align, text: RichText) {
    let layout = match align {
        egui::Align::Max => egui::Layout::right_to_left(egui::Align::Center),
        _ => egui::Layout::left_to_right(egui::Align::Center),
    };
    let height = ui.text_style_height(&TextStyle::Body);
    ui.allocate_ui_with_layout(vec2(width, height), layout, |ui| {
        ui.set_min_width(width);
        ui.add(egui::Label::new(text).truncate());
    });
}
