//! Draws README's pictures of the window: the sample on every page of the way from images to a checked file.
//!
//! `cargo run --release --example readme -- assets/readme`

use std::path::PathBuf;

use counterweight_app::gui::{
    BalanceCommand, Command, DataCommand, ExportCommand, InspectCommand, Page, TrainCommand,
};
use counterweight_core::pipeline::sample_settings;
use counterweight_core::settings::Preset;
use counterweight_core::source::Split;
use counterweight_tests::window::Window;
use egui::{Theme, Vec2};

/// The size of the pictures in pixels.
const SIZE: Vec2 = Vec2::new(1280.0, 800.0);
/// A sample image whose class is rare.
const TRIED: usize = 262;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let out = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "screenshots".into()));
    std::fs::create_dir_all(&out)?;
    let folder = tempfile::Builder::new().prefix("counterweight-").tempdir()?;
    let mut window = Window::drawn(folder, SIZE, Theme::Light);
    let picture = |window: &mut Window, name: &str| -> Result<(), Box<dyn std::error::Error>> {
        window.settle();
        // Thumbnails come one after the other, and what moves comes to rest.
        window.frames(60);
        window.settle();
        window.harness.render()?.save(out.join(name))?;
        Ok(())
    };
    window.settle();
    window.app().send(Command::Data(DataCommand::OpenSample));
    picture(&mut window, "data.png")?;
    window.app().state.train.set_preset(Preset::Auto);
    window.app().send(Command::Go(Page::Train));
    picture(&mut window, "train.png")?;
    window.app().state.train.set_settings(sample_settings());
    window.app().send(Command::Train(TrainCommand::Start));
    window.settle();
    window.app().send(Command::Go(Page::Balance));
    picture(&mut window, "balance.png")?;
    window.app().send(Command::Balance(BalanceCommand::Apply));
    window.settle();
    window.app().send(Command::Go(Page::Inspect));
    window.settle();
    window.app().send(Command::Inspect(InspectCommand::Load {
        checkpoint: None,
        split: Split::Validation,
    }));
    picture(&mut window, "inspect.png")?;
    window.app().send(Command::Go(Page::Export));
    window.app().send(Command::Export(ExportCommand::Export));
    window.settle();
    window.app().send(Command::Export(ExportCommand::TrySample(TRIED)));
    picture(&mut window, "export.png")?;
    Ok(())
}
