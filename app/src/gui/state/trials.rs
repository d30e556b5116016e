//! Balancers tried beside the window: what is shown, always the newest, and the usual ones to
//! compare it with.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use counterweight_core::job::{Control, Job, Silent};
use counterweight_core::pipeline::{Attempt, Trial, Workbench};
use counterweight_core::settings::{BalanceSettings, Balancer, FeatureSource};
use counterweight_core::{Error, Result};
use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::gui::worker::panic_text;

/// How long a balancer is tried that follows a slider or the opening of a page. With many images
/// and classes training the classifier takes minutes, which only the press of a button may begin.
#[derive(Clone, Copy, Debug)]
pub struct Patience(pub Duration);

impl Default for Patience {
    fn default() -> Self {
        Self(Duration::from_secs(5))
    }
}

impl Patience {
    /// The balanced classifier; `None` if that would take longer.
    fn attempt(
        self,
        workbench: &Workbench,
        settings: &BalanceSettings,
        control: &Control,
    ) -> Result<Option<Attempt>> {
        let limited = control.until(Instant::now() + self.0);
        match workbench.attempt(settings, Job::new(&limited, &Silent)) {
            Err(Error::Stopped) if !control.is_stopping() => Ok(None),
            other => other.map(Some),
        }
    }

    /// What comes of trying; `None` if it would take longer.
    fn try_out(
        self,
        workbench: &Workbench,
        settings: &BalanceSettings,
        control: &Control,
    ) -> Result<Option<Trial>> {
        let attempt = self.attempt(workbench, settings, control)?;
        attempt.map(|attempt| workbench.judge(&attempt, control)).transpose()
    }
}

/// What is being asked of the thread that tries.
struct Question {
    number: u64,
    workbench: Arc<Workbench>,
    settings: BalanceSettings,
    patience: Patience,
    control: Control,
}

impl Question {
    /// What comes of it. Where judging by all images takes long, what a part of them says is
    /// `shown` first.
    fn answer(&self, shown: impl FnOnce(Trial)) -> Result<Option<Trial>> {
        let Self { workbench, settings, control, .. } = self;
        let Some(attempt) = self.patience.attempt(workbench, settings, control)? else {
            return Ok(None);
        };
        if let Some(trial) = workbench.judge_on_part(&attempt, control)? {
            shown(trial);
        }
        workbench.judge(&attempt, control).map(Some)
    }
}

/// What came of a question.
pub(super) struct Answer {
    /// Whether nothing was asked since.
    pub is_newest: bool,
    /// Whether another answer to the same question follows.
    pub is_first_of_two: bool,
    /// `None` if trying takes too long.
    pub outcome: Result<Option<Trial>>,
}

/// A thread that tries balancers, always the newest question first.
pub(super) struct Trier {
    questions: Sender<Question>,
    /// With the question's number and whether another follows.
    answers: Receiver<(u64, bool, Result<Option<Trial>>)>,
    number: u64,
    control: Control,
    /// Why there is no thread.
    pub trouble: Option<String>,
}

impl Trier {
    pub fn new(ctx: &egui::Context) -> Self {
        let (questions, asked) = unbounded::<Question>();
        let (sender, answers) = unbounded();
        let ctx = ctx.clone();
        let thread = std::thread::Builder::new().name("balancers".into()).spawn(move || {
            while let Ok(mut question) = asked.recv() {
                // While a slider moves questions come faster than answers; only the newest is of
                // interest.
                while let Ok(newer) = asked.try_recv() {
                    question = newer;
                }
                let first = |trial| {
                    drop(sender.send((question.number, true, Ok(Some(trial)))));
                    ctx.request_repaint();
                };
                let answer = catch_unwind(AssertUnwindSafe(|| question.answer(first)))
                    .unwrap_or_else(|panic| Err(Error::Internal(panic_text(&*panic))));
                if sender.send((question.number, false, answer)).is_err() {
                    return;
                }
                ctx.request_repaint();
            }
        });
        let trouble = thread.err().map(|error| format!("no thread could be started: {error}"));
        Self { questions, answers, number: 0, control: Control::new(), trouble }
    }

    pub fn ask(
        &mut self,
        workbench: &Arc<Workbench>,
        settings: &BalanceSettings,
        patience: Patience,
    ) {
        self.control.stop();
        self.control = Control::new();
        self.number += 1;
        let (number, workbench, settings, control) =
            (self.number, Arc::clone(workbench), settings.clone(), self.control.clone());
        drop(self.questions.send(Question { number, workbench, settings, patience, control }));
    }

    /// The answers that have come.
    pub fn answers(&self) -> impl Iterator<Item = Answer> {
        let answer = |(number, is_first_of_two, outcome)| Answer {
            is_newest: number == self.number,
            is_first_of_two,
            outcome,
        };
        self.answers.try_iter().map(answer)
    }
}

/// The usual ways of balancing.
#[derive(Default)]
pub(super) struct Usual {
    pub trials: Vec<Trial>,
    /// Those that were not tried, since it takes too long.
    pub left_out: Vec<BalanceSettings>,
}

impl Usual {
    /// Tries all of them that take no longer than that. One that diverges is no reason to show none
    /// of the others.
    pub fn of(
        workbench: &Workbench,
        usual: &[BalanceSettings],
        mut patience: Patience,
        job: Job<'_>,
    ) -> Result<Self> {
        let mut found = Self::default();
        for settings in usual {
            match patience.try_out(workbench, settings, job.control) {
                Ok(Some(trial)) => found.trials.push(trial),
                Ok(None) => {
                    found.left_out.push(settings.clone());
                    // All that train take about as long. What the run holds needs no time.
                    patience = Patience(Duration::ZERO);
                }
                Err(Error::Stopped) => return Err(Error::Stopped),
                Err(_) => {}
            }
        }
        Ok(found)
    }
}

/// The ways of balancing that the paper compares, those that need no training beside them, and the one
/// that is set, with the parameters that are set.
pub(super) fn usual(settings: &BalanceSettings) -> Vec<BalanceSettings> {
    use Balancer::{
        L2, LogitAdjustment, MaxNorm, MultiplicativeAdjustment, Stage2, Tau, WeightDecay,
    };
    let with = |balancers: &[Balancer]| BalanceSettings {
        balancers: balancers.to_vec(),
        features: FeatureSource::Cached,
        tune_candidates: 0,
        ..settings.clone()
    };
    let lists: [&[Balancer]; 9] = [
        &[],
        &[L2],
        &[Tau],
        &[MultiplicativeAdjustment],
        &[LogitAdjustment],
        &[Stage2],
        &[Stage2, MaxNorm],
        &[WeightDecay],
        &[WeightDecay, MaxNorm],
    ];
    let mut usual: Vec<BalanceSettings> = lists.into_iter().map(with).collect();
    // What is in use is compared, whatever it is.
    if !lists.contains(&settings.balancers.as_slice()) {
        usual.insert(1, with(&settings.balancers));
    }
    usual
}
