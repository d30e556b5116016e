//! An image file on disk: enough to read it, and to tell later whether it is still the same.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::decode::{DecodeError, max_file_bytes};

/// A file, its length, and when it was last changed. Equal if the file has not changed in between.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ImageFile {
    /// Absolute where the working folder is known.
    pub path: PathBuf,
    /// Bytes.
    pub length: u64,
    /// Nanoseconds since 1970; `None` where the file system does not say, and then nothing is
    /// remembered of the file.
    pub modified: Option<i64>,
}

impl ImageFile {
    /// Looks the file up, without opening it.
    ///
    /// # Errors
    /// The reason: it is not there, is a device or a pipe, or cannot be looked at.
    pub fn find(path: &Path) -> Result<Self, String> {
        let metadata = std::fs::metadata(path).map_err(|reason| reason.to_string())?;
        if !metadata.is_file() {
            return Err("not a file".into());
        }
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        Ok(Self {
            path,
            length: metadata.len(),
            modified: metadata.modified().ok().and_then(nanoseconds),
        })
    }

    /// Its content, unless it is so large that it cannot be an image of `max_pixels` pixels.
    ///
    /// # Errors
    /// The reason.
    pub fn read(&self, max_pixels: u64) -> Result<Vec<u8>, String> {
        if self.length > max_file_bytes(max_pixels) {
            return Err(DecodeError::TooManyBytes(self.length).to_string());
        }
        std::fs::read(&self.path).map_err(|reason| reason.to_string())
    }
}

/// Nanoseconds since 1970, which last from 1678 to 2262.
pub(super) fn nanoseconds(time: SystemTime) -> Option<i64> {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_nanos()).ok(),
        Err(before) => i64::try_from(before.duration().as_nanos()).ok().map(|before| -before),
    }
}
