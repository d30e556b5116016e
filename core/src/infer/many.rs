//! Classifying many files.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::native::Native;
use super::{BATCH, OnnxClassifier, Outputs};
use crate::error::Result;
use crate::images;
use crate::job::Job;
use crate::panics;

/// Files that one thread decodes and has classified together.
const TOGETHER: usize = 8;
/// Such groups for each thread between two moments at which results are passed on.
const ROUNDS: usize = 4;
/// So many files are worth preparing the network in a file for.
const WORTH: usize = 16;
/// Files on which it is compared with the runtime.
const COMPARED: usize = 4;

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
            let inputs = || {
                files.iter().take(COMPARED).filter_map(|file| self.input_of(file).ok()).collect()
            };
            let found = match self.native_for(files.len(), inputs) {
                Some(native) => self.classify_by(native, files),
                None => {
                    let groups: Vec<&[PathBuf]> = files.chunks(TOGETHER).collect();
                    let found: Vec<Vec<Result<Vec<f32>>>> = groups
                        .into_par_iter()
                        .map(|files| match job.check() {
                            Ok(()) => self.classify_group(files),
                            // The stop is told below.
                            Err(_) => Vec::new(),
                        })
                        .collect();
                    found.into_iter().flatten().collect()
                }
            };
            job.check()?;
            for (file, found) in files.iter().zip(found) {
                each(file, found)?;
                done += 1;
            }
            job.progress(done);
        }
        Ok(())
    }

    /// Logits and probabilities of many images as [`crate::images::to_input`] makes them, by all
    /// threads; where `natively`, by our own kernels if the file is one of ours. What is to say
    /// something about the file itself must not go by these.
    ///
    /// # Errors
    /// As [`OnnxClassifier::run`].
    pub fn run_many(&self, images: &[Vec<u8>], natively: bool) -> Result<Outputs> {
        let joined =
            |parts: Vec<Outputs>| parts.into_iter().reduce(Outputs::and).unwrap_or_default();
        let some = || images.iter().take(COMPARED).cloned().collect();
        let native = if natively { self.native_for(images.len(), some) } else { None };
        if let Some(native) = native {
            let found = panics::caught(|| {
                images
                    .chunks(BATCH)
                    .map(|batch| native.run(batch))
                    .collect::<std::result::Result<_, _>>()
            });
            // The runtime gives an error of its own, or an answer.
            if let Ok(parts) = found {
                return Ok(joined(parts));
            }
        }
        let parts = images.par_chunks(TOGETHER).map(|images| self.run(images));
        Ok(joined(parts.collect::<Result<_>>()?))
    }

    /// The network in the file, where it is one of ours and there are enough images for it to be
    /// worth preparing. Both are compared on some of them.
    fn native_for(&self, images: usize, some: impl FnOnce() -> Vec<Vec<u8>>) -> Option<&Native> {
        if let Some(known) = self.native.get() {
            return known.as_ref();
        }
        if images < WORTH {
            return None;
        }
        let found = panics::caught(|| {
            let some = some();
            let expected = self.run(&some).map_err(|error| error.to_string())?;
            let native =
                Native::of(&self.path, self.metadata(), self.input_size(), self.classes().len());
            Ok(native.filter(|native| !some.is_empty() && native.agrees(&some, &expected)))
        });
        // Nothing is lost where it cannot be used.
        self.native.get_or_init(|| found.unwrap_or_default()).as_ref()
    }

    /// Decodes files and has our own kernels compute those that could be read.
    fn classify_by(&self, native: &Native, files: &[PathBuf]) -> Vec<Result<Vec<f32>>> {
        let read: Vec<Result<Vec<u8>>> = files.par_iter().map(|file| self.input_of(file)).collect();
        let inputs: Vec<Vec<u8>> =
            read.iter().filter_map(|input| input.as_ref().ok().cloned()).collect();
        let rows = panics::caught(|| {
            let rows = inputs.chunks(BATCH).map(|batch| Ok(native.run(batch)?.probabilities));
            rows.collect::<std::result::Result<Vec<_>, String>>().map(|rows| rows.concat())
        });
        let mut rows = match rows {
            Ok(rows) => rows.into_iter(),
            // The runtime gives each an error of its own, or an answer.
            Err(_) => return self.classify_group(files),
        };
        read.into_iter().map(|read| read.map(|_| rows.next().unwrap_or_default())).collect()
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
        Ok(images::to_input(&image, self.input_shape()))
    }
}
