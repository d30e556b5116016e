//! The log: beside the run that is worked on, on standard error as far as asked for, and warnings
//! of parts that have no job to report to, which the front end shows.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clap::ValueEnum;
use counterweight_core::{device, job, panics, run};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// A log file that has grown beyond this becomes `log.1.txt` when its run is worked on again.
const LARGEST: u64 = 4 << 20;

/// How much is written to standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// What failed.
    Error,
    /// What is not as one may expect, too.
    Warn,
    /// What is being done, too.
    Info,
    /// How, too.
    Debug,
    /// Everything.
    Trace,
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => LevelFilter::ERROR,
            LogLevel::Warn => LevelFilter::WARN,
            LogLevel::Info => LevelFilter::INFO,
            LogLevel::Debug => LevelFilter::DEBUG,
            LogLevel::Trace => LevelFilter::TRACE,
        }
    }
}

type Listener = Box<dyn Fn(&str) + Send>;

/// What shows warnings.
static LISTENER: Mutex<Option<Listener>> = Mutex::new(None);

/// Warnings that were shown: a GPU that does not open is tried again and again.
static SHOWN: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has warnings that come from no job shown, each once. Those of a job come with its events.
pub fn show_warnings(show: impl Fn(&str) + Send + 'static) {
    *lock(&LISTENER) = Some(Box::new(show));
}

/// Starts the log of this program, and has panics that become errors print nothing. Only the first
/// call does something.
pub fn start(standard_error: Option<LogLevel>) {
    panics::install_hook();
    let ours = |metadata: &Metadata<'_>| metadata.target().starts_with("counterweight");
    let of_interest = move |metadata: &Metadata<'_>| {
        *metadata.level() <= if ours(metadata) { Level::INFO } else { Level::WARN }
    };
    let file = RunFile::default();
    let beside_run = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(file.clone())
        .with_filter(filter_fn(of_interest));
    let level = standard_error.map_or(LevelFilter::OFF, LevelFilter::from);
    let on_screen = tracing_subscriber::fmt::layer()
        .with_ansi(io::IsTerminal::is_terminal(&io::stderr()))
        .with_writer(io::stderr)
        .with_filter(level);
    let subscriber = tracing_subscriber::registry()
        // First, so that the file is open when the record that names it is written.
        .with(file)
        .with(beside_run)
        .with(on_screen)
        .with(Warnings.with_filter(filter_fn(move |metadata| {
            ours(metadata)
                && *metadata.level() <= Level::WARN
                && metadata.target() != job::LOG_TARGET
        })));
    if tracing::subscriber::set_global_default(subscriber).is_ok()
        && log::set_boxed_logger(Box::new(Bridge(tracing_log::LogTracer::new()))).is_ok()
    {
        // Kernels that are compiled are counted by records of this level.
        log::set_max_level(match standard_error {
            Some(LogLevel::Debug) => log::LevelFilter::Debug,
            Some(LogLevel::Trace) => log::LevelFilter::Trace,
            _ => log::LevelFilter::Info,
        });
    }
}

/// Passes records of libraries that use `log` on.
struct Bridge(tracing_log::LogTracer);

impl log::Log for Bridge {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        self.0.enabled(metadata) || metadata.target().starts_with("cubecl")
    }

    fn log(&self, record: &log::Record<'_>) {
        if !device::note_log(record.target()) {
            self.0.log(record);
        }
    }

    fn flush(&self) {}
}

/// The log file of the run that is worked on, while one is.
#[derive(Clone, Default)]
struct RunFile(Arc<Mutex<Option<File>>>);

impl RunFile {
    fn open(folder: &Path) -> Option<File> {
        let path = run::log_file(folder);
        if path.metadata().is_ok_and(|found| found.len() > LARGEST) {
            // What cannot be moved is written on to.
            drop(std::fs::rename(&path, path.with_file_name("log.1.txt")));
        }
        // Whoever sent the folder must not have us write somewhere else.
        if path.symlink_metadata().is_ok_and(|found| !found.is_file()) {
            return None;
        }
        // A run is worked on whether or not its log can be written.
        OpenOptions::new().create(true).append(true).open(path).ok()
    }
}

impl<S: Subscriber> Layer<S> for RunFile {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        if event.metadata().target() != run::LOG_TARGET {
            return;
        }
        let mut found = Fields::default();
        event.record(&mut found);
        *lock(&self.0) = found.folder.and_then(|folder| Self::open(Path::new(&folder)));
    }
}

impl<'a> MakeWriter<'a> for RunFile {
    type Writer = RunFile;

    fn make_writer(&'a self) -> Self::Writer {
        self.clone()
    }
}

impl Write for RunFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match lock(&self.0).as_mut() {
            Some(file) => file.write(bytes),
            None => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        lock(&self.0).as_mut().map_or(Ok(()), Write::flush)
    }
}

/// Passes warnings to the front end.
struct Warnings;

impl<S: Subscriber> Layer<S> for Warnings {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut found = Fields::default();
        event.record(&mut found);
        let mut shown = lock(&SHOWN);
        if let Some(show) = lock(&LISTENER).as_ref()
            && !shown.contains(&found.message)
        {
            show(&found.message);
            shown.push(found.message);
        }
    }
}

/// The fields of a record that are looked at.
#[derive(Default)]
struct Fields {
    message: String,
    folder: Option<String>,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            "folder" => self.folder = Some(format!("{value:?}")),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_its_log_beside_it_and_warnings_are_shown_once() {
        let folder = tempfile::tempdir().unwrap();
        let shown = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&shown);
        show_warnings(move |text| lock(&seen).push(text.to_string()));
        start(None);
        tracing::info!("before any run");
        tracing::info!(target: "counterweight::run", folder = %folder.path().display(), "working");
        for _ in 0..2 {
            tracing::warn!("no such GPU");
        }
        tracing::warn!(target: "counterweight::job", "an image is broken");
        tracing::debug!("a detail");
        log::warn!(target: "counterweight::other", "through the other crate");
        let text = std::fs::read_to_string(folder.path().join("log.txt")).unwrap();
        for line in ["working", "no such GPU", "an image is broken", "through the other crate"] {
            assert!(text.contains(line), "{line} is missing in {text}");
        }
        assert!(!text.contains("before any run") && !text.contains("a detail"), "{text}");
        assert_eq!(*lock(&shown), ["no such GPU", "through the other crate"]);
    }
}
