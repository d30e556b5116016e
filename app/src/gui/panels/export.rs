//! The export page: what is written, whether it is what was trained, and how it is used.

use counterweight_core::export::{Calibration, ExportReport, Variant};
use counterweight_core::images::InputShape;
use counterweight_core::pipeline::BundleReport;
use counterweight_core::settings::{Auto, ImageFit};
use egui::{
    Align, ComboBox, CornerRadius, Frame, Grid, Label, Layout, Margin, RichText, TextEdit, Ui,
};
use egui_material_icons::icons::{
    ICON_CHECK, ICON_CONTENT_COPY, ICON_FOLDER_OPEN, ICON_IOS_SHARE, ICON_WARNING,
};

use super::{export_try, parts};
use crate::gui::command::{Command, ExportCommand, RunsCommand};
use crate::gui::state::{ExportState, OpenRun, Page, State};
use crate::gui::theme::{self, icon, space, tokens};
use crate::gui::widgets::{IconButton, mark, numbers, primary, words};

/// The ONNX operator set that files are written in.
const OPSET: i64 = 17;
/// Class names that are listed of the labels.
const NAMED: usize = 4;

/// Draws the page.
pub fn ui(ui: &mut Ui, state: &mut State, commands: &mut Vec<Command>) {
    let training = state.train.is_running();
    let State { run, export, .. } = state;
    let Some(run) = run else {
        parts::title_row(ui, "Export", |_| {});
        parts::empty_page(
            ui,
            ICON_IOS_SHARE,
            "There is no run to export yet",
            "Train a run, or open an earlier one, and write its model as ONNX.",
            |ui| {
                if ui.add(primary(ui, "Go to Train")).clicked() {
                    commands.push(Command::Go(Page::Train));
                }
                if ui.button("Open run…").clicked() {
                    commands.push(Command::Runs(RunsCommand::PickRun));
                }
            },
        );
        return;
    };
    let chosen = export.checkpoint.as_deref().or_else(|| parts::final_checkpoint(run));
    let verdict = chosen.and_then(|name| run.verdict(name));
    parts::title_row(ui, "Export", |ui| {
        let reason = refusal(run, export, training);
        let button = match parts::is_worthless(verdict) {
            true => IconButton::new(ICON_IOS_SHARE, "Export anyway"),
            false => IconButton::new(ICON_IOS_SHARE, "Export and check").primary(),
        };
        let button = button.enabled(reason.is_none()).show(ui);
        if button.on_disabled_hover_text(reason.unwrap_or_default()).clicked() {
            commands.push(Command::Export(ExportCommand::Export));
        }
    });
    parts::verdict(ui, verdict);
    parts::two_columns(ui, |ui, part| match part {
        0 => {
            theme::card(ui, |ui| file_ui(ui, run, export, training, commands));
            if let Some(report) = &export.bundled {
                parts::gap(ui);
                theme::card(ui, |ui| bundle_ui(ui, report));
            }
            if let Some(report) = &run.exported {
                parts::gap(ui);
                theme::card(ui, |ui| checked_ui(ui, run, report, commands));
                parts::gap(ui);
                theme::card(ui, |ui| deploy_ui(ui, report));
            }
        }
        _ => theme::card(ui, |ui| export_try::ui(ui, run, export, commands)),
    });
}

/// Why nothing can be exported now, if so.
fn refusal(run: &OpenRun, export: &ExportState, training: bool) -> Option<&'static str> {
    match () {
        () if export.is_exporting() => Some("It is being exported"),
        () if !run.has_checkpoint() && training => Some("Training has not left a checkpoint yet"),
        () if !run.has_checkpoint() => Some("The run has no checkpoint yet: train it first"),
        () if export.is_bundle && export.folder_text.trim().is_empty() => {
            Some("Name a folder to write first")
        }
        () if !export.is_bundle && export.path_text.trim().is_empty() => {
            Some("Name a file to write first")
        }
        () => None,
    }
}

fn file_ui(
    ui: &mut Ui,
    run: &OpenRun,
    export: &mut ExportState,
    training: bool,
    commands: &mut Vec<Command>,
) {
    ui.label(theme::heading("What is written"));
    parts::weak(
        ui,
        match export.is_bundle {
            false => "One file with the network, its preprocessing and its labels.",
            true => {
                "A folder for whoever deploys the model: the file, a model card, labels, reference images with the answers expected, settings for servers, and examples."
            }
        },
    );
    ui.add_space(space::SMALL);
    ui.horizontal(|ui| {
        for (is_bundle, text) in [(false, "One file"), (true, "A bundle")] {
            if parts::chip(ui, export.is_bundle == is_bundle, text).clicked() {
                export.is_bundle = is_bundle;
                // It was said of the other.
                export.failure = None;
            }
        }
    });
    ui.add_space(space::SMALL);
    let (name, hint) =
        if export.is_bundle { ("Folder", "a new folder") } else { ("File", "model.onnx") };
    let label = ui.label(name);
    ui.horizontal(|ui| {
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            if ui.button("Browse…").clicked() {
                commands.push(Command::Export(ExportCommand::PickPath));
            }
            let text =
                if export.is_bundle { &mut export.folder_text } else { &mut export.path_text };
            let field = TextEdit::singleline(text).hint_text(hint).desired_width(f32::INFINITY);
            ui.add(field).labelled_by(label.id);
        });
    });
    if run.has_checkpoint() {
        checkpoint_ui(ui, run, export);
    }
    if run.has_checkpoint() && run.can_refit {
        ui.add_space(space::SMALL);
        let mut learns = !export.as_measured;
        if ui.checkbox(&mut learns, "Learn from the held-out images, too").changed() {
            export.as_measured = !learns;
        }
        parts::weak(
            ui,
            "The classifier learns once more, in the same way, from all images: rare classes gain most. What was measured before is not measured again.",
        );
    }
    if export.is_bundle {
        ui.add_space(space::SMALL);
        forms_ui(ui, export);
    }
    ui.add_space(space::SMALL);
    facts_ui(ui, run);
    if let Some(progress) = export.progress() {
        ui.add_space(space::SMALL);
        if parts::progress(ui, progress, "Exporting") {
            commands.push(Command::Export(ExportCommand::Stop));
        }
    } else if !run.has_checkpoint() {
        ui.add_space(space::SMALL);
        let text = refusal(run, export, training).unwrap_or_default();
        ui.horizontal_wrapped(|ui| {
            let warn = tokens(ui.visuals()).warn;
            ui.label(icon(ICON_WARNING).color(warn));
            ui.label(RichText::new(text).color(warn));
        });
        if ui.button("Go to Train").clicked() {
            commands.push(Command::Go(Page::Train));
        }
    }
    if let Some(reason) = &export.failure {
        ui.add_space(space::SMALL);
        parts::trouble(ui, reason);
    }
}

fn checkpoint_ui(ui: &mut Ui, run: &OpenRun, export: &mut ExportState) {
    let last = parts::final_checkpoint(run).unwrap_or("last");
    let label = ui.label("Checkpoint");
    let chosen = export.checkpoint.clone().unwrap_or_else(|| last.to_string());
    let width = (ui.available_width() - space::LARGE).clamp(120.0, 420.0);
    let combo = ComboBox::from_id_salt("exported checkpoint").width(width).truncate();
    let shown = combo.selected_text(parts::checkpoint_words(run, &chosen)).show_ui(ui, |ui| {
        for name in ["balanced", "best", "last"]
            .into_iter()
            .filter(|name| run.checkpoints.iter().any(|there| there == name))
        {
            if ui.selectable_label(name == chosen, parts::checkpoint_words(run, name)).clicked() {
                // Without a name it is the run's final one, also after the run was balanced anew.
                export.checkpoint = (name != last).then(|| name.to_string());
            }
        }
    });
    shown.response.labelled_by(label.id);
}

/// The forms of the model to choose from, and what each is for.
fn forms_ui(ui: &mut Ui, export: &mut ExportState) {
    ui.label("Forms of the model beside the usual one");
    for form in Variant::ALL.into_iter().filter(|form| *form != Variant::Float32) {
        let mut is_chosen = export.forms.contains(&form);
        ui.horizontal_wrapped(|ui| {
            if ui.checkbox(&mut is_chosen, form.name()).on_hover_text(form.purpose()).changed() {
                match is_chosen {
                    true => export.forms.push(form),
                    false => export.forms.retain(|other| *other != form),
                }
            }
            parts::weak(ui, form.purpose());
        });
    }
    parts::weak(
        ui,
        "Each is run beside the network. One that loses more than 5 % of any group or class is left out.",
    );
}

/// What is in a bundle that was written, and what its forms cost.
fn bundle_ui(ui: &mut Ui, report: &BundleReport) {
    ui.label(theme::heading("In the bundle"));
    parts::weak(ui, report.folder.display().to_string());
    ui.add_space(space::SMALL);
    // Folders stand for what is in them, and a picture for both of its forms.
    let mut shown: Vec<(&str, u64, &str)> = Vec::new();
    for file in &report.files {
        let name = file.name.split_inclusive('/').next().unwrap_or(&file.name);
        match shown.last_mut().filter(|(last, _, _)| *last == name) {
            Some((_, bytes, _)) => *bytes += file.bytes,
            None => shown.push((name, file.bytes, file.purpose)),
        }
    }
    for (name, bytes, purpose) in shown {
        let purpose =
            if name == "examples/" { "for Python, JavaScript, C++, C# and Rust" } else { purpose };
        let size = numbers::bytes(bytes);
        row(ui, [RichText::new(name).monospace(), size.into(), weak_text(ui, purpose)]);
    }
    for (form, reason) in &report.impossible {
        let text = RichText::new(format!("left out: {reason}")).color(tokens(ui.visuals()).warn);
        row(ui, [RichText::new(form.name()).monospace(), "".into(), text]);
    }
    let Some(first) = report.variants.first() else { return };
    ui.add_space(space::MEDIUM);
    ui.label(theme::strong(format!(
        "The same class as the network, of {} {} images, and the class that loses most",
        numbers::grouped(first.images() as u64),
        first.split
    )));
    if first.has_learned() {
        parts::weak(
            ui,
            "The classifier has learned from these images: they say what a form changes, and not how good it is.",
        );
    }
    for form in &report.variants {
        let same = numbers::grouped(form.same() as u64);
        let lost = form.worst();
        let text = lost.map_or("no class loses".into(), |change| {
            let [before, after] = change.correct;
            format!("{}: {before} → {after} of {}", change.class, change.images)
        });
        let text = match &form.refused {
            None => weak_text(ui, &text),
            Some(reason) => {
                RichText::new(format!("left out: {reason}")).color(tokens(ui.visuals()).warn)
            }
        };
        row(ui, [RichText::new(form.variant.name()).monospace(), same.into(), text]);
    }
}

fn weak_text(ui: &Ui, text: &str) -> RichText {
    RichText::new(text).color(tokens(ui.visuals()).text_weak)
}

/// Width of a row's name, in points, and where there is room; of its number; the last cell has what
/// they leave.
const NAME: [f32; 2] = [150.0, 230.0];
const NUMBER: f32 = 72.0;
/// A row that is wider than this has room.
const ROOM: f32 = 560.0;

/// A row of texts that end in an ellipsis where they would not fit.
fn row(ui: &mut Ui, [name, number, text]: [RichText; 3]) {
    ui.horizontal(|ui| {
        let width = NAME[usize::from(ui.available_width() > ROOM)];
        ui.scope(|ui| {
            ui.set_width(width);
            ui.add(Label::new(name).truncate());
        });
        let height = ui.spacing().interact_size.y;
        let layout = Layout::right_to_left(Align::Center);
        ui.allocate_ui_with_layout(egui::vec2(NUMBER, height), layout, |ui| {
            ui.set_width(NUMBER);
            ui.add(Label::new(number).truncate());
        });
        ui.add_space(space::SMALL);
        ui.add(Label::new(text).truncate());
    });
}

fn facts_ui(ui: &mut Ui, run: &OpenRun) {
    let side = match (run.settings.model.input_size, &run.exported) {
        (Auto::Value(side), _) => side.to_string(),
        (Auto::Auto(_), Some(report)) => report.input_size.to_string(),
        (Auto::Auto(_), None) => "side".into(),
    };
    let batch = format!("[batch, 3, {side}, {side}]");
    let opset = match &run.exported {
        Some(report) => format!("ONNX, opset {}", report.opset),
        None if run.settings.model.backbone.file().is_some() => {
            "ONNX, in the opset of the backbone's file".into()
        }
        None => format!("ONNX, opset {OPSET}"),
    };
    Grid::new("what the file holds")
        .num_columns(2)
        .min_row_height(18.0)
        .spacing([space::LARGE, space::SMALL])
        .show(ui, |ui| {
            parts::fact(ui, "Format", opset);
            parts::fact(ui, "Input", RichText::new(format!("images  {batch}")).monospace());
            parts::fact(ui, "", "RGB in 0..1, any batch; normalisation is inside the model");
            parts::fact(
                ui,
                "Outputs",
                RichText::new(format!("probabilities, logits  [batch, {}]", run.classes.len()))
                    .monospace(),
            );
            parts::fact(ui, "Labels", labels(&run.classes));
        });
}

/// The first class names, and how many there are.
fn labels(classes: &[String]) -> String {
    let named = classes.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = if classes.len() > NAMED { ", …" } else { "" };
    format!("{named}{more} ({} classes)", numbers::grouped(classes.len() as u64))
}

/// Whether the file does what the network does, and apart from that whether the network is any
/// good: the one is not to be taken for the other.
fn checked_ui(ui: &mut Ui, run: &OpenRun, report: &ExportReport, commands: &mut Vec<Command>) {
    let tokens = tokens(ui.visuals());
    ui.horizontal(|ui| {
        ui.label(icon(ICON_CHECK).size(20.0).color(tokens.text_weak));
        ui.label(theme::heading("File check passed"));
    });
    let (agreeing, images) =
        (numbers::grouped(report.agreeing() as u64), numbers::grouped(report.images as u64));
    ui.label(format!("The file agrees with the trained network on {agreeing} of {images} images."));
    parts::weak(
        ui,
        "It was run by tract, another program than the one that trained it. This says nothing of how often the network is right.",
    );
    ui.add_space(space::SMALL);
    let verdict = run.exported_verdict();
    ui.horizontal(|ui| {
        if let Some(grade) = verdict.map(|verdict| verdict.grade) {
            ui.label(icon(mark(grade)).size(20.0).color(tokens.grade(grade).mark));
        }
        ui.label(theme::heading("How good it is"));
    });
    match verdict {
        Some(verdict) => ui.label(words::capitalised(&format!("{}.", verdict.against_guessing()))),
        None => ui.label(
            "Not known: this checkpoint was never evaluated. Look at it on the Inspect page.",
        ),
    };
    if let Some(refit) = report.refit {
        let [images, held_out] = [refit.images, refit.held_out].map(|n| numbers::grouped(n as u64));
        parts::weak(
            ui,
            format!(
                "That was measured before. The classifier in the file then learned from {images} images, the {held_out} held out among them, so that none of them is new to it."
            ),
        );
    }
    if let Some(calibration) = &report.calibration {
        parts::weak(ui, believed(calibration));
    }
    ui.add_space(space::SMALL);
    Grid::new("the check")
        .num_columns(2)
        .min_row_height(18.0)
        .spacing([space::LARGE, space::SMALL])
        .show(ui, |ui| {
            parts::fact(
                ui,
                "Largest difference of logits",
                numbers::value(report.max_abs_diff.into()),
            );
            parts::fact(
                ui,
                "Largest difference of probabilities",
                numbers::value(report.max_abs_diff_probabilities.into()),
            );
            parts::fact(ui, "Size", numbers::bytes(report.bytes));
            parts::fact(ui, "Path", RichText::new(report.path.display().to_string()).monospace());
        });
    if IconButton::new(ICON_FOLDER_OPEN, "Show in file manager").show(ui).clicked() {
        commands.push(Command::Export(ExportCommand::Reveal));
    }
}

/// How far the file's probabilities can be believed.
fn believed(found: &Calibration) -> String {
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let unsure = found.threshold.map_or_else(String::new, |threshold| {
        format!(
            " Answers below {} are better called unsure: {} of the images keep an answer then, and {} of those are right.",
            threshold.shown(),
            percent(threshold.answered),
            percent(threshold.accuracy),
        )
    });
    found.sentence() + &unsure
}

fn deploy_ui(ui: &mut Ui, report: &ExportReport) {
    let shape = InputShape { side: report.input_size, fit: report.fit };
    let script = script(&report.path.to_string_lossy(), shape);
    ui.horizontal(|ui| {
        ui.label(theme::heading("For deployment"));
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            if IconButton::new(ICON_CONTENT_COPY, "Copy")
                .show(ui)
                .accessible_name("Copy the Python lines")
                .clicked()
            {
                ui.ctx().copy_text(script.clone());
            }
        });
    });
    parts::weak(ui, "Any ONNX runtime will do. In Python, with onnxruntime, NumPy and Pillow:");
    let sunken = tokens(ui.visuals()).sunken;
    Frame::new()
        .fill(sunken)
        .corner_radius(CornerRadius::same(6))
        .inner_margin(Margin::same(space::MEDIUM as i8))
        .show(ui, |ui| {
            ui.set_width(ui.available_width());
            ui.label(RichText::new(&script).monospace());
        });
}

/// A few lines of Python that run the file on an image, prepared as its `preprocess` says.
fn script(path: &str, shape: InputShape) -> String {
    let (path, side) = (python_string(path), shape.side);
    let margins = match shape.fit {
        ImageFit::Crop => "((length - min(photo.size)) / 2 for length in photo.size)",
        ImageFit::Stretch => "0, 0",
    };
    format!(
        "import numpy as np, onnxruntime\nfrom PIL import Image, ImageOps\n\
         photo = ImageOps.exif_transpose(Image.open(\"photo.jpg\")).convert(\"RGB\")\n\
         left, top = {margins}\n\
         photo = photo.resize((photo.width, {side}), Image.BILINEAR, box=(0, top, photo.width, photo.height - top))\n\
         photo = photo.resize(({side}, {side}), Image.BILINEAR, box=(left, 0, photo.width - left, {side}))\n\
         image = np.float32(photo).transpose(2, 0, 1)[None] / 255\n\
         probabilities = onnxruntime.InferenceSession({path}).run([\"probabilities\"], {{\"images\": image}})[0][0]"
    )
}

/// A text as a Python literal, whatever is in it.
fn python_string(text: &str) -> String {
    let mut literal = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => literal.extend(['\\', character]),
            '\n' => literal.push_str("\\n"),
            '\r' => literal.push_str("\\r"),
            other => literal.push(other),
        }
    }
    literal.push('"');
    literal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_holds_the_path_whatever_is_in_it() {
        assert_eq!(python_string("C:\\models\\\"a\".onnx"), r#""C:\\models\\\"a\".onnx""#);
        let shape = InputShape::from(48);
        let script_of = |fit| script("/models/model.onnx", InputShape { fit, ..shape });
        let script = script_of(ImageFit::Crop);
        assert!(script.contains("min(photo.size)"));
        let stretched = script_of(ImageFit::Stretch);
        assert!(stretched.contains("left, top = 0, 0\n") && !stretched.contains("min("));
        assert_eq!(script.lines().count(), 8);
        assert!(
            script.contains("InferenceSession(\"/models/model.onnx\")")
                && script.contains("photo.resize((48, 48)"),
            "{script}"
        );
        assert!(script.contains("{\"images\": image}"), "{script}");
    }

    #[test]
    fn labels_are_cut_short() {
        let names = |count: usize| (0..count).map(|index| format!("c{index}")).collect::<Vec<_>>();
        assert_eq!(labels(&names(2)), "c0, c1 (2 classes)");
        assert_eq!(labels(&names(1000)), "c0, c1, c2, c3, … (1,000 classes)");
    }
}
