//! The guided tour: what weight decay and balancing do, seen on the sample with one's own eyes.

use std::path::PathBuf;

use counterweight_core::pipeline::sample_settings;
use counterweight_core::settings::{Auto, Balancer, Settings};

use super::shell::Shell;
use super::{Page, State};
use crate::gui::command::{
    BalanceCommand, Command, DataCommand, ExportCommand, RunsCommand, TourCommand, TrainCommand,
};
use crate::gui::widgets::numbers;

/// The names of the two runs the tour makes.
const WITHOUT: &str = "tour without weight decay";
const WITH: &str = "tour with weight decay";

/// A step of the tour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TourStep {
    /// What this is about.
    Welcome,
    /// The sample and its tail.
    Tail,
    /// Training without weight decay.
    TrainWithout,
    /// What the norms and the tail look like then.
    SeeWithout,
    /// Training with weight decay.
    TrainWith,
    /// Both runs side by side.
    SeeBoth,
    /// L2-normalisation.
    TryL2,
    /// τ-normalisation.
    TryTau,
    /// MaxNorm and weight decay in stage 2.
    TryMaxNorm,
    /// The comparison.
    ReadComparison,
    /// Results class by class.
    Inspect,
    /// The file.
    Export,
    /// The file at work.
    Try,
    /// One's own images.
    Yours,
}

impl TourStep {
    /// All steps, in order.
    pub const ALL: [TourStep; 14] = [
        TourStep::Welcome,
        TourStep::Tail,
        TourStep::TrainWithout,
        TourStep::SeeWithout,
        TourStep::TrainWith,
        TourStep::SeeBoth,
        TourStep::TryL2,
        TourStep::TryTau,
        TourStep::TryMaxNorm,
        TourStep::ReadComparison,
        TourStep::Inspect,
        TourStep::Export,
        TourStep::Try,
        TourStep::Yours,
    ];

    /// Its heading.
    pub fn title(self) -> &'static str {
        match self {
            TourStep::Welcome => "Welcome",
            TourStep::Tail => "This is a long tail",
            TourStep::TrainWithout => "Train without weight decay",
            TourStep::SeeWithout => "Look at the norms",
            TourStep::TrainWith => "Train with weight decay",
            TourStep::SeeBoth => "Both runs, side by side",
            TourStep::TryL2 => "Make all norms equal",
            TourStep::TryTau => "Turn the scale the other way",
            TourStep::TryMaxNorm => "Let the classifier learn its balance",
            TourStep::ReadComparison => "Who paid, and who gained",
            TourStep::Inspect => "Look at every class",
            TourStep::Export => "One file for everywhere",
            TourStep::Try => "Try it",
            TourStep::Yours => "Now your own images",
        }
    }

    /// A few plain sentences; what was measured on this tour is said by [`State::tour_measured`].
    pub fn text(self) -> &'static str {
        match self {
            TourStep::Welcome => {
                "In a few small steps you will see why a model neglects rare classes, and what helps. Everything happens on handwritten \
                 digits that come with the program, and takes a few minutes. You can leave at any time and go on later."
            }
            TourStep::Tail => {
                "Of the digit 0 there are 125 training images, of the digit 9 only two. A bar is a class, its height the number of \
                 training images. The imbalance factor says how many times larger the largest class is than the smallest. A model that \
                 sees zeros all day will call almost everything a zero."
            }
            TourStep::TrainWithout => {
                "First train the plain way, with weight decay set to 0. Watch the heat map: each column is a class, each row an epoch, \
                 and the colour is the length of that class's weights, its norm."
            }
            TourStep::SeeWithout => {
                "The frequent classes on the left have grown longer weights than the rare ones on the right. A longer weight gives a \
                 higher score, so the model prefers what it has seen often."
            }
            TourStep::TrainWith => {
                "Now the same once more, with weight decay: every step pulls all weights a little towards zero. Nothing else is changed, \
                 not even the seed."
            }
            TourStep::SeeBoth => {
                "Both runs lie over each other, and the one setting that differs is marked. Weight decay keeps the norms closer together. \
                 What that does to the rare classes differs from one dataset to the next, and is measured rather than believed."
            }
            TourStep::TryL2 => {
                "The features are learned; what remains is the last layer. L2-normalisation divides each class's weights by their norm, \
                 so that all are equally long. It needs no training, and the charts change at once."
            }
            TourStep::TryTau => {
                "τ-normalisation divides by the norm to the power τ: 0 changes nothing, 1 is L2, more favours the rare classes. Move the \
                 slider of τ and watch the head pay for what the tail gains."
            }
            TourStep::TryMaxNorm => {
                "Stage 2 trains the last layer again on the same features, with a loss that gives rare classes more say, weight decay, \
                 and MaxNorm, which keeps every norm within a radius. This is the method of the paper."
            }
            TourStep::ReadComparison => {
                "Each line of the table is a balancer you have tried. Read it from the right: what did the few gain, and what did the \
                 many pay? The button looks for the best of 200 and uses it for the run."
            }
            TourStep::Inspect => {
                "Every class with its accuracy and how sure that is, which classes are taken for which, and the images that were taken for \
                 something else, the surest mistakes first."
            }
            TourStep::Export => {
                "The model becomes one ONNX file that runs anywhere, with its labels and its preprocessing inside. It is run by another \
                 program and compared with the network."
            }
            TourStep::Try => {
                "Drop a picture on the page, or take a test image: the exported file says what it sees, as it will wherever it is used."
            }
            TourStep::Yours => {
                "That is all there is to it. Open a folder with one subfolder for each class, look at its tail, train, balance, export. Your photos \
                 need not be learned from nothing, as these digits were: the Train page starts from a network that has seen a million \
                 photos before, which takes seconds."
            }
        }
    }

    /// What the button does that acts for the person, if there is something to do.
    pub fn action(self) -> Option<&'static str> {
        match self {
            TourStep::Welcome => Some("Open the sample"),
            TourStep::TrainWithout => Some("Train without it"),
            TourStep::TrainWith => Some("Train with it"),
            TourStep::SeeBoth => Some("Compare the two runs"),
            TourStep::TryL2 => Some("Try L2-normalisation"),
            TourStep::TryTau => Some("Try τ = 1.5"),
            TourStep::TryMaxNorm => Some("Try MaxNorm and weight decay"),
            TourStep::ReadComparison => Some("Find the best and use it"),
            TourStep::Export => Some("Export the model"),
            TourStep::Try => Some("Try a test image"),
            TourStep::Yours => Some("Open your images…"),
            TourStep::Tail | TourStep::SeeWithout | TourStep::Inspect => None,
        }
    }

    /// The page on which it happens.
    fn page(self) -> Page {
        match self {
            TourStep::Welcome | TourStep::Tail | TourStep::Yours => Page::Data,
            TourStep::TrainWithout | TourStep::SeeWithout | TourStep::TrainWith => Page::Train,
            TourStep::SeeBoth => Page::Runs,
            TourStep::TryL2
            | TourStep::TryTau
            | TourStep::TryMaxNorm
            | TourStep::ReadComparison => Page::Balance,
            TourStep::Inspect => Page::Inspect,
            TourStep::Export | TourStep::Try => Page::Export,
        }
    }
}

/// The guided tour.
#[derive(Clone, Copy, Debug)]
pub struct Tour {
    /// Whether it is shown.
    pub active: bool,
    step: usize,
}

impl Tour {
    /// The tour where it was left.
    pub fn new(shell: &Shell) -> Self {
        let step = shell.preferences.tour_step.unwrap_or(0).min(TourStep::ALL.len() - 1);
        Self { active: false, step }
    }

    /// The step that is shown.
    pub fn step(&self) -> TourStep {
        TourStep::ALL[self.step]
    }

    /// Its number, from 1.
    pub fn number(&self) -> usize {
        self.step + 1
    }

    /// Whether it was begun and left.
    pub fn can_resume(&self) -> bool {
        self.step > 0
    }
}

impl State {
    /// Does what the tour was asked.
    pub fn apply_tour(&mut self, command: TourCommand) {
        let last = TourStep::ALL.len() - 1;
        match command {
            TourCommand::Start => self.tour.active = true,
            TourCommand::Restart => self.tour = Tour { active: true, step: 0 },
            TourCommand::Next if self.tour.step == last => {
                self.tour = Tour { active: false, step: 0 }
            }
            TourCommand::Next => self.tour.step += 1,
            TourCommand::Back => self.tour.step = self.tour.step.saturating_sub(1),
            TourCommand::Leave => self.tour.active = false,
            TourCommand::Act => self.act(),
        }
        self.shell.preferences.tour_step = Some(self.tour.step);
        if self.tour.active && command != TourCommand::Act {
            self.page = self.tour.step().page();
            // Which the tour's own words would cover in a small window.
            self.data.show_classes = self.tour.step() == TourStep::Tail;
        }
    }

    /// Whether the tour's step has been done, so that the next one makes sense.
    pub fn tour_done(&self) -> bool {
        let has_run = |name: &str| {
            self.run.as_ref().is_some_and(|run| run.name() == name && run.is_trained())
        };
        let tried = |balancers: &[Balancer]| {
            self.balance
                .tried
                .iter()
                .any(|tried| tried.trial.settings.balancers == balancers && tried.kept)
                || self
                    .balance
                    .current
                    .as_ref()
                    .is_some_and(|trial| trial.settings.balancers == balancers)
        };
        match self.tour.step() {
            TourStep::Welcome => self.data.source.as_ref().is_some_and(|source| source.is_sample),
            TourStep::TrainWithout => has_run(WITHOUT),
            TourStep::TrainWith => has_run(WITH),
            TourStep::SeeBoth => self.runs.compared.len() >= 2,
            TourStep::TryL2 => tried(&[Balancer::L2]),
            TourStep::TryTau => tried(&[Balancer::Tau]),
            TourStep::TryMaxNorm => tried(&[Balancer::WeightDecay, Balancer::MaxNorm]),
            TourStep::ReadComparison => self.run.as_ref().is_some_and(|run| run.balanced.is_some()),
            TourStep::Export => self.run.as_ref().is_some_and(|run| run.exported.is_some()),
            TourStep::Try => self.export.tried.is_some(),
            TourStep::Tail | TourStep::SeeWithout | TourStep::Inspect | TourStep::Yours => true,
        }
    }

    /// What was measured on this tour at this step, in a sentence of its own numbers.
    pub fn tour_measured(&self) -> Option<String> {
        match self.tour.step() {
            TourStep::SeeWithout => {
                let result = self.run.as_ref().filter(|run| run.name() == WITHOUT)?;
                let of = &result.validated.as_ref()?.evaluation;
                Some(format!(
                    "Measured just now: {} of the images of frequent classes are recognised, and {} of those of rare ones.",
                    numbers::percent(of.groups.many),
                    numbers::percent(of.groups.few)
                ))
            }
            TourStep::SeeBoth => {
                let few = |name: &str| {
                    let folder = self.tour_folder(name);
                    let run = self.runs.compared.iter().find(|one| one.folder == folder)?;
                    run.run.as_ref()?.validated.as_ref()?.evaluation.groups.few
                };
                let (without, with) = (few(WITHOUT)?, few(WITH)?);
                let [before, after] = [without, with].map(|share| numbers::percent(Some(share)));
                Some(match with > without {
                    true => format!("Here the rare classes went from {before} to {after} by it."),
                    false => format!(
                        "Here it did not help the rare classes by itself: {before} without, {after} with it. Balancing, which comes next, builds on it."
                    ),
                })
            }
            TourStep::TryL2 | TourStep::TryTau | TourStep::TryMaxNorm if self.tour_done() => {
                let trial = self.balance.current.as_ref()?;
                let (_, workbench) = self.balance.workbench.as_ref()?;
                let before = &workbench.before;
                let words = |share: Option<f64>| numbers::percent(share);
                Some(format!(
                    "What it did here: many {} → {}, few {} → {}, balanced {} → {}.",
                    words(before.groups.many),
                    words(trial.evaluation.groups.many),
                    words(before.groups.few),
                    words(trial.evaluation.groups.few),
                    words(Some(before.balanced_accuracy)),
                    words(Some(trial.evaluation.balanced_accuracy))
                ))
            }
            TourStep::ReadComparison => {
                self.balance.tuned.as_ref().map(|tuned| tuned.reason.clone())
            }
            _ => None,
        }
    }

    fn act(&mut self) {
        match self.tour.step() {
            TourStep::Welcome => {
                self.page = Page::Data;
                self.shell.queue.push(Command::Data(DataCommand::OpenSample));
            }
            TourStep::TrainWithout => self.tour_run(WITHOUT, 0.0),
            TourStep::TrainWith => self.tour_run(WITH, sample_settings().stage1.weight_decay()),
            TourStep::SeeBoth => {
                self.page = Page::Runs;
                for name in [WITHOUT, WITH] {
                    let folder = self.tour_folder(name);
                    if !self.runs.compared.iter().any(|compared| compared.folder == folder) {
                        self.shell.queue.push(Command::Runs(RunsCommand::ToggleCompare(folder)));
                    }
                }
            }
            TourStep::TryL2 => self.tour_try(&[Balancer::L2], |_| {}),
            TourStep::TryTau => self.tour_try(&[Balancer::Tau], |settings| settings.tau = 1.5),
            TourStep::TryMaxNorm => {
                self.tour_try(&[Balancer::WeightDecay, Balancer::MaxNorm], |_| {})
            }
            TourStep::Yours => {
                self.page = Page::Data;
                self.shell.queue.push(Command::Data(DataCommand::PickFolder));
            }
            TourStep::ReadComparison => {
                self.page = Page::Balance;
                self.balance.use_what_is_found = true;
                self.shell.queue.push(Command::Balance(BalanceCommand::Tune));
            }
            TourStep::Export => {
                self.shell.queue.push(Command::Export(ExportCommand::Export));
                self.page = Page::Export;
            }
            TourStep::Try => {
                self.page = Page::Export;
                self.shell.queue.push(Command::Export(ExportCommand::TrySample(0)));
            }
            TourStep::Tail | TourStep::SeeWithout | TourStep::Inspect => {}
        }
    }

    fn tour_folder(&self, name: &str) -> PathBuf {
        self.shell.runs_folder().join(name)
    }

    /// Trains the sample with a weight decay, or opens the run an earlier tour has made of it.
    fn tour_run(&mut self, name: &str, weight_decay: f64) {
        self.page = Page::Train;
        if self.runs.names.contains(name) {
            self.shell.queue.push(Command::Runs(RunsCommand::Open(self.tour_folder(name))));
            return;
        }
        if !self.data.source.as_ref().is_some_and(|source| source.is_sample) {
            self.shell.notice("Open the sample first: it is the tour's first step");
            return;
        }
        let mut settings: Settings = sample_settings();
        settings.stage1.weight_decay = Auto::Value(weight_decay);
        self.train.set_settings(settings);
        self.train.name = name.into();
        self.train.named = true;
        self.shell.queue.push(Command::Train(TrainCommand::Start));
    }

    fn tour_try(
        &mut self,
        balancers: &[Balancer],
        change: impl FnOnce(&mut counterweight_core::settings::BalanceSettings),
    ) {
        self.page = Page::Balance;
        if let Some(settings) = &mut self.balance.settings {
            settings.balancers = balancers.to_vec();
            change(settings);
            // Whoever is to move a slider has to see it.
            self.balance.unfold = Some(true);
            self.shell.queue.push(Command::Balance(BalanceCommand::Try));
        } else {
            self.shell.notice("Train on the sample first: the features come from there");
        }
    }
}
