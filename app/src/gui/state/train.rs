//! The training page: the settings being edited, and the training that is running.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use counterweight_core::Error;
use counterweight_core::dataset::is_safe_name;
use counterweight_core::device::DeviceChoice;
use counterweight_core::error::TrainError;
use counterweight_core::model::WeightsFolder;
use counterweight_core::settings::{Auto, INFO, Preset, Settings, Training as Way};
use egui::TextureHandle;

use super::previews::Previews;
use super::run::OpenRun;
use super::runs::is_taken;
use super::shell::{ErrorReport, Shell};
use super::source::Source;
use super::training::{ClassAccuracies, Ended, EndedRun, Gauge, Task, Training};
use super::{Devices, Estimates, SweepState};
use crate::gui::command::{Command, ResumeOffer, TrainCommand};
use crate::gui::dialogs::{Asked, Question};
use crate::gui::worker::Failure;

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
    /// The folder of the run that it ended in.
    failed_in: Option<PathBuf>,
    /// How a training that ran out of memory can go on.
    pub resume_offer: Option<ResumeOffer>,
    /// The memory in use.
    pub gauge: Gauge,
    /// The accuracy of each class when the last training last evaluated it, with its epoch and the
    /// run's folder.
    pub last_classes: Option<(PathBuf, ClassAccuracies)>,
    /// How long training would take.
    pub estimates: Estimates,
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
            failed_in: None,
            resume_offer: None,
            gauge: Gauge::default(),
            last_classes: None,
            estimates: Estimates::default(),
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
        if !is_safe_name(self.name.trim()) {
            return Some("A run's name cannot hold any of < > : \" / \\ | ? *, begin or end with a dot, or be one that Windows keeps for itself".into());
        }
        if is_taken(runs, self.name.trim()) {
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
                    let folder = self.sweep_folder(source, runs, shell);
                    self.sweep = Some(SweepState::start(
                        folder,
                        source,
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
            TrainCommand::Pause => self.with_training(Training::pause),
            TrainCommand::Resume => self.with_training(Training::resume),
            TrainCommand::Stop => self.with_training(Training::stop),
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

    /// Why the last training failed, if that was of this run.
    pub fn failure_of(&self, folder: &Path) -> Option<&str> {
        self.failure.as_deref().filter(|_| self.failed_in.as_deref() == Some(folder))
    }

    /// Forgets why the last training failed, unless that was of this run.
    pub fn forget_failure(&mut self, of_others_than: Option<&Path>) {
        if of_others_than.is_none() || self.failed_in.as_deref() != of_others_than {
            (self.failure, self.failed_in, self.resume_offer) = (None, None, None);
        }
    }

    fn with_training(&self, act: impl FnOnce(&Training)) {
        if let Some(training) = &self.training {
            act(training);
        }
    }

    fn start(&mut self, folder: PathBuf, task: Task, device: DeviceChoice, shell: &mut Shell) {
        (self.failure, self.resume_offer) = (None, None);
        shell.preferences.device = self.device.to_string();
        shell.info(format!("Training into {}", folder.display()));
        self.show_curves = true;
        let settings = self.settings.clone();
        self.training = Some(Training::start(folder, settings, task, device, &shell.ctx));
    }

    /// Takes what the training has done. Returns a training that has ended.
    pub fn poll(&mut self, source: Option<&Source>, shell: &mut Shell) -> Option<EndedRun> {
        self.previews.poll(&self.settings, source, &shell.ctx);
        let training = self.training.as_mut()?;
        self.gauge.look();
        let done = training.poll(shell)?;
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
            Err(Failure::Stopped) if training.root.is_none() => {
                shell.notice("Stopped before the training began; there is no run of it");
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
                self.failed_in = Some(training.folder.clone());
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
                self.failed_in = Some(training.folder.clone());
            }
        }
        Some(EndedRun { folder: training.folder, root: training.root })
    }

    /// Where a sweep is kept: the one that is shown goes on if it was stopped, a new one gets a
    /// name that is free.
    fn sweep_folder(&self, source: &Source, taken: &HashSet<String>, shell: &Shell) -> PathBuf {
        let goes_on =
            |sweep: &&SweepState| sweep.report.is_none() && sweep.is_of(source, &self.settings);
        if let Some(stopped) = self.sweep.as_ref().filter(goes_on) {
            return stopped.folder.clone();
        }
        let name = format!("{} decay", self.name.trim());
        let names =
            (1..).map(|number| if number == 1 { name.clone() } else { format!("{name} {number}") });
        let free = names.into_iter().find(|name| !is_taken(taken, name)).unwrap_or(name);
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
            training.finish();
        }
    }

    /// The augmented samples that are shown, as far as they are made.
    pub fn previews(&self) -> &[TextureHandle] {
        self.previews.shown()
    }
}
