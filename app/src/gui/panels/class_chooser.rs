//! Choosing the class of images, by a few of its letters.

use counterweight_core::eval::Group;
use egui::{
    Align2, Button, Id, Key, Modal, Modifiers, RichText, Role, ScrollArea, TextEdit, Ui, WidgetInfo,
};
use nucleo_matcher::pattern::{CaseMatching, Normalization, Pattern};
use nucleo_matcher::{Config, Matcher, Utf32Str};

use crate::gui::state::ClassChooser;
use crate::gui::theme::{self, space, tokens};
use crate::gui::widgets::{group_dot, numbers};

/// Classes that are listed; more letters find the others.
const LISTED: usize = 200;

/// The classes there are to choose from.
pub struct Choices<'a> {
    /// What is done with the one that is chosen: "Move 3 images to".
    pub title: String,
    /// The classes.
    pub classes: &'a [String],
    /// Images of each.
    pub counts: Vec<usize>,
    /// The group of each.
    pub groups: &'a [Group],
    /// Those that were chosen lately, newest first.
    pub recent: &'a [String],
}

/// Draws the choice while there is one to make; gives the class that was chosen, which may be a new
/// one.
pub fn ui(ui: &mut Ui, open: &mut Option<ClassChooser>, choices: &Choices<'_>) -> Option<String> {
    let chooser = open.as_mut()?;
    let opened = !std::mem::replace(&mut chooser.is_open, true);
    let found = found(choices, &chooser.text);
    let typed = chooser.text.trim().to_string();
    let makes = !typed.is_empty() && !choices.classes.contains(&typed);
    let entries = found.len() + usize::from(makes);
    chooser.chosen = chooser.chosen.min(entries.saturating_sub(1));
    let (down, up, enter) = ui.input_mut(|input| {
        let mut pressed = |key| input.consume_key(Modifiers::NONE, key);
        (pressed(Key::ArrowDown), pressed(Key::ArrowUp), !opened && pressed(Key::Enter))
    });
    if down && chooser.chosen + 1 < entries {
        chooser.chosen += 1;
    }
    if up {
        chooser.chosen = chooser.chosen.saturating_sub(1);
    }
    let mut taken = None;
    let name_of = |entry: usize| match found.get(entry) {
        Some(&class) => choices.classes[class].clone(),
        None => typed.clone(),
    };
    if enter && entries > 0 {
        taken = Some(name_of(chooser.chosen));
    }
    let area = egui::Area::new(Id::unique("class chooser area"))
        .anchor(Align2::CENTER_TOP, [0.0, 70.0])
        .order(egui::Order::Foreground);
    let modal = Modal::new(Id::unique("class chooser"))
        .area(area)
        .frame(theme::dialog_frame(ui))
        .show(ui.ctx(), |ui| {
            ui.set_width(400.0);
            ui.label(theme::heading(&choices.title));
            let field = TextEdit::singleline(&mut chooser.text)
                .hint_text("Letters of a class, or a new name")
                .desired_width(f32::INFINITY);
            let response = ui.add(field);
            response.widget_info(|| WidgetInfo::labeled(Role::TextInput, true, "Class"));
            response.request_focus();
            if response.changed() {
                chooser.chosen = 0;
            }
            ui.add_space(space::SMALL);
            // With half of one more row, which says that there are more.
            ScrollArea::vertical().max_height(9.5 * 30.0).auto_shrink([false, true]).show(
                ui,
                |ui| {
                    ui.spacing_mut().item_spacing.y = 2.0;
                    for (entry, &class) in found.iter().enumerate() {
                        let is_chosen = entry == chooser.chosen;
                        if class_ui(ui, choices, class, is_chosen, down || up) {
                            taken = Some(name_of(entry));
                        }
                    }
                    if makes {
                        let is_chosen = chooser.chosen == found.len();
                        let name = format!("New class “{typed}”");
                        let button = Button::selectable(is_chosen, RichText::new(&name).italics())
                            .min_size([ui.available_width(), 28.0].into());
                        if ui.add(button).clicked() {
                            taken = Some(typed.clone());
                        }
                    }
                },
            );
        });
    if taken.is_some() || modal.should_close() {
        *open = None;
    }
    taken
}

fn class_ui(
    ui: &mut Ui,
    choices: &Choices<'_>,
    class: usize,
    is_chosen: bool,
    moved: bool,
) -> bool {
    let tokens = tokens(ui.visuals());
    let name = &choices.classes[class];
    let count = numbers::grouped(choices.counts[class] as u64);
    let inner = ui.horizontal(|ui| {
        group_dot(ui, choices.groups[class]);
        let button = Button::selectable(is_chosen, RichText::new(name).color(tokens.text))
            .min_size([ui.available_width(), 28.0].into())
            .right_text(RichText::new(count).small().color(tokens.text_weak));
        let response = ui.add(button);
        response.widget_info(|| WidgetInfo::selected(Role::Button, true, is_chosen, name));
        if is_chosen && moved {
            response.scroll_to_me(None);
        }
        response.clicked()
    });
    inner.inner
}

/// The classes that the letters fit, best first; where nothing was typed those that were used
/// lately and then all.
fn found(choices: &Choices<'_>, text: &str) -> Vec<usize> {
    let classes = choices.classes;
    if text.trim().is_empty() {
        let mut order: Vec<usize> = choices
            .recent
            .iter()
            .filter_map(|name| classes.iter().position(|class| class == name))
            .collect();
        let rest: Vec<usize> =
            (0..classes.len()).filter(|class| !order.contains(class)).take(LISTED).collect();
        order.extend(rest);
        return order;
    }
    let pattern = Pattern::parse(text.trim(), CaseMatching::Ignore, Normalization::Smart);
    let mut matcher = Matcher::new(Config::DEFAULT);
    let mut buffer = Vec::new();
    let mut scored: Vec<(u32, usize)> = classes
        .iter()
        .enumerate()
        .filter_map(|(at, name)| {
            let score = pattern.score(Utf32Str::new(name, &mut buffer), &mut matcher)?;
            Some((score, at))
        })
        .collect();
    // What was typed in full comes first, whatever else begins so.
    scored.sort_by_key(|(score, at)| (classes[*at] != text.trim(), std::cmp::Reverse(*score), *at));
    scored.into_iter().take(LISTED).map(|(_, at)| at).collect()
}
