//! The runs page: the runs there are, and those that are compared.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use counterweight_core::dataset::safe_name;
use counterweight_core::run::{self, RunSummary, Sweep, SweepReport};

use super::run::OpenRun;
use super::shell::{Dialog, ErrorReport, Shell};
use crate::gui::command::{Command, RunsCommand};
use crate::gui::dialogs::{Asked, Question};
use crate::gui::worker::{Failure, Worker};

/// Runs that are compared at once.
const COMPARED: usize = 6;

/// A run that is compared.
pub struct Compared {
    /// Its folder.
    pub folder: PathBuf,
    /// What it holds, once it is read.
    pub run: Option<OpenRun>,
    reading: Option<Worker<OpenRun>>,
}

type Listing<T> = Vec<(PathBuf, Result<T, String>)>;

/// What is in a runs folder.
struct Found {
    runs: Listing<RunSummary>,
    sweeps: Listing<SweepReport>,
    names: HashSet<String>,
}

/// Whether a folder of that name would be one that is there: many systems tell names apart by more
/// than whether letters are large.
pub(super) fn is_taken(names: &HashSet<String>, name: &str) -> bool {
    let name = name.to_lowercase();
    names.iter().any(|known| known.to_lowercase() == name)
}

/// The runs page.
#[derive(Default)]
pub struct RunsState {
    /// The runs of the runs folder, newest first, or why one cannot be read.
    pub listed: Listing<RunSummary>,
    /// The sweeps of the runs folder, or why one cannot be read.
    pub sweeps: Listing<SweepReport>,
    /// The names of everything in the runs folder.
    pub names: HashSet<String>,
    /// The runs that are compared.
    pub compared: Vec<Compared>,
    /// A run that is to go on being trained once it is open.
    pub continuing: Option<PathBuf>,
    listing: Option<Worker<Found>>,
    /// Set if the folder changed while it was being read.
    again: bool,
    opening: Option<(PathBuf, Worker<OpenRun>)>,
    changing: Option<Worker<String>>,
}

impl RunsState {
    /// Reads the runs folder.
    pub fn refresh(&mut self, shell: &Shell) {
        if self.listing.is_some() {
            self.again = true;
            return;
        }
        let folder = shell.runs_folder();
        self.listing = Some(Worker::spawn("runs", &shell.ctx, move |_| {
            let runs = run::list(&folder)
                .into_iter()
                .map(|(path, summary)| (path, summary.map_err(|error| error.to_string())))
                .collect();
            let read = |path: &PathBuf| {
                Sweep::open(path)
                    .and_then(|sweep| sweep.report())
                    .map_err(|error| error.to_string())
            };
            let sweeps =
                Sweep::list(&folder).into_iter().map(|path| (path.clone(), read(&path))).collect();
            let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
            let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
            Ok(Found { runs, sweeps, names: names.collect() })
        }));
    }

    /// Whether the runs folder is being read.
    pub fn is_listing(&self) -> bool {
        self.listing.is_some()
    }

    /// Whether a run that is compared is being read.
    pub fn is_comparing(&self) -> bool {
        self.compared.iter().any(|compared| compared.reading.is_some())
    }

    /// Whether a run is being renamed or deleted.
    pub fn is_changing(&self) -> bool {
        self.changing.is_some()
    }

    /// The run that is being opened.
    pub fn opening(&self) -> Option<&Path> {
        self.opening.as_ref().map(|(path, _)| path.as_path())
    }

    /// Waits until a run is renamed or deleted, before the program ends.
    pub fn finish(&mut self) {
        if let Some(worker) = self.changing.take() {
            worker.stop_and_wait();
        }
    }

    /// A name for a new run that every system takes and that is not taken.
    pub fn free_name(&self, wanted: &str) -> String {
        let wanted = safe_name(wanted, "");
        let names =
            (1..).map(
                |number| {
                    if number == 1 { wanted.to_string() } else { format!("{wanted} {number}") }
                },
            );
        names
            .into_iter()
            .find(|name| !is_taken(&self.names, name))
            .unwrap_or_else(|| wanted.clone())
    }

    /// Does what was asked.
    pub fn apply(&mut self, command: RunsCommand, shell: &mut Shell) {
        match command {
            RunsCommand::Refresh => self.refresh(shell),
            RunsCommand::PickRun => {
                let then = |path| Command::Runs(RunsCommand::Open(path));
                shell.asked = Some(Asked::new(
                    &shell.ctx,
                    "Open a run",
                    Some(shell.runs_folder()),
                    Question::Folder,
                    then,
                ));
            }
            RunsCommand::Continue(folder) => {
                self.continuing = Some(folder.clone());
                self.apply(RunsCommand::Open(folder), shell);
            }
            RunsCommand::Open(folder) => {
                shell.info(format!("Opening the run {}", folder.display()));
                let path = folder.clone();
                self.opening = Some((
                    folder,
                    Worker::spawn("open run", &shell.ctx, move |_| OpenRun::read(&path)),
                ));
            }
            RunsCommand::PickRunsFolder => {
                let then = |path| Command::Runs(RunsCommand::SetRunsFolder(path));
                shell.asked = Some(Asked::new(
                    &shell.ctx,
                    "Keep runs in",
                    Some(shell.runs_folder()),
                    Question::Folder,
                    then,
                ));
            }
            RunsCommand::SetRunsFolder(path) => {
                shell.preferences.runs_folder = Some(path);
                self.listed.clear();
                self.refresh(shell);
            }
            RunsCommand::ToggleCompare(folder) => {
                let before = self.compared.len();
                self.compared.retain(|compared| compared.folder != folder);
                if self.compared.len() < before {
                    return;
                }
                if before == COMPARED {
                    shell.notice(format!("At most {COMPARED} runs are compared at once"));
                    return;
                }
                let path = folder.clone();
                let reading =
                    Some(Worker::spawn("compare", &shell.ctx, move |_| OpenRun::read(&path)));
                self.compared.push(Compared { folder, run: None, reading });
            }
            RunsCommand::AskRename(folder) => {
                let name = folder
                    .file_name()
                    .map(|name| name.to_string_lossy().into_owned())
                    .unwrap_or_default();
                shell.dialog = Some(Dialog::RenameRun(folder, name));
            }
            RunsCommand::Rename(folder, name) => {
                self.compared.retain(|compared| compared.folder != folder);
                self.changing = Some(Worker::spawn("rename", &shell.ctx, move |_| {
                    let renamed = run::rename(&folder, name.trim())?;
                    Ok(format!("The run is now {}", renamed.display()))
                }));
            }
            RunsCommand::AskDelete(folder) => shell.dialog = Some(Dialog::DeleteRun(folder)),
            RunsCommand::Delete(folder) => {
                self.compared.retain(|compared| compared.folder != folder);
                self.changing = Some(Worker::spawn("delete", &shell.ctx, move |_| {
                    match Sweep::is_sweep(&folder) {
                        true => Sweep::open(&folder)?.delete()?,
                        false => run::delete(&folder)?,
                    }
                    Ok(format!("Deleted {}", folder.display()))
                }));
            }
        }
    }

    /// Takes what the jobs have done. Returns a run that was opened.
    pub fn poll(&mut self, shell: &mut Shell) -> Option<OpenRun> {
        if let Some(worker) = &mut self.listing
            && let Some(done) = worker.poll().done
        {
            self.listing = None;
            if let Ok(Found { runs, sweeps, names }) = done {
                (self.listed, self.sweeps, self.names) = (runs, sweeps, names);
            }
            if std::mem::take(&mut self.again) {
                self.refresh(shell);
            }
        }
        let mut unreadable = Vec::new();
        for compared in &mut self.compared {
            if let Some(worker) = &mut compared.reading
                && let Some(done) = worker.poll().done
            {
                compared.reading = None;
                match done {
                    Ok(run) => compared.run = Some(run),
                    Err(Failure::Failed(error)) => {
                        let reason = error.to_string();
                        unreadable.push((compared.folder.clone(), reason))
                    }
                    Err(Failure::Stopped) => {}
                }
            }
        }
        for (folder, reason) in unreadable {
            self.compared.retain(|compared| compared.folder != folder);
            shell.notice(format!("This run cannot be compared: {reason}"));
        }
        if let Some(worker) = &mut self.changing
            && let Some(done) = worker.poll().done
        {
            self.changing = None;
            match done {
                Ok(text) => shell.success(text),
                Err(Failure::Failed(error)) => shell.failed(ErrorReport {
                    title: "The run could not be changed".into(),
                    reason: error.to_string(),
                    kept: "What was not changed is still there.".into(),
                    advice: "Close other programs that use the run, then try again.".into(),
                }),
                Err(Failure::Stopped) => {}
            }
            self.refresh(shell);
        }
        let (_, worker) = self.opening.as_mut()?;
        let done = worker.poll().done?;
        let (folder, _) = self.opening.take()?;
        match done {
            Ok(run) => Some(run),
            Err(Failure::Stopped) => None,
            Err(Failure::Failed(error)) => {
                let reason = error.to_string();
                shell.failed(ErrorReport {
                    title: format!("The run {} could not be opened", folder.display()),
                    reason,
                    kept: "Nothing was changed.".into(),
                    advice: "Choose a folder that a training has made, or train again.".into(),
                });
                None
            }
        }
    }
}
