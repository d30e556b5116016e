//! Writing a dataset out as an image folder, `split/class/image`.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use super::safe_names::{Names, safe_extension, safe_name};
use super::samples::{Dataset, DatasetSample};
use crate::error::{DataError, Error, Result};
use crate::files::{self, temporary_folder};
use crate::job::Job;
use crate::source::{ImageReader, Location, Split};

/// The most bytes of an image that is compared with its copy.
const LARGEST_IMAGE: u64 = 1 << 30;
/// How an image file comes into a folder that is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ImageFiles {
    /// A copy, byte for byte.
    #[default]
    Copy,
    /// Another name of the same file, which takes no room; a copy where the file system has none,
    /// or is another one.
    HardLink,
}

/// [`write_images_as`] with copies.
///
/// # Errors
/// As there.
pub fn write_images(dataset: &Dataset, target: &Path, job: Job<'_>) -> Result<usize> {
    write_images_as(dataset, target, ImageFiles::Copy, job)
}

/// Writes every sample of `dataset` into the new folder `target`, as `split/class/image`; a split
/// without samples gives no folder. Image files are copied byte for byte or linked, CIFAR records
/// become PNG.
/// Names are made safe for every file system, and where two become the same a number is added.
///
/// The folder appears when it is complete: everything is written to a temporary folder beside it
/// first. One that holds these very images already is left as it is: a build that was killed after
/// it wrote them goes on. Returns the number of images.
///
/// # Errors
/// [`DataError::Source`] if `target` exists and is not an empty folder, [`DataError::File`] if an
/// image cannot be read or written,
/// [`Error::Stopped`] if the job was stopped. Nothing is left behind then.
pub fn write_images_as(
    dataset: &Dataset,
    target: &Path,
    by: ImageFiles,
    job: Job<'_>,
) -> Result<usize> {
    let reader = if dataset.kind.has_records() {
        Some(ImageReader::open(&dataset.root, dataset.kind, job)?)
    } else {
        None
    };
    let paths = paths(dataset);
    if target.exists()
        && !std::fs::read_dir(target).is_ok_and(|entries| {
            entries.flatten().all(|entry| files::is_clutter(&entry.file_name()))
        })
    {
        if is_written(dataset, reader.as_ref(), target, &paths, job)? {
            job.info(format!("{} holds these images already", target.display()));
            return Ok(paths.len());
        }
        return Err(DataError::source(
            target,
            "already exists and is not an empty folder; images are only written to a new one",
        )
        .into());
    }
    // `absolute` also resolves a bare name, whose parent would be empty.
    let absolute = std::path::absolute(target).map_err(|e| DataError::file(target, e))?;
    let Some(parent) = absolute.parent() else {
        return Err(DataError::source(target, "is no place for a new folder").into());
    };
    std::fs::create_dir_all(parent).map_err(|e| DataError::file(parent, e))?;
    let temporary = temporary_folder(parent).map_err(|e| DataError::file(parent, e))?;

    let folders: HashSet<&Path> = paths.iter().filter_map(|path| path.parent()).collect();
    for folder in folders {
        let folder = temporary.path().join(folder);
        std::fs::create_dir_all(&folder).map_err(|e| DataError::file(&folder, e))?;
    }
    job.phase("writing images", Some(paths.len() as u64), "images");
    let done = AtomicU64::new(0);
    dataset.samples.par_iter().zip(&paths).try_for_each(|(sample, path)| -> Result<()> {
        job.check()?;
        let to = temporary.path().join(path);
        match (&reader, &sample.location) {
            (Some(reader), location) => {
                let pixels = reader.read(location)?;
                image::save_buffer_with_format(
                    &to,
                    &pixels.data,
                    pixels.width,
                    pixels.height,
                    image::ColorType::Rgb8,
                    image::ImageFormat::Png,
                )
                .map_err(|e| DataError::file(target.join(path), crate::error::Reason::of(e)))?;
            }
            (None, Location::File(from) | Location::Record { file: from, .. }) => {
                let from = dataset.root.join(from);
                // A link to a symbolic link would be one, too, and lead nowhere from there.
                let linked = || std::fs::hard_link(from.canonicalize()?, &to);
                if by == ImageFiles::Copy || linked().is_err() {
                    copy(&from, &to, &target.join(path))?;
                }
            }
        }
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        if done.is_multiple_of(64) {
            job.progress(done);
        }
        Ok(())
    })?;
    job.progress(paths.len() as u64);

    // On Windows a folder is not replaced by a rename, not even an empty one.
    if target.exists() {
        files::remove_empty_folder(target).map_err(|e| DataError::file(target, e))?;
    }
    std::fs::rename(temporary.path(), target).map_err(|e| DataError::file(target, e))?;
    Ok(paths.len())
}

/// Copies a file's bytes. An error names the file that is at fault: `from`, or the copy as it is
/// going to be called.
fn copy(from: &Path, to: &Path, called: &Path) -> Result<()> {
    let unreadable = |e: io::Error| Error::from(DataError::file(from, e));
    let unwritable = |e: io::Error| Error::from(DataError::file(called, e));
    let mut source = files::open(from, u64::MAX).map_err(unreadable)?;
    let mut copy = File::create(to).map_err(unwritable)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => copy.write_all(&buffer[..read]).map_err(unwritable)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unreadable(error)),
        }
    }
}

/// Whether a folder holds what would be written into it, and nothing else.
///
/// # Errors
/// [`DataError::File`] if an image cannot be read, [`Error::Stopped`].
fn is_written(
    dataset: &Dataset,
    reader: Option<&ImageReader>,
    target: &Path,
    paths: &[PathBuf],
    job: Job<'_>,
) -> Result<bool> {
    let expected: HashSet<&Path> = paths.iter().map(PathBuf::as_path).collect();
    let mut found = 0;
    for entry in walkdir::WalkDir::new(target) {
        let Ok(entry) = entry else { return Ok(false) };
        if entry.file_type().is_dir() {
            continue;
        }
        let known =
            entry.path().strip_prefix(target).is_ok_and(|relative| expected.contains(relative));
        if !known || !entry.file_type().is_file() {
            return Ok(false);
        }
        found += 1;
    }
    if found != expected.len() {
        return Ok(false);
    }
    job.phase("comparing images", Some(paths.len() as u64), "images");
    let same = |sample: &DatasetSample, path: &Path| -> Result<bool> {
        job.check()?;
        let written = target.join(path);
        let read = |path: &Path| {
            files::read(path, LARGEST_IMAGE).map_err(|e| Error::from(DataError::file(path, e)))
        };
        Ok(match (reader, &sample.location) {
            (Some(reader), location) => {
                let pixels = reader.read(location)?;
                let mut png = io::Cursor::new(Vec::new());
                image::write_buffer_with_format(
                    &mut png,
                    &pixels.data,
                    pixels.width,
                    pixels.height,
                    image::ColorType::Rgb8,
                    image::ImageFormat::Png,
                )
                .map_err(|e| DataError::file(&written, crate::error::Reason::of(e)))?;
                png.into_inner() == read(&written)?
            }
            (None, Location::File(from) | Location::Record { file: from, .. }) => {
                read(&dataset.root.join(from))? == read(&written)?
            }
        })
    };
    let all = dataset.samples.par_iter().zip(paths).map(|(sample, path)| same(sample, path));
    // The first that differs, or that cannot be read, ends it.
    Ok(all.try_reduce_with(|a, b| Ok(a && b)).transpose()?.unwrap_or(true))
}

/// Where each sample goes, relative to the target.
fn paths(dataset: &Dataset) -> Vec<PathBuf> {
    let mut taken = Names::default();
    let classes: Vec<String> =
        dataset.classes.iter().map(|class| taken.unique("", &safe_name(class, ""))).collect();
    let mut taken: HashMap<(Split, usize), Names> = HashMap::new();
    dataset
        .samples
        .iter()
        .map(|sample| {
            let (stem, extension) = match &sample.location {
                Location::File(path) => (
                    stem(path),
                    path.extension()
                        .map(|e| safe_extension(&e.to_string_lossy()))
                        .unwrap_or_default(),
                ),
                Location::Record { file, index } => {
                    (format!("{}-{index:05}", stem(file)), ".png".to_string())
                }
            };
            let name = safe_name(&stem, &extension);
            let name =
                taken.entry((sample.split, sample.class)).or_default().unique(&extension, &name);
            Path::new(sample.split.name()).join(&classes[sample.class]).join(name)
        })
        .collect()
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{DatasetSample, Provenance};
    use crate::job::{Control, Silent};
    use crate::source::SourceKind;

    fn dataset(root: &Path, classes: &[&str], files: &[(&str, usize, Split)]) -> Dataset {
        Dataset {
            root: root.to_path_buf(),
            kind: SourceKind::Folder,
            classes: classes.iter().map(|class| (*class).to_string()).collect(),
            samples: files
                .iter()
                .map(|(file, class, split)| DatasetSample {
                    location: Location::File(file.into()),
                    class: *class,
                    split: *split,
                    group: None,
                })
                .collect(),
            provenance: Provenance::default(),
        }
    }

    fn make(root: &Path, files: &[&str]) {
        for file in files {
            let path = root.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, file).unwrap();
        }
    }

    #[test]
    fn files_are_copied_byte_for_byte_under_names_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        make(folder.path(), &["a/1.png", "b/1.PNG", "c/тигр.jpg", "c/2.png"]);
        let files = [
            ("a/1.png", 0, Split::Train),
            ("b/1.PNG", 0, Split::Train),
            ("c/тигр.jpg", 1, Split::Train),
            ("c/2.png", 1, Split::Test),
        ];
        let set = dataset(folder.path(), &["cats/big", "Cats_big"], &files);
        let target = folder.path().join("new/out");
        let control = Control::new();
        assert_eq!(write_images(&set, &target, Job::new(&control, &Silent)).unwrap(), 4);
        for (path, content) in [
            ("train/cats_big/1.png", "a/1.png"),
            ("train/cats_big/1_2.PNG", "b/1.PNG"),
            ("train/Cats_big_2/тигр.jpg", "c/тигр.jpg"),
            ("test/Cats_big_2/2.png", "c/2.png"),
        ] {
            assert_eq!(std::fs::read_to_string(target.join(path)).unwrap(), content, "{path}");
        }
        assert!(!target.join("validation").exists());
        assert_eq!(std::fs::read_dir(folder.path().join("new")).unwrap().count(), 1);
        // What is there already is not written again, as long as it is the same.
        assert_eq!(write_images(&set, &target, Job::new(&control, &Silent)).unwrap(), 4);
        let refused = || {
            let error =
                write_images(&set, &target, Job::new(&control, &Silent)).unwrap_err().to_string();
            assert!(error.contains("not an empty folder"), "{error}");
        };
        std::fs::write(target.join("train/notes.txt"), "mine").unwrap();
        refused();
        std::fs::remove_file(target.join("train/notes.txt")).unwrap();
        std::fs::write(target.join("test/Cats_big_2/2.png"), "c/3.png").unwrap();
        refused();
        std::fs::remove_file(target.join("test/Cats_big_2/2.png")).unwrap();
        refused();
    }

    #[test]
    fn the_file_at_fault_is_named() {
        let folder = tempfile::tempdir().unwrap();
        make(folder.path(), &["1.png"]);
        let (from, called) = (folder.path().join("1.png"), Path::new("images/1.png"));
        let said = |from: &Path, to: &Path| copy(from, to, called).unwrap_err().to_string();
        let gone = folder.path().join("gone.png");
        assert!(said(&gone, &folder.path().join("2.png")).contains("gone.png"));
        #[cfg(target_os = "linux")]
        assert!(said(&from, Path::new("/dev/full")).starts_with("images/1.png: No space left"));
    }

    #[test]
    fn a_missing_image_or_a_stop_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        make(folder.path(), &["images/1.png"]);
        let files = [("1.png", 0, Split::Train), ("gone.png", 1, Split::Train)];
        let set = dataset(&folder.path().join("images"), &["a", "b"], &files);
        let target = folder.path().join("out");
        std::fs::create_dir(&target).unwrap();
        let control = Control::new();
        let error =
            write_images(&set, &target, Job::new(&control, &Silent)).unwrap_err().to_string();
        assert!(error.contains("gone.png"), "{error}");
        control.stop();
        assert!(matches!(
            write_images(&set, &target, Job::new(&control, &Silent)),
            Err(Error::Stopped)
        ));
        assert_eq!(std::fs::read_dir(&target).unwrap().count(), 0);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
