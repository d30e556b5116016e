//! Curves over epochs or any other number.

use egui::{
    Align2, Color32, CornerRadius, IdSalt, Pos2, Rect, Response, RichText, Role, Sense, Stroke, Ui,
    WidgetInfo, pos2, vec2,
};

use super::super::theme::{self, space};
use super::chart::{self, LINE, Pen, Scale, ValueAxis};
use super::numbers;

/// One curve.
#[derive(Clone, Copy, Debug)]
pub struct Series<'a> {
    /// Its name in the legend.
    pub name: &'a str,
    /// Its colour.
    pub color: Color32,
    /// Pairs of x and y, by rising x; a y that is not finite leaves a gap.
    pub points: &'a [[f64; 2]],
    /// Whether the line is dashed.
    pub dashed: bool,
}

/// Curves with a legend that shows and hides them.
pub struct LineChart<'a> {
    id: IdSalt,
    title: &'a str,
    series: Vec<Series<'a>>,
    x_label: &'a str,
    percent: bool,
    x_log: bool,
    log: bool,
    from_zero: bool,
    cut_spikes: bool,
    height: f32,
    empty: &'a str,
}

/// Where values lie on the screen.
struct View {
    plot: Rect,
    x: Scale,
    y: Scale,
}

impl<'a> LineChart<'a> {
    /// A chart named after what its curves measure, with the unit where there is one, such as
    /// `loss` or `learning rate`.
    pub fn new(id: impl egui::AsIdSalt, title_unit: &'a str) -> Self {
        Self {
            id: IdSalt::new(id),
            title: title_unit,
            series: Vec::new(),
            x_label: "epoch",
            percent: false,
            x_log: false,
            log: false,
            from_zero: false,
            cut_spikes: false,
            height: 220.0,
            empty: "Nothing to show yet",
        }
    }

    /// Adds a curve.
    pub fn series(mut self, series: Series<'a>) -> Self {
        self.series.push(series);
        self
    }

    /// What runs along the horizontal axis.
    pub fn x_label(mut self, label: &'a str) -> Self {
        self.x_label = label;
        self
    }

    /// Whether the horizontal axis is logarithmic; all x must be above 0 then.
    pub fn x_log(mut self, log: bool) -> Self {
        self.x_log = log;
        self
    }

    /// Whether values are shares of one, to be shown as percentages.
    pub fn y_percent(mut self, percent: bool) -> Self {
        self.percent = percent;
        self
    }

    /// Whether values are shown by their logarithm; those that are not above 0 leave gaps.
    pub fn y_log(mut self, log: bool) -> Self {
        self.log = log;
        self
    }

    /// Whether the axis begins at 0 rather than near the smallest value.
    pub fn y_from_zero(mut self, from_zero: bool) -> Self {
        self.from_zero = from_zero;
        self
    }

    /// Whether a few values far above all others may run out of the chart, which says so, rather
    /// than flattening the rest.
    pub fn cut_spikes(mut self, cut_spikes: bool) -> Self {
        self.cut_spikes = cut_spikes;
        self
    }

    /// Height of the whole chart with its legend, in points.
    pub fn height(mut self, height: f32) -> Self {
        self.height = height;
        self
    }

    /// What is said while there are no points.
    pub fn empty_text(mut self, text: &'a str) -> Self {
        self.empty = text;
        self
    }

    /// Draws the chart and gives back the response of its plot.
    pub fn show(self, ui: &mut Ui) -> Response {
        let visible = |value: f64| value.is_finite() && (!self.log || value > 0.0);
        if !self.series.iter().any(|series| series.points.iter().any(|point| visible(point[1]))) {
            return chart::empty_hint(ui, self.height, self.title, self.empty);
        }
        let id = ui.make_persistent_id(self.id);
        let mut hidden: u64 = ui.data(|data| data.get_temp(id)).unwrap_or(0);
        let top = ui.cursor().top();
        if self.series.len() > 1 {
            self.legend(ui, &mut hidden);
            ui.data_mut(|data| data.insert_temp(id, hidden));
        }
        let legend_height = ui.cursor().top() - top;
        let response =
            chart::allocate(ui, (self.height - legend_height).max(100.0), Sense::hover());
        response.widget_info(|| WidgetInfo::labeled(Role::Image, ui.is_enabled(), self.spoken()));
        if !ui.is_rect_visible(response.rect) {
            return response;
        }
        let shown: Vec<&Series> = self
            .series
            .iter()
            .enumerate()
            .filter(|(i, _)| hidden & bit(*i) == 0)
            .map(|(_, series)| series)
            .collect();
        let pen = Pen::new(ui, response.rect);
        let Some((x_range, mut y_range)) = self.ranges(&shown) else {
            pen.label(response.rect.center(), Align2::CENTER_CENTER, "Every curve is hidden");
            return response;
        };
        if let Some(high) = self.cut_spikes.then(|| without_spikes(&shown, y_range.1)).flatten() {
            let words = format!("beyond the top: up to {}", numbers::value(y_range.1));
            pen.label(response.rect.right_top(), Align2::RIGHT_TOP, &words);
            y_range.1 = high;
        }
        let axis = self.y_axis(&pen, response.rect, y_range);
        let plot = axis.plot(Rect::from_min_max(
            response.rect.min,
            response.rect.max - vec2(space::MEDIUM, 0.0),
        ));
        let x_scale = match self.x_log {
            true => Scale::log(x_range.0, x_range.1, plot.left(), plot.right()),
            false => Scale::linear(x_range.0, x_range.1, plot.left(), plot.right()),
        };
        pen.label(response.rect.left_top(), Align2::LEFT_TOP, self.title);
        axis.paint(&pen, plot);
        pen.painter.hline(plot.x_range(), plot.bottom(), Stroke::new(1.0, pen.tokens.before));
        chart::number_axis(&pen, plot, &x_scale, self.x_label, !self.x_log, false);
        let clipped = Pen {
            painter: pen.painter.with_clip_rect(plot.expand(4.0)),
            ..Pen::new(ui, response.rect)
        };
        for series in &shown {
            paint_series(&clipped, series, &x_scale, &axis.scale, self.log);
        }
        if let Some(at) =
            response.hover_pos().filter(|at| plot.x_range().expand(space::MEDIUM).contains(at.x))
        {
            self.hover(&pen, &response, &shown, at, &View { plot, x: x_scale, y: axis.scale });
        }
        response
    }

    fn spoken(&self) -> String {
        let names: Vec<&str> = self.series.iter().map(|series| series.name).collect();
        let points = self.series.iter().map(|series| series.points.len()).max().unwrap_or(0);
        format!("{} by {}: {}, {points} points", self.title, self.x_label, names.join(", "))
    }

    fn legend(&self, ui: &mut Ui, hidden: &mut u64) {
        let tokens = theme::tokens(ui.visuals());
        ui.horizontal_wrapped(|ui| {
            ui.spacing_mut().item_spacing = vec2(space::SMALL, space::SMALL);
            for (i, series) in self.series.iter().enumerate() {
                let on = *hidden & bit(i) == 0;
                let color = if on { tokens.text } else { tokens.text_weak };
                let text = RichText::new(series.name).small().color(color);
                let galley = egui::WidgetText::from(text).into_galley(
                    ui,
                    None,
                    f32::INFINITY,
                    egui::TextStyle::Small,
                );
                let size = vec2(galley.size().x + 38.0, galley.size().y.max(14.0) + 8.0);
                let (rect, response) = ui.allocate_exact_size(size, Sense::click());
                response.widget_info(|| {
                    WidgetInfo::selected(Role::CheckBox, ui.is_enabled(), on, series.name)
                });
                if response.clicked() {
                    *hidden ^= bit(i);
                }
                if response.hovered() || response.has_focus() {
                    ui.painter().rect_filled(rect, CornerRadius::same(6), tokens.sunken);
                }
                let line = [
                    pos2(rect.left() + 8.0, rect.center().y),
                    pos2(rect.left() + 24.0, rect.center().y),
                ];
                let stroke = Stroke::new(2.0, if on { series.color } else { tokens.border });
                if series.dashed {
                    ui.painter().extend(egui::Shape::dashed_line(&line, stroke, 4.0, 2.0));
                } else {
                    ui.painter().line_segment(line, stroke);
                }
                let at = pos2(rect.left() + 30.0, rect.center().y - galley.size().y / 2.0);
                if !on {
                    let y = rect.center().y;
                    ui.painter().hline(
                        at.x..=at.x + galley.size().x,
                        y,
                        Stroke::new(1.0, tokens.text_weak),
                    );
                }
                ui.painter().galley(at, galley, color);
                response.on_hover_text(if on { "Hide this curve" } else { "Show this curve" });
            }
        });
    }

    /// Ranges of x and y over all shown points.
    fn ranges(&self, shown: &[&Series]) -> Option<((f64, f64), (f64, f64))> {
        let (mut x, mut y) =
            ((f64::INFINITY, f64::NEG_INFINITY), (f64::INFINITY, f64::NEG_INFINITY));
        for &[px, py] in shown.iter().flat_map(|series| series.points) {
            if px.is_finite() && py.is_finite() && (!self.log || py > 0.0) {
                x = (x.0.min(px), x.1.max(px));
                y = (y.0.min(py), y.1.max(py));
            }
        }
        if x.0 > x.1 {
            return None;
        }
        if x.0 == x.1 {
            x = if self.x_log { (x.0 / 2.0, x.1 * 2.0) } else { (x.0 - 1.0, x.1 + 1.0) };
        }
        Some((x, y))
    }

    fn y_axis(&self, pen: &Pen, rect: Rect, (low, high): (f64, f64)) -> ValueAxis {
        let (bottom, top) = (rect.bottom() - 2.0 * LINE - 4.0, rect.top() + LINE + 8.0);
        let scale = if self.log {
            let margin = (high / low).powf(0.05).max(1.1);
            Scale::log(low / margin, high * margin, bottom, top)
        } else {
            let margin = if high > low { (high - low) * 0.06 } else { high.abs().max(0.1) * 0.1 };
            // Values that come near to 0 are read against it.
            let low = if self.from_zero || (low >= 0.0 && low < 0.35 * high) {
                low.min(0.0)
            } else {
                low - margin
            };
            let high =
                if self.percent && high <= 1.0 { (high + margin).min(1.0) } else { high + margin };
            Scale::linear(low, high, bottom, top)
        };
        let percent = self.percent;
        let format = move |value: f64, step: f64| {
            if percent {
                format!("{} %", numbers::tick(100.0 * value, 100.0 * step))
            } else {
                numbers::tick(value, step)
            }
        };
        ValueAxis::new(pen, scale, format)
    }

    /// A line at the nearest x, a dot on every curve there, and their values.
    fn hover(&self, pen: &Pen, response: &Response, shown: &[&Series], at: Pos2, view: &View) {
        let x = view.x.value(at.x);
        let nearest = shown
            .iter()
            .filter_map(|series| nearest(series.points, x))
            .min_by(|a, b| (a[0] - x).abs().total_cmp(&(b[0] - x).abs()));
        let Some([x, _]) = nearest else { return };
        let across = view.x.place(x);
        pen.painter.vline(across, view.plot.y_range(), Stroke::new(1.0, pen.tokens.before));
        let mut rows = Vec::with_capacity(shown.len());
        for series in shown {
            if let Some([_, y]) = nearest_at(series.points, x) {
                let text = if self.percent { numbers::percent(Some(y)) } else { numbers::value(y) };
                rows.push((Some(series.color), series.name, text));
                if y.is_finite() {
                    let at = pos2(across, view.y.place(y));
                    pen.painter.circle(at, 4.0, series.color, Stroke::new(1.5, pen.tokens.surface));
                }
            }
        }
        chart::tooltip(response, |ui| {
            let x = if x.fract() == 0.0 { numbers::count(x) } else { numbers::value(x) };
            chart::tip_title(ui, None, &format!("{} {x}", self.x_label));
            chart::tip_rows(ui, &rows);
        });
    }
}

/// Where the axis ends if the values that tower above nine tenths of all are left out; `None` if
/// none do.
fn without_spikes(shown: &[&Series], highest: f64) -> Option<f64> {
    /// So many times as high as the rest is a spike.
    const SPIKE: f64 = 4.0;
    let values = shown.iter().flat_map(|series| series.points).map(|point| point[1]);
    let mut values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    let usual = *values.get(values.len().saturating_sub(1) * 9 / 10)?;
    (values.len() >= 10 && usual > 0.0 && highest > SPIKE * usual).then_some(1.5 * usual)
}

/// The bit that hides a series; those past the 64th cannot be hidden.
fn bit(series: usize) -> u64 {
    1u64.checked_shl(series as u32).unwrap_or(0)
}

fn nearest(points: &[[f64; 2]], x: f64) -> Option<[f64; 2]> {
    let after = points.partition_point(|point| point[0] < x);
    let candidates =
        [after.checked_sub(1), Some(after)].into_iter().flatten().filter_map(|i| points.get(i));
    candidates.min_by(|a, b| (a[0] - x).abs().total_cmp(&(b[0] - x).abs())).copied()
}

/// The point at exactly `x`.
fn nearest_at(points: &[[f64; 2]], x: f64) -> Option<[f64; 2]> {
    nearest(points, x).filter(|point| (point[0] - x).abs() <= 1e-9 * x.abs().max(1.0))
}

fn paint_series(pen: &Pen, series: &Series, x: &Scale, y: &Scale, log: bool) {
    let stroke = Stroke::new(1.75, series.color);
    for run in series
        .points
        .split(|point| !point[0].is_finite() || !point[1].is_finite() || (log && point[1] <= 0.0))
    {
        match run {
            [] => {}
            [point] => {
                _ = pen.painter.circle_filled(
                    pos2(x.place(point[0]), y.place(point[1])),
                    3.0,
                    series.color,
                )
            }
            _ => {
                let path =
                    thinned(run.iter().map(|point| pos2(x.place(point[0]), y.place(point[1]))));
                if series.dashed {
                    pen.dashed(&path, stroke)
                } else {
                    _ = pen.painter.line(path, stroke)
                }
            }
        }
    }
}

/// A path with at most four points a column of pixels, the first, the lowest, the highest and the
/// last there, which looks the same.
fn thinned(points: impl ExactSizeIterator<Item = Pos2>) -> Vec<Pos2> {
    if points.len() < 2000 {
        return points.collect();
    }
    let mut path: Vec<Pos2> = Vec::new();
    let mut column: Vec<Pos2> = Vec::new();
    let flush = |column: &mut Vec<Pos2>, path: &mut Vec<Pos2>| {
        if column.len() <= 4 {
            path.append(column);
            return;
        }
        let index = |order: std::cmp::Ordering| {
            let pick = |a: &usize, b: &usize| column[*a].y.total_cmp(&column[*b].y);
            let range = 0..column.len();
            if order.is_lt() { range.min_by(pick) } else { range.max_by(pick) }.unwrap_or(0)
        };
        let mut keep = [
            0,
            index(std::cmp::Ordering::Less),
            index(std::cmp::Ordering::Greater),
            column.len() - 1,
        ];
        keep.sort_unstable();
        path.extend(keep.map(|i| column[i]));
        column.clear();
    };
    for point in points {
        if column.first().is_some_and(|first| first.x.floor() != point.x.floor()) {
            flush(&mut column, &mut path);
        }
        column.push(point);
    }
    flush(&mut column, &mut path);
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_point_is_found_at_either_side() {
        let points = [[0.0, 5.0], [1.0, 6.0], [3.0, 7.0]];
        assert_eq!(
            [-1.0, 0.4, 0.6, 2.1, 9.0].map(|x| nearest(&points, x).unwrap()[0]),
            [0.0, 0.0, 1.0, 3.0, 3.0]
        );
        assert_eq!(nearest(&[], 1.0), None);
        assert_eq!(nearest_at(&points, 2.0), None);
    }

    #[test]
    fn thinning_keeps_the_extremes_of_every_column() {
        let points: Vec<Pos2> = (0..10_000)
            .map(|i| pos2(i as f32 / 100.0, if i == 5_050 { 999.0 } else { (i % 7) as f32 }))
            .collect();
        let path = thinned(points.iter().copied());
        assert!(path.len() <= 400, "{}", path.len());
        assert!(path.contains(&points[5_050]));
        assert_eq!(path.last(), points.last());
        assert!(path.windows(2).all(|pair| pair[0].x <= pair[1].x));
    }
}
