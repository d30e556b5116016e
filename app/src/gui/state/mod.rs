//! What the window knows, and what happens to it. Nothing here draws.

mod balance;
mod builder;
mod data;
mod devices;
mod estimates;
mod export;
mod inspect;
mod run;
mod runs;
mod shell;
mod thumbnails;
mod tour;
mod train;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

pub use balance::BalanceState;
pub use builder::Builder;
pub use data::{ClassRow, DataState, Origin, Source};
pub use estimates::{Estimates, Found};
pub use devices::Devices;
pub use export::{ExportState, TriedImage};
pub use inspect::{InspectState, Inspection};
pub use run::OpenRun;
pub use runs::{Compared, RunsState};
pub use shell::{Dialog, ErrorReport, LogLine, Place, Preferences, Shell, ThemeChoice, ToastKind};
pub use thumbnails::{Thumbnail, Thumbnails};
pub use tour::{Tour, TourStep};
pub use train::{Around, TrainState, Training, WayOn};

/// A page of the window: the five steps, and the list of runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Page {
    /// See what there is, and build a dataset of it.
    #[default]
    Data,
    /// Stage 1.
    Train,
    /// Stage 2 and every other way of balancing.
    Balance,
    /// Look at the results.
    Inspect,
    /// Write the model, and try it.
    Export,
    /// Earlier runs.
    Runs,
}

impl Page {
    /// The five steps, in order.
    pub const STEPS: [Page; 5] = [Page::Data, Page::Train, Page::Balance, Page::Inspect, Page::Export];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Page::Data => "Data",
            Page::Train => "Train",
            Page::Balance => "Balance",
            Page::Inspect => "Inspect",
            Page::Export => "Export",
            Page::Runs => "Runs",
        }
    }
}

/// How far a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepStatus {
    /// Something before it has to be done first.
    Waiting,
    /// It can be done now.
    Ready,
    /// It is being done.
    Running,
    /// It is done.
    Done,
    /// It was tried and failed.
    Failed,
}

impl StepStatus {
    /// The status in a word, for the rail and for screen readers.
    pub fn word(self) -> &'static str {
        match self {
            StepStatus::Waiting => "not yet",
            StepStatus::Ready => "ready",
            StepStatus::Running => "running",
            StepStatus::Done => "done",
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
    /// The training page.
    pub train: TrainState,
    /// The run that is open: the last one trained, or one opened from the list.
    pub run: Option<OpenRun>,
    /// The balancing page.
    pub balance: BalanceState,
    /// The inspection page.
    pub inspect: InspectState,
    /// The export page.
    pub export: ExportState,
    /// The runs page.
    pub runs: RunsState,
    /// The guided tour.
    pub tour: Tour,
    /// The devices of this machine.
    pub devices: Devices,
}

/// A number that no other state of anything shown has had: charts are drawn anew when theirs changes.
pub(crate) fn next_revision() -> u64 {
    static REVISION: AtomicU64 = AtomicU64::new(1);
    REVISION.fetch_add(1, Ordering::Relaxed)
}

impl State {
    /// The accuracy of each class when it was last evaluated while this window trained the run, and when that was.
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
            train,
            run: None,
            balance: BalanceState::default(),
            inspect: InspectState::default(),
            export: ExportState::default(),
            runs,
            tour,
            devices,
        }
    }

    /// How far a step is.
    pub fn status(&self, page: Page) -> StepStatus {
        let after_training = |running: bool, done: bool| match &self.run {
            _ if running => StepStatus::Running,
            Some(run) if run.has_checkpoint() && done => StepStatus::Done,
            Some(run) if run.has_checkpoint() => StepStatus::Ready,
            _ => StepStatus::Waiting,
        };
        match page {
            Page::Data if self.data.is_scanning() => StepStatus::Running,
            Page::Data if self.data.failure.is_some() => StepStatus::Failed,
            Page::Data if self.data.source.is_some() || self.run.is_some() => StepStatus::Done,
            Page::Data => StepStatus::Ready,
            Page::Train if self.train.is_running() => StepStatus::Running,
            Page::Train if self.train.failure.is_some() => StepStatus::Failed,
            Page::Train if self.run.as_ref().is_some_and(OpenRun::is_trained) => StepStatus::Done,
            Page::Train if self.data.source.is_some() || self.run.is_some() => StepStatus::Ready,
            Page::Train => StepStatus::Waiting,
            Page::Balance => after_training(self.balance.is_busy(), self.run.as_ref().is_some_and(|run| run.balanced.is_some())),
            Page::Inspect => after_training(self.inspect.is_busy(), self.inspect.shown.is_some()),
            Page::Export => after_training(self.export.is_exporting(), self.run.as_ref().is_some_and(|run| run.exported.is_some())),
            Page::Runs => StepStatus::Ready,
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
        } else {
            None
        }
    }

    /// What would be cut short if the window closed now, in words.
    pub fn running(&self) -> Vec<&'static str> {
        let jobs = [
            (self.train.is_running(), "training"),
            (self.data.is_writing(), "writing the dataset"),
            (self.balance.is_applying(), "balancing"),
            (self.export.is_exporting(), "exporting"),
        ];
        jobs.into_iter().filter(|(running, _)| *running).map(|(_, name)| name).collect()
    }
}
