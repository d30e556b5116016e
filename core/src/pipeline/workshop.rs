//! Where a run is made that is to appear when it is finished: beside its place, under a temporary
//! name.

use std::path::{Path, PathBuf};

use crate::error::{Result, RunError};
use crate::files::{self, TemporaryFolder};
use crate::job::Job;
use crate::run::Place;

/// A temporary folder for a run, and the place that it goes to. A program that is killed leaves the
/// place as it was, but for a lock; the folder is swept by whatever works there next.
pub(super) struct Workshop {
    folder: TemporaryFolder,
    place: Place,
    goes_to: PathBuf,
}

impl Workshop {
    /// Beside a place that is held until the run is put there.
    ///
    /// # Errors
    /// [`RunError::File`] if the folder cannot be made.
    pub fn beside(place: Place, goes_to: &Path) -> Result<Self> {
        let parent = goes_to.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        std::fs::create_dir_all(parent).map_err(|error| RunError::file(parent, error))?;
        let folder =
            files::temporary_folder(parent).map_err(|error| RunError::file(parent, error))?;
        Ok(Self { folder, place, goes_to: goes_to.to_path_buf() })
    }

    /// The folder to make the run in: as deep as the place it goes to, since a run may name its
    /// images by a relative path.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Gives the finished run its place, in which an earlier one may lie, and says where it is: beside
    /// it, if its place cannot be had.
    pub fn put(self, job: Job<'_>) -> PathBuf {
        let outcome = self.place.put(self.folder.path());
        let made = self.folder.keep();
        let folder = self.goes_to;
        let Err(error) = outcome else { return folder };
        // Under the name that it was made with it would be removed as unfinished one day.
        let beside = |number: u32| {
            let mut name = folder.file_name().unwrap_or_default().to_os_string();
            name.push(format!("-{number}"));
            folder.with_file_name(name)
        };
        let free =
            (2..).map(beside).find(|path| path.symlink_metadata().is_err()).unwrap_or_default();
        let kept = if std::fs::rename(&made, &free).is_ok() { free } else { made };
        job.warn(format!("the run is kept in {}: {error}", kept.display()));
        kept
    }
}
