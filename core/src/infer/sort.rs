//! Sorting files into folders by what they were found to be, and undoing it.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::signature::{is_signed, sign};
use crate::dataset::{Names, safe_extension, safe_name};
use crate::error::{DataError, Result};
use crate::files;
use crate::job::Job;

/// The file beside the folders that says what was done, one JSON object a line.
pub const SORTED: &str = "sorted.jsonl";
/// The folder of images whose most probable class is not probable enough.
pub const UNSURE: &str = "unsure";

/// The most bytes of [`SORTED`]: some three million files.
const LARGEST: u64 = 1 << 30;

/// How a file comes into its folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Placing {
    /// A copy; the file stays.
    Copy,
    /// The file itself; it is gone from where it was.
    Move,
    /// A second name of the same file, on the same disk.
    HardLink,
    /// A link to the file.
    Symlink,
}

/// A line of [`SORTED`]. It is written before what it says is done, so that nothing that was done
/// is missing in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Placed {
    from: PathBuf,
    to: PathBuf,
    how: Placing,
    /// Size in bytes and time of the last change, in nanoseconds since 1970.
    was: (u64, u128),
    /// What shows that this program wrote the line for the person who reads it.
    #[serde(default)]
    signature: String,
}

impl Placed {
    /// All but the signature, as bytes.
    fn said(&self) -> io::Result<Vec<u8>> {
        let Self { from, to, how, was, .. } = self;
        Ok(serde_json::to_vec(&(from, to, how, was))?)
    }

    fn signed(self) -> io::Result<Self> {
        Ok(Self { signature: sign(&self.said()?)?, ..self })
    }

    fn is_signed(&self) -> bool {
        self.said().is_ok_and(|said| is_signed(&said, &self.signature))
    }
}

/// Puts files into one folder a class.
#[derive(Debug)]
pub struct Sorter {
    root: PathBuf,
    how: Placing,
    log: File,
    /// Folder names of the classes, in label order.
    folders: Vec<String>,
    names: HashMap<String, Names>,
    /// Files that were placed before, and where they are.
    placed: HashMap<PathBuf, PathBuf>,
}

impl Sorter {
    /// Sorts into `root`, which is made if need be. Files that an earlier call has placed there are
    /// known from [`SORTED`], and are not placed again.
    ///
    /// # Errors
    /// [`DataError`] if the folder or its [`SORTED`] cannot be written or read.
    pub fn open(root: &Path, classes: &[String], how: Placing) -> Result<Self> {
        let failed = |path: &Path, error: io::Error| DataError::file(path, error);
        fs::create_dir_all(root).map_err(|error| failed(root, error))?;
        let root = std::path::absolute(root).map_err(|error| failed(root, error))?;
        let path = root.join(SORTED);
        refuse_links(&root, &path).map_err(|error| failed(&path, error))?;
        let mut placed = HashMap::new();
        if path.is_file() {
            // Where a file was moved away from lies another one by now, if any, and so does where
            // one has changed.
            let is_the_same = |entry: &Placed| match entry.how {
                Placing::Move => entry.from.symlink_metadata().is_err(),
                _ => state(&entry.from).is_ok_and(|now| now == entry.was),
            };
            placed.extend(
                entries(&path)?
                    .into_iter()
                    .filter(|entry| entry.to.symlink_metadata().is_ok() && is_the_same(entry))
                    .map(|entry| (entry.from, entry.to)),
            );
        }
        let mut log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(|error| failed(&path, error))?;
        // A line that was cut short must not take the next one with it.
        if !ends_a_line(&path).map_err(|error| failed(&path, error))? {
            log.write_all(b"\n").map_err(|error| failed(&path, error))?;
        }
        let mut taken = Names::default();
        taken.unique("", UNSURE);
        taken.unique("", SORTED);
        let folders = classes.iter().map(|class| taken.unique("", &safe_name(class, ""))).collect();
        Ok(Self { root, how, log, folders, names: HashMap::new(), placed })
    }

    /// Whether a file was placed before, so that it need not be classified again.
    pub fn has_placed(&self, file: &Path) -> bool {
        std::path::absolute(file).is_ok_and(|file| self.placed.contains_key(&file))
    }

    /// Puts a file into the folder of a class, or into [`UNSURE`] without one, and says where.
    ///
    /// # Errors
    /// [`DataError::File`] with the operating system's reason. Nothing is then where it was not
    /// before.
    pub fn place(&mut self, file: &Path, class: Option<usize>) -> Result<PathBuf> {
        let failed = |error: io::Error| DataError::file(file, error);
        let from = std::path::absolute(file).map_err(failed)?;
        if let Some(to) = self.placed.get(&from) {
            return Ok(to.clone());
        }
        let is_link = from.symlink_metadata().is_ok_and(|facts| facts.is_symlink());
        if is_link && matches!(self.how, Placing::Move | Placing::HardLink) {
            let reason =
                "is a link, which would lead nowhere from another place; copy it or link it";
            return Err(DataError::file(file, reason).into());
        }
        let folder = class.and_then(|class| self.folders.get(class)).map_or(UNSURE, String::as_str);
        let within = self.root.join(folder);
        refuse_links(&self.root, &within)
            .and_then(|()| fs::create_dir_all(&within))
            .map_err(|error| DataError::file(&within, error))?;
        let to = self.free_name(folder.to_string(), &within, &from);
        let was = state(&from).map_err(failed)?;
        let entry = Placed { was, from, to, how: self.how, signature: String::new() };
        let entry = entry.signed().map_err(failed)?;
        let mut line = serde_json::to_vec(&entry).map_err(|error| failed(error.into()))?;
        line.push(b'\n');
        let log = self.root.join(SORTED);
        self.log.write_all(&line).map_err(|error| DataError::file(log, error))?;
        put(&entry).map_err(failed)?;
        self.placed.insert(entry.from, entry.to.clone());
        Ok(entry.to)
    }

    /// A name that no file in the folder has.
    fn free_name(&mut self, folder: String, within: &Path, file: &Path) -> PathBuf {
        let text = |part: Option<&std::ffi::OsStr>| {
            part.map(|part| part.to_string_lossy().into_owned()).unwrap_or_default()
        };
        let extension = safe_extension(&text(file.extension()));
        let stem = safe_name(&text(file.file_stem()), &extension);
        let names = self.names.entry(folder).or_default();
        loop {
            let to = within.join(names.unique(&extension, &stem));
            if to.symlink_metadata().is_err() {
                return to;
            }
        }
    }
}

/// What undoing has brought about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Undone {
    /// Files that are again where they were.
    pub undone: usize,
    /// Files that were changed or taken away since, or whose old place is taken. They stay.
    pub left: usize,
    /// Of these, files that were moved by somebody else or on another computer, and whose old place
    /// is in no folder that was named.
    pub foreign: usize,
}

/// Undoes what was sorted into `root`: copies and links are removed, moved files go back. Files that
/// were changed since are left where they are, as is everything that was not put there by sorting.
/// Empty folders and [`SORTED`] go, unless something is left.
///
/// The log says where files go, and may have been sent by somebody. What it says of moved files is
/// believed where it has this person's signature, and otherwise as far as their old places are below
/// the folder `back_into`. Nothing is overwritten and no link is followed.
///
/// # Errors
/// [`DataError`] if [`SORTED`] cannot be read or a file cannot be put back;
/// [`crate::Error::Stopped`]. What was undone until then stays so, and the rest can be undone later.
pub fn undo(root: &Path, back_into: Option<&Path>, job: Job<'_>) -> Result<Undone> {
    let absolute =
        |path: &Path| std::path::absolute(path).map_err(|error| DataError::file(path, error));
    let root = absolute(root)?;
    let back_into = back_into.map(absolute).transpose()?;
    let log = root.join(SORTED);
    refuse_links(&root, &log).map_err(|error| DataError::file(&log, error))?;
    let entries = entries(&log)?;
    job.phase("undoing", Some(entries.len() as u64), "files");
    let mut result = Undone::default();
    let mut left = Vec::new();
    for (done, entry) in entries.iter().enumerate().rev() {
        job.check()?;
        // It says where to write and what to delete, and may have come from anywhere.
        if !is_below(&entry.to, &root) {
            let reason = format!("speaks of {}, which is not in this folder", entry.to.display());
            return Err(DataError::source(&log, reason).into());
        }
        refuse_links(&root, entry.to.parent().unwrap_or(&root))
            .map_err(|error| DataError::file(&entry.to, error))?;
        // Only these are put somewhere else.
        if entry.how == Placing::Move && !entry.is_signed() {
            let named = back_into.as_ref().is_some_and(|folder| {
                is_below(&entry.from, folder)
                    && refuse_links(folder, entry.from.parent().unwrap_or(folder)).is_ok()
            });
            if !named && entry.to.symlink_metadata().is_ok() {
                result.left += 1;
                result.foreign += 1;
                left.push(entry);
                continue;
            }
        }
        match take_back(entry).map_err(|error| DataError::file(&entry.to, error))? {
            Back::Undone => result.undone += 1,
            Back::WasNot => {}
            Back::Left => {
                result.left += 1;
                left.push(entry);
            }
        }
        job.progress((entries.len() - done) as u64);
    }
    for folder in entries.iter().filter_map(|entry| entry.to.parent()).collect::<HashSet<_>>() {
        // Only if it is empty, and it is no loss if it stays.
        let _ = fs::remove_dir(folder);
    }
    let failed = |error: io::Error| DataError::file(&log, error);
    if left.is_empty() {
        fs::remove_file(&log).map_err(failed)?;
        let _ = fs::remove_dir(&root);
    } else {
        left.reverse();
        crate::files::write_atomically(&log, |file| {
            left.iter().try_for_each(|entry| {
                serde_json::to_writer(&mut *file, entry)?;
                file.write_all(b"\n")
            })
        })
        .map_err(failed)?;
    }
    Ok(result)
}

enum Back {
    Undone,
    /// It was never placed, or is gone.
    WasNot,
    Left,
}

fn take_back(entry: &Placed) -> io::Result<Back> {
    let Placed { from, to, how, was, .. } = entry;
    let Ok(found) = to.symlink_metadata() else {
        // A moved file that is in neither place was taken elsewhere; what it was called stays known.
        let is_lost = *how == Placing::Move && from.symlink_metadata().is_err();
        return Ok(if is_lost { Back::Left } else { Back::WasNot });
    };
    let unchanged = match how {
        Placing::Symlink => found.is_symlink() && fs::read_link(to).is_ok_and(|at| at == *from),
        _ => found.is_file() && found.len() == was.0,
    };
    // A copy may be the only one by now, also where its old place leads to it.
    let is_another = || match (fs::canonicalize(from), fs::canonicalize(to)) {
        (Ok(from_there), Ok(to_there)) => from_there != to_there,
        _ => false,
    };
    let still_there = state(from).is_ok_and(|now| now == *was) && is_another();
    match how {
        _ if !unchanged => Ok(Back::Left),
        Placing::Move if from.symlink_metadata().is_ok() => Ok(Back::Left),
        Placing::Move => {
            if let Some(folder) = from.parent() {
                fs::create_dir_all(folder)?;
            }
            // Unlike renaming, this cannot take the place of a file that has just come there.
            match fs::hard_link(to, from) {
                Ok(()) => fs::remove_file(to)?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    return Ok(Back::Left);
                }
                // Another disk, or one without such links.
                Err(_) => carry(to, from)?,
            }
            Ok(Back::Undone)
        }
        Placing::Symlink => fs::remove_file(to).map(|()| Back::Undone),
        // Of the same length it may have been changed in place.
        Placing::Copy | Placing::HardLink if still_there && is_alike(from, to)? => {
            fs::remove_file(to).map(|()| Back::Undone)
        }
        Placing::Copy | Placing::HardLink => Ok(Back::Left),
    }
}

/// Whether two files hold the same bytes.
fn is_alike(first: &Path, second: &Path) -> io::Result<bool> {
    let [mut first, mut second] = [File::open(first)?, File::open(second)?]
        .map(|file| io::BufReader::with_capacity(1 << 16, file));
    loop {
        let (a, b) = (first.fill_buf()?, second.fill_buf()?);
        let length = a.len().min(b.len());
        if a[..length] != b[..length] || (length == 0 && a.len() != b.len()) {
            return Ok(false);
        }
        if length == 0 {
            return Ok(true);
        }
        first.consume(length);
        second.consume(length);
    }
}

/// Whether a path names something below a folder, whatever is there.
fn is_below(path: &Path, folder: &Path) -> bool {
    path != folder
        && path.starts_with(folder)
        && !path.components().any(|part| part == std::path::Component::ParentDir)
}

/// Refuses a path below `root` on whose way from there is a link: it would lead elsewhere.
fn refuse_links(root: &Path, path: &Path) -> io::Result<()> {
    let below = path.ancestors().take_while(|part| part.starts_with(root) && *part != root);
    for part in below {
        if part.symlink_metadata().is_ok_and(|facts| facts.is_symlink()) {
            return Err(io::Error::other(format!(
                "{} is a link, which is not followed",
                part.display()
            )));
        }
    }
    Ok(())
}

/// Does what an entry says.
fn put(entry: &Placed) -> io::Result<()> {
    let Placed { from, to, how, .. } = entry;
    match how {
        Placing::Copy => copy(from, to),
        Placing::Move => carry(from, to),
        Placing::HardLink => fs::hard_link(from, to),
        #[cfg(unix)]
        Placing::Symlink => std::os::unix::fs::symlink(from, to),
        #[cfg(windows)]
        Placing::Symlink => std::os::windows::fs::symlink_file(from, to),
        #[cfg(not(any(unix, windows)))]
        Placing::Symlink => Err(io::Error::from(io::ErrorKind::Unsupported)),
    }
}

/// Copies a file whole or not at all, with its permissions and the time of its last change.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = File::open(from)?;
    let facts = source.metadata()?;
    crate::files::write_atomically(to, |file| {
        io::copy(&mut source, file)?;
        file.flush()?;
        let file = file.get_ref();
        // A file system without either is no reason not to copy.
        let _ = file.set_permissions(facts.permissions());
        let _ = facts.modified().map(|time| file.set_modified(time));
        Ok(())
    })
}

/// Moves a file, to another disk if need be.
fn carry(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            copy(from, to)?;
            fs::remove_file(from)
        }
        done => done,
    }
}

/// Size and time of the last change.
fn state(path: &Path) -> io::Result<(u64, u128)> {
    let metadata = fs::metadata(path)?;
    let since = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok((metadata.len(), since.as_nanos()))
}

/// The lines of a log. A last line that was cut short says nothing: what it was to say was not yet
/// done.
fn entries(log: &Path) -> Result<Vec<Placed>> {
    let bytes = files::read(log, LARGEST).map_err(|error| DataError::file(log, error))?;
    let lines = bytes.split(|byte| *byte == b'\n');
    Ok(lines.filter_map(|line| serde_json::from_slice(line).ok()).collect())
}

fn ends_a_line(path: &Path) -> io::Result<bool> {
    let mut file = files::open(path, LARGEST)?;
    if file.metadata()?.len() == 0 {
        return Ok(true);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Control, Silent};

    fn tree(root: &Path) -> Vec<String> {
        let mut found: Vec<String> = walkdir::WalkDir::new(root)
            .min_depth(1)
            .into_iter()
            .map(|entry| entry.unwrap().path().strip_prefix(root).unwrap().to_str().unwrap().into())
            .collect();
        found.sort();
        found
    }

    fn photos(root: &Path) -> Vec<PathBuf> {
        ["a/1.jpg", "b/1.jpg", "b/2.jpg"]
            .into_iter()
            .map(|name| {
                let path = root.join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(&path, name).unwrap();
                path
            })
            .collect()
    }

    fn classes() -> Vec<String> {
        ["deer/roe", "unsure", ".."].map(String::from).to_vec()
    }

    #[test]
    fn files_are_sorted_and_it_is_undone() {
        for how in [Placing::Copy, Placing::Move, Placing::HardLink, Placing::Symlink] {
            let folder = tempfile::tempdir().unwrap();
            let files = photos(&folder.path().join("in"));
            let before = tree(folder.path());
            let root = folder.path().join("out");
            let mut sorter = Sorter::open(&root, &classes(), how).unwrap();
            for (file, class) in files.iter().zip([Some(0), Some(0), None]) {
                sorter.place(file, class).unwrap();
            }
            assert_eq!(
                tree(&root),
                [
                    "deer_roe",
                    "deer_roe/1.jpg",
                    "deer_roe/1_2.jpg",
                    "sorted.jsonl",
                    "unsure",
                    "unsure/2.jpg"
                ]
            );
            assert_eq!(fs::read_to_string(root.join("deer_roe/1_2.jpg")).unwrap(), "b/1.jpg");
            assert_eq!(files[0].exists(), how != Placing::Move);
            // Again, as after a break: what was placed is known, and the rest gets a free name.
            let mut again = Sorter::open(&root, &classes(), how).unwrap();
            assert!(again.has_placed(&files[1]));
            fs::write(folder.path().join("in/1.jpg"), "new").unwrap();
            let to = again.place(&folder.path().join("in/1.jpg"), Some(0)).unwrap();
            assert_eq!(to.file_name().unwrap(), "1_3.jpg");
            drop((sorter, again));

            let control = Control::new();
            let undone = undo(&root, None, Job::new(&control, &Silent)).unwrap();
            assert_eq!(undone, Undone { undone: 4, ..Undone::default() }, "{how:?}");
            fs::remove_file(folder.path().join("in/1.jpg")).unwrap();
            assert_eq!(tree(folder.path()), before, "{how:?}");
        }
    }

    #[test]
    fn nothing_is_lost_that_was_changed_or_whose_place_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let files = photos(&folder.path().join("in"));
        let root = folder.path().join("out");
        let control = Control::new();
        let job = Job::new(&control, &Silent);
        let mut sorter = Sorter::open(&root, &classes(), Placing::Move).unwrap();
        let places: Vec<PathBuf> =
            files.iter().map(|file| sorter.place(file, Some(2)).unwrap()).collect();
        assert!(places.iter().all(|place| place.starts_with(root.join("_"))), "{places:?}");
        fs::write(&places[0], "changed since").unwrap();
        fs::write(&files[1], "another").unwrap();
        assert_eq!(undo(&root, None, job).unwrap(), Undone { undone: 1, left: 2, foreign: 0 });
        assert_eq!(fs::read_to_string(&places[0]).unwrap(), "changed since");
        assert_eq!(fs::read_to_string(&files[1]).unwrap(), "another");
        assert_eq!(fs::read_to_string(&files[2]).unwrap(), "b/2.jpg");
        // What is left can be undone once its place is free.
        fs::remove_file(&files[1]).unwrap();
        assert_eq!(undo(&root, None, job).unwrap(), Undone { undone: 1, left: 1, foreign: 0 });
        assert_eq!(fs::read_to_string(&files[1]).unwrap(), "b/1.jpg");
    }

    #[test]
    fn what_lies_under_an_old_name_is_another_file() {
        let folder = tempfile::tempdir().unwrap();
        let files = photos(&folder.path().join("in"));
        let root = folder.path().join("out");
        let control = Control::new();
        let job = Job::new(&control, &Silent);
        let mut sorter = Sorter::open(&root, &classes(), Placing::Move).unwrap();
        let first = sorter.place(&files[0], Some(0)).unwrap();
        drop(sorter);
        fs::write(&files[0], "another of this name").unwrap();
        let mut sorter = Sorter::open(&root, &classes(), Placing::Move).unwrap();
        assert!(!sorter.has_placed(&files[0]));
        let second = sorter.place(&files[0], Some(1)).unwrap();
        assert!(second != first && second.is_file() && !files[0].exists());
        // Taken elsewhere by hand, a moved file is told, and the log stays.
        fs::rename(&second, folder.path().join("elsewhere.jpg")).unwrap();
        drop(sorter);
        assert_eq!(undo(&root, None, job).unwrap(), Undone { undone: 1, left: 1, foreign: 0 });
        assert!(root.join(SORTED).is_file());

        // A copy that was changed in place, to the same length, stays.
        let root = folder.path().join("copies");
        let mut sorter = Sorter::open(&root, &classes(), Placing::Copy).unwrap();
        let places: Vec<PathBuf> =
            files.iter().map(|file| sorter.place(file, Some(0)).unwrap()).collect();
        fs::write(&places[1], "b/1.png").unwrap();
        assert_eq!(undo(&root, None, job).unwrap(), Undone { undone: 2, left: 1, foreign: 0 });
        assert_eq!(fs::read_to_string(&places[1]).unwrap(), "b/1.png");
    }

    #[cfg(unix)]
    #[test]
    fn copies_keep_their_time_and_permissions_and_links_are_not_moved() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let files = photos(&folder.path().join("in"));
        let long_ago = UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        File::options().write(true).open(&files[0]).unwrap().set_modified(long_ago).unwrap();
        fs::set_permissions(&files[0], fs::Permissions::from_mode(0o600)).unwrap();
        let mut sorter =
            Sorter::open(&folder.path().join("out"), &classes(), Placing::Copy).unwrap();
        let facts = fs::metadata(sorter.place(&files[0], Some(0)).unwrap()).unwrap();
        assert_eq!(
            (facts.permissions().mode() & 0o777, facts.modified().unwrap()),
            (0o600, long_ago)
        );

        let link = folder.path().join("in/link.jpg");
        std::os::unix::fs::symlink("a/1.jpg", &link).unwrap();
        for how in [Placing::Move, Placing::HardLink] {
            let mut sorter = Sorter::open(&folder.path().join("moved"), &classes(), how).unwrap();
            let error = sorter.place(&link, Some(0)).unwrap_err().to_string();
            assert!(error.contains("is a link") && link.is_symlink(), "{error}");
        }
    }

    #[test]
    fn a_log_from_elsewhere_deletes_nothing_and_one_cut_short_is_gone_on_with() {
        let folder = tempfile::tempdir().unwrap();
        let files = photos(&folder.path().join("in"));
        let root = folder.path().join("out");
        let control = Control::new();
        let job = Job::new(&control, &Silent);
        let mut sorter = Sorter::open(&root, &classes(), Placing::Copy).unwrap();
        sorter.place(&files[0], Some(0)).unwrap();
        let log = root.join(SORTED);
        let whole = fs::read_to_string(&log).unwrap();
        fs::write(&log, format!("{whole}{}", &whole[..whole.len() / 2])).unwrap();
        let mut sorter = Sorter::open(&root, &classes(), Placing::Copy).unwrap();
        sorter.place(&files[1], Some(0)).unwrap();
        assert_eq!(undo(&root, None, job).unwrap(), Undone { undone: 2, ..Undone::default() });

        fs::create_dir_all(&root).unwrap();
        for to in [files[0].clone(), root.join("../in/a/1.jpg")] {
            let entry = Placed {
                from: files[1].clone(),
                to,
                how: Placing::Copy,
                was: state(&files[1]).unwrap(),
                signature: String::new(),
            };
            let entry = entry.signed().unwrap();
            fs::write(&log, serde_json::to_string(&entry).unwrap()).unwrap();
            assert!(undo(&root, None, job).unwrap_err().to_string().contains("not in this folder"));
            assert!(files[0].exists());
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_log_that_was_sent_moves_nothing_out_of_its_folder() {
        use std::os::unix::fs::symlink;

        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let root = at("sent");
        let control = Control::new();
        let job = Job::new(&control, &Silent);
        let sent = |to: &str, from: PathBuf| {
            fs::create_dir_all(root.join("cat")).unwrap();
            fs::write(root.join("cat/payload.jpg"), "evil").unwrap();
            let was = (4, 0);
            let (to, how) = (root.join(to), Placing::Move);
            // As another person's program signs it.
            let entry = Placed { from, to, how, was, signature: "ab".repeat(32) };
            fs::write(root.join(SORTED), serde_json::to_string(&entry).unwrap()).unwrap();
        };
        let home = at("home");
        fs::create_dir_all(home.join("photos")).unwrap();
        sent("cat/payload.jpg", home.join("autostart/run.desktop"));
        let refused = Undone { undone: 0, left: 1, foreign: 1 };
        assert_eq!(undo(&root, None, job).unwrap(), refused);
        // A folder that is named gets what belongs below it and nothing else.
        assert_eq!(undo(&root, Some(&home.join("photos")), job).unwrap(), refused);
        sent("cat/payload.jpg", home.join("photos/../autostart/run.desktop"));
        assert_eq!(undo(&root, Some(&home.join("photos")), job).unwrap(), refused);
        symlink(&home, home.join("photos/out")).unwrap();
        sent("cat/payload.jpg", home.join("photos/out/run.desktop"));
        assert_eq!(undo(&root, Some(&home.join("photos")), job).unwrap(), refused);
        fs::remove_file(home.join("photos/out")).unwrap();
        assert_eq!(tree(&home), ["photos"]);
        sent("cat/payload.jpg", home.join("photos/1.jpg"));
        let undone = undo(&root, Some(&home.join("photos")), job).unwrap();
        assert_eq!(undone, Undone { undone: 1, ..Undone::default() });
        assert_eq!(tree(&home), ["photos", "photos/1.jpg"]);

        // Nor is anything reached through a link in the folder.
        sent("cat/payload.jpg", home.join("photos/2.jpg"));
        symlink(home.join("photos"), root.join("dog")).unwrap();
        let (from, to) = (root.join("cat/payload.jpg"), root.join("dog/1.jpg"));
        let was = state(&from).unwrap();
        let entry = Placed { from, to, how: Placing::Copy, was, signature: String::new() };
        fs::write(root.join(SORTED), serde_json::to_string(&entry).unwrap()).unwrap();
        assert!(undo(&root, None, job).unwrap_err().to_string().contains("is a link"));
        assert!(home.join("photos/1.jpg").is_file());
        fs::remove_file(root.join(SORTED)).unwrap();
        symlink(home.join("photos/1.jpg"), root.join(SORTED)).unwrap();
        assert!(Sorter::open(&root, &classes(), Placing::Copy).is_err());
        fs::remove_file(root.join(SORTED)).unwrap();
        let dog = ["dog".to_string()];
        let mut sorter = Sorter::open(&root, &dog, Placing::Copy).unwrap();
        let error = sorter.place(&root.join("cat/payload.jpg"), Some(0)).unwrap_err().to_string();
        assert!(error.contains("is a link"), "{error}");
        assert_eq!(tree(&home), ["photos", "photos/1.jpg"]);
    }
}
