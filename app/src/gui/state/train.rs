//! The training page: the settings being edited, and the training that is running.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use counterweight_core::device::{self, DeviceChoice};
use counterweight_core::error::TrainError;
use counterweight_core::job::Job;
use counterweight_core::model::WeightsFolder;
use counterweight_core::pipeline::{self, TrainRequest};
use counterweight_core::record::EpochRecord;
use counterweight_core::run::Run;
use counterweight_core::settings::{Auto, INFO, Preset, Settings, Training as Way};
use counterweight_core::source::Split;
use counterweight_core::{Error, Result};
use egui::TextureHandle;

use super::data::Source;
use super::dataset_source::DatasetSource;
use super::previews::Previews;
use super::run::OpenRun;
use super::shell::{ErrorReport, Shell};
use super::{Devices, Estimates, SweepState, next_revision};
use crate::gui::command::{Command, ResumeOffer, TrainCommand};
use crate::gui::dialogs::{Asked, Question};
use crate::gui::worker::{Failure, Worker};

/// How often the memory in use is looked at.
const GAUGE_EVERY: Duration = Duration::from_secs(1);

/// The memory this program uses.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gauge {
    /// Bytes in use.
    pub bytes: Option<u64>,
    looked: Option<Instant>,
}

impl Gauge {
    fn look(&mut self) {
        if self.looked.is_none_or(|looked| looked.elapsed() >= GAUGE_EVERY) {
            self.looked = Some(Instant::now());
            self.bytes = memory_stats::memory_stats().map(|stats| stats.physical_mem as u64);
        }
    }
}

/// The accuracy of each class on validation, and the epoch after which it was evaluated.
pub type ClassAccuracies = (usize, Vec<Option<f64>>);

/// A training that is running.
pub struct Training {
    /// The run's folder.
    pub folder: PathBuf,
    /// What its images are relative to, once its dataset is made.
    pub root: Option<PathBuf>,
    /// The settings it runs with.
    pub settings: Settings,
    /// The classes it learns.
    pub classes: Vec<String>,
    /// Their training samples.
    pub train_counts: Vec<usize>,
    /// Finished epochs, of earlier sittings too.
    pub history: Vec<EpochRecord>,
    /// Class weight norms after each of them.
    pub norms: Vec<Vec<f32>>,
    /// Accuracy of each class on validation, when it was last evaluated.
    pub class_accuracy: Option<ClassAccuracies>,
    /// The device it runs on.
    pub device: String,
    /// Changes with every epoch.
    pub revision: u64,
    worker: Worker<Ended>,
}

/// A training that has ended.
pub struct EndedRun {
    /// The run's folder.
    pub folder: PathBuf,
    /// What its images are relative to, if its dataset was made.
    pub root: Option<PathBuf>,
}

/// How a training came to its end.
enum Ended {
    Trained {
        /// Whether the classifier was balanced, too.
        balanced: bool,
    },
    /// It did not, and can with more parts.
    OutOfMemory { reason: String, parts: usize },
}

impl Training {
    /// What it is doing.
    pub fn progress(&self) -> &crate::gui::worker::Progress {
        &self.worker.progress
    }

    /// Whether it waits.
    pub fn is_paused(&self) -> bool {
        self.worker.is_paused()
    }

    /// Whether it was asked to stop.
    pub fn is_stopping(&self) -> bool {
        self.worker.is_stopping()
    }

    /// Seconds since it began.
    pub fn seconds(&self) -> f64 {
        self.worker.started.elapsed().as_secs_f64()
    }
}

/// What training depends on elsewhere in the window.
#[derive(Clone, Copy)]
pub struct TrainContext<'a> {
    /// The source that is open.
    pub source: Option<&'a Source>,
    /// The run that is open.
    pub run: Option<&'a OpenRun>,
    /// The devices of this machine.
    pub devices: &'a Devices,
    /// The names that are taken in the runs folder.
    pub runs: &'a HashSet<String>,
}

/// What a started training needs to be shown.
struct StartedRun {
    root: PathBuf,
    settings: Settings,
    classes: Vec<String>,
    train_counts: Vec<usize>,
    history: Vec<EpochRecord>,
    norms: Vec<Vec<f32>>,
    device: String,
}

/// The training page.
pub struct TrainState {
    /// The settings a new run is made with.
    pub settings: Settings,
    /// Text being typed, by key, where it is not yet a value.
    texts: HashMap<&'static str, String>,
    errors: HashMap<&'static str, String>,
    problems: HashMap<&'static str, String>,
    /// The device.
    pub device: DeviceChoice,
    /// The name of the new run.
    pub name: String,
    /// Whether the person gave the name.
    pub named: bool,
    /// Whether every setting is shown.
    pub show_all: bool,
    /// Whether curves are shown, rather than the settings of a new run.
    pub show_curves: bool,
    /// What is running.
    pub training: Option<Training>,
    /// The sweep over weight decay that is running or shown.
    pub sweep: Option<SweepState>,
    /// Why the last training failed.
    pub failure: Option<String>,
    /// How a training that ran out of memory can go on.
    pub resume_offer: Option<ResumeOffer>,
    /// The memory in use.
    pub gauge: Gauge,
    /// The accuracy of each class when the last training last evaluated it, with its epoch and the
    /// run's folder.
    pub last_classes: Option<(PathBuf, ClassAccuracies)>,
    /// How long training would take.
    pub estimates: Estimates,
    begun: Option<crossbeam_channel::Receiver<StartedRun>>,
    previews: Previews,
    weights: Option<WeightsFolder>,
}

impl TrainState {
    /// A page with the settings a beginner should start with.
    pub fn new(shell: &Shell) -> Self {
        Self {
            settings: Settings::preset(Preset::Auto),
            texts: HashMap::new(),
            errors: HashMap::new(),
            problems: HashMap::new(),
            device: shell.preferences.device.parse().unwrap_or_default(),
            name: String::new(),
            named: false,
            show_all: false,
            show_curves: false,
            training: None,
            sweep: None,
            failure: None,
            resume_offer: None,
            gauge: Gauge::default(),
            last_classes: None,
            estimates: Estimates::default(),
            begun: None,
            previews: Previews::default(),
            weights: shell.place.weights.clone(),
        }
    }

    /// Whether something is being trained.
    pub fn is_running(&self) -> bool {
        self.training.is_some()
    }

    /// Whether values of weight decay are being tried.
    pub fn is_sweeping(&self) -> bool {
        self.sweep.as_ref().is_some_and(SweepState::is_running)
    }

    /// Takes what the sweep has done. Whether it has ended.
    pub fn poll_sweep(&mut self, shell: &mut Shell) -> bool {
        self.sweep.as_mut().is_some_and(|sweep| sweep.poll(shell))
    }

    /// Takes other settings as a whole.
    pub fn set_settings(&mut self, settings: Settings) {
        self.settings = settings;
        self.texts.clear();
        self.errors.clear();
        self.check();
    }

    /// Takes the settings of a preset.
    pub fn set_preset(&mut self, preset: Preset) {
        self.set_settings(Settings::preset(preset));
    }

    /// The text of a setting: what is being typed, or its value.
    pub fn text(&self, key: &'static str) -> String {
        self.texts.get(key).cloned().or_else(|| self.settings.text(key)).unwrap_or_default()
    }

    /// Takes what was typed for a setting. What is no value stays where it was typed, with the
    /// reason.
    pub fn set_text(&mut self, key: &'static str, text: String) {
        match self.settings.with(key, &text) {
            Ok(settings) => {
                self.settings = settings;
                self.errors.remove(key);
            }
            Err(_) => {
                let example = Settings::preset(self.settings.preset).text(key).unwrap_or_default();
                let wanted = match example.as_str() {
                    "auto" => "a number or auto".into(),
                    example if example.parse::<f64>().is_ok() => {
                        format!("a number such as {example}")
                    }
                    example => format!("a value such as {example}"),
                };
                self.errors.insert(key, format!("needs {wanted}"));
            }
        }
        self.texts.insert(key, text);
        self.check();
    }

    /// Puts a setting back to what its preset has.
    pub fn reset(&mut self, key: &'static str) {
        let preset = Settings::preset(self.settings.preset);
        if let Some(text) = preset.text(key) {
            self.set_text(key, text);
            self.texts.remove(key);
        }
    }

    /// What is wrong with a setting.
    pub fn error(&self, key: &str) -> Option<&str> {
        self.errors.get(key).or_else(|| self.problems.get(key)).map(String::as_str)
    }

    /// Settings that are wrong.
    pub fn wrong(&self) -> usize {
        self.problems.keys().filter(|key| !self.errors.contains_key(**key)).count()
            + self.errors.len()
    }

    /// Looks again for what is wrong with the settings.
    pub(super) fn check(&mut self) {
        self.problems = self
            .settings
            .problems()
            .into_iter()
            .map(|problem| (problem.key, problem.reason))
            .collect();
        let named = self.settings.model.backbone.named();
        if let Some(backbone) =
            named.filter(|_| self.settings.stage1.train != Auto::Value(Way::Scratch))
            && backbone.pretrained_in(self.weights.as_ref()).is_err()
        {
            let reason =
                "has no pretrained weights here: Choose… downloads some or takes them from a file; or train from scratch".to_string();
            self.problems.entry("model.backbone").or_insert(reason);
        }
    }

    /// Why training cannot start, if it cannot.
    pub fn obstacle(
        &self,
        source: Option<&Source>,
        devices: &Devices,
        runs: &HashSet<String>,
    ) -> Option<String> {
        let Some(source) = source else { return Some("Open images on the Data page first".into()) };
        if self.is_sweeping() {
            return Some(
                "Values of weight decay are being tried; wait for them or stop them".into(),
            );
        }
        if let Some(problem) = source.problem() {
            return Some(format!("The dataset cannot be built: {problem}"));
        }
        // The first in the order of the settings: later ones may only be wrong because of it.
        if let Some((label, reason)) =
            INFO.iter().find_map(|info| Some((info.label, self.error(info.key)?)))
        {
            return Some(format!("{label} {reason}"));
        }
        if let Some(reason) = devices.problem(self.device) {
            return Some(format!("{}: {reason}", self.device));
        }
        if self.name.trim().is_empty() {
            return Some("The run needs a name".into());
        }
        if self.name.contains(['/', '\\', '\0']) || self.name.trim().starts_with('.') {
            return Some("A run's name cannot hold / or \\ or begin with a dot".into());
        }
        if runs.contains(self.name.trim()) {
            return Some(format!("There is a run named {} already", self.name.trim()));
        }
        None
    }

    /// Does what was asked.
    pub fn apply(&mut self, command: TrainCommand, context: TrainContext<'_>, shell: &mut Shell) {
        let TrainContext { source, run, devices, runs } = context;
        let device = devices.resolve(self.device);
        match command {
            TrainCommand::Start => {
                if let Some(obstacle) = self.obstacle(source, devices, runs) {
                    shell.notice(obstacle);
                } else if let Some(source) = source.filter(|_| self.training.is_none()) {
                    let folder = shell.runs_folder().join(self.name.trim());
                    let task = Task::New {
                        folder: folder.clone(),
                        recipe: source.recipe(),
                        settings: Box::new(self.settings.clone()),
                    };
                    self.start(folder, task, device, shell);
                }
            }
            TrainCommand::Continue => {
                if let Some(run) = run.filter(|_| self.training.is_none()) {
                    self.start(
                        run.folder.clone(),
                        Task::Continue { folder: run.folder.clone(), parts: None },
                        device,
                        shell,
                    );
                }
            }
            TrainCommand::ContinueInParts(folder, parts) => {
                if self.training.is_none() {
                    self.start(
                        folder.clone(),
                        Task::Continue { folder, parts: Some(parts) },
                        device,
                        shell,
                    );
                }
            }
            TrainCommand::FindWeightDecay => {
                if let Some(obstacle) = self.sweep_obstacle(source, devices) {
                    shell.notice(obstacle);
                } else if let Some(source) = source {
                    let folder = self.sweep_folder(runs, shell);
                    self.sweep = Some(SweepState::start(
                        folder,
                        source.recipe(),
                        self.settings.clone(),
                        device,
                        shell,
                    ));
                }
            }
            TrainCommand::StopSweep => {
                if let Some(sweep) = &self.sweep {
                    sweep.stop();
                }
            }
            TrainCommand::ShowSweep(report) => {
                if self.is_sweeping() {
                    shell.notice(
                        "Values of weight decay are being tried; wait for them or stop them",
                    );
                } else {
                    self.sweep = Some(SweepState::shown(*report));
                    self.show_curves = false;
                }
            }
            TrainCommand::CloseSweep => self.sweep = None,
            TrainCommand::Pause => self.with_worker(Worker::pause),
            TrainCommand::Resume => self.with_worker(Worker::resume),
            TrainCommand::Stop => self.with_worker(Worker::stop),
            TrainCommand::PickSettings => {
                let question = Question::File("Settings", &["toml"]);
                let then = |path| Command::Train(TrainCommand::LoadSettings(path));
                shell.asked = Some(Asked::new(&shell.ctx, "Load settings", None, question, then));
            }
            TrainCommand::TakeOffer(settings) => {
                self.set_settings(*settings);
                self.show_curves = false;
            }
            TrainCommand::LoadSettings(path) => match Settings::load(&path) {
                Ok(settings) => {
                    self.set_settings(settings);
                    shell.success(format!("Took the settings of {}", path.display()));
                }
                Err(error) => shell.failed(ErrorReport {
                    title: "The settings could not be read".into(),
                    reason: error.to_string(),
                    kept: "The settings on the page are as they were.".into(),
                    advice: "Choose a settings.toml that a run was made with.".into(),
                }),
            },
        }
    }

    fn with_worker(&self, act: impl FnOnce(&Worker<Ended>)) {
        if let Some(training) = &self.training {
            act(&training.worker);
        }
    }

    fn start(&mut self, folder: PathBuf, task: Task, device: DeviceChoice, shell: &mut Shell) {
        (self.failure, self.resume_offer) = (None, None);
        shell.preferences.device = self.device.to_string();
        let (sender, begun) = crossbeam_channel::bounded(1);
        let choice = device;
        let worker =
            Worker::spawn("train", &shell.ctx, move |job| match task.run(choice, &sender, job) {
                Err(Error::Train(
                    error @ TrainError::OutOfMemory { suggested: Some(parts), .. },
                )) => Ok(Ended::OutOfMemory { reason: error.to_string(), parts }),
                other => other.map(|balanced| Ended::Trained { balanced }),
            });
        shell.info(format!("Training into {}", folder.display()));
        self.begun = Some(begun);
        self.show_curves = true;
        self.training = Some(Training {
            folder,
            root: None,
            settings: self.settings.clone(),
            classes: Vec::new(),
            train_counts: Vec::new(),
            history: Vec::new(),
            norms: Vec::new(),
            class_accuracy: None,
            device: String::new(),
            revision: next_revision(),
            worker,
        });
    }

    /// Takes what the training has done. Returns a training that has ended.
    pub fn poll(&mut self, source: Option<&Source>, shell: &mut Shell) -> Option<EndedRun> {
        self.previews.poll(&self.settings, source, &shell.ctx);
        let training = self.training.as_mut()?;
        self.gauge.look();
        if let Some(begun) = self.begun.as_ref().and_then(|begun| begun.try_recv().ok()) {
            training.root = Some(begun.root);
            training.settings = begun.settings;
            training.classes = begun.classes;
            training.train_counts = begun.train_counts;
            training.history = begun.history;
            training.norms = begun.norms;
            training.device = begun.device;
            training.revision = next_revision();
            self.begun = None;
        }
        let news = training.worker.poll();
        shell.messages(news.messages);
        for mut record in news.epochs {
            training.norms.push(std::mem::take(&mut record.norms));
            training.history.push(record);
            training.revision = next_revision();
        }
        if let Some(classes) = news.classes {
            training.class_accuracy = Some(classes);
            training.revision = next_revision();
        }
        let done = news.done?;
        let training = self.training.take()?;
        if let Some(classes) = training.class_accuracy {
            self.last_classes = Some((training.folder.clone(), classes));
        }
        let kept = match training.history.is_empty() {
            true => {
                "No epoch was finished. The dataset and the settings are as they were.".to_string()
            }
            false => format!(
                "{} finished epochs and the last checkpoint are in {}.",
                training.history.len(),
                training.folder.display()
            ),
        };
        match done {
            Ok(Ended::Trained { balanced }) => {
                self.named = false;
                // What it is worth is said on the page.
                let what = if balanced { "Trained and balanced" } else { "Stage 1 is done" };
                shell.notice(format!("{what}: {}", training.folder.display()));
            }
            Err(Failure::Stopped) => {
                self.named = false;
                shell
                    .notice("Training was stopped. A checkpoint is kept: the run can be continued");
            }
            Ok(Ended::OutOfMemory { reason, parts }) => {
                self.named = false;
                let resume_offer = ResumeOffer { folder: training.folder.clone(), parts };
                let advice = format!(
                    "Go on with each batch computed in {parts} parts, which takes less memory at once and little more time. A smaller batch or \
                     input size in a new run does it, too."
                );
                let title = "The device ran out of memory".into();
                shell.out_of_memory(
                    ErrorReport { title, reason: reason.clone(), kept, advice },
                    resume_offer.clone(),
                );
                (self.failure, self.resume_offer) = (Some(reason), Some(resume_offer));
            }
            Err(Failure::Failed(error)) => {
                let reason = error.to_string();
                let advice = match error {
                    Error::Train(TrainError::Diverged { .. }) => {
                        "Lower the learning rate, or start from a preset, and train again."
                    }
                    Error::Train(TrainError::OutOfMemory { .. }) => {
                        "Choose a smaller batch or input size and train again."
                    }
                    Error::Internal(_) => {
                        "Copy what happened and report it. The run can be continued."
                    }
                    _ => "Mend what the reason names, then continue the run or start a new one.",
                };
                shell.failed(ErrorReport {
                    title: "Training failed".into(),
                    reason: reason.clone(),
                    kept,
                    advice: advice.into(),
                });
                self.failure = Some(reason);
            }
        }
        Some(EndedRun { folder: training.folder, root: training.root })
    }

    /// Where a sweep is kept: the one that is shown goes on if it was stopped, a new one gets a
    /// name that is free.
    fn sweep_folder(&self, taken: &HashSet<String>, shell: &Shell) -> PathBuf {
        if let Some(stopped) = self.sweep.as_ref().filter(|sweep| {
            sweep.report.is_none() && sweep.settings.as_ref() == Some(&self.settings)
        }) {
            return stopped.folder.clone();
        }
        let name = format!("{} decay", self.name.trim());
        let names =
            (1..).map(|number| if number == 1 { name.clone() } else { format!("{name} {number}") });
        let free = names.into_iter().find(|name| !taken.contains(name)).unwrap_or(name);
        shell.runs_folder().join(free)
    }

    /// Why no sweep can start, if it cannot.
    pub fn sweep_obstacle(&self, source: Option<&Source>, devices: &Devices) -> Option<String> {
        // The name of a run that is there already is no obstacle: a sweep takes another.
        self.obstacle(source, devices, &HashSet::new())
            .or_else(|| self.is_running().then(|| "A training is running".into()))
    }

    /// Ends the training and waits for its checkpoint.
    pub fn finish(&mut self) {
        if let Some(mut sweep) = self.sweep.take() {
            sweep.finish();
        }
        if let Some(training) = self.training.take() {
            training.worker.stop_and_wait();
        }
    }

    /// The augmented samples that are shown, as far as they are made.
    pub fn previews(&self) -> &[TextureHandle] {
        self.previews.shown()
    }
}

/// What is to be trained.
enum Task {
    New { folder: PathBuf, recipe: DatasetSource, settings: Box<Settings> },
    Continue { folder: PathBuf, parts: Option<usize> },
}

impl Task {
    /// Trains, and balances where the settings ask for the best of many balancers. Returns whether
    /// it was balanced.
    fn run(
        self,
        choice: DeviceChoice,
        begun: &crossbeam_channel::Sender<StartedRun>,
        job: Job<'_>,
    ) -> Result<bool> {
        let (device, name) = device::open(choice)?;
        let (folder, run) = match self {
            Task::New { folder, recipe, settings } => {
                job.phase("building the dataset", None, "images");
                let (dataset, notes) = recipe.make(job)?;
                for note in notes {
                    job.info(note);
                }
                let run = pipeline::new_run(&folder, *settings, dataset, &device, job)?;
                (folder, run)
            }
            Task::Continue { folder, parts } => {
                let mut run = Run::claim(&folder)?;
                if let Some(parts) = parts {
                    run.compute_in_parts(parts)?;
                }
                (folder, run)
            }
        };
        let norms = run
            .norms_history()?
            .into_iter()
            .filter(|record| record.stage == 1)
            .map(|record| record.norms)
            .collect();
        drop(begun.send(StartedRun {
            root: run.dataset().root.clone(),
            settings: run.settings().clone(),
            classes: run.dataset().classes.clone(),
            train_counts: run.dataset().counts(Split::Train),
            history: run.history().iter().filter(|record| record.stage == 1).cloned().collect(),
            norms,
            device: name.clone(),
        }));
        drop(run);
        let request = TrainRequest {
            dataset: None,
            group_by: None,
            scan: Default::default(),
            run: &folder,
            settings: None,
            resume: true,
        };
        pipeline::train(&request, &device, &name, job)?;
        let mut run = Run::open(&folder)?;
        let settings = run.settings().clone();
        if settings.balance.tune_candidates == 0 {
            return Ok(false);
        }
        // The training stands whatever becomes of this; balancing can be done again by hand.
        match pipeline::balance(&mut run, &settings, &device, job) {
            Ok(_) => Ok(true),
            Err(Error::Stopped) => Ok(false),
            Err(error) => {
                job.warn(format!("the run is trained and not balanced: {error}"));
                Ok(false)
            }
        }
    }
}
