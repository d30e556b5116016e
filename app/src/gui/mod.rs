//! The window: what it knows, what it can be asked, and how it is drawn.

mod app;
mod command;
mod dialogs;
mod entries;
mod open;
mod panels;
mod paths;
mod state;
pub mod theme;
pub mod widgets;
mod worker;

pub use app::CounterweightApp;
pub use command::{
    BackbonesCommand, BalanceCommand, BesideCommand, Command, DataCommand, ExportCommand,
    GrowCommand, ImagesCommand, InspectCommand, ListCommand, MapCommand, PredictCommand,
    RunsCommand, TourCommand, TrainCommand, TransformsCommand, WindowCommand,
};
pub use open::open;
pub use state::{
    Builder, ClassRow, Decided, Dialog, ErrorReport, ImageFilter, ImageSort, ImagesState, OpenRun,
    Origin, Page, Place, Preferences, ResumeOffer, ReviewItem, ReviewOrder, Source, State,
    StepStatus, ThemeChoice, TourStep,
};
