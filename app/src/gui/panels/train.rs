//! The training page: settings with what each is for, and the curves of the run that is trained or
//! open.

use counterweight_core::balance::describe;
use counterweight_core::device::DeviceChoice;
use counterweight_core::settings::{
    AUGMENTATIONS, Auto, ImageFit, NormStatistics, Preset, Settings, Tokens, Training, info,
};
use egui::{ComboBox, Id, RichText, TextEdit, Ui, Vec2};
use egui_material_icons::icons::{ICON_MODEL_TRAINING, ICON_PLAY_ARROW};

use super::dialogs::resume_offer_ui;
use super::{parts, sweep, train_cards, train_live, train_transforms};
use crate::gui::command::{BackbonesCommand, Command, DataCommand, ExportCommand, TrainCommand};
use crate::gui::state::{Devices, OpenRun, Page, ResumeOffer, State, TrainState};
use crate::gui::theme::{self, card, space, tokens};
use crate::gui::widgets::{IconButton, SettingRow, numbers, primary, setting_row};

/// From this width on cards stand side by side.
const WIDE: f32 = 1000.0;

const BACKBONE: &str = "model.backbone";
const BASICS: [&str; 8] = [
    "stage1.train",
    BACKBONE,
    "model.input_size",
    "stage1.epochs",
    "stage1.batch_size",
    "stage1.learning_rate",
    "stage1.weight_decay",
    "seed",
];
const MORE: [&str; 20] = [
    "stage1.backbone_rate",
    "stage1.clip_gradients",
    "stage1.norm_statistics",
    "stage1.accumulation",
    "stage1.schedule",
    "stage1.warmup_epochs",
    "stage1.milestones",
    "stage1.momentum",
    "stage1.label_smoothing",
    "stage1.validate_every",
    "stage1.precision",
    "model.stem",
    "model.fit",
    "model.normalisation",
    "model.output",
    "model.tokens",
    "evaluation.many_above",
    "evaluation.few_below",
    "evaluation.flip",
    "balance.augmented_views",
];
/// Draws the page.
pub fn ui(ui: &mut Ui, state: &mut State, commands: &mut Vec<Command>) {
    // It looks at every setting, so it is asked once.
    let obstacle = asks(state).then(|| obstacle(state)).flatten();
    let obstacle = obstacle.as_deref();
    title_ui(ui, state, obstacle, commands);
    if !state.train.is_running()
        && let Some(run) = state.run.as_ref().filter(|run| !run.is_trained())
    {
        let resume_offer = state
            .train
            .resume_offer
            .as_ref()
            .filter(|resume_offer| resume_offer.folder == run.folder);
        let out_of_memory = resume_offer.zip(state.train.failure.as_deref());
        let failure = state.train.failure_of(&run.folder);
        interrupted_ui(ui, run, out_of_memory, failure, commands);
    }
    if state.train.is_running() || (state.train.show_curves && state.run.is_some()) {
        if !state.train.is_running() {
            state.run.iter().for_each(|run| outcome_ui(ui, run));
        }
        if let Some(chosen) = state
            .run
            .as_ref()
            .filter(|_| !state.train.is_running())
            .and_then(|run| run.choices.as_ref())
        {
            train_cards::chosen_ui(ui, chosen, commands);
        }
        train_live::ui(ui, state, commands);
        return;
    }
    if state.train.sweep.is_some() {
        sweep::ui(ui, &mut state.train, commands);
    }
    if state.train.is_sweeping() {
        return;
    }
    if state.data.source.is_none() {
        no_source_ui(ui, commands);
        return;
    }
    problems_ui(ui, state, obstacle);
    train_cards::ui(ui, &mut state.train);
    if ui.available_width() > WIDE {
        ui.horizontal_top(|ui| {
            let usual = ui.spacing().item_spacing;
            let width = (ui.available_width() - space::LARGE) / 2.0;
            ui.spacing_mut().item_spacing.x = space::LARGE;
            ui.vertical(|ui| {
                ui.spacing_mut().item_spacing = usual;
                ui.set_width(width);
                settings_ui(ui, state, commands);
            });
            ui.vertical(|ui| {
                ui.spacing_mut().item_spacing = usual;
                ui.set_width(width);
                start_ui(ui, state, obstacle.is_none(), commands);
                parts::gap(ui);
                augmentation_ui(ui, state);
                parts::gap(ui);
                train_transforms::ui(ui, state, commands);
            });
        });
    } else {
        start_ui(ui, state, obstacle.is_none(), commands);
        parts::gap(ui);
        settings_ui(ui, state, commands);
        parts::gap(ui);
        augmentation_ui(ui, state);
        parts::gap(ui);
        train_transforms::ui(ui, state, commands);
    }
}

/// Whether the page asks what the next training is to be.
fn asks(state: &State) -> bool {
    let shows_curves = state.train.show_curves && state.run.is_some();
    !state.train.is_running()
        && !state.train.is_sweeping()
        && !shows_curves
        && state.data.source.is_some()
}

fn obstacle(state: &State) -> Option<String> {
    state.train.obstacle(state.data.source.as_ref(), &state.devices, &state.runs.names)
}

/// What is in the way of training, and what the last one failed with, before all that can be set.
fn problems_ui(ui: &mut Ui, state: &State, obstacle: Option<&str>) {
    let tokens = tokens(ui.visuals());
    let obstacle = obstacle.map(|reason| (reason.to_string(), tokens.warn));
    // Of the open run that is said above.
    let is_said = state
        .run
        .as_ref()
        .is_some_and(|run| !run.is_trained() && state.train.failure_of(&run.folder).is_some());
    let failure = state.train.failure.as_ref().filter(|_| !is_said);
    let failure = failure.map(|reason| (format!("The last training failed: {reason}"), tokens.bad));
    for (words, color) in obstacle.into_iter().chain(failure) {
        ui.label(RichText::new(words).color(color));
        parts::gap(ui);
    }
}

fn title_ui(ui: &mut Ui, state: &mut State, obstacle: Option<&str>, commands: &mut Vec<Command>) {
    parts::title_row(ui, "Train", |ui| {
        if state.train.is_running() {
            return;
        }
        if asks(state) {
            let button = IconButton::new(ICON_PLAY_ARROW, "Train").primary();
            let start = button.enabled(obstacle.is_none()).show(ui);
            if start.on_disabled_hover_text(obstacle.unwrap_or_default()).clicked() {
                commands.push(Command::Train(TrainCommand::Start));
            }
        }
        if let Some(run) = state.run.as_ref() {
            if asks(state) {
                // What is to be pressed is the training that is asked for.
            } else if run.is_trained() && run.balanced.is_some() {
                finished_ui(ui, run, commands);
            } else if run.is_trained()
                && ui
                    .add(parts::go_on(ui, "Continue to balancing", run.trained_verdict()))
                    .clicked()
            {
                commands.push(Command::Go(Page::Balance));
            }
            let curves = format!("Curves of {}", run.name());
            if ui.selectable_label(state.train.show_curves, curves).clicked() {
                state.train.show_curves = true;
            }
            if ui.selectable_label(!state.train.show_curves, "New run").clicked() {
                state.train.show_curves = false;
            }
        }
    });
}

/// The ways on from a run that is trained and balanced.
fn finished_ui(ui: &mut Ui, run: &OpenRun, commands: &mut Vec<Command>) {
    let verdict = run.verdict("balanced");
    if run.exported.is_none() && !parts::is_worthless(verdict) {
        let export = ui.add(primary(ui, "Export and check"));
        if export.on_hover_text("Write the model as ONNX and run it beside the network").clicked() {
            commands.push(Command::Export(ExportCommand::Export));
        }
    }
    if ui.button("See the balance").clicked() {
        commands.push(Command::Go(Page::Balance));
    }
}

/// What came of a run: of stage 1, and of balancing if it was balanced.
fn outcome_ui(ui: &mut Ui, run: &OpenRun) {
    let Some(report) = &run.balanced else {
        parts::verdict(ui, run.trained_verdict());
        return;
    };
    parts::verdict(ui, run.verdict("balanced").or(run.trained_verdict()));
    card(ui, |ui| {
        ui.label(theme::heading("Trained and balanced"));
        ui.label(match report.settings.balancers.is_empty() {
            true => "The classifier is kept as trained: nothing that was tried serves the classes better.".into(),
            false => format!("Balanced by {}.", describe(&report.settings)),
        });
        if let Some(tuned) = &run.tuned {
            ui.label(RichText::new(&tuned.reason).small().weak());
        }
    });
    ui.add_space(space::LARGE);
}

/// What is said of an open run that has not come to its end, `out_of_memory` being how it can go
/// on, and the reason, if it ran out of memory.
fn interrupted_ui(
    ui: &mut Ui,
    run: &OpenRun,
    out_of_memory: Option<(&ResumeOffer, &str)>,
    failure: Option<&str>,
    commands: &mut Vec<Command>,
) {
    card(ui, |ui| {
        let done = format!(
            "{} of {} epochs are done.",
            run.finished_epochs(),
            run.settings.stage1.epochs()
        );
        match failure.filter(|_| out_of_memory.is_none()) {
            Some(reason) => {
                ui.label(theme::heading(format!("{} failed", run.name())));
                let bad = tokens(ui.visuals()).bad;
                ui.label(RichText::new(parts::sentence(reason)).color(bad));
                ui.label(done);
            }
            None => {
                ui.label(theme::heading(format!("{} was interrupted", run.name())));
                ui.label(format!("{done} It goes on where it was stopped."));
            }
        }
        if let Some((_, reason)) = out_of_memory {
            let bad = tokens(ui.visuals()).bad;
            ui.label(RichText::new(format!("The last time {reason}.")).color(bad));
        }
        ui.horizontal(|ui| {
            if let Some((resume_offer, _)) = out_of_memory {
                resume_offer_ui(
                    ui,
                    format!("Continue this run in {} parts", resume_offer.parts),
                    resume_offer,
                    commands,
                );
            }
            if ui.button("Continue this run").clicked() {
                commands.push(Command::Train(TrainCommand::Continue));
            }
        });
    });
    ui.add_space(space::LARGE);
}

fn no_source_ui(ui: &mut Ui, commands: &mut Vec<Command>) {
    let text = "Training learns features from images. Open a folder of them on the Data page, or the built-in sample.";
    parts::empty_page(ui, ICON_MODEL_TRAINING, "Nothing to train on yet", text, |ui| {
        if ui.add(primary(ui, "Open images")).clicked() {
            commands.push(Command::Go(Page::Data));
        }
        if ui.button("Use the built-in sample").clicked() {
            commands.push(Command::Data(DataCommand::OpenSample));
        }
    });
}

fn preset_words(preset: Preset) -> (&'static str, &'static str) {
    match preset {
        Preset::Auto => (
            "Automatic",
            "Starts from what a network has seen before, and measures whether training from scratch would do better.",
        ),
        Preset::FineTune => (
            "Fine-tune",
            "A network that has seen a million photos learns on, all of it, for a few epochs.",
        ),
        Preset::Quick => ("Quick", "A small network for a few epochs: minutes on any computer."),
        Preset::Paper => {
            ("Paper", "The paper's recipe to the letter: ResNet-34, 320 epochs. Needs a GPU.")
        }
        Preset::Strong => {
            ("Strong", "Longer, with stronger augmentation and a tuned balancer. Needs a GPU.")
        }
    }
}

fn settings_ui(ui: &mut Ui, state: &mut State, commands: &mut Vec<Command>) {
    card(ui, |ui| {
        ui.label(theme::heading("Settings"));
        ui.add_space(space::SMALL);
        let train = &mut state.train;
        ui.horizontal_wrapped(|ui| {
            for preset in Preset::ALL {
                let (name, text) = preset_words(preset);
                if ui
                    .selectable_label(train.settings.preset == preset, name)
                    .on_hover_text(text)
                    .clicked()
                {
                    train.set_preset(preset);
                }
            }
            let changed = Settings::preset(train.settings.preset) != train.settings;
            if changed {
                ui.label(RichText::new("changed").small().weak());
            }
        });
        ui.label(RichText::new(preset_words(train.settings.preset).1).small().weak());
        ui.add_space(space::MEDIUM);
        for key in BASICS {
            match key {
                BACKBONE => backbone_ui(ui, train, commands),
                _ => key_ui(ui, train, key),
            }
        }
        device_ui(ui, train, &state.devices);
        let text = if train.show_all { "Fewer settings" } else { "More settings" };
        if ui.button(text).clicked() {
            train.show_all = !train.show_all;
        }
        if train.show_all {
            ui.add_space(space::MEDIUM);
            for key in MORE {
                key_ui(ui, train, key);
            }
        }
    });
}

/// The values a setting can have, where it is one of a few.
fn choices(key: &str) -> Option<Vec<&'static str>> {
    match key {
        "model.tokens" => Some(Tokens::ALL.map(Tokens::name).to_vec()),
        "model.stem" => Some(vec!["auto", "small", "imagenet"]),
        "model.normalisation" => Some(vec!["measured", "pretrained", "cifar", "imagenet"]),
        "stage1.train" => {
            Some(std::iter::once("auto").chain(Training::ALL.map(Training::name)).collect())
        }
        "stage1.norm_statistics" => Some(NormStatistics::ALL.map(NormStatistics::name).to_vec()),
        "model.fit" => {
            Some(std::iter::once("auto").chain(ImageFit::ALL.map(ImageFit::name)).collect())
        }
        "augmentation.flip" => Some(vec!["auto", "true", "false"]),
        "stage1.schedule" => Some(vec!["cosine", "cosine-nonzero", "step", "constant"]),
        "stage1.precision" => Some(vec!["float32", "tf32", "bfloat16"]),
        _ => None,
    }
}

fn key_ui(ui: &mut Ui, train: &mut TrainState, key: &'static str) {
    let Some(info) = info(key) else { return };
    let preset = Settings::preset(train.settings.preset);
    let default_text = preset.text(key).unwrap_or_default();
    let shown_default = match default_text.as_str() {
        "true" => "on",
        "false" => "off",
        "" => "none",
        other => other,
    };
    let mut text = train.text(key);
    let before = text.clone();
    let changed = train.settings.text(key).is_some_and(|value| value != default_text)
        || train.error(key).is_some();
    let error = train.error(key).map(str::to_string);
    let row = SettingRow {
        label: info.label,
        explanation: info.explanation,
        default_text: shown_default,
        changed,
        error: error.as_deref(),
    };
    let shown = setting_row(ui, row, |ui| {
        if let Some(choices) = choices(key) {
            ComboBox::from_id_salt(key).selected_text(&text).show_ui(ui, |ui| {
                for choice in choices {
                    ui.selectable_value(&mut text, choice.to_string(), choice);
                }
            });
        } else if default_text == "true" || default_text == "false" {
            let mut on = text == "true";
            ui.checkbox(&mut on, "");
            text = on.to_string();
        } else {
            // Its own name, whatever stands above it: what is wrong with a value is said there while it
            // is typed, and the keyboard has to stay here.
            let id = Id::unique(("setting", key));
            ui.add(TextEdit::singleline(&mut text).id(id).desired_width(110.0));
        }
    });
    if shown.reset {
        train.reset(key);
    } else if text != before {
        train.set_text(key, text);
    }
    ui.add_space(space::SMALL);
}

/// The backbone, which is chosen among all that there are rather than in a list of names.
fn backbone_ui(ui: &mut Ui, train: &mut TrainState, commands: &mut Vec<Command>) {
    let Some(info) = info(BACKBONE) else { return };
    let default_text = Settings::preset(train.settings.preset).text(BACKBONE).unwrap_or_default();
    let error = train.error(BACKBONE).map(str::to_string);
    let row = SettingRow {
        label: info.label,
        explanation: info.explanation,
        default_text: &default_text,
        changed: train.text(BACKBONE) != default_text,
        error: error.as_deref(),
    };
    let name = train.settings.model.backbone.name();
    let shown = setting_row(ui, row, |ui| {
        if ui
            .button("Choose…")
            .on_hover_text("With size, accuracy and licence; also from a file")
            .clicked()
        {
            commands.push(Command::Backbones(BackbonesCommand::Choose));
        }
        ui.add(egui::Label::new(name).truncate());
    });
    if shown.reset {
        train.reset(BACKBONE);
    }
    ui.add_space(space::SMALL);
}

fn device_ui(ui: &mut Ui, train: &mut TrainState, devices: &Devices) {
    let error = devices.problem(train.device);
    let explanation = match devices.automatic() {
        Some(device) if train.device == DeviceChoice::Auto => {
            format!(
                "Automatic takes {}: a GPU that beats the CPU if there is one, else the CPU.",
                device.description
            )
        }
        _ if devices.is_looking() => "Looking for devices…".to_string(),
        _ => "What computes. A GPU is many times faster; the CPU always works.".to_string(),
    };
    let row = SettingRow {
        label: "Device",
        explanation: &explanation,
        default_text: "auto",
        changed: train.device != DeviceChoice::Auto,
        error: error.as_deref(),
    };
    let shown = setting_row(ui, row, |ui| {
        ComboBox::from_id_salt("device").selected_text(train.device.to_string()).show_ui(
            ui,
            |ui| {
                ui.selectable_value(&mut train.device, DeviceChoice::Auto, "auto");
                for device in &devices.found {
                    let memory = device
                        .memory_bytes
                        .map(|bytes| format!(", {}", numbers::bytes(bytes)))
                        .unwrap_or_default();
                    let text = format!("{}: {}{memory}", device.name, device.description);
                    let Ok(choice) = device.name.parse::<DeviceChoice>() else { continue };
                    let entry = ui.add_enabled(
                        device.usable,
                        egui::Button::selectable(train.device == choice, text),
                    );
                    let entry = match &device.reason {
                        Some(reason) => entry.on_disabled_hover_text(reason),
                        None => entry,
                    };
                    if entry.clicked() {
                        train.device = choice;
                    }
                }
            },
        );
    });
    if shown.reset {
        train.device = DeviceChoice::Auto;
    }
    ui.add_space(space::MEDIUM);
}

fn start_ui(ui: &mut Ui, state: &mut State, is_ready: bool, commands: &mut Vec<Command>) {
    card(ui, |ui| {
        ui.label(theme::heading("Start"));
        if let Some(source) = &state.data.source {
            let [training, validation, test] =
                source.view.totals().map(|count| numbers::grouped(count as u64));
            let classes = source.view.classes.iter().filter(|class| class.included).count();
            ui.label(format!("{classes} classes: {training} training, {validation} validation and {test} test images"));
            if validation == "0"
                && state.train.settings.stage1.train == Auto::Value(Training::Scratch)
            {
                let color = tokens(ui.visuals()).warn;
                ui.label(
                    RichText::new("Without validation images the last epoch is taken, and balancers cannot be tuned.").small().color(color),
                );
            }
        }
        ui.horizontal(|ui| {
            let label = ui.label("Run name");
            let field = ui
                .add(TextEdit::singleline(&mut state.train.name).desired_width(220.0))
                .labelled_by(label.id);
            if field.changed() {
                state.train.named = true;
            }
        });
        ui.label(
            RichText::new(format!("It is kept in {}", state.shell.runs_folder().display()))
                .small()
                .weak(),
        );
        ui.add_space(space::SMALL);
        ui.horizontal(|ui| {
            let sweep_obstacle = state.train.sweep_obstacle(state.data.source.as_ref(), &state.devices);
            let text = "Tries a tenth of the weight decay to ten times as much, and shows what each does to the rare classes";
            if ui.add_enabled(sweep_obstacle.is_none(), egui::Button::new("Find weight decay")).on_hover_text(text).clicked() {
                commands.push(Command::Train(TrainCommand::FindWeightDecay));
            }
            if ui.button("Load settings…").on_hover_text("Take the settings.toml of another run").clicked() {
                commands.push(Command::Train(TrainCommand::PickSettings));
            }
        });
        if is_ready && let Some(words) = train_cards::time_words(&state.train) {
            ui.label(words);
        }
    });
}

fn augmentation_ui(ui: &mut Ui, state: &mut State) {
    card(ui, |ui| {
        ui.label(theme::heading("Augmentation"));
        ui.label(
            RichText::new("Training images are changed a little every time they are seen, so that the network learns what matters.")
                .small()
                .weak(),
        );
        ui.add_space(space::SMALL);
        let pictures = state.train.previews();
        ui.horizontal_wrapped(|ui| {
            ui.spacing_mut().item_spacing = Vec2::splat(space::MEDIUM);
            for (index, picture) in pictures.iter().enumerate() {
                let image = egui::Image::new(picture)
                    .fit_to_exact_size(Vec2::splat(64.0))
                    .corner_radius(6.0);
                ui.add(image.alt_text(format!("Augmented sample {}", index + 1)));
            }
            if pictures.is_empty() {
                ui.add_space(64.0);
            }
        });
        ui.add_space(space::MEDIUM);
        for entry in AUGMENTATIONS.iter().filter(|entry| entry.usual) {
            key_ui(ui, &mut state.train, entry.setting.key);
        }
        if state.train.show_all {
            for key in
                AUGMENTATIONS.iter().filter(|entry| !entry.usual).map(|entry| entry.setting.key)
            {
                key_ui(ui, &mut state.train, key);
            }
        } else {
            ui.label(
                RichText::new(
                    "RandAugment, erasing, Cutout, mixup and CutMix are under More settings.",
                )
                .small()
                .weak(),
            );
        }
    });
}
