//! What a long job says while it works, and how it is paused and stopped.
//!
//! Every long function takes a [`Job`]: an [`EventSink`] it reports to and a [`Control`] it asks
//! between steps. The command line prints the events, the window draws them; neither is known here.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use crate::record::EpochRecord;
use serde::Serialize;

use crate::error::{Error, Result};

/// Something a job reports. Serialises to one JSON object with the field `event`.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// A phase begins: "scanning", "decoding", "stage 1" and so on. It replaces the phase before
    /// it.
    Phase {
        /// What is being done, lower case, no full stop.
        name: String,
        /// How many units the phase will take, where that is known.
        total: Option<u64>,
        /// What is counted: "images", "steps", "candidates".
        unit: &'static str,
    },
    /// The current phase has done this many units in all.
    Progress {
        /// Units done since the phase began.
        done: u64,
    },
    /// Something the person should know. Never needed to understand a result.
    Message {
        /// How much it matters.
        level: Level,
        /// One sentence.
        text: String,
    },
    /// An epoch of stage 1 or stage 2 has ended.
    Epoch(EpochRecord),
    /// The accuracy of each class on validation, after an epoch of stage 1 that was evaluated.
    /// Follows that epoch's [`Event::Epoch`].
    Classes {
        /// Epoch, from 1.
        epoch: usize,
        /// Accuracy in 0..1, one a class in label order; `None` for a class without validation
        /// samples.
        accuracy: Vec<Option<f64>>,
    },
    /// A run of a sweep was trained on.
    Sweep(SweepRecord),
}

/// How much a [`Event::Message`] matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Worth a line.
    Info,
    /// Something is not as the person may expect.
    Warning,
}

/// A value of a sweep and how far its run is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SweepRecord {
    /// The value, as settings have it.
    pub value: String,
    /// The run's folder.
    pub run: PathBuf,
    /// Finished epochs.
    pub finished_epochs: usize,
    /// Epochs of a whole training.
    pub epochs: usize,
    /// Balanced accuracy on validation in 0..1: the mean of the last three evaluations, since one
    /// alone is as much luck as merit.
    pub score: Option<f64>,
    /// Accuracy of the many group on validation, at the last evaluation.
    pub many: Option<f64>,
    /// Accuracy of the medium group.
    pub medium: Option<f64>,
    /// Accuracy of the few group.
    pub few: Option<f64>,
    /// Smallest, mean and largest class weight norm ‖W_k‖₂ after the last epoch.
    pub norms: Option<[f32; 3]>,
}

impl SweepRecord {
    /// Whether its run came to its end.
    pub fn is_finished(&self) -> bool {
        self.finished_epochs >= self.epochs
    }
}

/// Receives events. Called from worker threads, so it must be quick: forward, don't work.
pub trait EventSink: Send + Sync {
    /// Takes one event.
    fn event(&self, event: Event);
}

impl<F: Fn(Event) + Send + Sync> EventSink for F {
    fn event(&self, event: Event) {
        self(event);
    }
}

/// Drops every event.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl EventSink for Silent {
    fn event(&self, _event: Event) {}
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    Paused,
    Stopping,
}

/// Stops and pauses a job from another thread. Cheap to clone; all clones are one control, but for
/// the deadline that [`Control::until`] gives one.
#[derive(Clone, Debug)]
pub struct Control {
    shared: Arc<(Mutex<State>, Condvar)>,
    /// When this one stops by itself.
    deadline: Option<Instant>,
}

impl Default for Control {
    fn default() -> Self {
        Self { shared: Arc::new((Mutex::new(State::Running), Condvar::new())), deadline: None }
    }
}

impl Control {
    /// A control that lets its job run.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the job to stop at its next safe point. Cannot be taken back.
    pub fn stop(&self) {
        self.change(State::Stopping);
    }

    /// Asks the job to wait at its next safe point. Does nothing once a stop was asked for.
    pub fn pause(&self) {
        self.change(State::Paused);
    }

    /// Lets a paused job go on.
    pub fn resume(&self) {
        self.change(State::Running);
    }

    /// A control for a part of a job that is worth no more time than until `deadline`: the part
    /// stops then, and whenever the job is stopped. The job itself goes on.
    ///
    /// ```
    /// use counterweight_core::job::Control;
    /// let control = Control::new();
    /// let part = control.until(std::time::Instant::now());
    /// assert!(part.check().is_err() && control.check().is_ok());
    /// ```
    #[must_use]
    pub fn until(&self, deadline: Instant) -> Self {
        let deadline = self.deadline.map_or(deadline, |sooner| sooner.min(deadline));
        Self { shared: Arc::clone(&self.shared), deadline: Some(deadline) }
    }

    /// Whether a stop was asked for, or the time is over.
    pub fn is_stopping(&self) -> bool {
        let state = *self.shared.0.lock().unwrap_or_else(|e| e.into_inner());
        state == State::Stopping || self.is_over()
    }

    fn is_over(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Whether the job is asked to wait.
    pub fn is_paused(&self) -> bool {
        *self.shared.0.lock().unwrap_or_else(|e| e.into_inner()) == State::Paused
    }

    /// Called by jobs between steps: waits while paused.
    ///
    /// # Errors
    /// [`Error::Stopped`] once a stop was asked for, or the time is over.
    pub fn check(&self) -> Result<()> {
        let (lock, woken) = &*self.shared;
        let mut state = lock.lock().unwrap_or_else(|e| e.into_inner());
        while *state == State::Paused {
            state = woken.wait(state).unwrap_or_else(|e| e.into_inner());
        }
        let is_stopping = *state == State::Stopping || self.is_over();
        if is_stopping { Err(Error::Stopped) } else { Ok(()) }
    }

    /// Goes to a state, unless a stop was asked for: under one lock, so that no other thread's stop
    /// is undone.
    fn change(&self, to: State) {
        let (lock, woken) = &*self.shared;
        let mut state = lock.lock().unwrap_or_else(|e| e.into_inner());
        if *state != State::Stopping {
            *state = to;
        }
        drop(state);
        woken.notify_all();
    }
}

/// The log target of what jobs say through their [`EventSink`] as well: a front end that
/// shows events need not show these records.
pub const LOG_TARGET: &str = "counterweight::job";

/// What every long function is handed: where to report, and what to ask.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// Asked between steps.
    pub control: &'a Control,
    /// Told what happens.
    pub sink: &'a dyn EventSink,
}

impl<'a> Job<'a> {
    /// A job reporting to `sink` under `control`.
    pub fn new(control: &'a Control, sink: &'a dyn EventSink) -> Self {
        Self { control, sink }
    }

    /// Begins a phase; see [`Event::Phase`].
    pub fn phase(&self, name: impl Into<String>, total: Option<u64>, unit: &'static str) {
        let name = name.into();
        tracing::info!(target: LOG_TARGET, "{name}");
        self.sink.event(Event::Phase { name, total, unit });
    }

    /// Reports progress within the phase.
    pub fn progress(&self, done: u64) {
        self.sink.event(Event::Progress { done });
    }

    /// Says something worth a line.
    pub fn info(&self, text: impl Into<String>) {
        let text = text.into();
        tracing::info!(target: LOG_TARGET, "{text}");
        self.sink.event(Event::Message { level: Level::Info, text });
    }

    /// Says something that is not as the person may expect.
    pub fn warn(&self, text: impl Into<String>) {
        let text = text.into();
        tracing::warn!(target: LOG_TARGET, "{text}");
        self.sink.event(Event::Message { level: Level::Warning, text });
    }

    /// Waits while paused; see [`Control::check`].
    ///
    /// # Errors
    /// [`Error::Stopped`] once a stop was asked for.
    pub fn check(&self) -> Result<()> {
        self.control.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paused_job_waits_and_a_stopped_one_ends() {
        let control = Control::new();
        control.pause();
        let worker = {
            let control = control.clone();
            std::thread::spawn(move || control.check().is_ok())
        };
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(!worker.is_finished());
        control.resume();
        assert!(worker.join().unwrap());
        control.stop();
        control.resume();
        assert!(matches!(control.check(), Err(Error::Stopped)));
        control.pause();
        assert!(!control.is_paused() && control.is_stopping());
    }

    #[test]
    fn a_part_ends_with_its_time_or_with_its_job() {
        let control = Control::new();
        let later = Instant::now() + std::time::Duration::from_secs(3600);
        let part = control.until(later);
        let shorter = part.until(Instant::now());
        // What has less time cannot give itself more.
        let none_left = shorter.until(later);
        assert!(part.check().is_ok() && !part.is_stopping());
        assert!(shorter.is_stopping() && matches!(none_left.check(), Err(Error::Stopped)));
        assert!(!control.is_stopping());
        control.stop();
        assert!(matches!(part.check(), Err(Error::Stopped)));
    }
}
