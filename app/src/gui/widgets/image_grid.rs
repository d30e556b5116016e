//! A grid of pictures of any number, of which only those in sight are laid out.

use egui::{
    EventFilter, Id, Key, Modifiers, Rect, Response, Role, ScrollArea, Sense, Ui, WidgetInfo, pos2,
    vec2,
};

use super::super::theme::space;
use super::numbers;

/// Height of a line of text below a picture, in points.
const LINE: f32 = 17.0;
/// Around each picture: room for the sign that it is chosen.
const AROUND: f32 = 5.0;

/// A grid of pictures, numbered from 0.
pub struct ImageGrid<'a> {
    id: Id,
    title: &'a str,
    count: usize,
    side: f32,
    lines: usize,
    scroll_to: Option<usize>,
}

/// One picture in sight.
pub struct GridCell {
    /// Its number.
    pub place: usize,
    /// All of it, with what is around the picture and below.
    pub rect: Rect,
    /// The picture, a square.
    pub picture: Rect,
    /// Its clicks; to be named.
    pub response: Response,
}

/// What was done to the grid.
pub struct ImageGridResponse {
    /// The picture that was clicked, and the keys that were held.
    pub clicked: Option<(usize, Modifiers)>,
    /// The picture that was clicked twice.
    pub opened: Option<usize>,
    /// Of the whole grid: it has the focus while the keyboard is listened to.
    pub response: Response,
    /// Pictures in a row.
    pub columns: usize,
    /// Whole rows in sight; at least one.
    pub rows: usize,
}

impl<'a> ImageGrid<'a> {
    /// A grid of `count` pictures of `side` points.
    pub fn new(id: Id, title: &'a str, count: usize, side: f32) -> Self {
        Self { id, title, count, side, lines: 1, scroll_to: None }
    }

    /// How many lines of small text each picture has below it.
    pub fn lines(mut self, lines: usize) -> Self {
        self.lines = lines;
        self
    }

    /// Brings this picture into sight.
    pub fn scroll_to(mut self, place: Option<usize>) -> Self {
        self.scroll_to = place;
        self
    }

    /// Draws the grid in all the room there is; `draw` is given each picture in sight.
    pub fn show(self, ui: &mut Ui, mut draw: impl FnMut(&mut Ui, &GridCell)) -> ImageGridResponse {
        let cell = vec2(
            self.side + 2.0 * AROUND,
            self.side + 2.0 * AROUND + self.lines as f32 * LINE + space::SMALL,
        );
        let gap = space::SMALL;
        let room = ui.available_width() - ui.spacing().scroll.allocated_width();
        let columns = ((room + gap) / (cell.x + gap)).floor().max(1.0) as usize;
        let whole = ui.available_rect_before_wrap();
        let rows = ((whole.height() + gap) / (cell.y + gap)).floor().max(1.0) as usize;
        let (mut clicked, mut opened) = (None, None);
        ScrollArea::vertical().id_salt(self.id).auto_shrink(false).show_viewport(
            ui,
            |ui, viewport| {
                let origin = ui.max_rect().min;
                let pitch = cell.y + gap;
                let total = self.count.div_ceil(columns);
                ui.set_width(room.max(cell.x));
                ui.set_height((pitch * total as f32 - gap).max(0.0));
                let row_rect = |row: usize| {
                    Rect::from_min_size(
                        pos2(origin.x, origin.y + row as f32 * pitch),
                        vec2(room, cell.y),
                    )
                };
                if let Some(place) = self.scroll_to.filter(|place| *place < self.count) {
                    let still = egui::style::ScrollAnimation::none();
                    ui.scroll_to_rect_animation(row_rect(place / columns), None, still);
                }
                let first = (viewport.min.y / pitch).floor().max(0.0) as usize;
                let end = ((viewport.max.y / pitch).ceil().max(0.0) as usize).min(total);
                for place in (first * columns..end * columns).take_while(|at| *at < self.count) {
                    let row = row_rect(place / columns);
                    let left = row.left() + (place % columns) as f32 * (cell.x + gap);
                    let rect = Rect::from_min_size(pos2(left, row.top()), cell);
                    let picture = Rect::from_min_size(
                        rect.min + vec2(AROUND, AROUND),
                        vec2(self.side, self.side),
                    );
                    // Pictures are clicked but never tabbed to: the grid takes the focus.
                    let response = ui.interact(rect, self.id.with(place), Sense::CLICK);
                    if response.clicked() {
                        clicked = Some((place, ui.input(|input| input.modifiers)));
                    }
                    if response.double_clicked() {
                        opened = Some(place);
                    }
                    draw(ui, &GridCell { place, rect, picture, response });
                }
            },
        );
        let response = ui.interact(whole, self.id, Sense::focusable_noninteractive());
        response.widget_info(|| {
            let text = format!("{}, {}", self.title, numbers::grouped(self.count as u64));
            WidgetInfo::labeled(Role::ListBox, true, text)
        });
        if clicked.is_some() {
            response.request_focus();
        }
        if response.has_focus() {
            let filter = EventFilter {
                vertical_arrows: true,
                horizontal_arrows: true,
                ..EventFilter::default()
            };
            ui.memory_mut(|memory| memory.set_focus_lock_filter(self.id, filter));
        }
        ImageGridResponse { clicked, opened, response, columns, rows }
    }
}

/// Where the keys that were pressed lead in a grid of so many pictures a row and rows in sight:
/// arrows, Home, End, Page Up and Page Down.
pub fn walk(ui: &Ui, here: usize, count: usize, columns: usize, rows: usize) -> Option<usize> {
    let last = count.checked_sub(1)?;
    let down = |steps: usize| {
        // The last row may be shorter: its end is as far down as there is.
        let target = here + steps * columns;
        if target <= last || here / columns == last / columns { target.min(last) } else { last }
    };
    let up = |steps: usize| {
        let rows_above = here / columns;
        here - steps.min(rows_above) * columns
    };
    ui.input(|input| {
        let pressed = |key| input.key_pressed(key);
        let stays_in_row = here / columns == last / columns;
        match () {
            () if pressed(Key::Home) => Some(0),
            () if pressed(Key::End) => Some(last),
            () if pressed(Key::ArrowRight) => Some((here + 1).min(last)),
            () if pressed(Key::ArrowLeft) => Some(here.saturating_sub(1)),
            () if pressed(Key::ArrowDown) && !stays_in_row => Some(down(1)),
            () if pressed(Key::ArrowUp) => Some(up(1)),
            () if pressed(Key::PageDown) && !stays_in_row => Some(down(rows)),
            () if pressed(Key::PageUp) => Some(up(rows)),
            () => None,
        }
    })
}
