//! Writing files so that a reader never sees half of one.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const PREFIX: &str = ".counterweight-";
const SUFFIX: &str = ".tmp";

/// The folder for what spares work and can be made again: `counterweight` in the person's cache
/// folder, or the one that the environment variable `COUNTERWEIGHT_CACHE` names. `None` where the
/// system has no such folder, and where that variable is empty: then nothing is kept from one start
/// to the next.
///
/// Unit tests have none unless they name one: they must not fill the folder of the person who runs
/// them.
pub fn cache_folder() -> Option<PathBuf> {
    match std::env::var_os("COUNTERWEIGHT_CACHE") {
        Some(folder) => (!folder.is_empty()).then(|| PathBuf::from(folder)),
        None if cfg!(test) => None,
        None => dirs::cache_dir().map(|folder| folder.join("counterweight")),
    }
}

/// Whether a file of that name is one of [`write_atomically`]'s that has not got its name yet.
pub fn is_temporary(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(SUFFIX))
}

/// Writes a file by way of a temporary one beside it and a rename, so that `path` holds either what
/// it held before or all of the new content. Missing parent folders are made.
///
/// # Errors
/// Whatever the operating system says: no space, no permission, a folder in the way. `path` is then
/// as it was.
pub fn write_atomically(
    path: &Path,
    write: impl FnOnce(&mut io::BufWriter<&mut std::fs::File>) -> io::Result<()>,
) -> io::Result<()> {
    write_if(path, write, |_| Ok(()))
}

/// [`write_atomically`], with a last word on the finished temporary file: `path` is only replaced
/// if `check` finds nothing wrong with it.
///
/// # Errors
/// Those of writing, and those of `check`. `path` is then as it was, and the temporary file is
/// gone.
pub fn write_if<T, E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(&mut io::BufWriter<&mut std::fs::File>) -> io::Result<()>,
    check: impl FnOnce(&Path) -> Result<T, E>,
) -> Result<T, E> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(folder)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(PREFIX).suffix(SUFFIX);
    #[cfg(unix)]
    {
        // A temporary file is private by default; what replaces it should be as readable as any
        // file the person makes.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    // The error would name the temporary file, of which the person knows nothing.
    let mut temporary = builder.tempfile_in(folder).map_err(|e| io::Error::from(e.kind()))?;
    {
        let mut buffered = io::BufWriter::new(temporary.as_file_mut());
        write(&mut buffered)?;
        buffered.flush()?;
    }
    temporary.as_file().sync_all()?;
    let outcome = check(temporary.path())?;
    temporary.persist(path).map_err(|e| e.error)?;
    Ok(outcome)
}

/// An empty folder in `parent` with a name of its own, which is removed with all that is in it
/// unless it is kept.
///
/// # Errors
/// Whatever the operating system says.
pub fn temporary_folder(parent: &Path) -> io::Result<tempfile::TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(PREFIX).suffix(SUFFIX);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o777));
    }
    builder.tempdir_in(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/a.txt");
        write_atomically(&path, |f| f.write_all(b"old")).unwrap();
        let failed = write_atomically(&path, |f| {
            f.write_all(b"half of the n")?;
            Err(io::Error::other("disk full"))
        });
        assert!(failed.is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}
