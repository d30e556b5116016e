//! Accuracy against training samples where classes are too many for a dot each: they would hide each
//! other, and drawing them would hold up the window. Classes of about the same count are one column.

use std::collections::BTreeMap;

use counterweight_core::eval::Group;
use egui::{Rangef, Rect, Response, Ui};

use super::super::theme;
use super::chart::{self, Pen, Scale};
use super::numbers;
use super::scatter::ScatterPoint;

/// Width of a column, in points, with the gap beside it.
const WIDTH: f32 = 10.0;
const GAP: f32 = 2.0;
/// Height of the line at the mean.
const MEAN: f32 = 2.5;

/// Classes of about the same count.
pub(super) struct Column {
    x: Rangef,
    counts: [u64; 2],
    /// That of the first of them.
    group: Group,
    /// In order, all that are numbers.
    before: Vec<f64>,
    after: Vec<f64>,
}

/// The columns of classes, from left to right. `x` says where a class stands.
pub(super) fn columns(
    points: &[ScatterPoint<'_>],
    left: f32,
    x: impl Fn(&ScatterPoint) -> f32,
) -> Vec<Column> {
    let mut columns: BTreeMap<i32, Column> = BTreeMap::new();
    for point in points {
        let place = ((x(point) - left) / WIDTH).floor();
        let column = columns.entry(place as i32).or_insert_with(|| Column {
            x: Rangef::new(left + place * WIDTH, left + (place + 1.0) * WIDTH - GAP),
            counts: [u64::MAX, 0],
            group: point.class.group,
            before: Vec::new(),
            after: Vec::new(),
        });
        let [least, most] = column.counts;
        column.counts = [least.min(point.class.count), most.max(point.class.count)];
        column.before.extend(point.before.filter(|accuracy| accuracy.is_finite()));
        column.after.extend(Some(point.accuracy).filter(|accuracy| accuracy.is_finite()));
    }
    for column in columns.values_mut() {
        column.before.sort_unstable_by(f64::total_cmp);
        column.after.sort_unstable_by(f64::total_cmp);
    }
    columns.into_values().collect()
}

/// The accuracy that this share of the classes, in order, does not exceed.
fn at_share(ordered: &[f64], share: f64) -> Option<f64> {
    let last = ordered.len().checked_sub(1)?;
    Some(ordered[(share * last as f64).round() as usize])
}

/// Of a column this is what balanced accuracy is of all classes.
fn mean(accuracies: &[f64]) -> Option<f64> {
    let sum: f64 = accuracies.iter().sum();
    (!accuracies.is_empty()).then(|| sum / accuracies.len() as f64)
}

impl Column {
    /// The range of eight in ten classes, and their mean before and after.
    pub fn paint(&self, pen: &Pen, accuracy: &Scale) {
        let group = pen.tokens.group(self.group);
        let range = [0.1, 0.9].map(|share| at_share(&self.after, share));
        if let [Some(low), Some(high)] = range {
            let y = Rangef::new(accuracy.place(high), accuracy.place(low));
            let rect = Rect::from_x_y_ranges(self.x, y);
            pen.painter.rect_filled(rect, 0.0, group.gamma_multiply(0.35));
        }
        let means = [(&self.before, pen.tokens.text_weak), (&self.after, group)];
        for (accuracies, color) in means {
            let Some(mean) = mean(accuracies) else { continue };
            let y = accuracy.place(mean);
            let y = Rangef::new(y - MEAN / 2.0, y + MEAN / 2.0);
            pen.painter.rect_filled(Rect::from_x_y_ranges(self.x, y), 0.0, color);
        }
    }

    /// Whether it stands at this place.
    pub fn is_at(&self, x: f32) -> bool {
        self.x.expand(GAP / 2.0).contains(x)
    }

    /// What is said of it under the pointer.
    pub fn tip(&self, ui: &Ui, response: &Response) {
        let color = theme::tokens(ui.visuals()).group(self.group);
        let [least, most] = self.counts.map(numbers::grouped);
        let counts = if least == most { least } else { format!("{least} to {most}") };
        chart::tooltip(response, |ui| {
            let classes = self.after.len().max(self.before.len()) as u64;
            let title = format!("{} classes", numbers::grouped(classes));
            chart::tip_title(ui, Some(color), &title);
            let mut rows = vec![(None, "training images of each", counts)];
            if !self.before.is_empty() {
                rows.push((None, "mean accuracy before", numbers::percent(mean(&self.before))));
            }
            rows.push((None, "mean accuracy", numbers::percent(mean(&self.after))));
            let range = [0.1, 0.9].map(|share| numbers::percent(at_share(&self.after, share)));
            rows.push((None, "eight in ten", range.join(" to ")));
            chart::tip_rows(ui, &rows);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gui::widgets::ClassLabel;

    #[test]
    fn classes_of_about_the_same_count_are_one_column() {
        let point = |count: u64, accuracy: f64| ScatterPoint {
            class: ClassLabel { name: "a", count, group: Group::Few },
            accuracy,
            before: Some(accuracy / 2.0),
        };
        let mut points: Vec<ScatterPoint> =
            (0..=100).map(|i| point(3, f64::from(i) / 100.0)).collect();
        points.extend([point(4, 0.5), point(40, 1.0), point(41, f64::NAN)]);
        let columns = columns(&points, 0.0, |point| point.class.count as f32);
        let found: Vec<([u64; 2], usize)> =
            columns.iter().map(|column| (column.counts, column.after.len())).collect();
        assert_eq!(found, [([3, 4], 102), ([40, 41], 1)]);
        let shares = [0.0, 0.1, 0.5, 0.9, 1.0].map(|share| at_share(&columns[0].after, share));
        assert_eq!(shares, [0.0, 0.1, 0.5, 0.9, 1.0].map(Some));
        assert_eq!(at_share(&columns[0].before, 0.5), Some(0.25));
        assert!(mean(&columns[0].before).is_some_and(|mean| (mean - 0.25).abs() < 1e-12));
        assert_eq!((at_share(&[], 0.5), mean(&[])), (None, None));
        assert!(columns[0].is_at(3.0) && !columns[0].is_at(12.0) && columns[1].is_at(44.0));
    }
}
