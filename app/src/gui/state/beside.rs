//! A model that somebody has already, beside the run on the same images.

use counterweight_core::eval::GroupThresholds;
use counterweight_core::infer::InputOptions;
use counterweight_core::pipeline::{self, EvaluatedOn, FileEvaluation};
use counterweight_core::run::Run;

use super::inspect::Inspection;
use super::shell::Shell;
use crate::gui::command::{BesideCommand, Command, InspectCommand};
use crate::gui::dialogs::{Asked, Question};
use crate::gui::paths::typed_path;
use crate::gui::worker::{Failure, Progress, Worker};

/// The comparison on the inspection page.
#[derive(Default)]
pub struct Beside {
    /// The model's file.
    pub file_text: String,
    /// What came of it.
    pub found: Option<FileEvaluation>,
    /// Why nothing did.
    pub failure: Option<String>,
    worker: Option<Worker<FileEvaluation>>,
}

impl Beside {
    /// Whether the file is being evaluated.
    pub fn is_busy(&self) -> bool {
        self.worker.is_some()
    }

    /// How far it is.
    pub fn progress(&self) -> Option<&Progress> {
        self.worker.as_ref().map(|worker| &worker.progress)
    }

    /// Forgets what is shown, which is of another checkpoint or split, but not the file.
    pub fn forget(&mut self) {
        *self = Self { file_text: std::mem::take(&mut self.file_text), ..Self::default() };
    }

    /// Does what was asked; `shown` is what the page shows.
    pub fn apply(&mut self, command: BesideCommand, shown: Option<&Inspection>, shell: &mut Shell) {
        match command {
            BesideCommand::Pick => {
                let question = Question::File("ONNX model", &["onnx"]);
                let then =
                    |path| Command::Inspect(InspectCommand::Beside(BesideCommand::Set(path)));
                shell.asked = Some(Asked::new(&shell.ctx, "Choose a model", None, question, then));
            }
            BesideCommand::Set(path) => self.file_text = path.display().to_string(),
            BesideCommand::Start => {
                let file = typed_path(&self.file_text);
                let Some(shown) = shown.filter(|_| !self.is_busy()) else { return };
                self.forget();
                let (folder, split) = (shown.folder.clone(), shown.evaluation.split);
                let checkpoint = shown.evaluation.checkpoint.clone();
                self.worker = Some(Worker::spawn("compare", &shell.ctx, move |job| {
                    let run = Run::open(&folder)?;
                    let thresholds = GroupThresholds::from(&run.settings().evaluation);
                    let on = EvaluatedOn::Split(Some(split));
                    let beside = Some((&run, Some(checkpoint.as_str())));
                    let input = InputOptions::default();
                    pipeline::evaluate_file(
                        &file,
                        &input,
                        run.dataset(),
                        on,
                        beside,
                        thresholds,
                        job,
                    )
                }));
            }
            BesideCommand::Stop => self.worker.iter().for_each(Worker::stop),
        }
    }

    /// Takes what was found.
    pub fn poll(&mut self, shell: &mut Shell) {
        let Some(worker) = &mut self.worker else { return };
        let news = worker.poll();
        shell.messages(news.messages);
        let Some(done) = news.done else { return };
        self.worker = None;
        match done {
            Ok(found) => self.found = Some(found),
            Err(Failure::Stopped) => shell.notice("Comparing was stopped"),
            Err(Failure::Failed(error)) => self.failure = Some(error.to_string()),
        }
    }
}
