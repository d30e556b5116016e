//! The controls of the balancing page: balancers to switch on, and their parameters.

use counterweight_core::settings::{
    BalanceSettings, Balancer, BalancerInfo, FeatureSource, LOSSES, Parameter, Scale, Schedule,
};
use egui::{ComboBox, DragValue, Response, RichText, Slider, Ui};

use crate::gui::theme::{self, space};
use crate::gui::widgets::numbers;

/// Draws the controls. Returns whether anything was changed.
pub fn ui(ui: &mut Ui, settings: &mut BalanceSettings, show_all: &mut bool) -> bool {
    let before = settings.clone();
    ui.label(RichText::new("Switched on together they are applied in this order.").small().weak());
    ui.add_space(space::SMALL);
    for balancer in Balancer::ALL {
        balancer_ui(ui, settings, balancer);
    }
    if settings.trains() {
        ui.separator();
        ui.label(theme::strong("Stage 2: training the classifier"));
        loss_ui(ui, settings);
        let text = if *show_all { "Fewer settings" } else { "More settings" };
        if *show_all {
            training_ui(ui, settings);
        }
        if ui.button(text).clicked() {
            *show_all = !*show_all;
        }
    }
    *settings != before
}

fn balancer_ui(ui: &mut Ui, settings: &mut BalanceSettings, balancer: Balancer) {
    let info = balancer.info();
    let mut on = settings.balancers.contains(&balancer);
    let name = theme::strong(info.label);
    if ui.checkbox(&mut on, name).on_hover_text(info.explanation).changed() {
        settings.balancers.retain(|listed| *listed != balancer);
        if on {
            settings.balancers.push(balancer);
            settings.balancers.sort();
        }
    }
    if !on {
        return;
    }
    ui.indent(info.label, |ui| {
        if info.parameters.is_empty() {
            ui.label(RichText::new(info.explanation).small().weak());
        }
        choice_ui(ui, settings, info);
        if let Some(parameter) = info.parameter(settings) {
            parameter_ui(ui, settings, parameter);
        }
    });
}

/// Which of several parameters is in use.
fn choice_ui(ui: &mut Ui, settings: &mut BalanceSettings, info: &BalancerInfo) {
    if info.parameters.len() < 2 {
        return;
    }
    ui.horizontal(|ui| {
        for parameter in info.parameters {
            let Some(choice) = parameter.choice else { continue };
            let chosen = (choice.is_chosen)(settings);
            if ui.radio(chosen, choice.label).on_hover_text(choice.hint).clicked() && !chosen {
                let value = (parameter.get)(settings);
                (parameter.set)(settings, value);
            }
        }
    });
}

fn parameter_ui(ui: &mut Ui, settings: &mut BalanceSettings, parameter: &Parameter) {
    let before = (parameter.get)(settings);
    let mut value = before;
    let (least, most) = parameter.range;
    let shown = Slider::new(&mut value, least..=most);
    let shown = match parameter.scale {
        Scale::Linear(decimals) => shown.max_decimals(decimals),
        Scale::Logarithmic(decimals) => shown.logarithmic(true).max_decimals(decimals),
        Scale::LogarithmicToZero(smallest, decimals) => {
            shown.logarithmic(true).smallest_positive(smallest).max_decimals(decimals)
        }
    };
    let name = match parameter.word == parameter.symbol {
        true => parameter.word.to_string(),
        false => format!("{} {}", parameter.word, parameter.symbol),
    };
    slider(ui, &name, shown).on_hover_text(parameter.explanation);
    if value != before {
        (parameter.set)(settings, value);
    }
}

/// A slider with its name before it.
fn slider(ui: &mut Ui, name: &str, slider: Slider<'_>) -> Response {
    ui.horizontal(|ui| {
        ui.spacing_mut().slider_width = (ui.available_width() - 162.0).clamp(80.0, 200.0);
        let size = egui::vec2(72.0, ui.spacing().interact_size.y);
        let label = ui.allocate_ui_with_layout(
            size,
            egui::Layout::left_to_right(egui::Align::Center),
            |ui| {
                ui.set_min_width(size.x);
                ui.label(name)
            },
        );
        ui.add(slider).labelled_by(label.inner.id)
    })
    .inner
}

fn loss_ui(ui: &mut Ui, settings: &mut BalanceSettings) {
    ui.horizontal(|ui| {
        let label = ui.label("Loss");
        let combo = ComboBox::from_id_salt("loss")
            .width(200.0)
            .truncate()
            .selected_text(settings.loss.info().label)
            .show_ui(ui, |ui| {
                for entry in &LOSSES {
                    ui.selectable_value(&mut settings.loss, entry.loss, entry.label)
                        .on_hover_text(entry.explanation);
                }
            });
        combo.response.labelled_by(label.id);
    });
    if settings.loss.info().takes_beta {
        // Near 1 each further nine matters, so the slider runs over the nines.
        let mut nines = -(1.0 - settings.beta).max(1e-6).log10();
        let before = nines;
        let shown = Slider::new(&mut nines, 0.0..=5.0).custom_formatter(|nines, _| {
            format!("{:.6}", 1.0 - 10f64.powf(-nines)).trim_end_matches('0').to_string()
        });
        let parsed = shown.custom_parser(|text| {
            text.parse::<f64>().ok().map(|beta| -(1.0 - beta).max(1e-6).log10())
        });
        slider(ui, "Overlap β", parsed).on_hover_text(
            "How soon another image of a class brings nothing new: 0 treats all classes alike, towards 1 the loss weighs them by their counts",
        );
        if nines != before {
            settings.beta = 1.0 - 10f64.powf(-nines);
        }
    }
    let strength = Balancer::LogitAdjustment;
    if settings.loss.info().takes_strength && !settings.balancers.contains(&strength) {
        for parameter in strength.info().parameters {
            parameter_ui(ui, settings, parameter);
        }
    }
}

fn training_ui(ui: &mut Ui, settings: &mut BalanceSettings) {
    let rate = Slider::new(&mut settings.learning_rate, 1e-4..=1.0).logarithmic(true);
    slider(ui, "Rate", rate.custom_formatter(|value, _| numbers::value(value)));
    slider(ui, "Epochs", Slider::new(&mut settings.epochs, 1..=100));
    ui.horizontal(|ui| {
        let label = ui.label("Batch");
        ui.add(DragValue::new(&mut settings.batch_size).range(2..=4096)).labelled_by(label.id);
        let label = ui.label("Momentum");
        ui.add(DragValue::new(&mut settings.momentum).range(0.0..=0.999).speed(0.005))
            .labelled_by(label.id);
    });
    slider(ui, "Smoothing", Slider::new(&mut settings.label_smoothing, 0.0..=0.99).max_decimals(3));
    ui.horizontal(|ui| {
        ui.label("Schedule");
        ui.selectable_value(&mut settings.schedule, Schedule::Cosine, "cosine");
        ui.selectable_value(&mut settings.schedule, Schedule::CosineNonzero, "above zero")
            .on_hover_text("The same cosine, which would be at zero one epoch after the last");
        ui.selectable_value(&mut settings.schedule, Schedule::Constant, "constant");
    });
    let mut live = settings.features == FeatureSource::Network;
    let text = "Recompute features while training, as the authors' code does";
    if ui
        .checkbox(&mut live, text)
        .on_hover_text("Slow: it acts when the balancer is used for the run. What is shown here is on cached features.")
        .changed()
    {
        settings.features = if live { FeatureSource::Network } else { FeatureSource::Cached };
    }
}
