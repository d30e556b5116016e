//! The inspection page: a checkpoint's results on a split, and every prediction behind them.

use std::path::PathBuf;
use std::sync::Arc;

use counterweight_core::device::{self, DeviceChoice};
use counterweight_core::eval::Group;
use counterweight_core::pipeline::{self, Predictions, RunEvaluation};
use counterweight_core::run::Run;
use counterweight_core::source::{ImageReader, Split};

use super::run::OpenRun;
use super::shell::Shell;
use super::{Beside, LookedAt, MapState, Overlays, Thumbnails};
use crate::gui::command::InspectCommand;
use crate::gui::widgets::TableState;
use crate::gui::worker::{Failure, Progress, Worker};

/// The results of a checkpoint on a split.
pub struct Inspection {
    /// The run they belong to.
    pub folder: PathBuf,
    /// The metrics.
    pub evaluation: RunEvaluation,
    /// What each sample was taken for.
    pub predictions: Predictions,
    /// Numbers of the misclassified samples: those of rare classes first, within a class the most
    /// confident first.
    pub mistakes: Vec<usize>,
    reader: Arc<ImageReader>,
}

impl Inspection {
    /// The group of a class.
    pub fn group(&self, class: usize) -> Group {
        self.predictions.thresholds.group(self.predictions.train_counts[class])
    }
}

/// The inspection page.
#[derive(Default)]
pub struct InspectState {
    /// What is shown.
    pub shown: Option<Inspection>,
    /// Why there is nothing to show.
    pub failure: Option<String>,
    /// Small pictures of the samples.
    pub thumbnails: Option<Thumbnails>,
    /// The true and the predicted class whose samples are shown, if it is not all mistakes.
    pub pair: Option<(usize, usize)>,
    /// The group whose mistakes are shown, if it is not all.
    pub group: Option<Group>,
    /// Whether the classes of the confusion matrix stand in the order of their counts, not of their
    /// labels.
    pub by_count: bool,
    /// How the table of classes is sorted and searched.
    pub table: TableState,
    /// Changes with what is shown.
    pub revision: u64,
    /// What is being evaluated, to be said while it is.
    pub asked: Option<(Option<String>, Split)>,
    /// Where the checkpoint looked in them.
    pub overlays: Overlays,
    /// All images of the run in a plane.
    pub map: MapState,
    /// A model from elsewhere on the same images.
    pub beside: Beside,
    worker: Option<Worker<Inspection>>,
}

impl InspectState {
    /// Whether something is being evaluated.
    pub fn is_busy(&self) -> bool {
        self.worker.is_some() || self.beside.is_busy() || self.map.is_busy()
    }

    /// How far it is.
    pub fn progress(&self) -> Option<&Progress> {
        self.worker.as_ref().map(|worker| &worker.progress)
    }

    /// Forgets what is shown: the run has changed.
    pub fn forget(&mut self) {
        let overlays = Overlays::switched(self.overlays.on);
        let (by_count, revision) = (self.by_count, self.revision + 1);
        *self = Self { by_count, revision, overlays, ..Self::default() };
    }

    /// Does what was asked.
    pub fn apply(
        &mut self,
        command: InspectCommand,
        run: Option<&OpenRun>,
        device: DeviceChoice,
        shell: &mut Shell,
    ) {
        match command {
            InspectCommand::Load { checkpoint, split } => {
                let Some(run) = run.filter(|run| run.has_checkpoint()) else { return };
                self.failure = None;
                self.asked = Some((checkpoint.clone(), split));
                let (folder, settings) = (run.folder.clone(), run.settings.evaluation.clone());
                self.worker = Some(Worker::spawn("inspect", &shell.ctx, move |job| {
                    let run = Run::open(&folder)?;
                    let (device, _) = device::open(device)?;
                    let name = checkpoint.as_deref();
                    let evaluation =
                        pipeline::evaluate(&run, name, Some(split), &settings, &device, job)?;
                    let predictions =
                        pipeline::predictions(&run, name, split, settings.flip, &device, job)?;
                    let reader =
                        Arc::new(ImageReader::open(&run.dataset().root, run.dataset().kind, job)?);
                    let mistakes = mistakes(&predictions);
                    Ok(Inspection { folder, evaluation, predictions, mistakes, reader })
                }));
            }
            InspectCommand::Beside(command) => {
                self.beside.apply(command, self.shown.as_ref(), shell)
            }
            InspectCommand::Map(command) => self.map.apply(command, device, shell),
            InspectCommand::Stop => {
                if let Some(worker) = &self.worker {
                    worker.stop();
                }
            }
        }
    }

    /// Takes what was evaluated.
    pub fn poll(&mut self, shell: &mut Shell) {
        if let Some(thumbnails) = &mut self.thumbnails {
            thumbnails.poll(&shell.ctx);
        }
        self.overlays.poll(&shell.ctx);
        self.map.poll(shell);
        self.beside.poll(shell);
        let Some(worker) = &mut self.worker else { return };
        let news = worker.poll();
        shell.messages(news.messages);
        let Some(done) = news.done else { return };
        self.worker = None;
        self.asked = None;
        match done {
            Ok(inspection) => {
                let thumbnails = self.thumbnails.get_or_insert_with(|| Thumbnails::new(&shell.ctx));
                thumbnails.reset(Some(Arc::clone(&inspection.reader)));
                self.overlays.reset(LookedAt {
                    folder: inspection.folder.clone(),
                    checkpoint: inspection.evaluation.checkpoint.clone(),
                    reader: Arc::clone(&inspection.reader),
                });
                let checkpoint = inspection.evaluation.checkpoint.clone();
                self.map.open(inspection.folder.clone(), checkpoint, shell);
                self.pair = None;
                self.beside.forget();
                self.revision += 1;
                self.shown = Some(inspection);
            }
            Err(Failure::Stopped) => {
                shell.notice("Evaluating was stopped");
                // Without a reason the page would ask for results at once again.
                if self.shown.is_none() {
                    self.failure = Some("Evaluating was stopped".into());
                }
            }
            Err(Failure::Failed(error)) => {
                let reason = error.to_string();
                shell.info(format!("The checkpoint could not be evaluated: {reason}"));
                self.failure = Some(reason);
            }
        }
    }
}

fn mistakes(predictions: &Predictions) -> Vec<usize> {
    let samples = &predictions.samples;
    let mut wrong: Vec<usize> = (0..samples.len())
        .filter(|&index| samples[index].label != samples[index].predicted)
        .collect();
    wrong.sort_by(|&a, &b| {
        let (a, b) = (&samples[a], &samples[b]);
        let count = |label: usize| predictions.train_counts[label];
        (count(a.label), a.label)
            .cmp(&(count(b.label), b.label))
            .then(b.probability.total_cmp(&a.probability))
    });
    wrong
}
