//! Trying images on the exported file.

use counterweight_core::infer::Prediction;
use egui::text::{LayoutJob, TextWrapping};
use egui::{
    Align, Align2, Color32, CornerRadius, Image, Key, Layout, Rect, RichText, Role, Sense,
    TextEdit, TextStyle, Ui, WidgetInfo, vec2,
};
use egui_material_icons::icons::{
    ICON_CHECK_CIRCLE, ICON_CHEVRON_LEFT, ICON_CHEVRON_RIGHT, ICON_ERROR, ICON_SHUFFLE,
};

use super::parts;
use crate::gui::command::{Command, ExportCommand};
use crate::gui::paths::typed_path;
use crate::gui::state::{ExportState, LookedFor, OpenRun, TriedImage};
use crate::gui::theme::{self, icon, space, tokens};
use crate::gui::widgets::{IconButton, colour_bar, numbers, waiting};

/// Longest side of the picture, in points.
const PICTURE: f32 = 240.0;
/// Height of a bar.
const BAR: f32 = 26.0;

/// Draws the card's contents.
pub fn ui(ui: &mut Ui, run: &OpenRun, export: &mut ExportState, commands: &mut Vec<Command>) {
    ui.label(theme::heading("Try it"));
    if run.exported.is_none() {
        parts::weak(
            ui,
            "Once the model is exported, drop an image on the window and see what the file makes of it.",
        );
        return;
    }
    image_ui(ui, export, commands);
    if !run.examples.is_empty() {
        sample_ui(ui, run, export, commands);
    }
    if let Some(reason) = &export.trouble {
        ui.add_space(space::SMALL);
        parts::trouble(ui, reason);
    }
    if export.is_trying() {
        ui.horizontal(|ui| {
            waiting(ui);
            parts::weak(ui, "Running the model");
        });
    }
    if let Some(tried) = &export.tried {
        ui.add_space(space::MEDIUM);
        tried_ui(ui, tried);
        ui.add_space(space::MEDIUM);
        looked_ui(ui, tried, &mut export.looks);
    }
}

fn image_ui(ui: &mut Ui, export: &mut ExportState, commands: &mut Vec<Command>) {
    let label = ui.label("Image");
    ui.horizontal(|ui| {
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            if ui.button("Open image…").clicked() {
                commands.push(Command::Export(ExportCommand::PickImage));
            }
            let named = !export.image_text.trim().is_empty();
            let clicked = ui
                .add_enabled(named, egui::Button::new("Classify"))
                .on_disabled_hover_text("Name an image first")
                .clicked();
            let field = TextEdit::singleline(&mut export.image_text)
                .hint_text("Path of an image")
                .desired_width(f32::INFINITY);
            let field = ui.add(field).labelled_by(label.id);
            let entered = field.lost_focus() && ui.input(|input| input.key_pressed(Key::Enter));
            if named && (clicked || entered) {
                let path = typed_path(&export.image_text);
                commands.push(Command::Export(ExportCommand::TryImage(path)));
            }
        });
    });
    parts::weak(ui, "or drop an image on the window");
}

fn sample_ui(ui: &mut Ui, run: &OpenRun, export: &ExportState, commands: &mut Vec<Command>) {
    let count = run.examples.len();
    let here = export.sample.min(count - 1);
    let split = if run.has_test() { "test" } else { "validation" };
    ui.add_space(space::SMALL);
    ui.label(format!("Sample from the {split} split"));
    if run.exported.as_ref().is_some_and(|report| report.refit.is_some()) {
        parts::weak(
            ui,
            "The file has learned from these images, too: that it is right about them says little. Images of your own tell.",
        );
    }
    let mut chosen = None;
    ui.horizontal_wrapped(|ui| {
        if IconButton::new(ICON_CHEVRON_LEFT, "Previous")
            .show(ui)
            .accessible_name("Previous sample")
            .clicked()
        {
            chosen = Some((here + count - 1) % count);
        }
        let number = format!(
            "Sample {} of {}",
            numbers::grouped(here as u64 + 1),
            numbers::grouped(count as u64)
        );
        if ui.button(number).on_hover_text("Classify this sample").clicked() {
            chosen = Some(here);
        }
        if IconButton::new(ICON_CHEVRON_RIGHT, "Next")
            .show(ui)
            .accessible_name("Next sample")
            .clicked()
        {
            chosen = Some((here + 1) % count);
        }
        if IconButton::new(ICON_SHUFFLE, "Random")
            .show(ui)
            .accessible_name("Random sample")
            .clicked()
        {
            chosen = Some(scattered(ui.input(|input| input.time.to_bits()), count));
        }
    });
    if let Some(index) = chosen {
        commands.push(Command::Export(ExportCommand::TrySample(index)));
    }
}

/// A number below `count` that follows from the moment of a click, as good as any other (the
/// finaliser of SplitMix64).
fn scattered(moment: u64, count: usize) -> usize {
    let mut mixed = moment.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    (mixed % count.max(1) as u64) as usize
}

fn tried_ui(ui: &mut Ui, tried: &TriedImage) {
    let tokens = tokens(ui.visuals());
    let size = tried.picture.size_vec2();
    // Small images are enlarged, so that their pixels can be seen.
    let size = size * (PICTURE / size.max_elem().max(1.0));
    let beside = ui.available_width() >= PICTURE + 220.0;
    let picture = |ui: &mut Ui| {
        let image = Image::from_texture((tried.picture.id(), size))
            .corner_radius(CornerRadius::same(6))
            .alt_text(format!("Picture of {}", tried.name));
        ui.add(image.fit_to_exact_size(size));
    };
    let results = |ui: &mut Ui| {
        ui.add(egui::Label::new(RichText::new(&tried.name).color(tokens.text_weak)).truncate())
            .on_hover_text(&tried.name);
        if let Some(truth) = &tried.truth {
            truth_ui(ui, truth, tried.predictions.first());
        }
        for (rank, prediction) in tried.predictions.iter().enumerate() {
            bar_ui(ui, prediction, if rank == 0 { tokens.accent } else { tokens.before });
        }
        parts::weak(ui, format!("{:.1} ms by tract, from the exported file", tried.milliseconds));
    };
    if beside {
        ui.horizontal_top(|ui| {
            picture(ui);
            ui.add_space(space::MEDIUM);
            ui.vertical(results);
        });
    } else {
        picture(ui);
        results(ui);
    }
}

/// The places of the image that speak for what the file answers, and for what it shows.
fn looked_ui(ui: &mut Ui, tried: &TriedImage, looks: &mut bool) {
    ui.horizontal_wrapped(|ui| {
        let hint = "Shows which places of the image speak for the answer, and which against it";
        if parts::chip(ui, *looks, "Where it looked").on_hover_text(hint).clicked() {
            *looks = !*looks;
        }
        if *looks && tried.looked.is_ok() {
            ui.add_space(space::MEDIUM);
            colour_bar(ui, "least for the class", "most for the class");
        }
    });
    if !*looks {
        return;
    }
    match &tried.looked {
        Ok(maps) => {
            ui.horizontal_wrapped(|ui| maps.iter().for_each(|map| map_ui(ui, map)));
            parts::weak(
                ui,
                "By the network that the file was made of. Where parts are pale, they are cut off before it sees the image.",
            );
        }
        Err(reason) => parts::trouble(ui, reason),
    }
}

fn map_ui(ui: &mut Ui, map: &LookedFor) {
    let size = map.picture.size_vec2();
    let size = size * (PICTURE / size.max_elem().max(1.0));
    ui.vertical(|ui| {
        ui.set_width(size.x);
        ui.add(egui::Label::new(format!("for {}", map.class)).truncate());
        let image = Image::from_texture((map.picture.id(), size))
            .corner_radius(CornerRadius::same(6))
            .alt_text(format!("Where it looked for {}", map.class));
        ui.add(image.fit_to_exact_size(size));
    });
}

fn truth_ui(ui: &mut Ui, truth: &str, first: Option<&Prediction>) {
    let tokens = tokens(ui.visuals());
    let right = first.is_some_and(|first| first.class == truth);
    let (mark, color, word) = if right {
        (ICON_CHECK_CIRCLE, tokens.good, "right")
    } else {
        (ICON_ERROR, tokens.bad, "wrong")
    };
    ui.horizontal_wrapped(|ui| {
        ui.label(format!("Truth: {truth}"));
        ui.label(icon(mark).color(color));
        ui.label(RichText::new(word).color(color));
    });
}

/// A class with its probability as a bar.
fn bar_ui(ui: &mut Ui, prediction: &Prediction, color: Color32) {
    let tokens = tokens(ui.visuals());
    let share = f64::from(prediction.probability);
    let percent = numbers::percent(Some(share));
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), BAR), Sense::hover());
    response.widget_info(|| {
        WidgetInfo::labeled(Role::Meter, true, format!("{}: {percent}", prediction.class))
    });
    let font = TextStyle::Body.resolve(ui.style());
    let painter = ui.painter();
    // Names of classes are told by their ends as often as by how they begin.
    let name = (rect.width() * 0.5).min(300.0);
    let mut job = LayoutJob::simple_singleline(prediction.class.clone(), font.clone(), tokens.text);
    job.wrap = TextWrapping::truncate_at_width(name - space::MEDIUM);
    let galley = painter.layout_job(job);
    let middle = rect.center().y;
    painter.galley(egui::pos2(rect.left(), middle - galley.size().y / 2.0), galley, tokens.text);
    let number = 60.0;
    let track = Rect::from_x_y_ranges(
        rect.left() + name..=(rect.right() - number).max(rect.left() + name),
        middle - 7.0..=middle + 7.0,
    );
    painter.rect_filled(track, CornerRadius::same(4), tokens.sunken);
    let width = track.width() * share.clamp(0.0, 1.0) as f32;
    // Something that is not nothing can be seen.
    let filled = Rect::from_min_size(
        track.min,
        vec2(if share > 0.0 { width.max(2.0) } else { 0.0 }, track.height()),
    );
    painter.rect_filled(filled, CornerRadius::same(if width >= 8.0 { 4 } else { 0 }), color);
    painter.text(
        egui::pos2(rect.right(), middle),
        Align2::RIGHT_CENTER,
        &percent,
        font,
        tokens.text,
    );
    response.on_hover_text(format!("{}: {percent}", prediction.class));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_samples_are_spread_over_all() {
        let mut seen = [0; 10];
        for moment in 0..1000 {
            seen[scattered((f64::from(moment) * 0.37).to_bits(), 10)] += 1;
        }
        assert!(seen.iter().all(|count| (60..150).contains(count)), "{seen:?}");
        assert_eq!(scattered(7, 0), 0);
    }
}
