//! Pixels of a sample, by its location.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::{Location, SourceKind, cifar};
use crate::error::{DataError, Result};
use crate::files::cache_folder;
use crate::images::{
    DEFAULT_MAX_PIXELS, Detail, KnownFiles, RgbPixels, file_hash, file_size, read_image_for,
};
use crate::job::Job;

/// Something that gives a sample's pixels. It is asked from several threads at once.
pub trait PixelSource: Send + Sync {
    /// Reads and decodes one image, with at least the detail asked for.
    ///
    /// # Errors
    /// A [`DataError`](crate::error::DataError) that names the file and the reason.
    fn read(&self, location: &Location, detail: Detail) -> Result<RgbPixels>;
}

/// Reads samples of one root. Safe to use from many threads at once.
#[derive(Debug)]
pub struct ImageReader {
    root: PathBuf,
    max_pixels: u64,
    /// The folder that holds the index of known files.
    cache: Option<PathBuf>,
    /// For CIFAR, the pixels of every file: 3 × 32 × 32 bytes a record, colour planes apart.
    records: HashMap<PathBuf, Vec<u8>>,
}

impl ImageReader {
    /// Opens a catalog's or dataset's root. CIFAR is read into memory (up to 180 MB), from a folder
    /// or an archive; image files are opened one by one as they are asked for.
    ///
    /// # Errors
    /// [`DataError`] if the root is missing, or is not the CIFAR it should be;
    /// [`crate::Error::Stopped`] if the job was stopped.
    pub fn open(root: &Path, kind: SourceKind, job: Job<'_>) -> Result<Self> {
        let mut records = HashMap::new();
        if kind.has_records() {
            let source = cifar::load(root, job)?;
            if source.kind != kind {
                return Err(DataError::source(
                    root,
                    format!("holds {:?}, not {kind:?}", source.kind),
                )
                .into());
            }
            records.extend(source.files.into_iter().map(|file| (file.file, file.pixels)));
        } else if !root.is_dir() {
            let reason = "there is no such folder; if it was moved, say where it is now after `source =` in the dataset file, which of a run is dataset.toml in its folder";
            return Err(DataError::source(root, reason).into());
        }
        Ok(Self {
            root: root.to_path_buf(),
            max_pixels: DEFAULT_MAX_PIXELS,
            cache: cache_folder(),
            records,
        })
    }

    /// Refuses images of more than `max_pixels` pixels, instead of [`DEFAULT_MAX_PIXELS`].
    pub fn with_max_pixels(mut self, max_pixels: u64) -> Self {
        self.max_pixels = max_pixels;
        self
    }

    /// Looks files up in the index of known files in the folder `cache`, or in none, instead of in
    /// [`cache_folder`](crate::files::cache_folder).
    pub fn with_cache(mut self, cache: Option<PathBuf>) -> Self {
        self.cache = cache;
        self
    }

    /// The image at `location`, upright, as 8-bit RGB of shape [height, width, 3].
    ///
    /// # Errors
    /// [`DataError::File`] if it is not there or cannot be decoded.
    pub fn read(&self, location: &Location) -> Result<RgbPixels, DataError> {
        self.read_for(location, Detail::Full)
    }

    /// [`ImageReader::read`] with as much detail as is needed; see
    /// [`decode_for`](crate::images::decode_for). What a scan of this process has kept is not
    /// decoded again, and has the same pixels.
    ///
    /// # Errors
    /// As [`ImageReader::read`].
    pub fn read_for(&self, location: &Location, detail: Detail) -> Result<RgbPixels, DataError> {
        match location {
            Location::File(path) => read_image_for(&self.root.join(path), self.max_pixels, detail),
            Location::Record { file, index } => {
                let planes = self.record(file, *index)?;
                Ok(cifar::rgb(planes))
            }
        }
    }

    /// Width and height of the image at `location`, upright. Of a file that is known, nothing is
    /// read; of any other, what is read shows that the image can be decoded.
    ///
    /// # Errors
    /// As [`ImageReader::read`].
    pub fn size(&self, location: &Location) -> Result<(u32, u32), DataError> {
        let mut sizes = self.sizes(std::slice::from_ref(location));
        sizes.pop().unwrap_or_else(|| Err(DataError::file(&self.root, "there is no image")))
    }

    /// [`ImageReader::size`] of many images, on all cores.
    ///
    /// # Errors
    /// Of a location, as [`ImageReader::read`].
    pub fn sizes(&self, locations: &[Location]) -> Vec<Result<(u32, u32), DataError>> {
        let known = KnownFiles::open(self.cache.as_deref().filter(|_| self.records.is_empty()));
        let one = |location: &Location| match location {
            Location::File(path) => {
                let path = self.root.join(path);
                file_size(&path, self.max_pixels, &known)
                    .map_err(|reason| DataError::file(&path, reason))
            }
            Location::Record { file, index } => {
                self.record(file, *index).map(|_| (cifar::SIDE as u32, cifar::SIDE as u32))
            }
        };
        locations.par_iter().map(one).collect()
    }

    /// BLAKE3 of what is stored at each of `locations`: of an image file's bytes, of a CIFAR
    /// record's pixels, as a scan tells it in
    /// [`ImageFacts`](crate::images::ImageFacts). Files that are known and have not changed since
    /// are not read.
    ///
    /// # Errors
    /// [`crate::Error::Stopped`]. Of a location: [`DataError::File`] if nothing can be read there.
    pub fn content_hashes(
        &self,
        locations: &[Location],
        job: Job<'_>,
    ) -> Result<Vec<Result<[u8; 32], DataError>>> {
        let known = KnownFiles::open(self.cache.as_deref().filter(|_| self.records.is_empty()));
        let one = |location: &Location| -> Result<Result<[u8; 32], DataError>> {
            job.check()?;
            Ok(match location {
                Location::File(path) => {
                    let path = self.root.join(path);
                    file_hash(&path, self.max_pixels, &known)
                        .map_err(|reason| DataError::file(&path, reason))
                }
                Location::Record { file, index } => {
                    self.record(file, *index).map(|planes| *blake3::hash(planes).as_bytes())
                }
            })
        };
        let hashes = locations.par_iter().map(one).collect();
        known.save();
        hashes
    }

    /// A record's pixels, colour planes apart.
    fn record(&self, file: &Path, index: u32) -> Result<&[u8], DataError> {
        let missing =
            || DataError::file(self.root.join(file), format!("there is no record {index}"));
        let pixels = self.records.get(file).ok_or_else(missing)?;
        let start = index as usize * cifar::PIXELS;
        pixels.get(start..start + cifar::PIXELS).ok_or_else(missing)
    }
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
        // Two records of CIFAR-10: a label, then three planes; the second one's planes count up
        // from their own start.
        let plane = |start: usize| (0..1024).map(move |i| ((start + i) % 256) as u8);
        let second: Vec<u8> =
            [1u8].into_iter().chain(plane(0)).chain(plane(50)).chain(plane(100)).collect();
        std::fs::write(folder.path().join("test_batch.bin"), [vec![0; 3073], second].concat())
            .unwrap();
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
        let reader =
            ImageReader::open(folder.path(), SourceKind::Folder, Job::new(&control, &Silent))
                .unwrap();
        let error = reader.read(&Location::File("a.png".into())).unwrap_err().to_string();
        assert!(error.contains("a.png") && error.contains("not an image"), "{error}");
        assert!(reader.read(&Location::File("absent.png".into())).is_err());
    }
}
