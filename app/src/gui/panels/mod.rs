//! The parts of the window. They read the state, change what is being typed or chosen, and send
//! commands.

mod about;
mod backbones;
mod balance;
mod balance_comparison;
mod balance_controls;
mod builder;
mod builder_together;
mod class_chooser;
mod data;
mod data_files;
mod dialogs;
mod export;
mod export_try;
mod focus;
mod grow;
mod grow_label;
mod grow_more;
mod images;
mod images_cell;
mod images_zoom;
mod inspect;
mod inspect_beside;
mod inspect_looked;
mod inspect_map;
mod inspect_mistakes;
mod log;
mod mapper;
mod notices;
mod palette;
mod parts;
mod predict;
mod rail;
mod runs;
mod runs_compare;
mod runs_sweeps;
mod start;
mod sweep;
mod tour;
mod train;
mod train_cards;
mod train_live;
mod train_transforms;

use egui::{CentralPanel, Frame, Margin, ScrollArea, Ui};

use super::command::Command;
use super::state::{Page, State};
use super::theme::{space, tokens};

/// What the parts keep between frames that is of no concern to anything else.
#[derive(Default)]
pub struct Panels {
    palette: palette::Palette,
    notices: notices::Notices,
    focus: focus::Focus,
}

impl Panels {
    /// Draws the whole window.
    pub fn ui(&mut self, ui: &mut Ui, state: &mut State, commands: &mut Vec<Command>) {
        rail::ui(ui, state, commands);
        if state.shell.log_open {
            log::ui(ui, state, commands);
        }
        if state.tour.active {
            tour::ui(ui, state, commands);
        }
        let background = tokens(ui.visuals()).background;
        let frame = Frame::new().fill(background).inner_margin(Margin {
            left: space::PAGE as i8,
            right: 0,
            top: space::PAGE as i8,
            bottom: 0,
        });
        let focus = &mut self.focus;
        let page = CentralPanel::default().frame(frame).show(ui, |ui| {
            if state.page == Page::Images {
                // Its pictures scroll, and what is done with them stays in sight.
                let margin = Margin {
                    right: space::PAGE as i8,
                    bottom: space::MEDIUM as i8,
                    ..Margin::ZERO
                };
                Frame::new().inner_margin(margin).show(ui, |ui| images::ui(ui, state, commands));
                return;
            }
            ScrollArea::vertical().id_salt(("page", state.page)).auto_shrink(false).show(
                ui,
                |ui| {
                    // The scroll bar stands at the edge of the window, not of the text.
                    Frame::new()
                        .inner_margin(Margin {
                            right: space::PAGE as i8,
                            bottom: space::PAGE as i8,
                            ..Margin::ZERO
                        })
                        .show(ui, |ui| match state.page {
                            Page::Data => data::ui(ui, state, commands),
                            Page::Train => train::ui(ui, state, commands),
                            Page::Balance => balance::ui(ui, state, commands),
                            Page::Inspect => inspect::ui(ui, state, commands),
                            Page::Export => export::ui(ui, state, commands),
                            Page::Images => {}
                            Page::Predict => predict::ui(ui, state, commands),
                            Page::Grow => grow::ui(ui, state, commands),
                            Page::Runs => runs::ui(ui, state, commands),
                        });
                    focus.bring_into_sight(ui);
                },
            );
        });
        self.palette.ui(ui, state, commands);
        dialogs::ui(ui, state, commands);
        let toasts = std::mem::take(&mut state.shell.toasts);
        self.notices.ui(ui.ctx(), page.response.rect, toasts.into_iter());
        focus::ring(ui.ctx());
    }
}
