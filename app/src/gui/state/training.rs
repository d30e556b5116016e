//! A training that is running: the thread that does it, and what it has done so far.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use counterweight_core::dataset::BuildOptions;
use counterweight_core::device::{self, DeviceChoice};
use counterweight_core::error::{TrainError, out_of_memory};
use counterweight_core::job::Job;
use counterweight_core::pipeline::{self, TrainRequest};
use counterweight_core::record::EpochRecord;
use counterweight_core::run::Run;
use counterweight_core::settings::Settings;
use counterweight_core::source::Split;
use counterweight_core::{Error, Result};

use super::dataset_source::DatasetSource;
use super::next_revision;
use super::shell::Shell;
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
    /// Looks, if it was not looked at a moment ago.
    pub(super) fn look(&mut self) {
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
    /// Says once what it begins with, when that is made.
    begun: crossbeam_channel::Receiver<StartedRun>,
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
pub(super) enum Ended {
    /// It did.
    Trained {
        /// Whether the classifier was balanced, too.
        balanced: bool,
    },
    /// It did not, and can with more parts.
    OutOfMemory { reason: String, parts: usize },
}

impl Training {
    /// Starts one into this folder.
    pub(super) fn start(
        folder: PathBuf,
        settings: Settings,
        task: Task,
        device: DeviceChoice,
        ctx: &egui::Context,
    ) -> Self {
        let (sender, begun) = crossbeam_channel::bounded(1);
        let worker = Worker::spawn("train", ctx, move |job| match task.run(device, &sender, job) {
            Err(Error::Train(TrainError::OutOfMemory {
                batch_size,
                parts: before,
                suggested: Some(parts),
            })) => {
                // What to do is on the buttons, and not in the words of a settings file.
                Ok(Ended::OutOfMemory { reason: out_of_memory(batch_size, before), parts })
            }
            other => other.map(|balanced| Ended::Trained { balanced }),
        });
        Self {
            folder,
            root: None,
            settings,
            classes: Vec::new(),
            train_counts: Vec::new(),
            history: Vec::new(),
            norms: Vec::new(),
            class_accuracy: None,
            device: String::new(),
            revision: next_revision(),
            begun,
            worker,
        }
    }

    /// Takes what it has done. Returns how it ended, once it has.
    pub(super) fn poll(&mut self, shell: &mut Shell) -> Option<Result<Ended, Failure>> {
        if let Ok(begun) = self.begun.try_recv() {
            self.root = Some(begun.root);
            self.settings = begun.settings;
            self.classes = begun.classes;
            self.train_counts = begun.train_counts;
            self.history = begun.history;
            self.norms = begun.norms;
            self.device = begun.device;
            self.revision = next_revision();
        }
        let news = self.worker.poll();
        shell.messages(news.messages);
        for mut record in news.epochs {
            self.norms.push(std::mem::take(&mut record.norms));
            self.history.push(record);
            self.revision = next_revision();
        }
        if let Some(classes) = news.classes {
            self.class_accuracy = Some(classes);
            self.revision = next_revision();
        }
        news.done
    }

    /// Has it wait at its next step.
    pub(super) fn pause(&self) {
        self.worker.pause();
    }

    /// Has it go on after a pause.
    pub(super) fn resume(&self) {
        self.worker.resume();
    }

    /// Asks it to stop.
    pub(super) fn stop(&self) {
        self.worker.stop();
    }

    /// Has it stop, and waits for its checkpoint.
    pub(super) fn finish(self) {
        self.worker.stop_and_wait();
    }

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

/// What is to be trained.
pub(super) enum Task {
    /// A new run.
    New { folder: PathBuf, recipe: DatasetSource, settings: Box<Settings> },
    /// A run that was interrupted; each batch in so many parts, if not as before.
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
            build: BuildOptions::default(),
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
