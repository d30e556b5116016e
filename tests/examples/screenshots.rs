//! Draws every page of the window, empty, running, finished and failed, in both themes and two
//! sizes, into PNG files.
//!
//! `cargo run --release --example screenshots -- FOLDER [WIDTHxHEIGHT]... [cards] [backbones] [predict] [sweep] [maps] [together] [images] [lists] [grow]`:
//! with names, only those parts.

use std::path::{Path, PathBuf};

use counterweight_app::gui::{
    BackbonesCommand, BalanceCommand, BesideCommand, Command, DataCommand, Decided, Dialog,
    ErrorReport, ExportCommand, GrowCommand, ImagesCommand, InspectCommand, ListCommand,
    MapCommand, Page, PredictCommand, ResumeOffer, RunsCommand, TourCommand, TrainCommand,
    TransformsCommand, WindowCommand,
};
use counterweight_core::dataset::{EditAction, GroupBy};
use counterweight_core::error::TrainError;
use counterweight_core::export::Variant;
use counterweight_core::pipeline::{LABELLED, MapColours, sample_settings};
use counterweight_core::run::Sweep;
use counterweight_core::settings::{Balancer, Preset};
use counterweight_core::source::Split;
use counterweight_tests::fixtures::patterns;
use counterweight_tests::window::Window;
use counterweight_tests::{counterweight, fixtures};
use egui::{Theme, Vec2};

/// The sizes that are drawn if none are given.
const SIZES: [&str; 2] = ["1280x800", "1920x1080"];
/// What can be drawn alone.
const PARTS: [&str; 9] =
    ["cards", "backbones", "predict", "sweep", "maps", "together", "images", "lists", "grow"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let out = PathBuf::from(arguments.next().unwrap_or_else(|| "screenshots".into()));
    let (only, given): (Vec<String>, Vec<String>) =
        arguments.partition(|argument| PARTS.contains(&argument.as_str()));
    let sizes = if given.is_empty() { SIZES.map(String::from).to_vec() } else { given };
    // One folder serves all: what is trained in the first round is opened in the others.
    let mut folder = tempfile::Builder::new().prefix("counterweight-").tempdir()?;
    let mut first = true;
    for size in sizes {
        let (width, height) = size
            .split_once('x')
            .ok_or_else(|| format!("`{size}` is no size; give one such as {}", SIZES[0]))?;
        let pixels = Vec2::new(width.parse()?, height.parse()?);
        for theme in [Theme::Light, Theme::Dark] {
            let name = format!("{size}-{}", if theme == Theme::Dark { "dark" } else { "light" });
            let mut round =
                Round { window: Window::drawn(folder, pixels, theme), out: out.join(name) };
            std::fs::create_dir_all(&round.out)?;
            round.run(std::mem::take(&mut first), &only)?;
            folder = round.window.folder;
        }
    }
    Ok(())
}

struct Round {
    window: Window,
    out: PathBuf,
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

impl Round {
    /// Opens the sample and the page to train it on.
    fn sample_on_train(&mut self) {
        self.send(Command::Data(DataCommand::OpenSample));
        self.window.app().state.train.set_settings(sample_settings());
        self.go(Page::Train);
        self.window.settle();
    }

    fn run(&mut self, first: bool, only: &[String]) -> Outcome {
        self.window.settle();
        for part in only {
            match part.as_str() {
                "cards" => self.cards(first)?,
                "backbones" => self.backbones()?,
                "together" => self.together(first)?,
                "images" => self.images()?,
                "lists" => self.lists()?,
                "grow" => self.grow()?,
                "predict" => {
                    self.sample_on_train();
                    if first {
                        self.send(Command::Train(TrainCommand::Start));
                    }
                    self.deployment(first)?;
                }
                "maps" => {
                    self.sample_on_train();
                    if first {
                        self.send(Command::Train(TrainCommand::Start));
                    } else {
                        let run = self.window.app().state.shell.runs_folder().join("digits");
                        self.send(Command::Runs(RunsCommand::Open(run)));
                    }
                    self.maps()?;
                }
                _ => {
                    self.send(Command::Data(DataCommand::OpenSample));
                    self.go(Page::Train);
                    self.sweep(first)?;
                }
            }
        }
        if !only.is_empty() {
            return Ok(());
        }
        self.shot("01-data-empty")?;
        for (page, name) in [
            (Page::Train, "02-train-empty"),
            (Page::Balance, "03-balance-empty"),
            (Page::Inspect, "04-inspect-empty"),
        ] {
            self.go(page);
            self.shot(name)?;
        }
        self.go(Page::Export);
        self.shot("05-export-empty")?;
        self.go(Page::Runs);
        if first {
            self.shot("06-runs-empty")?;
        }
        self.failed_data()?;
        self.lists()?;
        self.cards(first)?;
        self.backbones()?;
        self.send(Command::Data(DataCommand::OpenSample));
        // What was chosen on the cards would stay, and take half an hour.
        self.window.app().state.train.set_settings(sample_settings());
        self.go(Page::Data);
        self.window.frames(40);
        self.shot("11-data-sample")?;
        self.images()?;
        self.go(Page::Train);
        self.window.settle();
        self.window.frames(10);
        self.shot("12-train-settings")?;
        self.window.app().state.train.set_text("stage1.learning_rate", "fast".into());
        self.window.frames(5);
        self.shot("13-train-wrong-setting")?;
        self.window.app().state.train.reset("stage1.learning_rate");
        if first {
            self.failed_training()?;
        }
        let run = self.window.app().state.shell.runs_folder().join("digits");
        if first {
            self.window.app().send(Command::Train(TrainCommand::Start));
            self.window.until("some epochs", |app| {
                app.state.train.training.as_ref().is_some_and(|t| t.history.len() >= 12)
            });
            self.shot("14-train-running")?;
            self.window.settle();
        } else {
            self.window.app().send(Command::Runs(RunsCommand::Open(run.clone())));
            self.window.settle();
            self.window.app().state.train.show_curves = true;
        }
        self.go(Page::Train);
        self.shot("15-train-finished")?;
        self.sweep(first)?;
        self.go(Page::Balance);
        self.window.settle();
        self.shot("21-balance")?;
        self.worse_balancer()?;
        if first {
            self.window.app().send(Command::Balance(BalanceCommand::Tune));
            self.window.until("candidates", |app| {
                app.state.balance.progress().is_some_and(|progress| progress.done > 0)
                    || app.is_idle()
            });
            self.shot("23-balance-tuning")?;
            self.window.settle();
            self.send(Command::Balance(BalanceCommand::Apply));
        }
        self.send(Command::Balance(BalanceCommand::RevealTest));
        self.tall("22-balance-whole-page")?;
        self.go(Page::Inspect);
        self.window.settle();
        self.send(Command::Inspect(InspectCommand::Load {
            checkpoint: None,
            split: Split::Validation,
        }));
        self.window.frames(30);
        self.shot("31-inspect")?;
        self.tall("32-inspect-whole-page")?;
        self.maps()?;
        self.go(Page::Export);
        if first {
            self.send(Command::Export(ExportCommand::Export));
        }
        self.send(Command::Export(ExportCommand::TrySample(340)));
        self.shot("41-export")?;
        self.failed_export()?;
        self.deployment(first)?;
        self.go(Page::Runs);
        self.shot("51-runs")?;
        self.tour()?;
        self.over_the_page()?;
        self.worthless(first)
    }

    /// The page of images: with photos if `COUNTERWEIGHT_PHOTOS` names a folder of them, otherwise
    /// with the sample; chosen, edited, one of them large, and nothing to show.
    fn images(&mut self) -> Outcome {
        self.send(Command::Data(DataCommand::Close));
        self.go(Page::Images);
        self.shot("91-images-empty")?;
        match std::env::var_os("COUNTERWEIGHT_PHOTOS") {
            Some(photos) => self.send(Command::Data(DataCommand::Open(photos.into()))),
            None => self.send(Command::Data(DataCommand::OpenSample)),
        }
        self.window.frames(60);
        self.settled_shot("92-images")?;
        let images = &mut self.window.app().state.images;
        let order = images.order.clone();
        images.selection.go(1, &order, egui::Modifiers::NONE);
        images.selection.go(3, &order, egui::Modifiers::SHIFT);
        let to = images.view.as_ref().map(|view| view.edited.classes[1].clone());
        self.send(Command::Images(ImagesCommand::Edit(EditAction::Move {
            to: to.unwrap_or_default(),
        })));
        for (place, action) in [(5, EditAction::Exclude), (8, EditAction::Check)] {
            let images = &mut self.window.app().state.images;
            let order = images.order.clone();
            images.selection.go(place, &order, egui::Modifiers::NONE);
            self.send(Command::Images(ImagesCommand::Edit(action)));
        }
        let images = &mut self.window.app().state.images;
        let order = images.order.clone();
        images.selection.go(2, &order, egui::Modifiers::NONE);
        images.selection.go(9, &order, egui::Modifiers::SHIFT);
        self.settled_shot("93-images-edited")?;
        self.send(Command::Images(ImagesCommand::ChooseClass));
        self.shot("94-images-class")?;
        self.window.app().state.images.chooser = None;
        self.window.app().state.images.zoomed = true;
        self.settled_shot("95-images-large")?;
        self.window.app().state.images.actual_size = true;
        self.settled_shot("96-images-actual-size")?;
        let images = &mut self.window.app().state.images;
        (images.zoomed, images.actual_size, images.side) = (false, false, 200.0);
        self.send(Command::Images(ImagesCommand::FindDoubts));
        self.settled_shot("97-images-doubts")?;
        self.send(Command::Images(ImagesCommand::CloseReview));
        let images = &mut self.window.app().state.images;
        (images.side, images.filter.decided) = (112.0, Decided::Checked);
        images.filter.class = images.view.as_ref().map(|view| view.edited.classes[2].clone());
        self.window.settle();
        self.shot("98-images-none")?;
        let images = &mut self.window.app().state.images;
        images.filter = Default::default();
        let edits = images.view.as_ref().map(|view| view.file.clone());
        for _ in 0..3 {
            self.send(Command::Images(ImagesCommand::Undo));
        }
        if let Some(file) = edits {
            std::fs::write(&file, "{\"counterweight_edits\":1}\nnot an edit\n")?;
            self.send(Command::Data(DataCommand::OpenSample));
            self.send(Command::Data(DataCommand::Close));
            match std::env::var_os("COUNTERWEIGHT_PHOTOS") {
                Some(photos) => self.send(Command::Data(DataCommand::Open(photos.into()))),
                None => self.send(Command::Data(DataCommand::OpenSample)),
            }
            self.shot("99-images-broken-edits")?;
            std::fs::remove_file(&file)?;
            self.send(Command::Data(DataCommand::Close));
            self.send(Command::Data(DataCommand::OpenSample));
        }
        Ok(())
    }

    /// [`Round::shot`] once all pictures are there.
    fn settled_shot(&mut self, name: &str) -> Outcome {
        for _ in 0..40 {
            self.window.frames(2);
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        self.window.settle();
        self.shot(name)
    }

    /// Several values of weight decay, while they are tried and after.
    fn sweep(&mut self, first: bool) -> Outcome {
        let folder = self.window.app().state.shell.runs_folder().join("digits decay");
        if first {
            self.window.app().state.train.show_curves = false;
            (self.window.app().state.train.name, self.window.app().state.train.named) =
                ("digits".into(), true);
            self.window.app().state.train.set_text("stage1.epochs", "8".into());
            self.window.app().send(Command::Train(TrainCommand::FindWeightDecay));
            self.window.until("three values", |app| {
                app.state.train.sweep.as_ref().is_some_and(|sweep| sweep.members.len() >= 3)
            });
            self.shot("17-sweep-running")?;
            self.window.settle();
            self.window.app().state.train.reset("stage1.epochs");
        }
        let report = Sweep::open(&folder)?.report()?;
        self.send(Command::Train(TrainCommand::ShowSweep(Box::new(report))));
        self.go(Page::Train);
        self.shot("18-sweep")?;
        self.send(Command::Train(TrainCommand::CloseSweep));
        self.window.app().state.train.show_curves = true;
        Ok(())
    }

    /// Where a run looked, the map of its images, and what changes of images do.
    fn maps(&mut self) -> Outcome {
        self.go(Page::Inspect);
        self.window.settle();
        self.window.app().state.inspect.overlays.on = true;
        self.window.frames(5);
        self.window.until("maps", |app| !app.state.inspect.overlays.is_busy());
        self.send(Command::Inspect(InspectCommand::Map(MapCommand::Start)));
        self.tall("35-inspect-map")?;
        let map = &mut self.window.app().state.inspect.map;
        map.colour_by(MapColours::Mistake);
        map.selected =
            (0..map.shown.as_ref().map_or(0, |shown| shown.places.len())).step_by(9).collect();
        self.tall("36-inspect-map-selected")?;
        let state = &mut self.window.app().state;
        state.inspect.overlays.on = false;
        state.inspect.map.selected.clear();
        state.train.show_curves = false;
        self.go(Page::Train);
        self.send(Command::Transforms(TransformsCommand::Start));
        self.tall("37-train-transforms")?;
        self.window.app().state.train.show_curves = true;
        Ok(())
    }

    /// The cards for photos, each with its time.
    fn cards(&mut self, first: bool) -> Outcome {
        let photos = self.window.folder.path().join("patterns");
        if first {
            fixtures::patterns(&photos);
        }
        self.send(Command::Data(DataCommand::Open(photos)));
        self.window.settle();
        self.window.app().state.train.set_preset(Preset::Auto);
        self.window.app().state.train.show_curves = false;
        self.go(Page::Train);
        self.window.settle();
        self.shot("10-train-cards")?;
        self.window.app().state.train.set_preset(Preset::FineTune);
        self.window.settle();
        self.shot("10-train-fine-tune")?;
        self.send(Command::Data(DataCommand::Close));
        Ok(())
    }

    /// The chooser of backbones, and what it says of a file that it cannot use.
    /// Images that come in series: the notice, what accepting it does, and what cannot be done.
    fn together(&mut self, first: bool) -> Outcome {
        let classes = [("give way", 60), ("no entry", 24), ("priority road", 9), ("stop", 4)];
        let folder = self.window.folder.path().to_path_buf();
        let tracks = match first {
            true => fixtures::track_folder(&folder, &classes, 8),
            false => folder.join("tracks"),
        };
        self.send(Command::Data(DataCommand::Open(tracks)));
        self.go(Page::Data);
        self.shot("02-data-series-noticed")?;
        let name = GroupBy::Name { pattern: None };
        self.send(Command::Data(DataCommand::KeepTogether(Some(name))));
        self.tall("02-data-kept-together")?;
        self.send(Command::Data(DataCommand::KeepTogether(Some(GroupBy::LookAlikes {
            distance: 8,
        }))));
        self.shot("02-data-look-alikes")?;
        self.send(Command::Data(DataCommand::KeepTogether(Some(GroupBy::Time { seconds: 60 }))));
        self.shot("02-data-no-times")?;
        let doubtful = match first {
            true => fixtures::doubtful_folder(&folder.join("doubtful")),
            false => folder.join("doubtful/shuffled"),
        };
        self.send(Command::Data(DataCommand::Open(doubtful)));
        self.shot("02-data-doubtful-names")
    }

    fn backbones(&mut self) -> Outcome {
        self.go(Page::Train);
        self.send(Command::Backbones(BackbonesCommand::Choose));
        self.shot("10-train-backbones")?;
        let broken = self.window.folder.path().join("weights.pth");
        std::fs::write(&broken, b"no weights")?;
        self.send(Command::Backbones(BackbonesCommand::TakeFile(broken)));
        self.shot("10-train-backbones-failed")?;
        self.window.app().state.backbones.failure = None;
        self.window.app().state.backbones.unnormalised = Some("models/dinov2-small.onnx".into());
        self.shot("10-train-backbones-normalisation")?;
        self.window.app().state.backbones.unnormalised = None;
        self.window.app().state.shell.dialog = None;
        Ok(())
    }

    /// A run whose labels say nothing about its images, on every page.
    fn worthless(&mut self, first: bool) -> Outcome {
        let folder = self.window.folder.path().to_path_buf();
        let (dataset_file, run) = (
            folder.join("photos.toml"),
            self.window.app().state.shell.runs_folder().join("photos"),
        );
        if first {
            let images = fixtures::shuffled_folder(
                &folder,
                &["badger", "deer", "fox", "hare", "lynx", "wild boar"],
                80,
            );
            let words = |path: &Path| path.display().to_string();
            counterweight(&[
                "build",
                &words(&images),
                "--out",
                &words(&dataset_file),
                "--validation",
                "0.3",
                "--test",
                "0.3",
            ]);
            let settings = [
                "--preset",
                "quick",
                "--device",
                "cpu",
                "--set",
                "stage1.epochs=6",
                "--set",
                "input_size=16",
            ];
            let of_run =
                ["train", &words(&dataset_file), "--run", &words(&run)].map(str::to_string);
            counterweight(
                &of_run.into_iter().chain(settings.map(str::to_string)).collect::<Vec<_>>(),
            );
        }
        self.send(Command::Runs(RunsCommand::Open(run)));
        self.window.app().state.train.show_curves = true;
        self.go(Page::Train);
        self.shot("81-worthless-train")?;
        self.go(Page::Balance);
        self.window.settle();
        self.shot("82-worthless-balance")?;
        self.go(Page::Inspect);
        self.window.settle();
        self.shot("83-worthless-inspect")?;
        self.go(Page::Export);
        self.shot("84-worthless-export")?;
        if first {
            self.send(Command::Export(ExportCommand::Export));
        }
        self.shot("85-worthless-exported")?;
        self.tall("86-worthless-exported-whole-page")?;
        self.go(Page::Runs);
        self.window.settle();
        self.shot("87-worthless-runs")
    }

    /// The model that was exported beside the run at an earlier checkpoint, and one that is none.
    fn beside(&mut self) -> Outcome {
        self.go(Page::Inspect);
        self.window.settle();
        let file = self.window.app().state.run.as_ref().and_then(|run| run.exported.clone());
        // Only the round that exports knows of it.
        let Some(file) = file.map(|report| report.path) else { return Ok(()) };
        let beside = |command| Command::Inspect(InspectCommand::Beside(command));
        self.send(beside(BesideCommand::Set(file)));
        self.send(Command::Inspect(InspectCommand::Load {
            checkpoint: Some("last".into()),
            split: Split::Test,
        }));
        self.send(beside(BesideCommand::Start));
        self.tall("33-inspect-beside")?;
        let broken = self.window.folder.path().join("weights.pth");
        std::fs::write(&broken, b"no weights")?;
        self.send(beside(BesideCommand::Set(broken)));
        self.send(beside(BesideCommand::Start));
        self.tall("34-inspect-beside-failed")
    }

    /// A bundle with all forms, and a folder that is classified with the exported model.
    fn deployment(&mut self, first: bool) -> Outcome {
        let folder = self.window.folder.path().to_path_buf();
        self.go(Page::Export);
        let export = &mut self.window.app().state.export;
        export.is_bundle = true;
        export.forms = Variant::ALL.to_vec();
        self.shot("43-export-bundle")?;
        if first {
            self.send(Command::Export(ExportCommand::Export));
        }
        self.tall("44-export-bundle-written")?;
        self.window.app().state.export.is_bundle = false;
        self.beside()?;
        self.go(Page::Predict);
        let predict = &mut self.window.app().state.predict;
        (predict.found, predict.threshold) = (None, 0.0);
        self.shot("45-predict-empty")?;
        let images = folder.join("patterns");
        if !images.exists() {
            patterns(&images);
            std::fs::write(images.join("broken.png"), "no image")?;
        }
        self.send(Command::Predict(PredictCommand::SetImages(images)));
        self.send(Command::Predict(PredictCommand::Start));
        self.window.app().state.predict.threshold = 0.5;
        self.window.frames(30);
        self.shot("46-predict")?;
        self.tall("47-predict-whole-page")?;
        let model = self.window.app().state.predict.model_text.clone();
        self.send(Command::Predict(PredictCommand::SetModel(folder.join("patterns/broken.png"))));
        self.send(Command::Predict(PredictCommand::Start));
        self.shot("48-predict-failed")?;
        self.send(Command::Predict(PredictCommand::SetModel(model.into())));
        Ok(())
    }

    /// Images that are labelled next, and a run that has grown.
    fn grow(&mut self) -> Outcome {
        let grow = |command| Command::Grow(command);
        self.go(Page::Grow);
        self.shot("49-grow-no-run")?;
        let folder = self.window.folder.path().to_path_buf();
        let (run, new) = (folder.join("run"), folder.join("new"));
        if !run.exists() {
            fixtures::finished_run(&folder);
            for number in 200..224 {
                let class = number as usize % 3;
                let image = fixtures::pattern(class, number);
                fixtures::save(&image, new.join(format!("{number}.png")));
            }
        }
        drop(std::fs::remove_file(run.join(LABELLED)));
        self.send(Command::Runs(RunsCommand::Open(run)));
        self.shot("50-grow-ready")?;
        self.send(grow(GrowCommand::SetImages(folder.join("none"))));
        self.send(grow(GrowCommand::Find));
        self.shot("51-grow-failed")?;
        self.send(grow(GrowCommand::SetImages(new)));
        self.send(grow(GrowCommand::Find));
        self.window.frames(30);
        self.shot("52-grow-label")?;
        for command in [
            GrowCommand::Accept,
            GrowCommand::Label("spots".into()),
            GrowCommand::Skip,
            GrowCommand::Accept,
        ] {
            self.send(grow(command));
        }
        self.send(grow(GrowCommand::ChooseClass));
        self.window.frames(10);
        self.shot("53-grow-chooser")?;
        self.window.app().state.grow.chooser = None;
        self.window.frames(10);
        self.send(grow(GrowCommand::LookAhead));
        self.window.settle();
        self.tall("54-grow-labelled")?;
        self.send(grow(GrowCommand::Grow));
        self.window.settle();
        self.window.frames(30);
        self.tall("55-grow-grown")?;
        Ok(())
    }

    /// A balancer that takes more than it gives.
    fn worse_balancer(&mut self) -> Outcome {
        let before = self.window.app().state.balance.settings.clone();
        if let Some(settings) = &mut self.window.app().state.balance.settings {
            (settings.balancers, settings.tau) = (vec![Balancer::Tau], 3.0);
        }
        self.send(Command::Balance(BalanceCommand::Try));
        self.shot("24-balance-worse")?;
        self.window.app().state.balance.settings = before;
        self.send(Command::Balance(BalanceCommand::Try));
        Ok(())
    }

    fn failed_data(&mut self) -> Outcome {
        self.go(Page::Data);
        let missing = self.window.folder.path().join("no such folder");
        self.send(Command::Data(DataCommand::Open(missing)));
        self.shot("07-data-failed")?;
        let broken = self.window.folder.path().join("broken");
        if !broken.exists() {
            fixtures::broken_folder(&broken);
        }
        self.window.app().send(Command::Data(DataCommand::Open(broken)));
        self.window.until("a scan", |app| app.state.data.is_scanning() || app.is_idle());
        self.shot("09-data-scanning")?;
        self.window.settle();
        self.window.app().state.data.problems_open = true;
        self.window.frames(30);
        self.shot("08-data-problems")?;
        self.send(Command::Data(DataCommand::Close));
        Ok(())
    }

    /// A list that does not explain itself, a folder without classes, and one with masks.
    fn lists(&mut self) -> Outcome {
        self.go(Page::Data);
        let folder = self.window.folder.path().join("lists");
        if !folder.exists() {
            let mut list = "Foto;Breite;Datum;Art;Standort\n".to_string();
            for i in 0..24u32 {
                fixtures::save(
                    &fixtures::picture(i, 24, 16),
                    folder.join(format!("photos/IMG_{i:04}.png")),
                );
                let species = ["Alpine newt", "Smooth newt", "Fire salamander"][(i % 3) as usize];
                list += &format!(
                    "IMG_{i:04};4032;2026-05-{:02};{species};pond {}\n",
                    1 + i % 28,
                    i % 5
                );
            }
            list += "IMG_0099;4032;2026-06-01;Alpine newt;pond 1\n";
            fixtures::write(folder.join("newts.csv"), list);
            for (class, i) in [("newt", 0), ("newt", 1), ("newt", 2), ("toad", 3), ("toad", 4)] {
                fixtures::save(
                    &fixtures::picture(i, 24, 16),
                    folder.join(format!("masks/{class}/{i}.jpg")),
                );
                fixtures::save(
                    &fixtures::picture(i, 24, 16),
                    folder.join(format!("masks/{class}/{i}.png")),
                );
            }
        }
        self.send(Command::Data(DataCommand::Open(folder.join("newts.csv"))));
        self.shot("35-list-unknown")?;
        let choose = |path: &str, label: &str, group: &str| {
            let format = counterweight_core::source::ListFormat {
                path: Some(path.into()),
                label: Some(label.into()),
                group: Some(group.into()),
                ..Default::default()
            };
            Command::Data(DataCommand::List(ListCommand::Set(Box::new(format))))
        };
        self.send(choose("Foto", "Art", "Standort"));
        self.shot("36-list-chosen")?;
        self.send(choose("Art", "Foto", "none"));
        self.shot("37-list-wrong")?;
        self.send(choose("Foto", "Art", "Standort"));
        self.send(Command::Data(DataCommand::List(ListCommand::Open)));
        self.shot("38-list-open")?;
        self.send(Command::Data(DataCommand::Open(folder.join("photos"))));
        self.shot("39-folder-flat")?;
        self.send(Command::Data(DataCommand::Open(folder.join("masks"))));
        self.shot("40-folder-twins")?;
        self.send(Command::Data(DataCommand::Skip("*.png".into())));
        self.shot("41-folder-left-out")?;
        self.send(Command::Data(DataCommand::Close));
        Ok(())
    }

    /// A learning rate that makes the loss infinite.
    fn failed_training(&mut self) -> Outcome {
        let train = &mut self.window.app().state.train;
        train.set_text("stage1.learning_rate", "1e30".into());
        (train.name, train.named) = ("too fast".into(), true);
        self.send(Command::Train(TrainCommand::Start));
        self.shot("16-train-failed")?;
        self.window.app().state.shell.dialog = None;
        self.out_of_memory()?;
        let train = &mut self.window.app().state.train;
        train.reset("stage1.learning_rate");
        (train.named, train.show_curves) = (false, false);
        self.window.settle();
        self.shot("17-train-failed-page")?;
        Ok(())
    }

    /// The run that has just failed, as if it had run out of memory.
    fn out_of_memory(&mut self) -> Outcome {
        let state = &mut self.window.app().state;
        let resume_offer =
            ResumeOffer { folder: state.shell.runs_folder().join("too fast"), parts: 2 };
        let reason =
            TrainError::OutOfMemory { batch_size: 256, parts: 1, suggested: Some(2) }.to_string();
        let report = ErrorReport {
            title: "The device ran out of memory".into(),
            reason: reason.clone(),
            kept: "3 finished epochs and the last checkpoint are in the run's folder.".into(),
            advice: "Go on with each batch computed in 2 parts, which takes less memory at once and little more time.".into(),
        };
        let failed = (
            state.train.failure.replace(reason),
            state.train.resume_offer.replace(resume_offer.clone()),
        );
        state.shell.out_of_memory(report, resume_offer);
        self.shot("18-train-out-of-memory")?;
        let state = &mut self.window.app().state;
        state.shell.dialog = None;
        self.shot("19-train-out-of-memory-page")?;
        let train = &mut self.window.app().state.train;
        (train.failure, train.resume_offer) = failed;
        Ok(())
    }

    fn failed_export(&mut self) -> Outcome {
        let before = std::mem::replace(
            &mut self.window.app().state.export.path_text,
            "/proc/model.onnx".into(),
        );
        self.send(Command::Export(ExportCommand::Export));
        self.shot("42-export-failed")?;
        self.window.app().state.shell.dialog = None;
        self.window.app().state.export.path_text = before;
        Ok(())
    }

    fn tour(&mut self) -> Outcome {
        self.send(Command::Tour(TourCommand::Restart));
        self.shot("61-tour-welcome")?;
        self.send(Command::Tour(TourCommand::Next));
        self.window.frames(20);
        self.shot("62-tour-tail")?;
        self.send(Command::Tour(TourCommand::Leave));
        Ok(())
    }

    fn over_the_page(&mut self) -> Outcome {
        self.go(Page::Balance);
        self.send(Command::Window(WindowCommand::TogglePalette));
        self.shot("71-palette")?;
        self.send(Command::Window(WindowCommand::Dismiss));
        self.send(Command::Window(WindowCommand::About));
        self.shot("72-about")?;
        self.window.app().state.shell.dialog = Some(Dialog::Quit(vec!["training"]));
        self.window.frames(5);
        self.shot("73-quit")?;
        self.window.app().state.shell.dialog = None;
        self.send(Command::Window(WindowCommand::ToggleLog));
        self.shot("74-log")?;
        self.send(Command::Window(WindowCommand::ToggleLog));
        Ok(())
    }

    fn go(&mut self, page: Page) {
        self.window.app().send(Command::Go(page));
        self.window.frames(8);
    }

    fn send(&mut self, command: Command) {
        self.window.app().send(command);
        self.window.settle();
        self.window.frames(8);
    }

    fn shot(&mut self, name: &str) -> Outcome {
        self.window.frames(4);
        save(&mut self.window, &self.out.join(format!("{name}.png")))
    }

    /// The whole of a page, however long it is.
    fn tall(&mut self, name: &str) -> Outcome {
        let size = self.window.harness.ctx.content_rect().size();
        self.window.harness.set_size(Vec2::new(size.x, 2300.0));
        self.window.frames(12);
        let outcome = save(&mut self.window, &self.out.join(format!("{name}.png")));
        self.window.harness.set_size(size);
        self.window.frames(8);
        outcome
    }
}

fn save(window: &mut Window, path: &Path) -> Outcome {
    window.harness.render()?.save(path)?;
    Ok(())
}
