//! Whether confidence can be believed: accuracy against confidence.

use counterweight_core::eval::CalibrationBin;
use egui::{Align2, Color32, Rect, Response, Role, Sense, Stroke, Ui, WidgetInfo, pos2, vec2};

use super::super::theme::{Tokens, space};
use super::chart::{self, LINE, Mark, Pen, Scale, ValueAxis};
use super::numbers;

/// Height of the bars that show where the samples are.
const SHARES: f32 = 34.0;
/// Between the plot and those bars.
const GAP: f32 = 14.0;

/// A reliability diagram.
pub struct Reliability<'a> {
    bins: &'a [CalibrationBin],
    ece: f64,
    height: f32,
}

impl<'a> Reliability<'a> {
    /// A diagram of `bins` and their expected calibration error `ece`, a share of one.
    pub fn new(bins: &'a [CalibrationBin], ece: f64) -> Self {
        Self { bins, ece, height: 320.0 }
    }

    /// Height of the whole chart, in points.
    pub fn height(mut self, height: f32) -> Self {
        self.height = height;
        self
    }

    /// Draws the diagram and gives back its response.
    pub fn show(self, ui: &mut Ui) -> Response {
        let samples: usize = self.bins.iter().map(|bin| bin.samples).sum();
        if samples == 0 {
            return chart::empty_hint(ui, self.height, "Reliability diagram", "No results yet");
        }
        // Far wider than high, the diagonal would lose its meaning.
        let width = ui.available_width().clamp(120.0, 1.5 * self.height);
        let response = ui.allocate_response(vec2(width, self.height), Sense::hover());
        response.widget_info(|| {
            let text = format!(
                "Reliability diagram, expected calibration error {}",
                numbers::percent(Some(self.ece))
            );
            WidgetInfo::labeled(Role::Image, ui.is_enabled(), text)
        });
        if !ui.is_rect_visible(response.rect) {
            return response;
        }
        let pen = Pen::new(ui, response.rect);
        let outer = response.rect;
        let bottom = outer.bottom() - 2.0 * LINE - 4.0 - SHARES - GAP;
        let axis = ValueAxis::new(
            &pen,
            Scale::linear(0.0, 1.0, bottom, outer.top() + LINE + 8.0),
            |value, step| format!("{} %", numbers::tick(100.0 * value, 100.0 * step)),
        );
        let plot = axis.plot(Rect::from_min_max(outer.min, outer.max - vec2(space::MEDIUM, 0.0)));
        let x = Scale::linear(0.0, 1.0, plot.left(), plot.right());
        let strip = Rect::from_x_y_ranges(plot.x_range(), bottom + GAP..=bottom + GAP + SHARES);
        let hovered =
            response.hover_pos().filter(|at| plot.union(strip).contains(*at)).and_then(|at| {
                let confidence = x.value(at.x);
                self.bins.iter().find(|bin| bin.lower < confidence && confidence <= bin.upper)
            });

        pen.label(outer.left_top(), Align2::LEFT_TOP, "accuracy");
        pen.legend(
            pos2(plot.right(), outer.top() + LINE / 2.0 - 2.0),
            &[
                (Mark::Fill(pen.tokens.accent), "accuracy"),
                (Mark::Fill(too_sure(pen.tokens)), "too sure"),
                (Mark::Fill(not_sure_enough(pen.tokens)), "not sure enough"),
            ],
        );
        axis.paint(&pen, plot);
        self.paint_bins(&pen, &x, &axis.scale, plot, hovered);
        self.paint_shares(&pen, &x, strip, samples, hovered);
        let diagonal = [pos2(plot.left(), plot.bottom()), pos2(plot.right(), plot.top())];
        pen.dashed(&diagonal, Stroke::new(1.5, pen.tokens.text_weak));
        pen.painter.hline(plot.x_range(), plot.bottom(), Stroke::new(1.0, pen.tokens.before));
        paint_x_labels(&pen, strip, &x);
        self.paint_ece(&pen, plot);
        if let Some(bin) = hovered {
            tip(&response, bin, samples);
        }
        response
    }

    fn paint_bins(
        &self,
        pen: &Pen,
        x: &Scale,
        y: &Scale,
        plot: Rect,
        hovered: Option<&CalibrationBin>,
    ) {
        for bin in self.bins {
            let columns = x.place(bin.lower) + 1.0..=x.place(bin.upper) - 1.0;
            if hovered == Some(bin) {
                pen.painter.rect_filled(
                    Rect::from_x_y_ranges(columns.clone(), plot.y_range()),
                    0.0,
                    pen.tokens.sunken,
                );
            }
            if bin.samples == 0 {
                continue;
            }
            let (top, confident) = (y.place(bin.accuracy), y.place(bin.confidence));
            let part = |from: f32, to: f32, color: Color32| {
                let part = Rect::from_x_y_ranges(columns.clone(), from..=to);
                pen.painter.rect_filled(part, 0.0, color);
            };
            part(top.max(confident), plot.bottom(), pen.tokens.accent);
            // What lies between accuracy and confidence is of a colour of its own and covers nothing.
            match top < confident {
                true => part(top, confident, not_sure_enough(pen.tokens)),
                false => part(confident, top, too_sure(pen.tokens)),
            }
            pen.painter.hline(columns, confident, Stroke::new(1.5, pen.tokens.bad));
        }
    }

    fn paint_shares(
        &self,
        pen: &Pen,
        x: &Scale,
        strip: Rect,
        samples: usize,
        hovered: Option<&CalibrationBin>,
    ) {
        let most = self.bins.iter().map(|bin| bin.samples).max().unwrap_or(1).max(1) as f32;
        for bin in self.bins.iter().filter(|bin| bin.samples > 0) {
            let center = (x.place(bin.lower) + x.place(bin.upper)) / 2.0;
            let width = ((x.place(bin.upper) - x.place(bin.lower)) * 0.3).max(2.0).round();
            let height = ((strip.height() - 2.0) * bin.samples as f32 / most).max(1.0);
            let bar = Rect::from_min_max(
                pos2(center - width / 2.0, strip.bottom() - height),
                pos2(center + width / 2.0, strip.bottom()),
            );
            let color = if hovered == Some(bin) { pen.tokens.text_weak } else { pen.tokens.before };
            pen.painter.rect_filled(bar, 0.0, color);
        }
        pen.grid(strip.x_range(), strip.bottom());
        let share = most as f64 / samples as f64;
        let text = pen.galley(format!("{:.0} %", 100.0 * share));
        pen.painter.galley(
            pos2(strip.left() - 6.0 - text.size().x, strip.top()),
            text,
            pen.tokens.text_weak,
        );
    }

    fn paint_ece(&self, pen: &Pen, plot: Rect) {
        let text = format!("calibration error {}", numbers::percent(Some(self.ece)));
        let galley = pen.painter.layout_no_wrap(text, pen.font.clone(), pen.tokens.text);
        let at = plot.left_top() + vec2(space::MEDIUM, space::MEDIUM);
        let behind =
            Rect::from_min_size(at, galley.size()).expand2(vec2(space::MEDIUM, space::SMALL));
        pen.painter.rect(
            behind,
            5.0,
            pen.tokens.surface,
            Stroke::new(1.0, pen.tokens.border),
            egui::StrokeKind::Inside,
        );
        pen.painter.galley(at, galley, pen.tokens.text);
    }
}

/// Of what confidence has more than accuracy.
fn too_sure(tokens: &Tokens) -> Color32 {
    tokens.bad.gamma_multiply(0.4)
}

/// Of what accuracy has more than confidence.
fn not_sure_enough(tokens: &Tokens) -> Color32 {
    tokens.accent.gamma_multiply(0.45)
}

fn paint_x_labels(pen: &Pen, strip: Rect, x: &Scale) {
    for value in [0.0, 0.2, 0.4, 0.6, 0.8, 1.0] {
        let label = pen.galley(format!("{:.0} %", 100.0 * value));
        let left = (x.place(value) - label.size().x / 2.0)
            .min(strip.right() + space::MEDIUM - label.size().x);
        pen.painter.galley(pos2(left, strip.bottom() + 4.0), label, pen.tokens.text_weak);
    }
    pen.label(
        pos2(strip.center().x, strip.bottom() + LINE + 2.0),
        Align2::CENTER_TOP,
        "confidence, and the share of images",
    );
}

fn tip(response: &Response, bin: &CalibrationBin, samples: usize) {
    chart::tooltip(response, |ui| {
        chart::tip_title(
            ui,
            None,
            &format!("confidence {:.0}–{:.0} %", 100.0 * bin.lower, 100.0 * bin.upper),
        );
        let of = |value: f64| numbers::percent((bin.samples > 0).then_some(value));
        let share = bin.samples as f64 / samples as f64;
        chart::tip_rows(
            ui,
            &[
                (None, "mean confidence", of(bin.confidence)),
                (None, "accuracy", of(bin.accuracy)),
                (
                    None,
                    "samples",
                    format!(
                        "{} ({})",
                        numbers::grouped(bin.samples as u64),
                        numbers::percent(Some(share))
                    ),
                ),
            ],
        );
    });
}
