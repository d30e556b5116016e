//! Files and folders that are not finished yet, and the removal of those that never will be.
//!
//! Whoever writes one holds a lock on it, which the system takes away when a process ends, however
//! it ends. So one that nobody holds was left by a process that was killed.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const PREFIX: &str = ".counterweight-";
const SUFFIX: &str = ".tmp";
/// Where there are no locks, what was not changed for so long is taken to be left behind.
const OLD: Duration = Duration::from_secs(24 * 60 * 60);
/// Folders below one in which changes are looked for.
const DEPTH: usize = 3;
/// How often something is made anew that another process took for left behind.
const ATTEMPTS: usize = 8;

/// Whether a file or folder of that name is one that has not got its name yet.
pub fn is_temporary(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX))
}

/// A folder with a name of its own, which is removed with all that is in it unless it is kept.
#[derive(Debug)]
pub struct TemporaryFolder {
    folder: tempfile::TempDir,
    /// Given back after the folder is removed.
    _claim: Option<File>,
}

impl TemporaryFolder {
    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Has it stay, under the name that it has.
    pub fn keep(self) -> PathBuf {
        self.folder.keep()
    }
}

/// An empty folder in `parent`.
///
/// # Errors
/// Whatever the operating system says.
pub fn temporary_folder(parent: &Path) -> io::Result<TemporaryFolder> {
    sweep_once(parent);
    for _ in 0..ATTEMPTS {
        let folder = builder(0o777).tempdir_in(parent)?;
        // Not every system opens folders.
        let claim = File::open(folder.path()).ok();
        if claim.as_ref().is_none_or(is_claimed) {
            return Ok(TemporaryFolder { folder, _claim: claim });
        }
    }
    Err(io::Error::other("temporary folders in it are removed by another program"))
}

/// An empty file in `folder`.
pub(super) fn file_in(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    sweep_once(folder);
    for _ in 0..ATTEMPTS {
        let file = new_file(&builder(0o666), folder)?;
        if is_claimed(file.as_file()) {
            return Ok(file);
        }
    }
    Err(io::Error::other("temporary files in it are removed by another program"))
}

/// What is made is private by default; what it becomes should be as readable as anything that the
/// person makes.
fn builder(mode: u32) -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(PREFIX).suffix(SUFFIX);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(mode));
    }
    #[cfg(not(unix))]
    let _ = mode;
    builder
}

#[cfg(unix)]
fn new_file(
    builder: &tempfile::Builder<'_, '_>,
    folder: &Path,
) -> io::Result<tempfile::NamedTempFile> {
    builder.tempfile_in(folder)
}

/// Without the attribute of temporary files, which it would keep under its name: programs that copy
/// folders leave such files out.
#[cfg(not(unix))]
fn new_file(
    builder: &tempfile::Builder<'_, '_>,
    folder: &Path,
) -> io::Result<tempfile::NamedTempFile> {
    builder
        .make_in(folder, |path| File::options().read(true).write(true).create_new(true).open(path))
}

/// Removes what processes that were killed have left in a folder unfinished. What cannot be removed
/// stays: nothing depends on it, it only takes room.
pub fn sweep(folder: &Path) {
    sweep_if(folder, abandoned);
}

/// [`sweep`] of a folder that nobody else writes in now: where there are no locks, of what was left
/// behind just now, too.
pub(crate) fn sweep_own(folder: &Path) {
    match cfg!(unix) {
        true => sweep(folder),
        false => sweep_if(folder, |_| Some(None)),
    }
}

fn sweep_if(folder: &Path, abandoned: impl Fn(&Path) -> Option<Option<File>>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten().filter(|entry| is_temporary(&entry.file_name())) {
        // Of a link, neither holds.
        let Ok(kind) = entry.file_type() else { continue };
        let path = entry.path();
        if !(kind.is_file() || kind.is_dir()) {
            continue;
        }
        let Some(_claim) = abandoned(&path) else { continue };
        drop(match kind.is_dir() {
            true => std::fs::remove_dir_all(&path),
            false => std::fs::remove_file(&path),
        });
    }
}

/// [`sweep`], once a folder and process.
fn sweep_once(folder: &Path) {
    static SWEPT: Mutex<Option<HashSet<PathBuf>>> = Mutex::new(None);
    let mut swept = SWEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if swept.get_or_insert_default().insert(folder.to_path_buf()) {
        sweep(folder);
    }
}

/// Takes the lock of what was just made. It is not had where a process that sweeps took it first,
/// which is about to remove this.
fn is_claimed(file: &File) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let held = match file.try_lock() {
            Ok(()) => true,
            Err(std::fs::TryLockError::WouldBlock) => false,
            // A file system without locks.
            Err(std::fs::TryLockError::Error(_)) => true,
        };
        held && file.metadata().is_ok_and(|facts| facts.nlink() > 0)
    }
    // Elsewhere a locked file cannot be read by those who check it.
    #[cfg(not(unix))]
    {
        let _ = file;
        true
    }
}

/// What was left behind, held so that nobody else removes it.
fn abandoned(path: &Path) -> Option<Option<File>> {
    if cfg!(unix) {
        let file = File::open(path).ok()?;
        match file.try_lock() {
            Ok(()) => return Some(Some(file)),
            Err(std::fs::TryLockError::WouldBlock) => return None,
            Err(std::fs::TryLockError::Error(_)) => {}
        }
    }
    // A run is worked on for days without a change of its own folder.
    let held = File::options().write(true).open(path.join(".lock"));
    if held.is_ok_and(|lock| matches!(lock.try_lock(), Err(std::fs::TryLockError::WouldBlock))) {
        return None;
    }
    let changes = walkdir::WalkDir::new(path).max_depth(DEPTH).into_iter().flatten();
    let changed = changes.filter_map(|entry| entry.metadata().ok()?.modified().ok()).max()?;
    changed.elapsed().is_ok_and(|age| age > OLD).then_some(None)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_writes_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at(".counterweight-dead.tmp"), "half").unwrap();
        std::fs::create_dir(at(".counterweight-gone.tmp")).unwrap();
        std::fs::write(at(".counterweight-gone.tmp/model.onnx"), "half").unwrap();
        std::fs::write(at("thesis.tmp"), "years of work").unwrap();
        std::fs::create_dir(at("elsewhere")).unwrap();
        std::os::unix::fs::symlink(at("elsewhere"), at(".counterweight-link.tmp")).unwrap();
        let (file, made) =
            (file_in(folder.path()).unwrap(), temporary_folder(folder.path()).unwrap());
        // Both were in the way of the first sweep of this folder, and of any other.
        sweep(folder.path());
        assert!(file.path().is_file() && made.path().is_dir());
        assert!(!at(".counterweight-dead.tmp").exists() && !at(".counterweight-gone.tmp").exists());
        for kept in ["thesis.tmp", "elsewhere", ".counterweight-link.tmp"] {
            assert!(at(kept).exists(), "{kept}");
        }
        drop((file, made));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
    }
}
