//! Opening a dataset: from its file, or straight from a source.

use std::path::Path;

use super::build::build;
use super::options::BuildOptions;
use super::samples::Dataset;
use crate::error::{DataError, Result};
use crate::job::Job;
use crate::source::{ScanOptions, scan};

impl Dataset {
    /// Opens a dataset file (a `.toml` file), whose images are checked to exist, or any source,
    /// which is scanned and built with the default options. Broken images and notes are reported as
    /// messages.
    ///
    /// # Errors
    /// As [`Dataset::load`] and [`Dataset::verify_files`], or as [`scan`] and [`build`].
    pub fn open(path: &Path, job: Job<'_>) -> Result<Self> {
        Self::open_with(path, &ScanOptions::default(), job)
    }

    /// [`Dataset::open`] of a source that is read as `options` say.
    ///
    /// # Errors
    /// As [`Dataset::open`], and if anything is said about a dataset file, which says itself what
    /// belongs to it.
    pub fn open_with(path: &Path, options: &ScanOptions, job: Job<'_>) -> Result<Self> {
        let is_dataset_file =
            path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"))
                && !path.is_dir();
        if is_dataset_file {
            if !options.is_plain() {
                let reason = "is a dataset file, which names its images itself; columns of lists and files to leave out can only be given where it is built";
                return Err(DataError::source(path, reason).into());
            }
            let dataset = Self::load(path)?;
            dataset.verify_files()?;
            return Ok(dataset);
        }
        let catalog = scan(path, options, job)?;
        if let Some(first) = catalog.problems.first() {
            let others = match catalog.problems.len() - 1 {
                0 => String::new(),
                n => format!(" and {n} more"),
            };
            job.warn(format!(
                "left out {}: {}{others}; `inspect` lists every one",
                first.path.display(),
                first.reason
            ));
        }
        for twins in &catalog.twins {
            job.warn(twins.to_string());
        }
        let built = build(&catalog, &BuildOptions::default())?;
        for note in built.notes {
            job.info(note);
        }
        Ok(built.dataset)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::job::{Control, Event};
    use crate::source::{Split, unpack_sample};

    #[test]
    fn a_source_and_the_dataset_file_built_from_it_open_alike() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        let sample = unpack_sample(&folder).unwrap();
        std::fs::write(sample.join("9_nine/broken.png"), b"no image").unwrap();
        let messages = Mutex::new(Vec::new());
        let sink = |event: Event| {
            if let Event::Message { text, .. } = event {
                messages.lock().unwrap().push(text);
            }
        };
        let control = Control::new();
        let opened = Dataset::open(&sample, Job::new(&control, &sink)).unwrap();
        assert_eq!(opened.samples.len(), 1797);
        assert_eq!(opened.counts(Split::Test), [35; 10]);
        assert!(messages.lock().unwrap().iter().any(|text| text.contains("broken.png")));
        let file = folder.join("digits.toml");
        opened.save(&file).unwrap();
        assert_eq!(Dataset::open(&file, Job::new(&control, &sink)).unwrap(), opened);
        std::fs::remove_file(sample.join("0_zero/0000.png")).unwrap();
        let error = Dataset::open(&file, Job::new(&control, &sink)).unwrap_err().to_string();
        assert!(error.contains("0000.png"), "{error}");
    }
}
