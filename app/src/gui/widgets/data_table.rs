//! A table that is sorted, searched and walked through with the keyboard, of any number of rows.

use std::borrow::Cow;
use std::cmp::Ordering;

use counterweight_core::eval::Group;
use egui::text::{LayoutJob, TextFormat};
use egui::{
    Align, CursorIcon, EventFilter, FontId, Id, IdSalt, Key, Label, Layout, Response, RichText,
    Role, Sense, Stroke, TextEdit, TextStyle, Ui, WidgetInfo, vec2,
};
use egui_extras::{Column as Width, TableBuilder, TableRow};
use egui_material_icons::icons;

use super::super::theme::{self, ROW_HEIGHT, Tokens, space};
use super::{chart, numbers};

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column<'a> {
    /// Its heading.
    pub title: &'a str,
    /// Whether it holds numbers, which stand to the right and are first sorted from the largest.
    pub numeric: bool,
    /// Its width in points; 0 for one that takes what the others leave.
    pub width: f32,
}

/// What a cell is sorted by.
#[derive(Clone, Debug, PartialEq)]
pub enum SortKey<'a> {
    /// By value; what is no number comes last either way.
    Number(f64),
    /// As words, whatever their case.
    Text(Cow<'a, str>),
}

/// What the user has done to a table. It belongs to the caller, so that it outlives the page the
/// table is on.
#[derive(Clone, Debug, Default)]
pub struct TableState {
    /// The column that rows are sorted by, and whether from the largest.
    pub sort: Option<(usize, bool)>,
    /// What is searched for.
    pub search: String,
    /// The chosen row, as the caller numbers rows.
    pub selected: Option<usize>,
    cache: Option<Cache>,
}

/// Rows in the order they are shown, and what that order was made from.
#[derive(Clone, Debug)]
struct Cache {
    sort: Option<(usize, bool)>,
    search: String,
    revision: u64,
    rows: usize,
    order: Vec<usize>,
}

/// A table of rows that the caller numbers from 0.
pub struct DataTable<'a> {
    id: IdSalt,
    columns: &'a [Column<'a>],
    rows: usize,
    revision: u64,
    title: &'a str,
    height: f32,
    search_hint: Option<&'a str>,
    group: Option<&'a dyn Fn(usize) -> Option<Group>>,
    empty: &'a str,
}

/// What was done to the table. Rows are numbered as by the caller.
pub struct DataTableResponse {
    /// Of the whole table; it has the focus while the keyboard moves the selection.
    pub response: Response,
    /// The row that was clicked, or reached with the keyboard.
    pub clicked: Option<usize>,
    /// The row that was double-clicked, or confirmed with Enter.
    pub opened: Option<usize>,
    /// How many rows match the search.
    pub matching: usize,
}

impl TableState {
    /// A table that starts out sorted by a column.
    pub fn sorted_by(column: usize, descending: bool) -> Self {
        Self { sort: Some((column, descending)), ..Self::default() }
    }

    /// The rows in the order they were last shown.
    pub fn order(&self) -> &[usize] {
        self.cache.as_ref().map_or(&[], |cache| &cache.order)
    }

    /// A click on a heading: the column's natural direction, then the other one, then as given.
    fn toggle(&mut self, column: usize, numeric: bool) {
        self.sort = match self.sort {
            Some((sorted, descending)) if sorted == column && descending == numeric => {
                Some((column, !numeric))
            }
            Some((sorted, _)) if sorted == column => None,
            _ => Some((column, numeric)),
        };
    }
}

impl<'a> DataTable<'a> {
    /// A table of `rows` rows. They are sorted and searched anew when `revision` is another than
    /// last time.
    pub fn new(
        id: impl egui::AsIdSalt,
        columns: &'a [Column<'a>],
        rows: usize,
        revision: u64,
    ) -> Self {
        let id = IdSalt::new(id);
        Self {
            id,
            columns,
            rows,
            revision,
            title: "Table",
            height: 320.0,
            search_hint: None,
            group: None,
            empty: "Nothing to show yet",
        }
    }

    /// The table's name for those who do not see it.
    pub fn title(mut self, title: &'a str) -> Self {
        self.title = title;
        self
    }

    /// Height of headings and rows together, in points, at most.
    pub fn height(mut self, height: f32) -> Self {
        self.height = height;
        self
    }

    /// Adds a search field with this hint over the table. Words are searched for in all columns
    /// that are not numeric.
    pub fn search(mut self, hint: &'a str) -> Self {
        self.search_hint = Some(hint);
        self
    }

    /// Adds a dot in the colour of a row's group before its first cell.
    pub fn group(mut self, group: &'a dyn Fn(usize) -> Option<Group>) -> Self {
        self.group = Some(group);
        self
    }

    /// What is said while there are no rows.
    pub fn empty_text(mut self, text: &'a str) -> Self {
        self.empty = text;
        self
    }

    /// Draws the table. `cell` gives the text of a cell and `key` what it is sorted by, given row
    /// and column; only rows in sight are asked for their text.
    pub fn show<'s>(
        self,
        ui: &mut Ui,
        state: &mut TableState,
        cell: impl Fn(usize, usize) -> Cow<'s, str>,
        key: impl Fn(usize, usize) -> SortKey<'s>,
    ) -> DataTableResponse {
        if let Some(hint) = self.search_hint {
            let matching = state.cache.as_ref().map(|cache| cache.order.len());
            self.search_bar(ui, state, hint, matching);
        }
        let before = state.cache.take();
        // Other rows, or the same in another order, begin at the top.
        let is_other = before.as_ref().is_some_and(|cache| {
            cache.rows != self.rows || cache.sort != state.sort || cache.search != state.search
        });
        let cache = match before {
            Some(cache) if self.is_fresh(&cache, state) => cache,
            _ => self.sorted(state, &cell, &key),
        };
        let top = (is_other && !cache.order.is_empty()).then_some(0);
        let result = self.body(ui, state, &cache.order, top, &cell);
        state.cache = Some(cache);
        result
    }

    fn search_bar(&self, ui: &mut Ui, state: &mut TableState, hint: &str, matching: Option<usize>) {
        let tokens = theme::tokens(ui.visuals());
        ui.horizontal(|ui| {
            let field = TextEdit::singleline(&mut state.search)
                .hint_text(hint)
                .desired_width(240.0)
                .prefix(theme::icon(icons::ICON_SEARCH));
            ui.add(field).accessible_name(hint);
            if !state.search.is_empty() {
                let clear =
                    egui::Button::new(theme::icon(icons::ICON_CLOSE)).frame_when_inactive(false);
                let response = ui.add(clear).on_hover_text("Clear the search");
                response
                    .widget_info(|| WidgetInfo::labeled(Role::Button, true, "Clear the search"));
                if response.clicked() {
                    state.search.clear();
                }
            }
            let all = numbers::grouped(self.rows as u64);
            let text = match matching {
                Some(matching) if matching != self.rows => {
                    format!("{} of {all}", numbers::grouped(matching as u64))
                }
                _ => all,
            };
            ui.label(RichText::new(text).color(tokens.text_weak));
        });
    }

    fn is_fresh(&self, cache: &Cache, state: &TableState) -> bool {
        cache.revision == self.revision
            && cache.rows == self.rows
            && cache.sort == state.sort
            && cache.search == state.search
    }

    fn sorted<'s>(
        &self,
        state: &TableState,
        cell: &impl Fn(usize, usize) -> Cow<'s, str>,
        key: &impl Fn(usize, usize) -> SortKey<'s>,
    ) -> Cache {
        let needle = state.search.trim().to_lowercase();
        let words: Vec<usize> = self
            .columns
            .iter()
            .enumerate()
            .filter(|(_, column)| !column.numeric)
            .map(|(i, _)| i)
            .collect();
        let matches = |row: usize| {
            needle.is_empty()
                || words.iter().any(|&column| cell(row, column).to_lowercase().contains(&needle))
        };
        let mut order: Vec<usize> = (0..self.rows).filter(|&row| matches(row)).collect();
        if let Some((column, descending)) =
            state.sort.filter(|(column, _)| *column < self.columns.len())
        {
            let folded = |row: usize| match key(row, column) {
                SortKey::Number(value) => SortKey::Number(value),
                SortKey::Text(text) => SortKey::Text(Cow::Owned(text.to_lowercase())),
            };
            let mut keyed: Vec<(SortKey, usize)> =
                order.iter().map(|&row| (folded(row), row)).collect();
            keyed.sort_by(|(a, _), (b, _)| compare(a, b, descending));
            order = keyed.into_iter().map(|(_, row)| row).collect();
        }
        Cache {
            sort: state.sort,
            search: state.search.clone(),
            revision: self.revision,
            rows: self.rows,
            order,
        }
    }

    fn body<'s>(
        &self,
        ui: &mut Ui,
        state: &mut TableState,
        order: &[usize],
        top: Option<usize>,
        cell: &impl Fn(usize, usize) -> Cow<'s, str>,
    ) -> DataTableResponse {
        let id = ui.make_persistent_id(self.id);
        let tokens = theme::tokens(ui.visuals());
        let mut result = TableActions::default();
        let page = (self.height / ROW_HEIGHT) as usize;
        let scroll_to = if ui.memory(|memory| memory.has_focus(id)) {
            self.walk(ui, id, state, order, page, &mut result)
        } else {
            None
        };
        let scroll_to = scroll_to.or(top);
        let least: f32 = self
            .columns
            .iter()
            .map(|column| if column.width > 0.0 { column.width } else { 120.0 })
            .sum();
        let room = ui.available_width() - ui.spacing().scroll.allocated_width();
        let inner = ui.scope(|ui| {
            ui.spacing_mut().item_spacing = vec2(0.0, 0.0);
            ui.visuals_mut().widgets.hovered.bg_fill = tokens.sunken;
            ui.visuals_mut().widgets.noninteractive.bg_stroke.color =
                tokens.border.gamma_multiply(0.6);
            if least <= room {
                self.table(ui, state, order, cell, scroll_to, &mut result);
            } else {
                egui::ScrollArea::horizontal().id_salt(id).show(ui, |ui| {
                    ui.set_width(least + ui.spacing().scroll.allocated_width());
                    self.table(ui, state, order, cell, scroll_to, &mut result);
                });
            }
        });
        if order.is_empty() {
            let text = if self.rows == 0 { self.empty } else { "No row matches the search" };
            ui.vertical_centered(|ui| ui.label(RichText::new(text).color(tokens.text_weak)));
        }
        let response = ui.interact(inner.response.rect, id, Sense::focusable_noninteractive());
        response.widget_info(|| {
            let text = format!(
                "{}, {} of {} rows",
                self.title,
                numbers::grouped(order.len() as u64),
                numbers::grouped(self.rows as u64)
            );
            WidgetInfo::labeled(Role::Table, ui.is_enabled(), text)
        });
        if result.pressed {
            response.request_focus();
        }
        DataTableResponse {
            response,
            clicked: result.clicked,
            opened: result.opened,
            matching: order.len(),
        }
    }

    /// The keys that move the selection; gives the place to scroll to.
    fn walk(
        &self,
        ui: &Ui,
        id: Id,
        state: &mut TableState,
        order: &[usize],
        page: usize,
        result: &mut TableActions,
    ) -> Option<usize> {
        let filter = EventFilter { vertical_arrows: true, ..EventFilter::default() };
        ui.memory_mut(|memory| memory.set_focus_lock_filter(id, filter));
        let last = order.len().checked_sub(1)?;
        let here = state.selected.and_then(|row| order.iter().position(|&other| other == row));
        let target = ui.input(|input| {
            let key = |key| input.key_pressed(key);
            match here {
                _ if key(Key::Home) => Some(0),
                _ if key(Key::End) => Some(last),
                None if key(Key::ArrowDown) || key(Key::ArrowUp) => Some(0),
                Some(here) if key(Key::ArrowDown) => Some((here + 1).min(last)),
                Some(here) if key(Key::ArrowUp) => Some(here.saturating_sub(1)),
                Some(here) if key(Key::PageDown) => Some((here + page).min(last)),
                Some(here) if key(Key::PageUp) => Some(here.saturating_sub(page)),
                _ => None,
            }
        });
        if let Some(place) = target {
            state.selected = Some(order[place]);
            result.clicked = state.selected;
        } else if here.is_some() && ui.input(|input| input.key_pressed(Key::Enter)) {
            result.opened = state.selected;
        }
        target
    }

    fn table<'s>(
        &self,
        ui: &mut Ui,
        state: &mut TableState,
        order: &[usize],
        cell: &impl Fn(usize, usize) -> Cow<'s, str>,
        scroll_to: Option<usize>,
        result: &mut TableActions,
    ) {
        // Cells are clicked but never tabbed to: the table as a whole takes the focus.
        let mut table = TableBuilder::new(ui)
            .id_salt("rows")
            .striped(false)
            .sense(Sense::CLICK)
            .animate_scrolling(false);
        // On a page that scrolls itself the table keeps its height, however little of the page is
        // in sight.
        let height = (self.height - ROW_HEIGHT).max(ROW_HEIGHT * 3.0);
        table =
            table.auto_shrink([false, true]).min_scrolled_height(height).max_scroll_height(height);
        table = table.cell_layout(Layout::left_to_right(Align::Center));
        for column in self.columns {
            let width = if column.width > 0.0 {
                Width::exact(column.width)
            } else {
                Width::remainder().at_least(120.0)
            };
            table = table.column(width.clip(true));
        }
        if let Some(place) = scroll_to {
            table = table.scroll_to_row(place, None);
        }
        let table = table.header(ROW_HEIGHT + space::SMALL, |mut row| {
            for (i, column) in self.columns.iter().enumerate() {
                row.col(|ui| heading(ui, state, i, column));
            }
        });
        table.body(|body| {
            body.rows(ROW_HEIGHT, order.len(), |row| {
                let number = order[row.index()];
                let response = self.row(row, number, state.selected == Some(number), cell);
                if response.clicked() {
                    state.selected = Some(number);
                    result.clicked = Some(number);
                    result.pressed = true;
                }
                if response.double_clicked() {
                    result.opened = Some(number);
                }
            });
        });
    }

    fn row<'s>(
        &self,
        mut row: TableRow,
        number: usize,
        selected: bool,
        cell: &impl Fn(usize, usize) -> Cow<'s, str>,
    ) -> Response {
        row.set_selected(selected);
        row.set_overline(true);
        for (i, column) in self.columns.iter().enumerate() {
            row.col(|ui| {
                ui.spacing_mut().item_spacing.x = space::SMALL;
                let text = cell(number, i);
                if column.numeric {
                    ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                        ui.add_space(space::MEDIUM);
                        let job = tabular(ui, &text);
                        ui.add(Label::new(job).selectable(false).truncate());
                    });
                } else {
                    ui.add_space(space::MEDIUM);
                    if i == 0
                        && let Some(group) = self.group.and_then(|group| group(number))
                    {
                        chart::dot(ui, theme::tokens(ui.visuals()).group(group));
                    }
                    ui.add(Label::new(text.into_owned()).selectable(false).truncate());
                }
            });
        }
        row.response()
    }
}

/// What happened while rows were drawn.
#[derive(Default)]
struct TableActions {
    clicked: Option<usize>,
    opened: Option<usize>,
    pressed: bool,
}

/// A heading that sorts by its column.
fn heading(ui: &mut Ui, state: &mut TableState, place: usize, column: &Column) {
    let tokens: &Tokens = theme::tokens(ui.visuals());
    let rect = ui.max_rect();
    let response = ui
        .interact(rect, ui.scope_id().with("heading"), Sense::click())
        .on_hover_cursor(CursorIcon::PointingHand);
    let sorted =
        state.sort.filter(|(sorted, _)| *sorted == place).map(|(_, descending)| descending);
    response.widget_info(|| {
        WidgetInfo::selected(
            Role::Button,
            ui.is_enabled(),
            sorted.is_some(),
            format!("Sort by {}", column.title),
        )
    });
    let color = if sorted.is_some() || response.hovered() || response.has_focus() {
        tokens.text
    } else {
        tokens.text_weak
    };
    let size = TextStyle::Small.resolve(ui.style()).size;
    let format = |family| TextFormat {
        font_id: FontId::new(size, family),
        color,
        valign: Align::Center,
        ..TextFormat::default()
    };
    let arrow =
        sorted.map(
            |descending| {
                if descending { icons::ICON_ARROW_DOWNWARD } else { icons::ICON_ARROW_UPWARD }
            },
        );
    let mut job = LayoutJob::default();
    // The arrow stands on the side away from the numbers, so that titles line up with them.
    if let Some(arrow) = arrow.filter(|_| column.numeric) {
        job.append(arrow.codepoint, 0.0, format(arrow.font_family()));
    }
    job.append(
        column.title,
        if job.is_empty() { 0.0 } else { space::SMALL },
        format(theme::semibold()),
    );
    if let Some(arrow) = arrow.filter(|_| !column.numeric) {
        job.append(arrow.codepoint, space::SMALL, format(arrow.font_family()));
    }
    job.wrap = egui::text::TextWrapping::truncate_at_width(rect.width() - 2.0 * space::MEDIUM);
    let galley = ui.painter().layout_job(job);
    let x = if column.numeric {
        rect.right() - space::MEDIUM - galley.size().x
    } else {
        rect.left() + space::MEDIUM
    };
    ui.painter().galley(egui::pos2(x, rect.center().y - galley.size().y / 2.0), galley, color);
    if response.has_focus() {
        ui.painter().rect_stroke(
            rect.shrink(2.0),
            4.0,
            Stroke::new(1.0, tokens.accent),
            egui::StrokeKind::Inside,
        );
    }
    if response.clicked() {
        state.toggle(place, column.numeric);
    }
}

/// Text whose digits are all as wide as a zero, so that numbers in a column can be compared at a
/// glance.
fn tabular(ui: &Ui, text: &str) -> LayoutJob {
    let font_id = TextStyle::Body.resolve(ui.style());
    let mut job = LayoutJob::default();
    ui.fonts_mut(|fonts| {
        let zero = fonts.glyph_width(&font_id, '0');
        let mut buffer = [0; 4];
        let mut spare_before = 0.0;
        for character in text.chars() {
            let spare = if character.is_ascii_digit() {
                (zero - fonts.glyph_width(&font_id, character)).max(0.0)
            } else {
                0.0
            };
            // The space is added before a character, so half of what a digit lacks goes to the
            // character after it.
            let extra_letter_spacing = (spare_before + spare) / 2.0;
            spare_before = spare;
            let color = egui::Color32::PLACEHOLDER;
            let format = TextFormat {
                font_id: font_id.clone(),
                extra_letter_spacing,
                color,
                ..TextFormat::default()
            };
            job.append(character.encode_utf8(&mut buffer), 0.0, format);
        }
    });
    job
}

/// Numbers by value with what is no number last, words by their letters, numbers before words.
fn compare(a: &SortKey, b: &SortKey, descending: bool) -> Ordering {
    let directed = |order: Ordering| if descending { order.reverse() } else { order };
    match (a, b) {
        (SortKey::Number(a), SortKey::Number(b)) => match (a.is_nan(), b.is_nan()) {
            (false, false) => directed(a.total_cmp(b)),
            (a, b) => a.cmp(&b),
        },
        (SortKey::Text(a), SortKey::Text(b)) => directed(a.cmp(b)),
        (SortKey::Number(_), SortKey::Text(_)) => Ordering::Less,
        (SortKey::Text(_), SortKey::Number(_)) => Ordering::Greater,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 2] = [
        Column { title: "class", numeric: false, width: 0.0 },
        Column { title: "accuracy", numeric: true, width: 80.0 },
    ];
    const ROWS: [(&str, f64); 4] = [("cat", 0.5), ("Ant", f64::NAN), ("bee", 0.9), ("cattle", 0.1)];

    fn order(state: &TableState) -> Vec<usize> {
        let cell = |row: usize, column: usize| match column {
            0 => Cow::Borrowed(ROWS[row].0),
            _ => Cow::Owned(ROWS[row].1.to_string()),
        };
        let key = |row: usize, column: usize| match column {
            0 => SortKey::Text(Cow::Borrowed(ROWS[row].0)),
            _ => SortKey::Number(ROWS[row].1),
        };
        DataTable::new("table", &COLUMNS, ROWS.len(), 0).sorted(state, &cell, &key).order
    }

    #[test]
    fn rows_are_sorted_whatever_their_case_with_missing_numbers_last() {
        assert_eq!(order(&TableState::default()), [0, 1, 2, 3]);
        assert_eq!(order(&TableState::sorted_by(0, false)), [1, 2, 0, 3]);
        assert_eq!(order(&TableState::sorted_by(1, false)), [3, 0, 2, 1]);
        assert_eq!(order(&TableState::sorted_by(1, true)), [2, 0, 3, 1]);
    }

    #[test]
    fn a_search_looks_at_words_and_not_at_numbers() {
        let search =
            |text: &str| order(&TableState { search: text.into(), ..TableState::default() });
        assert_eq!(search(" CAT"), [0, 3]);
        assert_eq!(search("0.9"), [0; 0]);
    }

    #[test]
    fn a_heading_goes_through_both_directions_and_back() {
        let mut state = TableState::default();
        let mut toggle = |column: usize, numeric: bool| {
            state.toggle(column, numeric);
            state.sort
        };
        assert_eq!([(); 3].map(|()| toggle(1, true)), [Some((1, true)), Some((1, false)), None]);
        assert_eq!([(); 3].map(|()| toggle(0, false)), [Some((0, false)), Some((0, true)), None]);
        assert_eq!([toggle(0, false), toggle(1, true)], [Some((0, false)), Some((1, true))]);
    }
}
