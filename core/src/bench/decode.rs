//! Timing the reading of a source.

use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use super::peak_memory;
use crate::batches::Images;
use crate::dataset::{Dataset, DatasetSample, Provenance};
use crate::error::{DataError, Result};
use crate::images::{choose_input_size, give_back_kept_pictures};
use crate::job::Job;
use crate::source::{Catalog, ImageReader, ScanOptions, Split, scan};

/// Images decoded together.
const BATCH: usize = 64;

/// How fast the images of a source are checked, and decoded for a network: at first sight, and when
/// it is known.
#[derive(Clone, Debug, Serialize)]
pub struct DecodeReport {
    /// Images that could be read.
    pub images: usize,
    /// Files that could not.
    pub unreadable: usize,
    /// Side of the network's input in pixels.
    pub side: usize,
    /// Threads that worked.
    pub threads: usize,
    /// Seconds to list the source, and to read, decode and hash every image in it.
    pub scan_s: f64,
    /// Images over that time.
    pub scan_images_per_s: f64,
    /// Seconds to make every image's input after that, batch by batch, from what the scan has kept
    /// or by decoding it anew.
    pub after_scan_s: f64,
    /// Images over the time of both: from a folder never seen before to inputs.
    pub first_images_per_s: f64,
    /// Seconds to scan the source again, now that its files are known.
    pub known_scan_s: f64,
    /// Images over that time.
    pub known_scan_images_per_s: f64,
    /// Seconds to read, decode and resize every image once, batch by batch, with nothing kept.
    pub decode_s: f64,
    /// Images over that time.
    pub decode_images_per_s: f64,
    /// Images over the time of the second scan and of decoding: from a known folder to inputs.
    pub known_images_per_s: f64,
    /// See [`peak_memory`].
    pub peak_memory_bytes: Option<u64>,
}

/// Times the scan of `source` as if it had never been seen, and then the making of batches of all
/// its images, each decoded when its turn comes and brought to `side` pixels (the side that
/// training would choose, if not given); and both again, with the files known and nothing kept in
/// memory. The first scan finds the files in whatever memory the operating system keeps them in, so
/// a second run tells more than the first.
///
/// Files changed in the last seconds are not remembered: a folder just made is scanned twice as if
/// new.
///
/// # Errors
/// As [`scan`] and [`Images::open`]; [`crate::Error::Stopped`].
pub fn decode(source: &Path, side: Option<usize>, job: Job<'_>) -> Result<DecodeReport> {
    // An index of its own: the person's may know the source already.
    let cache =
        tempfile::tempdir().map_err(|error| DataError::file(std::env::temp_dir(), error))?;
    let options = ScanOptions { cache: Some(cache.path().to_path_buf()), ..ScanOptions::default() };
    give_back_kept_pictures();
    let (catalog, scan_s) = timed(|| scan(source, &options, job))?;
    let side = side.unwrap_or_else(|| {
        choose_input_size(catalog.facts.iter().map(|facts| (facts.width, facts.height)))
    });
    let unreadable = catalog.problems.len();
    let dataset = everything(catalog);
    let count = dataset.samples.len();
    let (_, after_scan_s) = timed(|| every_batch(&dataset, side, job))?;

    give_back_kept_pictures();
    let (_, known_scan_s) = timed(|| scan(source, &options, job))?;
    give_back_kept_pictures();
    let (done, decode_s) = timed(|| every_batch(&dataset, side, job))?;
    Ok(DecodeReport {
        images: done,
        unreadable,
        side,
        threads: rayon::current_num_threads(),
        scan_s,
        scan_images_per_s: count as f64 / scan_s,
        after_scan_s,
        first_images_per_s: count as f64 / (scan_s + after_scan_s),
        known_scan_s,
        known_scan_images_per_s: count as f64 / known_scan_s,
        decode_s,
        decode_images_per_s: done as f64 / decode_s,
        known_images_per_s: done as f64 / (known_scan_s + decode_s),
        peak_memory_bytes: peak_memory(),
    })
}

fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
    let started = Instant::now();
    let made = work()?;
    Ok((made, started.elapsed().as_secs_f64()))
}

/// Makes the input of every image, and keeps none. Returns how many there are.
fn every_batch(dataset: &Dataset, side: usize, job: Job<'_>) -> Result<usize> {
    let reader = ImageReader::open(&dataset.root, dataset.kind, job)?;
    // With no room to keep them, images are decoded batch by batch.
    let images = Images::open_with(Box::new(reader), dataset, Split::Train, side, 0, job)?;
    job.phase("decoding images", Some(images.len() as u64), "images");
    let mut batches = images.eval_batches(BATCH, false);
    let mut done = 0;
    while let Some(batch) = batches.next().transpose()? {
        job.check()?;
        done += batch.len();
        job.progress(done as u64);
        batches.reuse(batch);
    }
    Ok(done)
}

/// All samples of a catalog, as if they were to be trained on.
fn everything(catalog: Catalog) -> Dataset {
    let samples = catalog.samples.into_iter();
    let samples = samples.map(|sample| DatasetSample {
        location: sample.location,
        class: sample.class,
        split: Split::Train,
        group: None,
    });
    Dataset {
        root: catalog.root,
        kind: catalog.kind,
        classes: catalog.classes,
        samples: samples.collect(),
        provenance: Provenance::default(),
    }
}
