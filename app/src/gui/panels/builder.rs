//! The builder on the data page: profile, imbalance factor, splits, and what is done to single
//! classes.

use counterweight_core::dataset::{BuildOptions, ClassOrder, CountsPreview, Pick, Profile};
use egui::{Button, ComboBox, DragValue, RichText, Slider, TextEdit, Ui};
use egui_material_icons::icons::{ICON_REDO, ICON_UNDO};

use super::builder_together;
use crate::gui::command::{Command, DataCommand};
use crate::gui::state::{Builder, ClassRow, DataState, Origin};
use crate::gui::theme::{self, card, space, tokens};
use crate::gui::widgets::{IconButton, numbers};

/// The largest imbalance factor the slider reaches; more can be typed.
const LARGEST_FACTOR: f64 = 1000.0;

/// Held-out images of a class by which its accuracy is hardly to be told.
const COARSE: usize = 3;

/// Draws the builder.
pub fn ui(ui: &mut Ui, data: &mut DataState, commands: &mut Vec<Command>) {
    card(ui, |ui| {
        let DataState { source, selected, rename_text, keep_together, .. } = data;
        let Some(source) = source else { return };
        let Origin::Catalog { builder, catalog, .. } = &source.origin else {
            ui.label(theme::heading("Dataset"));
            ui.label(
                "A dataset file is trained on without changes. Open its source to build another one.",
            );
            files_ui(ui, commands);
            return;
        };
        let mut change =
            Change { options: builder.options().clone(), movement: None, settled: false };
        ui.horizontal(|ui| {
            ui.label(theme::heading("Build a dataset"));
            ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                if IconButton::new(ICON_REDO, "Redo")
                    .icon_only()
                    .enabled(builder.can_redo())
                    .show(ui)
                    .clicked()
                {
                    commands.push(Command::Data(DataCommand::Redo));
                }
                if IconButton::new(ICON_UNDO, "Undo")
                    .icon_only()
                    .enabled(builder.can_undo())
                    .show(ui)
                    .clicked()
                {
                    commands.push(Command::Data(DataCommand::Undo));
                }
            });
        });
        profile_ui(ui, &mut change, builder);
        ui.separator();
        splits_ui(ui, &mut change, builder);
        builder_together::ui(ui, keep_together, builder, commands);
        ui.separator();
        let row = selected.and_then(|class| source.view.classes.get(class));
        class_ui(
            ui,
            &mut change,
            row,
            &source.view.classes,
            &catalog.classes,
            builder,
            rename_text,
        );
        outcome_ui(ui, &builder.preview);
        ui.separator();
        files_ui(ui, commands);
        let Change { options, movement, settled } = change;
        if options != *builder.options() {
            commands.push(Command::Data(DataCommand::SetOptions {
                options: Box::new(options),
                drag: movement,
            }));
        }
        if settled {
            commands.push(Command::Data(DataCommand::Settle));
        }
    });
}

/// What the person has changed in this frame.
struct Change {
    options: BuildOptions,
    movement: Option<&'static str>,
    settled: bool,
}

impl Change {
    /// Notes that a slider or number was moved, or let go of.
    fn moved(&mut self, response: &egui::Response, name: &'static str) {
        if response.changed() && response.dragged() {
            self.movement = Some(name);
        }
        self.settled |= response.drag_stopped();
    }
}

/// A label on the left and what it names on the right.
pub(super) fn row_ui<R>(
    ui: &mut Ui,
    label: &str,
    hint: &str,
    control: impl FnOnce(&mut Ui) -> R,
) -> R {
    ui.horizontal(|ui| {
        let size = egui::vec2(118.0, ui.spacing().interact_size.y);
        let label = ui.allocate_ui_with_layout(
            size,
            egui::Layout::left_to_right(egui::Align::Center),
            |ui| {
                ui.set_min_width(size.x);
                ui.label(label)
            },
        );
        let id = label.inner.id;
        label.inner.on_hover_text(hint);
        ui.label_inputs_by(id, control)
    })
    .inner
}

fn profile_name(profile: &Profile) -> &'static str {
    match profile {
        Profile::AsIs => "As it is",
        Profile::Exponential { .. } => "Exponential",
        Profile::Step { .. } => "Step",
        Profile::Pareto { .. } => "Pareto",
        Profile::Custom { .. } => "Custom",
    }
}

fn profile_ui(ui: &mut Ui, change: &mut Change, builder: &Builder) {
    let factor = match change.options.profile {
        Profile::Exponential { factor }
        | Profile::Step { factor }
        | Profile::Pareto { factor, .. } => factor,
        Profile::AsIs | Profile::Custom { .. } => Profile::DEFAULT_FACTOR,
    };
    row_ui(
        ui,
        "Profile",
        "How the numbers of training images fall from the largest class to the smallest",
        |ui| {
            ComboBox::from_id_salt("profile")
                .selected_text(profile_name(&change.options.profile))
                .show_ui(ui, |ui| {
                    let kept = match &builder.preview {
                        Ok(preview) => preview
                            .classes
                            .iter()
                            .cloned()
                            .zip(preview.kept.iter().copied())
                            .collect(),
                        Err(_) => Default::default(),
                    };
                    let profiles = [
                        Profile::AsIs,
                        Profile::Exponential { factor },
                        Profile::Step { factor },
                        Profile::Pareto { factor, alpha: Profile::DEFAULT_ALPHA },
                        Profile::Custom { counts: kept },
                    ];
                    for profile in profiles {
                        let same = std::mem::discriminant(&profile)
                            == std::mem::discriminant(&change.options.profile);
                        if ui.selectable_label(same, profile_name(&profile)).clicked() && !same {
                            change.options.profile = profile;
                        }
                    }
                })
        },
    );
    let mut new = factor;
    let has_factor = matches!(
        change.options.profile,
        Profile::Exponential { .. } | Profile::Step { .. } | Profile::Pareto { .. }
    );
    if has_factor {
        let response = row_ui(
            ui,
            "Imbalance factor",
            "The largest class gets so many times the training images of the smallest",
            |ui| {
                ui.spacing_mut().slider_width = 120.0;
                let slider = Slider::new(&mut new, 1.0..=LARGEST_FACTOR)
                    .logarithmic(true)
                    .clamping(egui::SliderClamping::Never);
                ui.add(
                    slider
                        .custom_formatter(|value, _| numbers::value((value * 10.0).round() / 10.0)),
                )
            },
        );
        change.moved(&response, "factor");
        // A slider on a logarithmic scale gives numbers with many digits; they are rounded.
        let rounded = if new < 10.0 { (new * 10.0).round() / 10.0 } else { new.round() };
        if new != factor {
            match &mut change.options.profile {
                Profile::Exponential { factor }
                | Profile::Step { factor }
                | Profile::Pareto { factor, .. } => *factor = rounded.max(1.0),
                Profile::AsIs | Profile::Custom { .. } => {}
            }
        }
    }
    if let Profile::Pareto { alpha, .. } = &mut change.options.profile {
        let response = row_ui(
            ui,
            "Pareto shape α",
            "The smaller, the steeper the head; ImageNet-LT has 6",
            |ui| ui.add(DragValue::new(alpha).range(0.1..=50.0).speed(0.05)),
        );
        change.moved(&response, "alpha");
    }
    let mut limited = change.options.max_per_class.is_some();
    let mut largest = change.options.max_per_class.unwrap_or_else(|| {
        builder.preview.as_ref().map_or(1, |p| p.kept.iter().copied().max().unwrap_or(1))
    });
    row_ui(
        ui,
        "Largest class",
        "Training images of the largest class; unlimited takes what it has",
        |ui| {
            if ui
                .checkbox(&mut limited, "at most")
                .accessible_name("Largest class: at most")
                .changed()
            {
                change.options.max_per_class = limited.then_some(largest);
            }
            let response =
                ui.add_enabled(limited, DragValue::new(&mut largest).range(1..=10_000_000));
            if response.changed() {
                change.options.max_per_class = Some(largest);
            }
            change.moved(&response, "largest");
        },
    );
    row_ui(ui, "Order", "Which class is the head and which the tail", |ui| {
        let orders = [
            (ClassOrder::Name, "as named"),
            (ClassOrder::Size, "by size"),
            (ClassOrder::Shuffle, "shuffled"),
        ];
        choice_ui(ui, "order", &mut change.options.order, &orders);
    });
    row_ui(ui, "Pick", "Which of a class's images are kept", |ui| {
        choice_ui(
            ui,
            "pick",
            &mut change.options.pick,
            &[(Pick::First, "the first"), (Pick::Random, "at random")],
        );
    });
    row_ui(ui, "Seed", "Of everything random in building", |ui| {
        let mut seed = change.options.seed;
        if ui.add(DragValue::new(&mut seed).range(0..=i64::MAX as u64)).changed() {
            change.options.seed = seed;
        }
    });
}

fn choice_ui<T: PartialEq + Copy>(ui: &mut Ui, id: &str, value: &mut T, choices: &[(T, &str)]) {
    let text = choices.iter().find(|(choice, _)| choice == value).map_or("", |(_, text)| text);
    ComboBox::from_id_salt(id).selected_text(text).show_ui(ui, |ui| {
        for (choice, text) in choices {
            ui.selectable_value(value, *choice, *text);
        }
    });
}

/// What is held out: as much as is usual, which is said in numbers, or as much as the person says.
fn splits_ui(ui: &mut Ui, change: &mut Change, builder: &Builder) {
    type Of = fn(&mut BuildOptions) -> &mut Option<f64>;
    type Counts = fn(&CountsPreview) -> &[usize];
    let parts: [(&'static str, &str, Of, Counts); 2] = [
        (
            "Validation",
            "Images held out to choose by: the best epoch, the balancer's parameters",
            |options| &mut options.validation,
            |preview| &preview.validation,
        ),
        (
            "Test",
            "Images held out to report on: never learned from, never chosen by",
            |options| &mut options.test,
            |preview| &preview.test,
        ),
    ];
    let preview = builder.preview.as_ref().ok();
    let all: usize = preview.map_or(0, |preview| {
        [&preview.train, &preview.validation, &preview.test].into_iter().flatten().sum()
    });
    for (name, hint, of, counts) in parts {
        let held_out: usize = preview.map_or(0, |preview| counts(preview).iter().sum());
        let share = held_out as f64 / all.max(1) as f64;
        row_ui(ui, name, hint, |ui| {
            let part = of(&mut change.options);
            let automatic = ui
                .selectable_label(part.is_none(), "Automatic")
                .on_hover_text("The source's own split, or the usual share of each class");
            if automatic.accessible_name(format!("{name}: automatic")).clicked() {
                *part = None;
            }
            let choose = ui.selectable_label(part.is_some(), "Choose");
            if choose.accessible_name(format!("{name}: choose")).clicked() && part.is_none() {
                // From what there is now, so that choosing changes nothing yet.
                *part = Some((share * 1000.0).round() / 1000.0);
            }
            let Some(chosen) = *part else { return };
            let mut percent = chosen * 100.0;
            let response = ui.add(
                DragValue::new(&mut percent)
                    .range(0.0..=90.0)
                    .suffix(" %")
                    .speed(0.2)
                    .max_decimals(1),
            );
            let response = response.accessible_name(format!("{name}: percent"));
            if response.changed() {
                *of(&mut change.options) = Some(percent / 100.0);
            }
            change.moved(&response, name);
        });
        let smallest = preview
            .and_then(|preview| counts(preview).iter().copied().filter(|count| *count > 0).min());
        let words = match smallest {
            None => format!("No {} images", name.to_lowercase()),
            Some(smallest) => {
                let none = preview.map_or(0, |preview| {
                    counts(preview).iter().filter(|count| **count == 0).count()
                });
                format!(
                    "{} {}, {:.1} % of all; {}",
                    numbers::grouped(held_out as u64),
                    if held_out == 1 { "image" } else { "images" },
                    100.0 * share,
                    match none {
                        0 =>
                            format!("the rarest class gives {}", numbers::grouped(smallest as u64)),
                        1 => "1 class gives none".to_string(),
                        none => format!("{} classes give none", numbers::grouped(none as u64)),
                    }
                )
            }
        };
        ui.label(RichText::new(words).small().weak());
        if let Some(smallest) = smallest.filter(|count| *count <= COARSE) {
            let warn = tokens(ui.visuals()).warn;
            let points = (100.0 / smallest as f64).round();
            let words = format!(
                "There one image is worth {points} points of that class's accuracy: read it as a hint."
            );
            ui.label(RichText::new(words).small().color(warn));
        }
    }
}

fn class_ui(
    ui: &mut Ui,
    change: &mut Change,
    row: Option<&ClassRow>,
    classes: &[ClassRow],
    originals: &[String],
    builder: &Builder,
    rename_text: &mut String,
) {
    let Some(class) = row else {
        ui.label(theme::strong("No class is chosen"));
        ui.label(RichText::new("Click a bar or a row to change a single class.").small().weak());
        return;
    };
    ui.label(theme::strong(format!("Class {}", class.name)));
    row_ui(
        ui,
        "Training images",
        "Give this class another number; all others stay as they are",
        |ui| {
            let mut count = class.train;
            // With edits a class may have more images than the source, which is no reason to change
            // its number unasked, or none there at all.
            let response = ui.add_enabled(
                class.included && class.original > 0,
                DragValue::new(&mut count)
                    .range(1..=class.original.max(1))
                    .clamp_existing_to_range(false),
            );
            // A class that is left out has no number, and the field's idea of the nearest one is
            // not the person's.
            if response.changed() && class.included {
                change.options = builder.with_count(&class.name, count);
            }
            change.moved(&response, "count");
        },
    );
    row_ui(ui, "Include", "Leave the class out of the dataset, or take it in again", |ui| {
        let mut included = class.included;
        if ui.checkbox(&mut included, "in the dataset").changed() {
            let names: Vec<String> = classes.iter().map(|class| class.name.clone()).collect();
            change.options = builder.with_included(&names, &class.name, included);
        }
    });
    row_ui(ui, "New name", "Another class's name merges the two", |ui| {
        let field = ui
            .add(TextEdit::singleline(rename_text).desired_width(96.0).hint_text(&class.name))
            .accessible_name("New name");
        let entered = field.lost_focus() && ui.input(|input| input.key_pressed(egui::Key::Enter));
        let name = rename_text.trim().to_string();
        let is_new = !name.is_empty() && name != class.name;
        let merges = is_new && classes.iter().any(|other| other.name == name);
        let pressed =
            ui.add_enabled(is_new, Button::new(if merges { "Merge" } else { "Rename" })).clicked();
        if (pressed || entered) && is_new {
            change.options = builder.with_name(originals, &class.name, &name);
            rename_text.clear();
        }
    });
}

fn outcome_ui(ui: &mut Ui, preview: &Result<CountsPreview, String>) {
    let tokens = tokens(ui.visuals());
    match preview {
        Ok(preview) => {
            for note in &preview.notes {
                ui.label(RichText::new(note).small().color(tokens.text_weak));
            }
        }
        Err(reason) => {
            ui.label(RichText::new(reason).color(tokens.bad));
        }
    }
}

fn files_ui(ui: &mut Ui, commands: &mut Vec<Command>) {
    ui.horizontal_wrapped(|ui| {
        if ui
            .button("Save dataset file…")
            .on_hover_text("A small file that names every image, its class and its split")
            .clicked()
        {
            commands.push(Command::Data(DataCommand::PickDatasetFile));
        }
        if ui
            .button("Write images…")
            .on_hover_text("Copies of the chosen images, in one folder for each split and class")
            .clicked()
        {
            commands.push(Command::Data(DataCommand::PickImageFolder));
        }
    });
    ui.add_space(space::SMALL);
}
