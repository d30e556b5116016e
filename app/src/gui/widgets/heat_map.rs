//! Class weight norms over the epochs, as a map of colours.

use std::sync::Arc;

use egui::{
    Align2, Color32, IdSalt, Mesh, Rect, Response, Role, Sense, Shape, Stroke, StrokeKind, Ui,
    WidgetInfo, pos2, vec2,
};

use super::super::theme::{self, space};
use super::chart::{self, LINE, Pen, Scale, Slots};
use super::labels::{ClassLabel, by_count};
use super::{numbers, raster};

/// Width of the bar that tells which colour is which value.
const BAR_WIDTH: f32 = 10.0;

/// A value for every class at every epoch: classes from left to right, the one of most training
/// samples first, epochs from top to bottom.
pub struct HeatMap<'a> {
    id: IdSalt,
    classes: &'a [ClassLabel<'a>],
    epochs: &'a [u64],
    values: &'a [f32],
    revision: u64,
    title: &'a str,
    height: f32,
}

/// What was worked out along with the texture.
#[derive(Clone)]
struct Drawn {
    order: Arc<[usize]>,
    low: f32,
    high: f32,
}

impl<'a> HeatMap<'a> {
    /// A map of `values`, shape [epochs, classes]. It is drawn anew only when `revision` is another
    /// than last time.
    pub fn new(
        id: impl egui::AsIdSalt,
        classes: &'a [ClassLabel<'a>],
        epochs: &'a [u64],
        values: &'a [f32],
        revision: u64,
    ) -> Self {
        Self {
            id: IdSalt::new(id),
            classes,
            epochs,
            values,
            revision,
            title: "class weight norm",
            height: 260.0,
        }
    }

    /// What the values are.
    pub fn title(mut self, title: &'a str) -> Self {
        self.title = title;
        self
    }

    /// Height of the whole chart, in points.
    pub fn height(mut self, height: f32) -> Self {
        self.height = height;
        self
    }

    /// Draws the map and gives back its response.
    pub fn show(self, ui: &mut Ui) -> Response {
        let rows =
            self.values.len().checked_div(self.classes.len()).unwrap_or(0).min(self.epochs.len());
        if rows == 0 {
            return chart::empty_hint(
                ui,
                self.height,
                "Class weight norms by epoch",
                "Norms appear after the first epoch",
            );
        }
        let response = chart::allocate(ui, self.height, Sense::hover());
        response.widget_info(|| {
            let (first, last) = (self.epochs[0], self.epochs[rows - 1]);
            let text = format!(
                "Class weight norms by epoch, {} classes, epochs {first} to {last}",
                self.classes.len()
            );
            WidgetInfo::labeled(Role::Image, ui.is_enabled(), text)
        });
        if !ui.is_rect_visible(response.rect) {
            return response;
        }
        let (cells, drawn) =
            raster::cached(ui.ctx(), ui.make_persistent_id(self.id), self.revision, |largest| {
                self.draw(rows, largest)
            });
        let pen = Pen::new(ui, response.rect);
        let epochs = &self.epochs[..rows];
        let gutter = pen
            .galley(numbers::grouped(epochs[rows - 1]))
            .size()
            .x
            .max(pen.galley("epoch").size().x)
            + space::MEDIUM;
        let legend = BAR_WIDTH
            + space::LARGE
            + pen.galley(numbers::value(drawn.high.into())).size().x.max(44.0);
        let outer = response.rect;
        let below = chart::names_height(
            &pen,
            outer.width() - gutter - legend,
            self.classes.iter().map(|class| class.name),
        );
        let plot = Rect::from_min_max(
            pos2((outer.left() + gutter).round(), outer.top() + LINE + 4.0),
            pos2(
                (outer.right() - legend).max(outer.left() + gutter + 10.0).round(),
                outer.bottom() - below,
            ),
        );
        let slots = Slots { plot, count: drawn.order.len() };
        let whole = Rect::from_min_max(pos2(0.0, 0.0), pos2(1.0, 1.0));
        pen.painter.image(cells.texture.id(), plot, cells.uv(whole), Color32::WHITE);
        pen.painter.rect_stroke(
            plot,
            0.0,
            Stroke::new(1.0, pen.tokens.border),
            StrokeKind::Outside,
        );
        pen.label(outer.left_top(), Align2::LEFT_TOP, "epoch");
        pen.label(outer.right_top(), Align2::RIGHT_TOP, self.title);
        paint_epochs(&pen, plot, epochs);
        paint_color_bar(&pen, plot, &drawn);
        slots.names(&pen, |slot| self.classes[drawn.order[slot]].name, "classes, largest first");
        if let Some(at) = response.hover_pos().filter(|at| plot.contains(*at))
            && let Some(slot) = slots.at(at.x)
        {
            let height = plot.height() / rows as f32;
            let row = (((at.y - plot.top()) / height) as usize).min(rows - 1);
            let top = plot.top() + height * row as f32;
            let cell = Rect::from_x_y_ranges(slots.band(slot).x_range(), top..=top + height);
            pen.painter.rect_stroke(
                cell,
                0.0,
                Stroke::new(1.5, pen.tokens.text),
                StrokeKind::Outside,
            );
            self.tip(ui, &response, drawn.order[slot], row);
        }
        response
    }

    fn draw(&self, rows: usize, largest: usize) -> (egui::ColorImage, Drawn) {
        let order = by_count(self.classes);
        let classes = order.len();
        let finite =
            || self.values[..rows * classes].iter().copied().filter(|value| value.is_finite());
        let (low, high) =
            (finite().fold(f32::INFINITY, f32::min), finite().fold(f32::NEG_INFINITY, f32::max));
        let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
        let span = if high > low { high - low } else { 1.0 };
        let image = raster::image(classes, rows, largest, |x, y| {
            let value = self.values[y * classes + order[x]];
            if value.is_finite() {
                raster::ramp((value - low) / span)
            } else {
                Color32::TRANSPARENT
            }
        });
        (image, Drawn { order: order.into(), low, high })
    }

    fn tip(&self, ui: &Ui, response: &Response, class: usize, row: usize) {
        let label = &self.classes[class];
        let tokens = theme::tokens(ui.visuals());
        chart::tooltip(response, |ui| {
            chart::tip_title(ui, Some(tokens.group(label.group)), label.name);
            let value = self.values[row * self.classes.len() + class];
            chart::tip_rows(
                ui,
                &[
                    (None, "epoch", numbers::grouped(self.epochs[row])),
                    (None, self.title, numbers::value(value.into())),
                    (None, "training images", numbers::grouped(label.count)),
                    (None, "group", label.group.to_string()),
                ],
            );
        });
    }
}

/// Numbers of epochs beside their rows, as many as there is room for, the last one always.
fn paint_epochs(pen: &Pen, plot: Rect, epochs: &[u64]) {
    let rows = epochs.len();
    let height = plot.height() / rows as f32;
    let center = |row: usize| plot.top() + height * (row as f32 + 0.5);
    let write = |row: usize| {
        let at = pos2(plot.left() - 6.0, center(row));
        pen.label(at, Align2::RIGHT_CENTER, numbers::grouped(epochs[row]));
    };
    write(rows - 1);
    let step =
        Scale::linear(0.0, rows as f64, 0.0, 1.0).ticks((plot.height() / 36.0) as usize).1.max(1.0)
            as u64;
    let mut free_from = f32::NEG_INFINITY;
    for (row, epoch) in epochs.iter().enumerate().take(rows - 1) {
        let y = center(row);
        let round = row == 0 || epoch.is_multiple_of(step);
        if round && y >= free_from && y + LINE <= center(rows - 1) {
            write(row);
            free_from = y + LINE;
        }
    }
}

fn paint_color_bar(pen: &Pen, plot: Rect, drawn: &Drawn) {
    let left = plot.right() + space::LARGE;
    let bar = Rect::from_min_size(pos2(left, plot.top()), vec2(BAR_WIDTH, plot.height()));
    let steps = 64;
    let mut mesh = Mesh::default();
    for step in 0..=steps {
        let share = step as f32 / steps as f32;
        let y = bar.bottom() - bar.height() * share;
        mesh.colored_vertex(pos2(bar.left(), y), raster::ramp(share));
        mesh.colored_vertex(pos2(bar.right(), y), raster::ramp(share));
        if step > 0 {
            let i = 2 * step as u32;
            mesh.add_triangle(i - 2, i - 1, i);
            mesh.add_triangle(i - 1, i, i + 1);
        }
    }
    pen.painter.add(Shape::mesh(mesh));
    let right = bar.right() + space::SMALL;
    pen.label(pos2(right, bar.top()), Align2::LEFT_TOP, numbers::value(drawn.high.into()));
    pen.label(pos2(right, bar.bottom()), Align2::LEFT_BOTTOM, numbers::value(drawn.low.into()));
    if drawn.high > drawn.low && plot.height() > 80.0 {
        let middle = f64::from(drawn.low + drawn.high) / 2.0;
        pen.label(pos2(right, bar.center().y), Align2::LEFT_CENTER, numbers::value(middle));
    }
}
