//! What a person can ask of the window. Drawing sends commands, and they are applied before the
//! next frame is drawn.

use std::path::PathBuf;
use std::sync::Arc;

use counterweight_core::dataset::{BuildOptions, EditAction, GroupBy};
use counterweight_core::model::Backbone;
use counterweight_core::run::SweepReport;
use counterweight_core::settings::Settings;
use counterweight_core::source::{ListFormat, Split};

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
    /// Open what could not be opened in another of the ways that are offered.
    OpenOtherwise(usize),
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
    /// Open the edits that could not be opened once more.
    OpenAgain,
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
    /// Try the settings that are shown, if that takes no longer than moments.
    Try,
    /// Try them, however long it takes.
    TryWhole,
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
