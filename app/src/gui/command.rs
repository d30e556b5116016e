//! What a person can ask of the window. Drawing sends commands, and they are applied before the
//! next frame is drawn.

use std::path::PathBuf;
use std::sync::Arc;

use counterweight_core::dataset::{BuildOptions, EditAction, GroupBy};
use counterweight_core::model::Backbone;
use counterweight_core::run::SweepReport;
use counterweight_core::settings::Settings;
use counterweight_core::source::{ListFormat, Split};
use egui::{Key, KeyboardShortcut, Modifiers};

use super::state::ReviewOrder;

/// A page of the window: the five steps, and the list of runs.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize,
)]
pub enum Page {
    /// Look at a source, and build a dataset of it.
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
    /// Look at single images, and correct the dataset.
    Images,
    /// Classify folders of images with an exported model.
    Predict,
    /// Give a finished run more images.
    Grow,
    /// Earlier runs.
    Runs,
}

impl Page {
    /// The five steps, in order.
    pub const STEPS: [Page; 5] =
        [Page::Data, Page::Train, Page::Balance, Page::Inspect, Page::Export];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Page::Data => "Data",
            Page::Train => "Train",
            Page::Balance => "Balance",
            Page::Inspect => "Inspect",
            Page::Export => "Export",
            Page::Images => "Images",
            Page::Predict => "Predict",
            Page::Grow => "Grow",
            Page::Runs => "Runs",
        }
    }
}

/// How a training that ran out of memory can go on.
#[derive(Clone, Debug, PartialEq)]
pub struct ResumeOffer {
    /// The run's folder.
    pub folder: PathBuf,
    /// The parts that each batch is to be computed in.
    pub parts: usize,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Show a page.
    Go(Page),
    /// Of the data page.
    Data(DataCommand),
    /// Of the page of images.
    Images(ImagesCommand),
    /// Of the training page.
    Train(TrainCommand),
    /// Of what changes of images do to their classes.
    Transforms(TransformsCommand),
    /// Of the chooser of backbones.
    Backbones(BackbonesCommand),
    /// Of the balancing page.
    Balance(BalanceCommand),
    /// Of the inspection page.
    Inspect(InspectCommand),
    /// Of the export page.
    Export(ExportCommand),
    /// Of the page that classifies folders.
    Predict(PredictCommand),
    /// Of the page that grows a run.
    Grow(GrowCommand),
    /// Of the runs page.
    Runs(RunsCommand),
    /// Of the guided tour.
    Tour(TourCommand),
    /// Of the window as a whole.
    Window(WindowCommand),
}

/// What the data page can be asked.
#[derive(Clone, Debug, PartialEq)]
pub enum DataCommand {
    /// Ask for a folder, then open it.
    PickFolder,
    /// Ask for an archive, an image list or a dataset file, then open it.
    PickFile,
    /// Open a folder, an archive, an image list or a dataset file.
    Open(PathBuf),
    /// About the columns of an image list.
    List(ListCommand),
    /// Leave out files of the open source by a pattern.
    Skip(String),
    /// Read all files of the open source again.
    ReadAll,
    /// Open the built-in sample.
    OpenSample,
    /// Stop scanning.
    CancelScan,
    /// Forget what is open.
    Close,
    /// Build with other options. Changes of the same kind in a row are one step of undo.
    SetOptions {
        /// What to build with.
        options: Box<BuildOptions>,
        /// What was moved, if the change is part of a movement.
        drag: Option<&'static str>,
    },
    /// Hold images out together that belong together in this way, or each by itself.
    KeepTogether(Option<GroupBy>),
    /// A movement has ended: the next change is a step of its own.
    Settle,
    /// Take back the last change of the builder.
    Undo,
    /// Make it again.
    Redo,
    /// Ask where, then save the dataset file.
    PickDatasetFile,
    /// Save the dataset file.
    SaveDatasetFile(PathBuf),
    /// Ask where, then write the dataset as folders of images.
    PickImageFolder,
    /// Write the dataset as folders of images.
    WriteImages(PathBuf),
    /// Stop writing.
    CancelWriting,
    /// Show a file in the file manager.
    ShowFile(PathBuf),
    /// Forget the recent sources.
    ForgetRecent,
}

/// What the page of images can be asked.
#[derive(Clone, Debug, PartialEq)]
pub enum ImagesCommand {
    /// Do something to the chosen images, or to the one that is shown large.
    Edit(EditAction),
    /// Move them to the class that is proposed for each.
    Agree,
    /// Choose the class to move them to.
    ChooseClass,
    /// Take back the last edit.
    Undo,
    /// Do it again.
    Redo,
    /// List the images of a class.
    ShowClass(String),
    /// List images that something else has found, in its order.
    Review(Arc<ReviewOrder>),
    /// List all images again.
    CloseReview,
    /// Ask the open run what it takes the images for.
    Predict,
    /// Stop asking it.
    StopPredicting,
    /// Look for labels that are probably wrong.
    FindDoubts,
    /// Stop looking for them.
    StopFindingDoubts,
    /// Show a file in the file manager.
    ShowFile(PathBuf),
}

/// What the column mapper can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListCommand {
    /// Show an image list's columns.
    Map(PathBuf),
    /// Read it in another way.
    Set(Box<ListFormat>),
    /// Ask for the folder that its paths begin in.
    PickRoot,
    /// Its paths begin in this folder.
    SetRoot(PathBuf),
    /// Open it as it is read now.
    Open,
    /// Leave it.
    Cancel,
}

/// What the training page can be asked.
#[derive(Clone, Debug, PartialEq)]
pub enum TrainCommand {
    /// Train the dataset of the data page into a new run.
    Start,
    /// Go on with the open run where it was interrupted.
    Continue,
    /// Go on with the run in this folder, each batch computed in so many parts.
    ContinueInParts(PathBuf, usize),
    /// Wait at the next step.
    Pause,
    /// Go on after a pause.
    Resume,
    /// Stop and keep a checkpoint.
    Stop,
    /// Ask for a settings file, then take its settings.
    PickSettings,
    /// Take the settings of a file.
    LoadSettings(PathBuf),
    /// Try several values of weight decay, each in a run of its own.
    FindWeightDecay,
    /// Stop trying; what is done is kept.
    StopSweep,
    /// Show a sweep that is kept.
    ShowSweep(Box<SweepReport>),
    /// Put the sweep that is shown away.
    CloseSweep,
    /// Prepare a new run with the settings of an offer.
    TakeOffer(Box<Settings>),
}

/// What can be asked of the changes that may be made to images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransformsCommand {
    /// Find out what each does to the classes.
    Start,
    /// Stop that.
    Stop,
}

/// What the chooser of backbones can be asked.
#[derive(Clone, Debug, PartialEq)]
pub enum BackbonesCommand {
    /// Show it.
    Choose,
    /// Train with a backbone.
    Use(Backbone),
    /// Download its weights, the recommended ones.
    Download(Backbone),
    /// Stop downloading.
    Stop,
    /// Ask for a file, then take it.
    PickFile,
    /// Take weights out of a file, or the network that it is.
    TakeFile(PathBuf),
    /// Take a network's file whose images are normalised as the setting says.
    TakeNormalised(PathBuf, &'static str),
}

/// What the balancing page can be asked.
#[derive(Clone, Debug, PartialEq)]
pub enum BalanceCommand {
    /// Compute or read the features of the open run.
    Load,
    /// Try the settings that are shown.
    Try,
    /// Keep what is shown in the comparison.
    Keep,
    /// Remove a line of the comparison.
    Remove(usize),
    /// Show a line of the comparison again.
    Recall(usize),
    /// Show the best balance that was found.
    RecallTuned,
    /// Search for good values on validation.
    Tune,
    /// Stop searching, or applying.
    Stop,
    /// Balance the run as shown and write the checkpoint `balanced`.
    Apply,
    /// The same without any balancer.
    KeepAsTrained,
    /// Show the numbers of the test split.
    RevealTest,
}

/// What the inspection page can be asked.
#[derive(Clone, Debug, PartialEq)]
pub enum InspectCommand {
    /// Evaluate a checkpoint of the open run on a split.
    Load {
        /// `last`, `best` or `balanced`; the run's final one without.
        checkpoint: Option<String>,
        /// The split.
        split: Split,
    },
    /// Stop evaluating.
    Stop,
    /// About the model that the run is compared with.
    Beside(BesideCommand),
    /// About the map of images.
    Map(MapCommand),
}

/// What the map of images can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapCommand {
    /// Lay it out, or read what was laid out before.
    Start,
    /// Stop laying out.
    Stop,
}

/// What the comparison of a run with a model from elsewhere can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BesideCommand {
    /// Ask which file it is.
    Pick,
    /// It is this one.
    Set(PathBuf),
    /// Evaluate it on the images of the inspection page.
    Start,
    /// Stop evaluating it.
    Stop,
}

/// What the export page can be asked.
#[derive(Clone, Debug, PartialEq)]
pub enum ExportCommand {
    /// Ask where to write the model.
    PickPath,
    /// Write the model there.
    SetPath(PathBuf),
    /// Export and check; asks first if that would replace a file which is not the run's own export.
    Export,
    /// Export and check, whatever is there.
    Replace,
    /// Stop exporting.
    Stop,
    /// Show the model in the file manager.
    Reveal,
    /// Ask for an image, then classify it.
    PickImage,
    /// Classify an image with the exported model.
    TryImage(PathBuf),
    /// Classify a sample of the run's test split, by its number.
    TrySample(usize),
}

/// What the page that classifies folders can be asked.
#[derive(Clone, Debug, PartialEq)]
pub enum PredictCommand {
    /// Ask for a model.
    PickModel,
    /// Classify with this model.
    SetModel(PathBuf),
    /// Ask for a folder of images.
    PickImages,
    /// Classify the images below this folder, or this image.
    SetImages(PathBuf),
    /// Classify.
    Start,
    /// Stop; what is classified by then is shown.
    Stop,
    /// Ask where, then save a table of what was found.
    PickTable,
    /// Save a table of what was found.
    SaveTable(PathBuf),
    /// Ask for a folder, then sort the images into it.
    PickSorted,
    /// Sort the images into one folder a class below this one.
    SortInto(PathBuf),
    /// Show an image in the file manager.
    Reveal(PathBuf),
}

/// What the page that grows a run can be asked.
#[derive(Clone, Debug, PartialEq)]
pub enum GrowCommand {
    /// Ask for a folder of images without labels.
    PickImages,
    /// They lie in this folder.
    SetImages(PathBuf),
    /// Find those that are worth a label.
    Find,
    /// Stop finding, or growing.
    Stop,
    /// The image that is shown is of this class.
    Label(String),
    /// It is of the class that is proposed.
    Accept,
    /// It gets no label.
    Skip,
    /// Forget what was said last.
    TakeBack,
    /// Show another image, by its place.
    Show(usize),
    /// Choose its class from all.
    ChooseClass,
    /// Ask for a folder of labelled images.
    PickSource,
    /// They lie in this folder, or in this list.
    SetSource(PathBuf),
    /// Make a new run with all of them.
    Grow,
    /// Find out what more images of each class would bring.
    LookAhead,
}

/// What the runs page can be asked.
#[derive(Clone, Debug, PartialEq)]
pub enum RunsCommand {
    /// Read the runs folder again.
    Refresh,
    /// Ask for a run folder, then open it.
    PickRun,
    /// Open a run.
    Open(PathBuf),
    /// Open a run that was interrupted, and go on training it.
    Continue(PathBuf),
    /// Ask for the folder that holds the runs.
    PickRunsFolder,
    /// Use another folder for runs.
    SetRunsFolder(PathBuf),
    /// Add to or remove from the comparison.
    ToggleCompare(PathBuf),
    /// Ask for a new name.
    AskRename(PathBuf),
    /// Rename a run.
    Rename(PathBuf, String),
    /// Ask whether to delete.
    AskDelete(PathBuf),
    /// Delete a run.
    Delete(PathBuf),
}

/// What the tour can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TourCommand {
    /// Begin, or go on where it was left.
    Start,
    /// Begin from the beginning.
    Restart,
    /// The next step.
    Next,
    /// The step before.
    Back,
    /// Do what the step is about.
    Act,
    /// Leave; it can be resumed.
    Leave,
}

/// What the window can be asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum WindowCommand {
    /// Show or hide the list of commands.
    TogglePalette,
    /// Show or hide the log.
    ToggleLog,
    /// Show what this program is.
    About,
    /// Follow the system's theme.
    ThemeSystem,
    /// Light.
    ThemeLight,
    /// Dark.
    ThemeDark,
    /// Make everything larger.
    ZoomIn,
    /// Make everything smaller.
    ZoomOut,
    /// The usual size.
    ZoomReset,
    /// Close what lies over the page.
    Dismiss,
    /// Close the window, after asking if something is running.
    Quit,
    /// Close the window; what is running stops and keeps what it has.
    QuitNow,
}

/// A command as the palette and the menus show it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What it does, as one says it.
    pub label: &'static str,
    /// Where it belongs.
    pub area: &'static str,
    /// The keys that do it.
    pub shortcut: Option<KeyboardShortcut>,
    /// The command.
    pub command: Command,
}

/// Every command that needs nothing but itself, in the order the palette lists them.
pub fn entries() -> Vec<Entry> {
    let command = Modifiers::COMMAND;
    let shift = Modifiers::COMMAND.plus(Modifiers::SHIFT);
    let keys = |modifiers, key| Some(KeyboardShortcut::new(modifiers, key));
    let entry = |area, label, shortcut, command| Entry { label, area, shortcut, command };
    let go = |page| Command::Go(page);
    vec![
        entry("Go to", "Data", keys(command, Key::Num1), go(Page::Data)),
        entry("Go to", "Train", keys(command, Key::Num2), go(Page::Train)),
        entry("Go to", "Balance", keys(command, Key::Num3), go(Page::Balance)),
        entry("Go to", "Inspect", keys(command, Key::Num4), go(Page::Inspect)),
        entry("Go to", "Export", keys(command, Key::Num5), go(Page::Export)),
        entry("Go to", "Runs", keys(command, Key::Num6), go(Page::Runs)),
        entry(
            "Data",
            "Open folder…",
            keys(command, Key::O),
            Command::Data(DataCommand::PickFolder),
        ),
        entry(
            "Data",
            "Open archive or list…",
            keys(shift, Key::O),
            Command::Data(DataCommand::PickFile),
        ),
        entry("Data", "Open the built-in sample", None, Command::Data(DataCommand::OpenSample)),
        entry("Data", "Cancel the scan", None, Command::Data(DataCommand::CancelScan)),
        entry("Data", "Undo", keys(command, Key::Z), Command::Data(DataCommand::Undo)),
        entry("Data", "Redo", keys(shift, Key::Z), Command::Data(DataCommand::Redo)),
        entry(
            "Data",
            "Save dataset file…",
            keys(command, Key::S),
            Command::Data(DataCommand::PickDatasetFile),
        ),
        entry("Data", "Write image folder…", None, Command::Data(DataCommand::PickImageFolder)),
        entry("Data", "Close the source", None, Command::Data(DataCommand::Close)),
        entry("Data", "Forget recent sources", None, Command::Data(DataCommand::ForgetRecent)),
        entry(
            "Train",
            "Start training",
            keys(command, Key::Enter),
            Command::Train(TrainCommand::Start),
        ),
        entry("Train", "Continue the open run", None, Command::Train(TrainCommand::Continue)),
        entry("Train", "Pause training", None, Command::Train(TrainCommand::Pause)),
        entry("Train", "Resume training", None, Command::Train(TrainCommand::Resume)),
        entry("Train", "Stop training", None, Command::Train(TrainCommand::Stop)),
        entry(
            "Train",
            "Find out which changes of images keep their classes",
            None,
            Command::Transforms(TransformsCommand::Start),
        ),
        entry("Train", "Choose a backbone…", None, Command::Backbones(BackbonesCommand::Choose)),
        entry("Train", "Load settings file…", None, Command::Train(TrainCommand::PickSettings)),
        entry(
            "Balance",
            "Keep this balancer in the comparison",
            keys(command, Key::K),
            Command::Balance(BalanceCommand::Keep),
        ),
        entry(
            "Balance",
            "Find the best balance",
            keys(command, Key::T),
            Command::Balance(BalanceCommand::Tune),
        ),
        entry(
            "Balance",
            "Stop looking for the best balance",
            None,
            Command::Balance(BalanceCommand::Stop),
        ),
        entry(
            "Balance",
            "Use this balancer for the run",
            None,
            Command::Balance(BalanceCommand::Apply),
        ),
        entry(
            "Balance",
            "Keep the classifier as trained",
            None,
            Command::Balance(BalanceCommand::KeepAsTrained),
        ),
        entry("Balance", "Evaluate on test", None, Command::Balance(BalanceCommand::RevealTest)),
        entry(
            "Inspect",
            "Lay out the map of images",
            None,
            Command::Inspect(InspectCommand::Map(MapCommand::Start)),
        ),
        entry(
            "Export",
            "Export and check the model",
            keys(command, Key::E),
            Command::Export(ExportCommand::Export),
        ),
        entry("Export", "Choose where to export…", None, Command::Export(ExportCommand::PickPath)),
        entry(
            "Export",
            "Show the exported model in the file manager",
            None,
            Command::Export(ExportCommand::Reveal),
        ),
        entry("Export", "Try an image…", None, Command::Export(ExportCommand::PickImage)),
        entry("Go to", "Images", keys(command, Key::Num8), go(Page::Images)),
        entry(
            "Images",
            "Move the chosen images to another class…",
            None,
            Command::Images(ImagesCommand::ChooseClass),
        ),
        entry(
            "Images",
            "Exclude the chosen images",
            None,
            Command::Images(ImagesCommand::Edit(EditAction::Exclude)),
        ),
        entry(
            "Images",
            "Mark the chosen images as checked",
            None,
            Command::Images(ImagesCommand::Edit(EditAction::Check)),
        ),
        entry(
            "Images",
            "Restore the chosen images",
            None,
            Command::Images(ImagesCommand::Edit(EditAction::Restore)),
        ),
        entry("Images", "Undo the last edit", None, Command::Images(ImagesCommand::Undo)),
        entry("Images", "Redo the last edit", None, Command::Images(ImagesCommand::Redo)),
        entry("Go to", "Predict", keys(command, Key::Num7), go(Page::Predict)),
        entry("Go to", "Grow", keys(command, Key::Num9), go(Page::Grow)),
        entry("Grow", "Find the images to label next", None, Command::Grow(GrowCommand::Find)),
        entry("Grow", "Grow the open run", None, Command::Grow(GrowCommand::Grow)),
        entry(
            "Predict",
            "Choose a folder to classify…",
            None,
            Command::Predict(PredictCommand::PickImages),
        ),
        entry("Predict", "Choose a model…", None, Command::Predict(PredictCommand::PickModel)),
        entry("Runs", "Open run…", keys(command, Key::R), Command::Runs(RunsCommand::PickRun)),
        entry(
            "Runs",
            "Read the runs folder again",
            keys(Modifiers::NONE, Key::F5),
            Command::Runs(RunsCommand::Refresh),
        ),
        entry("Runs", "Choose the runs folder…", None, Command::Runs(RunsCommand::PickRunsFolder)),
        entry(
            "Help",
            "Start or resume the guided tour",
            keys(Modifiers::NONE, Key::F1),
            Command::Tour(TourCommand::Start),
        ),
        entry(
            "Help",
            "Start the guided tour from the beginning",
            None,
            Command::Tour(TourCommand::Restart),
        ),
        entry("Help", "About Counterweight", None, Command::Window(WindowCommand::About)),
        entry(
            "Window",
            "Show all commands",
            keys(command, Key::P),
            Command::Window(WindowCommand::TogglePalette),
        ),
        entry(
            "Window",
            "Show or hide the log",
            keys(command, Key::L),
            Command::Window(WindowCommand::ToggleLog),
        ),
        entry(
            "Window",
            "Follow the system's theme",
            None,
            Command::Window(WindowCommand::ThemeSystem),
        ),
        entry("Window", "Light theme", None, Command::Window(WindowCommand::ThemeLight)),
        entry("Window", "Dark theme", None, Command::Window(WindowCommand::ThemeDark)),
        entry("Window", "Larger", keys(command, Key::Plus), Command::Window(WindowCommand::ZoomIn)),
        entry(
            "Window",
            "Smaller",
            keys(command, Key::Minus),
            Command::Window(WindowCommand::ZoomOut),
        ),
        entry(
            "Window",
            "Usual size",
            keys(command, Key::Num0),
            Command::Window(WindowCommand::ZoomReset),
        ),
        entry("Window", "Quit", keys(command, Key::Q), Command::Window(WindowCommand::Quit)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_commands_share_keys_or_words() {
        let entries = entries();
        for (index, one) in entries.iter().enumerate() {
            for other in &entries[index + 1..] {
                assert!((one.area, one.label) != (other.area, other.label), "{}", one.label);
                assert!(
                    one.shortcut.is_none() || one.shortcut != other.shortcut,
                    "{} and {}",
                    one.label,
                    other.label
                );
            }
        }
    }
}
