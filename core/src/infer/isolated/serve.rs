//! The process that runs a model.

use std::io::{self, BufReader, Write};
use std::sync::{Arc, Mutex, PoisonError};

use super::super::graph::Graph;
use super::frames::{outputs_message, read_frame, read_images, write_frame};
use super::{Opened, Question, limits};
use crate::{onnx, panics};

/// Reads one classifier and runs it for the process that started this one, through standard input
/// and output, until the input ends. See [`super::isolate_by`].
///
/// # Errors
/// If what arrives is no message, or nobody reads the answers.
pub fn serve() -> io::Result<()> {
    panics::install_hook();
    let mut questions = BufReader::new(io::stdin().lock());
    let answers = Arc::new(Mutex::new(io::stdout()));
    let Some((number, question)) = read_frame(&mut questions)? else { return Ok(()) };
    let question: Question = serde_json::from_slice(&question)?;
    // What is asked of the system for it has to be asked before there is no more asking.
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
    let read = onnx::read_bytes(&question.path);
    limits::bind(read.as_ref().map_or(0, |bytes| bytes.len() as u64));
    let opened = read.and_then(|bytes| panics::caught(|| Graph::read(&bytes, &question.options)));
    let (graph, answer): (Option<Graph>, Opened) = match opened {
        Ok((graph, about)) => (Some(graph), Ok(about)),
        Err(reason) => (None, Err(reason)),
    };
    write_frame(&mut io::stdout(), number, &serde_json::to_vec(&answer)?)?;
    let Some(graph) = graph else { return Ok(()) };
    let graph = Arc::new(graph);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(io::Error::other)?;
    while let Some((number, message)) = read_frame(&mut questions)? {
        let images =
            read_images(&message).ok_or_else(|| io::Error::other("a question about no images"))?;
        let (graph, answers) = (Arc::clone(&graph), Arc::clone(&answers));
        pool.spawn(move || {
            let outputs = panics::caught(|| graph.run(&images));
            let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
            if write_frame(&mut *answers, number, &outputs_message(&outputs)).is_err() {
                // Nobody is there any more.
                std::process::exit(1);
            }
        });
    }
    // What is still being computed nobody waits for.
    io::stdout().flush()?;
    std::process::exit(0);
}
