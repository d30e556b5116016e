//! A model in a process of its own: whatever a file does to the parser or the runtime, it does to
//! that process, which has bounded memory, opens no file and speaks to nobody.
//!
//! Both sides talk through the pipes of the process. The first message says which file it is and what
//! it is to be, every other one is for that; answers carry the number of their question, so that all
//! threads may ask at once. What is asked is the business of the rooms that ask.

mod frames;
mod limits;
mod serving;

pub(crate) use serving::{Answered, serve};

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use frames::{read_frame, write_frame};

/// How long reading a file and making it ready may take.
const LOADING: Duration = Duration::from_secs(300);
/// How much of what the process says before it ends is kept.
const LAST_WORDS: u64 = 4096;

/// How this program is started to run a model.
struct Worker {
    program: PathBuf,
    arguments: Vec<OsString>,
}

static WORKER: OnceLock<Worker> = OnceLock::new();

/// Says how to start a process that does nothing but call [`crate::infer::serve`], by which models
/// from anywhere are run from then on. For programs to call once, at their start; only the first
/// call counts. Without it such files are run in this process.
pub fn isolate_by(program: PathBuf, arguments: Vec<OsString>) {
    WORKER.get_or_init(|| Worker { program, arguments });
}

/// Whether it is known how to start a process.
pub(crate) fn is_possible() -> bool {
    WORKER.get().is_some()
}

/// The first message.
#[derive(Serialize, Deserialize)]
struct Question {
    path: PathBuf,
    /// What the file is to be.
    kind: String,
    /// What that needs to know.
    options: serde_json::Value,
}

/// The answer to it: what is known of the file.
type Opened = Result<serde_json::Value, String>;

/// A process that runs one model.
#[derive(Debug)]
pub(crate) struct Process {
    process: Arc<Mutex<Child>>,
    questions: Mutex<Option<ChildStdin>>,
    next: AtomicU64,
    waiting: Arc<Mutex<Waiting>>,
    reader: Option<JoinHandle<()>>,
}

/// Who waits for which answer.
#[derive(Debug, Default)]
struct Waiting {
    open: HashMap<u64, Sender<Vec<u8>>>,
    /// Why there will be no more answers.
    ended: Option<String>,
}

impl Process {
    /// Starts a process that reads the file as what `kind` names, and says what is known of it.
    ///
    /// # Errors
    /// A sentence, if it cannot be started, ends, takes too long, or the file is no such thing.
    pub fn open<T: DeserializeOwned>(
        kind: &str,
        path: &Path,
        options: &impl Serialize,
    ) -> Result<(Self, T), String> {
        let worker = WORKER.get().ok_or("it is not known how to start a process for it")?;
        let process = Self::start(worker)
            .map_err(|error| format!("no process could be started to run it: {error}"))?;
        let question = Question {
            path: std::path::absolute(path).map_err(|error| error.to_string())?,
            kind: kind.into(),
            options: serde_json::to_value(options).map_err(|error| error.to_string())?,
        };
        let question = serde_json::to_vec(&question).map_err(|error| error.to_string())?;
        let answer = process.ask(LOADING, &[&question])?;
        let none = |_| "the process that runs it gave an answer that is none".to_string();
        let opened: Opened = serde_json::from_slice(&answer).map_err(none)?;
        let known = serde_json::from_value(opened?).map_err(none)?;
        Ok((process, known))
    }

    fn start(worker: &Worker) -> io::Result<Self> {
        let mut command = Command::new(&worker.program);
        command.args(&worker.arguments);
        // A library of somebody's could not be loaded there; the program's own runtime has to do.
        command.env_remove("ORT_DYLIB_PATH");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Whoever interrupts this program at a terminal interrupts this program.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        #[cfg(windows)]
        {
            const CREATE_NEW_PROCESS_GROUP: u32 = 0x0000_0200;
            const CREATE_NO_WINDOW: u32 = 0x0800_0000;
            std::os::windows::process::CommandExt::creation_flags(
                &mut command,
                CREATE_NEW_PROCESS_GROUP | CREATE_NO_WINDOW,
            );
        }
        let mut process = command.spawn()?;
        let (questions, answers) = (process.stdin.take(), process.stdout.take());
        let words = process.stderr.take();
        let process = Arc::new(Mutex::new(process));
        let waiting = Arc::new(Mutex::new(Waiting::default()));
        let reader = {
            let (process, waiting) = (Arc::clone(&process), Arc::clone(&waiting));
            std::thread::Builder::new().name("model answers".into()).spawn(move || {
                let words = std::thread::spawn(move || words.map(last_words).unwrap_or_default());
                let mut answers = answers.map(BufReader::new);
                while let Some(Ok(Some((number, answer)))) = answers.as_mut().map(read_frame) {
                    if let Some(asked) = lock(&waiting).open.remove(&number) {
                        // Who asked may have given up.
                        let _ = asked.send(answer);
                    }
                }
                let status = {
                    let mut process = lock(&process);
                    // It has nothing more to say, whether it has noticed or not.
                    let ended = process.try_wait();
                    match ended {
                        Ok(Some(status)) => Ok(status),
                        _ => {
                            std::thread::sleep(Duration::from_millis(50));
                            let _ = process.kill();
                            process.wait()
                        }
                    }
                };
                let words = words.join().unwrap_or_default();
                let mut waiting = lock(&waiting);
                waiting.ended.get_or_insert_with(|| reason_of(status, &words));
                waiting.open.clear();
            })?
        };
        Ok(Self {
            process,
            questions: Mutex::new(questions),
            next: AtomicU64::new(0),
            waiting,
            reader: Some(reader),
        })
    }

    /// Asks something whose parts follow each other, and waits for the answer.
    ///
    /// # Errors
    /// A sentence, if the process ends or takes too long.
    pub fn ask(&self, time: Duration, parts: &[&[u8]]) -> Result<Vec<u8>, String> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (asked, answer) = bounded(1);
        {
            let mut waiting = lock(&self.waiting);
            if let Some(reason) = &waiting.ended {
                return Err(reason.clone());
            }
            waiting.open.insert(number, asked);
        }
        if let Some(questions) = lock(&self.questions).as_mut() {
            // If it has ended, the reader knows why.
            let _ = write_frame(questions, number, parts);
        }
        match answer.recv_timeout(time) {
            Ok(answer) => Ok(answer),
            Err(RecvTimeoutError::Timeout) => {
                let reason = format!("it took more than {} seconds", time.as_secs());
                lock(&self.waiting).ended.get_or_insert(reason.clone());
                let _ = lock(&self.process).kill();
                Err(reason)
            }
            Err(RecvTimeoutError::Disconnected) => Err(lock(&self.waiting)
                .ended
                .clone()
                .unwrap_or_else(|| "the process that ran it ended".into())),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Without questions it ends by itself; what it is computing nobody waits for any more.
        *lock(&self.questions) = None;
        let _ = lock(&self.process).kill();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The beginning of what a process writes to its standard error; the rest is read and forgotten.
fn last_words(mut from: impl Read) -> String {
    let mut words = Vec::new();
    let _ = from.by_ref().take(LAST_WORDS).read_to_end(&mut words);
    let _ = io::copy(&mut from, &mut io::sink());
    String::from_utf8_lossy(&words).into_owned()
}

/// Why a process ended that was not asked to.
fn reason_of(status: io::Result<ExitStatus>, words: &str) -> String {
    if words.contains("memory allocation of") {
        return format!(
            "it needs more memory than the {} GB that running a model may take",
            limits::MEMORY >> 30
        );
    }
    if words.contains("has overflowed its stack") {
        return "it is nested so deeply that the runtime gives up".into();
    }
    match status {
        Ok(status) => {
            format!("it brings the runtime down, which ran apart and ended with {status}")
        }
        Err(error) => format!("the process that ran it was lost: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_ends_says_why() {
        let status = || Err(io::Error::other("gone"));
        assert!(
            reason_of(status(), "memory allocation of 99 bytes failed").contains("more memory")
        );
        assert!(reason_of(status(), "thread 'main' has overflowed its stack").contains("nested"));
        assert!(reason_of(status(), "").contains("gone"));
        let long = "x".repeat(100_000);
        assert_eq!(last_words(long.as_bytes()).len() as u64, LAST_WORDS);
    }

    #[cfg(unix)]
    #[test]
    fn a_process_that_does_not_answer_is_an_error_for_everyone() {
        // One that ends at once, and one that is killed while it is asked.
        let long = Duration::from_secs(60);
        let gone = Process::start(&Worker { program: "false".into(), arguments: Vec::new() });
        let gone = gone.unwrap();
        let error = gone.ask(long, &[b"?"]).unwrap_err();
        assert!(error.contains("exit status: 1"), "{error}");
        assert_eq!(gone.ask(long, &[b"?"]).unwrap_err(), error);

        // As one ends that reads past what is its own.
        let arguments = vec!["-c".into(), "kill -SEGV $$".into()];
        let down = Process::start(&Worker { program: "sh".into(), arguments }).unwrap();
        let error = down.ask(long, &[b"?"]).unwrap_err();
        assert!(
            error.contains("brings the runtime down") && error.contains("signal: 11"),
            "{error}"
        );

        let arguments = vec!["600".into()];
        let silent = Process::start(&Worker { program: "sleep".into(), arguments }).unwrap();
        let error = silent.ask(Duration::from_millis(50), &[b"?"]).unwrap_err();
        assert!(error.contains("took more than"), "{error}");
        assert_eq!(silent.ask(long, &[b"?"]).unwrap_err(), error);
        let none = Worker { program: "/no/such/program".into(), arguments: Vec::new() };
        assert!(Process::start(&none).is_err());
    }
}
