//! Opening the window.

use std::sync::Arc;

use eframe::NativeOptions;
use egui::{IconData, ViewportBuilder};

use super::app::CounterweightApp;
use super::state::Place;

/// The name the system knows the program by, and under which preferences are kept.
const NAME: &str = "counterweight";

/// Opens the window and returns when it is closed.
///
/// # Errors
/// The reason, if the system has no screen or no way to draw on it.
pub fn open() -> Result<(), String> {
    let viewport = ViewportBuilder::default()
        .with_title("Counterweight")
        .with_app_id(NAME)
        .with_inner_size([1280.0, 800.0])
        .with_min_inner_size([720.0, 480.0])
        .with_icon(Arc::new(icon()?));
    let options = NativeOptions { viewport, persist_window: true, ..NativeOptions::default() };
    let place = Place::default();
    eframe::run_native(
        NAME,
        options,
        Box::new(move |creation| Ok(Box::new(CounterweightApp::new(creation, place)))),
    )
    .map_err(|error| format!("the window could not be opened: {error}"))
}

/// The icon, as assets/icon/icon.svg draws it.
fn icon() -> Result<IconData, String> {
    eframe::icon_data::from_png_bytes(include_bytes!("../../../assets/icon/icon-256.png"))
        .map_err(|error| format!("the icon: {error}"))
}
