//! CIFAR-10 and CIFAR-100 as their authors distribute them (Krizhevsky: *Learning Multiple Layers
//! of Features from Tiny Images*, 2009): the binary and the python layout, in a folder or still in
//! the archive.
//!
//! Samples are known by the file they are in and their number in it; training images come before
//! test images.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use crate::error::{DataError, Error, Result};
use crate::files;
use crate::images::RgbPixels;
use crate::job::Job;
use crate::pickle::Pickle;
use crate::source::{Problem, SourceKind, Split};

/// Side of every image, in pixels.
pub(crate) const SIDE: usize = 32;
/// Bytes of an image: all reds in row order, then all greens, then all blues.
pub(crate) const PIXELS: usize = 3 * SIDE * SIDE;

/// An image as the network takes it, of its planes.
pub(crate) fn rgb(planes: &[u8]) -> RgbPixels {
    let plane = SIDE * SIDE;
    let data =
        (0..plane).flat_map(|i| [planes[i], planes[plane + i], planes[2 * plane + i]]).collect();
    RgbPixels { width: SIDE as u32, height: SIDE as u32, data }
}

/// The largest of the distributed files has 155 MB, and all of a data set have 186 MB.
const MAX_BYTES: u64 = 512 << 20;
/// The most that is unpacked of an archive, files that are not wanted included.
const MAX_UNPACKED: u64 = 2 << 30;
/// The longest path a file in an archive may have; systems know paths of 4 KB.
const MAX_HEADER: u64 = 64 << 10;
/// Bytes of the path of a file that is wanted, and folders that hold such files.
const LONGEST_PATH: usize = 4096;
const FOLDERS: usize = 1000;

/// The labels and images of one file.
pub(crate) struct RecordFile {
    /// The file's path relative to the folder, or the member's name in the archive.
    pub file: PathBuf,
    pub split: Split,
    /// One a record.
    pub labels: Vec<u8>,
    /// [`PIXELS`] bytes a record.
    pub pixels: Vec<u8>,
}

/// Everything of a CIFAR source.
pub(crate) struct Cifar {
    pub kind: SourceKind,
    /// Class names in label order.
    pub classes: Vec<String>,
    pub files: Vec<RecordFile>,
    pub problems: Vec<Problem>,
}

/// A distributed form of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    Binary10,
    Python10,
    Binary100,
    Python100,
}

impl Layout {
    const ALL: [Layout; 4] =
        [Layout::Binary10, Layout::Python10, Layout::Binary100, Layout::Python100];

    /// The files with images, in the order of the data set, and the file with the class names.
    fn files(self) -> (&'static [&'static str], &'static str) {
        match self {
            Layout::Binary10 => (
                &[
                    "data_batch_1.bin",
                    "data_batch_2.bin",
                    "data_batch_3.bin",
                    "data_batch_4.bin",
                    "data_batch_5.bin",
                    "test_batch.bin",
                ],
                "batches.meta.txt",
            ),
            Layout::Python10 => (
                &[
                    "data_batch_1",
                    "data_batch_2",
                    "data_batch_3",
                    "data_batch_4",
                    "data_batch_5",
                    "test_batch",
                ],
                "batches.meta",
            ),
            Layout::Binary100 => (&["train.bin", "test.bin"], "fine_label_names.txt"),
            Layout::Python100 => (&["train", "test"], "meta"),
        }
    }

    /// Whether a folder of these files holds this layout. One file of images tells CIFAR-10;
    /// CIFAR-100's names are so common that two of its three files must be there.
    fn is_in(self, has: impl Fn(&str) -> bool) -> bool {
        let (images, names) = self.files();
        match self {
            Layout::Binary10 | Layout::Python10 => images.iter().any(|file| has(file)),
            Layout::Binary100 => {
                has("train.bin") && (has("test.bin") || has(names)) || has("test.bin") && has(names)
            }
            Layout::Python100 => has(names) && images.iter().any(|file| has(file)),
        }
    }

    fn kind(self) -> SourceKind {
        match self {
            Layout::Binary10 | Layout::Python10 => SourceKind::Cifar10,
            Layout::Binary100 | Layout::Python100 => SourceKind::Cifar100,
        }
    }

    fn classes(self) -> usize {
        if self.kind() == SourceKind::Cifar10 { 10 } else { 100 }
    }
}

/// Whether `folder` is a CIFAR data set, itself or in one of its folders.
pub(crate) fn is_in_folder(folder: &Path) -> bool {
    find(folder).is_some()
}

/// The layout and the folder, relative to `root`, that has it.
fn find(root: &Path) -> Option<(Layout, PathBuf)> {
    let mut folders = vec![PathBuf::new()];
    let children = std::fs::read_dir(root).ok()?.flatten().filter(|entry| entry.path().is_dir());
    let mut children: Vec<PathBuf> =
        children.map(|entry| PathBuf::from(entry.file_name())).collect();
    children.sort();
    folders.extend(children);
    folders.into_iter().find_map(|folder| {
        let has = |file: &str| root.join(&folder).join(file).is_file();
        Layout::ALL
            .into_iter()
            .find(|layout| layout.is_in(has))
            .map(|layout| (layout, folder.clone()))
    })
}

/// Whether the file is a tar archive, compressed by gzip or not. Says nothing of what is in it.
pub(crate) fn is_archive(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = files::open(path, u64::MAX).and_then(|file| file.take(512).read_to_end(&mut start));
    read.is_ok() && (start.starts_with(&[0x1f, 0x8b]) || start.get(257..262) == Some(b"ustar"))
}

/// Reads the data set at `root`, a folder or an archive, into memory: 180 MB where it is complete.
///
/// # Errors
/// [`DataError`] if nothing can be read; files that are missing or cut short are named in
/// [`Cifar::problems`].
pub(crate) fn load(root: &Path, job: Job<'_>) -> Result<Cifar> {
    let (layout, folder, mut contents) =
        if root.is_dir() { read_folder(root, job)? } else { read_archive(root, job)? };
    let (images, names) = layout.files();
    let shown = |file: &str| root.join(&folder).join(file);
    let mut problems = Vec::new();
    let classes = match contents.remove(names).map(|bytes| class_names(layout, &bytes)) {
        Some(Ok(classes)) => classes,
        Some(Err(reason)) => return Err(DataError::file(shown(names), reason).into()),
        None => {
            let reason = "missing; classes are named by their numbers";
            problems.push(Problem { path: shown(names), reason: reason.into() });
            (0..layout.classes()).map(|label| label.to_string()).collect()
        }
    };
    let mut files = Vec::new();
    for name in images {
        job.check()?;
        let split = if name.starts_with("test") { Split::Test } else { Split::Train };
        let Some(bytes) = contents.remove(*name) else {
            problems.push(Problem {
                path: shown(name),
                reason: format!("missing; the data set is read without its {split} images"),
            });
            continue;
        };
        let outcome = match layout {
            Layout::Binary10 | Layout::Binary100 => binary_records(layout, &bytes),
            Layout::Python10 | Layout::Python100 => python_records(layout, &bytes),
        };
        let (labels, pixels, problem) =
            outcome.map_err(|reason| DataError::file(shown(name), reason))?;
        problems.extend(problem.map(|reason| Problem { path: shown(name), reason }));
        if let Some(wrong) = labels.iter().find(|label| usize::from(**label) >= layout.classes()) {
            let reason = format!(
                "label {wrong} is out of range; this is not a CIFAR-{} file",
                layout.classes()
            );
            return Err(DataError::file(shown(name), reason).into());
        }
        files.push(RecordFile { file: folder.join(name), split, labels, pixels });
    }
    Ok(Cifar { kind: layout.kind(), classes, files, problems })
}

type Contents = BTreeMap<String, Vec<u8>>;

fn wanted(layout: Layout, name: &str) -> bool {
    let (images, names) = layout.files();
    name == names || images.contains(&name)
}

fn read_folder(root: &Path, job: Job<'_>) -> Result<(Layout, PathBuf, Contents)> {
    let (layout, folder) = find(root).ok_or_else(|| {
        DataError::source(root, "holds none of the files of CIFAR-10 or CIFAR-100")
    })?;
    let mut contents = Contents::new();
    let (images, names) = layout.files();
    let mut left = MAX_BYTES;
    for name in images.iter().chain([&names]) {
        job.check()?;
        let path = root.join(&folder).join(name);
        if !path.exists() {
            continue;
        }
        let bytes = files::open(&path, MAX_BYTES)
            .and_then(|file| limited(file, &mut left))
            .map_err(|reason| DataError::file(&path, reason))?;
        contents.insert((*name).to_string(), bytes);
    }
    Ok((layout, folder, contents))
}

/// The whole of a file, if it has at most `left` bytes; they are then subtracted.
fn limited(reader: impl Read, left: &mut u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(*left + 1).read_to_end(&mut bytes)?;
    *left = left
        .checked_sub(bytes.len() as u64)
        .ok_or_else(|| std::io::Error::other("its files are far larger than those of CIFAR"))?;
    Ok(bytes)
}

fn read_archive(root: &Path, job: Job<'_>) -> Result<(Layout, PathBuf, Contents)> {
    let broken = |reason: std::io::Error| {
        let early = reason.kind() == std::io::ErrorKind::UnexpectedEof;
        Error::from(DataError::file(
            root,
            if early {
                "truncated: the archive ends early".to_string()
            } else {
                reason.to_string()
            },
        ))
    };
    let mut file = files::open(root, u64::MAX).map_err(broken)?;
    let mut start = [0; 2];
    let zipped = file.read(&mut start).map_err(broken)? == 2 && start == [0x1f, 0x8b];
    let file = BufReader::new(File::open(root).map_err(broken)?);
    let reader: Box<dyn Read> =
        if zipped { Box::new(flate2::read::MultiGzDecoder::new(file)) } else { Box::new(file) };
    let mut archive = tar::Archive::new(Bounded { reader, left: MAX_UNPACKED });
    // Every folder of the archive, with those of its files that a layout could want.
    let mut folders: BTreeMap<PathBuf, Contents> = BTreeMap::new();
    let mut left = MAX_BYTES;
    // A long name is a record of its own before the file's, of any length: unlike the library, we
    // do not read one that is no name.
    let mut long_name = None;
    for entry in archive.entries().map_err(broken)?.raw(true) {
        job.check()?;
        let mut entry = entry.map_err(broken)?;
        let kind = entry.header().entry_type();
        if kind.is_gnu_longname()
            || kind.is_gnu_longlink()
            || kind.is_pax_local_extensions()
            || kind.is_pax_global_extensions()
        {
            let record = header_record(&mut entry).map_err(broken)?;
            match () {
                () if kind.is_gnu_longname() => long_name = Some(record),
                () if kind.is_pax_local_extensions() => {
                    long_name = pax_path(&record).or(long_name);
                }
                () => {}
            }
            continue;
        }
        let path = match long_name.take().map(String::from_utf8) {
            Some(Ok(name)) => PathBuf::from(name.trim_end_matches('\0')),
            // Nothing that is looked for is called so.
            Some(Err(_)) => continue,
            None => entry.path().map_err(broken)?.into_owned(),
        };
        if path.as_os_str().len() > LONGEST_PATH {
            continue;
        }
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_string();
        if !kind.is_file() || !Layout::ALL.into_iter().any(|layout| wanted(layout, &name)) {
            continue;
        }
        let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
        let size = entry.size();
        let bytes = limited(entry, &mut left).map_err(broken)?;
        if (bytes.len() as u64) < size {
            return Err(broken(std::io::ErrorKind::UnexpectedEof.into()));
        }
        folders.entry(folder).or_default().insert(name, bytes);
        if folders.len() > FOLDERS {
            let reason = format!("has files of CIFAR in more than {FOLDERS} folders");
            return Err(DataError::source(root, reason).into());
        }
    }
    for (folder, contents) in folders {
        if let Some(layout) =
            Layout::ALL.into_iter().find(|layout| layout.is_in(|file| contents.contains_key(file)))
        {
            return Ok((layout, folder, contents));
        }
    }
    let reason = "this archive holds none of the files of CIFAR-10 or CIFAR-100; unpack other archives and name their folder";
    Err(DataError::source(root, reason).into())
}

/// What a record holds that belongs to the header of the file after it.
fn header_record(entry: &mut tar::Entry<'_, impl Read>) -> std::io::Result<Vec<u8>> {
    let size = entry.size();
    if size > MAX_HEADER {
        return Err(std::io::Error::other(format!(
            "damaged: it has a file name of {} KB, and {} KB are the most one may have",
            size.div_ceil(1 << 10),
            MAX_HEADER >> 10
        )));
    }
    let mut bytes = Vec::new();
    entry.take(MAX_HEADER).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The path that such a record in the format of POSIX gives the file after it.
fn pax_path(record: &[u8]) -> Option<Vec<u8>> {
    let mut entries = tar::PaxExtensions::new(record).flatten();
    entries.find_map(|entry| (entry.key_bytes() == b"path").then(|| entry.value_bytes().to_vec()))
}

/// An archive's bytes, of which there may be only so many: a few bytes of gzip stand for any number
/// of them.
struct Bounded<R> {
    reader: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| {
            std::io::Error::other(format!(
                "holds more than {} MB, far more than CIFAR-10 or CIFAR-100; unpack other archives and name their folder",
                MAX_UNPACKED >> 20
            ))
        })?;
        Ok(read)
    }
}

fn class_names(layout: Layout, bytes: &[u8]) -> std::result::Result<Vec<String>, String> {
    let names: Vec<String> = match layout {
        Layout::Binary10 | Layout::Binary100 => String::from_utf8_lossy(bytes)
            .lines()
            .map(|line| line.trim().to_string())
            .filter(|line| !line.is_empty())
            .collect(),
        Layout::Python10 => Pickle::read(bytes)?.texts("label_names")?,
        Layout::Python100 => Pickle::read(bytes)?.texts("fine_label_names")?,
    };
    if names.len() != layout.classes() {
        return Err(format!("holds {} class names instead of {}", names.len(), layout.classes()));
    }
    Ok(names)
}

/// Labels, pixels, and what is wrong with the file where part of it could be read.
type Records = (Vec<u8>, Vec<u8>, Option<String>);

fn binary_records(layout: Layout, bytes: &[u8]) -> std::result::Result<Records, String> {
    // CIFAR-100 puts the coarse label before the fine one.
    let label_bytes = if layout.kind() == SourceKind::Cifar100 { 2 } else { 1 };
    let record = label_bytes + PIXELS;
    let records = bytes.chunks_exact(record);
    let left = records.remainder().len();
    let mut labels = Vec::with_capacity(records.len());
    let mut pixels = Vec::with_capacity(records.len() * PIXELS);
    for bytes in records {
        labels.push(bytes[label_bytes - 1]);
        pixels.extend_from_slice(&bytes[label_bytes..]);
    }
    let problem = if bytes.is_empty() {
        Some("empty file".into())
    } else {
        let whole = labels.len();
        (left > 0).then(|| {
            format!(
                "truncated: {left} bytes are left after {whole} whole records of {record} bytes"
            )
        })
    };
    Ok((labels, pixels, problem))
}

fn python_records(layout: Layout, bytes: &[u8]) -> std::result::Result<Records, String> {
    if bytes.is_empty() {
        return Ok((Vec::new(), Vec::new(), Some("empty file".into())));
    }
    let pickle = Pickle::read(bytes)?;
    let key = if layout.kind() == SourceKind::Cifar100 { "fine_labels" } else { "labels" };
    let labels: Vec<u8> = pickle
        .integers(key)?
        .into_iter()
        .map(|label| u8::try_from(label).unwrap_or(u8::MAX))
        .collect();
    let ([rows, columns], pixels) = pickle.byte_matrix("data")?;
    if columns != PIXELS || rows != labels.len() {
        return Err(format!(
            "holds {rows} rows of {columns} values for {} labels, not rows of {PIXELS}",
            labels.len()
        ));
    }
    Ok((labels, pixels.to_vec(), None))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An archive in the format that asks for nothing beyond its header.
    fn archive(folder: &Path, records: &[(u8, &[u8])], size: Option<u64>) -> PathBuf {
        let path = folder.join("cifar.tar.gz");
        let file = File::create(&path).unwrap();
        let zipped = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        let mut builder = tar::Builder::new(zipped);
        for (kind, bytes) in records {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::new(*kind));
            header.set_size(size.unwrap_or(bytes.len() as u64));
            header.set_cksum();
            match size {
                Some(size) => builder.append(&header, std::io::repeat(0).take(size)).unwrap(),
                None => builder.append(&header, *bytes).unwrap(),
            }
        }
        builder.into_inner().unwrap().finish().unwrap();
        path
    }

    #[test]
    fn records_before_a_file_are_bounded_and_long_names_are_read() {
        let control = crate::job::Control::new();
        let job = Job::new(&control, &crate::job::Silent);
        let folder = tempfile::tempdir().unwrap();
        for kind in *b"LKxg" {
            let path = archive(folder.path(), &[(kind, b""), (b'0', b"")], Some(3 << 20));
            let error = read_archive(&path, job).err().unwrap().to_string();
            assert!(error.contains("cifar.tar.gz") && error.contains("3072 KB"), "{error}");
        }
        let deep = format!("{}/batches.meta.txt\0", "a/".repeat(100));
        let other = "12345/test_batch.bin";
        let pax = format!("{} path={other}\n", other.len() + 9);
        assert_eq!(pax.len(), other.len() + 9);
        let records: [(u8, &[u8]); 4] =
            [(b'L', deep.as_bytes()), (b'0', b"names"), (b'x', pax.as_bytes()), (b'0', b"images")];
        let path = archive(folder.path(), &records, None);
        let (layout, found, contents) = read_archive(&path, job).unwrap();
        assert_eq!((layout, found), (Layout::Binary10, PathBuf::from("12345")));
        assert_eq!(contents["test_batch.bin"], b"images");
        let mut endless = Bounded { reader: std::io::repeat(0), left: 100 };
        let error = std::io::copy(&mut endless, &mut std::io::sink()).unwrap_err().to_string();
        assert!(error.contains("2048 MB"), "{error}");
    }

    #[test]
    fn files_share_one_limit() {
        let mut left = 10;
        assert_eq!(limited([1; 6].as_slice(), &mut left).unwrap().len(), 6);
        assert_eq!(limited([1; 4].as_slice(), &mut left).unwrap().len(), 4);
        assert_eq!(left, 0);
        assert!(
            limited([1; 1].as_slice(), &mut left).unwrap_err().to_string().contains("far larger")
        );
    }
}
