//! From files to pictures: scans, what they keep and remember, and what is read afterwards.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use image::{Rgb, RgbImage};

use super::Images;
use crate::dataset::{BuildOptions, build};
use crate::images::{Detail, ImageFile, KEPT, RgbPixels, UNDISTURBED};
use crate::job::{Control, Event, Job, Silent};
use crate::source::{Catalog, ImageReader, Location, ScanOptions, SourceKind, Split, scan};

/// A folder of two classes, `photos` photos of 1400 × 1000 each, none of them new, and an empty
/// cache folder.
struct Photos {
    _folder: tempfile::TempDir,
    root: PathBuf,
    cache: PathBuf,
}

impl Photos {
    fn new(photos: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (root, cache) = (folder.path().join("photos"), folder.path().join("cache"));
        for class in ["a", "b"] {
            std::fs::create_dir_all(root.join(class)).unwrap();
            for number in 0..photos {
                let path = root.join(class).join(format!("{number}.jpg"));
                photo(1400, 1000, number + u32::from(class == "b") * 100).save(&path).unwrap();
                age(&path, 100);
            }
        }
        Self { _folder: folder, root, cache }
    }

    fn scan(&self) -> (Catalog, Vec<String>) {
        let messages = Mutex::new(Vec::new());
        let sink = |event: Event| {
            if let Event::Message { text, .. } = event {
                messages.lock().unwrap().push(text);
            }
        };
        let options = ScanOptions { cache: Some(self.cache.clone()), ..ScanOptions::default() };
        let catalog = scan(&self.root, &options, Job::new(&Control::new(), &sink)).unwrap();
        (catalog, messages.into_inner().unwrap())
    }

    fn reader(&self) -> ImageReader {
        let reader =
            ImageReader::open(&self.root, SourceKind::Folder, Job::new(&Control::new(), &Silent))
                .unwrap();
        reader.with_cache(Some(self.cache.clone()))
    }

    /// What is kept of a file.
    fn kept(&self, path: &str) -> Option<RgbPixels> {
        KEPT.get(&ImageFile::find(&self.root.join(path)).unwrap(), Detail::SMALL)
    }
}

fn photo(width: u32, height: u32, number: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        Rgb([(x / 7 + number) as u8, (y / 5) as u8, ((x + y) / 11 + 3 * number) as u8])
    })
}

/// Makes a file some seconds older than it is.
fn age(path: &Path, seconds: u64) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).unwrap();
}

fn at(path: &str) -> Location {
    Location::File(path.into())
}

#[test]
fn a_folder_that_is_known_is_not_decoded_again() {
    let photos = Photos::new(2);
    let (first, messages) = photos.scan();
    assert!(messages.is_empty(), "{messages:?}");
    assert!(
        (&first.facts[0].width, first.facts[0].height, first.facts[0].mode) == (&1400, 1000, "RGB")
    );
    let bytes = std::fs::read(photos.root.join("a/0.jpg")).unwrap();
    assert_eq!(first.facts[0].hash, *blake3::hash(&bytes).as_bytes());

    let (second, messages) = photos.scan();
    assert_eq!(messages, ["4 of 4 images were known"]);
    assert_eq!((second.facts, second.samples), (first.facts.clone(), first.samples));

    // Of the same length and other content, at another time: not known, and found to be no image.
    std::fs::write(photos.root.join("a/0.jpg"), vec![7; bytes.len()]).unwrap();
    let (third, messages) = photos.scan();
    assert_eq!(messages, ["3 of 4 images were known"]);
    assert_eq!((third.problems.len(), third.facts.len()), (1, 3));

    std::fs::write(photos.cache.join("known-files"), b"damaged").unwrap();
    assert!(photos.scan().1.is_empty());
    assert_eq!(photos.scan().1, ["3 of 4 images were known"]);
}

#[test]
fn what_is_known_to_be_too_large_is_refused_all_the_same() {
    let photos = Photos::new(1);
    photos.scan();
    let options = ScanOptions {
        cache: Some(photos.cache.clone()),
        max_pixels: 1_399_999,
        ..ScanOptions::default()
    };
    let error =
        scan(&photos.root, &options, Job::new(&Control::new(), &Silent)).unwrap_err().to_string();
    assert!(error.contains("no image can be read") && error.contains("megapixels"), "{error}");
}

#[test]
fn a_kept_picture_and_one_read_anew_have_the_same_pixels() {
    let _turn = UNDISTURBED.read();
    let photos = Photos::new(2);
    let control = Control::new();
    let job = Job::new(&control, &Silent);
    let reader = photos.reader();
    let anew = reader.read_for(&at("a/1.jpg"), Detail::SMALL).unwrap();
    assert!((anew.width, anew.height) == (700, 500) && photos.kept("a/1.jpg").is_none());
    let (catalog, _) = photos.scan();
    assert_eq!(photos.kept("a/1.jpg").unwrap(), anew);
    assert_eq!(reader.read_for(&at("a/1.jpg"), Detail::SMALL).unwrap(), anew);
    assert_eq!(
        reader.read(&at("a/1.jpg")).unwrap().width,
        1400,
        "kept pictures do not stand for whole ones"
    );

    let dataset = build(&catalog, &BuildOptions::default()).unwrap().dataset;
    let images = |budget| {
        let images = Images::open(&dataset, Split::Train, 224, budget, job).unwrap();
        images.eval_batches(9, false).map(|batch| batch.unwrap()).collect::<Vec<_>>()
    };
    let from_kept = images(u64::MAX);
    assert_eq!(from_kept, images(0));
    // A file that has changed since is decoded anew.
    photo(1400, 1000, 50).save(photos.root.join("a/1.jpg")).unwrap();
    assert!(photos.kept("a/1.jpg").is_none());
    assert_ne!(reader.read_for(&at("a/1.jpg"), Detail::SMALL).unwrap(), anew);
    for name in ["a/0.jpg", "a/1.jpg", "b/0.jpg", "b/1.jpg"] {
        // Another time of change, the same content: nothing is kept of it, and nothing else is
        // different.
        age(&photos.root.join(name), 50);
        assert!(photos.kept(name).is_none());
    }
    photo(1400, 1000, 1).save(photos.root.join("a/1.jpg")).unwrap();
    assert_eq!(from_kept, images(u64::MAX));
}

#[test]
fn large_files_that_are_not_reduced_are_not_kept() {
    let _turn = UNDISTURBED.read();
    let photos = Photos::new(1);
    photo(800, 600, 3).save(photos.root.join("a/large.jpg")).unwrap();
    photo(400, 300, 3).save(photos.root.join("a/small.jpg")).unwrap();
    photo(1400, 1000, 4).save(photos.root.join("a/drawing.png")).unwrap();
    photos.scan();
    assert!(photos.kept("a/0.jpg").is_some() && photos.kept("a/small.jpg").is_some());
    assert!(photos.kept("a/large.jpg").is_none() && photos.kept("a/drawing.png").is_none());
}

#[test]
fn content_is_hashed_once() {
    let photos = Photos::new(2);
    let control = Control::new();
    let job = Job::new(&control, &Silent);
    let reader = photos.reader();
    let hash =
        |path: &str| *blake3::hash(&std::fs::read(photos.root.join(path)).unwrap()).as_bytes();
    let locations = [at("a/0.jpg"), at("b/1.jpg"), at("a/absent.jpg")];
    for _ in 0..2 {
        let hashes = reader.content_hashes(&locations, job).unwrap();
        assert_eq!(
            hashes[..2].iter().map(|hash| *hash.as_ref().unwrap()).collect::<Vec<_>>(),
            [hash("a/0.jpg"), hash("b/1.jpg")]
        );
        assert!(hashes[2].as_ref().unwrap_err().to_string().contains("absent.jpg"));
    }
    // The hash is known, and what the image looks like is not: a scan still decodes it.
    assert!(photos.scan().1.is_empty());
    assert_eq!(photos.scan().1, ["4 of 4 images were known"]);
    std::fs::write(photos.root.join("b/1.jpg"), b"something else").unwrap();
    assert_eq!(
        *reader.content_hashes(&locations, job).unwrap()[1].as_ref().unwrap(),
        hash("b/1.jpg")
    );
    control.stop();
    assert!(matches!(reader.content_hashes(&locations, job), Err(crate::Error::Stopped)));
}

#[test]
fn sizes_are_those_of_the_files() {
    let photos = Photos::new(1);
    std::fs::write(photos.root.join("a/broken.jpg"), b"broken").unwrap();
    let locations = [at("a/0.jpg"), at("a/broken.jpg")];
    for _ in 0..2 {
        let sizes = photos.reader().sizes(&locations);
        assert_eq!(*sizes[0].as_ref().unwrap(), (1400, 1000));
        assert!(sizes[1].as_ref().unwrap_err().to_string().contains("broken.jpg"));
        photos.scan();
    }
}

#[test]
fn records_are_hashed_by_their_pixels() {
    let folder = tempfile::tempdir().unwrap();
    let records: Vec<u8> =
        (0..3 * 3073).map(|i| if i % 3073 == 0 { 1 } else { (i / 3073) as u8 }).collect();
    std::fs::write(folder.path().join("test_batch.bin"), records).unwrap();
    let control = Control::new();
    let job = Job::new(&control, &Silent);
    let reader = ImageReader::open(folder.path(), SourceKind::Cifar10, job).unwrap();
    let location = |index| Location::Record { file: "test_batch.bin".into(), index };
    let hashes = reader.content_hashes(&[location(2), location(3)], job).unwrap();
    assert_eq!(*hashes[0].as_ref().unwrap(), *blake3::hash(&[2; 3072]).as_bytes());
    assert!(hashes[1].as_ref().unwrap_err().to_string().contains("no record 3"));
    assert_eq!(reader.size(&location(0)).unwrap(), (32, 32));
}
