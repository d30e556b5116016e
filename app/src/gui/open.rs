//! Opening the window.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use eframe::wgpu::{Adapter, Backends, DeviceType, Instance};
use eframe::{CreationContext, NativeOptions, Renderer};
use egui::{IconData, ViewportBuilder};

use super::app::CounterweightApp;
use super::state::Place;
use super::worker::{start_working_threads, wake_seldom};

/// The name the system knows the program by, and under which preferences are kept.
const NAME: &str = "counterweight";

/// Opens the window, with what lies at `path` in it, and returns when it is closed.
///
/// # Errors
/// The reason, if the system has no screen or no way to draw on it.
pub fn open(path: Option<&Path>) -> Result<(), String> {
    if !has_display() {
        return Err("no display was found (neither DISPLAY nor WAYLAND_DISPLAY is set)".into());
    }
    start_working_threads();
    let icon = Arc::new(icon()?);
    // Where the processor draws, wgpu's shader takes it several times as long as OpenGL's: it asks
    // for every pixel how it is to be filtered, and works out both ways.
    let opened = match has_no_graphics_card() {
        true => run(Renderer::Glow, &icon, path).or_else(|error| match error {
            // There is no display, or it cannot be reached: nothing can draw on it.
            eframe::Error::WinitEventLoop(_) => Err(error),
            _ => {
                tracing::info!("OpenGL cannot draw the window: {error}");
                run(Renderer::Wgpu, &icon, path)
            }
        }),
        false => run(Renderer::Wgpu, &icon, path),
    };
    opened.map_err(|error| {
        format!("the window could not be opened: {}", without_place(&error.to_string()))
    })
}

fn run(renderer: Renderer, icon: &Arc<IconData>, path: Option<&Path>) -> eframe::Result {
    let viewport = ViewportBuilder::default()
        .with_title("Counterweight")
        .with_app_id(NAME)
        .with_inner_size([1280.0, 800.0])
        .with_min_inner_size([720.0, 480.0])
        .with_icon(Arc::clone(icon));
    // There is nothing to dither: colours are flat, or steps of a legend.
    let options = NativeOptions {
        viewport,
        renderer,
        persist_window: true,
        dithering: false,
        event_loop_builder: own_quit(),
        ..NativeOptions::default()
    };
    let place = Place::default();
    eframe::run_native(
        NAME,
        options,
        Box::new(move |creation| {
            match renderer {
                Renderer::Glow => wake_seldom(Duration::from_secs(1)),
                // A frame takes more than a tenth of a second of a core.
                Renderer::Wgpu if uses_processor(creation) => wake_seldom(Duration::from_secs(4)),
                Renderer::Wgpu => {}
            }
            let mut app = CounterweightApp::new(creation, place);
            if let Some(path) = path {
                app.open(path);
            }
            Ok(Box::new(app))
        }),
    )
}

/// On macOS the usual menu's *Quit* ends a program without asking it; without that menu its keys
/// reach the window, which asks first where something is running.
#[cfg(target_os = "macos")]
fn own_quit() -> Option<eframe::EventLoopBuilderHook> {
    use winit::platform::macos::EventLoopBuilderExtMacOS;

    Some(Box::new(|builder| {
        builder.with_default_menu(false);
    }))
}

#[cfg(not(target_os = "macos"))]
fn own_quit() -> Option<eframe::EventLoopBuilderHook> {
    None
}

/// Whether this machine has no graphics card that could draw. Only asked on Linux: elsewhere the
/// system has a way of its own to draw without one.
fn has_no_graphics_card() -> bool {
    let is_card = |adapter: &Adapter| adapter.get_info().device_type != DeviceType::Cpu;
    let found = || pollster::block_on(Instance::default().enumerate_adapters(Backends::all()));
    cfg!(target_os = "linux") && !found().iter().any(is_card)
}

fn uses_processor(creation: &CreationContext<'_>) -> bool {
    let device = creation.wgpu_render_state.as_ref().map(|state| state.adapter.get_info());
    device.is_some_and(|device| device.device_type == DeviceType::Cpu)
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
