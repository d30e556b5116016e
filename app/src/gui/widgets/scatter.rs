//! Accuracy of every class against its training samples.

use egui::{Align2, Pos2, Rect, Response, Role, Sense, Stroke, Ui, WidgetInfo, pos2, vec2};

use super::super::theme::{self, space};
use super::chart::{self, LINE, Mark, Pen, Scale, ValueAxis};
use super::labels::ClassLabel;
use super::{numbers, scatter_columns};

/// Classes that have a dot each, at most.
const MOST_DOTS: usize = 1000;
/// How far from a dot the pointer may be, in points.
const REACH: f32 = 14.0;

/// One class.
#[derive(Clone, Copy, Debug)]
pub struct ScatterPoint<'a> {
    /// The class.
    pub class: ClassLabel<'a>,
    /// Its accuracy, a share of one.
    pub accuracy: f64,
    /// Its accuracy before balancing.
    pub before: Option<f64>,
}

/// Dots for classes, by the logarithm of their training samples.
pub struct Scatter<'a> {
    points: &'a [ScatterPoint<'a>],
    height: f32,
}

/// What is under the pointer. Classes are places in the slice that was shown.
pub struct ScatterResponse {
    /// Of the whole chart.
    pub response: Response,
    /// The class nearest to the pointer.
    pub hovered: Option<usize>,
    /// The class that was clicked.
    pub clicked: Option<usize>,
}

impl<'a> Scatter<'a> {
    /// Dots for `points`, 280 points high.
    pub fn new(points: &'a [ScatterPoint<'a>]) -> Self {
        Self { points, height: 280.0 }
    }

    /// Height of the whole chart, in points.
    pub fn height(mut self, height: f32) -> Self {
        self.height = height;
        self
    }

    /// Whether each of so many classes has a dot. Of more, those of about the same count are one
    /// column: their mean, and the range of eight in ten.
    pub fn has_dots(classes: usize) -> bool {
        classes <= MOST_DOTS
    }

    /// Draws the chart.
    pub fn show(self, ui: &mut Ui) -> ScatterResponse {
        if self.points.is_empty() {
            let response =
                chart::empty_hint(ui, self.height, "Accuracy by class count", "No results yet");
            return ScatterResponse { response, hovered: None, clicked: None };
        }
        let response = chart::allocate(ui, self.height, Sense::CLICK);
        response.widget_info(|| {
            let text = format!("Accuracy by class count, {} classes", self.points.len());
            WidgetInfo::labeled(Role::Image, ui.is_enabled(), text)
        });
        let pen = Pen::new(ui, response.rect);
        let outer = response.rect;
        let (bottom, top) = (outer.bottom() - 2.0 * LINE - 4.0, outer.top() + LINE + 8.0);
        let axis = ValueAxis::new(&pen, Scale::linear(0.0, 1.0, bottom, top), |value, step| {
            format!("{} %", numbers::tick(100.0 * value, 100.0 * step))
        });
        let plot = axis.plot(Rect::from_min_max(outer.min, outer.max - vec2(space::MEDIUM, 0.0)));
        // A class without training samples stands where a class of one does: the logarithm knows no
        // zero.
        let counts = || self.points.iter().map(|point| point.class.count.max(1) as f64);
        let (least, most) = (counts().fold(f64::INFINITY, f64::min), counts().fold(1.0, f64::max));
        let margin = (most / least).powf(0.03).max(1.15);
        let x = Scale::log(least / margin, most * margin, plot.left(), plot.right());
        let place = |point: &ScatterPoint, accuracy: f64| {
            pos2(x.place(point.class.count.max(1) as f64), axis.scale.place(accuracy))
        };
        let columns = match Self::has_dots(self.points.len()) {
            true => Vec::new(),
            false => scatter_columns::columns(self.points, plot.left(), |point| {
                place(point, point.accuracy).x
            }),
        };
        let pointer = response.hover_pos();
        let hovered = pointer.filter(|_| columns.is_empty()).and_then(|at| self.nearest(at, place));

        if ui.is_rect_visible(outer) {
            pen.label(outer.left_top(), Align2::LEFT_TOP, "accuracy");
            if self.points.iter().any(|point| point.before.is_some()) {
                let groups =
                    counterweight_core::eval::Group::ALL.map(|group| pen.tokens.group(group));
                let at = pos2(plot.right(), outer.top() + LINE / 2.0 - 2.0);
                let before = match columns.is_empty() {
                    true => Mark::Ring(pen.tokens.before),
                    false => Mark::Line(pen.tokens.text_weak),
                };
                pen.legend(at, &[(before, "before"), (Mark::Groups(groups), "after")]);
            }
            axis.paint(&pen, plot);
            chart::number_axis(&pen, plot, &x, "training images of the class", false, true);
            pen.painter.hline(plot.x_range(), plot.bottom(), Stroke::new(1.0, pen.tokens.before));
            match columns.is_empty() {
                true => self.paint(&pen, hovered, place),
                false => columns.iter().for_each(|column| column.paint(&pen, &axis.scale)),
            }
        }
        if let Some(column) =
            pointer.and_then(|at| columns.iter().find(|column| column.is_at(at.x)))
        {
            column.tip(ui, &response);
        }
        if let Some(class) = hovered {
            self.tip(ui, &response, class);
        }
        let clicked = hovered.filter(|_| response.clicked());
        ScatterResponse { response, hovered, clicked }
    }

    fn nearest(&self, at: Pos2, place: impl Fn(&ScatterPoint, f64) -> Pos2) -> Option<usize> {
        let distances =
            self.points.iter().map(|point| place(point, point.accuracy).distance(at)).enumerate();
        distances
            .min_by(|a, b| a.1.total_cmp(&b.1))
            .filter(|(_, distance)| *distance <= REACH)
            .map(|(class, _)| class)
    }

    fn paint(&self, pen: &Pen, hovered: Option<usize>, place: impl Fn(&ScatterPoint, f64) -> Pos2) {
        let radius = if self.points.len() > 400 { 3.0 } else { 4.0 };
        for point in self.points {
            if let Some(before) = point.before {
                let (from, to) = (place(point, before), place(point, point.accuracy));
                let color = pen.tokens.before;
                pen.painter.line_segment([from, to], Stroke::new(1.0, color.gamma_multiply(0.6)));
                pen.painter.circle(from, radius - 0.5, pen.tokens.surface, Stroke::new(1.0, color));
            }
        }
        for point in self.points {
            let color = pen.tokens.group(point.class.group).gamma_multiply(0.85);
            pen.painter.circle_filled(place(point, point.accuracy), radius, color);
        }
        if let Some(point) = hovered.map(|class| &self.points[class]) {
            let stroke = Stroke::new(2.0, pen.tokens.text);
            pen.painter.circle(
                place(point, point.accuracy),
                radius + 2.0,
                pen.tokens.group(point.class.group),
                stroke,
            );
        }
    }

    fn tip(&self, ui: &Ui, response: &Response, class: usize) {
        let point = &self.points[class];
        let tokens = theme::tokens(ui.visuals());
        chart::tooltip(response, |ui| {
            chart::tip_title(ui, Some(tokens.group(point.class.group)), point.class.name);
            let mut rows = vec![(None, "accuracy", numbers::percent(Some(point.accuracy)))];
            if let Some(before) = point.before {
                rows.push((None, "before", numbers::percent(Some(before))));
                rows.push((None, "change", numbers::points(point.accuracy - before)));
            }
            rows.push((None, "training images", numbers::grouped(point.class.count)));
            rows.push((None, "group", point.class.group.to_string()));
            chart::tip_rows(ui, &rows);
        });
    }
}
