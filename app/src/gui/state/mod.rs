//! What the window knows, and what happens to it. Nothing here draws.

mod backbones;
mod balance;
mod beside;
mod builder;
mod data;
mod dataset_source;
mod devices;
mod estimates;
mod export;
mod grow;
mod grow_labelling;
mod images;
mod images_doubts;
mod images_large;
mod images_list;
mod images_predictions;
mod images_session;
mod inspect;
mod keep_together;
mod map;
mod mapper;
mod other_ways;
mod overlays;
mod predict;
mod previews;
mod run;
mod runs;
mod shell;
mod source;
mod sweep;
mod thumbnails;
mod tour;
mod train;
mod training;
mod transforms;
mod trials;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use counterweight_core::eval::{Grade, Verdict};

use crate::gui::command::{Command, RunsCommand};

pub use crate::gui::command::{Page, ResumeOffer};
pub use backbones::{BackbonesState, NORMALISATIONS};
pub use balance::BalanceState;
pub use beside::Beside;
pub use builder::Builder;
pub use data::DataState;
pub use devices::Devices;
pub use estimates::{Estimates, Found};
pub use export::{ExportState, LookedFor, TriedImage};
pub use grow::{Given, GrowState, GrownRun, Labelling};
pub use images::{
    ClassChooser, Decided, FileFacts, ImageFilter, ImageSort, ImagesState, ImagesView, ReviewItem,
    ReviewOrder, SIDES,
};
pub use inspect::{InspectState, Inspection};
pub use keep_together::KeepTogether;
pub use map::{Category, MapState, ShownMap};
pub use mapper::Mapper;
pub use overlays::{LookedAt, Overlay, Overlays};
pub use predict::{ByFolders, PredictState, Predicted, PredictedImage, Shown};
pub use run::{OpenRun, folder_name};
pub use runs::{Compared, RunsState};
pub use shell::{
    Dialog, ErrorReport, LogLine, Place, Preferences, Shell, ThemeChoice, Toast, ToastKind,
};
pub use source::{ClassRow, Origin, Source};
pub use sweep::{SWEPT, SweepState};
pub use thumbnails::{Thumbnail, Thumbnails};
pub use tour::{Tour, TourStep};
pub use train::{TrainContext, TrainState};
pub use training::Training;
pub use transforms::{PairPictures, TransformsState};

/// How far a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepStatus {
    /// Something before it has to be done first.
    Waiting,
    /// It can be done now.
    Ready,
    /// It is being done.
    Running,
    /// It is done, and what came of it is usable.
    Done,
    /// It is done, and what the result is worth cannot be said yet.
    Doubtful,
    /// It is done, and the result is no better than guessing.
    Worthless,
    /// It was tried and failed.
    Failed,
}

impl StepStatus {
    /// How a finished step with this result is shown.
    fn of(verdict: Option<&Verdict>) -> Self {
        match verdict.map(|verdict| verdict.grade) {
            Some(Grade::Usable) => StepStatus::Done,
            Some(Grade::Doubtful) | None => StepStatus::Doubtful,
            Some(Grade::Worthless) => StepStatus::Worthless,
        }
    }

    /// Whether the step is done, whatever came of it.
    pub fn is_done(self) -> bool {
        matches!(self, StepStatus::Done | StepStatus::Doubtful | StepStatus::Worthless)
    }

    /// The status in a word, for the rail and for screen readers.
    pub fn word(self) -> &'static str {
        match self {
            StepStatus::Waiting => "not yet",
            StepStatus::Ready => "ready",
            StepStatus::Running => "running",
            StepStatus::Done => "done",
            StepStatus::Doubtful => "done, the result is doubtful",
            StepStatus::Worthless => "done, the result is worthless",
            StepStatus::Failed => "failed",
        }
    }
}

/// Everything the window knows.
pub struct State {
    /// What every part may use: log, toasts, dialogs, preferences.
    pub shell: Shell,
    /// The page that is shown.
    pub page: Page,
    /// The data page.
    pub data: DataState,
    /// The page of images.
    pub images: ImagesState,
    /// The training page.
    pub train: TrainState,
    /// What changes of images do to their classes.
    pub transforms: TransformsState,
    /// The chooser of backbones.
    pub backbones: BackbonesState,
    /// The run that is open: the last one trained, or one opened from the list.
    pub run: Option<OpenRun>,
    /// The balancing page.
    pub balance: BalanceState,
    /// The inspection page.
    pub inspect: InspectState,
    /// The export page.
    pub export: ExportState,
    /// The page that classifies folders.
    pub predict: PredictState,
    /// The page that grows a run.
    pub grow: GrowState,
    /// The runs page.
    pub runs: RunsState,
    /// The guided tour.
    pub tour: Tour,
    /// The devices of this machine.
    pub devices: Devices,
}

/// A number that no other state of anything shown has had: charts are drawn anew when theirs
/// changes.
pub(crate) fn next_revision() -> u64 {
    static REVISION: AtomicU64 = AtomicU64::new(1);
    REVISION.fetch_add(1, Ordering::Relaxed)
}

impl State {
    /// The accuracy of each class when it was last evaluated while this window trained the run, and
    /// when that was.
    pub fn last_class_accuracy(&self, folder: &Path) -> Option<(String, Vec<Option<f64>>)> {
        let (of, (epoch, accuracy)) = self.train.last_classes.as_ref()?;
        (of == folder).then(|| (format!("on validation, after epoch {epoch}"), accuracy.clone()))
    }

    /// A window that has just been opened.
    pub fn new(shell: Shell) -> Self {
        let ctx = shell.ctx.clone();
        let page = Page::Data;
        let train = TrainState::new(&shell);
        let tour = Tour::new(&shell);
        let mut devices = Devices::default();
        devices.look(&ctx, shell.place.program.clone());
        let mut runs = RunsState::default();
        runs.refresh(&shell);
        Self {
            shell,
            page,
            data: DataState::new(&ctx),
            images: ImagesState::new(&ctx),
            train,
            transforms: TransformsState::default(),
            backbones: BackbonesState::default(),
            run: None,
            balance: BalanceState::default(),
            inspect: InspectState::default(),
            export: ExportState::default(),
            predict: PredictState::default(),
            grow: GrowState::default(),
            runs,
            tour,
            devices,
        }
    }

    /// Forgets the open run; it stays in its folder.
    pub fn close_run(&mut self) {
        self.run = None;
        self.balance.forget();
        self.inspect.forget();
        self.export = ExportState::default();
        self.images.forget_predictions();
    }

    /// A source was opened: what is trained next is a new run of it. A run of other images is put
    /// away, since the marks beside the steps are those of one dataset and its run.
    pub fn begin_with_source(&mut self) {
        if !self.train.is_running() {
            self.train.show_curves = false;
            self.train.forget_failure(None);
        }
        let others = self.run.as_ref().filter(|run| !self.data.is_of(&run.root));
        if let Some(folder) = others.map(|run| run.folder.clone())
            && self.works_on(&folder).is_none()
        {
            self.close_run();
        }
    }

    /// How far a step is.
    pub fn status(&self, page: Page) -> StepStatus {
        // `done` is what came of the step, if that is known, once it is done.
        let after_training = |running: bool, done: Option<Option<&Verdict>>| match (&self.run, done)
        {
            _ if running => StepStatus::Running,
            (Some(run), Some(verdict)) if run.has_checkpoint() => StepStatus::of(verdict),
            (Some(run), _) if run.has_checkpoint() => StepStatus::Ready,
            _ => StepStatus::Waiting,
        };
        match page {
            Page::Data if self.data.is_scanning() => StepStatus::Running,
            Page::Data if self.data.failure.is_some() => StepStatus::Failed,
            Page::Data if self.data.source.is_some() || self.run.is_some() => StepStatus::Done,
            Page::Data => StepStatus::Ready,
            Page::Train if self.train.is_running() || self.train.is_sweeping() => {
                StepStatus::Running
            }
            Page::Train if self.train.failure.is_some() => StepStatus::Failed,
            Page::Train => match &self.run {
                Some(run) if run.is_trained() => StepStatus::of(run.trained_verdict()),
                None if self.data.source.is_none() => StepStatus::Waiting,
                _ => StepStatus::Ready,
            },
            Page::Balance => {
                let balanced = self.run.as_ref().filter(|run| run.balanced.is_some());
                after_training(self.balance.is_busy(), balanced.map(|run| run.verdict("balanced")))
            }
            Page::Inspect => {
                let shown =
                    self.inspect.shown.as_ref().map(|shown| shown.evaluation.verdict.as_ref());
                after_training(self.inspect.is_busy(), shown)
            }
            Page::Export => {
                let exported = self.run.as_ref().filter(|run| run.exported.is_some());
                after_training(self.export.is_exporting(), exported.map(OpenRun::exported_verdict))
            }
            Page::Predict if self.predict.is_busy() => StepStatus::Running,
            Page::Images | Page::Predict | Page::Grow | Page::Runs => StepStatus::Ready,
        }
    }

    /// What is using a run's folder now, in a word: it cannot be renamed or deleted meanwhile.
    pub fn works_on(&self, folder: &Path) -> Option<&'static str> {
        let open = self.run.as_ref().is_some_and(|run| run.folder == folder);
        if self.train.training.as_ref().is_some_and(|training| training.folder == folder) {
            Some("training")
        } else if open && self.balance.is_busy() {
            Some("balancing")
        } else if open && self.inspect.is_busy() {
            Some("evaluating")
        } else if open && self.export.is_exporting() {
            Some("exporting")
        } else if open && self.grow.is_growing() {
            Some("growing")
        } else {
            None
        }
    }

    /// What is being done to the open run, in a word, if that is not the run in `folder`: opening
    /// that one would cut it short. A training goes on whatever run is open.
    pub fn busy_with_other_than(&self, folder: &Path) -> Option<&'static str> {
        let open = self.run.as_ref().filter(|run| run.folder != folder)?;
        self.works_on(&open.folder).filter(|_| {
            self.balance.is_applying()
                || self.balance.is_tuning()
                || self.export.is_exporting()
                || self.grow.is_growing()
        })
    }

    /// Reads the open run again, which has changed. If other images have been opened meanwhile, it
    /// is put away, as it would have been then if nothing had been at work on it.
    pub fn read_run_again(&mut self) {
        let Some(run) = &self.run else { return };
        if self.data.is_of(&run.root) {
            self.shell.queue.push(Command::Runs(RunsCommand::Open(run.folder.clone())));
        } else if self.works_on(&run.folder).is_none() {
            let name = run.name().to_string();
            self.close_run();
            self.shell.notice(format!(
                "{name} is in the list of runs, with what has been done: other images are open now"
            ));
        }
    }

    /// What would be cut short if the window closed now, in words.
    pub fn running(&self) -> Vec<&'static str> {
        let jobs = [
            (self.train.is_running() || self.train.is_sweeping(), "training"),
            (self.data.is_writing(), "writing the dataset"),
            (self.balance.is_applying(), "balancing"),
            (self.export.is_exporting(), "exporting"),
            (self.predict.is_writing(), "writing predictions"),
            (self.grow.is_growing(), "growing a run"),
        ];
        jobs.into_iter().filter(|(running, _)| *running).map(|(_, name)| name).collect()
    }
}
