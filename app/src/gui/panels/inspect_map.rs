//! The map of images on the inspection page.

use std::sync::Arc;

use counterweight_core::eval::Group;
use counterweight_core::pipeline::{MapColours, MapPoint};
use counterweight_core::source::{Location, Split};
use egui::{
    Align, Button, Color32, Id, Layout, Rect, RichText, Role, ScrollArea, Sense, TextEdit, Ui,
    WidgetInfo, vec2,
};
use egui_material_icons::icons::{ICON_CLOSE, ICON_FIT_SCREEN, ICON_ZOOM_IN, ICON_ZOOM_OUT};

use super::parts;
use crate::gui::command::{Command, DataCommand, InspectCommand, MapCommand};
use crate::gui::state::{Category, MapState, OpenRun, ShownMap};
use crate::gui::theme::{self, space, tokens};
use crate::gui::widgets::{IconButton, MapTool, PointMap, numbers};

/// Height of the map, and width of the legend beside it.
const HEIGHT: f32 = 520.0;
const LEGEND: f32 = 230.0;
/// Below this width the legend stands below the map.
const WIDE: f32 = 680.0;
/// Side of the picture of an image that is pointed at, and of those that were encircled.
const PICTURE: f32 = 128.0;
const SMALL: f32 = 88.0;
/// Rows of encircled images in sight.
const ROWS: usize = 3;
/// Entries of a legend that need no search.
const FEW: usize = 12;

/// Draws the card's contents.
pub fn ui(ui: &mut Ui, run: &OpenRun, map: &mut MapState, commands: &mut Vec<Command>) {
    let mut ask = |command| commands.push(Command::Inspect(InspectCommand::Map(command)));
    ui.label(theme::heading("Map of images"));
    parts::weak(
        ui,
        "Every image of the run, those that the network finds alike beside each other. Only what lies close says something; how far groups are apart does not.",
    );
    if let Some(progress) = map.progress() {
        ui.add_space(space::SMALL);
        if parts::progress(ui, progress, "Laying out the map") {
            ask(MapCommand::Stop);
        }
    }
    if let Some(reason) = &map.failure {
        ui.add_space(space::SMALL);
        parts::trouble(ui, reason);
    }
    if map.shown.is_none() {
        if !map.is_busy() {
            ui.add_space(space::SMALL);
            if ui.button("Lay out the map").clicked() {
                ask(MapCommand::Start);
            }
        }
        return;
    }
    ui.add_space(space::SMALL);
    choices_ui(ui, map);
    ui.add_space(space::SMALL);
    if ui.available_width() >= WIDE {
        let width = ui.available_width() - LEGEND - space::LARGE;
        ui.horizontal_top(|ui| {
            ui.spacing_mut().item_spacing.x = space::LARGE;
            ui.allocate_ui_with_layout(vec2(width, HEIGHT), Layout::top_down(Align::Min), |ui| {
                map_ui(ui, map);
            });
            ui.vertical(|ui| {
                ui.spacing_mut().item_spacing.x = space::MEDIUM;
                ui.set_width(LEGEND);
                legend_ui(ui, map, HEIGHT);
            });
        });
    } else {
        map_ui(ui, map);
        ui.add_space(space::SMALL);
        legend_ui(ui, map, 180.0);
    }
    if let Some(shown) = map.shown.as_ref().filter(|shown| shown.map.left_out > 0) {
        let left_out = numbers::grouped(shown.map.left_out as u64);
        parts::weak(
            ui,
            format!(
                "{left_out} images are not on the map: it has room for 60,000, and images that cannot be read have no place."
            ),
        );
    }
    selected_ui(ui, run, map, commands);
}

fn choices_ui(ui: &mut Ui, map: &mut MapState) {
    ui.horizontal_wrapped(|ui| {
        ui.label("Colours by");
        for (colours, name) in [
            (MapColours::Class, "Class"),
            (MapColours::Group, "Group"),
            (MapColours::Mistake, "Mistake"),
            (MapColours::Split, "Split"),
        ] {
            if parts::chip(ui, map.colours == colours, name).clicked() && map.colours != colours {
                map.colour_by(colours);
            }
        }
        ui.add_space(space::LARGE);
        ui.label("Dragging");
        for (tool, name, hint) in [
            (MapTool::Move, "Moves", "Dragging moves the map"),
            (MapTool::Select, "Selects", "Draw a line around images to list them below"),
        ] {
            let chip = parts::chip(ui, map.view.tool == tool, name).on_hover_text(hint);
            if chip.clicked() {
                map.view.tool = tool;
            }
        }
        ui.add_space(space::LARGE);
        for (icon, name) in [
            (ICON_ZOOM_IN, "Enlarge the map"),
            (ICON_ZOOM_OUT, "Make the map smaller"),
            (ICON_FIT_SCREEN, "Show the whole map"),
        ] {
            let button = IconButton::new(icon, name).icon_only().show(ui);
            if !button.on_hover_text("Or pinch, or turn the wheel with Ctrl held").clicked() {
                continue;
            }
            match icon.codepoint {
                code if code == ICON_ZOOM_IN.codepoint => map.view.enlarge(1.5),
                code if code == ICON_ZOOM_OUT.codepoint => map.view.enlarge(1.0 / 1.5),
                _ => map.view.fit(),
            }
        }
    });
}

/// Colours of points, and their order.
type Painted = (u64, bool, Arc<[Color32]>, Arc<[u32]>);

fn painted(ui: &Ui, map: &MapState, shown: &ShownMap) -> Painted {
    let id = Id::unique("colours of the map");
    let dark = ui.visuals().dark_mode;
    let known: Option<Painted> = ui.data(|data| data.get_temp(id));
    if let Some(known) = known.filter(|(of, was, ..)| (*of, *was) == (map.revision, dark)) {
        return known;
    }
    let pale = tokens(ui.visuals()).border;
    let colors: Arc<[Color32]> = shown
        .map
        .points
        .iter()
        .map(|point| match shown.category(map.colours, point) {
            category if map.highlighted.is_some_and(|looked_at| looked_at != category) => pale,
            category => color(ui, map.colours, category),
        })
        .collect();
    let mut order: Vec<u32> = (0..colors.len() as u32).collect();
    // On top: what is looked at, mistakes where they are asked for, and rare classes.
    order.sort_by_key(|&at| {
        let point = &shown.map.points[at as usize];
        let category = shown.category(map.colours, point);
        (
            map.highlighted == Some(category),
            map.colours == MapColours::Mistake && point.is_mistake(),
            std::cmp::Reverse(shown.map.train_counts[point.label]),
        )
    });
    let painted: Painted = (map.revision, dark, colors, order.into());
    ui.data_mut(|data| data.insert_temp(id, painted.clone()));
    painted
}

fn color(ui: &Ui, colours: MapColours, category: usize) -> Color32 {
    let tokens = tokens(ui.visuals());
    match (colours, category) {
        (MapColours::Class, class) => theme::class_color(ui.visuals(), class),
        (MapColours::Group, group) => tokens.group(Group::ALL[group.min(2)]),
        (MapColours::Mistake, 0) => tokens.before,
        (MapColours::Mistake, _) => tokens.bad,
        (MapColours::Split, split) if split == Split::Train as usize => tokens.before,
        (MapColours::Split, split) if split == Split::Validation as usize => tokens.validation,
        (MapColours::Split, _) => tokens.warn,
    }
}

fn map_ui(ui: &mut Ui, map: &mut MapState) {
    let Some(shown) = &map.shown else { return };
    let (_, _, colors, order) = painted(ui, map, shown);
    let title = format!("Map of {} images", numbers::grouped(shown.places.len() as u64));
    let drawn = PointMap::new("map of images", &shown.places, &colors, &order, map.revision)
        .title(&title)
        .height(HEIGHT)
        .show(ui, &mut map.view);
    if let Some(point) = drawn.hovered.and_then(|at| shown.map.points.get(at)) {
        let thumbnails = &mut map.thumbnails;
        drawn.response.on_hover_ui_at_pointer(|ui| point_ui(ui, shown, point, thumbnails));
    }
    if let Some(encircled) = drawn.encircled {
        map.selected = encircled;
    }
}

/// An image that is pointed at, with what is known of it.
fn point_ui(
    ui: &mut Ui,
    shown: &ShownMap,
    point: &MapPoint,
    thumbnails: &mut Option<crate::gui::state::Thumbnails>,
) {
    let (rect, _) = ui.allocate_exact_size(vec2(PICTURE, PICTURE), Sense::hover());
    if let Some(thumbnails) = thumbnails {
        parts::thumbnail(ui, rect, &thumbnails.get(point.sample, &point.location));
    }
    let class = |class: usize| shown.map.classes[class].as_str();
    ui.label(theme::strong(class(point.label)));
    let percent = numbers::percent(Some(point.probability.into()));
    let tokens = tokens(ui.visuals());
    let (text, color) = match point.is_mistake() {
        true => (format!("taken for {}, {percent}", class(point.predicted)), tokens.bad),
        false => (format!("right, {percent}"), tokens.good),
    };
    ui.label(RichText::new(text).color(color));
    parts::weak(ui, format!("{}, {} group", point.split, shown.map.group(point.label)));
    parts::weak(ui, point.location.to_text());
}

/// What the colours mean; an entry that is clicked is looked at by itself.
fn legend_ui(ui: &mut Ui, map: &mut MapState, height: f32) {
    let Some(shown) = &map.shown else { return };
    let mut entries: Vec<(usize, Category)> = shown
        .categories(map.colours)
        .into_iter()
        .enumerate()
        .filter(|(_, category)| category.images > 0)
        .collect();
    let all = entries.len();
    let mut room = height;
    if all > FEW {
        let field = TextEdit::singleline(&mut map.search)
            .hint_text(format!("Search {all} classes"))
            .desired_width(f32::INFINITY);
        let response = ui.add(field);
        response.widget_info(|| WidgetInfo::labeled(Role::TextInput, true, "Search the legend"));
        room -= response.rect.height() + ui.spacing().item_spacing.y;
        let wanted = map.search.trim().to_lowercase();
        entries.retain(|(_, category)| category.name.to_lowercase().contains(&wanted));
        if map.colours == MapColours::Class {
            entries.sort_by_key(|(_, category)| std::cmp::Reverse(category.images));
        }
    }
    if entries.is_empty() {
        parts::weak(ui, "No class has such a name.");
    }
    let mut clicked = None;
    let row = ui.spacing().interact_size.y;
    let area = ScrollArea::vertical()
        .id_salt("legend of the map")
        .max_height(room)
        .min_scrolled_height(room)
        .auto_shrink([false, true]);
    area.show_rows(ui, row, entries.len(), |ui, range| {
        for (category, entry) in &entries[range] {
            if entry_ui(ui, map, *category, entry) {
                clicked = Some(*category);
            }
        }
    });
    if let Some(category) = clicked {
        map.highlight(Some(category));
    }
}

fn entry_ui(ui: &mut Ui, map: &MapState, category: usize, entry: &Category) -> bool {
    let chosen = map.highlighted == Some(category);
    let width = ui.available_width();
    let height = ui.spacing().interact_size.y;
    let button = Button::new("").selected(chosen).frame_when_inactive(chosen);
    let response = ui.add_sized(vec2(width, height), button);
    let images = numbers::grouped(entry.images as u64);
    let spoken = || format!("{}, {images} images", entry.name);
    response.widget_info(|| WidgetInfo::selected(Role::Button, true, chosen, spoken()));
    let tokens = tokens(ui.visuals());
    let middle = response.rect.center().y;
    let dot = egui::pos2(response.rect.left() + 12.0, middle);
    ui.painter().circle_filled(dot, 5.0, color(ui, map.colours, category));
    let font = egui::TextStyle::Body.resolve(ui.style());
    let count = ui.painter().layout_no_wrap(images.clone(), font.clone(), tokens.text_weak);
    let mut job = egui::text::LayoutJob::simple_singleline(entry.name.clone(), font, tokens.text);
    let room = response.rect.width() - 24.0 - count.size().x - 2.0 * space::MEDIUM;
    job.wrap = egui::text::TextWrapping::truncate_at_width(room.max(20.0));
    let name = ui.painter().layout_job(job);
    let top = |size: egui::Vec2| middle - size.y / 2.0;
    let right = response.rect.right() - space::MEDIUM - count.size().x;
    let at = egui::pos2(response.rect.left() + 24.0, top(name.size()));
    ui.painter().galley(at, name, tokens.text);
    ui.painter().galley(egui::pos2(right, top(count.size())), count, tokens.text_weak);
    response.on_hover_text(&entry.name).clicked()
}

/// The images that a line was drawn around.
fn selected_ui(ui: &mut Ui, run: &OpenRun, map: &mut MapState, commands: &mut Vec<Command>) {
    let MapState { shown, selected, thumbnails, .. } = map;
    let (Some(shown), Some(thumbnails)) = (shown, thumbnails) else { return };
    if selected.is_empty() {
        return;
    }
    ui.add_space(space::SMALL);
    let points = || selected.iter().filter_map(|&at| shown.map.points.get(at));
    let mistakes = points().filter(|point| point.is_mistake()).count();
    let mut clears = false;
    ui.horizontal_wrapped(|ui| {
        let count = numbers::grouped(selected.len() as u64);
        ui.label(theme::strong(format!("{count} images are selected")));
        parts::weak(
            ui,
            format!("{} of them taken for another class", numbers::grouped(mistakes as u64)),
        );
        clears = IconButton::new(ICON_CLOSE, "Clear the selection").quiet().show(ui).clicked();
    });
    let points: Vec<&MapPoint> = points().collect();
    let gap = space::SMALL;
    let room = ui.available_width() - ui.spacing().scroll.allocated_width();
    let columns = ((room + gap) / (SMALL + gap)).floor().max(1.0) as usize;
    let rows = points.len().div_ceil(columns);
    let height = rows.min(ROWS) as f32 * (SMALL + gap);
    let area = ScrollArea::vertical()
        .id_salt("selected images")
        .max_height(height)
        .min_scrolled_height(height)
        .auto_shrink([false, true]);
    area.show_rows(ui, SMALL, rows, |ui, range| {
        for row in range {
            ui.horizontal(|ui| {
                ui.spacing_mut().item_spacing.x = gap;
                for point in points.iter().skip(row * columns).take(columns) {
                    let (rect, response) =
                        ui.allocate_exact_size(vec2(SMALL, SMALL), Sense::click());
                    let file = point.location.to_text();
                    let class = &shown.map.classes[point.label];
                    let spoken = format!("{file}: {class}");
                    response.widget_info(|| WidgetInfo::labeled(Role::Button, true, &spoken));
                    let thumbnail = thumbnails.get(point.sample, &point.location);
                    parts::thumbnail(ui, rect, &thumbnail);
                    mark_ui(ui, rect, point);
                    let response = response.on_hover_ui(|ui| {
                        point_ui(ui, shown, point, &mut None);
                    });
                    if response.clicked()
                        && let Location::File(file) = &point.location
                    {
                        commands.push(Command::Data(DataCommand::ShowFile(run.root.join(file))));
                    }
                }
            });
        }
    });
    if clears {
        selected.clear();
    }
}

/// A line around what is taken for another class.
fn mark_ui(ui: &Ui, rect: Rect, point: &MapPoint) {
    if point.is_mistake() {
        let stroke = egui::Stroke::new(2.0, tokens(ui.visuals()).bad);
        ui.painter().rect_stroke(rect, 6.0, stroke, egui::StrokeKind::Inside);
    }
}
