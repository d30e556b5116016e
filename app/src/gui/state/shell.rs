//! What every part of the window may use: the log, toasts, dialogs, preferences, and where things
//! are kept.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use counterweight_core::files::cache_folder;
use counterweight_core::job::Level;
use counterweight_core::model::{WeightsFolder, downloads};
use egui::Context;
use serde::{Deserialize, Serialize};

use crate::gui::command::{Command, ResumeOffer};

/// Sources that are remembered.
const RECENT: usize = 8;
/// Lines that the log keeps.
const LOG_LINES: usize = 5000;

/// What every part of the window may use.
pub struct Shell {
    /// Wakes the window, and makes textures.
    pub ctx: Context,
    /// What has happened.
    pub log: Log,
    /// Toasts that are to be shown.
    pub toasts: Vec<Toast>,
    /// A dialog that lies over the page.
    pub dialog: Option<Dialog>,
    /// What is remembered from one start to the next.
    pub preferences: Preferences,
    /// Where things are kept.
    pub place: Place,
    /// What is to be done next, besides what the person asks.
    pub queue: Vec<Command>,
    /// Whether the log is shown.
    pub log_open: bool,
    /// Whether the list of commands is shown.
    pub palette_open: bool,
    /// A job that has been asked for a file or folder.
    pub asked: Option<super::super::dialogs::Asked>,
}

/// Where the window keeps what it makes.
#[derive(Clone, Debug)]
pub struct Place {
    /// Runs, unless the person chose another folder.
    pub runs: PathBuf,
    /// The unpacked sample, and other things that can be made again.
    pub cache: PathBuf,
    /// Weights that were downloaded or added.
    pub weights: Option<WeightsFolder>,
    /// The address of a mirror that weights are downloaded from in place of their publishers'.
    pub downloads: Option<String>,
    /// This program, to be asked what only a process of its own should find out.
    pub program: Option<PathBuf>,
}

impl Default for Place {
    /// In the person's documents and caches; beside the working folder where the system names
    /// neither.
    fn default() -> Self {
        let home =
            dirs::document_dir().or_else(dirs::home_dir).unwrap_or_else(|| PathBuf::from("."));
        Self {
            runs: home.join("Counterweight"),
            cache: cache_folder().unwrap_or_else(|| std::env::temp_dir().join("counterweight")),
            weights: WeightsFolder::standard(),
            downloads: downloads(),
            program: std::env::current_exe().ok(),
        }
    }
}

/// What is remembered from one start to the next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Preferences {
    /// Sources opened lately, newest first.
    pub recent: Vec<PathBuf>,
    /// The folder of runs, if the person chose one.
    pub runs_folder: Option<PathBuf>,
    /// Light, dark, or what the system says.
    pub theme: ThemeChoice,
    /// How much larger than usual everything is drawn.
    pub zoom: f32,
    /// The device last chosen.
    pub device: String,
    /// Where the guided tour was left, if it was.
    pub tour_step: Option<usize>,
    /// The run last open.
    pub last_run: Option<PathBuf>,
}

impl Default for Preferences {
    fn default() -> Self {
        Self {
            recent: Vec::new(),
            runs_folder: None,
            theme: ThemeChoice::System,
            zoom: 1.0,
            device: "auto".into(),
            tour_step: None,
            last_run: None,
        }
    }
}

/// Which theme is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ThemeChoice {
    /// What the system says.
    #[default]
    System,
    /// Always light.
    Light,
    /// Always dark.
    Dark,
}

impl Preferences {
    /// Puts a source at the top of the recent ones.
    pub fn remember(&mut self, source: &Path) {
        self.recent.retain(|known| known != source);
        self.recent.insert(0, source.to_path_buf());
        self.recent.truncate(RECENT);
    }
}

/// A short notice in the corner.
#[derive(Clone, Debug)]
pub struct Toast {
    /// How it went.
    pub kind: ToastKind,
    /// What happened.
    pub text: String,
}

/// How something went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToastKind {
    /// Well.
    Success,
    /// Worth knowing.
    Info,
    /// Not as expected.
    Warning,
    /// Not at all.
    Error,
}

/// Something that lies over the page until it is answered.
#[derive(Clone, Debug)]
pub enum Dialog {
    /// Something failed.
    Error(ErrorReport),
    /// A training failed that can go on with less memory.
    OutOfMemory(ErrorReport, ResumeOffer),
    /// Whether to quit while something is running.
    Quit(Vec<&'static str>),
    /// Whether to delete a run.
    DeleteRun(PathBuf),
    /// Whether to export over a file.
    ReplaceFile(PathBuf),
    /// A new name for a run.
    RenameRun(PathBuf, String),
    /// The backbones to choose from.
    Backbones,
    /// What this program is.
    About,
}

/// What happened, what was kept, and what to do.
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorReport {
    /// What could not be done.
    pub title: String,
    /// The file and the reason.
    pub reason: String,
    /// What is still there.
    pub kept: String,
    /// What to do.
    pub advice: String,
}

/// A line of the log.
#[derive(Clone, Debug)]
pub struct LogLine {
    /// When.
    pub time: SystemTime,
    /// How much it matters.
    pub level: Level,
    /// Whether it tells of a failure.
    pub failed: bool,
    /// What happened.
    pub text: String,
}

/// What has happened since the window was opened.
#[derive(Debug, Default)]
pub struct Log {
    lines: VecDeque<LogLine>,
}

impl Log {
    /// The lines, oldest first.
    pub fn lines(&self) -> &VecDeque<LogLine> {
        &self.lines
    }

    fn push(&mut self, level: Level, failed: bool, text: String) {
        if self.lines.len() == LOG_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(LogLine { time: SystemTime::now(), level, failed, text });
    }

    /// Everything as text, one line each, to be copied.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for line in &self.lines {
            let kind = match (line.failed, line.level) {
                (true, _) => "error: ",
                (false, Level::Warning) => "warning: ",
                (false, Level::Info) => "",
            };
            text += &format!("{kind}{}\n", line.text);
        }
        text
    }
}

impl Shell {
    /// A shell for a window that has just been opened.
    pub fn new(ctx: Context, place: Place, preferences: Preferences) -> Self {
        Self {
            ctx,
            log: Log::default(),
            toasts: Vec::new(),
            dialog: None,
            preferences,
            place,
            queue: Vec::new(),
            log_open: false,
            palette_open: false,
            asked: None,
        }
    }

    /// The folder new runs are made in.
    pub fn runs_folder(&self) -> PathBuf {
        self.preferences.runs_folder.clone().unwrap_or_else(|| self.place.runs.clone())
    }

    /// Writes what a job said to the log; warnings are shown as toasts, too.
    pub fn messages(&mut self, messages: Vec<(Level, String)>) {
        for (level, text) in messages {
            if level == Level::Warning {
                self.toasts.push(Toast { kind: ToastKind::Warning, text: text.clone() });
            }
            self.log.push(level, false, text);
        }
    }

    /// Writes a line to the log.
    pub fn info(&mut self, text: impl Into<String>) {
        self.log.push(Level::Info, false, text.into());
    }

    /// Says that something went well.
    pub fn success(&mut self, text: impl Into<String>) {
        let text = text.into();
        self.toasts.push(Toast { kind: ToastKind::Success, text: text.clone() });
        self.log.push(Level::Info, false, text);
    }

    /// Says something worth knowing.
    pub fn notice(&mut self, text: impl Into<String>) {
        let text = text.into();
        self.toasts.push(Toast { kind: ToastKind::Info, text: text.clone() });
        self.log.push(Level::Info, false, text);
    }

    /// Says that something failed: a dialog, a toast and a line.
    pub fn failed(&mut self, report: ErrorReport) {
        self.note_failure(&report);
        self.dialog = Some(Dialog::Error(report));
    }

    /// Says that a training ran out of memory, and offers to go on.
    pub fn out_of_memory(&mut self, report: ErrorReport, resume_offer: ResumeOffer) {
        self.note_failure(&report);
        self.dialog = Some(Dialog::OutOfMemory(report, resume_offer));
    }

    fn note_failure(&mut self, report: &ErrorReport) {
        self.log.push(Level::Warning, true, format!("{}: {}", report.title, report.reason));
        self.toasts.push(Toast { kind: ToastKind::Error, text: report.title.clone() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recent_sources_are_few_and_each_there_once() {
        let mut preferences = Preferences::default();
        for index in 0..20 {
            preferences.remember(Path::new(&format!("folder {}", index % 10)));
        }
        preferences.remember(Path::new("folder 7"));
        assert_eq!(preferences.recent.len(), RECENT);
        assert_eq!(preferences.recent[0], Path::new("folder 7"));
        assert_eq!(
            preferences.recent.iter().filter(|path| *path == Path::new("folder 7")).count(),
            1
        );
    }

    #[test]
    fn a_log_forgets_its_oldest_lines() {
        let mut log = Log::default();
        for index in 0..LOG_LINES + 5 {
            log.push(Level::Info, false, index.to_string());
        }
        assert_eq!(log.lines().len(), LOG_LINES);
        assert_eq!(log.lines()[0].text, "5");
    }
}
