//! What a frame of the window costs: taking in what has happened, laying out, and tessellating,
//! without the GPU.
//!
//! `cargo bench --bench frames` prints a line for each situation: median and 99th percentile by the
//! clock, and the mean of what the window's own thread has computed, which other threads and
//! programs do not disturb. `cargo bench --bench frames -- --given DATASET RUN` does so with a
//! dataset and a finished run of it, on every page; `-- --points` for the map of images alone,
//! `-- --grid` for the page of images alone.

use std::path::Path;
use std::time::{Duration, Instant};

use counterweight_app::gui::widgets::{PointMap, PointMapState};
use counterweight_app::gui::{
    BalanceCommand, Command, CounterweightApp, DataCommand, InspectCommand, Page, Place,
    RunsCommand, TrainCommand,
};
use counterweight_core::settings::Balancer;
use counterweight_core::source::Split;
use eframe::App;
use egui::accesskit::Role;
use egui::{Context, Event, Pos2, RawInput, Rect, Vec2};
use image::RgbImage;

/// The size of the window, in points: tall enough for all of the data page.
const SIZE: Vec2 = Vec2::new(1600.0, 1500.0);
/// How much of the wheel is turned in a frame of scrolling.
const WHEEL: f32 = -60.0;

fn main() {
    // `cargo test --benches` runs this too, and is not asking for numbers.
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(place) = arguments.iter().position(|argument| argument == "--given") {
        let [dataset, run] = [1, 2].map(|next| {
            std::path::absolute(arguments.get(place + next).expect("--given DATASET RUN"))
                .expect("a path")
        });
        given(&dataset, &run);
    } else if arguments.iter().any(|argument| argument == "--points") {
        heading();
        points();
    } else if arguments.iter().any(|argument| argument == "--grid") {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut window = Window::new(folder.path());
        heading();
        grid(&mut window, folder.path());
    } else if arguments.iter().any(|argument| argument == "--bench") {
        bench();
    }
}

fn heading() {
    say(&format!(
        "{:<48} {:>7} {:>10} {:>10} {:>10}",
        "situation", "frames", "median ms", "99 % ms", "CPU ms"
    ));
}

/// Every page with a dataset and a run of it that are there.
fn given(dataset: &Path, run: &Path) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut window = Window::new(folder.path());
    heading();
    let opened = Instant::now();
    window.open(dataset);
    say(&format!("opening the dataset: {:.1} s", opened.elapsed().as_secs_f64()));
    window.send(Command::Data(DataCommand::CancelScan));
    window.go(Page::Data);
    window.quietly(30);
    window.measure("the data page", 200, |_, _| {});
    let middle = Pos2::new(SIZE.x / 2.0, SIZE.y / 2.0);
    window.measure("the data page being scrolled", 200, |_, frame| wheel(middle, frame));
    let opened = Instant::now();
    window.send(Command::Runs(RunsCommand::Open(run.to_path_buf())));
    window.settle();
    say(&format!("opening the run: {:.1} s", opened.elapsed().as_secs_f64()));
    assert!(window.state().run.is_some(), "{}", window.app.state.shell.log.text());
    window.state().train.show_curves = true;
    for page in [Page::Train, Page::Export, Page::Predict, Page::Runs] {
        window.go(page);
        window.settle();
        let name = format!("the page {}, being scrolled", page.name());
        window.measure(&name, 200, |_, frame| wheel(middle, frame));
    }
    let computed = Instant::now();
    window.go(Page::Balance);
    window.settle();
    say(&format!("features for balancing: {:.1} s", computed.elapsed().as_secs_f64()));
    window.measure("the page Balance, being scrolled", 200, |_, frame| wheel(middle, frame));
    latencies(&mut window, 10);
    let computed = Instant::now();
    window.go(Page::Inspect);
    window.settle();
    window.send(Command::Inspect(InspectCommand::Load {
        checkpoint: None,
        split: Split::Validation,
    }));
    window.settle();
    say(&format!("evaluating for inspection: {:.1} s", computed.elapsed().as_secs_f64()));
    window.measure("the page Inspect, being scrolled", 200, |_, frame| wheel(middle, frame));
    say(&format!("memory {:.1} MiB", memory() as f64 / f64::from(1 << 20)));
}

fn bench() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut window = Window::new(folder.path());
    heading();
    window.settle();
    window.measure("idle, empty data page", 600, |_, _| {});
    window.send(Command::Data(DataCommand::OpenSample));
    window.settle();
    window.measure("idle, the sample on the data page", 600, |_, _| {});
    let before = memory();
    window.quietly(2000);
    let idle = memory();

    window.send(Command::Train(TrainCommand::Start));
    window.until(|app| {
        app.state.train.training.as_ref().is_some_and(|training| training.history.len() >= 5)
    });
    window.measure_while("training, all charts", |app| app.state.train.is_running());
    window.settle();
    let trained = memory();
    window.place_of(|role, name| role == Role::Image && name.starts_with("loss by epoch"));
    window.measure("the curves of a finished training", 300, |_, _| {});
    window.go(Page::Data);
    window.measure("the data page after training", 300, |_, _| {});
    window.send(Command::Train(TrainCommand::Start));
    window.settle();
    let again = memory();

    let hundred = folder.path().join("hundred");
    images(&hundred, 100, 30);
    window.open(&hundred);
    window.state().train.set_text("stage1.epochs", "2".into());
    window.frame();
    window.send(Command::Train(TrainCommand::Start));
    window.settle();
    balance(&mut window);
    window.go(Page::Inspect);
    window.send(Command::Inspect(InspectCommand::Load {
        checkpoint: None,
        split: Split::Validation,
    }));
    window.settle();
    window.quietly(60);
    window.place_of(|role, name| {
        role == Role::Image && name.starts_with("Confusion matrix, 100 classes")
    });
    window.measure("inspection, 100 classes", 300, |_, _| {});
    window.go(Page::Runs);
    window.send(Command::Runs(RunsCommand::Refresh));
    window.settle();
    window.measure("the runs page, 3 runs", 300, |_, _| {});
    many(&mut window, folder.path());
    points();
    grid(&mut window, folder.path());

    say("");
    for (what, bytes) in [
        ("with the sample", before),
        ("after 2,000 idle frames", idle),
        ("after a training", trained),
        ("after another training", again),
        ("at the end", memory()),
    ] {
        say(&format!("memory {what:<41} {:>7.1} MiB", bytes as f64 / f64::from(1 << 20)));
    }
}

/// 100,000 images of 100 classes: scanning, the page at rest, and its table and pictures being
/// scrolled.
fn many(window: &mut Window, folder: &Path) {
    let source = folder.join("many");
    images(&source, 100, 1000);
    window.go(Page::Data);
    window.send(Command::Data(DataCommand::Open(source)));
    window.frame();
    window.measure_while("scanning 100,000 images", |app| app.state.data.is_scanning());
    window.settle();
    let found: usize = window
        .state()
        .data
        .source
        .as_ref()
        .map_or(0, |source| source.view.samples.iter().map(Vec::len).sum());
    assert_eq!(found, 100_000);
    window.quietly(30);
    window.measure("the data page, 100,000 images", 300, |_, _| {});
    let table = window.place_of(|role, name| role == Role::Table && name.starts_with("Classes"));
    window.measure("its table being scrolled", 300, |_, frame| wheel(table, frame));
    let pictures = window.place_of(|role, name| role == Role::Image && name.ends_with(".png"));
    let first = window.first_picture();
    window.measure("its pictures being scrolled", 650, |_, frame| wheel(pictures, frame));
    assert_ne!(window.first_picture(), first, "the wheel has moved nothing");
    window.measure("its imbalance factor being moved", 200, |app, frame| {
        let source = app.state.data.source.as_ref().expect("the source is open");
        let counterweight_app::gui::Origin::Catalog { builder, .. } = &source.origin else {
            return;
        };
        let mut options = builder.options().clone();
        options.profile =
            counterweight_core::dataset::Profile::Exponential { factor: 2.0 + frame as f64 / 2.0 };
        app.send(Command::Data(DataCommand::SetOptions {
            options: Box::new(options),
            drag: Some("factor"),
        }));
    });
}

/// The map of 40,000 images: at rest, pointed at, and moved in every frame, which lays all points out
/// anew.
fn points() {
    const POINTS: usize = 40_000;
    let places: Vec<[f32; 2]> = (0..POINTS)
        .map(|at| {
            let (turn, away) = (at as f32 * 2.399_963, (at as f32).sqrt());
            [away * turn.cos(), away * turn.sin()]
        })
        .collect();
    let order: Vec<u32> = (0..POINTS as u32).collect();
    let ctx = Context::default();
    let mut state = PointMapState::default();
    let mut draw = |events: Vec<Event>| {
        let screen_rect = Some(Rect::from_min_size(Pos2::ZERO, SIZE));
        let input = RawInput { screen_rect, events, ..RawInput::default() };
        let begun = Instant::now();
        let output = ctx.run_ui(input, |ui| {
            let colors = vec![ui.visuals().text_color(); POINTS];
            PointMap::new("points", &places, &colors, &order, 1).height(900.0).show(ui, &mut state);
        });
        let primitives = ctx.tessellate(output.shapes, output.pixels_per_point);
        let took = begun.elapsed();
        let vertices = primitives.iter().map(|part| match &part.primitive {
            egui::epaint::Primitive::Mesh(mesh) => mesh.vertices.len(),
            egui::epaint::Primitive::Callback(_) => 0,
        });
        // All of them are drawn.
        assert!(vertices.sum::<usize>() >= 4 * POINTS);
        took
    };
    draw(Vec::new());
    let mut measure = |what: &str, events: &dyn Fn(usize) -> Vec<Event>| {
        let before = thread_seconds();
        let times = (0..200).map(|frame| draw(events(frame))).collect();
        report(what, times, before);
    };
    measure("the map of 40,000 images", &|_| Vec::new());
    let pointed = |frame: usize| vec![Event::PointerMoved(Pos2::new(400.0 + frame as f32, 450.0))];
    measure("the map being pointed at", &pointed);
    let dragged = |frame: usize| {
        let at = Pos2::new(700.0 + (frame % 40) as f32, 450.0);
        let mut events = vec![Event::PointerMoved(at)];
        if frame == 0 {
            events.push(Event::PointerButton {
                pos: at,
                button: egui::PointerButton::Primary,
                pressed: true,
                modifiers: egui::Modifiers::NONE,
            });
        }
        events
    };
    measure("the map being moved", &dragged);
}

/// 40,000 images on their page: at rest, scrolled, walked through, all of them chosen, other ones
/// asked for, and edited.
fn grid(window: &mut Window, folder: &Path) {
    let source = folder.join("grid");
    images(&source, 100, 400);
    window.open(&source);
    let opened = Instant::now();
    window.go(Page::Images);
    window.settle();
    say(&format!("opening the page of images: {:.2} s", opened.elapsed().as_secs_f64()));
    assert_eq!(window.state().images.order.len(), 40_000);
    window.quietly(60);
    window.measure("the page of images, 40,000 images", 300, |_, _| {});
    let middle = Pos2::new(SIZE.x / 2.0, SIZE.y / 2.0);
    window.measure("its pictures being scrolled", 600, |_, frame| wheel(middle, frame));
    let leap = |frame: usize| {
        let delta = Vec2::new(0.0, if (frame / 50).is_multiple_of(2) { -3000.0 } else { 3000.0 });
        let mut events = wheel(middle, frame);
        if let Some(Event::MouseWheel { delta: turned, .. }) = events.last_mut() {
            *turned = delta;
        }
        events
    };
    window.measure("its pictures being scrolled by pages", 600, |_, frame| leap(frame));
    let (kept, bytes) = window.state().images.thumbnails.kept();
    say(&format!("pictures kept: {kept}, of at most {:.1} MiB", bytes as f64 / f64::from(1 << 20)));
    window.state().images.side = 64.0;
    window.quietly(60);
    window.measure("small pictures being scrolled", 600, |_, frame| wheel(middle, frame));
    window.measure("small pictures, all of them chosen", 200, |app, _| {
        let images = &mut app.state.images;
        images.selection.all(&images.order);
    });
    window.measure("another class asked for in every frame", 200, |app, frame| {
        let class = format!("class {:03}", frame % 100);
        app.state.images.filter.class = (frame % 3 > 0).then_some(class);
    });
    window.state().images.filter = counterweight_app::gui::ImageFilter::default();
    window.quietly(5);
    let mut worst = 0.0f64;
    for number in 0..20 {
        let order = window.state().images.order.clone();
        window.state().images.selection.click(number * 700, &order, egui::Modifiers::NONE);
        let asked = Instant::now();
        window.send(Command::Images(counterweight_app::gui::ImagesCommand::Edit(
            counterweight_core::dataset::EditAction::Exclude,
        )));
        window.until(|app| !app.state.images.is_busy());
        worst = worst.max(asked.elapsed().as_secs_f64());
    }
    let excluded = window.state().images.view.as_ref().map(|view| view.edited.counts.excluded);
    assert_eq!(excluded, Some(20));
    say(&format!("from an edit to its sight, at worst: {:.1} ms", 1e3 * worst));
}

/// The balancing page with 100 classes: at rest, while τ is moved, and how long a new value takes
/// to be seen.
fn balance(window: &mut Window) {
    window.go(Page::Balance);
    window.settle();
    window.measure("balancing, 100 classes", 300, |_, _| {});
    window.measure("τ moved in every frame", 300, |app, frame| {
        set_tau(app, 3.0 * frame as f64 / 300.0)
    });
    window.settle();
    latencies(window, 100);
}

fn set_tau(app: &mut CounterweightApp, tau: f64) {
    let settings = app.state.balance.settings.as_mut().expect("the features are there");
    settings.balancers = vec![Balancer::Tau];
    settings.tau = tau as f32;
    app.send(Command::Balance(BalanceCommand::Try));
}

/// How long so many new values take to be seen.
fn latencies(window: &mut Window, values: u32) {
    let mut latencies: [Vec<f64>; 2] = Default::default();
    for step in 0..values {
        let (asked, before) = (Instant::now(), window.app.state.balance.revision);
        set_tau(&mut window.app, f64::from(step + 1) / 40.0);
        window.frame();
        window.until(|app| app.state.balance.revision != before);
        latencies[0].push(asked.elapsed().as_secs_f64() * 1e3);
        window.until(|app| !app.state.balance.is_waiting());
        latencies[1].push(asked.elapsed().as_secs_f64() * 1e3);
    }
    let names = ["from a new τ to its first result on screen", "to that on all held-out images"];
    for (name, mut latencies) in names.into_iter().zip(latencies) {
        latencies.sort_by(f64::total_cmp);
        let last = latencies.len() - 1;
        say(&format!(
            "{name:<48} {values:>7} {:>10.2} {:>10.2}",
            latencies[latencies.len() / 2],
            latencies[(latencies.len() * 99 / 100).min(last)]
        ));
    }
}

#[expect(clippy::print_stdout, reason = "the numbers are what it is run for")]
fn say(line: &str) {
    println!("{line}");
}

fn memory() -> usize {
    memory_stats::memory_stats().map_or(0, |stats| stats.physical_mem)
}

/// A folder of images no two of which are alike.
fn images(folder: &Path, classes: u32, each: u32) {
    for class in 0..classes {
        let folder = folder.join(format!("class {class:03}"));
        std::fs::create_dir_all(&folder).expect("the folder can be made");
        for number in 0..each {
            let index = class * each + number;
            let image = RgbImage::from_fn(8, 8, |x, y| {
                let shade = ((x * 31 + y * 17 + class * 13) % 256) as u8;
                if y == 0 {
                    image::Rgb([(index >> (8 * (x % 4))) as u8, shade, shade])
                } else {
                    image::Rgb([shade; 3])
                }
            });
            image.save(folder.join(format!("{number:04}.png"))).expect("the image can be written");
        }
    }
}

fn wheel(at: Pos2, frame: usize) -> Vec<Event> {
    // To the end and back, so that there is always something new to come.
    let delta = Vec2::new(0.0, if (frame / 100).is_multiple_of(2) { WHEEL } else { -WHEEL });
    let (unit, phase) = (egui::MouseWheelUnit::Point, egui::TouchPhase::Move);
    let source = egui::MouseWheelSource::Wheel;
    vec![
        Event::PointerMoved(at),
        Event::MouseWheel { unit, delta, phase, source, modifiers: egui::Modifiers::NONE },
    ]
}

/// What a situation's frame may send as input.
trait Input {
    fn events(self) -> Vec<Event>;
}

impl Input for () {
    fn events(self) -> Vec<Event> {
        Vec::new()
    }
}

impl Input for Vec<Event> {
    fn events(self) -> Vec<Event> {
        self
    }
}

struct Window {
    ctx: Context,
    app: CounterweightApp,
    frame: eframe::Frame,
    started: Instant,
    /// What the last frame's accessible tree has, in the frames that make one.
    named: Vec<(Role, String, Rect)>,
}

impl Window {
    fn new(folder: &Path) -> Self {
        let ctx = Context::default();
        let creation = eframe::CreationContext::_new_kittest(ctx.clone());
        let place = Place {
            runs: folder.join("runs"),
            cache: folder.join("cache"),
            weights: None,
            downloads: None,
            program: None,
        };
        let app = CounterweightApp::new(&creation, place);
        Self {
            ctx,
            app,
            frame: eframe::Frame::_new_kittest(),
            started: Instant::now(),
            named: Vec::new(),
        }
    }

    fn state(&mut self) -> &mut counterweight_app::gui::State {
        &mut self.app.state
    }

    fn send(&mut self, command: Command) {
        self.app.send(command);
        self.frame();
    }

    fn go(&mut self, page: Page) {
        self.send(Command::Go(page));
        self.quietly(5);
    }

    fn open(&mut self, folder: &Path) {
        self.send(Command::Data(DataCommand::Open(folder.to_path_buf())));
        self.settle();
        assert!(
            self.app.state.data.source.as_ref().is_some_and(|source| source.path == folder),
            "{}",
            self.app.state.shell.log.text()
        );
    }

    fn frame(&mut self) -> Duration {
        self.frame_with(Vec::new())
    }

    /// One frame, and how long it took.
    fn frame_with(&mut self, events: Vec<Event>) -> Duration {
        let input = RawInput {
            screen_rect: Some(Rect::from_min_size(Pos2::ZERO, SIZE)),
            time: Some(self.started.elapsed().as_secs_f64()),
            events,
            ..RawInput::default()
        };
        let begun = Instant::now();
        let mut output = self.ctx.run_ui(input, |ui| {
            let ctx = ui.ctx().clone();
            self.app.logic(&ctx, &mut self.frame);
            self.app.ui(ui, &mut self.frame);
        });
        let primitives = self.ctx.tessellate(output.shapes, output.pixels_per_point);
        let took = begun.elapsed();
        assert!(!primitives.is_empty());
        if let Some(update) = output.platform_output.accesskit_update.take() {
            let named = |(_, node): (_, egui::accesskit::Node)| {
                let bounds = node.bounds()?;
                let rect = Rect::from_min_max(
                    Pos2::new(bounds.x0 as f32, bounds.y0 as f32),
                    Pos2::new(bounds.x1 as f32, bounds.y1 as f32),
                );
                Some((node.role(), node.label()?.to_string(), rect))
            };
            self.named = update.nodes.into_iter().filter_map(named).collect();
        }
        took
    }

    /// The middle of the first thing that is named so.
    fn place_of(&mut self, is: impl Fn(Role, &str) -> bool) -> Pos2 {
        self.ctx.enable_accesskit();
        self.quietly(2);
        self.ctx.disable_accesskit();
        let screen = Rect::from_min_size(Pos2::ZERO, SIZE);
        let found = self
            .named
            .iter()
            .find(|(role, name, rect)| is(*role, name) && screen.contains(rect.center()));
        found.expect("it is on the page").2.center()
    }

    /// The name of the first picture in sight.
    fn first_picture(&mut self) -> Option<String> {
        self.place_of(|role, _| role == Role::Image);
        let pictures = self
            .named
            .iter()
            .filter(|(role, name, _)| *role == Role::Image && name.ends_with(".png"));
        pictures.map(|(_, name, _)| name.clone()).min()
    }

    fn quietly(&mut self, frames: usize) {
        (0..frames).for_each(|_| _ = self.frame());
    }

    fn until(&mut self, so: impl Fn(&CounterweightApp) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(600);
        while !so(&self.app) {
            assert!(
                Instant::now() < deadline,
                "waited in vain; the log says:\n{}",
                self.app.state.shell.log.text()
            );
            self.frame();
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn settle(&mut self) {
        self.quietly(3);
        self.until(CounterweightApp::is_idle);
        self.quietly(3);
    }

    /// Measures so many frames, each after what `act` does and with the input it gives.
    fn measure<I: Input>(
        &mut self,
        what: &str,
        frames: usize,
        mut act: impl FnMut(&mut CounterweightApp, usize) -> I,
    ) {
        let mut times = Vec::with_capacity(frames);
        let before = thread_seconds();
        for frame in 0..frames {
            let events = act(&mut self.app, frame).events();
            times.push(self.frame_with(events));
        }
        report(what, times, before);
    }

    /// Measures frames at the pace of a screen for as long as something is so.
    fn measure_while(&mut self, what: &str, so: impl Fn(&CounterweightApp) -> bool) {
        let mut times = Vec::new();
        let before = thread_seconds();
        while so(&self.app) {
            times.push(self.frame());
            std::thread::sleep(Duration::from_millis(12));
        }
        report(what, times, before);
    }
}

fn report(what: &str, times: Vec<Duration>, before: Option<f64>) {
    let computed = thread_seconds()
        .zip(before)
        .map(|(after, before)| 1e3 * (after - before) / times.len().max(1) as f64);
    let mut times: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
    times.sort_by(f64::total_cmp);
    let at = |share: f64| {
        times
            .get(((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1)))
            .copied()
            .unwrap_or(f64::NAN)
    };
    let computed = computed.map_or_else(|| "–".into(), |mean| format!("{mean:.2}"));
    say(&format!(
        "{what:<48} {:>7} {:>10.2} {:>10.2} {computed:>10}",
        times.len(),
        at(0.5),
        at(0.99)
    ));
}

/// Seconds this thread has computed, where the system says.
fn thread_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse::<f64>().ok().map(|nanoseconds| nanoseconds * 1e-9)
}
