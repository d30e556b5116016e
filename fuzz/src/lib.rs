//! What the fuzz targets share: a folder to put files in, and inputs that hold several of them.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use counterweight_core::images::{Detail, decode, decode_for, photo_taken};
use counterweight_core::job::{Control, Job, Silent};
use counterweight_core::panics::install_hook;
use counterweight_core::source::{Catalog, ListFormat, ScanOptions, scan};
use tempfile::TempDir;

#[path = "../../tests/src/onnx_file.rs"]
pub mod onnx_file;

static FOLDER: LazyLock<TempDir> =
    LazyLock::new(|| tempfile::Builder::new().prefix("counterweight-fuzz-").tempdir().unwrap());

/// To be called once, before the first input. Panics that the program turns into errors are none of
/// the fuzzer's business; any other ends it.
pub fn start() {
    install_hook();
    // Nothing is kept from one input to the next, and nothing of the person's own is read.
    // SAFETY: no other thread runs yet.
    unsafe { std::env::set_var("COUNTERWEIGHT_CACHE", FOLDER.path().join("cache")) };
}

/// An empty folder of this process.
pub fn folder() -> PathBuf {
    let folder = FOLDER.path().join("input");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// A file of this process that holds these bytes and nothing else.
pub fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = FOLDER.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// Fewer pixels than the program allows, so that an image takes a moment and not a minute.
const MAX_PIXELS: u64 = 1 << 20;

/// Whether these are the boxes that HEIC and AVIF are made of.
pub fn is_heif(bytes: &[u8]) -> bool {
    bytes.get(4..8) == Some(b"ftyp")
}

/// Decodes an image in full and as far as a small picture needs, and looks when it was taken.
pub fn decode_image(bytes: &[u8]) {
    let full = decode(bytes, MAX_PIXELS);
    if let Ok(full) = &full {
        let pixels = &full.pixels;
        assert!(u64::from(pixels.width) * u64::from(pixels.height) <= MAX_PIXELS);
        assert_eq!(pixels.data.len(), pixels.width as usize * pixels.height as usize * 3);
    }
    let small = decode_for(bytes, MAX_PIXELS, Detail::SMALL);
    if let (Ok(full), Ok(small)) = (&full, &small) {
        assert_eq!(full.size, small.size);
    }
    let _ = photo_taken(&file("photo.jpg", bytes));
}

/// What a source holds, read with what is said of the columns of a list. Every image is of a class.
pub fn scanned(source: &Path, list: ListFormat) -> Option<Catalog> {
    let options = ScanOptions { list, cache: None, ..ScanOptions::default() };
    let catalog = with_job(|job| scan(source, &options, job)).ok()?;
    assert!(catalog.samples.iter().all(|sample| sample.class < catalog.classes.len()));
    Some(catalog)
}

/// A job that nobody watches or stops.
pub fn with_job<T>(work: impl FnOnce(Job<'_>) -> T) -> T {
    work(Job::new(&Control::new(), &Silent))
}

/// What stands between the parts of an input: a line `=== name` before each.
const BEFORE_NAME: &[u8] = b"\n=== ";

/// The files that an input consists of, by name. What has no name of the given ones is left out.
pub fn parts<'a>(
    input: &'a [u8],
    names: &'a [&'a str],
) -> impl Iterator<Item = (&'a str, &'a [u8])> {
    let mut starts: Vec<usize> = input
        .windows(BEFORE_NAME.len())
        .enumerate()
        .filter(|(_, window)| *window == BEFORE_NAME)
        .map(|(at, _)| at)
        .collect();
    let first = input.starts_with(&BEFORE_NAME[1..]).then_some(BEFORE_NAME.len() - 1);
    let ends = starts.clone();
    starts.iter_mut().for_each(|start| *start += BEFORE_NAME.len());
    let starts = first.into_iter().chain(starts);
    starts.filter_map(move |start| {
        let end = ends.iter().copied().find(|&end| end >= start).unwrap_or(input.len());
        let part = &input[start..end];
        let line = part.iter().position(|&byte| byte == b'\n')?;
        let name = names.iter().find(|name| name.as_bytes() == &part[..line])?;
        Some((*name, &part[line + 1..]))
    })
}

/// Writes the files that an input consists of into an empty folder of this process.
pub fn unpack(input: &[u8], names: &[&str]) -> PathBuf {
    let folder = folder();
    for (name, bytes) in parts(input, names) {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    folder
}
