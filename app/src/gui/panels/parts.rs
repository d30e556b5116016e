//! What several pages are put together from.

use counterweight_core::balance::describe;
use counterweight_core::eval::{Grade, Verdict};
use counterweight_core::source::Split;
use egui::{
    Align, Align2, Button, FontId, Image, Layout, Rect, Response, RichText, TextEdit, TextWrapMode,
    Ui, WidgetText, vec2,
};
use egui_material_icons::MaterialIcon;
use egui_material_icons::icons::{ICON_BROKEN_IMAGE, ICON_ERROR, ICON_MODEL_TRAINING};

use crate::gui::command::Command;
use crate::gui::state::{OpenRun, Page, Thumbnail};
use crate::gui::theme::{self, icon, space, tokens};
use crate::gui::widgets::{
    ProgressStrip, VerdictStrip, empty_state, metric_within, primary, words,
};
use crate::gui::worker::Progress;

/// Pages wider than this show their cards in two columns.
const WIDE: f32 = 1000.0;
/// Tiles of numbers are at least this wide.
const TILE: f32 = 128.0;

/// What a page shows that has nothing to show yet: a card with an icon, a title, a sentence and what
/// can be done.
pub fn empty_page(
    ui: &mut Ui,
    icon: MaterialIcon,
    title: &str,
    text: &str,
    add_actions: impl FnOnce(&mut Ui),
) {
    theme::card(ui, |ui| {
        ui.add_space(space::PAGE);
        empty_state(ui, icon, title, text, add_actions);
        ui.add_space(space::PAGE);
    });
}

/// The buttons that answer a question, from the right. They take their own height and no more,
/// which a layout in the middle of its room does not.
pub fn answers(ui: &mut Ui, add_buttons: impl FnOnce(&mut Ui)) {
    ui.with_layout(Layout::right_to_left(Align::TOP), add_buttons);
}

/// The title of a page, with what is to be done there at the right, or below where it does not fit.
pub fn title_row(ui: &mut Ui, title: &str, add_actions: impl FnOnce(&mut Ui)) {
    // Whether the actions fit is known by the width they had when they last stood in one row.
    let id = ui.make_persistent_id(("title row", title));
    let (room, known) =
        (ui.available_width(), ui.data(|data| data.get_temp::<f32>(id)).unwrap_or(0.0));
    let words = ui.horizontal(|ui| {
        let words = ui.label(theme::title(title)).rect.width() + space::LARGE;
        if words + known <= room {
            let row = ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                add_actions(ui);
                ui.min_rect().width()
            });
            if row.inner != known {
                ui.data_mut(|data| data.insert_temp(id, row.inner));
                if words + row.inner > room {
                    ui.ctx().request_discard("the actions of the page do not fit beside its title");
                }
            }
            return None;
        }
        Some(add_actions)
    });
    if let Some(add_actions) = words.inner {
        // In the same order, from the right.
        let size = vec2(room, ui.spacing().interact_size.y);
        let layout = Layout::right_to_left(Align::Center).with_main_wrap(true);
        let row = ui.allocate_ui_with_layout(size, layout, |ui| {
            // As wide as beside the title: a button whose words break would seem to fit there.
            ui.style_mut().wrap_mode = Some(TextWrapMode::Extend);
            add_actions(ui);
            ui.min_rect()
        });
        // Fewer of them may fit again; of those that need several rows that is not known.
        let used = row.inner;
        if used.height() <= 1.5 * size.y && used.width() != known {
            ui.data_mut(|data| data.insert_temp(id, used.width()));
            ui.ctx().request_repaint();
        }
    }
    gap(ui);
}

/// The distance between two cards, one below the other.
pub fn gap(ui: &mut Ui) {
    ui.add_space(space::LARGE - ui.spacing().item_spacing.y);
}

/// Two parts side by side where there is room for it, otherwise one below the other. `add_part` is
/// given 0 and then 1.
pub fn two_columns(ui: &mut Ui, mut add_part: impl FnMut(&mut Ui, usize)) {
    if ui.available_width() <= WIDE {
        add_part(ui, 0);
        gap(ui);
        add_part(ui, 1);
        return;
    }
    ui.scope(|ui| {
        let usual = ui.spacing().item_spacing;
        ui.spacing_mut().item_spacing.x = space::LARGE;
        ui.columns(2, |columns| {
            for (part, column) in columns.iter_mut().enumerate() {
                column.spacing_mut().item_spacing = usual;
                // A column stretches what is in it; in cards things are as wide as they need to be.
                column.vertical(|ui| add_part(ui, part));
            }
        });
    });
}

/// What is so many points high, if any of it can be seen: what cannot is not worth preparing.
pub fn if_in_sight(ui: &mut Ui, height: f32, add_contents: impl FnOnce(&mut Ui)) {
    let size = vec2(ui.available_width(), height);
    match ui.is_rect_visible(Rect::from_min_size(ui.cursor().min, size)) {
        true => add_contents(ui),
        false => _ = ui.allocate_space(size),
    }
}

/// A sample's small picture in a frame, or a sign that it cannot be read.
pub fn thumbnail(ui: &Ui, frame: Rect, thumbnail: &Thumbnail) {
    const CORNER: f32 = 6.0;
    let tokens = tokens(ui.visuals());
    ui.painter().rect_filled(frame, CORNER, tokens.sunken);
    match thumbnail {
        Thumbnail::Loading => {}
        Thumbnail::Ready(texture) => {
            let size = texture.size_vec2();
            let size = size * (frame.width() / size.max_elem().max(1.0));
            Image::new(texture)
                .corner_radius(CORNER)
                .paint_at(ui, Rect::from_center_size(frame.center(), size));
        }
        Thumbnail::Broken(_) => {
            let font = FontId::new(frame.width() / 4.0, ICON_BROKEN_IMAGE.font_family());
            ui.painter().text(
                frame.center(),
                Align2::CENTER_CENTER,
                ICON_BROKEN_IMAGE.codepoint,
                font,
                tokens.bad,
            );
        }
    }
}

/// Text that explains.
pub fn weak(ui: &mut Ui, text: impl Into<String>) {
    let color = tokens(ui.visuals()).text_weak;
    ui.label(RichText::new(text).color(color));
}

/// A cell of a grid; numbers stand to the right of it, one below the other. The grid is not told how
/// many columns it has: its last one would take the whole width.
pub fn cell(ui: &mut Ui, is_number: bool, text: impl Into<WidgetText>) {
    if !is_number {
        ui.label(text);
        return;
    }
    ui.with_layout(Layout::right_to_left(Align::Center), |ui| ui.label(text));
}

/// A line of text that says what went wrong, with an icon for those who see no colours.
pub fn trouble(ui: &mut Ui, text: &str) {
    let bad = tokens(ui.visuals()).bad;
    ui.horizontal_wrapped(|ui| {
        ui.label(icon(ICON_ERROR).color(bad));
        ui.label(RichText::new(text).color(bad));
    });
}

/// What a result is worth, and the distance to what comes below.
pub fn verdict(ui: &mut Ui, verdict: Option<&Verdict>) {
    if let Some(verdict) = verdict {
        VerdictStrip::new(verdict).show(ui);
        gap(ui);
    }
}

/// What is said where a page has to wait for a training, which has the device. `work` is what
/// begins then.
pub fn wait_for_training(ui: &mut Ui, work: &str, commands: &mut Vec<Command>) {
    empty_page(
        ui,
        ICON_MODEL_TRAINING,
        "Waiting for the training",
        &format!("{work} begins when the device is free."),
        |ui| {
            if ui.add(primary(ui, "Go to Train")).clicked() {
                commands.push(Command::Go(Page::Train));
            }
        },
    );
}

/// The button that goes on with a result: the one to press, unless that is worthless.
pub fn go_on<'a>(ui: &Ui, label: impl Into<String>, verdict: Option<&Verdict>) -> Button<'a> {
    match is_worthless(verdict) {
        true => Button::new(label.into()),
        false => primary(ui, label),
    }
}

/// Whether something is known of a result, and that is that it is worth nothing.
pub fn is_worthless(verdict: Option<&Verdict>) -> bool {
    verdict.is_some_and(|verdict| verdict.grade == Grade::Worthless)
}

/// Numbers with their names, in as many columns as fit.
pub fn tiles(ui: &mut Ui, tiles: &[(String, String, &str)]) {
    let gap = space::LARGE;
    let fitting = ((ui.available_width() + gap) / (TILE + gap)).floor().max(1.0) as usize;
    let columns = fitting.min(tiles.len()).max(1);
    let width = (ui.available_width() - gap * (columns - 1) as f32) / columns as f32;
    for row in tiles.chunks(columns) {
        ui.horizontal_top(|ui| {
            ui.spacing_mut().item_spacing.x = gap;
            for (name, value, meaning) in row {
                ui.allocate_ui_with_layout(vec2(width, 0.0), Layout::top_down(Align::Min), |ui| {
                    ui.set_width(width);
                    let tile = metric_within(ui, width, name, value, None);
                    match meaning.is_empty() {
                        true => tile.on_hover_text(name),
                        false => tile.on_hover_text(format!("{name}. {meaning}")),
                    };
                });
            }
        });
    }
}

/// A name and a value of a grid of two columns.
pub fn fact(ui: &mut Ui, name: &str, value: impl Into<RichText>) {
    weak(ui, name);
    ui.add(egui::Label::new(value.into()).wrap());
    ui.end_row();
}

/// How far a job is, with a button that stops it. Returns whether that was pressed. `waiting` is
/// said until the job says what it does.
pub fn progress(ui: &mut Ui, progress: &Progress, waiting: &str) -> bool {
    stoppable(ui, progress, waiting, false)
}

/// [`progress`] of a job that may have been asked to stop already.
pub fn stoppable(ui: &mut Ui, progress: &Progress, waiting: &str, stopping: bool) -> bool {
    let phase = if progress.phase.is_empty() {
        waiting.to_string()
    } else {
        words::capitalised(&progress.phase)
    };
    let strip = ProgressStrip {
        phase: &phase,
        done: progress.done,
        total: progress.total,
        unit: progress.unit,
        left: progress.seconds_left(),
        stopping,
    };
    strip.show(ui).stop
}

/// A field for a path with a button that browses for it. Returns whether that was pressed.
pub fn path_row(ui: &mut Ui, name: &str, hint: &str, text: &mut String) -> bool {
    let label = ui.label(name);
    let row = ui.horizontal(|ui| {
        let row = ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let browse = ui.button("Browse…");
            let browse = browse.accessible_name(format!("Browse for {hint}"));
            let field = TextEdit::singleline(text).hint_text(hint).desired_width(f32::INFINITY);
            ui.add(field).labelled_by(label.id);
            browse.clicked()
        });
        row.inner
    });
    row.inner
}

/// A button that stays pressed while it is chosen.
pub fn chip(ui: &mut Ui, chosen: bool, text: &str) -> Response {
    ui.add(Button::new(text).selected(chosen))
}

/// The name of the checkpoint a run ends with: `balanced` after balancing, otherwise stage 1's.
pub fn final_checkpoint(run: &OpenRun) -> Option<&str> {
    ["balanced", "best", "last"]
        .into_iter()
        .find(|name| run.checkpoints.iter().any(|there| there == name))
}

/// A checkpoint in words.
pub fn checkpoint_words(run: &OpenRun, name: &str) -> String {
    let words = match (name, &run.balanced) {
        ("balanced", Some(report)) if report.settings.balancers.is_empty() => {
            "balanced: kept as trained".into()
        }
        ("balanced", Some(report)) => format!("balanced: {}", describe(&report.settings)),
        ("balanced", None) => "balanced".into(),
        ("best", _) => "best: stage 1, best on validation".into(),
        ("last", _) => "last: stage 1, last epoch".into(),
        (other, _) => other.into(),
    };
    if final_checkpoint(run) == Some(name) { format!("{words} (final)") } else { words }
}

/// The split that may be looked at without giving away anything: validation, or else train.
pub fn free_split(run: &OpenRun) -> Split {
    if run.has_validation() { Split::Validation } else { Split::Train }
}

/// A reason as a sentence: with a capital letter, unless it begins with what has to stay as it is, such
/// as a path or a setting, and a full stop.
pub fn sentence(reason: &str) -> String {
    let reason = reason.trim_end_matches('.');
    let first = reason.split_whitespace().next().unwrap_or_default();
    let is_name = first.trim_end_matches([',', ':', ';']).contains(['/', '\\', '.', '_', '`']);
    let words = if is_name { reason.to_string() } else { words::capitalised(reason) };
    format!("{words}.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_becomes_a_sentence_and_names_stay() {
        assert_eq!(sentence("the disk is full"), "The disk is full.");
        assert_eq!(sentence("Done."), "Done.");
        assert_eq!(sentence("photos/cat.jpg: is a folder"), "photos/cat.jpg: is a folder.");
        assert_eq!(sentence("stage1.epochs must be 1"), "stage1.epochs must be 1.");
        assert_eq!(sentence("stopped, at once"), "Stopped, at once.");
    }
}
