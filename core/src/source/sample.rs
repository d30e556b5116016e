//! The built-in sample: 1,797 grey 8×8 images of handwritten digits, carried inside the program.

use std::io::{Read, Write};
use std::path::{Component, Path, PathBuf};

use crate::error::{DataError, Result};
use crate::files::write_atomically;

/// UCI handwritten digits (E. Alpaydin and C. Kaynak, 1998; CC BY 4.0) as an image folder, its
/// attribution in `SOURCE.md`.
static ARCHIVE: &[u8] = include_bytes!("../../../assets/sample/uci-digits.tar.gz");

/// The folder the archive holds.
const NAME: &str = "uci-digits";

/// Unpacks the sample into the folder `into`, made where it is missing, and returns the image
/// folder. What is already there and complete is not written again, so a second call is quick; what
/// is missing or cut short is written again.
///
/// # Errors
/// [`DataError::File`] if a file cannot be written.
pub fn unpack_sample(into: &Path) -> Result<PathBuf> {
    let fail = |path: &Path, e: std::io::Error| DataError::file(path, e);
    std::fs::create_dir_all(into).map_err(|e| fail(into, e))?;
    let target = into.join(NAME);
    if !target.exists() {
        let temporary = tempfile::Builder::new()
            .prefix(".counterweight-")
            .tempdir_in(into)
            .map_err(|e| fail(into, e))?;
        // No other program uses the temporary folder, so its files need no care; the rename shows
        // all of them at once.
        each_file(|path, bytes| {
            let path = temporary.path().join(path);
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            std::fs::write(path, bytes)
        })
        .map_err(|e| fail(temporary.path(), e))?;
        match std::fs::rename(temporary.path().join(NAME), &target) {
            Ok(()) => return Ok(target),
            // Another process was quicker.
            Err(_) if target.is_dir() => {}
            Err(e) => return Err(fail(&target, e).into()),
        }
    }
    each_file(|path, bytes| {
        let path = into.join(path);
        if std::fs::metadata(&path).is_ok_and(|found| found.len() == bytes.len() as u64) {
            return Ok(());
        }
        write_atomically(&path, |file| file.write_all(bytes))
    })
    .map_err(|e| fail(&target, e))?;
    Ok(target)
}

/// Hands over every file of the archive: its path, which begins with [`NAME`], and its content.
fn each_file(mut take: impl FnMut(&Path, &[u8]) -> std::io::Result<()>) -> std::io::Result<()> {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(ARCHIVE));
    let mut content = Vec::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = entry.path()?.into_owned();
        debug_assert!(
            path.starts_with(NAME)
                && path.components().all(|part| matches!(part, Component::Normal(_)))
        );
        content.clear();
        entry.read_to_end(&mut content)?;
        take(&path, &content)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(folder: &Path) -> Vec<PathBuf> {
        let entries = walkdir::WalkDir::new(folder)
            .sort_by_file_name()
            .into_iter()
            .map(|entry| entry.unwrap());
        entries.filter(|entry| entry.file_type().is_file()).map(|entry| entry.into_path()).collect()
    }

    #[test]
    fn the_sample_is_whole_and_names_its_source() {
        let folder = tempfile::tempdir().unwrap();
        let sample = unpack_sample(&folder.path().join("cache")).unwrap();
        let mut classes: Vec<_> = std::fs::read_dir(&sample)
            .unwrap()
            .map(|e| e.unwrap().path())
            .filter(|p| p.is_dir())
            .collect();
        classes.sort();
        let counts: Vec<usize> = classes.iter().map(|class| files(class).len()).collect();
        assert_eq!(counts, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
        assert!(std::fs::read_to_string(sample.join("SOURCE.md")).unwrap().contains("CC BY 4.0"));
        let image = image::open(classes[0].join("0000.png")).unwrap();
        assert_eq!((image.width(), image.height()), (8, 8));
        assert_eq!(std::fs::read_dir(folder.path().join("cache")).unwrap().count(), 1);
    }

    #[test]
    fn unpacking_again_changes_nothing_and_mends_what_is_broken() {
        let folder = tempfile::tempdir().unwrap();
        let sample = unpack_sample(folder.path()).unwrap();
        let all = files(&sample);
        let kept = std::fs::metadata(&all[7]).unwrap().modified().unwrap();
        std::fs::remove_file(&all[3]).unwrap();
        std::fs::write(&all[4], b"cut").unwrap();
        assert_eq!(unpack_sample(folder.path()).unwrap(), sample);
        assert_eq!(files(&sample), all);
        assert!(image::open(&all[3]).is_ok() && image::open(&all[4]).is_ok());
        assert_eq!(std::fs::metadata(&all[7]).unwrap().modified().unwrap(), kept);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(
            unpack_sample(&file).unwrap_err().to_string().contains(&file.display().to_string())
        );
    }
}
