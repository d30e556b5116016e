//! What a result is worth, the same on every page.

use counterweight_core::eval::{Grade, Verdict};
use egui::{CornerRadius, Frame, Label, Margin, Response, RichText, Role, Stroke, Ui, WidgetInfo};
use egui_material_icons::MaterialIcon;
use egui_material_icons::icons::{ICON_CHECK_CIRCLE, ICON_HELP, ICON_WARNING};

use super::super::theme::{self, space};

/// Size of the mark beside the sentence.
const MARK: f32 = 22.0;

/// A coloured strip with a mark, a sentence and what to try.
#[derive(Clone, Copy, Debug)]
pub struct VerdictStrip<'a> {
    verdict: &'a Verdict,
    compact: bool,
}

impl<'a> VerdictStrip<'a> {
    /// The strip of a verdict.
    pub fn new(verdict: &'a Verdict) -> Self {
        Self { verdict, compact: false }
    }

    /// In one line, for lists; the rest is said where it is pointed at.
    pub fn compact(mut self) -> Self {
        self.compact = true;
        self
    }

    /// Draws the strip.
    pub fn show(self, ui: &mut Ui) -> Response {
        let colors = theme::tokens(ui.visuals()).grade(self.verdict.grade);
        let margin =
            if self.compact { Margin::symmetric(10, 5) } else { Margin::symmetric(14, 12) };
        let frame = Frame::new()
            .fill(colors.wash)
            .stroke(Stroke::new(1.0, colors.mark.gamma_multiply(0.45)))
            .corner_radius(CornerRadius::same(8))
            .inner_margin(margin);
        let strip = frame.show(ui, |ui| {
            ui.set_width(ui.available_width());
            let colored = |size: f32| {
                Label::new(theme::icon(mark(self.verdict.grade)).size(size).color(colors.mark))
                    .selectable(false)
            };
            if self.compact {
                ui.horizontal(|ui| {
                    ui.add(colored(0.75 * MARK));
                    ui.add(Label::new(&self.verdict.sentence).truncate());
                });
                return;
            }
            ui.horizontal_top(|ui| {
                ui.add(colored(MARK));
                ui.vertical(|ui| {
                    // The first line stands beside the middle of the mark.
                    ui.add_space(2.0);
                    self.words_ui(ui);
                });
            });
        });
        let response = strip.response;
        response.widget_info(|| {
            WidgetInfo::labeled(
                Role::Group,
                true,
                format!("Verdict: {}", self.verdict.grade.name()),
            )
        });
        match self.compact {
            true => response.on_hover_ui(|ui| self.words_ui(ui)),
            false => response,
        }
    }

    fn words_ui(&self, ui: &mut Ui) {
        let tokens = theme::tokens(ui.visuals());
        ui.spacing_mut().item_spacing.y = space::SMALL;
        ui.add(Label::new(theme::strong(&self.verdict.sentence)).wrap());
        for finding in self.verdict.others() {
            ui.add(Label::new(RichText::new(&finding.sentence).color(tokens.text)).wrap());
        }
        let advice =
            RichText::new(format!("What to try: {}", self.verdict.advice)).color(tokens.text);
        ui.add(Label::new(advice).wrap());
    }
}

/// The mark of a grade, for those who see no colours as well.
pub fn mark(grade: Grade) -> MaterialIcon {
    match grade {
        Grade::Worthless => ICON_WARNING,
        Grade::Doubtful => ICON_HELP,
        Grade::Usable => ICON_CHECK_CIRCLE,
    }
}
