//! Opening the window.

use std::sync::Arc;

use eframe::{CreationContext, NativeOptions};
use egui::{IconData, ViewportBuilder};

use super::app::CounterweightApp;
use super::state::Place;
use super::worker::drawn_by_processor;

/// The name the system knows the program by, and under which preferences are kept.
const NAME: &str = "counterweight";

/// Opens the window and returns when it is closed.
///
/// # Errors
/// The reason, if the system has no screen or no way to draw on it.
pub fn open() -> Result<(), String> {
    if !has_display() {
        return Err("no display was found (neither DISPLAY nor WAYLAND_DISPLAY is set)".into());
    }
    let viewport = ViewportBuilder::default()
        .with_title("Counterweight")
        .with_app_id(NAME)
        .with_inner_size([1280.0, 800.0])
        .with_min_inner_size([720.0, 480.0])
        .with_icon(Arc::new(icon()?));
    // There is nothing to dither: colours are flat, or steps of a legend.
    let options = NativeOptions {
        viewport,
        persist_window: true,
        dithering: false,
        ..NativeOptions::default()
    };
    let place = Place::default();
    eframe::run_native(
        NAME,
        options,
        Box::new(move |creation| {
            if is_drawn_by_processor(creation) {
                drawn_by_processor();
            }
            Ok(Box::new(CounterweightApp::new(creation, place)))
        }),
    )
    .map_err(|error| {
        format!("the window could not be opened: {}", without_place(&error.to_string()))
    })
}

fn is_drawn_by_processor(creation: &CreationContext<'_>) -> bool {
    let device = creation.wgpu_render_state.as_ref().map(|state| state.adapter.get_info());
    device.is_some_and(|device| device.device_type == eframe::wgpu::DeviceType::Cpu)
}

/// Whether this session says where a window could be shown. Windows and macOS need not be told.
fn has_display() -> bool {
    let told = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    cfg!(any(windows, target_os = "macos"))
        || ["DISPLAY", "WAYLAND_DISPLAY", "WAYLAND_SOCKET"].into_iter().any(told)
}

/// What the window library says without the line of its own source that it names first.
fn without_place(text: &str) -> &str {
    let place = text.find("os error at ").and_then(|start| text[start..].split_once(".rs:"));
    place.and_then(|(_, rest)| rest.split_once(": ")).map_or(text, |(_, reason)| reason)
}

/// The icon, as assets/icon/icon.svg draws it.
fn icon() -> Result<IconData, String> {
    eframe::icon_data::from_png_bytes(include_bytes!("../../../assets/icon/icon-256.png"))
        .map_err(|error| format!("the icon: {error}"))
}

#[cfg(test)]
mod tests {
    use super::without_place;

    #[test]
    fn places_in_other_peoples_sources_are_left_out() {
        let text = "winit EventLoopError: os error at /home/a b/winit-0.30/src/linux/mod.rs:788: XOpenDisplay: failed";
        assert_eq!(without_place(text), "XOpenDisplay: failed");
        assert_eq!(without_place("no adapter: none"), "no adapter: none");
    }
}
