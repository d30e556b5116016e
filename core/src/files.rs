//! Reading only what ends, and writing files so that a reader never sees half of one.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
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

/// The most bytes that a text may have which people write: settings, names, a plan.
pub const LARGEST_TEXT: u64 = 16 << 20;

/// Opens a file for reading, if it is a regular one of at most `most` bytes. Opening a pipe would
/// wait for somebody to write into it, and a device may never end.
///
/// # Errors
/// Whatever the operating system says, and what is in the way otherwise.
pub fn open(path: &Path, most: u64) -> io::Result<File> {
    let facts = std::fs::metadata(path)?;
    if !facts.is_file() {
        let kind = if facts.is_dir() { "is a folder" } else { "is not a regular file" };
        return Err(io::Error::other(kind));
    }
    match facts.len() {
        length if length > most => Err(too_large(length, most)),
        _ => File::open(path),
    }
}

/// The whole of a file that [`open`] opens.
///
/// # Errors
/// As there.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // It may grow while it is read.
    open(path, most)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 {
        length if length > most => Err(too_large(length, most)),
        _ => Ok(bytes),
    }
}

/// The whole of a text file that [`open`] opens.
///
/// # Errors
/// As there, and if it is not UTF-8.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    String::from_utf8(read(path, most)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "is not UTF-8 text"))
}

fn too_large(length: u64, most: u64) -> io::Error {
    let megabytes = |bytes: u64| bytes.div_ceil(1 << 20);
    io::Error::other(format!(
        "has {} MB, and {} MB are the most it may have",
        megabytes(length),
        most >> 20
    ))
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
    fn only_regular_files_of_a_size_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        std::fs::write(&path, vec![b'x'; 3 << 20]).unwrap();
        assert_eq!(read_text(&path, 3 << 20).unwrap().len(), 3 << 20);
        let said = |found: io::Result<Vec<u8>>| found.unwrap_err().to_string();
        assert_eq!(said(read(&path, 2 << 20)), "has 3 MB, and 2 MB are the most it may have");
        assert_eq!(said(read(folder.path(), 9)), "is a folder");
        assert_eq!(open(&folder.path().join("b"), 9).unwrap_err().kind(), io::ErrorKind::NotFound);
        std::fs::write(&path, [0xff]).unwrap();
        assert_eq!(read_text(&path, 9).unwrap_err().to_string(), "is not UTF-8 text");
        #[cfg(unix)]
        {
            let pipe = folder.path().join("pipe");
            assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
            assert_eq!(said(read(&pipe, 9)), "is not a regular file");
            assert_eq!(said(read(Path::new("/dev/zero"), 9)), "is not a regular file");
        }
    }

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
