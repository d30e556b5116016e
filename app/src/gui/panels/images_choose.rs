//! Choosing the class that images are moved to, by a few of its letters.

use counterweight_core::dataset::EditAction;
use egui::{
    Align2, Button, Id, Key, Modal, Modifiers, RichText, Role, ScrollArea, TextEdit, Ui, WidgetInfo,
};
use nucleo_matcher::pattern::{CaseMatching, Normalization, Pattern};
use nucleo_matcher::{Config, Matcher, Utf32Str};

use crate::gui::command::{Command, ImagesCommand};
use crate::gui::state::{ImagesState, ImagesView};
use crate::gui::theme::{self, space, tokens};
use crate::gui::widgets::{group_dot, numbers};

/// Classes that are listed; more letters find the others.
const LISTED: usize = 200;

/// Draws the choice while there is one to make.
pub fn ui(ui: &mut Ui, images: &mut ImagesState, commands: &mut Vec<Command>) {
    let Some(view) = images.view.clone() else { return };
    let number = images.targets().len();
    let recent = images.recent.clone();
    let Some(chooser) = &mut images.chooser else { return };
    let opened = !std::mem::replace(&mut chooser.is_open, true);
    let found = found(&view, &recent, &chooser.text);
    let typed = chooser.text.trim().to_string();
    let makes = !typed.is_empty() && !view.edited.classes.contains(&typed);
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
        Some(&class) => view.edited.classes[class].clone(),
        None => typed.clone(),
    };
    if enter && entries > 0 {
        taken = Some(name_of(chooser.chosen));
    }
    let area = egui::Area::new(Id::unique("class chooser area"))
        .anchor(Align2::CENTER_TOP, [0.0, 70.0])
        .order(egui::Order::Foreground);
    let modal = Modal::new(Id::unique("class chooser")).area(area).show(ui.ctx(), |ui| {
        ui.set_width(400.0);
        let what = match number {
            1 => "Move 1 image to".to_string(),
            many => format!("Move {} images to", numbers::grouped(many as u64)),
        };
        ui.label(theme::heading(what));
        let field = TextEdit::singleline(&mut chooser.text)
            .hint_text("Letters of a class, or a new name")
            .desired_width(f32::INFINITY);
        let response = ui.add(field);
        response.widget_info(|| WidgetInfo::labeled(Role::TextInput, true, "Class to move to"));
        response.request_focus();
        if response.changed() {
            chooser.chosen = 0;
        }
        ui.add_space(space::SMALL);
        ScrollArea::vertical().max_height(300.0).auto_shrink([false, true]).show(ui, |ui| {
            ui.spacing_mut().item_spacing.y = 2.0;
            for (entry, &class) in found.iter().enumerate() {
                let is_chosen = entry == chooser.chosen;
                if class_ui(ui, &view, class, is_chosen, down || up) {
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
        });
    });
    if let Some(to) = taken {
        images.chooser = None;
        commands.push(Command::Images(ImagesCommand::Edit(EditAction::Move { to })));
    } else if modal.should_close() {
        images.chooser = None;
    }
}

fn class_ui(ui: &mut Ui, view: &ImagesView, class: usize, is_chosen: bool, moved: bool) -> bool {
    let tokens = tokens(ui.visuals());
    let name = &view.edited.classes[class];
    let count = numbers::grouped(view.counts[class].iter().sum::<usize>() as u64);
    let inner = ui.horizontal(|ui| {
        group_dot(ui, view.groups[class]);
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
fn found(view: &ImagesView, recent: &[String], text: &str) -> Vec<usize> {
    let classes = &view.edited.classes;
    if text.trim().is_empty() {
        let mut order: Vec<usize> = recent
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
