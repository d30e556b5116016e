//! The rail on the left: the five steps with how far each is, the runs, and the menu.

use egui::{
    Align, Button, CornerRadius, Frame, Label, Layout, Margin, Panel, PopupCloseBehavior, RichText,
    Role, Sense, Stroke, Ui, Vec2, WidgetInfo,
};
use egui_material_icons::MaterialIcon;
use egui_material_icons::icons::{
    ICON_ADD_PHOTO_ALTERNATE, ICON_ANALYTICS, ICON_BALANCE, ICON_CHECK_CIRCLE, ICON_CIRCLE,
    ICON_ERROR, ICON_GRID_VIEW, ICON_HELP, ICON_HISTORY, ICON_IMAGE_SEARCH, ICON_IOS_SHARE,
    ICON_MENU, ICON_MODEL_TRAINING, ICON_PENDING, ICON_PHOTO_LIBRARY, ICON_RADIO_BUTTON_UNCHECKED,
    ICON_WARNING,
};

use crate::gui::command::{Command, RunsCommand, TourCommand, WindowCommand};
use crate::gui::state::{Page, State, StepStatus, ThemeChoice, folder_name};
use crate::gui::theme::{self, space, tokens};
use crate::gui::widgets::{IconButton, turning_arc};

const WIDTH: f32 = 208.0;
/// Height that the names of what is open need; in lower windows they give way to the pages.
const ROOM: f32 = 130.0;
/// Windows lower than this have their pages closer together.
const LOW: f32 = 640.0;

/// Draws the rail.
pub fn ui(ui: &mut Ui, state: &mut State, commands: &mut Vec<Command>) {
    let tokens = tokens(ui.visuals());
    let frame =
        Frame::new().fill(tokens.surface).inner_margin(Margin::same(12)).stroke(Stroke::NONE);
    Panel::left("rail").exact_size(WIDTH).resizable(false).frame(frame).show(ui, |ui| {
        ui.horizontal(|ui| {
            ui.add_space(space::SMALL);
            ui.label(
                RichText::new("Counterweight")
                    .text_style(egui::TextStyle::Heading)
                    .color(tokens.text),
            );
        });
        ui.add_space(space::LARGE);
        if is_low(ui) {
            ui.spacing_mut().item_spacing.y = 2.0;
        }
        for (number, page) in Page::STEPS.into_iter().enumerate() {
            step_ui(ui, state, page, Some(number + 1), commands);
        }
        ui.add_space(space::SMALL);
        ui.separator();
        ui.add_space(space::SMALL);
        step_ui(ui, state, Page::Images, None, commands);
        step_ui(ui, state, Page::Predict, None, commands);
        step_ui(ui, state, Page::Grow, None, commands);
        step_ui(ui, state, Page::Runs, None, commands);
        ui.with_layout(Layout::bottom_up(Align::LEFT), |ui| {
            menu_ui(ui, state, commands);
            open_ui(ui, state);
        });
    });
}

/// Which images are open and which run of them, from the bottom up.
fn open_ui(ui: &mut Ui, state: &State) {
    let source = state.data.source.as_ref();
    let is_anything = source.is_some() || state.run.is_some() || state.train.is_running();
    if !is_anything || ui.available_height() < ROOM {
        return;
    }
    ui.add_space(space::SMALL);
    let entry = |ui: &mut Ui, what: &str, name: Option<(String, String)>| {
        match name {
            Some((name, hint)) => {
                ui.add(Label::new(theme::strong(name)).truncate()).on_hover_text(hint);
            }
            None => {
                ui.label(RichText::new("none yet").weak());
            }
        }
        ui.label(RichText::new(what).small().weak());
    };
    let run = state.run.as_ref();
    let training = state.train.training.as_ref();
    let name_of = |folder: &std::path::Path| (folder_name(folder), folder.display().to_string());
    match training {
        Some(training) => entry(ui, "Run in training", Some(name_of(&training.folder))),
        None => entry(ui, "Run", run.map(|run| name_of(&run.folder))),
    }
    let images = match source {
        Some(source) => Some((source.title().into(), source.path.display().to_string())),
        None => run.map(|run| name_of(&run.root)),
    };
    entry(ui, "Images", images);
    ui.separator();
}

fn is_low(ui: &Ui) -> bool {
    ui.ctx().content_rect().height() < LOW
}

fn step_icon(page: Page) -> MaterialIcon {
    match page {
        Page::Data => ICON_PHOTO_LIBRARY,
        Page::Train => ICON_MODEL_TRAINING,
        Page::Balance => ICON_BALANCE,
        Page::Inspect => ICON_ANALYTICS,
        Page::Export => ICON_IOS_SHARE,
        Page::Images => ICON_GRID_VIEW,
        Page::Predict => ICON_IMAGE_SEARCH,
        Page::Grow => ICON_ADD_PHOTO_ALTERNATE,
        Page::Runs => ICON_HISTORY,
    }
}

fn step_ui(
    ui: &mut Ui,
    state: &State,
    page: Page,
    number: Option<usize>,
    commands: &mut Vec<Command>,
) {
    let tokens = tokens(ui.visuals());
    let status = state.status(page);
    let selected = state.page == page;
    let height = if is_low(ui) { 34.0 } else { 40.0 };
    let (rect, response) =
        ui.allocate_exact_size(Vec2::new(ui.available_width(), height), Sense::click());
    let label = match number {
        Some(number) => format!("{number} {}, {}", page.name(), status.word()),
        None => page.name().to_string(),
    };
    response.widget_info(|| WidgetInfo::selected(Role::Tab, true, selected, &label));
    if response.clicked() {
        commands.push(Command::Go(page));
    }
    let fill = match (selected, response.hovered()) {
        (true, _) => tokens.accent_wash,
        (false, true) => tokens.sunken,
        (false, false) => tokens.surface,
    };
    let painter = ui.painter();
    painter.rect_filled(rect, CornerRadius::same(8), fill);
    let color = match (selected, status) {
        (true, _) => tokens.accent_text,
        (false, StepStatus::Waiting) => tokens.text_weak,
        (false, _) => tokens.text,
    };
    let middle = rect.center().y;
    let icon_font = egui::FontId::new(20.0, step_icon(page).font_family());
    painter.text(
        egui::pos2(rect.left() + 22.0, middle),
        egui::Align2::CENTER_CENTER,
        step_icon(page).codepoint,
        icon_font,
        color,
    );
    let family = if selected { theme::semibold() } else { egui::FontFamily::Name("medium".into()) };
    let text = egui::pos2(rect.left() + 44.0, middle);
    painter.text(
        text,
        egui::Align2::LEFT_CENTER,
        page.name(),
        egui::FontId::new(14.0, family),
        color,
    );
    if number.is_some() {
        status_ui(ui, egui::pos2(rect.right() - 20.0, middle), status);
        response.on_hover_text(format!("{}: {}", page.name(), status.word()));
    }
}

fn status_ui(ui: &mut Ui, center: egui::Pos2, status: StepStatus) {
    let tokens = tokens(ui.visuals());
    if status == StepStatus::Running {
        turning_arc(ui, ui.painter(), center, tokens.accent_text);
        return;
    }
    let (icon, color) = match status {
        StepStatus::Waiting => (ICON_RADIO_BUTTON_UNCHECKED, tokens.text_weak),
        StepStatus::Ready => (ICON_CIRCLE, tokens.accent_text),
        StepStatus::Running => (ICON_PENDING, tokens.accent_text),
        StepStatus::Done => (ICON_CHECK_CIRCLE, tokens.good),
        StepStatus::Doubtful => (ICON_HELP, tokens.warn),
        StepStatus::Worthless => (ICON_WARNING, tokens.bad),
        StepStatus::Failed => (ICON_ERROR, tokens.bad),
    };
    let size = if status == StepStatus::Ready { 10.0 } else { 17.0 };
    let font = egui::FontId::new(size, icon.font_family());
    ui.painter().text(center, egui::Align2::CENTER_CENTER, icon.codepoint, font, color);
}

fn menu_ui(ui: &mut Ui, state: &State, commands: &mut Vec<Command>) {
    let button = IconButton::new(ICON_MENU, "Menu").quiet().show(ui);
    egui::Popup::menu(&button).close_behavior(PopupCloseBehavior::CloseOnClick).show(|ui| {
        ui.set_min_width(220.0);
        let mut entry = |ui: &mut Ui, text: &str, command: Command| {
            if ui.add(Button::new(text).frame_when_inactive(false)).clicked() {
                commands.push(command);
            }
        };
        let tour = if state.tour.can_resume() { "Resume the guided tour" } else { "Guided tour" };
        entry(ui, tour, Command::Tour(TourCommand::Start));
        entry(ui, "All commands…", Command::Window(WindowCommand::TogglePalette));
        let log = if state.shell.log_open { "Hide the log" } else { "Show the log" };
        entry(ui, log, Command::Window(WindowCommand::ToggleLog));
        entry(ui, "Open run…", Command::Runs(RunsCommand::PickRun));
        ui.separator();
        let themes = [
            ("Theme: system", ThemeChoice::System, WindowCommand::ThemeSystem),
            ("Theme: light", ThemeChoice::Light, WindowCommand::ThemeLight),
            ("Theme: dark", ThemeChoice::Dark, WindowCommand::ThemeDark),
        ];
        for (label, choice, command) in themes {
            if ui.selectable_label(state.shell.preferences.theme == choice, label).clicked() {
                commands.push(Command::Window(command));
            }
        }
        ui.separator();
        let zoom = state.shell.preferences.zoom;
        ui.horizontal(|ui| {
            ui.label(format!("Size {:.0} %", 100.0 * zoom));
            if ui.button("−").accessible_name("Smaller").on_hover_text("Smaller").clicked() {
                commands.push(Command::Window(WindowCommand::ZoomOut));
            }
            if ui.button("+").accessible_name("Larger").on_hover_text("Larger").clicked() {
                commands.push(Command::Window(WindowCommand::ZoomIn));
            }
        });
        ui.separator();
        let mut entry = |ui: &mut Ui, text: &str, command: WindowCommand| {
            if ui.add(Button::new(text).frame_when_inactive(false)).clicked() {
                commands.push(Command::Window(command));
            }
        };
        entry(ui, "About Counterweight", WindowCommand::About);
        entry(ui, "Quit", WindowCommand::Quit);
    });
}
