//! The window: what it knows, what it can be asked, and how it is drawn.

mod app;
mod command;
mod dialogs;
mod open;
mod panels;
mod state;
pub mod theme;
pub mod widgets;
mod worker;

pub use app::CounterweightApp;
pub use command::{
    BackbonesCommand, BalanceCommand, BesideCommand, Command, DataCommand, ExportCommand,
    InspectCommand, ListCommand, PredictCommand, RunsCommand, TourCommand, TrainCommand,
    WindowCommand,
};
pub use open::open;
pub use state::{
    Builder, ClassRow, Dialog, ErrorReport, OpenRun, Origin, Page, Place, Preferences, ResumeOffer,
    Source, State, StepStatus, ThemeChoice, TourStep,
};
