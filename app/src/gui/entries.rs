//! The commands that need nothing but themselves, as the palette lists them, and their keys.

use counterweight_core::dataset::EditAction;
use egui::{Key, KeyboardShortcut, Modifiers};

use super::command::{
    BackbonesCommand, BalanceCommand, Command, DataCommand, ExportCommand, GrowCommand,
    ImagesCommand, InspectCommand, MapCommand, Page, PredictCommand, RunsCommand, TourCommand,
    TrainCommand, TransformsCommand, WindowCommand,
};

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
        entry("Go to", "Images", keys(command, Key::Num8), go(Page::Images)),
        entry("Go to", "Predict", keys(command, Key::Num7), go(Page::Predict)),
        entry("Go to", "Grow", keys(command, Key::Num9), go(Page::Grow)),
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
