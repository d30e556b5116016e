//! Pixels of a sample, by its location.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::decode::{DEFAULT_MAX_PIXELS, decode_for};
use super::pixels::{Detail, PixelSource, RgbPixels};
use super::scan::{cifar, read_image_file};
use super::{Location, SourceKind};
use crate::error::{DataError, Result};
use crate::job::Job;

/// Reads samples of one root. Safe to use from many threads at once.
#[derive(Debug)]
pub struct ImageReader {
    root: PathBuf,
    max_pixels: u64,
    /// For CIFAR, the pixels of every file: 3 × 32 × 32 bytes a record, colour planes apart.
    records: HashMap<PathBuf, Vec<u8>>,
}

impl ImageReader {
    /// Opens a catalog's or dataset's root. CIFAR is read into memory (up to 180 MB), from a folder or an archive; image files are
    /// opened one by one as they are asked for.
    ///
    /// # Errors
    /// [`DataError`] if the root is missing, or is not the CIFAR it should be; [`crate::Error::Stopped`] if the job was stopped.
    pub fn open(root: &Path, kind: SourceKind, job: Job<'_>) -> Result<Self> {
        let mut records = HashMap::new();
        if kind.has_records() {
            let source = cifar::load(root, job)?;
            if source.kind != kind {
                return Err(DataError::source(root, format!("holds {:?}, not {kind:?}", source.kind)).into());
            }
            records.extend(source.files.into_iter().map(|file| (file.file, file.pixels)));
        } else if !root.is_dir() {
            return Err(DataError::source(root, "there is no such folder").into());
        }
        Ok(Self { root: root.to_path_buf(), max_pixels: DEFAULT_MAX_PIXELS, records })
    }

    /// Refuses images of more than `max_pixels` pixels, instead of [`DEFAULT_MAX_PIXELS`].
    pub fn with_max_pixels(mut self, max_pixels: u64) -> Self {
        self.max_pixels = max_pixels;
        self
    }

    /// The image at `location`, upright, as 8-bit RGB of shape [height, width, 3].
    ///
    /// # Errors
    /// [`DataError::File`] if it is not there or cannot be decoded.
    pub fn read(&self, location: &Location) -> Result<RgbPixels, DataError> {
        self.read_for(location, Detail::Full)
    }

    /// [`ImageReader::read`] with as much detail as is needed; see [`decode_for`].
    ///
    /// # Errors
    /// As [`ImageReader::read`].
    pub fn read_for(&self, location: &Location, detail: Detail) -> Result<RgbPixels, DataError> {
        match location {
            Location::File(path) => read_image_for(&self.root.join(path), self.max_pixels, detail),
            Location::Record { file, index } => {
                let missing = || DataError::file(self.root.join(file), format!("there is no record {index}"));
                let pixels = self.records.get(file).ok_or_else(missing)?;
                let start = *index as usize * cifar::PIXELS;
                let planes = pixels.get(start..start + cifar::PIXELS).ok_or_else(missing)?;
                let plane = cifar::SIDE * cifar::SIDE;
                let data = (0..plane).flat_map(|i| [planes[i], planes[plane + i], planes[2 * plane + i]]).collect();
                let side = cifar::SIDE as u32;
                Ok(RgbPixels { width: side, height: side, data })
            }
        }
    }
}

/// An image file that belongs to no dataset: upright, as 8-bit RGB.
///
/// # Errors
/// [`DataError::File`] if it is not there, cannot be decoded, or has more than `max_pixels` pixels.
pub fn read_image(path: &Path, max_pixels: u64) -> Result<RgbPixels, DataError> {
    read_image_for(path, max_pixels, Detail::Full)
}

/// [`read_image`] with as much detail as is needed; see [`decode_for`].
///
/// # Errors
/// As [`read_image`].
pub fn read_image_for(path: &Path, max_pixels: u64, detail: Detail) -> Result<RgbPixels, DataError> {
    let bytes = read_image_file(path, max_pixels).map_err(|reason| DataError::file(path, reason))?;
    decode_for(&bytes, max_pixels, detail).map(|decoded| decoded.pixels).map_err(|reason| DataError::file(path, reason))
}

impl PixelSource for ImageReader {
    fn read(&self, location: &Location, detail: Detail) -> Result<RgbPixels> {
        Ok(self.read_for(location, detail)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Control, Silent};

    #[test]
    fn records_become_interleaved_rows() {
        let folder = tempfile::tempdir().unwrap();
        // Two records of CIFAR-10: a label, then three planes; the second one's planes count up from their own start.
        let plane = |start: usize| (0..1024).map(move |i| ((start + i) % 256) as u8);
        let second: Vec<u8> = [1u8].into_iter().chain(plane(0)).chain(plane(50)).chain(plane(100)).collect();
        std::fs::write(folder.path().join("test_batch.bin"), [vec![0; 3073], second].concat()).unwrap();
        let control = Control::new();
        let job = Job::new(&control, &Silent);
        let reader = ImageReader::open(folder.path(), SourceKind::Cifar10, job).unwrap();
        let at = |index| Location::Record { file: "test_batch.bin".into(), index };
        let image = reader.read(&at(1)).unwrap();
        assert_eq!((image.width, image.height, image.data.len()), (32, 32, 3072));
        assert_eq!(image.data[..6], [0, 50, 100, 1, 51, 101]);
        // The first pixel of the second row.
        assert_eq!(image.data[96..99], [32, 82, 132]);
        assert!(reader.read(&at(2)).unwrap_err().to_string().contains("no record 2"));
        assert!(reader.read(&Location::Record { file: "other".into(), index: 0 }).is_err());
        assert!(ImageReader::open(folder.path(), SourceKind::Cifar100, job).is_err());
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named_with_its_reason() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.png"), "text").unwrap();
        let control = Control::new();
        let reader = ImageReader::open(folder.path(), SourceKind::Folder, Job::new(&control, &Silent)).unwrap();
        let error = reader.read(&Location::File("a.png".into())).unwrap_err().to_string();
        assert!(error.contains("a.png") && error.contains("not an image"), "{error}");
        assert!(reader.read(&Location::File("absent.png".into())).is_err());
    }
}
