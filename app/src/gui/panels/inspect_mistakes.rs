//! The images a checkpoint gets wrong: which rare classes are lost to which others, and what the
//! images look like.

use std::sync::Arc;

use counterweight_core::eval::{Confusion, Group};
use counterweight_core::pipeline::SamplePrediction;
use counterweight_core::source::Location;
use egui::text::{LayoutJob, TextWrapping};
use egui::{
    Color32, CornerRadius, Id, Pos2, Rect, RichText, Role, ScrollArea, Sense, Stroke, StrokeKind,
    TextStyle, Ui, WidgetInfo, pos2, vec2,
};
use egui_material_icons::icons::{ICON_ARROW_FORWARD, ICON_CLOSE};

use super::{inspect_looked, parts};
use crate::gui::command::{Command, DataCommand};
use crate::gui::state::{Inspection, OpenRun, Overlay, Overlays, Thumbnail, Thumbnails};
use crate::gui::theme::{self, space, tokens};
use crate::gui::widgets::{IconButton, group_dot, numbers, words};

/// Side of the pictures, in points.
const SIDE: f32 = 120.0;
/// Height of a picture with its two lines of text.
const ROW: f32 = SIDE + 48.0;
/// Height of the part of the list in sight.
const HEIGHT: f32 = 3.0 * ROW + 2.0 * space::MEDIUM;
/// Pairs of classes that are listed.
const PAIRS: usize = 10;

/// A true class, the class its samples are taken for, and how many of them.
type Lost = (usize, usize, u32);

/// Draws the card's contents. The pair and the group say whose mistakes are shown; without them it
/// is all.
pub fn ui(
    ui: &mut Ui,
    run: &OpenRun,
    shown: &Inspection,
    (thumbnails, overlays): (&mut Option<Thumbnails>, &mut Overlays),
    (pair, group): (&mut Option<(usize, usize)>, &mut Option<Group>),
    revision: u64,
    commands: &mut Vec<Command>,
) {
    ui.label(theme::heading("Misclassified images"));
    if shown.mistakes.is_empty() {
        parts::weak(ui, "Every image of this split is classified correctly.");
    } else {
        lost_ui(ui, shown, pair, revision);
    }
    if pair.is_none() && shown.mistakes.is_empty() {
        return;
    }
    filter_ui(ui, shown, pair, group);
    let samples = chosen(shown, *pair, *group);
    let total = numbers::grouped(shown.mistakes.len() as u64);
    let count = numbers::grouped(samples.len() as u64);
    parts::weak(
        ui,
        match *pair {
            Some((truth, predicted)) if truth == predicted => {
                format!("{count} images of {} that are right", name(shown, truth))
            }
            _ => format!("{count} of {total} misclassified images, rare classes first"),
        },
    );
    inspect_looked::switch_ui(ui, overlays);
    images_ui(ui, run, shown, (thumbnails, overlays), &samples, commands);
}

fn name(shown: &Inspection, class: usize) -> &str {
    shown.predictions.classes.get(class).map_or("?", String::as_str)
}

/// The pairs of classes that most samples of the few group are lost by.
fn lost_ui(ui: &mut Ui, shown: &Inspection, pair: &mut Option<(usize, usize)>, revision: u64) {
    let evaluation = shown.evaluation.judged();
    let of_few = evaluation
        .per_class
        .iter()
        .any(|class| class.group == Group::Few && class.samples > class.correct);
    let id = Id::unique("pairs of classes that samples are lost by");
    let known =
        ui.data(|data| data.get_temp::<(u64, Arc<[Lost]>)>(id)).filter(|(of, _)| *of == revision);
    let (_, lost) = known.unwrap_or_else(|| {
        let rows: Vec<bool> =
            evaluation.per_class.iter().map(|class| !of_few || class.group == Group::Few).collect();
        let found: (u64, Arc<[Lost]>) =
            (revision, Arc::from(most_lost(&evaluation.confusion, &rows, PAIRS)));
        ui.data_mut(|data| data.insert_temp(id, found.clone()));
        found
    });
    let text = if of_few {
        "Tail images lost to which class:"
    } else {
        "No image of a few class is lost. The most frequent confusions are:"
    };
    parts::weak(ui, text);
    ui.horizontal_wrapped(|ui| {
        for &(truth, predicted, count) in lost.iter() {
            let samples = evaluation.per_class[truth].samples;
            let text = format!(
                "{} → {}, {count} of {samples}",
                name(shown, truth),
                name(shown, predicted)
            );
            let this = Some((truth, predicted));
            let group = shown.group(predicted);
            let button = parts::chip(ui, *pair == this, &text);
            let button = button.on_hover_text(format!(
                "{} has {} training images, {} has {} ({group})",
                name(shown, truth),
                numbers::grouped(shown.predictions.train_counts[truth] as u64),
                name(shown, predicted),
                numbers::grouped(shown.predictions.train_counts[predicted] as u64),
            ));
            if button.clicked() {
                *pair = if *pair == this { None } else { this };
            }
        }
    });
    ui.add_space(space::SMALL);
}

/// The largest cells off the diagonal of the chosen rows, largest first.
fn most_lost(confusion: &Confusion, rows: &[bool], most: usize) -> Vec<Lost> {
    let lost = confusion.cells().filter(|&(truth, predicted, _)| {
        truth != predicted && rows.get(truth).copied().unwrap_or_default()
    });
    let mut cells: Vec<Lost> = lost.collect();
    cells.sort_by(|a, b| b.2.cmp(&a.2).then((a.0, a.1).cmp(&(b.0, b.1))));
    cells.truncate(most);
    cells
}

fn filter_ui(
    ui: &mut Ui,
    shown: &Inspection,
    pair: &mut Option<(usize, usize)>,
    group: &mut Option<Group>,
) {
    ui.horizontal_wrapped(|ui| {
        ui.label("True class in");
        let everything = pair.is_none() && group.is_none();
        if parts::chip(ui, everything, "All mistakes").clicked() {
            (*pair, *group) = (None, None);
        }
        for candidate in Group::ALL {
            ui.add_space(space::SMALL);
            group_dot(ui, candidate);
            let chosen = pair.is_none() && *group == Some(candidate);
            let button = parts::chip(ui, chosen, &words::capitalised(candidate.name()));
            if button
                .on_hover_text(format!("Mistakes of classes in the {candidate} group"))
                .clicked()
            {
                (*pair, *group) = (None, Some(candidate));
            }
        }
        if let Some((truth, predicted)) = *pair {
            ui.add_space(space::MEDIUM);
            let text = format!(
                "{} {} {}",
                name(shown, truth),
                ICON_ARROW_FORWARD.codepoint,
                name(shown, predicted)
            );
            ui.label(theme::strong(text));
            if IconButton::new(ICON_CLOSE, "Show all pairs").icon_only().quiet().show(ui).clicked()
            {
                *pair = None;
            }
        }
    });
}

/// The numbers of the samples that are to be shown.
fn chosen(shown: &Inspection, pair: Option<(usize, usize)>, group: Option<Group>) -> Vec<usize> {
    let samples = &shown.predictions.samples;
    match (pair, group) {
        // What is right is no mistake and has to be looked for among all.
        (Some((truth, predicted)), _) if truth == predicted => (0..samples.len())
            .filter(|&index| samples[index].label == truth && samples[index].predicted == truth)
            .collect(),
        (Some(pair), _) => {
            let of_pair =
                |index: &usize| (samples[*index].label, samples[*index].predicted) == pair;
            shown.mistakes.iter().copied().filter(of_pair).collect()
        }
        (None, Some(group)) => shown
            .mistakes
            .iter()
            .copied()
            .filter(|&index| shown.group(samples[index].label) == group)
            .collect(),
        (None, None) => shown.mistakes.clone(),
    }
}

/// The images, as many a row as fit; only those in sight are read.
fn images_ui(
    ui: &mut Ui,
    run: &OpenRun,
    shown: &Inspection,
    (thumbnails, overlays): (&mut Option<Thumbnails>, &mut Overlays),
    samples: &[usize],
    commands: &mut Vec<Command>,
) {
    let Some(thumbnails) = thumbnails else { return };
    let gap = space::MEDIUM;
    let room = ui.available_width() - ui.spacing().scroll.allocated_width();
    let looks = overlays.on && overlays.failure.is_none();
    let width = if looks { inspect_looked::WIDTH } else { SIDE };
    let columns = ((room + gap) / (width + gap)).floor().max(1.0) as usize;
    let rows = samples.len().div_ceil(columns);
    let area = ScrollArea::vertical()
        .id_salt("misclassified images")
        .min_scrolled_height(HEIGHT)
        .max_height(HEIGHT)
        .auto_shrink([false, true]);
    area.show_rows(ui, ROW, rows, |ui, range| {
        for row in range {
            ui.horizontal(|ui| {
                ui.spacing_mut().item_spacing.x = gap;
                for &index in samples.iter().skip(row * columns).take(columns) {
                    let sample = &shown.predictions.samples[index];
                    let thumbnail = thumbnails.get(index, &sample.location);
                    let overlay = looks.then(|| {
                        let classes = [sample.label, sample.predicted];
                        overlays.get(ui.ctx(), index, &sample.location, classes)
                    });
                    if image_ui(ui, shown, sample, &thumbnail, overlay.as_ref())
                        && let Location::File(file) = &sample.location
                    {
                        commands.push(Command::Data(DataCommand::ShowFile(run.root.join(file))));
                    }
                }
            });
        }
    });
}

/// One image with what it is and what it is taken for. Returns whether it was clicked.
fn image_ui(
    ui: &mut Ui,
    shown: &Inspection,
    sample: &SamplePrediction,
    thumbnail: &Thumbnail,
    overlay: Option<&Overlay>,
) -> bool {
    let tokens = tokens(ui.visuals());
    let file = sample.location.to_text();
    let (truth, predicted) = (name(shown, sample.label), name(shown, sample.predicted));
    let percent = |share: f32| numbers::percent(Some(share.into()));
    let is_file = matches!(sample.location, Location::File(_));
    let (rect, response) = ui.allocate_exact_size(
        vec2(if overlay.is_some() { inspect_looked::WIDTH } else { SIDE }, ROW),
        if is_file { Sense::click() } else { Sense::hover() },
    );
    let role = if is_file { Role::Button } else { Role::Image };
    let spoken =
        || format!("{file}: {truth}, taken for {predicted}, {}", percent(sample.probability));
    response.widget_info(|| WidgetInfo::labeled(role, true, spoken()));
    if ui.is_rect_visible(rect) {
        let frame = Rect::from_min_size(rect.min, vec2(SIDE, SIDE));
        match overlay {
            Some(overlay) => inspect_looked::pair_ui(ui, frame, overlay, thumbnail, sample),
            None => parts::thumbnail(ui, frame, thumbnail),
        }
        if is_file && (response.hovered() || response.has_focus()) {
            ui.painter().rect_stroke(
                frame,
                CornerRadius::same(6),
                Stroke::new(2.0, tokens.accent),
                StrokeKind::Inside,
            );
        }
        if overlay.is_some() {
            frame_captions(ui, shown, sample, frame);
            return hover(response, shown, sample, thumbnail).clicked();
        }
        let dot = pos2(rect.left() + 5.0, frame.bottom() + 14.0);
        ui.painter().circle_filled(dot, 4.0, tokens.group(shown.group(sample.label)));
        line(ui, pos2(rect.left() + 14.0, frame.bottom() + 5.0), truth, tokens.text, SIDE - 14.0);
        let right = sample.label == sample.predicted;
        let (text, color) = match right {
            true => (format!("right, {}", percent(sample.probability)), tokens.good),
            false => (format!("→ {predicted}"), tokens.bad),
        };
        // The probability stands at the right end, so that a long name does not push it out of
        // sight.
        let font = TextStyle::Small.resolve(ui.style());
        let share =
            ui.painter().layout_no_wrap(percent(sample.probability), font, tokens.text_weak);
        let top = frame.bottom() + 25.0;
        let width = if right { SIDE } else { SIDE - share.size().x - space::SMALL };
        line(ui, pos2(rect.left(), top), &text, color, width);
        if !right {
            ui.painter().galley(pos2(rect.right() - share.size().x, top), share, tokens.text_weak);
        }
    }
    hover(response, shown, sample, thumbnail).clicked()
}

/// What stands below the two maps of an image: the class of each and how probable it is.
fn frame_captions(ui: &Ui, shown: &Inspection, sample: &SamplePrediction, first: Rect) {
    let tokens = tokens(ui.visuals());
    let second = first.left() + inspect_looked::WIDTH - SIDE;
    let right = sample.label == sample.predicted;
    let (truth, predicted) = (name(shown, sample.label), name(shown, sample.predicted));
    let dot = pos2(first.left() + 5.0, first.bottom() + 14.0);
    ui.painter().circle_filled(dot, 4.0, tokens.group(shown.group(sample.label)));
    let rows = [first.bottom() + 5.0, first.bottom() + 25.0];
    line(ui, pos2(first.left() + 14.0, rows[0]), truth, tokens.text, SIDE - 14.0);
    let (text, color) = match right {
        true => ("right".to_string(), tokens.good),
        false => (format!("→ {predicted}"), tokens.bad),
    };
    line(ui, pos2(second, rows[0]), &text, color, SIDE);
    for (left, share) in [(first.left(), sample.label_probability), (second, sample.probability)] {
        let text = numbers::percent(Some(share.into()));
        line(ui, pos2(left, rows[1]), &text, tokens.text_weak, SIDE);
    }
}

/// What is said of an image that is pointed at.
fn hover(
    response: egui::Response,
    shown: &Inspection,
    sample: &SamplePrediction,
    thumbnail: &Thumbnail,
) -> egui::Response {
    let (truth, predicted) = (name(shown, sample.label), name(shown, sample.predicted));
    let percent = |share: f32| numbers::percent(Some(share.into()));
    response.on_hover_ui(|ui| {
        let tokens = tokens(ui.visuals());
        ui.label(theme::strong(sample.location.to_text()));
        ui.label(format!("{predicted}: {}", percent(sample.probability)));
        ui.label(format!("{truth} (true class): {}", percent(sample.label_probability)));
        if let Thumbnail::Broken(reason) = thumbnail {
            ui.label(RichText::new(&**reason).color(tokens.bad));
        }
        if matches!(sample.location, Location::File(_)) {
            ui.label(RichText::new("Click to show the file").color(tokens.text_weak));
        }
    })
}

/// A line of small text that ends in an ellipsis where it would be wider than `width`.
fn line(ui: &Ui, at: Pos2, text: &str, color: Color32, width: f32) {
    let mut job =
        LayoutJob::simple_singleline(text.to_owned(), TextStyle::Small.resolve(ui.style()), color);
    job.wrap = TextWrapping::truncate_at_width(width);
    let galley = ui.painter().layout_job(job);
    ui.painter().galley(at, galley, color);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_confusions_of_the_chosen_classes_come_first() {
        let dense = [vec![9, 5, 0], vec![1, 2, 7], vec![3, 3, 0]];
        let confusion = Confusion::from_dense(&dense).unwrap();
        assert_eq!(most_lost(&confusion, &[true; 3], 3), [(1, 2, 7), (0, 1, 5), (2, 0, 3)]);
        assert_eq!(most_lost(&confusion, &[false, false, true], 9), [(2, 0, 3), (2, 1, 3)]);
        assert!(most_lost(&confusion, &[], 9).is_empty());
    }
}
