//! tmp
use crate::gui::{command::Command, state::State};
use egui::Ui;
/// tmp
pub fn ui(_ui: &mut Ui, _state: &mut State, _commands: &mut Vec<Command>) {}
