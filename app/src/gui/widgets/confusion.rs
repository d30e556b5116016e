//! The confusion matrix: true classes from top to bottom, predicted ones from left to right.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use counterweight_core::eval::Confusion;
use egui::{
    Align2, Button, Color32, CursorIcon, IdSalt, Pos2, Rect, Response, Role, Sense, Stroke,
    StrokeKind, Ui, WidgetInfo, pos2, vec2,
};
use egui_material_icons::icons;

use super::super::theme::{self, Tokens, space};
use super::chart::{self, Pen};
use super::labels::{ClassLabel, by_count};
use super::{numbers, raster};

/// Cells of this size have the names of their classes at the axes.
const NAMED: f32 = 14.0;
/// Cells of this size have their percentage in them.
const WRITTEN: f32 = 26.0;
/// Room for names at both axes.
const GUTTER: f32 = 96.0;
/// How near one can get, with few classes.
const MOST_ZOOM: f32 = 64.0;
/// Classes in sight from nearest, with many of them.
const FEWEST_IN_SIGHT: f32 = 4.0;
/// Points of the texture at each side, at most. Where classes are more, several share a point.
const FINEST: usize = 2048;
/// Cells smaller than this are looked for around the pointer, which cannot hit one.
const HIT: f32 = 2.0;

/// The order of the classes at both axes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MatrixOrder {
    /// As labels are numbered.
    #[default]
    ByLabel,
    /// The class of most training samples first, so that groups lie together.
    ByCount,
}

/// A confusion matrix that can be looked at from near.
pub struct ConfusionMatrix<'a> {
    id: IdSalt,
    counts: &'a Confusion,
    classes: &'a [ClassLabel<'a>],
    order: MatrixOrder,
    normalised: bool,
    revision: u64,
    size: f32,
}

/// What is under the pointer: true class and predicted class, as places in the slice of classes.
pub struct ConfusionResponse {
    /// Of the matrix.
    pub response: Response,
    /// The cell under the pointer.
    pub hovered: Option<(usize, usize)>,
    /// The cell that was clicked.
    pub clicked: Option<(usize, usize)>,
}

/// The part of the matrix in sight.
#[derive(Clone, Copy, PartialEq)]
struct View {
    zoom: f32,
    /// The top left corner in sight, in shares of the whole.
    corner: Pos2,
}

#[derive(Clone)]
struct Drawn {
    order: Arc<[usize]>,
    /// Where each class stands in `order`.
    places: Arc<[usize]>,
    /// Samples of every true class.
    samples: Arc<[u64]>,
    /// The largest count of all cells.
    most: u32,
    /// Points of the texture at each side.
    points: usize,
}

impl<'a> ConfusionMatrix<'a> {
    /// The matrix of `counts`. It is drawn anew only when `revision` is another than last time.
    /// Where there are more classes than it has points, a point shows the largest share of its
    /// cells, and cells are drawn one by one from near.
    pub fn new(
        id: impl egui::AsIdSalt,
        counts: &'a Confusion,
        classes: &'a [ClassLabel<'a>],
        revision: u64,
    ) -> Self {
        let id = IdSalt::new(id);
        Self {
            id,
            counts,
            classes,
            order: MatrixOrder::ByLabel,
            normalised: true,
            revision,
            size: 440.0,
        }
    }

    /// The order of the classes.
    pub fn order(mut self, order: MatrixOrder) -> Self {
        self.order = order;
        self
    }

    /// Whether cells show shares of their true class rather than counts.
    pub fn normalised(mut self, normalised: bool) -> Self {
        self.normalised = normalised;
        self
    }

    /// Height and width of the cells and their names together, in points, at most.
    pub fn size(mut self, size: f32) -> Self {
        self.size = size;
        self
    }

    /// Draws the matrix.
    pub fn show(self, ui: &mut Ui) -> ConfusionResponse {
        let classes = self.classes.len();
        if classes == 0 || self.counts.classes() != classes {
            let response = chart::empty_hint(ui, self.size, "Confusion matrix", "No results yet");
            return ConfusionResponse { response, hovered: None, clicked: None };
        }
        let id = ui.make_persistent_id(self.id);
        let mut view =
            ui.data(|data| data.get_temp(id)).unwrap_or(View { zoom: 1.0, corner: Pos2::ZERO });
        let before = view;
        let side = (self.size.min(ui.available_width().max(200.0)) - GUTTER).max(80.0).round();
        self.bar(ui, &mut view, side);

        let (outer, _) = ui.allocate_exact_size(vec2(side + GUTTER, side + GUTTER), Sense::hover());
        let plot = Rect::from_min_size(
            pos2((outer.left() + GUTTER).round(), outer.top().round()),
            vec2(side, side),
        );
        let sense = if view.zoom > 1.0 { Sense::CLICK | Sense::DRAG } else { Sense::CLICK };
        let response = ui.interact(plot, id.with("cells"), sense);
        response.widget_info(|| WidgetInfo::labeled(Role::Image, ui.is_enabled(), self.spoken()));
        navigate(ui, &response, plot, &mut view, most_zoom(classes));
        view.settle();
        if view != before {
            ui.data_mut(|data| data.insert_temp(id, view));
        }
        let cell_at = |at: Pos2| {
            let whole = view.corner + (at - plot.min) / side / view.zoom;
            let index = |share: f32| ((share * classes as f32) as usize).min(classes - 1);
            (index(whole.y), index(whole.x))
        };
        let (cells, drawn) =
            raster::cached(ui.ctx(), id.with("texture"), self.key(ui), |largest| {
                self.draw(ui, largest)
            });
        let cell = side * view.zoom / classes as f32;
        let under = response.hover_pos().filter(|at| plot.contains(*at)).map(cell_at);
        let under = under.map(|at| if cell < HIT { self.nearest(&drawn, at, cell) } else { at });
        if ui.is_rect_visible(outer) {
            let pen = Pen::new(ui, outer);
            let uv = Rect::from_min_size(view.corner, vec2(1.0, 1.0) / view.zoom);
            let point = side * view.zoom / drawn.points as f32;
            if drawn.points < classes && point > HIT {
                self.paint_cells(&pen, plot, view, &drawn);
            } else {
                pen.painter.image(cells.texture.id(), plot, cells.uv(uv), Color32::WHITE);
            }
            self.paint_over(&pen, plot, view, &drawn, under);
            pen.painter.rect_stroke(
                plot,
                0.0,
                Stroke::new(1.0, pen.tokens.border),
                StrokeKind::Outside,
            );
        }
        let hovered = under.map(|(row, column)| (drawn.order[row], drawn.order[column]));
        if let Some((truth, predicted)) = hovered {
            self.tip(ui, &response, &drawn, truth, predicted);
        }
        let clicked = hovered.filter(|_| response.clicked());
        ConfusionResponse { response, hovered, clicked }
    }

    fn spoken(&self) -> String {
        let (mut total, mut right) = (0, 0);
        for (truth, predicted, count) in self.counts.cells() {
            total += u64::from(count);
            right += if truth == predicted { u64::from(count) } else { 0 };
        }
        let share = numbers::percent((total > 0).then(|| right as f64 / total as f64));
        format!("Confusion matrix, {} classes, {share} correct", self.classes.len())
    }

    /// What the axes are, what the colours are, and the buttons.
    fn bar(&self, ui: &mut Ui, view: &mut View, side: f32) {
        let tokens = theme::tokens(ui.visuals());
        ui.allocate_ui_with_layout(
            vec2(side + GUTTER, 30.0),
            egui::Layout::right_to_left(egui::Align::Center),
            |ui| {
                ui.spacing_mut().item_spacing.x = space::SMALL;
                let mut button =
                    |enabled: bool, icon: egui_material_icons::MaterialIcon, name: &str| {
                        let button = Button::new(theme::icon(icon))
                            .min_size(vec2(30.0, 30.0))
                            .frame_when_inactive(false);
                        let response = ui.add_enabled(enabled, button).on_hover_text(name);
                        response.widget_info(|| WidgetInfo::labeled(Role::Button, enabled, name));
                        response.clicked()
                    };
                let middle = pos2(0.5, 0.5);
                if button(*view != View::WHOLE, icons::ICON_FIT_SCREEN, "Show the whole matrix") {
                    *view = View::WHOLE;
                }
                let most = most_zoom(self.classes.len());
                if button(view.zoom < most, icons::ICON_ADD, "Zoom in") {
                    view.zoom_at(middle, 1.6, most);
                }
                if button(view.zoom > 1.0, icons::ICON_REMOVE, "Zoom out") {
                    view.zoom_at(middle, 1.0 / 1.6, most);
                }
                ui.with_layout(egui::Layout::left_to_right(egui::Align::Center), |ui| {
                    ui.spacing_mut().item_spacing.x = space::MEDIUM;
                    for (color, name) in [(tokens.accent, "correct"), (tokens.bad, "confused")] {
                        let (rect, _) = ui.allocate_exact_size(vec2(36.0, 10.0), Sense::hover());
                        let mut mesh = egui::Mesh::default();
                        for (x, share) in [(rect.left(), 0.0), (rect.right(), 1.0)] {
                            let color = shade(tokens, color, share);
                            mesh.colored_vertex(pos2(x, rect.top()), color);
                            mesh.colored_vertex(pos2(x, rect.bottom()), color);
                        }
                        mesh.add_triangle(0, 1, 2);
                        mesh.add_triangle(1, 2, 3);
                        ui.painter().add(egui::Shape::mesh(mesh));
                        let name = egui::RichText::new(name).small().color(tokens.text_weak);
                        ui.add(egui::Label::new(name).truncate());
                    }
                    if self.classes.len() > FINEST {
                        let text = "strongest of each point; zoom in for single classes";
                        let text = egui::RichText::new(text).small().color(tokens.text_weak);
                        ui.add(egui::Label::new(text).truncate());
                    }
                });
            },
        );
    }

    fn key(&self, ui: &Ui) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.revision, self.order, self.normalised, ui.visuals().dark_mode, self.classes.len())
            .hash(&mut hasher);
        hasher.finish()
    }

    fn draw(&self, ui: &Ui, largest: usize) -> (egui::ColorImage, Drawn) {
        let tokens = theme::tokens(ui.visuals());
        let order = match self.order {
            MatrixOrder::ByLabel => (0..self.classes.len()).collect(),
            MatrixOrder::ByCount => by_count(self.classes),
        };
        let order: Vec<usize> = order;
        let classes = order.len();
        let mut places = vec![0; classes];
        order.iter().enumerate().for_each(|(place, &class)| places[class] = place);
        let samples = (0..classes).map(|class| self.counts.samples(class) as u64).collect();
        let most = self.counts.cells().map(|(_, _, count)| count).max().unwrap_or(1);
        let points = classes.min(largest).clamp(1, FINEST);
        let drawn = Drawn { order: order.into(), places: places.into(), samples, most, points };
        let mut shares = vec![0.0_f32; points * points];
        let blank = shade(tokens, tokens.accent, 0.0);
        let mut image = egui::ColorImage::filled([points, points], blank);
        for cell @ (truth, predicted, _) in self.counts.cells() {
            let point = |class: usize| drawn.places[class] * points / classes;
            let at = point(truth) * points + point(predicted);
            let share = self.share(&drawn, cell);
            if share > shares[at] {
                shares[at] = share;
                image.pixels[at] = color(tokens, cell, share);
            }
        }
        (image, drawn)
    }

    /// What the colour of a cell stands for, in 0..1.
    fn share(&self, drawn: &Drawn, (truth, _, count): (usize, usize, u32)) -> f32 {
        let of = if self.normalised { drawn.samples[truth] as f32 } else { drawn.most as f32 };
        if of > 0.0 { count as f32 / of } else { 0.0 }
    }

    /// The cells in sight, one by one.
    fn paint_cells(&self, pen: &Pen, plot: Rect, view: View, drawn: &Drawn) {
        let classes = self.classes.len() as f32;
        let scale = view.zoom * plot.width();
        let inside = pen.painter.with_clip_rect(plot);
        inside.rect_filled(plot, 0.0, shade(pen.tokens, pen.tokens.accent, 0.0));
        let size = vec2(1.0, 1.0) * (scale / classes).max(1.0);
        let first = |share: f32| (share * classes) as usize;
        let last = |share: f32| ((share + 1.0 / view.zoom) * classes).ceil() as usize;
        let columns = first(view.corner.x)..last(view.corner.x);
        let mut mesh = egui::Mesh::default();
        for row in first(view.corner.y)..last(view.corner.y).min(drawn.order.len()) {
            let truth = drawn.order[row];
            for &(predicted, count) in self.counts.row(truth) {
                let column = drawn.places[predicted as usize];
                if columns.contains(&column) {
                    let share = pos2(column as f32, row as f32) / classes - view.corner;
                    let cell = (truth, predicted as usize, count);
                    let color = color(pen.tokens, cell, self.share(drawn, cell));
                    mesh.add_colored_rect(
                        Rect::from_min_size(plot.min + share * scale, size),
                        color,
                    );
                }
            }
        }
        inside.add(egui::Shape::mesh(mesh));
    }

    /// The largest cell that is drawn where the pointer is, or the one at `at` where all are
    /// empty; both as places in the order. Cells are `side` points wide.
    fn nearest(&self, drawn: &Drawn, at: (usize, usize), side: f32) -> (usize, usize) {
        let (row, column) = at;
        let reach = (HIT / 2.0 / side).ceil() as usize;
        let rows = row.saturating_sub(reach)..(row + reach + 1).min(drawn.order.len());
        let cells = rows.flat_map(|row| {
            let cells = self.counts.row(drawn.order[row]).iter();
            cells.map(move |&(predicted, count)| (row, drawn.places[predicted as usize], count))
        });
        cells
            .filter(|(_, place, _)| place.abs_diff(column) <= reach)
            .max_by_key(|cell| cell.2)
            .map_or(at, |(row, column, _)| (row, column))
    }

    /// Names, lines between cells, groups, percentages and the frame of the cell under the pointer.
    fn paint_over(
        &self,
        pen: &Pen,
        plot: Rect,
        view: View,
        drawn: &Drawn,
        under: Option<(usize, usize)>,
    ) {
        let classes = self.classes.len();
        let cell = plot.width() * view.zoom / classes as f32;
        let first = |share: f32| (share * classes as f32) as usize;
        let last = |share: f32| {
            (((share + 1.0 / view.zoom) * classes as f32).ceil() as usize).min(classes)
        };
        let (rows, columns) =
            (first(view.corner.y)..last(view.corner.y), first(view.corner.x)..last(view.corner.x));
        let left = |column: usize| {
            plot.left()
                + (column as f32 / classes as f32 - view.corner.x) * view.zoom * plot.width()
        };
        let top = |row: usize| {
            plot.top() + (row as f32 / classes as f32 - view.corner.y) * view.zoom * plot.height()
        };
        let inside = pen.painter.with_clip_rect(plot);
        if cell >= 10.0 {
            let line = Stroke::new(1.0, pen.tokens.surface);
            columns.clone().for_each(|column| _ = inside.vline(left(column), plot.y_range(), line));
            rows.clone().for_each(|row| _ = inside.hline(plot.x_range(), top(row), line));
        }
        self.paint_groups(pen, plot, drawn, &left, &top);
        if cell >= WRITTEN {
            for (row, column) in
                rows.clone().flat_map(|row| columns.clone().map(move |column| (row, column)))
            {
                let cell = Rect::from_min_size(pos2(left(column), top(row)), vec2(cell, cell));
                self.paint_number(&inside, pen, drawn, (row, column), cell);
            }
        }
        if let Some((row, column)) = under {
            let frame = Rect::from_min_size(pos2(left(column), top(row)), vec2(cell, cell));
            let lines = Stroke::new(1.0, pen.tokens.text.gamma_multiply(0.2));
            inside.hline(plot.left()..=frame.left(), frame.center().y, lines);
            inside.vline(frame.center().x, frame.bottom()..=plot.bottom(), lines);
            inside.rect_stroke(
                frame.expand(1.0),
                1.0,
                Stroke::new(2.0, pen.tokens.text),
                StrokeKind::Middle,
            );
        }
        if cell < NAMED {
            pen.label(
                pos2(plot.center().x, plot.bottom() + 14.0),
                Align2::CENTER_TOP,
                "predicted class",
            );
            let half = pen.galley("true class").size().x / 2.0;
            pen.upright(
                pos2(plot.left() - 22.0, plot.center().y - half),
                "true class",
                plot.height(),
            );
            return;
        }
        let room = GUTTER - 14.0;
        for row in rows {
            let y = top(row) + cell / 2.0;
            if plot.y_range().contains(y) {
                let galley = pen.elided(self.classes[drawn.order[row]].name, room);
                let at = pos2(plot.left() - 10.0 - galley.size().x, y - galley.size().y / 2.0);
                pen.painter.galley(at, galley, pen.tokens.text_weak);
            }
        }
        for column in columns {
            let x = left(column) + cell / 2.0;
            if plot.x_range().contains(x) {
                pen.upright(
                    pos2(x, plot.bottom() + 10.0),
                    self.classes[drawn.order[column]].name,
                    room,
                );
            }
        }
    }

    /// Strips along both axes in the colours of the groups.
    fn paint_groups(
        &self,
        pen: &Pen,
        plot: Rect,
        drawn: &Drawn,
        left: &dyn Fn(usize) -> f32,
        top: &dyn Fn(usize) -> f32,
    ) {
        let order = &drawn.order;
        let mut from = 0;
        while from < order.len() {
            let group = self.classes[order[from]].group;
            let to = (from..order.len())
                .find(|&i| self.classes[order[i]].group != group)
                .unwrap_or(order.len());
            let color = pen.tokens.group(group);
            let across = left(from).max(plot.left())..=left(to).min(plot.right());
            let down = top(from).max(plot.top())..=top(to).min(plot.bottom());
            if across.start() < across.end() {
                pen.painter.rect_filled(
                    Rect::from_x_y_ranges(across, plot.bottom() + 3.0..=plot.bottom() + 6.0),
                    0.0,
                    color,
                );
            }
            if down.start() < down.end() {
                pen.painter.rect_filled(
                    Rect::from_x_y_ranges(plot.left() - 6.0..=plot.left() - 3.0, down),
                    0.0,
                    color,
                );
            }
            from = to;
        }
    }

    fn paint_number(
        &self,
        painter: &egui::Painter,
        pen: &Pen,
        drawn: &Drawn,
        (row, column): (usize, usize),
        cell: Rect,
    ) {
        let (truth, predicted) = (drawn.order[row], drawn.order[column]);
        let count = self.counts.get(truth, predicted);
        if count == 0 {
            return;
        }
        let share = f64::from(count) / drawn.samples[truth].max(1) as f64;
        let text = if self.normalised {
            format!("{:.0}", 100.0 * share)
        } else {
            numbers::grouped(count.into())
        };
        let fill = color(
            pen.tokens,
            (truth, predicted, count),
            self.share(drawn, (truth, predicted, count)),
        );
        let color = theme::text_on(pen.tokens, fill);
        let galley = painter.layout_no_wrap(text, pen.font.clone(), color);
        if galley.size().x + 2.0 <= cell.width() {
            painter.galley(cell.center() - galley.size() / 2.0, galley, color);
        }
    }

    fn tip(&self, ui: &Ui, response: &Response, drawn: &Drawn, truth: usize, predicted: usize) {
        let tokens = theme::tokens(ui.visuals());
        let (count, samples) = (u64::from(self.counts.get(truth, predicted)), drawn.samples[truth]);
        chart::tooltip(response, |ui| {
            let color = if truth == predicted { tokens.accent } else { tokens.bad };
            let share = numbers::percent((samples > 0).then(|| count as f64 / samples as f64));
            chart::tip_title(
                ui,
                Some(color),
                &format!("{} of {} ({share})", numbers::grouped(count), numbers::grouped(samples)),
            );
            let name = |class: usize| {
                (Some(tokens.group(self.classes[class].group)), self.classes[class].name.to_owned())
            };
            let ((true_color, truth), (predicted_color, predicted)) =
                (name(truth), name(predicted));
            chart::tip_rows(
                ui,
                &[(true_color, "true", truth), (predicted_color, "predicted", predicted)],
            );
        });
    }
}

/// The colour of a share: its square root, so that a confusion of one in twenty is seen.
fn shade(tokens: &Tokens, color: Color32, share: f32) -> Color32 {
    tokens.sunken.lerp_to_gamma(color, share.clamp(0.0, 1.0).sqrt())
}

/// The colour of a cell whose share is this.
fn color(tokens: &Tokens, (truth, predicted, _): (usize, usize, u32), share: f32) -> Color32 {
    shade(tokens, if truth == predicted { tokens.accent } else { tokens.bad }, share)
}

/// How near one can get to so many classes.
fn most_zoom(classes: usize) -> f32 {
    (classes as f32 / FEWEST_IN_SIGHT).max(MOST_ZOOM)
}

/// The wheel with Ctrl, pinching, and dragging.
fn navigate(ui: &Ui, response: &Response, plot: Rect, view: &mut View, most: f32) {
    if let Some(at) = response.hover_pos() {
        let zoom = ui.input(|input| input.zoom_delta());
        if zoom != 1.0 {
            let share = (at - plot.min) / plot.size();
            view.zoom_at(share.to_pos2(), zoom, most);
        }
    }
    if response.dragged() {
        view.corner -= response.drag_delta() / plot.width() / view.zoom;
        ui.ctx().set_cursor_icon(CursorIcon::Grabbing);
    } else if response.hovered() && view.zoom > 1.0 {
        ui.ctx().set_cursor_icon(CursorIcon::Grab);
    }
}

impl View {
    const WHOLE: View = View { zoom: 1.0, corner: Pos2::ZERO };

    /// Zooms by `factor`, up to `most`, such that what lies at `at`, in shares of the window, stays
    /// there.
    fn zoom_at(&mut self, at: Pos2, factor: f32, most: f32) {
        let zoom = (self.zoom * factor).clamp(1.0, most);
        self.corner += at.to_vec2() * (1.0 / self.zoom - 1.0 / zoom);
        self.zoom = zoom;
        self.settle();
    }

    /// Keeps the window inside of the matrix.
    fn settle(&mut self) {
        let most = 1.0 - 1.0 / self.zoom;
        self.corner = pos2(self.corner.x.clamp(0.0, most), self.corner.y.clamp(0.0, most));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zooming_keeps_what_is_under_the_pointer_there() {
        let mut view = View { zoom: 2.0, corner: pos2(0.3, 0.2) };
        let at = pos2(0.25, 0.5);
        let seen = |view: &View| view.corner + at.to_vec2() / view.zoom;
        let before = seen(&view);
        view.zoom_at(at, 1.5, MOST_ZOOM);
        assert!(before.distance(seen(&view)) < 1e-5);
        assert_eq!(view.zoom, 3.0);
    }

    #[test]
    fn the_window_stays_inside_of_the_matrix() {
        let mut view = View::WHOLE;
        view.zoom_at(pos2(1.0, 1.0), 4.0, MOST_ZOOM);
        assert_eq!(view.corner, pos2(0.75, 0.75));
        view.zoom_at(pos2(0.0, 0.0), 0.01, MOST_ZOOM);
        assert!(view == View::WHOLE);
        view.zoom_at(pos2(0.5, 0.5), 1e9, MOST_ZOOM);
        assert_eq!(view.zoom, MOST_ZOOM);
        assert_eq!((most_zoom(100), most_zoom(8142)), (MOST_ZOOM, 2035.5));
    }
}
