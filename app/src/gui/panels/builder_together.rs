//! Which images are kept together in one split, on the data page: the choice, what it changes, and
//! the notice where images come in series.

use counterweight_core::dataset::{
    DEFAULT_DISTANCE, DEFAULT_SECONDS, GroupBy, Grouped, LeakCount, Series, Sign,
};
use counterweight_core::eval::Grade;
use egui::{
    ComboBox, CornerRadius, DragValue, Frame, Label, Margin, RichText, Role, Stroke, TextEdit, Ui,
    WidgetInfo,
};
use egui_material_icons::icons::ICON_BURST_MODE;

use super::builder::row_ui;
use super::parts;
use crate::gui::command::{Command, DataCommand};
use crate::gui::state::{Builder, KeepTogether};
use crate::gui::theme::{self, space, tokens};
use crate::gui::widgets::{numbers, waiting, words};

/// Size of the mark beside the notice.
const MARK: f32 = 22.0;

/// Draws the choice and what it changes.
pub fn ui(ui: &mut Ui, keep: &mut KeepTogether, builder: &Builder, commands: &mut Vec<Command>) {
    let now = keep.asked().or(builder.options().group_by.as_ref()).cloned();
    let mut ask = |by: Option<GroupBy>| {
        if by != now {
            commands.push(Command::Data(DataCommand::KeepTogether(by)));
        }
    };
    row_ui(
        ui,
        "Keep together",
        "Images that belong together, such as frames of one track, are all held out or all trained on. On both sides of a split they make results look better than they are.",
        |ui| {
            ComboBox::from_id_salt("keep together").selected_text(name(now.as_ref())).show_ui(
                ui,
                |ui| {
                    let mut ways: Vec<Option<GroupBy>> =
                        std::iter::once(None).chain(GroupBy::USUAL.map(Some)).collect();
                    if builder.has_folders_above {
                        ways.insert(2, Some(GroupBy::FolderAbove));
                    }
                    if builder.has_listed_groups {
                        ways.push(Some(GroupBy::List));
                    }
                    for way in ways {
                        let same = name(way.as_ref()) == name(now.as_ref());
                        let entry = ui.selectable_label(same, name(way.as_ref()));
                        if entry.on_hover_text(meaning(way.as_ref())).clicked() && !same {
                            ask(way);
                        }
                    }
                },
            );
        },
    );
    match &now {
        Some(GroupBy::Name { pattern }) => {
            let hint = "A regular expression with the part that is the same in parentheses, such as ^(.*)_ for everything before the last underscore. Without one, names count up to the last number in them.";
            row_ui(ui, "Pattern", hint, |ui| {
                let field = TextEdit::singleline(&mut keep.pattern_text)
                    .desired_width(180.0)
                    .hint_text("up to the last number");
                if ui.add(field).accessible_name("Pattern").lost_focus() {
                    let typed = keep.pattern_text.trim();
                    let typed = (!typed.is_empty()).then(|| typed.to_string());
                    if typed != *pattern {
                        ask(Some(GroupBy::Name { pattern: typed }));
                    }
                }
            });
        }
        Some(GroupBy::Time { seconds }) => {
            let mut seconds = *seconds;
            row_ui(
                ui,
                "At most apart",
                "Photos of one camera belong together with the next one if they are no further apart than this",
                |ui| {
                    let field = DragValue::new(&mut seconds).range(0..=86_400u64).suffix(" s");
                    if ui.add(field).accessible_name("At most apart").changed() {
                        ask(Some(GroupBy::Time { seconds }));
                    }
                },
            );
        }
        Some(GroupBy::LookAlikes { distance }) => {
            let mut distance = *distance;
            row_ui(
                ui,
                "Differ in at most",
                "How much two pictures may differ that belong together: 0 keeps exact likenesses together, unrelated photos differ in about 32",
                |ui| {
                    let field =
                        DragValue::new(&mut distance).range(0..=16u32).speed(0.05).suffix(" of 64");
                    if ui.add(field).accessible_name("Differ in at most").changed() {
                        ask(Some(GroupBy::LookAlikes { distance }));
                    }
                },
            );
        }
        _ => {}
    }
    if let Some(reason) = keep.failure() {
        let color = tokens(ui.visuals()).bad;
        let reason = RichText::new(words::capitalised(reason) + ".").small().color(color);
        ui.add(Label::new(reason).wrap());
    } else if keep.is_finding() {
        ui.horizontal(|ui| {
            waiting(ui);
            parts::weak(ui, "Looking for images that belong together");
        });
    } else if let Some(grouped) = keep.compared().filter(|_| now.is_some()) {
        outcome_ui(ui, grouped);
    }
}

fn name(by: Option<&GroupBy>) -> &'static str {
    match by {
        None => "nothing",
        Some(GroupBy::Subfolder) => "subfolder",
        Some(GroupBy::FolderAbove) => "folder above",
        Some(GroupBy::Name { .. }) => "name",
        Some(GroupBy::Time { .. }) => "time",
        Some(GroupBy::LookAlikes { .. }) => "look-alikes",
        Some(GroupBy::List) => "as listed",
    }
}

fn meaning(by: Option<&GroupBy>) -> String {
    match by {
        None => "Every image is held out by itself".into(),
        Some(GroupBy::Subfolder) => {
            "Images in one folder below that of their class, which is no class of its own then".into()
        }
        Some(GroupBy::FolderAbove) => {
            "Images in one folder above that of their class, whatever their class: a place or a day, say. The last folder alone names the class then".into()
        }
        Some(GroupBy::Name { .. }) => {
            "Images of a class whose file names are the same up to the last number, or in a part that you name".into()
        }
        Some(GroupBy::Time { .. }) => {
            format!("Photos that one camera took within {DEFAULT_SECONDS} seconds of the next, or as you say")
        }
        Some(GroupBy::LookAlikes { .. }) => {
            format!("Images of a class that are nearly the same: by a fingerprint of 64 bits, of which {DEFAULT_DISTANCE} may differ")
        }
        Some(GroupBy::List) => "Images that the image list puts into one series".into(),
    }
}

fn outcome_ui(ui: &mut Ui, grouped: &Grouped) {
    let color = tokens(ui.visuals()).text_weak;
    let mut line =
        |text: String| drop(ui.add(Label::new(RichText::new(text).small().color(color)).wrap()));
    let sizes = &grouped.sizes;
    if sizes.several == 0 {
        line("No image belongs to another this way.".into());
        return;
    }
    line(format!(
        "{} series, the largest of {} images",
        numbers::grouped(sizes.series as u64),
        numbers::grouped(sizes.largest as u64)
    ));
    let splits = [
        ("Validation", grouped.before.validation.all, grouped.after.validation.all),
        ("Test", grouped.before.test.all, grouped.after.test.all),
    ];
    for (split, before, after) in splits {
        if let (Some(before), Some(after)) = (percent(before), percent(after)) {
            line(format!("{split} images with a sibling in training: {before} → {after}"));
        }
    }
    if grouped.assumed_validation.is_some() {
        line("(if a tenth were held out for validation)".into());
    }
}

fn percent(count: LeakCount) -> Option<String> {
    count.share().map(|share| match share {
        share if share > 0.0 && share < 0.01 => "under 1 %".into(),
        share => format!("{:.0} %", 100.0 * share),
    })
}

/// Draws the notice that images come in series, with a button that keeps them together.
pub fn notice_ui(ui: &mut Ui, series: &Series, commands: &mut Vec<Command>) {
    let colors = tokens(ui.visuals()).grade(Grade::Doubtful);
    let frame = Frame::new()
        .fill(colors.wash)
        .stroke(Stroke::new(1.0, colors.mark.gamma_multiply(0.45)))
        .corner_radius(CornerRadius::same(8))
        .inner_margin(Margin::symmetric(14, 12));
    let strip = frame.show(ui, |ui| {
        ui.set_width(ui.available_width());
        ui.horizontal_top(|ui| {
            let mark = theme::icon(ICON_BURST_MODE).size(MARK).color(colors.mark);
            ui.add(Label::new(mark).selectable(false));
            ui.vertical(|ui| {
                ui.add_space(2.0);
                ui.spacing_mut().item_spacing.y = space::SMALL;
                let text = tokens(ui.visuals()).text;
                let heading = theme::strong(match series.sign {
                    Sign::Names => "These images may come in series",
                    Sign::Looks | Sign::Times { .. } => "These images seem to come in series",
                });
                ui.add(Label::new(heading).wrap());
                let say = |ui: &mut Ui, sentence: String| {
                    let sentence = words::capitalised(&sentence) + ".";
                    ui.add(Label::new(RichText::new(sentence).color(text)).wrap());
                };
                say(ui, series.sentence());
                match &series.by {
                    Some(by) => {
                        say(ui, series.consequence());
                        ui.add_space(space::SMALL);
                        let label = format!("Keep together by {}", name(Some(by)));
                        if ui.button(label).clicked() {
                            let by = Some(by.clone());
                            commands.push(Command::Data(DataCommand::KeepTogether(by)));
                        }
                    }
                    None => say(ui, match series.sign {
                        Sign::Names => "Held out one by one they flatter every result if they belong together; Keep together in the builder holds them out in whole series".into(),
                        Sign::Looks => "Held out one by one they flatter every result; Keep together in the builder holds them out in whole series".into(),
                        Sign::Times { .. } => "Held out one by one they flatter every result. Of classes that are one series, only photos of another occasion can tell how well they are recognised".into(),
                    }),
                }
            });
        });
    });
    strip
        .response
        .widget_info(|| WidgetInfo::labeled(Role::Group, true, "Notice: images come in series"));
}
