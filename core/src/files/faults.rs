//! A disk that fails when a test wants it to, for files below one folder.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Folders with faults: how many calls succeed before one fails, and whether it has. All calls after
/// it fail as well, as on a disk that is full or gone.
static ARMED: Mutex<Vec<(PathBuf, usize, bool)>> = Mutex::new(Vec::new());

/// Faults below a folder, until it is dropped.
pub(crate) struct Faults(PathBuf);

impl Faults {
    /// Has writing fail below a folder after so many calls.
    pub fn after(folder: &Path, calls: usize) -> Self {
        armed().push((folder.to_path_buf(), calls, false));
        Self(folder.to_path_buf())
    }

    /// Whether anything has failed.
    pub fn happened(&self) -> bool {
        armed().iter().any(|(folder, _, happened)| *folder == self.0 && *happened)
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        armed().retain(|(folder, ..)| *folder != self.0);
    }
}

fn armed() -> std::sync::MutexGuard<'static, Vec<(PathBuf, usize, bool)>> {
    ARMED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Fails if it is time for it.
pub(crate) fn may_fail(path: &Path) -> io::Result<()> {
    for (folder, left, happened) in armed().iter_mut() {
        if path.starts_with(folder) {
            *happened |= *left == 0;
            *left = left.saturating_sub(1);
            if *happened {
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
        }
    }
    Ok(())
}
