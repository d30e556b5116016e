//! What the charts share: scales, axes, tooltips, legends and the hint that stands in for missing
//! data.

use std::borrow::Cow;
use std::sync::Arc;

use egui::epaint::TextShape;
use egui::text::{LayoutJob, TextWrapping};
use egui::{
    Align2, Color32, CornerRadius, FontId, Galley, Painter, Pos2, Rangef, Rect, Response, Role,
    Sense, Shape, Stroke, TextStyle, Tooltip, Ui,
};
use egui::{WidgetInfo, pos2, vec2};

use super::super::theme::{self, Tokens, space};
use super::numbers;

/// Height of a line of small text above or below a plot.
pub(super) const LINE: f32 = 18.0;

/// Between an axis and its labels.
const LABEL_GAP: f32 = 6.0;

/// What a chart draws with.
pub(super) struct Pen {
    pub painter: Painter,
    pub tokens: &'static Tokens,
    pub font: FontId,
}

impl Pen {
    pub(super) fn new(ui: &Ui, rect: Rect) -> Self {
        let font = TextStyle::Small.resolve(ui.style());
        Self { painter: ui.painter_at(rect.expand(1.0)), tokens: theme::tokens(ui.visuals()), font }
    }

    /// Small text that explains.
    pub(super) fn label(&self, at: Pos2, anchor: Align2, text: impl Into<String>) -> Rect {
        self.painter.text(at, anchor, text.into(), self.font.clone(), self.tokens.text_weak)
    }

    pub(super) fn galley(&self, text: impl Into<String>) -> Arc<Galley> {
        self.painter.layout_no_wrap(text.into(), self.font.clone(), self.tokens.text_weak)
    }

    /// Small text that ends in an ellipsis where it would be wider than `width`.
    pub(super) fn elided(&self, text: &str, width: f32) -> Arc<Galley> {
        let mut job =
            LayoutJob::simple_singleline(text.to_owned(), self.font.clone(), self.tokens.text_weak);
        job.wrap = TextWrapping::truncate_at_width(width);
        self.painter.layout_job(job)
    }

    /// Small text read from below to above that ends at `top_center`, cut off where it is longer
    /// than `longest`.
    pub(super) fn upright(&self, top_center: Pos2, text: &str, longest: f32) {
        let galley = self.elided(text, longest);
        let size = galley.size();
        let at = pos2(top_center.x - size.y / 2.0, top_center.y + size.x);
        self.painter.add(
            TextShape::new(at, galley, self.tokens.text_weak)
                .with_angle(-std::f32::consts::FRAC_PI_2),
        );
    }

    /// A line of the grid, as quiet as possible.
    pub(super) fn grid(&self, x: impl Into<Rangef>, y: f32) {
        self.painter.hline(x, y, Stroke::new(1.0, self.tokens.border.gamma_multiply(0.6)));
    }

    pub(super) fn dashed(&self, path: &[Pos2], stroke: Stroke) {
        self.painter.extend(Shape::dashed_line(path, stroke, 5.0, 4.0));
    }

    /// Marks with their names, from the right edge to the left.
    pub(super) fn legend(&self, right_center: Pos2, entries: &[(Mark, &str)]) {
        let mut right = right_center.x;
        for (mark, name) in entries.iter().rev() {
            let text = self.label(pos2(right, right_center.y), Align2::RIGHT_CENTER, *name);
            let swatch =
                Rect::from_center_size(pos2(text.left() - 10.0, right_center.y), vec2(10.0, 10.0));
            mark.paint(&self.painter, swatch);
            right = swatch.left() - space::LARGE;
        }
    }
}

/// How a legend shows a series.
#[derive(Clone, Copy)]
pub(super) enum Mark {
    /// Bars of one colour.
    Fill(Color32),
    /// Bars in the colours of the groups.
    Groups([Color32; 3]),
    /// An outline.
    Outline(Color32),
    /// A line.
    Line(Color32),
    /// A hollow dot.
    Ring(Color32),
}

impl Mark {
    fn paint(self, painter: &Painter, rect: Rect) {
        match self {
            Mark::Fill(color) => _ = painter.rect_filled(rect, 2.0, color),
            Mark::Groups(colors) => {
                let width = rect.width() / 3.0;
                for (i, color) in colors.into_iter().enumerate() {
                    let left = rect.left() + width * i as f32;
                    painter.rect_filled(
                        Rect::from_x_y_ranges(left..=left + width, rect.y_range()),
                        0.0,
                        color,
                    );
                }
            }
            Mark::Outline(color) => {
                _ = painter.rect_stroke(
                    rect,
                    2.0,
                    Stroke::new(1.0, color),
                    egui::StrokeKind::Inside,
                )
            }
            Mark::Line(color) => {
                _ = painter.hline(rect.x_range(), rect.center().y, Stroke::new(2.0, color))
            }
            Mark::Ring(color) => {
                _ = painter.circle_stroke(rect.center(), 4.0, Stroke::new(1.5, color))
            }
        }
    }
}

/// Maps values to points along one axis of the screen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    log: bool,
    start: f32,
    end: f32,
}

impl Scale {
    /// `low` lies at `start` and `high` at `end`.
    pub(super) fn linear(low: f64, high: f64, start: f32, end: f32) -> Self {
        let high = if high > low { high } else { low + 1.0 };
        Self { low, high, log: false, start, end }
    }

    /// As [`Scale::linear`], by the logarithm; both ends are above 0.
    pub(super) fn log(low: f64, high: f64, start: f32, end: f32) -> Self {
        let low = if low > 0.0 { low } else { f64::MIN_POSITIVE };
        let high = if high > low { high } else { low * 10.0 };
        Self { low, high, log: true, start, end }
    }

    pub(super) fn high(&self) -> f64 {
        self.high
    }

    /// Where `value` lies; values outside of the scale lie at its ends.
    pub(super) fn place(&self, value: f64) -> f32 {
        let share = if self.log {
            if value <= self.low {
                0.0
            } else {
                (value / self.low).ln() / (self.high / self.low).ln()
            }
        } else {
            (value - self.low) / (self.high - self.low)
        };
        if share.is_nan() {
            self.start
        } else {
            self.start + (self.end - self.start) * share.clamp(0.0, 1.0) as f32
        }
    }

    /// The value at a point, within the scale.
    pub(super) fn value(&self, at: f32) -> f64 {
        let span = self.end - self.start;
        let share =
            if span == 0.0 { 0.0 } else { f64::from((at - self.start) / span).clamp(0.0, 1.0) };
        if self.log {
            self.low * (self.high / self.low).powf(share)
        } else {
            self.low + (self.high - self.low) * share
        }
    }

    /// Round values at even distances, about `most` of them and two where there are any, and the
    /// distance between neighbours: one alone says where a value is, and nothing of how far apart
    /// two are.
    pub(super) fn ticks(&self, most: usize) -> (Vec<f64>, f64) {
        let most = most.max(2);
        if self.log { (self.log_ticks(most), 0.0) } else { self.linear_ticks(most) }
    }

    fn linear_ticks(&self, most: usize) -> (Vec<f64>, f64) {
        let rough = (self.high - self.low) / most as f64;
        let power = 10f64.powf(rough.log10().floor());
        let steps = [10.0, 5.0, 2.0, 1.0, 0.5, 0.2, 0.1].map(|m| m * power);
        let widest = steps.iter().rposition(|&step| step >= rough * 0.999).unwrap_or(0);
        let ends = |step: f64| {
            let first = (self.low / step - 1e-9).ceil() as i64;
            (first, (self.high / step + 1e-9).floor() as i64)
        };
        let two = |&&step: &&f64| ends(step).1 > ends(step).0;
        let step = steps[widest..].iter().find(two).copied().unwrap_or(steps[widest]);
        let (first, last) = ends(step);
        ((first..=last).map(|i| i as f64 * step).collect(), step)
    }

    fn log_ticks(&self, most: usize) -> Vec<f64> {
        let first = (self.low.log10() + 1e-9).floor() as i32;
        let last = (self.high.log10() + 1e-9).floor() as i32;
        let decades = (self.high / self.low).log10();
        let every = (decades / most as f64).round().max(1.0) as i32;
        let of = |multiples: &[f64]| -> Vec<f64> {
            (first..=last)
                .filter(|power| power.rem_euclid(every) == 0)
                .flat_map(|power| multiples.iter().map(move |m| m * 10f64.powi(power)))
                .filter(|&value| value >= self.low * 0.999 && value <= self.high * 1.001)
                .collect()
        };
        let fine: [&[f64]; 3] =
            [&[1.0], &[1.0, 2.0, 5.0], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]];
        let coarsest = usize::from(2.5 * decades <= most as f64);
        fine[coarsest..]
            .iter()
            .map(|multiples| of(multiples))
            .find(|ticks| ticks.len() >= 2)
            .unwrap_or_else(|| self.linear_ticks(most).0)
    }
}

/// The vertical axis: labels in a gutter to the left of the plot, and lines across it.
pub(super) struct ValueAxis {
    pub scale: Scale,
    ticks: Vec<(f64, Arc<Galley>)>,
    width: f32,
}

impl ValueAxis {
    /// `format` gives the label of a tick, given the value and the distance between ticks.
    pub(super) fn new(pen: &Pen, scale: Scale, format: impl Fn(f64, f64) -> String) -> Self {
        let (values, step) = scale.ticks(((scale.start - scale.end).abs() / 36.0) as usize);
        let ticks: Vec<_> = values
            .into_iter()
            .map(|value| (value, pen.galley(format(value, if step > 0.0 { step } else { value }))))
            .collect();
        let width = ticks.iter().map(|(_, label)| label.size().x).fold(0.0, f32::max);
        Self { scale, ticks, width }
    }

    /// The part of `outer` that lies right of the labels.
    pub(super) fn plot(&self, outer: Rect) -> Rect {
        let left = (outer.left() + self.width + LABEL_GAP).round();
        Rect::from_x_y_ranges(
            left..=outer.right().max(left + 1.0),
            self.scale.end..=self.scale.start,
        )
    }

    pub(super) fn paint(&self, pen: &Pen, plot: Rect) {
        for (value, label) in &self.ticks {
            let y = self.scale.place(*value);
            pen.grid(plot.x_range(), y);
            let size = label.size();
            pen.painter.galley(
                pos2(plot.left() - LABEL_GAP - size.x, y - size.y / 2.0),
                label.clone(),
                pen.tokens.text_weak,
            );
        }
    }
}

/// Ticks of a horizontal axis of numbers, below the plot, with the axis's name under the labels.
pub(super) fn number_axis(
    pen: &Pen,
    plot: Rect,
    scale: &Scale,
    name: &str,
    whole: bool,
    vertical_lines: bool,
) {
    let (mut values, mut step) = scale.ticks((plot.width() / 60.0) as usize);
    if whole && step > 0.0 && step < 1.0 {
        step = 1.0;
        values.retain(|value| value.fract().abs() < 1e-9);
    }
    let mut free_from = f32::NEG_INFINITY;
    for value in values {
        let x = scale.place(value);
        if vertical_lines {
            pen.painter.vline(
                x,
                plot.y_range(),
                Stroke::new(1.0, pen.tokens.border.gamma_multiply(0.6)),
            );
        }
        let label = pen.galley(numbers::tick(value, if step > 0.0 { step } else { value }));
        let left = (x - label.size().x / 2.0).min(plot.right() + space::MEDIUM - label.size().x);
        if left >= free_from {
            free_from = left + label.size().x + space::MEDIUM;
            pen.painter.galley(pos2(left, plot.bottom() + 4.0), label, pen.tokens.text_weak);
        }
    }
    pen.label(pos2(plot.center().x, plot.bottom() + LINE + 2.0), Align2::CENTER_TOP, name);
}

/// Equal slots side by side, one for every class.
#[derive(Clone, Copy)]
pub(super) struct Slots {
    pub plot: Rect,
    pub count: usize,
}

/// Slots from this width have the names of their classes below them.
const LEVEL_NAMES: f32 = 48.0;
/// Slots from this width have names that are read from below to above.
const UPRIGHT_NAMES: f32 = 15.0;
/// Where those are cut off.
const LONGEST_UPRIGHT: f32 = 72.0;

/// Room below a plot about `width` wide for what [`Slots::names`] writes there.
pub(super) fn names_height<'n>(
    pen: &Pen,
    width: f32,
    names: impl ExactSizeIterator<Item = &'n str>,
) -> f32 {
    let slot = width / names.len().max(1) as f32;
    if (UPRIGHT_NAMES..LEVEL_NAMES).contains(&slot) {
        let longest =
            names.map(|name| pen.elided(name, LONGEST_UPRIGHT).size().x).fold(0.0, f32::max);
        longest + 10.0
    } else {
        LINE + 4.0
    }
}

impl Slots {
    /// Width of one slot.
    pub(super) fn width(&self) -> f32 {
        self.plot.width() / self.count.max(1) as f32
    }

    /// Whether slots are too narrow for bars of their own.
    pub(super) fn dense(&self) -> bool {
        self.width() < 3.0
    }

    pub(super) fn left(&self, slot: usize) -> f32 {
        self.plot.left() + self.plot.width() * slot as f32 / self.count.max(1) as f32
    }

    pub(super) fn center(&self, slot: usize) -> f32 {
        self.left(slot) + self.width() / 2.0
    }

    /// The slot at a horizontal position.
    pub(super) fn at(&self, x: f32) -> Option<usize> {
        let share = (x - self.plot.left()) / self.plot.width();
        (self.count > 0 && (0.0..1.0).contains(&share))
            .then(|| ((share * self.count as f32) as usize).min(self.count - 1))
    }

    /// The whole height of the plot at one slot.
    pub(super) fn band(&self, slot: usize) -> Rect {
        let (left, right) = (self.left(slot), self.left(slot + 1));
        Rect::from_x_y_ranges(left..=right.max(left + 1.0), self.plot.y_range())
    }

    /// The bar of a slot: as many whole pixels wide as those of the others, with a gap to its
    /// neighbours.
    pub(super) fn bar(&self, slot: usize, share: f32, top: f32, bottom: f32) -> Rect {
        let width =
            ((self.width() * 0.8).min(self.width() - 1.0).min(72.0) * share).round().max(1.0);
        let left = (self.center(slot) - width / 2.0).round();
        Rect::from_x_y_ranges(left..=left + width, top.min(bottom)..=bottom)
    }

    /// The slots under every column of pixels, for plots with more classes than room for bars.
    pub(super) fn columns(&self) -> impl Iterator<Item = (Rangef, std::ops::Range<usize>)> {
        let (plot, count) = (self.plot, self.count);
        let columns = plot.width().floor().max(1.0) as usize;
        (0..columns).map(move |column| {
            let from = column * count / columns;
            let to = ((column + 1) * count / columns).max(from + 1).min(count);
            let left = plot.left() + column as f32;
            (Rangef::new(left, left + 1.0), from..to)
        })
    }

    /// The names of the classes where they fit, upright where they only fit so, or else their
    /// ranks; `name` gives the name in a slot.
    pub(super) fn names<'n>(&self, pen: &Pen, name: impl Fn(usize) -> &'n str, caption: &str) {
        let top = self.plot.bottom() + 4.0;
        if self.width() >= LEVEL_NAMES {
            for slot in 0..self.count {
                let galley = pen.elided(name(slot), self.width() - space::MEDIUM);
                pen.painter.galley(
                    pos2(self.center(slot) - galley.size().x / 2.0, top),
                    galley,
                    pen.tokens.text_weak,
                );
            }
            return;
        }
        if self.width() >= UPRIGHT_NAMES {
            for slot in 0..self.count {
                pen.upright(pos2(self.center(slot), top + 2.0), name(slot), LONGEST_UPRIGHT);
            }
            return;
        }
        let step = Scale::linear(0.0, self.count as f64, 0.0, 1.0)
            .ticks((self.plot.width() / 56.0) as usize)
            .1
            .max(1.0) as usize;
        // The caption keeps the right end to itself.
        let caption = pen.label(pos2(self.plot.right(), top), Align2::RIGHT_TOP, caption);
        for rank in std::iter::once(1).chain((step..=self.count).step_by(step)) {
            let galley = pen.galley(numbers::grouped(rank as u64));
            let left = (self.center(rank - 1) - galley.size().x / 2.0).max(self.plot.left());
            if left + galley.size().x + space::MEDIUM <= caption.left() {
                pen.painter.galley(pos2(left, top), galley, pen.tokens.text_weak);
            }
        }
    }
}

/// A bar is round at its top, where it is large enough for that to show.
pub(super) fn top_corners(bar: Rect) -> CornerRadius {
    let radius = if bar.width() >= 8.0 && bar.height() >= 4.0 { 3 } else { 0 };
    CornerRadius { nw: radius, ne: radius, sw: 0, se: 0 }
}

/// Allocates a chart as wide as there is room.
pub(super) fn allocate(ui: &mut Ui, height: f32, sense: Sense) -> Response {
    let width = ui.available_width().max(120.0);
    ui.allocate_response(vec2(width, height), sense)
}

/// One line of weak text in place of a chart without data.
pub(super) fn empty_hint(ui: &mut Ui, height: f32, name: &str, hint: &str) -> Response {
    let response = allocate(ui, height, Sense::hover());
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, format!("{name}: {hint}")));
    let tokens = theme::tokens(ui.visuals());
    let galley = ui.painter().layout(
        hint.to_owned(),
        TextStyle::Body.resolve(ui.style()),
        tokens.text_weak,
        response.rect.width(),
    );
    let at = response.rect.center() - galley.size() / 2.0;
    ui.painter().galley(at, galley, tokens.text_weak);
    response
}

/// A tooltip beside the pointer, there at once: reading a chart is not asking what a button does.
pub(super) fn tooltip(response: &Response, add_contents: impl FnOnce(&mut Ui)) {
    Tooltip::for_widget(response).at_pointer().gap(14.0).show(|ui| {
        ui.spacing_mut().item_spacing = vec2(space::MEDIUM, 2.0);
        // Rows of text, not of buttons.
        ui.spacing_mut().interact_size.y = LINE;
        add_contents(ui);
    });
}

/// The name at the top of a tooltip, with a dot in `color`.
pub(super) fn tip_title(ui: &mut Ui, color: Option<Color32>, name: &str) {
    ui.horizontal(|ui| {
        if let Some(color) = color {
            dot(ui, color);
        }
        ui.label(theme::strong(shortened(name)));
    });
}

/// Names and values of a tooltip, in two columns.
pub(super) fn tip_rows(ui: &mut Ui, rows: &[(Option<Color32>, &str, String)]) {
    egui::Grid::new("rows")
        .num_columns(2)
        .spacing(vec2(space::LARGE, 2.0))
        .min_row_height(LINE)
        .show(ui, |ui| {
            for (color, name, value) in rows {
                ui.horizontal(|ui| {
                    if let Some(color) = color {
                        dot(ui, *color);
                    }
                    ui.label(egui::RichText::new(*name).weak());
                });
                ui.label(shortened(value));
                ui.end_row();
            }
        });
}

/// A name, or as much of it as a tooltip should have.
fn shortened(name: &str) -> Cow<'_, str> {
    const MOST: usize = 60;
    match name.char_indices().nth(MOST) {
        Some((end, _)) => Cow::Owned(format!("{}…", &name[..end])),
        None => Cow::Borrowed(name),
    }
}

/// A small filled circle, on the line of the text beside it.
pub(super) fn dot(ui: &mut Ui, color: Color32) {
    let (rect, _) =
        ui.allocate_exact_size(vec2(10.0, ui.text_style_height(&TextStyle::Body)), Sense::hover());
    ui.painter().circle_filled(rect.center(), 4.5, color);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_and_its_inverse_agree() {
        for scale in [Scale::linear(0.0, 500.0, 200.0, 0.0), Scale::log(0.5, 500.0, 200.0, 0.0)] {
            for value in [1.0, 5.0, 77.0, 499.0] {
                let back = scale.value(scale.place(value));
                assert!(
                    (back - value).abs() < value * 1e-3 + 1e-2,
                    "{scale:?}: {value} came back as {back}"
                );
            }
        }
    }

    #[test]
    fn values_outside_of_a_scale_lie_at_its_ends() {
        let scale = Scale::log(1.0, 100.0, 200.0, 0.0);
        assert_eq!(scale.place(0.0), 200.0);
        assert_eq!(scale.place(1e9), 0.0);
        assert_eq!(scale.place(f64::NAN), 200.0);
        assert_eq!(scale.place(-3.0), 200.0);
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(Scale::linear(0.0, 520.0, 0.0, 1.0).ticks(5), (vec![0.0, 200.0, 400.0], 200.0));
        assert_eq!(Scale::linear(0.0, 1.0, 0.0, 1.0).ticks(5).0.len(), 6);
        assert_eq!(Scale::log(0.5, 1000.0, 0.0, 1.0).ticks(5).0, [1.0, 10.0, 100.0, 1000.0]);
        assert_eq!(Scale::log(1.0, 60.0, 0.0, 1.0).ticks(6).0, [1.0, 2.0, 5.0, 10.0, 20.0, 50.0]);
    }

    #[test]
    fn an_axis_has_two_ticks_at_least() {
        assert_eq!(Scale::linear(0.53, 0.58, 0.0, 1.0).ticks(2), (vec![0.54, 0.56, 0.58], 0.02));
        assert_eq!(Scale::log(2.2, 4.4, 0.0, 1.0).ticks(2).0, [3.0, 4.0]);
        for at in 0..500 {
            let low = 0.01 * 1.03_f64.powi(at);
            for times in [1.001, 1.1, 1.7, 3.0, 40.0, 1e6] {
                for most in [0, 2, 5] {
                    for scale in [Scale::linear, Scale::log] {
                        let ticks = scale(low, low * times, 0.0, 1.0).ticks(most).0;
                        assert!((2..=12).contains(&ticks.len()), "{low} × {times}: {ticks:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn every_class_lies_under_a_column_of_pixels() {
        for count in [1, 7, 500, 1000, 4096] {
            let slots =
                Slots { plot: Rect::from_min_size(pos2(10.0, 0.0), vec2(500.0, 100.0)), count };
            let mut seen = vec![false; count];
            for (_, range) in slots.columns() {
                range.for_each(|slot| seen[slot] = true);
            }
            assert!(seen.into_iter().all(|seen| seen), "{count}");
        }
    }

    #[test]
    fn a_position_finds_its_slot() {
        let slots =
            Slots { plot: Rect::from_min_size(pos2(10.0, 0.0), vec2(100.0, 100.0)), count: 10 };
        assert_eq!(
            [9.0, 10.0, 19.0, 21.0, 109.5, 110.0].map(|x| slots.at(x)),
            [None, Some(0), Some(0), Some(1), Some(9), None]
        );
    }
}
