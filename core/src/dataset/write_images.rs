//! Writing a dataset out as an image folder, `split/class/image`.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use super::safe_names::{Names, safe_extension, safe_name};
use super::samples::Dataset;
use crate::error::{DataError, Error, Result};
use crate::job::Job;
use crate::source::{ImageReader, Location, Split};

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
/// first. Returns the number of images.
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
    if target.exists()
        && !std::fs::read_dir(target).is_ok_and(|mut entries| entries.next().is_none())
    {
        return Err(DataError::source(
            target,
            "already exists and is not an empty folder; images are only written to a new one",
        )
        .into());
    }
    let reader = if dataset.kind.has_records() {
        Some(ImageReader::open(&dataset.root, dataset.kind, job)?)
    } else {
        None
    };
    // `absolute` also resolves a bare name, whose parent would be empty.
    let absolute = std::path::absolute(target).map_err(|e| DataError::file(target, e))?;
    let Some(parent) = absolute.parent() else {
        return Err(DataError::source(target, "is no place for a new folder").into());
    };
    std::fs::create_dir_all(parent).map_err(|e| DataError::file(parent, e))?;
    let temporary = temporary_folder(parent).map_err(|e| DataError::file(parent, e))?;

    let paths = paths(dataset);
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
                let unreadable = |e: io::Error| Error::from(DataError::file(&from, e));
                // A link to a symbolic link would be one, too, and lead nowhere from there.
                let linked = || std::fs::hard_link(from.canonicalize()?, &to);
                if by == ImageFiles::Copy || linked().is_err() {
                    let mut source = std::fs::File::open(&from).map_err(unreadable)?;
                    let mut copy = std::fs::File::create(&to)
                        .map_err(|e| DataError::file(target.join(path), e))?;
                    io::copy(&mut source, &mut copy).map_err(unreadable)?;
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
        std::fs::remove_dir(target).map_err(|e| DataError::file(target, e))?;
    }
    std::fs::rename(temporary.path(), target).map_err(|e| DataError::file(target, e))?;
    Ok(paths.len())
}

fn temporary_folder(parent: &Path) -> io::Result<tempfile::TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".counterweight-").suffix(".tmp");
    #[cfg(unix)]
    {
        // A temporary folder is private by default; this one becomes an ordinary folder of the
        // person's.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o777));
    }
    builder.tempdir_in(parent)
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
        let error =
            write_images(&set, &target, Job::new(&control, &Silent)).unwrap_err().to_string();
        assert!(error.contains("not an empty folder"), "{error}");
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
