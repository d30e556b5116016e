//! A sweep that is running, or was.

use std::path::PathBuf;

use counterweight_core::device::{self, DeviceChoice};
use counterweight_core::job::SweepRecord;
use counterweight_core::pipeline::{self, SweepRequest};
use counterweight_core::run::{Sweep, SweepReport};
use counterweight_core::settings::Settings;

use super::shell::{ErrorReport, Shell};
use super::source::Source;
use crate::gui::worker::{Failure, Progress, Worker};

/// The setting that the window sweeps.
pub const SWEPT: &str = "stage1.weight_decay";

/// A sweep over weight decay.
pub struct SweepState {
    /// Its folder.
    pub folder: PathBuf,
    /// What all of its runs share, and the edition of the source they are trained on, if it was
    /// started here.
    begun: Option<(Settings, u64)>,
    /// The values that were trained on so far, in the order in which that began.
    pub members: Vec<SweepRecord>,
    /// How it ended.
    pub report: Option<SweepReport>,
    worker: Option<Worker<SweepReport>>,
}

impl SweepState {
    /// Begins a sweep in a folder, or goes on with the one that is there.
    pub fn start(
        folder: PathBuf,
        source: &Source,
        settings: Settings,
        choice: DeviceChoice,
        shell: &mut Shell,
    ) -> Self {
        shell.info(format!("Looking for the best weight decay in {}", folder.display()));
        let (place, recipe) = (folder.clone(), source.recipe());
        let begun = Some((settings.clone(), source.edition));
        let worker = Worker::spawn("sweep", &shell.ctx, move |job| {
            let (device, _) = device::open(choice)?;
            let dataset = match Sweep::is_sweep(&place) {
                true => None,
                false => Some(recipe.make(job)?.0),
            };
            let request = SweepRequest {
                dataset,
                source: None,
                folder: &place,
                settings,
                key: SWEPT,
                values: Vec::new(),
            };
            pipeline::sweep(&request, &[device], job)
        });
        Self { folder, begun, members: Vec::new(), report: None, worker: Some(worker) }
    }

    /// One that is kept.
    pub fn shown(report: SweepReport) -> Self {
        Self {
            folder: report.folder.clone(),
            begun: None,
            members: report.members.clone(),
            report: Some(report),
            worker: None,
        }
    }

    /// Whether it was started here, on the dataset that this source is and with these settings.
    pub fn is_of(&self, source: &Source, settings: &Settings) -> bool {
        self.begun
            .as_ref()
            .is_some_and(|(of, edition)| of == settings && *edition == source.edition)
    }

    /// Whether it is running.
    pub fn is_running(&self) -> bool {
        self.worker.is_some()
    }

    /// Whether it was asked to stop.
    pub fn is_stopping(&self) -> bool {
        self.worker.as_ref().is_some_and(Worker::is_stopping)
    }

    /// What it is doing.
    pub fn progress(&self) -> Option<&Progress> {
        self.worker.as_ref().map(|worker| &worker.progress)
    }

    /// Asks it to stop.
    pub fn stop(&self) {
        if let Some(worker) = &self.worker {
            worker.stop();
        }
    }

    /// Stops it and waits for its checkpoint.
    pub fn finish(&mut self) {
        if let Some(worker) = self.worker.take() {
            worker.stop_and_wait();
        }
    }

    /// Takes what it has done. Whether it has ended.
    pub fn poll(&mut self, shell: &mut Shell) -> bool {
        let Some(worker) = &mut self.worker else { return false };
        let news = worker.poll();
        shell.messages(news.messages);
        for record in news.swept {
            match self.members.iter_mut().find(|member| member.value == record.value) {
                Some(member) => *member = record,
                None => self.members.push(record),
            }
        }
        let Some(done) = news.done else { return false };
        self.worker = None;
        match done {
            Ok(report) => {
                self.members = report.members.clone();
                self.report = Some(report);
            }
            Err(Failure::Stopped) => {
                shell.notice("Stopped. What was trained is kept, and the same button goes on")
            }
            Err(Failure::Failed(error)) => shell.failed(ErrorReport {
                title: "The weight decay could not be found".into(),
                reason: error.to_string(),
                kept: format!("What was trained is in {}.", self.folder.display()),
                advice: "Mend what the reason names, then try again: it goes on where it was."
                    .into(),
            }),
        }
        true
    }
}
