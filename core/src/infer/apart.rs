//! A classifier in a process of its own: what is asked of that process, and what it answers.

use std::path::Path;
use std::time::Duration;

use super::graph::{About, Graph};
use super::{InputOptions, Outputs};
use crate::isolated::{Answered, Process};
use crate::panics;

/// What the process is asked to be.
pub(super) const CLASSIFIER: &str = "classifier";
/// How long the images of one question may take.
const RUNNING: Duration = Duration::from_secs(600);
/// What an answer about images begins with.
const FAILED: u8 = 0;
const PROBABILITIES: u8 = 1;
const LOGITS_TOO: u8 = 2;

/// A process that runs one classifier.
#[derive(Debug)]
pub(super) struct Isolated(Process);

impl Isolated {
    /// Starts a process that reads the file.
    ///
    /// # Errors
    /// A sentence, if it cannot be started, ends, takes too long, or the file is no classifier.
    pub fn open(path: &Path, options: &InputOptions) -> Result<(Self, About), String> {
        let (process, about) = Process::open(CLASSIFIER, path, options)?;
        Ok((Self(process), about))
    }

    /// What the model says of images, as [`Graph::run`] does.
    ///
    /// # Errors
    /// A sentence, if it fails, or the process ends or takes too long.
    pub fn run(&self, images: &[Vec<u8>], classes: usize) -> Result<Outputs, String> {
        let count = (images.len() as u32).to_le_bytes();
        let parts: Vec<&[u8]> =
            std::iter::once(&count[..]).chain(images.iter().map(Vec::as_slice)).collect();
        read_outputs(&self.0.ask(RUNNING, &parts)?, images.len(), classes)
    }
}

/// Reads a classifier in that process, and says how it answers.
///
/// # Errors
/// A sentence, if the file is none.
pub(super) fn answered(bytes: &[u8], options: &InputOptions) -> Result<(About, Answered), String> {
    let (graph, about) = panics::caught(|| Graph::read(bytes, options))?;
    let answer = move |message: &[u8]| {
        let outputs = match read_images(message) {
            Some(images) => panics::caught(|| graph.run(&images)),
            None => Err("a question about no images".into()),
        };
        outputs_message(&outputs)
    };
    Ok((about, Box::new(answer)))
}

/// The images that are asked about.
fn read_images(message: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (count, bytes) = message.split_first_chunk()?;
    let count = u32::from_le_bytes(*count) as usize;
    let length = bytes.len().checked_div(count)?;
    if length == 0 || length * count != bytes.len() {
        return None;
    }
    Some(bytes.chunks(length).map(<[u8]>::to_vec).collect())
}

/// An answer about images.
fn outputs_message(outputs: &Result<Outputs, String>) -> Vec<u8> {
    let outputs = match outputs {
        Err(reason) => return [&[FAILED], reason.as_bytes()].concat(),
        Ok(outputs) => outputs,
    };
    let mut message = vec![if outputs.logits.is_some() { LOGITS_TOO } else { PROBABILITIES }];
    for rows in [Some(&outputs.probabilities), outputs.logits.as_ref()].into_iter().flatten() {
        message.extend(rows.iter().flatten().flat_map(|value| value.to_le_bytes()));
    }
    message
}

/// What an answer says about so many images.
///
/// # Errors
/// The sentence in it, or one that says it is not an answer to that.
fn read_outputs(message: &[u8], images: usize, classes: usize) -> Result<Outputs, String> {
    let not_one = || "the process that runs it gave an answer that is none".to_string();
    let (kind, rest) = message.split_first().ok_or_else(not_one)?;
    if *kind == FAILED {
        return Err(String::from_utf8_lossy(rest).into_owned());
    }
    let (values, more) = rest.as_chunks::<4>();
    let tables = if *kind == LOGITS_TOO { 2 } else { 1 };
    if !more.is_empty() || classes == 0 || values.len() != tables * images * classes {
        return Err(not_one());
    }
    let mut rows = values
        .chunks(classes)
        .map(|row| row.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect::<Vec<f32>>());
    let probabilities = rows.by_ref().take(images).collect();
    let logits = (tables == 2).then(|| rows.collect());
    Ok(Outputs { logits, probabilities })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_arrive_as_they_were_sent() {
        let message = [&2u32.to_le_bytes()[..], &[1, 2, 3], &[4, 5, 6]].concat();
        assert_eq!(read_images(&message).unwrap(), [vec![1, 2, 3], vec![4, 5, 6]]);
        let rows = |from: f32| vec![vec![from, 0.25], vec![-from, f32::MIN_POSITIVE]];
        for logits in [None, Some(rows(2.0))] {
            let outputs = Outputs { logits, probabilities: rows(1.0) };
            let message = outputs_message(&Ok(outputs.clone()));
            assert_eq!(read_outputs(&message, 2, 2), Ok(outputs));
        }
        let failed = outputs_message(&Err("no".into()));
        assert_eq!(read_outputs(&failed, 2, 2), Err("no".into()));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for message in [&[][..], &[1, 0, 0, 0], &[2, 0, 0, 0, 9], &[0, 0, 0, 0, 9]] {
            assert_eq!(read_images(message), None);
        }
        for message in [&[][..], &[1, 0, 0], &[1, 0, 0, 0, 0], &[2, 0, 0, 0, 0]] {
            assert!(read_outputs(message, 1, 2).is_err());
        }
    }
}
