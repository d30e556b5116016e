//! The balancing page: features computed once, balancers tried on them, and the one the run is to
//! keep.

use std::path::PathBuf;
use std::sync::Arc;

use counterweight_core::Error;
use counterweight_core::balance::{Effort, Tuning};
use counterweight_core::device::{self, DeviceChoice};
use counterweight_core::eval::Grade;
use counterweight_core::pipeline::{self, BalanceReport, Trial, Workbench};
use counterweight_core::run::Run;
use counterweight_core::settings::{BalanceSettings, Settings};

use super::run::OpenRun;
use super::shell::{ErrorReport, Shell};
use super::trials::{Answer, Patience, Trier, Usual, usual};
use crate::gui::command::{BalanceCommand, Command};
use crate::gui::worker::{Failure, Progress, Worker};

/// Ways of balancing that tuning tries.
const CANDIDATES: usize = 200;

/// A line of the comparison.
#[derive(Clone, Debug)]
pub struct Tried {
    /// What was tried, and what came of it.
    pub trial: Trial,
    /// Whether the person kept it, rather than it being one of the usual ones.
    pub kept: bool,
}

/// The balancing page.
#[derive(Default)]
pub struct BalanceState {
    /// The features of the open run, with the folder they belong to.
    pub workbench: Option<(PathBuf, Arc<Workbench>)>,
    /// The settings that are shown.
    pub settings: Option<BalanceSettings>,
    /// What came of them.
    pub current: Option<Trial>,
    /// Why nothing came of them.
    pub trouble: Option<String>,
    /// Why the features could not be computed.
    pub failure: Option<String>,
    /// Everything that was compared; the first line is the classifier without balancing.
    pub tried: Vec<Tried>,
    /// Usual ways of balancing that are not compared, since trying them takes longer than
    /// [`BalanceState::patience`].
    pub left_out: Vec<BalanceSettings>,
    /// Whether the newest settings that were tried were given up for the same reason.
    pub takes_long: bool,
    /// How long anything is tried that was not asked for by the press of a button.
    pub patience: Patience,
    /// What tuning found.
    pub tuned: Option<Tuning>,
    /// Whether the numbers of the test split are shown.
    pub test_shown: bool,
    /// The class that is pointed out in every chart.
    pub selected: Option<usize>,
    /// Whether the parameters that are seldom changed are shown.
    pub show_all: bool,
    /// Whether what is shown was chosen by the person, rather than being what a run begins with.
    pub is_chosen: bool,
    /// Whether what tuning finds is to be used for the run at once.
    pub use_what_is_found: bool,
    /// Whether the controls are to be unfolded or folded when they are drawn next.
    pub unfold: Option<bool>,
    /// Whether they are unfolded.
    pub by_hand: bool,
    /// Changes with every new trial.
    pub revision: u64,
    trier: Option<Trier>,
    waiting: bool,
    loading: Option<(PathBuf, Worker<Workbench>)>,
    usual: Option<Worker<Usual>>,
    asked: Option<Worker<Trial>>,
    tuning: Option<Worker<Tuning>>,
    applying: Option<Worker<(BalanceReport, Option<Trial>)>>,
}

impl BalanceState {
    /// Whether anything is being computed that a person waits for.
    pub fn is_busy(&self) -> bool {
        self.loading.is_some()
            || self.asked.is_some()
            || self.tuning.is_some()
            || self.applying.is_some()
    }

    /// Whether the run is being balanced.
    pub fn is_applying(&self) -> bool {
        self.applying.is_some()
    }

    /// Whether what is shown does better on the held-out images than the classifier as trained, and
    /// is worth anything: of two that guess, one is always a little luckier. `None` while that is
    /// being found out.
    pub fn improves(&self) -> Option<bool> {
        let (trial, (_, workbench)) = (self.current.as_ref()?, self.workbench.as_ref()?);
        let current = !self.waiting && self.settings.as_ref() == Some(&trial.settings);
        let better = trial.evaluation.balanced_accuracy > workbench.before.balanced_accuracy;
        current.then(|| better && trial.verdict.grade != Grade::Worthless)
    }

    /// Whether these are the settings that are shown.
    pub fn shows(&self, settings: &BalanceSettings) -> bool {
        self.settings.as_ref().is_some_and(|shown| {
            BalanceSettings { tune_candidates: settings.tune_candidates, ..shown.clone() }
                == *settings
        })
    }

    /// Whether tuning is searching.
    pub fn is_tuning(&self) -> bool {
        self.tuning.is_some()
    }

    /// Whether what is shown belongs to settings that have changed since.
    pub fn is_waiting(&self) -> bool {
        self.waiting || self.usual.is_some()
    }

    /// What is being computed.
    pub fn progress(&self) -> Option<&Progress> {
        let loading = self.loading.as_ref().map(|(_, worker)| &worker.progress);
        let asked = self.asked.as_ref().map(|worker| &worker.progress);
        let tuning = self.tuning.as_ref().map(|worker| &worker.progress);
        let applying = self.applying.as_ref().map(|worker| &worker.progress);
        loading.or(asked).or(tuning).or(applying)
    }

    /// Forgets everything about a run, which is about to be trained on, renamed or deleted.
    pub fn forget(&mut self) {
        let (trier, patience) = (self.trier.take(), self.patience);
        *self = Self { trier, patience, ..Self::default() };
    }

    /// Whether the features of this run are there or on their way.
    pub fn has(&self, run: &OpenRun) -> bool {
        let of = |folder: &PathBuf| *folder == run.folder;
        self.workbench.as_ref().is_some_and(|(folder, _)| of(folder))
            || self.loading.as_ref().is_some_and(|(folder, _)| of(folder))
    }

    /// Does what was asked.
    pub fn apply(
        &mut self,
        command: BalanceCommand,
        run: Option<&OpenRun>,
        device: DeviceChoice,
        shell: &mut Shell,
    ) {
        match command {
            BalanceCommand::Load => {
                if let Some(run) = run.filter(|run| run.has_checkpoint() && !self.has(run)) {
                    self.load(run, device, shell);
                }
            }
            BalanceCommand::Try => {
                self.is_chosen = true;
                self.try_out(shell);
            }
            BalanceCommand::TryWhole => self.try_whole(shell),
            BalanceCommand::Keep => {
                if let Some(trial) = self.current.clone().filter(|_| !self.waiting) {
                    let same = |tried: &Tried| {
                        tried.trial.settings == trial.settings
                            || tried.trial.summary == trial.summary
                    };
                    if self.tried.iter().any(same) {
                        shell.notice(format!("{} is in the comparison already", trial.summary));
                    } else {
                        shell.info(format!("Kept {} in the comparison", trial.summary));
                        self.tried.push(Tried { trial, kept: true });
                    }
                }
            }
            BalanceCommand::Remove(index) => {
                if index > 0 && index < self.tried.len() {
                    self.tried.remove(index);
                }
            }
            BalanceCommand::Recall(index) => {
                if let Some(tried) = self.tried.get(index) {
                    self.settings = Some(tried.trial.settings.clone());
                    self.is_chosen = true;
                    self.try_out(shell);
                }
            }
            BalanceCommand::RecallTuned => {
                if let Some(tuned) = &self.tuned {
                    self.settings =
                        Some(BalanceSettings { tune_candidates: 0, ..tuned.best.clone() });
                    self.try_out(shell);
                }
            }
            BalanceCommand::Tune => self.tune(run, device, shell),
            BalanceCommand::Stop => {
                if let Some(worker) = &self.asked {
                    worker.stop();
                }
                if let Some(worker) = &self.tuning {
                    worker.stop();
                }
                if let Some(worker) = &self.applying {
                    worker.stop();
                }
                if let Some((_, worker)) = &self.loading {
                    worker.stop();
                }
            }
            BalanceCommand::Apply => self.keep_in_run(run, device, shell),
            BalanceCommand::KeepAsTrained => {
                if let Some(settings) = &mut self.settings {
                    settings.balancers.clear();
                    self.try_out(shell);
                    self.keep_in_run(run, device, shell);
                }
            }
            BalanceCommand::RevealTest => self.test_shown = true,
        }
    }

    fn load(&mut self, run: &OpenRun, device: DeviceChoice, shell: &Shell) {
        self.forget();
        let (folder, settings) = (run.folder.clone(), run.settings.clone());
        let mut start = run
            .balanced
            .as_ref()
            .map_or_else(|| settings.balance.clone(), |report| report.settings.clone());
        start.tune_candidates = 0;
        self.settings = Some(start);
        self.tuned = run.tuned.clone();
        let worker = Worker::spawn("features", &shell.ctx, move |job| {
            let (device, _) = device::open(device)?;
            Workbench::open(&Run::open(&folder)?, &settings, &device, job)
        });
        self.loading = Some((run.folder.clone(), worker));
    }

    fn try_out(&mut self, shell: &Shell) {
        let (Some((_, workbench)), Some(settings)) = (&self.workbench, &self.settings) else {
            return;
        };
        // Its answer would be to what is no longer shown.
        self.asked = None;
        let trier = self.trier.get_or_insert_with(|| Trier::new(&shell.ctx));
        trier.ask(workbench, settings, self.patience);
        self.waiting = trier.trouble.is_none();
        if trier.trouble.is_some() {
            self.trouble.clone_from(&trier.trouble);
        }
    }

    /// Tries what is shown, however long it takes.
    fn try_whole(&mut self, shell: &Shell) {
        let (Some((_, workbench)), Some(settings)) = (&self.workbench, &self.settings) else {
            return;
        };
        let (workbench, settings) = (Arc::clone(workbench), settings.clone());
        self.asked = Some(Worker::spawn("balancer", &shell.ctx, move |job| {
            job.phase("training the classifier", None, "");
            workbench.try_out(&settings, job)
        }));
    }

    fn tune(&mut self, run: Option<&OpenRun>, device: DeviceChoice, shell: &mut Shell) {
        let (Some(run), Some(settings)) = (run, &self.settings) else { return };
        if self.tuning.is_some() || !run.can_tune() {
            return;
        }
        let (folder, settings) =
            (run.folder.clone(), Settings { balance: settings.clone(), ..run.settings.clone() });
        self.tuning = Some(Worker::spawn("tune", &shell.ctx, move |job| {
            let (device, _) = device::open(device)?;
            let effort = Effort::within_reason(CANDIDATES);
            pipeline::tune(&Run::claim(&folder)?, &settings, effort, &device, job)
        }));
    }

    fn keep_in_run(&mut self, run: Option<&OpenRun>, device: DeviceChoice, shell: &mut Shell) {
        let (Some(run), Some(balance)) = (run, &self.settings) else { return };
        if self.applying.is_some() {
            return;
        }
        let folder = run.folder.clone();
        let settings = Settings { balance: balance.clone(), ..run.settings.clone() };
        // What was not tried is seen afterwards; everything else is in sight already.
        let untried = self.workbench.as_ref().filter(|_| self.takes_long);
        let workbench = untried.map(|(_, workbench)| Arc::clone(workbench));
        self.applying = Some(Worker::spawn("balance", &shell.ctx, move |job| {
            let (device, _) = device::open(device)?;
            let mut run = Run::claim(&folder)?;
            let report = pipeline::balance(&mut run, &settings, &device, job)?;
            let trial = workbench.and_then(|workbench| workbench.trial_of(&run).ok().flatten());
            Ok((report, trial))
        }));
    }

    /// Takes what the jobs have done. Returns whether the run's folder has changed.
    pub fn poll(&mut self, shell: &mut Shell) -> bool {
        self.poll_loading(shell);
        self.poll_trials();
        self.poll_asked(shell);
        let mut changed = false;
        if let Some(worker) = &mut self.tuning {
            let news = worker.poll();
            shell.messages(news.messages);
            if let Some(done) = news.done {
                self.tuning = None;
                let is_to_be_used = std::mem::take(&mut self.use_what_is_found);
                match done {
                    Ok(tuning) => {
                        shell.notice(tuning.reason.clone());
                        self.settings =
                            Some(BalanceSettings { tune_candidates: 0, ..tuning.best.clone() });
                        self.tuned = Some(tuning);
                        self.is_chosen = false;
                        self.try_out(shell);
                        if is_to_be_used {
                            shell.queue.push(Command::Balance(BalanceCommand::Apply));
                        }
                        changed = true;
                    }
                    Err(failure) => failed(
                        failure,
                        "Looking for the best balance",
                        "The balancers on the page are as they were.",
                        shell,
                    ),
                }
            }
        }
        if let Some(worker) = &mut self.applying {
            let news = worker.poll();
            shell.messages(news.messages);
            if let Some(done) = news.done {
                self.applying = None;
                match done {
                    Ok((report, trial)) => {
                        let words = counterweight_core::balance::describe(&report.settings);
                        shell.notice(match report.settings.balancers.is_empty() {
                            true => "The run keeps the classifier as trained".into(),
                            false => format!("The run is balanced: {words}"),
                        });
                        if let Some(trial) = trial.filter(|_| self.takes_long) {
                            self.show(trial);
                        }
                        changed = true;
                    }
                    Err(failure) => failed(
                        failure,
                        "Balancing",
                        "The run's checkpoints are as they were.",
                        shell,
                    ),
                }
            }
        }
        changed
    }

    fn poll_loading(&mut self, shell: &mut Shell) {
        if let Some((folder, worker)) = &mut self.loading {
            let news = worker.poll();
            shell.messages(news.messages);
            if let Some(done) = news.done {
                let folder = std::mem::take(folder);
                self.loading = None;
                match done {
                    Ok(workbench) => {
                        let workbench = Arc::new(workbench);
                        self.workbench = Some((folder, Arc::clone(&workbench)));
                        let usual = self.settings.as_ref().map(usual).unwrap_or_default();
                        let patience = self.patience;
                        self.usual =
                            Some(Worker::spawn("usual balancers", &shell.ctx, move |job| {
                                Usual::of(&workbench, &usual, patience, job)
                            }));
                        self.try_out(shell);
                    }
                    // Without a reason it would begin again at once.
                    Err(Failure::Stopped) => {
                        self.failure = Some("Computing them was stopped.".into());
                    }
                    Err(Failure::Failed(error)) => {
                        let reason = error.to_string();
                        shell.info(format!("The features could not be computed: {reason}"));
                        self.failure = Some(reason);
                    }
                }
            }
        }
        if let Some(worker) = &mut self.usual
            && let Some(done) = worker.poll().done
        {
            self.usual = None;
            let kept = std::mem::take(&mut self.tried);
            let Usual { trials, left_out } = done.unwrap_or_default();
            self.tried = trials.into_iter().map(|trial| Tried { trial, kept: false }).collect();
            self.tried.extend(kept);
            self.left_out = left_out;
        }
    }

    fn poll_trials(&mut self) {
        let answers: Vec<Answer> = self.trier.iter().flat_map(Trier::answers).collect();
        for Answer { is_newest, is_first_of_two, outcome } in answers {
            if is_newest && !is_first_of_two {
                self.waiting = false;
            }
            match outcome {
                Ok(Some(trial)) => self.show(trial),
                Ok(None) if is_newest => self.takes_long = true,
                Err(Error::Stopped) | Ok(None) => {}
                Err(error) if is_newest => {
                    self.trouble = Some(error.to_string());
                    self.takes_long = false;
                }
                Err(_) => {}
            }
        }
    }

    fn poll_asked(&mut self, shell: &mut Shell) {
        let Some(worker) = &mut self.asked else { return };
        let news = worker.poll();
        shell.messages(news.messages);
        let Some(done) = news.done else { return };
        self.asked = None;
        match done {
            Ok(trial) => self.show(trial),
            Err(Failure::Stopped) => shell.notice("Trying the balancer was stopped"),
            Err(Failure::Failed(error)) => self.trouble = Some(error.to_string()),
        }
    }

    fn show(&mut self, trial: Trial) {
        self.current = Some(trial);
        self.revision += 1;
        self.trouble = None;
        self.takes_long = false;
    }

    /// Ends what writes to the run's folder, and waits for it.
    pub fn finish(&mut self) {
        if let Some(worker) = self.applying.take() {
            worker.stop_and_wait();
        }
        if let Some(worker) = self.tuning.take() {
            worker.stop_and_wait();
        }
    }
}

fn failed(failure: Failure, what: &str, kept: &str, shell: &mut Shell) {
    match failure {
        Failure::Stopped => shell.notice(format!("{what} was stopped")),
        Failure::Failed(error) => shell.failed(ErrorReport {
            title: format!("{what} failed"),
            reason: error.to_string(),
            kept: kept.into(),
            advice: "Choose other parameters, or train again if the run itself is damaged.".into(),
        }),
    }
}
