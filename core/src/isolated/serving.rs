//! The process that runs a model.

use std::io::{self, BufReader, Write};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use super::frames::{read_frame, write_frame};
use super::{Opened, Question, limits};
use crate::{onnx, panics};

/// What answers the questions about a model that was read, from any thread.
pub(crate) type Answered = Box<dyn Fn(&[u8]) -> Vec<u8> + Send + Sync>;

/// Reads one file and runs it for the process that started this one, through standard input and
/// output, until the input ends. `read` makes of the file's bytes what it is asked to be.
///
/// # Errors
/// If what arrives is no message, or nobody reads the answers.
pub(crate) fn serve(
    read: impl FnOnce(&str, &[u8], Value) -> Result<(Value, Answered), String>,
) -> io::Result<()> {
    panics::install_hook();
    let mut questions = BufReader::new(io::stdin().lock());
    let answers = Arc::new(Mutex::new(io::stdout()));
    let Some((number, question)) = read_frame(&mut questions)? else { return Ok(()) };
    let question: Question = serde_json::from_slice(&question)?;
    // What is asked of the system for it has to be asked before there is no more asking.
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
    let bytes = onnx::read_bytes(&question.path);
    limits::bind(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64));
    let opened = bytes.and_then(|bytes| read(&question.kind, &bytes, question.options));
    let (answered, answer): (Option<Answered>, Opened) = match opened {
        Ok((known, answered)) => (Some(answered), Ok(known)),
        Err(reason) => (None, Err(reason)),
    };
    write_frame(&mut io::stdout(), number, &[&serde_json::to_vec(&answer)?])?;
    let Some(answered) = answered else { return Ok(()) };
    let answered = Arc::new(answered);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(io::Error::other)?;
    while let Some((number, message)) = read_frame(&mut questions)? {
        let (answered, answers) = (Arc::clone(&answered), Arc::clone(&answers));
        pool.spawn(move || {
            let answer = answered(&message);
            let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
            if write_frame(&mut *answers, number, &[&answer]).is_err() {
                // Nobody is there any more.
                std::process::exit(1);
            }
        });
    }
    // What is still being computed nobody waits for.
    io::stdout().flush()?;
    std::process::exit(0);
}
