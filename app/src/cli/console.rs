//! Printing: results on standard output, progress and messages on standard error, or events as JSON
//! Lines.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use counterweight_core::job::{Event, EventSink, Level};
use counterweight_core::record::EpochRecord;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::plain::{json, painted, plain};

/// How often progress is printed where there is no terminal to draw a bar on.
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);
/// Epochs of a stage that are all told of, and how far apart it is done of more.
const FEW_EPOCHS: usize = 20;
const EPOCHS_APART: Duration = Duration::from_secs(1);

/// Prints events as they come and the result at the end.
pub struct Console {
    json: bool,
    stream: AtomicBool,
    terminal: bool,
    phase: Mutex<Phase>,
    /// When an epoch was last told of.
    told: Mutex<Option<Instant>>,
}

#[derive(Default)]
struct Phase {
    name: String,
    unit: &'static str,
    total: Option<u64>,
    bar: Option<ProgressBar>,
    started: Option<Instant>,
    printed: Option<Instant>,
}

impl Console {
    /// A console that prints for people, or (with `json`) for programs.
    pub fn new(json: bool) -> Self {
        Self {
            json,
            stream: AtomicBool::new(false),
            terminal: std::io::stderr().is_terminal(),
            phase: Mutex::new(Phase::default()),
            told: Mutex::new(None),
        }
    }

    /// Whether output is JSON.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// From here on, with `--json`, events are printed as JSON Lines. For jobs that take minutes.
    pub fn stream_events(&self) {
        self.stream.store(true, Ordering::Relaxed);
    }

    /// Prints the result: one JSON document on one line, or the text made by `human`, whose colours
    /// are left out where nothing shows them.
    ///
    /// # Errors
    /// If standard output is closed or the result cannot be serialised.
    pub fn result(
        &self,
        value: &impl Serialize,
        human: impl FnOnce() -> String,
    ) -> anyhow::Result<()> {
        self.finish();
        let mut out = anstream::stdout().lock();
        match self.json {
            true => writeln!(out, "{}", json(&serde_json::to_string(value)?))?,
            false => writeln!(out, "{}", painted(&human()).trim_end())?,
        }
        out.flush()?;
        Ok(())
    }

    /// Prints lines of a result that comes bit by bit on standard output.
    ///
    /// # Errors
    /// If standard output is closed.
    pub fn row(&self, text: &str) -> anyhow::Result<()> {
        let text = if self.json { json(text) } else { plain(text) };
        let write = || -> std::io::Result<()> {
            let mut out = anstream::stdout().lock();
            writeln!(out, "{text}")?;
            out.flush()
        };
        let phase = self.lock();
        Ok(match &phase.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }?)
    }

    /// Prints a line for people on standard error, above any progress bar.
    pub fn line(&self, text: &str) {
        let phase = self.lock();
        match &phase.bar {
            Some(bar) => bar.suspend(|| write_error(text)),
            None => write_error(text),
        }
    }

    /// Prints why the command failed.
    pub fn error(&self, error: &anyhow::Error) {
        self.line(&format!("error: {}", chain(error)));
    }

    /// Removes the progress bar.
    pub fn finish(&self) {
        if let Some(bar) = self.lock().bar.take() {
            bar.finish_and_clear();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn begin(&self, name: String, total: Option<u64>, unit: &'static str) {
        let mut phase = self.lock();
        if let Some(bar) = phase.bar.take() {
            bar.finish_and_clear();
        }
        if self.terminal {
            let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr_with_hz(10));
            let template = match total {
                Some(_) => {
                    "{msg} {wide_bar} {human_pos}/{human_len} {unit} · {per_sec} · {eta} left"
                }
                None => "{spinner} {msg} {human_pos} {unit} · {per_sec}",
            };
            if let Ok(style) = ProgressStyle::with_template(&template.replace("{unit}", unit)) {
                bar.set_style(style.progress_chars("━╸─"));
            }
            bar.set_message(plain(&name).replace('\n', " "));
            phase.bar = Some(bar);
        }
        let now = Instant::now();
        *phase = Phase {
            name,
            unit,
            total,
            bar: phase.bar.take(),
            started: Some(now),
            printed: Some(now),
        };
    }

    /// Of many quick epochs a line a second is enough; the log of the run has them all.
    fn is_worth_a_line(&self, epoch: &EpochRecord) -> bool {
        let mut told = self.told.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let is_next = told.is_none_or(|at| at.elapsed() >= EPOCHS_APART);
        let is_told = is_next || epoch.epochs <= FEW_EPOCHS || epoch.epoch == epoch.epochs;
        if is_told {
            *told = Some(Instant::now());
        }
        is_told
    }

    fn advance(&self, done: u64) {
        let mut phase = self.lock();
        if let Some(bar) = &phase.bar {
            bar.set_position(done);
            return;
        }
        let now = Instant::now();
        let (Some(started), Some(printed)) = (phase.started, phase.printed) else { return };
        if now.duration_since(printed) < PLAIN_INTERVAL {
            return;
        }
        phase.printed = Some(now);
        let rate = done as f64 / now.duration_since(started).as_secs_f64().max(1e-9);
        let left = phase
            .total
            .filter(|_| rate > 0.0)
            .map(|total| total.saturating_sub(done) as f64 / rate);
        write_error(&match (phase.total, left) {
            (Some(total), Some(left)) => {
                format!(
                    "{}: {done}/{total} {} · {rate:.0}/s · {} left",
                    phase.name,
                    phase.unit,
                    duration(left)
                )
            }
            _ if rate < 1.0 => format!("{}: {done} {}", phase.name, phase.unit),
            _ => format!("{}: {done} {} · {rate:.0}/s", phase.name, phase.unit),
        });
    }
}

/// What happened and why, outermost first, without repeating what was said: many errors have their
/// cause in their own words.
fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        match text.is_empty() {
            true => text = cause,
            false if text.contains(&cause) => {}
            false => text = format!("{text}: {cause}"),
        }
    }
    text
}

impl EventSink for Console {
    fn event(&self, event: Event) {
        if self.json && self.stream.load(Ordering::Relaxed) {
            if let Ok(line) = serde_json::to_string(&event) {
                let mut out = std::io::stdout().lock();
                // A closed pipe must not end the training it watches.
                let _closed = writeln!(out, "{}", json(&line));
            }
            if !matches!(event, Event::Message { .. }) {
                return;
            }
        }
        match event {
            Event::Phase { name, total, unit } => self.begin(name, total, unit),
            Event::Progress { done } => self.advance(done),
            Event::Message { level: Level::Info, text } => self.line(&text),
            Event::Message { level: Level::Warning, text } => {
                self.line(&format!("warning: {text}"))
            }
            Event::Epoch(epoch) if self.is_worth_a_line(&epoch) => {
                self.line(&epoch_line(&epoch));
            }
            _ => {}
        }
    }
}

fn epoch_line(e: &EpochRecord) -> String {
    let mut line = format!(
        "stage {} epoch {}/{} · loss {:.4} · train {:.1} %",
        e.stage,
        e.epoch,
        e.epochs,
        e.train_loss,
        100.0 * e.train_accuracy
    );
    if let Some(balanced) = e.validation_balanced {
        line += &format!(" · validation {:.1} %", 100.0 * balanced);
        let groups: Vec<String> = [
            ("many", e.validation_many),
            ("medium", e.validation_medium),
            ("few", e.validation_few),
        ]
        .into_iter()
        .filter_map(|(name, accuracy)| accuracy.map(|a| format!("{name} {:.1}", 100.0 * a)))
        .collect();
        if !groups.is_empty() {
            line += &format!(" ({})", groups.join(", "));
        }
    }
    // A classifier on features that are known: how fast that is says nothing of images.
    const OF_FEATURES: f64 = 1e5;
    if e.images_per_s < OF_FEATURES {
        line += &format!(" · {:.0} images/s", e.images_per_s);
    }
    line
}

/// Seconds as a person reads them: `42 s`, `3 min 5 s`, `2 h 10 min`.
pub fn duration(seconds: f64) -> String {
    let s = seconds.round() as u64;
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{} min {} s", s / 60, s % 60),
        _ => format!("{} h {} min", s / 3600, s % 3600 / 60),
    }
}

fn write_error(text: &str) {
    // When standard error is closed, there is no other place to report that.
    let _closed = writeln!(std::io::stderr().lock(), "{}", plain(text));
}
