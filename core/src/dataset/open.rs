//! Opening a dataset: from its file, or straight from a source.

use std::path::Path;

use super::build::build;
use super::edits::edited;
use super::grouping::{crossed_subfolders, notice_series};
use super::options::BuildOptions;
use super::samples::Dataset;
use crate::error::{DataError, Result};
use crate::job::Job;
use crate::source::{Catalog, NO_IMAGE, ScanOptions, scan};

impl Dataset {
    /// Opens a dataset file (a `.toml` file), whose images are checked to be there and to be the same
    /// as when it was built, or any source, which is scanned and built with the default options;
    /// with the edits that lie beside it. Broken images, notes and what the edits come to are
    /// reported as messages.
    ///
    /// # Errors
    /// As [`Dataset::load`], [`Dataset::verify_files`] and [`Dataset::verify_content`], or as
    /// [`scan`] and [`build`]; as [`edited`].
    pub fn open(path: &Path, job: Job<'_>) -> Result<Self> {
        Self::open_with(path, &ScanOptions::default(), &BuildOptions::default(), job)
    }

    /// [`Dataset::open`] of a source that is read as `scan` says and built with these options. Where
    /// nothing is asked to be held out together and the images come in series, a warning says so.
    ///
    /// # Errors
    /// As [`Dataset::open`]; anything that is said about reading or building a dataset file, which
    /// says itself what belongs to it.
    pub fn open_with(
        path: &Path,
        scan: &ScanOptions,
        options: &BuildOptions,
        job: Job<'_>,
    ) -> Result<Self> {
        let (dataset, catalog) = Self::open_as_is(path, scan, options, job)?;
        let dataset = edited(dataset, path, catalog.as_ref(), job)?;
        dataset.warnings().for_each(|warning| job.warn(warning));
        // Images that were excluded may be gone.
        if catalog.is_none() {
            dataset.verify_files()?;
            dataset.verify_content(None, job)?;
        }
        Ok(dataset)
    }

    /// Whether a path is that of a dataset file, and not of a source that is scanned.
    pub fn is_file(path: &Path) -> bool {
        path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"))
            && !path.is_dir()
    }

    /// [`Dataset::open_with`] without edits, and without a look at whether the images of a
    /// dataset file are there; with what a scan has found where there was one.
    ///
    /// # Errors
    /// As [`Dataset::load`], or as [`scan`] and [`build`].
    pub fn open_as_is(
        path: &Path,
        how: &ScanOptions,
        options: &BuildOptions,
        job: Job<'_>,
    ) -> Result<(Self, Option<Catalog>)> {
        let is_dataset_file = Self::is_file(path);
        let by = options.group_by.as_ref();
        if is_dataset_file && *options != BuildOptions::default() {
            let reason = "is a dataset file, whose splits are made and whose classes have their names; build it again to keep other images together or give other names";
            return Err(DataError::file(path, reason).into());
        }
        if is_dataset_file {
            if !how.is_plain() {
                let reason = "is a dataset file, which names its images itself; columns of lists and files to leave out can only be given where it is built";
                return Err(DataError::source(path, reason).into());
            }
            return Ok((Self::load(path)?, None));
        }
        let catalog = scan(path, how, job)?;
        let unread: Vec<_> =
            catalog.problems.iter().filter(|problem| problem.reason != NO_IMAGE).collect();
        if let Some(first) = unread.first() {
            let others = match unread.len() - 1 {
                0 => String::new(),
                n => format!(" and {n} more"),
            };
            job.warn(format!(
                "left out {}: {}{others}; `inspect` lists every one",
                first.path.display(),
                first.reason
            ));
        }
        let empty: Vec<String> = catalog
            .problems
            .iter()
            .filter(|problem| problem.reason == NO_IMAGE)
            .map(|problem| problem.path.display().to_string())
            .collect();
        if let Some(first) = empty.first() {
            let others = match empty.len() - 1 {
                0 => String::new(),
                more => format!(", and {more} more like it"),
            };
            job.warn(format!("{first}: {NO_IMAGE}{others}"));
        }
        for twins in &catalog.twins {
            job.warn(twins.to_string());
        }
        let mut building = options.clone();
        building.keep_together(by.cloned(), &catalog.classes);
        if let Some(question) = by.is_none().then(|| crossed_subfolders(&catalog.classes)).flatten()
        {
            job.warn(question);
        }
        if by.is_none()
            && let Some(series) = notice_series(&catalog)
        {
            job.warn(series.sentences());
        }
        let built = build(&catalog, &building)?;
        for note in built.notes {
            job.info(note);
        }
        Ok((built.dataset, Some(catalog)))
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
        let again = Dataset::open(&file, Job::new(&control, &sink)).unwrap();
        assert!(again.same_samples(&opened));
        assert_eq!(again.provenance.source_hash, opened.provenance.source_hash);
        let origin = again.provenance.origin.unwrap();
        assert_eq!((origin.path, origin.edits), (file.clone(), String::new()));
        std::fs::remove_file(sample.join("0_zero/0000.png")).unwrap();
        let error = Dataset::open(&file, Job::new(&control, &sink)).unwrap_err().to_string();
        assert!(error.contains("0000.png"), "{error}");
    }
}
