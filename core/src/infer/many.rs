//! Classifying many files.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::OnnxClassifier;
use crate::error::Result;
use crate::images;
use crate::job::Job;

/// Files that one thread decodes and has classified together.
const TOGETHER: usize = 8;
/// Such groups for each thread between two moments at which results are passed on.
const ROUNDS: usize = 4;

/// What is done with each file's probabilities.
pub type EachFile<'a> = &'a mut dyn FnMut(&Path, Result<Vec<f32>>) -> Result<()>;

impl OnnxClassifier {
    /// Classifies image files of any size and format that can be trained on, and passes their
    /// probabilities, one a class, to `each` in the order of `files`. All threads decode and
    /// compute; memory does not grow with the number of files.
    ///
    /// # Errors
    /// [`crate::Error::Stopped`], and whatever `each` returns, at once. That a file cannot be read
    /// or classified is told to `each`, and the others go on.
    pub fn classify_all(&self, files: &[PathBuf], each: EachFile<'_>, job: Job<'_>) -> Result<()> {
        job.phase("classifying", Some(files.len() as u64), "images");
        let at_once = TOGETHER * ROUNDS * rayon::current_num_threads();
        let mut done = 0;
        for files in files.chunks(at_once) {
            job.check()?;
            let groups: Vec<&[PathBuf]> = files.chunks(TOGETHER).collect();
            let found: Vec<Vec<Result<Vec<f32>>>> = groups
                .into_par_iter()
                .map(|files| match job.check() {
                    Ok(()) => self.classify_group(files),
                    // The stop is told below.
                    Err(_) => Vec::new(),
                })
                .collect();
            job.check()?;
            for (file, found) in files.iter().zip(found.into_iter().flatten()) {
                each(file, found)?;
                done += 1;
            }
            job.progress(done);
        }
        Ok(())
    }

    /// Decodes some files and runs those that could be read together.
    fn classify_group(&self, files: &[PathBuf]) -> Vec<Result<Vec<f32>>> {
        let mut inputs = Vec::with_capacity(files.len());
        let read: Vec<Result<()>> = files
            .iter()
            .map(|file| {
                inputs.push(self.input_of(file)?);
                Ok(())
            })
            .collect();
        let mut found = match self.classify(&inputs) {
            Ok(rows) => rows.into_iter().map(Ok).collect::<Vec<_>>().into_iter(),
            // One by one, so that each has an error of its own, and none for another's sake.
            Err(_) => inputs
                .iter()
                .map(|input| {
                    let mut rows = self.classify(std::slice::from_ref(input))?;
                    Ok(rows.pop().unwrap_or_default())
                })
                .collect::<Vec<_>>()
                .into_iter(),
        };
        read.into_iter()
            .map(|read| read.and_then(|()| found.next().unwrap_or_else(|| Ok(Vec::new()))))
            .collect()
    }

    /// An image file as the model wants it.
    fn input_of(&self, path: &Path) -> Result<Vec<u8>> {
        let side = self.input_size();
        let detail = images::Detail::Side(side as u32);
        let image = images::read_image_for(path, images::DEFAULT_MAX_PIXELS, detail)?;
        Ok(images::to_input(&image, side))
    }
}
