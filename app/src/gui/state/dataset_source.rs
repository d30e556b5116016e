//! A dataset that a job is about to make, with the edits beside its source or without.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use counterweight_core::Result;
use counterweight_core::dataset::{self, BuildOptions, Dataset};
use counterweight_core::job::Job;
use counterweight_core::source::Catalog;

/// A dataset that is about to be trained on, edited or written.
#[derive(Clone)]
pub enum DatasetSource {
    /// Build it first.
    Build(Arc<Catalog>, Box<BuildOptions>),
    /// It is there, and was read from this file.
    Ready(Arc<Dataset>, PathBuf),
}

impl DatasetSource {
    /// The dataset with the edits beside its source, with notes on how it was built.
    ///
    /// # Errors
    /// As [`dataset::build`] and [`dataset::edited`].
    pub fn make(self, job: Job<'_>) -> Result<(Dataset, Vec<String>)> {
        let place = self.place().to_path_buf();
        match self {
            DatasetSource::Build(catalog, options) => {
                let built = dataset::build(&catalog, &options)?;
                let edited = dataset::edited(built.dataset, &place, Some(&catalog), job)?;
                Ok((edited, built.notes))
            }
            DatasetSource::Ready(dataset, _) => {
                let edited = dataset::edited((*dataset).clone(), &place, None, job)?;
                edited.verify_files()?;
                Ok((edited, Vec::new()))
            }
        }
    }

    /// The dataset without edits, and what it was built of.
    ///
    /// # Errors
    /// As [`dataset::build`].
    pub fn make_as_is(&self) -> Result<(Arc<Dataset>, Option<Arc<Catalog>>)> {
        match self {
            DatasetSource::Build(catalog, options) => {
                let built = dataset::build(catalog, options)?;
                Ok((Arc::new(built.dataset), Some(Arc::clone(catalog))))
            }
            DatasetSource::Ready(dataset, _) => Ok((Arc::clone(dataset), None)),
        }
    }

    /// What its edits lie beside.
    pub fn place(&self) -> &Path {
        match self {
            DatasetSource::Build(catalog, _) => &catalog.source,
            DatasetSource::Ready(_, file) => file,
        }
    }
}
