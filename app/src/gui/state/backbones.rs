//! The backbones to choose from, and weights that are being fetched or read from a file.

use std::path::{Path, PathBuf};

use counterweight_core::Result;
use counterweight_core::job::Job;
use counterweight_core::model::{Addition, Backbone, Kept, Listed, OnnxFile, WeightsFolder};
use counterweight_core::settings::{
    BackboneChoice, ModelSettings, NamedNormalisation, Normalisation, Preset, Training,
};

use super::TrainState;
use super::shell::{Dialog, Shell};
use crate::gui::command::{BackbonesCommand, Command};
use crate::gui::dialogs::{Asked, Question};
use crate::gui::worker::{Failure, Progress, Worker};

/// Files that weights or a network are taken from.
const FILES: &[&str] = &["pth", "pt", "bin", "safetensors", "onnx"];

/// How inputs of networks are normalised, in words and as the setting `model.normalisation`, the
/// most frequent first.
pub const NORMALISATIONS: [(&str, &str); 4] = [
    ("ImageNet's mean and deviation", "imagenet"),
    ("from -1 to 1", "{ mean = [0.5, 0.5, 0.5], std = [0.5, 0.5, 0.5] }"),
    ("from 0 to 1, as they are", "{ mean = [0.0, 0.0, 0.0], std = [1.0, 1.0, 1.0] }"),
    (
        "as CLIP does",
        "{ mean = [0.48145466, 0.4578275, 0.40821073], std = [0.26862954, 0.26130258, 0.27577711] }",
    ),
];

/// What came of a file or a download.
enum Outcome {
    Weights(Box<Kept>),
    /// A network out of an ONNX file, in words.
    Network(PathBuf, String),
    /// One whose file does not say how images are normalised for it.
    NeedsNormalisation(PathBuf),
}

/// The chooser of backbones.
#[derive(Default)]
pub struct BackbonesState {
    /// Every backbone with the weights that there are of it, as of when the chooser was opened or
    /// something came.
    pub listed: Vec<Listed>,
    /// What came of the last download or file.
    pub said: Option<String>,
    /// Why the last download or file came to nothing.
    pub failure: Option<String>,
    /// A network's file that does not say how images are normalised for it.
    pub unnormalised: Option<PathBuf>,
    worker: Option<Worker<Outcome>>,
    /// The backbone that was chosen when that began.
    chosen_before: Option<BackboneChoice>,
}

impl BackbonesState {
    /// Whether something is being downloaded or read.
    pub fn is_busy(&self) -> bool {
        self.worker.is_some()
    }

    /// What is being done.
    pub fn progress(&self) -> Option<&Progress> {
        self.worker.as_ref().map(|worker| &worker.progress)
    }

    /// Whether it was asked to stop.
    pub fn is_stopping(&self) -> bool {
        self.worker.as_ref().is_some_and(Worker::is_stopping)
    }

    /// Asks a download to stop; what is there of it is kept.
    pub fn stop(&self) {
        if let Some(worker) = &self.worker {
            worker.stop();
        }
    }

    /// Does what was asked.
    pub fn apply(&mut self, command: BackbonesCommand, train: &mut TrainState, shell: &mut Shell) {
        match command {
            BackbonesCommand::Choose => {
                self.refresh(shell);
                self.forget();
                shell.dialog = Some(Dialog::Backbones);
            }
            BackbonesCommand::Use(backbone) => {
                let has_weights = self
                    .listed
                    .iter()
                    .any(|listed| listed.backbone == backbone && listed.has_weights());
                train.set_backbone(&backbone.into(), has_weights);
                shell.dialog = None;
            }
            BackbonesCommand::Download(backbone) => {
                self.chosen_before = Some(train.settings.model.backbone.clone());
                self.download(backbone, shell);
            }
            BackbonesCommand::Stop => self.stop(),
            BackbonesCommand::PickFile => {
                let then = |path| Command::Backbones(BackbonesCommand::TakeFile(path));
                let question = Question::File("Weights or a network", FILES);
                shell.asked = Some(Asked::new(
                    &shell.ctx,
                    "Weights of PyTorch or safetensors, or a network as ONNX",
                    None,
                    question,
                    then,
                ));
            }
            BackbonesCommand::TakeFile(path) => {
                self.chosen_before = Some(train.settings.model.backbone.clone());
                self.take_file(path, &train.settings.model, shell);
            }
            BackbonesCommand::TakeNormalised(path, normalisation) => {
                let network = BackboneChoice::Onnx(path.clone());
                train.set_backbone(&network, true);
                train.set_text("model.normalisation", normalisation.into());
                let model = train.settings.model.clone();
                self.chosen_before = Some(network);
                self.take_file(path, &model, shell);
            }
        }
    }

    /// Whether no other backbone was chosen since weights were asked for.
    fn is_still_wanted(&self, train: &TrainState) -> bool {
        self.chosen_before.as_ref() == Some(&train.settings.model.backbone)
    }

    fn forget(&mut self) {
        (self.said, self.failure, self.unnormalised) = (None, None, None);
    }

    fn refresh(&mut self, shell: &Shell) {
        self.listed = Listed::all(shell.place.weights.as_ref());
    }

    fn start(
        &mut self,
        shell: &Shell,
        work: impl FnOnce(Job<'_>) -> Result<Outcome> + Send + 'static,
    ) {
        self.forget();
        self.worker = Some(Worker::spawn("backbones", &shell.ctx, work));
    }

    /// Where weights are kept; if that is nowhere, it is said.
    fn folder(&mut self, shell: &Shell) -> Option<WeightsFolder> {
        let folder = shell.place.weights.clone();
        if folder.is_none() {
            self.forget();
            self.failure = Some("This system has no folder for caches; COUNTERWEIGHT_CACHE can name one to keep weights in.".into());
        }
        folder
    }

    fn download(&mut self, backbone: Backbone, shell: &mut Shell) {
        let (Some(published), None) = (backbone.info().published.first(), &self.worker) else {
            return;
        };
        let Some(folder) = self.folder(shell) else { return };
        shell.info(format!("Downloading {}; licence: {}", published.address(), published.licence));
        let mirror = shell.place.downloads.clone();
        self.start(shell, move |job| {
            folder
                .get(backbone, published, mirror.as_deref(), job)
                .map(|kept| Outcome::Weights(Box::new(kept)))
        });
    }

    /// Takes weights out of a file, or the network that it is.
    fn take_file(&mut self, path: PathBuf, model: &ModelSettings, shell: &Shell) {
        if self.is_busy() {
            return;
        }
        if is_network(&path) {
            let model =
                ModelSettings { backbone: BackboneChoice::Onnx(path.clone()), ..model.clone() };
            self.start(shell, move |job| {
                job.phase("Reading the network", None, "");
                network(path, &model)
            });
        } else if let Some(folder) = self.folder(shell) {
            self.start(shell, move |job| {
                job.phase("Reading the weights", None, "");
                folder
                    .add(None, &path, &Addition::default())
                    .map(|kept| Outcome::Weights(Box::new(kept)))
            });
        }
    }

    /// Takes what has come.
    pub fn poll(&mut self, train: &mut TrainState, shell: &mut Shell) {
        let Some(worker) = &mut self.worker else { return };
        let news = worker.poll();
        shell.messages(news.messages);
        let Some(done) = news.done else { return };
        self.worker = None;
        match done {
            Ok(Outcome::Weights(kept)) => {
                let backbone = kept.fit.backbone;
                let calls = if kept.calls.is_empty() {
                    ""
                } else {
                    " The file asked to call code, which was not done."
                };
                // Another may have been chosen while this was on its way.
                let is_wanted = self.is_still_wanted(train);
                let use_words = if is_wanted { ", and is in use" } else { "" };
                self.said = Some(format!(
                    "{backbone} has weights now{use_words}: {}.{calls}",
                    kept.fit.words()
                ));
                shell.info(format!(
                    "{backbone} has weights from {}; licence: {}",
                    kept.facts.source,
                    kept.facts.licence_words()
                ));
                self.refresh(shell);
                match is_wanted {
                    true => train.set_backbone(&backbone.into(), true),
                    false => shell.notice(format!("{backbone} has weights now")),
                }
            }
            Ok(Outcome::Network(path, words)) if self.is_still_wanted(train) => {
                self.said = Some(format!("{} is in use: {words}", path.display()));
                train.set_backbone(&BackboneChoice::Onnx(path), true);
            }
            Ok(Outcome::Network(path, words)) => {
                self.said = Some(format!("{} can be used: {words}", path.display()));
            }
            Ok(Outcome::NeedsNormalisation(path)) => self.unnormalised = Some(path),
            Err(Failure::Stopped) => {
                self.said = Some(
                    "Stopped. What was downloaded is kept, and the same button goes on.".into(),
                )
            }
            Err(Failure::Failed(error)) => {
                let reason = error.to_string();
                shell.info(format!("Nothing was taken: {reason}"));
                self.failure = Some(reason);
            }
        }
        // Weights that are there now are no obstacle to training any more.
        train.check();
    }
}

fn is_network(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("onnx"))
}

/// What is found in a network's file.
fn network(path: PathBuf, model: &ModelSettings) -> Result<Outcome> {
    let file = OnnxFile::read(&path)?;
    let words = match file.choose(model.feature_choice()) {
        Ok(found) => {
            format!("{}; images are normalised as {} says", found.graph.words(), found.source)
        }
        Err(error) => {
            // With a normalisation that is given there may be nothing else in the way.
            let given = ModelSettings {
                normalisation: Normalisation::Named(NamedNormalisation::Imagenet),
                ..model.clone()
            };
            return match model.normalisation == Normalisation::PRETRAINED
                && file.choose(given.feature_choice()).is_ok()
            {
                true => Ok(Outcome::NeedsNormalisation(path)),
                false => Err(error),
            };
        }
    };
    Ok(Outcome::Network(path, words))
}

impl TrainState {
    /// Takes a backbone; without weights it is one that learns from nothing. What is set besides
    /// stays, unless it cannot go with it.
    pub fn set_backbone(&mut self, backbone: &BackboneChoice, has_weights: bool) {
        let (train, was_file) =
            (self.settings.stage1.train.value(), self.settings.model.backbone.file().is_some());
        if backbone.file().is_some() && train.is_some_and(|train| train != Training::Classifier) {
            self.set_preset(Preset::Auto);
        } else if !has_weights && train != Some(Training::Scratch) {
            self.set_preset(Preset::Quick);
        }
        self.set_text("model.backbone", backbone.to_string());
        if was_file && backbone.named().is_some() {
            // What was said of a network's file.
            ["model.normalisation", "model.output", "model.tokens"]
                .into_iter()
                .for_each(|key| self.reset(key));
        }
        let side = self.settings.model.input_size.value();
        if side.is_some_and(|side| !backbone.sides().contains(&side)) {
            self.set_text("model.input_size", "auto".into());
        }
    }
}
