//! Reading only what ends, and writing files so that a reader never sees half of one.

#[cfg(test)]
mod faults;
mod locked;
mod numbers;
mod temporary;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

#[cfg(test)]
pub(crate) use faults::{Faults, may_fail};
pub(crate) use locked::LockedFile;
pub use numbers::Numbers;
pub(crate) use temporary::sweep_own;
pub use temporary::{TemporaryFolder, is_temporary, sweep, temporary_folder};

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

/// The most bytes that a line of a list of files may have: a path, a label and some columns.
pub const LONGEST_LINE: usize = 1 << 16;

/// The first line of a text that is longer than [`LONGEST_LINE`], by its number from 1, and its
/// length in bytes.
pub fn too_long_line(text: &str) -> Option<(usize, usize)> {
    let lines = text.split('\n').enumerate();
    let mut lengths = lines.map(|(number, line)| (number + 1, line.len()));
    lengths.find(|(_, length)| *length > LONGEST_LINE)
}

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

/// What editors on Windows begin a text with.
pub const BYTE_ORDER_MARK: char = '\u{feff}';

/// The whole of a text file that [`open`] opens, without a [`BYTE_ORDER_MARK`].
///
/// # Errors
/// As there, and if it is not UTF-8.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    let text = String::from_utf8(read(path, most)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "is not UTF-8 text"))?;
    match text.strip_prefix(BYTE_ORDER_MARK) {
        Some(rest) => Ok(rest.to_string()),
        None => Ok(text),
    }
}

fn too_large(length: u64, most: u64) -> io::Error {
    let megabytes = |bytes: u64| bytes.div_ceil(1 << 20);
    io::Error::other(format!(
        "has {} MB, and {} MB are the most it may have",
        megabytes(length),
        most >> 20
    ))
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

/// [`write_atomically`] of a table of comma-separated values.
///
/// # Errors
/// As [`write_atomically`].
pub(crate) fn write_table(
    path: &Path,
    write: impl FnOnce(&mut csv::Writer<&mut dyn Write>) -> Result<(), csv::Error>,
) -> io::Result<()> {
    write_atomically(path, |out| {
        let out: &mut dyn Write = out;
        let mut table = csv::Writer::from_writer(out);
        write(&mut table).map_err(io::Error::other)?;
        table.flush()
    })
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
    may_fail(path)?;
    // The error would name the temporary file, of which the person knows nothing.
    let mut temporary = temporary::file_in(folder).map_err(|e| io::Error::from(e.kind()))?;
    {
        let mut buffered = io::BufWriter::new(temporary.as_file_mut());
        write(&mut buffered)?;
        buffered.flush()?;
        may_fail(path)?;
    }
    // Some network shares let nobody read a locked file, not even the process that locked it.
    if File::open(temporary.path())
        .and_then(|mut file| file.read(&mut [0]))
        .is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    {
        temporary.as_file().unlock()?;
    }
    let outcome = check(temporary.path())?;
    // With what the check may have added.
    temporary.as_file().sync_all()?;
    may_fail(path)?;
    // The lock is held until it has its name.
    let (locked, temporary) = temporary.into_parts();
    let _locked = LockedFile(locked);
    replace(&temporary, path)?;
    // It is not there any more.
    drop(temporary.keep());
    Ok(outcome)
}

/// Gives a file the name of another one, which it takes the place of.
///
/// # Errors
/// Whatever the operating system says.
pub(crate) fn replace(from: &Path, to: &Path) -> io::Result<()> {
    patiently(|| std::fs::rename(from, to))
}

/// Tries again for a while where another program has a file open that must not be now: on Windows
/// indexers, virus scanners and programs that copy folders into a cloud look at every file that is
/// new.
pub(crate) fn patiently<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    const ATTEMPTS: u32 = 20;
    const APART: Duration = Duration::from_millis(50);
    for _ in 1..ATTEMPTS {
        match attempt() {
            Err(error) if is_held(&error) => std::thread::sleep(APART),
            outcome => return outcome,
        }
    }
    attempt()
}

/// Whether a file could not be touched because another program has it open, as Windows says:
/// `ERROR_ACCESS_DENIED`, `ERROR_SHARING_VIOLATION`, `ERROR_LOCK_VIOLATION`.
pub(crate) fn is_held(error: &io::Error) -> bool {
    cfg!(windows) && matches!(error.raw_os_error(), Some(5 | 32 | 33))
}

/// Where a path leads, links followed, or the path itself where that cannot be told.
pub(crate) fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf())
}

/// Whether a file is one that a file manager has left in a folder by looking at it: nobody's work.
pub fn is_clutter(name: &OsStr) -> bool {
    const NAMES: [&str; 5] = [".ds_store", ".directory", "thumbs.db", "ehthumbs.db", "desktop.ini"];
    let name = name.to_string_lossy().to_lowercase();
    name.starts_with("._") || NAMES.contains(&name.as_str())
}

/// Removes a folder in which there is nothing but [clutter](is_clutter).
///
/// # Errors
/// Whatever the operating system says: there is something else in it.
pub(crate) fn remove_empty_folder(folder: &Path) -> io::Result<()> {
    let entries = std::fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    if entries.iter().all(|entry| is_clutter(&entry.file_name())) {
        for entry in entries {
            std::fs::remove_file(entry.path())?;
        }
    }
    std::fs::remove_dir(folder)
}

/// Where tests have writing fail.
#[cfg(not(test))]
pub(crate) fn may_fail(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// Where a file is written that a person has named: there, or where it leads to if it is a link,
/// which stays. Its folder need not be there yet.
///
/// # Errors
/// If something is there that no file can take the place of: a folder, a device, links in a circle.
pub fn destination(path: &Path) -> io::Result<PathBuf> {
    /// As many as the system follows.
    const LINKS: usize = 40;
    let mut place = path.to_path_buf();
    for _ in 0..LINKS {
        match place.symlink_metadata() {
            Ok(facts) if facts.is_symlink() => {
                let target = std::fs::read_link(&place)?;
                place =
                    place.parent().map_or_else(|| target.clone(), |folder| folder.join(&target));
            }
            Ok(facts) if facts.is_dir() => return Err(io::Error::other("is a folder")),
            Ok(facts) if !facts.is_file() => {
                return Err(io::Error::other("is a device or a pipe, which is not replaced"));
            }
            _ => return Ok(place),
        }
    }
    Err(io::Error::other("is a link that leads in a circle"))
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
        let long = format!("a\n{}\nb", ",".repeat(LONGEST_LINE + 1));
        assert_eq!(too_long_line(&long), Some((2, LONGEST_LINE + 1)));
        assert_eq!(too_long_line(&long[1..LONGEST_LINE]), None);
        #[cfg(unix)]
        {
            let pipe = folder.path().join("pipe");
            assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
            assert_eq!(said(read(&pipe, 9)), "is not a regular file");
            assert_eq!(said(read(Path::new("/dev/zero"), 9)), "is not a regular file");
        }
    }

    #[test]
    fn a_folder_of_clutter_is_as_good_as_empty() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        for name in [".DS_Store", "._cat.jpg", "Desktop.ini"] {
            assert!(is_clutter(OsStr::new(name)));
            std::fs::write(inner.join(name), "").unwrap();
        }
        std::fs::write(inner.join("thesis.doc"), "years of work").unwrap();
        assert!(remove_empty_folder(&inner).is_err());
        assert_eq!(std::fs::read_dir(&inner).unwrap().count(), 4);
        std::fs::remove_file(inner.join("thesis.doc")).unwrap();
        remove_empty_folder(&inner).unwrap();
        assert!(!inner.exists());
    }

    #[cfg(unix)]
    #[test]
    fn links_are_written_through_and_devices_are_left_alone() {
        use std::os::unix::fs::symlink;

        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("disk")).unwrap();
        symlink("disk/model.onnx", at("first")).unwrap();
        symlink(at("first"), at("second")).unwrap();
        for name in ["disk/model.onnx", "first", "second"] {
            let place = destination(&at(name)).unwrap();
            assert_eq!(place, at("disk/model.onnx"), "{name}");
            write_atomically(&place, |f| f.write_all(name.as_bytes())).unwrap();
            assert_eq!(std::fs::read_to_string(at("second")).unwrap(), name);
        }
        symlink("round", at("round")).unwrap();
        let said = |path: &Path| destination(path).unwrap_err().to_string();
        assert!(said(&at("round")).contains("circle"));
        assert!(said(&at("disk")).contains("is a folder"));
        assert!(said(Path::new("/dev/null")).contains("device"));
        assert_eq!(destination(&at("new/file")).unwrap(), at("new/file"));
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
