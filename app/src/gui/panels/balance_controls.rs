//! The controls of the balancing page: balancers to switch on, and their parameters.

use counterweight_core::settings::{
    Auto, BalanceSettings, Balancer, ClassifierLoss, FeatureSource, Schedule,
};
use egui::{ComboBox, DragValue, Response, RichText, Slider, Ui};

use crate::gui::theme::{self, space};
use crate::gui::widgets::numbers;

fn words(balancer: Balancer) -> (&'static str, &'static str) {
    match balancer {
        Balancer::Stage2 => (
            "Stage 2",
            "Trains the classifier again on the same features, with a loss that gives rare classes more say.",
        ),
        Balancer::WeightDecay => {
            ("Weight decay", "Pulls the classifier's weights towards zero while stage 2 trains it.")
        }
        Balancer::MaxNorm => {
            ("MaxNorm", "Shortens every class weight that is longer than a radius.")
        }
        Balancer::L2 => {
            ("L2-normalisation", "Makes all class weights equally long. Needs no training.")
        }
        Balancer::Tau => (
            "τ-normalisation",
            "Divides each class weight by its norm to the power τ. Needs no training.",
        ),
        Balancer::MultiplicativeAdjustment => (
            "Multiplicative adjustment",
            "Makes each class weight as long as the class is rare: a power γ of how many times rarer than the largest. Needs no training.",
        ),
        Balancer::LogitAdjustment => (
            "Logit adjustment",
            "Lowers the score of a class by how frequent it is. Needs no training.",
        ),
    }
}

/// Whether these settings train the classifier.
pub fn trains(settings: &BalanceSettings) -> bool {
    settings
        .balancers
        .iter()
        .any(|balancer| matches!(balancer, Balancer::Stage2 | Balancer::WeightDecay))
}

/// Draws the controls. Returns whether anything was changed.
pub fn ui(ui: &mut Ui, settings: &mut BalanceSettings, show_all: &mut bool) -> bool {
    let before = settings.clone();
    ui.label(theme::heading("Balancers"));
    ui.label(RichText::new("Switched on together they are applied in this order.").small().weak());
    ui.add_space(space::SMALL);
    for balancer in Balancer::ALL {
        balancer_ui(ui, settings, balancer);
    }
    if trains(settings) {
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
    let (name, explanation) = words(balancer);
    let mut on = settings.balancers.contains(&balancer);
    if ui.checkbox(&mut on, theme::strong(name)).on_hover_text(explanation).changed() {
        settings.balancers.retain(|listed| *listed != balancer);
        if on {
            settings.balancers.push(balancer);
            settings.balancers.sort();
        }
    }
    if !on {
        return;
    }
    ui.indent(name, |ui| match balancer {
        Balancer::Tau => {
            drop(slider(ui, "τ", Slider::new(&mut settings.tau, 0.0..=3.0).max_decimals(2)))
        }
        Balancer::MultiplicativeAdjustment => {
            drop(slider(ui, "γ", Slider::new(&mut settings.gamma, 0.0..=1.0).max_decimals(2)))
        }
        Balancer::LogitAdjustment => drop(slider(
            ui,
            "Strength",
            Slider::new(&mut settings.logit_adjustment, 0.0..=3.0).max_decimals(2),
        )),
        Balancer::WeightDecay => {
            let range = Slider::new(&mut settings.weight_decay, 0.0..=1.0)
                .logarithmic(true)
                .smallest_positive(1e-4)
                .max_decimals(5);
            drop(slider(ui, "λ", range));
        }
        Balancer::MaxNorm => radius_ui(ui, settings),
        Balancer::L2 | Balancer::Stage2 => {
            drop(ui.label(RichText::new(explanation).small().weak()))
        }
    });
}

/// A slider with its name before it.
fn slider(ui: &mut Ui, name: &str, slider: Slider<'_>) -> Response {
    ui.horizontal(|ui| {
        ui.spacing_mut().slider_width = (ui.available_width() - 150.0).clamp(80.0, 200.0);
        let size = egui::vec2(62.0, ui.spacing().interact_size.y);
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

fn radius_ui(ui: &mut Ui, settings: &mut BalanceSettings) {
    let mut given = matches!(settings.max_norm_radius, Auto::Value(_));
    ui.horizontal(|ui| {
        if ui
            .radio(!given, "by δ")
            .on_hover_text("η = min + δ (max − min) of the norms at the start")
            .clicked()
        {
            given = false;
            settings.max_norm_radius = Auto::AUTO;
        }
        if ui.radio(given, "given").on_hover_text("The radius η itself").clicked() && !given {
            given = true;
            settings.max_norm_radius = Auto::Value(1.0);
        }
    });
    match &mut settings.max_norm_radius {
        Auto::Auto(_) => drop(slider(
            ui,
            "δ",
            Slider::new(&mut settings.max_norm_delta, 0.0..=1.0).max_decimals(3),
        )),
        Auto::Value(radius) => drop(slider(
            ui,
            "η",
            Slider::new(radius, 0.001..=10.0).logarithmic(true).max_decimals(3),
        )),
    }
}

fn loss_words(loss: ClassifierLoss) -> &'static str {
    match loss {
        ClassifierLoss::CrossEntropy => "cross-entropy",
        ClassifierLoss::ClassBalanced => "class-balanced",
        ClassifierLoss::ClassBalancedBce => "class-balanced, as in the authors' code",
        ClassifierLoss::BalancedSoftmax => "balanced softmax",
        ClassifierLoss::LogitAdjusted => "logit-adjusted",
    }
}

fn loss_ui(ui: &mut Ui, settings: &mut BalanceSettings) {
    ui.horizontal(|ui| {
        let label = ui.label("Loss");
        let combo = ComboBox::from_id_salt("loss")
            .width(200.0)
            .truncate()
            .selected_text(loss_words(settings.loss))
            .show_ui(ui, |ui| {
                let losses = [
                    ClassifierLoss::ClassBalanced,
                    ClassifierLoss::ClassBalancedBce,
                    ClassifierLoss::BalancedSoftmax,
                    ClassifierLoss::LogitAdjusted,
                    ClassifierLoss::CrossEntropy,
                ];
                for loss in losses {
                    ui.selectable_value(&mut settings.loss, loss, loss_words(loss));
                }
            });
        combo.response.labelled_by(label.id);
    });
    if matches!(settings.loss, ClassifierLoss::ClassBalanced | ClassifierLoss::ClassBalancedBce) {
        // Near 1 each further nine matters, so the slider runs over the nines.
        let mut nines = -(1.0 - settings.beta).max(1e-6).log10();
        let before = nines;
        let shown = Slider::new(&mut nines, 0.0..=5.0).custom_formatter(|nines, _| {
            format!("{:.6}", 1.0 - 10f64.powf(-nines)).trim_end_matches('0').to_string()
        });
        let parsed = shown.custom_parser(|text| {
            text.parse::<f64>().ok().map(|beta| -(1.0 - beta).max(1e-6).log10())
        });
        slider(ui, "β", parsed);
        if nines != before {
            settings.beta = 1.0 - 10f64.powf(-nines);
        }
    }
    if settings.loss == ClassifierLoss::LogitAdjusted
        && !settings.balancers.contains(&Balancer::LogitAdjustment)
    {
        slider(
            ui,
            "Strength",
            Slider::new(&mut settings.logit_adjustment, 0.0..=3.0).max_decimals(2),
        );
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
