//! What this program is: version, method, devices, licences.

use egui::{Hyperlink, RichText, ScrollArea, Ui};

use super::parts;
use crate::gui::theme::{self, space};
use crate::gui::widgets::primary;

/// Draws the page. Returns whether it is to be closed.
pub fn ui(ui: &mut Ui) -> bool {
    ui.label(theme::title("Counterweight"));
    let features = [(cfg!(feature = "wgpu"), "wgpu"), (cfg!(feature = "cuda"), "CUDA")];
    let with: Vec<&str> =
        features.into_iter().filter(|(on, _)| *on).map(|(_, name)| name).collect();
    ui.label(format!(
        "Version {}, for {} on {}, with {}",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS,
        std::env::consts::ARCH,
        if with.is_empty() {
            "the CPU only".to_string()
        } else {
            format!("the CPU, {}", with.join(" and "))
        },
    ));
    ui.add_space(space::MEDIUM);
    ui.label(
        "Trains, balances and exports image classifiers for long-tailed data by weight balancing:",
    );
    ui.horizontal_wrapped(|ui| {
        ui.label("Alshammari, Wang, Ramanan and Kong, Long-Tailed Recognition via Weight Balancing, CVPR 2022.");
        ui.add(Hyperlink::from_label_and_url("The paper", "https://arxiv.org/abs/2203.14197").open_in_new_tab(true));
    });
    ui.add_space(space::MEDIUM);
    ui.label(theme::strong("Made with"));
    ui.label("burn, burn-onnx, tract, egui, eframe, egui_extras, rfd, image and many more crates.");
    ui.add_space(space::MEDIUM);
    ui.label(theme::strong("Licences"));
    ui.label(
        "Counterweight is yours under the MIT licence or the Apache licence 2.0, as you choose.",
    );
    ScrollArea::vertical().id_salt("licences").max_height(180.0).auto_shrink([false, true]).show(
        ui,
        |ui| {
            ui.collapsing("MIT licence", |ui| {
                ui.label(RichText::new(include_str!("../../../../LICENSE-MIT")).small())
            });
            ui.collapsing("Apache licence 2.0", |ui| {
                ui.label(RichText::new(include_str!("../../../../LICENSE-APACHE")).small())
            });
            ui.collapsing("Inter, the typeface: SIL Open Font License", |ui| {
                ui.label(RichText::new(include_str!("../../../../assets/fonts/OFL.txt")).small());
            });
            ui.collapsing("Material Symbols, the icons: Apache licence 2.0", |ui| {
                ui.label("Copyright Google LLC.")
            });
        },
    );
    let mut closed = false;
    parts::answers(ui, |ui| closed = ui.add(primary(ui, "Close")).clicked());
    closed
}
