//! Samples per class as bars: the class distribution, and the preview of a dataset while it is
//! built.

use counterweight_core::eval::Group;
use egui::{
    Align2, Color32, CornerRadius, CursorIcon, EventFilter, Id, Key, Mesh, Rect, Response, Role,
    Sense, Shape, Stroke, StrokeKind,
};
use egui::{Ui, WidgetInfo, pos2};

use super::super::theme::{self, Tokens};
use super::chart::{self, LINE, Mark, Pen, Scale, Slots, ValueAxis};
use super::numbers;

/// One class.
#[derive(Clone, Copy, Debug)]
pub struct ClassBar<'a> {
    /// The class's name.
    pub name: &'a str,
    /// Its samples; a fraction where they are expected rather than counted.
    pub count: f64,
    /// The samples it had before the change that is shown, drawn as an outline behind.
    pub ghost: Option<f64>,
    /// Its group.
    pub group: Group,
    /// Whether the class is left out.
    pub dimmed: bool,
}

/// From left to right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BarOrder {
    /// The largest class first.
    #[default]
    ByCount,
    /// As the classes are given, which is by name.
    ByName,
}

/// A bar for every class.
pub struct ClassBars<'a> {
    bars: &'a [ClassBar<'a>],
    id: Option<Id>,
    title: &'a str,
    unit: &'a str,
    ghost_name: &'a str,
    log: bool,
    order: BarOrder,
    height: f32,
    selected: Option<usize>,
    draggable: bool,
}

/// What was done to the bars. Classes are places in the slice that was shown.
pub struct ClassBarsResponse {
    /// Of the whole chart.
    pub response: Response,
    /// The class that was clicked, or reached with the arrow keys.
    pub clicked: Option<usize>,
    /// The class under the pointer.
    pub hovered: Option<usize>,
    /// The class whose bar is being dragged, and its new count.
    pub dragged: Option<(usize, f64)>,
    /// Whether a drag ended in this frame.
    pub drag_stopped: bool,
}

/// What is kept fixed while a bar is dragged; otherwise the bar would move away from the pointer.
#[derive(Clone)]
struct Drag {
    class: usize,
    order: Vec<usize>,
    high: f64,
}

impl<'a> ClassBars<'a> {
    /// Bars of `bars`, largest first, 220 points high.
    pub fn new(bars: &'a [ClassBar<'a>]) -> Self {
        Self {
            bars,
            id: None,
            title: "Class distribution",
            unit: "images",
            ghost_name: "before",
            log: false,
            order: BarOrder::ByCount,
            height: 220.0,
            selected: None,
            draggable: false,
        }
    }

    /// The chart's name for those who do not see it.
    pub fn title(mut self, title: &'a str) -> Self {
        self.title = title;
        self
    }

    /// Whether counts are shown by their logarithm.
    pub fn log(mut self, log: bool) -> Self {
        self.log = log;
        self
    }

    /// The order of the bars.
    pub fn order(mut self, order: BarOrder) -> Self {
        self.order = order;
        self
    }

    /// Height of the whole chart, in points.
    pub fn height(mut self, height: f32) -> Self {
        self.height = height;
        self
    }

    /// The class that is chosen.
    pub fn selected(mut self, selected: Option<usize>) -> Self {
        self.selected = selected;
        self
    }

    /// Whether the tops of bars can be dragged.
    pub fn draggable(mut self, draggable: bool) -> Self {
        self.draggable = draggable;
        self
    }

    /// What is counted, such as `images`.
    pub fn unit(mut self, unit: &'a str) -> Self {
        self.unit = unit;
        self
    }

    /// What the outlines are, such as `in the source`.
    pub fn ghost_name(mut self, name: &'a str) -> Self {
        self.ghost_name = name;
        self
    }

    /// Draws the chart.
    pub fn show(mut self, ui: &mut Ui) -> ClassBarsResponse {
        if self.bars.is_empty() {
            let response = chart::empty_hint(ui, self.height, self.title, "No classes yet");
            return ClassBarsResponse {
                response,
                clicked: None,
                hovered: None,
                dragged: None,
                drag_stopped: false,
            };
        }
        let sense = if self.draggable { Sense::click_and_drag() } else { Sense::click() };
        let response = chart::allocate(ui, self.height, sense);
        self.id = Some(response.id);
        response.widget_info(|| WidgetInfo::labeled(Role::Image, ui.is_enabled(), self.spoken()));

        let drag: Option<Drag> = ui
            .data(|data| data.get_temp(response.id))
            .filter(|drag: &Drag| drag.order.len() == self.bars.len());
        let order = drag.as_ref().map_or_else(|| self.ordered(), |drag| drag.order.clone());
        let pen = Pen::new(ui, response.rect);
        let below = chart::names_height(
            &pen,
            response.rect.width() - 40.0,
            self.bars.iter().map(|bar| bar.name),
        );
        let axis = self.axis(&pen, response.rect, below, drag.as_ref().map(|drag| drag.high));
        let slots = Slots { plot: axis.plot(response.rect), count: order.len() };

        let hovered = response.hover_pos().and_then(|at| slots.at(at.x)).map(|slot| order[slot]);
        let mut result = ClassBarsResponse {
            response,
            clicked: None,
            hovered,
            dragged: None,
            drag_stopped: false,
        };
        if self.draggable {
            self.drag(ui, &mut result, drag, &order, &axis, &slots);
        }
        let active = result.dragged.map(|(class, _)| class).or(hovered);
        if ui.is_rect_visible(result.response.rect) {
            self.paint(&pen, &axis, &slots, &order, active, &result.response);
        }
        self.choose(ui, &mut result, &order);
        if let Some(class) = active {
            let count = result.dragged.map_or(self.bars[class].count, |(_, count)| count);
            self.tip(ui, &result.response, class, count);
        }
        result
    }

    fn spoken(&self) -> String {
        let counts =
            || self.bars.iter().filter(|bar| !bar.dimmed && bar.count > 0.0).map(|bar| bar.count);
        let (least, most) = (counts().fold(f64::INFINITY, f64::min), counts().fold(0.0, f64::max));
        let classes = numbers::grouped(self.bars.len() as u64);
        let noun = if self.bars.len() == 1 { "class" } else { "classes" };
        let factor = if most > 0.0 {
            format!(", imbalance factor {}", numbers::count(most / least))
        } else {
            String::new()
        };
        format!("{}, {classes} {noun}{factor}", self.title)
    }

    fn ordered(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.bars.len()).collect();
        if self.order == BarOrder::ByCount {
            // Classes that are left out come last; they have no place on the curve.
            let key = |class: usize| (!self.bars[class].dimmed, self.bars[class].count);
            order.sort_by(|&a, &b| {
                let ((here, a), (there, b)) = (key(a), key(b));
                there.cmp(&here).then(b.total_cmp(&a))
            });
        }
        order
    }

    fn axis(&self, pen: &Pen, rect: Rect, below: f32, frozen: Option<f64>) -> ValueAxis {
        let most = self
            .bars
            .iter()
            .map(|bar| bar.count.max(bar.ghost.unwrap_or(0.0)))
            .filter(|count| count.is_finite())
            .fold(1.0, f64::max);
        let high = frozen.unwrap_or(if self.log { most * 1.2 } else { most * 1.04 });
        let (bottom, top) = (rect.bottom() - below, rect.top() + LINE + 4.0);
        // A class of one sample still shows on a logarithmic scale that begins below one.
        let scale = if self.log {
            Scale::log(0.5, high, bottom, top)
        } else {
            Scale::linear(0.0, high, bottom, top)
        };
        ValueAxis::new(pen, scale, |value, step| numbers::tick(value, step.max(1.0)))
    }

    fn drag(
        &self,
        ui: &Ui,
        result: &mut ClassBarsResponse,
        drag: Option<Drag>,
        order: &[usize],
        axis: &ValueAxis,
        slots: &Slots,
    ) {
        let response = &result.response;
        let id = response.id;
        let mut drag = drag;
        if response.drag_started()
            && let Some(from) = ui.input(|input| input.pointer.press_origin())
            && let Some(slot) = slots.at(from.x)
        {
            let started =
                Drag { class: order[slot], order: order.to_vec(), high: axis.scale.high() };
            ui.data_mut(|data| data.insert_temp(id, started.clone()));
            drag = Some(started);
        }
        if let Some(drag) = drag {
            if (response.dragged() || response.drag_stopped())
                && let Some(at) = response.interact_pointer_pos()
            {
                // Below the axis there is nothing, on a logarithmic scale as well.
                let count =
                    if at.y >= slots.plot.bottom() { 0.0 } else { axis.scale.value(at.y).round() };
                result.dragged = Some((drag.class, count));
                ui.ctx().set_cursor_icon(CursorIcon::ResizeVertical);
            }
            result.drag_stopped = response.drag_stopped();
            if !response.dragged() {
                ui.data_mut(|data| data.remove::<Drag>(id));
            }
        } else if result.hovered.is_some()
            && response.hover_pos().is_some_and(|at| slots.plot.contains(at))
        {
            ui.ctx().set_cursor_icon(CursorIcon::ResizeVertical);
        }
    }

    /// Clicks and the arrow keys.
    fn choose(&self, ui: &Ui, result: &mut ClassBarsResponse, order: &[usize]) {
        let response = &result.response;
        if response.clicked() {
            response.request_focus();
            result.clicked = result.hovered;
        }
        if !response.has_focus() {
            return;
        }
        ui.memory_mut(|memory| {
            memory.set_focus_lock_filter(
                response.id,
                EventFilter { horizontal_arrows: true, ..EventFilter::default() },
            );
        });
        let slot = self.selected.and_then(|class| order.iter().position(|&other| other == class));
        let last = order.len() - 1;
        let moved = ui.input(|input| {
            let forward = input
                .key_pressed(Key::ArrowRight)
                .then(|| slot.map_or(0, |slot| (slot + 1).min(last)));
            let back = input
                .key_pressed(Key::ArrowLeft)
                .then(|| slot.map_or(last, |slot| slot.saturating_sub(1)));
            let ends = input
                .key_pressed(Key::Home)
                .then_some(0)
                .or(input.key_pressed(Key::End).then_some(last));
            forward.or(back).or(ends)
        });
        if let Some(slot) = moved {
            result.clicked = Some(order[slot]);
        }
    }

    fn color(&self, bar: &ClassBar, tokens: &Tokens) -> Color32 {
        if bar.dimmed { tokens.before.gamma_multiply(0.35) } else { tokens.group(bar.group) }
    }

    fn paint(
        &self,
        pen: &Pen,
        axis: &ValueAxis,
        slots: &Slots,
        order: &[usize],
        active: Option<usize>,
        response: &Response,
    ) {
        let tokens = pen.tokens;
        pen.label(response.rect.left_top(), Align2::LEFT_TOP, self.unit);
        if self.bars.iter().any(|bar| bar.ghost.is_some()) {
            let colors = Group::ALL.map(|group| tokens.group(group));
            let at = pos2(slots.plot.right(), response.rect.top() + LINE / 2.0 - 2.0);
            pen.legend(
                at,
                &[(Mark::Outline(tokens.before), self.ghost_name), (Mark::Groups(colors), "now")],
            );
        }
        for (class, wash) in [(active, tokens.sunken), (self.selected, tokens.accent_wash)] {
            if let Some(slot) =
                class.and_then(|class| order.iter().position(|&other| other == class))
            {
                pen.painter.rect_filled(slots.band(slot), 0.0, wash);
            }
        }
        axis.paint(pen, slots.plot);
        if slots.dense() {
            self.paint_area(pen, axis, slots, order)
        } else {
            self.paint_bars(pen, axis, slots, order, active)
        }
        if let Some(slot) =
            self.selected.and_then(|class| order.iter().position(|&other| other == class))
        {
            let (center, half) = (slots.center(slot), (slots.width() / 2.0).max(3.0));
            pen.painter.hline(
                center - half..=center + half,
                slots.plot.bottom() + 2.0,
                Stroke::new(3.0, tokens.accent),
            );
        }
        pen.painter.hline(
            slots.plot.x_range(),
            slots.plot.bottom(),
            Stroke::new(1.0, tokens.before),
        );
        let caption = match self.order {
            BarOrder::ByCount => "classes, largest first",
            BarOrder::ByName => "classes",
        };
        slots.names(pen, |slot| self.bars[order[slot]].name, caption);
        if response.has_focus() {
            pen.painter.rect_stroke(
                response.rect,
                CornerRadius::same(4),
                Stroke::new(1.0, tokens.accent),
                StrokeKind::Inside,
            );
        }
    }

    fn paint_bars(
        &self,
        pen: &Pen,
        axis: &ValueAxis,
        slots: &Slots,
        order: &[usize],
        active: Option<usize>,
    ) {
        let bottom = slots.plot.bottom();
        // Outlines side by side would hatch the chart; where they are as close, a line along their
        // tops says the same.
        let outlined = slots.width() >= 12.0;
        if !outlined {
            let ghosts = order
                .iter()
                .enumerate()
                .filter_map(|(slot, &class)| Some((slot, self.bars[class].ghost?)));
            let tops = ghosts.flat_map(|(slot, ghost)| {
                [slot, slot + 1].map(|edge| pos2(slots.left(edge), axis.scale.place(ghost)))
            });
            let tops: Vec<_> = tops.collect();
            if !tops.is_empty() {
                pen.painter.line(tops, Stroke::new(1.0, pen.tokens.before));
            }
        }
        for (slot, &class) in order.iter().enumerate() {
            let bar = &self.bars[class];
            let rect = slots.bar(slot, 1.0, axis.scale.place(bar.count), bottom);
            if let Some(ghost) =
                bar.ghost.filter(|ghost| outlined && (*ghost > bar.count || bar.dimmed))
            {
                let behind = slots.bar(slot, 1.0, axis.scale.place(ghost), bottom);
                pen.painter.rect_stroke(
                    behind,
                    chart::top_corners(behind),
                    Stroke::new(1.0, pen.tokens.before),
                    StrokeKind::Inside,
                );
            }
            if bar.count > 0.0 {
                pen.painter.rect_filled(
                    rect,
                    chart::top_corners(rect),
                    self.color(bar, pen.tokens),
                );
            }
            // Where a class grew, the outline lies inside of its bar.
            if let Some(ghost) = bar.ghost.filter(|ghost| *ghost < bar.count) {
                let y = axis.scale.place(ghost);
                pen.painter.hline(rect.x_range(), y, Stroke::new(1.0, pen.tokens.surface));
            }
            if self.draggable && active == Some(class) {
                let grip =
                    Rect::from_x_y_ranges(rect.x_range(), rect.top() - 2.0..=rect.top() + 2.0);
                pen.painter.rect_filled(grip, 2.0, pen.tokens.text);
            }
        }
    }

    /// Classes closer than bars can be: in every column of pixels, the largest class there.
    fn paint_area(&self, pen: &Pen, axis: &ValueAxis, slots: &Slots, order: &[usize]) {
        let bottom = slots.plot.bottom();
        let mut area = Mesh::default();
        let mut outline = Vec::new();
        for (x, classes) in slots.columns() {
            let here = || order[classes.clone()].iter().map(|&class| &self.bars[class]);
            if let Some(bar) =
                here().max_by(|a, b| a.count.total_cmp(&b.count)).filter(|bar| bar.count > 0.0)
            {
                let rect = Rect::from_x_y_ranges(x, axis.scale.place(bar.count)..=bottom);
                area.add_colored_rect(rect, self.color(bar, pen.tokens));
            }
            if let Some(ghost) = here().filter_map(|bar| bar.ghost).max_by(f64::total_cmp) {
                outline.push(pos2(x.center(), axis.scale.place(ghost)));
            }
        }
        pen.painter.add(Shape::mesh(area));
        if outline.len() > 1 {
            pen.painter.line(outline, Stroke::new(1.0, pen.tokens.before));
        }
    }

    fn tip(&self, ui: &Ui, response: &Response, class: usize, count: f64) {
        let bar = &self.bars[class];
        let tokens = theme::tokens(ui.visuals());
        chart::tooltip(response, |ui| {
            chart::tip_title(ui, Some(self.color(bar, tokens)), bar.name);
            let mut rows = vec![(None, self.unit, numbers::count(count))];
            if let Some(ghost) = bar.ghost {
                rows.push((None, self.ghost_name, numbers::count(ghost)));
            }
            let group = if bar.dimmed { "left out".to_string() } else { bar.group.to_string() };
            rows.push((None, "group", group));
            chart::tip_rows(ui, &rows);
        });
    }
}
