//! The application: what has happened is taken in and what was asked for is done, then everything
//! is drawn.

use std::path::{Path, PathBuf};

use counterweight_core::job::Level;
use counterweight_core::pipeline::sample_settings;
use counterweight_core::settings::{Preset, Settings};
use egui::{Context, Ui};

use super::command::{
    BackbonesCommand, BalanceCommand, Command, DataCommand, ExportCommand, GrowCommand,
    ImagesCommand, InspectCommand, PredictCommand, RunsCommand, TrainCommand, WindowCommand,
};
use super::dialogs::Answer;
use super::entries::entries;
use super::state::{Dialog, OpenRun, Page, Place, Preferences, Shell, State, ThemeChoice};
use super::{panels, theme};
use crate::logging;

/// Under this name the preferences are stored.
const PREFERENCES: &str = "preferences";
/// How much a step of zoom is, and its bounds.
const ZOOM_STEP: f32 = 0.1;
const ZOOM: std::ops::RangeInclusive<f32> = 0.5..=3.0;

/// The window.
pub struct CounterweightApp {
    /// What it knows.
    pub state: State,
    /// What was asked for since the last frame.
    commands: Vec<Command>,
    panels: panels::Panels,
    /// Whether the window is to close as soon as nothing is running any more.
    quitting: bool,
    /// Whether the window may close without asking.
    closing: bool,
    /// What the log warns of and no job says.
    warnings: crossbeam_channel::Receiver<String>,
}

impl CounterweightApp {
    /// A window whose runs and caches are kept at `place`.
    pub fn new(creation: &eframe::CreationContext<'_>, place: Place) -> Self {
        theme::install(&creation.egui_ctx);
        let preferences: Preferences = creation
            .storage
            .and_then(|storage| eframe::get_value(storage, PREFERENCES))
            .unwrap_or_default();
        let ctx = creation.egui_ctx.clone();
        let mut state = State::new(Shell::new(ctx.clone(), place, preferences));
        set_theme(&ctx, state.shell.preferences.theme);
        ctx.set_zoom_factor(state.shell.preferences.zoom.clamp(*ZOOM.start(), *ZOOM.end()));
        ctx.options_mut(|options| options.zoom_with_keyboard = false);
        state.shell.info(concat!("Counterweight ", env!("CARGO_PKG_VERSION")));
        let (warnings, shown) = crossbeam_channel::unbounded();
        let waker = ctx.clone();
        logging::show_warnings(move |text| {
            drop(warnings.send(text.to_string()));
            waker.request_repaint();
        });
        Self {
            state,
            commands: Vec::new(),
            panels: panels::Panels::default(),
            quitting: false,
            closing: false,
            warnings: shown,
        }
    }

    /// Opens what the program was started with: an exported model on the page that predicts, a run, or
    /// images.
    pub fn open(&mut self, path: &Path) {
        // Jobs may not run where the program was started.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        let is_run = path.join("settings.toml").is_file();
        let (page, command) = match path.extension().is_some_and(|kind| kind == "onnx") {
            true => (Page::Predict, Command::Predict(PredictCommand::SetModel(path))),
            false if is_run => (Page::Train, Command::Runs(RunsCommand::Open(path))),
            false => (Page::Data, Command::Data(DataCommand::Open(path))),
        };
        self.send(Command::Go(page));
        self.send(command);
    }

    /// Asks for something, as a click would.
    pub fn send(&mut self, command: Command) {
        self.commands.push(command);
    }

    /// Whether nothing is being worked on that changes what is shown.
    pub fn is_idle(&self) -> bool {
        let state = &self.state;
        let busy = state.data.is_scanning()
            || state.data.keep_together.is_busy()
            || state.data.mapper.as_ref().is_some_and(|mapper| mapper.is_counting())
            || state.data.is_writing()
            || state.images.is_busy()
            || state.train.is_running()
            || state.train.is_sweeping()
            || state.train.estimates.is_measuring()
            || state.transforms.is_busy()
            || state.backbones.is_busy()
            || state.balance.is_busy()
            || state.balance.is_waiting()
            || state.inspect.is_busy()
            || state.export.is_exporting()
            || state.export.is_trying()
            || state.predict.is_busy()
            || state.grow.is_busy()
            || state.runs.is_listing()
            || state.runs.is_changing()
            || state.runs.is_comparing()
            || state.runs.opening().is_some()
            || state.devices.is_looking();
        !busy && self.commands.is_empty() && state.shell.queue.is_empty()
    }

    fn poll(&mut self) {
        let state = &mut self.state;
        let shell = &mut state.shell;
        shell.messages(self.warnings.try_iter().map(|text| (Level::Warning, text)).collect());
        if let Some(asked) = shell.asked.take() {
            match asked.poll() {
                Ok(Answer::Chosen(command)) => self.commands.push(command),
                Ok(Answer::Nothing) => {}
                Ok(Answer::NotShown) => {
                    shell.notice("The system has shown no dialog. Type the path into the field, or drop the file on the window")
                }
                Err(open) => shell.asked = Some(open),
            }
        }
        state.devices.poll(shell);
        state.transforms.poll(state.data.source.as_ref(), shell);
        state.backbones.poll(&mut state.train, shell);
        let was_sample = state.data.source.as_ref().map(|source| source.is_sample);
        let is_new_source = state.data.poll(shell);
        let is_sample = state.data.source.as_ref().map(|source| source.is_sample);
        if was_sample != is_sample && !state.train.is_running() {
            // Settings that were not touched follow the source: what suits small digits suits
            // nothing else.
            match is_sample {
                Some(true) if state.train.settings == Settings::preset(Preset::Auto) => {
                    state.train.set_settings(sample_settings())
                }
                Some(false) if state.train.settings == sample_settings() => {
                    state.train.set_preset(Preset::Auto)
                }
                _ => {}
            }
        }
        if is_new_source {
            state.begin_with_source();
        }
        let state = &mut self.state;
        let shell = &mut state.shell;
        if state.images.poll(&state.data, state.page, shell)
            && let Some(view) = &state.images.view
        {
            state.data.show_edits(view);
        }
        state.images.list();
        let train = &mut state.train;
        let is_busy = train.is_running() || train.is_sweeping();
        let is_wanted = state.page == Page::Train && !is_busy && !state.devices.is_looking();
        let device = state.devices.resolve(train.device);
        train.estimates.poll(
            &train.settings,
            state.data.source.as_ref(),
            device,
            [is_wanted, is_busy],
            &shell.ctx,
        );
        let ended = state.train.poll(state.data.source.as_ref(), shell);
        if ended.is_some() {
            state.runs.refresh(shell);
        }
        if state.train.poll_sweep(shell) {
            state.runs.refresh(shell);
        }
        let mut is_changed = state.balance.poll(shell) | state.export.poll(shell);
        if is_changed {
            state.runs.refresh(shell);
        }
        state.inspect.poll(shell);
        state.predict.poll(shell);
        if let Some(grown) = state.grow.poll(state.run.as_ref(), state.page == Page::Grow, shell) {
            state.runs.refresh(shell);
            match state.run.as_ref().is_none_or(|run| state.data.is_of(&run.root)) {
                true => shell.queue.push(Command::Runs(RunsCommand::Open(grown))),
                false => is_changed = true,
            }
        }
        let opened = state.runs.poll(shell);
        if is_changed {
            state.read_run_again();
        }
        // Whoever has opened other images meanwhile is left with those.
        if let Some(ended) = ended {
            if ended.root.is_some_and(|root| state.data.is_of(&root)) {
                self.open_unasked(ended.folder);
            } else if state.run.as_ref().is_some_and(|run| run.folder == ended.folder) {
                // What is shown of it is of before.
                state.read_run_again();
            }
        }
        if let Some(run) = opened {
            self.opened(run);
        }
        let state = &mut self.state;
        if !state.train.named
            && !state.train.is_running()
            && let Some(source) = &state.data.source
        {
            state.train.name = state.runs.free_name(&source.name);
        }
    }

    /// Opens a run that was trained, unless something is at work on the one that is open.
    fn open_unasked(&mut self, folder: PathBuf) {
        let state = &mut self.state;
        match state.busy_with_other_than(&folder) {
            None => state.shell.queue.push(Command::Runs(RunsCommand::Open(folder))),
            Some(work) => state.shell.notice(format!(
                "The training in {} has ended. The open run is in use by {work}: open the other from the list when that is done",
                folder.display()
            )),
        }
    }

    /// A run was read: it is the open one now.
    fn opened(&mut self, run: OpenRun) {
        let state = &mut self.state;
        if !state.data.is_of(&run.root) {
            state.data.apply(DataCommand::Close, &mut state.shell);
        }
        let same = state.run.as_ref().filter(|open| open.folder == run.folder);
        let retrained = same.is_none_or(|open| {
            open.history.len() != run.history.len()
                && open.finished_epochs() != run.finished_epochs()
        });
        let rebalanced = same
            .is_some_and(|open| open.checkpoints != run.checkpoints || !open.is_balanced_as(&run));
        if retrained {
            state.balance.forget();
            state.export.open(&run);
        }
        if retrained || rebalanced {
            state.inspect.forget();
            state.images.forget_predictions();
        }
        state.train.forget_failure(Some(&run.folder));
        if same.is_none() {
            // Where no new run is being prepared, the opened one is shown.
            state.train.show_curves |= state.data.source.is_none();
            state.shell.info(format!("Opened the run {}", run.name()));
            if let Some(words) = &run.edited_since {
                state.shell.notice(words.clone());
            }
        }
        state.predict.offer(&run);
        state.shell.preferences.last_run = Some(run.folder.clone());
        if state.runs.continuing.take().is_some_and(|folder| folder == run.folder) {
            state.page = Page::Train;
            state.shell.queue.push(Command::Train(TrainCommand::Continue));
        }
        state.run = Some(run);
    }

    fn apply(&mut self, command: Command) {
        let state = &mut self.state;
        let device = state.devices.resolve(state.train.device);
        match command {
            Command::Go(page) => state.page = page,
            Command::Data(command) => state.data.apply(command, &mut state.shell),
            Command::Images(command) => {
                let review =
                    matches!(command, ImagesCommand::ShowClass(_) | ImagesCommand::Review(_));
                if review {
                    state.page = Page::Images;
                }
                state.images.apply(command, state.run.as_ref(), device, &mut state.shell);
            }
            Command::Train(command) => {
                if command == TrainCommand::Start {
                    state.page = Page::Train;
                }
                let context = super::state::TrainContext {
                    source: state.data.source.as_ref(),
                    run: state.run.as_ref(),
                    devices: &state.devices,
                    runs: &state.runs.names,
                };
                state.train.apply(command, context, &mut state.shell);
            }
            Command::Transforms(command) => {
                state.transforms.apply(command, state.data.source.as_ref(), device, &state.shell)
            }
            Command::Backbones(command) => {
                state.backbones.apply(command, &mut state.train, &mut state.shell)
            }
            Command::Balance(command) => {
                state.balance.apply(command, state.run.as_ref(), device, &mut state.shell)
            }
            Command::Inspect(command) => {
                state.inspect.apply(command, state.run.as_ref(), device, &mut state.shell)
            }
            Command::Export(command) => {
                if matches!(command, ExportCommand::Export) {
                    state.page = Page::Export;
                }
                state.export.apply(command, state.run.as_ref(), &mut state.shell);
            }
            Command::Predict(command) => {
                if matches!(command, PredictCommand::PickImages | PredictCommand::PickModel) {
                    state.page = Page::Predict;
                }
                state.predict.apply(command, &mut state.shell);
            }
            Command::Grow(command) => {
                let (run, runs) = (state.run.as_ref(), &state.runs);
                state.grow.apply(command, run, runs, device, &mut state.shell);
            }
            Command::Runs(RunsCommand::Delete(folder) | RunsCommand::Rename(folder, _))
                if state.works_on(&folder).is_some() =>
            {
                let work = state.works_on(&folder).unwrap_or_default();
                state.shell.notice(format!(
                    "This run is in use by {work}. Stop that first, or wait until it is done"
                ));
            }
            // What is being done to the open run would be cut short.
            Command::Runs(RunsCommand::Open(folder) | RunsCommand::Continue(folder))
                if state.busy_with_other_than(&folder).is_some() =>
            {
                let work = state.busy_with_other_than(&folder).unwrap_or_default();
                state.shell.notice(format!(
                    "The open run is in use by {work}. Stop that first, or wait until it is done"
                ));
            }
            Command::Runs(command) => {
                if let RunsCommand::Delete(folder) | RunsCommand::Rename(folder, _) = &command
                    && state.run.as_ref().is_some_and(|run| run.folder == *folder)
                {
                    state.close_run();
                }
                state.runs.apply(command, &mut state.shell);
            }
            Command::Tour(command) => state.apply_tour(command),
            Command::Window(command) => self.apply_window(command),
        }
    }

    fn apply_window(&mut self, command: WindowCommand) {
        let running = self.state.running();
        let shell = &mut self.state.shell;
        let zoom = |shell: &mut Shell, to: f32| {
            shell.preferences.zoom = to.clamp(*ZOOM.start(), *ZOOM.end());
            shell.ctx.set_zoom_factor(shell.preferences.zoom);
        };
        let theme = |shell: &mut Shell, theme: ThemeChoice| {
            shell.preferences.theme = theme;
            set_theme(&shell.ctx, theme);
        };
        match command {
            WindowCommand::TogglePalette => shell.palette_open = !shell.palette_open,
            WindowCommand::ToggleLog => shell.log_open = !shell.log_open,
            WindowCommand::About => shell.dialog = Some(Dialog::About),
            WindowCommand::ThemeSystem => theme(shell, ThemeChoice::System),
            WindowCommand::ThemeLight => theme(shell, ThemeChoice::Light),
            WindowCommand::ThemeDark => theme(shell, ThemeChoice::Dark),
            WindowCommand::ZoomIn => zoom(shell, shell.preferences.zoom + ZOOM_STEP),
            WindowCommand::ZoomOut => zoom(shell, shell.preferences.zoom - ZOOM_STEP),
            WindowCommand::ZoomReset => zoom(shell, 1.0),
            WindowCommand::Dismiss => {
                shell.dialog = None;
                shell.palette_open = false;
            }
            WindowCommand::Quit if running.is_empty() => self.quit(),
            WindowCommand::Quit => shell.dialog = Some(Dialog::Quit(running)),
            WindowCommand::QuitNow => self.quit(),
        }
    }

    /// Asks everything that is running to stop; the window closes once all of it has left its
    /// checkpoint.
    fn quit(&mut self) {
        self.quitting = true;
        self.state.shell.dialog = None;
        self.commands.extend([
            Command::Train(TrainCommand::Stop),
            Command::Train(TrainCommand::StopSweep),
            Command::Balance(BalanceCommand::Stop),
            Command::Export(ExportCommand::Stop),
            Command::Predict(PredictCommand::Stop),
            Command::Grow(GrowCommand::Stop),
            Command::Data(DataCommand::CancelWriting),
        ]);
        self.state.shell.ctx.request_repaint();
    }

    fn close_when_done(&mut self, ctx: &Context) {
        if self.quitting && self.commands.is_empty() && self.state.running().is_empty() {
            self.closing = true;
            ctx.send_viewport_cmd(egui::ViewportCommand::Close);
        }
    }

    /// A window is closed by its frame, too.
    fn ask_before_closing(&mut self, ctx: &Context) {
        if self.closing || !ctx.input(|input| input.viewport().close_requested()) {
            return;
        }
        let running = self.state.running();
        if !running.is_empty() {
            ctx.send_viewport_cmd(egui::ViewportCommand::CancelClose);
            self.state.shell.dialog = Some(Dialog::Quit(running));
        }
    }

    fn shortcuts(&mut self, ctx: &Context) {
        // In a dialog only the dialog is listened to.
        if self.state.shell.dialog.is_some() {
            return;
        }
        let typing = ctx.text_edit_focused();
        // A shortcut also answers to its keys with Shift held, so those that ask for Shift come
        // first.
        let mut entries = entries();
        entries
            .sort_by_key(|entry| !entry.shortcut.is_some_and(|shortcut| shortcut.modifiers.shift));
        for entry in entries {
            let Some(shortcut) = entry.shortcut else { continue };
            // A field has its own undo, and its own way with the keys of text.
            let of_text =
                matches!(shortcut.logical_key, egui::Key::Z | egui::Key::K | egui::Key::Enter);
            if !(typing && of_text) && ctx.input_mut(|input| input.consume_shortcut(&shortcut)) {
                self.commands.push(match (self.state.page, entry.command) {
                    // What is undone is what was done on the page.
                    (Page::Images, Command::Data(DataCommand::Undo)) => {
                        Command::Images(ImagesCommand::Undo)
                    }
                    (Page::Images, Command::Data(DataCommand::Redo)) => {
                        Command::Images(ImagesCommand::Redo)
                    }
                    (Page::Grow, Command::Data(DataCommand::Undo)) => {
                        Command::Grow(GrowCommand::TakeBack)
                    }
                    (page, Command::Data(DataCommand::Undo | DataCommand::Redo))
                        if page != Page::Data =>
                    {
                        continue;
                    }
                    (_, command) => command,
                });
            }
        }
    }

    fn dropped(&mut self, ctx: &Context) {
        let dropped = ctx
            .input(|input| input.raw.dropped_files.first().map(|file| file.path().to_path_buf()));
        let Some(path) = dropped else { return };
        if matches!(self.state.shell.dialog, Some(Dialog::Backbones)) {
            self.commands.push(Command::Backbones(BackbonesCommand::TakeFile(path)));
            return;
        }
        let command = match self.state.page {
            // A folder is more than can be tried one by one.
            Page::Export if path.is_dir() => {
                self.state.page = Page::Predict;
                Command::Predict(PredictCommand::SetImages(path))
            }
            Page::Export => Command::Export(ExportCommand::TryImage(path)),
            Page::Predict if path.extension().is_some_and(|kind| kind == "onnx") => {
                Command::Predict(PredictCommand::SetModel(path))
            }
            Page::Predict => Command::Predict(PredictCommand::SetImages(path)),
            Page::Grow => Command::Grow(GrowCommand::SetImages(path)),
            Page::Runs => Command::Runs(RunsCommand::Open(path)),
            _ => {
                self.state.page = Page::Data;
                Command::Data(DataCommand::Open(path))
            }
        };
        self.commands.push(command);
    }

    /// Starts what a page needs without being asked: features on the balancing page, results on the
    /// inspection page.
    fn prepare(&mut self) {
        let state = &self.state;
        let Some(run) =
            state.run.as_ref().filter(|run| run.has_checkpoint() && !state.train.is_running())
        else {
            return;
        };
        match state.page {
            Page::Balance if !state.balance.has(run) && state.balance.failure.is_none() => {
                self.commands.push(Command::Balance(BalanceCommand::Load));
            }
            Page::Inspect
                if state.inspect.shown.is_none()
                    && !state.inspect.is_busy()
                    && state.inspect.failure.is_none() =>
            {
                let split = match run.has_validation() {
                    true => counterweight_core::source::Split::Validation,
                    false => counterweight_core::source::Split::Train,
                };
                self.commands
                    .push(Command::Inspect(InspectCommand::Load { checkpoint: None, split }));
            }
            _ => {}
        }
    }
}

fn set_theme(ctx: &Context, theme: ThemeChoice) {
    ctx.set_theme(match theme {
        ThemeChoice::System => egui::ThemePreference::System,
        ThemeChoice::Light => egui::ThemePreference::Light,
        ThemeChoice::Dark => egui::ThemePreference::Dark,
    });
}

impl eframe::App for CounterweightApp {
    fn logic(&mut self, ctx: &Context, _frame: &mut eframe::Frame) {
        self.ask_before_closing(ctx);
        self.poll();
        self.prepare();
        self.close_when_done(ctx);
        // What is done may ask for more; a bound keeps two that ask for each other from going on
        // for ever.
        for _ in 0..8 {
            let mut commands = std::mem::take(&mut self.commands);
            commands.append(&mut self.state.shell.queue);
            if commands.is_empty() {
                break;
            }
            for command in commands {
                self.apply(command);
            }
        }
    }

    fn ui(&mut self, ui: &mut Ui, _frame: &mut eframe::Frame) {
        let ctx = ui.ctx().clone();
        self.shortcuts(&ctx);
        self.dropped(&ctx);
        self.panels.ui(ui, &mut self.state, &mut self.commands);
        if !self.commands.is_empty() {
            // What was asked for is done and laid out before anything is painted. Where that is not
            // to be had, the next frame does it.
            ctx.request_discard("something was asked for");
            ctx.request_repaint();
        }
    }

    fn save(&mut self, storage: &mut dyn eframe::Storage) {
        eframe::set_value(storage, PREFERENCES, &self.state.shell.preferences);
    }

    fn on_exit(&mut self, _gl: Option<&eframe::glow::Context>) {
        self.state.data.finish();
        self.state.runs.finish();
        self.state.train.finish();
        self.state.balance.finish();
        self.state.export.finish();
        self.state.predict.finish();
        self.state.grow.finish();
    }

    fn clear_color(&self, visuals: &egui::Visuals) -> [f32; 4] {
        theme::tokens(visuals).background.to_normalized_gamma_f32()
    }
}
