//! One thread a job: it can be paused and stopped, says what it does, and wakes the window.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use counterweight_core::job::{Control, Event, EventSink, Job, Level, SweepRecord};
use counterweight_core::record::EpochRecord;
use counterweight_core::{Error, Result};
use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use egui::Context;
use rayon::ThreadPoolBuilder;
use thread_priority::{ThreadPriority, ThreadPriorityValue, set_current_thread_priority};

/// Messages that may wait for the window. A full channel makes the job wait, except for progress,
/// of which the newest is enough.
const CAPACITY: usize = 1024;
/// Progress is passed on, and the window woken for what a job says, four times a second: more is not
/// read.
const WAKE_EVERY: Duration = Duration::from_millis(250);
/// Until then somebody waits for what they have just asked for.
const SOON: Duration = Duration::from_secs(15);
/// How often what is being worked on for longer has the window drawn, in milliseconds.
static LATER: AtomicU64 = AtomicU64::new(WAKE_EVERY.as_millis() as u64);
/// When the newest job began.
static NEWEST_JOB: Mutex<Option<Instant>> = Mutex::new(None);
/// What threads that work are worth to the system, in 0..=99 where 51 is usual: on Linux a niceness
/// of 9.
const PRIORITY: u8 = 23;

/// To be called where a frame takes the processor long, which training would miss: what is being
/// worked on for long has the window drawn this often. What a person does is answered at once all
/// the same.
pub fn wake_seldom(every: Duration) {
    LATER.store(every.as_millis() as u64, Ordering::Relaxed);
}

/// How often what is being worked on has the window drawn at most.
pub fn wake_every() -> Duration {
    let newest = *NEWEST_JOB.lock().unwrap_or_else(|e| e.into_inner());
    let is_long = newest.is_some_and(|began| began.elapsed() > SOON);
    if is_long { Duration::from_millis(LATER.load(Ordering::Relaxed)) } else { WAKE_EVERY }
}

/// Has this thread, and those it starts, let the window go first: a click is answered while all
/// cores train, and training has what is left, which is nearly everything.
fn give_way() {
    let lower = ThreadPriorityValue::try_from(PRIORITY).map(ThreadPriority::Crossplatform);
    // Where the system does not allow it everything is as it was.
    drop(lower.map(set_current_thread_priority));
}

/// Has the threads that work on all cores together let the window go first. To be called before any
/// of them has worked.
pub fn start_working_threads() {
    let pool = ThreadPoolBuilder::new().thread_name(|at| format!("work {at}"));
    // If there are some already, they stay.
    drop(pool.start_handler(|_| give_way()).build_global());
}

/// How a job ended that did not succeed.
#[derive(Debug)]
pub enum Failure {
    /// It was asked to stop.
    Stopped,
    /// It failed.
    Failed(Error),
}

enum Update<T> {
    Event(Event),
    Done(Result<T, Failure>),
}

/// What a job is doing.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// The phase: "scanning", "stage 1" and so on.
    pub phase: String,
    /// Units done of it.
    pub done: u64,
    /// Units it has, where that is known.
    pub total: Option<u64>,
    /// What is counted.
    pub unit: &'static str,
    /// When the phase began.
    pub since: Option<Instant>,
}

impl Progress {
    /// The share done, in 0..1, where the total is known.
    pub fn share(&self) -> Option<f32> {
        self.total
            .filter(|total| *total > 0)
            .map(|total| (self.done as f32 / total as f32).min(1.0))
    }

    /// Seconds the phase will take on, judged by its pace so far.
    pub fn seconds_left(&self) -> Option<f64> {
        let elapsed = self.since?.elapsed().as_secs_f64();
        let (total, done) = (self.total?, self.done);
        (done > 0 && elapsed > 0.5)
            .then(|| elapsed * total.saturating_sub(done) as f64 / done as f64)
    }
}

/// What a job said since it was last asked.
#[derive(Debug)]
pub struct News<T> {
    /// Finished epochs.
    pub epochs: Vec<EpochRecord>,
    /// The newest accuracy of each class on validation, with its epoch.
    pub classes: Option<(usize, Vec<Option<f64>>)>,
    /// Runs of a sweep that were trained on.
    pub swept: Vec<SweepRecord>,
    /// Messages for the log.
    pub messages: Vec<(Level, String)>,
    /// The outcome, once.
    pub done: Option<Result<T, Failure>>,
}

/// A running job. Dropping it asks the job to stop.
pub struct Worker<T> {
    control: Control,
    updates: Receiver<Update<T>>,
    thread: Option<JoinHandle<()>>,
    finished: bool,
    /// What the job is doing.
    pub progress: Progress,
    /// When it began.
    pub started: Instant,
}

impl<T: Send + 'static> Worker<T> {
    /// Runs `work` on a thread of its own. A panic in it becomes a failure.
    pub fn spawn(
        name: &str,
        ctx: &Context,
        work: impl FnOnce(Job<'_>) -> Result<T> + Send + 'static,
    ) -> Self {
        *NEWEST_JOB.lock().unwrap_or_else(|e| e.into_inner()) = Some(Instant::now());
        let control = Control::new();
        let (sender, updates) = bounded(CAPACITY);
        let sink = Forward {
            sender: sender.clone(),
            ctx: ctx.clone(),
            progress: Mutex::new(None),
            woken: Mutex::new(None),
        };
        let thread = {
            let (control, ctx) = (control.clone(), ctx.clone());
            std::thread::Builder::new().name(name.to_string()).spawn(move || {
                give_way();
                let outcome =
                    match catch_unwind(AssertUnwindSafe(|| work(Job::new(&control, &sink)))) {
                        Ok(Ok(value)) => Ok(value),
                        Ok(Err(Error::Stopped)) => Err(Failure::Stopped),
                        Ok(Err(error)) => Err(Failure::Failed(error)),
                        Err(panic) => Err(Failure::Failed(Error::Internal(panic_text(&*panic)))),
                    };
                // The window may have dropped the job; then the outcome is not needed.
                drop(sender.send(Update::Done(outcome)));
                ctx.request_repaint();
            })
        };
        let progress = Progress::default();
        let (thread, failed) = match thread {
            Ok(thread) => (Some(thread), None),
            Err(error) => (None, Some(error)),
        };
        let mut worker =
            Self { control, updates, thread, finished: false, progress, started: Instant::now() };
        if let Some(error) = failed {
            let (sender, updates) = bounded(1);
            let error = Error::Internal(format!("no thread could be started: {error}"));
            drop(sender.send(Update::Done(Err(Failure::Failed(error)))));
            worker.updates = updates;
        }
        worker
    }

    /// Takes what the job has said. Returns nothing more once the outcome was returned.
    pub fn poll(&mut self) -> News<T> {
        let mut news = News {
            epochs: Vec::new(),
            classes: None,
            swept: Vec::new(),
            messages: Vec::new(),
            done: None,
        };
        while !self.finished {
            match self.updates.try_recv() {
                Ok(Update::Event(event)) => self.take(event, &mut news),
                Ok(Update::Done(outcome)) => {
                    self.finished = true;
                    news.done = Some(outcome);
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    self.finished = true;
                    let error = Error::Internal("the job ended without a result".into());
                    news.done = Some(Err(Failure::Failed(error)));
                }
            }
        }
        news
    }

    fn take(&mut self, event: Event, news: &mut News<T>) {
        match event {
            Event::Phase { name, total, unit } => {
                self.progress =
                    Progress { phase: name, done: 0, total, unit, since: Some(Instant::now()) };
            }
            Event::Progress { done } => self.progress.done = done,
            Event::Message { level, text } => news.messages.push((level, text)),
            Event::Epoch(record) => news.epochs.push(record),
            Event::Classes { epoch, accuracy } => news.classes = Some((epoch, accuracy)),
            Event::Sweep(record) => news.swept.push(record),
            _ => {}
        }
    }

    /// Asks the job to stop at its next safe point.
    pub fn stop(&self) {
        self.control.stop();
    }

    /// Whether it was asked to stop.
    pub fn is_stopping(&self) -> bool {
        self.control.is_stopping()
    }

    /// Makes the job wait at its next safe point.
    pub fn pause(&self) {
        self.control.pause();
    }

    /// Lets a paused job go on.
    pub fn resume(&self) {
        self.control.resume();
    }

    /// Whether it is asked to wait.
    pub fn is_paused(&self) -> bool {
        self.control.is_paused()
    }

    /// Stops the job and waits until it has ended: what it writes on the way out must not be cut
    /// short by the end of the program.
    pub fn stop_and_wait(mut self) {
        self.control.stop();
        // A full channel would make the job wait for a window that no longer listens.
        while self.updates.recv().is_ok() {}
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl<T> Drop for Worker<T> {
    fn drop(&mut self) {
        self.control.stop();
    }
}

/// Passes events to the window and wakes it.
struct Forward<T> {
    sender: Sender<Update<T>>,
    ctx: Context,
    /// When progress was passed on last.
    progress: Mutex<Option<Instant>>,
    /// When the window was woken last, or is going to be.
    woken: Mutex<Option<Instant>>,
}

impl<T> Forward<T> {
    /// Has the window drawn soon, and no more often than it is read.
    fn wake(&self) {
        let mut woken = self.woken.lock().unwrap_or_else(|e| e.into_inner());
        let now = Instant::now();
        if woken.is_some_and(|next| next > now) {
            return;
        }
        let next = woken.map_or(now, |last| now.max(last + wake_every()));
        *woken = Some(next);
        // Without any delay it would be drawn twice.
        self.ctx.request_repaint_after((next - now).max(Duration::from_millis(1)));
    }
}

impl<T: Send> EventSink for Forward<T> {
    fn event(&self, event: Event) {
        if matches!(event, Event::Progress { .. }) {
            let mut last = self.progress.lock().unwrap_or_else(|e| e.into_inner());
            if last.is_some_and(|last| last.elapsed() < WAKE_EVERY) {
                return;
            }
            *last = Some(Instant::now());
            drop(self.sender.try_send(Update::Event(event)));
        } else {
            drop(self.sender.send(Update::Event(event)));
        }
        self.wake();
    }
}

/// What a panic says.
pub(super) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no reason was given".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the job said until it ended, and how.
    fn outcome<T: Send + 'static>(
        worker: &mut Worker<T>,
    ) -> (Vec<(Level, String)>, Result<T, Failure>) {
        let mut messages = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let news = worker.poll();
            messages.extend(news.messages);
            if let Some(done) = news.done {
                return (messages, done);
            }
            assert!(Instant::now() < deadline, "the job does not end");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn what_a_job_says_arrives_with_its_outcome() {
        let mut worker = Worker::spawn("test", &Context::default(), |job| {
            job.phase("counting", Some(10), "images");
            job.progress(10);
            job.warn("careful");
            Ok(42)
        });
        let (messages, done) = outcome(&mut worker);
        assert!(matches!(done, Ok(42)));
        assert_eq!(messages, [(Level::Warning, "careful".to_string())]);
        assert_eq!(worker.progress.share(), Some(1.0));
        assert!(worker.poll().done.is_none());
    }

    #[test]
    fn a_job_that_panics_fails_and_one_that_is_stopped_stops() {
        let mut worker: Worker<()> =
            Worker::spawn("test", &Context::default(), |_| panic!("a wrong index"));
        let (_, done) = outcome(&mut worker);
        assert!(
            matches!(done, Err(Failure::Failed(Error::Internal(reason))) if reason == "a wrong index")
        );

        let mut worker: Worker<()> = Worker::spawn("test", &Context::default(), |job| {
            loop {
                job.check()?;
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        worker.stop();
        assert!(matches!(outcome(&mut worker).1, Err(Failure::Stopped)));
    }

    #[test]
    fn a_job_that_says_much_is_waited_for_at_the_end() {
        let (ended, end) = bounded(1);
        let worker: Worker<()> = Worker::spawn("test", &Context::default(), move |job| {
            for _ in 0..5 * CAPACITY {
                job.info("again");
            }
            ended.send(()).unwrap();
            Ok(())
        });
        worker.stop_and_wait();
        assert!(end.try_recv().is_ok());
    }
}
