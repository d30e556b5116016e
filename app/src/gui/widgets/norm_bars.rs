//! Class weight norms, before and after balancing.

use counterweight_core::eval::Group;
use egui::{
    Align2, Color32, Mesh, Rect, Response, Role, Sense, Shape, Stroke, Ui, WidgetInfo, pos2,
};

use super::super::theme::{self, Tokens};
use super::chart::{self, LINE, Mark, Pen, Scale, Slots, ValueAxis};
use super::numbers;

/// The weight norm of one class.
#[derive(Clone, Copy, Debug)]
pub struct NormBar<'a> {
    /// The class's name.
    pub name: &'a str,
    /// Its group.
    pub group: Group,
    /// Its training samples.
    pub count: u64,
    /// Its weight norm, before balancing where there is an after.
    pub before: f32,
    /// Its weight norm after balancing.
    pub after: Option<f32>,
}

/// Norms by class, the class of most training samples first.
pub struct NormBars<'a> {
    classes: &'a [NormBar<'a>],
    radius: Option<f32>,
    radius_label: &'a str,
    height: f32,
}

/// What is under the pointer. Classes are places in the slice that was shown.
pub struct NormBarsResponse {
    /// Of the whole chart.
    pub response: Response,
    /// The class under the pointer.
    pub hovered: Option<usize>,
    /// The class that was clicked.
    pub clicked: Option<usize>,
}

impl<'a> NormBars<'a> {
    /// Bars of `classes`, 220 points high.
    pub fn new(classes: &'a [NormBar<'a>]) -> Self {
        Self { classes, radius: None, radius_label: "MaxNorm radius η", height: 220.0 }
    }

    /// A radius that limits the norms, drawn as a dashed line with its name.
    pub fn radius(mut self, radius: Option<f32>, label: &'a str) -> Self {
        self.radius = radius;
        self.radius_label = label;
        self
    }

    /// Height of the whole chart, in points.
    pub fn height(mut self, height: f32) -> Self {
        self.height = height;
        self
    }

    /// Draws the chart.
    pub fn show(self, ui: &mut Ui) -> NormBarsResponse {
        if self.classes.is_empty() {
            let response = chart::empty_hint(ui, self.height, "Class weight norms", "No norms yet");
            return NormBarsResponse { response, hovered: None, clicked: None };
        }
        let response = chart::allocate(ui, self.height, Sense::CLICK);
        response.widget_info(|| WidgetInfo::labeled(Role::Image, ui.is_enabled(), self.spoken()));
        let mut order: Vec<usize> = (0..self.classes.len()).collect();
        order.sort_by_key(|&class| std::cmp::Reverse(self.classes[class].count));

        let pen = Pen::new(ui, response.rect);
        let below = chart::names_height(
            &pen,
            response.rect.width() - 40.0,
            self.classes.iter().map(|class| class.name),
        );
        let (bottom, top) = (response.rect.bottom() - below, response.rect.top() + LINE + 4.0);
        let norms = self
            .classes
            .iter()
            .flat_map(|class| [Some(class.before), class.after])
            .chain([self.radius])
            .flatten();
        let high = norms.filter(|norm| norm.is_finite()).fold(0.0, f32::max);
        let high = if high > 0.0 { f64::from(high) * 1.06 } else { 1.0 };
        let axis = ValueAxis::new(&pen, Scale::linear(0.0, high, bottom, top), numbers::tick);
        let slots = Slots { plot: axis.plot(response.rect), count: order.len() };
        let hovered = response.hover_pos().and_then(|at| slots.at(at.x)).map(|slot| order[slot]);
        if ui.is_rect_visible(response.rect) {
            self.paint(&pen, &axis, &slots, &order, hovered, response.rect);
        }
        if let Some(class) = hovered {
            self.tip(ui, &response, class);
        }
        let clicked = hovered.filter(|_| response.clicked());
        NormBarsResponse { response, hovered, clicked }
    }

    fn compares(&self) -> bool {
        self.classes.iter().any(|class| class.after.is_some())
    }

    fn spoken(&self) -> String {
        let range = |norm: &dyn Fn(&NormBar) -> Option<f32>| {
            let norms = || self.classes.iter().filter_map(norm);
            let (least, most) =
                (norms().fold(f32::INFINITY, f32::min), norms().fold(0.0, f32::max));
            format!("{} to {}", numbers::value(least.into()), numbers::value(most.into()))
        };
        let mut text = format!(
            "Class weight norms, {} classes, {}",
            self.classes.len(),
            range(&|class| Some(class.before))
        );
        if self.compares() {
            text += &format!(" before, {} after", range(&|class| class.after));
        }
        text
    }

    fn paint(
        &self,
        pen: &Pen,
        axis: &ValueAxis,
        slots: &Slots,
        order: &[usize],
        hovered: Option<usize>,
        rect: Rect,
    ) {
        let tokens = pen.tokens;
        pen.label(rect.left_top(), Align2::LEFT_TOP, "class weight norm");
        // What the dashed line is stands here, since beside it there are bars.
        let radius = self.radius.filter(|radius| radius.is_finite());
        let radius_words = radius
            .map(|radius| format!("{} = {}", self.radius_label, numbers::value(radius.into())));
        let mut entries = Vec::with_capacity(3);
        if let Some(words) = &radius_words {
            entries.push((Mark::Line(tokens.limit), words.as_str()));
        }
        if self.compares() {
            let before = if slots.dense() {
                Mark::Line(tokens.text_weak)
            } else {
                Mark::Fill(tokens.before)
            };
            entries.push((before, "before"));
            entries.push((Mark::Groups(Group::ALL.map(|group| tokens.group(group))), "after"));
        }
        pen.legend(pos2(slots.plot.right(), rect.top() + LINE / 2.0 - 2.0), &entries);
        if let Some(slot) = hovered.and_then(|class| order.iter().position(|&other| other == class))
        {
            pen.painter.rect_filled(slots.band(slot), 0.0, tokens.sunken);
        }
        axis.paint(pen, slots.plot);
        if slots.dense() {
            self.paint_area(pen, axis, slots, order)
        } else {
            self.paint_bars(pen, axis, slots, order)
        }
        pen.painter.hline(
            slots.plot.x_range(),
            slots.plot.bottom(),
            Stroke::new(1.0, tokens.before),
        );
        if let Some(radius) = radius {
            let y = axis.scale.place(radius.into());
            let line = [pos2(slots.plot.left(), y), pos2(slots.plot.right(), y)];
            pen.dashed(&line, Stroke::new(1.5, tokens.limit));
        }
        slots.names(pen, |slot| self.classes[order[slot]].name, "classes, largest first");
    }

    fn paint_bars(&self, pen: &Pen, axis: &ValueAxis, slots: &Slots, order: &[usize]) {
        let bottom = slots.plot.bottom();
        let compares = self.compares();
        for (slot, &class) in order.iter().enumerate() {
            let class = &self.classes[class];
            let group = pen.tokens.group(class.group);
            let paint = |norm: f32, share: f32, color: Color32| {
                let rect = slots.bar(slot, share, axis.scale.place(norm.into()), bottom);
                pen.painter.rect_filled(rect, chart::top_corners(rect), color);
            };
            if !compares {
                paint(class.before, 1.0, group);
                continue;
            }
            // The old norm stays in sight at both sides of the new one.
            paint(class.before, 1.0, pen.tokens.before.gamma_multiply(0.55));
            if let Some(after) = class.after {
                paint(after, 0.56, group);
            }
        }
    }

    /// Classes closer than bars can be: in every column of pixels, the largest norms there.
    fn paint_area(&self, pen: &Pen, axis: &ValueAxis, slots: &Slots, order: &[usize]) {
        let mut area = Mesh::default();
        let mut line = Vec::new();
        let compares = self.compares();
        for (x, classes) in slots.columns() {
            let here = || order[classes.clone()].iter().map(|&class| &self.classes[class]);
            let shown = |class: &NormBar| if compares { class.after } else { Some(class.before) };
            let largest = here()
                .filter_map(|class| Some((shown(class)?, class.group)))
                .max_by(|a, b| a.0.total_cmp(&b.0));
            if let Some((norm, group)) = largest {
                let rect =
                    Rect::from_x_y_ranges(x, axis.scale.place(norm.into())..=slots.plot.bottom());
                area.add_colored_rect(rect, pen.tokens.group(group));
            }
            if compares
                && let Some(before) = here().map(|class| class.before).max_by(f32::total_cmp)
            {
                line.push(pos2(x.center(), axis.scale.place(before.into())));
            }
        }
        pen.painter.add(Shape::mesh(area));
        if line.len() > 1 {
            pen.painter.line(line, Stroke::new(1.5, pen.tokens.text_weak));
        }
    }

    fn tip(&self, ui: &Ui, response: &Response, class: usize) {
        let class = &self.classes[class];
        let tokens: &Tokens = theme::tokens(ui.visuals());
        chart::tooltip(response, |ui| {
            chart::tip_title(ui, Some(tokens.group(class.group)), class.name);
            let mut rows = Vec::with_capacity(4);
            if let Some(after) = class.after {
                rows.push((None, "norm before", numbers::value(class.before.into())));
                rows.push((None, "norm after", numbers::value(after.into())));
            } else {
                rows.push((None, "norm", numbers::value(class.before.into())));
            }
            rows.push((None, "training images", numbers::grouped(class.count)));
            rows.push((None, "group", class.group.to_string()));
            chart::tip_rows(ui, &rows);
        });
    }
}
